"""What every command shares: logs on stderr, JSON on stdout, signals and exit statuses."""

import asyncio
import io
import json
import logging
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import IntEnum
from typing import Any, NoReturn, TextIO, TypeAlias, TypeVar, cast

import structlog
import uvloop
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

log = structlog.get_logger()

READY_LINE = "ready"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Result = TypeVar("Result")
Summary: TypeAlias = dict[str, Any]
Role: TypeAlias = Callable[[asyncio.Event, Callable[[], None]], Awaitable[Summary]]


class ExitStatus(IntEnum):
    """How a command tells the shell what became of it."""

    OK = 0
    FAILED = 1  # it ran, and something that has to hold did not
    USAGE = 2  # the command line or the configuration is wrong; nothing was started
    INTERRUPTED = 130  # Ctrl-C before it was done, as shells have it


class CommandError(Exception):
    """A refusal that the user can act on: shown as one line, without a traceback."""

    status = ExitStatus.FAILED


class UsageError(CommandError):
    """The command line or a file is wrong, so nothing was started."""

    status = ExitStatus.USAGE


class _CurrentStderr(io.TextIOBase):
    """Writes to what stderr is at that moment: a live view puts something else in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def refuse_optimized_python() -> None:
    """Exit under `python -O`: it drops the assertions that guard the exchange's state."""
    if not __debug__:
        fail(
            "Lockstep does not run under python -O or PYTHONOPTIMIZE: they drop the assertions "
            "that guard its state. Start it without.",
            ExitStatus.USAGE,
        )


def fail(text: str, status: ExitStatus) -> NoReturn:
    """Say why on stderr, and exit."""
    print(f"lockstep: {text}", file=sys.stderr)
    sys.exit(status)


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout, there at once for whoever reads the pipe."""
    print(json.dumps(value), flush=True)


def configure_logging(*, json_lines: bool | None = None, verbose: bool = False) -> None:
    """Send structlog's events to stderr, one line each.

    They are JSON when `json_lines` says so or, left open, when stderr is no terminal. Python's own
    `logging`, which asyncio writes to, goes the same way. `verbose` adds the debug events.
    """
    file = cast(TextIO, _CurrentStderr())
    colors = sys.stderr.isatty()
    if json_lines is None:
        json_lines = not colors
    level = logging.DEBUG if verbose else logging.INFO
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(
            fmt="iso" if json_lines else "%H:%M:%S.%f", utc=json_lines
        ),
    ]
    rendering: list[Processor] = (
        [
            structlog.processors.ExceptionRenderer(
                ExceptionDictTransformer(show_locals=False)  # among them may be secrets
            ),
            _event_first,
            structlog.processors.JSONRenderer(default=str),
        ]
        if json_lines
        else [
            structlog.dev.ConsoleRenderer(
                colors=colors,
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=file),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _event_first(_: object, __: str, event: EventDict) -> EventDict:
    """Put what every line has before what only some have."""
    return {**{key: event[key] for key in ("timestamp", "level", "event")}, **event}


def run_role(role: Role, *, supervised: bool, as_json: bool) -> None:
    """Run one process of the exchange until it is told to stop; then exit with its status.

    Told to stop: by SIGINT, SIGTERM or SIGHUP, and when `supervised` by the end of stdin, which is
    how a parent's death shows. A second signal does not wait. When ready, a supervised process
    writes "ready" to stdout. With `as_json` the summary goes to stdout at the end.

    An exception that nobody caught stops the process with status 1: what runs on after one would
    run on a state that nobody knows.
    """
    # An order passes many turns of event loops, and uvloop's are far cheaper than asyncio's own.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        summary, failed = runner.run(_run_role(role, supervised=supervised))
    if as_json:
        print_json(summary)
    if failed:
        sys.exit(ExitStatus.FAILED)


async def _run_role(role: Role, *, supervised: bool) -> tuple[Summary, bool]:
    stop = asyncio.Event()
    failures: list[str] = []
    loop = asyncio.get_running_loop()

    def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failures.append(context["message"])
        error = context.get("exception")
        log.error("stopping on an error", reason=context["message"], exc_info=error)
        stop.set()

    def on_ready() -> None:
        if supervised:
            print(READY_LINE, flush=True)

    loop.set_exception_handler(on_exception)
    stop_on_signals(stop)
    if supervised:
        stop_at_end_of_stdin(stop)
    summary = await role(stop, on_ready)
    log.info("stopped")
    return summary, bool(failures)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at the first SIGINT, SIGTERM or SIGHUP; a second one has its usual effect."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)


async def until_told_to_stop(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Do the work; at SIGINT, SIGTERM or SIGHUP end all that it has started, and exit."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    working = asyncio.ensure_future(work())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
        sys.exit(ExitStatus.INTERRUPTED)
    return working.result()


def stop_at_end_of_stdin(stop: asyncio.Event) -> None:
    """Set `stop` when stdin ends; what comes in before is ignored.

    Raises UsageError when stdin is neither a pipe nor a terminal, so that its end can't be told.
    """
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)):
        raise UsageError("--supervised needs a pipe as its standard input; leave the option off")
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            log.info("stopping", reason="the parent is gone: standard input ended")
            stop.set()

    loop.add_reader(0, on_readable)


def stop_when_nobody_reads(stop: asyncio.Event) -> None:
    """Set `stop` when stdout is a pipe and its reader is gone, as in "| head"."""
    descriptor = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return
    loop = asyncio.get_running_loop()

    def on_hang_up() -> None:  # the only thing that the writing end of a pipe can be readable for
        loop.remove_reader(descriptor)
        stop.set()

    loop.add_reader(descriptor, on_hang_up)


def explain_os_error(error: OSError) -> str:
    """An OSError in words that say what to do about it."""
    text = str(error)
    if "already in use" in text.lower():
        return f"{text}; stop what has this port (ss -lntup shows it), or configure another"
    if "assign requested address" in text.lower():
        return f"{text}; the address is not one of this machine's: correct it in the configuration"
    return text
