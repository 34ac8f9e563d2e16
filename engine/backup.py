"""A backup's work: each group of the list, carried out on its own machine, and compared.

Sans-I/O. The frames come from the holder's cache; a machine that has carried out what a new epoch's
list does not have is built anew from the first frame.
"""

from collections.abc import Callable

from engine.machine import Divergence, Machine
from feed.cache import FrameCache
from feed.run import Run, empty_run, joined

# Carried out between two looks at the sockets: a few milliseconds' worth for the reference.
FRAMES_PER_TURN = 512


class Backup:
    """A machine that follows the list in `cache`."""

    def __init__(self, build_machine: Callable[[], Machine], cache: FrameCache) -> None:
        self._build_machine = build_machine
        self._cache = cache
        self._unfinished: list[Run] = []  # the frames read of a group whose end was not
        self.machine = build_machine()
        self.applied_sequence = 0  # the last group's end that the machine has carried out
        self.divergence: Divergence | None = None

    def apply(self, last_sequence: int) -> bool:
        """Carry out some of the groups that end at or before `last_sequence`; whether more wait.

        Sets `divergence`, and stops for good, at the first frame that differs.
        """
        first = self._read_sequence + 1
        if first > last_sequence or self.divergence is not None:
            return False
        if first < self._cache.first_sequence:
            reason = "the list is not held from here on any more; give it a larger cache"
            self.divergence = Divergence(first, reason)
            return False
        last = min(last_sequence, first + FRAMES_PER_TURN - 1)
        self._read(joined(self._cache.runs(first, last)))
        return self.divergence is None and last < last_sequence

    def drop(self, sequence: int) -> None:
        """The list from here on is another one: a machine that went further begins anew."""
        if sequence <= self.applied_sequence:
            self.machine = self._build_machine()
            self.applied_sequence = 0
            self._unfinished.clear()
        elif sequence <= self._read_sequence:
            self._unfinished.clear()

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

    def _read(self, run: Run) -> None:
        """Take the next frames, and carry out the groups that come to their end with them."""
        end = run.end_sequence
        if not end:
            self._unfinished.append(run)
            return
        groups = joined([*self._unfinished, run.part(run.first_sequence, end)])
        rest = run.part(end + 1, run.last_sequence)
        self._unfinished = [rest] if rest else []
        frame_count, self.divergence = self.machine.follow(groups)
        self.applied_sequence += frame_count
