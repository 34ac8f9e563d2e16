"""Writes docs/wire.md from feed/schema.py: `python -m tools.wire_docs`.

Offsets, sizes and code letters come from the declarations, what a field or code means from the
comments beside it in `feed.messages` and `feed.schema`. Only the prose around them stands here.
"""

import inspect
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, NamedTuple

import construct as cs

from feed import messages, schema
from feed.checksum import crc32c
from feed.codec import (
    COMMAND_TYPES,
    FRAME_HEADER_BYTES,
    MESSAGE_TYPES,
    PACKET_HEADER_BYTES,
    PacketHeader,
    encode_frame,
    encode_packet,
)
from feed.datagrams import SUBMISSION_TYPES
from feed.messages import EnterOrder, Message, symbol_field
from feed.run import SNAPSHOT_TYPES, STATE_TYPES, type_bit
from feed.schema import FrameFlag, FrameType, HolderKind, PacketFlag, RepairKind, ReplayKind

PAGE = Path(__file__).resolve().parent.parent / "docs" / "wire.md"

_INTRODUCTION = """\
# The wire

Every byte that Lockstep's own protocols carry. This page is generated from `feed/schema.py` by
`python -m tools.wire_docs`, and a test compares the two: change the schema, not the page. What the
messages mean to the market is told in [machine.md](machine.md). Clients speak SoupBinTCP and OUCH
5.0, not these.

- Integers are unsigned and big-endian. Text is ASCII, left-justified and padded with spaces.
- Prices count 1/10,000 of the currency; times count nanoseconds since 1970.
- A field with a code holds one ASCII letter; the [codes](#codes) are listed below.
- Checksums are CRC-32C (RFC 3720, appendix B.4): over the ASCII digits `123456789` it gives
  `0x{check:08X}`."""

_PACKET = """\
One UDP datagram: this header, then `frame_count` whole frames with consecutive sequence numbers,
the first of them `first_sequence`, and nothing behind them. By default a packet carries at most
1,400 bytes, so that it fits an Ethernet frame with room for tunnels; a group may span packets."""

_FRAME = """\
One command or event: this header, then the body of its type. A frame's bytes depend on the list
alone, never on who sends it or how often. COMMAND marks the first frame of a group, END the last;
an order that just rests is both. Each type has one size, so length, type and flags together take
only as many values as there are types and places in a group."""

_TYPES = """\
Offsets in the tables of bodies count from the frame's beginning."""

_REPAIR = """\
One UDP datagram. A receiver asks for a range of frames with a NAK. The answer comes to the address
that asked: RETRANSMISSION packets with what the retransmitter holds, and a MISSING for what it
does not."""

_HOLDER = """\
One UDP datagram, from one holder of the list to another. Backups and retransmitters acknowledge to
the primary what they hold. A replica that takes over asks all holders for their promise and for the
place that their lists end at, and fetches what it lacks from the one with the longest. A holder
that came back without its memory says so, and gets its vote back when it has caught up. The answer
to a FETCH is RETRANSMISSION packets."""

_REPLAY = """\
What a client sends over TCP, once, for a long range of frames or a snapshot. The answer is
datagrams as above, each after its length in four bytes: a snapshot's frames in SNAPSHOT packets,
the list's in RETRANSMISSION packets, heartbeats in between, and MISSING for what is not held. A
holder listens for these at the address of its repair datagrams."""

_SNAPSHOT = """\
A machine's state, as a group of frames of its own, outside of the list: they are numbered from 1,
and all have the time of the list's frame that the state goes up to. The first is SNAPSHOT.
MARKET_STATE follows; then MARK_STATE by shard; then, by symbol, each INSTRUMENT_STATE with the
ORDER_STATE of its orders: bids, asks, buy stops and sell stops, each in the order in which they
would trade; then CLIENT_STATE by number. The last is SNAPSHOT_END. The digest in it is the SHA-256
over the types and bodies of the frames in between. After the group come the list's own frames from
`digest_sequence` + 1 to `sequence`, as far as there are any: with them the digest of the list can
go on.

INSTRUMENT_STATE and ORDER_STATE stand in lists, too: as the events of a MOVE_OUT, in the same
order.

A journal keeps a snapshot in a file in just these bytes."""

_SUBMISSION = """\
From a gateway to the primary over TCP, back to back: this header, then the body of the command,
without the frame around it, since its sequence number and time are not known yet. Types:
{types}."""

_DECISION = """\
From the primary to a gateway, on the same connection, back to back. TCP has its own checksum, and
the bytes never leave the path between two processes of the exchange."""

# What the fields of the headers say; those of the bodies are told beside their Python types.
_HEADER_NOTES: Mapping[str, Mapping[str, str]] = {
    "PACKET_HEADER": {
        "magic": "`LS`",
        "version": f"of the whole wire: {schema.WIRE_VERSION}",
        "flags": "bits, see below",
        "shard": "whose list this is",
        "frame_count": "frames behind the header; 0 in a heartbeat",
        "epoch": "the reign of the primary that sent the packet",
        "checksum": "of the header's other bytes in their order",
        "first_sequence": "of the first frame; without frames, the next one to come",
        "committed_sequence": "up to here the list is committed",
    },
    "FRAME_HEADER": {
        "length": "of the whole frame, with this header",
        "type": "which body follows",
        "flags": "bits, see below",
        "checksum": "of the frame's other bytes in their order",
        "sequence": "the frame's place in the list, from 1, without holes",
        "time_ns": "of the group's command, stamped by the primary",
    },
    "REPAIR": {
        "magic": "`LR`",
        "version": f"of the whole wire: {schema.WIRE_VERSION}",
        "kind": "a question or an answer",
        "shard": "whose list this is about",
        "epoch": "the highest that the sender has seen",
        "checksum": "of the datagram's other bytes in their order",
        "first_sequence": "the range's first frame",
        "last_sequence": "the range's last frame, itself part of it",
    },
    "HOLDER": {
        "magic": "`LH`",
        "version": f"of the whole wire: {schema.WIRE_VERSION}",
        "kind": "what is said",
        "shard": "whose list this is about",
        "epoch": "the highest that the speaker has seen or promised",
        "checksum": "of the datagram's other bytes in their order",
        "holder": "the speaker's name",
        "incarnation": "drawn anew each time that the speaker starts; in a WELCOME the JOIN's",
        "last_epoch": "the epoch that the speaker's last frame belongs to",
        "last_sequence": "by kind: the end of what is acknowledged, held, or asked for",
        "committed_sequence": "up to here the speaker knows the list to be committed",
    },
    "REPLAY": {
        "magic": "`LP`",
        "version": f"of the whole wire: {schema.WIRE_VERSION}",
        "kind": "what is asked for",
        "shard": "whose list this is about",
        "epoch": "the highest that the client has seen",
        "checksum": "of the request's other bytes in their order",
        "first_sequence": "the frame that the client wants next",
    },
    "SUBMISSION_HEADER": {
        "length": "of the whole submission, with this header",
        "type": "which body follows",
        "login": "the client's log-in; in a LOG_IN the new one, in a SHARD_MARK 0",
    },
    "DECISION": {
        "epoch": "of the primary that decided; a later one's list may be another",
        "submission": "of this connection, counted from 1: it and all before it are decided",
        "sequence": "what they brought into the list, if anything, stands up to here",
    },
}

# For fields that many bodies have, where no comment of the one type says more.
_COMMON_NOTES: Mapping[str, str] = {
    "client": "the client's number, from the file of clients",
    "user_ref_num": "the client's own number, strictly increasing with its commands",
    "original_user_ref_num": "the one that the order went by until now",
    "order_number": "the sequence number of the ENTER_ORDER frame that brought the order",
    "maker_number": "the order number of the one that rested",
    "taker_number": "the order number of the one that came in",
    "symbol": "which instrument",
    "client_order_id": "the client's own words, carried and never read",
    "home_sequence": "the log-in's place in the list of the client's home shard; 0 at home",
    "shard": "which other shard",
    "sequence": "a place in the list, the end of a group",
    "tick_size": "prices are multiples of it",
    "lot_size": "quantities are multiples of it",
    "last_price": "of the last trade; 0 before the first",
    "moves": "how often the instrument has moved from shard to shard",
    "leaves": "what is open",
    "executed": "what has traded",
    "stop_price": "0 for an order without a stop, or not any more",
}

_CODES: tuple[type[IntEnum], ...] = (
    messages.Side,
    messages.OrderType,
    messages.TimeInForce,
    messages.PostOnly,
    messages.Capacity,
    messages.SelfTradePrevention,
    messages.TradingState,
    messages.ShortSale,
    messages.CancelReason,
    RepairKind,
    HolderKind,
    ReplayKind,
)

_EXAMPLE_TIME_NS = 1_753_968_600_000_000_000


class Field(NamedTuple):
    """One row of a table: a field, where it stands, and how it is coded."""

    name: str
    offset: int
    size: int
    kind: str
    note: str


def fields(declaration: Any, notes: Mapping[str, str], offset: int = 0) -> Iterator[Field]:
    """The fields of a flat declaration that begins at `offset`, in wire order.

    Raises ValueError when the notes speak of a field that is not there.
    """
    unknown = notes.keys() - set(schema.field_names(declaration))
    if unknown:
        raise ValueError(f"notes on fields that are not declared: {', '.join(sorted(unknown))}")
    for part in declaration.subcons:
        size = part.sizeof()
        yield Field(part.name, offset, size, _kind(part), notes.get(part.name, ""))
        offset += size


def comments(definition: type) -> dict[str, str]:
    """The comments at the ends of the lines that define a class's fields or members, by name."""
    source = inspect.getsource(definition)
    found = {}
    name = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        at_line_start = not token.line[: token.start[1]].strip()
        if token.type == tokenize.NAME and at_line_start:
            name = token.string
        elif token.type == tokenize.COMMENT and not at_line_start:
            found[name] = token.string.removeprefix("#").strip()
    return found


def wire_page() -> str:
    """The whole of docs/wire.md."""
    submissions = ", ".join(t.name for t in FrameType if t in SUBMISSION_TYPES)
    sections = [
        _INTRODUCTION.format(check=crc32c(b"123456789")),
        "## Packet\n\n" + _PACKET,
        _header_table("PACKET_HEADER"),
        _flag_table(PacketFlag),
        "## Frame\n\n" + _FRAME,
        _header_table("FRAME_HEADER"),
        _flag_table(FrameFlag),
        "## Types of frames\n\n" + _TYPES,
        _type_table(),
        *(_body_section(frame_type) for frame_type in schema.BODIES),
        "## Codes",
        *(_code_section(enumeration) for enumeration in _CODES),
        "## Repair datagram\n\n" + _REPAIR,
        _header_table("REPAIR"),
        "## Datagram between holders\n\n" + _HOLDER,
        _header_table("HOLDER"),
        "## Replay request\n\n" + _REPLAY,
        _header_table("REPLAY"),
        "## Frames of a snapshot\n\n" + _SNAPSHOT,
        "## Submission\n\n" + _SUBMISSION.format(types=submissions),
        _header_table("SUBMISSION_HEADER"),
        "## Decision\n\n" + _DECISION,
        _header_table("DECISION"),
        "## Example",
        _example(),
    ]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(wire_page())


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def _field_table(rows: Iterable[Field]) -> str:
    return _table(("field", "offset", "size", "kind", "meaning"), rows)


def _header_table(name: str) -> str:
    declaration = getattr(schema, name)
    notes = _HEADER_NOTES[name]
    missing = set(schema.field_names(declaration)) - notes.keys()
    if missing:
        raise ValueError(f"fields of {name} that no note explains: {', '.join(sorted(missing))}")
    return _field_table(fields(declaration, notes)) + f"\n\n{declaration.sizeof()} bytes."


def _flag_table(flags: type[IntFlag]) -> str:
    notes = comments(flags)
    rows = ((f"`0x{flag:02X}`", flag.name, notes.get(str(flag.name), "")) for flag in flags)
    return _table(("flag", "name", "meaning"), rows)


def _type_table() -> str:
    rows = (
        (
            f"`{chr(frame_type)}`",
            f"[{frame_type.name}](#{frame_type.name.lower()})",
            _nature(frame_type),
            body.sizeof(),
            FRAME_HEADER_BYTES + body.sizeof(),
        )
        for frame_type, body in schema.BODIES.items()
    )
    return _table(("type", "name", "is a", "body bytes", "frame bytes"), rows)


def _nature(frame_type: FrameType) -> str:
    if frame_type in COMMAND_TYPES:
        return "command"
    if type_bit(frame_type) & SNAPSHOT_TYPES:
        return "snapshot"
    return "event, snapshot" if type_bit(frame_type) & STATE_TYPES else "event"


def _body_section(frame_type: FrameType) -> str:
    body = schema.BODIES[frame_type]
    message_type: type[Message] = MESSAGE_TYPES[frame_type]
    common = {name: note for name, note in _COMMON_NOTES.items() if name in message_type._fields}
    rows = fields(body, common | comments(message_type), FRAME_HEADER_BYTES)
    title = f"### {frame_type.name}\n\nType `{chr(frame_type)}`. {inspect.getdoc(message_type)}"
    return f"{title}\n\n{_field_table(rows)}"


def _code_section(enumeration: type[IntEnum]) -> str:
    notes = comments(enumeration)
    rows = ((f"`{chr(code)}`", code.name, notes.get(code.name, "")) for code in enumeration)
    title = f"### {enumeration.__name__}\n\n{inspect.getdoc(enumeration)}"
    return title + "\n\n" + _table(("code", "name", "meaning"), rows)


def _kind(part: Any) -> str:
    while isinstance(part, cs.Renamed):
        part = part.subcon
    if isinstance(part, cs.Const):
        return "constant"
    if isinstance(part, cs.FlagsEnum):
        return "flags"
    if isinstance(part, cs.Enum):
        named = _enumeration(part)
        return "type" if named is FrameType else f"[{named.__name__}](#{named.__name__.lower()})"
    if isinstance(part, cs.Bytes):
        return "bytes" if part.length == messages.DIGEST_BYTES else "text"
    return "integer"


def _enumeration(part: Any) -> type[IntEnum]:
    """The Python enumeration that an enumerated field was declared with."""
    known: tuple[type[IntEnum], ...] = (*_CODES, FrameType)
    for enumeration in known:
        if part.encmapping == {str(code.name): int(code) for code in enumeration}:
            return enumeration
    raise TypeError(f"{part!r} is of an enumeration that this page does not list")


def _example() -> str:
    order = EnterOrder(
        client=1,
        user_ref_num=7,
        symbol=symbol_field("AAPL"),
        side=messages.Side.BUY,
        order_type=messages.OrderType.LIMIT,
        time_in_force=messages.TimeInForce.DAY,
        post_only=messages.PostOnly.NO,
        quantity=100,
        price=1_850_000,
        stop_price=0,
        capacity=messages.Capacity.AGENCY,
        client_order_id=messages.pad("first", messages.CLIENT_ORDER_ID_BYTES),
    )
    frame = encode_frame(order, 42, _EXAMPLE_TIME_NS, end=True)
    packet = encode_packet(PacketHeader(0, 1, 1, 42, 41), [frame])
    title = (
        "A packet of epoch 1 with one frame: at sequence number 42 client 1 buys 100 AAPL at\n"
        f"185.00, and rests. The header is {PACKET_HEADER_BYTES} bytes, the frame {len(frame)}."
    )
    return f"{title}\n\n```\n{_hex_dump(packet)}\n```"


def _hex_dump(data: bytes) -> str:
    lines = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:04x}  {row.hex(' '):<47}  {text}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
