"""A snapshot's bytes: a machine's whole state at one point of the list, and what it takes to go on.

Frames back to back, each with its checksum. First the snapshot's own group, numbered from 1: the
head, the machine's state, the end. Then the tail: the list's frames after the head's
`digest_sequence` up to its `sequence`, under their own numbers, which a reader needs to go on with
the list digest. What kinds of state there are, and in which order, is the machine's to say.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator

from feed.codec import (
    FRAME_HEADER_BYTES,
    LONGEST_FRAME_BYTES,
    WireError,
    decode_frame,
    encode_frame,
)
from feed.digest import BLOCK_FRAMES
from feed.frames import scan_frames
from feed.messages import Snapshot, SnapshotEnd
from feed.run import SNAPSHOT_TYPES, STATE_TYPES, Run, empty_run, joined, type_bit
from feed.schema import FrameType

# What a file is written and read in: large enough to cost little, small enough to hold several.
CHUNK_BYTES = 64 << 10

_HEAD_BIT = type_bit(FrameType.SNAPSHOT)
_END_BIT = type_bit(FrameType.SNAPSHOT_END)
_TYPE_AT = 2  # in a frame; its length comes before
_FIRST_STATE_SEQUENCE = 2  # the head is frame 1


class SnapshotError(ValueError):
    """Bytes that are no whole, sound snapshot; the text says what is wrong."""


def encode_snapshot(
    head: Snapshot, state: Iterable[Run], state_digest: bytes, tail: Run, time_ns: int
) -> Iterator[bytes]:
    """A snapshot's bytes, piece by piece.

    `state` is numbered from 2; `tail` is the list after `head.digest_sequence`; `time_ns` is that
    of the list's frame `head.sequence`. Raises SnapshotError when the parts don't fit together.
    """
    _check_head(head)
    _require(
        (tail.first_sequence, tail.last_sequence) == (head.digest_sequence + 1, head.sequence),
        f"a tail of the frames {tail.first_sequence} to {tail.last_sequence} does not go from "
        f"{head.digest_sequence + 1} to {head.sequence}",
    )
    yield encode_frame(head, 1, time_ns, end=False)
    sequence = _FIRST_STATE_SEQUENCE
    for run in state:
        _require(run.first_sequence == sequence, f"state frame {sequence} is missing")
        yield run.data
        sequence = run.next_sequence
    yield encode_frame(SnapshotEnd(state_digest), sequence, time_ns, end=True)
    if tail:
        yield tail.data


class SnapshotReader:
    """Reads a snapshot's bytes as they come, and lets nothing pass that is not sound.

    What can't be seen here is whether the state is one that a machine can have: its digest, in
    `end`, tells that to whoever restores one.
    """

    __slots__ = ("_next_sequence", "_unread", "end", "head", "tail", "time_ns")

    def __init__(self) -> None:
        self.head: Snapshot | None = None
        self.end: SnapshotEnd | None = None
        self.tail: list[Run] = []  # as much of it as has come
        self.time_ns = 0  # of every frame of the snapshot, and of the list's frame `head.sequence`
        self._next_sequence = 1  # of the group, and then of the tail
        self._unread = b""  # the beginning of a frame

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return (
            self.head is not None
            and self.end is not None
            and self._next_sequence == self.head.sequence + 1
        )

    def take(self, data: bytes) -> list[Run]:
        """Read on; the frames of the snapshot's group that have come whole, its head and end too.

        Raises SnapshotError at the first thing that is wrong; the reader is then of no more use.
        """
        runs = []
        data = self._unread + data if self._unread else data
        if self.end is None:
            run = self._scan(data)
            if run.types & _END_BIT:
                run = run.part(run.first_sequence, _end_sequence(run))
            data = data[len(run.data) :]
            if run:
                self._check_group(run)
                runs.append(run)
        if self.end is not None:
            run = self._scan(data)
            data = data[len(run.data) :]
            if run:
                self._check_tail(run)
                self.tail.append(run)
        if data and self.is_whole:
            raise SnapshotError("bytes are left over after the end of the snapshot")
        self._unread = data
        self._check_unread()
        return runs

    def finish(self) -> None:
        """No more will come; raises SnapshotError unless all of it has."""
        _require(self.is_whole, "the snapshot is cut off")

    def _scan(self, data: bytes) -> Run:
        size, summary = scan_frames(data, self._next_sequence)
        return Run(self._next_sequence, data[:size], summary)

    def _check_group(self, run: Run) -> None:
        rest = run
        if self.head is None:
            _require(run[0].type == FrameType.SNAPSHOT, "it does not begin with a snapshot's head")
            self._begin(run)
            rest = run.part(_FIRST_STATE_SEQUENCE, run.last_sequence)
        _require(not rest.types & ~(STATE_TYPES | _END_BIT), "a frame that is no machine's state")
        ends = bool(rest.types & _END_BIT)
        before = run.part(run.first_sequence, run.last_sequence - ends)
        _require(not before.end_sequence, "a frame ends the snapshot that is not its end")
        self._next_sequence = run.next_sequence
        if ends:
            _require(bool(run.end_sequence), "the snapshot's end is not marked as such")
            self._finish_group(run)

    def _begin(self, run: Run) -> None:
        frame = run[0]
        head = frame.message()
        assert isinstance(head, Snapshot)
        _check_head(head)
        self.head = head
        self.time_ns = frame.time_ns

    def _finish_group(self, run: Run) -> None:
        frame = run[-1]
        end = frame.message()
        assert isinstance(end, SnapshotEnd)
        assert self.head is not None
        _require(frame.time_ns == self.time_ns, "head and end are of different times")
        self.end = end
        self._next_sequence = self.head.digest_sequence + 1

    def _check_tail(self, run: Run) -> None:
        assert self.head is not None
        last = self.head.sequence
        _require(run.last_sequence <= last, f"the tail goes on after frame {last}")
        _require(
            not run.types & SNAPSHOT_TYPES,
            "a frame in the tail that can't be the list's",
        )
        if run.last_sequence == last:
            _require(run.end_sequence == last, f"frame {last} of the list ends no group")
            _require(run[-1].time_ns == self.time_ns, "the tail ends at another time")
        self._next_sequence = run.next_sequence

    def _check_unread(self) -> None:
        """Raise unless what is left can be the beginning of the next frame."""
        unread = self._unread
        length = int.from_bytes(unread[:_TYPE_AT], "big")
        if len(unread) < _TYPE_AT or len(unread) < min(length, LONGEST_FRAME_BYTES):
            return
        try:
            found = decode_frame(unread)
        except WireError as error:
            raise SnapshotError(f"frame {self._next_sequence}: {error}") from error
        raise SnapshotError(f"frame {found.sequence} comes where {self._next_sequence} should")


class WholeSnapshot:
    """A snapshot that has been read to its end, and found sound; it can be read again."""

    __slots__ = ("_chunks", "end", "head", "tail", "time_ns")

    def __init__(self, reader: SnapshotReader, chunks: Callable[[], Iterable[bytes]]) -> None:
        """`reader` has read these chunks, which begin anew at each call.

        Raises SnapshotError when they were not all of a snapshot.
        """
        reader.finish()
        assert reader.head is not None
        assert reader.end is not None
        self.head = reader.head
        self.end = reader.end
        first = reader.head.digest_sequence + 1
        self.tail = joined(reader.tail) if reader.tail else empty_run(first)
        self.time_ns = reader.time_ns
        self._chunks = chunks

    def state(self) -> Iterator[Run]:
        """The frames of the machine's state, in runs of a bounded size: what it restores from."""
        reader = SnapshotReader()
        for chunk in self._chunks():
            for run in reader.take(chunk):
                last = run.last_sequence - (reader.end is not None)
                part = run.part(_FIRST_STATE_SEQUENCE, last)
                if part:
                    yield part
        reader.finish()

    def chunks(self) -> Iterable[bytes]:
        """Its bytes."""
        return self._chunks()


def read_snapshot(chunks: Callable[[], Iterable[bytes]]) -> WholeSnapshot:
    """The snapshot in these chunks, which begin anew at each call.

    Raises SnapshotError when it is not sound.
    """
    reader = SnapshotReader()
    for chunk in chunks():
        reader.take(chunk)
    return WholeSnapshot(reader, chunks)


class StateDigest:
    """The digest of a machine's state, taken from its frames as they stand in a snapshot."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, run: Run) -> None:
        """Add the next frames of state."""
        update = self._hash.update
        for frame in run:
            data = frame.data
            update(data[_TYPE_AT : _TYPE_AT + 1])
            update(data[FRAME_HEADER_BYTES:])

    def digest(self) -> bytes:
        """That of all frames so far."""
        return self._hash.digest()


def _check_head(head: Snapshot) -> None:
    _require(
        head.digest_sequence % BLOCK_FRAMES == 0
        and head.digest_sequence <= head.sequence < head.digest_sequence + BLOCK_FRAMES,
        f"a digest of {head.digest_sequence} frames is not one of the last block before "
        f"{head.sequence}",
    )
    _require(
        1 <= head.epoch_sequence <= head.sequence,
        f"frame {head.sequence} is not of a reign that begins at {head.epoch_sequence}",
    )


def _end_sequence(run: Run) -> int:
    """The number of the first frame in it that is a snapshot's end."""
    return next(frame.sequence for frame in run if frame.type == FrameType.SNAPSHOT_END)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SnapshotError(otherwise)
