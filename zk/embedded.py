"""A ZooKeeper of one server inside a process of ours, for a laptop and for tests.

It speaks ZooKeeper's client protocol, so that every program uses kazoo as it does with Apache's
server. It keeps everything in memory: what it knew ends with it. It has no passwords, so it
listens on the loopback interface alone. A real exchange needs an ensemble.
"""

import asyncio
import ipaddress
import itertools
import secrets
import time
from typing import cast

import structlog

from zk.jute import MalformedError, PacketReader
from zk.server import HangUpError, Moment, Output, Server

log = structlog.get_logger()

MOST_CONNECTIONS = 1_000  # an exchange on one machine has some tens of processes
# A client that does not read its answers is not read from until it does; then its requests wait in
# its own socket.
MOST_UNREAD_BYTES = 1 << 20
CONNECT_WITHIN_S = 10.0  # a connection that has not asked for a session by then is closed
CLOSE_WITHIN_S = 5.0  # what a closed connection still has to send is dropped after that
_SECRET_BYTES = 32
_LOOPBACK_NAME = "localhost"  # which may stand for two addresses
_LOOPBACK = "127.0.0.1"


class EmbeddedServer:
    """The server; after `stop` it can be started again, and has forgotten everything."""

    def __init__(self, address: tuple[str, int], tick_ms: int = 50) -> None:
        """Nothing is started yet; port 0 lets the system choose one.

        Sessions end on a multiple of `tick_ms`, and have two of them at least. Raises ValueError
        for an address that other machines could reach.
        """
        host, self._port = address
        if not _is_loopback(host):
            raise ValueError(
                f"the embedded ZooKeeper does not listen on {host}: it knows no passwords and "
                "forgets everything when it ends, so it serves this machine alone; take a "
                "loopback address such as 127.0.0.1, or run an ensemble of Apache ZooKeeper"
            )
        self._host = _LOOPBACK if host == _LOOPBACK_NAME else host
        self._tick_ms = tick_ms
        self._numbers = itertools.count(1)
        self._connections: dict[int, _Connection] = {}
        self._listener: asyncio.Server | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._server = Server(tick_ms, secrets.token_bytes(_SECRET_BYTES), _now())

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._host, self._port

    async def start(self) -> None:
        """Listen, with an empty tree. Raises OSError when the address is taken."""
        assert self._listener is None, "the server runs already"
        self._server = Server(self._tick_ms, secrets.token_bytes(_SECRET_BYTES), _now())
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: _Connection(self, next(self._numbers)), self._host, self._port
        )
        self._port = self._listener.sockets[0].getsockname()[1]
        log.info(
            "the embedded ZooKeeper serves this machine; it keeps everything in memory alone",
            host=self._host,
            port=self._port,
        )
        self._tick()

    async def stop(self) -> None:
        """Close the port and all connections, as when the process ended; forget everything."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        if self._ticking is not None:
            self._ticking.cancel()
        connections = list(self._connections.values())
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.gone.wait()
        await listener.wait_closed()

    def admit(self, number: int, connection: "_Connection") -> bool:
        """A client has connected; False when there are too many."""
        if len(self._connections) >= MOST_CONNECTIONS or self._listener is None:
            return False
        self._connections[number] = connection
        return True

    def receive(self, number: int, packet: bytes) -> None:
        """A client has sent a packet. Raises HangUpError or MalformedError to have it closed."""
        self._carry_out(self._server.receive(number, packet, _now()))

    def answer_word(self, word: bytes) -> bytes | None:
        """The answer to a four-letter word; None when it is none."""
        return self._server.answer_word(word)

    def disconnected(self, number: int) -> None:
        """A client's connection has ended."""
        if self._connections.pop(number, None) is not None:
            self._server.disconnected(number)

    def _tick(self) -> None:
        now = _now()
        self._carry_out(self._server.expire(now))
        until_next_ms = self._tick_ms - now.monotonic_ms % self._tick_ms
        loop = asyncio.get_running_loop()
        self._ticking = loop.call_later(until_next_ms / 1_000, self._tick)

    def _carry_out(self, output: Output) -> None:
        for number, packet in output.packets:
            self._connections[number].send(packet)
        for number in output.closed:
            self._connections[number].close()


class _Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: EmbeddedServer, number: int) -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._number = number
        self._reader = PacketReader()
        self._has_asked = False
        self._unread = False
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def kept_bytes(self) -> int:
        """What waits on both sides: answers to be sent, and requests to be served."""
        return self._transport.get_write_buffer_size() + len(self._reader)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.admit(self._number, self):
            log.warning("refused a client: too many connections", most=MOST_CONNECTIONS)
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=MOST_UNREAD_BYTES)
        self._set_deadline(CONNECT_WITHIN_S, "it asks for nothing")

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._serve()

    def pause_writing(self) -> None:
        self._unread = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._unread = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._serve()

    def connection_lost(self, exception: Exception | None) -> None:
        self._clear_deadline()
        self._server.disconnected(self._number)
        self.gone.set()

    def send(self, packet: bytes) -> None:
        """Send one packet, unless the connection is being closed."""
        if not self._transport.is_closing():
            self._transport.write(packet)

    def close(self) -> None:
        """Close the connection after what is still to be sent, if the client takes it in time."""
        self._transport.close()
        self._set_deadline(CLOSE_WITHIN_S, "it takes no answers")

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _serve(self) -> None:
        """Answer the packets that are there, as long as the client reads the answers."""
        try:
            while not self._unread and not self._transport.is_closing():
                packet = self._reader.next()
                if packet is None:
                    return
                if not self._has_asked:
                    self._has_asked = True
                    self._clear_deadline()
                self._server.receive(self._number, packet)
        except MalformedError as error:
            answer = None if self._has_asked else self._server.answer_word(self._reader.head())
            if answer is None:
                self._hang_up(str(error))
            else:
                self.send(answer)
                self.close()
        except HangUpError as error:
            self._hang_up(str(error))

    def _set_deadline(self, within_s: float, reason: str) -> None:
        self._clear_deadline()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(within_s, self._hang_up, reason)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _hang_up(self, reason: str) -> None:
        log.warning(
            "closed a client's connection",
            reason=reason,
            client=self._transport.get_extra_info("peername"),
        )
        self._transport.abort()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == _LOOPBACK_NAME


def _now() -> Moment:
    return Moment(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
