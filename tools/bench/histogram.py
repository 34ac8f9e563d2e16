"""Times in buckets that grow with them: any number of times in little memory, to under 1 %.

The idea is Gil Tene's HdrHistogram: times up to 2 * 128 ns have a bucket each; each further power
of two is cut into 128 buckets of one width.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from rich.text import Text

_BITS = 7  # 2 ** 7 buckets for each power of two: a bucket's width is below 1/128 of its times
_BAR_CELLS = 50
_NS_PER_MS = 1_000_000
_LINE_STEPS = (1, 2, 5)  # lines of a drawing begin at these times a power of ten


class Percentiles(NamedTuple):
    """The spread of some times, in ns."""

    p50: int
    p99: int
    p99_9: int
    max: int


class Histogram:
    """Counts times in nanoseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_ns = 0
        self._counts: Counter[int] = Counter()

    def record(self, time_ns: int) -> None:
        """Count one time; below 0, which a clock's step may make it, it counts as 0."""
        time_ns = max(0, time_ns)
        self.count += 1
        self.longest_ns = max(self.longest_ns, time_ns)
        self._counts[_bucket(time_ns)] += 1

    def percentile(self, share: float) -> int:
        """The time in ns that this share (0 to 1) of the times does not exceed.

        It is the upper end of the bucket of the time that stands there (the nearest rank), so at
        most 1/128 too long; and never above the longest. 0 when there are no times.
        """
        rank = max(1, -(-round(share * self.count * 1_000_000) // 1_000_000))
        seen = 0
        for bucket, count in sorted(self._counts.items()):
            seen += count
            if seen >= rank:
                return min(_last(bucket), self.longest_ns)
        return self.longest_ns

    def percentiles(self) -> Percentiles:
        """What is usually told of latencies."""
        at = self.percentile
        return Percentiles(at(0.5), at(0.99), at(0.999), self.longest_ns)

    def draw(self, title: str) -> Text:
        """A drawing for a terminal: a line for each range of times, and the share that is in it."""
        drawn = Text(f"{title}: {self.count:,} times\n")
        for below_ns, count in self._lines():
            share = count / self.count
            bar = "█" * round(_BAR_CELLS * share) or ("▏" if count else "")
            label = f"{below_ns / _NS_PER_MS:>10,.2f} ms"
            drawn.append(f"  < {label} {count:>10,} {share:>7.2%} {bar}\n")
        return drawn

    def _lines(self) -> Iterator[tuple[int, int]]:
        """Where each range of a drawing ends, and how many times are in it; no empty ones outside.

        A bucket counts where its last time belongs: the ranges are far wider than buckets.
        """
        remaining = sorted(self._counts.items())
        power = 1_000  # a microsecond
        begun = False
        while remaining:
            for step in _LINE_STEPS:
                below_ns = step * power
                count = 0
                while remaining and _last(remaining[0][0]) < below_ns:
                    count += remaining.pop(0)[1]
                begun = begun or count > 0
                if begun and (count or remaining):
                    yield below_ns, count
            power *= 10


def _bucket(time_ns: int) -> int:
    shift = max(0, time_ns.bit_length() - _BITS - 1)
    return (shift << _BITS) + (time_ns >> shift)


def _last(bucket: int) -> int:
    """The longest time of a bucket, in ns."""
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
