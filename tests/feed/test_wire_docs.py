"""docs/wire.md is what feed/schema.py says, and what the bytes really are."""

import re
from itertools import groupby
from pathlib import Path

import construct as cs
import pytest

from feed.codec import MESSAGE_TYPES, encode_frame
from feed.messages import CancelReason, EnterOrder, OrderType
from feed.schema import BODIES, REPAIR, FrameType
from tools.wire_docs import PAGE, Field, comments, fields, main, wire_page


def test_the_page_in_the_repository_is_the_one_that_the_schema_gives() -> None:
    assert PAGE.read_text() == wire_page(), "run: python -m tools.wire_docs"


def test_the_page_is_written_where_the_test_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs" / "wire.md"
    monkeypatch.setattr("tools.wire_docs.PAGE", page)
    main()
    assert page.read_text() == wire_page()


def documented_fields(section: str) -> list[tuple[str, int, int]]:
    """Name, offset and size in the table below a heading of the page."""
    _, _, rest = wire_page().partition(f"### {section}\n")
    table = rest.partition("\n#")[0]
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", table, re.MULTILINE)
    return [(name, int(offset), int(size)) for name, offset, size in rows]


@pytest.mark.parametrize("frame_type", FrameType, ids=lambda frame_type: frame_type.name)
def test_each_field_of_a_frame_stands_where_the_page_says(frame_type: FrameType) -> None:
    rows = documented_fields(frame_type.name)
    values = [
        bytes(range(place * 16, place * 16 + size)) for place, (_, _, size) in enumerate(rows, 1)
    ]
    message_type = MESSAGE_TYPES[frame_type]
    message = message_type._make(
        value if isinstance(part.subcon, cs.Bytes) else int.from_bytes(value, "big")
        for value, part in zip(values, BODIES[frame_type].subcons, strict=True)
    )
    frame = encode_frame(message, 1, 0, end=True)
    assert [name for name, _, _ in rows] == list(message_type._fields)
    assert [frame[offset : offset + size] for _, offset, size in rows] == values
    assert rows[-1][1] + rows[-1][2] == len(frame)


def test_every_letter_of_a_frame_type_and_its_size_is_in_the_table_of_types() -> None:
    row = r"^\| `(.)` \| \[(\w+)\]\(#\w+\) \| [\w, ]+ \| (\d+) \|"
    rows = re.findall(row, wire_page(), re.M)
    assert rows == [(chr(t), t.name, str(BODIES[t].sizeof())) for t in FrameType]


def test_links_lead_to_headings_and_no_line_ends_in_a_blank() -> None:
    page = wire_page()
    anchors = [
        title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    ]
    assert [name for name, same in groupby(sorted(anchors)) if len(list(same)) > 1] == []
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) - set(anchors) == set()
    assert re.findall(r"[ \t]+$", page, re.MULTILINE) == []


def test_meanings_come_from_the_comments_beside_the_names() -> None:
    assert comments(OrderType) == {
        "STOP": "a market order once the stop price has traded",
        "STOP_LIMIT": "a limit order once the stop price has traded",
    }
    assert comments(EnterOrder) == {
        "price": "0 for an order without a limit",
        "stop_price": "0 for an order without a stop",
    }
    assert set(comments(CancelReason)) == {reason.name for reason in CancelReason}


def test_a_note_on_a_field_that_is_not_declared_is_an_error() -> None:
    declaration = cs.Struct("first" / cs.Int16ub, "then" / cs.Bytes(3))
    assert list(fields(declaration, {"then": "three letters"}, 7)) == [
        Field("first", 7, 2, "integer", ""),
        Field("then", 9, 3, "text", "three letters"),
    ]
    with pytest.raises(ValueError, match="not declared: second"):
        list(fields(declaration, {"second": "gone"}))


def test_the_repair_datagram_is_told_whole() -> None:
    rows = list(fields(REPAIR, {}))
    assert sum(row.size for row in rows) == REPAIR.sizeof()
    assert [row.kind for row in rows][:4] == [
        *("constant", "constant", "[RepairKind](#repairkind)", "integer")
    ]
