"""A file of orders, from the command's options to its result."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import structlog
import typer
from rich.console import Console

from feed.faults import FaultShares
from tools.console import CommandError, Summary, UsageError, explain_os_error, print_json
from tools.replay.endings import ReplayInterrupted
from tools.replay.order_check import Contents
from tools.replay.order_fields import parse_client
from tools.replay.order_file import STANDARD_INPUT, OrderFile
from tools.replay.order_formats import OrderFormat, format_of
from tools.replay.order_report import Row, Totals, describe, make_table
from tools.replay.order_session import TABLE_ROWS, OrderSession, Running
from tools.replay.pace import Pace

DEFAULT_CLIENT = "REPLAY"  # in an exchange of the replay's own
_AS_FAST_AS_IS_TAKEN = "max"
_TABLE_WIDTH = 200  # where the output is no terminal: a row to a line

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OrderOptions:
    """What the command line says of a file of orders."""

    format: OrderFormat | None
    report: Path | None
    client: str | None
    speed: str | None
    rate: int | None
    configuration: Path | None
    secrets: Path | None
    faults: FaultShares | None
    as_json: bool


def replay_orders(path: Path, options: OrderOptions) -> None:
    """Check the file, play it, and tell what became of each line.

    Raises UsageError before anything is started, CommandError when it can't be played to the end.
    """
    form = _format(path, options.format)
    report_format = _report_format(path, options.report)
    client = options.client or (None if options.configuration else DEFAULT_CLIENT)
    if client is not None:
        client = _client(client)
    if options.configuration and options.faults:
        raise UsageError("--faults is for an exchange of the replay's own: leave out -c")
    if options.secrets and not options.configuration:
        raise UsageError("--secrets is for an exchange that runs: give -c with its configuration")
    if options.speed is not None and options.rate is not None:
        raise UsageError("give --speed or --rate, not both")
    speed = _speed(options.speed)
    with OrderFile(path, form, client) as file:
        try:
            contents = file.check()
        except KeyboardInterrupt:
            raise ReplayInterrupted(
                "stopped while the file was checked; nothing was sent"
            ) from None
        running = (
            Running.load(options.configuration, contents.clients, options.secrets)
            if options.configuration
            else None
        )
        pace = _pace(file.name, contents, options, speed, running)
        log.info("the file is sound", lines=contents.lines)
        with (
            _opened(options.report) as report,
            OrderSession(file, contents, pace, running, options.faults) as session,
        ):
            session.run()
            try:
                summary, totals, first = session.report(report_format, report)
            except OSError as error:
                raise CommandError(f"{options.report}: {explain_os_error(error)}") from error
    if session.has_begun or options.as_json:
        _tell(summary, totals, first, options)
    if session.failure is not None:
        raise session.failure


def _tell(summary: Summary, totals: Totals, first: list[Row], options: OrderOptions) -> None:
    if options.as_json:
        print_json(summary)
        return
    if options.report is not None:
        typer.echo(f"what became of each line is in {options.report}")
    elif totals.lines <= TABLE_ROWS:
        console = Console()
        if not console.is_terminal:
            console.width = _TABLE_WIDTH
        console.print(make_table(first))
    else:
        typer.echo("--report OUT.csv writes what became of each line")
    typer.echo(f"{describe(totals)}\n{summary['seconds']} s")


def _format(path: Path, given: OrderFormat | None) -> OrderFormat:
    form = given or format_of(path)
    if form is None:
        name = "standard input" if path == STANDARD_INPUT else str(path)
        raise UsageError(f"{name}: its name does not tell how it is written; give --format")
    return form


def _report_format(path: Path, report: Path | None) -> OrderFormat:
    if report is None:
        return OrderFormat.CSV
    form = format_of(report)
    if form is None:
        raise UsageError(f"--report {report}: end its name in .csv or .jsonl")
    with contextlib.suppress(OSError):  # one of them is not there
        if os.path.samefile(path, report):
            raise UsageError(f"--report {report} is the file of orders: give another name")
    return form


def _client(name: str) -> str:
    try:
        return parse_client(name)
    except ValueError as error:
        raise UsageError(f"--client {name!r}: {error}") from error


def _speed(text: str | None) -> float | None:
    """How many times as fast as the times say; None for as fast as is taken."""
    if text == _AS_FAST_AS_IS_TAKEN:
        return None
    try:
        speed = 1.0 if text is None else float(text)
    except ValueError:
        speed = 0.0
    if not 0.000_001 <= speed <= 1_000_000:
        raise UsageError(f"--speed {text!r}: write a number above 0, as 10 or 0.5, or max")
    return speed


def _pace(
    name: str,
    contents: Contents,
    options: OrderOptions,
    speed: float | None,
    running: Running | None,
) -> Pace:
    """When lines are due; a running exchange is asked for no more than a client may send there."""
    if options.rate is not None:
        return Pace(rate=options.rate)
    if contents.has_times and speed is not None:
        return Pace(speed=speed)
    if options.speed not in (None, _AS_FAST_AS_IS_TAKEN):
        raise UsageError(f"--speed {options.speed}: {name} has no times; give --rate")
    return Pace(rate=None if running is None else running.orders_per_second)


@contextlib.contextmanager
def _opened(report: Path | None) -> Iterator[TextIO | None]:
    if report is None:
        yield None
        return
    try:
        file = report.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"--report {report}: {error.strerror}") from error
    with file:
        yield file
