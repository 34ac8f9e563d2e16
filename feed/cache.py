"""The most recent frames of a list, kept in memory to repair gaps from."""

from feed.codec import LONGEST_FRAME_BYTES

# What CPython adds to a frame's bytes: the object around them, and the reference to it.
FRAME_OVERHEAD_BYTES = 33 + 8
_SPARE_LIMIT = 4096  # how many places of evicted frames may stand empty before they are given back


class FrameCache:
    """Consecutive frames; the oldest go when all of them take more than `limit_bytes` of memory."""

    __slots__ = ("_bytes", "_frames", "_limit_bytes", "_spare", "next_sequence")

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < LONGEST_FRAME_BYTES + FRAME_OVERHEAD_BYTES:
            raise ValueError("a cache must have room for one frame")
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._frames: list[bytes] = []  # the first `_spare` are evicted, and empty
        self._spare = 0
        self.next_sequence = 1  # of the frame that can be appended

    def __len__(self) -> int:
        """How many frames are held."""
        return len(self._frames) - self._spare

    @property
    def first_sequence(self) -> int:
        """The oldest frame that is held; equal to `next_sequence` while there is none."""
        return self.next_sequence - len(self)

    @property
    def size_bytes(self) -> int:
        """The memory that the frames take."""
        return self._bytes

    def append(self, frame: bytes, sequence: int) -> None:
        """Hold one more frame. The first may have any sequence number.

        Raises ValueError when it does not follow the last one.
        """
        if sequence != self.next_sequence:
            if self._frames or sequence < 1:
                raise ValueError(f"frame {sequence} does not follow {self.next_sequence - 1}")
            self.next_sequence = sequence
        self._frames.append(frame)
        self._bytes += len(frame) + FRAME_OVERHEAD_BYTES
        self.next_sequence += 1
        if self._bytes > self._limit_bytes:
            self._evict()

    def truncate(self, next_sequence: int) -> None:
        """Drop every frame from `next_sequence` on.

        Raises ValueError when earlier ones are not held any more, or were never there.
        """
        if not self.first_sequence <= next_sequence <= self.next_sequence:
            raise ValueError(f"frame {next_sequence} is not among those that are held")
        dropped = self.next_sequence - next_sequence
        if dropped:
            self._bytes -= sum(
                len(frame) + FRAME_OVERHEAD_BYTES for frame in self._frames[-dropped:]
            )
            del self._frames[-dropped:]
            self.next_sequence = next_sequence

    def frames(self, first: int, last: int) -> list[bytes]:
        """Those of the frames `first` to `last` that are held, in sequence."""
        offset = self._spare - self.first_sequence
        start = max(first, self.first_sequence)
        return self._frames[start + offset : max(last + 1, start) + offset]

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        held = self._frames[self._spare :]
        assert self._bytes == sum(len(frame) + FRAME_OVERHEAD_BYTES for frame in held)
        assert self._bytes <= self._limit_bytes, "the cache is larger than it may be"
        assert not any(self._frames[: self._spare]), "an evicted frame is still held"
        assert self._spare < _SPARE_LIMIT + len(held) + 1

    def _evict(self) -> None:
        frames = self._frames
        while self._bytes > self._limit_bytes:
            self._bytes -= len(frames[self._spare]) + FRAME_OVERHEAD_BYTES
            frames[self._spare] = b""
            self._spare += 1
        if self._spare >= _SPARE_LIMIT and self._spare * 2 >= len(frames):
            del frames[: self._spare]
            self._spare = 0
