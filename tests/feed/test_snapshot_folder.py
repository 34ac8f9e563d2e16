"""The snapshots that a holder keeps, on a disk: which is the newest sound one, and which go."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feed.snapshot import SnapshotError
from feed.snapshot_folder import SnapshotFolder, StoredSnapshot
from feed.storage import DiskStorage, StorageError
from tests.feed.lists import frames_up_to
from tests.feed.replays import pieces, snapshot_of

LIST = frames_up_to(60)
DAY, NEXT_DAY = 20260102, 20260105


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DiskStorage]:
    opened = DiskStorage(tmp_path)
    yield opened
    opened.close()


def filled(storage: DiskStorage, *sequences: int) -> SnapshotFolder:
    folder = SnapshotFolder(storage)
    for sequence in sequences:
        folder.write(sequence, DAY, pieces(snapshot_of(LIST, sequence), 100))
    return folder


def damage(storage: DiskStorage, stored: StoredSnapshot, at: int) -> None:
    data = bytearray(storage.read(stored.name, 0, stored.size_bytes))
    data[at] ^= 1
    storage.replace(stored.name, [bytes(data)])


def cut_off(storage: DiskStorage, stored: StoredSnapshot) -> None:
    storage.truncate(stored.name, stored.size_bytes - 1)


def forget(storage: DiskStorage, stored: StoredSnapshot) -> None:
    storage.replace(stored.name, [])


def swap(storage: DiskStorage, stored: StoredSnapshot) -> None:
    storage.replace(stored.name, [snapshot_of(LIST, 7)])  # sound, and not what its name says


def test_what_is_written_is_there_after_a_restart(storage: DiskStorage) -> None:
    folder = filled(storage, 20, 5)
    opened = folder.write(30, NEXT_DAY, [snapshot_of(LIST, 30)], opens_day=True)
    for again in (folder, SnapshotFolder(storage)):
        assert [each.sequence for each in again.stored] == [5, 20, 30]
        assert again.stored[-1] == again.newest() == again.opening(NEXT_DAY) == opened
        assert b"".join(again.chunks(opened)) == snapshot_of(LIST, 30)
        assert again.opening(DAY) is None
        assert again.findings == []
    assert storage.names() == [
        "00000000000000000005-20260102.snapshot",
        "00000000000000000020-20260102.snapshot",
        "00000000000000000030-20260105-open.snapshot",
    ]
    assert opened == StoredSnapshot(
        storage.names()[-1], 30, NEXT_DAY, True, len(snapshot_of(LIST, 30))
    )


def test_the_newest_is_the_last_of_no_more_than_was_asked_for(storage: DiskStorage) -> None:
    folder = filled(storage, 5, 20, 30)
    found = [folder.newest(at_most) for at_most in (4, 5, 29, 30, None)]
    assert [each and each.sequence for each in found] == [None, 5, 20, 30, 30]
    assert SnapshotFolder(storage).newest(0) is None


@pytest.mark.parametrize("harm", [lambda s, e: damage(s, e, 40), cut_off, forget, swap])
def test_a_damaged_one_is_passed_over_and_reported_once(
    storage: DiskStorage, harm: Callable[[DiskStorage, StoredSnapshot], None]
) -> None:
    filled(storage, 5, 20)
    folder = SnapshotFolder(storage)
    bad = folder.stored[-1]
    harm(storage, bad)
    for _ in range(3):
        newest = folder.newest()
        assert newest is not None
        assert newest.sequence == 5
    (finding,) = folder.findings
    assert finding.name == bad.name
    assert finding.text


def test_damage_that_comes_later_is_noticed_when_the_snapshot_is_read(
    storage: DiskStorage,
) -> None:
    folder = filled(storage, 5, 20)
    newest = folder.newest()
    assert newest is not None
    damage(storage, newest, newest.size_bytes - 10)
    assert folder.newest() == newest  # it is not read each time
    with pytest.raises(SnapshotError):
        list(folder.chunks(newest))
    assert folder.newest() == folder.stored[0]
    assert [finding.name for finding in folder.findings] == [newest.name]
    again = folder.write(20, DAY, [snapshot_of(LIST, 20)])
    assert folder.newest() == again


def test_one_that_is_taken_unread_is_found_damaged_by_who_reads_it(storage: DiskStorage) -> None:
    filled(storage, 5, 20)
    folder = SnapshotFolder(storage)
    bad = folder.stored[-1]
    cut_off(storage, bad)
    bad = folder.stored[-1]
    assert folder.newest(unread=True) == bad
    with pytest.raises(SnapshotError):
        list(folder.chunks(bad))
    assert folder.newest(unread=True) == folder.stored[0]
    assert [finding.name for finding in folder.findings] == [bad.name]
    assert folder.newest(4, unread=True) is None
    assert folder.opening(DAY, unread=True) is None


def test_one_that_is_removed_while_it_is_read_is_not_called_damaged(storage: DiskStorage) -> None:
    folder = filled(storage, 5, 20)
    reading = folder.chunks(folder.stored[0])
    folder.keep(1, NEXT_DAY)
    with pytest.raises(StorageError):
        list(reading)
    assert folder.findings == []
    assert [each.sequence for each in folder.stored] == [20]


def test_one_that_is_removed_while_all_are_looked_at_is_left_out(storage: DiskStorage) -> None:
    class Fickle(DiskStorage):
        def size(self, name: str) -> int:
            if name.startswith("00000000000000000005") and name in self.names():
                self.remove(name)
            return super().size(name)

    filled(storage, 5, 20)
    folder = storage.folder
    storage.close()
    fickle = Fickle(folder)
    assert [each.sequence for each in SnapshotFolder(fickle).stored] == [20]
    fickle.close()


@pytest.mark.parametrize(
    "chunks",
    [[], [snapshot_of(LIST, 6)], [snapshot_of(LIST, 5)[:-1]], [snapshot_of(LIST, 5), b"more"]],
)
def test_what_is_no_such_snapshot_is_not_written(storage: DiskStorage, chunks: list[bytes]) -> None:
    folder = SnapshotFolder(storage)
    with pytest.raises(SnapshotError):
        folder.write(5, DAY, chunks)
    assert folder.stored == []
    assert storage.names() == []


def test_the_newest_stay_and_the_one_that_opened_the_day(storage: DiskStorage) -> None:
    folder = SnapshotFolder(storage)
    for sequence, day, opens in (
        *((5, DAY, True), (10, DAY, False), (15, NEXT_DAY, True)),
        *((20, NEXT_DAY, False), (25, NEXT_DAY, False), (30, NEXT_DAY, False)),
    ):
        folder.write(sequence, day, [snapshot_of(LIST, sequence)], opens_day=opens)
    folder.keep(2, NEXT_DAY)
    assert [each.sequence for each in folder.stored] == [15, 25, 30]
    folder.keep(1, NEXT_DAY)
    assert [each.sequence for each in folder.stored] == [15, 30]


def test_a_damaged_one_does_not_count_among_those_that_stay(storage: DiskStorage) -> None:
    filled(storage, 5, 10, 15)
    folder = SnapshotFolder(storage)
    cut_off(storage, folder.stored[-1])
    assert folder.newest() == folder.stored[1]
    folder.keep(1, DAY)
    assert [each.sequence for each in folder.stored] == [10]


def test_other_files_are_left_alone(storage: DiskStorage) -> None:
    folder = filled(storage, 5)
    others = ["00000000000000000005.frames", "5-1.snapshot", "notes", "x-y.snapshot"]
    for name in others:
        storage.append(name, b"?")
    assert [each.sequence for each in folder.stored] == [5]
    folder.keep(1, DAY)
    assert set(others) < set(storage.names())
