"""Each client's numbered stream: a pure function of the committed list, the same on every gateway.

A stream is kept as the bytes that go to the client, SoupBinTCP packets back to back, so that to
resume is to send a slice of it. Connections only keep their place; what a slow one has not been
sent yet costs nothing more. Numbers count from 1, as in SoupBinTCP.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from gateway.kernel import Told

SEGMENT_BYTES = 64 << 10  # what is dropped at once; small beside the limit, large beside a message
_INDEX_BYTES = array("I").itemsize


class Chunk(NamedTuple):
    """Whole packets from a stream, and the number of the message that comes after them."""

    data: bytes
    next_sequence: int


class _Segment:
    """Consecutive messages of a stream: their bytes, and where each one ends."""

    __slots__ = ("data", "ends", "first_sequence", "position")

    def __init__(self, first_sequence: int, position: int) -> None:
        self.first_sequence = first_sequence
        self.position = position  # of the first byte, counted from the stream's beginning
        self.data = bytearray()
        self.ends = array("I")

    @property
    def size_bytes(self) -> int:
        return len(self.data) + len(self.ends) * _INDEX_BYTES

    def add(self, packets: bytes, begin: int, ends: "array[int]") -> None:
        """Adds those of the packets that begin at `begin` and end at `ends`."""
        shift = len(self.data) - begin
        self.data += memoryview(packets)[begin : ends[-1]]
        self.ends.extend([end + shift for end in ends])


def _count_until_full(ends: "array[int]", count: int, begin: int, room: int) -> int:
    """How many messages there are when a segment with so much room is full, which they do fill.

    `count` of them, up to `begin`, are elsewhere. The last one may go beyond the segment's end.
    """

    def size(after: int) -> int:
        return ends[after - 1] - begin + (after - count) * _INDEX_BYTES

    return bisect_left(range(len(ends)), room, lo=count + 1, key=size)


class Stream:
    """One client's messages, numbered from 1; the oldest go when they outgrow the limit."""

    __slots__ = (
        "_limit_bytes",
        "_segments",
        "_size_bytes",
        "end_position",
        "next_sequence",
    )

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._segments = [_Segment(1, 0)]
        self._size_bytes = 0
        self.next_sequence = 1
        self.end_position = 0  # bytes of all messages that there ever were

    @property
    def first_sequence(self) -> int:
        """The oldest number that is still kept; the next one when none is."""
        return self._segments[0].first_sequence

    def extend(self, packets: bytes, ends: "array[int]") -> None:
        """Adds the messages with the next numbers: their packets, and where in them each ends."""
        count = begin = 0  # what of them is added
        while count < len(ends):
            segment = self._segments[-1]
            room = SEGMENT_BYTES - segment.size_bytes
            if room <= 0:
                segment = _Segment(self.next_sequence + count, self.end_position + begin)
                self._segments.append(segment)
                room = SEGMENT_BYTES
            after = len(ends)
            if len(packets) - begin + (after - count) * _INDEX_BYTES > room:
                after = _count_until_full(ends, count, begin, room)
            segment.add(packets, begin, ends[count:after])
            count, begin = after, ends[after - 1]
        self._size_bytes += len(packets) + count * _INDEX_BYTES
        self.next_sequence += count
        self.end_position += len(packets)
        while self._size_bytes > self._limit_bytes and len(self._segments) > 1:
            self._size_bytes -= self._segments.pop(0).size_bytes

    def position(self, sequence: int) -> int:
        """Where in the stream's bytes a message begins; for the next number, where it will."""
        segment, index = self._find(sequence)
        return segment.position + (segment.ends[index - 1] if index else 0)

    def read(self, sequence: int, limit_bytes: int) -> Chunk:
        """Messages from `sequence` on, as many as fit in the limit, and at least one if there is.

        May give fewer than there are; empty only at the end of the stream.
        """
        segment, index = self._find(sequence)
        if index == len(segment.ends):
            return Chunk(b"", sequence)
        begin = segment.ends[index - 1] if index else 0
        fitting = bisect_right(segment.ends, begin + limit_bytes, lo=index)
        after = max(fitting, index + 1)
        data = bytes(segment.data[begin : segment.ends[after - 1]])
        return Chunk(data, segment.first_sequence + after)

    def check(self) -> None:
        """Raises AssertionError when the segments do not add up, or have outgrown the limit."""
        sequence, position = self.first_sequence, self._segments[0].position
        for segment in self._segments:
            assert (segment.first_sequence, segment.position) == (sequence, position)
            assert list(segment.ends) == sorted(set(segment.ends))
            assert not segment.ends or segment.ends[-1] == len(segment.data)
            sequence += len(segment.ends)
            position += len(segment.data)
        assert (sequence, position) == (self.next_sequence, self.end_position)
        assert self._size_bytes == sum(segment.size_bytes for segment in self._segments)
        assert self._size_bytes <= self._limit_bytes or len(self._segments) == 1

    def _find(self, sequence: int) -> tuple[_Segment, int]:
        if not self.first_sequence <= sequence <= self.next_sequence:
            raise IndexError(f"message {sequence} is not in the stream")
        last = self._segments[-1]
        if sequence >= last.first_sequence:  # nearly always
            return last, sequence - last.first_sequence
        at = bisect_right(self._segments, sequence, key=lambda segment: segment.first_sequence)
        segment = self._segments[at - 1]
        return segment, sequence - segment.first_sequence


class Streams:
    """All clients' streams of a day."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes` bounds each client's stream, and its index with it."""
        self._limit_bytes = limit_bytes
        self._streams: dict[int, Stream] = {}

    def extend(self, told: Iterable[Told]) -> list[int]:
        """Adds what clients are told next; returns each one's number once for what it is told."""
        clients = []
        for each in told:
            if each.ends:
                self.of(each.client).extend(each.packets, each.ends)
                clients.append(each.client)
        return clients

    def of(self, client: int) -> Stream:
        """The stream of a client; empty when nothing ever happened to it."""
        stream = self._streams.get(client)
        if stream is None:
            stream = self._streams[client] = Stream(self._limit_bytes)
        return stream

    @property
    def message_count(self) -> int:
        """How many messages all streams have had."""
        return sum(stream.next_sequence - 1 for stream in self._streams.values())

    def check(self) -> None:
        """Raises AssertionError when a stream does not hold together."""
        for stream in self._streams.values():
            stream.check()
