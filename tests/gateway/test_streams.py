from array import array
from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.messages import (
    ALL_SYMBOLS,
    Canceled,
    CancelOrder,
    CancelReason,
    Epoch,
    MassCancel,
    Message,
    Rejected,
    Side,
    holder_field,
)
from feed.subscriber import Group
from gateway.kernel import tell
from gateway.ouch import OutboundType
from gateway.soup import SequencedData, server_packets
from gateway.streams import SEGMENT_BYTES, Stream, Streams
from tests.gateway.groups import ALICE, BOB, add, frames_of, group, log_in, order, trade
from tests.gateway.twins import EVERY_KERNEL

pytestmark = EVERY_KERNEL

HIGH = 1 << 30


def payloads(data: bytes) -> list[bytes]:
    packets = list(server_packets().take(data))
    assert all(isinstance(packet, SequencedData) for packet in packets)
    return [packet.payload for packet in packets if isinstance(packet, SequencedData)]


def letters(streams: Streams, client: int) -> str:
    stream = streams.of(client)
    return "".join(chr(payload[0]) for payload in payloads(stream.read(1, HIGH).data))


def day() -> list[Group]:
    """A little of everything."""
    groups: Sequence[Sequence[Message]] = (
        [Epoch(1, holder_field("e1"))],
        [log_in(ALICE, 11)],
        [order(ALICE, 1)],
        [order(BOB, 1, Side.SELL), trade((3, ALICE, 1), (4, BOB, 1))],
        [order(BOB, 2), Rejected(BOB, 2, 1)],
        [order(ALICE, 2)],
        [CancelOrder(ALICE, 2, 0), Canceled(ALICE, 2, 8, 100, CancelReason.USER)],
        [order(ALICE, 3)],
        [
            MassCancel(ALICE, 4, ALL_SYMBOLS, CancelReason.USER),
            Canceled(ALICE, 3, 11, 100, CancelReason.USER),
        ],
        [order(ALICE, 5)],
        [
            MassCancel(ALICE, 0, ALL_SYMBOLS, CancelReason.LINK_LOST),
            Canceled(ALICE, 5, 14, 100, CancelReason.LINK_LOST),
        ],
    )
    made, sequence = [], 1
    for messages in groups:
        made.append(group(messages, sequence))
        sequence += len(messages)
    return made


def test_every_client_gets_its_own_events_in_the_order_of_the_list() -> None:
    streams = Streams(HIGH)
    touched = [streams.extend(tell(frames_of(group))) for group in day()]
    A, B = ALICE, BOB
    assert touched == [[], [], [A], [B, A], [B], [A], [A], [A], [A], [A], [A]]
    assert letters(streams, ALICE) == "AEACAXCAC"
    assert letters(streams, BOB) == "AEJ"
    assert (streams.of(ALICE).next_sequence, streams.of(BOB).next_sequence) == (10, 4)
    assert streams.message_count == 12
    streams.check()


def test_two_gateways_have_the_same_streams_byte_for_byte() -> None:
    one, other = Streams(HIGH), Streams(HIGH)
    for part in day():
        one.extend(tell(frames_of(part)))
    for part in day():
        other.extend(tell(frames_of(part)))
    for client in (ALICE, BOB):
        assert one.of(client).read(1, HIGH) == other.of(client).read(1, HIGH)


def test_a_client_that_nothing_happened_to_has_an_empty_stream() -> None:
    stream = Streams(HIGH).of(ALICE)
    assert (stream.first_sequence, stream.next_sequence, stream.end_position) == (1, 1, 0)
    assert stream.read(1, HIGH) == (b"", 1)


def test_the_oldest_messages_go_when_a_stream_outgrows_its_limit() -> None:
    stream = Stream(2 * SEGMENT_BYTES)
    for number in range(1, 10_001):
        add(stream, b"%060d" % number)
        stream.check()
    assert 1 < stream.first_sequence < stream.next_sequence == 10_001
    first = payloads(stream.read(stream.first_sequence, HIGH).data)[0]
    assert int(first) == stream.first_sequence
    with pytest.raises(IndexError, match="message 1 is not in the stream"):
        stream.read(1, HIGH)
    with pytest.raises(IndexError, match="message 10002 is not in the stream"):
        stream.position(10_002)


@given(
    sizes=st.lists(st.integers(1, 900), max_size=300),
    start=st.integers(0, 300),
    limits=st.lists(st.integers(1, 3000), min_size=1, max_size=20),
)
def test_read_in_any_portions_the_messages_are_the_same(
    sizes: list[int], start: int, limits: list[int]
) -> None:
    messages = [bytes([OutboundType.EXECUTED, i % 251]).ljust(size) for i, size in enumerate(sizes)]
    stream = Stream(HIGH)
    for message in messages:
        add(stream, message)
    stream.check()
    sequence = min(start, len(messages)) + 1
    position = stream.position(sequence)
    read: list[bytes] = []
    turn = 0
    while True:
        limit = limits[turn % len(limits)]
        data, after = stream.read(sequence, limit)
        if not data:
            break
        found = payloads(data)
        assert after == sequence + len(found)
        assert len(data) <= limit or len(found) == 1
        read += found
        position += len(data)
        assert stream.position(after) == position
        sequence, turn = after, turn + 1
    assert read == messages[min(start, len(messages)) :]
    assert (sequence, position) == (stream.next_sequence, stream.end_position)


@given(
    sizes=st.lists(st.integers(1, 1000), max_size=400),
    cuts=st.lists(st.integers(1, 150), min_size=1, max_size=10),
    limit=st.sampled_from([1, SEGMENT_BYTES, 3 * SEGMENT_BYTES, HIGH]),
)
def test_messages_that_come_at_once_are_kept_as_those_that_come_one_by_one(
    sizes: list[int], cuts: list[int], limit: int
) -> None:
    packets = [SequencedData(bytes([i % 251]) * size).encode() for i, size in enumerate(sizes)]
    together, one_by_one = Stream(limit), Stream(limit)
    for packet in packets:
        one_by_one.extend(packet, array("I", [len(packet)]))
    turn = 0
    while packets:
        count = cuts[turn % len(cuts)]
        part, packets, turn = packets[:count], packets[count:], turn + 1
        together.extend(b"".join(part), array("I", accumulate(map(len, part))))
        together.check()
    assert together.next_sequence == one_by_one.next_sequence
    assert together.first_sequence == one_by_one.first_sequence
    for sequence in range(one_by_one.first_sequence, one_by_one.next_sequence, 7):
        assert together.position(sequence) == one_by_one.position(sequence)
        assert together.read(sequence, 5000) == one_by_one.read(sequence, 5000)
