"""A file of orders on the disk: checked as a whole, and then read again line by line.

The file is copied while it is checked, so what is played is what was checked, whatever happens to
the file meanwhile; and it may be a pipe. The copy is a temporary file without a name.
"""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tools.console import UsageError
from tools.replay.order_check import Checker, Contents
from tools.replay.order_formats import Fields, OrderFormat, read_fields
from tools.replay.order_ids import OrderIds
from tools.replay.order_lines import Cancel, OrderLine, Replace, parse_action
from tools.replay.text_lines import read_lines

STANDARD_INPUT = Path("-")
COMPLAINTS_TOLD = 20  # more than anybody corrects before trying again


class OrderFile:
    """A file of orders; a context manager. Lines without a client are `client`'s."""

    def __init__(self, path: Path, format: OrderFormat, client: str | None) -> None:
        self.name = "standard input" if path == STANDARD_INPUT else str(path)
        self._path = path
        self._format = format
        self._client = client
        self._ids = OrderIds()
        self._copy: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - `__exit__` closes it

    def __enter__(self) -> "OrderFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self._ids.close()
        self._copy.close()

    def check(self) -> Contents:
        """Read the whole file; what it holds.

        Raises UsageError, with all complaints about all lines, unless it is sound. When there are
        very many the first are told and the others counted.
        """
        checker = Checker(self._format, self._client, self._ids)
        told: list[str] = []
        count = 0
        try:
            with self._open() as file:
                for complaint in checker.complaints(_Copying(file, self._copy)):
                    count += 1
                    if count <= COMPLAINTS_TOLD:
                        told.append(f"{self.name}, line {complaint.line}: {complaint.text}")
        except OSError as error:
            raise UsageError(
                f"{self.name}: {error.strerror}; give a file that can be read"
            ) from error
        if count > len(told):
            told.append(f"{self.name}: {count - len(told):,} complaints more")
        if told:
            raise UsageError("\n".join(told))
        if not checker.contents.lines:
            raise UsageError(f"{self.name}: holds no order")
        return checker.contents

    def lines(self) -> Iterator[OrderLine]:
        """The lines of a sound file, from the first one on."""
        self._copy.seek(0)
        for ordinal, each in enumerate(read_fields(self._format, read_lines(self._copy))):
            assert isinstance(each, Fields), "a line was sound, and is not any more"
            action = parse_action(each.values)
            if isinstance(action, Replace | Cancel):
                named = self._ids.find(action.id)
                assert named is not None, "an order was known, and is not any more"
                assert named.client is not None, "an order had a client, and has none any more"
                yield OrderLine(ordinal, each.line, named.client, action, named.ordinal)
            else:
                client = action.client or self._client
                assert client is not None
                yield OrderLine(ordinal, each.line, client, action, None)

    @contextlib.contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        if self._path == STANDARD_INPUT:
            yield sys.stdin.buffer
        else:
            with self._path.open("rb") as file:
                yield file


class _Copying:
    """Reads a file, and writes what was read to another one.

    A file on the disk is read as far as it went at first: one that grows might have no end.
    """

    def __init__(self, file: BinaryIO, copy: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        self._left = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._file = file
        self._copy = copy

    def readline(self, limit: int) -> bytes:
        """The next line, or so much of it."""
        if self._left is not None:
            limit = min(limit, self._left)
        data = self._file.readline(limit)
        if self._left is not None:
            self._left -= len(data)
        self._copy.write(data)
        return data
