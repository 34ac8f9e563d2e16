"""OUCH 5.0: the order entry messages of both directions, each declared once.

The tuples are the Python types, the declarations the bytes, in the same order of fields;
`gateway.ouch_codec` makes the one from the other and proves that they agree. Text fields are padded
bytes, codes are integers, as in `feed.messages`. Prices are integers in 1/10,000, 8 bytes wide; a
market order's is `MARKET_PRICE`. What has no field of its own stands in the appendage behind the
message: `appendage_length` bytes, a list of {length 1, tag 1, value} where the length counts tag
and value.

From the OUCH 5.0 Order Entry Specification; what is the exchange's own is said where it stands.
"""

from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import construct as cs

from feed import messages
from feed.messages import CancelReason, Capacity, PostOnly, Side, TimeInForce

MARKET_PRICE = 0x7FFFFFFF  # in the price field of an order without a limit
FIRM_BYTES = 4
NO_FIRM = b" " * FIRM_BYTES


class Flag(IntEnum):
    """A yes or no: is the order displayed, is it an intermarket sweep."""

    YES = ord("Y")
    NO = ord("N")


class CrossType(IntEnum):
    """Which trading session an order is for; here there is one."""

    CONTINUOUS = ord("N")


class OrderState(IntEnum):
    """What an accepted order is."""

    LIVE = ord("L")


class Liquidity(IntEnum):
    """Whether an executed order was the maker or the taker."""

    ADDED = ord("A")
    REMOVED = ord("R")


class Tag(IntEnum):
    """The appendages: tags below 0x80 are OUCH's own, those from 0x80 are the exchange's."""

    POST_ONLY = 12
    STOP_PRICE = 0x80

    @property
    def field(self) -> str:
        """The field of `Appendage` that holds it."""
        return self.name.lower()


class InboundType(IntEnum):
    """The letter of a message from a client."""

    ENTER_ORDER = ord("O")
    REPLACE_ORDER = ord("U")
    CANCEL_ORDER = ord("X")
    MASS_CANCEL = ord("C")
    ACCOUNT_QUERY = ord("Q")


class OutboundType(IntEnum):
    """The letter of a message to a client."""

    ACCEPTED = ord("A")
    REPLACED = ord("U")
    EXECUTED = ord("E")
    CANCELED = ord("C")
    REJECTED = ord("J")
    PRIORITY_UPDATE = ord("T")
    MASS_CANCEL_RESPONSE = ord("X")
    ACCOUNT_QUERY_RESPONSE = ord("Q")


class Appendage(NamedTuple):
    """The appendages that a message carries; None for one that it does not."""

    post_only: int | None = None
    stop_price: int | None = None


NO_APPENDAGE = Appendage()


class EnterOrder(NamedTuple):
    """In: a new order."""

    user_ref_num: int
    side: int
    quantity: int
    symbol: bytes
    price: int
    time_in_force: int
    display: int = Flag.YES
    capacity: int = Capacity.AGENCY
    intermarket_sweep: int = Flag.NO
    cross_type: int = CrossType.CONTINUOUS
    client_order_id: bytes = messages.NO_CLIENT_ORDER_ID
    appendage: Appendage = NO_APPENDAGE


class ReplaceOrder(NamedTuple):
    """In: other terms for a live order; the quantity counts what it has already executed."""

    original_user_ref_num: int
    user_ref_num: int
    quantity: int
    price: int
    time_in_force: int
    display: int = Flag.YES
    intermarket_sweep: int = Flag.NO
    client_order_id: bytes = messages.NO_CLIENT_ORDER_ID
    appendage: Appendage = NO_APPENDAGE


class CancelOrder(NamedTuple):
    """In: reduce an order to the quantity that should remain open; 0 cancels it."""

    user_ref_num: int
    quantity: int


class MassCancel(NamedTuple):
    """In: cancel all orders of the client, in one symbol or, if that is blank, in all."""

    user_ref_num: int
    firm: bytes = NO_FIRM
    symbol: bytes = messages.ALL_SYMBOLS
    appendage: Appendage = NO_APPENDAGE


class AccountQuery(NamedTuple):
    """In: which user_ref_num comes next? Asked by a client that starts anew."""

    appendage: Appendage = NO_APPENDAGE


class Accepted(NamedTuple):
    """Out: the order is in the list."""

    time_ns: int
    user_ref_num: int
    side: int
    quantity: int
    symbol: bytes
    price: int
    time_in_force: int
    display: int
    order_number: int
    capacity: int
    intermarket_sweep: int
    cross_type: int
    state: int
    client_order_id: bytes
    appendage: Appendage = NO_APPENDAGE


class Replaced(NamedTuple):
    """Out: the order has new terms; the quantity is what is open from now on."""

    time_ns: int
    original_user_ref_num: int
    user_ref_num: int
    side: int
    quantity: int
    symbol: bytes
    price: int
    time_in_force: int
    display: int
    order_number: int
    capacity: int
    intermarket_sweep: int
    cross_type: int
    state: int
    client_order_id: bytes
    appendage: Appendage = NO_APPENDAGE


class Executed(NamedTuple):
    """Out: the order traded."""

    time_ns: int
    user_ref_num: int
    quantity: int
    price: int
    liquidity: int
    match_number: int
    appendage: Appendage = NO_APPENDAGE


class Canceled(NamedTuple):
    """Out: this quantity was taken off the order."""

    time_ns: int
    user_ref_num: int
    quantity: int
    reason: int


class Rejected(NamedTuple):
    """Out: the command was refused, by the machine or (reason from 1000) by the gateway."""

    time_ns: int
    user_ref_num: int
    reason: int
    client_order_id: bytes


class PriorityUpdate(NamedTuple):
    """Out: a stop order woke, and is a market or limit order from here on."""

    time_ns: int
    user_ref_num: int
    price: int
    display: int
    order_number: int


class MassCancelResponse(NamedTuple):
    """Out: the mass cancel was done; one `Canceled` for each order follows."""

    time_ns: int
    user_ref_num: int
    firm: bytes
    symbol: bytes
    appendage: Appendage = NO_APPENDAGE


class AccountQueryResponse(NamedTuple):
    """Out, not numbered: the user_ref_num above the largest used; 0 when none is left."""

    time_ns: int
    next_user_ref_num: int
    appendage: Appendage = NO_APPENDAGE


Inbound: TypeAlias = EnterOrder | ReplaceOrder | CancelOrder | MassCancel | AccountQuery
Outbound: TypeAlias = (
    Accepted
    | Replaced
    | Executed
    | Canceled
    | Rejected
    | PriorityUpdate
    | MassCancelResponse
    | AccountQueryResponse
)
OuchMessage: TypeAlias = Inbound | Outbound


def _code(enumeration: type[IntEnum]) -> Any:
    return cs.Enum(cs.Int8ub, enumeration)


def _letter(message_type: IntEnum) -> Any:
    return "type" / cs.Const(int(message_type), cs.Int8ub)


_SYMBOL = "symbol" / cs.Bytes(messages.SYMBOL_BYTES)
_CLIENT_ORDER_ID = "client_order_id" / cs.Bytes(messages.CLIENT_ORDER_ID_BYTES)
_TERMS_OUT = (
    "side" / _code(Side),
    "quantity" / cs.Int32ub,
    _SYMBOL,
    "price" / cs.Int64ub,
    "time_in_force" / _code(TimeInForce),
    "display" / _code(Flag),
    "order_number" / cs.Int64ub,
    "capacity" / _code(Capacity),
    "intermarket_sweep" / _code(Flag),
    "cross_type" / _code(CrossType),
    "state" / _code(OrderState),
    _CLIENT_ORDER_ID,
    "appendage_length" / cs.Int16ub,
)

INBOUND: dict[type[Inbound], Any] = {
    EnterOrder: cs.Struct(
        _letter(InboundType.ENTER_ORDER),
        "user_ref_num" / cs.Int32ub,
        "side" / _code(Side),
        "quantity" / cs.Int32ub,
        _SYMBOL,
        "price" / cs.Int64ub,
        "time_in_force" / _code(TimeInForce),
        "display" / _code(Flag),
        "capacity" / _code(Capacity),
        "intermarket_sweep" / _code(Flag),
        "cross_type" / _code(CrossType),
        _CLIENT_ORDER_ID,
        "appendage_length" / cs.Int16ub,
    ),
    ReplaceOrder: cs.Struct(
        _letter(InboundType.REPLACE_ORDER),
        "original_user_ref_num" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "quantity" / cs.Int32ub,
        "price" / cs.Int64ub,
        "time_in_force" / _code(TimeInForce),
        "display" / _code(Flag),
        "intermarket_sweep" / _code(Flag),
        _CLIENT_ORDER_ID,
        "appendage_length" / cs.Int16ub,
    ),
    CancelOrder: cs.Struct(
        _letter(InboundType.CANCEL_ORDER),
        "user_ref_num" / cs.Int32ub,
        "quantity" / cs.Int32ub,
    ),
    MassCancel: cs.Struct(
        _letter(InboundType.MASS_CANCEL),
        "user_ref_num" / cs.Int32ub,
        "firm" / cs.Bytes(FIRM_BYTES),
        _SYMBOL,
        "appendage_length" / cs.Int16ub,
    ),
    AccountQuery: cs.Struct(
        _letter(InboundType.ACCOUNT_QUERY),
        "appendage_length" / cs.Int16ub,
    ),
}

OUTBOUND: dict[type[Outbound], Any] = {
    Accepted: cs.Struct(
        _letter(OutboundType.ACCEPTED),
        "time_ns" / cs.Int64ub,
        "user_ref_num" / cs.Int32ub,
        *_TERMS_OUT,
    ),
    Replaced: cs.Struct(
        _letter(OutboundType.REPLACED),
        "time_ns" / cs.Int64ub,
        "original_user_ref_num" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        *_TERMS_OUT,
    ),
    Executed: cs.Struct(
        _letter(OutboundType.EXECUTED),
        "time_ns" / cs.Int64ub,
        "user_ref_num" / cs.Int32ub,
        "quantity" / cs.Int32ub,
        "price" / cs.Int64ub,
        "liquidity" / _code(Liquidity),
        "match_number" / cs.Int64ub,
        "appendage_length" / cs.Int16ub,
    ),
    Canceled: cs.Struct(
        _letter(OutboundType.CANCELED),
        "time_ns" / cs.Int64ub,
        "user_ref_num" / cs.Int32ub,
        "quantity" / cs.Int32ub,
        "reason" / _code(CancelReason),
    ),
    Rejected: cs.Struct(
        _letter(OutboundType.REJECTED),
        "time_ns" / cs.Int64ub,
        "user_ref_num" / cs.Int32ub,
        "reason" / cs.Int16ub,
        _CLIENT_ORDER_ID,
    ),
    PriorityUpdate: cs.Struct(
        _letter(OutboundType.PRIORITY_UPDATE),
        "time_ns" / cs.Int64ub,
        "user_ref_num" / cs.Int32ub,
        "price" / cs.Int64ub,
        "display" / _code(Flag),
        "order_number" / cs.Int64ub,
    ),
    MassCancelResponse: cs.Struct(
        _letter(OutboundType.MASS_CANCEL_RESPONSE),
        "time_ns" / cs.Int64ub,
        "user_ref_num" / cs.Int32ub,
        "firm" / cs.Bytes(FIRM_BYTES),
        _SYMBOL,
        "appendage_length" / cs.Int16ub,
    ),
    AccountQueryResponse: cs.Struct(
        _letter(OutboundType.ACCOUNT_QUERY_RESPONSE),
        "time_ns" / cs.Int64ub,
        "next_user_ref_num" / cs.Int32ub,
        "appendage_length" / cs.Int16ub,
    ),
}

ELEMENT = cs.Struct("length" / cs.Int8ub, "tag" / cs.Enum(cs.Int8ub, Tag))
ELEMENT_VALUES: dict[Tag, Any] = {
    Tag.POST_ONLY: cs.Struct("post_only" / _code(PostOnly)),
    Tag.STOP_PRICE: cs.Struct("stop_price" / cs.Int64ub),
}
TAGS: dict[type[OuchMessage], frozenset[Tag]] = {
    EnterOrder: frozenset({Tag.POST_ONLY, Tag.STOP_PRICE}),
    ReplaceOrder: frozenset({Tag.STOP_PRICE}),
    MassCancel: frozenset(),
    AccountQuery: frozenset(),
    Accepted: frozenset({Tag.POST_ONLY, Tag.STOP_PRICE}),
    Replaced: frozenset({Tag.STOP_PRICE}),
    Executed: frozenset(),
    MassCancelResponse: frozenset(),
    AccountQueryResponse: frozenset(),
}
