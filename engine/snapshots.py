"""When a replica takes a snapshot of its machine, and which one a machine begins with.

Sans-I/O but for the folder. Backups take them, so that trading does not pause; each at a group's
end, which may not be committed yet: so a snapshot is kept in memory until that is known, and
dropped if another list comes instead. One is taken where each day begins, for whoever needs that
day alone.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import structlog

from engine.machine import Machine
from feed.held_list import HeldList
from feed.messages import NewDay, Snapshot, holder_field
from feed.run import Run, empty_run, joined
from feed.schema import FrameType
from feed.snapshot import WholeSnapshot, encode_snapshot, read_snapshot
from feed.snapshot_folder import SnapshotFolder

log = structlog.get_logger()

_FIRST_STATE_SEQUENCE = 2  # in a snapshot; its head is frame 1


class Restored(NamedTuple):
    """A machine, and the last frame of the list that it has carried out."""

    machine: Machine
    sequence: int


class _Taken(NamedTuple):
    """A machine's state at a group's end, not known to be committed yet."""

    sequence: int
    day: int
    opens_day: bool
    state: list[Run]
    digest: bytes
    time_ns: int


class Snapshots:
    """The snapshots of one replica: a new one each `every_frames`, the newest `count` are kept."""

    def __init__(self, folder: SnapshotFolder, *, every_frames: int, count: int) -> None:
        self.folder = folder
        self._every_frames = every_frames
        self._count = count
        self._day = 0
        self._last_sequence = 0  # of the newest one
        self._taken: list[_Taken] = []

    def restore(
        self, build_machine: Callable[[], Machine], held: HeldList, at_most: int
    ) -> Restored | None:
        """The machine of the newest good snapshot that the list goes on from; None without any.

        What is held may be a tail that has lost, where the disk could not store what came instead:
        then a snapshot of that is none of this list.
        """
        while (stored := self.folder.newest(at_most)) is not None:
            self._day = stored.day
            self._last_sequence = max(self._last_sequence, stored.sequence)
            if stored.sequence + 1 < held.first_sequence:
                return None
            try:
                snapshot = read_snapshot(partial(self.folder.chunks, stored))
                if held.contradicts(stored.sequence, snapshot.head.epoch):
                    raise ValueError("another list than the one of the snapshot is held there")
                machine = restored_machine(build_machine, snapshot)
            except ValueError as error:
                log.error("this snapshot is of no use", file=stored.name, reason=str(error))
                at_most = stored.sequence - 1
                continue
            return Restored(machine, stored.sequence)
        return None

    def look(self, machine: Machine, run: Run) -> None:
        """The machine has carried out these groups: take a snapshot if it is time for one."""
        day = _day_begun(run)
        opens_day = day is not None
        self._day = self._day if day is None else day
        if opens_day or run.last_sequence >= self._last_sequence + self._every_frames:
            self.take(machine, run, opens_day=opens_day)

    def take(self, machine: Machine, run: Run, *, opens_day: bool = False) -> None:
        """Take a snapshot of the machine, which has carried out the list up to the end of `run`."""
        sequence, time_ns = run.last_sequence, run[-1].time_ns
        if sequence == self._last_sequence:
            return
        self._last_sequence = sequence
        state = list(machine.snapshot(_FIRST_STATE_SEQUENCE, time_ns))
        taken = _Taken(sequence, self._day, opens_day, state, machine.digest(), time_ns)
        self._taken.append(taken)

    def drop(self, sequence: int) -> None:
        """The list from here on is another one."""
        self._taken = [taken for taken in self._taken if taken.sequence < sequence]

    def take_writing(self, held: HeldList, committed_sequence: int) -> Callable[[], None] | None:
        """What writes the snapshots that are committed by now; to be called, in a thread or not.

        It raises StorageError.
        """
        ready = [taken for taken in self._taken if taken.sequence <= committed_sequence]
        if not ready:
            return None
        self._taken = self._taken[len(ready) :]
        encoded = [(taken, _encode(taken, held)) for taken in ready]

        def write() -> None:
            for taken, chunks in encoded:
                if chunks is not None:
                    self.folder.write(taken.sequence, taken.day, chunks, opens_day=taken.opens_day)
            self.folder.keep(self._count, ready[-1].day)

        return write


def restored_machine(build_machine: Callable[[], Machine], snapshot: WholeSnapshot) -> Machine:
    """The machine whose snapshot this is; raises ValueError when it can't be restored from it."""
    machine = build_machine()
    machine.restore(snapshot.state())
    if machine.digest() != snapshot.end.state_digest:
        raise ValueError("the restored machine has another digest than the one that was written")
    return machine


def _encode(taken: _Taken, held: HeldList) -> Iterator[bytes] | None:
    """A snapshot's bytes; None when the list is not held for it any more."""
    sequence = taken.sequence
    reign, block = held.reign_at(sequence), held.block_before(sequence)
    if reign is None or block is None:
        log.warning("a snapshot was not written: the list before it is unknown", sequence=sequence)
        return None
    tail = held.runs(block[0] + 1, sequence)
    if tail and (tail[0].first_sequence, tail[-1].last_sequence) != (block[0] + 1, sequence):
        return None
    head = Snapshot(sequence, reign.epoch, reign.sequence, holder_field(reign.primary), *block)
    end = joined(tail) if tail else empty_run(sequence + 1)
    return encode_snapshot(head, taken.state, taken.digest, end, taken.time_ns)


def _day_begun(run: Run) -> int | None:
    """The day that the last of these groups begins; None when none does, or it was refused."""
    if not run.has(FrameType.NEW_DAY) or run[-1].type is FrameType.REJECTED:
        return None
    days = [frame.message() for frame in run if frame.type is FrameType.NEW_DAY]
    (day,) = (day for day in days[-1:] if isinstance(day, NewDay))
    return day.day
