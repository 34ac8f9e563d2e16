"""The TCP connections of a gateway's clients: bytes to their sessions and back.

A thin shell; what the bytes mean, and when a connection ends, is decided in `gateway.session`.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import structlog

from feed.reading import BufferedReading
from gateway.gateway import Gateway
from gateway.session import Phase, Session
from gateway.settings import GatewaySettings

log = structlog.get_logger()

# For a client to take the last bytes of its session and close its end; then it is cut off.
LINGER_SECONDS = 2.0


class Alarm(Protocol):
    """Something that is to be called later."""

    def cancel(self) -> None:
        """It is not called after all."""


CallLater: TypeAlias = Callable[[float, Callable[[], None]], Alarm]


def _call_later(seconds: float, act: Callable[[], None]) -> Alarm:
    return asyncio.get_running_loop().call_later(seconds, act)


class ClientConnections:
    """All connections of clients; `make` is the protocol factory for a server.

    `flush` is to be called whenever something may have changed in the gateway; `on_change` is
    called when a client changed it. A simulator brings its own `clock_ns` and `call_later`.
    """

    def __init__(
        self,
        gateway: Gateway,
        settings: GatewaySettings,
        on_change: Callable[[], None],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        call_later: CallLater = _call_later,
    ) -> None:
        self.clock_ns = clock_ns
        self.call_later = call_later
        self.gateway = gateway
        self.on_change = on_change
        self.output_bytes = settings.sessions.output_bytes
        self._limit = settings.connections.connections
        self._connections: dict[Session, ClientConnection] = {}

    def make(self) -> "ClientConnection":
        """A connection that is about to be made."""
        return ClientConnection(self)

    @property
    def count(self) -> int:
        """How many there are, with those that only wait for the client to close its end."""
        return len(self._connections)

    @property
    def are_scarce(self) -> bool:
        """Whether there are more than sessions may be."""
        return self.count > self._limit

    def add(self, session: Session, connection: "ClientConnection") -> None:
        """A connection is made."""
        self._connections[session] = connection

    def remove(self, session: Session) -> None:
        """A connection is over."""
        del self._connections[session]

    def flush(self, now_ns: int) -> None:
        """Does what the sessions ask for."""
        while changed := self.gateway.take_changed():
            for session in changed:
                connection = self._connections.get(session)
                if connection is not None:
                    connection.flush(now_ns)

    def abort(self) -> None:
        """Ends all connections at once; what has not left is lost."""
        for connection in self._connections.values():
            connection.abort()


class ClientConnection(BufferedReading):
    """One client's connection."""

    def __init__(self, owner: ClientConnections) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self._session: Session
        self._is_reading = True
        self._was_open = False
        self._linger: Alarm | None = None  # set once the last bytes are sent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = self._transport = cast(asyncio.Transport, transport)
        output_bytes = self._owner.output_bytes
        # Below the low mark more is asked for, well before all that was written has left.
        made.set_write_buffer_limits(high=output_bytes // 2, low=output_bytes // 4)
        # Else the kernel would take megabytes for a client that reads nothing.
        opened = made.get_extra_info("socket")
        if opened is not None:  # a simulated connection has none
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, output_bytes)
        peer = made.get_extra_info("peername")  # None when it is gone again already
        host = peer[0] if peer else ""
        self._session = self._owner.gateway.connect(host, self._owner.clock_ns())
        self._owner.add(self._session, self)
        self._owner.on_change()

    def data_received(self, data: bytes) -> None:
        if self._linger is None:
            self._owner.gateway.on_data(self._session, data, self._owner.clock_ns())
            self._owner.on_change()

    def resume_writing(self) -> None:
        self.flush(self._owner.clock_ns())
        self._owner.on_change()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        session = self._session
        self._owner.remove(session)
        self._owner.gateway.on_disconnected(session, self._owner.clock_ns())
        assert session.closing is not None
        # Who never asked to log in is only counted: a flood of them must not flood the log.
        write = log.info if session.user else log.debug
        write("session closed", why=session.closing.value, client=session.user, host=session.host)
        self._owner.on_change()

    def flush(self, now_ns: int) -> None:
        """Does what the session asks for: send, read or not read, end."""
        transport, session = self._transport, self._session
        if self._linger is not None or transport.is_closing():
            return
        while True:  # as long as the kernel takes it; its own buffers bound that
            buffered_bytes = transport.get_write_buffer_size()
            data = self._owner.gateway.take_output(session, buffered_bytes, now_ns)
            if not data:
                break
            transport.write(data)
        if session.phase is Phase.OPEN and not self._was_open:
            self._was_open = True
            log.info("client logged in", client=session.user, host=session.host)
        if session.closing is not None:
            self._end()
        else:
            self._read(session.is_reading)

    def abort(self) -> None:
        """Ends the connection at once; what has not left is lost."""
        self._transport.abort()

    def _end(self) -> None:
        """Ends the connection once its last bytes have left.

        If it were closed while the client still sends, the kernel would answer that with a reset,
        and the client might never see why. So what a client sends is read and dropped until it
        closes its end; not for strangers, and not when connections are scarce.
        """
        transport = self._transport
        if self._session.user and transport.can_write_eof() and not self._owner.are_scarce:
            try:
                transport.write_eof()
            except OSError:  # the client is gone already, and that has not been told yet
                transport.abort()
            self._read(True)
        else:
            transport.close()
        self._linger = self._owner.call_later(LINGER_SECONDS, transport.abort)

    def _read(self, is_reading: bool) -> None:
        if is_reading != self._is_reading:
            self._is_reading = is_reading
            (self._transport.resume_reading if is_reading else self._transport.pause_reading)()
