"""What a gateway has of each shard: its feed, its part in ZooKeeper, the line to its primary.

A thin shell: what the list means to clients is decided in `gateway.gateway`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from random import Random
from typing import Any, NamedTuple, Protocol, TypeAlias

import structlog

from feed.catch_up import CatchUp
from feed.digest import ListDigest
from feed.faults import Faults
from feed.gap import GapFailure
from feed.listener import Listener
from feed.run import Run, empty_run
from feed.schema import ReplayKind
from feed.settings import Address, FeedSettings
from feed.snapshot import WholeSnapshot
from feed.subscriber import Groups, Subscriber
from gateway.gateway import Gateway
from gateway.primary_connection import PrimaryConnection, PrimarySource
from gateway.settings import UplinkLimits

log = structlog.get_logger()

# Before replicas are asked again what the day began with, when none of them could say.
ASK_AGAIN_SECONDS = 0.5
_NO_FRAMES = empty_run(1)


class ShardSources(NamedTuple):
    """Where a gateway has a shard's list from."""

    feed: FeedSettings
    # `repair` addresses: of those who answer NAKs, of those who have snapshots, and of all who
    # answer replays.
    retransmitters: Sequence[Address]
    replicas: Sequence[Address] = ()
    holders: Sequence[Address] = ()
    receive: Address | None = None  # where the feed comes by unicast


class Membership(PrimarySource, Protocol):
    """What a gateway wants of a shard's ZooKeeper: a `zk.membership.Member`."""

    @property
    def connected(self) -> bool:
        """Whether what it says is up to date."""

    async def start(self) -> None:
        """Connect, in the background."""

    async def stop(self) -> None:
        """Leave."""


# Gives the membership in a shard, which then calls back when it has news.
Join: TypeAlias = Callable[[int, Callable[[], None]], Membership]


class ShardFeed:
    """One shard, as a gateway on real sockets hears it and speaks to it.

    `on_change` is called whenever something has happened to the gateway.
    """

    failed: asyncio.Future[GapFailure]  # from `start` on; done when the list can't be read on

    def __init__(
        self,
        gateway: Gateway,
        sources: ShardSources,
        join: Join,
        limits: UplinkLimits,
        random: Random,
        on_change: Callable[[], None],
        faults: Faults | None = None,
    ) -> None:
        """The gateway's directory has to name this shard."""
        shard = self.shard = sources.feed.shard
        self.tasks: list[asyncio.Future[Any]] = []  # from `start` on; they end by errors alone
        self._gateway = gateway
        self._on_change = on_change
        self._membership = join(shard, lambda: self._primary.on_record())
        self._primary = PrimaryConnection(
            gateway, shard, self._membership, limits, random, on_change
        )
        self._is_member = False
        self._is_beginning = bool(sources.replicas)
        self._digest = ListDigest()
        self._subscriber = Subscriber(
            shard=shard, source_count=len(sources.retransmitters), random=random
        )
        self._listener = Listener(
            sources.feed,
            self._subscriber,
            sources.retransmitters,
            self._on_groups,
            receive=sources.receive,
            faults=faults,
            after=lambda: self._gaps.wake(),
        )
        self._subscriber.holds_naks_back = self._is_beginning
        self._day = self._catch_up(sources.replicas, ReplayKind.DAY, random, self._on_snapshot)
        self._gaps = self._catch_up(sources.holders, ReplayKind.LIST, random)

    async def start(self) -> None:
        """Joins the feed and ZooKeeper, and calls the primary.

        Raises OSError when an address is taken, ValueError when the sources make no sense.
        """
        self._listener.start()
        self.failed = self._listener.failed
        self._is_member = True
        await self._membership.start()
        self.tasks += map(asyncio.ensure_future, (self._primary.run(), self._keep_up()))

    async def stop(self) -> None:
        """Ends the connection and closes the sockets; ZooKeeper's part is ended by `leave`."""
        await cancel(self.tasks)
        self._listener.close()

    async def leave(self) -> None:
        """Leaves ZooKeeper."""
        if self._is_member:
            await self._membership.stop()

    def tell(self, run: Run = _NO_FRAMES) -> None:
        """Tells the gateway what the feed has brought: the epoch and the commit move without
        groups, too.
        """
        subscriber, now_ns = self._subscriber, time.monotonic_ns()
        epoch, committed_sequence = subscriber.epoch, subscriber.committed_sequence
        self._gateway.on_feed(self.shard, run, epoch, committed_sequence, now_ns)

    def flush(self, now_ns: int) -> None:
        """Sends the primary what there is to send."""
        self._primary.flush(now_ns)

    def summary(self) -> dict[str, Any]:
        """What was heard of the shard, for operators and programs."""
        counters = self._subscriber.counters
        primary = self._membership.primary
        return {
            "epoch": self._subscriber.epoch,
            "primary": None if primary is None else primary.name,
            "zookeeper": "connected" if self._membership.connected else "suspended",
            "list_digest": self._digest.hex(),
            "gaps_detected": counters.gaps_detected,
            "gaps_filled": counters.gaps_filled,
            "feed": {**asdict(counters), "listener": asdict(self._listener.counters)},
            "replays": {
                "day": asdict(self._day.counters),
                "gaps": asdict(self._gaps.counters),
            },
        }

    def _on_groups(self, groups: Groups) -> None:
        self._digest.update(groups.run)
        self.tell(groups.run)
        self._on_change()

    def _catch_up(
        self,
        holders: Sequence[Address],
        kind: ReplayKind,
        random: Random,
        on_snapshot: Callable[[WholeSnapshot], None] | None = None,
    ) -> CatchUp[Groups]:
        def on_progress(done: int, total: int) -> None:
            log.info("catching up", shard=self.shard, done=done, total=total)

        return CatchUp(
            holders,
            self.shard,
            self._subscriber,
            kind,
            random,
            deliver=self._on_groups,
            on_snapshot=on_snapshot,
            on_progress=on_progress,
            hold_naks=self._hold_naks,
        )

    async def _keep_up(self) -> None:
        """Begins with the running day, and catches up whenever it has fallen far behind."""
        if self._is_beginning:
            await self._begin()
            self._is_beginning = False
            self._hold_naks(False)
        await self._gaps.run()

    async def _begin(self) -> None:
        """Gets what the day began with, and the list from there on.

        NAKs are held back until then: they would bring all days, from the first frame on. As long
        as no primary is heard, the replicas may still be starting. Where none of them is of use,
        any holder is asked for the whole list, and then it is left to NAKs.
        """
        shard = self._gateway.shards[self.shard]
        while not shard.heard_sequence:
            if not await self._ask(self._day) and self._subscriber.epoch:
                await self._ask(self._gaps)
                return
            if not shard.heard_sequence:
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _ask(self, catch_up: CatchUp[Groups]) -> bool:
        """Has a replay made while nobody is let in; whether somebody answered."""
        shard = self._gateway.shards[self.shard]
        shard.is_catching_up = True
        try:
            return await catch_up.catch_up()
        finally:
            shard.is_catching_up = False

    def _on_snapshot(self, snapshot: WholeSnapshot) -> None:
        """The day began with this; raises SnapshotError when it can't have."""
        head = snapshot.head
        self._gateway.restore(self.shard, snapshot)
        self._digest = ListDigest(head.digest_sequence, head.list_digest)
        self._digest.update(snapshot.tail)
        self._subscriber.receiver.fence(head.epoch)  # who led before may not know it yet
        self._subscriber.restart(head.sequence + 1)
        log.info("day restored", shard=self.shard, sequence=head.sequence)

    def _hold_naks(self, holds: bool) -> None:
        self._subscriber.holds_naks_back = holds or self._is_beginning
        self._listener.wake()


async def cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Ends these tasks; what they raised is for who awaits them, or has been told."""
    waiting = [task for task in tasks if not task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
