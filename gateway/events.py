"""What a trading client is told: one typed event for each OUCH message of its stream.

`sequence` is the event's number in the client's own stream of that day, from 1 and without holes;
only a `Rejected` by the gateway itself, and `SessionBegan`, have none. Prices are integers in
1/10,000, 0 for an order without a limit; times are nanoseconds since 1970.
"""

from typing import NamedTuple, TypeAlias

from engine.rejects import RejectReason
from feed.messages import (
    CancelReason,
    Capacity,
    OrderType,
    PostOnly,
    Side,
    TimeInForce,
    unpad,
)
from gateway import ouch
from gateway.client_errors import ProtocolError
from gateway.ouch import MARKET_PRICE, Liquidity
from gateway.ouch_codec import OuchError, decode_outbound
from gateway.rejects import GatewayReject, reject_reason, reject_text

UNNUMBERED = 0  # the `sequence` of what stands outside the stream


class Accepted(NamedTuple):
    """The order is on the exchange; it rests, waits for its stop price, or trades next."""

    sequence: int
    time_ns: int
    user_ref_num: int
    order_number: int
    symbol: str
    side: Side
    order_type: OrderType
    quantity: int
    price: int
    stop_price: int
    time_in_force: TimeInForce
    post_only: bool
    capacity: Capacity
    client_order_id: str


class Replaced(NamedTuple):
    """The order has new terms and goes by a new user_ref_num; the old one is spent."""

    sequence: int
    time_ns: int
    original_user_ref_num: int
    user_ref_num: int
    order_number: int
    symbol: str
    side: Side
    order_type: OrderType
    quantity: int  # open from now on, without what had been executed
    price: int
    stop_price: int
    time_in_force: TimeInForce
    capacity: Capacity
    client_order_id: str


class Executed(NamedTuple):
    """The order traded, as the maker or as the taker."""

    sequence: int
    time_ns: int
    user_ref_num: int
    quantity: int
    price: int
    liquidity: Liquidity
    match_number: int


class Canceled(NamedTuple):
    """This quantity was taken off the order; it ends when nothing is left."""

    sequence: int
    time_ns: int
    user_ref_num: int
    quantity: int
    reason: CancelReason


class Rejected(NamedTuple):
    """The command was refused and changed nothing; `text` says why and what to do."""

    sequence: int  # `UNNUMBERED` when the gateway refused it
    time_ns: int
    user_ref_num: int
    reason: RejectReason | GatewayReject | int  # a bare number is one that is not known here
    text: str
    client_order_id: str

    @property
    def sequenced(self) -> bool:
        """Whether the refusal has a number in the stream, as each one of the machine has."""
        return self.sequence != UNNUMBERED


class Triggered(NamedTuple):
    """The stop order woke; from here on it is a market or limit order."""

    sequence: int
    time_ns: int
    user_ref_num: int
    order_number: int
    price: int


class MassCanceled(NamedTuple):
    """The mass cancel was done; a `Canceled` for each of the orders follows."""

    sequence: int
    time_ns: int
    user_ref_num: int
    symbol: str  # empty: in all symbols


class SessionBegan(NamedTuple):
    """A day is over, and the client has followed into the session of the next: `session`.

    Numbers begin anew at 1 there. It stands outside of both streams, and comes between them.
    """

    session: str
    previous: str  # the session before; `Client.next_sequence` counted in that one until here
    may_have_missed: bool  # events of earlier sessions, as nobody keeps them any more

    @property
    def sequence(self) -> int:
        """It has no number: `UNNUMBERED`."""
        return UNNUMBERED

    @property
    def time_ns(self) -> int:
        """It has no time: 0."""
        return 0

    @property
    def user_ref_num(self) -> int:
        """It is about no command: 0."""
        return 0


Event: TypeAlias = (
    Accepted | Replaced | Executed | Canceled | Rejected | Triggered | MassCanceled | SessionBegan
)


def read_message(payload: bytes) -> ouch.Outbound:
    """The OUCH message that the exchange sent; raises ProtocolError when it is none."""
    try:
        return decode_outbound(payload)
    except OuchError as error:
        raise ProtocolError(f"the exchange sent what this client can't read: {error}") from error


def read_event(payload: bytes, sequence: int) -> Event:
    """The event of the stream that an OUCH message tells of; raises ProtocolError when none."""
    try:
        return to_event(read_message(payload), sequence)
    except ValueError as error:
        raise ProtocolError(f"event {sequence} says what this client does not know") from error


def to_event(message: ouch.Outbound, sequence: int) -> Event:
    """The event that an OUCH message tells of, with its number in the stream.

    Raises ValueError when a code in the message is not known, or it tells of no event.
    """
    match message:
        case ouch.Accepted():
            return _accepted(message, sequence)
        case ouch.Replaced():
            return _replaced(message, sequence)
        case ouch.Executed(time_ns, user_ref_num, quantity, price, liquidity, match_number):
            return Executed(
                sequence,
                time_ns,
                user_ref_num,
                quantity,
                price,
                Liquidity(liquidity),
                match_number,
            )
        case ouch.Canceled(time_ns, user_ref_num, quantity, reason):
            return Canceled(sequence, time_ns, user_ref_num, quantity, CancelReason(reason))
        case ouch.Rejected(time_ns, user_ref_num, reason, client_order_id):
            return Rejected(
                sequence,
                time_ns,
                user_ref_num,
                reject_reason(reason),
                reject_text(reason),
                unpad(client_order_id),
            )
        case ouch.PriorityUpdate(time_ns, user_ref_num, price, _, order_number):
            return Triggered(sequence, time_ns, user_ref_num, order_number, _limit(price))
        case ouch.MassCancelResponse(time_ns, user_ref_num, _, symbol):
            return MassCanceled(sequence, time_ns, user_ref_num, unpad(symbol))
        case ouch.AccountQueryResponse():
            raise ValueError("an answer to an account query is no event of the stream")


def _accepted(message: ouch.Accepted, sequence: int) -> Accepted:
    return Accepted(
        sequence,
        message.time_ns,
        message.user_ref_num,
        message.order_number,
        unpad(message.symbol),
        Side(message.side),
        _order_type(message.price, message.appendage.stop_price),
        message.quantity,
        _limit(message.price),
        message.appendage.stop_price or 0,
        TimeInForce(message.time_in_force),
        message.appendage.post_only == PostOnly.YES,
        Capacity(message.capacity),
        unpad(message.client_order_id),
    )


def _replaced(message: ouch.Replaced, sequence: int) -> Replaced:
    return Replaced(
        sequence,
        message.time_ns,
        message.original_user_ref_num,
        message.user_ref_num,
        message.order_number,
        unpad(message.symbol),
        Side(message.side),
        _order_type(message.price, message.appendage.stop_price),
        message.quantity,
        _limit(message.price),
        message.appendage.stop_price or 0,
        TimeInForce(message.time_in_force),
        Capacity(message.capacity),
        unpad(message.client_order_id),
    )


def _order_type(price: int, stop_price: int | None) -> OrderType:
    if stop_price is None:
        return OrderType.MARKET if price == MARKET_PRICE else OrderType.LIMIT
    return OrderType.STOP if price == MARKET_PRICE else OrderType.STOP_LIMIT


def _limit(price: int) -> int:
    return 0 if price == MARKET_PRICE else price
