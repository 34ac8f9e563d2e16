"""A subscriber's books: every kind of group that docs/machine.md knows, and broken ones."""

import hashlib
from collections.abc import Callable

import pytest

from feed.book import Book, BookEntry, BookError, Books, Level, book_digest
from feed.codec import decode_frame, encode_group
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    BookSide,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    DefineInstrument,
    EnterOrder,
    Epoch,
    LogIn,
    MassCancel,
    Message,
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
    holder_field,
)
from feed.subscriber import Group

AAPL = b"AAPL    "
MSFT = b"MSFT    "
BID, ASK = BookSide.BID, BookSide.ASK
BUY, SELL, SELL_SHORT = Side.BUY, Side.SELL, Side.SELL_SHORT


def group_at(first_sequence: int, *messages: Message) -> Group:
    frames = encode_group(messages, first_sequence, 1_000_000_000)
    return Group(tuple(decode_frame(frame) for frame in frames))


class Tape:
    """Books that are fed one group after the other, and checked after each."""

    def __init__(self) -> None:
        self.books = Books()
        self.add(Epoch(1, holder_field("e1")))
        self.add(DefineInstrument(AAPL, 100, 1, ShortSale.ALLOWED))

    def add(self, *messages: Message) -> int:
        """Apply a group; returns its first sequence number: a new order's number."""
        first = self.books.sequence + 1
        self.books.apply(group_at(first, *messages))
        self.books.check()
        assert self.books.sequence == first + len(messages) - 1
        return first

    def enter(
        self,
        side: Side,
        quantity: int,
        price: int,
        *events: Callable[[int], Message],
        order_type: OrderType = OrderType.LIMIT,
        stop_price: int = 0,
        symbol: bytes = AAPL,
    ) -> int:
        """Apply a group of an ENTER_ORDER and the events that its order number gives."""
        number = self.books.sequence + 1
        command = EnterOrder(
            client=1,
            user_ref_num=number,
            symbol=symbol,
            side=side,
            order_type=order_type,
            time_in_force=TimeInForce.DAY,
            post_only=PostOnly.NO,
            quantity=quantity,
            price=price,
            stop_price=stop_price,
            capacity=Capacity.AGENCY,
            client_order_id=NO_CLIENT_ORDER_ID,
        )
        return self.add(command, *(event(number) for event in events))

    def entries(self) -> list[tuple[BookSide, int, int, int]]:
        """Side, price, order number and quantity of AAPL's orders, in canonical order."""
        return [entry[1:] for entry in self.books.entries() if entry.symbol == AAPL]


def trade(maker: int, quantity: int, price: int, symbol: bytes = AAPL) -> Callable[[int], Trade]:
    """The trade of a maker with the incoming order."""
    return lambda taker: Trade(symbol, price, quantity, BUY, maker, 1, maker, taker, 1, taker)


def canceled(order: int, quantity: int, reason: CancelReason = CancelReason.USER) -> Canceled:
    return Canceled(1, order, order, quantity, reason)


def replaced(order: int, quantity: int, price: int, *, keeps: bool, stop: int = 0) -> Replaced:
    return Replaced(
        *(1, order, order + 1000, order, AAPL, BUY, quantity, price, stop, Capacity.AGENCY, keeps)
    )


def replace(order: int, quantity: int, price: int) -> ReplaceOrder:
    return ReplaceOrder(
        *(1, order, order + 1000, quantity, price, 0, TimeInForce.DAY, NO_CLIENT_ORDER_ID)
    )


def test_orders_rest_by_price_and_then_by_time() -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    b = tape.enter(BUY, 20, 101_00)
    c = tape.enter(BUY, 30, 100_00)
    d = tape.enter(SELL, 40, 103_00)
    e = tape.enter(SELL_SHORT, 50, 102_00)
    assert tape.entries() == [
        *((BID, 101_00, b, 20), (BID, 100_00, a, 10), (BID, 100_00, c, 30)),
        *((ASK, 102_00, e, 50), (ASK, 103_00, d, 40)),
    ]
    book = tape.books[AAPL]
    assert book.bids() == [Level(101_00, 20, 1), Level(100_00, 40, 2)]
    assert book.asks() == [Level(102_00, 50, 1), Level(103_00, 40, 1)]
    assert (book.bids(1), book.asks(1), book.bids(0)) == (
        *([Level(101_00, 20, 1)], [Level(102_00, 50, 1)], []),
    )
    assert (book.best_bid, book.best_ask) == (Level(101_00, 20, 1), Level(102_00, 50, 1))
    assert tape.books.order_count == 5


def test_an_incoming_order_takes_from_its_makers_and_what_is_left_rests() -> None:
    tape = Tape()
    a = tape.enter(SELL, 10, 100_00)
    b = tape.enter(SELL, 20, 101_00)
    c = tape.enter(SELL, 30, 102_00)
    d = tape.enter(BUY, 45, 101_00, trade(a, 10, 100_00), trade(b, 20, 101_00))
    assert tape.entries() == [(BID, 101_00, d, 15), (ASK, 102_00, c, 30)]
    book = tape.books[AAPL]
    assert (book.last_price, book.last_quantity, book.volume, book.trade_count) == (
        *(101_00, 20, 30, 2),
    )
    assert (tape.books.volume, tape.books.trade_count) == (30, 2)


def test_a_partial_fill_leaves_the_maker_at_its_place_in_the_queue() -> None:
    tape = Tape()
    a = tape.enter(SELL, 10, 100_00)
    b = tape.enter(SELL, 20, 100_00)
    tape.enter(BUY, 4, 100_00, trade(a, 4, 100_00))
    assert tape.entries() == [(ASK, 100_00, a, 6), (ASK, 100_00, b, 20)]
    assert tape.books[AAPL].asks() == [Level(100_00, 26, 2)]
    assert tape.books.order_count == 2


def test_a_market_order_never_rests() -> None:
    tape = Tape()
    a = tape.enter(SELL, 10, 100_00)
    tape.enter(
        *(BUY, 25, 0, trade(a, 10, 100_00)),
        lambda number: canceled(number, 15, CancelReason.IMMEDIATE),
        order_type=OrderType.MARKET,
    )
    assert tape.entries() == []
    assert tape.books.order_count == 0
    assert (tape.books[AAPL].best_bid, tape.books[AAPL].best_ask) == (None, None)


@pytest.mark.parametrize(
    "command",
    [
        EnterOrder(1, 9, AAPL, BUY, ord("?"), 0, 0, 5, 100_00, 0, 0, NO_CLIENT_ORDER_ID),
        EnterOrder(1, 9, b"UNKNOWN ", BUY, ord("L"), 0, 0, 5, 1, 0, 0, NO_CLIENT_ORDER_ID),
        SetTradingState(AAPL, ord("?")),
        DefineInstrument(AAPL, 1, 1, ShortSale.ALLOWED),
        replace(77, 1, 1),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_rejected_command_changes_nothing(command: Message) -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    tape.add(command, Rejected(1, 9, 1))
    assert tape.entries() == [(BID, 100_00, a, 10)]
    assert (len(tape.books), tape.books[AAPL].tick_size) == (1, 100)
    assert tape.books[AAPL].trading_state is TradingState.TRADING


def test_cancels_take_quantity_off_and_keep_the_place_until_nothing_is_left() -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    b = tape.enter(BUY, 20, 100_00)
    tape.add(CancelOrder(1, a, 4), canceled(a, 6))
    assert tape.entries() == [(BID, 100_00, a, 4), (BID, 100_00, b, 20)]
    tape.add(CancelOrder(1, a, 0), canceled(a, 4))
    assert tape.entries() == [(BID, 100_00, b, 20)]
    tape.add(MassCancel(1, 0, ALL_SYMBOLS, CancelReason.LINK_LOST), canceled(b, 20))
    assert tape.entries() == []
    assert tape.books[AAPL].bids() == []


def test_a_replace_that_keeps_priority_changes_the_quantity_in_place() -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    b = tape.enter(BUY, 20, 100_00)
    tape.add(replace(a, 7, 100_00), replaced(a, 7, 100_00, keeps=True))
    assert tape.entries() == [(BID, 100_00, a, 7), (BID, 100_00, b, 20)]
    assert tape.books[AAPL].bids() == [Level(100_00, 27, 2)]


def test_a_replace_that_loses_priority_goes_to_the_tail_or_to_another_level() -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    b = tape.enter(BUY, 20, 100_00)
    tape.add(replace(a, 30, 100_00), replaced(a, 30, 100_00, keeps=False))
    assert tape.entries() == [(BID, 100_00, b, 20), (BID, 100_00, a, 30)]
    tape.add(replace(b, 20, 99_00), replaced(b, 20, 99_00, keeps=False))
    assert tape.entries() == [(BID, 100_00, a, 30), (BID, 99_00, b, 20)]


def test_a_replaced_order_trades_as_the_taker_and_rests_with_its_old_number() -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    b = tape.enter(SELL, 4, 101_00)
    tape.add(replace(a, 10, 102_00), replaced(a, 10, 102_00, keeps=False), trade(b, 4, 101_00)(a))
    assert tape.entries() == [(BID, 102_00, a, 6)]


def test_a_stop_order_is_not_in_the_book_until_it_is_triggered() -> None:
    tape = Tape()
    stop = tape.enter(BUY, 5, 101_00, order_type=OrderType.STOP_LIMIT, stop_price=100_00)
    maker = tape.enter(SELL, 1, 100_00)
    assert tape.entries() == [(ASK, 100_00, maker, 1)]
    assert tape.books.order_count == 2
    tape.enter(
        *(BUY, 1, 100_00, trade(maker, 1, 100_00)),
        lambda _: Triggered(1, stop, stop, AAPL, BUY, 5, 101_00),
    )
    assert tape.entries() == [(BID, 101_00, stop, 5)]


def test_orders_of_one_group_rest_in_the_order_in_which_they_matched() -> None:
    tape = Tape()
    stop = tape.enter(SELL, 5, 100_00, order_type=OrderType.STOP_LIMIT, stop_price=100_00)
    bid = tape.enter(BUY, 1, 100_00)
    incoming = tape.enter(
        *(SELL, 3, 100_00, trade(bid, 1, 100_00)),
        lambda _: Triggered(1, stop, stop, AAPL, SELL, 5, 100_00),
    )
    assert stop < incoming
    assert tape.entries() == [(ASK, 100_00, incoming, 2), (ASK, 100_00, stop, 5)]


def test_a_triggered_order_may_trade_with_the_order_that_woke_it() -> None:
    tape = Tape()
    stop = tape.enter(SELL, 5, 0, order_type=OrderType.STOP, stop_price=100_00)
    ask = tape.enter(SELL, 1, 100_00)
    incoming = tape.enter(
        *(BUY, 3, 100_00, trade(ask, 1, 100_00)),
        lambda _: Triggered(1, stop, stop, AAPL, SELL, 5, 0),
        lambda number: trade(number, 2, 100_00)(stop),
        lambda _: canceled(stop, 3, CancelReason.IMMEDIATE),
    )
    assert incoming not in [number for _, _, number, _ in tape.entries()]
    assert tape.entries() == []
    assert (tape.books.order_count, tape.books[AAPL].volume) == (0, 3)


def test_a_waiting_stop_order_can_be_replaced_reduced_and_canceled() -> None:
    tape = Tape()
    stop = tape.enter(BUY, 5, 101_00, order_type=OrderType.STOP_LIMIT, stop_price=100_00)
    tape.add(replace(stop, 9, 99_00), replaced(stop, 9, 99_00, keeps=False, stop=98_00))
    assert tape.entries() == []
    tape.add(CancelOrder(1, stop, 8), canceled(stop, 1))
    tape.add(
        replace(stop, 7, 98_00),
        replaced(stop, 7, 98_00, keeps=False, stop=97_00),
        Triggered(1, stop, stop, AAPL, BUY, 7, 98_00),
    )
    assert tape.entries() == [(BID, 98_00, stop, 7)]
    other = tape.enter(BUY, 5, 101_00, order_type=OrderType.STOP_LIMIT, stop_price=100_00)
    tape.add(CancelOrder(1, other, 0), canceled(other, 5))
    assert tape.books.order_count == 1


def test_self_trade_prevention_takes_the_maker_and_then_the_newcomer() -> None:
    tape = Tape()
    maker = tape.enter(SELL, 5, 100_00)
    tape.enter(
        *(BUY, 7, 100_00),
        lambda _: canceled(maker, 5, CancelReason.SELF_TRADE),
        lambda number: canceled(number, 7, CancelReason.SELF_TRADE),
    )
    assert tape.entries() == []


def test_log_ins_and_trading_states_leave_the_orders_alone() -> None:
    tape = Tape()
    a = tape.enter(BUY, 10, 100_00)
    tape.add(LogIn(1, 99, SelfTradePrevention.OFF))
    tape.add(SetTradingState(AAPL, TradingState.HALTED))
    assert tape.books[AAPL].trading_state is TradingState.HALTED
    tape.add(SetTradingState(AAPL, TradingState.TRADING))
    tape.add(Epoch(2, holder_field("e2")))
    assert tape.books[AAPL].trading_state is TradingState.TRADING
    assert tape.entries() == [(BID, 100_00, a, 10)]


def test_books_stand_in_the_order_of_their_symbols_and_apart() -> None:
    tape = Tape()
    tape.add(DefineInstrument(MSFT, 1, 10, ShortSale.FORBIDDEN))
    tape.add(DefineInstrument(b"A       ", 1, 1, ShortSale.ALLOWED))
    a = tape.enter(BUY, 10, 100_00)
    b = tape.enter(SELL, 10, 50_00, symbol=MSFT)
    assert [book.symbol for book in tape.books] == [b"A       ", AAPL, MSFT]
    assert (tape.books[MSFT].tick_size, tape.books[MSFT].lot_size) == (1, 10)
    assert (MSFT in tape.books, b"NONE    " in tape.books) == (True, False)
    assert list(tape.books.entries()) == [
        BookEntry(AAPL, BID, 100_00, a, 10),
        BookEntry(MSFT, ASK, 50_00, b, 10),
    ]


def test_the_digest_is_the_sha256_of_the_entries_as_the_page_describes_them() -> None:
    tape = Tape()
    tape.enter(SELL, 7, 101_00)
    tape.enter(BUY, 10, 100_00)
    hand_made = (
        b"AAPL    \x00" + (100_00).to_bytes(8, "big") + (4).to_bytes(8, "big") + b"\0\0\0\x0a"
        b"AAPL    \x01" + (101_00).to_bytes(8, "big") + (3).to_bytes(8, "big") + b"\0\0\0\x07"
    )
    assert tape.books.digest() == hashlib.sha256(hand_made).hexdigest()
    assert book_digest([]) == Books().digest() == hashlib.sha256(b"").hexdigest()


def test_the_digest_tells_two_queues_of_the_same_orders_apart() -> None:
    entries = [BookEntry(AAPL, BID, 100_00, 3, 10), BookEntry(AAPL, BID, 100_00, 4, 10)]
    assert book_digest(entries) != book_digest(reversed(entries))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([CancelOrder(1, 1, 0), canceled(99, 1)], "order 99, which does not live"),
        ([CancelOrder(1, 1, 0), canceled(3, 11)], "order 3 has 10, less than 11"),
        ([CancelOrder(1, 1, 0), trade(3, 4, 100_00)(98)], "order 98, which does not live"),
        ([replace(3, 5, 1), replaced(3, 5, 99_00, keeps=True)], "order 3 moved or grew"),
        ([replace(3, 5, 1), replaced(3, 11, 100_00, keeps=True)], "order 3 moved or grew"),
        ([replace(3, 5, 1), replaced(3, 5, 0, keeps=False)], "order 3 has no price"),
        ([CancelOrder(1, 1, 0), Triggered(1, 3, 3, AAPL, BUY, 10, 1)], "waited for no stop price"),
        ([CancelOrder(1, 1, 0), Triggered(1, 4, 4, AAPL, BUY, 6, 1)], "woke with another size"),
        ([DefineInstrument(AAPL, 1, 1, ord("Y"))], "AAPL was listed twice"),
        ([SetTradingState(b"UNKNOWN ", ord("H"))], "no instrument UNKNOWN"),
        ([SetTradingState(AAPL, ord("?"))], "trading state 63 is not known"),
    ],
)
def test_a_group_that_contradicts_the_books_raises(messages: list[Message], reason: str) -> None:
    tape = Tape()
    assert tape.enter(BUY, 10, 100_00) == 3
    assert tape.enter(BUY, 5, 101_00, order_type=OrderType.STOP_LIMIT, stop_price=102_00) == 4
    with pytest.raises(BookError, match=reason):
        tape.books.apply(group_at(5, *messages))


@pytest.mark.parametrize(("side", "price"), [(BUY, 101_00), (SELL, 100_00)])
def test_an_order_that_rests_where_it_should_have_traded_raises(side: Side, price: int) -> None:
    tape = Tape()
    tape.enter(BUY, 10, 100_00)
    tape.enter(SELL, 10, 101_00)
    with pytest.raises(BookError, match="order 5 rests where it should have traded"):
        tape.enter(side, 1, price)


@pytest.mark.parametrize("first", [2, 4, 9])
def test_a_group_that_does_not_follow_the_last_one_raises(first: int) -> None:
    tape = Tape()
    with pytest.raises(BookError, match=f"the group at {first} does not follow 2"):
        tape.books.apply(group_at(first, Epoch(2, holder_field("e2"))))
    assert tape.books.sequence == 2


def test_check_finds_levels_and_orders_that_disagree() -> None:
    tape = Tape()
    number = tape.enter(BUY, 10, 100_00)
    order = tape.books._orders[number]
    order.quantity = 9
    with pytest.raises(BookError, match="a level's sum"):
        tape.books.check()
    order.quantity = 10
    order.price = 99_00
    with pytest.raises(BookError, match="another place than it knows"):
        tape.books.check()
    order.price = 100_00
    del tape.books._orders[number]
    with pytest.raises(BookError, match="hold different orders"):
        tape.books.check()


def test_a_new_book_is_empty_and_has_not_traded() -> None:
    book = Book(AAPL)
    book.check()
    assert (book.bids(), book.asks(), book.best_bid, book.best_ask) == ([], [], None, None)
    assert (book.last_price, book.last_quantity, book.volume, book.trade_count) == (
        None,
        None,
        0,
        0,
    )
