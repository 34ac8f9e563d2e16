"""The state digest: equal for equal lists, different as soon as any one piece of state differs."""

import pytest

from feed.messages import (
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    MoveOut,
    OrderType,
    PostOnly,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
    symbol_field,
)
from tests.engine.driving import drive
from tests.engine.machines import MACHINES, ByBytes
from tests.engine.moves import ARRIVAL
from tests.engine.moves import ORDER as ADOPTED
from tests.engine.strategies import seeded_submissions

AAPL = symbol_field("AAPL")
ALICE, BOB, CAROL = 1, 2, 3
LISTING = DefineInstrument(AAPL, 1, 1, ShortSale.ALLOWED)
LOG_INS = [LogIn(client, 7, SelfTradePrevention.OFF) for client in (ALICE, BOB, CAROL)]


def order(client: int = ALICE, user_ref_num: int = 1, **terms: int) -> EnterOrder:
    return EnterOrder(
        client=client,
        user_ref_num=user_ref_num,
        symbol=AAPL,
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        post_only=PostOnly.NO,
        quantity=10,
        price=100,
        stop_price=0,
        capacity=Capacity.AGENCY,
        client_order_id=NO_CLIENT_ORDER_ID,
    )._replace(**terms)  # type: ignore[arg-type]


def replace(
    client: int, original: int, user_ref_num: int, quantity: int, price: int = 100
) -> ReplaceOrder:
    return ReplaceOrder(
        client, original, user_ref_num, quantity, price, 0, TimeInForce.DAY, NO_CLIENT_ORDER_ID
    )


def immediate(client: int, user_ref_num: int, side: Side, quantity: int) -> EnterOrder:
    time_in_force = TimeInForce.IMMEDIATE_OR_CANCEL
    return order(client, user_ref_num, side=side, quantity=quantity, time_in_force=time_in_force)


STOP_LIMIT = order(order_type=OrderType.STOP_LIMIT, side=Side.BUY, stop_price=100)


def digest(*commands: Command, listing: DefineInstrument = LISTING, spacing: int = 10) -> bytes:
    """The digest after these commands, which is the same by every machine.

    Each command has a sequence number that does not depend on how many events the earlier ones
    caused, so that states differ in what they are meant to.
    """
    digests = set()
    for build in MACHINES.values():
        market = ByBytes(build)
        for sequence, command in enumerate((listing, *LOG_INS, *commands), 1):
            market.apply(spacing * sequence, 0, command)
            market.check()
        digests.add(market.digest())
    assert len(digests) == 1, "machines differ"
    return digests.pop()


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("seed", range(300, 305))
def test_machines_that_were_fed_one_list_have_one_digest_all_along(machine: str, seed: int) -> None:
    submissions = seeded_submissions(seed, count=300)
    first, second = ByBytes(MACHINES["reference"]), ByBytes(MACHINES[machine])
    for _ in zip(drive(first, submissions), drive(second, submissions), strict=True):
        assert first.digest() == second.digest()


def test_command_that_is_refused_changes_the_digest_only_by_its_user_ref_num() -> None:
    refused = order(user_ref_num=5, quantity=0)
    assert digest(refused) != digest()
    assert digest(refused) == digest(MassCancel(ALICE, 5, AAPL, 0))
    assert digest(CancelOrder(ALICE, 5, 0)) == digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (order(), order(client=BOB)),
        (order(), order(user_ref_num=2)),
        (order(), order(side=Side.SELL_SHORT)),
        (order(), order(side=Side.BUY)),
        (order(), order(quantity=11)),
        (order(), order(price=101)),
        (order(), order(post_only=PostOnly.YES)),
        (order(), order(capacity=Capacity.PRINCIPAL)),
        (STOP_LIMIT, STOP_LIMIT._replace(stop_price=101)),
        (STOP_LIMIT, STOP_LIMIT._replace(price=101)),
        (STOP_LIMIT, STOP_LIMIT._replace(time_in_force=TimeInForce.FILL_OR_KILL)),
        (STOP_LIMIT, STOP_LIMIT._replace(order_type=OrderType.STOP, price=0)),
        (STOP_LIMIT, STOP_LIMIT._replace(quantity=11)),
        (LogIn(ALICE, 8, SelfTradePrevention.OFF), LogIn(ALICE, 9, SelfTradePrevention.OFF)),
        (
            LogIn(ALICE, 8, SelfTradePrevention.OFF),
            LogIn(ALICE, 8, SelfTradePrevention.CANCEL_NEWEST),
        ),
        (LogIn(4, 8, SelfTradePrevention.OFF), LogIn(5, 8, SelfTradePrevention.OFF)),
        (LogIn(4, 8, SelfTradePrevention.OFF), LogIn(4, 8, SelfTradePrevention.OFF, 1)),
        (ShardMark(2, 7), ShardMark(3, 7)),
        (ShardMark(2, 7), ShardMark(2, 8)),
        (ARRIVAL, ARRIVAL._replace(tick_size=10)),
        (ARRIVAL, ARRIVAL._replace(last_price=0)),
        (ARRIVAL, ARRIVAL._replace(moves=2)),
        (SetTradingState(AAPL, TradingState.HALTED), SetTradingState(AAPL, TradingState.TRADING)),
    ],
)
def test_digest_differs_when_one_field_of_the_state_does(one: Command, other: Command) -> None:
    same_last_numbers = [MassCancel(client, 9, AAPL, 0) for client in (ALICE, BOB, CAROL)]
    assert digest(one, *same_last_numbers) != digest(other, *same_last_numbers)


@pytest.mark.parametrize(
    "listing",
    [
        LISTING._replace(symbol=symbol_field("MSFT")),
        LISTING._replace(tick_size=2),
        LISTING._replace(lot_size=2),
        LISTING._replace(short_sale=ShortSale.FORBIDDEN),
    ],
)
def test_digest_differs_when_an_instruments_rules_do(listing: DefineInstrument) -> None:
    assert digest(listing=listing) != digest()


@pytest.mark.parametrize(
    "terms", [{"source_sequence": 71}, {"client": BOB}, {"leaves": 21}, {"executed": 11}]
)
def test_digest_differs_when_only_an_adopted_order_does(terms: dict[str, int]) -> None:
    other = ADOPTED._replace(**terms)  # type: ignore[arg-type]
    assert digest(ARRIVAL, ADOPTED) != digest(ARRIVAL, other)


def test_digest_differs_by_what_is_left_of_an_instrument_that_has_moved() -> None:
    """Its orders are not, whatever they were; that it was here is."""
    halt = SetTradingState(AAPL, TradingState.HALTED)
    gone = digest(halt, MoveOut(AAPL, 2))
    assert gone != digest(halt)
    same_last_number = MassCancel(ALICE, 9, AAPL, CancelReason.USER)
    left: list[Command] = [halt, MoveOut(AAPL, 2), same_last_number]
    assert digest(order(), *left) == digest(order(price=101), *left) == digest(*left)


def test_digest_differs_by_the_last_price_of_an_instrument_that_has_moved() -> None:
    def after_a_trade_at(price: int) -> bytes:
        halt = SetTradingState(AAPL, TradingState.HALTED)
        trade = [order(price=price), order(BOB, 1, side=Side.BUY, price=price)]
        return digest(*trade, halt, MoveOut(AAPL, 2), spacing=20)

    assert after_a_trade_at(100) != after_a_trade_at(101)


def test_digest_differs_when_an_orders_number_does() -> None:
    assert digest(order(), spacing=10) != digest(order(), spacing=11)


def test_digest_differs_when_only_the_last_price_does() -> None:
    def after_a_trade_at(price: int) -> bytes:
        return digest(order(price=price), order(BOB, 1, side=Side.BUY, price=price))

    assert after_a_trade_at(100) != after_a_trade_at(101)


def test_digest_differs_when_only_the_priority_of_two_orders_does() -> None:
    bobs, replaced = order(BOB, 1), replace(ALICE, 1, 2, quantity=11)
    keeps_its_place = digest(order(quantity=11), bobs, replaced)
    loses_its_place = digest(order(quantity=10), bobs, replaced)
    assert keeps_its_place != loses_its_place


def test_digest_differs_when_only_the_place_among_the_stops_does() -> None:
    one = order(order_type=OrderType.STOP, price=0, stop_price=50)
    other = one._replace(client=BOB)

    def after(*replaced_clients: int) -> bytes:
        return digest(one, other, *(replace(client, 1, 2, 10, 0) for client in replaced_clients))

    assert after(ALICE, BOB) != after(BOB, ALICE)


def test_digest_differs_when_only_the_executed_quantity_does() -> None:
    """Either way 5 of Bob's order are open, at one last price, but a replace would differ."""
    executed = [
        immediate(ALICE, 1, Side.SELL, 5),
        order(BOB, 1, quantity=10),
        immediate(CAROL, 1, Side.BUY, 5),
    ]
    untouched = [
        order(ALICE, 1, quantity=5),
        order(BOB, 1, quantity=5),
        immediate(CAROL, 1, Side.BUY, 5),
    ]
    assert digest(*executed) != digest(*untouched)


def test_digest_differs_until_a_stop_order_has_woken() -> None:
    """Then it is a limit order like any other."""
    trade_at_100 = [order(BOB, 1), order(CAROL, 1, side=Side.BUY)]
    resting = digest(order(side=Side.BUY, price=90), *trade_at_100)
    assert digest(STOP_LIMIT._replace(price=90, stop_price=101), *trade_at_100) != resting
    assert digest(STOP_LIMIT._replace(price=90, stop_price=100), *trade_at_100) == resting
