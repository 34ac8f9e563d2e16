"""Marks of the commit: the newest intact one is found, and none is ever ahead of the list."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.commit_marks import EVERY_FRAMES, LIMIT_BYTES, NAME, CommitMarks
from feed.storage import DiskStorage, StorageError

MARK_BYTES = 12


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DiskStorage]:
    made = DiskStorage(tmp_path)
    yield made
    made.close()


def test_without_any_mark_nothing_is_known_to_be_committed(storage: DiskStorage) -> None:
    assert CommitMarks(storage).read() == 0


def test_the_newest_mark_is_found_and_few_are_made(storage: DiskStorage) -> None:
    marks = CommitMarks(storage)
    for sequence in range(10_000):
        marks.note(sequence)
    found = CommitMarks(storage).read()
    assert 10_000 - EVERY_FRAMES <= found < 10_000
    assert storage.size(NAME) <= (10_000 // EVERY_FRAMES + 1) * MARK_BYTES


def test_the_file_begins_anew_when_it_is_long(storage: DiskStorage) -> None:
    marks = CommitMarks(storage)
    count = LIMIT_BYTES // MARK_BYTES + 10
    for number in range(count):
        marks.note(number * EVERY_FRAMES)
    assert storage.size(NAME) <= LIMIT_BYTES + MARK_BYTES
    assert CommitMarks(storage).read() == (count - 1) * EVERY_FRAMES


@given(st.integers(0, 3 * MARK_BYTES - 1), st.integers(1, 255))
def test_a_damaged_mark_is_passed_over(at: int, change: int) -> None:
    data = bytearray()

    class Memory:
        def names(self) -> list[str]:
            return [NAME]

        def append(self, name: str, more: bytes) -> None:
            data.extend(more)

        def read(self, name: str, offset: int, size: int) -> bytes:
            return bytes(data[offset : offset + size])

    marks = CommitMarks(Memory())  # type: ignore[arg-type]
    sequences = [5_000, 10_000, 15_000]
    for sequence in sequences:
        marks.note(sequence)
    data[at] ^= change
    del sequences[at // MARK_BYTES]
    assert CommitMarks(Memory()).read() == max(sequences)  # type: ignore[arg-type]


def test_a_mark_that_was_cut_off_spoils_none_that_come_later(storage: DiskStorage) -> None:
    marks = CommitMarks(storage)
    marks.note(5_000)
    storage.append(NAME, b"torn")
    later = CommitMarks(storage)
    assert later.read() == 5_000
    later.note(10_000)
    assert CommitMarks(storage).read() == 10_000


def test_a_full_disk_is_no_harm(storage: DiskStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = CommitMarks(storage)
    marks.note(5_000)

    def full(*_: object) -> None:
        raise StorageError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(DiskStorage, "append", full)
        marks.note(10_000)
    assert CommitMarks(storage).read() == 5_000
    marks.note(15_000)
    assert CommitMarks(storage).read() == 15_000
