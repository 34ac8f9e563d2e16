"""Orders as people type them, and events as people read them. Sans-I/O."""

from typing import NamedTuple, TypeAlias

from feed.messages import CancelReason, Side, TimeInForce
from gateway.events import (
    Accepted,
    Canceled,
    Event,
    Executed,
    MassCanceled,
    Rejected,
    Replaced,
    SessionBegan,
    Triggered,
)
from tools.prices import format_price, parse_price

SIDES = {"buy": Side.BUY, "sell": Side.SELL, "short": Side.SELL_SHORT}
TIMES_IN_FORCE = {
    "day": TimeInForce.DAY,
    "gtc": TimeInForce.GOOD_TILL_CANCEL,
    "ioc": TimeInForce.IMMEDIATE_OR_CANCEL,
    "fok": TimeInForce.FILL_OR_KILL,
}
HELP = """\
buy|sell|short QUANTITY SYMBOL [PRICE] [stop PRICE] [gtc|ioc|fok] [post-only]
                             enter an order; without a price, a market order
cancel NUMBER [REMAINING]    cancel it, or reduce it to what should remain open
cancel all [SYMBOL]          cancel every order of yours
replace NUMBER QUANTITY PRICE [stop PRICE]
                             other terms; the quantity counts what has traded already
orders                       your live orders, by number
help                         this
quit                         log out; orders stay, unless they are canceled on disconnect"""

_CANCEL_REASONS = {
    CancelReason.USER: "as asked",
    CancelReason.IMMEDIATE: "nothing more to trade with at once",
    CancelReason.FILL_OR_KILL: "it could not be filled whole",
    CancelReason.SELF_TRADE: "it would have traded with an order of yours",
    CancelReason.LINK_LOST: "the connection ended",
    CancelReason.EXPIRED: "its day has ended",
}


class NewOrder(NamedTuple):
    """Enter an order; price and stop price are 0 where it has none."""

    side: Side
    quantity: int
    symbol: str
    price: int
    stop_price: int
    time_in_force: TimeInForce
    post_only: bool


class CancelOne(NamedTuple):
    """Let no more than `remaining` stay open of an order."""

    number: int
    remaining: int


class CancelAll(NamedTuple):
    """Cancel every order, in one symbol or (None) in all."""

    symbol: str | None


class ReplaceOne(NamedTuple):
    """Give an order other terms."""

    number: int
    quantity: int
    price: int
    stop_price: int


class ShowOrders(NamedTuple):
    """List the live orders."""


class ShowHelp(NamedTuple):
    """Say what can be typed."""


class Quit(NamedTuple):
    """Log out."""


Request: TypeAlias = NewOrder | CancelOne | CancelAll | ReplaceOne | ShowOrders | ShowHelp | Quit


def parse_request(line: str) -> Request:
    """What a line of the prompt asks for.

    Raises ValueError, with a text that tells how to write it, when it asks for nothing known.
    """
    word, *rest = line.split() or [""]
    word = word.lower()
    if word in SIDES:
        return _parse_order(SIDES[word], rest)
    if word == "cancel":
        return _parse_cancel(rest)
    if word == "replace":
        return _parse_replace(rest)
    simple: dict[str, Request] = {
        "orders": ShowOrders(),
        "help": ShowHelp(),
        "quit": Quit(),
        "exit": Quit(),
    }
    if word in simple and not rest:
        return simple[word]
    raise ValueError(f"{line.strip()!r} is no request; type help")


def _parse_order(side: Side, words: list[str]) -> NewOrder:
    if len(words) < 2:
        raise ValueError("write it like: buy 100 AAPL 187.25")
    quantity, symbol, *rest = words
    price = parse_price(rest.pop(0)) if rest and rest[0][0].isdigit() else 0
    stop_price, rest = _take_stop(rest)
    time_in_force = TimeInForce.DAY
    if rest and rest[0].lower() in TIMES_IN_FORCE:
        time_in_force = TIMES_IN_FORCE[rest.pop(0).lower()]
    post_only = bool(rest) and rest[0].lower() == "post-only"
    _expect_nothing(rest[post_only:])
    return NewOrder(side, _whole(quantity), symbol, price, stop_price, time_in_force, post_only)


def _parse_cancel(words: list[str]) -> CancelOne | CancelAll:
    if not words or len(words) > 2:
        raise ValueError("write it like: cancel 17, cancel 17 50, cancel all, cancel all AAPL")
    if words[0].lower() == "all":
        return CancelAll(words[1] if len(words) == 2 else None)
    return CancelOne(_whole(words[0]), _whole(words[1]) if len(words) == 2 else 0)


def _parse_replace(words: list[str]) -> ReplaceOne:
    if len(words) < 2:
        raise ValueError("write it like: replace 17 100 187.30")
    number, quantity, *rest = words
    price = parse_price(rest.pop(0)) if rest and rest[0][0].isdigit() else 0
    stop_price, rest = _take_stop(rest)
    _expect_nothing(rest)
    return ReplaceOne(_whole(number), _whole(quantity), price, stop_price)


def _take_stop(words: list[str]) -> tuple[int, list[str]]:
    """The price after the word "stop", 0 without it, and the words that are left."""
    if not words or words[0].lower() != "stop":
        return 0, words
    if len(words) == 1:
        raise ValueError("a stop needs its price, as in: stop 180.00")
    return parse_price(words[1]), words[2:]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _expect_nothing(words: list[str]) -> None:
    if words:
        raise ValueError(f"{' '.join(words)!r} is too much; type help")


def describe_terms(side: Side, quantity: int, symbol: str, price: int, stop_price: int = 0) -> str:
    """An order in words, as in "buy 100 AAPL at 187.25"."""
    word = next(word for word, each in SIDES.items() if each == side)
    limit = f"at {format_price(price)}" if price else "at the market"
    stop = f", stop {format_price(stop_price)}" if stop_price else ""
    return f"{word} {quantity} {symbol} {limit}{stop}"


def describe_cancel(reason: CancelReason) -> str:
    """Why an order's quantity was taken off it."""
    return _CANCEL_REASONS[reason]


def describe_event(event: Event) -> str:
    """An event in words; it begins with the number of the order that it is about, if it is."""
    number = event.user_ref_num
    match event:
        case Accepted():
            terms = describe_terms(
                event.side, event.quantity, event.symbol, event.price, event.stop_price
            )
            return f"{number} accepted: {terms}"
        case Replaced():
            terms = describe_terms(
                event.side, event.quantity, event.symbol, event.price, event.stop_price
            )
            return f"{number} replaces {event.original_user_ref_num}: {terms}"
        case Executed():
            return f"{number} executed: {event.quantity} at {format_price(event.price)}"
        case Canceled():
            return f"{number} canceled: {event.quantity}, {describe_cancel(event.reason)}"
        case Rejected():
            return f"{number} rejected: {event.text}"
        case Triggered():
            return f"{number} triggered: its stop price was reached"
        case MassCanceled():
            return f"{number} cancels all orders{f' in {event.symbol}' if event.symbol else ''}"
        case SessionBegan():
            missed = "; events may have been missed" if event.may_have_missed else ""
            return f"session {event.session} has begun{missed}"


class OwnOrder(NamedTuple):
    """A live order of the client."""

    side: Side
    open_quantity: int
    symbol: str
    price: int
    stop_price: int  # 0 once it has been triggered


class OwnOrders:
    """A client's live orders by their number, from the events of its stream."""

    def __init__(self) -> None:
        self._orders: dict[int, OwnOrder] = {}

    def apply(self, event: Event) -> None:
        """Take in the next event; what concerns an order that is not known is passed over."""
        number = event.user_ref_num
        match event:
            case Accepted():
                self._orders[number] = OwnOrder(
                    event.side, event.quantity, event.symbol, event.price, event.stop_price
                )
            case Replaced():
                self._orders.pop(event.original_user_ref_num, None)
                self._orders[number] = OwnOrder(
                    event.side, event.quantity, event.symbol, event.price, event.stop_price
                )
            case Executed(quantity=quantity) | Canceled(quantity=quantity):
                order = self._orders.get(number)
                if order is not None:
                    self._orders[number] = order._replace(
                        open_quantity=order.open_quantity - quantity
                    )
                    if order.open_quantity <= quantity:
                        del self._orders[number]
            case Triggered():
                order = self._orders.get(number)
                if order is not None:
                    self._orders[number] = order._replace(stop_price=0)

    def __len__(self) -> int:
        return len(self._orders)

    def lines(self) -> list[str]:
        """The live orders in words, in the order of their numbers."""
        return [
            f"{number:>6}  {describe_terms(*order)}"
            for number, order in sorted(self._orders.items())
        ]
