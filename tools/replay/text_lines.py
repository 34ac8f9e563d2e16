"""A file's lines as text, with their numbers, in bounded memory whatever the file holds."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

LINE_LIMIT_BYTES = 4096  # an order takes a hundred
GIVEN_UP_BYTES = 1 << 20  # a "line" that goes on for so long shows that the file holds no lines
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_COMMENT = "#"


class Line(NamedTuple):
    """One line that says something: neither blank nor a comment."""

    number: int
    text: str  # without its end


class Complaint(NamedTuple):
    """What is wrong with a line."""

    line: int
    text: str


class ByteLines(Protocol):
    """What is read from: a binary file, or something like it."""

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, or so much of it; nothing at the end."""
        ...


def read_lines(file: ByteLines) -> Iterator[Line | Complaint]:
    """The lines, without blank ones and comments; a complaint for each that is not text.

    After a complaint that holds for the whole file nothing follows.
    """
    number = 0
    while data := file.readline(LINE_LIMIT_BYTES + 1):
        number += 1
        if number == 1:
            if data.startswith(_UTF16_MARKS):
                yield Complaint(number, "the file is UTF-16; save it as UTF-8")
                return
            data = data.removeprefix(_UTF8_MARK)
        if len(data) > LINE_LIMIT_BYTES and not data.endswith(b"\n"):
            if not _pass_over(file):
                yield Complaint(number, "goes on without an end; this is no file of lines")
                return
            yield Complaint(number, f"longer than {LINE_LIMIT_BYTES:,} bytes; no order needs that")
            continue
        line = _read(number, data)
        if isinstance(line, Complaint) or (line.text and not line.text.startswith(_COMMENT)):
            yield line


def _pass_over(file: ByteLines) -> bool:
    """Read to the end of an over-long line; False when that is too far away."""
    for _ in range(GIVEN_UP_BYTES // LINE_LIMIT_BYTES):
        data = file.readline(LINE_LIMIT_BYTES)
        if not data or data.endswith(b"\n"):
            return True
    return False


def _read(number: int, data: bytes) -> Line | Complaint:
    try:
        text = data.decode().strip(" \t\r\n")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        return Complaint(
            number, f"byte {error.start + 1} (0x{byte:02x}) is not UTF-8; save the file as UTF-8"
        )
    if not text.isprintable():
        for place, character in enumerate(text, start=1):
            if ord(character) < ord(" ") and character != "\t":
                name = "a NUL byte" if character == "\0" else f"control character {character!r}"
                return Complaint(number, f"{name} at character {place}; remove it")
    return Line(number, text)
