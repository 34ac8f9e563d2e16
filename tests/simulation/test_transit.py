"""Orders that move from shard to shard: each arrives once, as it left; anything else is found."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from engine.market import Market
from feed.codec import Frame, decode_frame, encode_group
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Command,
    DefineInstrument,
    InstrumentState,
    LogIn,
    Message,
    MoveOut,
    OrderState,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    Side,
    TradingState,
)
from tests.simulation.test_expectation import ACME, order
from tools.simulation.expectation import Expectation
from tools.simulation.transit import Transit

BUY, SELL = Side.BUY, Side.SELL


class Shard:
    """A market, and what is expected of it."""

    def __init__(self, transit: Transit) -> None:
        self.market = Market()
        self.expectation = Expectation(transit)
        self.next_sequence = 1

    def submit(self, command: Command) -> list[Frame]:
        """The machine carries a command out; the group."""
        return self.write(command, *self.market.apply(self.next_sequence, 1, command))

    def write(self, *group: Message) -> list[Frame]:
        """This is committed, whatever the machine thinks of it."""
        frames = [decode_frame(data) for data in encode_group(group, self.next_sequence, 1)]
        self.expectation.take(frames)
        self.next_sequence += len(frames)
        return frames

    @property
    def held(self) -> list[tuple[int, ...]]:
        """What is open, by the market."""
        orders = sorted(self.market.orders.values(), key=lambda each: each.user_ref_num)
        return [(each.user_ref_num, each.quantity, each.executed, each.leaves) for each in orders]

    @property
    def expected(self) -> list[tuple[int, ...]]:
        """What is open, by the list."""
        orders = sorted(self.expectation.orders.values(), key=lambda each: each.user_ref_num)
        return [(each.user_ref_num, each.quantity, each.executed, each.open) for each in orders]


class Move:
    """Client 1 has three orders in the first shard, one of them executed in part, and ACME leaves
    it for the second one."""

    def __init__(self) -> None:
        self.transit = Transit()
        self.source, self.to = Shard(self.transit), Shard(self.transit)
        source = self.source
        source.submit(DefineInstrument(ACME, 1, 1, ShortSale.ALLOWED))
        for client in (1, 2):
            source.submit(LogIn(client, client, SelfTradePrevention.CANCEL_NEWEST))
        numbers = count(1)
        for quantity, price in ((10, 100), (7, 99), (5, 100)):
            source.submit(order(1, next(numbers), BUY, quantity, price))
        source.submit(order(2, 1, SELL, 4, 100))
        source.submit(SetTradingState(ACME, TradingState.HALTED))
        self.left = source.submit(MoveOut(ACME, 2))

    @property
    def adoptions(self) -> list[AdoptOrder]:
        """What has to be said in the second shard."""
        states = [(frame.sequence, frame.message()) for frame in self.left[2:]]
        return [_adoption(sequence, state) for sequence, state in states]

    def adopt_instrument(self) -> None:
        state = self.left[1].message()
        assert isinstance(state, InstrumentState)
        self.to.submit(AdoptInstrument(*state[:4], state.last_price, state.moves))

    def arrive(self, orders: Sequence[AdoptOrder] | None = None) -> None:
        """All of it comes to the second shard, unless other orders are given."""
        self.adopt_instrument()
        for each in self.adoptions if orders is None else orders:
            self.to.submit(each)


def _adoption(sequence: int, state: Message) -> AdoptOrder:
    assert isinstance(state, OrderState)
    _, client, user_ref_num, symbol, *terms = state
    return AdoptOrder(symbol, 1, sequence, client, user_ref_num, *terms)


@pytest.fixture
def move() -> Move:
    return Move()


def test_a_move_brings_all_orders_over(move: Move) -> None:
    before = [(1, 10, 4, 6), (2, 7, 0, 7), (3, 5, 0, 5)]
    assert move.source.expected == move.source.held == []
    assert not move.transit.is_empty
    move.arrive()
    assert move.to.expected == move.to.held == before
    assert move.transit.is_empty
    assert move.transit.moved == {ACME}


def test_a_move_there_and_back_brings_them_over_twice(move: Move) -> None:
    move.arrive()
    move.to.submit(SetTradingState(ACME, TradingState.HALTED))
    left = move.to.submit(MoveOut(ACME, 1))
    state = left[1].message()
    assert isinstance(state, InstrumentState)
    move.source.submit(AdoptInstrument(*state[:4], state.last_price, state.moves))
    for frame in left[2:]:
        adoption = _adoption(frame.sequence, frame.message())
        move.source.submit(adoption._replace(moves=2))
    assert move.source.expected == move.source.held
    assert len(move.source.held) == 3
    assert move.to.expected == move.to.held == []


def test_an_order_that_is_left_behind_is_found(move: Move) -> None:
    move.arrive(move.adoptions[:-1])
    assert not move.transit.is_empty


def test_an_order_that_arrives_twice_is_found(move: Move) -> None:
    move.arrive()
    with pytest.raises(AssertionError, match="adopts an order again, or another one"):
        move.to.write(move.adoptions[0])


def test_an_order_that_arrives_out_of_its_turn_is_found(move: Move) -> None:
    first, second, _ = move.adoptions
    move.arrive([second])
    with pytest.raises(AssertionError, match="comes too late"):
        move.to.write(first)


@pytest.mark.parametrize(
    "change",
    [{"leaves": 5}, {"executed": 0}, {"price": 101}, {"client": 2}, {"side": int(SELL)}],
)
def test_an_order_that_is_not_as_it_left_is_found(move: Move, change: dict[str, Any]) -> None:
    move.adopt_instrument()
    first = next(each for each in move.adoptions if each.user_ref_num == 1)
    with pytest.raises(AssertionError, match="left as"):
        move.to.write(first._replace(**change))


def test_an_instrument_that_nobody_let_go_is_found(move: Move) -> None:
    with pytest.raises(AssertionError, match="never left anywhere"):
        move.to.write(AdoptInstrument(ACME, 1, 1, ShortSale.ALLOWED, 100, 2))


def test_an_instrument_that_comes_twice_or_otherwise_is_found(move: Move) -> None:
    with pytest.raises(AssertionError, match="and came with"):
        move.to.write(AdoptInstrument(ACME, 1, 1, ShortSale.ALLOWED, 101, 1))
    move.adopt_instrument()
    with pytest.raises(AssertionError, match="comes a second time"):
        move.to.write(AdoptInstrument(ACME, 1, 1, ShortSale.ALLOWED, 100, 1))


def test_orders_that_stay_behind_are_found() -> None:
    move = Move()
    shard = Shard(Transit())
    shard.submit(DefineInstrument(ACME, 1, 1, ShortSale.ALLOWED))
    shard.submit(LogIn(1, 1, SelfTradePrevention.CANCEL_NEWEST))
    shard.submit(order(1, 1, BUY, 10, 100))
    shard.submit(SetTradingState(ACME, TradingState.HALTED))
    with pytest.raises(AssertionError, match=r"left orders .* behind"):
        shard.write(MoveOut(ACME, 2), move.left[1].message())


def test_an_order_that_leaves_otherwise_than_it_was_is_found(move: Move) -> None:
    move.arrive()
    move.to.submit(SetTradingState(ACME, TradingState.HALTED))
    instrument, state, *_ = move.to.market.apply(move.to.next_sequence, 1, MoveOut(ACME, 1))
    assert isinstance(state, OrderState)
    with pytest.raises(AssertionError, match="and left as"):
        move.to.write(MoveOut(ACME, 1), instrument, state._replace(leaves=1))
