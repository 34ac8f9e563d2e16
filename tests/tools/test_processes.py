"""A whole exchange of child processes, brought up and taken down."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from tests.tools.other_processes import processes_with
from tools.child import ChildError
from tools.console import CommandError
from tools.credentials import read_secrets
from tools.processes import ClientSpec, Exchange, Transport

WITHIN_S = 90
CLIENTS = {"ALICE": ClientSpec(), "BOB": ClientSpec(secret="sesame")}
SYMBOLS = [InstrumentSettings(symbol="AAPL")]


def run(situation: Callable[[], Awaitable[None]]) -> None:
    async def within_limits() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(within_limits())


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exchanges put their folders where the test can look for what they leave behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_exchange_comes_up_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def situation() -> None:
        exchange = Exchange(clients=CLIENTS, symbols=SYMBOLS, name="TEST")
        async with exchange:
            assert list(exchange.children) == ["r1", "r2", "engine", "g1"]
            assert len(processes_with(str(tmp_path))) == 4
            assert exchange.secrets["BOB"] == "sesame"
            assert read_secrets(exchange.secrets_path) == exchange.secrets
            assert (await exchange.status())["commands"] == 2
            assert exchange.configuration.exchange == "TEST"
        assert exchange.summaries.keys() == {"r1", "r2", "engine", "g1"}
        assert list(exchange.summaries) == ["g1", "engine", "r2", "r1"]
        assert {
            name: each["gaps_detected"]
            for name, each in exchange.summaries.items()
            if each["role"] == "retransmitter"
        } == {"r1": 0, "r2": 0}
        assert exchange.summaries["r1"]["next_sequence"] == 3

    run(situation)
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []


def test_exchange_by_unicast_reaches_every_receiver_and_puts_faults_in() -> None:
    async def situation() -> None:
        shares = FaultShares(drop=1.0)
        exchange = Exchange(
            clients={},
            symbols=SYMBOLS,
            gateways=1,
            retransmitters=1,
            faults=shares,
            transport=Transport.UNICAST,
        )
        async with exchange:
            feed = exchange.configuration.feed
            assert feed.transport == "unicast"
            assert exchange.receive in feed.receivers
            assert len(feed.receivers) == 3
            await exchange.status()
        sockets = exchange.summaries["r1"]["feed_sockets"]
        assert sockets["packets"] > 0
        assert exchange.summaries["r1"]["next_sequence"] == 1

    run(situation)


def test_process_that_can_not_start_takes_the_exchange_down(tmp_path: Path) -> None:
    async def situation() -> None:
        missing = tmp_path / "missing.pem"
        exchange = Exchange(
            clients={},
            symbols=SYMBOLS,
            retransmitters=0,
            gateway_options={"tls_certificate": missing, "tls_key": missing},
        )
        with pytest.raises(ChildError, match=r"the process g1 ended(.|\n)*missing\.pem"):
            async with exchange:
                raise AssertionError("it came up")

    run(situation)
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []


def test_process_that_dies_is_noticed_and_the_others_are_stopped(tmp_path: Path) -> None:
    async def situation() -> None:
        exchange = Exchange(clients={}, symbols=SYMBOLS, gateways=0, retransmitters=1)
        async with exchange:
            watching = asyncio.ensure_future(exchange.watch())
            os.kill(exchange.children["engine"].process_id, signal.SIGKILL)
            with pytest.raises(ChildError, match="engine ended by itself"):
                await watching
            with pytest.raises(CommandError, match="no answer from an engine"):
                await exchange.status()
            raise ChildError("as the caller would")

    with pytest.raises(ChildError, match="as the caller would"):
        run(situation)
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []
