"""The end of a run: waiting until all is quiet, and comparing what everybody has."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from engine.control import ControlError
from tests.tools.replica_statuses import status
from tools import settling
from tools.observer import FeedError, Observer
from tools.processes import Exchange
from tools.settling import Settled, digests_equal, settle

DIGESTS = {"e1": "list", "e2": "list", "subscriber": "list"}
STATES = {"e1": "state", "e2": "state"}


class FakeExchange:
    """A primary whose list grows by a frame at each look, up to 500, and a backup."""

    def __init__(self, reached: int, **backup: Any) -> None:
        self.sequence = reached
        self._backup = backup

    async def statuses(self, *, digests: bool = False, shard: int | None = None) -> dict[str, Any]:
        self.sequence = min(500, self.sequence + 1)
        at = {"sequence": self.sequence, "committed_sequence": self.sequence}
        return {
            "e1": status("e1", state="primary", **at),
            "e2": status("e2", **{**at, **self._backup}),
        }


class FakeDigest:
    def hex(self) -> str:
        return "list"


class FakeBooks:
    def digest(self) -> str:
        return "book"


class FakeObserver:
    """An observer that gets what the primary has by the next look, up to a limit."""

    def __init__(self, exchange: FakeExchange, limit: int, *, fails: bool = False) -> None:
        self.books = FakeBooks()
        self.digest = FakeDigest()
        self._exchange = exchange
        self._limit = limit
        self._fails = fails

    @property
    def sequence(self) -> int:
        return min(self._exchange.sequence, self._limit)

    async def watch_until(self, stop: asyncio.Event, *, within_s: float) -> None:
        if self._fails:
            raise FeedError("nobody holds it")
        await asyncio.sleep(0)


def settling_of(exchange: FakeExchange, observer: FakeObserver) -> Settled:
    return asyncio.run(settle(cast(Exchange, exchange), cast(Observer, observer)))


def test_settling_waits_until_the_list_grows_no_more() -> None:
    exchange = FakeExchange(490)
    result = settling_of(exchange, FakeObserver(exchange, 500))
    assert (result.status["name"], result.status["sequence"]) == ("e1", 500)
    assert result[1:] == (0, True, DIGESTS, STATES, None)


def test_settling_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SETTLE_WITHIN_S", 0.05)
    exchange = FakeExchange(490)
    result = settling_of(exchange, FakeObserver(exchange, 495))
    assert (result.frames_lost, result.books_equal) == (5, False)
    assert result.failure == "frames 496 and later did not arrive"


def test_replica_that_stays_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SETTLE_WITHIN_S", 0.05)
    exchange = FakeExchange(499, sequence=320)
    result = settling_of(exchange, FakeObserver(exchange, 500))
    assert (result.frames_lost, result.books_equal) == (0, True)
    assert result.failure == "these replicas did not get as far: e2"


def test_settling_ends_when_the_observer_can_not_get_further() -> None:
    exchange = FakeExchange(499)
    result = settling_of(exchange, FakeObserver(exchange, 450, fails=True))
    assert (result.frames_lost, result.books_equal) == (50, False)
    assert result.failure == "nobody holds it"


def test_books_that_differ_at_the_same_sequence_number_are_not_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeBooks, "digest", lambda self: "other")
    exchange = FakeExchange(499)
    result = settling_of(exchange, FakeObserver(exchange, 500))
    assert (result.frames_lost, result.books_equal, result.failure) == (0, False, None)


def test_replica_that_does_not_answer_is_never_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SETTLE_WITHIN_S", 0.05)

    class Silent(FakeExchange):
        async def statuses(
            self, *, digests: bool = False, shard: int | None = None
        ) -> dict[str, Any]:
            return {**await super().statuses(digests=digests), "e2": ControlError("no answer")}

    exchange = Silent(499)
    result = settling_of(exchange, FakeObserver(exchange, 500))
    assert result.failure == "these replicas did not get as far: e2"
    assert result.list_digests.keys() == {"e1", "subscriber"}


@pytest.mark.parametrize(
    ("changes", "summaries", "equal"),
    [
        ({}, {}, True),
        ({"list_digests": {**DIGESTS, "e2": "other"}}, {}, False),
        ({"list_digests": {**DIGESTS, "e2": None}}, {}, True),
        ({"state_digests": {**STATES, "e2": "other"}}, {}, False),
        ({"failure": "these replicas did not get as far: e2"}, {}, False),
        ({}, {"r1": {"role": "retransmitter", "list_digest": "other"}}, False),
        ({}, {"r1": {"role": "retransmitter", "list_digest": None}}, True),
        ({}, {"g1": {"role": "gateway", "list_digest": "other"}}, False),
        ({}, {"load": {"role": "load"}}, True),
    ],
)
def test_digests_are_equal_when_everybody_who_knows_has_the_same_list(
    changes: dict[str, Any], summaries: Mapping[str, dict[str, Any]], equal: bool
) -> None:
    usual = Settled(status("e1", state="primary"), 0, True, DIGESTS, STATES, None)
    assert digests_equal(usual._replace(**changes), summaries) is equal
