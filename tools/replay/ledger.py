"""What became of each line of a file of orders, in a temporary file: a file may have millions."""

import os
import struct
import tempfile
from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """Where a line stands."""

    NOT_REACHED = 0
    UNANSWERED = 1
    OPEN = 2
    EXECUTED = 3
    CANCELED = 4
    EXPIRED = 5
    REPLACED = 6  # another line gave the order other terms
    REJECTED = 7
    DONE = 8  # a cancel or mass cancel that took effect
    WITHOUT_EFFECT = 9  # a cancel that found nothing left to do

    @property
    def text(self) -> str:
        """The word for people and reports."""
        return self.name.lower().replace("_", " ")


class Entry(NamedTuple):
    """What is known of one line. What an order did under other terms stands at their line."""

    status: Status = Status.NOT_REACHED
    reason: int = 0  # a reject's or a cancel's code; for a mass cancel, how many orders it canceled
    line: int = 0  # its number
    user_ref_num: int = 0
    # Of the line that entered an order: the ordinal of the line whose terms it has now; of one that
    # replaces it, the ordinal of the line that entered it.
    order: int = 0
    replaced_by: int = 0  # the number of that line
    quantity: int = 0  # that was asked for; of a replace, with what had been executed before
    price: int = 0
    time_in_force: int = 0
    symbol: bytes = b""
    order_number: int = 0
    open: int = 0
    executed: int = 0
    value: int = 0  # of what was executed: the sum of quantity times price
    canceled: int = 0


_RECORD = struct.Struct("<BIIIIIIIB8sQIIQQ")


class Ledger:
    """Entries by the ordinals of their lines."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` does
        self._descriptor = self._file.fileno()

    def close(self) -> None:
        """Remove it all."""
        self._file.close()

    def read(self, ordinal: int) -> Entry:
        """The entry of a line; of one that has none yet, that it has not been reached."""
        data = os.pread(self._descriptor, _RECORD.size, ordinal * _RECORD.size)
        if len(data) < _RECORD.size:
            return Entry()
        status, *rest = _RECORD.unpack(data)
        return Entry(Status(status), *rest)

    def write(self, ordinal: int, entry: Entry) -> None:
        """Keep the entry of a line."""
        os.pwrite(self._descriptor, _RECORD.pack(*entry), ordinal * _RECORD.size)
