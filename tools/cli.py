"""The command line: `lockstep COMMAND`.

A command's module is imported only when the command is called, so that `lockstep --help` is there
at once: until then its name and one line of help, which stand here, are all there is of it.
"""

import inspect
import re
import sys
from collections.abc import Callable, Collection
from enum import StrEnum
from importlib import import_module
from typing import Annotated, NamedTuple

import typer

from tools.console import (
    CommandError,
    ExitStatus,
    configure_logging,
    explain_os_error,
    fail,
    refuse_optimized_python,
)


class _Command(NamedTuple):
    name: str
    module: str
    attribute: str  # a function, or a typer.Typer with subcommands
    help: str  # the first line of the whole help
    panel: str


_TRY = "Try it"
_TRADE = "Trade and listen"
_RUN = "Run an exchange"
_COMMANDS = (
    _Command("demo", "tools.demo", "demo", "Run a whole exchange here, with a live view.", _TRY),
    _Command("replay", "tools.replay.command", "replay", "Play recorded order flow.", _TRY),
    _Command("bench", "tools.bench.command", "bench_app", "Measure what the parts cost.", _TRY),
    _Command(
        "simulate",
        "tools.simulation.command",
        "simulate",
        "Simulate an exchange under every fault.",
        _TRY,
    ),
    _Command("send", "tools.send", "send", "Enter orders from the shell.", _TRADE),
    _Command("load", "tools.load.command", "load", "Send synthetic order flow.", _TRADE),
    _Command("subscribe", "tools.subscribe", "subscribe", "Print the feed, or a book.", _TRADE),
    _Command("run", "tools.run", "run", "Bring a whole exchange up, or back up.", _RUN),
    _Command("replica", "tools.roles", "run_replica", "Run a replica: primary or backup.", _RUN),
    _Command("retransmitter", "tools.roles", "run_retransmitter", "Run a retransmitter.", _RUN),
    _Command("gateway", "tools.roles", "run_gateway", "Run a gateway.", _RUN),
    _Command("zookeeper", "tools.roles", "run_zookeeper", "Run ZooKeeper, to try things.", _RUN),
    _Command("client", "tools.clients", "client_app", "Say who may log in.", _RUN),
    _Command("status", "tools.status", "status", "Show who leads, and who is how far.", _RUN),
    _Command("journal", "tools.journal.command", "journal_app", "See to what is on disk.", _RUN),
    _Command("audit", "tools.audit.command", "audit", "Prove what happened, from disk.", _RUN),
    _Command("drill", "tools.drill.command", "drill_app", "Break it, and lose nothing.", _RUN),
    _Command("halt", "tools.operate", "halt", "Halt an instrument.", _RUN),
    _Command("resume", "tools.operate", "resume", "Let a halted instrument trade again.", _RUN),
    _Command("new-day", "tools.operate", "new_day", "Begin another trading day.", _RUN),
    _Command("add-symbol", "tools.shards", "add_symbol", "List another instrument.", _RUN),
    _Command("move", "tools.shards", "move", "Move an instrument to another shard.", _RUN),
    _Command("add-shard", "tools.shards", "add_shard", "Take another shard into use.", _RUN),
)


_LINE_THAT_FLOWS = re.compile(r"\n(?!lockstep )")


class LogFormat(StrEnum):
    """How log lines look on stderr."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


def build_app(words: Collection[str] | None = None) -> typer.Typer:
    """The command line's app, with the commands named in `words` ready to run; all without it."""
    app = typer.Typer(
        name="lockstep",
        help="A stock exchange: orders in over TCP, one numbered list of frames out by multicast.",
        epilog="Exit status: 0 done, 1 something that has to hold did not, 2 wrong usage.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_configure)
    for command in _COMMANDS:
        if words is not None and command.name not in words:
            app.command(command.name, help=command.help, rich_help_panel=command.panel)(_not_loaded)
            continue
        loaded = getattr(import_module(command.module), command.attribute)
        if isinstance(loaded, typer.Typer):
            for each in loaded.registered_commands:
                each.help = _help(each.callback)
            app.add_typer(loaded, name=command.name, rich_help_panel=command.panel)
        else:
            app.command(command.name, help=_help(loaded), rich_help_panel=command.panel)(loaded)
    return app


def _help(function: Callable[..., object] | None) -> str:
    """A docstring for a terminal of any width: paragraphs flow, but each example has its line."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(_LINE_THAT_FLOWS.sub(" ", paragraph) for paragraph in paragraphs)


def main() -> None:
    """Run the command that the process was called with, and exit with its status."""
    refuse_optimized_python()
    try:
        build_app(sys.argv[1:])(prog_name="lockstep")
    except CommandError as error:
        fail(str(error), error.status)
    except OSError as error:
        fail(explain_os_error(error), ExitStatus.FAILED)


def _configure(
    log_format: Annotated[
        LogFormat,
        typer.Option(help='Log lines on stderr; "auto" is JSON where stderr is no terminal.'),
    ] = LogFormat.AUTO,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details, too.")] = False,
) -> None:
    json_lines = None if log_format is LogFormat.AUTO else log_format is LogFormat.JSON
    configure_logging(json_lines=json_lines, verbose=verbose)


def _not_loaded() -> None:
    """Stands for a command that was not asked for, so that the help can list it."""


if __name__ == "__main__":
    main()
