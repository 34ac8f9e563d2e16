"""Hostile bytes close the connection they came on, and move nothing."""

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]
from kazoo.security import OPEN_ACL_UNSAFE  # type: ignore[import-untyped]

from tests.zk.raw_client import SET_WATCHES, create, set_watches
from tests.zk.talking import START, Talker, connect_packet, new_server, request_packet
from zk.jute import LARGEST_PACKET_BYTES, MalformedError, PacketReader
from zk.server import HangUpError, Output, Server

UNIMPLEMENTED = -6
AUTH_FAILED = -115
KNOWN_TYPES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 100, 101, -11]

GOOD_PACKETS = [
    request_packet(create("/node", b"data")),
    request_packet(judge.Delete("/there", -1)),
    request_packet(judge.SetData("/there", b"x", -1)),
    request_packet(judge.GetChildren2("/there", True)),
    request_packet(judge.SetACL("/there", OPEN_ACL_UNSAFE, -1)),
    request_packet(
        judge.Transaction([judge.SetData("/there", b"x", -1), judge.Delete("/there", -1)])
    ),
    struct.pack("!ii", 1, SET_WATCHES) + set_watches(0, ["/there"], ["/x"], ["/there"]),
]


def server_with_a_node() -> tuple[Server, Talker, Talker]:
    server = new_server()
    client, observer = Talker(server, 1), Talker(server, 2)
    client.ask(create("/there", b"1"))
    return server, client, observer


def seen_by(observer: Talker) -> Any:
    """What is there, and the number of the last change."""
    answer = observer.ask(judge.GetData("/there", None))
    return answer, observer.ask(judge.GetChildren2("/", None))


@given(packet=st.binary(max_size=100))
@example(b"")
@example(connect_packet() + b"\0")
@example(struct.pack("!iqiqi", 0, 0, 1_000, 0, 2_000_000_000))
def test_anything_as_a_first_packet(packet: bytes) -> None:
    server, _, observer = server_with_a_node()
    before = seen_by(observer)
    try:
        output = server.receive(3, packet, START)
    except (MalformedError, HangUpError):
        assert seen_by(observer) == before
    else:
        assert len(output.packets) == 1
    server.check()


@given(kind=st.sampled_from(KNOWN_TYPES), record=st.binary(max_size=60))
def test_anything_as_a_record(kind: int, record: bytes) -> None:
    _receive_or_close(struct.pack("!ii", 1, kind) + record)


@given(
    packet=st.sampled_from(GOOD_PACKETS),
    place=st.integers(0, 200),
    others=st.binary(min_size=1, max_size=4),
)
def test_good_packets_with_other_bytes_in_them(packet: bytes, place: int, others: bytes) -> None:
    place %= len(packet)
    _receive_or_close(packet[:place] + others + packet[place + len(others) :])


def _receive_or_close(packet: bytes) -> None:
    server, client, observer = server_with_a_node()
    before = seen_by(observer)
    try:
        output = server.receive(client.connection, packet, START)
    except MalformedError:
        assert seen_by(observer) == before
    else:
        assert output.packets
    server.check()


@pytest.mark.parametrize("packet", GOOD_PACKETS)
def test_every_truncated_or_longer_packet_is_refused(packet: bytes) -> None:
    server, client, observer = server_with_a_node()
    before = seen_by(observer)
    for length in range(len(packet)):
        with pytest.raises(MalformedError):
            server.receive(client.connection, packet[:length], START)
    with pytest.raises(MalformedError):
        server.receive(client.connection, packet + b"\0", START)
    assert seen_by(observer) == before
    server.check()


def test_a_multi_with_an_operation_that_it_cannot_have_does_nothing() -> None:
    server, client, observer = server_with_a_node()
    before = seen_by(observer)
    operations = [judge.SetData("/there", b"2", -1), judge.Exists("/there", None)]
    with pytest.raises(MalformedError):
        server.receive(client.connection, request_packet(judge.Transaction(operations)), START)
    assert seen_by(observer) == before


@pytest.mark.parametrize("kind", [0, 10, 13, 16, 77, 105, -1, -10, 2**31 - 1])
def test_a_request_that_this_server_does_not_know_is_refused_and_the_connection_closed(
    kind: int,
) -> None:
    server, client, _ = server_with_a_node()
    output = server.receive(client.connection, struct.pack("!ii", 9, kind) + b"xyz", START)
    _is_refused(output, client.connection, 9, UNIMPLEMENTED)
    server.disconnected(client.connection)
    server.check()


def test_credentials_are_refused_and_the_connection_closed() -> None:
    server, client, _ = server_with_a_node()
    packet = request_packet(judge.Auth(0, "digest", "user:password"), -4)
    _is_refused(
        server.receive(client.connection, packet, START), client.connection, -4, AUTH_FAILED
    )


def _is_refused(output: Output, connection: int, number: int, error: int) -> None:
    ((to, packet),) = output.packets
    header, end = judge.ReplyHeader.deserialize(packet[4:], 0)
    assert (to, header.xid, header.err, end) == (connection, number, error, len(packet) - 4)
    assert output.closed == [connection]


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 20))
def test_packets_are_the_same_however_their_bytes_come(packets: list[bytes], size: int) -> None:
    stream = b"".join(struct.pack("!i", len(each)) + each for each in packets)
    reader = PacketReader()
    found = []
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
        while (packet := reader.next()) is not None:
            found.append(packet)
    assert found == packets


@pytest.mark.parametrize("length", [-1, -(2**31), LARGEST_PACKET_BYTES + 1, 2**31 - 1])
def test_a_packet_of_an_impossible_length_is_refused_before_it_has_come(length: int) -> None:
    reader = PacketReader()
    reader.feed(struct.pack("!i", length))
    with pytest.raises(MalformedError):
        reader.next()


def test_the_largest_packet_is_taken() -> None:
    reader = PacketReader()
    reader.feed(struct.pack("!i", LARGEST_PACKET_BYTES))
    assert reader.next() is None
    reader.feed(bytes(LARGEST_PACKET_BYTES))
    assert reader.next() == bytes(LARGEST_PACKET_BYTES)
