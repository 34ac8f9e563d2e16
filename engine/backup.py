"""A backup's work: each group of the list, carried out on its own machine, and compared.

Sans-I/O. The frames come from the holder's list. A machine that has carried out what a new epoch's
list does not have begins anew, from a snapshot or the first frame.
"""

from collections.abc import Callable, Iterator

from engine.machine import Divergence, Machine
from engine.snapshots import Restored, Snapshots
from feed.held_list import HeldList
from feed.run import Run, empty_run, joined
from feed.schema import FrameType

# Carried out between two looks at the sockets: a few milliseconds' worth for the reference.
FRAMES_PER_TURN = 512
# The same while there is nothing to look at yet, since the process has only begun.
FRAMES_PER_STEP = 16_384


class Backup:
    """A machine that follows the list in `held`; `snapshots` may be None for one without a disk."""

    def __init__(
        self,
        build_machine: Callable[[], Machine],
        held: HeldList,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._build_machine = build_machine
        self._held = held
        self._snapshots = snapshots
        self._unfinished: list[Run] = []  # the frames read of a group whose end was not
        self.divergence: Divergence | None = None
        self.lacks_state = False  # neither the frames nor a snapshot are there to go on from
        self.machine, self.applied_sequence = self._begin(held.next_sequence - 1)

    def apply(self, last_sequence: int, frame_limit: int = FRAMES_PER_TURN) -> bool:
        """Carry out some of the groups that end at or before `last_sequence`; whether more wait.

        Sets `divergence`, and stops for good, at the first frame that differs; sets `lacks_state`
        while the list is not held from where this machine is.
        """
        first = self._read_sequence + 1
        if self.divergence is not None:
            return False
        self.lacks_state = first <= last_sequence and first < self._held.first_sequence
        if self.lacks_state or first > last_sequence:
            return False
        last = min(last_sequence, first + frame_limit - 1)
        runs = self._held.runs(first, last)
        if not runs:
            self.lacks_state = True  # they can't be read any more
            return False
        self._read(joined(runs))
        return self.divergence is None and self._read_sequence < last_sequence

    def fill(self, run: Run) -> None:
        """Take frames of the list, all committed, that are held and can't be read any more."""
        run = run.part(self._read_sequence + 1, run.last_sequence)
        if run and run.first_sequence == self._read_sequence + 1 and self.divergence is None:
            self._read(run)

    def drop(self, sequence: int) -> None:
        """The list from here on is another one: a machine that went further begins anew."""
        if self._snapshots is not None:
            self._snapshots.drop(sequence)
        if sequence <= self.applied_sequence:
            self.machine, self.applied_sequence = self._begin(sequence - 1)
            self._unfinished.clear()
        elif sequence <= self._read_sequence:
            self._unfinished.clear()

    def restart(self, restored: Restored) -> None:
        """Go on with another machine, from where that is."""
        self.machine, self.applied_sequence = restored
        self._unfinished.clear()
        self.lacks_state = False

    def complete(self) -> Run:
        """Regenerate the rest of a group that the list breaks off in; the frames that it lacked.

        All frames that are held have been read by `apply`. None when the list ends with a group.
        """
        if not self._unfinished:
            return empty_run(self.applied_sequence + 1)
        known = joined(self._unfinished)
        self._unfinished.clear()
        group = self.machine.complete(known)
        if isinstance(group, Divergence):
            self.divergence = group
            return empty_run(known.next_sequence)
        self.applied_sequence = group.last_sequence
        return group.part(known.next_sequence, group.last_sequence)

    def led(self, last_sequence: int) -> None:
        """The machine has carried out the list up to here as the primary's."""
        self.applied_sequence = last_sequence
        self._unfinished.clear()

    @property
    def _read_sequence(self) -> int:
        return self._unfinished[-1].last_sequence if self._unfinished else self.applied_sequence

    def _begin(self, at_most: int) -> Restored:
        """A machine to begin with, that has carried out no frame beyond `at_most`."""
        restored = None
        if self._snapshots is not None:
            restored = self._snapshots.restore(self._build_machine, self._held, at_most)
        return restored or Restored(self._build_machine(), 0)

    def _read(self, run: Run) -> None:
        """Take the next frames, and carry out the groups that come to their end with them."""
        end = run.end_sequence
        if not end:
            self._unfinished.append(run)
            return
        groups = joined([*self._unfinished, run.part(run.first_sequence, end)])
        rest = run.part(end + 1, run.last_sequence)
        self._unfinished = [rest] if rest else []
        for part in _by_day(groups):
            frame_count, self.divergence = self.machine.follow(part)
            self.applied_sequence += frame_count
            if self.divergence is not None:
                return
            if self._snapshots is not None:
                self._snapshots.look(self.machine, part)


def _by_day(groups: Run) -> Iterator[Run]:
    """Whole groups, parted behind each that begins a day."""
    first = groups.first_sequence
    if groups.has(FrameType.NEW_DAY):
        in_new_day = False
        for frame in groups:
            in_new_day |= frame.type is FrameType.NEW_DAY
            if in_new_day and frame.is_end:
                yield groups.part(first, frame.sequence)
                first, in_new_day = frame.sequence + 1, False
    rest = groups.part(first, groups.last_sequence)
    if rest:
        yield rest
