"""What a journal's folder has in it, and what is wrong with that; nothing is changed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from feed.segment_reader import DamagedFrames, SegmentReader
from feed.segments import (
    FRAMES_SUFFIX,
    HEADER_BYTES,
    INDEX_SUFFIX,
    Segment,
    decode_header,
    decode_index,
    first_sequences,
    index_name,
    is_torn,
    segment_name,
)
from feed.storage import Storage


class Damage(StrEnum):
    """What can be wrong with a journal."""

    TORN_TAIL = "torn tail"
    DAMAGED_FRAME = "damaged frame"
    DAMAGED_HEADER = "damaged header"
    DAMAGED_INDEX = "damaged index"
    MISSING_SEGMENT = "missing segment"
    MISSING_END = "missing end"
    POWER_CUT = "power cut"
    LOST_STATE = "lost state"


class Finding(NamedTuple):
    """One thing that is wrong, and what was done about it."""

    file: str
    sequence: int  # the first frame that it concerns; 0 for none
    what: Damage
    text: str


@dataclass(slots=True)
class Survey:
    """The segments of a journal, and what has to be done before it can be written to."""

    segments: list[Segment] = field(default_factory=list)  # without holes, up to the end
    older: list[Segment] = field(default_factory=list)  # those before a hole
    findings: list[Finding] = field(default_factory=list)
    is_doubtful: bool = False  # frames that had been stored are gone
    aside: list[str] = field(default_factory=list)  # files to set aside
    leftovers: list[str] = field(default_factory=list)  # files without any use
    # The last segment has bytes behind its last frame: to be cut off, and kept aside or not.
    is_tail_to_cut: bool = False
    is_tail_kept: bool = False


class _Found(NamedTuple):
    """One segment as it was found."""

    segment: Segment | None  # None without an intact header
    ends: DamagedFrames | None = None  # what stands behind its intact frames
    is_torn: bool = False  # it ends as what was never written to its end does
    was_sealed: bool = False  # so it was on the disk once, and whole
    sealed_sequence: int = 0  # the last frame that it had then


def survey(
    storage: Storage,
    shard: int | None,
    *,
    was_closed: bool,
    on_progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Look at all segments, and read those that are not sealed.

    `was_closed` says that the last process left nothing unfinished. Raises ValueError, which names
    the file, when a segment is of another shard than `shard`, if that is told; StorageError.
    """
    return _Surveyor(storage, shard, was_closed, on_progress).look()


class _Surveyor:
    def __init__(
        self,
        storage: Storage,
        shard: int | None,
        was_closed: bool,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._storage = storage
        self._shard = shard
        self._was_closed = was_closed
        self._on_progress = on_progress
        self._reader = SegmentReader(storage)
        self._result = Survey()
        self._done = self._total = 0

    def look(self) -> Survey:
        names = self._storage.names()
        firsts = first_sequences(names, FRAMES_SUFFIX)
        indexed = set(first_sequences(names, INDEX_SUFFIX))
        self._result.leftovers += [index_name(first) for first in sorted(indexed - set(firsts))]
        indexes = {first: self._index(first) for first in firsts if first in indexed}
        sealed = {first: index for first, index in indexes.items() if self._fits(index)}
        sizes = (self._storage.size(segment_name(n)) for n in firsts if n not in sealed)
        self._total = sum(max(0, size - HEADER_BYTES) for size in sizes)
        found = [
            _Found(sealed[first], was_sealed=True)
            if first in sealed
            else self._scanned(first, first in indexed, indexes.get(first))
            for first in firsts
        ]
        self._chain(firsts, found)
        return self._result

    def _index(self, first: int) -> Segment | None:
        name = index_name(first)
        segment = decode_index(self._storage.read(name, 0, self._storage.size(name)))
        if segment is None or segment.first_sequence != first:
            return None
        self._check_shard(name, segment)
        segment.marks = None  # they are read again when they are needed
        return segment

    def _fits(self, index: Segment | None) -> bool:
        return index is not None and self._storage.size(index.name) == index.size

    def _scanned(self, first: int, has_index: bool, index: Segment | None) -> _Found:
        """The segment as it is."""
        name = segment_name(first)
        if has_index:
            text = "it does not fit the segment, which was read instead"
            self._find(index_name(first), first, Damage.DAMAGED_INDEX, text)
            self._result.leftovers.append(index_name(first))
        size = self._storage.size(name)
        head = self._storage.read(name, 0, HEADER_BYTES)
        header = decode_header(head)
        if header is None or header.base.next_sequence != first:
            was_begun = size < HEADER_BYTES or not head.strip(b"\0")
            return _Found(None, is_torn=was_begun, was_sealed=has_index)
        segment = Segment(header)
        segment.is_on_disk = True
        self._check_shard(name, segment)
        ends = self._reader.scan(segment, self._advance)
        sealed_sequence = 0 if index is None else index.last_sequence
        if ends is None:
            return _Found(segment, None, False, has_index, sealed_sequence)
        torn = is_torn(self._storage.read(name, ends.offset, size - ends.offset), ends.offset)
        return _Found(segment, ends, torn, has_index, sealed_sequence)

    def _chain(self, firsts: list[int], found: list[_Found]) -> None:
        """Sort segments into those that follow one another up to the end, and the others."""
        # From here on nothing is known to have been on the disk: the end of a process or of the
        # power may have left anything there.
        loose = len(found)
        while loose and not self._was_closed and not found[loose - 1].was_sealed:
            loose -= 1
        segments = self._result.segments
        for place, (first, one) in enumerate(zip(firsts, found, strict=True)):
            is_loose = place >= loose
            if one.segment is None:
                self._end_at_header(first, is_unfinished=is_loose and one.is_torn)
            elif segments and segments[-1].next_sequence > first:
                text = f"the segment before it goes on to frame {segments[-1].last_sequence}"
                self._lose(segment_name(first), first, Damage.DAMAGED_HEADER, text)
            elif segments and segments[-1].next_sequence < first and place > loose:
                text = f"the frames up to {first - 1} had not been written yet, those after had"
                self._find(segments[-1].name, segments[-1].next_sequence, Damage.TORN_TAIL, text)
            else:
                if segments and segments[-1].next_sequence < first:
                    self._begin_anew(first)
                segments.append(one.segment)
                if self._ends_with(one, is_loose):
                    continue
                place += 1
            self._set_aside(firsts[place:], found[place:])
            return

    def _end_at_header(self, first: int, *, is_unfinished: bool) -> None:
        name = segment_name(first)
        if is_unfinished:
            text = "it was begun, and has nothing in it: removed"
            self._find(name, first, Damage.TORN_TAIL, text)
        else:
            text = "its header is not intact: set aside, and the journal ends before it"
            self._lose(name, first, Damage.DAMAGED_HEADER, text)

    def _begin_anew(self, first: int) -> None:
        """There is a hole: the list is what comes after it."""
        result = self._result
        missing = result.segments[-1].next_sequence
        text = f"the frames {missing} to {first - 1} are missing; what is before them is not used"
        self._lose(segment_name(missing), missing, Damage.MISSING_SEGMENT, text)
        result.older += result.segments
        result.segments.clear()

    def _ends_with(self, one: _Found, is_loose: bool) -> bool:
        """Whether a segment ends as it should, so that the next may follow."""
        segment, result = one.segment, self._result
        assert segment is not None
        if one.ends is None and segment.last_sequence >= one.sealed_sequence:
            return True
        missing = segment.next_sequence
        if one.ends is None:
            text = f"the frames up to {one.sealed_sequence} were here, and are not any more"
            self._lose(segment.name, missing, Damage.MISSING_END, text)
            return False
        result.is_tail_to_cut = True
        if is_loose and one.is_torn:
            text = f"its last write was not finished: cut off after frame {missing - 1}"
            self._find(segment.name, missing, Damage.TORN_TAIL, text)
        else:
            result.is_tail_kept = True
            text = f"{one.ends}; the journal ends before it, and the whole file is kept aside"
            self._lose(segment.name, missing, Damage.DAMAGED_FRAME, text)
        return False

    def _set_aside(self, firsts: list[int], found: list[_Found]) -> None:
        """None of these segments follows on the others."""
        for first, one in zip(firsts, found, strict=True):
            is_empty = one.is_torn if one.segment is None else one.segment.size == HEADER_BYTES
            names = self._result.leftovers if is_empty else self._result.aside
            names.append(segment_name(first))
            if one.was_sealed and index_name(first) not in self._result.leftovers:
                self._result.leftovers.append(index_name(first))

    def _find(self, file: str, sequence: int, what: Damage, text: str) -> None:
        self._result.findings.append(Finding(file, sequence, what, text))

    def _lose(self, file: str, sequence: int, what: Damage, text: str) -> None:
        self._find(file, sequence, what, text)
        self._result.is_doubtful = True

    def _check_shard(self, name: str, segment: Segment) -> None:
        if self._shard is not None and segment.header.shard != self._shard:
            raise ValueError(f"{name}: of shard {segment.header.shard}, not {self._shard}")

    def _advance(self, size: int) -> None:
        self._done += size
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)
