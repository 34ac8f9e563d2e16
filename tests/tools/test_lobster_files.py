from pathlib import Path

import pytest

from feed.messages import Side
from tools.console import UsageError
from tools.replay.files import LobsterFiles
from tools.replay.lobster import OpeningLevel, OrderFlow

FIRST = "34200.1,1,7,100,1000000,1\n"
OPENING = "1000100,5,1000000,130\n"


@pytest.fixture
def files(tmp_path: Path) -> LobsterFiles:
    files = LobsterFiles(tmp_path / "messages.csv", tmp_path / "opening.csv")
    files.messages.write_text(FIRST + "34200.2,3,7,100,1000000,1\n")
    files.opening.write_text(OPENING)
    return files


def test_sound_files_are_counted_and_give_the_book_before_them(files: LobsterFiles) -> None:
    assert files.check() == 2
    assert files.levels() == (
        OpeningLevel(Side.SELL, 1_000_100, 5),
        OpeningLevel(Side.BUY, 1_000_000, 30),
    )
    assert [step.event.line for step in files.steps(OrderFlow())] == [1, 2]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"messages\.csv: holds no event"),
        (b"\n\n", r"messages\.csv: holds no event"),
        (FIRST.encode() + b"\xff\n", r"messages\.csv: not text"),
        (FIRST.encode() + b"34200.2,9,7,1,1,1\n", r"messages\.csv, line 2: type 9 is not known"),
        (FIRST.encode() * 2, r"messages\.csv, line 2: order 7 has entered before"),
        (b"34200.1,1,7,131,1000000,1\n", r"opening\.csv, line 1: the opening book holds 130"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(
    files: LobsterFiles, content: bytes, complaint: str
) -> None:
    files.messages.write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        files.check()


def test_an_opening_book_that_is_none_is_told(files: LobsterFiles) -> None:
    files.opening.write_text(FIRST)
    with pytest.raises(UsageError, match=r"opening\.csv, line 1: an opening book has"):
        files.check()


@pytest.mark.parametrize("name", ["messages", "opening"])
def test_a_file_that_is_not_there_is_told(files: LobsterFiles, name: str) -> None:
    getattr(files, name).unlink()
    with pytest.raises(UsageError, match=rf"{name}\.csv: No such file"):
        files.check()
