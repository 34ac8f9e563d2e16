"""The snapshots that a holder keeps: which there are, which is the newest sound one, which go."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from feed.snapshot import CHUNK_BYTES, SnapshotError, SnapshotReader
from feed.storage import Storage, StorageError

_SUFFIX = ".snapshot"
_OPENS = "open"
_SEQUENCE_DIGITS = 20
_DAY_DIGITS = 8


class StoredSnapshot(NamedTuple):
    """A snapshot as its file's name tells of it."""

    name: str
    sequence: int  # how much of the list it stands for
    day: int  # the one in force there, as YYYYMMDD; 0 before the first
    opens_day: bool  # whether `sequence` is the end of the NEW_DAY group that opened that day
    size_bytes: int


class SnapshotFinding(NamedTuple):
    """A file that is no sound snapshot."""

    name: str
    text: str


class SnapshotFolder:
    """A folder of snapshots, each a file that is there whole or not at all.

    What has been read and found sound, or was written here, is not read again to make sure: the
    bytes are checked each time that they are used. One thread may write, and remove, while another
    reads.
    """

    __slots__ = ("_damaged", "_sound", "_storage", "findings")

    def __init__(self, storage: Storage) -> None:
        self.findings: list[SnapshotFinding] = []
        self._storage = storage
        self._sound: set[str] = set()
        self._damaged: set[str] = set()

    @property
    def stored(self) -> list[StoredSnapshot]:
        """All of them, the oldest first, the damaged ones too."""
        found = (self._look_at(name) for name in self._storage.names())
        return sorted((each for each in found if each is not None), key=lambda each: each.sequence)

    def write(
        self, sequence: int, day: int, chunks: Iterable[bytes], *, opens_day: bool = False
    ) -> StoredSnapshot:
        """Keep the snapshot of the list up to `sequence`.

        Raises SnapshotError when the bytes are not that, and StorageError; then nothing is kept.
        """
        name = _name(sequence, day, opens_day=opens_day)
        self._storage.replace(name, _checked(chunks, sequence))
        self._damaged.discard(name)
        self._sound.add(name)
        return StoredSnapshot(name, sequence, day, opens_day, self._storage.size(name))

    def newest(self, at_most: int | None = None, *, unread: bool = False) -> StoredSnapshot | None:
        """The newest sound one, of no more than the first `at_most` frames of the list.

        A damaged one is passed over, and reported in `findings`, once. With `unread` one is taken
        for sound that nothing is known against: then it is whoever reads its `chunks` that may find
        it damaged, and no time is spent here.
        """
        for stored in reversed(self.stored):
            is_wanted = at_most is None or stored.sequence <= at_most
            if is_wanted and self._is_sound(stored, unread=unread):
                return stored
        return None

    def opening(self, day: int, *, unread: bool = False) -> StoredSnapshot | None:
        """The sound one that opened a day, if there is one; `unread` is as for `newest`."""
        for stored in self.stored:
            is_wanted = stored.opens_day and stored.day == day
            if is_wanted and self._is_sound(stored, unread=unread):
                return stored
        return None

    def chunks(self, stored: StoredSnapshot) -> Iterator[bytes]:
        """Its bytes, piece by piece, each checked before it is given out.

        Raises SnapshotError when the file is damaged, and StorageError when it can't be read or has
        been removed; both are reported in `findings`, but not that it was removed.
        """
        try:
            yield from _checked(self._read(stored), stored.sequence)
        except (SnapshotError, StorageError) as error:
            if stored.name in self._storage.names():
                self._report(stored, str(error))
            raise

    def keep(self, count: int, day: int) -> None:
        """Remove all but the newest `count`, and the one that opened the current day.

        Those that are known to be damaged don't count, and go.
        """
        every = self.stored
        sound = [stored for stored in every if stored.name not in self._damaged]
        kept = {stored.name for stored in sound[-count:]}
        kept |= {stored.name for stored in sound if stored.opens_day and stored.day == day}
        for stored in every:
            if stored.name not in kept:
                self._storage.remove(stored.name)
                self._sound.discard(stored.name)
                self._damaged.discard(stored.name)

    def _is_sound(self, stored: StoredSnapshot, *, unread: bool) -> bool:
        name = stored.name
        if unread or name in self._sound or name in self._damaged:
            return name not in self._damaged
        try:
            for _ in self.chunks(stored):
                pass
        except (SnapshotError, StorageError):
            return False  # it has been reported
        self._sound.add(name)
        return True

    def _look_at(self, name: str) -> StoredSnapshot | None:
        """What a file is; None when it is no snapshot's, or has just been removed."""
        parsed = _parse(name)
        if parsed is None:
            return None
        try:
            return parsed._replace(size_bytes=self._storage.size(name))
        except StorageError:
            if name in self._storage.names():
                raise
            return None

    def _read(self, stored: StoredSnapshot) -> Iterator[bytes]:
        offset = 0
        while chunk := self._storage.read(stored.name, offset, CHUNK_BYTES):
            yield chunk
            offset += len(chunk)

    def _report(self, stored: StoredSnapshot, text: str) -> None:
        self._sound.discard(stored.name)
        if stored.name not in self._damaged:
            self._damaged.add(stored.name)
            self.findings.append(SnapshotFinding(stored.name, text))


def _checked(chunks: Iterable[bytes], sequence: int) -> Iterator[bytes]:
    """The same chunks; raises SnapshotError instead of passing on what is not the snapshot."""
    reader = SnapshotReader()
    for chunk in chunks:
        reader.take(chunk)
        if reader.head is not None and reader.head.sequence != sequence:
            raise SnapshotError(f"the snapshot is one of {reader.head.sequence}, not {sequence}")
        yield chunk
    reader.finish()


def _name(sequence: int, day: int, *, opens_day: bool) -> str:
    parts = [f"{sequence:0{_SEQUENCE_DIGITS}d}", f"{day:0{_DAY_DIGITS}d}"]
    return "-".join([*parts, _OPENS] if opens_day else parts) + _SUFFIX


def _parse(name: str) -> StoredSnapshot | None:
    """What a file's name says, its size aside; None when it is none of a snapshot's."""
    sequence, _, rest = name.removesuffix(_SUFFIX).partition("-")
    day, _, opens = rest.partition("-")
    if not (sequence.isdecimal() and day.isdecimal()):
        return None
    stored = StoredSnapshot(name, int(sequence), int(day), opens == _OPENS, 0)
    expected = _name(stored.sequence, stored.day, opens_day=stored.opens_day)
    return stored if name == expected else None
