"""An instrument comes in from another shard, and its orders after it."""

from collections.abc import Callable

import pytest

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    AdoptOrder,
    CancelOrder,
    CancelReason,
    Command,
    LogIn,
    MassCancel,
    NewDay,
    OrderType,
    ReplaceOrder,
    SelfTradePrevention,
    TimeInForce,
)
from tests.engine.floor import (
    AAPL,
    ALICE,
    BOB,
    BUY,
    CAROL,
    MSFT,
    SELL,
    SELL_SHORT,
    Floor,
    canceled,
    rejected,
    row,
    trade,
)
from tests.engine.moves import (
    ARRIVAL,
    DAVE,
    DAY,
    GOOG,
    GTC,
    HALTED,
    ORDER,
    STOP,
    TRADING,
    arriving,
    enter,
    refused,
    ticket,
)

# In


def test_an_instrument_arrives_with_its_orders_in_their_priority(floor: Floor) -> None:
    first, second = ORDER, ORDER._replace(source_sequence=72, client=BOB, executed=0, leaves=50)
    ask = ORDER._replace(source_sequence=80, side=SELL, price=100, user_ref_num=10)
    behind = ask._replace(source_sequence=81, client=CAROL)
    assert arriving(floor, first, second, ask, behind) == [[]] * 4
    number = floor.next_sequence - 4
    assert floor.book(GOOG) == [
        row(ticket(first, number), 95, 20),
        row(ticket(second, number + 1), 95, 50),
        row(ticket(ask, number + 2), 100, 20),
        row(ticket(behind, number + 3), 100, 20),
    ]


def test_adopted_orders_trade_by_their_priority_once_trading_resumes(floor: Floor) -> None:
    first, second = ORDER, ORDER._replace(source_sequence=71, client=BOB)
    arriving(floor, first, second)
    number = floor.next_sequence - 2
    floor.set_state(GOOG, HALTED)
    floor.set_state(GOOG, TRADING)
    taker = floor.enter(CAROL, SELL, 30, 95, symbol=GOOG)
    assert taker.events == [
        trade(ticket(first, number), taker, 20, 95),
        trade(ticket(second, number + 1), taker, 10, 95),
    ]


@pytest.mark.parametrize("stop", [STOP, STOP._replace(order_type=OrderType.STOP_LIMIT, price=110)])
def test_an_adopted_stop_waits_for_its_price(floor: Floor, stop: AdoptOrder) -> None:
    arriving(floor, stop)
    number = floor.next_sequence - 1
    floor.set_state(GOOG, HALTED)
    floor.set_state(GOOG, TRADING)
    assert floor.book(GOOG) == []
    floor.enter(BOB, SELL, 10, 105, symbol=GOOG)
    taker = floor.enter(CAROL, BUY, 10, 105, symbol=GOOG)
    assert [event[:3] for event in taker.events[1:2]] == [(ALICE, 9, number)]


def test_the_last_price_comes_with_the_instrument(floor: Floor) -> None:
    """So a new stop that it has reached already is triggered at once."""
    arriving(floor)
    floor.set_state(GOOG, HALTED)
    floor.set_state(GOOG, TRADING)
    stop = floor.enter(ALICE, BUY, 10, stop=100, symbol=GOOG)
    assert len(stop.events) == 2  # triggered, and canceled: nothing is there to trade with
    assert floor.enter(ALICE, BUY, 10, stop=105, symbol=GOOG).events == []


def test_nobody_enters_or_replaces_while_it_arrives_but_cancels_work(floor: Floor) -> None:
    arriving(floor, ORDER)
    order = ticket(ORDER, floor.next_sequence - 1)
    entered = floor.enter(BOB, SELL, 10, 95, symbol=GOOG)
    assert entered.events == [rejected(entered, RejectReason.HALTED)]
    floor.user_ref_nums[ALICE] = 20
    replaced = floor.replace(order, 40, 95)
    assert replaced.events == [rejected(replaced, RejectReason.HALTED)]
    assert floor.cancel(order, remaining=5) == [canceled(order, 15, CancelReason.USER)]
    assert floor.mass_cancel(ALICE) == [canceled(order, 5, CancelReason.USER)]


def test_an_arrival_ends_with_a_halt_and_only_then_trading_begins(floor: Floor) -> None:
    arriving(floor, ORDER)
    assert floor.set_state(GOOG, TRADING) == refused(RejectReason.NOT_HALTED)
    late = ORDER._replace(source_sequence=99, user_ref_num=10)
    assert floor.market.admits(0, late)
    assert floor.set_state(GOOG, HALTED) == []
    assert not floor.market.admits(0, late)
    assert not floor.market.admits(0, ARRIVAL)
    assert floor.set_state(GOOG, TRADING) == []
    assert not floor.market.admits(0, late)


def test_an_arrival_and_its_orders_take_effect_once(floor: Floor) -> None:
    second = ORDER._replace(source_sequence=75, user_ref_num=10)
    arriving(floor, ORDER, second)
    assert not floor.market.admits(0, ARRIVAL)
    assert not floor.market.admits(0, ORDER)
    assert not floor.market.admits(0, second)
    assert not floor.market.admits(0, second._replace(source_sequence=74))
    assert floor.market.admits(0, second._replace(source_sequence=76))


def test_orders_of_another_move_or_of_another_instrument_are_not_admitted(floor: Floor) -> None:
    assert not floor.market.admits(0, ORDER)
    arriving(floor)
    others = [ORDER._replace(moves=moves) for moves in (0, 2)]
    others += [ORDER._replace(symbol=symbol) for symbol in (AAPL, b"NOBODY  ", ALL_SYMBOLS)]
    assert not any(floor.market.admits(0, other) for other in others)
    assert floor.market.admits(0, ORDER)


def test_an_order_that_should_not_have_been_admitted_is_rejected_and_changes_nothing(
    floor: Floor,
) -> None:
    arriving(floor, ORDER)
    later = ORDER._replace(source_sequence=99, user_ref_num=10)
    sequence = floor.next_sequence
    for wrong in (
        ORDER._replace(user_ref_num=10),
        later._replace(moves=2),
        later._replace(symbol=AAPL),
        later._replace(symbol=b"NOBODY  "),
    ):
        events = floor.market.apply(sequence, 0, wrong)
        assert events == refused(RejectReason.INVALID_ORDER)
        sequence += 2
    assert floor.market.admits(0, later._replace(source_sequence=71))
    assert len(floor.book(GOOG)) == 1


@pytest.mark.parametrize(
    ("reason", "terms"),
    [
        (RejectReason.INVALID_SYMBOL, {"symbol": ALL_SYMBOLS}),
        (RejectReason.INSTRUMENT_EXISTS, {"symbol": AAPL}),
        (RejectReason.INVALID_TICK_OR_LOT_SIZE, {"tick_size": 0}),
        (RejectReason.INVALID_TICK_OR_LOT_SIZE, {"lot_size": 0}),
        (RejectReason.INVALID_SHORT_SALE, {"short_sale": 0}),
        (RejectReason.INVALID_PRICE, {"last_price": 101}),
        (RejectReason.INVALID_PRICE, {"last_price": 2**32 + 5}),
    ],
)
def test_an_instrument_that_can_not_arrive_is_rejected(
    floor: Floor, reason: RejectReason, terms: dict[str, int]
) -> None:
    wrong = ARRIVAL._replace(**terms)  # type: ignore[arg-type]
    assert floor.market.apply(floor.next_sequence, 0, wrong) == refused(reason)
    floor.next_sequence += 2
    assert arriving(floor, ORDER) == [[]]


def test_what_trades_or_arrives_here_does_not_arrive_again(floor: Floor) -> None:
    arriving(floor)
    floor.set_state(MSFT, HALTED)
    for symbol in (AAPL, MSFT, GOOG):
        assert not floor.market.admits(0, ARRIVAL._replace(symbol=symbol, moves=99))


@pytest.mark.parametrize(
    "terms",
    [
        {"side": 0},
        {"side": SELL_SHORT},  # GOOG is never sold short
        {"order_type": 0},
        {"order_type": OrderType.MARKET, "price": 0},
        {"time_in_force": 0},
        {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL},
        {"post_only": 0},
        {"capacity": 0},
        {"quantity": 55},
        {"quantity": 1_000_000},
        {"leaves": 0},
        {"leaves": 41},
        {"executed": 2**32 - 1},
        {"price": 0},
        {"price": 96},
        {"price": 2**32 + 95},
        {"price": 110},  # crosses the ask
        {"side": SELL, "price": 90},  # crosses the bid
        {"stop_price": 105},
        {"client": CAROL, "user_ref_num": 2},  # lives here
        {"order_type": OrderType.STOP, "executed": 0, "price": 0, "stop_price": 106},
        {"order_type": OrderType.STOP, "executed": 0, "price": 0, "stop_price": 100},  # reached
        {"order_type": OrderType.STOP, "executed": 1, "price": 0, "stop_price": 105},
        {"order_type": OrderType.STOP, "executed": 0, "price": 95, "stop_price": 105},
    ],
    ids=str,
)
def test_an_order_that_can_not_live_is_rejected_and_the_next_one_comes(
    floor: Floor, terms: dict[str, int]
) -> None:
    floor.user_ref_nums[CAROL] = 1
    floor.enter(CAROL, BUY, 10, 95)
    ask = ORDER._replace(source_sequence=60, side=SELL, price=110, client=BOB)
    bid = ask._replace(source_sequence=61, side=BUY, price=90, user_ref_num=10)
    arriving(floor, ask, bid)
    before = floor.book(GOOG)
    wrong = ORDER._replace(**{"client": DAVE, **terms})  # type: ignore[arg-type]
    assert floor.submit(wrong) == refused(RejectReason.INVALID_ORDER)
    assert floor.book(GOOG) == before
    # It has had its turn, right or wrong.
    assert not floor.market.admits(0, ORDER)
    assert floor.submit(ORDER._replace(source_sequence=71)) == []
    assert len(floor.book(GOOG)) == 3


def test_an_order_for_which_there_is_no_room_is_rejected(
    small_floor: Callable[[int], Floor],
) -> None:
    floor = small_floor(2)
    floor.enter(ALICE, BUY, 10, 95)
    second = ORDER._replace(source_sequence=71, user_ref_num=10)
    assert arriving(floor, ORDER, second) == [[], refused(RejectReason.INVALID_ORDER)]


# Clients


def test_an_order_may_come_for_a_client_that_never_logged_in_here(floor: Floor) -> None:
    arriving(floor, ORDER._replace(client=DAVE))
    order = ticket(ORDER._replace(client=DAVE), floor.next_sequence - 1)
    commands: list[Command] = [
        CancelOrder(DAVE, 9, 0),
        MassCancel(DAVE, 0, ALL_SYMBOLS, CancelReason.LINK_LOST),
        enter(DAVE, 10),
    ]
    assert not any(floor.market.admits(0, command) for command in commands)
    floor.submit(LogIn(DAVE, 5, SelfTradePrevention.OFF, 40))
    floor.logins[DAVE] = 5
    assert all(floor.market.admits(5, command) for command in commands)
    assert floor.cancel(order) == [canceled(order, 20, CancelReason.USER)]


def test_the_number_of_an_adopted_order_does_not_spend_those_below_it(floor: Floor) -> None:
    arriving(floor, ORDER)
    login = floor.logins[ALICE]
    assert floor.market.admits(login, enter(ALICE, 1))
    assert floor.market.admits(login, enter(ALICE, 8))
    assert floor.market.admits(login, enter(ALICE, 10))


def test_what_names_a_living_order_is_a_repeat(floor: Floor) -> None:
    arriving(floor, ORDER)
    login = floor.logins[ALICE]
    assert not floor.market.admits(login, enter(ALICE, 9))
    replace = ReplaceOrder(ALICE, 9, 9, 40, 95, 0, DAY, NO_CLIENT_ORDER_ID)
    assert not floor.market.admits(login, replace)
    assert floor.market.admits(login, replace._replace(user_ref_num=1))
    assert not floor.market.admits(login, MassCancel(ALICE, 9, AAPL, CancelReason.USER))
    assert floor.market.admits(login, MassCancel(ALICE, 8, AAPL, CancelReason.USER))


def test_an_adopted_order_is_canceled_by_the_number_that_it_came_with(floor: Floor) -> None:
    arriving(floor, ORDER)
    order = ticket(ORDER, floor.next_sequence - 1)
    assert not floor.market.admits(floor.logins[ALICE], CancelOrder(ALICE, 9, 20))
    assert floor.cancel(order) == [canceled(order, 20, CancelReason.USER)]


def test_an_adopted_order_remembers_what_it_has_executed(floor: Floor) -> None:
    """A replace counts it."""
    arriving(floor, ORDER)
    floor.set_state(GOOG, HALTED)
    floor.set_state(GOOG, TRADING)
    order = ticket(ORDER, floor.next_sequence - 3)
    floor.user_ref_nums[ALICE] = 9
    too_few = floor.replace(order, 10, 95)
    assert too_few.events == [rejected(too_few, RejectReason.QUANTITY_ALREADY_EXECUTED)]
    floor.replace(order, 20, 95)
    assert floor.book(GOOG) == [row(order, 95, 10)]


def test_orders_for_the_day_that_came_expire_with_it(floor: Floor) -> None:
    lasting = ORDER._replace(source_sequence=71, user_ref_num=10, time_in_force=GTC)
    arriving(floor, ORDER, lasting)
    number = floor.next_sequence - 2
    expired = canceled(ticket(ORDER, number), 20, CancelReason.EXPIRED)
    assert floor.submit(NewDay(20260105)) == [expired]
    assert floor.book(GOOG) == [row(ticket(lasting, number + 1), 95, 20)]
