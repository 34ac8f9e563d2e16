"""The commands and events of the market, as plain tuples in the order of their fields on the wire.

A command is an input of the state machine, an event an output of it. Prices are integers in
1/10,000 of the currency, quantities integers, times integers in nanoseconds since 1970. Symbols are
eight bytes and client order ids fourteen, ASCII, left-justified and padded with spaces. Fields with
an enumerated meaning hold the code of its letter, as `Side.BUY` does: a plain integer, so that a
message with a code that nobody knows can still be carried to the machine, which refuses it.

The bytes of each message are declared in `feed.schema`; here are its Python types.
"""

from enum import IntEnum
from typing import NamedTuple, TypeAlias

SYMBOL_BYTES = 8
HOLDER_NAME_BYTES = 16
CLIENT_ORDER_ID_BYTES = 14
DIGEST_BYTES = 32  # SHA-256
ALL_SYMBOLS = b" " * SYMBOL_BYTES
NO_CLIENT_ORDER_ID = b" " * CLIENT_ORDER_ID_BYTES


class Side(IntEnum):
    """Which side an order is on, as in OUCH 5.0."""

    BUY = ord("B")
    SELL = ord("S")
    SELL_SHORT = ord("T")


class OrderType(IntEnum):
    """What price an order may trade at, and when it starts to."""

    LIMIT = ord("L")
    MARKET = ord("M")
    STOP = ord("S")  # a market order once the stop price has traded
    STOP_LIMIT = ord("T")  # a limit order once the stop price has traded


class TimeInForce(IntEnum):
    """How long an order lives, in FIX's codes (tag 59)."""

    DAY = ord("0")
    GOOD_TILL_CANCEL = ord("1")  # it outlives the day
    IMMEDIATE_OR_CANCEL = ord("3")
    FILL_OR_KILL = ord("4")


class PostOnly(IntEnum):
    """Whether an order is refused rather than let trade on arrival, as in OUCH 5.0 (tag 12)."""

    NO = ord("N")
    YES = ord("P")


class Capacity(IntEnum):
    """In whose interest the client trades, as in OUCH 5.0; carried, never judged."""

    AGENCY = ord("A")
    PRINCIPAL = ord("P")
    RISKLESS = ord("R")
    OTHER = ord("O")


class SelfTradePrevention(IntEnum):
    """What happens when a client's order meets an order of the same client."""

    OFF = ord("F")  # they trade
    CANCEL_NEWEST = ord("N")
    CANCEL_OLDEST = ord("O")
    CANCEL_BOTH = ord("B")


class TradingState(IntEnum):
    """Whether an instrument trades, as in ITCH 5.0."""

    HALTED = ord("H")
    TRADING = ord("T")
    # Not in ITCH: what a move from one shard to another passes through.
    MOVED = ord("M")  # it is in another shard now
    ARRIVING = ord("A")  # its orders are being taken over from another shard


class ShortSale(IntEnum):
    """Whether an instrument may be sold short."""

    ALLOWED = ord("Y")
    FORBIDDEN = ord("N")


class CancelReason(IntEnum):
    """Why quantity was taken off an order."""

    USER = ord("U")  # the client asked
    IMMEDIATE = ord("I")  # what an immediate-or-cancel or market order left
    FILL_OR_KILL = ord("F")  # could not be filled whole
    SELF_TRADE = ord("Q")  # would have traded with the same client
    LINK_LOST = ord("L")  # the client's connection ended, and it asks for this
    EXPIRED = ord("E")  # the day that the order was for is over


class BookSide(IntEnum):
    """The side of the book that an order stands on; a short sale stands with the sells."""

    BID = 0
    ASK = 1


class Epoch(NamedTuple):
    """Command: a primary's reign begins."""

    epoch: int
    primary: bytes  # its name, as `holder_field` makes it


class DefineInstrument(NamedTuple):
    """Command: an instrument is listed."""

    symbol: bytes
    tick_size: int  # prices are multiples of it
    lot_size: int  # quantities are multiples of it
    short_sale: int


class LogIn(NamedTuple):
    """Command: a client logged in; what it sent under an earlier log-in is void from here on."""

    client: int
    login: int  # a random number that names this log-in
    self_trade_prevention: int
    # In any shard but the client's home: the number of the log-in's frame in the home's list. The
    # latest one there counts, in whatever order they get here. 0 in the home itself.
    home_sequence: int = 0


class EnterOrder(NamedTuple):
    """Command: a new order. Its number is this frame's sequence number."""

    client: int
    user_ref_num: int
    symbol: bytes
    side: int
    order_type: int
    time_in_force: int
    post_only: int
    quantity: int
    price: int  # 0 for an order without a limit
    stop_price: int  # 0 for an order without a stop
    capacity: int
    client_order_id: bytes


class ReplaceOrder(NamedTuple):
    """Command: other terms for a live order. The quantity counts what it has already traded."""

    client: int
    original_user_ref_num: int
    user_ref_num: int
    quantity: int
    price: int
    stop_price: int  # 0 keeps the stop price
    time_in_force: int
    client_order_id: bytes


class CancelOrder(NamedTuple):
    """Command: reduce an order to what should remain open of it; 0 cancels it."""

    client: int
    user_ref_num: int
    quantity: int


class MassCancel(NamedTuple):
    """Command: cancel every order of a client, in one symbol or in all."""

    client: int
    user_ref_num: int  # 0 when it is the gateway that asks
    symbol: bytes
    reason: int


class SetTradingState(NamedTuple):
    """Command: halt or resume an instrument."""

    symbol: bytes
    state: int


class NewDay(NamedTuple):
    """Command: the day before is over, and this one begins; what was for the day expires."""

    day: int  # the date as YYYYMMDD, later than the one before


class ShardMark(NamedTuple):
    """Command: how far another shard's list had come.

    The streams of the clients that are at home here go on with what that list has for them up to
    there.
    """

    shard: int
    sequence: int  # a group's end, later than the mark before


class MoveOut(NamedTuple):
    """Command: a halted instrument goes to another shard. Its state, and its orders, follow as
    INSTRUMENT_STATE and ORDER_STATE events of the same group."""

    symbol: bytes
    shard: int  # where it goes


class AdoptInstrument(NamedTuple):
    """Command: an instrument comes from another shard; its orders follow, each as a command."""

    symbol: bytes
    tick_size: int
    lot_size: int
    short_sale: int
    last_price: int
    moves: int  # how often it has moved by now, so that no move takes effect twice


class AdoptOrder(NamedTuple):
    """Command: a live order comes with its instrument. Its number is now this frame's.

    Those at one price come in their priority.
    """

    symbol: bytes
    moves: int  # the instrument's
    source_sequence: int  # of its ORDER_STATE frame in the list that it comes from; ascending
    client: int
    user_ref_num: int
    side: int
    order_type: int
    time_in_force: int
    post_only: int
    capacity: int
    quantity: int
    leaves: int
    executed: int
    price: int
    stop_price: int


class Trade(NamedTuple):
    """Event: two orders traded. The match number is this frame's sequence number."""

    symbol: bytes
    price: int
    quantity: int
    taker_side: int
    maker_number: int
    maker_client: int
    maker_user_ref_num: int
    taker_number: int
    taker_client: int
    taker_user_ref_num: int


class Canceled(NamedTuple):
    """Event: quantity was taken off an order; the order ends when nothing is left."""

    client: int
    user_ref_num: int
    order_number: int
    quantity: int
    reason: int


class Replaced(NamedTuple):
    """Event: an order has new terms, and stands for a new user_ref_num."""

    client: int
    original_user_ref_num: int
    user_ref_num: int
    order_number: int
    symbol: bytes
    side: int
    quantity: int  # open from now on
    price: int
    stop_price: int  # 0 once it has been triggered
    capacity: int
    keeps_priority: int  # 1 when it keeps its place in the queue, else 0


class Triggered(NamedTuple):
    """Event: a stop order woke; from here on it is a market or limit order."""

    client: int
    user_ref_num: int
    order_number: int
    symbol: bytes
    side: int
    quantity: int
    price: int  # 0 without a limit


class Rejected(NamedTuple):
    """Event: the command of this group was refused and changed nothing."""

    client: int
    user_ref_num: int
    reason: int  # an engine.rejects.RejectReason


class Snapshot(NamedTuple):
    """Snapshot: its head. A snapshot is one group of frames, numbered from 1, outside of the list.

    The state in it is what the list makes up to `sequence`, a group's end.
    """

    sequence: int
    epoch: int  # of the reign that `sequence` belongs to
    epoch_sequence: int  # of that reign's EPOCH frame
    primary: bytes  # of that reign
    digest_sequence: int  # how far `list_digest` goes: a multiple of `feed.digest.BLOCK_FRAMES`
    list_digest: bytes


class MarketState(NamedTuple):
    """Snapshot: what belongs to no instrument and no client."""

    day: int  # 0 before the first NEW_DAY


class MarkState(NamedTuple):
    """Snapshot: the last SHARD_MARK of a shard; ascending by shard."""

    shard: int
    sequence: int


class InstrumentState(NamedTuple):
    """Snapshot: an instrument. The orders of its bids, asks, buy stops and sell stops follow.

    It is an event, too, when the instrument moves to another shard.
    """

    symbol: bytes
    tick_size: int
    lot_size: int
    short_sale: int
    state: int  # a TradingState
    last_price: int  # of the last trade; 0 before the first
    moves: int = 0  # from shard to shard
    adopted_sequence: int = 0  # while ARRIVING: the `source_sequence` of its last order so far


class OrderState(NamedTuple):
    """Snapshot: a live order. Those at one price follow one another in their priority.

    It is an event, too, when its instrument moves to another shard.
    """

    number: int
    client: int
    user_ref_num: int
    symbol: bytes
    side: int
    order_type: int
    time_in_force: int
    post_only: int
    capacity: int
    quantity: int  # what was asked for: open, executed and canceled
    leaves: int
    executed: int
    price: int  # 0 without a limit
    stop_price: int  # 0 for one that stands in the book


class ClientState(NamedTuple):
    """Snapshot: what the machine remembers of a client."""

    client: int
    login: int
    last_user_ref_num: int
    self_trade_prevention: int
    home_sequence: int = 0  # of its log-in; 0 in its home shard


class SnapshotEnd(NamedTuple):
    """Snapshot: its end; the machine whose state this is has this digest."""

    state_digest: bytes


Command: TypeAlias = (
    Epoch
    | DefineInstrument
    | LogIn
    | EnterOrder
    | ReplaceOrder
    | CancelOrder
    | MassCancel
    | SetTradingState
    | NewDay
    | ShardMark
    | MoveOut
    | AdoptInstrument
    | AdoptOrder
)
Event: TypeAlias = Trade | Canceled | Replaced | Triggered | Rejected | InstrumentState | OrderState
State: TypeAlias = MarketState | MarkState | InstrumentState | OrderState | ClientState
Message: TypeAlias = Command | Event | Snapshot | State | SnapshotEnd


def book_side(side: int) -> BookSide:
    """The side of the book for the code of a `Side`."""
    return BookSide.BID if side == Side.BUY else BookSide.ASK


def pad(text: str, size: int) -> bytes:
    """ASCII text as a field of `size` bytes, padded with spaces.

    Raises ValueError when the text is too long or not printable ASCII.
    """
    if len(text) > size:
        raise ValueError(f"{text!r} is longer than {size} characters")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} holds characters that are not printable ASCII")
    return text.encode().ljust(size)


def symbol_field(symbol: str) -> bytes:
    """A symbol's name as it stands in frames: eight bytes, padded with spaces."""
    if not symbol or symbol != symbol.strip():
        raise ValueError(f"{symbol!r} is not a symbol: it needs 1 to 8 characters without blanks")
    return pad(symbol, SYMBOL_BYTES)


def unpad(field: bytes) -> str:
    """A padded field's text; bytes that are not ASCII show as escapes."""
    return field.decode("ascii", "backslashreplace").rstrip(" ")


def holder_field(name: str) -> bytes:
    """A holder's name as it stands in frames and datagrams, padded with spaces.

    Raises ValueError when it is empty, longer than 16 characters or not printable ASCII.
    """
    if not name or name != name.strip():
        raise ValueError(f"{name!r} is not a holder's name: it has blanks, or nothing at all")
    return pad(name, HOLDER_NAME_BYTES)
