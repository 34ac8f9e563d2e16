"""A symbol moves with its orders, whatever goes wrong in between."""

import asyncio
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control import LINE_LIMIT_BYTES
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    AdoptOrder,
    CancelOrder,
    Capacity,
    EnterOrder,
    LogIn,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    SetTradingState,
    Side,
    TimeInForce,
    TradingState,
    symbol_field,
)
from tests.tools.moving_shards import FakeShard, InterruptedMoveError, Trouble
from tools import moving
from tools.console import CommandError
from tools.moving import BATCH_ORDERS, Moved, move_symbol

AAPL = symbol_field("AAPL")
CLIENTS = (1, 2, 3)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few orders take several requests, and nothing is waited for."""
    monkeypatch.setattr(moving, "BATCH_ORDERS", 4)
    monkeypatch.setattr(moving, "CALM_S", 0)


def enter(client: int, number: int, side: Side, price: int, stop: int = 0) -> EnterOrder:
    return EnterOrder(
        client=client,
        user_ref_num=number,
        symbol=AAPL,
        side=side,
        order_type=OrderType.STOP_LIMIT if stop else OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        post_only=PostOnly.NO,
        quantity=100 + number,
        price=price,
        stop_price=stop,
        capacity=Capacity.AGENCY,
        client_order_id=NO_CLIENT_ORDER_ID,
    )


def source_with_orders(trouble: Trouble, *, seed: int = 1, count: int = 40) -> FakeShard:
    """AAPL is halted in shard 1, with orders of three clients, some of them stops, some traded."""
    source = FakeShard(1, trouble)
    source.list_symbol("AAPL")
    random = Random(seed)
    for client in CLIENTS:
        source.submit(LogIn(client, client, SelfTradePrevention.OFF))
    for number in range(1, count + 1):
        side = random.choice([Side.BUY, Side.SELL])
        away = random.randint(-2, 20)
        price = 10_000 - away if side is Side.BUY else 10_000 + away
        stop = 0
        if random.randrange(4) == 0:
            stop = price = 10_000 + (100 + away if side is Side.BUY else -100 - away)
        client = random.choice(CLIENTS)
        source.submit(enter(client, number, side, price, stop), client)
    source.submit(SetTradingState(AAPL, TradingState.HALTED))
    return source


def moved(source: FakeShard, destination: FakeShard) -> Moved:
    return asyncio.run(move_symbol("AAPL", source, destination))


def test_all_orders_come_over_in_their_places_and_the_symbol_stays_halted() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    orders = source.orders("AAPL")
    assert len(orders) > 20
    quantity = sum(order[8] for order in orders)
    assert moved(source, destination) == Moved("AAPL", 1, 2, len(orders), quantity, 1)
    assert destination.orders("AAPL") == orders
    assert source.orders("AAPL") == []
    states = [asyncio.run(shard.instrument("AAPL")) for shard in (source, destination)]
    assert [(known.state, known.moves) for known in states if known] == [
        ("MOVED", 1),
        ("HALTED", 1),
    ]
    destination.market.check()


def test_symbol_moves_there_and_back_and_there_again() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    orders = source.orders("AAPL")
    for moves, (one, other) in enumerate(
        [(source, destination), (destination, source), (source, destination)], 1
    ):
        assert moved(one, other).moves == moves
        assert other.orders("AAPL") == orders
        assert one.orders("AAPL") == []


def test_symbol_without_orders_moves_too() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble, count=0), FakeShard(2, trouble)
    assert moved(source, destination)[3:] == (0, 0, 1)


def test_what_was_moved_is_moved_again_without_effect() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    first = moved(source, destination)
    groups = [*source.groups], [*destination.groups]
    assert moved(source, destination) == first
    assert (source.groups, destination.groups) == groups


@given(
    st.integers(0, 15), st.integers(0, 15), st.frozensets(st.integers(0, 15)), st.integers(0, 99)
)
def test_move_that_is_interrupted_anywhere_is_finished_by_the_next_one(
    before: int, after: int, loses: frozenset[int], seed: int
) -> None:
    """Killed twice, and with primaries that die before what they did is committed."""
    trouble = Trouble(dies_before=before, dies_after=after, loses=loses)
    source, destination = source_with_orders(trouble, seed=seed), FakeShard(2, trouble)
    orders = source.orders("AAPL")
    result = None
    for _ in range(3):
        try:
            result = moved(source, destination)
            break
        except InterruptedMoveError:
            continue
    assert result is not None
    assert result.orders == len(orders)
    assert destination.orders("AAPL") == orders
    assert source.orders("AAPL") == []


def test_order_that_its_client_canceled_while_it_arrived_is_not_missed() -> None:
    trouble = Trouble(dies_after=4)
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    orders = source.orders("AAPL")
    with pytest.raises(InterruptedMoveError):
        moved(source, destination)
    client, number, *_ = destination.orders("AAPL")[0]
    destination.submit(LogIn(client, 77, SelfTradePrevention.OFF))
    destination.submit(CancelOrder(client, number, 0), 77)
    assert moved(source, destination).orders == len(orders)
    assert destination.orders("AAPL") == [each for each in orders if each[:2] != (client, number)]


def test_order_that_the_other_shard_does_not_take_is_told() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    client, number, *_ = source.orders("AAPL")[3]
    destination.list_symbol("MSFT")
    destination.submit(LogIn(client, 77, SelfTradePrevention.OFF))
    own = enter(client, number, Side.BUY, 50)._replace(symbol=symbol_field("MSFT"))
    destination.submit(own, 77)
    with pytest.raises(CommandError, match=rf"1 did not arrive in shard 2.*: {number} of client"):
        moved(source, destination)


def test_symbol_that_trades_is_not_moved() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    source.submit(SetTradingState(AAPL, TradingState.TRADING))
    with pytest.raises(CommandError, match="halt it first, with lockstep halt AAPL"):
        moved(source, destination)
    assert (trouble.count, destination.groups) == (0, [])


def test_symbol_that_is_not_there_is_not_moved() -> None:
    trouble = Trouble()
    with pytest.raises(CommandError, match="AAPL is not listed in shard 1"):
        moved(FakeShard(1, trouble), FakeShard(2, trouble))


def test_symbol_that_still_arrives_is_not_moved_on() -> None:
    trouble = Trouble(dies_after=3)
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    with pytest.raises(InterruptedMoveError):
        moved(source, destination)
    with pytest.raises(CommandError, match="AAPL is still arriving in shard 2: finish that move"):
        moved(destination, FakeShard(3, trouble))


def test_symbol_that_the_other_shard_has_as_its_own_is_not_overwritten() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    destination.list_symbol("AAPL")
    with pytest.raises(CommandError, match="has a AAPL of its own"):
        moved(source, destination)


def test_departure_that_nobody_holds_is_told() -> None:
    trouble = Trouble()
    source, destination = source_with_orders(trouble), FakeShard(2, trouble)
    source.holds_departures = False
    with pytest.raises(CommandError, match="nobody in shard 1 holds the frames any more"):
        moved(source, destination)


def test_shard_that_does_nothing_is_given_up() -> None:
    trouble = Trouble(loses=frozenset(range(1000)))
    with pytest.raises(CommandError, match="shard 1 does not let AAPL go"):
        moved(source_with_orders(trouble), FakeShard(2, trouble))


def test_requests_fit_into_a_line_of_the_control_port() -> None:
    most = 2**63 - 1
    order = AdoptOrder(AAPL, *[most] * 14)
    request = moving._adopt_orders("AAPL", [order] * BATCH_ORDERS)
    assert len(json.dumps(request)) < LINE_LIMIT_BYTES
