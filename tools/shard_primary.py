"""Whoever is primary of one shard, asked on its control port; when it dies, the next one."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from engine.control import ControlError
from feed.schema import FrameType
from feed.subscriber import Group
from tools.configuration import Configuration
from tools.console import CommandError
from tools.list_reading import groups_since
from tools.move_groups import (
    ARRIVAL_TYPES,
    DEPARTURE_TYPES,
    ArrivedOrder,
    is_arrival,
    is_departure,
    orders_that_arrived,
)
from tools.moving import Instrument
from tools.replicas import (
    Status,
    Statuses,
    ask_replica,
    ask_replicas,
    describe,
    find_primary,
    status_request,
)

# A takeover takes milliseconds; a replica that is started anew, seconds.
LED_WITHIN_S = 20.0
COMMITTED_WITHIN_S = 20.0
_LOOK_AGAIN_AFTER_S = 0.005
_LOOK_ANEW_AFTER_S = 1.0  # a commit takes milliseconds


class ShardPrimary:
    """Asks the primary of one shard, whoever that is at the moment."""

    def __init__(self, configuration: Configuration) -> None:
        """`configuration` is the shard's, in the form for one shard."""
        self.configuration = configuration
        self.shard = configuration.feed.shard
        self._last: str | None = None  # who led when that was last asked

    async def status(self, *, look_anew: bool = False) -> Status:
        """Its status; waits for one where none leads. Raises CommandError when none comes.

        Who led the last time is asked alone: others may be dead, and take long not to answer. With
        `look_anew` all are asked: one that was cut off may go on believing that it leads.
        """
        if self._last is not None and not look_anew:
            with contextlib.suppress(ControlError):
                request = status_request(digests=False)
                told = await ask_replica(self.configuration, self._last, request)
                if told["state"] == "primary":
                    return told
        _, primary = await self._find()
        return primary

    async def until_led(self) -> None:
        """Wait until there is a primary that enough holders follow to commit what it has.

        Raises CommandError when that takes too long.
        """
        primary = await self.status()
        while not await self._is_committed(primary, primary["sequence"]):
            primary = await self.status()

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer to a question; another primary's when one is gone before it has answered.

        Raises CommandError when it is refused.
        """
        _, primary = await self._find()
        while True:
            try:
                return await ask_replica(self.configuration, primary["name"], request)
            except ControlError as error:
                _, found = await self._find()
                if _reign(found) == _reign(primary):
                    raise CommandError(f"shard {self.shard}: {error}") from error
                primary = found

    async def instrument(self, symbol: str) -> Instrument | None:
        """An instrument; None where there is no such one. What it shows can't be lost any more."""
        while True:
            before = await self.status()
            answer = await self.ask({"request": "instruments", "symbols": [symbol]})
            after = await self.status()
            if await self._is_committed(before, after["sequence"]):
                found = answer["instruments"]
                return Instrument(**found[0]) if found else None

    async def commit(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Ask the primary for something, and wait until what it did is committed; its answer.

        None when that is not known, since another primary came. Raises CommandError when it is
        refused.
        """
        before = await self.status()
        try:
            answer = await ask_replica(self.configuration, before["name"], request)
        except ControlError as error:
            if _reign(await self.status(look_anew=True)) == _reign(before):
                raise CommandError(f"shard {self.shard}: {error}") from error
            return None
        return answer if await self._is_committed(before, answer["sequence"]) else None

    async def _is_committed(self, primary: Status, sequence: int) -> bool:
        """Wait until a frame is committed; False when another primary came before that."""
        begin = now = time.monotonic()
        reign = _reign(primary)
        while True:
            primary = await self.status(look_anew=now - begin > _LOOK_ANEW_AFTER_S)
            if _reign(primary) != reign:
                return False
            if primary["committed_sequence"] >= sequence:
                return True
            now = time.monotonic()
            if now - begin > COMMITTED_WITHIN_S:
                raise CommandError(
                    f"shard {self.shard}: frame {sequence} was not committed within "
                    f"{COMMITTED_WITHIN_S:.0f} s; are enough of its holders there?"
                )
            await asyncio.sleep(_LOOK_AGAIN_AFTER_S)

    async def departure(self, symbol: str, moves: int) -> Group | None:
        """The group in which an instrument left in that move; None when nobody holds it any more.

        Raises CommandError when the list can't be read.
        """
        groups = await self._groups_since(
            DEPARTURE_TYPES, lambda group: is_departure(group, symbol, moves)
        )
        return groups[0] if groups else None

    async def arrived(self, symbol: str, moves: int) -> list[ArrivedOrder]:
        """The orders that have arrived so far in that move.

        Raises CommandError when the list can't be read.
        """
        groups = await self._groups_since(
            ARRIVAL_TYPES, lambda group: is_arrival(group, symbol, moves)
        )
        return orders_that_arrived(groups, symbol, moves)

    async def _groups_since(
        self, types: Collection[FrameType], is_first: Callable[[Group], bool]
    ) -> list[Group]:
        """The groups of these types since the last one that is the first, in what is committed."""
        statuses, primary = await self._find()
        told = [each for each in statuses.values() if not isinstance(each, ControlError)]
        first = max(1, min(int(each["first_sequence"]) for each in told))
        last = int(primary["committed_sequence"])
        return await groups_since(self.configuration, types, is_first, first, last)

    async def _find(self) -> tuple[Statuses, Status]:
        """The statuses of all replicas, and the primary's among them, once there is one."""
        deadline = time.monotonic() + LED_WITHIN_S
        while True:
            statuses = await ask_replicas(self.configuration)
            primary = find_primary(statuses)
            if primary is not None:
                self._last = primary["name"]
                return statuses, primary
            if time.monotonic() > deadline:
                raise CommandError(f"shard {self.shard}: {describe(statuses)}")
            await asyncio.sleep(_LOOK_AGAIN_AFTER_S)


async def primaries_of(
    configuration: Configuration, shards: Sequence[int]
) -> dict[int, ShardPrimary]:
    """Those of these shards. Raises CommandError when one has none, or is not configured."""
    views = configuration.by_shard()
    missing = [shard for shard in shards if shard not in views]
    if missing:
        told = ", ".join(map(str, missing))
        raise CommandError(f"shard {told} is not in this configuration: is it an old one?")
    statuses = await asyncio.gather(*(ask_replicas(views[shard]) for shard in shards))
    for shard, each in zip(shards, statuses, strict=True):
        if find_primary(each) is None:
            raise CommandError(f"shard {shard}: {describe(each)}")
    return {shard: ShardPrimary(views[shard]) for shard in shards}


def _reign(primary: Status) -> tuple[str, int]:
    return primary["name"], primary["epoch"]
