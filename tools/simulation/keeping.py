"""What a simulated holder keeps on its disk: `feed.keeping`, with events for its threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from feed.journal import Journal, JournalPolicy
from feed.snapshot_folder import SnapshotFolder
from feed.storage import StorageError
from tools.simulation.hosts import Disk
from tools.simulation.shard import EXCHANGE
from tools.simulation.storage import CutShort

if TYPE_CHECKING:
    from tools.simulation.holder_node import HolderNode


class Keeping:
    """The open journal and the snapshots of one life of a holder."""

    def __init__(self, node: HolderNode, disk: Disk, boot: str) -> None:
        """Open them; raises JournalError and StorageError."""
        shape = disk.shape
        self.snapshots = SnapshotFolder(disk.snapshots)
        self.journal = Journal.open(
            disk.journal,
            exchange=EXCHANGE,
            shard=node.shard.number,
            holder=node.name,
            policy=JournalPolicy(shape.sync, shape.sync_interval_ns, shape.segment_bytes),
            boot=boot,
            now_ns=node.network.now_ns,
            token=f"{node.name}-{node.life}",
        )
        self.is_writing = False
        self.is_syncing = False
        self._node = node
        self._disk = disk
        self._life = node.life
        self._is_timer_set = False
        for finding in self.journal.findings:
            node.note("in its journal: {}: {}", finding.file, finding.text)

    def turn(self) -> None:
        """Begin to force to the disk what is due, after anything that has been written."""
        network, journal = self._node.network, self.journal
        sync = journal.begin_sync(network.now_ns)
        if sync is not None:
            self.is_syncing = True
            took_ns = self._disk.sync_ns()
            # What is written after it was begun may be on the disk with it, or not.
            after_ns = network.random.randint(0, took_ns)
            network.after(after_ns, partial(self._sync, sync, took_ns - after_ns))
        elif journal.deadline_ns is not None and not self._is_timer_set:
            self._is_timer_set = True
            act = partial(self._node.do, self._life, self._on_timer)
            network.world.at(journal.deadline_ns, act)

    def write(self, writing: Callable[[], None]) -> None:
        """Write snapshots, after a while."""
        self.is_writing = True
        act = partial(self._node.do, self._life, partial(self._write, writing))
        self._node.network.after(self._disk.sync_ns(), act)

    def close(self) -> None:
        """Have all on the disk."""
        if not self.is_syncing:  # a thread that is at it would have to be waited for
            self.journal.close()
            self._disk.is_closed = self.journal.failure is None

    def _on_timer(self) -> None:
        self._is_timer_set = False  # the turn that follows does the rest

    def _sync(self, sync: Callable[[], None], rest_ns: int) -> None:
        """The thread's work; a process that is stopped has left it to its kernel."""
        node, error = self._node, None
        if not node.is_alive or node.life != self._life:
            return
        try:
            sync()
        except StorageError as failed:
            error = failed
        except CutShort:
            node.die_at_its_disk()
            return
        node.network.after(rest_ns, partial(node.do, self._life, partial(self._end_sync, error)))

    def _end_sync(self, error: StorageError | None) -> None:
        self.is_syncing = False
        self.journal.end_sync(error, self._node.network.now_ns)

    def _write(self, writing: Callable[[], None]) -> None:
        self.is_writing = False
        try:
            writing()
        except (StorageError, ValueError) as error:
            self._node.note("a snapshot was not written: {}", error)
