"""A subscriber's books when an instrument moves to another shard, and when one arrives."""

import pytest

from feed.book import BookError
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    BookSide,
    CancelOrder,
    Capacity,
    InstrumentState,
    Message,
    MoveOut,
    OrderState,
    OrderType,
    PostOnly,
    Rejected,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
)
from tests.feed.test_book import AAPL, BUY, MSFT, SELL, Tape, canceled, group_at, trade

OUT = MoveOut(AAPL, 2)
STATE = InstrumentState(AAPL, 100, 1, ShortSale.ALLOWED, TradingState.HALTED, 100_00, 1, 0)
ARRIVES = AdoptInstrument(AAPL, 50, 10, ShortSale.ALLOWED, 99_00, 2)


def leaves(
    number: int, side: Side, quantity: int, price: int, stop_price: int = 0, symbol: bytes = AAPL
) -> OrderState:
    return OrderState(
        *(number, 1, number, symbol, side, OrderType.LIMIT, TimeInForce.DAY, PostOnly.NO),
        *(Capacity.AGENCY, quantity, quantity, 0, price, stop_price),
    )


def arrives(
    source: int, side: Side, quantity: int, price: int, stop_price: int = 0, symbol: bytes = AAPL
) -> AdoptOrder:
    return AdoptOrder(
        *(symbol, 2, source, 1, source, side, OrderType.LIMIT, TimeInForce.DAY, PostOnly.NO),
        *(Capacity.AGENCY, quantity, quantity, 0, price, stop_price),
    )


def halted() -> Tape:
    """Books with a bid of 10, an ask of 20 of which 5 have traded, a stop, and another symbol."""
    tape = Tape()
    assert tape.enter(BUY, 10, 99_00) == 3
    assert tape.enter(SELL, 20, 100_00) == 4
    tape.enter(BUY, 5, 100_00, trade(4, 5, 100_00))
    stop = tape.enter(BUY, 7, 103_00, order_type=OrderType.STOP_LIMIT, stop_price=102_00)
    assert stop == 7
    tape.add(AdoptInstrument(MSFT, 1, 1, ShortSale.ALLOWED, 0, 1))
    tape.add(arrives(3, BUY, 9, 50_00, symbol=MSFT))
    tape.add(SetTradingState(AAPL, TradingState.HALTED))
    return tape


BID, ASK, STOP = leaves(3, BUY, 10, 99_00), leaves(4, SELL, 15, 100_00), leaves(7, BUY, 7, 10300, 1)


def test_an_instrument_that_moves_takes_its_orders_along_and_leaves_its_tape() -> None:
    tape = halted()
    tape.add(OUT, STATE, BID, ASK, STOP)
    book = tape.books[AAPL]
    assert book.trading_state is TradingState.MOVED
    assert (tape.entries(), book.bids(), book.asks()) == ([], [], [])
    assert (book.last_price, book.volume, book.trade_count) == (100_00, 5, 1)
    assert [entry.symbol for entry in tape.books.entries()] == [MSFT]
    assert tape.books.order_count == 1


def test_a_move_that_was_refused_leaves_the_orders() -> None:
    tape = halted()
    entries = tape.entries()
    tape.add(OUT, Rejected(0, 0, 26))
    assert tape.entries() == entries
    assert tape.books[AAPL].trading_state is TradingState.HALTED


def test_an_instrument_arrives_with_its_orders_in_their_priority() -> None:
    tape = halted()
    tape.add(OUT, STATE, BID, ASK, STOP)
    tape.add(ARRIVES)
    book = tape.books[AAPL]
    assert book.trading_state is TradingState.ARRIVING
    assert (book.tick_size, book.lot_size, book.last_price, book.volume) == (50, 10, 99_00, 5)
    # The sources' numbers say nothing here; a later one may have been the first to come.
    first = tape.add(arrives(21, SELL, 3, 101_00))
    second = tape.add(arrives(22, SELL, 4, 101_00))
    waits = tape.add(arrives(23, SELL, 5, 98_00, stop_price=97_00))
    assert tape.entries() == [
        (BookSide.ASK, 101_00, first, 3),
        (BookSide.ASK, 101_00, second, 4),
    ]
    assert tape.books.order_count == 4
    tape.add(SetTradingState(AAPL, TradingState.HALTED))
    tape.add(SetTradingState(AAPL, TradingState.TRADING))
    assert tape.books[AAPL] is book
    assert tape.books[AAPL].trading_state is TradingState.TRADING
    tape.enter(BUY, 3, 101_00, trade(first, 3, 101_00))
    tape.add(CancelOrder(1, 23, 0), canceled(waits, 5))
    assert tape.entries() == [(BookSide.ASK, 101_00, second, 4)]


def test_an_instrument_that_was_never_here_arrives_without_a_last_price() -> None:
    tape = Tape()
    tape.add(AdoptInstrument(MSFT, 1, 10, ShortSale.ALLOWED, 0, 1))
    tape.add(ShardMark(2, 77))
    book = tape.books[MSFT]
    assert (book.trading_state, book.last_price, book.trade_count) == (
        *(TradingState.ARRIVING, None, 0),
    )


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([OUT, STATE, BID, ASK], r"AAPL has moved without its orders \[7\]"),
        ([OUT, STATE, BID, BID, ASK, STOP], "order 3, which does not live"),
        ([OUT, STATE, BID._replace(leaves=9)], "order 3 leaves with other terms"),
        ([OUT, STATE, BID._replace(price=98_00)], "order 3 leaves with other terms"),
        ([OUT, STATE, BID._replace(side=SELL)], "order 3 leaves with other terms"),
        ([OUT, STATE, BID._replace(symbol=MSFT)], "order 3 leaves with other terms"),
        ([OUT, STATE, BID._replace(stop_price=1)], "order 3 leaves with other terms"),
        ([OUT, STATE, ASK, STOP._replace(stop_price=0)], "order 7 leaves with other terms"),
        ([MoveOut(b"NONE    ", 2)], "no instrument NONE"),
        ([ARRIVES], "AAPL arrives, and never left"),
        ([AdoptInstrument(MSFT, 1, 1, ShortSale.ALLOWED, 0, 2)], "MSFT arrives, and never left"),
        ([arrives(9, BUY, 1, 99_00)], "AAPL does not"),
        ([arrives(9, BUY, 1, 99_00, symbol=b"NONE    ")], "no instrument NONE"),
        ([arrives(9, BUY, 0, 49_00, symbol=MSFT)], "lives with nothing left"),
        ([arrives(9, BUY, 1, 0, symbol=MSFT)], "has no price to rest at"),
        ([arrives(9, SELL, 1, 50_00, symbol=MSFT)], "rests where it should have traded"),
    ],
)
def test_a_move_that_contradicts_the_books_raises(messages: list[Message], reason: str) -> None:
    tape = halted()
    with pytest.raises(BookError, match=reason):
        tape.books.apply(group_at(tape.books.sequence + 1, *messages))
