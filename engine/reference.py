"""The reference: any machine of commands and events in plain Python, as `engine.machine` asks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, cast

from engine.machine import SNAPSHOT_RUN_FRAMES, Divergence, Followed, Sequenced
from engine.state_error import StateError
from feed.codec import (
    END,
    FRAME_TYPES,
    Frame,
    WireError,
    decode_frame,
    encode_frame,
    encode_group,
)
from feed.datagrams import decode_submissions
from feed.messages import Command, Event, Message, State
from feed.run import Run, empty_run, joined, run_of_frames
from feed.schema import FrameType


class Rules(Protocol):
    """A machine one command at a time; `engine.market.Market` is one."""

    def admits(self, login: int, command: Command) -> bool:
        """Whether a command sent under this log-in gets a place in the list."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> Sequence[Event]:
        """Carry out the command with this sequence number; the events that it caused."""

    def check(self) -> None:
        """Raise AssertionError when an invariant does not hold."""

    def digest(self) -> bytes:
        """The SHA-256 of the whole state, as `engine.machine` has it."""

    def state(self) -> Iterator[State]:
        """The whole state, in an order that depends on nothing but the state."""

    def restore(self, records: Iterable[tuple[int, Message]]) -> None:
        """Become, from empty, what has this state: its records, each with its frame's number.

        Raises ValueError when nothing can have such a state, and stays empty.
        """


class Reference:
    """Carries out batches of commands by `rules`, one after the other."""

    kind = "reference"

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._frame_counts: Counter[FrameType] = Counter()

    @property
    def frame_counts(self) -> Mapping[FrameType, int]:
        """How many frames of each type its groups have had."""
        return self._frame_counts

    def submit(self, submissions: bytes, sequence: int, time_ns: int) -> Sequenced:
        """Carry out those of these whole submissions that are admitted, in their order."""
        groups = []
        not_admitted = 0
        next_sequence = sequence
        for login, command in decode_submissions(submissions):
            if self.rules.admits(login, command):
                groups.append(self.carry_out(command, next_sequence, time_ns))
                next_sequence = groups[-1].next_sequence
            else:
                not_admitted += 1
        return Sequenced(joined(groups) if groups else empty_run(sequence), not_admitted)

    def carry_out(self, command: Command, sequence: int, time_ns: int) -> Run:
        """Carry out a command that needs no admission; its group."""
        group = (command, *self.rules.apply(sequence, time_ns, command))
        self._frame_counts.update(FRAME_TYPES[type(message)] for message in group)
        return run_of_frames(sequence, encode_group(group, sequence, time_ns))

    def follow(self, run: Run) -> Followed:
        """Carry out whole groups of the list, and compare their frames."""
        followed = 0
        for group in _groups(run):
            ours = self._repeat(group)
            divergence = ours if isinstance(ours, Divergence) else _compare(group, ours, whole=True)
            if divergence is not None:
                return Followed(followed, divergence)
            followed += len(group)
        return Followed(followed, None)

    def complete(self, run: Run) -> Run | Divergence:
        """Carry out the group that these frames are the beginning of, and compare them."""
        ours = self._repeat(run)
        if isinstance(ours, Divergence):
            return ours
        return _compare(run, ours, whole=False) or ours

    def check(self) -> None:
        """Raise AssertionError when an invariant does not hold."""
        self.rules.check()

    def digest(self) -> bytes:
        """The SHA-256 of the whole state."""
        return self.rules.digest()

    def snapshot(self, first_sequence: int, time_ns: int) -> Iterator[Run]:
        """Its whole state, in runs of frames."""
        numbered = enumerate(self.rules.state(), first_sequence)
        while pieces := list(islice(numbered, SNAPSHOT_RUN_FRAMES)):
            frames = [encode_frame(record, n, time_ns, end=False) for n, record in pieces]
            yield run_of_frames(pieces[0][0], frames)

    def restore(self, runs: Iterable[Run]) -> None:
        """Become, from empty, the machine whose snapshot this is."""
        self.rules.restore(_records(runs))

    def _repeat(self, group: Sequence[Frame]) -> Run | Divergence:
        """The group by this machine."""
        frame = group[0]
        command = cast(Command, frame.message())
        try:
            return self.carry_out(command, frame.sequence, frame.time_ns)
        except Exception as error:  # whatever it is, this machine can't follow the list
            return cannot_carry_out(frame, repr(error))


def _records(runs: Iterable[Run]) -> Iterator[tuple[int, Message]]:
    """The records of a snapshot, each with its frame's number. Nothing is taken on trust."""
    sequence = None
    for run in runs:
        sequence = run.first_sequence if sequence is None else sequence
        offset = 0
        while offset < len(run.data):
            try:
                frame = decode_frame(run.data, offset)
            except WireError as error:
                raise StateError(sequence, str(error)) from None
            if frame.sequence != sequence:
                raise StateError(sequence, "it has another number")
            if frame.flags:
                raise StateError(sequence, "it begins or ends a group")
            yield sequence, frame.message()
            offset += len(frame.data)
            sequence += 1


def cannot_carry_out(command: Frame, why: str) -> Divergence:
    """A machine can't carry out what the list has."""
    return Divergence(command.sequence, f"this machine can't carry out {command.message()}: {why}")


def difference(sequence: int, theirs: bytes, ours: bytes) -> Divergence:
    """The list has one frame here, and a machine another."""
    said, computed = decode_frame(theirs).message(), decode_frame(ours).message()
    return Divergence(sequence, f"the list has {said}, this machine {computed}")


def other_length(first_sequence: int, theirs: int, ours: int) -> Divergence:
    """A group of the list has more or fewer frames than a machine's."""
    return Divergence(
        first_sequence + min(ours, theirs),
        f"the group of {first_sequence} has {theirs} frames in the list and {ours} by this machine",
    )


def _compare(theirs: Sequence[Frame], ours: Run, *, whole: bool) -> Divergence | None:
    for their, our in zip(theirs, ours, strict=False):
        if their.data != our.data:
            return difference(their.sequence, their.data, our.data)
    if whole and len(ours) != len(theirs):
        return other_length(theirs[0].sequence, len(theirs), len(ours))
    return None


def _groups(run: Run) -> Iterator[Sequence[Frame]]:
    group: list[Frame] = []
    for frame in run:
        group.append(frame)
        if frame.flags & END:
            yield group
            group = []
