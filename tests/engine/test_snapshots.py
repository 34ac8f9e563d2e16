"""Snapshots of a backup's machine: when they are taken, which are kept, what begins with them."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from engine.backup import Backup
from engine.machine import Machine
from engine.markets import KernelMarket, ReferenceMarket
from engine.snapshots import Restored, Snapshots, restored_machine
from feed.held_list import HeldList
from feed.messages import NewDay
from feed.run import run_of_frames
from feed.snapshot import read_snapshot
from feed.snapshot_folder import SnapshotFolder
from feed.storage import DiskStorage
from tests.engine.shells import replica
from tests.engine.writing import Author, begun, packets

EVERY = 20
DAY = 20261121


class Place:
    """A list, and a replica's snapshots of it on a disk."""

    def __init__(self, folder: Path, *, count: int = 10) -> None:
        self.author = begun(60)
        self.held = HeldList(1 << 20)
        self.held.store(run_of_frames(1, self.author.frames))
        self.folder = SnapshotFolder(DiskStorage(folder))
        self.snapshots = Snapshots(self.folder, every_frames=EVERY, count=count)
        self.backup = self.begun()

    def begun(self, build_machine: Callable[[], Machine] = ReferenceMarket) -> Backup:
        """A backup whose process has just begun."""
        return Backup(build_machine, self.held, self.snapshots)

    def write(self, *commands: NewDay) -> None:
        """The list goes on."""
        first = len(self.author.frames) + 1
        self.held.store(run_of_frames(first, self.author.write(*commands)))

    def follow(self, step: int = 7) -> None:
        """Carry out all of the list, in turns of so many frames."""
        for last in (*range(step, self.held.last_sequence, step), self.held.last_sequence):
            self.backup.apply(last)
        assert self.backup.divergence is None

    def commit(self, sequence: int) -> None:
        """So much of the list is committed by now."""
        self.held.digest_to(sequence)
        write = self.snapshots.take_writing(self.held, sequence)
        if write is not None:
            write()

    @property
    def sequences(self) -> list[int]:
        """What there are snapshots of."""
        return [stored.sequence for stored in self.folder.stored]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def digest_at(author: Author, sequence: int) -> bytes:
    """What the machine of the first frames of a list has for a digest."""
    held = HeldList(1 << 20)
    held.store(run_of_frames(1, author.frames[:sequence]))
    backup = Backup(ReferenceMarket, held)
    backup.apply(sequence)
    assert backup.applied_sequence == sequence
    return backup.machine.digest()


def test_a_snapshot_is_written_once_it_is_committed(place: Place) -> None:
    place.follow()
    place.commit(EVERY - 1)
    assert place.sequences == []
    place.commit(len(place.author.frames))
    first, *rest = place.sequences
    assert EVERY <= first < EVERY + 10
    assert all(EVERY <= later - earlier < EVERY + 10 for earlier, later in pairwise([first, *rest]))
    for stored in place.folder.stored:
        snapshot = read_snapshot(partial(place.folder.chunks, stored))
        assert snapshot.end.state_digest == digest_at(place.author, stored.sequence)
        assert (snapshot.head.epoch, snapshot.head.epoch_sequence) == (1, 1)
        frames = place.author.frames[snapshot.head.digest_sequence : stored.sequence]
        assert snapshot.tail.split() == frames


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    place = Place(tmp_path, count=2)
    place.follow()
    place.commit(len(place.author.frames))
    kept = place.sequences
    assert len(kept) == 2
    assert kept[-1] > len(place.author.frames) - EVERY - 10


@pytest.mark.parametrize(
    "build_machine",
    [ReferenceMarket, *([] if KernelMarket is None else [KernelMarket])],
)
def test_a_machine_begins_with_the_newest_one_and_goes_on_from_there(
    place: Place, build_machine: Callable[[], Machine]
) -> None:
    place.follow()
    place.commit(len(place.author.frames))
    made = place.begun(build_machine)
    assert made.applied_sequence == place.sequences[-1]
    while made.apply(len(place.author.frames)):
        pass
    assert made.applied_sequence == len(place.author.frames)
    assert made.machine.digest() == digest_at(place.author, len(place.author.frames))


def test_a_damaged_one_is_passed_over(place: Place, tmp_path: Path) -> None:
    place.follow()
    place.commit(len(place.author.frames))
    newest = tmp_path / place.folder.stored[-1].name
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    place.folder = SnapshotFolder(DiskStorage(tmp_path, read_only=True))
    place.snapshots = Snapshots(place.folder, every_frames=EVERY, count=9)
    made = place.begun()
    assert made.applied_sequence == place.sequences[-2]
    assert [finding.name for finding in place.folder.findings] == [newest.name]


def test_one_beyond_the_list_that_is_held_is_not_begun_with(place: Place) -> None:
    place.follow()
    place.commit(len(place.author.frames))
    earlier, later = place.sequences[:2]
    place.held = HeldList(1 << 20)
    place.held.store(run_of_frames(1, place.author.frames[: later - 1]))
    assert place.begun().applied_sequence == earlier


def win(place: Place) -> tuple[Author, int]:
    """Another list wins, of which snapshots are written: the one that lost, and where it did."""
    lost, place.author = place.author, Author(place.author.frames[: 2 * EVERY])
    place.author.begin(2, "e3")
    place.author.trade(100, 30)
    place.held = HeldList(1 << 20)
    place.held.store(run_of_frames(1, place.author.frames))
    place.backup = place.begun()
    place.follow()
    place.commit(len(place.author.frames))
    assert 2 * EVERY < place.sequences[-1] < len(lost.frames)
    return lost, 2 * EVERY + 1


def test_one_of_another_list_than_the_tail_that_is_held_is_not_begun_with(place: Place) -> None:
    # As on a disk that became full before the tail that has lost was dropped.
    lost, lost_from = win(place)
    place.held = HeldList(1 << 20)
    place.held.store(run_of_frames(1, lost.frames))
    made = place.begun()
    assert 0 < made.applied_sequence < lost_from
    made.apply(len(lost.frames))
    assert made.divergence is None
    assert made.machine.digest() == digest_at(lost, len(lost.frames))


def test_with_one_of_another_replica_goes_the_tail_that_has_lost_to_it(place: Place) -> None:
    lost, _ = win(place)
    made = replica()
    made.replica.on_datagrams(packets(lost.frames), 0)
    stored = place.folder.stored[-1]
    made.replica.restart(read_snapshot(partial(place.folder.chunks, stored)), 0)
    made.turn()
    assert made.replica.divergence is None
    assert made.replica.holder.list.last_sequence == made.replica.sequence == stored.sequence
    made.hear(packets(place.author.frames, stored.sequence + 1, epoch=2))
    assert made.replica.machine.digest() == place.author.market.digest()


def test_what_loses_is_never_written(place: Place) -> None:
    place.follow()
    place.backup.drop(EVERY)
    assert place.backup.applied_sequence == 0
    place.commit(len(place.author.frames))
    assert place.sequences == []


def test_a_machine_that_went_too_far_begins_anew_with_a_snapshot(place: Place) -> None:
    place.follow()
    place.commit(len(place.author.frames))
    first, second = place.sequences[:2]
    place.backup.drop(second)
    assert place.backup.applied_sequence == first


def test_each_day_begins_with_a_snapshot_that_is_kept(tmp_path: Path) -> None:
    place = Place(tmp_path, count=1)
    place.write(NewDay(DAY))
    opened = len(place.author.frames)
    place.author.trade(100, 60)
    place.held.store(run_of_frames(opened + 1, place.author.frames[opened:]))
    place.follow(step=1000)  # the day begins in the middle of a turn
    place.commit(len(place.author.frames))
    kept = [(stored.sequence, stored.day, stored.opens_day) for stored in place.folder.stored]
    assert kept[0] == (opened, DAY, True)
    assert len(kept) == 2
    assert kept[1][1:] == (DAY, False)
    place.write(NewDay(DAY + 1))
    place.follow()
    place.commit(len(place.author.frames))
    assert [(stored.day, stored.opens_day) for stored in place.folder.stored] == [(DAY + 1, True)]


def test_a_day_that_was_refused_does_not_begin(place: Place) -> None:
    place.write(NewDay(DAY), NewDay(20261131), NewDay(DAY))
    place.follow()
    place.commit(len(place.author.frames))
    assert [(each.day, each.opens_day) for each in place.folder.stored].count((DAY, True)) == 1
    assert {each.day for each in place.folder.stored} == {0, DAY}


def test_a_backup_without_the_frames_goes_on_from_another_replica_s_snapshot(
    place: Place,
) -> None:
    place.follow()
    place.commit(len(place.author.frames))
    stored = place.folder.stored[-1]
    snapshot = read_snapshot(partial(place.folder.chunks, stored))
    block = (snapshot.head.digest_sequence, snapshot.head.list_digest)
    held = HeldList(1 << 20)
    held.store(run_of_frames(1, place.author.frames))
    held.cache.clear(stored.sequence + 1)
    held.store(run_of_frames(stored.sequence + 1, place.author.frames[stored.sequence :]))
    made = Backup(ReferenceMarket, held)
    assert not made.apply(held.last_sequence)
    assert made.lacks_state
    machine = restored_machine(ReferenceMarket, snapshot)
    made.restart(Restored(machine, stored.sequence))
    made.apply(held.last_sequence)
    assert (made.lacks_state, made.applied_sequence) == (False, held.last_sequence)
    assert made.machine.digest() == digest_at(place.author, held.last_sequence)
    assert block == (0, bytes(32))
