"""A backup's work: each group of the list, carried out on its own machine, and compared.

Sans-I/O. The frames come from the holder's cache; a machine that has carried out what a new epoch's
list does not have is built anew from the first frame.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from engine.machine import Machine
from feed.cache import FrameCache
from feed.codec import FRAME_TYPES, Frame, decode_frame, encode_group
from feed.messages import Command
from feed.schema import FrameType

# Groups carried out between two looks at the sockets: a few milliseconds' worth.
GROUPS_PER_TURN = 256
_FRAMES_PER_LOOK = 512


class Divergence(NamedTuple):
    """The first frame at which this machine and the list differ, and how."""

    sequence: int
    reason: str


class Backup:
    """A machine that follows the list in `cache`."""

    def __init__(self, build_machine: Callable[[], Machine], cache: FrameCache) -> None:
        self._build_machine = build_machine
        self._cache = cache
        self._unfinished: list[Frame] = []  # the frames read of a group whose end was not
        self.machine = build_machine()
        self.frames_by_type: Counter[FrameType] = Counter()  # that it has carried out
        self.applied_sequence = 0  # the last group's end that the machine has carried out
        self.divergence: Divergence | None = None

    def apply(self, last_sequence: int) -> bool:
        """Carry out some of the groups that end at or before `last_sequence`; whether more wait.

        Sets `divergence`, and stops for good, at the first frame that differs.
        """
        groups = 0
        while groups < GROUPS_PER_TURN and self.divergence is None:
            first = self.applied_sequence + len(self._unfinished) + 1
            if first > last_sequence:
                return False
            if first < self._cache.first_sequence:
                reason = "the list is not held from here on any more; give it a larger cache"
                self.divergence = Divergence(first, reason)
                return False
            last = min(last_sequence, first + _FRAMES_PER_LOOK - 1)
            for data in self._cache.frames(first, last):
                groups += self._read(decode_frame(data))
                if self.divergence is not None:
                    return False
        return self.divergence is None

    def drop(self, sequence: int) -> None:
        """The list from here on is another one: a machine that went further begins anew."""
        if sequence <= self.applied_sequence:
            self.machine = self._build_machine()
            self.frames_by_type.clear()
            self.applied_sequence = 0
            self._unfinished.clear()
        elif sequence <= self.applied_sequence + len(self._unfinished):
            self._unfinished.clear()

    def complete(self) -> list[bytes]:
        """Regenerate the rest of a group that the list breaks off in; the frames that it lacked.

        All frames that are held have been read by `apply`. None when the list ends with a group.
        """
        if not self._unfinished:
            return []
        known = tuple(self._unfinished)
        self._unfinished.clear()
        frames = self._compare(known)
        if self.divergence is not None:
            return []
        self.applied_sequence += len(frames)
        return frames[len(known) :]

    def led(self, last_sequence: int) -> None:
        """The machine has carried out the list up to here as the primary's."""
        self.applied_sequence = last_sequence
        self._unfinished.clear()

    def _read(self, frame: Frame) -> bool:
        """Take the next frame; whether a group has come to its end."""
        self._unfinished.append(frame)
        if not frame.is_end:
            return False
        group = tuple(self._unfinished)
        self._unfinished.clear()
        ours = self._compare(group)
        if self.divergence is None and len(ours) != len(group):
            self.divergence = Divergence(
                group[0].sequence + min(len(ours), len(group)),
                f"the group of {group[0].sequence} has {len(group)} frames in the list and"
                f" {len(ours)} by this machine",
            )
        if self.divergence is None:
            self.applied_sequence = group[-1].sequence
        return True

    def _compare(self, theirs: Sequence[Frame]) -> list[bytes]:
        """The whole group that the first of these frames causes on this machine."""
        command = theirs[0]
        message = cast(Command, command.message())
        try:
            events = self.machine.apply(command.sequence, command.time_ns, message)
        except Exception as error:  # whatever it is, this machine can't follow the list
            reason = f"this machine can't carry out {message}: {error!r}"
            self.divergence = Divergence(command.sequence, reason)
            return []
        group = (message, *events)
        self.frames_by_type.update(FRAME_TYPES[type(each)] for each in group)
        ours = encode_group(group, command.sequence, command.time_ns)
        for their, our in zip(theirs, ours, strict=False):
            if their.data != our:
                reason = f"the list has {their.message()}, this machine {_message(our)}"
                self.divergence = Divergence(their.sequence, reason)
                break
        return ours


def _message(frame: bytes) -> object:
    return decode_frame(frame).message()
