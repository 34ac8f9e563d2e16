"""An auditor's own books on moves, marks and log-ins of one list: what no machine would write."""

import pytest

from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Capacity,
    DefineInstrument,
    InstrumentState,
    LogIn,
    Message,
    MoveOut,
    OrderState,
    OrderType,
    PostOnly,
    Rejected,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    TimeInForce,
    Trade,
    TradingState,
)
from tests.tools.test_audit_rules import ACME, ALICE, BOB, BUY, DAY, IOC, OTHER, SELL, Desk, enter
from tools.audit.findings import Kind

HALTED, TRADING = TradingState.HALTED, TradingState.TRADING
OUT = MoveOut(ACME, 2)
STATE = InstrumentState(ACME, 1, 1, ShortSale.ALLOWED, HALTED, 0, 1, 0)
BACK = AdoptInstrument(ACME, 1, 1, ShortSale.ALLOWED, 100, 2)


def leaves(
    number: int, client: int, side: Side, leaves: int, price: int, stop_price: int = 0
) -> OrderState:
    """The order of `client` with the user_ref_num 1, of which nothing has traded."""
    return OrderState(
        *(number, client, 1, ACME, side, OrderType.LIMIT, DAY, PostOnly.NO, Capacity.AGENCY),
        *(leaves, leaves, 0, price, stop_price),
    )


def arrives(
    source: int,
    client: int,
    side: Side,
    price: int,
    *,
    moves: int = 2,
    leaves: int = 5,
    executed: int = 0,
    time: TimeInForce = DAY,
    stop_price: int = 0,
) -> AdoptOrder:
    return AdoptOrder(
        *(ACME, moves, source, client, 7, side, OrderType.LIMIT, time, PostOnly.NO),
        *(Capacity.AGENCY, 5, leaves, executed, price, stop_price),
    )


@pytest.fixture
def desk() -> Desk:
    """ACME is halted, with a bid of ALICE's (order 6) and an ask of BOB's (order 7)."""
    desk = Desk()
    assert desk.group(enter(ALICE, 1, BUY, 10, 100)) == 6
    assert desk.group(enter(BOB, 1, SELL, 20, 101)) == 7
    desk.group(SetTradingState(ACME, HALTED))
    return desk


BID, ASK = leaves(6, ALICE, BUY, 10, 100), leaves(7, BOB, SELL, 20, 101)


def test_an_instrument_that_leaves_and_comes_back_is_no_difference(desk: Desk) -> None:
    desk.group(OUT, STATE, BID, ASK)
    assert desk.books.live_orders == 0
    desk.group(BACK)
    first = desk.group(arrives(11, ALICE, BUY, 100))
    desk.group(arrives(12, BOB, SELL, 103, stop_price=99))
    desk.group(SetTradingState(ACME, HALTED))
    desk.group(SetTradingState(ACME, TRADING))
    number = desk.sequence
    traded = Trade(ACME, 100, 5, SELL, first, ALICE, 7, number, BOB, 2)
    desk.group(enter(BOB, 2, SELL, 5, 100), traded)
    assert desk.told() == []
    assert desk.findings.checked["orders that left"] == 2
    assert desk.findings.checked["orders that arrived"] == 2


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([OUT, STATE, BID], "order 7 (client 2, 1) stays behind"),
        ([OUT, BID, ASK], "ACME moves, and nothing says how it stands"),
        ([OUT, STATE, ASK, BID], "order 7 (client 2, 1) leaves before its turn"),
        ([OUT, STATE, BID, ASK, ASK], "order 7 does not live, and leaves"),
        ([OUT, STATE, BID._replace(leaves=9), ASK], "leaves with other quantities"),
        ([OUT, STATE, BID._replace(executed=1), ASK], "leaves with other quantities"),
        ([OUT, STATE, BID._replace(quantity=11), ASK], "leaves with other quantities"),
        ([OUT, STATE, BID._replace(price=99), ASK], "leaves with other terms"),
        ([OUT, STATE, BID._replace(stop_price=99), ASK], "leaves with other terms"),
        ([OUT, STATE, BID._replace(time_in_force=IOC), ASK], "leaves with other terms"),
        ([OUT, STATE, BID._replace(post_only=PostOnly.YES), ASK], "leaves with other terms"),
        ([OUT, STATE, BID._replace(client=BOB), ASK], "is said to be client 2's"),
        ([OUT, STATE, BID._replace(symbol=OTHER), ASK], "is in another instrument"),
        ([OUT, STATE._replace(tick_size=2), BID, ASK], "leaves as another instrument"),
        ([OUT, STATE._replace(last_price=9), BID, ASK], "another last price"),
        ([OUT, STATE._replace(moves=2), BID, ASK], "it leaves for the 2. time"),
        ([OUT, STATE._replace(state=TRADING), BID, ASK], "in another state than a halted one"),
        ([SetTradingState(ACME, HALTED), BID], "nothing was told to move"),
        ([BACK], "ACME arrives, and is here already, HALTED"),
        ([arrives(11, ALICE, BUY, 100)], "an order of ACME arrives, and the instrument does not"),
    ],
)
def test_what_can_not_leave_or_arrive_so_is_found(
    desk: Desk, messages: list[Message], text: str
) -> None:
    first = desk.group(*messages)
    found = desk.told()[0]
    assert found.kind is Kind.MOVE
    assert first <= found.sequence < first + len(messages)
    assert text in found.text


def test_an_instrument_that_leaves_while_it_trades_is_found(desk: Desk) -> None:
    desk.group(SetTradingState(ACME, TRADING))
    at = desk.group(OUT, STATE, BID, ASK)
    assert desk.only() == (Kind.MOVE, at, "ACME is TRADING, and moves")


def test_a_move_that_was_refused_takes_nothing_away(desk: Desk) -> None:
    desk.group(OUT, Rejected(0, 0, 26))
    assert desk.told() == []
    assert desk.books.live_orders == 2


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (arrives(10, ALICE, BUY, 100), "the order of frame 10 of another shard arrives"),
        (arrives(12, ALICE, BUY, 100, moves=3), "an order of ACME arrives, and the instrument"),
        (arrives(12, ALICE, BUY, 100, leaves=0), "arrives with 0 open, 0 executed"),
        (arrives(12, ALICE, BUY, 100, executed=1), "arrives with 5 open, 1 executed"),
        (arrives(12, ALICE, BUY, 0), "may not rest"),
        (arrives(12, ALICE, BUY, 100, time=IOC), "may not rest"),
        (arrives(12, ALICE, BUY, 103, stop_price=100), "waits, and its stop price has traded"),
        (arrives(12, BOB, BUY, 99), "client 2's order 7 lives here already"),
        (SetTradingState(ACME, TRADING), "ACME is ARRIVING, and gets a trading state"),
        (OUT, "ACME is ARRIVING, and moves"),
    ],
)
def test_what_can_not_become_of_an_arrival_is_found(
    desk: Desk, message: Message, text: str
) -> None:
    desk.group(OUT, STATE, BID, ASK)
    desk.group(BACK)
    desk.group(arrives(11, BOB, SELL, 101))
    at = desk.group(message)
    found = desk.told()[0]
    assert (found.kind, found.sequence) == (Kind.MOVE, at)
    assert text in found.text


def test_an_order_that_arrives_in_a_crossed_book_is_found(desk: Desk) -> None:
    desk.group(OUT, STATE, BID, ASK)
    desk.group(BACK)
    desk.group(arrives(11, BOB, SELL, 101))
    at = desk.group(arrives(12, ALICE, BUY, 101))
    kind, sequence, text = desk.only()
    assert (kind, sequence) == (Kind.ORDER, at)
    assert text.endswith("both rest")


def test_an_order_behind_those_that_arrived_before_it_waits_for_its_turn(desk: Desk) -> None:
    desk.group(OUT, STATE, BID, ASK)
    desk.group(BACK)
    # The one that comes first is before the other, whatever its number was elsewhere.
    first = desk.group(arrives(21, ALICE, BUY, 100))
    second = desk.group(arrives(22, BOB, BUY, 100))
    desk.group(SetTradingState(ACME, HALTED))
    desk.group(SetTradingState(ACME, TRADING))
    number = desk.sequence
    traded = Trade(ACME, 100, 1, SELL, second, BOB, 7, number, BOB, 2)
    desk.group(enter(BOB, 2, SELL, 1, 100), traded)
    kind, _, text = desk.only()
    assert kind is Kind.TRADE
    assert text == f"order {second} (client 2, 7) traded before its turn"
    assert desk.told()[0].expected.startswith(f"order {first} ")


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (enter(ALICE, 2, BUY, 1, 90), Kind.ORDER, "came in during a halt"),
        (SetTradingState(ACME, TRADING), Kind.MOVE, "ACME is MOVED, and gets a trading state"),
        (DefineInstrument(ACME, 1, 1, ShortSale.ALLOWED), Kind.ORDER, "ACME is listed"),
        (OUT, Kind.MOVE, "ACME is MOVED, and moves"),
        (BACK._replace(moves=1), Kind.MOVE, "ACME arrives after 1 moves"),
    ],
)
def test_what_can_not_become_of_an_instrument_that_is_gone_is_found(
    desk: Desk, message: Message, kind: Kind, text: str
) -> None:
    desk.group(OUT, STATE, BID, ASK)
    at = desk.group(message)
    found = desk.told()[0]
    assert (found.kind, found.sequence) == (kind, at)
    assert text in found.text


@pytest.mark.parametrize("sequence", [7, 6, 0])
def test_a_mark_that_does_not_grow_is_found(desk: Desk, sequence: int) -> None:
    desk.group(ShardMark(3, 1))  # of another shard
    desk.group(ShardMark(2, 7))
    desk.group(ShardMark(2, sequence), Rejected(0, 0, 28))
    at = desk.group(ShardMark(2, sequence))
    assert desk.only() == (Kind.MARK, at, f"shard 2 is marked at {sequence}")


def test_a_log_in_by_an_earlier_one_at_home_is_found(desk: Desk) -> None:
    off = SelfTradePrevention.OFF
    desk.group(LogIn(9, 1, off, 50))
    desk.group(LogIn(9, 2, off, 50))
    desk.group(LogIn(9, 3, off, 51))
    at = desk.group(LogIn(9, 4, off, 50))
    assert desk.only() == (Kind.HOME, at, "client 9 logs in by frame 50 of its home's list")
