"""The segments of a list, as one journal writes them: appended to, cut, synced, sealed, removed.

Everything raises StorageError, and leaves what is known of the files as it was then.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from feed.reign import Reign
from feed.run import Run, type_bit
from feed.schema import FrameType
from feed.segment_reader import SegmentReader
from feed.segments import HEADER_BYTES, Base, Segment, SegmentHeader, encode_header, encode_index
from feed.storage import Storage, StorageError

_NEW_DAY = type_bit(FrameType.NEW_DAY)
_UNKNOWN_DIGEST = (-1, bytes(32))


@dataclass(slots=True)
class Sync:
    """What one sync has on the disk when it is done."""

    carry_out: Callable[[], None]  # does it, in a thread if one likes; raises StorageError
    segments: tuple[tuple[Segment, int], ...]  # each with its changes at that time
    last_sequence: int


class SegmentList:
    """Segments without holes, of which the last may be written to.

    At most the last two are not sealed. Before one is begun, all but the one before it are on the
    disk, and of that one the name is: so a power cut can't leave a hole.
    """

    def __init__(
        self, storage: Storage, shard: int, segment_bytes: int, base: Base, held: Sequence[Segment]
    ) -> None:
        """`base` is where the list begins while there is no segment."""
        self.segments = list(held)
        self.reader = SegmentReader(storage)
        self._storage = storage
        self._shard = shard
        self._segment_bytes = segment_bytes
        self._base = base
        self._unsynced_indexes: list[str] = []

    @property
    def base(self) -> Base:
        """What is known of all that came before the first frame."""
        return self.segments[0].header.base if self.segments else self._base

    @property
    def next_sequence(self) -> int:
        """The frame that can be appended."""
        return self.segments[-1].next_sequence if self.segments else self._base.next_sequence

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        for segment, following in pairwise(self.segments):
            assert segment.next_sequence == following.first_sequence, "a hole"
            assert segment.next_sequence > segment.first_sequence, "an empty segment in the middle"
        for segment in self.segments:
            segment.check()
        assert all(segment.is_sealed for segment in self.segments[:-2])

    def runs(self, first: int, last: int) -> Iterator[Run]:
        """Those of the frames `first` to `last` that are held; raises DamagedFrames too."""
        first, last = max(first, self.base.next_sequence), min(last, self.next_sequence - 1)
        at = bisect_right(self.segments, first, key=_first_sequence) - 1
        while first <= last:
            yield from self.reader.runs(self.segments[at], first, last)
            first = self.segments[at].next_sequence
            at += 1

    def append(
        self, run: Run, committed_sequence: int, digest_block: tuple[int, bytes] | None
    ) -> None:
        """Write frames; a segment that begins with them has in its header what else is told."""
        for part in _by_days(run):
            if self._is_to_begin(part):
                self._begin(self._base_after(digest_block), committed_sequence)
            segment = self.segments[-1]
            try:
                self._storage.append(segment.name, part.data)
            except StorageError:
                self._cut_back(segment)
                raise
            segment.add(part)

    def cut(self, next_sequence: int) -> None:
        """Drop the frames from `next_sequence` on; they are gone for good when it returns.

        Whatever operation is the last one, a list without holes is left. Raises DamagedFrames too.
        """
        while len(self.segments) > 1 and self.segments[-1].first_sequence >= next_sequence:
            self._remove_files(self.segments[-1])
            self._sync_now(self.segments[-2])
            del self.segments[-1]
        segment = self.segments[-1]
        if segment.next_sequence <= next_sequence:
            return
        offset = self.reader.offset_of(segment, next_sequence)
        if segment.is_sealed:
            self.reader.load_marks(segment)
            self._remove_index(segment)
            self._storage.sync(segment.name)
        self._storage.truncate(segment.name, offset)
        segment.cut(next_sequence, offset)
        self._sync_now(segment)

    def cut_view(self, next_sequence: int) -> None:
        """Give out no frames from `next_sequence` on; the files can't be written to any more."""
        while len(self.segments) > 1 and self.segments[-1].first_sequence >= next_sequence:
            del self.segments[-1]
        if self.segments and self.segments[-1].next_sequence > next_sequence:
            self.segments[-1].cut(next_sequence, self.segments[-1].size)

    def clear(self, base: Base) -> None:
        """Hold nothing any more, from `base` on; the files are the caller's to remove."""
        self.segments.clear()
        self._unsynced_indexes.clear()
        self._base = base
        self.reader.forget()

    def begin_anew(self, gone: Sequence[Segment], committed_sequence: int) -> None:
        """After `clear`: remove these files, and have a segment on the disk."""
        for segment in gone:
            self._remove_files(segment)
        self._begin(self._base, committed_sequence)
        self._sync_now(self.segments[-1])

    def remove(self, old: Sequence[Segment]) -> None:
        """Have some segments no more, of which all others in the list come after these."""
        for segment in old:
            self._remove_files(segment)
            if segment in self.segments:
                self.segments.remove(segment)

    def segment_of(self, sequence: int) -> Segment:
        """The segment that a frame is in."""
        return self.segments[bisect_right(self.segments, sequence, key=_first_sequence) - 1]

    # Syncing.

    def loose(self, *, is_lazy: bool) -> list[Segment]:
        """The segments that have something to be synced.

        For a lazy one, only what has to be on the disk before more can be written: all of those
        that are full, and the name of the last.
        """
        loose = [segment for segment in self.segments[-2:] if not segment.is_synced]
        if is_lazy and loose and loose[-1] is self.segments[-1] and loose[-1].synced_changes:
            loose.pop()
        return loose

    def sync(self, *, is_lazy: bool) -> Sync:
        """What has them synced, in their order."""
        loose, storage = self.loose(is_lazy=is_lazy), self._storage
        names = [segment.name for segment in loose] + self._unsynced_indexes
        self._unsynced_indexes = []

        def carry_out() -> None:
            for name in names:
                storage.sync(name)

        captured = tuple((segment, segment.changes) for segment in loose)
        return Sync(carry_out, captured, self.next_sequence - 1)

    def synced(self, sync: Sync) -> None:
        """It is done: seal what is full."""
        for segment, changes in sync.segments:
            segment.synced_changes = max(segment.synced_changes, changes)
        self.seal_all()

    def seal_all(self) -> None:
        """Seal what is full and on the disk."""
        for segment in self.segments[:-1]:
            if segment.is_synced and not segment.is_sealed:
                self._seal(segment)

    def sync_all(self) -> None:
        """Have everything on the disk now."""
        for segment in self.segments:
            if not segment.is_synced:
                self._sync_now(segment)
        for name in self._unsynced_indexes:
            self._storage.sync(name)
        self._unsynced_indexes.clear()

    def _is_to_begin(self, run: Run) -> bool:
        if not self.segments or self.segments[-1].is_sealed:
            return True
        size = self.segments[-1].size
        is_full = size + len(run.data) > self._segment_bytes or run.types & _NEW_DAY
        return bool(is_full) and size > HEADER_BYTES

    def _begin(self, base: Base, committed_sequence: int) -> None:
        """Begin a segment behind all others."""
        for place, segment in enumerate(self.segments):
            if not segment.is_sealed:
                is_last = place == len(self.segments) - 1
                if not segment.synced_changes or not (is_last or segment.is_synced):
                    self._sync_now(segment)
                if segment.is_synced:
                    self._seal(segment)
        segment = Segment(SegmentHeader(self._shard, base, committed_sequence))
        self._storage.append(segment.name, encode_header(segment.header))
        segment.is_on_disk = True
        self.segments.append(segment)

    def _base_after(self, digest_block: tuple[int, bytes] | None) -> Base:
        """Where a list may begin behind all frames."""
        if not self.segments:
            return self._base
        reign: Reign | None = self.base.reign
        day = self.base.day
        for segment in reversed(self.segments):
            if segment.reigns:
                reign = segment.reigns[-1]
                break
        for segment in reversed(self.segments):
            if segment.days:
                day = segment.days[-1][1]
                break
        return Base(self.next_sequence, reign, *(digest_block or _UNKNOWN_DIGEST), day)

    def _cut_back(self, segment: Segment) -> None:
        """What was written of a run is not to stand there, if it can be helped."""
        try:
            self._storage.truncate(segment.name, segment.size)
        except StorageError:
            return  # it is found, and judged frame by frame, when the journal is opened again

    def _sync_now(self, segment: Segment) -> None:
        changes = segment.changes
        self._storage.sync(segment.name)
        segment.synced_changes = max(segment.synced_changes, changes)

    def _seal(self, segment: Segment) -> None:
        """All of it is on the disk. The index need not be: without it, the segment is read."""
        self._storage.append(segment.index_name, encode_index(segment))
        self._unsynced_indexes.append(segment.index_name)
        segment.is_sealed = True
        segment.marks = None

    def _remove_files(self, segment: Segment) -> None:
        if segment.is_sealed:
            self._remove_index(segment)
        self._storage.remove(segment.name)

    def _remove_index(self, segment: Segment) -> None:
        self._storage.remove(segment.index_name)
        if segment.index_name in self._unsynced_indexes:
            self._unsynced_indexes.remove(segment.index_name)
        segment.is_sealed = False
        self.reader.forget()


def _by_days(run: Run) -> Iterator[Run]:
    """The run, cut before each NEW_DAY frame: a day begins a segment."""
    first = run.first_sequence
    if run.types & _NEW_DAY:
        for frame in run:
            if frame.type is FrameType.NEW_DAY and frame.sequence > first:
                yield run.part(first, frame.sequence - 1)
                first = frame.sequence
    yield run.part(first, run.last_sequence)


def _first_sequence(segment: Segment) -> int:
    return segment.first_sequence
