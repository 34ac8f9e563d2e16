"""The suite `pipeline`: commands in over TCP, committed frames out at a subscriber.

The exchange is a real one: three replicas, two retransmitters and ZooKeeper, each a process. One
more writes commands to the primary as fast as TCP takes them, and this one subscribes to the feed.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from engine.markets import market_builder
from engine.settings import InstrumentSettings, MachineKind
from feed.messages import unpad
from feed.settings import SyncPolicy
from tools.bench.apart import Apart
from tools.bench.figures import (
    BenchmarkError,
    Report,
    Stopwatch,
    measurement,
    settled_collector,
)
from tools.bench.machine import open_market, to_packets
from tools.bench.pipeline_driver import PIECE, Mark, Sent, send_commands
from tools.bench.rig import (
    CpuMeter,
    FeedReader,
    Spent,
    cpu_table,
    process_ids,
    running_exchange,
    until_all_have_all,
    verify_ends,
    watched,
)
from tools.bench.tape import Tape, log_ins
from tools.bench.workload import PREFILL, SYMBOL, TICK
from tools.processes import Exchange
from tools.replicas import Status

WARM_UP_S = 2.0
OPERATIONS = 8 * PREFILL  # of the mix in a cycle of the tape
_SUITE = "pipeline"
_ALONE_PIECES = 100  # of a cycle, carried out by one process alone: 50,000 commands
_MORE_TIME_S = 30.0  # to make the tape, and for what is under way at the end
_SYMBOLS = (InstrumentSettings(symbol=unpad(SYMBOL), tick_size=TICK),)


class _Window(NamedTuple):
    """What was seen between two moments under full load."""

    begin_sequence: int
    end_sequence: int
    spent: Spent


async def measure_pipeline(
    machine: MachineKind | None, seconds: float, seed: int = 1, sync: SyncPolicy | None = None
) -> Report:
    """Committed commands and frames a second; the baseline is the machine alone, in one process.

    Raises BenchmarkError when anything is lost, refused or not the same for all.
    """
    commands_alone, frames_alone = measure_alone(machine, seed)
    async with running_exchange(machine, gateways=0, symbols=_SYMBOLS, sync=sync) as exchange:
        with FeedReader(exchange) as reader:
            before = await until_all_have_all(exchange)
            primary = str(before["name"])
            window, sent = await watched(exchange, _drive(exchange, reader, primary, seconds, seed))
            await verify_ends(exchange, before, reader)
            verify_sent(sent, reader.sequence, await exchange.status())
    lasted = window.spent.seconds
    committed = commands_between(sent.marks, window.begin_sequence, window.end_sequence)
    frames = window.end_sequence - window.begin_sequence
    cores = sum(window.spent.by_process.values()) / lasted
    return Report(
        [
            measurement(_SUITE, "committed commands", committed / lasted, "1/s", commands_alone),
            measurement(_SUITE, "committed frames", frames / lasted, "1/s", frames_alone),
            measurement(_SUITE, "cores used", cores, "cores", os.cpu_count() or 1),
        ],
        [cpu_table({"committing": window.spent}, primary)],
    )


def measure_alone(machine: MachineKind | None, seed: int) -> tuple[float, float]:
    """Commands and frames a second that one thread carries out and packs, from the same tape."""
    market = market_builder(machine)()
    sequence = open_market(market)
    sequence = market.submit(log_ins(), sequence, 1).run.next_sequence
    tape = Tape(PREFILL, OPERATIONS, PIECE, seed)
    pieces = list(islice(tape.pieces(), _ALONE_PIECES))
    with settled_collector(), Stopwatch() as watch:
        to_packets(market, [piece.data for piece in pieces], sequence)
    _, commands, frames = pieces[-1]
    return commands / watch.elapsed_ns * 1e9, frames / watch.elapsed_ns * 1e9


def commands_between(marks: Sequence[Mark], begin_sequence: int, end_sequence: int) -> int:
    """How many commands were carried out between two frames, to a piece of the tape."""
    sequences = [mark.sequence for mark in marks]
    begin, end = (
        min(bisect_left(sequences, each), len(marks) - 1) for each in (begin_sequence, end_sequence)
    )
    return marks[end].commands - marks[begin].commands


def verify_sent(sent: Sent, committed_sequence: int, primary: Status) -> None:
    """Raise BenchmarkError unless the list holds what was sent, and nothing else; `primary` is its
    status at the end."""
    expected = sent.marks[-1].sequence
    refused = primary["not_admitted"] + primary["rejects"]
    if not (expected == sent.last_sequence == committed_sequence) or refused:
        raise BenchmarkError(
            f"{sent.marks[-1].commands:,} commands were to bring the list to {expected:,}; the "
            f"primary decided up to {sent.last_sequence:,}, {committed_sequence:,} are committed, "
            f"and {refused:,} commands were refused"
        )


async def _drive(
    exchange: Exchange, reader: FeedReader, primary: str, seconds: float, seed: int
) -> tuple[_Window, Sent]:
    address = exchange.configuration.replicas[primary].commands
    total_s = WARM_UP_S + seconds
    arguments = (address, PREFILL, OPERATIONS, seed, total_s)
    with Apart(send_commands, *arguments) as driver:
        await driver.hear(_MORE_TIME_S)
        await asyncio.sleep(WARM_UP_S)
        begin = reader.sequence
        processes = process_ids(exchange, driver=driver.process_id, subscriber=os.getpid())
        meter = CpuMeter(processes)
        await asyncio.sleep(seconds)
        window = _Window(begin, reader.sequence, meter.spent())
        sent = await driver.hear(_MORE_TIME_S)
        assert isinstance(sent, Sent)
    return window, sent
