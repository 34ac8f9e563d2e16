"""The codec of frames and packets against the declarations in feed.schema, byte for byte."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.checksum import crc32c
from feed.codec import (
    COMMAND_TYPES,
    FRAME_HEADER_BYTES,
    FRAME_TYPES,
    HEARTBEAT,
    LONGEST_FRAME_BYTES,
    PACKET_HEADER_BYTES,
    RETRANSMISSION,
    Frame,
    Packet,
    PacketHeader,
    WireError,
    body_bytes,
    decode_body,
    decode_frame,
    decode_packet,
    decode_packet_header,
    encode_body,
    encode_frame,
    encode_group,
    encode_packet,
)
from feed.messages import CancelOrder, Epoch, Message, holder_field
from feed.schema import BODIES, FRAME, PACKET, FrameType
from tests.feed.wire import messages, numbers, reference_crc32c, sequences, words

TIME_NS = 1_753_968_600_000_000_000
OPENING_TYPES = {*COMMAND_TYPES, FrameType.SNAPSHOT}


@st.composite
def packets(draw: st.DrawFn) -> tuple[PacketHeader, list[bytes]]:
    """A header and the frames that may stand behind it."""
    contents = draw(st.lists(messages(), max_size=5))
    first = draw(sequences)
    frames = [
        encode_frame(message, first + place, draw(words), end=draw(st.booleans()))
        for place, message in enumerate(contents)
    ]
    flags = draw(st.sampled_from((0, RETRANSMISSION) if frames else (0, HEARTBEAT)))
    shard, epoch = draw(st.integers(0, 2**16 - 1)), draw(numbers)
    return PacketHeader(flags, shard, epoch, first, draw(words)), frames


def declared_frame(message: Message, sequence: int, time_ns: int, end: bool) -> bytes:
    """The frame as feed.schema alone has it."""
    frame_type = FRAME_TYPES[type(message)]
    flags = (1 if frame_type in OPENING_TYPES else 0) | (2 if end else 0)
    header = {
        "length": FRAME_HEADER_BYTES + BODIES[frame_type].sizeof(),
        "type": int(frame_type),
        "flags": flags,
        "checksum": 0,
        "sequence": sequence,
        "time_ns": time_ns,
    }
    whole: dict[str, Any] = {"header": header, "body": message._asdict()}
    data = FRAME.build(whole)
    header["checksum"] = reference_crc32c(data[:4] + data[8:])
    return FRAME.build(whole)


def declared_packet(header: PacketHeader, frames: list[bytes]) -> bytes:
    """The packet as feed.schema alone has it."""
    head: dict[str, Any] = {**header._asdict(), "frame_count": len(frames), "checksum": 0}
    whole = {"header": head, "frames": [FRAME.parse(frame) for frame in frames]}
    data = PACKET.build(whole)
    head["checksum"] = reference_crc32c(data[:12] + data[16:PACKET_HEADER_BYTES])
    return PACKET.build(whole)


def plain(container: Any) -> tuple[Any, ...]:
    """The fields that construct parsed, as plain integers and bytes."""
    values = (value for name, value in container.items() if name != "_io")
    return tuple(value if isinstance(value, bytes) else int(value) for value in values)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"123456789", 0xE3069283),  # the check value of the catalogue of CRCs
        (bytes(32), 0x8A9136AA),  # these four: RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksum_is_the_published_crc32c(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum
    assert reference_crc32c(data) == checksum
    assert crc32c(memoryview(data)[4:], crc32c(data[:4])) == checksum


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_checksum_equals_the_bitwise_reference(data: bytes) -> None:
    assert crc32c(data) == reference_crc32c(data)


@given(messages(), sequences, words, st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_frame_is_encoded_as_the_schema_declares(
    message: Message, sequence: int, time_ns: int, end: bool
) -> None:
    data = encode_frame(message, sequence, time_ns, end=end)
    assert data == declared_frame(message, sequence, time_ns, end)


@given(messages(), sequences, words, st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_frame_that_the_schema_built_is_decoded(
    message: Message, sequence: int, time_ns: int, end: bool
) -> None:
    data = declared_frame(message, sequence, time_ns, end)
    frame_type = FRAME_TYPES[type(message)]
    is_command = frame_type in OPENING_TYPES
    frame = decode_frame(b"\0\0\0" + data + b"more", 3)
    assert frame == Frame(frame_type, is_command + 2 * end, sequence, time_ns, data)
    assert (frame.is_command, frame.is_end, frame.message()) == (is_command, end, message)
    assert type(frame.message()) is type(message)
    assert plain(FRAME.parse(data).body) == tuple(message)


@given(packets())
@settings(max_examples=200, deadline=None)
def test_a_packet_is_encoded_as_the_schema_declares(
    packet: tuple[PacketHeader, list[bytes]],
) -> None:
    assert encode_packet(*packet) == declared_packet(*packet)


@given(packets())
@settings(max_examples=200, deadline=None)
def test_a_packet_that_the_schema_built_is_decoded(
    packet: tuple[PacketHeader, list[bytes]],
) -> None:
    header, frames = packet
    data = declared_packet(header, frames)
    assert decode_packet(data) == Packet(header, tuple(decode_frame(frame) for frame in frames))
    assert decode_packet_header(data) == (header, len(frames))


def test_a_packet_has_the_bytes_that_were_written_by_hand() -> None:
    frame = encode_frame(Epoch(1, holder_field("e1")), 1, TIME_NS, end=True)
    packet = encode_packet(PacketHeader(RETRANSMISSION, 258, 3, 1, 0), [frame])
    assert packet.hex(" ", 4).split() == [
        *("4c530102", "01020001", "00000003", f"{crc32c(packet[:12] + packet[16:32]):08x}"),
        *("00000000", "00000001", "00000000", "00000000"),
        *("002c4503", f"{crc32c(frame[:4] + frame[8:]):08x}"),
        *("00000000", "00000001", "18575926", "16307000", "00000001"),
        *("65312020", "20202020", "20202020", "20202020"),  # the primary: e1
    ]


@given(st.lists(messages(), min_size=1, max_size=6), sequences, words)
@settings(deadline=None)
def test_a_group_has_consecutive_frames_of_one_time_and_ends_with_its_last(
    group: list[Message], first: int, time_ns: int
) -> None:
    frames = [decode_frame(data) for data in encode_group(group, first, time_ns)]
    assert [frame.message() for frame in frames] == group
    assert [frame.sequence for frame in frames] == list(range(first, first + len(group)))
    assert {frame.time_ns for frame in frames} == {time_ns}
    assert [frame.is_end for frame in frames] == [False] * (len(group) - 1) + [True]


@given(messages())
@settings(deadline=None)
def test_a_body_travels_alone(message: Message) -> None:
    frame_type = FRAME_TYPES[type(message)]
    body = encode_body(message)
    assert body == BODIES[frame_type].build(message._asdict())
    assert len(body) == body_bytes(frame_type)
    assert decode_body(frame_type, b"ab" + body + b"c", 2) == message
    with pytest.raises(WireError, match="truncated body"):
        decode_body(frame_type, body[:-1])


def test_a_body_of_an_unknown_type_is_refused() -> None:
    assert body_bytes(ord("z")) is None
    with pytest.raises(WireError, match="unknown frame type 122"):
        decode_body(ord("z"), bytes(100))


@given(packets())
@settings(max_examples=25, deadline=None)
def test_any_flipped_bit_of_a_packet_is_noticed(packet: tuple[PacketHeader, list[bytes]]) -> None:
    data = encode_packet(*packet)
    for bit in range(8 * len(data)):
        spoiled = bytearray(data)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            decode_packet(bytes(spoiled))


@given(packets(), st.binary(min_size=1, max_size=100))
@settings(max_examples=25, deadline=None)
def test_a_packet_cut_short_or_with_bytes_left_over_is_noticed(
    packet: tuple[PacketHeader, list[bytes]], more: bytes
) -> None:
    data = encode_packet(*packet)
    for size in range(len(data)):
        with pytest.raises(WireError):
            decode_packet(data[:size])
    with pytest.raises(WireError, match="bytes left over"):
        decode_packet(data + more)


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_arbitrary_bytes_are_neither_packet_nor_frame(data: bytes) -> None:
    for decode in (decode_packet, decode_packet_header, decode_frame):
        with pytest.raises(WireError):
            decode(data)


@given(packets(), st.binary(max_size=200), st.integers(0, 9))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_behind_a_sound_header_are_refused(
    packet: tuple[PacketHeader, list[bytes]], junk: bytes, announced: int
) -> None:
    header, frames = packet
    head = encode_packet(header._replace(flags=0), [b""] * (len(frames) + announced))
    with pytest.raises(WireError):
        decode_packet(head + b"".join(frames) + junk + b"\0")


@given(messages(), st.binary(max_size=LONGEST_FRAME_BYTES))
@settings(deadline=None)
def test_arbitrary_bytes_behind_a_frames_first_four_are_refused(
    message: Message, junk: bytes
) -> None:
    data = encode_frame(message, 1, TIME_NS, end=True)
    with pytest.raises(WireError):
        decode_frame(data[:4] + junk)


def test_frames_out_of_sequence_within_a_packet_are_refused() -> None:
    frames = [
        encode_frame(CancelOrder(1, 1, 0), sequence, TIME_NS, end=True) for sequence in (5, 7)
    ]
    with pytest.raises(WireError, match="out of sequence"):
        decode_packet(encode_packet(PacketHeader(0, 1, 1, 5, 0), frames))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((0, b"MS"), "no magic"),
        ((2, b"\2"), "version 2, not 1"),
        ((4, b"\0\2"), "header checksum"),
        ((12, bytes(4)), "header checksum"),
    ],
)
def test_a_foreign_header_is_refused_with_its_reason(
    change: tuple[int, bytes], reason: str
) -> None:
    data = bytearray(encode_packet(PacketHeader(HEARTBEAT, 1, 1, 5, 4)))
    offset, replacement = change
    data[offset : offset + len(replacement)] = replacement
    with pytest.raises(WireError, match=reason):
        decode_packet(bytes(data))


@pytest.mark.parametrize(
    ("header", "frames"),
    [
        (PacketHeader(4, 1, 1, 5, 4), []),  # a flag of no meaning
        (PacketHeader(HEARTBEAT, 1, 1, 5, 4), [b""]),  # a heartbeat that announces frames
        (PacketHeader(0, 1, 1, 0, 0), []),  # sequence numbers begin at 1
    ],
)
def test_an_impossible_header_is_refused_although_its_checksum_matches(
    header: PacketHeader, frames: list[bytes]
) -> None:
    with pytest.raises(WireError, match="impossible packet header"):
        decode_packet(encode_packet(header, frames))


@pytest.mark.parametrize("frame_type", FrameType, ids=lambda frame_type: frame_type.name)
def test_commands_and_heads_of_snapshots_always_open_groups_and_nothing_else_does(
    frame_type: FrameType,
) -> None:
    length = FRAME_HEADER_BYTES + BODIES[frame_type].sizeof()
    wrong = 0 if frame_type in OPENING_TYPES else 1
    for flags in (wrong, wrong | 2, 4):
        prefix = struct.pack(">HBB", length, frame_type, flags)
        rest = bytes(length - 8)
        data = prefix + struct.pack(">I", reference_crc32c(prefix + rest)) + rest
        with pytest.raises(WireError, match="not the beginning of a frame"):
            decode_frame(data)
