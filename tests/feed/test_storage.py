"""Files on a real disk: what is promised of them, and what is said when it can't be kept."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feed.storage import DiskStorage, StorageError, SyncError
from tests.feed.disks import ram_folder, remount_read_only, small_disk


@pytest.fixture
def folder() -> Iterator[Path]:
    with ram_folder() as place:
        yield place / "journal"


def test_what_is_written_is_read_back(folder: Path) -> None:
    storage = DiskStorage(folder)
    storage.append("b", b"one")
    storage.append("b", b"two")
    storage.append("a", b"")
    assert storage.names() == ["a", "b"]
    assert [storage.size(name) for name in ("a", "b")] == [0, 6]
    assert [storage.read("b", 1, 4), storage.read("b", 4, 9), storage.read("b", 9, 1)] == [
        b"netw",
        b"wo",
        b"",
    ]
    storage.truncate("b", 4)
    storage.append("b", b"!")
    storage.close()
    storage = DiskStorage(folder)
    assert storage.read("b", 0, 99) == b"onet!"
    storage.append("b", b"?")
    storage.rename("b", "c")
    storage.remove("a")
    storage.append("b", b"new")
    assert storage.names() == ["b", "c"]
    assert (storage.read("b", 0, 9), storage.read("c", 0, 9)) == (b"new", b"onet!?")
    storage.close()


def test_folders_and_files_with_a_dot_are_no_part_of_it(folder: Path) -> None:
    storage = DiskStorage(folder)
    (folder / "snapshots").mkdir()
    (folder / ".hidden").touch()
    assert storage.names() == []
    storage.close()


def test_a_file_is_replaced_as_a_whole(folder: Path) -> None:
    storage = DiskStorage(folder)
    storage.append("state", b"old")
    storage.replace("state", [b"a ", b"new one"])
    storage.append("state", b".")
    assert storage.read("state", 0, 99) == b"a new one."

    def failing() -> Iterator[bytes]:
        yield b"half of"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.replace("state", failing())
    assert storage.read("state", 0, 99) == b"a new one."
    assert sorted(os.listdir(folder)) == [".lock", "state"]
    storage.close()


def test_what_was_to_replace_a_file_when_a_process_died_is_removed(folder: Path) -> None:
    folder.mkdir()
    (folder / ".state.json.new").write_bytes(b"half")
    DiskStorage(folder).close()
    assert os.listdir(folder) == [".lock"]


def test_a_folder_is_used_by_one_process_at_a_time(folder: Path) -> None:
    first = DiskStorage(folder)
    first.append("a", b"1")
    with pytest.raises(StorageError, match=rf"journal: in use by process {os.getpid()}: stop"):
        DiskStorage(folder)
    reader = DiskStorage(folder, read_only=True)
    assert reader.read("a", 0, 9) == b"1"
    writes: list[Callable[[], None]] = [
        lambda: reader.append("a", b"2"),
        lambda: reader.truncate("a", 0),
        lambda: reader.replace("a", [b"2"]),
        lambda: reader.remove("a"),
        lambda: reader.rename("a", "b"),
    ]
    for write in writes:
        with pytest.raises(StorageError, match=r"journal/a: opened for reading only"):
            write()
    reader.close()
    first.close()
    DiskStorage(folder).close()


def test_a_folder_that_is_not_there_is_created_but_not_to_read(folder: Path) -> None:
    deep = folder / "shard-1" / "e1"
    with pytest.raises(StorageError, match=r"shard-1/e1/?: it does not exist"):
        DiskStorage(deep, read_only=True)
    DiskStorage(deep).close()
    assert deep.is_dir()


def test_a_file_in_the_place_of_the_folder_is_named(folder: Path) -> None:
    folder.write_bytes(b"")
    for place in (folder, folder / "e1"):
        with pytest.raises(StorageError, match=f"{place}/?: a file stands where the folder"):
            DiskStorage(place)
    with pytest.raises(StorageError, match="a file stands where the folder"):
        DiskStorage(folder, read_only=True)


def test_a_folder_of_somebody_else_is_named(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match=r"/journal.*: permission denied: let the user"):
            DiskStorage(folder)
    finally:
        if is_root:
            os.seteuid(0)


def test_what_is_not_there_is_named(folder: Path) -> None:
    storage = DiskStorage(folder)
    for use in (
        lambda: storage.size("a"),
        lambda: storage.read("a", 0, 1),
        lambda: storage.truncate("a", 0),
        lambda: storage.remove("a"),
        lambda: storage.rename("a", "b"),
    ):
        with pytest.raises(StorageError, match="journal/a: it does not exist"):
            use()
    storage.sync("a")  # it was removed meanwhile, for all that the caller knows
    storage.close()


# Disks that refuse.


def test_a_write_that_takes_only_a_part_is_gone_on_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    storage = DiskStorage(folder)
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    storage.append("a", bytes(range(100)))
    storage.replace("b", [bytes(range(50))])
    assert storage.read("a", 0, 999) == bytes(range(100))
    assert storage.read("b", 0, 999) == bytes(range(50))
    storage.close()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full: make room"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "the disk reports an error"),
        (errno.ETXTBSY, "Text file busy"),
    ],
)
def test_each_reason_not_to_write_has_its_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    storage = DiskStorage(folder)
    storage.append("b", b"old")
    monkeypatch.setattr(os, "write", refuse)
    acts: dict[str, Callable[[], None]] = {
        "a": lambda: storage.append("a", b"1"),
        "b": lambda: storage.replace("b", [b"new"]),
    }
    for name, act in acts.items():
        with pytest.raises(StorageError, match=f"journal/{name}: {text}"):
            act()
    assert storage.read("b", 0, 9) == b"old"
    assert sorted(os.listdir(folder)) == [".lock", "a", "b"]
    storage.close()


def test_a_sync_that_failed_is_never_said_to_have_succeeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    storage = DiskStorage(folder)
    storage.append("a", b"1")
    storage.append("b", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(SyncError, match="journal/a: the disk reports an error"):
            storage.sync("a")
    with pytest.raises(SyncError, match="journal/a: the disk reports an error"):
        storage.sync("a")  # though the operating system would say so now
    storage.sync("b")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        storage.append("c", b"1")
        with pytest.raises(SyncError, match=r"journal/?: the disk reports an error"):
            storage.sync("c")
    with pytest.raises(SyncError, match=r"journal/?: the disk reports an error"):
        storage.replace("d", [b"1"])
    storage.close()


class Syncs:
    """What is forced to the disk, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.read_anew: list[str] = []
        fsync, advise = os.fsync, os.posix_fadvise
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, lambda descriptor: self.note(descriptor, fsync))

        def advised(descriptor: int, offset: int, size: int, advice: int) -> None:
            assert (offset, size, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
            self.read_anew.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            advise(descriptor, offset, size, advice)

        monkeypatch.setattr(os, "posix_fadvise", advised)

    def note(self, descriptor: int, fsync: object) -> None:
        self.names.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def taken(self) -> list[str]:
        names, self.names = self.names, []
        return names


def test_names_are_on_the_disk_with_what_is_in_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = Syncs(monkeypatch)
    storage = DiskStorage(folder)
    assert syncs.taken() == [folder.parent.name]  # the new folder's own name
    storage.append("a", b"1")
    storage.sync("a")
    assert syncs.taken() == ["a", "journal"]
    storage.sync("a")
    assert syncs.taken() == []
    storage.append("a", b"2")
    storage.sync("a")
    assert syncs.taken() == ["a"]
    storage.truncate("a", 1)
    storage.sync("a")
    assert syncs.taken() == ["a"]
    storage.replace("b", [b"1"])
    assert syncs.taken() == [".b.new", "journal"]
    storage.rename("b", "c")
    storage.sync("a")
    assert syncs.taken() == ["journal"]
    storage.remove("c")
    storage.sync("a")
    assert syncs.taken() == ["journal"]
    assert syncs.read_anew == []
    storage.close()
    storage = DiskStorage(folder)
    syncs.taken()
    storage.sync("a")  # a process before this one may have left it unsynced
    assert syncs.taken() == ["a", "journal"]
    assert syncs.read_anew == ["a"]  # or may not have been able to
    storage.close()


def test_files_that_are_on_the_disk_are_not_kept_open(folder: Path) -> None:
    storage = DiskStorage(folder)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        storage.append(f"{number}", b"1")
        storage.sync(f"{number}")
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    for number in range(50):
        storage.append(f"{number}", b"2")
        storage.sync(f"{number}")
        assert storage.read(f"{number}", 0, 9) == b"12"
    storage.close()


def test_too_few_descriptors_are_told_of(folder: Path) -> None:
    storage = DiskStorage(folder)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, limits[1]))
    try:
        with pytest.raises(StorageError, match="journal/a: too few file descriptors: raise"):
            storage.append("a", b"1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
    storage.append("a", b"1")
    storage.close()


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        storage = DiskStorage(disk)
        storage.replace("state", [b"old"])
        with pytest.raises(StorageError, match="disk/frames: the disk is full"):
            storage.append("frames", bytes(100_000))
        written = storage.size("frames")
        assert 0 < written < 100_000
        with pytest.raises(StorageError, match="disk/state: the disk is full"):
            storage.replace("state", [bytes(4096), bytes(4096)])
        assert storage.read("state", 0, 99) == b"old"
        assert storage.names() == ["frames", "state"]
        storage.truncate("frames", 10)
        storage.replace("state", [b"new"])
        storage.append("frames", b"more")
        assert (storage.size("frames"), storage.read("state", 0, 9)) == (14, b"new")
        storage.close()


def test_a_read_only_file_system_can_be_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        storage = DiskStorage(disk)
        storage.append("a", b"1")
        storage.close()
        remount_read_only(disk)
        with pytest.raises(StorageError, match=r"disk/.lock: the file system is read-only: mount"):
            DiskStorage(disk)
        storage = DiskStorage(disk, read_only=True)
        assert storage.read("a", 0, 9) == b"1"
        storage.close()
