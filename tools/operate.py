"""The operator's commands through the replicas' control ports: halt, resume, new-day."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Annotated, Any, TypeAlias

import typer

from engine.control import ControlError
from tools.configuration import Configuration
from tools.console import CommandError, Summary, UsageError, print_json
from tools.exchange_directory import read_directory
from tools.new_days import begin_day_everywhere
from tools.options import ConfigurationOption, JsonOption
from tools.replicas import Status, ask_replica, ask_replicas, describe, find_primary

SymbolArgument: TypeAlias = Annotated[str, typer.Argument(help="The instrument, as AAPL.")]


def halt(
    symbol: SymbolArgument, configuration: ConfigurationOption, as_json: JsonOption = False
) -> None:
    """Halt an instrument: it takes cancels only, until it resumes. Its orders stay.

    Example:
    lockstep halt AAPL -c exchange.toml
    """
    show(asyncio.run(_set_state("halt", symbol, configuration)), as_json)


def resume(
    symbol: SymbolArgument, configuration: ConfigurationOption, as_json: JsonOption = False
) -> None:
    """Let a halted instrument trade again.

    Example:
    lockstep resume AAPL -c exchange.toml
    """
    show(asyncio.run(_set_state("resume", symbol, configuration)), as_json)


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

    Of several shards, one begins the day after the other. If that breaks off, run it again: it does
    the rest.

    Example:
    lockstep new-day 20261123 -c exchange.toml
    """
    settings, number = Configuration.load(configuration), _day(day)
    if settings.shards:
        begun = asyncio.run(begin_day_everywhere(settings, number))
        if as_json:
            print_json(begun.summary())
        else:
            print("\n".join(begun.lines()))
        return
    request = {"request": "new-day", "day": number}
    show(asyncio.run(_ask_primary(settings, request, _require_later)), as_json)


async def shard_of(settings: Configuration, symbol: str) -> Configuration:
    """The shard that a symbol is in, in the form for one shard.

    Raises CommandError when it is in none, or between two.
    """
    if not settings.shards:
        return settings
    directory = await read_directory(settings)
    if symbol not in directory.symbols:
        raise CommandError(f"{symbol} is in no shard: lockstep add-symbol lists it")
    if symbol in directory.moving:
        raise CommandError(
            f"{symbol} is on its way to shard {directory.moving[symbol]}: finish that first, with "
            f"lockstep move {symbol} --to {directory.moving[symbol]}"
        )
    return settings.of_shard(directory.shard_of(symbol))


async def _set_state(request: str, symbol: str, path: ConfigurationOption) -> Summary:
    settings = Configuration.load(path)
    view = await shard_of(settings, symbol)
    answer = await _ask_primary(view, {"request": request, "symbol": symbol})
    return {**answer, "shard": view.feed.shard} if settings.shards else answer


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


async def _ask_primary(
    settings: Configuration,
    request: Mapping[str, Any],
    check: Callable[[Mapping[str, Any], Status], None] | None = None,
) -> dict[str, Any]:
    """The primary's answer; `check` may refuse the request by its status. Raises CommandError."""
    statuses = await ask_replicas(settings)
    primary = find_primary(statuses)
    if primary is None:
        hint = "; are they running, with this configuration?"
        silent = all(isinstance(each, ControlError) for each in statuses.values())
        raise CommandError(describe(statuses) + (hint if silent else ""))
    if check is not None:
        check(request, primary)
    try:
        return await ask_replica(settings, primary["name"], request)
    except ControlError as error:
        raise CommandError(str(error)) from error


def show(answer: dict[str, Any], as_json: bool) -> None:
    """Print an answer for people, or as JSON."""
    if as_json:
        print_json(answer)
        return
    width = max(map(len, answer))
    for key, value in answer.items():
        print(f"{key.replace('_', ' '):{width}}  {value}")
