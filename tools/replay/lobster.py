"""Real order flow: LOBSTER's message files, and the orders that play them again.

LOBSTER (https://lobsterdata.com/info/DataStructure.php) rebuilds Nasdaq's book from its feed. A
line of a message file is one event: seconds after midnight, type, order number, size, price in
1/10,000 dollar, and the direction of the resting order (1 buy, -1 sell). A line of an order book
file is the book right after the event of the same line: ask price, ask size, bid price, bid size,
level by level; a level that nobody stands at has size 0 or a dummy price of +-9999999999.

A file holds the events that touched its best levels, so it names orders that it never saw enter:
those that were there before, and those that entered deeper in the book. `OrderFlow` takes what they
give up off the opening book's level at their price.
"""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from engine.checks import MAX_PRICE, MAX_QUANTITY
from feed.messages import Side, TimeInForce

_DUMMY_PRICE = 9_999_999_999
_COLUMNS = (6, 7)  # newer files have a seventh: the firm, where it is known
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,5})(?:\.([0-9]{1,12}))?", re.ASCII)


class LobsterError(ValueError):
    """A file that can't be replayed; the text begins with the line's number."""

    def __init__(self, line: int, complaint: str) -> None:
        super().__init__(f"line {line}: {complaint}")


class EventType(IntEnum):
    """What happened to an order."""

    ENTER = 1
    REDUCE = 2
    DELETE = 3
    EXECUTE = 4
    EXECUTE_HIDDEN = 5  # from here on: outside the visible book
    CROSS = 6
    HALT = 7


_VISIBLE = frozenset({EventType.ENTER, EventType.REDUCE, EventType.DELETE, EventType.EXECUTE})


class LobsterEvent(NamedTuple):
    """One line of a message file."""

    line: int
    time_ns: int  # since midnight
    type: EventType
    number: int  # the order's, as the file names it
    quantity: int
    price: int
    side: Side  # of the resting order, also where it is executed


class OpeningLevel(NamedTuple):
    """What one level of the opening book holds."""

    side: Side
    price: int
    quantity: int


class Enter(NamedTuple):
    """Send an order. `reference` counts the orders of a flow from 0."""

    reference: int
    side: Side
    quantity: int
    price: int
    time_in_force: TimeInForce


class Reduce(NamedTuple):
    """Let no more than `remaining` stay open of an order that was sent before."""

    reference: int
    remaining: int


Action: TypeAlias = Enter | Reduce


class Step(NamedTuple):
    """What one event of the file asks for."""

    event: LobsterEvent
    actions: tuple[Action, ...]
    named: int | None  # for an execution: the reference of the order that it must trade with


def parse_messages(lines: Iterable[str]) -> Iterator[LobsterEvent]:
    """The events of a message file, one by one; blank lines are passed over.

    Raises LobsterError, when it comes to it, for a line that is no event.
    """
    for line, text in enumerate(lines, start=1):
        if text.strip():
            yield _parse_event(line, text.strip().split(","))


def _parse_event(line: int, fields: list[str]) -> LobsterEvent:
    if len(fields) not in _COLUMNS:
        raise LobsterError(
            line, f"{len(fields)} columns; an event has time, type, order, size, price, direction"
        )
    time_ns = _parse_seconds(line, fields[0])
    code = _parse_whole(line, "type", fields[1])
    if code not in EventType.__members__.values():
        raise LobsterError(line, f"type {code} is not known; types are 1 to 7")
    event_type = EventType(code)
    number = _parse_whole(line, "order number", fields[2])
    quantity = _parse_whole(line, "size", fields[3])
    price = _parse_whole(line, "price", fields[4])
    direction = _parse_whole(line, "direction", fields[5])
    if direction not in (1, -1):
        raise LobsterError(line, f"direction {direction} is neither 1 (buy) nor -1 (sell)")
    if event_type in _VISIBLE:
        _check_quantity(line, quantity)
        _check_price(line, price)
    side = Side.BUY if direction == 1 else Side.SELL
    return LobsterEvent(line, time_ns, event_type, number, quantity, price, side)


def parse_opening(lines: Iterable[str]) -> tuple[OpeningLevel, ...]:
    """The levels in the first line of an order book file, in its order; empty ones left out.

    Raises LobsterError when that line is not a book.
    """
    text = next(iter(lines), "").strip()
    fields = text.split(",")
    if not text or len(fields) % 4:
        raise LobsterError(1, "an opening book has four columns a level: ask, size, bid, size")
    numbers = [_parse_whole(1, "price or size", field) for field in fields]
    levels = []
    for i in range(0, len(numbers), 2):
        price, quantity = numbers[i], numbers[i + 1]
        if quantity == 0 or abs(price) == _DUMMY_PRICE:
            continue
        if quantity < 0:
            raise LobsterError(1, f"size {quantity} is below 0")
        _check_price(1, price)
        levels.append(OpeningLevel(Side.BUY if i % 4 else Side.SELL, price, quantity))
    return tuple(levels)


def book_before(opening: Iterable[OpeningLevel], first: LobsterEvent) -> tuple[OpeningLevel, ...]:
    """The book before the first event, of the opening book, which is the one right after it.

    Raises LobsterError when the opening book does not hold the order that the event entered.
    """
    quantities = {(level.side, level.price): level.quantity for level in opening}
    place = (first.side, first.price)
    held = quantities.get(place, 0)
    if first.type == EventType.ENTER:
        if held < first.quantity:
            raise LobsterError(
                first.line,
                f"the opening book holds {held} at {first.price}, less than this order's "
                f"{first.quantity}; it must be the book right after the first event",
            )
        quantities[place] = held - first.quantity
    elif first.type in _VISIBLE:
        quantities[place] = held + first.quantity
    return tuple(
        OpeningLevel(side, price, quantity)
        for (side, price), quantity in quantities.items()
        if quantity
    )


class _OpenOrder:
    """An order that was sent, and what the file says is open of it."""

    __slots__ = ("quantity", "reference")

    def __init__(self, reference: int, quantity: int) -> None:
        self.reference = reference
        self.quantity = quantity


class OrderFlow:
    """Turns events into the orders, cancels and immediate orders that play them again.

    First `open` gives the orders of the book before the first event; then `step` takes the events
    in their order.
    """

    def __init__(self) -> None:
        self._references = 0
        self._orders: dict[int, _OpenOrder] = {}  # that entered in the file, by their number there
        self._opening: dict[tuple[Side, int], list[_OpenOrder]] = {}

    def open(self, levels: Iterable[OpeningLevel]) -> list[Action]:
        """The orders that make up the opening book: one a level, more where it holds too much."""
        actions: list[Action] = []
        for side, price, quantity in levels:
            orders = self._opening.setdefault((side, price), [])
            while quantity:
                part = min(quantity, MAX_QUANTITY)
                orders.append(_OpenOrder(self._references, part))
                actions.append(self._enter(side, part, price, TimeInForce.DAY))
                quantity -= part
        return actions

    def step(self, event: LobsterEvent) -> Step:
        """What this event asks for.

        Raises LobsterError when it contradicts what earlier lines said of its order.
        """
        if event.type == EventType.ENTER:
            return Step(event, (self._enter_order(event),), None)
        if event.type in (EventType.REDUCE, EventType.DELETE):
            return Step(event, self._take_off(event), None)
        if event.type == EventType.EXECUTE:
            return self._execute(event)
        return Step(event, (), None)

    def _enter(self, side: Side, quantity: int, price: int, time_in_force: TimeInForce) -> Enter:
        reference = self._references
        self._references += 1
        return Enter(reference, side, quantity, price, time_in_force)

    def _enter_order(self, event: LobsterEvent) -> Enter:
        if event.number in self._orders:
            raise LobsterError(event.line, f"order {event.number} has entered before")
        self._orders[event.number] = _OpenOrder(self._references, event.quantity)
        return self._enter(event.side, event.quantity, event.price, TimeInForce.DAY)

    def _execute(self, event: LobsterEvent) -> Step:
        order = self._orders.get(event.number)
        if order is None:
            self._take_off_opening(event, first_in_first=True)
        else:
            _take(event, order)
        taker_side = Side.SELL if event.side == Side.BUY else Side.BUY
        immediate = self._enter(
            taker_side, event.quantity, event.price, TimeInForce.IMMEDIATE_OR_CANCEL
        )
        return Step(event, (immediate,), None if order is None else order.reference)

    def _take_off(self, event: LobsterEvent) -> tuple[Action, ...]:
        order = self._orders.get(event.number)
        if order is None:
            return self._take_off_opening(event, first_in_first=False)
        _take(event, order)
        if event.type == EventType.DELETE:
            order.quantity = 0
        return (Reduce(order.reference, order.quantity),)

    def _take_off_opening(self, event: LobsterEvent, *, first_in_first: bool) -> tuple[Action, ...]:
        """Take an unknown order's quantity off the opening level, as far as that still has it.

        What trades is taken from the front of the queue, what is canceled from its back.
        """
        orders = self._opening.get((event.side, event.price), [])
        wanted = event.quantity
        actions = []
        for order in orders if first_in_first else reversed(orders):
            part = min(wanted, order.quantity)
            if part:
                order.quantity -= part
                wanted -= part
                actions.append(Reduce(order.reference, order.quantity))
        return tuple(actions)


def _take(event: LobsterEvent, order: _OpenOrder) -> None:
    if event.quantity > order.quantity:
        raise LobsterError(
            event.line,
            f"takes {event.quantity} off order {event.number}, which has {order.quantity} left",
        )
    order.quantity -= event.quantity


def _parse_whole(line: int, name: str, text: str) -> int:
    if _WHOLE_NUMBER.fullmatch(text.strip()) is None:
        raise LobsterError(line, f"{name} {text!r} is not a whole number")
    return int(text)


def _parse_seconds(line: int, text: str) -> int:
    match = _SECONDS.fullmatch(text.strip())
    if match is None:
        raise LobsterError(line, f"time {text!r} is not in seconds after midnight")
    return int(match.group(1)) * 10**9 + int((match.group(2) or "").ljust(9, "0")[:9])


def _check_quantity(line: int, quantity: int) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise LobsterError(line, f"size {quantity} is not between 1 and {MAX_QUANTITY:,}")


def _check_price(line: int, price: int) -> None:
    if not 1 <= price <= MAX_PRICE:
        raise LobsterError(line, f"price {price} is not between 1 and {MAX_PRICE:,}")
