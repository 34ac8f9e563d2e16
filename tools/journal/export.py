"""Frames as files that other programs read: CSV, JSON lines, or the frames' own bytes.

Every field of every frame is there. Prices stand twice: as the list has them, in 1/10,000, and as
decimal numbers in "..._decimal". Codes are their names; a code that nobody knows stays a number.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, BinaryIO, NamedTuple

from feed import schema
from feed.codec import MESSAGE_TYPES, Frame
from feed.messages import unpad
from feed.run import SNAPSHOT_TYPES, Run, type_bit
from feed.schema import FrameType
from tools.prices import format_price
from tools.printing import frame_object

_SECOND_NS = 1_000_000_000
_PRICES = ("price", "stop_price", "tick_size")
_CLIENT_FIELDS = ("client", "maker_client", "taker_client")
_LIST_TYPES = [each for each in MESSAGE_TYPES if not type_bit(each) & SNAPSHOT_TYPES]
LIST_TYPE_NAMES = tuple(each.name for each in _LIST_TYPES)


class ExportFormat(StrEnum):
    """What an export looks like."""

    CSV = "csv"
    JSONL = "jsonl"
    FRAMES = "frames"


class Selection(NamedTuple):
    """Which frames are wanted; what is empty or None makes no difference."""

    first: int
    last: int
    types: frozenset[FrameType] = frozenset()
    client: int | None = None
    symbol: str | None = None  # of those frames that name one

    def of(self, run: Run) -> Iterator[Frame]:
        """The wanted frames of a run."""
        part = run.part(self.first, self.last)
        if self.types and not any(part.has(each) for each in self.types):
            return
        is_any = self.client is None and self.symbol is None
        for frame in part:
            if (not self.types or frame.type in self.types) and (is_any or self._is_of(frame)):
                yield frame

    def _is_of(self, frame: Frame) -> bool:
        fields = frame.message()._asdict()
        if self.client is not None and all(
            fields.get(name) != self.client for name in _CLIENT_FIELDS
        ):
            return False
        return self.symbol is None or unpad(fields.get("symbol", b"")) == self.symbol


def exported(frame: Frame) -> dict[str, Any]:
    """A frame with all that there is in it, by name."""
    found = frame_object(frame)
    head = {
        "sequence": found.pop("sequence"),
        "time_ns": found.pop("time_ns"),
        "time": moment(frame.time_ns),
        "type": found.pop("type"),
        "command": frame.is_command,
        "end": found.pop("end"),
    }
    for name, value in found.items():
        head[name] = value
        if name in _PRICES:
            head[f"{name}_decimal"] = format_price(value)
    return head


def columns() -> list[str]:
    """The heading of a CSV file: each field that any frame of a list has."""
    names = ["sequence", "time_ns", "time", "type", "command", "end"]
    for frame_type in _LIST_TYPES:
        for name in schema.field_names(schema.BODIES[frame_type]):
            if name not in names:
                names += [name, f"{name}_decimal"] if name in _PRICES else [name]
    return names


def export(
    runs: Iterable[Run], selection: Selection, export_format: ExportFormat, file: BinaryIO
) -> int:
    """Write the wanted frames; how many there were."""
    begin = _WRITERS[export_format]
    write = begin(file)
    count = 0
    for run in runs:
        for frame in selection.of(run):
            write(frame)
            count += 1
    return count


def moment(time_ns: int) -> str:
    """A time in words: UTC, to the nanosecond; "" for one beyond the calendar."""
    seconds, nanoseconds = divmod(time_ns, _SECOND_NS)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"
    except (ValueError, OverflowError, OSError):
        return ""


class _Lines:
    """Takes text as `csv` writes it, and passes it on as bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def _csv(file: BinaryIO) -> Callable[[Frame], None]:
    writer = csv.DictWriter(_Lines(file), columns(), restval="", lineterminator="\n")
    writer.writeheader()

    def write(frame: Frame) -> None:
        fields = exported(frame)
        fields["command"], fields["end"] = int(fields["command"]), int(fields["end"])
        writer.writerow(fields)

    return write


def _json_lines(file: BinaryIO) -> Callable[[Frame], None]:
    return lambda frame: _write(file, json.dumps(exported(frame)).encode() + b"\n")


def _frames(file: BinaryIO) -> Callable[[Frame], None]:
    return lambda frame: _write(file, frame.data)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


_WRITERS = {
    ExportFormat.CSV: _csv,
    ExportFormat.JSONL: _json_lines,
    ExportFormat.FRAMES: _frames,
}
