"""What is let into the list at all: exactly once, and only from the client's current log-in."""

from collections.abc import Callable

import pytest

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    Epoch,
    LogIn,
    MassCancel,
    OrderType,
    PostOnly,
    Rejected,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    TimeInForce,
    TradingState,
    holder_field,
)
from tests.engine.floor import AAPL, ALICE, BOB, BUY, MSFT, SELL, Floor, canceled, row

STRANGER = 77
OFF = SelfTradePrevention.OFF


def order(client: int, user_ref_num: int) -> EnterOrder:
    return EnterOrder(
        client=client,
        user_ref_num=user_ref_num,
        symbol=AAPL,
        side=BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        post_only=PostOnly.NO,
        quantity=10,
        price=100,
        stop_price=0,
        capacity=Capacity.AGENCY,
        client_order_id=NO_CLIENT_ORDER_ID,
    )


def replace(client: int, user_ref_num: int) -> ReplaceOrder:
    return ReplaceOrder(
        client=client,
        original_user_ref_num=1,
        user_ref_num=user_ref_num,
        quantity=5,
        price=100,
        stop_price=0,
        time_in_force=TimeInForce.DAY,
        client_order_id=NO_CLIENT_ORDER_ID,
    )


def mass_cancel(
    client: int, user_ref_num: int, symbol: bytes = ALL_SYMBOLS, reason: int = CancelReason.USER
) -> MassCancel:
    return MassCancel(client, user_ref_num, symbol, reason)


# Exactly once


@pytest.mark.parametrize("make", [order, replace, mass_cancel])
def test_numbered_command_is_admitted_only_above_the_clients_last_number(
    floor: Floor, make: Callable[[int, int], Command]
) -> None:
    floor.user_ref_nums[ALICE] = 4
    floor.enter(ALICE, BUY, 10, 100)
    numbers = [0, 1, 4, 5, 6, 9] if make is not mass_cancel else [1, 4, 5, 6, 9]
    assert [number for number in numbers if admits(floor, make(ALICE, number))] == [6, 9]
    assert admits(floor, make(BOB, 1))


@pytest.mark.parametrize("make", [order, replace, mass_cancel])
def test_refused_command_spends_its_number_too(
    floor: Floor, make: Callable[[int, int], Command]
) -> None:
    refused = floor.enter(ALICE, BUY, 0, 100)
    assert refused.events
    assert not admits(floor, make(ALICE, refused.user_ref_num))
    assert admits(floor, make(ALICE, refused.user_ref_num + 1))


def test_accepted_mass_cancel_and_replace_spend_their_numbers(floor: Floor) -> None:
    old = floor.enter(ALICE, BUY, 10, 100)
    new = floor.replace(old, 10, 101)
    assert not admits(floor, order(ALICE, new.user_ref_num))
    floor.mass_cancel(ALICE)
    assert not admits(floor, order(ALICE, new.user_ref_num + 1))
    assert admits(floor, order(ALICE, new.user_ref_num + 2))


# Cancels


def test_cancel_of_what_has_ended_is_not_admitted(floor: Floor) -> None:
    filled = floor.enter(ALICE, BUY, 10, 100)
    floor.enter(BOB, SELL, 10, 100)
    old = floor.enter(ALICE, BUY, 10, 100)
    new = floor.replace(old, 10, 101)
    never_rested = floor.enter(ALICE, BUY, 0, 100)
    spent = [filled.user_ref_num, old.user_ref_num, never_rested.user_ref_num, 0]
    assert not any(admits(floor, CancelOrder(ALICE, number, 0)) for number in spent)
    assert admits(floor, CancelOrder(ALICE, new.user_ref_num, 0))


def test_cancel_is_admitted_only_where_more_is_open_than_should_remain(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 100)
    floor.enter(BOB, SELL, 4, 100)
    cancels = [CancelOrder(ALICE, bid.user_ref_num, remaining) for remaining in (0, 5, 6, 7, 10)]
    assert [admits(floor, cancel) for cancel in cancels] == [True, True, False, False, False]


def test_cancel_of_another_clients_order_finds_nothing(floor: Floor) -> None:
    floor.enter(ALICE, BUY, 10, 100)
    floor.enter(BOB, BUY, 10, 0, time=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert not admits(floor, CancelOrder(BOB, 1, 0))


def test_cancel_of_what_is_still_to_come_is_admitted_and_spends_no_number(floor: Floor) -> None:
    cancel = CancelOrder(ALICE, 3, 0)
    assert admits(floor, cancel)
    floor.submit(cancel)
    assert admits(floor, order(ALICE, 1))
    assert admits(floor, order(ALICE, 3))


def test_gateways_mass_cancel_is_admitted_only_where_it_cancels_something(floor: Floor) -> None:
    floor.enter(ALICE, BUY, 10, stop=100)
    floor.enter(BOB, BUY, 10, 100, symbol=MSFT)
    commands = [
        mass_cancel(ALICE, 0),
        mass_cancel(ALICE, 0, AAPL),
        mass_cancel(ALICE, 0, MSFT),
        mass_cancel(ALICE, 0, b"NOBODY  "),
        mass_cancel(ALICE, 0, AAPL, reason=0),
    ]
    assert [admits(floor, command) for command in commands] == [True, True, False, False, False]
    floor.submit(mass_cancel(ALICE, 0))
    assert not admits(floor, mass_cancel(ALICE, 0))


# Log-ins


def test_log_in_is_admitted_once_and_never_for_nobody(floor: Floor) -> None:
    login = floor.logins[ALICE]
    assert not admits(floor, LogIn(ALICE, login, OFF))
    assert not admits(floor, LogIn(ALICE, login, SelfTradePrevention.CANCEL_BOTH))
    assert not admits(floor, LogIn(ALICE, 0, OFF))
    assert not admits(floor, LogIn(STRANGER, 0, OFF))
    assert not admits(floor, LogIn(0, 9, OFF))
    assert admits(floor, LogIn(ALICE, login + 1, OFF))
    assert admits(floor, LogIn(STRANGER, login, OFF))


@pytest.mark.parametrize(
    "command",
    [
        order(ALICE, 9),
        replace(ALICE, 9),
        mass_cancel(ALICE, 9),
        mass_cancel(ALICE, 0),
        CancelOrder(ALICE, 1, 0),
        CancelOrder(ALICE, 9, 0),
    ],
)
def test_nothing_is_admitted_under_a_log_in_that_is_not_the_current_one(
    floor: Floor, command: Command
) -> None:
    earlier = floor.logins[ALICE]
    floor.enter(ALICE, BUY, 10, 100)
    assert floor.market.admits(earlier, command)
    floor.log_in(ALICE, OFF)
    logins = [earlier, floor.logins[ALICE], 0, 12345]
    assert [floor.market.admits(login, command) for login in logins] == [False, True, False, False]


def test_nothing_is_admitted_from_a_client_that_never_logged_in(floor: Floor) -> None:
    commands: list[Command] = [
        order(STRANGER, 1),
        CancelOrder(STRANGER, 1, 0),
        mass_cancel(STRANGER, 1),
    ]
    logins = (0, 1, floor.logins[ALICE])
    assert not any(floor.market.admits(login, each) for login in logins for each in commands)


def test_refused_log_in_leaves_the_earlier_one_in_force(floor: Floor) -> None:
    login = floor.logins[ALICE]
    floor.submit(LogIn(ALICE, login + 1, 0))
    assert floor.market.admits(login, order(ALICE, 1))
    assert not floor.market.admits(login + 1, order(ALICE, 1))


def test_new_log_in_keeps_orders_and_the_last_number(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 100)
    floor.log_in(ALICE, OFF)
    assert not admits(floor, order(ALICE, bid.user_ref_num))
    assert floor.book() == [row(bid, 100, 10)]
    assert floor.cancel(bid) == [canceled(bid, 10, CancelReason.USER)]


# What no client sends


def test_operators_commands_are_always_admitted(floor: Floor) -> None:
    for command in (
        Epoch(1, holder_field("e1")),
        DefineInstrument(b"NEW     ", 1, 1, ShortSale.ALLOWED),
        SetTradingState(AAPL, TradingState.TRADING),
        SetTradingState(b"NOBODY  ", 0),
    ):
        assert floor.market.admits(0, command)


def test_instrument_that_is_listed_exactly_so_is_not_listed_again(floor: Floor) -> None:
    listed = DefineInstrument(AAPL, 1, 1, ShortSale.ALLOWED)
    assert not floor.market.admits(0, listed)
    others = (
        listed._replace(symbol=b"NEW     "),
        listed._replace(tick_size=2),
        listed._replace(lot_size=2),
        listed._replace(short_sale=ShortSale.FORBIDDEN),
    )
    for other in others:
        assert floor.market.admits(0, other)
    # Other terms are refused in the list, for all to see, and the first ones stand.
    assert floor.submit(others[1]) == [Rejected(0, 0, RejectReason.INSTRUMENT_EXISTS)]
    assert not floor.market.admits(0, listed)


def test_epoch_stands_alone(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 100)
    assert floor.submit(Epoch(2, holder_field("e2"))) == []
    assert floor.book() == [row(bid, 100, 10)]


def admits(floor: Floor, command: Command) -> bool:
    """Whether the command is admitted under its client's log-in."""
    return floor.market.admits(floor.logins.get(getattr(command, "client", 0), 0), command)
