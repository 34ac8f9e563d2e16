"""A holder as those see it who ask for a replay of its list."""

from feed.holder import Holder
from feed.replay import SourceSnapshot
from feed.run import Run
from feed.snapshot_folder import SnapshotFolder, StoredSnapshot


class HolderSource:
    """What a holder answers for: what is committed of its list, and the snapshots it has of it."""

    def __init__(self, holder: Holder, snapshots: SnapshotFolder | None = None) -> None:
        self._holder = holder
        self._snapshots = snapshots

    @property
    def shard(self) -> int:
        """The shard of the list."""
        return self._holder.identity.shard

    @property
    def epoch(self) -> int:
        """The highest epoch seen or promised."""
        return self._holder.epoch

    @property
    def committed_sequence(self) -> int:
        """How far what is committed is held, and known to stand in this epoch's list."""
        return min(self._holder.committed_sequence, self._holder.verified_sequence)

    @property
    def first_sequence(self) -> int:
        """The oldest frame that is held; the next one while there is none."""
        return self._holder.list.first_sequence

    def runs(self, first: int, last: int) -> list[Run]:
        """The frames `first` to `last`, as far as they are held from `first` on."""
        return self._holder.list.runs(first, last)

    def newest_snapshot(self) -> SourceSnapshot | None:
        """The newest one of what is committed."""
        if self._snapshots is None:
            return None
        return self._source(self._snapshots.newest(self.committed_sequence, unread=True))

    def day_snapshot(self) -> SourceSnapshot | None:
        """The one that the newest day began with of which there is one."""
        if self._snapshots is None:
            return None
        days = [stored.day for stored in self._snapshots.stored if stored.opens_day]
        return self._source(self._snapshots.opening(max(days), unread=True)) if days else None

    def _source(self, stored: StoredSnapshot | None) -> SourceSnapshot | None:
        snapshots = self._snapshots
        if stored is None or snapshots is None:
            return None
        return SourceSnapshot(stored.sequence, lambda: snapshots.chunks(stored))
