"""What the demo says of a run: its figures, its words and its exit status."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from tests.tools.replica_statuses import configuration_of, status
from tools import demo as demo_module
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import Summary
from tools.demo_run import Demo, DemoOptions, holder_states
from tools.layout import Layout, Transport
from tools.outcome import ShardEnd, summarize, summarize_shards
from tools.settling import Settled
from tools.takeovers import Takeover
from tools.view import HolderState
from zk.settings import ZooKeeperSettings

STATUS = status("e1", state="primary", sequence=500, frames=500, commands=300, trades=80)
PROCESSES: dict[str, Summary] = {
    "load": {"role": "load", "round_trip_us": {"median": 900, "p99": 4000}},
    "g1": {
        "role": "gateway",
        "sequence": 500,
        "gaps_detected": 3,
        "gaps_filled": 3,
        "list_digest": "list",
    },
    "e1": {"role": "replica", "sequence": 500, "list_digest": "list"},
    "r1": {
        "role": "retransmitter",
        "next_sequence": 501,
        "gaps_detected": 1,
        "gaps_filled": 1,
        "list_digest": "list",
    },
}
OBSERVER: Summary = {"role": "subscriber", "sequence": 500, "gaps_detected": 2, "gaps_filled": 2}
TAKEOVERS = [Takeover(4, "e2", "e1", 38.25), Takeover(5, "e3", None, None)]


def settled(**changes: Any) -> Settled:
    lists = {"e1": "list", "subscriber": "list"}
    usual = Settled(STATUS, 0, True, lists, {"e1": "state"}, None)
    return usual._replace(**changes)


def test_summary_adds_up_all_receivers() -> None:
    result = summarize(settled(), OBSERVER, PROCESSES, 2.0, FaultShares(drop=0.05), TAKEOVERS)
    assert result == {
        "commands": 300,
        "frames": 500,
        "trades": 80,
        "gaps_detected": 6,
        "gaps_filled": 6,
        "frames_lost": 0,
        "books_equal": True,
        "digests_equal": True,
        "takeovers": [
            {"epoch": 4, "primary": "e2", "killed": "e1", "takeover_ms": 38.25},
            {"epoch": 5, "primary": "e3", "killed": None, "takeover_ms": None},
        ],
        "seconds": 2.0,
        "commands_per_second": 150,
        "primary": "e1",
        "epoch": 3,
        "sequence": 500,
        "live_orders": 40,
        "book_digest": "book",
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
        ({"list_digests": {"e1": "list", "e2": "other"}}, 1),
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
        "The subscriber's books equal the primary's, at sequence number 500.",
        "All replicas, retransmitters, gateways and the subscriber have the same list.",
    ]
    failed = summarize(
        settled(books_equal=False, frames_lost=3, failure="nobody holds it"),
        OBSERVER,
        PROCESSES,
        2.0,
        None,
    )
    assert outcome(failed, monkeypatch)[1].splitlines()[-2:] == [
        "The subscriber's books do NOT equal the primary's at 500: nobody holds it.",
        "Their lists do NOT all have the same digest.",
    ]


def test_takeovers_are_told_with_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    result = summarize(settled(), OBSERVER, PROCESSES, 2.0, None, TAKEOVERS)
    assert outcome(result, monkeypatch)[1].splitlines()[2:4] == [
        "e1 was killed; e2 had its first frame of epoch 4 committed 38.2 ms later.",
        "e3 took over in epoch 5, though nobody had been killed.",
    ]


def test_holders_are_shown_as_down_returning_or_behind() -> None:
    def holder(**changes: Any) -> dict[str, Any]:
        return {"alive": True, "state": None, "lag": 0, "vote": True, **changes}

    holders = {
        "e1": holder(state="primary"),
        "e2": holder(state="no answer", lag=7),
        "e3": holder(state="returning", lag=90, vote=False),
        "r1": holder(lag=3),
        "r2": holder(vote=False, lag=40),
        "r3": holder(alive=False, lag=500),
    }
    assert holder_states({"holders": holders}) == [
        HolderState("e1", "primary", 0),
        HolderState("e2", "down", None),
        HolderState("e3", "returning", 90),
        HolderState("r1", "", 3),
        HolderState("r2", "returning", 40),
        HolderState("r3", "down", None),
    ]
    assert holder_states({}) == []


def test_demo_without_a_terminal_says_what_to_do() -> None:
    done = CliRunner().invoke(build_app(["demo"]), ["demo"])
    assert "add --headless" in str(done.exception)


def two_shards() -> tuple[Configuration, dict[int, ShardEnd], dict[str, Summary]]:
    """How a demo ended in two shards, in the second of which there was a takeover."""
    layout = Layout(["e1", "e2"], ["r1", "r2"], ["g1"], shards=2)
    symbols, clients = [InstrumentSettings(symbol="AAPL")], Path("clients.toml")
    configuration, _ = layout.configuration("TEST", symbols, ZooKeeperSettings(), clients)
    ends = {
        shard: ShardEnd(
            settled(status=status(f"e{shard}", state="primary", sequence=500, commands=300)),
            {**OBSERVER, "sequence": 500},
            TAKEOVERS[:1] if shard == 2 else [],
        )
        for shard in (1, 2)
    }
    part = {key: value for key, value in PROCESSES["g1"].items() if key != "role"}
    processes = {
        "load": PROCESSES["load"],
        "e1": PROCESSES["e1"],
        "e2": PROCESSES["e1"],
        "r1": PROCESSES["r1"],
        "r2": {**PROCESSES["r1"], "next_sequence": 498},
        "g1": {"role": "gateway", "shards": {"1": part, "2": {**part, "sequence": 490}}},
    }
    return configuration, ends, processes


def test_summary_of_several_shards_has_each_and_all_together() -> None:
    result = summarize_shards(*two_shards(), 2.0, None)
    one, two = result["shards"]["1"], result["shards"]["2"]
    assert (one["commands"], two["commands"], result["commands"]) == (300, 300, 600)
    assert (one["frames_lost"], two["frames_lost"], result["frames_lost"]) == (0, 13, 13)
    assert list(two["receivers"]) == ["subscriber", "r2", "g1"]
    assert two["receivers"]["g1"]["frames_lost"] == 10
    assert (one["primary"], two["primary"]) == ("e1", "e2")
    assert (result["books_equal"], result["digests_equal"]) == (True, True)
    assert result["takeovers"] == [{"shard": 2, **TAKEOVERS[0]._asdict()}]
    assert (result["seconds"], result["commands_per_second"]) == (2.0, 300)
    assert "seconds" not in one
    assert "primary" not in result


def test_list_that_differs_in_one_shard_differs_in_all() -> None:
    configuration, ends, processes = two_shards()
    lists = {"e2": "list", "subscriber": "other"}
    ends[2] = ends[2]._replace(settled=settled(list_digests=lists, books_equal=False))
    result = summarize_shards(configuration, ends, processes, 2.0, None)
    assert (result["books_equal"], result["digests_equal"]) == (False, False)
    assert result["shards"]["1"]["digests_equal"] is True


def test_result_of_several_shards_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    result = summarize_shards(*two_shards(), 2.0, None)
    assert outcome(result, monkeypatch)[1].splitlines()[2:] == [
        "Shard 2: e1 was killed; e2 had its first frame of epoch 4 committed 38.2 ms later.",
        "The subscriber's books equal the primary's in shard 1, at sequence number 500.",
        "The subscriber's books equal the primary's in shard 2, at sequence number 500.",
        "All replicas, retransmitters, gateways and the subscriber have the same list.",
    ]


def test_one_shard_is_summed_up_as_ever() -> None:
    end = ShardEnd(settled(), OBSERVER, TAKEOVERS)
    result = summarize_shards(configuration_of("e1"), {1: end}, PROCESSES, 2.0, None)
    assert result == summarize(settled(), OBSERVER, PROCESSES, 2.0, None, TAKEOVERS)


def killed_by(shards: int, *keys: str) -> list[int | None]:
    """The shards whose primary is to be killed after each of these keys."""
    options = DemoOptions(
        seconds=1.0,
        symbols=2,
        shards=shards,
        clients=1,
        gateways=1,
        rate=1,
        kill_after_s=None,
        seed=1,
        faults=None,
        transport=Transport.AUTO,
        keep=None,
    )
    runner = Demo(options, asyncio.Event())
    wanted = []
    for key in keys:
        runner.keys()[key]()
        wanted.append(runner.wanted)
    return wanted


def test_key_kills_each_shards_primary_in_turn_and_a_digit_that_of_its_shard() -> None:
    assert killed_by(3, "k", "k", "k", "k", "3", "k") == [1, 2, 3, 1, 3, 1]
    assert killed_by(1, "k", "k") == [1, 1]
    with pytest.raises(KeyError):
        killed_by(1, "1")
