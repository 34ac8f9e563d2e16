"""Reads frames out of a journal's segments, and verifies each of them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from feed.codec import LONGEST_FRAME_BYTES, Frame, WireError, decode_frame
from feed.frames import cut_frames, read_frames, scan_frames
from feed.run import SNAPSHOT_TYPES, Run, type_bit
from feed.segments import HEADER_BYTES, MARK_BYTES, Marks, Segment, decode_index
from feed.storage import Storage

# Read at once of a long range: a run of it stays small enough to be sent in one go.
READ_BYTES = 1 << 20
# Segments whose marks are kept in memory after they were read, each at most 16 KiB or so.
KEPT_MARKS = 16


class DamagedFrames(Exception):
    """Frames that can't be read back; the text says what stands there instead."""

    def __init__(self, name: str, sequence: int, offset: int, text: str) -> None:
        super().__init__(f"{name}: frame {sequence} can't be read at offset {offset}: {text}")
        self.name = name
        self.sequence = sequence
        self.offset = offset


class SegmentReader:
    """Finds frames in segments without reading all that comes before them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._marks: OrderedDict[int, Marks] = OrderedDict()

    def runs(self, segment: Segment, first: int, last: int) -> Iterator[Run]:
        """The frames `first` to `last`, as far as they are in the segment, verified.

        Raises DamagedFrames where one is not what was written, StorageError where it can't be read.
        """
        first, last = max(first, segment.first_sequence), min(last, segment.last_sequence)
        if first > last:
            return
        marks = self._marks_of(segment)
        sequence, offset = marks.before(first)
        end = marks.after(last, segment.size)
        while sequence <= last:
            size = min(READ_BYTES, end - offset)
            data, run = self._read(segment, sequence, offset, size)
            if not run:
                raise _damage(segment.name, sequence, offset, data)
            if run.last_sequence >= first:
                yield run.part(first, last)
            sequence = run.next_sequence
            offset += len(run.data)

    def offset_of(self, segment: Segment, sequence: int) -> int:
        """Where a frame begins, or would, if it is the next one; raises as `runs` does."""
        if sequence == segment.next_sequence:
            return segment.size
        marked, offset = self._marks_of(segment).before(sequence)
        for run in self.runs(segment, marked, sequence - 1):
            offset += len(run.data)
        return offset

    def scan(self, segment: Segment, on_progress: Callable[[int], None]) -> DamagedFrames | None:
        """Add to a segment all intact frames that stand behind those it is known to have.

        Returns what ends them, if it is not the end of the file.
        """
        while True:
            data, run = self._read(segment, segment.next_sequence, segment.size, MARK_BYTES)
            if run:
                segment.add(run)
                on_progress(len(run.data))
            elif data:
                return _damage(segment.name, segment.next_sequence, segment.size, data)
            else:
                return None

    def forget(self) -> None:
        """Segments are not what they were."""
        self._marks.clear()

    def load_marks(self, segment: Segment) -> None:
        """Have a sealed segment's marks with it: it is to be written to again."""
        segment.marks = self._marks_of(segment)

    def _read(self, segment: Segment, sequence: int, offset: int, size: int) -> tuple[bytes, Run]:
        data = self._storage.read(segment.name, offset, size)
        intact, summary = scan_frames(data, sequence)
        frames = data if intact == len(data) else data[:intact]
        if summary.types & SNAPSHOT_TYPES:  # they can't stand in a list
            count = next(n for n, frame in enumerate(read_frames(frames)) if _is_state(frame))
            frames, summary = cut_frames(frames, 0, count)
        return data, Run(sequence, frames, summary)

    def _marks_of(self, segment: Segment) -> Marks:
        if segment.marks is not None:
            return segment.marks
        first = segment.first_sequence
        marks = self._marks.pop(first, None)
        if marks is None:
            name = segment.index_name
            index = decode_index(self._storage.read(name, 0, self._storage.size(name)))
            # Without an index all is found from the first frame on: it takes longer.
            found = None if index is None else index.marks
            marks = found or Marks(first, HEADER_BYTES)
        self._marks[first] = marks
        while len(self._marks) > KEPT_MARKS:
            self._marks.popitem(last=False)
        return marks


def _is_state(frame: Frame) -> bool:
    return bool(type_bit(frame.type) & SNAPSHOT_TYPES)


def _damage(name: str, sequence: int, offset: int, data: bytes) -> DamagedFrames:
    """What can be said of bytes that do not begin with the frame `sequence`."""
    try:
        frame = decode_frame(data[:LONGEST_FRAME_BYTES])
    except WireError as error:
        return DamagedFrames(name, sequence, offset, str(error))
    if frame.sequence != sequence:
        return DamagedFrames(name, sequence, offset, f"frame {frame.sequence} stands there")
    return DamagedFrames(name, sequence, offset, f"a snapshot's frame ({frame.type.name})")
