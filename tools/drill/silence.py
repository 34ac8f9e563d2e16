"""The outage that a client sees: the longest time without an answer while commands were sent."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple


class Silence(NamedTuple):
    """From the last answer before to the first one after; the window's end where none came."""

    client: str
    begin_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """How long the client waited."""
        return self.end_ns - self.begin_ns


def longest_silence(
    client: str, answered_ns: Sequence[int], fault_ns: int, until_ns: int
) -> Silence:
    """The longest silence of a client that a fault at `fault_ns` can have made.

    `answered_ns` are the times of its answers, in order. A silence counts when it ended after the
    fault and began before `until_ns`, up to which commands were sent.
    """
    first = max(bisect_right(answered_ns, fault_ns) - 1, 0)
    times = answered_ns[first : bisect_left(answered_ns, until_ns) + 1]
    moments = list(times)
    if not moments or moments[0] > fault_ns:
        moments.insert(0, fault_ns)  # it had no answer before
    if moments[-1] < until_ns:
        moments.append(until_ns)  # it had none after
    silences = (Silence(client, begin, end) for begin, end in pairwise(moments))
    return max(silences, key=lambda silence: silence.length_ns)


def worst_silence(
    answered_ns: Mapping[str, Sequence[int]], fault_ns: int, until_ns: int
) -> Silence:
    """The longest silence of all clients, by name."""
    silences = (
        longest_silence(client, times, fault_ns, until_ns) for client, times in answered_ns.items()
    )
    return max(silences, key=lambda silence: silence.length_ns)
