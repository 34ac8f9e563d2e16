"""The figures that a drill reports: median, 99th percentile and maximum of what was measured."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

_NS_PER_MS = 1_000_000


class Distribution(NamedTuple):
    """How measured times are spread, in milliseconds; None where nothing was measured."""

    median: float | None
    p99: float | None
    max: float | None


def distribution(times_ns: Sequence[int]) -> Distribution:
    """The distribution of times; the percentile is one that was measured (the nearest rank)."""
    if not times_ns:
        return Distribution(None, None, None)
    ordered = sorted(times_ns)
    rank = -(-99 * len(ordered) // 100)  # rounded up
    return Distribution(
        milliseconds(statistics.median(ordered)),
        milliseconds(ordered[rank - 1]),
        milliseconds(ordered[-1]),
    )


def milliseconds(time_ns: float) -> float:
    """Nanoseconds as milliseconds, to the hundredth: finer than one wake-up of a process."""
    return round(time_ns / _NS_PER_MS, 2)
