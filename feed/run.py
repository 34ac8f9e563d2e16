"""A run of the list: consecutive frames back to back, as they stand in packets."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from feed.codec import PACKET_HEADER_BYTES, Frame, PacketHeader
from feed.frames import Summary, cut_frames, read_frames, scan_packet, summarize
from feed.schema import FrameType


def type_bit(frame_type: FrameType) -> int:
    """The bit of a frame type in `Summary.types`."""
    return 1 << frame_type - ord("A")


# What a snapshot tells of a machine; a list tells of an instrument and its orders in the same words
# when they leave it.
STATE_TYPES = sum(
    type_bit(frame_type)
    for frame_type in (
        FrameType.MARKET_STATE,
        FrameType.MARK_STATE,
        FrameType.INSTRUMENT_STATE,
        FrameType.ORDER_STATE,
        FrameType.CLIENT_STATE,
    )
)

# What stands in snapshots, and never in a list.
SNAPSHOT_TYPES = sum(
    type_bit(frame_type)
    for frame_type in (
        FrameType.SNAPSHOT,
        FrameType.MARKET_STATE,
        FrameType.MARK_STATE,
        FrameType.CLIENT_STATE,
        FrameType.SNAPSHOT_END,
    )
)


class Run(Sequence[Frame]):
    """Frames with consecutive sequence numbers, whose bytes have been verified.

    A sequence of `Frame`, decoded anew each time that one is asked for: what is kept are their
    bytes, `data`.
    """

    __slots__ = ("_count", "data", "end_sequence", "first_sequence", "types")

    def __init__(self, first_sequence: int, data: bytes, summary: Summary) -> None:
        """`first_sequence` is that of the first frame, or of the next one where there is none."""
        self.first_sequence = first_sequence
        self.data = data
        self._count, self.end_sequence, self.types = summary

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last frame; one less than the first without any."""
        return self.first_sequence + self._count - 1

    @property
    def next_sequence(self) -> int:
        """The sequence number of the frame that comes after it."""
        return self.first_sequence + self._count

    def has(self, frame_type: FrameType) -> bool:
        """Whether there is a frame of this type."""
        return bool(self.types & type_bit(frame_type))

    def part(self, first: int, last: int) -> "Run":
        """The frames `first` to `last` of it, as far as they are in it."""
        first = max(first, self.first_sequence)
        last = min(last, self.last_sequence)
        if first == self.first_sequence and last == self.last_sequence:
            return self
        if first > last:
            return empty_run(first)
        data, summary = cut_frames(self.data, first - self.first_sequence, last - first + 1)
        return Run(first, data, summary)

    def split(self) -> list[bytes]:
        """Each frame's bytes."""
        return [frame.data for frame in self]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        return read_frames(self.data)[index]

    def __iter__(self) -> Iterator[Frame]:
        return iter(read_frames(self.data))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        return (self.first_sequence, self.data) == (other.first_sequence, other.data)

    def __hash__(self) -> int:
        return hash((self.first_sequence, self.data))

    def __repr__(self) -> str:
        return f"Run({self.first_sequence} to {self.last_sequence}, {len(self.data)} bytes)"


def run_of(first_sequence: int, data: bytes) -> Run:
    """The run of these verified frames."""
    return Run(first_sequence, data, summarize(data))


def run_of_frames(first_sequence: int, frames: Iterable[bytes]) -> Run:
    """The same of each frame's bytes."""
    return run_of(first_sequence, b"".join(frames))


def joined(runs: Sequence[Run]) -> Run:
    """One run of several, at least one, of which each follows on the one before it."""
    first = runs[0]
    if len(runs) == 1:
        return first
    count = types = end_sequence = 0
    for run in runs:
        count += len(run)
        types |= run.types
        end_sequence = run.end_sequence or end_sequence
    data = b"".join([run.data for run in runs])
    return Run(first.first_sequence, data, Summary(count, end_sequence, types))


def empty_run(next_sequence: int) -> Run:
    """No frames, where the next one would be `next_sequence`."""
    return Run(next_sequence, b"", Summary(0, 0, 0))


def read_packet(data: bytes) -> tuple[PacketHeader, Run]:
    """The header and the frames of a received packet; raises WireError as `scan_packet` does."""
    header, summary = scan_packet(data)
    return header, Run(header.first_sequence, data[PACKET_HEADER_BYTES:], summary)
