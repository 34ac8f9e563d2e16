"""The kernel with deep books that move: buffers that grow, records that are used again, marks.

What an instrument does on its way is in test_market_moves.py and test_market_arrivals.py.
"""

import os
from collections.abc import Sequence
from random import Random
from typing import TypeVar

import pytest

from engine.market import MAX_MARKS
from engine.markets import KernelMarket, MarketMachine
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Command,
    LogIn,
    MarkState,
    MoveOut,
    OrderState,
    OrderType,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    Trade,
    TradingState,
)
from feed.run import Run
from tests.engine.agreement import Agreement
from tests.engine.moves import GOOG, ORDER, enter
from tests.engine.test_machines_agree import STATM, resident_bytes

if KernelMarket is None:
    pytest.skip("the kernel was not built here", allow_module_level=True)

# Compiled code that never ends can only be ended with its process.
pytestmark = pytest.mark.timeout(method="thread")

# As many as it takes for the kernel to look ahead, which it does not in a small market.
MANY = 17_000
CLIENTS = 50
SELLER = CLIENTS + 1
HALT = SetTradingState(GOOG, TradingState.HALTED)
RESUME = SetTradingState(GOOG, TradingState.TRADING)
LEAVE = MoveOut(GOOG, 2)
M = TypeVar("M")


@pytest.fixture
def pair() -> Agreement:
    """The reference and the kernel, driven side by side."""
    assert KernelMarket is not None
    return Agreement(KernelMarket)


def test_ten_thousand_orders_are_adopted_at_one_price_and_trade_in_their_priority(
    pair: Agreement,
) -> None:
    submit(pair, [arrival(1), *(order(n, 1, price=100) for n in range(1, 10_001))])
    pair.compare()
    assert pair.other.live_orders == 10_000
    submit(pair, [HALT, RESUME, LogIn(SELLER, 1, SelfTradePrevention.OFF)])
    sweep = enter(SELLER, 1, GOOG)._replace(side=Side.SELL, quantity=100_000)
    run = pair.submit([Submission(1, sweep)], 0)
    makers = [trade.maker_user_ref_num for trade in messages(run, Trade)]
    assert makers == list(range(1, len(makers) + 1))
    assert pair.other.live_orders == 10_000 - len(makers) + 1
    pair.compare()


def test_a_deep_book_with_stops_leaves_and_comes_back_the_same(pair: Agreement) -> None:
    deepen(pair)
    before = book(pair.other)
    submit(pair, [HALT, LEAVE])
    run = pair.list[-1]
    assert (len(run), pair.other.live_orders) == (3 + MANY, 0)
    pair.compare()
    submit(pair, [arrival(3), *adopted(run, 3)])
    pair.compare()
    assert book(pair.other) == before


def test_a_machine_follows_and_completes_the_move_of_a_deep_book(pair: Agreement) -> None:
    deepen(pair)
    submit(pair, [HALT])
    listed = [*pair.list]
    submit(pair, [LEAVE])
    move = pair.list[-1]
    for cut in (1, 2, len(move) // 2, len(move)):
        machine = following(listed)
        beginning = move.part(move.first_sequence, move.first_sequence + cut - 1)
        completed = machine.complete(beginning)
        assert isinstance(completed, Run)
        assert completed.data == move.data
        assert machine.digest() == pair.reference.digest()
    assert following([*listed, move]).digest() == pair.reference.digest()


def test_a_book_that_came_whole_is_the_same_after_a_snapshot(pair: Agreement) -> None:
    deepen(pair)
    assert KernelMarket is not None
    restored = KernelMarket()
    restored.restore(pair.reference.snapshot(1, 0))
    restored.check()
    assert restored.digest() == pair.reference.digest()
    leaving = encoded([HALT, LEAVE, arrival(3), order(1, 3, price=100)])
    wanted = pair.reference.submit(leaving, pair.next_sequence, 0)
    assert restored.submit(leaving, pair.next_sequence, 0) == wanted
    assert restored.digest() == pair.reference.digest()


def test_a_small_move_comes_out_right_after_a_great_one(pair: Agreement) -> None:
    """The buffers of the great one have been given back."""
    deepen(pair)
    submit(pair, [HALT, LEAVE])
    for moves in range(3, 9, 2):
        submit(pair, [arrival(moves), *(order(n, moves, price=100) for n in range(1, 4))])
        submit(pair, [HALT, LEAVE])
        assert len(pair.list[-1]) == 6
        pair.compare()


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell what is in memory")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer keeps what was given back")
def test_records_of_a_book_that_has_left_are_used_again() -> None:
    assert KernelMarket is not None
    machine = KernelMarket()
    sequence = 1
    orders = [order(n, 1, price=n) for n in range(1, 5_001)]

    def come_and_go(moves: int) -> None:
        nonlocal sequence
        coming = [each._replace(moves=moves) for each in orders]
        made = machine.submit(encoded([arrival(moves), *coming]), sequence, 0)
        assert (made.not_admitted, machine.live_orders) == (0, len(orders))
        sequence = made.run.next_sequence
        sequence = machine.submit(encoded([HALT, LEAVE]), sequence, 0).run.next_sequence
        assert machine.live_orders == 0
        machine.check()

    for moves in range(1, 40, 2):
        if moves == 7:
            before = resident_bytes()
        come_and_go(moves)
    # New records for each of the other sixteen would take half a megabyte or more.
    assert resident_bytes() < before + 3_000_000


@pytest.mark.parametrize("seed", range(5))
def test_marks_come_in_any_order_until_the_table_is_full(pair: Agreement, seed: int) -> None:
    random = Random(seed)
    shards = random.sample(range(1, 2**16), MAX_MARKS + 5)
    shards[:2] = [1, 2**16 - 1]
    for shard in shards:
        submit(pair, [ShardMark(shard, random.randrange(1, 2**64)) for _ in range(3)])
        pair.compare()
    last = [ShardMark(shard, 2**64 - 1) for shard in shards]
    submit(pair, last)
    pair.compare()
    assert pair.other.submit(encoded(last), pair.next_sequence, 0).not_admitted == len(last)
    marks = [frame.message() for run in pair.other.snapshot(1, 0) for frame in run][1:]
    assert marks == [MarkState(shard, 2**64 - 1) for shard in sorted(shards[:MAX_MARKS])]


def arrival(moves: int) -> AdoptInstrument:
    return AdoptInstrument(GOOG, 1, 1, ShortSale.ALLOWED, 0, moves)


def order(number: int, moves: int, *, price: int) -> AdoptOrder:
    """The order that comes as this one, with terms of its own."""
    return ORDER._replace(
        symbol=GOOG,
        moves=moves,
        source_sequence=number,
        client=1 + number % CLIENTS,
        user_ref_num=number,
        quantity=60,
        leaves=1 + number % 40,
        executed=number % 20,
        price=price,
    )


def deepen(pair: Agreement) -> None:
    """Let an instrument arrive with bids, asks and stops at many prices, some of them alike."""
    random = Random(1)
    orders = []
    for number in range(1, MANY + 1):
        price = random.randrange(1, 4_000)
        side = random.choice((Side.BUY, Side.SELL))
        coming = order(number, 1, price=price if side == Side.BUY else 4_000 + price)
        coming = coming._replace(side=side)
        if number % 3 == 0:
            coming = coming._replace(order_type=OrderType.STOP, price=0, stop_price=price)
            coming = coming._replace(executed=0)
        orders.append(coming)
    submit(pair, [arrival(1), *orders])
    assert pair.other.live_orders == MANY


def submit(pair: Agreement, commands: Sequence[Command]) -> None:
    pair.submit([Submission(0, command) for command in commands], 0)


def encoded(commands: Sequence[Command]) -> bytes:
    return b"".join(encode_submission(Submission(0, command)) for command in commands)


def adopted(run: Run, moves: int) -> list[AdoptOrder]:
    """The commands that bring back the orders that this run took away."""
    return [
        AdoptOrder(state.symbol, moves, place, state.client, state.user_ref_num, *state[4:])
        for place, state in enumerate(messages(run, OrderState), 1)
    ]


def messages(run: Run, kind: type[M]) -> list[M]:
    """What is of this kind in a run."""
    return [message for frame in run if isinstance(message := frame.message(), kind)]


def book(machine: MarketMachine) -> list[tuple[int, int, int]]:
    """The resting orders, but for their numbers."""
    return [(entry.side, entry.price, entry.quantity) for entry in machine.book_entries()]


def following(runs: Sequence[Run]) -> MarketMachine:
    """A kernel that has carried out this list."""
    assert KernelMarket is not None
    machine = KernelMarket()
    for run in runs:
        assert machine.follow(run) == (len(run), None)
    return machine
