"""Talks to the embedded server's rules without a socket: kazoo's requests in, its answers out."""

import struct
from typing import Any

from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]

from tests.zk.raw_client import NO_PASSWORD, XID_OF_EVENTS, Answer, read_event
from zk.server import Moment, Output, Server

SECRET = b"only the server knows"
TICK_MS = 50
START = Moment(monotonic_ms=1_000_000, wall_ms=1_700_000_000_000)
_LENGTH_BYTES = 4


def new_server() -> Server:
    return Server(TICK_MS, SECRET, START)


def after(duration_ms: int) -> Moment:
    """The moment so long after the server's start."""
    return Moment(START.monotonic_ms + duration_ms, START.wall_ms + duration_ms)


def connect_packet(
    timeout_ms: int = 1_000,
    session: tuple[int, bytes] = (0, NO_PASSWORD),
    last_zxid: int = 0,
) -> bytes:
    session_id, password = session
    return bytes(judge.Connect(0, last_zxid, timeout_ms, session_id, password, False).serialize())


def request_packet(request: Any, number: int = 1) -> bytes:
    return struct.pack("!ii", number, request.type) + bytes(request.serialize())


class Talker:
    """One client of a server, on a connection of its own."""

    def __init__(
        self, server: Server, connection: int, now: Moment = START, **options: Any
    ) -> None:
        self.server = server
        self.connection = connection
        self.output = server.receive(connection, connect_packet(**options), now)
        (reply,) = [packet for to, packet in self.output.packets if to == connection]
        granted, _ = judge.Connect.deserialize(reply[_LENGTH_BYTES:], 0)
        self.timeout_ms: int = granted.time_out
        self.session: tuple[int, bytes] = (granted.session_id, granted.passwd)

    def ask(self, request: Any, now: Moment = START) -> Answer:
        """Send a request; what it came to for this client alone."""
        self.output = self.server.receive(self.connection, request_packet(request), now)
        self.server.check()
        events = events_to(self.connection, self.output)
        (reply,) = [
            packet[_LENGTH_BYTES:]
            for to, packet in self.output.packets
            if to == self.connection and _number(packet) != XID_OF_EVENTS
        ]
        header, offset = judge.ReplyHeader.deserialize(reply, 0)
        assert header.xid == 1
        read = getattr(request, "deserialize", None)
        value = read(reply, offset) if read is not None and header.err == 0 else None
        return Answer(header.err, header.zxid, value, events)


def events_to(connection: int, output: Output) -> list[tuple[int, str]]:
    """What the watches of a connection were told, in order."""
    return [
        read_event(packet[_LENGTH_BYTES:])
        for to, packet in output.packets
        if to == connection and _number(packet) == XID_OF_EVENTS
    ]


def _number(packet: bytes) -> int:
    number: int = judge.int_struct.unpack_from(packet, _LENGTH_BYTES)[0]
    return number
