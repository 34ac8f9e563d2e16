"""A list as one holder has it: its newest frames, whose epochs they are, and its digest.

Frames are kept until another list's frames contradict them. What is committed never is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from feed.cache import FrameCache
from feed.codec import Frame, decode_frame
from feed.digest import ListDigest
from feed.messages import Epoch, unpad
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

    def store(self, frame: Frame) -> bool:
        """Keep a frame at its place; whether it was not there yet.

        Another one that is there goes, with all that follows it.
        """
        sequence = frame.sequence
        cache = self.cache
        if sequence < cache.first_sequence and len(cache):
            return False  # it has been here, and was evicted
        if sequence < cache.next_sequence and len(cache):
            if cache.frames(sequence, sequence) == [frame.data]:
                return False
            self._drop(sequence)
        cache.append(frame.data, sequence)
        if frame.type is FrameType.EPOCH:
            message = frame.message()
            assert isinstance(message, Epoch)
            self._reigns.append(Reign(sequence, message.epoch, unpad(message.primary)))
        return True

    def write(self, frames: Sequence[bytes], first_sequence: int) -> None:
        """Keep frames that this holder itself writes as the primary."""
        for sequence, frame in enumerate(frames, first_sequence):
            self.cache.append(frame, sequence)

    def begin_reign(self, epoch: int, primary: str) -> None:
        """The next frame that is written is this epoch's EPOCH frame."""
        self._reigns.append(Reign(self.cache.next_sequence, epoch, primary))

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
        for frame in self.cache.frames(first, committed_sequence):
            self._digest.update(frame)
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
        for frame in self.cache.frames(first, last_sequence):
            digest.update(frame)
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

    def _drop(self, sequence: int) -> None:
        assert sequence > self._digested_sequence, "a list without what is committed"
        self.cache.truncate(sequence)
        while self._reigns and self._reigns[-1].sequence >= sequence:
            self._reigns.pop()
        self.tails_dropped += 1
        if self._dropped_from is None or sequence < self._dropped_from:
            self._dropped_from = sequence
