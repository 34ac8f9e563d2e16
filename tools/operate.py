"""The operator's commands, through the replicas' control ports: status, halt, resume, new-day."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from engine.control import ControlError
from tools.configuration import Configuration
from tools.console import CommandError, ExitStatus, Summary, UsageError, print_json
from tools.options import ConfigurationOption, JsonOption
from tools.replicas import (
    Status,
    Statuses,
    ask_replica,
    ask_replicas,
    describe,
    find_primary,
)

_DIGESTS = ("list", "book", "state")

SymbolArgument: TypeAlias = Annotated[str, typer.Argument(help="The instrument, as AAPL.")]


def status(
    configuration: ConfigurationOption,
    digests: Annotated[
        bool,
        typer.Option(
            "--digests",
            help="Tell the digests of each replica's list, books and state, too. It keeps a "
            "replica busy for a while: not for a market at full speed.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who is primary, in which epoch, who is alive, and how far each holder is.

    Every replica is asked at once. The exit status is 1 when none of them is primary.

    Example:
    lockstep status -c exchange.toml
    """
    settings = Configuration.load(configuration)
    summary = summarize(settings, asyncio.run(ask_replicas(settings, digests=digests)))
    if as_json:
        print_json(summary)
    else:
        _show_status(settings, summary)
        if digests:
            _show_digests(summary)
    if summary["primary"] is None:
        sys.exit(ExitStatus.FAILED)


def halt(
    symbol: SymbolArgument, configuration: ConfigurationOption, as_json: JsonOption = False
) -> None:
    """Halt an instrument: it takes cancels only, until it resumes. Its orders stay.

    Example:
    lockstep halt AAPL -c exchange.toml
    """
    _show(_ask_primary(configuration, {"request": "halt", "symbol": symbol}), as_json)


def resume(
    symbol: SymbolArgument, configuration: ConfigurationOption, as_json: JsonOption = False
) -> None:
    """Let a halted instrument trade again.

    Example:
    lockstep resume AAPL -c exchange.toml
    """
    _show(_ask_primary(configuration, {"request": "resume", "symbol": symbol}), as_json)


def new_day(
    configuration: ConfigurationOption,
    day: Annotated[
        str | None, typer.Argument(metavar="[YYYYMMDD]", help="Without it, today's date.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """End the trading day, and begin another one.

    Orders for the day expire; those that are good till cancel stay. Clients' sessions end, and they
    log in anew for the session of the new day, in which their events are numbered from 1.

    Example:
    lockstep new-day 20261123 -c exchange.toml
    """
    request = {"request": "new-day", "day": _day(day)}
    _show(_ask_primary(configuration, request, _require_later), as_json)


def summarize(configuration: Configuration, statuses: Statuses) -> Summary:
    """What the replicas' answers come to, as a JSON object.

    Who is alive, and how far the others are, is the primary's word; without a primary it is the
    word of the replica that has most of the list.
    """
    answered = [each for each in statuses.values() if not isinstance(each, ControlError)]
    primary = find_primary(statuses)
    latest = max(answered, key=lambda each: (each["epoch"], each["sequence"]), default=None)
    source = primary or latest
    members = {} if source is None else source["members"]
    return {
        "exchange": configuration.exchange,
        "shard": configuration.feed.shard,
        "primary": None if primary is None else primary["name"],
        "epoch": None if source is None else source["epoch"],
        "sequence": None if source is None else source["sequence"],
        "committed_sequence": None if source is None else source["committed_sequence"],
        "day": None if source is None else source.get("day") or None,
        "zookeeper": None if source is None else source["zookeeper"],
        "members": members,
        "holders": {
            name: _holder(name, statuses.get(name), source, name in members)
            for name in configuration.shard_settings().holders
        },
        "replicas": {
            name: {"error": str(each)} if isinstance(each, ControlError) else each
            for name, each in statuses.items()
        },
    }


def _holder(
    name: str, own: Status | ControlError | None, source: Status | None, is_alive: bool
) -> dict[str, Any]:
    """How one holder is: by its own word where it can be asked, else by its acknowledgements."""
    heard = ((source or {}).get("holders") or {}).get(name, {})
    # Who has acknowledged nothing in this epoch may have nothing, or much.
    sequence, state, machine = heard.get("sequence") or None, None, None
    if isinstance(own, ControlError):
        state = "no answer"
    elif own is not None:
        sequence, state, machine = own["sequence"], own["state"], own["machine"]
    lag = None
    if source is not None and sequence is not None:
        lag = max(0, source["sequence"] - sequence)
    return {
        "role": "retransmitter" if own is None else "replica",
        "alive": is_alive,
        "state": state,
        "machine": machine,
        "sequence": sequence,
        "lag": lag,
        "vote": heard.get("vote"),
    }


def _show_status(configuration: Configuration, summary: Summary) -> None:
    console = Console(highlight=False)
    where = f"{summary['exchange']}, shard {summary['shard']}"
    if summary["primary"] is None:
        console.print(f"[bold]{where}[/]: [bold red]no replica is primary[/]")
    else:
        console.print(
            f"[bold]{where}[/]: [bold green]{summary['primary']}[/] is primary in epoch "
            f"{summary['epoch']}"
        )
    if summary["day"] is not None:
        console.print(f"day {summary['day']}")
    if summary["sequence"] is not None:
        console.print(
            f"{summary['sequence']:,} frames, committed up to {summary['committed_sequence']:,}; "
            f"ZooKeeper: {summary['zookeeper']}"
        )
    console.print(_holder_table(summary))
    others = [name for name in summary["members"] if name not in summary["holders"]]
    expected = [*configuration.gateways]
    if others or expected:
        missing = [name for name in expected if name not in others]
        text = f"gateways alive: {', '.join(others) or 'none'}"
        console.print(text + (f"; not there: {', '.join(missing)}" if missing else ""))
    for name, replica in summary["replicas"].items():
        if "error" in replica:
            console.print(f"{name}: {replica['error']}", style="yellow", soft_wrap=True)
        elif replica.get("divergence") is not None:
            divergence = replica["divergence"]
            console.print(
                f"{name} differs at frame {divergence['sequence']}: {divergence['reason']}",
                style="bold red",
            )
        elif replica.get("storage_failure") is not None:
            text = f"{name} can store no more: {replica['storage_failure']}"
            console.print(text, style="bold red", soft_wrap=True)


def _show_digests(summary: Summary) -> None:
    for name, replica in summary["replicas"].items():
        if "error" not in replica:
            told = [f"{each} digest {replica[f'{each}_digest']}" for each in _DIGESTS]
            print(f"{name} at {replica['sequence']}: {', '.join(told)}")


def _holder_table(summary: Summary) -> Table:
    table = Table()
    for heading in ("holder", "role", "alive", "state", "machine"):
        table.add_column(heading)
    for heading in ("sequence", "lag"):
        table.add_column(heading, justify="right")
    table.add_column("vote")
    for name, holder in summary["holders"].items():
        table.add_row(
            name,
            holder["role"],
            "yes" if holder["alive"] else "no",
            holder["state"] or "",
            holder["machine"] or "",
            _number(holder["sequence"]),
            _number(holder["lag"]),
            {True: "yes", False: "no", None: ""}[holder["vote"]],
            style=None if holder["alive"] else "red",
        )
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _day(text: str | None) -> int:
    """The day that is meant, as the list counts them; raises UsageError when it is none."""
    if text is None:
        return int(f"{date.today():%Y%m%d}")
    try:
        meant = datetime.strptime(text, "%Y%m%d")
    except ValueError:
        meant = None
    if meant is None or f"{meant:%Y%m%d}" != text:
        raise UsageError(f'"{text}" is no day; give it as YYYYMMDD, as in 20261123')
    return int(text)


def _require_later(request: Mapping[str, Any], primary: Status) -> None:
    """Raise CommandError unless the day that is asked for comes after the running one."""
    running = primary.get("day") or 0
    if request["day"] <= running:
        raise CommandError(f"the exchange is in day {running} already; give a later one")


def _ask_primary(
    configuration: ConfigurationOption,
    request: Mapping[str, Any],
    check: Callable[[Mapping[str, Any], Status], None] | None = None,
) -> dict[str, Any]:
    """The primary's answer; `check` may refuse the request by its status. Raises CommandError."""
    settings = Configuration.load(configuration)
    try:
        return asyncio.run(_find_and_ask(settings, request, check))
    except ControlError as error:
        raise CommandError(str(error)) from error


async def _find_and_ask(
    settings: Configuration,
    request: Mapping[str, Any],
    check: Callable[[Mapping[str, Any], Status], None] | None,
) -> dict[str, Any]:
    statuses = await ask_replicas(settings)
    primary = find_primary(statuses)
    if primary is None:
        hint = "; are they running, with this configuration?"
        silent = all(isinstance(each, ControlError) for each in statuses.values())
        raise CommandError(describe(statuses) + (hint if silent else ""))
    if check is not None:
        check(request, primary)
    return await ask_replica(settings, primary["name"], request)


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    width = max(map(len, answer))
    for key, value in answer.items():
        print(f"{key.replace('_', ' '):{width}}  {value}")
