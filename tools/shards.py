"""The commands that change what is where: move, add-symbol, add-shard."""

import asyncio
from typing import Annotated

import typer

from feed.messages import symbol_field
from tools.configuration import Configuration
from tools.console import CommandError, Summary, UsageError, print_json
from tools.exchange_directory import WITHIN_S, open_directory
from tools.moving import Moved, move_symbol, refuse_to_go
from tools.new_days import begin_day
from tools.only_operator import only_operator
from tools.operate import SymbolArgument
from tools.options import ConfigurationOption, JsonOption
from tools.shard_primary import ShardPrimary, primaries_of
from zk.directory import Directory
from zk.directory_client import DirectoryClient

_MOST_TRIES = 10  # with a takeover in each


def move(
    symbol: SymbolArgument,
    to: Annotated[int, typer.Option("--to", min=1, metavar="N", help="The shard that it goes to.")],
    configuration: ConfigurationOption,
    as_json: JsonOption = False,
) -> None:
    """Move a halted instrument, with all of its orders, to another shard.

    Its orders keep their prices, their priority, and their owners. It is still halted when it has
    arrived: resume it then. The other instruments trade on.

    If this is interrupted, however that is, run it again: it goes on where it was.

    Example:
    lockstep move AAPL --to 2 -c exchange.toml
    """
    settings = Configuration.load(configuration)
    settings.of_shard(to)
    moved = asyncio.run(_move(settings, symbol, to))
    if as_json:
        print_json({"symbol": symbol, "shard": to, "moved": moved and moved._asdict()})
    elif moved is None:
        print(f"{symbol} is in shard {to} already: nothing is moved")
    else:
        print(
            f"{symbol} has moved from shard {moved.source} to shard {to}, with {moved.orders:,} "
            f"orders for {moved.quantity:,}. It is halted there: lockstep resume {symbol}"
        )


def add_symbol(
    symbol: SymbolArgument,
    configuration: ConfigurationOption,
    tick_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Prices are multiples of it, in 1/10,000.")
    ] = 100,
    lot_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Quantities are multiples of it.")
    ] = 1,
    short_sale: Annotated[
        bool, typer.Option("--short-sale/--no-short-sale", help="Whether it may be sold short.")
    ] = True,
    shard: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Where; without it, the symbol's name decides."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List another instrument, while the others trade.

    It trades at once. Put it into the configuration file, too, for all that reads its instruments
    from there. Run again with the same terms, it changes nothing.

    Example:
    lockstep add-symbol IBM --tick-size 100 --lot-size 1 -c exchange.toml
    """
    settings = Configuration.load(configuration)
    try:
        symbol_field(symbol)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if shard is not None:
        settings.of_shard(shard)
    terms = {"tick_size": tick_size, "lot_size": lot_size, "short_sale": short_sale}
    request = {"request": "define", "symbol": symbol, **terms}
    answer = asyncio.run(_add_symbol(settings, request, shard))
    if as_json:
        print_json(answer)
    else:
        where = f" in shard {answer['shard']}" if settings.shards else ""
        print(f"{symbol} is listed{where}")


def add_shard(
    shard: Annotated[int, typer.Argument(min=1, help="The shard's number in the configuration.")],
    configuration: ConfigurationOption,
    as_json: JsonOption = False,
) -> None:
    """Take another shard into use, while the others trade.

    Its processes run by then, and it is in the configuration of all gateways. Nothing moves there
    by itself: symbols are listed or moved there. No client is at home in it.

    Example:
    lockstep add-shard 3 -c exchange.toml
    """
    settings = Configuration.load(configuration)
    settings.of_shard(shard)
    if not settings.shards:
        raise UsageError(f"shard {shard} is the only one: give the others sections [shards.N]")
    summary = asyncio.run(_add_shard(settings, shard))
    if as_json:
        print_json(summary)
    elif summary["was_added"]:
        print(f"shard {shard} is in use, in day {summary['day'] or 'none'}")
    else:
        print(f"shard {shard} was in use already")


async def _move(settings: Configuration, symbol: str, to: int) -> Moved | None:
    """Move a symbol; None when it is there already."""
    if not settings.shards:
        raise UsageError("the exchange has one shard: there is nowhere to move to")
    async with (
        only_operator(settings, f"move {symbol} --to {to}"),
        open_directory(settings) as client,
    ):
        directory = await client.read(WITHIN_S)
        source = refuse_move(directory, symbol, to)
        if source is None:
            return None
        primaries = await primaries_of(settings, (source, to))
        await _require_ready(symbol, primaries[source], primaries[to])
        if symbol not in directory.moving:
            await client.change(lambda each: each.begin_move(symbol, to), WITHIN_S)
        moved = await move_symbol(symbol, primaries[source], primaries[to])
        await client.change(lambda each: each.end_move(symbol), WITHIN_S)
        return moved


def refuse_move(directory: Directory, symbol: str, to: int) -> int | None:
    """The shard that a symbol is to leave; None when it is where it should be.

    Raises CommandError when the directory does not let it go there.
    """
    if symbol not in directory.symbols:
        raise CommandError(f"{symbol} is in no shard: lockstep add-symbol lists it")
    if to not in directory.shards:
        raise CommandError(f"shard {to} is not in use: lockstep add-shard {to} takes it into use")
    on_its_way = directory.moving.get(symbol)
    if on_its_way not in (None, to):
        raise CommandError(
            f"{symbol} is on its way to shard {on_its_way}: finish that first, with lockstep move "
            f"{symbol} --to {on_its_way}"
        )
    source = directory.shard_of(symbol)
    return None if source == to else source


async def _require_ready(symbol: str, source: ShardPrimary, destination: ShardPrimary) -> None:
    """Raise CommandError unless the symbol may go, and its orders live in the same day there."""
    refusal = refuse_to_go(symbol, await source.instrument(symbol), source.shard)
    if refusal is not None:
        raise CommandError(refusal)
    here, there = await source.status(), await destination.status()
    if (here.get("day") or 0) != (there.get("day") or 0):
        raise CommandError(
            f"shard {source.shard} is in day {here.get('day')} and shard {destination.shard} in "
            f"day {there.get('day')}: bring both into one, with lockstep new-day"
        )


async def _add_symbol(
    settings: Configuration, request: dict[str, object], shard: int | None
) -> Summary:
    symbol = str(request["symbol"])
    if not settings.shards:
        (primary,) = (await primaries_of(settings, (settings.feed.shard,))).values()
        return await _define(primary, request)
    async with (
        only_operator(settings, f"add-symbol {symbol}"),
        open_directory(settings) as client,
    ):
        directory = await client.read(WITHIN_S)
        place = place_of(directory, symbol, shard)
        primaries = await primaries_of(settings, directory.shards)
        await _require_nowhere_else(symbol, place, list(primaries.values()))
        answer = await _define(primaries[place], request)
        if symbol not in directory.symbols:
            await client.change(lambda each: each.add_symbol(symbol, place), WITHIN_S)
        return {**answer, "shard": place}


def place_of(directory: Directory, symbol: str, shard: int | None) -> int:
    """Where a new symbol goes. Raises CommandError when it is elsewhere, or can't go there."""
    if symbol in directory.symbols:
        place = directory.shard_of(symbol)
        if shard not in (None, place):
            raise CommandError(f"{symbol} is in shard {place} already: lockstep move moves it")
        return place
    if shard is not None and shard not in directory.shards:
        raise CommandError(
            f"shard {shard} is not in use: lockstep add-shard {shard} takes it into use"
        )
    return directory.add_symbol(symbol, shard).shard_of(symbol)


async def _require_nowhere_else(symbol: str, place: int, shards: list[ShardPrimary]) -> None:
    """Raise CommandError when a command that was interrupted has listed it in another shard."""
    for shard in shards:
        known = None if shard.shard == place else await shard.instrument(symbol)
        if known is not None and known.state != "MOVED":
            raise CommandError(
                f"{symbol} is listed in shard {shard.shard}: add it with --shard {shard.shard}"
            )


async def _define(primary: ShardPrimary, request: dict[str, object]) -> Summary:
    """Let an instrument be listed; the answer once that is committed."""
    for _ in range(_MOST_TRIES):
        answer = await primary.commit(request)
        if answer is not None:
            return answer
    raise CommandError(f"shard {primary.shard} does not list {request['symbol']}")


async def _add_shard(settings: Configuration, shard: int) -> Summary:
    async with (
        only_operator(settings, f"add-shard {shard}"),
        open_directory(settings) as client,
    ):
        directory = await client.read(WITHIN_S)
        primaries = await primaries_of(settings, (*directory.shards, shard))
        own = primaries.pop(shard)
        running = [(await each.status()).get("day") or 0 for each in primaries.values()]
        day = max(running, default=0)
        await own.until_led()
        if shard not in directory.shards:
            await begin_day(own, day)
            await _add_to_directory(client, shard)
        return {"shard": shard, "day": day or None, "was_added": shard not in directory.shards}


async def _add_to_directory(client: DirectoryClient, shard: int) -> None:
    await client.change(
        lambda each: each if shard in each.shards else each.add_shard(shard), WITHIN_S
    )
