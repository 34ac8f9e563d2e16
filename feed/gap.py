"""What is missing from the list, whom to ask for it and when, and when to give up.

A gap is a maximal range of sequence numbers that are known to exist and have not arrived. It is
asked for in parts, the earliest first, a bounded number of frames at once; an answer moves that
window on. The schedule is that of NAK-based multicast (RFC 5401 for the back-off, PGM and Aeron for
the rest): wait for reordering, ask one retransmitter, then the next, at doubling distances.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter
from random import Random
from typing import NamedTuple

from feed.datagrams import Repair, encode_repair
from feed.schema import RepairKind

_MICROSECOND_NS = 1_000
_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000
_DOUBLINGS_LIMIT = 32  # far beyond where a wait reaches its limit


@dataclass(frozen=True, slots=True)
class RepairPolicy:
    """How a receiver repairs gaps: its waits and its bounds."""

    # A frame that was only overtaken on its way arrives within this time, unasked.
    reorder_wait_ns: int = 300 * _MICROSECOND_NS
    # Receivers that lost the same packet spread their first NAKs over this time.
    jitter_ns: int = 200 * _MICROSECOND_NS
    # A retransmitter answers within this time, even one that is busy; doubled at each repeat.
    answer_wait_ns: int = 5 * _MILLISECOND_NS
    # One that lacks a frame may be repairing the same loss itself; doubled at each refusal.
    refusal_wait_ns: int = 5 * _MILLISECOND_NS
    # Where the doubling ends: a retransmitter that comes back is noticed within this time.
    wait_limit_ns: int = 100 * _MILLISECOND_NS
    # What all retransmitters say for so long that they lack, nobody has; until then, one that was
    # restarted may be catching up.
    give_up_missing_after_ns: int = 5 * _SECOND_NS
    # Silence may also be a rate limit or a restart, so it is borne for longer.
    give_up_silent_after_ns: int = 10 * _SECOND_NS
    # Of one NAK: about thirty packets, so that one answer fills a quarter of the window.
    request_limit_frames: int = 512
    # Of all NAKs under way: their answers, some 170 kB, fit into the socket's receive buffer.
    window_frames: int = 2048
    # Of all NAKs under way: bounds the work of each call when single frames are missing.
    window_parts: int = 64
    # Frames held because they came early, or are not committed: some 25 MB.
    held_limit_frames: int = 65_536
    # Frames of one group: twice as many as a market has live orders, all canceled at once.
    group_limit_frames: int = 8_388_608

    def __post_init__(self) -> None:
        if not 1 <= self.request_limit_frames <= self.window_frames:
            raise ValueError("a NAK must ask for one frame at least, and fit into the window")
        if min(self.window_parts, self.held_limit_frames, self.group_limit_frames) < 1:
            raise ValueError("a receiver must be let ask for, hold and group one frame at least")
        if min(self.reorder_wait_ns, self.jitter_ns) < 0:
            raise ValueError("a wait can't be negative")
        if min(self.answer_wait_ns, self.refusal_wait_ns, self.wait_limit_ns) < 1:
            raise ValueError("a wait that doubles must not be zero")


DEFAULT_REPAIR_POLICY = RepairPolicy()


class Nak(NamedTuple):
    """A NAK to be sent: to the retransmitter at index `source`, an encoded `Repair`."""

    source: int
    data: bytes


class GapFailure(NamedTuple):
    """A range of the list that can't be had, and why; the list can't be read past it."""

    first_sequence: int
    last_sequence: int
    reason: str


class _Gap:
    """A detected gap: how many of its frames are still missing."""

    __slots__ = ("missing_frames",)

    def __init__(self) -> None:
        self.missing_frames = 0


class _Refusal(NamedTuple):
    """A retransmitter said that it lacks a part: how often, and when it may be asked again."""

    times: int
    until_ns: int


@dataclass(slots=True)
class _Part:
    """A part of a gap that is, or will be, asked for in one NAK; an inclusive range."""

    first: int
    last: int
    gap: _Gap
    ask_at_ns: int
    wait_ns: int  # for the next answer
    start: int = 0  # whom to ask first; the others follow in turn
    turn: int = 0
    source: int | None = None  # who was asked last
    asked: frozenset[int] = frozenset()
    refusals: dict[int, _Refusal] = field(default_factory=dict)
    progress_ns: int = 0  # when it was first asked for, or last became smaller by an answer

    @property
    def frames(self) -> int:
        return self.last - self.first + 1

    def split(self, last: int) -> "_Part":
        """End this part at `last`, and return the rest as a part of its own."""
        rest = replace(self, first=last + 1, refusals=dict(self.refusals))
        self.last = last
        return rest


_LAST = attrgetter("last")


class Gaps:
    """The missing frames of one receiver.

    The first `source_count - last_resort_count` retransmitters are equals: the receiver keeps to
    one, picked at random, until that one stays silent or lacks a frame. Those of last resort, such
    as the primary, are asked for a part only when all others have been.
    """

    __slots__ = (
        "_ordinary_count",
        "_parts",
        "_policy",
        "_random",
        "_shard",
        "_source_count",
        "_start",
        "abandoned",
        "detected",
        "failure",
        "filled",
    )

    def __init__(
        self,
        *,
        shard: int,
        source_count: int,
        random: Random,
        policy: RepairPolicy,
        last_resort_count: int = 0,
    ) -> None:
        if not 0 <= last_resort_count <= source_count:
            raise ValueError("there can't be more retransmitters of last resort than there are")
        self._shard = shard
        self._source_count = source_count
        self._ordinary_count = source_count - last_resort_count
        self._random = random
        self._policy = policy
        self._start = random.randrange(self._ordinary_count) if self._ordinary_count else 0
        self._parts: list[_Part] = []  # ascending, disjoint
        self.failure: GapFailure | None = None
        self.detected = 0  # gaps
        self.filled = 0  # gaps of which every frame arrived
        self.abandoned = 0  # gaps cut off by a new epoch

    def __bool__(self) -> bool:
        """Whether anything is missing."""
        return bool(self._parts)

    @property
    def missing_frames(self) -> int:
        """How many frames are missing."""
        return sum(part.frames for part in self._parts)

    @property
    def deadline_ns(self) -> int | None:
        """When `on_time` has something to do next; None while nothing is missing."""
        if self.failure is not None:
            return None
        return min((part.ask_at_ns for part in self._window()), default=None)

    def open(self, first: int, last: int, now_ns: int) -> None:
        """The frames `first` to `last`, all later than what is missing already, are missing."""
        tail = self._parts[-1] if self._parts and self._parts[-1].last + 1 == first else None
        if tail is None:
            self.detected += 1
        gap = tail.gap if tail is not None else _Gap()
        gap.missing_frames += last - first + 1
        if tail is not None and tail.source is None:
            tail.last = last
        else:
            ask_at_ns = now_ns + self._policy.reorder_wait_ns + self._drawn(self._policy.jitter_ns)
            self._parts.append(_Part(first, last, gap, ask_at_ns, self._policy.answer_wait_ns))

    def missing_within(self, first: int, last: int) -> list[tuple[int, int]]:
        """Which of the frames `first` to `last` are missing: ranges, ascending."""
        found = []
        for part in islice(self._parts, self._index(first), None):
            if part.first > last:
                break
            found.append((max(first, part.first), min(last, part.last)))
        return found

    def fill(self, first: int, last: int, now_ns: int) -> None:
        """The frames `first` to `last` have arrived, asked for or late."""
        index = self._index(first)
        while index < len(self._parts) and self._parts[index].first <= last:
            part = self._parts[index]
            start, stop = max(first, part.first), min(last, part.last)
            part.gap.missing_frames -= stop - start + 1
            if not part.gap.missing_frames:
                self.filled += 1
            if part.source is not None:
                part.wait_ns = self._policy.answer_wait_ns
                part.progress_ns = now_ns
                part.ask_at_ns = now_ns + part.wait_ns
            if stop < part.last:
                self._parts.insert(index + 1, part.split(stop))
            if start > part.first:
                part.last = start - 1
                index += 1
            else:
                del self._parts[index]

    def refuse(self, source: int, first: int, last: int, now_ns: int) -> None:
        """Retransmitter `source` said that it lacks `first` to `last`.

        Counts only for what it was asked for. Another one is asked at once; this one later, since
        it may be waiting for the same frames itself.
        """
        index = self._index(first)
        while index < len(self._parts) and self._parts[index].first <= last:
            part = self._parts[index]
            index += 1
            if source not in part.asked:
                continue
            if part.last > last:
                self._parts.insert(index, part.split(last))
            if part.first < first:
                part = part.split(first - 1)
                self._parts.insert(index, part)
                index += 1
            times = part.refusals[source].times if source in part.refusals else 0
            wait_ns = min(self._policy.refusal_wait_ns << times, self._policy.wait_limit_ns)
            part.refusals[source] = _Refusal(min(times + 1, _DOUBLINGS_LIMIT), now_ns + wait_ns)
            if part.source == source:
                part.ask_at_ns = now_ns
                part.wait_ns = self._policy.answer_wait_ns

    def truncate(self, last: int) -> None:
        """Nothing later than `last` is missing any more: a new epoch may have it otherwise."""
        index = self._index(last + 1)
        if index < len(self._parts) and self._parts[index].first <= last:
            self._parts.insert(index + 1, self._parts[index].split(last))
            index += 1
        kept = {part.gap for part in self._parts[:index]}
        cut = self._parts[index:]
        for part in cut:
            part.gap.missing_frames -= part.frames
        self.abandoned += len({part.gap for part in cut} - kept)
        del self._parts[index:]

    def begin_again(self, now_ns: int) -> None:
        """Do not give up yet: ask for everything again, after a while."""
        self.failure = None
        for part in self._parts:
            part.progress_ns = now_ns
            part.ask_at_ns = max(part.ask_at_ns, now_ns + self._policy.wait_limit_ns)

    def on_time(self, now_ns: int, epoch: int) -> list[Nak]:
        """The NAKs that are due. Sets `failure` when there is nobody left to ask."""
        naks: list[Nak] = []
        for part in self._window():
            if self.failure is not None:
                break
            if part.ask_at_ns <= now_ns:
                source = self._choose(part, now_ns)
                if source is not None:
                    repair = Repair(RepairKind.NAK, self._shard, epoch, part.first, part.last)
                    naks.append(Nak(source, encode_repair(repair)))
        return naks

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        previous = 0
        missing: dict[_Gap, int] = {}
        for part in self._parts:
            assert previous < part.first <= part.last, (
                "parts are empty, overlap or are out of order"
            )
            assert part.asked.issuperset(part.refusals), "who was not asked has refused"
            missing[part.gap] = missing.get(part.gap, 0) + part.frames
            previous = part.last
        for gap, frames in missing.items():
            assert gap.missing_frames == frames, "a gap miscounts its frames"
        still_open = self.detected - self.filled - self.abandoned
        assert still_open == len(missing), "gaps detected, filled and abandoned do not add up"

    def _index(self, sequence: int) -> int:
        """The place of the first part that holds `sequence` or something later."""
        return bisect_left(self._parts, sequence, key=_LAST)

    def _window(self) -> Iterator[_Part]:
        """The earliest parts, as many as may be asked for at once.

        A part that is larger than a NAK may ask for is to be split by whoever asks for it; then the
        rest comes next.
        """
        room = self._policy.window_frames
        index = 0
        while index < min(len(self._parts), self._policy.window_parts):
            part = self._parts[index]
            frames = min(part.frames, self._policy.request_limit_frames)
            if frames > room:
                return  # rather than ask for what little room there is, wait for more
            yield part
            room -= frames
            index += 1

    def _choose(self, part: _Part, now_ns: int) -> int | None:
        """Whom to ask for a part that is due.

        None when all have refused it a moment ago, or when it is time to give up, which sets
        `failure`.
        """
        if part.source is None:
            self._begin(part, now_ns)
        elif part.start == self._start and self._ordinary_count:
            self._start = (self._start + 1) % self._ordinary_count
        # Time in which nobody called, or earlier parts took up the window, was not spent waiting.
        part.progress_ns += now_ns - part.ask_at_ns
        source = self._next_source(part, now_ns)
        limit_ns = (
            self._policy.give_up_missing_after_ns
            if source is None
            else self._policy.give_up_silent_after_ns
        )
        if not self._source_count or now_ns - part.progress_ns >= limit_ns:
            self.failure = GapFailure(part.first, part.last, self._reason(part))
            return None
        if source is None:
            part.ask_at_ns = min(refusal.until_ns for refusal in part.refusals.values())
            return None
        part.source = source
        part.asked |= {source}
        part.ask_at_ns = now_ns + part.wait_ns + self._drawn(part.wait_ns // 4)
        part.wait_ns = min(2 * part.wait_ns, self._policy.wait_limit_ns)
        return source

    def _begin(self, part: _Part, now_ns: int) -> None:
        """Make a part fit to be asked for the first time."""
        if part.frames > self._policy.request_limit_frames:
            rest = part.split(part.first + self._policy.request_limit_frames - 1)
            self._parts.insert(self._index(part.first) + 1, rest)
        part.start = self._start
        part.progress_ns = part.ask_at_ns

    def _next_source(self, part: _Part, now_ns: int) -> int | None:
        """The next retransmitter in turn that has not refused the part a moment ago, if any.

        The equals take turns in a circle from `start` on, then come those of last resort.
        """
        for _ in range(self._source_count):
            source = part.turn % self._source_count
            if source < self._ordinary_count:
                source = (part.start + source) % self._ordinary_count
            part.turn += 1
            refusal = part.refusals.get(source)
            if refusal is None or refusal.until_ns <= now_ns:
                return source
        return None

    def _reason(self, part: _Part) -> str:
        """Why a part is given up: what each retransmitter said."""
        if not self._source_count:
            return "no retransmitter is configured"
        if not part.refusals:
            return "no retransmitter answered"
        return ", ".join(
            f"retransmitter {source + 1} "
            + ("does not hold it" if source in part.refusals else "did not answer")
            for source in range(self._source_count)
        )

    def _drawn(self, limit_ns: int) -> int:
        return self._random.randrange(limit_ns + 1)
