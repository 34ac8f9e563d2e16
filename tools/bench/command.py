"""`lockstep bench`: what the parts of the exchange cost, measured on this computer.

Each figure is the median of several interleaved runs of the same operations, in CPU time of the
thread, beside a plain-Python book that runs them in between: the ratio to it holds on a noisy or
another computer. Every run is checked: the machine has to end with the very trades and orders of
the plain book.
"""

import contextlib
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from engine.market import Market
from feed.codec import encode_group
from feed.messages import Command, DefineInstrument, LogIn, SelfTradePrevention, ShortSale
from tools.bench.plain_book import PlainBook
from tools.bench.workload import CLIENTS, SYMBOL, TICK, Operation, Workload, commands, workloads
from tools.console import CommandError

bench_app = typer.Typer(
    help="Measure what the parts of the exchange cost on this computer.", no_args_is_help=True
)

_LOGIN = 1
_TIME_NS = 1_700_000_000_000_000_000  # any time: the machine only carries it
_SUITE = "machine"


class BenchmarkError(CommandError):
    """A run did not do what it was timed for, so its figure is worth nothing."""


class Measurement(NamedTuple):
    """One figure: a median, the plain book's beside it, and value / baseline."""

    suite: str
    name: str
    value: float
    unit: str
    baseline: float
    ratio: float


@bench_app.callback()
def _bench() -> None:
    """Keeps `machine` a subcommand while it is the only one."""


@bench_app.command()
def machine(
    operations: Annotated[
        int, typer.Option(min=100, help="Commands in each run of each workload.")
    ] = 10_000,
    runs: Annotated[
        int, typer.Option(min=1, help="Runs of each workload; a figure is their median.")
    ] = 5,
    seed: Annotated[int, typer.Option(help="The same seed makes the same commands.")] = 1,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON list of objects: suite, name, value, unit, baseline, ratio.",
        ),
    ] = False,
) -> None:
    """The state machine: ns of CPU per command, alone and with the encoding of its frames.

    Commands that rest, cancel and trade, each by themselves, on a book of 10,000 resting orders;
    then mixed: 55 % rest, 35 % cancel, and 10 % trade with one to five orders. The baseline is a
    plain-Python book that does the same in between.

    Example: lockstep bench machine --runs 9
    """
    typer.echo(describe_environment(), err=as_json)
    measurements = measure_machine(operations, runs, seed)
    if as_json:
        typer.echo(json.dumps([measurement._asdict() for measurement in measurements], indent=1))
    else:
        Console().print(_table(measurements))


def describe_environment() -> str:
    """What the figures hold for: processor, Python, and the machine in use."""
    return (
        f"{_processor()}, {os.cpu_count()} cores; {platform.python_implementation()} "
        f"{platform.python_version()}; machine in use: the reference ({Market.__module__})"
    )


def measure_machine(operations: int, runs: int, seed: int) -> list[Measurement]:
    """The figures of the suite `machine`, in the order in which they are shown.

    Raises BenchmarkError when a run does not end with the trades and orders that it should.
    """
    measurements = []
    for workload in workloads(operations, seed):
        plain, alone, encoded = _medians(
            runs,
            partial(_time_plain, workload),
            partial(_time_machine, workload, _apply),
            partial(_time_machine, workload, _apply_and_encode),
        )
        for name, value in ((workload.name, alone), (f"{workload.name}, encoded", encoded)):
            measurements.append(_measurement(name, value, "ns/command", plain))
        if workload.name == "mixed":
            rate = _measurement("mixed, encoded", 1e9 / encoded, "commands/s", 1e9 / plain)
            measurements.append(rate)
    return measurements


def _medians(runs: int, *timed: Callable[[], float]) -> list[float]:
    """The median of each, run in turns, so that a slow moment of the computer hits all alike."""
    results: list[list[float]] = [[] for _ in timed]
    for _ in range(runs):
        for values, run in zip(results, timed, strict=True):
            values.append(run())
    return [statistics.median(values) for values in results]


def _measurement(name: str, value: float, unit: str, baseline: float) -> Measurement:
    ratio = round(value / baseline, 3)
    return Measurement(_SUITE, name, round(value, 1), unit, round(baseline, 1), ratio)


def _time_plain(workload: Workload) -> float:
    """CPU time per operation of the plain book, in ns."""
    book = PlainBook()
    _play(book, workload.prefill)
    with _settled_collector():
        start = time.thread_time_ns()
        _play(book, workload.operations)
        elapsed = time.thread_time_ns() - start
    _expect(workload, len(book.trades), book.resting())
    return elapsed / len(workload.operations)


def _play(book: PlainBook, operations: Sequence[Operation]) -> None:
    for number, enters, is_buy, price, quantity in operations:
        if enters:
            book.enter(number, is_buy, price, quantity)
        else:
            book.cancel(number)


def _time_machine(workload: Workload, run: Callable[[Market, list[Command], int], int]) -> float:
    """CPU time per command of the machine, in ns."""
    market = Market()
    opening: list[Command] = [DefineInstrument(SYMBOL, TICK, 1, ShortSale.ALLOWED)]
    opening += [LogIn(client, _LOGIN, SelfTradePrevention.OFF) for client in range(1, CLIENTS + 1)]
    first = _apply(market, opening + commands(workload.prefill), 1)
    timed = commands(workload.operations)
    with _settled_collector():
        start = time.thread_time_ns()
        end = run(market, timed, first)
        elapsed = time.thread_time_ns() - start
    events = end - first - len(timed)
    canceled = sum(not operation.enters for operation in workload.operations)
    resting = [
        (market.orders[entry.order_number].user_ref_num, entry.quantity)
        for entry in market.book_entries()
    ]
    _expect(workload, events - canceled, resting)
    return elapsed / len(timed)


def _apply(market: Market, batch: list[Command], sequence: int) -> int:
    """Carry out commands from this sequence number on, as a primary does; the one after them."""
    for command in batch:
        if market.admits(_LOGIN, command):
            events = market.apply(sequence, _TIME_NS, command)
            sequence += 1 + len(events)
    return sequence


def _apply_and_encode(market: Market, batch: list[Command], sequence: int) -> int:
    for command in batch:
        if market.admits(_LOGIN, command):
            events = market.apply(sequence, _TIME_NS, command)
            encode_group((command, *events), sequence, _TIME_NS)
            sequence += 1 + len(events)
    return sequence


@contextlib.contextmanager
def _settled_collector() -> Iterator[None]:
    """Keep Python's collector from walking, within the timed part, what was built before it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _expect(workload: Workload, trades: int, resting: Sequence[tuple[int, int]]) -> None:
    if (trades, resting) != (workload.trades, workload.resting):
        raise BenchmarkError(
            f"the run of {workload.name!r} made {trades} trades and left {len(resting)} orders; "
            f"{workload.trades} and {len(workload.resting)} were expected"
        )


def _processor() -> str:
    """The processor's name; Linux keeps it where Python does not look."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _table(measurements: Sequence[Measurement]) -> Table:
    table = Table(title="The market's state machine", caption="baseline: a plain-Python book")
    table.add_column("workload")
    for heading in ("value", "unit", "baseline", "ratio"):
        table.add_column(heading, justify="right")
    for _, name, value, unit, baseline, ratio in measurements:
        table.add_row(name, f"{value:,.0f}", unit, f"{baseline:,.0f}", f"{ratio:.2f}")
    return table
