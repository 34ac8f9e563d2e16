import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.messages import Side, TimeInForce
from tools.replay.lobster import (
    Action,
    Enter,
    EventType,
    LobsterError,
    LobsterEvent,
    OpeningLevel,
    OrderFlow,
    Reduce,
    Step,
    book_before,
    parse_messages,
    parse_opening,
)

DAY = TimeInForce.DAY
IMMEDIATE = TimeInForce.IMMEDIATE_OR_CANCEL


def event(
    kind: EventType,
    number: int,
    quantity: int,
    price: int = 1_000_000,
    side: Side = Side.BUY,
    line: int = 1,
) -> LobsterEvent:
    return LobsterEvent(line, 0, kind, number, quantity, price, side)


def test_a_message_file_becomes_events_with_their_line_numbers() -> None:
    text = (
        "34200.004241176,1,16113575,18,5853300,1\r\n"
        "\n"
        "34200.1,4,16113575,18,5853300,1\n"
        "34201,5,0,7,5853350,-1,null\n"
    )
    assert list(parse_messages(text.splitlines(keepends=True))) == [
        LobsterEvent(1, 34_200_004_241_176, EventType.ENTER, 16_113_575, 18, 5_853_300, Side.BUY),
        LobsterEvent(3, 34_200_100_000_000, EventType.EXECUTE, 16_113_575, 18, 5_853_300, Side.BUY),
        LobsterEvent(4, 34_201_000_000_000, EventType.EXECUTE_HIDDEN, 0, 7, 5_853_350, Side.SELL),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("34200.1,1,1,18,5853300", "line 2: 5 columns"),
        ("x,1,1,18,5853300,1", "line 2: time 'x'"),
        ("34200.1,8,1,18,5853300,1", "line 2: type 8"),
        ("34200.1,1,1,18.5,5853300,1", "line 2: size '18.5'"),
        ("34200.1,1,1,0,5853300,1", "line 2: size 0"),
        ("34200.1,1,1,1000000,5853300,1", "line 2: size 1000000"),
        ("34200.1,1,1,18,-1,1", "line 2: price -1"),
        ("34200.1,1,1,18,5853300,0", "line 2: direction 0"),
        ("34200.1,1,1_0,18,5853300,1", "line 2: order number '1_0'"),
    ],
)
def test_a_bad_line_is_complained_about_by_its_number(text: str, complaint: str) -> None:
    with pytest.raises(LobsterError) as error:
        list(parse_messages(["34200.0,1,7,18,5853300,1\n", text]))
    assert str(error.value).startswith(complaint)


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_is_parsed_or_complained_about(lines: list[str]) -> None:
    with contextlib.suppress(LobsterError):
        assert all(isinstance(each, LobsterEvent) for each in parse_messages(lines))
    with contextlib.suppress(LobsterError):
        assert all(isinstance(each, OpeningLevel) for each in parse_opening(lines))


def test_an_opening_book_becomes_levels_without_the_empty_ones() -> None:
    line = "5859400,200,5853300,18,5859800,0,5853000,150,9999999999,0,-9999999999,0\n"
    assert parse_opening([line, "5859400,200,5853300,36\n"]) == (
        OpeningLevel(Side.SELL, 5_859_400, 200),
        OpeningLevel(Side.BUY, 5_853_300, 18),
        OpeningLevel(Side.BUY, 5_853_000, 150),
    )


@pytest.mark.parametrize("text", ["", "1,2,3", "a,1,2,3", "10,-5,9,5", "-7,1,9,5"])
def test_a_line_that_is_no_book_is_complained_about(text: str) -> None:
    with pytest.raises(LobsterError, match="line 1: "):
        parse_opening([text])


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (event(EventType.ENTER, 1, 18, 90), [(Side.BUY, 90, 12), (Side.SELL, 100, 5)]),
        (event(EventType.ENTER, 1, 30, 90), [(Side.SELL, 100, 5)]),
        (event(EventType.REDUCE, 1, 4, 90), [(Side.BUY, 90, 34), (Side.SELL, 100, 5)]),
        (
            event(EventType.DELETE, 1, 4, 95),
            [(Side.BUY, 90, 30), (Side.SELL, 100, 5), (Side.BUY, 95, 4)],
        ),
        (event(EventType.EXECUTE_HIDDEN, 0, 4, 90), [(Side.BUY, 90, 30), (Side.SELL, 100, 5)]),
    ],
)
def test_the_first_event_is_undone_in_the_opening_book(
    first: LobsterEvent, expected: list[tuple[Side, int, int]]
) -> None:
    opening = [OpeningLevel(Side.BUY, 90, 30), OpeningLevel(Side.SELL, 100, 5)]
    assert book_before(opening, first) == tuple(OpeningLevel(*level) for level in expected)


def test_an_opening_book_without_the_first_events_order_is_refused() -> None:
    with pytest.raises(LobsterError, match="holds 17 at 90"):
        book_before([OpeningLevel(Side.BUY, 90, 17)], event(EventType.ENTER, 1, 18, 90))


def steps(flow: OrderFlow, *events: LobsterEvent) -> list[tuple[tuple[Action, ...], int | None]]:
    return [(step.actions, step.named) for step in map(flow.step, events)]


def test_each_type_of_event_becomes_the_commands_that_play_it_again() -> None:
    flow = OrderFlow()
    assert flow.open([OpeningLevel(Side.SELL, 1_010_000, 300)]) == [
        Enter(0, Side.SELL, 300, 1_010_000, DAY)
    ]
    assert steps(
        flow,
        event(EventType.ENTER, 77, 100),
        event(EventType.REDUCE, 77, 30),
        event(EventType.EXECUTE_HIDDEN, 0, 5),
        event(EventType.EXECUTE, 77, 50),
        event(EventType.DELETE, 77, 20),
        event(EventType.CROSS, 0, 20),
        event(EventType.HALT, 0, 0),
    ) == [
        ((Enter(1, Side.BUY, 100, 1_000_000, DAY),), None),
        ((Reduce(1, 70),), None),
        ((), None),
        ((Enter(2, Side.SELL, 50, 1_000_000, IMMEDIATE),), 1),
        ((Reduce(1, 0),), None),
        ((), None),
        ((), None),
    ]


def test_an_order_from_before_the_file_takes_off_the_opening_level_at_its_price() -> None:
    flow = OrderFlow()
    flow.open([OpeningLevel(Side.BUY, 1_000_000, 300), OpeningLevel(Side.SELL, 1_010_000, 9)])
    assert steps(
        flow,
        event(EventType.ENTER, 77, 100),
        event(EventType.DELETE, 5, 40),
        event(EventType.EXECUTE, 6, 200),
        event(EventType.REDUCE, 7, 500),
        event(EventType.REDUCE, 7, 1),
        event(EventType.DELETE, 8, 10, 990_000),
    ) == [
        ((Enter(2, Side.BUY, 100, 1_000_000, DAY),), None),
        ((Reduce(0, 260),), None),
        ((Enter(3, Side.SELL, 200, 1_000_000, IMMEDIATE),), None),
        ((Reduce(0, 0),), None),
        ((), None),
        ((), None),
    ]


def test_a_level_larger_than_an_order_may_be_is_taken_down_from_both_ends() -> None:
    flow = OrderFlow()
    assert flow.open([OpeningLevel(Side.BUY, 1_000_000, 2_000_000)]) == [
        Enter(0, Side.BUY, 999_999, 1_000_000, DAY),
        Enter(1, Side.BUY, 999_999, 1_000_000, DAY),
        Enter(2, Side.BUY, 2, 1_000_000, DAY),
    ]
    assert steps(
        flow,
        event(EventType.EXECUTE, 5, 999_999),
        event(EventType.DELETE, 6, 900_000),
        event(EventType.DELETE, 7, 200_000),
    ) == [
        ((Enter(3, Side.SELL, 999_999, 1_000_000, IMMEDIATE),), None),
        ((Reduce(2, 0), Reduce(1, 100_001)), None),
        ((Reduce(1, 0),), None),
    ]


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (event(EventType.ENTER, 77, 5, line=9), "line 9: order 77 has entered before"),
        (
            event(EventType.EXECUTE, 77, 101, line=9),
            "line 9: takes 101 off order 77, which has 100 left",
        ),
        (
            event(EventType.DELETE, 77, 101, line=9),
            "line 9: takes 101 off order 77, which has 100 left",
        ),
    ],
)
def test_a_line_that_contradicts_an_earlier_one_is_refused(
    second: LobsterEvent, complaint: str
) -> None:
    flow = OrderFlow()
    first = event(EventType.ENTER, 77, 100)
    assert flow.step(first) == Step(first, (Enter(0, Side.BUY, 100, 1_000_000, DAY),), None)
    with pytest.raises(LobsterError, match=complaint):
        flow.step(second)
