"""Journals on disks that fill up, become read-only, or have little to offer."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from feed.journal import JournalError, Vow
from feed.journal_files import JournalFiles
from feed.segments import HEADER_BYTES
from feed.settings import SyncPolicy
from feed.storage import DiskStorage, StorageError
from tests.feed.disks import ram_folder, remount_read_only, small_disk
from tests.feed.journals import FRAME_BYTES, bytes_of, expected, filled, opened, run, sync

LAST = 35  # in segments that begin with 1, 11, 21 and 31


@pytest.fixture
def folder() -> Iterator[Path]:
    """A journal that was not closed."""
    with ram_folder() as place:
        storage = DiskStorage(place)
        filled(opened(storage), LAST)
        storage.close()
        yield place


def segment(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}.frames"


def fill_up(disk: Path, *, but: int) -> Path:
    """A file that takes all room that is left, but so many bytes."""
    ballast = disk / "ballast"
    room = os.statvfs(disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_bsize - but))
    return ballast


@pytest.mark.parametrize("policy", SyncPolicy)
def test_a_disk_that_fills_up_loses_nothing_that_was_stored(
    tmp_path: Path, policy: SyncPolicy
) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        storage = DiskStorage(disk)
        journal = filled(opened(storage, policy, segment_bytes=1 << 20), 10)
        fill_up(disk, but=8192).rename(disk / "others")
        while journal.failure is None:
            last = journal.stored_sequence
            assert journal.next_sequence < 190
            journal.append(run(journal.next_sequence, journal.next_sequence + 9))
            sync(journal, 10)
        assert journal.failure.startswith(f"{segment(disk, 1)}: the disk is full: make room")
        assert (journal.stored_sequence, journal.next_sequence) == (last, last + 1)
        assert bytes_of(journal, 1, 999) == expected(1, last)
        assert segment(disk, 1).stat().st_size == HEADER_BYTES + last * FRAME_BYTES
        storage.close()
        fill_up(disk, but=0)
        storage = DiskStorage(disk)
        with pytest.raises(JournalError, match=r"disk/state.json: the disk is full: make room"):
            opened(storage, policy)
        (disk / "others").unlink()
        journal = opened(storage, policy)
        assert (journal.stored_sequence, journal.is_doubtful, journal.findings) == (last, False, [])
        assert filled(journal, last + 9).failure is None
        storage.close()


def test_a_vow_is_kept_or_not_made_when_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        storage = DiskStorage(disk)
        journal = filled(opened(storage), 10)
        assert journal.promise(Vow(4, b"e2"))
        ballast = fill_up(disk, but=0)
        assert not journal.promise(Vow(5, b"e3"))
        assert journal.failure is not None
        assert journal.failure.startswith(f"{disk}/state.json: the disk is full")
        storage.close()
        ballast.unlink()
        storage = DiskStorage(disk)
        assert opened(storage).vow == Vow(4, b"e2")
        storage.close()


def test_a_journal_on_a_read_only_file_system_can_be_read_only(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        storage = DiskStorage(disk)
        filled(opened(storage), LAST)
        storage.close()
        remount_read_only(disk)
        with pytest.raises(StorageError, match="the file system is read-only: mount it writable"):
            DiskStorage(disk)
        storage = DiskStorage(disk, read_only=True)
        files = JournalFiles(storage)
        assert list(files.verify()) == []
        assert b"".join(one.data for one in files.runs(1, 99)) == expected(1, LAST)
        assert (files.state["holder"], files.state["vow"]["epoch"]) == ("e1", 0)
        storage.close()


def test_a_file_system_that_becomes_read_only_ends_what_is_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    storage = DiskStorage(folder)
    journal = opened(storage)
    monkeypatch.setattr(os, "write", refuse)
    journal.append(run(LAST + 1, LAST + 1))
    assert journal.failure is not None
    assert journal.failure.startswith(f"{segment(folder, 31)}: the file system is read-only")
    assert (journal.next_sequence, bytes_of(journal, 1, 99)) == (LAST + 1, expected(1, LAST))
    storage.close()


def test_old_segments_take_no_descriptors(folder: Path) -> None:
    storage = DiskStorage(folder)
    journal = opened(storage)
    before = len(os.listdir("/proc/self/fd"))
    filled(journal, 199)
    assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert bytes_of(journal, 1, 199) == expected(1, 199)
    assert len(os.listdir("/proc/self/fd")) <= before + 4
    storage.close()
