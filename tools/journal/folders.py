"""Journals as files: where they are, whose they are, and what can be read of them.

Nothing here writes, and no lock is taken: a journal may be read while its holder runs, as far as it
was written when it was opened.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from feed.journal_files import JournalFiles, SegmentFile
from feed.journal_state import STATE_NAME
from feed.journal_survey import Damage, Finding
from feed.reign import Reign
from feed.run import Run
from feed.segment_reader import DamagedFrames
from feed.segments import FRAMES_SUFFIX, HEADER_BYTES, SegmentHeader, decode_header
from feed.snapshot import CHUNK_BYTES, SnapshotError, WholeSnapshot, read_snapshot
from feed.snapshot_folder import SnapshotFolder, StoredSnapshot
from feed.storage import DiskStorage, StorageError
from tools.console import CommandError, UsageError

SNAPSHOTS_NAME = "snapshots"
_HASHED_BYTES = 1 << 20


class Snapshot(NamedTuple):
    """A snapshot that was read to its end, and found sound."""

    stored: StoredSnapshot
    path: Path
    whole: WholeSnapshot


class HolderJournal:
    """The journal in one holder's folder."""

    def __init__(self, folder: Path) -> None:
        """Raises CommandError when it can't be read at all."""
        self.folder = folder
        self.findings: list[Finding] = []  # what could not be read since
        self._storages: list[DiskStorage] = []
        self._snapshots: SnapshotFolder | None = None
        try:
            self.files = JournalFiles(self._open(folder))
            if (folder / SNAPSHOTS_NAME).is_dir():
                self._snapshots = SnapshotFolder(self._open(folder / SNAPSHOTS_NAME))
        except (StorageError, ValueError) as error:
            self.close()
            raise CommandError(f"{folder}: it can't be read as a journal: {error}") from error

    @property
    def state(self) -> dict[str, Any]:
        """The fields of its state file; empty where it can't be read."""
        return self.files.state

    @property
    def exchange(self) -> str:
        """Whose list it is; "" where nothing says it."""
        return str(self.state.get("exchange", ""))

    @property
    def shard(self) -> int:
        """Which list of the exchange it is; 0 where nothing says it."""
        headers = (header for _, header in self._headers())
        first = next(headers, None)
        return int(self.state.get("shard", first.shard if first else 0))

    @property
    def holder(self) -> str:
        """Who kept it: the folder's name where nothing else says it."""
        return str(self.state.get("holder", self.folder.name))

    @property
    def committed_sequence(self) -> int:
        """How far the list was committed, as it knew."""
        return int(self.state.get("committed_sequence", 0))

    @property
    def stored_sequence(self) -> int:
        """The last frame that it had once, as its state says."""
        closed = self.state.get("closed_sequence")
        return max(int(self.state.get("kept_sequence", 0)), 0 if closed is None else int(closed))

    @property
    def segments(self) -> list[SegmentFile]:
        """Its segments that can be read, ascending."""
        return self.files.segments

    @property
    def frame_count(self) -> int:
        """How many frames there are."""
        return sum(each.last_sequence - each.first_sequence + 1 for each in self.segments)

    @property
    def last_sequence(self) -> int:
        """The last frame; 0 without any."""
        return max((each.last_sequence for each in self.segments), default=0)

    @property
    def last_reign(self) -> Reign | None:
        """The one that its last frame belongs to."""
        return self.files.reigns[-1] if self.files.reigns else self.files.base.reign

    @property
    def stored_snapshots(self) -> list[StoredSnapshot]:
        """Its snapshots by their names."""
        return [] if self._snapshots is None else self._snapshots.stored

    def runs(self, first: int = 1, last: int = 2**64 - 1) -> Iterator[Run]:
        """The frames that can be read; `findings` tells of those that can't, once it has ended."""
        for segment in self.segments:
            try:
                yield from self.files.runs(
                    max(first, segment.first_sequence), min(last, segment.last_sequence)
                )
            except DamagedFrames as damage:
                self._find(segment.name, damage.sequence, str(damage))
            except StorageError as error:
                self._find(segment.name, segment.first_sequence, str(error))

    def verify(self) -> Iterator[Finding]:
        """Read every byte of it and of its snapshots; what is wrong, as it is found."""
        yield from self.files.verify()
        if self.files.last_sequence < self.stored_sequence:
            first = self.files.last_sequence + 1
            text = f"the frames {first} to {self.stored_sequence} were stored, and are gone"
            yield Finding(STATE_NAME, first, Damage.MISSING_END, text)
        for stored in self.stored_snapshots:
            try:
                self.snapshot(stored)
            except (SnapshotError, StorageError) as error:
                name = f"{SNAPSHOTS_NAME}/{stored.name}"
                yield Finding(name, stored.sequence, Damage.DAMAGED_FRAME, str(error))

    def snapshot(self, stored: StoredSnapshot) -> Snapshot:
        """A snapshot of it; raises SnapshotError and StorageError when it is not sound."""
        path = self.folder / SNAPSHOTS_NAME / stored.name
        whole = read_snapshot(lambda: _pieces(path))
        if whole.head.sequence != stored.sequence:
            raise SnapshotError(f"it is one of frame {whole.head.sequence}, not of its name's")
        return Snapshot(stored, path, whole)

    def place_of(self, sequence: int) -> str:
        """The file that a frame stands in; "" where there is none."""
        for segment in self.segments:
            if segment.first_sequence <= sequence <= segment.last_sequence:
                return str(self.folder / segment.name)
        return ""

    def list_digests(self) -> Iterator[tuple[Path, int, bytes]]:
        """What its segments say of the list's digest: in which file, after which frame, which."""
        for path, header in self._headers():
            if header.base.digest_sequence > 0:
                yield path, header.base.digest_sequence, header.base.digest

    def paths(self) -> list[Path]:
        """Every file that is part of it."""
        names = [path for path in sorted(self.folder.iterdir()) if path.is_file()]
        snapshots = [self.folder / SNAPSHOTS_NAME / stored.name for stored in self.stored_snapshots]
        return [path for path in names if not path.name.startswith(".")] + snapshots

    def close(self) -> None:
        """Let go of its folders."""
        for storage in self._storages:
            storage.close()

    def _open(self, folder: Path) -> DiskStorage:
        storage = DiskStorage(folder, read_only=True)
        self._storages.append(storage)
        return storage

    def _headers(self) -> Iterator[tuple[Path, SegmentHeader]]:
        """The intact headers of its segments."""
        for segment in self.segments:
            path = self.folder / segment.name
            with path.open("rb") as file:
                header = decode_header(file.read(HEADER_BYTES))
            if header is not None:
                yield path, header

    def _find(self, name: str, sequence: int, text: str) -> None:
        finding = Finding(name, sequence, Damage.DAMAGED_FRAME, text)
        if finding not in self.findings:
            self.findings.append(finding)


@contextlib.contextmanager
def open_journals(folders: Iterable[Path]) -> Iterator[list[HolderJournal]]:
    """The journals in these folders, and in all those below them; each once.

    Raises UsageError when there is none in one of them.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give a holder's, or one above several")
        below = dict.fromkeys(_journals_below(folder.resolve()))
        if not below:
            raise UsageError(f"{folder}: there is no journal in it or below it")
        found |= below
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(HolderJournal(each))) for each in found]


@contextlib.contextmanager
def open_journal(folder: Path) -> Iterator[HolderJournal]:
    """The one journal in a folder; raises UsageError when there are none or several."""
    with open_journals([folder]) as journals:
        if len(journals) != 1:
            raise UsageError(f"{folder}: there are {len(journals)} journals below it; name one")
        yield journals[0]


def _journals_below(folder: Path) -> Iterator[Path]:
    """A journal's own folders are no journals, whatever is in them."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    if any(name == STATE_NAME or name.endswith(FRAMES_SUFFIX) for name in names):
        yield folder
        return
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from _journals_below(below)


def sha256_of(path: Path, on_bytes: Callable[[int], None]) -> str:
    """The SHA-256 of a file, as `sha256sum` gives it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_HASHED_BYTES):
            digest.update(data)
            on_bytes(len(data))
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            yield data
