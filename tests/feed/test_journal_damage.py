"""Damaged journals on real files: what is found, what is saved, and what is said."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feed.codec import encode_frame
from feed.commit_marks import CommitMarks
from feed.journal import Damage, JournalError, Vow
from feed.journal_files import JournalFiles
from feed.messages import MarketState
from feed.segment_reader import DamagedFrames
from feed.segments import HEADER_BYTES
from feed.storage import DiskStorage, StorageError
from tests.feed.disks import ram_folder
from tests.feed.journals import (
    FRAME_BYTES,
    FRAMES,
    bytes_of,
    expected,
    filled,
    opened,
    run,
    sync,
)

LAST = 35  # in segments that begin with 1, 11, 21 and 31; the last one is not sealed


@pytest.fixture
def folder() -> Iterator[Path]:
    """A journal that was not closed."""
    with ram_folder() as place:
        storage = DiskStorage(place)
        journal = filled(opened(storage), LAST)
        journal.note(30, None)
        journal.promise(Vow(1, b""))
        storage.close()
        yield place


def segment(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}.frames"


def index(folder: Path, first: int) -> Path:
    return folder / f"{first:020d}.index"


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def offset_of(sequence: int) -> int:
    return HEADER_BYTES + (sequence - 1) % 10 * FRAME_BYTES


def look(folder: Path, *, boot: str = "second") -> tuple[int, int, bool, list[Damage]]:
    """What an opened journal holds, whether it is doubtful, and what was found; twice the same."""
    storage = DiskStorage(folder)
    journal = opened(storage, boot=boot)
    journal.check()
    first, last = journal.first_sequence, journal.next_sequence - 1
    assert bytes_of(journal, first, last) == expected(first, last)
    seen = first, last, journal.is_doubtful, [finding.what for finding in journal.findings]
    journal.append(run(journal.next_sequence, journal.next_sequence + 20))
    assert sync(journal)
    assert bytes_of(journal, first, last + 21) == expected(first, last + 21)
    storage.close()
    storage = DiskStorage(folder)
    again = opened(storage, boot=boot)
    assert (again.first_sequence, again.next_sequence) == (first, last + 22)
    assert again.is_doubtful is journal.is_doubtful
    storage.close()
    return seen


def verified(folder: Path) -> list[tuple[Damage, int]]:
    """What a reader of every byte finds."""
    storage = DiskStorage(folder, read_only=True)
    found = [(finding.what, finding.sequence) for finding in JournalFiles(storage).verify()]
    storage.close()
    return found


def test_an_undamaged_journal_has_no_findings(folder: Path) -> None:
    assert verified(folder) == []
    assert look(folder) == (1, LAST, False, [])


# Tails.


def test_a_tail_is_cut_off_wherever_the_last_write_ended(folder: Path) -> None:
    whole = segment(folder, 31).read_bytes()
    for size in range(offset_of(LAST) + 1, len(whole)):
        segment(folder, 31).write_bytes(whole[:size])
        storage = DiskStorage(folder)
        journal = opened(storage, boot="second")
        assert (journal.next_sequence, journal.is_doubtful) == (LAST, False)
        assert [finding.what for finding in journal.findings] == [Damage.TORN_TAIL]
        storage.close()
        assert segment(folder, 31).stat().st_size == offset_of(LAST)
    assert look(folder) == (1, LAST - 1, False, [])
    assert not list(folder.glob("*.damaged"))


def test_a_segment_that_was_begun_and_has_no_header_is_removed(folder: Path) -> None:
    whole = segment(folder, 31).read_bytes()[:HEADER_BYTES]
    for size in range(HEADER_BYTES):
        segment(folder, 31).write_bytes(whole[:size])
        storage = DiskStorage(folder)
        journal = opened(storage, boot="second")
        assert (journal.next_sequence, journal.is_doubtful) == (31, False)
        assert [finding.what for finding in journal.findings] == [Damage.TORN_TAIL]
        storage.close()
    assert look(folder) == (1, 30, False, [])


@pytest.mark.parametrize("place", [0, 10, FRAME_BYTES - 1])
def test_zeros_that_a_power_cut_left_are_a_torn_tail(folder: Path, place: int) -> None:
    path = segment(folder, 31)
    size = -(-(offset_of(LAST) + place) // 512) * 512 if place else offset_of(LAST)
    data = path.read_bytes() + b"".join(FRAMES[LAST : LAST + 20])
    path.write_bytes(data[:size] + bytes(2000))
    whole = (size - HEADER_BYTES) // FRAME_BYTES
    assert look(folder) == (1, 30 + whole, False, [Damage.TORN_TAIL])


# Damage.


@pytest.mark.parametrize("place", [0, 2, 3, 5, 12, 20, 40, FRAME_BYTES - 1])
@pytest.mark.parametrize("sequence", [31, 33, LAST])
def test_a_bit_turned_over_in_the_last_segment_is_no_torn_tail(
    folder: Path, sequence: int, place: int
) -> None:
    flip(segment(folder, 31), offset_of(sequence) + place)
    damaged = segment(folder, 31).read_bytes()
    assert verified(folder) == [(Damage.DAMAGED_FRAME, sequence)]
    assert look(folder) == (1, sequence - 1, True, [Damage.DAMAGED_FRAME])
    assert (folder / f"{segment(folder, 31).name}.damaged").read_bytes() == damaged


def test_a_bit_turned_over_in_a_sealed_segment_is_found_when_it_is_read(folder: Path) -> None:
    flip(segment(folder, 11), offset_of(15) + 30)
    storage = DiskStorage(folder)
    journal = opened(storage)
    assert (journal.findings, journal.is_doubtful) == ([], False)
    assert bytes_of(journal, 12, 14) == expected(12, 14)
    for _ in range(2):  # and told once
        assert bytes_of(journal, 12, 22) == expected(12, 14)
        assert bytes_of(journal, 15, 22) == b""
    assert bytes_of(journal, 16, 22) == b""  # what comes before it has to be read through
    assert bytes_of(journal, 21, 30) == expected(21, 30)
    (finding, _) = journal.findings
    name = segment(folder, 11).name
    assert finding[:3] == (name, 15, Damage.DAMAGED_FRAME)
    assert finding.text == (
        f"{name}: frame 15 can't be read at offset {offset_of(15)}: frame checksum does not match"
    )
    storage.close()
    assert verified(folder) == [(Damage.DAMAGED_FRAME, 15)]
    storage = DiskStorage(folder, read_only=True)
    reading = JournalFiles(storage).runs(1, 99)
    assert next(reading).last_sequence == 10
    with pytest.raises(DamagedFrames, match="frame 15 can't be read"):
        list(reading)
    storage.close()


def test_a_frame_of_a_snapshot_is_damage(folder: Path) -> None:
    with segment(folder, 31).open("ab") as file:
        file.write(encode_frame(MarketState(20261123), LAST + 1, 1, end=True))
    assert verified(folder) == [(Damage.DAMAGED_FRAME, LAST + 1)]
    assert look(folder) == (1, LAST, True, [Damage.DAMAGED_FRAME])


def test_frames_out_of_their_place_are_damage(folder: Path) -> None:
    with segment(folder, 31).open("ab") as file:
        file.write(FRAMES[LAST - 1])
    assert look(folder) == (1, LAST, True, [Damage.DAMAGED_FRAME])


def test_a_damaged_header_ends_the_journal_before_it(folder: Path) -> None:
    flip(segment(folder, 31), 20)
    assert verified(folder) == [(Damage.DAMAGED_HEADER, 31)]
    # And with it go frames that were known to be committed.
    assert look(folder) == (1, 30, True, [Damage.DAMAGED_HEADER])
    assert (folder / f"{segment(folder, 31).name}.damaged").exists()


def test_a_damaged_header_of_a_sealed_segment_is_found_by_who_reads_all(folder: Path) -> None:
    flip(segment(folder, 11), 20)
    assert verified(folder) == [(Damage.DAMAGED_HEADER, 11)]
    assert look(folder) == (1, LAST, False, [])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: flip(path, 130),
        lambda path: path.unlink(),
    ],
    ids=["cut off", "empty", "flipped", "missing"],
)
def test_a_damaged_index_is_made_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    intact = index(folder, 21).read_bytes()
    damage(index(folder, 21))
    found = [Damage.DAMAGED_INDEX] if index(folder, 21).exists() else []
    assert [what for what, _ in verified(folder)] == found
    assert look(folder) == (1, LAST, False, found)
    assert index(folder, 21).read_bytes() == intact


def test_a_sealed_segment_that_was_cut_off_is_damaged(folder: Path) -> None:
    path = segment(folder, 21)
    path.write_bytes(path.read_bytes()[:-10])
    found = [Damage.DAMAGED_INDEX, Damage.DAMAGED_FRAME, Damage.MISSING_END]
    assert look(folder) == (1, 29, True, found)
    assert (folder / f"{segment(folder, 31).name}.damaged").exists()


# Files that are gone.


def test_a_missing_segment_hides_what_is_before_it(folder: Path) -> None:
    segment(folder, 11).unlink()
    assert [what for what, _ in verified(folder)] == [Damage.MISSING_SEGMENT]
    storage = DiskStorage(folder, read_only=True)
    files = JournalFiles(storage)
    assert (files.first_sequence, files.last_sequence) == (21, LAST)
    assert [one.first_sequence for one in files.segments] == [1, 21, 31]
    read = b"".join(one.data for one in files.runs(1, 99))
    assert read == expected(1, 10) + expected(21, LAST)
    storage.close()
    assert look(folder) == (21, LAST, True, [Damage.MISSING_SEGMENT])
    assert segment(folder, 1).exists()
    storage = DiskStorage(folder)
    opened(storage).prune(21)
    assert not segment(folder, 1).exists()
    storage.close()


def test_a_missing_last_segment_is_missed_as_far_as_it_was_committed(folder: Path) -> None:
    segment(folder, 31).unlink()
    assert look(folder) == (1, 30, False, [])  # as after a power cut before it was synced
    segment(folder, 31).unlink()
    segment(folder, 21).unlink()
    index(folder, 21).unlink()
    for path in folder.glob("*4*.frames"):
        path.unlink()
    assert look(folder) == (1, 20, True, [Damage.MISSING_END])


@pytest.mark.parametrize("boot", ["first", "second"])
def test_a_missing_last_segment_is_missed_where_a_mark_tells_of_it(boot: str) -> None:
    with ram_folder() as folder:
        storage = DiskStorage(folder)
        journal = filled(opened(storage), LAST)
        journal.append(run(LAST + 1, LAST + 3))
        journal.note(LAST + 3, None)  # known to be committed, and not stored here
        assert CommitMarks(storage).read() == LAST
        storage.close()
        segment(folder, 31).unlink()
        assert look(folder, boot=boot) == (1, 30, True, [Damage.MISSING_END])


def test_a_journal_that_was_closed_misses_every_frame(folder: Path) -> None:
    storage = DiskStorage(folder)
    opened(storage).close()
    storage.close()
    path = segment(folder, 31)
    path.write_bytes(path.read_bytes()[:-1])
    assert look(folder) == (1, LAST - 1, True, [Damage.DAMAGED_FRAME, Damage.MISSING_END])


def test_without_its_state_a_journal_is_doubtful(folder: Path) -> None:
    (folder / "state.json").unlink()
    assert verified(folder) == [(Damage.LOST_STATE, 0)]
    assert look(folder) == (1, LAST, True, [Damage.LOST_STATE])


def test_a_state_that_can_not_be_read_is_not_guessed(folder: Path) -> None:
    intact = (folder / "state.json").read_bytes()
    changed = intact.replace(b'"epoch": 1', b'"epoch": 3')
    for garbage in (b"", b"\0" * 300, b"{}", b"[1]", intact[:-30], changed):
        (folder / "state.json").write_bytes(garbage)
        storage = DiskStorage(folder)
        with pytest.raises(JournalError, match=r"state.json can't be read: it.*Move it away"):
            opened(storage)
        storage.close()
        assert verified(folder) == [(Damage.LOST_STATE, 0)]


# Somebody else's.


def test_a_journal_of_somebody_else_is_not_opened(folder: Path) -> None:
    storage = DiskStorage(folder)
    for other, text in [
        ({"exchange": "other"}, "of exchange test, not of other"),
        ({"shard": 2}, "of shard 1, not of 2"),
        ({"holder": "e2"}, "of holder e1, not of e2"),
    ]:
        with pytest.raises(JournalError, match=f"state.json: this is the journal {text}: give"):
            opened(storage, **other)  # type: ignore[arg-type]
    storage.remove("state.json")
    with pytest.raises(JournalError, match=r"0001.index: of shard 1, not 2"):
        opened(storage, shard=2)
    storage.close()


def test_a_journal_is_opened_by_one_process_at_a_time(folder: Path) -> None:
    storage = DiskStorage(folder)
    with pytest.raises(StorageError, match=f"in use by process {os.getpid()}"):
        DiskStorage(folder)
    storage.close()
