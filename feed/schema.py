"""Every packet and frame of Lockstep, declared once.

All integers are unsigned and big-endian. The codecs (`feed.codec`, `feed.datagrams`), the tables in
docs/wire.md and every dissector are made from these declarations.

A packet is a header and `frame_count` whole frames with consecutive sequence numbers. Its checksum
is the CRC-32C (RFC 3720, appendix B.4) of the header's other bytes in their order. A frame's
checksum is the CRC-32C of the frame's other bytes in their order. A receiver asks for frames with
a `REPAIR` datagram; what a retransmitter does not hold it names with another.

A gateway sends commands to the primary over TCP as submissions: the same bodies under a shorter
header, since sequence and time are not known yet. The primary answers with decisions: a submission
up to `submission` has its place, if it gets one, at or below `sequence` in the list of `epoch`.

Holders of the list speak with one another in `HOLDER` datagrams: acknowledgements, and what a
takeover needs.

Long ranges, and snapshots, go over TCP: one `REPLAY` request, and as its answer datagrams as above,
each after its length as four bytes. A snapshot is a group of frames of its own, outside of the
list: SNAPSHOT, the machine's state in frames named STATE, SNAPSHOT_END.
"""

from enum import IntEnum, IntFlag
from typing import Any

import construct as cs

from feed import messages

PACKET_MAGIC = b"LS"
REPAIR_MAGIC = b"LR"
HOLDER_MAGIC = b"LH"
REPLAY_MAGIC = b"LP"
WIRE_VERSION = 1


class PacketFlag(IntFlag):
    """What kind of packet it is; plain data has none set."""

    HEARTBEAT = 1  # no frames; first_sequence is the next one to come
    RETRANSMISSION = 2  # an answer to a NAK
    COMMIT = 4  # a heartbeat that is sent only because the commit has moved
    SNAPSHOT = 8  # over TCP alone: the frames are a snapshot's, and numbered as such


class FrameFlag(IntFlag):
    """A frame's place in its group; an order that just rests is both."""

    COMMAND = 1  # the first of its group
    END = 2  # the last of its group


class RepairKind(IntEnum):
    """What a repair datagram says about its range of sequence numbers."""

    NAK = ord("N")  # please send these again
    MISSING = ord("M")  # I do not hold these


class ReplayKind(IntEnum):
    """What is asked for over TCP; each answer goes on with the committed list."""

    LIST = ord("L")  # the frames from `first_sequence` on
    STATE = ord("S")  # the same; but where much of it is in a snapshot, that, and what follows
    DAY = ord("D")  # the snapshot that this day began with, if one did, and what follows


class HolderKind(IntEnum):
    """What one holder tells another, and what `last_sequence` means in it."""

    ACK = ord("A")  # to the primary: I hold the list of your epoch up to the end of this group
    ASK = ord("Q")  # a takeover: promise me this epoch, and say what you hold
    ANSWER = ord("R")  # to ASK: promised, if the epoch is the one asked for; this is what I hold
    FORGOT = ord("F")  # to ASK: no vote; I came back without my memory, or am in a later epoch
    FETCH = ord("G")  # a takeover: send me what you hold from `last_sequence` on
    JOIN = ord("J")  # to the primary: I came back; forget what I acknowledged in an earlier life
    WELCOME = ord("W")  # to JOIN: my list goes so far; hold that much, and you may vote


class FrameType(IntEnum):
    """The letter that names a frame's body."""

    EPOCH = ord("E")
    DEFINE_INSTRUMENT = ord("I")
    LOG_IN = ord("L")
    ENTER_ORDER = ord("O")
    REPLACE_ORDER = ord("U")
    CANCEL_ORDER = ord("X")
    MASS_CANCEL = ord("M")
    SET_TRADING_STATE = ord("H")
    TRADE = ord("T")
    CANCELED = ord("C")
    REPLACED = ord("R")
    TRIGGERED = ord("G")
    REJECTED = ord("J")
    NEW_DAY = ord("D")
    SHARD_MARK = ord("K")
    MOVE_OUT = ord("W")
    ADOPT_INSTRUMENT = ord("A")
    ADOPT_ORDER = ord("B")
    SNAPSHOT = ord("S")
    MARKET_STATE = ord("V")
    MARK_STATE = ord("F")
    INSTRUMENT_STATE = ord("N")
    ORDER_STATE = ord("Q")
    CLIENT_STATE = ord("P")
    SNAPSHOT_END = ord("Z")


def _code(enumeration: type[IntEnum]) -> Any:
    return cs.Enum(cs.Int8ub, enumeration)


PACKET_HEADER = cs.Struct(
    "magic" / cs.Const(PACKET_MAGIC),
    "version" / cs.Const(WIRE_VERSION, cs.Int8ub),
    "flags" / cs.FlagsEnum(cs.Int8ub, PacketFlag),
    "shard" / cs.Int16ub,
    "frame_count" / cs.Int16ub,
    "epoch" / cs.Int32ub,
    "checksum" / cs.Int32ub,
    "first_sequence" / cs.Int64ub,
    "committed_sequence" / cs.Int64ub,
)

FRAME_HEADER = cs.Struct(
    "length" / cs.Int16ub,
    "type" / _code(FrameType),
    "flags" / cs.FlagsEnum(cs.Int8ub, FrameFlag),
    "checksum" / cs.Int32ub,
    "sequence" / cs.Int64ub,
    "time_ns" / cs.Int64ub,
)

REPAIR = cs.Struct(
    "magic" / cs.Const(REPAIR_MAGIC),
    "version" / cs.Const(WIRE_VERSION, cs.Int8ub),
    "kind" / _code(RepairKind),
    "shard" / cs.Int16ub,
    "epoch" / cs.Int32ub,
    "checksum" / cs.Int32ub,
    "first_sequence" / cs.Int64ub,
    "last_sequence" / cs.Int64ub,
)

HOLDER = cs.Struct(
    "magic" / cs.Const(HOLDER_MAGIC),
    "version" / cs.Const(WIRE_VERSION, cs.Int8ub),
    "kind" / _code(HolderKind),
    "shard" / cs.Int16ub,
    "epoch" / cs.Int32ub,
    "checksum" / cs.Int32ub,
    "holder" / cs.Bytes(messages.HOLDER_NAME_BYTES),
    "incarnation" / cs.Int64ub,
    "last_epoch" / cs.Int32ub,
    "last_sequence" / cs.Int64ub,
    "committed_sequence" / cs.Int64ub,
)

REPLAY = cs.Struct(
    "magic" / cs.Const(REPLAY_MAGIC),
    "version" / cs.Const(WIRE_VERSION, cs.Int8ub),
    "kind" / _code(ReplayKind),
    "shard" / cs.Int16ub,
    "epoch" / cs.Int32ub,
    "checksum" / cs.Int32ub,
    "first_sequence" / cs.Int64ub,
)

SUBMISSION_HEADER = cs.Struct(
    "length" / cs.Int16ub,
    "type" / _code(FrameType),
    "login" / cs.Int64ub,
)

DECISION = cs.Struct(
    "epoch" / cs.Int32ub,
    "submission" / cs.Int64ub,
    "sequence" / cs.Int64ub,
)

_SYMBOL = cs.Bytes(messages.SYMBOL_BYTES)
_DIGEST = cs.Bytes(messages.DIGEST_BYTES)
_CLIENT_ORDER_ID = cs.Bytes(messages.CLIENT_ORDER_ID_BYTES)

BODIES: dict[FrameType, Any] = {
    FrameType.EPOCH: cs.Struct(
        "epoch" / cs.Int32ub,
        "primary" / cs.Bytes(messages.HOLDER_NAME_BYTES),
    ),
    FrameType.DEFINE_INSTRUMENT: cs.Struct(
        "symbol" / _SYMBOL,
        "tick_size" / cs.Int32ub,
        "lot_size" / cs.Int32ub,
        "short_sale" / _code(messages.ShortSale),
    ),
    FrameType.LOG_IN: cs.Struct(
        "client" / cs.Int32ub,
        "login" / cs.Int64ub,
        "self_trade_prevention" / _code(messages.SelfTradePrevention),
        "home_sequence" / cs.Int64ub,
    ),
    FrameType.ENTER_ORDER: cs.Struct(
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "symbol" / _SYMBOL,
        "side" / _code(messages.Side),
        "order_type" / _code(messages.OrderType),
        "time_in_force" / _code(messages.TimeInForce),
        "post_only" / _code(messages.PostOnly),
        "quantity" / cs.Int32ub,
        "price" / cs.Int64ub,
        "stop_price" / cs.Int64ub,
        "capacity" / _code(messages.Capacity),
        "client_order_id" / _CLIENT_ORDER_ID,
    ),
    FrameType.REPLACE_ORDER: cs.Struct(
        "client" / cs.Int32ub,
        "original_user_ref_num" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "quantity" / cs.Int32ub,
        "price" / cs.Int64ub,
        "stop_price" / cs.Int64ub,
        "time_in_force" / _code(messages.TimeInForce),
        "client_order_id" / _CLIENT_ORDER_ID,
    ),
    FrameType.CANCEL_ORDER: cs.Struct(
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "quantity" / cs.Int32ub,
    ),
    FrameType.MASS_CANCEL: cs.Struct(
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "symbol" / _SYMBOL,
        "reason" / _code(messages.CancelReason),
    ),
    FrameType.SET_TRADING_STATE: cs.Struct(
        "symbol" / _SYMBOL,
        "state" / _code(messages.TradingState),
    ),
    FrameType.TRADE: cs.Struct(
        "symbol" / _SYMBOL,
        "price" / cs.Int64ub,
        "quantity" / cs.Int32ub,
        "taker_side" / _code(messages.Side),
        "maker_number" / cs.Int64ub,
        "maker_client" / cs.Int32ub,
        "maker_user_ref_num" / cs.Int32ub,
        "taker_number" / cs.Int64ub,
        "taker_client" / cs.Int32ub,
        "taker_user_ref_num" / cs.Int32ub,
    ),
    FrameType.CANCELED: cs.Struct(
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "order_number" / cs.Int64ub,
        "quantity" / cs.Int32ub,
        "reason" / _code(messages.CancelReason),
    ),
    FrameType.REPLACED: cs.Struct(
        "client" / cs.Int32ub,
        "original_user_ref_num" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "order_number" / cs.Int64ub,
        "symbol" / _SYMBOL,
        "side" / _code(messages.Side),
        "quantity" / cs.Int32ub,
        "price" / cs.Int64ub,
        "stop_price" / cs.Int64ub,
        "capacity" / _code(messages.Capacity),
        "keeps_priority" / cs.Int8ub,
    ),
    FrameType.TRIGGERED: cs.Struct(
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "order_number" / cs.Int64ub,
        "symbol" / _SYMBOL,
        "side" / _code(messages.Side),
        "quantity" / cs.Int32ub,
        "price" / cs.Int64ub,
    ),
    FrameType.REJECTED: cs.Struct(
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "reason" / cs.Int16ub,
    ),
    FrameType.NEW_DAY: cs.Struct(
        "day" / cs.Int32ub,
    ),
    FrameType.SHARD_MARK: cs.Struct(
        "shard" / cs.Int16ub,
        "sequence" / cs.Int64ub,
    ),
    FrameType.MOVE_OUT: cs.Struct(
        "symbol" / _SYMBOL,
        "shard" / cs.Int16ub,
    ),
    FrameType.ADOPT_INSTRUMENT: cs.Struct(
        "symbol" / _SYMBOL,
        "tick_size" / cs.Int32ub,
        "lot_size" / cs.Int32ub,
        "short_sale" / _code(messages.ShortSale),
        "last_price" / cs.Int64ub,
        "moves" / cs.Int32ub,
    ),
    FrameType.ADOPT_ORDER: cs.Struct(
        "symbol" / _SYMBOL,
        "moves" / cs.Int32ub,
        "source_sequence" / cs.Int64ub,
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "side" / _code(messages.Side),
        "order_type" / _code(messages.OrderType),
        "time_in_force" / _code(messages.TimeInForce),
        "post_only" / _code(messages.PostOnly),
        "capacity" / _code(messages.Capacity),
        "quantity" / cs.Int32ub,
        "leaves" / cs.Int32ub,
        "executed" / cs.Int32ub,
        "price" / cs.Int64ub,
        "stop_price" / cs.Int64ub,
    ),
    FrameType.SNAPSHOT: cs.Struct(
        "sequence" / cs.Int64ub,
        "epoch" / cs.Int32ub,
        "epoch_sequence" / cs.Int64ub,
        "primary" / cs.Bytes(messages.HOLDER_NAME_BYTES),
        "digest_sequence" / cs.Int64ub,
        "list_digest" / _DIGEST,
    ),
    FrameType.MARKET_STATE: cs.Struct(
        "day" / cs.Int32ub,
    ),
    FrameType.MARK_STATE: cs.Struct(
        "shard" / cs.Int16ub,
        "sequence" / cs.Int64ub,
    ),
    FrameType.INSTRUMENT_STATE: cs.Struct(
        "symbol" / _SYMBOL,
        "tick_size" / cs.Int32ub,
        "lot_size" / cs.Int32ub,
        "short_sale" / _code(messages.ShortSale),
        "state" / _code(messages.TradingState),
        "last_price" / cs.Int64ub,
        "moves" / cs.Int32ub,
        "adopted_sequence" / cs.Int64ub,
    ),
    FrameType.ORDER_STATE: cs.Struct(
        "number" / cs.Int64ub,
        "client" / cs.Int32ub,
        "user_ref_num" / cs.Int32ub,
        "symbol" / _SYMBOL,
        "side" / _code(messages.Side),
        "order_type" / _code(messages.OrderType),
        "time_in_force" / _code(messages.TimeInForce),
        "post_only" / _code(messages.PostOnly),
        "capacity" / _code(messages.Capacity),
        "quantity" / cs.Int32ub,
        "leaves" / cs.Int32ub,
        "executed" / cs.Int32ub,
        "price" / cs.Int64ub,
        "stop_price" / cs.Int64ub,
    ),
    FrameType.CLIENT_STATE: cs.Struct(
        "client" / cs.Int32ub,
        "login" / cs.Int64ub,
        "last_user_ref_num" / cs.Int32ub,
        "self_trade_prevention" / _code(messages.SelfTradePrevention),
        "home_sequence" / cs.Int64ub,
    ),
    FrameType.SNAPSHOT_END: cs.Struct(
        "state_digest" / _DIGEST,
    ),
}

FRAME = cs.Struct(
    "header" / FRAME_HEADER,
    "body" / cs.Switch(lambda context: int(context.header.type), BODIES),
)

PACKET = cs.Struct(
    "header" / PACKET_HEADER,
    "frames" / cs.Array(cs.this.header.frame_count, FRAME),
)


def struct_format(declaration: Any) -> str:
    """The `struct` format of a flat declaration, without the byte order, as in "2sBBHH"."""
    return "".join(_field_format(field) for field in declaration.subcons)


def field_names(declaration: Any) -> tuple[str, ...]:
    """The names of a declaration's fields, in wire order."""
    return tuple(field.name for field in declaration.subcons)


def field_offset(declaration: Any, name: str) -> int:
    """Where a field of a flat declaration begins, in bytes.

    Raises KeyError when there is no such field.
    """
    offset = 0
    for field in declaration.subcons:
        if field.name == name:
            return offset
        offset += field.sizeof()
    raise KeyError(name)


def _field_format(field: Any) -> str:
    while isinstance(field, cs.Subconstruct) and not isinstance(field, cs.Bytes):
        field = field.subcon
    if isinstance(field, cs.FormatField):
        return str(field.fmtstr[1:])
    if isinstance(field, cs.Bytes):
        return f"{field.length}s"
    raise TypeError(f"{field!r} is neither an integer nor bytes of a fixed size")
