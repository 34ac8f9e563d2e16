"""A file of orders is read as it was meant, and every fault of it is told with its line."""

import os
import re
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.order_files import Meant, csv_text, files, json_text, with_times, write
from tools.console import UsageError
from tools.replay import order_check
from tools.replay.order_fields import Moment, TimeKind, parse_moment
from tools.replay.order_file import COMPLAINTS_TOLD, OrderFile
from tools.replay.order_formats import OrderFormat, format_of
from tools.replay.order_lines import Action, Cancel, Enter, OrderLine, Replace, parse_action
from tools.replay.text_lines import GIVEN_UP_BYTES, LINE_LIMIT_BYTES

HEADER = "action,client,id,symbol,side,quantity,price"
GOOD = "enter,ALICE,a,AAPL,buy,100,101.25"


def read(path: Path, client: str | None = None) -> list[OrderLine]:
    form = format_of(path)
    assert form is not None
    with OrderFile(path, form, client) as file:
        contents = file.check()
        lines = list(file.lines())
        assert contents.lines == len(lines)
        return lines


def complaints(folder: Path, data: str | bytes, name: str = "orders.csv") -> list[str]:
    """What is said of a file, without its name."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(UsageError) as raised:
        read(path)
    lines = str(raised.value).split("\n")
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(str(path)).lstrip(",: ") for line in lines]


def actions(lines: list[Meant]) -> list[Action]:
    return [line.action for line in lines]


@settings(max_examples=60)
@given(
    lines=files(),
    seed=st.none() | st.integers(0, 9),
    style=st.sampled_from(["csv", "crlf", "jsonl"]),
)
def test_what_was_written_is_read_back(lines: list[Meant], seed: int | None, style: str) -> None:
    if seed is not None:
        lines = with_times(lines, Random(seed))
    with tempfile.TemporaryDirectory() as folder:
        if style == "jsonl":
            path = write(Path(folder) / "orders.ndjson", json_text(lines))
        elif style == "crlf":
            path = write(Path(folder) / "orders.CSV", csv_text(lines, "\r\n"), "utf-8-sig")
        else:
            path = write(Path(folder) / "orders.csv", csv_text(lines))
        back = read(path)
    assert [line.action for line in back] == actions(lines)
    entered = {}
    for ordinal, line in enumerate(back):
        assert line.ordinal == ordinal
        if isinstance(line.action, Enter):
            entered[line.action.id] = line
            assert (line.client, line.order) == (line.action.client, None)
        elif line.order is not None:
            assert isinstance(line.action, Replace | Cancel)
            named = entered[line.action.id]
            assert (line.client, line.order) == (named.client, named.ordinal)


def test_lines_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    text = f"# mine\n\n{HEADER}\n,,,,,,\n{GOOD}\n  \n#{GOOD}\ncancel,,a,,,,\n"
    assert [line.line for line in read(write(tmp_path / "orders.csv", text))] == [5, 8]


def test_lines_without_a_client_are_the_given_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "o.csv", "action,client,symbol\nmass-cancel,,\nmass-cancel,bob,\n")
    assert [line.client for line in read(path, "ALICE")] == ["ALICE", "BOB"]
    with pytest.raises(UsageError, match=r"line 2: client is missing: .* --client"):
        read(path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (",,,,,,1", "action is missing: write enter, replace, cancel or mass-cancel"),
        ("entr,ALICE,b,AAPL,buy,1,1", "action 'entr': did you mean enter?"),
        ("halt,,,AAPL,,,", "action 'halt': write enter, replace, cancel or mass-cancel"),
        ("enter,TOOLONG,b,AAPL,buy,1,1", "client 'TOOLONG': a client's name has 1 to 6 letters"),
        (f"enter,ALICE,{'x' * 65},AAPL,buy,1,1", "an id has at most 64 printable characters"),
        ("enter,ALICE,b,,buy,1,1", "symbol is missing: name the instrument, as AAPL"),
        ("enter,ALICE,b,NINELONGS,buy,1,1", "symbol 'NINELONGS': a symbol has 1 to 8"),
        ("enter,ALICE,b,AAPL,by,1,1", "side 'by': write buy, sell or short"),
        ("enter,ALICE,b,AAPL,buy,0,1", "quantity '0': write a whole number from 1 to 999,999"),
        ("enter,ALICE,b,AAPL,buy,1000000,1", "quantity '1000000': write a whole number from 1"),
        ("enter,ALICE,b,AAPL,buy,1.0,1", "quantity '1.0': write a whole number from 1"),
        ("enter,ALICE,b,AAPL,buy,1,abc", "price 'abc': write it as 101.25"),
        ("enter,ALICE,b,AAPL,buy,1,1e2", "price '1e2': write it as 101.25"),
        ("enter,ALICE,b,AAPL,buy,1,-5", "price '-5': write it as 101.25"),
        ("enter,ALICE,b,AAPL,buy,1,0", "price '0': write it as 101.25, above 0"),
        ("enter,ALICE,b,AAPL,buy,1,1.00001", "price '1.00001': write it as 101.25, above 0 and "),
        ("enter,ALICE,b,AAPL,buy,1,200000", "price '200000': the highest price is 199,999.99"),
        ("enter,ALICE,a,AAPL,buy,1,1", "id 'a' is that of line 2 already; give each order its own"),
        ("cancel,,b,,,,", "id 'b': no line above enters an order with this id"),
        ("cancel,,,,,,", "id is missing: it names the order, as the line did that entered it"),
        ("cancel,,a,,,5,", "quantity: a line with cancel has none; leave it empty"),
        ("cancel,BOB,a,,,,", "client BOB: order 'a' of line 2 is ALICE's; leave the client empty"),
        ("replace,,a,,,,", "nothing is replaced: give quantity, price or another term"),
        ("cancel,,a", "3 fields, but the header names 7 columns"),
        ('cancel,,"a,,,,', "its quotes don't match; a field ends on its line"),
        ("cancel,,a\0,,,,", "a NUL byte at character 10; remove it"),
        ("cancel,,\x1ba,,,,", "control character '\\x1b' at character 9; remove it"),
        (b"cancel,,\xe9,,,,", "byte 9 (0xe9) is not UTF-8; save the file as UTF-8"),
        ("x" * (LINE_LIMIT_BYTES + 1), "longer than 4,096 bytes; no order needs that"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_what_to_do(
    tmp_path: Path, line: str | bytes, complaint: str
) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    (told,) = complaints(tmp_path, f"{HEADER}\n{GOOD}\n".encode() + data + b"\n" + b"cancel,,a,,,,")
    assert told.startswith("line 3: ")
    assert complaint in told.replace("199999", "199,999")


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (
            "34200.1,1,7,18,5853300,1",
            "line 1: not a header; .* LOBSTER file .* --lobster",
        ),
        ("enter,ALICE,AAPL,buy", "line 1: not a header; the first line names the columns"),
        ("action;symbol;side", "line 1: columns are separated by commas, not by ';'"),
        ("action,pirce", r"line 1: column 'pirce' is not known; did you mean price\?"),
        ("action,price,Price", "line 1: column price stands twice; remove one"),
        ("symbol,price", "line 1: column action is missing: it says what each line does"),
        ("", "holds no order"),
        (HEADER, "holds no order"),
    ],
)
def test_a_bad_header_is_told_and_nothing_after_it(
    tmp_path: Path, header: str, complaint: str
) -> None:
    text = f"{header}\nnonsense\n" if "line" in complaint else header
    (told,) = complaints(tmp_path, text)
    assert re.match(complaint, told), told


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[1]", 'not an object; write {"action": "enter", ...}'),
        ("{'action': 1}", "not JSON at character 2: Expecting property name"),
        ("[" * 4000, "nested too deeply"),
        ('{"actoin": "enter"}', "key 'actoin' is not known; did you mean action?"),
        ('{"action": "cancel", "action": "enter"}', "key action stands twice; remove one"),
        ('{"action": "cancel", "id": [1]}', "id: write one plain value"),
        ('{"action": "cancel", "id": NaN}', "'NaN' is not a number"),
        ('{"action": "cancel", "id": "\\ud800"}', "id '\\ud800': an id has at most"),
        ('{"action": "mass-cancel", "client": "A", "price": 1e400}', "price: a line with mass"),
    ],
)
def test_a_bad_json_line_is_told(tmp_path: Path, line: str, complaint: str) -> None:
    (told,) = complaints(tmp_path, f"\n{line}\n", "orders.jsonl")
    assert told.startswith(f"line 2: {complaint}")


def test_a_json_number_is_taken_digit_by_digit(tmp_path: Path) -> None:
    text = '{"action":"enter","client":"A","symbol":"S","side":"buy","quantity":7,"price":0.0003}'
    (line,) = read(write(tmp_path / "orders.jsonl", text))
    assert isinstance(line.action, Enter)
    assert (line.action.quantity, line.action.price) == (7, 3)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ("limit,,", "price is missing: an order of type limit has one"),
        ("market,1,", "price: an order of type market has none; leave it empty"),
        ("stop,,", "stop_price is missing: an order of type stop has one"),
        ("stop-limit,,5", "price is missing: an order of type stop-limit has one"),
        ("limit,1,5", "stop_price: an order of type limit has none; leave it empty"),
    ],
)
def test_a_type_has_to_agree_with_the_prices(tmp_path: Path, terms: str, complaint: str) -> None:
    header = "action,client,symbol,side,quantity,type,price,stop_price"
    told = complaints(tmp_path, f"{header}\nenter,A,AAPL,buy,1,{terms}\n")
    assert told == [f"line 2: {complaint}"]


def test_all_faults_of_all_lines_are_told_at_once_up_to_a_bound(tmp_path: Path) -> None:
    told = complaints(tmp_path, f"{HEADER}\nenter,A,,AAPL,x,y,1\n{GOOD}\nenter,A,,AAPL,x,1,1\n")
    assert [line[:12] for line in told] == ["line 2: side", "line 2: quan", "line 4: side"]
    told = complaints(tmp_path, f"{HEADER}\n" + "nonsense,,,,,,\n" * 5000)
    assert len(told) == COMPLAINTS_TOLD + 1
    assert told[-1] == "4,980 complaints more"


def test_a_line_that_names_a_bad_line_s_order_is_not_blamed_for_it(tmp_path: Path) -> None:
    told = complaints(tmp_path, f"{HEADER}\nenter,A,q,AAPL,x,1,1\ncancel,,q,,,,\n")
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "kind", "time_ns"),
    [
        ("0", TimeKind.SECONDS, 0),
        ("34200.004241176", TimeKind.SECONDS, 34_200_004_241_176),
        ("09:30:00.25", TimeKind.TIME_OF_DAY, 34_200_250_000_000),
        ("1970-01-02 00:00:01", TimeKind.LOCAL, 86_401_000_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", TimeKind.ZONED, 1),
        ("1969-12-31T23:59:59.5Z", TimeKind.ZONED, -500_000_000),
    ],
)
def test_times_are_exact(text: str, kind: TimeKind, time_ns: int) -> None:
    assert parse_moment(text) == Moment(kind, time_ns)


@pytest.mark.parametrize(
    ("times", "complaint"),
    [
        (["1", "0.999999999"], "line 3: time is before that of line 2; lines go in the order"),
        (["1", "09:30:00"], "line 3: time is a time of day, but that of line 2 is seconds"),
        (["2012-02-30T00:00:00"], "line 2: time '2012-02-30T00:00:00': day is out of range"),
        (["9:30"], "line 2: time '9:30': write it in seconds, as 34200.5, or as 2012-06-21T"),
    ],
)
def test_times_have_to_fit_together(tmp_path: Path, times: list[str], complaint: str) -> None:
    rows = "".join(f"{time},mass-cancel,A\n" for time in times)
    (told,) = complaints(tmp_path, f"time,action,client\n{rows}")
    assert told.startswith(complaint)


def test_too_many_clients_and_symbols_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_check, "CLIENTS_LIMIT", 2)
    monkeypatch.setattr(order_check, "SYMBOLS_LIMIT", 3)
    rows = "".join(f"mass-cancel,C{n},S{n}\n" for n in range(9))
    assert complaints(tmp_path, f"action,client,symbol\n{rows}") == [
        "line 4: client C2 is one too many: a file has at most 2",
        "line 5: symbol S3 is one too many: a file has at most 3",
    ]


def test_what_is_no_file_of_lines_is_given_up(tmp_path: Path) -> None:
    told = complaints(tmp_path, b"x" * (GIVEN_UP_BYTES + 2 * LINE_LIMIT_BYTES))
    assert told == ["line 1: goes on without an end; this is no file of lines"]
    assert complaints(tmp_path, HEADER.encode("utf-16")) == [
        "line 1: the file is UTF-16; save it as UTF-8"
    ]
    with (
        OrderFile(tmp_path, OrderFormat.CSV, None) as file,
        pytest.raises(UsageError, match="Is a directory; give a file that can be read"),
    ):
        file.check()


def test_a_file_that_grows_is_read_as_far_as_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "orders.csv", f"{HEADER}\n{GOOD}\n")

    def parse_and_grow(fields: dict[str, str]) -> Action:
        with path.open("a") as more:
            more.write("mass-cancel,ALICE,,,,,\n")
        return parse_action(fields)

    monkeypatch.setattr("tools.replay.order_check.parse_action", parse_and_grow)
    with OrderFile(path, OrderFormat.CSV, None) as file:
        assert file.check().lines == 1


def test_what_is_played_is_what_was_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "orders.csv", f"{HEADER}\n{GOOD}\n")
    with OrderFile(path, OrderFormat.CSV, None) as file:
        assert file.check().lines == 1
        with path.open("a") as more:
            more.write("nonsense\n")
        os.truncate(path, 5)
        assert [line.line for line in file.lines()] == [2]
        assert [line.line for line in file.lines()] == [2]
