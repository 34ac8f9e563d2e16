"""Is the list whole? Numbers without a hole, whole groups, times, epochs and days that only grow.

Sans-I/O: runs in, groups out. What is said here needs no machine.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from feed import messages
from feed.codec import COMMAND, END, Frame
from feed.messages import unpad
from feed.reign import Reign
from feed.run import SNAPSHOT_TYPES, Run, type_bit
from feed.schema import FrameType
from tools.audit.findings import Findings, Kind, describe


class RulingReign(NamedTuple):
    """A reign, and when it began."""

    reign: Reign
    time_ns: int  # of its EPOCH frame; 0 for one that began before what was read


class Day(NamedTuple):
    """A trading day, and where and when it began."""

    day: int
    sequence: int  # of its NEW_DAY frame
    time_ns: int


class Structure:
    """Cuts a list into its groups, and checks all that makes it a list."""

    def __init__(self, findings: Findings) -> None:
        self.next_sequence = 0  # 0 before the first frame
        self.first_time_ns = self.last_time_ns = 0
        self.reigns: list[RulingReign] = []
        self.days: list[Day] = []
        self.open_group: list[Frame] = []  # the frames of a group that has not ended yet
        self._findings = findings
        self._is_lost = False  # within a group whose beginning was not read

    def take(self, run: Run) -> Iterator[Sequence[Frame]]:
        """The groups that are whole with the next frames of the list."""
        if run.types & SNAPSHOT_TYPES:
            self._complain_about_snapshot_frames(run)
        for frame in run:
            if frame.sequence != self.next_sequence:
                self._begin_at(frame)
            self.next_sequence = frame.sequence + 1
            self._check_time(frame)
            yield from self._add(frame)
        self._findings.checked["frames"] += len(run)

    def _begin_at(self, frame: Frame) -> None:
        """The list begins, or goes on elsewhere than after the last frame."""
        if self.next_sequence:
            self._findings.add(
                Kind.MISSING,
                self.next_sequence,
                f"the list goes on with frame {frame.sequence:,}",
                expected=f"frame {self.next_sequence:,} follows on {self.next_sequence - 1:,}",
            )
        else:
            self.first_time_ns = self.last_time_ns = frame.time_ns
        self.open_group = []
        self._is_lost = not frame.flags & COMMAND

    def _check_time(self, frame: Frame) -> None:
        if frame.time_ns < self.last_time_ns:
            self._findings.add(
                Kind.TIME,
                frame.sequence,
                f"its time is {self.last_time_ns - frame.time_ns:,} ns before the one before it",
                found=f"{frame.time_ns}",
                expected=f"{self.last_time_ns} or later",
            )
        else:
            self.last_time_ns = frame.time_ns

    def _add(self, frame: Frame) -> Iterator[Sequence[Frame]]:
        group = self.open_group
        if frame.flags & COMMAND:
            if group:
                self._complain_about_group(frame, f"group {group[0].sequence:,} has no end")
            group = self.open_group = [frame]
            self._is_lost = False
            if frame.type is FrameType.EPOCH:
                self._take_epoch(frame)
        elif self._is_lost:
            return
        elif not group:
            self._complain_about_group(frame, "no command before it caused it")
            return
        else:
            group.append(frame)
            if frame.time_ns != group[0].time_ns:
                self._complain_about_group(frame, "it has another time than its command")
        if frame.flags & END:
            self.open_group = []
            self._findings.checked["groups"] += 1
            if group[0].type is FrameType.NEW_DAY:
                self._take_day(group)
            yield group

    def _take_epoch(self, frame: Frame) -> None:
        message = cast(messages.Epoch, frame.message())
        reign = Reign(frame.sequence, message.epoch, unpad(message.primary))
        last = self.reigns[-1].reign if self.reigns else None
        if last is not None and reign.epoch <= last.epoch:
            self._findings.add(
                Kind.EPOCH,
                frame.sequence,
                f"epoch {reign.epoch} of {reign.primary} begins after epoch {last.epoch} of "
                f"{last.primary}",
                found=describe(frame),
                expected=f"an epoch above {last.epoch}, which began with frame {last.sequence:,}",
            )
        self.reigns.append(RulingReign(reign, frame.time_ns))
        self._findings.checked["epochs"] += 1

    def _take_day(self, group: Sequence[Frame]) -> None:
        if any(frame.type is FrameType.REJECTED for frame in group):
            return
        command = group[0]
        day = cast(messages.NewDay, command.message()).day
        last = self.days[-1] if self.days else None
        if last is not None and day <= last.day:
            self._findings.add(
                Kind.DAY,
                command.sequence,
                f"day {day} begins after day {last.day}",
                found=describe(command),
                expected=f"a day after {last.day}, which began with frame {last.sequence:,}",
            )
        self.days.append(Day(day, command.sequence, command.time_ns))
        self._findings.checked["days"] += 1

    def _complain_about_group(self, frame: Frame, text: str) -> None:
        self._findings.add(Kind.GROUP, frame.sequence, text, found=describe(frame))

    def _complain_about_snapshot_frames(self, run: Run) -> None:
        for frame in run:
            if SNAPSHOT_TYPES & type_bit(frame.type):
                self._complain_about_group(frame, "it belongs into a snapshot, not into a list")
