"""A disk in memory that does all that disks do to those who don't sync.

It holds each file, and each name, twice: as processes see it, and as it would be found after the
power has been cut. It can fill up, become read-only, fail to sync, and lose the power in the middle
of any operation.
"""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from feed.storage import StorageError, SyncError

FULL = "the disk is full"
READ_ONLY = "the file system is read-only"
BROKEN = "the disk reports an error"


class CutShort(BaseException):
    """The process, or the machine, ends in the middle of an operation on its disk."""


class _Written(NamedTuple):
    """A change of a file that is not on the disk yet: cut off after `size`, then `data`."""

    size: int
    data: bytes


class _File:
    __slots__ = ("_saved", "_synced_size", "changes", "content", "is_forgotten", "is_lost")

    def __init__(self) -> None:
        self.content = bytearray()  # as processes see it
        self.changes: list[_Written] = []  # that are not on the disk
        self.is_lost = False  # what could not be written looks written, and never will be
        self.is_forgotten = False  # and the process that was told so has ended
        self._synced_size = 0
        self._saved: bytes | None = None  # what the disk has, unless it is the beginning of that

    def write(self, size: int, data: bytes) -> None:
        if size < self._synced_size and self._saved is None:
            self._saved = bytes(self.content[: self._synced_size])
        del self.content[size:]
        self.content += data
        self.changes.append(_Written(size, data))

    def sync(self) -> None:
        self._synced_size, self._saved = len(self.content), None
        self.changes.clear()

    def lose(self, changes: Iterable[_Written] = ()) -> None:
        """Of what was not on the disk, only this is."""
        if self._saved is not None:
            self.content[:] = self._saved
        del self.content[self._synced_size :]
        for size, data in changes:
            del self.content[size:]
            self.content += data
        self.is_lost = self.is_forgotten = False
        self.sync()


class _Named(NamedTuple):
    """A name that was given to a file, or taken from it, and is not on the disk yet."""

    name: str
    file: _File | None
    old_name: str | None = None  # which the file had until then


class SimulatedStorage:
    """A folder on that disk; see `feed.storage.Storage`. It outlives the processes that use it."""

    def __init__(self, random: Random, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.is_read_only = False
        self.fails_to_sync = False
        self.fails_to_replace = False
        self.operations_left: int | None = None  # how many are carried out before it is cut short
        self.operations = 0  # that have been carried out
        self.random = random
        self._files: dict[str, _File] = {}  # as processes see them
        self._files_on_disk: dict[str, _File] = {}
        self._named: list[_Named] = []  # what leads from the one to the other

    # What a process does.

    def names(self) -> list[str]:
        """The files that there are, sorted."""
        return sorted(self._files)

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return len(self._file(name).content)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """So many bytes from `offset` on; fewer at the end of the file."""
        return bytes(self._file(name).content[offset : offset + size])

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, which is created if it is not there."""
        is_cut = self._is_cut_short()
        self._check_writable(name)
        if name not in self._files:
            self._name(_Named(name, _File()))
        file = self._file(name)
        room = len(data)
        if self.capacity_bytes is not None:
            room = min(room, max(0, self.capacity_bytes - self.used_bytes))
        if is_cut:
            room = self.random.randint(0, room)
        file.write(len(file.content), data[:room])
        if is_cut:
            raise CutShort
        if room < len(data):
            raise StorageError(f"{name}: {FULL}")

    def truncate(self, name: str, size: int) -> None:
        """Cut a file off after so many bytes."""
        self._begin(name)
        self._file(name).write(size, b"")

    def sync(self, name: str) -> None:
        """Have a file on the disk as it is now."""
        if self._is_cut_short():
            if name in self._files and self.random.random() < 0.5:
                self._file(name).sync()
            raise CutShort
        file = self._files.get(name)
        if file is not None:
            if file.is_forgotten:
                file.lose()
            if self.fails_to_sync or file.is_lost:
                file.is_lost = True
                raise SyncError(f"{name}: {BROKEN}")
            file.sync()
        self._sync_names()

    def replace(self, name: str, data: Iterable[bytes]) -> None:
        """Have a file of just this data on the disk: all of it, or what was there before."""
        content = b"".join(data)
        is_cut = self._is_cut_short()
        self._check_writable(name)
        if self.fails_to_replace:
            raise StorageError(f"{name}: {BROKEN}")
        if self.capacity_bytes is not None and self.used_bytes + len(content) > self.capacity_bytes:
            raise StorageError(f"{name}: {FULL}")
        file = _File()
        file.write(0, content)
        file.sync()
        if is_cut and self.random.random() < 0.5:
            raise CutShort
        self._name(_Named(name, file))
        if is_cut:
            raise CutShort
        self._sync_names()

    def remove(self, name: str) -> None:
        """Have a file no more."""
        self._begin(name)
        self._file(name)
        self._name(_Named(name, None))

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name; a file that had it before is gone."""
        self._begin(name)
        self._name(_Named(new_name, self._file(name), name))

    def close(self) -> None:
        """Nothing to let go of."""

    # What befalls it.

    @property
    def used_bytes(self) -> int:
        """How much the files take."""
        return sum(len(file.content) for file in self._files.values())

    def crash(self) -> None:
        """The process ends; all that it had written stays, synced or not.

        What could not be synced stays too, until the next process syncs that file: then it reads
        from the disk what is there.
        """
        self.operations_left = None
        for file in self._files.values():
            file.is_forgotten = file.is_lost

    def power_cut(self) -> None:
        """The machine ends: of what was not synced, some is lost.

        Of each file's data any prefix stays, and any of the names that were given or taken.
        """
        self.operations_left = None
        random = self.random
        for named in self._named:
            if random.random() < 0.5:
                _apply(self._files_on_disk, named)
        self._named.clear()
        for file in {id(file): file for file in self._files_on_disk.values()}.values():
            if file.is_lost:
                file.lose()
            changes = file.changes[: random.randint(0, len(file.changes))]
            if changes and random.random() < 0.5:
                size, data = changes.pop()
                changes.append(_Written(size, data[: random.randint(0, len(data))]))
            file.lose(changes)
        self._files = dict(self._files_on_disk)

    def lose(self, name: str) -> None:
        """A file is gone, if there was one, on the disk too."""
        self._files.pop(name, None)
        self._files_on_disk.pop(name, None)
        self._named = [named for named in self._named if named.name != name]

    def flip_bit(self, name: str, bit: int) -> None:
        """One bit of a file is not what it was, on the disk too."""
        file = self._file(name)
        content = bytearray(file.content)
        content[bit // 8] ^= 1 << bit % 8
        file.write(0, bytes(content))
        file.sync()

    # How it is done.

    def _file(self, name: str) -> _File:
        if name not in self._files:
            raise StorageError(f"{name}: it does not exist")
        return self._files[name]

    def _begin(self, name: str) -> None:
        if self._is_cut_short():
            raise CutShort
        self._check_writable(name)

    def _is_cut_short(self) -> bool:
        """Whether this operation is the last one, and not carried out to its end."""
        if self.operations_left is not None:
            if self.operations_left <= 0:
                return True
            self.operations_left -= 1
        self.operations += 1
        return False

    def _check_writable(self, name: str) -> None:
        if self.is_read_only:
            raise StorageError(f"{name}: {READ_ONLY}")

    def _name(self, named: _Named) -> None:
        _apply(self._files, named)
        self._named.append(named)

    def _sync_names(self) -> None:
        self._files_on_disk = dict(self._files)
        self._named.clear()


def _apply(files: dict[str, _File], named: _Named) -> None:
    if named.old_name is not None and files.get(named.old_name) is not named.file:
        return  # it never came to have that name
    if named.old_name is not None:
        del files[named.old_name]
    if named.file is None:
        files.pop(named.name, None)
    else:
        files[named.name] = named.file
