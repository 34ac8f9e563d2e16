"""What two shards' lists say of a move between them: how an instrument left, and how it arrived."""

from collections.abc import Sequence
from typing import NamedTuple

from feed.codec import Frame
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    InstrumentState,
    MoveOut,
    OrderState,
    symbol_field,
)
from feed.schema import FrameType
from feed.subscriber import Group
from tools.console import CommandError

DEPARTURE_TYPES = frozenset({FrameType.MOVE_OUT})
ARRIVAL_TYPES = frozenset({FrameType.ADOPT_INSTRUMENT, FrameType.ADOPT_ORDER})


class Departure(NamedTuple):
    """What has left a shard."""

    instrument: InstrumentState
    orders: tuple[AdoptOrder, ...]  # as they are to arrive


class ArrivedOrder(NamedTuple):
    """An order that the other shard's list has."""

    order: AdoptOrder
    is_taken: bool  # else the machine refused it


def is_departure(group: Group, symbol: str, moves: int) -> bool:
    """Whether the instrument left in this group, and has moved so often since."""
    match [frame.message() for frame in group.frames[:2]]:
        case [MoveOut(symbol=field), InstrumentState(moves=told)]:
            return (field, told) == (symbol_field(symbol), moves)
    return False


def is_arrival(group: Group, symbol: str, moves: int) -> bool:
    """Whether this move's arrival began with this group."""
    command = group.command.message()
    if not isinstance(command, AdoptInstrument) or group.events:
        return False
    return (command.symbol, command.moves) == (symbol_field(symbol), moves)


def orders_that_arrived(groups: Sequence[Group], symbol: str, moves: int) -> list[ArrivedOrder]:
    """The orders of this move among these groups."""
    field = symbol_field(symbol)
    arrived = []
    for group in groups:
        command = group.command.message()
        if not isinstance(command, AdoptOrder):
            continue
        if (command.symbol, command.moves) == (field, moves):
            arrived.append(ArrivedOrder(command, not group.events))
    return arrived


def read_departure(group: Group, symbol: str, moves: int) -> Departure:
    """What left in this group. Raises CommandError when that is not this very departure, whole."""
    field = symbol_field(symbol)
    instrument, *orders = (frame.message() for frame in group.events)
    is_whole = is_departure(group, symbol, moves) and group.frames[-1].is_end
    if (
        not is_whole
        or not isinstance(instrument, InstrumentState)
        or not all(isinstance(order, OrderState) and order.symbol == field for order in orders)
    ):
        raise CommandError(f"the group at {group.first_sequence} does not tell how {symbol} left")
    return Departure(instrument, tuple(adoption(frame, moves) for frame in group.events[1:]))


def adoption(frame: Frame, moves: int) -> AdoptOrder:
    """The command that lets the order of an ORDER_STATE frame arrive."""
    order = frame.message()
    assert isinstance(order, OrderState)
    return AdoptOrder(
        symbol=order.symbol,
        moves=moves,
        source_sequence=frame.sequence,
        client=order.client,
        user_ref_num=order.user_ref_num,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        post_only=order.post_only,
        capacity=order.capacity,
        quantity=order.quantity,
        leaves=order.leaves,
        executed=order.executed,
        price=order.price,
        stop_price=order.stop_price,
    )
