"""The most recent frames of a list, kept in memory to repair gaps from."""

from bisect import bisect_right

from feed.codec import LONGEST_FRAME_BYTES
from feed.run import Run, joined

# What CPython adds to a run's bytes: the objects around them, and the references to these.
RUN_OVERHEAD_BYTES = 280
# Runs shorter than this are joined with the one before: of an idle exchange, each command is one.
SHORT_RUN_BYTES = 2048
# Longer ones are cut up: what is evicted at once, and walked to find a frame, stays small.
LONG_RUN_FRAMES = 2048
MINIMUM_BYTES = LONG_RUN_FRAMES * LONGEST_FRAME_BYTES + 2 * RUN_OVERHEAD_BYTES
_SPARE_LIMIT = 1024  # how many places of evicted runs may stand empty before they are given back


class FrameCache:
    """Consecutive frames; the oldest go when all of them take more than `limit_bytes` of memory."""

    __slots__ = ("_bytes", "_limit_bytes", "_runs", "_spare", "next_sequence")

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < MINIMUM_BYTES:
            raise ValueError(f"a cache must have room for {MINIMUM_BYTES} bytes")
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._runs: list[Run | None] = []  # the first `_spare` are evicted
        self._spare = 0
        self.next_sequence = 1  # of the frame that can be appended

    def __len__(self) -> int:
        """How many frames are held."""
        return self.next_sequence - self.first_sequence

    @property
    def first_sequence(self) -> int:
        """The oldest frame that is held; equal to `next_sequence` while there is none."""
        if self._spare == len(self._runs):
            return self.next_sequence
        return self._run(self._spare).first_sequence

    @property
    def size_bytes(self) -> int:
        """The memory that the frames take."""
        return self._bytes

    def append(self, run: Run) -> None:
        """Hold more frames. The first may have any sequence number.

        Raises ValueError when they don't follow the last one.
        """
        if run.first_sequence != self.next_sequence:
            if self._runs or run.first_sequence < 1:
                raise ValueError(
                    f"frame {run.first_sequence} does not follow {self.next_sequence - 1}"
                )
            self.next_sequence = run.first_sequence
        while len(run) > LONG_RUN_FRAMES:
            last = run.first_sequence + LONG_RUN_FRAMES - 1
            self._add(run.part(run.first_sequence, last))
            run = run.part(last + 1, run.last_sequence)
        if run:
            self._add(run)
        if self._bytes > self._limit_bytes:
            self._evict()

    def clear(self, next_sequence: int) -> None:
        """Hold nothing any more; what is appended next begins at `next_sequence`."""
        self._runs.clear()
        self._spare = self._bytes = 0
        self.next_sequence = next_sequence

    def truncate(self, next_sequence: int) -> None:
        """Drop every frame from `next_sequence` on.

        Raises ValueError when earlier ones are not held any more, or were never there.
        """
        if not self.first_sequence <= next_sequence <= self.next_sequence:
            raise ValueError(f"frame {next_sequence} is not among those that are held")
        while self.next_sequence > next_sequence:
            run = self._pop()
            if run.first_sequence < next_sequence:
                self._add(run.part(run.first_sequence, next_sequence - 1))

    def runs(self, first: int, last: int) -> list[Run]:
        """Those of the frames `first` to `last` that are held, in runs as they are kept."""
        first = max(first, self.first_sequence)
        last = min(last, self.next_sequence - 1)
        if first > last:
            return []
        at = bisect_right(self._runs, first, lo=self._spare, key=_first_sequence) - 1
        found = []
        while first <= last:
            run = self._run(at)
            found.append(run.part(first, last))
            first = run.next_sequence
            at += 1
        return found

    def frames(self, first: int, last: int) -> list[bytes]:
        """Each of the frames `first` to `last` that is held, in sequence."""
        return [frame for run in self.runs(first, last) for frame in run.split()]

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        held = [run for run in self._runs[self._spare :] if run is not None]
        assert len(held) == len(self._runs) - self._spare, "a run in use was evicted"
        assert self._bytes == sum(map(_size_bytes, held))
        assert self._bytes <= self._limit_bytes, "the cache is larger than it may be"
        assert not any(self._runs[: self._spare]), "an evicted run is still held"
        assert self._spare < _SPARE_LIMIT + len(held) + 1
        sequence = self.first_sequence
        for run in held:
            assert run.first_sequence == sequence, "the runs do not follow one another"
            assert len(run) > 0
            sequence = run.next_sequence
        assert sequence == self.next_sequence

    def _run(self, at: int) -> Run:
        run = self._runs[at]
        assert run is not None
        return run

    def _add(self, run: Run) -> None:
        if len(run.data) < SHORT_RUN_BYTES and self._spare < len(self._runs):
            before = self._run(-1)
            if len(before.data) < SHORT_RUN_BYTES:
                self._pop()
                run = joined((before, run))
        self._runs.append(run)
        self._bytes += _size_bytes(run)
        self.next_sequence = run.next_sequence

    def _pop(self) -> Run:
        run = self._run(-1)
        del self._runs[-1]
        self._bytes -= _size_bytes(run)
        self.next_sequence = run.first_sequence
        return run

    def _evict(self) -> None:
        runs = self._runs
        while self._bytes > self._limit_bytes:
            self._bytes -= _size_bytes(self._run(self._spare))
            runs[self._spare] = None
            self._spare += 1
        if self._spare >= _SPARE_LIMIT and self._spare * 2 >= len(runs):
            del runs[: self._spare]
            self._spare = 0


def _first_sequence(run: Run | None) -> int:
    assert run is not None
    return run.first_sequence


def _size_bytes(run: Run) -> int:
    return len(run.data) + RUN_OVERHEAD_BYTES
