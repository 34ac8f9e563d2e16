"""Rule 8, sans-I/O: who came back without its memory has no vote until it has caught up.

Its earlier self may have acknowledged frames that it lacks now. So the living primary is told of
the return with a JOIN, counts nothing any more that the earlier self said, and names with a WELCOME
how far its list goes by then. All that is committed stands in that list, though a primary that has
just taken over may not know of it yet. With that much, the holder is as good as one that never
forgot.
"""

from enum import StrEnum

_MILLISECOND_NS = 1_000_000
JOIN_REPEAT_NS = 50 * _MILLISECOND_NS


class Vote(StrEnum):
    """Whether a holder's word counts towards commit and takeovers."""

    UNKNOWN = "unknown"  # until ZooKeeper has said whether it was here before
    RETURNING = "returning"  # it was, and has to catch up first
    COUNTS = "counts"


class Return:
    """A holder's vote, and its way back to it."""

    __slots__ = ("_is_announcing", "_join_at_ns", "_target", "vote")

    def __init__(self) -> None:
        self.vote = Vote.UNKNOWN
        self._target: int | None = None  # the list's end when its primary learned of the return
        self._join_at_ns = 0
        self._is_announcing = False

    def begin(self, *, has_forgotten: bool) -> None:
        """It is known whether an earlier self was here; counts once."""
        if self.vote is Vote.UNKNOWN:
            self.vote = Vote.RETURNING if has_forgotten else Vote.COUNTS

    def announce(self) -> None:
        """An earlier self may have acknowledged frames in this epoch: its primary counts nothing of
        another one before it has learned of the return, though that has its vote."""
        self._is_announcing = True

    @property
    def waits_for_welcome(self) -> bool:
        """Whether a JOIN has to be answered: before the rest can be known, or anything counts."""
        return self._target is None and (self.vote is Vote.RETURNING or self._is_announcing)

    @property
    def deadline_ns(self) -> int | None:
        """When the next JOIN is due."""
        return self._join_at_ns if self.waits_for_welcome else None

    def is_join_due(self, now_ns: int) -> bool:
        """Whether to send a JOIN now; then the next one is due a while later."""
        if not self.waits_for_welcome or now_ns < self._join_at_ns:
            return False
        self._join_at_ns = now_ns + JOIN_REPEAT_NS
        return True

    def on_welcome(self, last_sequence: int) -> None:
        """The primary's list went so far when it learned of the return."""
        if self.waits_for_welcome:
            self._target = last_sequence

    def on_epoch(self) -> None:
        """There is a later epoch; its list may be shorter, so its primary is asked anew."""
        self._target = None
        self._join_at_ns = 0
        self._is_announcing = False

    def on_held(self, sequence: int) -> None:
        """The list is held up to here, and stands in the primary's epoch."""
        if self.vote is Vote.RETURNING and self._target is not None and sequence >= self._target:
            self.vote = Vote.COUNTS

    def on_adopted(self) -> None:
        """The longest list of a majority that remembers is held: nothing is forgotten any more."""
        self.vote = Vote.COUNTS
