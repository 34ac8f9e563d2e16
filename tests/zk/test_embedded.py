"""The embedded server on its sockets: whom it serves, whom it sends away, and that it forgets."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]
from structlog.testing import capture_logs

from feed.settings import Address
from tests.zk.raw_client import ANSWER_WITHIN_S, RawClient, create
from tests.zk.servers import EmbeddedInThread
from tools.ports import free_addresses
from zk import embedded
from zk.embedded import EmbeddedServer

NO_NODE = -101


@pytest.fixture
def server() -> Iterator[EmbeddedInThread]:
    running = EmbeddedInThread()
    yield running
    running.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def is_cut_off(client: socket.socket) -> bool:
    """Whether the connection ends, and nothing comes before that."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def reason_of(logs: list[Any]) -> str:
    """Why the one connection was closed that was."""
    (line,) = [line for line in logs if line["event"] == "closed a client's connection"]
    assert line["log_level"] == "warning"
    reason: str = line["reason"]
    return reason


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "8.8.8.8", "example.com", ""])
def test_it_refuses_to_serve_other_machines(host: str) -> None:
    with pytest.raises(ValueError, match="serves this machine alone"):
        EmbeddedServer((host, 2181))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_it_serves_this_machine_and_says_that_it_forgets(host: str) -> None:
    async def scenario() -> None:
        server = EmbeddedServer((host, 0))
        with capture_logs() as logs:
            await server.start()
        (line,) = logs
        assert "in memory" in line["event"]
        assert line["port"] == server.address[1] != 0
        loop = asyncio.get_running_loop()
        with await loop.run_in_executor(None, RawClient, Address(*server.address)):
            await server.stop()
            assert not server._connections

    asyncio.run(scenario())


def test_a_taken_port_is_an_error() -> None:
    async def scenario() -> None:
        first = EmbeddedServer(("127.0.0.1", 0))
        await first.start()
        second = EmbeddedServer(first.address)
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.stop()  # which never ran
        await first.stop()

    asyncio.run(scenario())


def test_after_a_restart_it_has_forgotten_nodes_and_sessions(server: EmbeddedInThread) -> None:
    with RawClient(server.address) as client:
        zxid = client.ask(create("/node")).zxid
        server.stop()
        assert client.is_closed_by_the_server()
    with pytest.raises(ConnectionRefusedError):
        RawClient(server.address)
    server.start()
    with RawClient(server.address, session=client.session, last_zxid=zxid) as again:
        assert again.timeout_ms == 0
    with RawClient(server.address, last_zxid=zxid) as new:
        assert new.ask(judge.Exists("/node", None)).error == NO_NODE
        assert new.ask(create("/node")).zxid > zxid


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (struct.pack("!i", 2_000_000_000), "a packet of 2000000000 bytes"),
        (struct.pack("!i", -1), "a packet of -1 bytes"),
        (struct.pack("!i", 5) + b"GET /", ""),
        (b"GET / HTTP/1.1\r\n\r\n", "a packet of 1195725856 bytes"),
    ],
)
def test_hostile_bytes_close_their_connection_alone(
    server: EmbeddedInThread, hostile: bytes, reason: str
) -> None:
    with RawClient(server.address) as good, capture_logs() as logs:
        with socket.create_connection(server.address, ANSWER_WITHIN_S) as bad:
            bad.sendall(hostile)
            assert is_cut_off(bad)
        assert good.ask(create("/node")).error == 0
    assert reason in reason_of(logs)


def test_hostile_bytes_on_a_session_leave_the_session_alone(server: EmbeddedInThread) -> None:
    with RawClient(server.address) as client, capture_logs() as logs:
        client.ask(create("/node", b"", 1))
        client.send(struct.pack("!ii", 2, judge.Delete.type) + b"\xff" * 20)
        assert client.is_closed_by_the_server()
    assert reason_of(logs)
    with RawClient(server.address, session=client.session) as again:
        assert again.session == client.session
        assert again.ask(judge.Exists("/node", None)).error == 0


def test_bytes_that_come_one_by_one_are_served(server: EmbeddedInThread) -> None:
    with RawClient(server.address) as client:
        record = bytes(create("/node").serialize())
        packet = struct.pack("!iii", len(record) + 8, 1, judge.Create2.type) + record
        for place in range(len(packet)):
            client.send_bytes(packet[place : place + 1])
        header, _ = judge.ReplyHeader.deserialize(client.receive(), 0)
        assert (header.xid, header.err) == (1, 0)


LARGE = bytes(900_000)
MANY = 60  # times LARGE: far more than sockets take


def packets(request: Any, count: int) -> bytes:
    """The same request so often, numbered from 0."""
    record = bytes(request.serialize())
    headers = [struct.pack("!iii", len(record) + 8, i, request.type) for i in range(count)]
    return b"".join(header + record for header in headers)


def test_a_client_that_reads_no_answers_is_not_read_from_and_harms_nobody(
    server: EmbeddedInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MOST_UNREAD_BYTES", 10_000)
    with RawClient(server.address) as greedy, RawClient(server.address) as other:
        greedy.ask(create("/large", LARGE))
        greedy.send_bytes(packets(judge.GetData("/large", None), MANY))
        with pytest.raises(TimeoutError):
            greedy.fill(packets(judge.SetData("/large", LARGE, -1), 1), MANY)
        assert other.ask(create("/small")).error == 0
        assert server.kept_bytes() < 3 * len(LARGE)
        for number in range(MANY):
            header, _ = judge.ReplyHeader.deserialize(greedy.receive(), 0)
            assert (header.xid, header.err) == (number, 0)


def test_requests_that_waited_are_served_when_the_client_reads_again(
    server: EmbeddedInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MOST_UNREAD_BYTES", 10_000)
    with RawClient(server.address) as slow:
        slow.ask(create("/large", LARGE))
        slow.send_bytes(packets(judge.GetData("/large", None), MANY))
        until(lambda: server.kept_bytes() > 0)
        for number in range(MANY):
            header, _ = judge.ReplyHeader.deserialize(slow.receive(), 0)
            assert (header.xid, header.err) == (number, 0)


def test_it_stops_at_once_however_much_is_unsent(
    server: EmbeddedInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "CLOSE_WITHIN_S", 60.0)
    with RawClient(server.address) as greedy:
        greedy.ask(create("/large", LARGE))
        greedy.send_bytes(packets(judge.GetData("/large", None), MANY))
        until(lambda: server.kept_bytes() > 0)
        server.stop()


def test_a_connection_too_many_is_closed(
    server: EmbeddedInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MOST_CONNECTIONS", 1)
    with RawClient(server.address) as first:
        with socket.create_connection(server.address, ANSWER_WITHIN_S) as second:
            assert is_cut_off(second)
        assert first.ask(create("/node")).error == 0

    def is_admitted() -> bool:
        with socket.create_connection(server.address, ANSWER_WITHIN_S) as third:
            third.sendall(b"ruok")
            try:
                return third.recv(4) == b"imok"
            except ConnectionResetError:
                return False

    until(is_admitted)


def test_a_connection_that_asks_for_nothing_is_closed(
    server: EmbeddedInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "CONNECT_WITHIN_S", 0.02)
    with capture_logs() as logs:
        with socket.create_connection(server.address, ANSWER_WITHIN_S) as silent:
            assert is_cut_off(silent)
        with RawClient(server.address) as client:
            time.sleep(0.1)
            assert client.ask(create("/node")).error == 0
    assert reason_of(logs) == "it asks for nothing"


@pytest.mark.parametrize(
    ("word", "answer"), [(b"ruok", b"imok"), (b"isro", b"rw"), (b"srvr", b"Mode: standalone\n")]
)
def test_four_letter_words(server: EmbeddedInThread, word: bytes, answer: bytes) -> None:
    with socket.create_connection(server.address, ANSWER_WITHIN_S) as operator:
        operator.sendall(word)
        told = b""
        while part := operator.recv(4096):
            told += part
    assert told.endswith(answer)


def test_a_port_is_free_again_after_the_stop() -> None:
    async def scenario() -> None:
        (address,) = free_addresses(1)
        for _ in range(3):
            server = EmbeddedServer(address)
            await server.start()
            await server.stop()
            await server.stop()

    asyncio.run(scenario())
