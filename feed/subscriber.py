"""A subscriber of a list: datagrams in, whole committed groups in sequence out."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from feed.codec import COMMAND, END, Frame
from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Nak, RepairPolicy
from feed.receiver import Receiver, ReceiverCounters

_WHOLE = COMMAND | END


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


class Subscriber:
    """Delivers the groups of one shard's list, each once, when they are whole and committed.

    The arguments are those of `feed.receiver.Receiver`; with `first_sequence` None it starts at the
    first group that begins after it joined.
    """

    __slots__ = ("_failure", "_group_limit", "_unfinished", "receiver")

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
        self._unfinished: list[Frame] = []  # the frames of a group whose end has not come yet
        self._failure: GapFailure | None = None

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next group to be delivered; 0 before a live start."""
        if self._unfinished:
            return self._unfinished[0].sequence
        if self._failure is not None:
            return self._failure.first_sequence
        return self.receiver.next_sequence

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
        return None if self._failure else self.receiver.deadline_ns

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> list[Group]:
        """Take one UDP datagram in, as `Receiver.on_datagram` does; whole groups come out."""
        frames = self.receiver.on_datagram(data, now_ns, source)
        return self._grouped(frames) if frames else []

    def on_time(self, now_ns: int) -> list[Nak]:
        """The NAKs that are due, each to be sent to its retransmitter."""
        return [] if self._failure else self.receiver.on_time(now_ns)

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self.receiver.check()
        for sequence, frame in enumerate(self._unfinished, self.next_sequence):
            assert frame.sequence == sequence
            assert not frame.is_end
        if self._failure is None:
            assert self.receiver.next_sequence == self.next_sequence + len(self._unfinished)

    def _grouped(self, frames: Sequence[Frame]) -> list[Group]:
        groups: list[Group] = []
        if self._failure is not None:
            return groups
        unfinished = self._unfinished
        for frame in frames:
            flags = frame.flags
            if flags == _WHOLE and not unfinished:
                groups.append(Group((frame,)))
                continue
            if bool(flags & COMMAND) is bool(unfinished):
                self._fail(frame, "the list is broken: a group begins or ends in the wrong place")
                break
            unfinished.append(frame)
            if flags & END:
                groups.append(Group(tuple(unfinished)))
                unfinished.clear()
            elif len(unfinished) >= self._group_limit:
                self._fail(frame, f"a group is longer than {self._group_limit} frames")
                break
        return groups

    def _fail(self, frame: Frame, reason: str) -> None:
        self._failure = GapFailure(frame.sequence, frame.sequence, reason)
