"""A subscriber of a list: datagrams in, whole committed groups in sequence out."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, overload

from feed.codec import END, Frame
from feed.frames import whole_groups
from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Nak, RepairPolicy
from feed.receiver import Receiver, ReceiverCounters
from feed.run import Run, empty_run, joined


class Group(NamedTuple):
    """A command's frame and the frames of the events that it caused."""

    frames: tuple[Frame, ...]

    @property
    def command(self) -> Frame:
        """The frame that opened the group."""
        return self.frames[0]

    @property
    def events(self) -> tuple[Frame, ...]:
        """The frames that the command caused."""
        return self.frames[1:]

    @property
    def first_sequence(self) -> int:
        """The sequence number of the command."""
        return self.frames[0].sequence

    @property
    def last_sequence(self) -> int:
        """The sequence number of the END-marked frame."""
        return self.frames[-1].sequence

    @property
    def time_ns(self) -> int:
        """When the primary sequenced the group, in nanoseconds since 1970."""
        return self.frames[0].time_ns


class Groups(Sequence[Group]):
    """Whole groups that follow one another, each made anew when it is asked for.

    Whoever wants no object for each finds all their frames in `run`.
    """

    __slots__ = ("run",)

    def __init__(self, run: Run) -> None:
        """`run` begins with a command and ends with an END-marked frame, or is empty."""
        self.run = run

    def __bool__(self) -> bool:
        return bool(self.run)

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Group]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Group]: ...
    def __getitem__(self, index: int | slice) -> Group | Sequence[Group]:
        return self._all()[index]

    def __repr__(self) -> str:
        return f"Groups({self.run!r})"

    def _all(self) -> list[Group]:
        groups = []
        frames: list[Frame] = []
        for frame in self.run:
            frames.append(frame)
            if frame.flags & END:
                groups.append(Group(tuple(frames)))
                frames.clear()
        return groups


class Subscriber:
    """Delivers the groups of one shard's list, each once, when they are whole and committed.

    The arguments are those of `feed.receiver.Receiver`; with `first_sequence` None it starts at the
    first group that begins after it joined.

    While `holds_naks_back` it asks for nothing, and that time does not count towards giving up.
    """

    __slots__ = ("_failure", "_group_limit", "_unfinished", "holds_naks_back", "receiver")

    def __init__(
        self,
        *,
        shard: int,
        source_count: int,
        random: Random,
        policy: RepairPolicy = DEFAULT_REPAIR_POLICY,
        first_sequence: int | None = 1,
        last_resort_count: int = 0,
    ) -> None:
        self.receiver = Receiver(
            shard=shard,
            source_count=source_count,
            random=random,
            policy=policy,
            first_sequence=first_sequence,
            last_resort_count=last_resort_count,
            committed_only=True,
        )
        self._group_limit = policy.group_limit_frames
        self._unfinished: list[Run] = []  # the frames of a group whose end has not come yet
        self._failure: GapFailure | None = None
        self.holds_naks_back = False

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next group to be delivered; 0 before a live start."""
        if self._unfinished:
            return self._unfinished[0].first_sequence
        if self._failure is not None:
            return self._failure.first_sequence
        return self.receiver.next_sequence

    @property
    def highest_sequence(self) -> int:
        """How far the list is known to go."""
        return self.receiver.highest_sequence

    @property
    def committed_sequence(self) -> int:
        """How far the list is known to be committed."""
        return self.receiver.committed_sequence

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        return self.receiver.epoch

    @property
    def counters(self) -> ReceiverCounters:
        """What has been received so far."""
        return self.receiver.counters

    @property
    def failure(self) -> GapFailure | None:
        """Where the list can't be read any further, and why. Nothing is delivered after that."""
        return self._failure or self.receiver.failure

    @property
    def deadline_ns(self) -> int | None:
        """When to call `on_time` next; None while nothing is missing."""
        return None if self._is_mute else self.receiver.deadline_ns

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> Groups:
        """Take one UDP datagram in, as `Receiver.on_datagram` does; whole groups come out."""
        return self._grouped(self.receiver.on_datagram(data, now_ns, source))

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> Groups:
        """Take in what came from the group at once; whole groups come out."""
        receiver = self.receiver
        runs = []
        at = 0
        while at < len(datagrams):
            taken, run = receiver.take_expected(datagrams, at, now_ns)
            if not taken:
                taken, run = 1, receiver.on_datagram(datagrams[at], now_ns)
            if run:
                runs.append(run)
            at += taken
        return self._grouped(joined(runs) if runs else empty_run(receiver.next_sequence))

    def on_time(self, now_ns: int) -> list[Nak]:
        """The NAKs that are due, each to be sent to its retransmitter."""
        return [] if self._is_mute else self.receiver.on_time(now_ns)

    def restart(self, next_sequence: int) -> None:
        """Begin anew with this frame, which opens a group: what comes before it is committed, and
        known by other means."""
        receiver = self.receiver
        receiver.restart(next_sequence)
        receiver.committed_sequence = max(receiver.committed_sequence, next_sequence - 1)
        self._unfinished.clear()
        self._failure = None

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self.receiver.check()
        sequence = self.next_sequence
        for run in self._unfinished:
            assert run.first_sequence == sequence
            assert not run.end_sequence
            sequence = run.next_sequence
        if self._failure is None:
            assert self.receiver.next_sequence == sequence

    @property
    def _is_mute(self) -> bool:
        return self._failure is not None or self.holds_naks_back

    def _grouped(self, run: Run) -> Groups:
        """The groups that these frames end; what is left of them waits for more."""
        if not run or self._failure is not None:
            return Groups(empty_run(self.next_sequence))
        frame_count, _, broken_at = whole_groups(run.data, bool(self._unfinished))
        end = run.first_sequence + frame_count - 1
        last = run.last_sequence if broken_at < 0 else run.first_sequence + broken_at - 1
        whole, rest = run.part(run.first_sequence, end), run.part(end + 1, last)
        if whole:
            whole = joined([*self._unfinished, whole])
            self._unfinished.clear()
        if rest:
            self._unfinished.append(rest)
        if broken_at >= 0:
            reason = "the list is broken: a group begins or ends in the wrong place"
            self._fail(last + 1, reason)
        elif rest and sum(map(len, self._unfinished)) >= self._group_limit:
            self._fail(last, f"a group is longer than {self._group_limit} frames")
        return Groups(whole)

    def _fail(self, sequence: int, reason: str) -> None:
        self._failure = GapFailure(sequence, sequence, reason)
