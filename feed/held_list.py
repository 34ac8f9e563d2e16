"""A list as one holder has it: its newest frames, whose epochs they are, and its digest.

Frames are kept until another list's frames contradict them. What is committed never is.
"""

from typing import NamedTuple

from feed.cache import FrameCache
from feed.codec import decode_frame
from feed.digest import ListDigest
from feed.messages import Epoch, unpad
from feed.run import Run, empty_run
from feed.schema import FrameType


class Reign(NamedTuple):
    """An EPOCH frame that is held: the list from there to the next one is its epoch's."""

    sequence: int
    epoch: int
    primary: str


class HeldList:
    """The newest frames of a list, as many as fit into `cache_bytes`."""

    def __init__(self, cache_bytes: int) -> None:
        self.cache = FrameCache(cache_bytes)
        self.tails_dropped = 0  # how often frames had to go that another list does not have
        self._reigns: list[Reign] = []
        self._dropped_from: int | None = None
        self._digest: ListDigest | None = ListDigest()
        self._digested_sequence = 0

    @property
    def last_sequence(self) -> int:
        """The last frame that is held."""
        return self.cache.next_sequence - 1

    @property
    def reign(self) -> Reign | None:
        """The reign that the last frame belongs to."""
        return self._reigns[-1] if self._reigns else None

    @property
    def last_time_ns(self) -> int:
        """When the last frame was sequenced, in nanoseconds since 1970; 0 without any."""
        frames = self.cache.frames(self.last_sequence, self.last_sequence)
        return decode_frame(frames[0]).time_ns if frames else 0

    def store(self, run: Run) -> Run:
        """Keep frames at their places; those of them that were not there yet.

        Where another one is there, that goes, with all that follows it.
        """
        cache = self.cache
        if len(cache) and run.first_sequence != cache.next_sequence:
            run = self._unlike_held(run)
        if not run:
            return run
        cache.append(run)
        if run.has(FrameType.EPOCH):
            for frame in run:
                message = frame.message()
                if isinstance(message, Epoch):
                    reign = Reign(frame.sequence, message.epoch, unpad(message.primary))
                    self._reigns.append(reign)
        return run

    def take_dropped(self) -> int | None:
        """The first frame that has been dropped, or replaced by another, since the last call."""
        dropped, self._dropped_from = self._dropped_from, None
        return dropped

    def digest_to(self, committed_sequence: int) -> None:
        """Go on with the digest, to a frame that never changes any more."""
        first = self._digested_sequence + 1
        if self._digest is None or committed_sequence < first:
            return
        if first < self.cache.first_sequence:
            self._digest = None  # frames went before they were digested
            return
        for run in self.cache.runs(first, committed_sequence):
            self._digest.update(run.data)
        self._digested_sequence = committed_sequence

    def digest(self, last_sequence: int) -> str | None:
        """The digest of the list up to a frame; None when the frames for it are not held any more.

        It costs next to nothing for the newest frames, and time with the list for older ones.
        """
        digest, first = ListDigest(), 1
        if self._digest is not None and last_sequence >= self._digested_sequence:
            digest, first = self._digest.copy(), self._digested_sequence + 1
        if first < self.cache.first_sequence:
            return None
        for run in self.cache.runs(first, last_sequence):
            digest.update(run.data)
        return digest.hex()

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self.cache.check()
        assert self._digested_sequence <= self.last_sequence, "digested, and dropped after that"
        sequences = [reign.sequence for reign in self._reigns]
        epochs = [reign.epoch for reign in self._reigns]
        assert sequences == sorted(set(sequences))
        assert epochs == sorted(set(epochs)), "epochs grow along the list"
        assert not sequences or sequences[-1] <= self.last_sequence

    def _unlike_held(self, run: Run) -> Run:
        """The frames from the first one on that is not held; another one in its place is dropped.

        What has been here and was evicted counts as held.
        """
        first = max(run.first_sequence, self.cache.first_sequence)
        last = min(run.last_sequence, self.cache.next_sequence - 1)
        theirs = run.part(first, last)
        ours = b"".join([held.data for held in self.cache.runs(first, last)])
        if theirs.data != ours:
            frames = zip(theirs, self.cache.frames(first, last), strict=True)
            differing = next(frame.sequence for frame, held in frames if frame.data != held)
            self._drop(differing)
            last = differing - 1
        if run.last_sequence <= last:
            return empty_run(run.next_sequence)
        return run.part(last + 1, run.last_sequence)

    def _drop(self, sequence: int) -> None:
        assert sequence > self._digested_sequence, "a list without what is committed"
        self.cache.truncate(sequence)
        while self._reigns and self._reigns[-1].sequence >= sequence:
            self._reigns.pop()
        self.tails_dropped += 1
        if self._dropped_from is None or sequence < self._dropped_from:
            self._dropped_from = sequence
