"""Kills a shard's primary under the eyes of a viewer, and tells how the exchange takes it."""

import asyncio
import time
from itertools import pairwise
from typing import Any, NamedTuple

from engine.control import ControlError
from tools.console import CommandError
from tools.observer import Observer, Reign
from tools.processes import Exchange
from tools.replicas import Statuses, find_primary

# An exchange that is well needs tens of milliseconds; a busy machine may let it wait.
TAKEOVER_WITHIN_S = 30.0
RESTART_AFTER_S = 2.0  # so that a viewer sees the exchange trade without the one that is dead
_LOOK_S = 0.01


class Kill(NamedTuple):
    """A primary's death."""

    epoch: int  # that it led in
    name: str
    killed_ns: int  # monotonic


class Takeover(NamedTuple):
    """A new epoch, and how long after the fault its first frame was committed."""

    epoch: int
    primary: str
    killed: str | None  # None: nobody was, so another replica was mistaken or the old one stalled
    takeover_ms: float | None


class Killer:
    """Kills one primary of a shard after another, and starts each anew after a while."""

    def __init__(self, exchange: Exchange, observer: Observer, shard: int | None = None) -> None:
        """The shard is said where there are several."""
        self.story = ""  # what happened last, for the screen
        self._exchange = exchange
        self._observer = observer
        self._shard = shard
        self._kills: list[Kill] = []

    def takeovers(self) -> list[Takeover]:
        """Every new epoch since the first, oldest first."""
        kills = {kill.epoch: kill for kill in self._kills}
        reigns = list(self._observer.reigns)
        return [_takeover(reign, kills.get(before.epoch)) for before, reign in pairwise(reigns)]

    async def kill_primary(self) -> None:
        """Kill the primary, see another take over, start the dead one anew, see it catch up.

        Raises CommandError when one of these does not come about in time.
        """
        name = await self._exchange.primary(self._shard)
        epoch = self._observer.reigns[-1].epoch
        self._kills.append(Kill(epoch, name, time.monotonic_ns()))
        await self._exchange.kill(name)
        self.story = f"{name} was killed"
        await self._until_epoch_after(epoch, name)
        takeover = next(each for each in self.takeovers() if each.epoch > epoch)
        self.story = (
            f"{name} was killed: {takeover.primary} took over in epoch {takeover.epoch}, "
            f"{takeover.takeover_ms:.0f} ms later"
        )
        await asyncio.sleep(RESTART_AFTER_S)
        await self._exchange.restart(name)
        await self._exchange.until(
            f"the return of {name}",
            lambda statuses: has_returned(statuses, name),
            shard=self._shard,
        )
        self.story += f"; {name} is back"

    async def _until_epoch_after(self, epoch: int, killed: str) -> None:
        deadline = time.monotonic() + TAKEOVER_WITHIN_S
        while self._observer.reigns[-1].epoch == epoch:
            if time.monotonic() > deadline:
                raise CommandError(
                    f"nobody took over from {killed} within {TAKEOVER_WITHIN_S:.0f} s"
                )
            await asyncio.sleep(_LOOK_S)


def _takeover(reign: Reign, kill: Kill | None) -> Takeover:
    if kill is None:
        return Takeover(reign.epoch, reign.primary, None, None)
    takeover_ms = (reign.seen_ns - kill.killed_ns) / 1e6
    return Takeover(reign.epoch, reign.primary, kill.name, round(takeover_ms, 3))


def has_returned(statuses: Statuses, name: str) -> dict[str, Any] | None:
    """The status of a replica that follows the primary and votes again."""
    status, primary = statuses[name], find_primary(statuses)
    if isinstance(status, ControlError) or primary is None:
        return None
    if primary["name"] == name:
        return status
    is_counted = status["state"] == "backup" and primary["holders"][name]["vote"]
    return status if is_counted else None
