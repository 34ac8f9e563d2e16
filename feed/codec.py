"""Frames and packets to bytes and back, on structs compiled from `feed.schema`.

A frame's first four bytes (length, type, flags) can take few values, because each type has one
length. So they are looked up instead of being parsed: a prefix that is not in the table is not the
beginning of a frame, and the table holds the prefix's part of the checksum.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from feed import messages, schema
from feed.checksum import CHECKSUM_BYTES, checksum_around, crc32c
from feed.messages import Message
from feed.schema import FrameFlag, FrameType, PacketFlag

MESSAGE_TYPES: dict[FrameType, type[Message]] = {
    FrameType.EPOCH: messages.Epoch,
    FrameType.DEFINE_INSTRUMENT: messages.DefineInstrument,
    FrameType.LOG_IN: messages.LogIn,
    FrameType.ENTER_ORDER: messages.EnterOrder,
    FrameType.REPLACE_ORDER: messages.ReplaceOrder,
    FrameType.CANCEL_ORDER: messages.CancelOrder,
    FrameType.MASS_CANCEL: messages.MassCancel,
    FrameType.SET_TRADING_STATE: messages.SetTradingState,
    FrameType.TRADE: messages.Trade,
    FrameType.CANCELED: messages.Canceled,
    FrameType.REPLACED: messages.Replaced,
    FrameType.TRIGGERED: messages.Triggered,
    FrameType.REJECTED: messages.Rejected,
    FrameType.NEW_DAY: messages.NewDay,
    FrameType.SHARD_MARK: messages.ShardMark,
    FrameType.MOVE_OUT: messages.MoveOut,
    FrameType.ADOPT_INSTRUMENT: messages.AdoptInstrument,
    FrameType.ADOPT_ORDER: messages.AdoptOrder,
    FrameType.SNAPSHOT: messages.Snapshot,
    FrameType.MARKET_STATE: messages.MarketState,
    FrameType.MARK_STATE: messages.MarkState,
    FrameType.INSTRUMENT_STATE: messages.InstrumentState,
    FrameType.ORDER_STATE: messages.OrderState,
    FrameType.CLIENT_STATE: messages.ClientState,
    FrameType.SNAPSHOT_END: messages.SnapshotEnd,
}
FRAME_TYPES: dict[type[Message], FrameType] = {kind: t for t, kind in MESSAGE_TYPES.items()}
COMMAND_TYPES = frozenset(
    {
        FrameType.EPOCH,
        FrameType.DEFINE_INSTRUMENT,
        FrameType.LOG_IN,
        FrameType.ENTER_ORDER,
        FrameType.REPLACE_ORDER,
        FrameType.CANCEL_ORDER,
        FrameType.MASS_CANCEL,
        FrameType.SET_TRADING_STATE,
        FrameType.NEW_DAY,
        FrameType.SHARD_MARK,
        FrameType.MOVE_OUT,
        FrameType.ADOPT_INSTRUMENT,
        FrameType.ADOPT_ORDER,
    }
)

_PREFIX = struct.Struct(">HBB")
_CHECKSUM = struct.Struct(">I")
_pack_checksum = _CHECKSUM.pack
_SEQUENCE_AND_TIME = struct.Struct(">QQ")
_PACKET_HEADER = struct.Struct(">" + schema.struct_format(schema.PACKET_HEADER))
_PACKET_CHECKSUM_AT = schema.field_offset(schema.PACKET_HEADER, "checksum")

FRAME_HEADER_BYTES = schema.FRAME_HEADER.sizeof()
PACKET_HEADER_BYTES = _PACKET_HEADER.size
_CHECKSUM_AT = schema.field_offset(schema.FRAME_HEADER, "checksum")
_SEQUENCE_AT = schema.field_offset(schema.FRAME_HEADER, "sequence")

COMMAND = int(FrameFlag.COMMAND)
END = int(FrameFlag.END)
HEARTBEAT = int(PacketFlag.HEARTBEAT)
RETRANSMISSION = int(PacketFlag.RETRANSMISSION)
COMMIT = int(PacketFlag.COMMIT)
SNAPSHOT = int(PacketFlag.SNAPSHOT)
_PACKET_FLAGS = HEARTBEAT | RETRANSMISSION | COMMIT | SNAPSHOT


class WireError(ValueError):
    """Bytes that are not what they should be; the text says which check failed."""


class _Layout(NamedTuple):
    """What is known of a frame from its first four bytes."""

    prefix: bytes
    prefix_checksum: int
    length: int
    frame_type: FrameType
    flags: int
    rest: struct.Struct  # sequence, time and body
    body: struct.Struct
    message_type: type[Message]


def _layouts() -> Iterable[_Layout]:
    for frame_type, declaration in schema.BODIES.items():
        message_type = MESSAGE_TYPES[frame_type]
        if schema.field_names(declaration) != message_type._fields:
            raise TypeError(f"feed.schema and {message_type.__name__} name different fields")
        body = struct.Struct(">" + schema.struct_format(declaration))
        rest = struct.Struct(">QQ" + schema.struct_format(declaration))
        length = FRAME_HEADER_BYTES + body.size
        opens = frame_type in COMMAND_TYPES or frame_type is FrameType.SNAPSHOT
        places = (COMMAND, COMMAND | END) if opens else (0, END)
        for flags in places:
            prefix = _PREFIX.pack(length, frame_type, flags)
            yield _Layout(
                prefix, crc32c(prefix), length, frame_type, flags, rest, body, message_type
            )


_BY_PREFIX = {layout.prefix: layout for layout in _layouts()}
_BY_TYPE = {int(layout.frame_type): layout for layout in _layouts()}
# What encoding needs of a layout (prefix, its checksum, how to pack the rest), by a frame's place.
_INNER, _LAST = (
    {
        layout.message_type: (layout.prefix, layout.prefix_checksum, layout.rest.pack)
        for layout in _BY_PREFIX.values()
        if layout.flags & END == end
    }
    for end in (0, END)
)
LONGEST_FRAME_BYTES = max(layout.length for layout in _BY_PREFIX.values())


class Frame(NamedTuple):
    """A frame whose bytes have been verified; its body is decoded when it is asked for."""

    type: FrameType
    flags: int
    sequence: int
    time_ns: int
    data: bytes  # the whole frame, as it was on the wire

    @property
    def is_command(self) -> bool:
        """Whether the frame opens a group."""
        return bool(self.flags & COMMAND)

    @property
    def is_end(self) -> bool:
        """Whether the frame closes a group."""
        return bool(self.flags & END)

    def message(self) -> Message:
        """The command or event in the body, decoded anew at each call."""
        return decode_body(self.type, self.data, FRAME_HEADER_BYTES)


class PacketHeader(NamedTuple):
    """What a packet's header says; `first_sequence` is the next one where there are no frames."""

    flags: int
    shard: int
    epoch: int
    first_sequence: int
    committed_sequence: int


class Packet(NamedTuple):
    """A packet that passed every check."""

    header: PacketHeader
    frames: tuple[Frame, ...]


def encode_frame(message: Message, sequence: int, time_ns: int, *, end: bool) -> bytes:
    """The bytes of one frame; a command is marked as such, `end` marks the last of its group."""
    prefix, prefix_checksum, pack = (_LAST if end else _INNER)[type(message)]
    rest = pack(sequence, time_ns, *message)
    return prefix + _pack_checksum(crc32c(rest, prefix_checksum)) + rest


def encode_group(group: Sequence[Message], first_sequence: int, time_ns: int) -> list[bytes]:
    """The frames of one group: a command and the events that it caused, the last END-marked."""
    last = first_sequence + len(group) - 1
    frames = []
    for sequence, message in enumerate(group, first_sequence):
        # encode_frame, spelled out: this is where an engine spends a third of its time.
        prefix, prefix_checksum, pack = (_LAST if sequence == last else _INNER)[type(message)]
        rest = pack(sequence, time_ns, *message)
        frames.append(prefix + _pack_checksum(crc32c(rest, prefix_checksum)) + rest)
    return frames


def decode_frame(data: bytes, offset: int = 0) -> Frame:
    """The frame at `offset` of `data`.

    Raises WireError when it is truncated, of no known type, or fails its checksum.
    """
    layout = _BY_PREFIX.get(data[offset : offset + _CHECKSUM_AT])
    if layout is None:
        raise WireError("not the beginning of a frame: unknown length, type or flags")
    end = offset + layout.length
    if end > len(data):
        raise WireError("truncated frame")
    frame = data[offset:end]
    (checksum,) = _CHECKSUM.unpack_from(frame, _CHECKSUM_AT)
    if checksum != crc32c(frame[_SEQUENCE_AT:], layout.prefix_checksum):
        raise WireError("frame checksum does not match")
    sequence, time_ns = _SEQUENCE_AND_TIME.unpack_from(frame, _SEQUENCE_AT)
    return Frame(layout.frame_type, layout.flags, sequence, time_ns, frame)


def decode_verified(data: bytes, offset: int = 0) -> Frame:
    """The frame at `offset` of bytes that have been verified before."""
    layout = _BY_PREFIX[data[offset : offset + _CHECKSUM_AT]]
    sequence, time_ns = _SEQUENCE_AND_TIME.unpack_from(data, offset + _SEQUENCE_AT)
    frame = data[offset : offset + layout.length]
    return Frame(layout.frame_type, layout.flags, sequence, time_ns, frame)


def encode_body(message: Message) -> bytes:
    """A message's fields alone, without a frame around them."""
    return _BY_TYPE[FRAME_TYPES[type(message)]].body.pack(*message)


def decode_body(frame_type: int, data: bytes, offset: int = 0) -> Message:
    """The message of type `frame_type` whose fields stand at `offset` of `data`.

    Raises WireError when the type is not known or the bytes are too few.
    """
    layout = _BY_TYPE.get(frame_type)
    if layout is None:
        raise WireError(f"unknown frame type {frame_type}")
    if len(data) - offset < layout.body.size:
        raise WireError("truncated body")
    return layout.message_type._make(layout.body.unpack_from(data, offset))


def body_bytes(frame_type: int) -> int | None:
    """The size of a body of this type; None when the type is not known."""
    layout = _BY_TYPE.get(frame_type)
    return None if layout is None else layout.body.size


def encode_packet(header: PacketHeader, frames: Sequence[bytes] = ()) -> bytes:
    """The bytes of one packet."""
    flags, shard, epoch, first_sequence, committed_sequence = header
    head = _PACKET_HEADER.pack(
        schema.PACKET_MAGIC,
        schema.WIRE_VERSION,
        flags,
        shard,
        len(frames),
        epoch,
        0,
        first_sequence,
        committed_sequence,
    )
    checksum = _pack_checksum(checksum_around(head, _PACKET_CHECKSUM_AT))
    rest = head[_PACKET_CHECKSUM_AT + CHECKSUM_BYTES :]
    return b"".join((head[:_PACKET_CHECKSUM_AT], checksum, rest, *frames))


def decode_packet(data: bytes) -> Packet:
    """The header and frames of a received packet.

    Raises WireError for anything that this version's `encode_packet` can't have made: a foreign or
    truncated packet, bytes left over, a checksum that does not match, frames out of sequence.
    """
    header, frame_count = decode_packet_header(data)
    frames = []
    offset = PACKET_HEADER_BYTES
    for sequence in range(header.first_sequence, header.first_sequence + frame_count):
        frame = decode_frame(data, offset)
        if frame.sequence != sequence:
            raise WireError("frames out of sequence within a packet")
        frames.append(frame)
        offset += len(frame.data)
    if offset != len(data):
        raise WireError("bytes left over after the last frame")
    return Packet(header, tuple(frames))


def decode_packet_header(data: bytes) -> tuple[PacketHeader, int]:
    """The header at the beginning of `data`, and the number of frames it announces."""
    if len(data) < PACKET_HEADER_BYTES:
        raise WireError("shorter than a packet header")
    fields = _PACKET_HEADER.unpack_from(data)
    magic, version, flags, shard, frame_count, epoch, checksum, first, committed = fields
    if magic != schema.PACKET_MAGIC:
        raise WireError("foreign packet: no magic")
    if version != schema.WIRE_VERSION:
        raise WireError(f"packet of version {version}, not {schema.WIRE_VERSION}")
    if checksum != checksum_around(data[:PACKET_HEADER_BYTES], _PACKET_CHECKSUM_AT):
        raise WireError("packet header checksum does not match")
    is_heartbeat = bool(flags & HEARTBEAT)
    is_wrong = frame_count if is_heartbeat else flags & COMMIT
    if flags & ~_PACKET_FLAGS or is_wrong or first == 0:
        raise WireError("impossible packet header")
    return PacketHeader(flags, shard, epoch, first, committed), frame_count
