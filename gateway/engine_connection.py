"""The gateway's TCP connection to the engine, made anew whenever it is lost.

A thin shell; what goes over the connection, and again over the next, is decided in
`gateway.uplink`.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random

import structlog

from feed.codec import WireError
from feed.settings import Address
from gateway.gateway import Gateway
from gateway.settings import UplinkLimits

log = structlog.get_logger()


class _Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: "EngineConnection") -> None:
        self._owner = owner
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._owner.on_connected(transport)

    def data_received(self, data: bytes) -> None:
        self._owner.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.on_lost(exc)
        self.lost.set()


class EngineConnection:
    """Keeps a gateway connected to the engine.

    `flush` is to be called whenever the gateway may have something to send; `on_change` is called
    when something came from the engine.
    """

    def __init__(
        self,
        gateway: Gateway,
        address: Address,
        limits: UplinkLimits,
        random: Random,
        on_change: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._address = address
        self._limits = limits
        self._random = random
        self._on_change = on_change
        self._transport: asyncio.Transport | None = None
        self._has_decided = False  # the engine, anything, on this connection
        self._is_ending = False  # on purpose
        self._last_failure = ""  # why the engine was not reached

    async def run(self) -> None:
        """Connects, and connects again, until it is cancelled."""
        wait_ns = self._limits.shortest_wait_ns
        while True:
            protocol = await self._connect()
            if protocol is not None:
                try:
                    await protocol.lost.wait()
                except asyncio.CancelledError:
                    self._is_ending = True
                    raise
                finally:
                    self.abort()
                    await protocol.lost.wait()
                if self._has_decided:
                    wait_ns = self._limits.shortest_wait_ns
            # Gateways that lost the same engine do not all come back at once.
            await asyncio.sleep((wait_ns - self._random.randrange(wait_ns // 2 + 1)) / 1e9)
            wait_ns = min(2 * wait_ns, self._limits.longest_wait_ns)

    def flush(self, now_ns: int) -> None:
        """Sends what there is to send; ends a connection that is of no more use."""
        if self._transport is None:
            return
        uplink = self._gateway.uplink
        if uplink.is_outdated:
            log.warning("engine is of an older epoch; connecting anew")
            self.abort()
        elif uplink.is_overdue(now_ns):
            log.warning("engine decides nothing; connecting anew", pending=uplink.pending_count)
            self.abort()
        else:
            data = uplink.take_output()
            if data:
                self._transport.write(data)

    def abort(self) -> None:
        """Ends the connection, if there is one, at once."""
        if self._transport is not None:
            self._transport.abort()

    def on_connected(self, transport: asyncio.Transport) -> None:
        """A connection is made."""
        self._transport = transport
        self._has_decided = False
        self._gateway.on_uplink_connected(time.monotonic_ns())
        pending = self._gateway.uplink.pending_count
        log.info("engine connected", engine=str(self._address), pending=pending)
        self._on_change()

    def on_data(self, data: bytes) -> None:
        """The engine sent something."""
        try:
            self._gateway.on_uplink_data(data, time.monotonic_ns())
        except WireError as error:
            log.error("engine sent what is no decision; connecting anew", why=str(error))
            self.abort()
        else:
            self._has_decided = True
        self._on_change()

    def on_lost(self, error: Exception | None) -> None:
        """The connection is over."""
        self._transport = None
        self._gateway.on_uplink_lost(time.monotonic_ns())
        if not self._is_ending:
            why = str(error or "it was closed")
            log.warning("engine lost", engine=str(self._address), why=why)
        self._on_change()

    async def _connect(self) -> _Protocol | None:
        loop = asyncio.get_running_loop()
        host, port = self._address
        try:
            # A host that is gone does not refuse a connection; it says nothing.
            async with asyncio.timeout(self._limits.connect_timeout_ns / 1e9):
                _, protocol = await loop.create_connection(lambda: _Protocol(self), host, port)
        except OSError as error:  # TimeoutError is one
            why = str(error) or "no answer"
            write = log.debug if why == self._last_failure else log.warning  # once is enough
            write("engine not reached", engine=str(self._address), why=why)
            self._last_failure = why
            return None
        self._last_failure = ""
        return protocol
