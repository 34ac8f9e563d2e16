"""The shell around what a holder keeps on disk: its files, and the threads that force them there.

The loop goes on while a disk is slow: what waits for it are acknowledgements, not heartbeats.
"""

import asyncio
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import structlog

from feed.journal import Journal, JournalError, JournalPolicy
from feed.settings import JournalSettings
from feed.snapshot_folder import SnapshotFolder
from feed.storage import DiskStorage, StorageError

log = structlog.get_logger()

_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# For drills of a power cut: another boot, and which file says what is on the disk by now.
BOOT_VARIABLE = "LOCKSTEP_BOOT"
SYNCED_FILE = "synced"
# And how much longer each sync takes, so that something always waits for one when the power goes.
SYNC_DELAY_VARIABLE = "LOCKSTEP_SYNC_DELAY_MS"


class Keeping:
    """The open journal and the snapshots of one holder."""

    def __init__(
        self, settings: JournalSettings, exchange: str, shard: int, name: str, *, drills: bool
    ) -> None:
        """Open them; raises JournalError and StorageError, which say what to do."""
        folder = settings.folder_of(shard, name)
        self._files = _NotedStorage(folder) if drills else DiskStorage(folder)
        self._snapshot_files = DiskStorage(folder / "snapshots")
        self.snapshots = SnapshotFolder(self._snapshot_files)
        interval_ns = settings.sync_interval_ms * _MILLISECOND_NS
        try:
            self.journal = Journal.open(
                self._files,
                exchange=exchange,
                shard=shard,
                holder=name,
                policy=JournalPolicy(settings.sync, interval_ns, settings.segment_bytes),
                boot=_boot(drills=drills),
                now_ns=time.monotonic_ns(),
                token=uuid.uuid4().hex,
                on_progress=_Progress(name).show,
            )
        except JournalError as error:
            raise JournalError(f"the journal in {folder}: {error}") from error
        for finding in self.journal.findings:
            log.warning("in the journal", name=name, file=finding.file, what=finding.text)
        self._name = name
        self._keep_days = settings.keep_days
        self._looked_at_days_ns = 0
        self._syncs = ThreadPoolExecutor(1, "journal")
        self._writings = ThreadPoolExecutor(1, "snapshots")
        self._timer: asyncio.TimerHandle | None = None
        self._syncing: Future[None] | None = None
        self._is_writing = False
        self._failure_told: str | None = None

    def turn(self, after: Callable[[], None]) -> None:
        """Begin to force to the disk what is due, after anything that has been written; `after` is
        called when it is there."""
        journal = self.journal
        if journal.failure is not None and journal.failure != self._failure_told:
            self._failure_told = journal.failure
            log.error(
                "nothing more is stored, and so nothing acknowledged: mend the disk, and start"
                " this process again",
                name=self._name,
                reason=journal.failure,
            )
        now_ns = time.monotonic_ns()
        sync = journal.begin_sync(now_ns)
        if sync is not None:
            self._run(sync, after)
        elif journal.deadline_ns is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            delay_s = max(0, journal.deadline_ns - now_ns) / _SECOND_NS
            self._timer = loop.call_later(delay_s, self._on_timer, after)

    def drop_old_days(self, committed_sequence: int, *, has_machine: bool) -> None:
        """Remove the frames of days that need not stay readable; looks once a second.

        A holder that `has_machine` keeps what its newest snapshot does not stand for.
        """
        now_ns = time.monotonic_ns()
        if not self._keep_days or now_ns - self._looked_at_days_ns < _SECOND_NS:
            return
        self._looked_at_days_ns = now_ns
        begun = [first for first, _ in self.journal.days if first <= committed_sequence]
        if len(begun) < self._keep_days:
            return
        first = begun[-self._keep_days]
        if has_machine:
            newest = self.snapshots.newest(committed_sequence)
            first = min(first, 0 if newest is None else newest.sequence + 1)
        if first > self.journal.first_sequence:
            self.journal.prune(first)

    @property
    def is_writing(self) -> bool:
        """Whether a snapshot is being written."""
        return self._is_writing

    def write(self, writing: Callable[[], None], after: Callable[[], None] | None = None) -> None:
        """Write snapshots, in a thread of their own; `after` is called when that is done."""
        self._is_writing = True
        future = asyncio.get_running_loop().run_in_executor(self._writings, writing)
        future.add_done_callback(lambda done: self._on_written(done, after))

    def close(self) -> None:
        """Have all on the disk, and close the files."""
        if self._timer is not None:
            self._timer.cancel()
        self._syncs.shutdown()
        self._writings.shutdown()
        if self._syncing is not None:
            self._end_sync(self._syncing)
        self.journal.close()
        self._files.close()
        self._snapshot_files.close()

    def _on_timer(self, after: Callable[[], None]) -> None:
        self._timer = None
        self.turn(after)

    def _run(self, sync: Callable[[], None], after: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._syncing = self._syncs.submit(sync)
        self._syncing.add_done_callback(lambda _: loop.call_soon_threadsafe(self._on_synced, after))

    def _on_synced(self, after: Callable[[], None]) -> None:
        if self._syncing is not None:  # it has not been closed meanwhile
            self._end_sync(self._syncing)
            after()

    def _end_sync(self, done: Future[None]) -> None:
        self._syncing = None
        error = done.exception()
        if error is not None and not isinstance(error, StorageError):
            raise error
        self.journal.end_sync(error, time.monotonic_ns())

    def _on_written(self, done: "asyncio.Future[None]", after: Callable[[], None] | None) -> None:
        self._is_writing = False
        error = done.exception()
        if isinstance(error, StorageError | ValueError):
            log.error("a snapshot was not written", name=self._name, reason=str(error))
        elif error is not None:
            raise error
        if after is not None:
            after()


class _Progress:
    """Tells once a second how far the journal has been read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next_ns = time.monotonic_ns() + _SECOND_NS

    def show(self, done: int, total: int) -> None:
        if time.monotonic_ns() >= self._next_ns:
            self._next_ns = time.monotonic_ns() + _SECOND_NS
            log.info("recovering: reading the journal", name=self._name, done=done, total=total)


class _NotedStorage(DiskStorage):
    """Notes in a file how much of each file is on the disk: a drill cuts off the rest."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._noted = folder / SYNCED_FILE
        self._sizes = {name: self.size(name) for name in self.names()}
        self._lock = threading.Lock()
        self._delay_s = float(os.environ.get(SYNC_DELAY_VARIABLE, "0")) / 1000

    def sync(self, name: str) -> None:
        size = self.size(name)
        time.sleep(self._delay_s)
        super().sync(name)
        self._note({name: size})

    def truncate(self, name: str, size: int) -> None:
        super().truncate(name, size)
        self._note({name: min(size, self._sizes.get(name, 0))})

    def replace(self, name: str, data: Iterable[bytes]) -> None:
        super().replace(name, data)
        self._note({name: self.size(name)})

    def remove(self, name: str) -> None:
        super().remove(name)
        self._note({}, {name})

    def _note(self, sizes: dict[str, int], gone: frozenset[str] | set[str] = frozenset()) -> None:
        with self._lock:
            self._sizes |= sizes
            for name in gone:
                self._sizes.pop(name, None)
            temporary = self._noted.with_suffix(".new")
            temporary.write_text(json.dumps(self._sizes))
            temporary.replace(self._noted)


def _boot(*, drills: bool) -> str:
    """What names this boot of the machine; something new each time where that can't be known."""
    if drills and BOOT_VARIABLE in os.environ:
        return os.environ[BOOT_VARIABLE]
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(uuid.uuid4())
