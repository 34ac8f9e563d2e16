import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from engine.rejects import RejectReason
from feed.messages import CancelReason
from feed.settings import Address
from gateway.client_errors import LoginRejected
from gateway.events import Canceled, Event, Executed, Rejected
from gateway.ouch import Liquidity
from gateway.settings import GatewaySettings
from gateway.soup import LoginRejectReason
from tests.tools.replica_statuses import configuration_of
from tests.tools.scripted_client import ScriptedClient, accepted
from tools.configuration import Configuration
from tools.console import UsageError
from tools.send import Outcome, converse, send


def executed(quantity: int, number: int = 7) -> Executed:
    return Executed(0, 0, number, quantity, 1_872_000, Liquidity.REMOVED, 901)


def canceled(quantity: int) -> Canceled:
    return Canceled(0, 0, 7, quantity, CancelReason.IMMEDIATE)


@pytest.mark.parametrize(
    ("events", "status", "still_open"),
    [
        ([accepted(7)], "open", 100),
        ([accepted(7), executed(60)], "open", 40),
        ([accepted(7), executed(60), executed(40)], "executed", 0),
        ([accepted(7), executed(60), canceled(40)], "canceled", 0),
        ([accepted(7), canceled(100)], "canceled", 0),
        ([Rejected(0, 0, 7, RejectReason.HALTED, "halted", "")], "rejected", 0),
    ],
)
def test_an_orders_outcome_follows_its_events(
    events: list[Event], status: str, still_open: int
) -> None:
    outcome = Outcome(7, 100)
    assert all(outcome.apply(event) for event in events)
    assert (outcome.status, outcome.summary()["open"]) == (status, still_open)
    assert outcome.is_over == (status != "open")


def test_events_of_other_orders_change_nothing() -> None:
    outcome = Outcome(7, 100)
    assert not outcome.apply(executed(60, number=6))
    assert outcome.summary()["executed"] == 0


def test_an_outcome_tells_its_trades_and_why_it_was_refused() -> None:
    traded, refused = Outcome(7, 100), Outcome(7, 100)
    traded.apply(accepted(7))
    traded.apply(executed(60))
    refused.apply(Rejected(0, 0, 7, RejectReason.HALTED, "halted", ""))
    assert traded.summary()["order_number"] == 1007
    assert traded.summary()["trades"] == [{"quantity": 60, "price": "187.20", "match": 901}]
    assert (refused.summary()["reason"], refused.summary()["text"]) == (2, "halted")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "exchange.toml"
    gateway = GatewaySettings(listen=Address("127.0.0.1", 4), clients=Path("clients.toml"))
    configuration_of("e1", gateways={"g1": gateway}).save(path)
    return path


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "what is to be sent"),
        (("buy", "100"), "what is to be sent"),
        (("buy", "100", "AAPL", "--price", "1e2"), "--price: '1e2' is not a price"),
        (("buy", "100", "AAPL", "--stop", "0"), "--stop: a price must be above 0"),
        (("buy", "100", "AAPL", "--interactive"), "goes without an order"),
        (("--interactive", "--json"), "goes without an order"),
        (("buy", "100", "TOOLONGASYMBOL"), "longer than 8 characters"),
        (("buy", "100", "AAPL/MSFT"), "an order is for one symbol"),
    ],
)
def test_a_wrong_command_line_is_refused_with_what_to_write(
    configuration: Path,
    words: tuple[str, ...],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = typer.Typer()
    app.command()(send)
    monkeypatch.setenv("LOCKSTEP_SECRET", "secret")
    with pytest.raises(UsageError, match=complaint):
        CliRunner().invoke(
            app, ["-c", str(configuration), "--client", "ALICE", *words], catch_exceptions=False
        )


def test_a_day_too_long_to_be_told_again_does_not_close_the_prompt(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    @contextlib.asynccontextmanager
    async def log_in(*_: object, next_sequence: int) -> AsyncIterator[ScriptedClient]:
        asked.append(next_sequence)
        if next_sequence == 1:
            raise LoginRejected(LoginRejectReason.NO_SUCH_SESSION, "not kept as far back")
        yield ScriptedClient()

    monkeypatch.setattr("tools.send.open_client", log_in)
    monkeypatch.setattr("sys.stdin", io.StringIO("buy 1 AAPL 5\nquit\n"))
    asyncio.run(converse(Configuration.load(configuration), "ALICE", "secret"))
    assert asked == [1, 0]
    assert capsys.readouterr().out.splitlines() == [
        "log-in refused: not kept as far back; orders from before are not known here",
        "logged in; live orders: 0; type help for what can be typed",
        "1 accepted: buy 100 AAPL at 187.25",
    ]


def test_a_wrong_secret_does_close_the_prompt(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def log_in(*_: object, next_sequence: int) -> AsyncIterator[ScriptedClient]:
        raise LoginRejected(LoginRejectReason.NOT_AUTHORISED, "not its secret")
        yield ScriptedClient()

    monkeypatch.setattr("tools.send.open_client", log_in)
    with pytest.raises(LoginRejected, match="not its secret"):
        asyncio.run(converse(Configuration.load(configuration), "ALICE", "secret"))
