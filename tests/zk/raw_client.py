"""A client that speaks bytes: it can be silent, resume, and ask for what kazoo never would.

Requests are built and answers are read with kazoo's serialization, which is not ours.
"""

import socket
import struct
from typing import Any, NamedTuple, Self

from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]
from kazoo.security import OPEN_ACL_UNSAFE  # type: ignore[import-untyped]

from feed.settings import Address

ANSWER_WITHIN_S = 10.0
_TAKES_NO_MORE_AFTER_S = 0.3
NO_PASSWORD = bytes(16)
SET_WATCHES = 101
XID_OF_EVENTS = -1
_SYNC_CONNECTED = 3


class Closed(Exception):
    """The server has closed the connection."""


class Answer(NamedTuple):
    """What a request came to, and the events that were told before."""

    error: int
    zxid: int
    value: Any  # as kazoo reads it; None after an error
    events: list[tuple[int, str]]


class RawClient:
    """One connection, with its session; a context manager that closes the socket alone."""

    def __init__(
        self,
        address: Address,
        *,
        timeout_ms: int = 10_000,
        session: tuple[int, bytes] = (0, NO_PASSWORD),
        last_zxid: int = 0,
    ) -> None:
        self._socket = socket.create_connection(address, ANSWER_WITHIN_S)
        self._number = 0
        session_id, password = session
        try:
            connect = judge.Connect(0, last_zxid, timeout_ms, session_id, password, False)
            self.send(connect.serialize())
            granted, _ = judge.Connect.deserialize(self.receive(), 0)
        except BaseException:
            self._socket.close()
            raise
        self.timeout_ms: int = granted.time_out
        self.session: tuple[int, bytes] = (granted.session_id, granted.passwd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def send(self, record: bytes) -> None:
        """Send a packet."""
        self.send_bytes(struct.pack("!i", len(record)) + record)

    def send_bytes(self, part: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(part)

    def fill(self, part: bytes, repeats: int) -> None:
        """Send the same bytes so often; raises TimeoutError when the server takes no more."""
        self._socket.settimeout(_TAKES_NO_MORE_AFTER_S)
        try:
            for _ in range(repeats):
                self._socket.sendall(part)
        finally:
            self._socket.settimeout(ANSWER_WITHIN_S)

    def receive(self) -> bytes:
        """The next packet. Raises Closed when there is none any more."""
        (length,) = struct.unpack("!i", self._receive_exactly(4))
        return self._receive_exactly(length)

    def ask(self, request: Any) -> Answer:
        """Send one of kazoo's requests, and wait for the answer."""
        return self.ask_bytes(request.type, bytes(request.serialize()), request)

    def ask_bytes(self, kind: int, record: bytes, reader: Any = None) -> Answer:
        """The same with a record of any kind, whose answer `reader` reads."""
        self._number += 1
        self.send(struct.pack("!ii", self._number, kind) + record)
        events = []
        while True:
            packet = self.receive()
            header, offset = judge.ReplyHeader.deserialize(packet, 0)
            if header.xid == XID_OF_EVENTS:
                events.append(read_event(packet))
                continue
            assert header.xid == self._number
            read = getattr(reader, "deserialize", None)
            value = read(packet, offset) if read is not None and header.err == 0 else None
            return Answer(header.err, header.zxid, value, events)

    def close_session(self) -> None:
        """End the session, not the connection alone."""
        assert self.ask_bytes(judge.Close.type, b"").error == 0

    def next_event(self) -> tuple[int, str]:
        """Wait for what a watch has seen: its type and path."""
        return read_event(self.receive())

    def is_closed_by_the_server(self) -> bool:
        """Whether the connection ends, and nothing comes before that."""
        try:
            self.receive()
        except Closed:
            return True
        return False

    def _receive_exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            try:
                part = self._socket.recv(length - len(parts))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed
            parts += part
        return bytes(parts)


def create(path: str, data: bytes | None = b"", flags: int = 0, acl: Any = OPEN_ACL_UNSAFE) -> Any:
    """A request to create a node that answers with its stat, too."""
    return judge.Create2(path, data, acl, flags)


def set_watches(zxid: int, data: list[str], exist: list[str], child: list[str]) -> bytes:
    """The record that tells a server what was watched before, which kazoo does not have."""
    record = struct.pack("!q", zxid)
    for paths in (data, exist, child):
        record += struct.pack("!i", len(paths))
        for path in paths:
            record += judge.write_string(path)
    return record


def read_event(packet: bytes) -> tuple[int, str]:
    """What a watch has seen: its type and path."""
    header, offset = judge.ReplyHeader.deserialize(packet, 0)
    assert (header.xid, header.zxid, header.err) == (XID_OF_EVENTS, -1, 0)
    event, end = judge.Watch.deserialize(packet, offset)
    assert (event.state, end) == (_SYNC_CONNECTED, len(packet))
    return event.type, event.path
