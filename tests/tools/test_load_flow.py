from collections import Counter
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.checks import MAX_PRICE, MAX_QUANTITY
from engine.settings import InstrumentSettings
from feed.messages import OrderType, Side, TimeInForce
from tools.load.flow import (
    MAX_LIVE_ORDERS,
    Cancel,
    ClientFlow,
    Enter,
    LoadCommand,
    MassCancel,
    PriceWalk,
    Replace,
)

AAPL = InstrumentSettings(symbol="AAPL")
BOND = InstrumentSettings(symbol="BOND", tick_size=2500, lot_size=100, short_sale=False)


def draw(seed: int, client: str, count: int, *instruments: InstrumentSettings) -> list[LoadCommand]:
    flow = ClientFlow(seed, client, instruments or (AAPL, BOND))
    return [flow.next_command() for _ in range(count)]


def test_the_same_seed_and_client_draw_the_same_commands() -> None:
    assert draw(1, "ALICE", 2000) == draw(1, "ALICE", 2000)


@pytest.mark.parametrize(("seed", "client"), [(2, "ALICE"), (1, "BOB")])
def test_another_seed_or_client_draws_other_commands(seed: int, client: str) -> None:
    assert draw(1, "ALICE", 50) != draw(seed, client, 50)


def test_all_clients_of_a_seed_see_the_same_prices_wander() -> None:
    walks = [PriceWalk(7, AAPL) for _ in range(2)]
    seen = []
    for _ in range(500):
        for walk in walks:
            walk.step()
        assert walks[0].price(0) == walks[1].price(0)
        seen.append(walks[0].price(0))
    assert len(set(seen)) > 3
    assert all(abs(after - before) <= AAPL.tick_size for before, after in pairwise(seen))


def test_a_flow_holds_every_kind_of_command() -> None:
    commands = draw(1, "ALICE", 20_000)
    kinds = Counter(type(command) for command in commands)
    assert set(kinds) == {Enter, Replace, Cancel, MassCancel}
    orders = [command for command in commands if isinstance(command, Enter)]
    assert {order.order_type for order in orders} == set(OrderType)
    assert {order.time_in_force for order in orders} == set(TimeInForce)
    assert {order.side for order in orders} == set(Side)
    assert {order.post_only for order in orders} == {True, False}
    assert {order.symbol for order in orders} == {"AAPL", "BOND"}
    symbols = {command.symbol for command in commands if isinstance(command, MassCancel)}
    assert symbols == {"AAPL", "BOND", None}
    reductions = {command.remaining > 0 for command in commands if isinstance(command, Cancel)}
    assert reductions == {True, False}


def test_what_may_not_be_sold_short_is_not() -> None:
    orders = [command for command in draw(1, "ALICE", 5000, BOND) if isinstance(command, Enter)]
    assert {order.side for order in orders} == {Side.BUY, Side.SELL}


@given(
    seed=st.integers(),
    tick_size=st.integers(1, 2**32 - 1),
    lot_size=st.integers(1, MAX_QUANTITY),
)
def test_prices_and_quantities_fit_the_instrument(seed: int, tick_size: int, lot_size: int) -> None:
    instrument = InstrumentSettings(symbol="X", tick_size=tick_size, lot_size=lot_size)
    for command in draw(seed, "ALICE", 60, instrument):
        if isinstance(command, Enter | Replace):
            assert 0 < command.quantity <= MAX_QUANTITY
            assert command.quantity % lot_size == 0
            stop_price = command.stop_price if isinstance(command, Enter) else None
            for price in filter(None, (command.price, stop_price)):
                assert price > 0
                assert price % tick_size == 0
                assert price <= MAX_PRICE or tick_size > MAX_PRICE // 100


def test_what_a_flow_names_is_live_as_far_as_it_knows_and_never_too_much() -> None:
    live: dict[int, str] = {}
    keys = count()  # each but cancels takes the next one
    for command in draw(3, "ALICE", 20_000):
        match command:
            case Enter(key=key, symbol=symbol, order_type=order_type, time_in_force=time_in_force):
                assert key == next(keys)
                rests = time_in_force in (TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL)
                if rests and order_type != OrderType.MARKET:
                    live[key] = symbol
            case Replace(original_key=original, key=key):
                assert key == next(keys)
                live[key] = live.pop(original)
            case Cancel(key=key, remaining=0):
                del live[key]
            case Cancel(key=key):
                assert key in live
            case MassCancel(key=key, symbol=gone):
                assert key == next(keys)
                live = {each: name for each, name in live.items() if gone not in (None, name)}
        assert len(live) <= MAX_LIVE_ORDERS
