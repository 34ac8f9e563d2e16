"""Whoever is primary of a shard is asked, and what it did is waited for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from engine.control import ControlServer
from tests.tools.replica_statuses import configuration_of, shards_of, status
from tools import shard_primary
from tools.console import CommandError
from tools.moving import Instrument
from tools.shard_primary import ShardPrimary, primaries_of

HALT = {"request": "halt", "symbol": "AAPL"}


class Replicas:
    """Replicas e1 and e2 of a shard: who leads, and how far the list is and is committed."""

    def __init__(self) -> None:
        self.configuration = configuration_of("e1", "e2")
        self.leader, self.epoch = "e1", 3
        self.sequence = self.committed_sequence = 10
        self.is_followed = True  # each look finds one more frame committed
        self.asked: list[tuple[str, Any]] = []
        self.on_request: Callable[[], dict[str, Any] | None] = lambda: None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ShardPrimary]:
        servers = {name: ControlServer(self._handler(name)) for name in ("e1", "e2")}
        for name, server in servers.items():
            await server.start(self.configuration.replicas[name].control)
        try:
            yield ShardPrimary(self.configuration)
        finally:
            for server in servers.values():
                await server.stop()

    def take_over(self) -> None:
        """e2 leads, and does not have what was not committed."""
        self.leader, self.epoch = "e2", self.epoch + 1
        self.sequence = self.committed_sequence = self.committed_sequence + 1

    def _handler(self, name: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        def handle(request: Mapping[str, Any]) -> dict[str, Any]:
            if request["request"] == "status":
                return self._status(name)
            self.asked.append((name, request["request"]))
            if name != self.leader:
                return {"error": f"{name} is not the primary"}
            if request["request"] == "instruments":
                return {"instruments": [{**AAPL._asdict()}] if "AAPL" in request["symbols"] else []}
            self.sequence += 1
            return self.on_request() or {"sequence": self.sequence}

        return handle

    def _status(self, name: str) -> dict[str, Any]:
        if name != self.leader:
            return status(name, epoch=self.epoch)
        self.committed_sequence += self.is_followed and self.committed_sequence < self.sequence
        at = {"sequence": self.sequence, "committed_sequence": self.committed_sequence}
        return status(name, state="primary", epoch=self.epoch, **at)


AAPL = Instrument("AAPL", "HALTED", 2, 40)


def asked(replicas: Replicas, work: Callable[[ShardPrimary], Any]) -> Any:
    async def situation() -> Any:
        async with replicas.serving() as primary, asyncio.timeout(20):
            return await work(primary)

    return asyncio.run(situation())


def test_what_the_primary_did_is_waited_for() -> None:
    replicas = Replicas()
    replicas.committed_sequence = 5
    assert asked(replicas, lambda primary: primary.commit(HALT)) == {"sequence": 11}
    assert replicas.committed_sequence == 11
    assert replicas.asked == [("e1", "halt")]


def test_what_is_lost_with_its_primary_is_not_taken_for_done() -> None:
    replicas = Replicas()

    def dies() -> None:
        replicas.take_over()

    replicas.on_request = dies
    assert asked(replicas, lambda primary: primary.commit(HALT)) is None


def test_primary_that_is_none_any_more_is_asked_once_and_the_next_one_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicas = Replicas()

    async def work(primary: ShardPrimary) -> Any:
        first = await primary.status()
        replicas.take_over()
        return first["name"], (await primary.status())["name"], await primary.commit(HALT)

    assert asked(replicas, work) == ("e1", "e2", {"sequence": 12})


def test_refusal_is_told_with_the_shard() -> None:
    replicas = Replicas()
    replicas.on_request = lambda: {"error": "AAPL is not listed here"}
    with pytest.raises(CommandError, match=r"shard 1: .*AAPL is not listed here"):
        asked(replicas, lambda primary: primary.commit(HALT))


def test_frame_that_nobody_commits_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_primary, "COMMITTED_WITHIN_S", 0.05)
    replicas = Replicas()
    replicas.is_followed = False
    with pytest.raises(CommandError, match="frame 11 was not committed within"):
        asked(replicas, lambda primary: primary.commit(HALT))


def test_instrument_is_told_once_all_before_it_is_committed() -> None:
    replicas = Replicas()
    replicas.committed_sequence = 7
    assert asked(replicas, lambda primary: primary.instrument("AAPL")) == AAPL
    assert replicas.committed_sequence == 10
    assert asked(replicas, lambda primary: primary.instrument("IBM")) is None


def test_shard_that_commits_is_led() -> None:
    replicas = Replicas()
    replicas.committed_sequence = 0
    asked(replicas, lambda primary: primary.until_led())
    assert replicas.committed_sequence == 10


def test_shard_without_a_primary_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_primary, "LED_WITHIN_S", 0.05)
    replicas = Replicas()
    replicas.leader = "nobody"
    with pytest.raises(CommandError, match="shard 1: no replica is primary"):
        asked(replicas, lambda primary: primary.status())


def test_all_shards_have_to_be_led_and_configured() -> None:
    configuration = shards_of(2)
    with pytest.raises(CommandError, match="shard 2: no replica is primary"):
        asyncio.run(primaries_of(configuration, [2]))
    with pytest.raises(CommandError, match="shard 3, 4 is not in this configuration"):
        asyncio.run(primaries_of(configuration, [1, 3, 4]))
