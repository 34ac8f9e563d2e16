"""The machines that holders run on: their disks, and what is lost with the power or a disk.

A machine's disks outlive its processes. What should be known of them after each mishap is noted
here, by what has befallen them alone: production has to find it out from the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from feed.commit_marks import CommitMarks
from feed.journal_state import STATE_NAME
from feed.segments import FRAMES_SUFFIX, INDEX_SUFFIX
from feed.settings import SyncPolicy
from tools.simulation.storage import SimulatedStorage
from tools.simulation.world import MILLISECOND_NS

if TYPE_CHECKING:
    from tools.simulation.holder_node import HolderNode

# Of the syncs, so many take a thousand times as long: a disk that has other things to do.
SLOW_SYNC_SHARE, SLOW_SYNC_FACTOR = 0.01, 50
FULL_AFTER_BYTES = 4096  # that a disk has room for at most when it is about to be full


@dataclass(frozen=True, slots=True)
class DiskShape:
    """How holders keep journals and snapshots, and how fast their disks are."""

    sync: SyncPolicy = SyncPolicy.GROUP
    sync_interval_ns: int = 10 * MILLISECOND_NS
    segment_bytes: int = 16 << 10
    snapshot_frames: int = 200
    snapshots: int = 2
    longest_sync_ns: int = 2 * MILLISECOND_NS


class Disk:
    """Where one holder keeps its journal and its snapshots."""

    def __init__(self, random: Random, shape: DiskShape) -> None:
        self.shape = shape
        self.is_lossy = False  # what was acknowledged may be gone
        self.has_lost_vows = False  # what was promised may be
        self.is_damaged = False  # some of what was written long ago can't be read
        self.is_newly_damaged = False  # since a process last began with it
        self.is_closed = False  # all is on it, and says so: a power cut takes nothing
        self._random = random
        self.has_lost_syncs = False  # what was written may never get to the disk
        self._set_up()

    @property
    def is_lax(self) -> bool:
        """Whether frames are acknowledged that a power cut may take."""
        return self.shape.sync is not SyncPolicy.GROUP

    @property
    def storages(self) -> tuple[SimulatedStorage, SimulatedStorage]:
        """All that stands on it."""
        return self.journal, self.snapshots

    def crash(self) -> None:
        """The process that writes to it ends."""
        # Frames that were acknowledged unsynced go with the process: a sync had failed.
        self.is_lossy |= self.has_lost_syncs and self.is_lax
        self.has_lost_syncs = False
        for storage in self.storages:
            storage.crash()

    def lose_power(self) -> None:
        """What was not synced may be lost, whole or in part."""
        self.is_lossy |= self.is_lax and not self.is_closed
        for storage in self.storages:
            storage.power_cut()

    def replace(self) -> None:
        """The disk is broken; an empty one stands in its place."""
        self.is_lossy = self.has_lost_vows = True
        self.is_damaged = False
        self._set_up()

    def flip_bit(self) -> str | None:
        """A bit turns over in one of the files; which one it is."""
        storage = self._random.choice((self.journal, self.journal, self.snapshots))
        names = [name for name in storage.names() if storage.size(name)]
        if not names:
            return None
        name = self._random.choice(names)
        storage.flip_bit(name, self._random.randrange(8 * storage.size(name)))
        if storage is self.journal:
            self.is_damaged = self.is_newly_damaged = True
            self.has_lost_vows |= name == STATE_NAME
        return name

    def lose_segment(self) -> str | None:
        """One of the journal's segments is gone; which one it was."""
        names = [name for name in self.journal.names() if name.endswith(FRAMES_SUFFIX)]
        if not names:
            return None
        name = self._random.choice(names)
        if name == names[-1] and not self._marks_tell_of(name):
            return None  # nothing on a disk could tell that it was ever there
        index = name.removesuffix(FRAMES_SUFFIX) + INDEX_SUFFIX
        for gone in (name, index):
            self.journal.lose(gone)
        self.is_damaged = self.is_newly_damaged = True
        return name

    def _marks_tell_of(self, name: str) -> bool:
        """Whether the journal's last segment, once gone, is missed: by a mark in it."""
        return CommitMarks(self.journal).read() >= int(name.removesuffix(FRAMES_SUFFIX))

    def fill_up(self) -> None:
        """There is room for little more, or for nothing."""
        for storage in self.storages:
            storage.capacity_bytes = storage.used_bytes + self._random.randrange(FULL_AFTER_BYTES)

    def become_read_only(self) -> None:
        """Nothing can be written any more."""
        for storage in self.storages:
            storage.is_read_only = True

    def fail_to_sync(self) -> None:
        """What is written never gets to the disk, which says so."""
        self.has_lost_syncs = True
        for storage in self.storages:
            storage.fails_to_sync = True

    def mend(self) -> None:
        """It has room, and can be written to."""
        for storage in self.storages:
            storage.capacity_bytes = None
            storage.is_read_only = storage.fails_to_sync = False

    def remember(self) -> None:
        """A process has begun with what is there."""
        self.is_lossy = self.has_lost_vows = self.is_newly_damaged = self.is_closed = False

    def sync_ns(self) -> int:
        """How long the next sync takes."""
        random = self._random
        took_ns = random.randint(self.shape.longest_sync_ns // 20, self.shape.longest_sync_ns)
        return took_ns * SLOW_SYNC_FACTOR if random.random() < SLOW_SYNC_SHARE else took_ns

    def _set_up(self) -> None:
        self.journal = SimulatedStorage(self._random)
        self.snapshots = SimulatedStorage(self._random)


class Host:
    """A machine; `boot` names each time that it was started."""

    def __init__(self, name: str) -> None:
        self.nodes: list[HolderNode] = []
        self._name = name
        self._boots = 1

    @property
    def boot(self) -> str:
        """What tells this boot from all others."""
        return f"{self._name}, boot {self._boots}"

    def lose_power(self) -> None:
        """All that runs here is gone at once, and so is what was not on the disks."""
        self._boots += 1
        for node in self.nodes:
            node.go_with_the_power()
