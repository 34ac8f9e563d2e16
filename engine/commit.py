"""Commit by majority: how far enough of the shard's configured holders have the list.

These are Raft's rules (Ongaro and Ousterhout 2014, sections 5.3 and 5.4.2), with sequence numbers
of group ends in place of log indexes. A solo primary is a majority of one and meets them alone.
"""

from collections.abc import Collection, Mapping


def majority_of(holders: Collection[str]) -> int:
    """How many of the configured holders are a majority."""
    return len(holders) // 2 + 1


class CommitRule:
    """Counts the holders' acknowledgements within one epoch.

    `epoch_sequence` is the sequence number of the epoch's first frame: what came before it is
    committed together with it, and never by counting holders alone.
    """

    def __init__(
        self, holders: Collection[str], *, epoch_sequence: int, committed_sequence: int = 0
    ) -> None:
        if not holders:
            raise ValueError("a shard needs at least one holder")
        self._held = dict.fromkeys(holders, 0)
        self._epoch_sequence = epoch_sequence
        self.committed_sequence = committed_sequence

    @property
    def held(self) -> Mapping[str, int]:
        """How far each holder has acknowledged the list, 0 for one that has not in this epoch."""
        return self._held

    def acknowledge(self, holder: str, sequence: int) -> bool:
        """A holder has every frame up to `sequence`, a group's end; whether the commit moved.

        Raises KeyError for a holder that is not configured. An older acknowledgement than the
        holder's last says nothing new.
        """
        if sequence <= self._held[holder]:
            return False
        self._held[holder] = sequence
        majority = majority_of(self._held)
        held_by_majority = sorted(self._held.values(), reverse=True)[majority - 1]
        if held_by_majority < self._epoch_sequence:
            return False
        if held_by_majority <= self.committed_sequence:
            return False
        self.committed_sequence = held_by_majority
        return True

    def forget(self, holder: str) -> None:
        """A holder came back without its memory: what it acknowledged counts no more.

        What has been committed with its help stays so. Raises KeyError for one that is not
        configured.
        """
        if holder not in self._held:
            raise KeyError(holder)
        self._held[holder] = 0
