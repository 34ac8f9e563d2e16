"""Snapshots as lists of records, which tests can change and put together again."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import cast

from engine.markets import MarketMachine, ReferenceMarket
from feed.codec import encode_frame
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Capacity,
    LogIn,
    Message,
    MoveOut,
    NewDay,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    ShardMark,
    ShortSale,
    State,
    TimeInForce,
    TradingState,
    symbol_field,
)
from feed.run import Run, run_of_frames
from tests.engine.floor import ALICE, BOB, BUY, CAROL, MSFT, SELL, SELL_SHORT, Floor
from tests.engine.machines import ByBytes

GTC = TimeInForce.GOOD_TILL_CANCEL
NEW = symbol_field("NEW")
STRANGER = 4  # whose orders come from another shard
ARRIVAL = AdoptInstrument(NEW, 5, 10, ShortSale.FORBIDDEN, 100, 3)
ADOPTED = AdoptOrder(
    symbol=NEW,
    moves=3,
    source_sequence=70,
    client=ALICE,
    user_ref_num=9,
    side=BUY,
    order_type=OrderType.LIMIT,
    time_in_force=GTC,
    post_only=PostOnly.NO,
    capacity=Capacity.AGENCY,
    quantity=50,
    leaves=20,
    executed=10,
    price=95,
    stop_price=0,
)


def rich_market() -> MarketMachine:
    """A market with something of every kind in its state.

    AAPL has two bids at one price and one below, two asks, two buy stops and two sell stops, a last
    price, and orders that have traded or been reduced; MSFT is halted; the day is 2026-01-05.
    """
    driven = ByBytes(ReferenceMarket)
    floor = Floor(driven)
    floor.submit(NewDay(20260105))
    floor.enter(ALICE, BUY, 10, 95)
    floor.enter(BOB, BUY, 10, 95, time=GTC)
    floor.enter(CAROL, BUY, 10, 94)
    floor.enter(BOB, SELL, 10, 100)
    floor.cancel(floor.enter(ALICE, SELL_SHORT, 10, 105, time=GTC), remaining=4)
    floor.enter(CAROL, BUY, 3, 100)
    floor.enter(ALICE, BUY, 5, stop=110)
    floor.enter(BOB, BUY, 5, 112, stop=111, time=GTC)
    floor.enter(ALICE, SELL, 5, 80, stop=90)
    floor.enter(CAROL, SELL, 5, stop=85, time=TimeInForce.FILL_OR_KILL)
    floor.enter(BOB, BUY, 20, 50, symbol=MSFT)
    floor.set_state(MSFT, TradingState.HALTED)
    floor.log_in(CAROL, SelfTradePrevention.CANCEL_OLDEST)
    return driven.machine


def moving_market() -> MarketMachine:
    """A market whose instruments come and go, with marks of two other shards.

    AAPL trades; MSFT has moved away; NEW arrives, by now with a bid and a stop.
    """
    driven = ByBytes(ReferenceMarket)
    floor = Floor(driven)
    floor.submit(ShardMark(9, 70))
    floor.submit(ShardMark(2, 5))
    floor.submit(LogIn(BOB, 77, SelfTradePrevention.OFF, 12))
    floor.enter(ALICE, BUY, 10, 95)
    floor.enter(ALICE, BUY, 10, 95, symbol=MSFT)
    floor.set_state(MSFT, TradingState.HALTED)
    floor.submit(MoveOut(MSFT, 2))
    floor.submit(ARRIVAL)
    floor.submit(ADOPTED)
    stop = ADOPTED._replace(order_type=OrderType.STOP, price=0, stop_price=105, executed=0)
    floor.submit(stop._replace(source_sequence=72, client=STRANGER))
    return driven.machine


def records(machine: MarketMachine) -> list[State]:
    """A machine's state, record by record."""
    return [cast(State, frame.message()) for run in machine.snapshot(1, 0) for frame in run]


def frames_of(state: Iterable[Message], first_sequence: int = 1) -> list[bytes]:
    """Records as frames, as a snapshot has them."""
    numbers = count(first_sequence)
    return [encode_frame(record, next(numbers), 0, end=False) for record in state]


def run_of_records(state: Sequence[Message], first_sequence: int = 1) -> Run:
    """Records as one run."""
    return run_of_frames(first_sequence, frames_of(state, first_sequence))
