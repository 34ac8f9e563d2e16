"""How far a list was committed, noted often and never forced to the disk.

It is a help, not a promise: who comes back looks again, in a new epoch, only at what comes after
the newest mark that can be read. An older one costs time, and none is ever ahead of the list as it
is stored: so one beyond all frames tells that some have gone.
"""

import contextlib
import struct

from feed.checksum import crc32c
from feed.storage import Storage, StorageError

NAME = "committed"
EVERY_FRAMES = 2048
LIMIT_BYTES = 64 << 10  # then the file begins anew

_SEQUENCE = struct.Struct(">Q")
_CHECKSUM = struct.Struct(">I")
_MARK_BYTES = _SEQUENCE.size + _CHECKSUM.size


class CommitMarks:
    """The marks in one folder."""

    __slots__ = ("_next_sequence", "_size", "_storage")

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._size = 0
        self._next_sequence = 0  # of the frame that is worth a mark

    def read(self) -> int:
        """The newest mark that is intact; 0 without any."""
        data = b""
        with contextlib.suppress(StorageError):
            if NAME in self._storage.names():
                data = self._storage.read(NAME, 0, 2 * LIMIT_BYTES)
        self._size = len(data)
        newest = 0
        for at in range(0, len(data) - _MARK_BYTES + 1, _MARK_BYTES):
            mark = data[at : at + _MARK_BYTES]
            if _CHECKSUM.pack(crc32c(mark[: _SEQUENCE.size])) == mark[_SEQUENCE.size :]:
                newest = max(newest, *_SEQUENCE.unpack_from(mark))
        return newest

    def clear(self) -> None:
        """Forget all marks."""
        self._next_sequence = 0
        if self._size:
            self._size = 1  # the file begins anew
            with contextlib.suppress(StorageError):
                self._storage.truncate(NAME, 0)

    def note(self, committed_sequence: int) -> None:
        """So much is committed; that it can't be written is no harm."""
        if committed_sequence < self._next_sequence:
            return
        self._next_sequence = committed_sequence + EVERY_FRAMES
        mark = _SEQUENCE.pack(committed_sequence)
        try:
            if self._size % _MARK_BYTES or self._size >= LIMIT_BYTES:
                self._storage.truncate(NAME, 0)
                self._size = 0
            self._storage.append(NAME, mark + _CHECKSUM.pack(crc32c(mark)))
            self._size += _MARK_BYTES
        except StorageError:
            self._size = 1  # a part of it may have been written: the file begins anew
