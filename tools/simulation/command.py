"""`lockstep simulate`: the command line of the simulator."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from tools.console import ExitStatus, UsageError, print_json
from tools.options import JsonOption
from tools.simulation.bugs import CATALOGUE
from tools.simulation.jobs import PlantedSchedule, SeedsSchedule
from tools.simulation.planted import planted as planting
from tools.simulation.report import PlantedReport, Report, SeedsReport, Stop, print_report
from tools.simulation.work import BUGS, simulate_task
from tools.simulation.workers import Schedule, Work, Workers

HIGHEST_SEED = 1 << 53  # every reader of JSON keeps integers up to it exactly
_SEEDS = "0..99"
_PLANTED_SEEDS = "0..999"
_MOST_JOBS = 1024
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def simulate(
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="FROM..TO",
            help=f"The seeds to run, both ends included; {_SEEDS} unless told, "
            f"{_PLANTED_SEEDS} with --planted.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, metavar="M", help="Begin no seed after so long."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=_MOST_JOBS, metavar="N", help="Processes; one for each CPU unless told."
        ),
    ] = None,
    trace_lines: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="How many of the last events a failure shows."),
    ] = 60,
    planted: Annotated[
        bool,
        typer.Option("--planted", help="Plant known bugs, and see how soon each is caught."),
    ] = False,
    bug: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --planted: plant this one only."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate an exchange under every fault: in virtual time, each run drawn from a seed.

    Replicas, retransmitters, gateways, clients, subscribers and ZooKeeper in one process, on a
    network that loses, doubles, reorders and spoils what it carries, with crashes, partitions,
    pauses and more. Every step is checked; afterwards all must come back to life and agree.

    A seed that fails shows what failed and the last events before, and fails in the same way
    again, on any machine. The exit status is 1 when a seed fails or a planted bug is not caught.

    Example:
    lockstep simulate --seeds 0..9999 --minutes 30
    lockstep simulate --seeds 17..17 --trace-lines 400
    lockstep simulate --planted
    lockstep simulate --planted --bug "the fence not checked"
    """
    count = jobs or len(os.sched_getaffinity(0))
    work = partial(simulate_task, trace_lines=trace_lines)
    asked = parse_seeds(seeds or (_PLANTED_SEEDS if planted else _SEEDS))
    begin = time.monotonic()
    report: SeedsReport | PlantedReport

    def is_time_up() -> bool:
        return minutes is not None and time.monotonic() - begin >= minutes * 60

    if planted:
        report = PlantedReport(_bugs(bug), asked)
        schedule: Schedule = PlantedSchedule(report, is_time_up)
    elif bug is not None:
        raise UsageError("--bug plants a bug, which needs --planted, too")
    else:
        report = SeedsReport(asked)
        schedule = SeedsSchedule(report, is_time_up)
    try:
        _run(schedule, report, work, count, shows_progress=not as_json)
    finally:  # hours of work are not to be lost when it ends in an error
        if as_json:
            print_json(report.summary())
        else:
            print_report(report)
    if report.stopped_by is Stop.SIGNAL:
        sys.exit(ExitStatus.INTERRUPTED)
    if not report.is_sound:
        sys.exit(ExitStatus.FAILED)


def parse_seeds(text: str) -> range:
    """The seeds in an option; raises UsageError when they can't be used."""
    match = re.fullmatch(r"([0-9]{1,19})(?:\.\.([0-9]{1,19}))?", text)
    if match is None:
        raise UsageError(f"--seeds {text}: use FROM..TO, as in 0..99, or a single seed")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise UsageError(f"--seeds {text}: the first seed is higher than the last")
    if last > HIGHEST_SEED:
        raise UsageError(f"--seeds {text}: the highest seed is {HIGHEST_SEED}")
    return range(first, last + 1)


def _bugs(name: str | None) -> Sequence[tuple[str, str]]:
    """The bugs to plant: names, and what is wrong. Raises what planting them raises.

    A patch that no longer fits must not look like a seed that fails.
    """
    if name is not None and name not in BUGS:
        names = "\n  ".join(BUGS)
        raise UsageError(f"--bug {name}: no bug has this name; there are\n  {names}")
    chosen = CATALOGUE if name is None else (BUGS[name],)
    for bug in chosen:
        with planting(bug):
            pass
    return [(bug.name, bug.what) for bug in chosen]


def _run(
    schedule: Schedule, report: Report, work: Work, count: int, *, shows_progress: bool
) -> None:
    """Let the workers work, and keep the report's time."""
    begin = time.monotonic()
    report.stopped_by = Stop.ERROR
    with _progress_line(shows_progress) as line, asked_to_stop() as is_stopped:

        def look() -> None:
            report.seconds = time.monotonic() - begin
            if line is not None:
                line.update(report.progress())

        with Workers(work, count) as workers:
            workers.run(schedule, is_stopped, look)
            look()
        report.stopped_by = Stop.SIGNAL if is_stopped() else Stop.TIME
    if report.is_complete:
        report.stopped_by = None


@contextlib.contextmanager
def _progress_line(is_wanted: bool) -> Iterator[Status | None]:
    """A line on the terminal that is gone at the end; None where there is no terminal."""
    console = Console(stderr=True)
    if not is_wanted or not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with console.status("starting ...") as status:
        yield status


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGINT, SIGTERM or SIGHUP has come; a second one has its usual effect."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, _: FrameType | None) -> None:
        came.append(number)
        restore()

    for number in _STOP_SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield lambda: bool(came)
    finally:
        restore()
