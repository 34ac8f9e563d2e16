"""A new day in all shards of an exchange, one after the other."""

from collections.abc import Mapping
from typing import NamedTuple

from tools.configuration import Configuration
from tools.console import CommandError, Summary
from tools.exchange_directory import read_directory
from tools.only_operator import only_operator
from tools.shard_primary import ShardPrimary, primaries_of
from zk.directory import Directory

_MOST_TRIES = 10  # with a takeover in each


class BegunDay(NamedTuple):
    """The day in one shard."""

    sequence: int | None  # of its NEW_DAY; None where it had begun before
    expired: int | None  # how many orders


class BegunDays(NamedTuple):
    """The day in all shards."""

    day: int
    shards: Mapping[int, BegunDay]

    def summary(self) -> Summary:
        """As JSON has it."""
        shards = {str(shard): each._asdict() for shard, each in self.shards.items()}
        return {"day": self.day, "shards": shards}

    def lines(self) -> list[str]:
        """The same for people."""
        return [
            f"shard {shard}: day {self.day} "
            + (
                "had begun before"
                if sequence is None
                else f"began with frame {sequence:,}; orders that expired: {expired:,}"
            )
            for shard, (sequence, expired) in self.shards.items()
        ]


async def begin_day_everywhere(configuration: Configuration, day: int) -> BegunDays:
    """Begin the day in each shard that is not in it already.

    Raises CommandError when a shard has no primary, is in a later day, or a symbol is between two
    shards: an order for the day must not outlive it by being in neither when it ends.
    """
    async with only_operator(configuration, f"new-day {day}"):
        directory = await read_directory(configuration)
        primaries = await primaries_of(configuration, directory.shards)
        running = {
            shard: int((await primary.status()).get("day") or 0)
            for shard, primary in primaries.items()
        }
        refusal = refuse_day(day, running, directory)
        if refusal is not None:
            raise CommandError(refusal)
        begun: dict[int, BegunDay] = {}
        for shard, primary in primaries.items():
            try:
                begun[shard] = await begin_day(primary, day)
            except CommandError as error:
                told = ", ".join(map(str, begun)) or "none"
                raise CommandError(
                    f"{error}; shards that are in day {day}: {told}. Run this again: it does the "
                    "rest"
                ) from error
        return BegunDays(day, begun)


def refuse_day(day: int, running: Mapping[int, int], directory: Directory) -> str | None:
    """Why the day can't begin, in an exchange whose shards are in these days."""
    latest = max(running.values())
    if directory.moving:
        told = ", ".join(f"{symbol} to {shard}" for symbol, shard in directory.moving.items())
        return f"a symbol is between two shards ({told}): finish that first, with lockstep move"
    if latest > day or all(each == day for each in running.values()):
        return f"the exchange is in day {latest} already; give a later one"
    return None


async def begin_day(primary: ShardPrimary, day: int) -> BegunDay:
    """Begin the day in one shard, if it is not in it. Raises CommandError when that fails."""
    for _ in range(_MOST_TRIES):
        if int((await primary.status()).get("day") or 0) >= day:
            return BegunDay(None, None)
        answer = await primary.commit({"request": "new-day", "day": day})
        if answer is not None:
            return BegunDay(answer["sequence"], answer["expired"])
    raise CommandError(f"shard {primary.shard} does not begin day {day}")
