import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterable

import pytest

from engine.rejects import RejectReason
from feed.messages import CancelReason
from gateway.client_errors import ConnectionLost
from gateway.events import Canceled, Event, Executed, Rejected
from gateway.ouch import Liquidity
from tests.tools.scripted_client import ScriptedClient, accept_all, accepted, replaced
from tools import prompt
from tools.prompt import Prompt, Terminal


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "QUIET_S", 0.01)
    monkeypatch.setattr(prompt, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(prompt, "LAST_ANSWERS_WITHIN_S", 0.05)


def converse(client: ScriptedClient, *lines: str) -> list[str]:
    """What is said when these lines are typed."""
    said: list[str] = []

    async def typed() -> AsyncIterator[str]:
        for line in lines:
            yield f"{line}\n"

    async def run() -> None:
        async with asyncio.timeout(20):
            await Prompt(client, said.append).run(typed())

    asyncio.run(run())
    return said[1:]  # without the greeting


def test_what_is_typed_is_sent_and_its_events_are_told_as_they_come() -> None:
    def answer(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        if command == "cancel 2 10":
            return [Canceled(9, 0, 2, 90, CancelReason.USER)]
        if number == 1:
            return [accepted(1), Executed(2, 0, 1, 60, 1_872_000, Liquidity.REMOVED, 9)]
        if command.startswith("replace"):
            return [replaced(number, original=2)]
        return accept_all(client, command, number)

    client = ScriptedClient(answer)
    assert converse(
        client,
        "buy 100 AAPL 187.25 ioc",
        "",
        "short 100 AAPL 190 stop 180 post-only",
        "cancel 2 10",
        "orders",
        "replace 2 100 187.25",
        "cancel all",
        "quit",
        "buy 1 AAPL",
    ) == [
        "1 accepted: buy 100 AAPL at 187.25",
        "1 executed: 60 at 187.20",
        "2 accepted: buy 100 AAPL at 187.25",
        "2 canceled: 90, as asked",
        "     1  buy 40 AAPL at 187.25",
        "     2  buy 10 AAPL at 187.25",
        "3 replaces 2: buy 100 AAPL at 187.25",
        "4 cancels all orders",
    ]
    assert client.commands == [
        "enter BUY 100 AAPL 1872500 0 IMMEDIATE_OR_CANCEL",
        "enter SELL_SHORT 100 AAPL 1900000 1800000 DAY post-only",
        "cancel 2 10",
        "replace 2 100 1872500 0",
        "mass_cancel None",
    ]


def test_what_can_not_be_sent_is_told_and_the_prompt_goes_on() -> None:
    client = ScriptedClient()
    assert converse(client, "bye", "buy 1 TOOLONGASYMBOL 1", "buy 1 AAPL 1") == [
        "'bye' is no request; type help",
        "longer than 8 characters",
        "1 accepted: buy 100 AAPL at 187.25",
    ]


def test_a_reject_is_told() -> None:
    def reject(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        return [Rejected(0, 0, number, RejectReason.HALTED, "the instrument is halted", "")]

    assert converse(ScriptedClient(reject), "buy 1 AAPL 1") == [
        "1 rejected: the instrument is halted"
    ]


def test_orders_from_before_the_log_in_are_known_but_their_events_not_told_again() -> None:
    client = ScriptedClient(first_user_ref_num=3)
    client.tell(accepted(1))
    client.tell(accepted(2))
    client.tell(Canceled(3, 0, 2, 100, CancelReason.USER))
    assert converse(client, "orders") == ["     1  buy 100 AAPL at 187.25"]


def test_help_tells_every_request() -> None:
    (text,) = converse(ScriptedClient(), "help")
    for word in ("buy", "sell", "short", "cancel", "replace", "orders", "help", "quit"):
        assert word in text


def test_requests_without_an_answer_are_told_at_the_end() -> None:
    client = ScriptedClient(lambda *_: [])
    assert converse(client, "buy 1 AAPL 1", "cancel 1") == ["without an answer so far: 1"]


def test_a_client_that_can_not_go_on_ends_the_conversation() -> None:
    def lose(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        client.tell(ConnectionLost("no gateway could be reached"))
        return []

    with pytest.raises(ConnectionLost):
        converse(ScriptedClient(lose), "buy 1 AAPL 1", "orders")


def test_lines_that_nobody_wants_any_more_end_their_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("orders\n" * 1000))
    failures: list[object] = []
    monkeypatch.setattr("threading.excepthook", failures.append)

    async def take_one() -> str:
        return await anext(Terminal().lines())

    assert asyncio.run(take_one()) == "orders\n"
    for thread in threading.enumerate():
        if thread.name == "standard input":
            thread.join(10)
            assert not thread.is_alive()
    assert failures == []
