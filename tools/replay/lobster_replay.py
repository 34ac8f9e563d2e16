"""LOBSTER files through an exchange of their own, from the command's options to its result."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import typer

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from feed.messages import SelfTradePrevention, symbol_field
from gateway.client_errors import ClientError
from tools.console import (
    CommandError,
    Summary,
    UsageError,
    explain_os_error,
    print_json,
    stop_on_signals,
)
from tools.processes import ClientSpec, Exchange
from tools.replay.endings import NO_LIMIT, ReplayInterrupted
from tools.replay.files import LobsterFiles
from tools.replay.record import ReplayError
from tools.replay.run import CLIENT, MARK_SYMBOL, Replay
from tools.watching import run_watched

log = structlog.get_logger()


def replay_lobster(
    files: LobsterFiles,
    top_of_book: Path,
    symbol: str,
    faults: FaultShares | None,
    *,
    as_json: bool,
) -> None:
    """Play the files, write the best prices, and tell what came of it.

    Raises CommandError when they can't be played to the end.
    """
    try:
        symbol_field(symbol)
    except ValueError as error:
        raise UsageError(str(error)) from error
    events = files.check()
    log.info("the files are sound", events=events)
    try:
        with top_of_book.open("w", encoding="ascii") as lines:
            summary = asyncio.run(
                _play(files, symbol, lambda line: print(line, file=lines), faults)
            )
    except OSError as error:
        raise CommandError(explain_os_error(error)) from error
    except (ClientError, ReplayError) as error:
        raise CommandError(f"the replay stopped: {error}") from error
    if as_json:
        print_json(summary)
    else:
        typer.echo(describe(summary, top_of_book))
    if not summary["books_equal"]:
        raise CommandError("the subscriber's book is not the primary's")


async def _play(
    files: LobsterFiles,
    symbol: str,
    write_line: Callable[[str], None],
    faults: FaultShares | None,
) -> Summary:
    """Replay the files unless a signal ends it; the processes are stopped either way."""
    summaries: list[Summary] = []

    async def work() -> None:
        summaries.append(await replay_files(files, symbol, write_line, faults))

    await run_watched([work()], [_until_signal()])
    return summaries[0]


async def _until_signal() -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await stop.wait()
    raise ReplayInterrupted("the replay was stopped; the lines so far are written")


async def replay_files(
    files: LobsterFiles,
    symbol: str,
    write_line: Callable[[str], None],
    faults: FaultShares | None = None,
) -> Summary:
    """Start an exchange, play the files through it, and stop it; what came of it.

    `write_line` gets one line for each event. Raises CommandError, ReplayError or ClientError when
    it can't be played to the end.
    """
    exchange = Exchange(
        name="REPLAY",
        # The finest tick and lot: what Nasdaq took is to be taken here.
        symbols=[InstrumentSettings(symbol=name, tick_size=1) for name in (symbol, MARK_SYMBOL)],
        clients={
            CLIENT: ClientSpec(
                self_trade_prevention=SelfTradePrevention.OFF,
                orders_per_second=NO_LIMIT,
                orders_burst=NO_LIMIT,
            )
        },
        faults=faults,
    )
    async with exchange:
        log.info("the exchange is up", configuration=str(exchange.configuration_path))
        begin_ns = time.monotonic_ns()
        summary = await Replay(exchange, files, symbol, write_line, faults).run()
        seconds = (time.monotonic_ns() - begin_ns) / 1e9
    return {**summary, "seconds": round(seconds, 3)}


def describe(summary: Summary, top_of_book: Path) -> str:
    """The summary in words."""
    executions: Any = summary["executions"]
    lines = [
        f"{summary['events']} events in {summary['seconds']} s, one line each in {top_of_book}",
        f"{executions['known'] + executions['unknown']} executions: for {executions['known']} the "
        f"order that the file names is known, {executions['matched']} traded with it, "
        f"{executions['differed']} did not; {executions['unknown']} name one that did not enter in "
        "the file",
    ]
    if executions["differed_lines"]:
        lines.append(f"the first that did not: lines {executions['differed_lines']} of the file")
    lines.append(
        f"{summary['commands']} commands, {summary['trades']} trades, {summary['rejected']} "
        f"rejected; gaps filled: {summary['gaps_filled']} of {summary['gaps_detected']}; the "
        f"subscriber's book is the primary's: {'yes' if summary['books_equal'] else 'NO'}"
    )
    return "\n".join(lines)
