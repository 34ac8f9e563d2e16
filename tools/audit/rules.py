"""Does an event follow from the orders? What must hold of every single one, by itself.

Written from docs/machine.md; shares no code with the engine. Each rule looks at the orders as they
are just before the event.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from feed.messages import (
    ALL_SYMBOLS,
    AdoptOrder,
    Canceled,
    CancelOrder,
    CancelReason,
    Command,
    EnterOrder,
    InstrumentState,
    MassCancel,
    NewDay,
    OrderState,
    PostOnly,
    Replaced,
    ReplaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    TradingState,
    Triggered,
    unpad,
)
from tools.audit.records import Client, Instrument, Order, Standing
from tools.prices import format_price

RESTING_TIMES = frozenset({int(TimeInForce.DAY), int(TimeInForce.GOOD_TILL_CANCEL)})


class Fault(NamedTuple):
    """Why something can't be, and what would have been right."""

    text: str
    expected: str = ""


def trade_faults(
    trade: Trade,
    maker: Order,
    taker: Order,
    instrument: Instrument,
    active: Order | None,
    mode: int,
) -> Iterator[Fault]:
    """What is wrong with a trade of these orders.

    `active` is the order that is being matched; `mode` the taker's self-trade prevention.
    """
    if instrument.is_halted:
        yield Fault("the instrument is halted", "no trade")
    if maker.is_buy is taker.is_buy:
        yield Fault("both orders are on the same side", "a buy and a sell")
    if (trade.taker_side == Side.BUY) is not taker.is_buy:
        yield Fault("the taker is on the other side", "buy" if taker.is_buy else "sell")
    yield from _faults_of_one(trade, maker, "maker")
    yield from name_faults(maker, trade.maker_client, trade.maker_user_ref_num)
    yield from _faults_of_one(trade, taker, "taker")
    yield from name_faults(taker, trade.taker_client, trade.taker_user_ref_num)
    if taker is not active:
        yield Fault(f"{taker} is not the order that is being matched", str(active or "no trade"))
    if taker.post_only:
        yield Fault(f"{taker} is post-only, and takes", "no trade")
    if maker.standing is not Standing.RESTING:
        yield Fault(f"the maker, {maker}, does not rest in the book")
    elif trade.price != maker.limit:
        yield Fault(
            f"the price {format_price(trade.price)} is not the maker's", format_price(maker.limit)
        )
    first = instrument.book(is_buy=maker.is_buy).first()
    if first is not None and first is not maker:
        yield Fault(
            f"{maker} traded before its turn", f"{first} first, at {format_price(first.limit)}"
        )
    if maker.client == taker.client and mode != SelfTradePrevention.OFF:
        yield Fault(
            f"client {taker.client} traded with itself",
            f"{SelfTradePrevention(mode).name}, as it asked for when it logged in",
        )


def _faults_of_one(trade: Trade, order: Order, role: str) -> Iterator[Fault]:
    """What is wrong with a trade for one of its orders."""
    if trade.symbol != order.symbol:
        yield Fault(f"the {role}, {order}, is in another instrument", unpad(order.symbol))
    if not 0 < trade.quantity <= order.open:
        text = f"the {role}, {order}, has no {trade.quantity:,} open"
        yield Fault(text, f"at most {order.open:,}")
    if order.limit:
        is_worse = trade.price > order.limit if order.is_buy else trade.price < order.limit
        if is_worse:
            text = f"the {role}, {order}, does not allow the price {format_price(trade.price)}"
            yield Fault(
                text, f"{format_price(order.limit)} or {'less' if order.is_buy else 'more'}"
            )


def name_faults(order: Order, client: int, user_ref_num: int) -> Iterator[Fault]:
    """What is wrong with how an event calls an order."""
    if (client, user_ref_num) != (order.client, order.user_ref_num):
        yield Fault(
            f"order {order.number:,} is said to be client {client}'s {user_ref_num}", str(order)
        )


def cancel_faults(
    event: Canceled, order: Order, command: Command, active: Order | None, *, has_traded: bool
) -> Iterator[Fault]:
    """What is wrong with taking this off an order, in the group of this command.

    `has_traded`: whether the order that is being matched has traded since it came in.
    """
    yield from name_faults(order, event.client, event.user_ref_num)
    if not 0 < event.quantity <= order.open:
        yield Fault(f"{order} has no {event.quantity:,} open", f"at most {order.open:,}")
    reason = event.reason
    match command:
        case NewDay():
            if order.time_in_force != TimeInForce.DAY:
                yield Fault(f"{order} is not for the day", "only orders for the day expire")
            is_right = reason == CancelReason.EXPIRED
        case MassCancel():
            if order.client != command.client or command.symbol not in (ALL_SYMBOLS, order.symbol):
                yield Fault(f"{order} is none of those to cancel", f"{command}")
            is_right = reason == command.reason
        case CancelOrder():
            if (order.client, order.user_ref_num) != (command.client, command.user_ref_num):
                yield Fault(f"{order} is not the one to cancel", f"{command}")
            is_right = reason == CancelReason.USER
        case EnterOrder() | ReplaceOrder():
            if reason == CancelReason.SELF_TRADE:
                is_right = active is not None and active.client == order.client
            else:
                is_right = order is active and _may_leave_nothing(order, reason)
            if reason == CancelReason.FILL_OR_KILL and has_traded:
                yield Fault(f"{order} was killed after it had traded", "all of it, or nothing")
        case _:
            is_right = False
    if not is_right:
        yield Fault(f"{order} was canceled for a reason that it does not have in this group")


def _may_leave_nothing(order: Order, reason: int) -> bool:
    """Whether what is left of an order after matching is taken off for this reason."""
    if order.time_in_force == TimeInForce.FILL_OR_KILL:
        return reason == CancelReason.FILL_OR_KILL
    return reason == CancelReason.IMMEDIATE and not may_rest(order)


def replace_faults(event: Replaced, order: Order, command: ReplaceOrder) -> Iterator[Fault]:
    """What is wrong with an order's new terms, which this command asked for."""
    yield from name_faults(order, event.client, event.original_user_ref_num)
    asked = (command.client, command.original_user_ref_num, command.user_ref_num, command.price)
    told = (event.client, event.original_user_ref_num, event.user_ref_num, event.price)
    if told != asked:
        yield Fault("client, user_ref_nums or price are not those that were asked for", f"{asked}")
    if event.quantity <= 0 or event.quantity != command.quantity - order.executed:
        yield Fault(
            f"{order} is said to have {event.quantity:,} open from now on",
            f"{command.quantity:,} asked for, less {order.executed:,} executed",
        )
    if event.keeps_priority and (event.price != order.limit or event.quantity > order.open):
        yield Fault(
            f"{order} keeps its place with another price or a larger quantity",
            f"the end of the queue, or {order.open:,} at {format_price(order.limit)} at most",
        )


def trigger_faults(
    event: Triggered, order: Order, last_price: int, prices: Sequence[int]
) -> Iterator[Fault]:
    """What is wrong with a stop that wakes; the prices of the last trade before its group, and of
    those in it."""
    yield from name_faults(order, event.client, event.user_ref_num)
    if order.standing is not Standing.WAITING:
        yield Fault(f"{order} does not wait for a stop price")
    elif not any(reaches(order, price) for price in (last_price, *prices)):
        yield Fault(
            f"{order} was triggered, and its stop price has not traded",
            format_price(order.stop_price),
        )
    if (event.quantity, event.price) != (order.open, order.limit):
        yield Fault(
            f"{order} wakes with other terms", f"{order.open:,} at {format_price(order.limit)}"
        )


def instrument_faults(
    event: InstrumentState, symbol: bytes, instrument: Instrument
) -> Iterator[Fault]:
    """What is wrong with how an instrument of this symbol leaves."""
    told = event[:4]
    known = (symbol, instrument.tick_size, instrument.lot_size, instrument.short_sale)
    if told != known:
        yield Fault(f"{unpad(symbol)} leaves as another instrument", f"{known}")
    if event.last_price != instrument.last_price:
        yield Fault("it leaves with another last price", format_price(instrument.last_price))
    if event.moves != instrument.moves + 1:
        yield Fault(f"it leaves for the {event.moves}. time", f"{instrument.moves + 1}")
    if (event.state, event.adopted_sequence) != (TradingState.HALTED, 0):
        yield Fault("it leaves in another state than a halted one")


def leave_faults(
    event: OrderState, order: Order, symbol: bytes, instrument: Instrument
) -> Iterator[Fault]:
    """What is wrong with how an order leaves with the instrument of this symbol, its own or not."""
    yield from name_faults(order, event.client, event.user_ref_num)
    if symbol != order.symbol or event.symbol != order.symbol:
        yield Fault(f"{order} is in another instrument", unpad(order.symbol))
    if (event.quantity, event.leaves, event.executed) != (order.asked, order.open, order.executed):
        yield Fault(
            f"{order} leaves with other quantities than it has",
            f"{order.asked:,} asked for, {order.executed:,} executed, {order.open:,} open",
        )
    told = (
        event.side == Side.BUY,
        event.price,
        event.stop_price,
        event.time_in_force,
        event.post_only == PostOnly.YES,
    )
    terms = (order.is_buy, order.limit, order.stop_price, order.time_in_force, order.post_only)
    if told != terms:
        yield Fault(f"{order} leaves with other terms than it has")
    firsts = (queue.first() for queue in instrument.queues)
    first = next((each for each in firsts if each is not None), None)
    if first is not order:
        yield Fault(f"{order} leaves before its turn", f"{first} first")


def arrive_faults(command: AdoptOrder, instrument: Instrument, client: Client) -> Iterator[Fault]:
    """What is wrong with an order that is to stand in an instrument; but for a crossed book."""
    name = f"client {command.client}'s order {command.user_ref_num}"
    if command.user_ref_num in client.orders:
        yield Fault(f"{name} lives here already", str(client.orders[command.user_ref_num]))
    if not command.leaves or command.leaves + command.executed > command.quantity:
        text = f"{name} arrives with {command.leaves:,} open, {command.executed:,} executed"
        yield Fault(text, f"{command.quantity:,} in all at most, and some open")
    if not command.stop_price:
        if not command.price or command.time_in_force not in RESTING_TIMES:
            yield Fault(f"{name} may not rest")
        return
    last = instrument.last_price
    is_buy = command.side == Side.BUY
    if last and (last >= command.stop_price if is_buy else last <= command.stop_price):
        yield Fault(f"{name} waits, and its stop price has traded", format_price(last))


def reaches(order: Order, price: int) -> bool:
    """Whether a trade at this price wakes a stop order; 0 is no trade at all."""
    if not price:
        return False
    return price >= order.stop_price if order.is_buy else price <= order.stop_price


def may_rest(order: Order) -> bool:
    """Whether an order may stand in the book with what is left of it."""
    return order.limit != 0 and order.time_in_force in RESTING_TIMES
