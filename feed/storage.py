"""A folder of files that outlive the process, and the power when they are synced.

What is kept there (a journal, snapshots) is written against `Storage`, so that the simulator can
put a disk of its own in the place of `DiskStorage`: one that tears writes, fills up and forgets.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

_LOCK_NAME = ".lock"
_TEMPORARY_PREFIX, _TEMPORARY_SUFFIX = ".", ".new"
_FILE_MODE = 0o644
_Result = TypeVar("_Result")
_REASONS = {
    errno.ENOSPC: "the disk is full: make room on it, then start again",
    errno.EDQUOT: "the disk quota is used up: raise it or make room, then start again",
    errno.EFBIG: "the file is larger than it may be: raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only: mount it writable, then start again",
    errno.EIO: "the disk reports an error: see the kernel's log (dmesg), and replace the disk",
    errno.EACCES: "permission denied: let the user that runs this process own the folder",
    errno.EPERM: "permission denied: let the user that runs this process own the folder",
    errno.EMFILE: "too few file descriptors: raise the limit (ulimit -n)",
    errno.ENFILE: "the machine has no file descriptors left: raise fs.file-max",
    errno.ENOTDIR: "a file stands where the folder should be: move it away",
    errno.EEXIST: "a file stands where the folder should be: move it away",
    errno.ENOENT: "it does not exist",
}


class StorageError(Exception):
    """A file could not be read or written; the text names it, says why, and what to do."""


class SyncError(StorageError):
    """What has been written may be lost, though it can be read: the disk did not take it."""


class Storage(Protocol):
    """One folder of files with flat names; those that begin with a dot are its own.

    All methods raise StorageError. A file's creation, removal or renaming is on the disk when a
    `sync` or `replace` that began after it has returned, whatever file that was of.
    """

    def names(self) -> list[str]:
        """The files that there are, sorted."""

    def size(self, name: str) -> int:
        """How many bytes a file has."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """So many bytes from `offset` on; fewer at the end of the file."""

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, which is created if it is not there.

        After an error any part of `data` may stand there.
        """

    def truncate(self, name: str, size: int) -> None:
        """Cut a file off after so many bytes."""

    def sync(self, name: str) -> None:
        """Have a file on the disk as it is now, or no more, where it was removed.

        May be called in a thread beside all others. Raises SyncError, and then does so whenever it
        is called for that file: the operating system may have thrown away what it could not write,
        and not say so again.
        """

    def replace(self, name: str, data: Iterable[bytes]) -> None:
        """Have a file of just this data on the disk: all of it, or what was there before."""

    def remove(self, name: str) -> None:
        """Have a file no more."""

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name; a file that had it before is gone."""

    def close(self) -> None:
        """Let go of the folder; no sync may be under way."""


class _OpenFile:
    """A file that has been appended to."""

    __slots__ = ("changes", "descriptor", "synced_changes", "syncs", "was_there")

    def __init__(self, descriptor: int, was_there: bool) -> None:
        self.descriptor = descriptor
        self.was_there = was_there  # before this process, and not synced by it yet
        self.changes = 1
        self.synced_changes = 0
        self.syncs = 0  # under way


class DiskStorage:
    """A real folder, which one process at a time may write to."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Create the folder, unless `read_only`; raises StorageError when it can't be used."""
        self.folder = folder
        self._read_only = read_only
        self._lock = Lock()  # around what a sync in a thread shares with the others
        self._open_files: dict[str, _OpenFile] = {}
        self._unsyncable: dict[str, str] = {}  # whose sync has failed, and why
        self._folder_changes = 1  # a process before this one may have left some unsynced
        self._synced_folder_changes = 0
        self._lock_descriptor: int | None = None
        if not read_only:
            self._attempt("", lambda: _create_folder(folder))
        flags = os.O_RDONLY | os.O_DIRECTORY
        self._descriptor: int | None = self._attempt("", lambda: os.open(folder, flags))
        if not read_only:
            try:
                self._take_lock()
                self._remove_leftovers()
            except BaseException:
                self.close()
                raise

    def names(self) -> list[str]:
        """The files that there are, sorted."""

        def listed() -> list[str]:
            with os.scandir(self._folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())

        return [name for name in self._attempt("", listed) if not name.startswith(".")]

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return self._attempt(name, lambda: os.stat(name, dir_fd=self._folder).st_size)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """So many bytes from `offset` on; fewer at the end of the file."""
        return self._attempt(name, lambda: self._read(name, offset, size))

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, which is created if it is not there."""
        opened = self._open_files.get(name) or self._open(name, create=True)
        try:
            _write(opened.descriptor, data)
        except OSError as error:
            raise self._error(name, error) from error
        finally:
            opened.changes += 1  # after it: a sync that ends meanwhile need not have seen all

    def truncate(self, name: str, size: int) -> None:
        """Cut a file off after so many bytes."""
        opened = self._open_files.get(name) or self._open(name, create=False)
        self._attempt(name, lambda: os.ftruncate(opened.descriptor, size))
        opened.changes += 1

    def sync(self, name: str) -> None:
        """Have a file on the disk as it is now."""
        with self._lock:
            opened = self._open_files.get(name) or self._opened_to_sync(name)
            if opened is None:
                return self._sync_folder()
            opened.syncs += 1
            changes = opened.changes
        try:
            if opened.synced_changes < changes:
                self._force(name, lambda: os.fdatasync(opened.descriptor))
                opened.synced_changes = max(opened.synced_changes, changes)
                if opened.was_there:
                    # What an earlier process could not write may look written: it stays in memory
                    # though it is not on the disk. So it is read from there.
                    os.posix_fadvise(opened.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    opened.was_there = False
            self._sync_folder()
        finally:
            with self._lock:
                opened.syncs -= 1

    def replace(self, name: str, data: Iterable[bytes]) -> None:
        """Have a file of just this data on the disk: all of it, or what was there before."""
        self._check_writable(name)
        temporary = f"{_TEMPORARY_PREFIX}{name}{_TEMPORARY_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        folder = self._folder
        descriptor = self._attempt(
            name, lambda: os.open(temporary, flags, _FILE_MODE, dir_fd=folder)
        )
        try:
            try:
                for part in data:
                    _write(descriptor, part)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            self._discard(temporary)
            raise self._error(name, error) from error
        except BaseException:
            self._discard(temporary)
            raise
        self._forget(name)
        self._sync_folder()

    def remove(self, name: str) -> None:
        """Have a file no more."""
        self._check_writable(name)
        self._attempt(name, lambda: os.unlink(name, dir_fd=self._folder))
        self._forget(name)

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name; a file that had it before is gone."""
        self._check_writable(name)
        folder = self._folder
        self._attempt(
            name, lambda: os.replace(name, new_name, src_dir_fd=folder, dst_dir_fd=folder)
        )
        self._forget(name)
        self._forget(new_name)

    def close(self) -> None:
        """Let go of the folder; no sync may be under way."""
        for opened in self._open_files.values():
            os.close(opened.descriptor)
        self._open_files.clear()
        for descriptor in (self._lock_descriptor, self._descriptor):
            if descriptor is not None:
                os.close(descriptor)
        self._lock_descriptor = self._descriptor = None

    @property
    def _folder(self) -> int:
        assert self._descriptor is not None, "the storage was closed"
        return self._descriptor

    def _read(self, name: str, offset: int, size: int) -> bytes:
        opened = self._open_files.get(name)
        if opened is not None:
            return _read_at(opened.descriptor, offset, size)
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self._folder)
        try:
            return _read_at(descriptor, offset, size)
        finally:
            os.close(descriptor)

    def _open(self, name: str, *, create: bool) -> _OpenFile:
        """Keeps a file open, and those no more that are on the disk as they are.

        Only for what is not called in a thread: there, none of the others may be closed.
        """
        with self._lock:
            done = [
                other
                for other, file in self._open_files.items()
                if not file.syncs and file.synced_changes == file.changes
            ]
            for other in done:
                os.close(self._open_files.pop(other).descriptor)
            return self._opened(name, create=create)

    def _opened(self, name: str, *, create: bool) -> _OpenFile:
        self._check_writable(name)
        flags, folder = os.O_RDWR | os.O_APPEND, self._folder
        try:
            file = _OpenFile(os.open(name, flags, dir_fd=folder), was_there=True)
        except FileNotFoundError as error:
            if not create:
                raise self._error(name, error) from error
            flags |= os.O_CREAT
            created = self._attempt(name, lambda: os.open(name, flags, _FILE_MODE, dir_fd=folder))
            file = _OpenFile(created, was_there=False)
            self._folder_changes += 1
        except OSError as error:
            raise self._error(name, error) from error
        self._open_files[name] = file
        return file

    def _opened_to_sync(self, name: str) -> _OpenFile | None:
        try:
            os.stat(name, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(name, error) from error
        return self._opened(name, create=False)

    def _forget(self, name: str) -> None:
        """The name does not stand for the same file any more."""
        self._folder_changes += 1
        with self._lock:
            opened = self._open_files.pop(name, None)
            if opened is not None and opened.syncs:
                opened.synced_changes = opened.changes  # to be closed once that is over
                self._open_files[f".{opened.descriptor}"] = opened
            elif opened is not None:
                os.close(opened.descriptor)

    def _sync_folder(self) -> None:
        changes = self._folder_changes
        if self._synced_folder_changes < changes:
            self._force("", lambda: os.fsync(self._folder))
            self._synced_folder_changes = max(self._synced_folder_changes, changes)

    def _force(self, name: str, sync: Callable[[], None]) -> None:
        if name in self._unsyncable:
            raise SyncError(self._unsyncable[name])
        try:
            sync()
        except OSError as error:
            text = self._unsyncable[name] = str(self._error(name, error))
            raise SyncError(text) from error

    def _take_lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT
        opened = self._attempt(
            _LOCK_NAME, lambda: os.open(_LOCK_NAME, flags, _FILE_MODE, dir_fd=self._folder)
        )
        self._lock_descriptor = opened
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(opened, 20, 0).decode("ascii", "replace").strip() or "another process"
            raise StorageError(
                f"{self.folder}: in use by process {owner}: stop that first, or give this one a"
                " folder of its own"
            ) from error
        except OSError as error:
            raise self._error(_LOCK_NAME, error) from error
        self._attempt(_LOCK_NAME, lambda: os.ftruncate(opened, 0))
        try:
            os.pwrite(opened, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # the number is only for who reads it
                raise self._error(_LOCK_NAME, error) from error

    def _remove_leftovers(self) -> None:
        """What was to replace a file when a process ended in the middle of it."""
        for name in self._attempt("", lambda: os.listdir(self._folder)):
            if name.startswith(_TEMPORARY_PREFIX) and name.endswith(_TEMPORARY_SUFFIX):
                self._discard(name)

    def _discard(self, temporary: str) -> None:
        try:
            os.unlink(temporary, dir_fd=self._folder)
        except OSError:
            return  # it is in nobody's way; the next process tries again

    def _check_writable(self, name: str) -> None:
        if self._read_only:
            raise StorageError(f"{self.folder / name}: opened for reading only")

    def _attempt(self, name: str, act: Callable[[], _Result]) -> _Result:
        try:
            return act()
        except OSError as error:
            raise self._error(name, error) from error

    def _error(self, name: str, error: OSError) -> StorageError:
        reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
        return StorageError(f"{self.folder / name}: {reason}")


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # a full disk takes a part, and says why when it is asked again
        written += os.write(descriptor, data[written:])


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _create_folder(folder: Path) -> None:
    """Creates a folder and those above it; they are on the disk after it."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        _create_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
