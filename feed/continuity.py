"""The shell that a holder's process has around its past: its files, and replays, given and had."""

import asyncio
import time
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any

import structlog

from feed.catch_up import Behind, CatchUp
from feed.holder import Holder
from feed.holder_source import HolderSource
from feed.keeping import Keeping
from feed.listener import Listener
from feed.messages import MarketState
from feed.replay_port import ReplayPort
from feed.schema import ReplayKind
from feed.settings import Address
from feed.snapshot import SnapshotError, WholeSnapshot
from feed.storage import StorageError

log = structlog.get_logger()

# While a holder has nothing, and nobody could help it.
_RETRY_AFTER_S = 1.0


class Continuity:
    """A holder's port for replays, and its own way back to the list when it has fallen behind."""

    def __init__(
        self,
        address: Address,
        holder: Holder,
        receiver: Behind[Any],
        sources: Sequence[Address],
        kind: ReplayKind,
        on_snapshot: Callable[[WholeSnapshot, int], None],
        listener: Listener[Any],
        keeping: Keeping | None,
        is_stuck: Callable[[], bool] = lambda: False,
    ) -> None:
        """`receiver` is the holder's core; `sources` are the other holders. `is_stuck`: whether it
        can't go on without them, however little it lacks.

        `on_snapshot` gets a snapshot and the monotonic time; what it raises as a ValueError has
        another source tried. Raises OSError when the address can't be used.
        """
        self._name = holder.identity.name
        self._holder = holder
        self._keeping = keeping
        self._kind = kind
        self._is_stuck = is_stuck
        self._restart = on_snapshot
        snapshots = None if keeping is None else keeping.snapshots
        self.port = ReplayPort(address, HolderSource(holder, snapshots))

        def hold_naks(are_held: bool) -> None:
            holder.holds_naks_back = listener.holds_naks_back = are_held

        def catch_up(kind: ReplayKind) -> CatchUp[Any]:
            return CatchUp(
                sources,
                holder.identity.shard,
                receiver,
                kind,
                SystemRandom(),
                on_snapshot=self._on_snapshot,
                on_progress=self._on_progress,
                hold_naks=hold_naks,
            )

        self.catch_up = catch_up(kind)
        self._from_state = catch_up(ReplayKind.STATE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Answer whoever asks, and ask the others, on the running event loop."""
        self.port.start()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Do neither any more."""
        await self.port.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def turn(self, after: Callable[[], None]) -> None:
        """After every turn of the holder; `after` is called when more of it is stored."""
        if self._keeping is not None:
            self._keeping.turn(after)
            self._keeping.drop_old_days(
                self._holder.committed_sequence, has_machine=self._kind is ReplayKind.STATE
            )
        self.catch_up.wake(at_once=self._is_stuck())

    async def _run(self) -> None:
        """Catch up. Who has nothing, where most others have no first frame any more either, begins
        with what a snapshot tells."""
        while not await self.catch_up.catch_up() and self._holder.last_sequence == 0:
            if self.catch_up.is_refused and await self._from_state.catch_up():
                break
            await asyncio.sleep(_RETRY_AFTER_S)
        await self.catch_up.run()

    def _on_snapshot(self, snapshot: WholeSnapshot) -> None:
        sequence = snapshot.head.sequence
        try:
            if self._keeping is not None:
                self._keeping.snapshots.write(sequence, _day(snapshot), snapshot.chunks())
            self._restart(snapshot, time.monotonic_ns())
        except (ValueError, StorageError) as error:
            raise SnapshotError(f"the snapshot of {sequence} is of no use here: {error}") from error
        log.info("began with a snapshot", name=self._name, sequence=sequence)

    def _on_progress(self, done: int, total: int) -> None:
        log.info("recovering: catching up", name=self._name, done=done, total=total)


def _day(snapshot: WholeSnapshot) -> int:
    """The day in force there; 0 before the first, or for a machine that knows none."""
    first = next(snapshot.state(), None)
    message = None if first is None else first[0].message()
    return message.day if isinstance(message, MarketState) else 0
