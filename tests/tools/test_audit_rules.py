"""An auditor's own books: what they find in lists that no machine would write, without a machine.

Each list here has intact frames, whole groups and rising times: all that is wrong is what it says.
"""

import pytest

from feed.codec import encode_group
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
    NewDay,
    OrderType,
    PostOnly,
    Rejected,
    Replaced,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    Side,
    TimeInForce,
    Trade,
    TradingState,
    Triggered,
    symbol_field,
)
from feed.run import run_of_frames
from tools.audit.bookkeeping import Bookkeeping
from tools.audit.findings import Difference, Findings, Kind
from tools.audit.structure import Structure

ALICE, BOB, CAROL = 1, 2, 3
ACME, OTHER = symbol_field("ACME"), symbol_field("OTHER")
BUY, SELL = Side.BUY, Side.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL
IOC, FOK = TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL


class Desk:
    """Writes groups just as it is told, and has the books read them."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.structure = Structure(self.findings)
        self.books = Bookkeeping(self.findings)
        self.sequence = 1
        for symbol in (ACME, OTHER):
            self.group(DefineInstrument(symbol, 1, 1, ShortSale.ALLOWED))
        for client in (ALICE, BOB, CAROL):
            self.group(LogIn(client, 1, SelfTradePrevention.OFF))

    def group(self, *messages: Message) -> int:
        """One group; the number of its command."""
        first = self.sequence
        frames = encode_group(messages, first, first)
        for group in self.structure.take(run_of_frames(first, frames)):
            self.books.take(group)
        self.sequence += len(messages)
        return first

    def told(self) -> list[Difference]:
        """The differences, the sums at the end among them."""
        self.books.close(None)
        return self.findings.differences

    def only(self) -> tuple[Kind, int, str]:
        """The one difference: its kind, frame and text."""
        (difference,) = self.told()
        return difference.kind, difference.sequence, difference.text


def enter(
    client: int,
    ref: int,
    side: Side,
    quantity: int,
    price: int,
    *,
    time: TimeInForce = DAY,
    stop: int = 0,
    post_only: PostOnly = PostOnly.NO,
    symbol: bytes = ACME,
) -> EnterOrder:
    kind = OrderType.LIMIT if price else OrderType.MARKET
    return EnterOrder(
        client,
        ref,
        symbol,
        side,
        (OrderType.STOP_LIMIT if price else OrderType.STOP) if stop else kind,
        time,
        post_only,
        quantity,
        price,
        stop,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )


def trade(
    maker: tuple[int, int, int],
    taker: tuple[int, int, int],
    quantity: int,
    price: int,
    side: Side = SELL,
    symbol: bytes = ACME,
) -> Trade:
    """Orders are number, client and user_ref_num."""
    return Trade(symbol, price, quantity, side, *maker, *taker)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_trade_that_is_right_is_no_difference(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 4, 100), trade((bid, ALICE, 1), (ask, BOB, 1), 4, 100))
    assert desk.told() == []
    totals = desk.books.totals
    assert totals.positions == {(ACME, ALICE): 4, (ACME, BOB): -4}
    assert (totals.clients[ALICE].cash, totals.clients[BOB].cash) == (-400, 400)
    flow = totals.symbols[ACME].flow
    assert (flow.entered, flow.executed, flow.canceled, flow.open) == (14, 8, 0, 6)


@pytest.mark.parametrize("better", [100, 101])
def test_an_order_that_was_passed_over_is_found(desk: Desk, better: int) -> None:
    first = desk.group(enter(ALICE, 1, BUY, 10, better))
    second = desk.group(enter(CAROL, 1, BUY, 10, 100))
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 4, 100), trade((second, CAROL, 1), (ask, BOB, 1), 4, 100))
    (difference,) = desk.told()
    assert (difference.kind, difference.sequence) == (Kind.TRADE, ask + 1)
    assert difference.text == f"order {second} (client 3, 1) traded before its turn"
    assert difference.expected.startswith(f"order {first} (client 1, 1) first")


def test_a_fill_of_a_canceled_order_says_when_it_was_canceled(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    gone = desk.group(CancelOrder(ALICE, 1, 0), Canceled(ALICE, 1, bid, 10, CancelReason.USER))
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 4, 100), trade((bid, ALICE, 1), (ask, BOB, 1), 4, 100))
    first = desk.told()[0]
    assert (first.kind, first.sequence) == (Kind.TRADE, ask + 1)
    assert first.text == f"the maker, order {bid}, does not live"
    assert first.expected == f"CANCELED in frame {gone + 1} ended it"
    assert Kind.SUM in desk.findings.counts


def test_a_trade_while_halted_is_found(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    desk.group(SetTradingState(ACME, TradingState.HALTED))
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 4, 100), trade((bid, ALICE, 1), (ask, BOB, 1), 4, 100))
    entered, traded = desk.told()
    assert (entered.kind, entered.sequence) == (Kind.ORDER, ask)
    assert (traded.kind, traded.text) == (Kind.TRADE, "the instrument is halted")


def test_a_trade_of_orders_in_two_instruments_is_found(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100, symbol=OTHER))
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 4, 100), trade((bid, ALICE, 1), (ask, BOB, 1), 4, 100))
    first = desk.told()[0]
    assert (first.kind, first.sequence) == (Kind.TRADE, ask + 1)
    assert first.text == f"the maker, order {bid} (client 1, 1), is in another instrument"
    assert desk.findings.counts[Kind.SUM] > 0  # what was entered in OTHER traded in ACME


def test_a_trade_of_two_buys_leaves_positions_and_cash_that_do_not_sum_to_zero(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    other = desk.sequence
    desk.group(enter(BOB, 1, BUY, 4, 100), trade((bid, ALICE, 1), (other, BOB, 1), 4, 100, BUY))
    texts = {each.text for each in desk.told()}
    assert "both orders are on the same side" in texts
    assert "ACME: the sum of all clients' positions" in texts
    assert "ACME: the sum of all clients' cash" in texts


def test_a_trade_by_an_order_that_is_not_being_matched_is_found(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    ask = desk.group(enter(BOB, 1, SELL, 10, 101))
    desk.group(enter(CAROL, 1, BUY, 1, 99), trade((bid, ALICE, 1), (ask, BOB, 1), 4, 100))
    assert f"order {ask} (client 2, 1) is not the order that is being matched" in [
        each.text for each in desk.told()
    ]


def test_orders_that_rest_and_could_have_traded_are_found(desk: Desk) -> None:
    desk.group(enter(ALICE, 1, BUY, 10, 101))
    ask = desk.group(enter(BOB, 1, SELL, 4, 100))
    kind, sequence, text = desk.only()
    assert (kind, sequence) == (Kind.ORDER, ask)
    assert text.endswith("both rest")


def test_a_trade_with_oneself_against_the_own_wish_is_found(desk: Desk) -> None:
    desk.group(LogIn(ALICE, 2, SelfTradePrevention.CANCEL_NEWEST))
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    ask = desk.sequence
    desk.group(enter(ALICE, 2, SELL, 4, 100), trade((bid, ALICE, 1), (ask, ALICE, 2), 4, 100))
    assert desk.only() == (Kind.TRADE, ask + 1, "client 1 traded with itself")


def test_a_post_only_order_that_takes_is_found(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 10, 100))
    ask = desk.sequence
    desk.group(
        enter(BOB, 1, SELL, 4, 100, post_only=PostOnly.YES),
        trade((bid, ALICE, 1), (ask, BOB, 1), 4, 100),
    )
    assert desk.only()[2] == f"order {ask} (client 2, 1) is post-only, and takes"


def test_orders_that_may_not_rest_and_are_left_open_are_found(desk: Desk) -> None:
    at = desk.group(enter(ALICE, 1, BUY, 10, 100, time=IOC))
    assert desk.only() == (Kind.ORDER, at, f"order {at} (client 1, 1) may not rest")


def test_an_order_killed_after_it_traded_is_found(desk: Desk) -> None:
    bid = desk.group(enter(ALICE, 1, BUY, 3, 100))
    ask = desk.sequence
    desk.group(
        enter(BOB, 1, SELL, 4, 100, time=FOK),
        trade((bid, ALICE, 1), (ask, BOB, 1), 3, 100),
        Canceled(BOB, 1, ask, 1, CancelReason.FILL_OR_KILL),
    )
    texts = [each.text for each in desk.told()]
    assert texts == [
        f"order {ask} (client 2, 1) was killed after it had traded",
        f"order {ask} (client 2, 1) was filled in part",
    ]


def test_a_number_used_twice_is_a_command_done_twice(desk: Desk) -> None:
    desk.group(enter(ALICE, 5, BUY, 3, 100))
    at = desk.group(enter(ALICE, 5, BUY, 3, 99))
    assert desk.only() == (Kind.TWICE, at, "client 1 has used user_ref_num 5 before")


def test_a_refused_command_uses_its_number_too(desk: Desk) -> None:
    desk.group(enter(ALICE, 5, BUY, 0, 100), Rejected(ALICE, 5, 9))
    at = desk.group(enter(ALICE, 5, BUY, 3, 99))
    assert desk.only()[:2] == (Kind.TWICE, at)
    assert desk.books.totals.clients[ALICE].rejected == 1


def test_stops_are_triggered_by_trades_only_and_by_all_of_them(desk: Desk) -> None:
    early = desk.group(enter(CAROL, 1, BUY, 1, 0, stop=105))
    at = desk.group(
        enter(ALICE, 1, BUY, 3, 100),
        Triggered(CAROL, 1, early, ACME, BUY, 1, 0),
        Canceled(CAROL, 1, early, 1, CancelReason.IMMEDIATE),
    )
    late = desk.group(enter(CAROL, 2, SELL, 1, 0, stop=101))
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 3, 100), trade((at, ALICE, 1), (ask, BOB, 1), 3, 100))
    first, second = desk.told()
    assert (first.kind, first.sequence) == (Kind.ORDER, at + 1)
    assert (
        first.text
        == f"order {early} (client 3, 1) was triggered, and its stop price has not traded"
    )
    assert (second.sequence, second.expected) == (ask, "TRIGGERED")
    assert second.text == f"order {late} (client 3, 2) still waits, and its stop price has traded"


def test_a_replace_that_gives_more_than_was_asked_for_is_found(desk: Desk) -> None:
    at = desk.group(enter(ALICE, 1, BUY, 10, 100))
    replaced = Replaced(ALICE, 1, 2, at, ACME, BUY, 9, 99, 0, Capacity.AGENCY, 0)
    command = ReplaceOrder(ALICE, 1, 2, 8, 99, 0, DAY, NO_CLIENT_ORDER_ID)
    group = desk.group(command, replaced)
    assert desk.only()[:2] == (Kind.ORDER, group + 1)


def test_a_place_kept_in_the_queue_at_another_price_is_found(desk: Desk) -> None:
    at = desk.group(enter(ALICE, 1, BUY, 10, 100))
    replaced = Replaced(ALICE, 1, 2, at, ACME, BUY, 10, 101, 0, Capacity.AGENCY, 1)
    group = desk.group(ReplaceOrder(ALICE, 1, 2, 10, 101, 0, DAY, NO_CLIENT_ORDER_ID), replaced)
    kind, sequence, text = desk.only()
    assert (kind, sequence) == (Kind.ORDER, group + 1)
    assert "keeps its place" in text


def test_a_replaced_order_waits_behind_the_others_of_its_new_price(desk: Desk) -> None:
    first = desk.group(enter(ALICE, 1, BUY, 10, 100))
    second = desk.group(enter(CAROL, 1, BUY, 10, 99))
    replaced = Replaced(ALICE, 1, 2, first, ACME, BUY, 10, 99, 0, Capacity.AGENCY, 0)
    desk.group(ReplaceOrder(ALICE, 1, 2, 10, 99, 0, DAY, NO_CLIENT_ORDER_ID), replaced)
    ask = desk.sequence
    desk.group(enter(BOB, 1, SELL, 10, 99), trade((second, CAROL, 1), (ask, BOB, 1), 10, 99))
    ask = desk.sequence
    desk.group(enter(BOB, 2, SELL, 10, 99), trade((first, ALICE, 2), (ask, BOB, 2), 10, 99))
    assert desk.told() == []


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ((ALICE, 1, 0, 11, CancelReason.USER), "has no 11 open"),
        ((ALICE, 1, 0, 10, CancelReason.EXPIRED), "for a reason"),
        ((BOB, 1, 0, 10, CancelReason.USER), "is said to be client 2's 1"),
        ((CAROL, 1, 1, 10, CancelReason.USER), "is not the one to cancel"),
    ],
)
def test_a_cancel_that_does_not_follow_is_found(
    desk: Desk, event: tuple[int, int, int, int, CancelReason], text: str
) -> None:
    orders = [desk.group(enter(ALICE, 1, BUY, 10, 100)), desk.group(enter(CAROL, 1, BUY, 10, 99))]
    client, ref, at, quantity, reason = event
    group = desk.group(
        CancelOrder(ALICE, 1, 0), Canceled(client, ref, orders[at], quantity, reason)
    )
    found = desk.told()
    assert any(each.sequence == group + 1 and text in each.text for each in found), found


def test_a_reduce_that_leaves_another_quantity_is_found(desk: Desk) -> None:
    at = desk.group(enter(ALICE, 1, BUY, 10, 100))
    group = desk.group(CancelOrder(ALICE, 1, 4), Canceled(ALICE, 1, at, 5, CancelReason.USER))
    assert desk.only() == (Kind.ORDER, group, "5 remain open")


def test_a_mass_cancel_that_leaves_an_order_is_found(desk: Desk) -> None:
    first = desk.group(enter(ALICE, 1, BUY, 10, 100))
    second = desk.group(enter(ALICE, 2, BUY, 10, 100, symbol=OTHER))
    group = desk.group(
        MassCancel(ALICE, 3, ALL_SYMBOLS, CancelReason.USER),
        Canceled(ALICE, 1, first, 10, CancelReason.USER),
    )
    assert desk.only() == (Kind.ORDER, group, f"order {second} (client 1, 2) still lives")


def test_what_is_for_the_day_expires_with_it_and_nothing_else(desk: Desk) -> None:
    day = desk.group(enter(ALICE, 1, BUY, 10, 100))
    stays = desk.group(enter(ALICE, 2, BUY, 10, 99, time=GTC))
    group = desk.group(NewDay(20260105), Canceled(ALICE, 2, stays, 10, CancelReason.EXPIRED))
    expired, lives = desk.told()
    assert (expired.sequence, expired.text) == (
        group + 1,
        f"order {stays} (client 1, 2) is not for the day",
    )
    assert (lives.sequence, lives.text) == (group, f"order {day} (client 1, 1) still lives")


def test_a_day_that_ends_as_it_should_is_no_difference(desk: Desk) -> None:
    day = desk.group(enter(ALICE, 1, BUY, 10, 100))
    desk.group(enter(ALICE, 2, BUY, 10, 99, time=GTC))
    desk.group(NewDay(20260105), Canceled(ALICE, 1, day, 10, CancelReason.EXPIRED))
    assert desk.told() == []


def test_events_of_an_instrument_that_is_not_listed_are_found(desk: Desk) -> None:
    at = desk.group(enter(ALICE, 1, BUY, 10, 100, symbol=symbol_field("NOWHERE")))
    assert desk.only() == (Kind.ORDER, at, "'NOWHERE' is not listed")
