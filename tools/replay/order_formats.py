"""The two ways in which a file of orders is written: CSV and JSON lines.

Both come to the same: for each line its fields by name, as text, without empty ones.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import PurePath
from typing import NamedTuple, NoReturn, TypeAlias

from tools.replay.order_lines import ACTION, FIELDS, complain_of_field, field_name, shown
from tools.replay.text_lines import Complaint, Line

_SEPARATORS = (";", "\t", "|")  # that programs put in the comma's place
_LOBSTER_COLUMNS = (6, 7)


class OrderFormat(StrEnum):
    """How a file of orders, or a report, is written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


_SUFFIXES = {
    ".csv": OrderFormat.CSV,
    ".jsonl": OrderFormat.JSON_LINES,
    ".ndjson": OrderFormat.JSON_LINES,
}


class Fields(NamedTuple):
    """The fields of one line."""

    line: int
    values: dict[str, str]


Lines: TypeAlias = Iterable[Line | Complaint]


def format_of(path: PurePath) -> OrderFormat | None:
    """The format that a file's suffix tells; None for any other suffix."""
    return _SUFFIXES.get(path.suffix.lower())


def read_fields(format: OrderFormat, lines: Lines) -> Iterator[Fields | Complaint]:
    """The fields of each line; complaints are passed on."""
    return read_csv(lines) if format is OrderFormat.CSV else read_json_lines(lines)


def read_csv(lines: Lines) -> Iterator[Fields | Complaint]:
    """The fields of each line after the first, which names the columns.

    A field may stand in quotes, but goes to the end of its line at most. After complaints about
    the header nothing follows.
    """
    names: list[str] | None = None
    for line in lines:
        if isinstance(line, Complaint):
            yield line
            if names is None:
                return
            continue
        try:
            (values,) = csv.reader([line.text], strict=True)
        except csv.Error:
            yield Complaint(line.number, "its quotes don't match; a field ends on its line")
            values = []
        if names is None:
            names = [field_name(value) for value in values]
            complaints = list(_header_complaints(line.number, values, names)) if values else []
            yield from complaints
            if complaints or not values:
                return
        elif values and len(values) != len(names):
            yield Complaint(
                line.number, f"{len(values)} fields, but the header names {len(names)} columns"
            )
        elif values:
            named = zip(names, map(str.strip, values), strict=True)
            fields = {name: value for name, value in named if value}
            if fields:  # spreadsheets write rows of commas for empty ones
                yield Fields(line.number, fields)


def _header_complaints(line: int, values: list[str], names: list[str]) -> Iterator[Complaint]:
    if not set(names) & set(FIELDS):
        yield Complaint(line, _no_header(values))
        return
    for index, name in enumerate(names):
        if name not in FIELDS:
            yield Complaint(line, f"column {complain_of_field(values[index])}")
        elif name in names[:index]:
            yield Complaint(line, f"column {name} stands twice; remove one")
    if ACTION not in names:
        yield Complaint(line, f"column {ACTION} is missing: it says what each line does")


def _no_header(values: list[str]) -> str:
    text = ",".join(values)
    for separator in _SEPARATORS:
        if {field_name(value) for value in text.split(separator)} & set(FIELDS):
            return f"columns are separated by commas, not by {separator!r}"
    complaint = "not a header; the first line names the columns, as action,symbol,side,quantity"
    if len(values) in _LOBSTER_COLUMNS and all(map(_is_number, values)):
        return f"{complaint}. A LOBSTER file is given with --lobster"
    return complaint


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).lstrip("-").isdigit()


def read_json_lines(lines: Lines) -> Iterator[Fields | Complaint]:
    """The fields of each line, which is a JSON object; numbers are taken as they are written."""
    for line in lines:
        if isinstance(line, Complaint):
            yield line
            continue
        try:
            yield Fields(line.number, _object(line.text))
        except json.JSONDecodeError as error:
            yield Complaint(
                line.number,
                f'not JSON at character {error.pos + 1}: {error.msg}; write {{"action": "enter", '
                "...} on one line",
            )
        except RecursionError:
            yield Complaint(line.number, "nested too deeply; an object holds plain values")
        except _JsonError as error:
            yield Complaint(line.number, str(error))


class _JsonError(Exception):
    """JSON that is no line of orders."""


def _object(text: str) -> dict[str, str]:
    value = json.loads(
        text,
        parse_float=str,  # a price is taken digit by digit, never by way of a float
        parse_int=str,
        parse_constant=_refuse_constant,
        object_pairs_hook=_pairs,
    )
    if not isinstance(value, _Pairs):
        raise _JsonError('not an object; write {"action": "enter", ...}')
    fields: dict[str, str] = {}
    for key, each in value.pairs:
        name = field_name(key)
        if name not in FIELDS:
            raise _JsonError(f"key {complain_of_field(key)}")
        if name in fields:
            raise _JsonError(f"key {name} stands twice; remove one")
        plain = _plain(name, each)
        if plain:
            fields[name] = plain
    return fields


class _Pairs(NamedTuple):
    """An object's keys and values in their order, repeated ones too."""

    pairs: list[tuple[str, object]]


_pairs: Callable[[list[tuple[str, object]]], _Pairs] = _Pairs


def _plain(name: str, value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
    raise _JsonError(f"{name}: write one plain value, not a list or an object")


def _refuse_constant(word: str) -> NoReturn:
    raise _JsonError(f"{shown(word)} is not a number")
