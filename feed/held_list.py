"""A list as one holder has it: its frames, whose epochs they are, what is stored, and its digest.

Frames are kept until another list's frames contradict them. What is committed never is. The newest
ones are in memory; with a journal all are on disk too.
"""

from bisect import bisect_left
from collections import deque

from feed.cache import FrameCache
from feed.codec import decode_frame
from feed.digest import ListDigest
from feed.journal import Base, Journal
from feed.messages import Epoch, unpad
from feed.reign import Reign
from feed.run import Run, empty_run
from feed.schema import FrameType

# Read back from a journal when it is opened: as many as a primary may ever have uncommitted.
REMEMBERED_FRAMES = 65_536
# Read at once for the digest, or another walk along the list.
PIECE_FRAMES = 16_384


class HeldList:
    """The frames of a list: in memory as many of the newest as fit into `cache_bytes`."""

    def __init__(self, cache_bytes: int, journal: Journal | None = None) -> None:
        self.cache = FrameCache(cache_bytes)
        self.journal = journal
        self.tails_dropped = 0  # how often frames had to go that another list does not have
        self._reigns: list[Reign] = []
        self._dropped_from: int | None = None
        self._digest: ListDigest | None = ListDigest()
        self._end_sequence = 0  # the last group's end that is held
        self._stored_end = 0
        self._unstored_ends: deque[int] = deque()
        if journal is not None:
            self._go_on(journal)

    @property
    def first_sequence(self) -> int:
        """The oldest frame that is held; equal to `next_sequence` while there is none."""
        in_memory = self.cache.first_sequence
        journal = self.journal
        if journal is None or journal.next_sequence < in_memory:
            return in_memory
        return min(journal.first_sequence, in_memory)

    @property
    def next_sequence(self) -> int:
        """The frame after the last one that is held."""
        return self.cache.next_sequence

    @property
    def last_sequence(self) -> int:
        """The last frame that is held."""
        return self.cache.next_sequence - 1

    @property
    def end_sequence(self) -> int:
        """The last group's end that is held."""
        return self._end_sequence

    @property
    def stored_sequence(self) -> int:
        """The last group's end that is stored as surely as an acknowledgement wants it."""
        if self.journal is None:
            return self._end_sequence
        stored = self.journal.stored_sequence
        while self._unstored_ends and self._unstored_ends[0] <= stored:
            self._stored_end = self._unstored_ends.popleft()
        return self._stored_end

    @property
    def reign(self) -> Reign | None:
        """The reign that the last frame belongs to."""
        return self._reigns[-1] if self._reigns else None

    @property
    def last_time_ns(self) -> int:
        """When the last frame was sequenced, in nanoseconds since 1970; 0 without any."""
        frames = self.frames(self.last_sequence, self.last_sequence)
        return decode_frame(frames[0]).time_ns if frames else 0

    def reign_at(self, sequence: int) -> Reign | None:
        """The reign that a frame belongs to."""
        at = bisect_left(self._reigns, sequence + 1, key=lambda reign: reign.sequence)
        return self._reigns[at - 1] if at else None

    def contradicts(self, sequence: int, epoch: int) -> bool:
        """Whether another list than the one whose frame `sequence` is of that epoch is held there.

        Lists with a frame of the same epoch at the same place are the same up to it: an epoch has
        one writer (log matching, section 5.3 of Raft's paper).
        """
        reign = self.reign_at(sequence) if sequence < self.next_sequence else None
        return reign is not None and reign.epoch != epoch

    def block_before(self, sequence: int) -> tuple[int, bytes] | None:
        """The newest whole block of the digest that ends at or before a frame; None if unknown."""
        return None if self._digest is None else self._digest.block_before(sequence)

    def runs(self, first: int, last: int) -> list[Run]:
        """Those of the frames `first` to `last` that are held, in runs as they are kept.

        Ends early where frames on disk can't be read.
        """
        oldest, first = self.cache.first_sequence, max(first, self.first_sequence)
        if self.journal is None or first >= oldest:
            return self.cache.runs(first, last)
        found = self.journal.runs(first, min(last, oldest - 1))
        if not found or found[-1].next_sequence < oldest:
            return found
        return found + self.cache.runs(oldest, last)

    def frames(self, first: int, last: int) -> list[bytes]:
        """Each of the frames `first` to `last` that is held, in sequence."""
        return [frame for run in self.runs(first, last) for frame in run.split()]

    def store(self, run: Run) -> Run:
        """Keep frames at their places; those of them that were not there yet.

        Where another one is there, that goes, with all that follows it.
        """
        if self.cache.next_sequence > 1 and run.first_sequence != self.cache.next_sequence:
            run = self._unlike_held(run)
        if not run:
            return run
        self.cache.append(run)
        if run.has(FrameType.EPOCH):
            for frame in run:
                message = frame.message()
                if isinstance(message, Epoch):
                    reign = Reign(frame.sequence, message.epoch, unpad(message.primary))
                    self._reigns.append(reign)
        if run.end_sequence:
            self._end_sequence = run.end_sequence
        if self.journal is not None:
            self.journal.append(run)
            if run.end_sequence:
                self._unstored_ends.append(run.end_sequence)
        return run

    def rebase(self, base: Base) -> None:
        """Forget all frames: the list is to be held from `base` on, and committed before it."""
        self.cache.clear(base.next_sequence)
        self._reigns = _reigns_before(base)
        self._digest = ListDigest(base.digest_sequence, base.digest)
        self._end_sequence = self._stored_end = base.next_sequence - 1
        self._unstored_ends.clear()
        if self.journal is not None:
            self.journal.rebase(base)

    def take_dropped(self) -> int | None:
        """The first frame that has been dropped, or replaced by another, since the last call."""
        dropped, self._dropped_from = self._dropped_from, None
        return dropped

    def digest_to(self, committed_sequence: int) -> None:
        """Go on with the digest, to a frame that never changes any more."""
        digest = self._digest
        if digest is None or committed_sequence < digest.next_sequence:
            return
        if not self._add(digest, committed_sequence):
            self._digest = None  # frames went before they were digested
            return
        if self.journal is not None:
            self.journal.note(committed_sequence, digest.block)

    def digest(self, last_sequence: int) -> str | None:
        """The digest of the list up to a frame; None when the frames for it are not held any more.

        It costs next to nothing for the newest frames, and time with the list for older ones.
        """
        known = self._digest
        if known is not None and last_sequence >= known.next_sequence - 1:
            digest = known.copy()
        else:
            digest = ListDigest(*(self.block_before(last_sequence) or ()))
        return digest.hex() if self._add(digest, last_sequence) else None

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self.cache.check()
        digested = 0 if self._digest is None else self._digest.next_sequence - 1
        assert digested <= self.last_sequence, "digested, and dropped after that"
        sequences = [reign.sequence for reign in self._reigns]
        epochs = [reign.epoch for reign in self._reigns]
        assert sequences == sorted(set(sequences))
        assert epochs == sorted(set(epochs)), "epochs grow along the list"
        assert not sequences or sequences[-1] <= self.last_sequence
        assert self.stored_sequence <= self._end_sequence <= self.last_sequence
        if self.journal is not None and self.journal.failure is None:
            assert self.journal.next_sequence == self.next_sequence

    def _go_on(self, journal: Journal) -> None:
        """Hold what the journal holds."""
        last = journal.next_sequence - 1
        first = max(journal.first_sequence, last - REMEMBERED_FRAMES + 1)
        self.cache.clear(first)
        skipped = 1
        while self.next_sequence <= last:
            for run in journal.runs(self.next_sequence, last):
                self.cache.append(run)
                self._end_sequence = run.end_sequence or self._end_sequence
            if self.next_sequence <= last:
                # Damage: what comes after it is held in memory; further on, where it is found soon.
                self.cache.clear(min(self.next_sequence + skipped, last + 1))
                skipped *= 2
        self._reigns = _reigns_before(journal.base) + journal.reigns
        self._end_sequence = self._end_sequence or journal.first_sequence - 1
        self._stored_end = self._end_sequence
        block = journal.digest_block
        self._digest = None if block is None else ListDigest(*block)

    def _add(self, digest: ListDigest, last_sequence: int) -> bool:
        """Go on with a digest up to a frame; whether all frames for it are held."""
        while digest.next_sequence <= last_sequence:
            if digest.next_sequence < self.first_sequence:
                return False
            piece = min(last_sequence, digest.next_sequence + PIECE_FRAMES - 1)
            runs = self.runs(digest.next_sequence, piece)
            if not runs:
                return False
            for run in runs:
                digest.update(run)
        return True

    def _unlike_held(self, run: Run) -> Run:
        """The frames from the first one on that is not held; another one in its place is dropped.

        What has been here and was evicted counts as held.
        """
        first = max(run.first_sequence, self.first_sequence)
        last = min(run.last_sequence, self.cache.next_sequence - 1)
        theirs = run.part(first, last)
        ours = b"".join([held.data for held in self.runs(first, last)])
        if theirs.data != ours:
            frames = zip(theirs, self.frames(first, last), strict=False)
            differing = next(
                (frame.sequence for frame, held in frames if frame.data != held),
                first + len(self.frames(first, last)),  # what can't be read any more
            )
            self._drop(differing)
            last = differing - 1
        if run.last_sequence <= last:
            return empty_run(run.next_sequence)
        return run.part(last + 1, run.last_sequence)

    def _drop(self, sequence: int) -> None:
        digested = 0 if self._digest is None else self._digest.next_sequence - 1
        assert sequence > digested, "a list without what is committed"
        if sequence >= self.cache.first_sequence:
            self.cache.truncate(sequence)
        else:
            self.cache.clear(sequence)
        while self._reigns and self._reigns[-1].sequence >= sequence:
            self._reigns.pop()
        self._end_sequence = min(self._end_sequence, sequence - 1)
        if self.journal is not None:
            self.journal.truncate(sequence)
            stored = min(self.stored_sequence, sequence - 1)
            self._stored_end = stored
            while self._unstored_ends and self._unstored_ends[-1] >= sequence:
                self._unstored_ends.pop()
        self.tails_dropped += 1
        if self._dropped_from is None or sequence < self._dropped_from:
            self._dropped_from = sequence


def _reigns_before(base: Base) -> list[Reign]:
    """The reign that goes on where a list begins; one that begins in it comes with its frames."""
    reign = base.reign
    return [] if reign is None or reign.sequence >= base.next_sequence else [reign]
