"""What the demo says of a run: its figures, its words and its exit status."""

import asyncio
import json
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from feed.faults import FaultShares
from tools import demo as demo_module
from tools import settling
from tools.cli import build_app
from tools.console import Summary
from tools.demo import summarize
from tools.observer import FeedError, Observer
from tools.processes import Exchange
from tools.settling import Settled, settle

STATUS = {
    "sequence": 500,
    "commands": 300,
    "frames": 500,
    "trades": 80,
    "live_orders": 40,
    "book_digest": "abc",
}
PROCESSES: dict[str, Summary] = {
    "load": {"role": "load", "round_trip_us": {"median": 900, "p99": 4000}},
    "g1": {"role": "gateway", "sequence": 500, "gaps_detected": 3, "gaps_filled": 3},
    "engine": {"role": "engine", "sequence": 500},
    "r1": {"role": "retransmitter", "next_sequence": 501, "gaps_detected": 1, "gaps_filled": 1},
}
OBSERVER: Summary = {"role": "subscriber", "sequence": 500, "gaps_detected": 2, "gaps_filled": 2}


def settled(**changes: Any) -> Settled:
    usual = Settled(STATUS, frames_lost=0, books_equal=True, failure=None)
    return usual._replace(**changes)


def test_summary_adds_up_all_receivers() -> None:
    result = summarize(settled(), OBSERVER, PROCESSES, 2.0, FaultShares(drop=0.05))
    assert result == {
        "commands": 300,
        "frames": 500,
        "trades": 80,
        "gaps_detected": 6,
        "gaps_filled": 6,
        "frames_lost": 0,
        "books_equal": True,
        "seconds": 2.0,
        "commands_per_second": 150,
        "sequence": 500,
        "live_orders": 40,
        "book_digest": "abc",
        "faults": "drop=5,duplicate=0,reorder=0,corrupt=0",
        "round_trip_us": {"median": 900, "p99": 4000},
        "receivers": {
            "subscriber": {"gaps_detected": 2, "gaps_filled": 2, "frames_lost": 0},
            "g1": {"gaps_detected": 3, "gaps_filled": 3, "frames_lost": 0},
            "r1": {"gaps_detected": 1, "gaps_filled": 1, "frames_lost": 0},
        },
    }


@pytest.mark.parametrize(
    ("name", "field", "reached"), [("g1", "sequence", 490), ("r1", "next_sequence", 491)]
)
def test_receiver_that_lags_behind_at_the_end_has_lost_frames(
    name: str, field: str, reached: int
) -> None:
    processes = {**PROCESSES, name: {**PROCESSES[name], field: reached}}
    result = summarize(settled(), OBSERVER, processes, 2.0, None)
    assert result["frames_lost"] == 10
    assert result["receivers"][name]["frames_lost"] == 10


def test_subscriber_that_had_to_give_up_has_lost_frames_and_says_why() -> None:
    failed = settled(frames_lost=7, books_equal=False, failure="nobody holds it")
    result = summarize(failed, OBSERVER, PROCESSES, 2.0, None)
    assert (result["frames_lost"], result["books_equal"]) == (7, False)
    assert result["failure"] == "nobody holds it"


class FakeExchange:
    """An engine whose list grows by a frame at each look, up to 500."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence

    async def status(self) -> dict[str, Any]:
        self.sequence = min(500, self.sequence + 1)
        return {**STATUS, "sequence": self.sequence}


class FakeBooks:
    def digest(self) -> str:
        return "abc"


class FakeObserver:
    """An observer that gets what the engine has by the next look, up to a limit."""

    def __init__(self, exchange: FakeExchange, limit: int, *, fails: bool = False) -> None:
        self.books = FakeBooks()
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
    assert result == Settled({**STATUS, "sequence": 500}, 0, True, None)


def test_settling_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SETTLE_WITHIN_S", 0.05)
    exchange = FakeExchange(490)
    result = settling_of(exchange, FakeObserver(exchange, 495))
    assert result[1:] == (5, False, "frames 496 and later did not arrive")


def test_settling_ends_when_the_observer_can_not_get_further() -> None:
    exchange = FakeExchange(499)
    result = settling_of(exchange, FakeObserver(exchange, 450, fails=True))
    assert result[1:] == (50, False, "nobody holds it")


def test_books_that_differ_at_the_same_sequence_number_are_not_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeBooks, "digest", lambda self: "other")
    exchange = FakeExchange(499)
    result = settling_of(exchange, FakeObserver(exchange, 500))
    assert result[1:] == (0, False, None)


def outcome(result: Summary, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    async def run(*_: object, **__: object) -> Summary:
        return result

    monkeypatch.setattr(demo_module, "_run", run)
    done = CliRunner().invoke(build_app(["demo"]), ["demo", "--headless", *arguments])
    return done.exit_code, done.stdout


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"books_equal": False}, 1),
        ({"frames_lost": 1}, 1),
        ({"frames_lost": 1, "books_equal": False, "failure": "nobody holds it"}, 1),
    ],
)
def test_exit_status_is_1_when_books_differ_or_a_frame_was_lost(
    changes: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = summarize(settled(**changes), OBSERVER, PROCESSES, 2.0, None)
    assert outcome(result, monkeypatch)[0] == status
    code, printed = outcome(result, monkeypatch, "--json")
    assert code == status
    assert json.loads(printed) == result


def test_result_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    result = summarize(settled(), OBSERVER, PROCESSES, 2.0, None)
    assert outcome(result, monkeypatch)[1].splitlines() == [
        "300 commands, 500 frames and 80 trades in 2.0 s.",
        "6 gaps were found at all receivers together, 6 of them filled; 0 frames were lost.",
        "The subscriber's books equal the engine's, at sequence number 500.",
    ]
    failed = summarize(
        settled(books_equal=False, frames_lost=3, failure="nobody holds it"),
        OBSERVER,
        PROCESSES,
        2.0,
        None,
    )
    assert outcome(failed, monkeypatch)[1].splitlines()[-1] == (
        "The subscriber's books do NOT equal the engine's at 500: nobody holds it."
    )


def test_demo_without_a_terminal_says_what_to_do() -> None:
    done = CliRunner().invoke(build_app(["demo"]), ["demo"])
    assert "add --headless" in str(done.exception)
