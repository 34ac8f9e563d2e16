"""What of a holder outlives its process: the promises in its journal, and whether that has all.

Without a journal nothing does. Who came back without its memory has no vote (`feed.vote`).
"""

from feed.journal import Journal, Vow


class Memory:
    """A holder's memory of its own word; `journal` is None for one that keeps none."""

    __slots__ = ("_journal",)

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal

    @property
    def failure(self) -> str | None:
        """Why nothing more is stored."""
        return None if self._journal is None else self._journal.failure

    @property
    def had_earlier_life(self) -> bool:
        """Whether an earlier process has left this memory."""
        return self._journal is not None and not self._journal.is_new

    def has_forgotten(self, *, was_here: bool) -> bool:
        """Whether an earlier self may have said what is not known any more.

        `was_here`: there was an earlier self, as ZooKeeper remembers.
        """
        if self._journal is None or self._journal.is_new:
            return was_here
        return self._journal.is_doubtful

    def vow(self, epoch: int, candidate: bytes) -> bool:
        """Have the promise of an epoch to a candidate outlive the process; whether it does."""
        journal, vow = self._journal, Vow(epoch, candidate)
        if journal is None:
            return True
        return journal.failure is None and (journal.vow == vow or journal.promise(vow))

    def vouch(self) -> None:
        """All that was ever acknowledged is held, and stored."""
        if self._journal is not None and self._journal.is_doubtful:
            self._journal.vouched()
