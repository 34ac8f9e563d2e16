"""`lockstep status`: who leads, who is alive, how far each holder is, and where each symbol is."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engine.control import ControlError
from tools.configuration import Configuration
from tools.console import CommandError, ExitStatus, Summary, print_json
from tools.exchange_directory import read_directory
from tools.options import ConfigurationOption, JsonOption
from tools.replicas import Status, Statuses, ask_replicas, find_primary
from zk.directory import Directory

_DIGESTS = ("list", "book", "state")


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

    Every replica is asked at once. Of several shards, each is shown, with the symbols that are
    there by the directory in ZooKeeper, and moves that were begun and not finished. The exit status
    is 1 when a shard has no primary.

    Example:
    lockstep status -c exchange.toml
    """
    settings = Configuration.load(configuration)
    summary = asyncio.run(_ask(settings, digests=digests))
    shards = summary.get("shards")
    if as_json:
        print_json(summary)
    elif shards is None:
        _show_shard(settings, summary)
    else:
        _show_shards(settings, summary)
    if digests and not as_json:
        for each in [summary] if shards is None else shards.values():
            _show_digests(each)
    expected = [summary] if shards is None else [each for each in shards.values() if each["listed"]]
    if any(each["primary"] is None for each in expected):
        sys.exit(ExitStatus.FAILED)


async def _ask(settings: Configuration, *, digests: bool) -> Summary:
    views = settings.by_shard()
    asked = [ask_replicas(view, digests=digests) for view in views.values()]
    statuses = dict(zip(views, await asyncio.gather(*asked), strict=True))
    if not settings.shards:
        return summarize(settings, *statuses.values())
    try:
        return summarize_shards(settings, statuses, await read_directory(settings))
    except CommandError as error:
        return summarize_shards(settings, statuses, None, str(error))


def summarize_shards(
    configuration: Configuration,
    statuses: Mapping[int, Statuses],
    directory: Directory | None,
    trouble: str | None = None,
) -> Summary:
    """What the answers of all shards' replicas come to, as a JSON object.

    A shard is `listed` when it is in the directory: one that is only configured is not used yet.
    Without a directory, `trouble` says why there is none.
    """
    shards = {}
    for shard, view in configuration.by_shard().items():
        own = summarize(view, statuses[shard])
        del own["exchange"]
        known = None if directory is None else _symbols_in(directory, shard)
        listed = directory is None or shard in directory.shards
        shards[str(shard)] = {**own, "listed": listed, "symbols": known}
    return {
        "exchange": configuration.exchange,
        "shards": shards,
        "homes": None if directory is None else list(directory.homes),
        "moving": None if directory is None else dict(directory.moving),
        "directory_trouble": trouble,
    }


def _symbols_in(directory: Directory, shard: int) -> list[str]:
    return sorted(each for each in directory.symbols if directory.shard_of(each) == shard)


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


def _show_shards(configuration: Configuration, summary: Summary) -> None:
    """Each shard, what is in it, and what is on its way."""
    console = Console(highlight=False)
    views = configuration.by_shard()
    for name, shard in summary["shards"].items():
        _show_shard(views[int(name)], {"exchange": summary["exchange"], **shard})
        if not shard["listed"]:
            command = f"lockstep add-shard {name}"
            console.print(f"not in use yet, only configured: {command}", style="yellow")
        elif shard["symbols"] is not None:
            console.print(f"symbols: {', '.join(shard['symbols']) or 'none'}")
        console.print()
    if summary["directory_trouble"] is not None:
        text = f"where the symbols are is not known: {summary['directory_trouble']}"
        console.print(text, style="bold red", soft_wrap=True)
    for symbol, shard in (summary["moving"] or {}).items():
        command = f"lockstep move {symbol} --to {shard}"
        text = f"{symbol} is on its way to shard {shard}; if nobody is at it, finish it: {command}"
        console.print(text, style="yellow", soft_wrap=True)


def _show_shard(configuration: Configuration, summary: Summary) -> None:
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
