"""The drill that kills everything at once, and brings it back from the journals."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine.control import ControlError
from feed.keeping import BOOT_VARIABLE, SYNC_DELAY_VARIABLE
from feed.settings import SyncPolicy
from tools.console import CommandError
from tools.drill.drill import Drill, Strike
from tools.drill.power import cut_power
from tools.drill.world import WatchedShard, World
from tools.fleet import ZOOKEEPER
from tools.replicas import Status, Statuses, describe, find_primary

# How a candidate's complaint begins when the shard stops because too much has been forgotten.
STOPS = (
    "too few holders that remember",
    "nobody who answered has what is committed",
)
# Of a disk that is slow: what is acknowledged before it is synced would hardly ever be found out
# with a fast one, for it had to be in the few microseconds before the power is cut.
_SYNC_DELAY_MS = 10
# A candidate complains each second while others are still coming up; who lacks votes for so much
# longer lacks them for good.
_STANDS_STILL_S = 5.0
_DECIDED_WITHIN_S = 40.0  # all processes run by then; a takeover takes them a second at most
_LOOK_AGAIN_AFTER_S = 0.2


class KillAll(Drill):
    """Kill every process at once, ZooKeeper too, and start them from their journals."""

    name = "kill-all"
    stops_zookeeper = True
    strikes_all = True
    return_counts = True
    stays_s: ClassVar[float] = 0.0

    def __init__(self, sync: SyncPolicy = SyncPolicy.GROUP, *, power_cut: bool = False) -> None:
        self.journal: Mapping[str, Any] | None = {"sync": sync}
        self._power_cut = power_cut
        if power_cut:
            self.environment = {SYNC_DELAY_VARIABLE: str(_SYNC_DELAY_MS)}
        self.may_stop = power_cut and sync is not SyncPolicy.GROUP

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill all, take what a power cut takes where that is asked for, and start all."""
        exchange = world.exchange
        names = list(exchange.children)
        at_ns = time.monotonic_ns()
        await exchange.kill(*names)
        if ZOOKEEPER not in names:
            await world.servers.stop_all(exchange)
        moments = []
        if self._power_cut:
            loss = await asyncio.to_thread(cut_power, world.journals())
            exchange.fleet.environment[BOOT_VARIABLE] = f"after-cut-{number}"
            what = f"the power cut takes {loss.size:,} bytes that were not synced"
            moments.append((time.monotonic_ns(), what))
        if ZOOKEEPER not in names:
            await world.servers.start_all(exchange)
        await world.restart(*names)
        moments.append((time.monotonic_ns(), f"all {len(names)} processes are ready again"))
        what = f"all {len(names)} processes killed, {primary['name']} led in epoch"
        return Strike(at_ns, "all", f"{what} {primary['epoch']}", moments=moments)

    async def mend(self, world: World, strike: Strike) -> None:
        """All has been started again."""

    async def stopped(self, world: World, epochs_before: Mapping[int, int]) -> str | None:
        """Why a shard has stopped, where the journals were allowed to forget."""
        if not self.may_stop:
            return None
        deadline = time.monotonic() + _DECIDED_WITHIN_S
        for shard in world.shards:
            reason = await self._stopped(world, shard, epochs_before[shard.number], deadline)
            if reason is not None:
                return reason if len(world.shards) == 1 else f"shard {shard.number}: {reason}"
        return None

    async def _stopped(
        self, world: World, shard: WatchedShard, epoch_before: int, deadline: float
    ) -> str | None:
        """Why a shard has stopped; None as soon as it is clear that it goes on."""
        since = time.monotonic()
        async with world.watched() as check:
            while shard.witness.epoch <= epoch_before:
                check()
                statuses = await world.exchange.statuses(shard=shard.number)
                reason = standstill(statuses, self._complaints(world, shard))
                now = time.monotonic()
                if reason is None:
                    since = now
                elif now - since > _STANDS_STILL_S:
                    return reason
                if now > deadline:
                    raise CommandError(
                        f"shard {shard.number} neither came back within {_DECIDED_WITHIN_S:.0f} s "
                        f"nor said why not; {describe(statuses)}"
                    )
                await asyncio.sleep(_LOOK_AGAIN_AFTER_S)
        return None

    @staticmethod
    def _complaints(world: World, shard: WatchedShard) -> list[str | None]:
        children = world.exchange.children
        return [children[name].latest_event("error") for name in shard.configuration.replicas]


def standstill(statuses: Statuses, complaints: Sequence[str | None]) -> str | None:
    """What a replica complains of while nobody leads; None when they may still get there.

    That they merely don't lead is not enough: the shard has to say why it stops.
    """
    if any(isinstance(each, ControlError) for each in statuses.values()):
        return None
    if find_primary(statuses) is not None:
        return None
    told = (each for each in complaints if each is not None and each.startswith(STOPS))
    return next(told, None)
