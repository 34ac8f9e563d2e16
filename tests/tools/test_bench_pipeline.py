"""The suite `pipeline`, and what all suites share that run a whole exchange."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from engine.markets import MarketMachine, ReferenceMarket, market_builder
from feed.datagrams import Decision, encode_decision
from feed.frames import whole_submissions
from feed.settings import Address
from tools.bench import pipeline, rig, workload
from tools.bench.command import bench_app
from tools.bench.figures import BenchmarkError
from tools.bench.machine import open_market
from tools.bench.pipeline import commands_between, verify_sent
from tools.bench.pipeline_driver import Mark, Sent, send_commands
from tools.bench.tape import Tape, log_ins
from tools.bench.workload import CLIENTS
from tools.processes import Exchange

TIME_NS = 1


@pytest.fixture(autouse=True)
def _small_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "PREFILL", 200)
    monkeypatch.setattr(pipeline, "PREFILL", 200)
    monkeypatch.setattr(pipeline, "OPERATIONS", 1_600)
    monkeypatch.setattr(pipeline, "WARM_UP_S", 0.2)


def opened() -> tuple[MarketMachine, int]:
    """A machine with a tape's clients logged in, and its next sequence number."""
    market = ReferenceMarket()
    sequence = open_market(market)
    return market, market.submit(log_ins(), sequence, TIME_NS).run.next_sequence


def test_a_tape_makes_as_many_frames_as_it_says_cycle_after_cycle() -> None:
    market, first = opened()
    tape = Tape(depth=100, operations=500, piece=64, seed=3)
    sequence = first
    pieces = list(islice(tape.pieces(), 40))
    for piece in pieces:
        sequenced = market.submit(piece.data, sequence, TIME_NS)
        assert sequenced.not_admitted == 0
        sequence = sequenced.run.next_sequence
        assert sequence - first == piece.frames
    assert pieces[-1].commands > 3 * 600  # several cycles
    sent = b"".join(piece.data for piece in pieces)
    assert whole_submissions(sent) == (len(sent), pieces[-1].commands)


def test_a_cycle_of_a_tape_leaves_nothing_in_the_book() -> None:
    market, sequence = opened()
    lives = []
    for piece in islice(Tape(depth=100, operations=500, piece=64, seed=3).pieces(), 40):
        sequence = market.submit(piece.data, sequence, TIME_NS).run.next_sequence
        lives.append(market.live_orders)
    assert lives.count(0) >= 2
    assert max(lives) >= 100


def test_commands_are_counted_from_the_frames_that_came() -> None:
    marks = [Mark(12, 0), Mark(28, 10), Mark(45, 20), Mark(60, 30)]
    assert commands_between(marks, 12, 60) == 30
    assert commands_between(marks, 28, 45) == 10
    assert commands_between(marks, 20, 50) == 20  # to a piece of the tape
    assert commands_between(marks, 28, 28) == 0
    assert commands_between(marks, 45, 99) == 10  # the last mark is the end


def test_a_list_that_does_not_hold_what_was_sent_has_no_figure() -> None:
    sent = Sent([Mark(12, 0), Mark(60, 30)], 60)
    well = {"not_admitted": 0, "rejects": 0}
    verify_sent(sent, 60, well)
    for wrong, committed, status in (
        (sent._replace(last_sequence=59), 60, well),
        (sent, 59, well),
        (sent, 60, {**well, "rejects": 1}),
        (sent, 60, {**well, "not_admitted": 1}),
    ):
        with pytest.raises(BenchmarkError, match="to bring the list to 60"):
            verify_sent(wrong, committed, status)


@contextmanager
def listening_primary(serve: Callable[[socket.socket], None]) -> Iterator[Address]:
    """A primary's command port on a thread, for one connection."""

    def run() -> None:
        with listener.accept()[0] as connection:
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield Address(*listener.getsockname())
        thread.join()


def honest_primary(connection: socket.socket) -> None:
    """Carries out what comes, and decides each read."""
    market = market_builder()()
    sequence = open_market(market)
    unread = b""
    count = 0
    while data := connection.recv(1 << 16):
        data = unread + data
        size, submissions = whole_submissions(data)
        unread = data[size:]
        sequence = market.submit(data[:size], sequence, TIME_NS).run.next_sequence
        count += submissions
        connection.sendall(encode_decision(Decision(1, count, sequence - 1)))


def test_the_driver_sends_until_its_time_is_over_and_all_is_decided() -> None:
    said: list[Mark | Sent] = []
    with listening_primary(honest_primary) as address:
        sent = send_commands(said.append, address, 100, 500, 3, 0.1)
    assert said == [sent.marks[0]]
    assert sent.last_sequence == sent.marks[-1].sequence
    assert sent.marks[-1].commands > 0
    assert sent.marks == sorted(sent.marks)


def hangs_up(connection: socket.socket) -> None:
    """Decides on the log-ins, reads a little, and is gone."""
    received = bytearray()
    while len(received) < len(log_ins()):
        received += connection.recv(len(log_ins()))
    assert whole_submissions(bytes(received)) == (len(log_ins()), CLIENTS)
    connection.sendall(encode_decision(Decision(1, CLIENTS, 20)))
    connection.recv(1_000)


def test_a_primary_that_hangs_up_is_told() -> None:
    with (
        listening_primary(hangs_up) as address,
        pytest.raises((BenchmarkError, ConnectionError)),
    ):
        send_commands(lambda _: None, address, 100, 500, 3, 5.0)


class EndedExchange:
    """An exchange that has nothing more to do, and says how it ended."""

    def __init__(
        self,
        lists: Mapping[str, str],
        states: Mapping[str, str],
        leader: str,
        shard: int | None = None,
    ) -> None:
        self.summaries: dict[str, Any] = {}
        self._lists = lists
        self._states = states
        self._leader = leader
        self._shard = shard
        self.configuration = self

    gateways = ("g1",)
    retransmitters = ("r1",)

    def of_shard(self, shard: int | None) -> "EndedExchange":
        assert shard == self._shard
        return self

    async def until(self, *_: object, shard: int | None) -> dict[str, Any]:
        assert shard == self._shard
        return {"name": self._leader, "epoch": 1, "sequence": 9}

    async def statuses(self, *, digests: bool, shard: int | None) -> dict[str, dict[str, Any]]:
        assert digests
        assert shard == self._shard
        return {
            name: {"sequence": 9, "list_digest": self._lists[name], "state_digest": state}
            for name, state in self._states.items()
        }

    async def finish(self, name: str) -> dict[str, Any]:
        assert name not in self.summaries, "it has been stopped"
        told = {"sequence": 9, "next_sequence": 10, "list_digest": self._lists[name]}
        if self._shard is not None and name == "g1":
            told = {"shards": {str(self._shard): told, "9": {"sequence": 1, "list_digest": "z"}}}
        self.summaries[name] = told
        return told


LISTS = {"e1": "a", "e2": "a", "g1": "a", "r1": "a"}
STATES = {"e1": "s", "e2": "s"}


def verify(lists: Mapping[str, str], states: Mapping[str, str], leader: str = "e1") -> None:
    exchange = cast(Exchange, EndedExchange(lists, states, leader))
    asyncio.run(rig.verify_ends(exchange, {"name": "e1", "epoch": 1}))


@pytest.mark.parametrize("name", list(LISTS))
def test_each_shard_is_held_against_what_a_gateway_says_of_it(name: str) -> None:
    began = {"name": "e1", "epoch": 1}
    same = cast(Exchange, EndedExchange(LISTS, STATES, "e1", shard=2))
    asyncio.run(rig.verify_ends(same, began, shard=2))
    other = cast(Exchange, EndedExchange({**LISTS, name: "b"}, STATES, "e1", shard=2))
    with pytest.raises(BenchmarkError, match="not all ended with one list"):
        asyncio.run(rig.verify_ends(other, began, shard=2))


@pytest.mark.parametrize("name", list(LISTS))
def test_one_who_ends_with_another_list_is_found_out(name: str) -> None:
    verify(LISTS, STATES)
    with pytest.raises(BenchmarkError, match="not all ended with one list"):
        verify({**LISTS, name: "b"}, STATES)


def test_one_who_ends_with_another_state_is_found_out() -> None:
    with pytest.raises(BenchmarkError, match="not all ended with one list"):
        verify(LISTS, {**STATES, "e2": "t"})


def test_a_run_in_which_the_primary_was_replaced_has_no_figure() -> None:
    with pytest.raises(BenchmarkError, match="e1 led at first, and e2 took over"):
        verify(LISTS, STATES, leader="e2")


def test_cpu_time_is_told_by_process() -> None:
    meter = rig.CpuMeter({"self": os.getpid()})
    sum(range(2_000_000))
    spent = meter.spent()
    assert 0 < spent.by_process["self"] <= spent.seconds * (os.cpu_count() or 1) + 0.02


def test_a_whole_pipeline_loses_nothing_and_says_what_it_cost() -> None:
    result = CliRunner().invoke(bench_app, ["pipeline", "--seconds", "0.5", "--json"])
    assert result.exit_code == 0, result.output
    figures = {each["name"]: each for each in json.loads(result.stdout)}
    assert list(figures) == ["committed commands", "committed frames", "cores used"]
    commands, frames, cores = figures.values()
    assert {each["suite"] for each in figures.values()} == {"pipeline"}
    assert 1.2 < frames["value"] / commands["value"] < 2
    assert commands["baseline"] > commands["value"] > 0
    assert 0 < cores["value"] <= cores["baseline"] + 0.2
    assert "machine in use" in result.stderr
