"""Segments: the files that a journal's frames stand in, one after another.

A segment is a header and, behind it, frames back to back, just as they are on the wire. Where it
begins is its name, so the segments of a list follow one another. One that is full and on the disk
is sealed: an index tells what is in it, so that it need not be read to be trusted, nor be read
whole to find a frame.
"""

import struct
from array import array
from bisect import bisect_right
from typing import NamedTuple

from feed.checksum import CHECKSUM_BYTES, crc32c
from feed.codec import FRAME_HEADER_BYTES, body_bytes
from feed.messages import DIGEST_BYTES, HOLDER_NAME_BYTES, Epoch, NewDay, holder_field, unpad
from feed.reign import Reign
from feed.run import Run, type_bit
from feed.schema import FrameType

FRAMES_SUFFIX, INDEX_SUFFIX, ASIDE_SUFFIX = ".frames", ".index", ".damaged"
SEGMENT_VERSION = 1
# What has to be read, and verified, to find a frame. Each such piece costs 16 bytes of an index.
MARK_BYTES = 64 << 10
# Disks write so much at once, or nothing of it.
SECTOR_BYTES = 512

_SEGMENT_MAGIC, _INDEX_MAGIC = b"LOCKSEGM", b"LOCKINDX"
# Magic, version, shard, first sequence; of the reign before it: sequence, epoch, primary; day;
# digest's sequence, digest; committed sequence.
_HEADER = struct.Struct(f">8sHHQQI{HOLDER_NAME_BYTES}sIq{DIGEST_BYTES}sQ")
_CHECKSUM = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + CHECKSUM_BYTES
# Magic, next sequence, size, how many reigns, days and marks; the segment's header comes before.
_INDEX = struct.Struct(">8sQQIII")
_REIGN = struct.Struct(f">QI{HOLDER_NAME_BYTES}s")
_DAY = struct.Struct(">QI")
_MARK = struct.Struct(">QQ")
_NEWS = type_bit(FrameType.EPOCH) | type_bit(FrameType.NEW_DAY)


class Base(NamedTuple):
    """Where a list may begin: what has to be known of all that came before."""

    next_sequence: int  # the first frame
    reign: Reign | None  # the one before that frame
    digest_sequence: int  # how far `digest` goes, at most up to that frame; -1 if unknown
    digest: bytes
    day: int = 0  # the day before that frame; 0 if there was none, or it is unknown


FIRST_BASE = Base(1, None, 0, bytes(DIGEST_BYTES))


class SegmentHeader(NamedTuple):
    """What stands at the beginning of a segment."""

    shard: int
    base: Base
    committed_sequence: int  # as known when the segment was begun


class Segment:
    """What is known of one segment's file."""

    __slots__ = (
        "changes",
        "days",
        "header",
        "is_on_disk",
        "is_sealed",
        "marks",
        "next_sequence",
        "reigns",
        "size",
        "synced_changes",
    )

    def __init__(self, header: SegmentHeader) -> None:
        self.header = header
        self.next_sequence = header.base.next_sequence  # of the frame after its last
        self.size = HEADER_BYTES
        self.reigns: list[Reign] = []  # whose EPOCH frames are in it
        self.days: list[tuple[int, int]] = []  # sequence and day of the NEW_DAY frames in it
        self.marks: Marks | None = Marks(self.next_sequence, HEADER_BYTES)  # None: in the index
        self.is_sealed = False
        self.is_on_disk = False  # there is such a file, whatever of it would outlive a power cut
        self.changes = 1
        self.synced_changes = 0

    @property
    def first_sequence(self) -> int:
        """Its first frame."""
        return self.header.base.next_sequence

    @property
    def last_sequence(self) -> int:
        """Its last frame; one less than the first without any."""
        return self.next_sequence - 1

    @property
    def name(self) -> str:
        """Its file."""
        return segment_name(self.first_sequence)

    @property
    def index_name(self) -> str:
        """The file of its index, once it is sealed."""
        return index_name(self.first_sequence)

    @property
    def is_synced(self) -> bool:
        """Whether all of it would outlive a power cut."""
        return self.synced_changes == self.changes

    def add(self, run: Run) -> None:
        """Frames have been written at its end."""
        assert run.first_sequence == self.next_sequence, "frames that do not follow"
        assert self.marks is not None
        self.marks.add(self.next_sequence, self.size)
        if run.types & _NEWS:
            self._note(run)
        self.next_sequence = run.next_sequence
        self.size += len(run.data)
        self.changes += 1

    def cut(self, next_sequence: int, size: int) -> None:
        """The frames from `next_sequence` on have been cut off."""
        self.next_sequence, self.size = next_sequence, size
        self.reigns = [reign for reign in self.reigns if reign.sequence < next_sequence]
        self.days = [day for day in self.days if day[0] < next_sequence]
        if self.marks is not None:
            self.marks.cut(next_sequence)
        self.changes += 1

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        assert self.size >= HEADER_BYTES
        assert (self.size == HEADER_BYTES) is (self.next_sequence == self.first_sequence)
        assert self.is_on_disk
        assert self.is_synced or not self.is_sealed, "sealed, and not on the disk"
        news = [reign.sequence for reign in self.reigns] + [sequence for sequence, _ in self.days]
        assert all(self.first_sequence <= sequence < self.next_sequence for sequence in news)

    def _note(self, run: Run) -> None:
        for frame in run:
            if frame.type in (FrameType.EPOCH, FrameType.NEW_DAY):
                message = frame.message()
                if isinstance(message, Epoch):
                    reign = Reign(frame.sequence, message.epoch, unpad(message.primary))
                    self.reigns.append(reign)
                elif isinstance(message, NewDay):
                    self.days.append((frame.sequence, message.day))


class Marks:
    """Where some of a segment's frames begin: one in each `MARK_BYTES` or so, the first always."""

    __slots__ = ("offsets", "sequences")

    def __init__(self, sequence: int, offset: int) -> None:
        self.sequences = array("Q", [sequence])
        self.offsets = array("Q", [offset])

    def add(self, sequence: int, offset: int) -> None:
        """A frame begins there, after all that are known."""
        if offset - self.offsets[-1] >= MARK_BYTES:
            self.sequences.append(sequence)
            self.offsets.append(offset)

    def cut(self, next_sequence: int) -> None:
        """Forget where frames begin from `next_sequence` on."""
        kept = max(1, bisect_right(self.sequences, next_sequence - 1))
        del self.sequences[kept:]
        del self.offsets[kept:]

    def before(self, sequence: int) -> tuple[int, int]:
        """The last frame at or before this one that is known: its sequence and offset."""
        at = bisect_right(self.sequences, sequence) - 1
        return self.sequences[at], self.offsets[at]

    def after(self, sequence: int, size: int) -> int:
        """An offset behind this frame, of a file of `size` bytes."""
        at = bisect_right(self.sequences, sequence)
        return self.offsets[at] if at < len(self.offsets) else size


def segment_name(first_sequence: int) -> str:
    """The file of the segment that begins with this frame."""
    return f"{first_sequence:020d}{FRAMES_SUFFIX}"


def index_name(first_sequence: int) -> str:
    """The file of its index."""
    return f"{first_sequence:020d}{INDEX_SUFFIX}"


def first_sequences(names: list[str], suffix: str) -> list[int]:
    """The segments that there are files for, of those with this suffix, ascending."""
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return sorted(int(stem) for stem in stems if len(stem) == 20 and stem.isdecimal())


def encode_header(header: SegmentHeader) -> bytes:
    """A header's bytes."""
    shard, base, committed_sequence = header
    reign = base.reign
    data = _HEADER.pack(
        _SEGMENT_MAGIC,
        SEGMENT_VERSION,
        shard,
        base.next_sequence,
        *((0, 0, b"") if reign is None else (reign.sequence, reign.epoch, _field(reign.primary))),
        base.day,
        base.digest_sequence,
        base.digest,
        committed_sequence,
    )
    return data + _CHECKSUM.pack(crc32c(data))


def decode_header(data: bytes) -> SegmentHeader | None:
    """The header at the beginning of a segment; None where there is no intact one."""
    data, checksum = data[: _HEADER.size], data[_HEADER.size : HEADER_BYTES]
    if checksum != _CHECKSUM.pack(crc32c(data)):
        return None
    magic, version, shard, first, *reign_fields, day, digest_sequence, digest, committed = (
        _HEADER.unpack(data)
    )
    if magic != _SEGMENT_MAGIC or version != SEGMENT_VERSION:
        return None
    sequence, epoch, primary = reign_fields
    reign = Reign(sequence, epoch, unpad(primary)) if epoch else None
    return SegmentHeader(shard, Base(first, reign, digest_sequence, digest, day), committed)


def encode_index(segment: Segment) -> bytes:
    """The index of a segment: its header again, what is in it, and where."""
    marks = segment.marks
    assert marks is not None
    parts = [
        encode_header(segment.header),
        _INDEX.pack(
            _INDEX_MAGIC,
            segment.next_sequence,
            segment.size,
            len(segment.reigns),
            len(segment.days),
            len(marks.sequences),
        ),
        *(_REIGN.pack(at, epoch, _field(primary)) for at, epoch, primary in segment.reigns),
        *(_DAY.pack(*day) for day in segment.days),
        *map(_MARK.pack, marks.sequences, marks.offsets),
    ]
    data = b"".join(parts)
    return data + _CHECKSUM.pack(crc32c(data))


def decode_index(data: bytes) -> Segment | None:
    """The sealed segment that an index tells of; None where it is not intact."""
    data, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    header = decode_header(data)
    if header is None or checksum != _CHECKSUM.pack(crc32c(data)):
        return None
    at = HEADER_BYTES
    magic, next_sequence, size, reigns, days, marks = _INDEX.unpack_from(data, at)
    at += _INDEX.size
    if magic != _INDEX_MAGIC:
        return None
    segment = Segment(header)
    segment.next_sequence, segment.size = next_sequence, size
    end = at + reigns * _REIGN.size
    for sequence, epoch, primary in _REIGN.iter_unpack(data[at:end]):
        segment.reigns.append(Reign(sequence, epoch, unpad(primary)))
    at, end = end, end + days * _DAY.size
    segment.days += [(sequence, day) for sequence, day in _DAY.iter_unpack(data[at:end])]
    known = Marks(header.base.next_sequence, HEADER_BYTES)
    for sequence, offset in _MARK.iter_unpack(data[end : end + marks * _MARK.size]):
        known.add(sequence, offset)
    segment.marks = known
    segment.is_sealed = segment.is_on_disk = True
    segment.synced_changes = segment.changes
    return segment


def is_torn(rest: bytes, offset: int) -> bool:
    """Whether `rest`, all that stands from `offset` on behind the intact frames of a file, is what
    a write leaves that the end of a process or of the power cut short.

    That is the beginning of a frame; or zeros instead of sectors that were never written. Anything
    else was whole once.
    """
    written = len(rest.rstrip(b"\0"))
    if not written or len(rest) < FRAME_HEADER_BYTES:
        return True
    body = body_bytes(rest[2])
    length = int.from_bytes(rest[:2], "big")
    if body is None or length != FRAME_HEADER_BYTES + body:
        return False
    sector_end = -(offset + written) % SECTOR_BYTES + written
    return len(rest) < length or sector_end <= min(length - 1, len(rest) - SECTOR_BYTES)


def _field(name: str) -> bytes:
    return holder_field(name) if name else b""
