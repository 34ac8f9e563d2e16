"""A subscriber with all its sockets: the live feed, repairs, and long ranges over TCP.

It may begin at any time of the day. The live feed is heard from the first moment on; meanwhile a
replay brings what came before: the list, or a snapshot and what follows it.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from feed.catch_up import DEFAULT_CATCH_UP_POLICY, CatchUp, CatchUpPolicy
from feed.faults import Faults
from feed.gap import GapFailure
from feed.listener import Listener
from feed.schema import ReplayKind
from feed.settings import Address, FeedSettings
from feed.snapshot import WholeSnapshot
from feed.subscriber import Groups, Subscriber


class Subscription:
    """Delivers whole committed groups, in sequence, from where it begins.

    `begin` says where: with ReplayKind.LIST at the first frame; with STATE there, or after a newer
    snapshot; with DAY after the snapshot that the current day began with, or at the first frame;
    with None, live, at the first group that begins after it joined.

    NAKs go to `sources`; long ranges and snapshots come from `replay_sources`, without them from
    `sources` too. Only replicas have snapshots.

    `on_snapshot` is needed for STATE and DAY. It is called before the groups that follow a
    snapshot are delivered, and again whenever the subscriber was so far behind that another one was
    worth its while: what was built before is to be dropped then. The snapshot can be read while it
    is called. It may raise SnapshotError to refuse it.

    `failed` is there from `start` on, and is as a Listener's.
    """

    failed: asyncio.Future[GapFailure]

    def __init__(
        self,
        settings: FeedSettings,
        sources: Sequence[Address],
        deliver: Callable[[Groups], None],
        *,
        replay_sources: Sequence[Address] = (),
        begin: ReplayKind | None = ReplayKind.LIST,
        on_snapshot: Callable[[WholeSnapshot], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        receive: Address | None = None,
        faults: Faults | None = None,
        random: Random | None = None,
        policy: CatchUpPolicy = DEFAULT_CATCH_UP_POLICY,
    ) -> None:
        if begin in (ReplayKind.STATE, ReplayKind.DAY) and on_snapshot is None:
            raise ValueError("whoever begins with a snapshot has to take it")
        random = random or Random()
        self.subscriber = Subscriber(
            shard=settings.shard,
            source_count=len(sources),
            random=random,
            first_sequence=None if begin is None else 1,
        )
        self._begin = begin
        self._on_snapshot = on_snapshot
        self.catch_up = CatchUp(
            replay_sources or sources,
            settings.shard,
            self.subscriber,
            begin or ReplayKind.LIST,
            random,
            deliver=deliver,
            on_snapshot=None if on_snapshot is None else self._take_snapshot,
            on_progress=on_progress,
            hold_naks=self._hold_naks,
            policy=policy,
        )
        self.listener = Listener(
            settings,
            self.subscriber,
            sources,
            deliver,
            receive=receive,
            faults=faults,
            after=self.catch_up.wake,
        )
        self._catching_up: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the sockets and begin, on the running event loop; raises as `Listener.start`."""
        self.listener.start()
        self.failed = self.listener.failed
        at_once = self._begin in (ReplayKind.STATE, ReplayKind.DAY)
        loop = asyncio.get_running_loop()
        self._catching_up = loop.create_task(self.catch_up.run(at_once=at_once))
        self._catching_up.add_done_callback(self._on_done)
        self.failed.add_done_callback(lambda _: self._stop_catching_up())

    def close(self) -> None:
        """Close the sockets; nothing is delivered any more. May be called more than once."""
        self.listener.close()
        self._stop_catching_up()

    def _stop_catching_up(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Catching up has ended, on an exception or by `close`."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.listener.close()
            if not self.failed.done():
                self.failed.set_exception(error)

    def _take_snapshot(self, snapshot: WholeSnapshot) -> None:
        assert self._on_snapshot is not None
        self._on_snapshot(snapshot)
        self.subscriber.receiver.fence(snapshot.head.epoch)
        self.subscriber.restart(snapshot.head.sequence + 1)

    def _hold_naks(self, holds: bool) -> None:
        self.subscriber.holds_naks_back = self.listener.holds_naks_back = holds
        if not holds:
            self.listener.wake()
