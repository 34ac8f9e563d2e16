"""`lockstep bench SUITE`: the command line of the benchmarks."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console

from engine.settings import MachineKind
from feed.settings import FailoverSettings, SyncPolicy
from tools.bench.environment import describe_environment
from tools.bench.figures import BenchmarkError, Measurement, Report, table, to_json
from tools.console import UsageError, until_told_to_stop

__all__ = ["BenchmarkError", "Measurement", "bench_app"]

bench_app = typer.Typer(
    help="Measure what the exchange and its parts cost on this computer, each beside a baseline.",
    no_args_is_help=True,
)

JsonOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON list of objects: suite, name, value, unit, baseline, ratio.",
    ),
]
MachineOption: TypeAlias = Annotated[
    MachineKind | None,
    typer.Option("--machine", help="What the replicas run; without it, the fastest there is."),
]
SecondsOption: TypeAlias = Annotated[
    float, typer.Option(min=0.1, max=600, metavar="S", help="How long each figure is measured.")
]
SeedOption: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="The same seed makes the same commands.")
]
RatesOption: TypeAlias = Annotated[
    str, typer.Option(metavar="A,B", help="Orders a second, of all clients together.")
]
SyncOption: TypeAlias = Annotated[
    SyncPolicy | None,
    typer.Option("--sync", help="Keep journals, under this policy; without it there are none."),
]
_PLAIN_BOOK = "a tuned plain-Python book; for the kernel, the reference"
_ANSWERER = "the same clients with a process that accepts each order at once and does nothing else"
_SHORTEST_RUN = 100  # commands: below it, the clock is all that is measured
_HIGHEST_RATE = 1_000_000
_MOST_SHARDS = 8  # of five processes each


@bench_app.command()
def machine(
    operations: Annotated[
        int, typer.Option(min=_SHORTEST_RUN, help="Commands in each run of each kind.")
    ] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs; a figure is their median.")] = 5,
    depth: Annotated[
        int, typer.Option(min=1_000, max=1_000_000, help="The deepest book, in resting orders.")
    ] = 1_000_000,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """The state machine: ns of CPU per command, from a submission's bytes to checksummed packets.

    Commands that rest, cancel, trade, replace and find nothing, each by themselves on a book of
    10,000 resting orders, then mixed: 55 % rest, 35 % cancel, and 10 % trade with one to five
    orders. Through the kernel, the reference, and a plain-Python book that does the same in
    between. Then the neutral workload on 1 and on 1,000 symbols through the kernel's core, and the
    cost of mixed commands as the book grows to a million orders.

    Example: lockstep bench machine --runs 9
    """
    from tools.bench.machine import measure_suite

    _present(
        "The market's state machine",
        _PLAIN_BOOK,
        lambda: Report(measure_suite(operations, runs, depth, seed)),
        as_json=as_json,
    )


@bench_app.command()
def feed(
    seconds: SecondsOption = 5.0,
    payload_bytes: Annotated[
        int, typer.Option(min=256, max=65_507, help="The largest packet; its payload.")
    ] = 1400,
    as_json: JsonOption = False,
) -> None:
    """The feed: frames and bytes a second from a publisher to 1, 2 and 4 subscribers.

    Beside what the network itself carries: packets of the same size, with nothing done for them.

    Example: lockstep bench feed --seconds 10
    """
    from tools.bench.feed import measure_feed

    _present(
        "The feed",
        "packets of the same size, sent and taken with nothing done for them",
        lambda: Report([Measurement(*each) for each in measure_feed(seconds, payload_bytes)]),
        as_json=as_json,
    )


@bench_app.command()
def pipeline(
    seconds: SecondsOption = 10.0,
    machine: MachineOption = None,
    sync: SyncOption = None,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Commands in over TCP, committed frames out at a subscriber.

    Three replicas, two retransmitters and ZooKeeper run as processes of their own; one more writes
    submissions to the primary, as fast as TCP takes them, from ten clients with the mix of the
    suite "machine". Nothing may be lost, and all have to end with the same list.

    Example: lockstep bench pipeline --sync group
    """
    from tools.bench.pipeline import measure_pipeline

    _present(
        "The pipeline",
        "the machine alone in one process; for cores, what there are",
        lambda: _run(measure_pipeline(machine, seconds, seed, sync)),
        machine,
        as_json=as_json,
    )


@bench_app.command()
def gateway(
    seconds: SecondsOption = 4.0,
    clients: Annotated[int, typer.Option(min=1, max=500, help="How many busy clients.")] = 8,
    rates: RatesOption = "1000,5000,10000,20000",
    machine: MachineOption = None,
    sync: SyncOption = None,
    as_json: JsonOption = False,
) -> None:
    """Orders to acknowledgements, through the whole exchange: throughput and latency.

    First as many orders as one gateway takes from a few busy clients. Then orders at fixed rates: a
    latency counts from the moment at which its order was due, whether it could be sent then or not.

    Example: lockstep bench gateway --rates 1000,10000 --seconds 20
    """
    from tools.bench.gateway import measure_gateway

    _present(
        "The gateway, and all behind it",
        _ANSWERER,
        lambda: _run(measure_gateway(machine, seconds, clients, parse_rates(rates), sync)),
        machine,
        as_json=as_json,
    )


@bench_app.command()
def clients(
    clients: Annotated[
        int, typer.Option(min=1, max=30_000, help="How many clients at one gateway.")
    ] = 10_000,
    seconds: SecondsOption = 5.0,
    rates: RatesOption = "1000,5000",
    machine: MachineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ten thousand clients at one gateway, all logged in and heard from, with orders from all.

    Nobody may be dropped, and every order has to be accepted. Each connection needs an open file,
    in two processes.

    Example: lockstep bench clients --clients 5000 --rates 1000
    """
    from tools.bench.clients import measure_clients

    _present(
        "Many clients at one gateway",
        f"{_ANSWERER}; what was asked for, where that is a number",
        lambda: _run(measure_clients(machine, seconds, clients, parse_rates(rates))),
        machine,
        as_json=as_json,
    )


@bench_app.command()
def failover(
    rounds: Annotated[
        int, typer.Option(min=1, metavar="N", help="How often the primary is killed.")
    ] = 10,
    rate: Annotated[
        int, typer.Option(min=10, max=20_000, metavar="N", help="Commands a second meanwhile.")
    ] = 1000,
    suspicion_time_ms: Annotated[
        int, typer.Option(min=2, max=60_000, metavar="MS", help="Silence that is suspicious.")
    ] = FailoverSettings().suspicion_time_ms,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """How long the exchange stands still when its primary is killed under load.

    The rounds of "lockstep drill kill-primary", with its audit. The takeover is over with the new
    epoch's first committed frame, the outage with the next answer to the client that waits longest.

    Example: lockstep bench failover --rounds 50
    """
    from tools.bench.failover import measure_failover

    _present(
        "Failover",
        "the suspicion time: before it is over, nothing can happen",
        lambda: _run(measure_failover(rounds, rate, suspicion_time_ms, seed)),
        as_json=as_json,
    )


@bench_app.command()
def shards(
    counts: Annotated[
        str, typer.Option("--shards", metavar="A,B", help="How many shards, one after the other.")
    ] = "1,2,4",
    seconds: SecondsOption = 5.0,
    rate: Annotated[
        int, typer.Option(min=10, max=20_000, metavar="N", help="Orders a second, for latencies.")
    ] = 1_000,
    machine: MachineOption = None,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """What a committed command costs with one shard and with several, each with its own flow.

    The exchange of the suite "pipeline" for each number of shards, every shard with processes and a
    flow of its own, on the cores that there are. Then the latency of orders through a gateway over
    two shards: from clients that are at home in the order's shard, and from others.

    Example: lockstep bench shards --shards 1,2 --seconds 10
    """
    from tools.bench.shards import measure_shards

    numbers = parse_counts(counts)
    _present(
        f"Shards, on {os.cpu_count()} cores",
        f"{numbers[0]} of them; for cores, what there are; elsewhere, at home",
        lambda: _run(measure_shards(machine, seconds, numbers, rate, seed)),
        machine,
        as_json=as_json,
    )


@bench_app.command()
def recovery(
    frames: Annotated[
        int, typer.Option(min=10_000, max=1_000_000_000, metavar="N", help="Of the whole list.")
    ] = 10_000_000,
    since_snapshot: Annotated[
        int, typer.Option(min=1_000, metavar="N", help="Frames after the snapshot.")
    ] = 100_000,
    machine: MachineOption = None,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """How long a replica takes to come back from its disk, with a snapshot and without any.

    Writes a list, some 85 bytes a frame, into a temporary folder, and has a fresh process open the
    journal and carry it out. The machine has to end with the digest of the one that wrote it.

    Example: lockstep bench recovery --frames 1000000
    """
    from tools.bench.recovery import measure_recovery

    if since_snapshot > frames:
        raise UsageError(f"--since-snapshot {since_snapshot} is more than --frames {frames}")
    _present(
        "Recovery",
        "reading the same files, with nothing done for them; for memory, with the snapshot",
        lambda: _run(measure_recovery(machine, frames, since_snapshot, seed)),
        machine,
        as_json=as_json,
    )


def parse_rates(text: str) -> tuple[int, ...]:
    """The rates in an option; raises UsageError when they can't be used."""
    words = text.split(",")
    if not all(
        word.isascii() and word.isdigit() and 0 < int(word) <= _HIGHEST_RATE for word in words
    ):
        raise UsageError(f"--rates {text}: use whole numbers of orders a second, as in 1000,5000")
    return tuple(map(int, words))


def parse_counts(text: str) -> tuple[int, ...]:
    """The numbers of shards in an option; raises UsageError when they can't be used."""
    words = text.split(",")
    if not all(
        word.isascii() and word.isdigit() and 0 < int(word) <= _MOST_SHARDS for word in words
    ):
        raise UsageError(f"--shards {text}: use numbers from 1 to {_MOST_SHARDS}, as in 1,2,4")
    return tuple(dict.fromkeys(map(int, words)))


def _run(measuring: Coroutine[Any, Any, Report]) -> Report:
    """Run a suite to its end; at Ctrl-C or SIGTERM, end all that it has started."""
    return asyncio.run(until_told_to_stop(lambda: measuring))


def _present(
    title: str,
    baseline: str,
    measure: Callable[[], Report],
    machine: MachineKind | None = None,
    *,
    as_json: bool,
) -> None:
    """Say what it runs on, measure, and show what came of it."""
    typer.echo(describe_environment(machine), err=as_json)
    report = measure()
    if as_json:
        typer.echo(to_json(report.measurements))
        return
    console = Console()
    console.print(table(title, baseline, report.measurements))
    console.print(*report.drawings, sep="\n")
