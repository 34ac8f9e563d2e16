"""The gateway's TCP connection to the primary, whichever that is; made anew whenever it is lost.

A thin shell; what goes over the connection, and again over the next, is decided in
`gateway.uplink`.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Protocol

import structlog

from feed.codec import WireError
from feed.settings import parse_address
from gateway.gateway import Gateway
from gateway.settings import UplinkLimits
from zk.election import PrimaryRecord

log = structlog.get_logger()


class PrimarySource(Protocol):
    """Knows who is primary: a `zk.membership.Member`."""

    @property
    def primary(self) -> PrimaryRecord | None:
        """The primary as last heard of; None when there never was one."""


class _Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: "PrimaryConnection", record: PrimaryRecord) -> None:
        self._owner = owner
        self._record = record
        self._transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    async def end(self) -> None:
        """Ends the connection, if it was made, at once; after this it is over."""
        if self._transport is not None:
            self._transport.abort()
            await self.lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._owner.on_connected(self._record, transport)

    def data_received(self, data: bytes) -> None:
        self._owner.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.on_lost(self._record, exc)
        self.lost.set()


class PrimaryConnection:
    """Keeps a gateway connected to the primary.

    `on_record` is to be called whenever the source may know of another primary, `flush` whenever
    the gateway may have something to send; `on_change` is called when something came from the
    primary.
    """

    def __init__(
        self,
        gateway: Gateway,
        source: PrimarySource,
        limits: UplinkLimits,
        random: Random,
        on_change: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._source = source
        self._limits = limits
        self._random = random
        self._on_change = on_change
        self._record: PrimaryRecord | None = None  # of the primary that is or was connected last
        self._news = asyncio.Event()  # there may be another record
        self._transport: asyncio.Transport | None = None
        self._has_decided = False  # the primary, anything, on this connection
        self._is_in_vain = False  # the last connection: it was lost before anything was decided
        self._is_ending = False  # on purpose
        self._last_failure = ""  # why the last attempt at this primary came to nothing

    async def run(self) -> None:
        """Connects to the newest primary, and connects again, until it is cancelled."""
        while True:
            self._news.clear()
            record = self._record = self._newest()
            news = asyncio.ensure_future(self._until_newer())
            attempts = [] if record is None else [asyncio.ensure_future(self._hold(record))]
            tasks = [news, *attempts]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._is_ending = True
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._is_ending = False

    def on_record(self) -> None:
        """The source may know of another primary."""
        self._news.set()

    def flush(self, now_ns: int) -> None:
        """Sends what there is to send; ends a connection that is of no more use."""
        if self._transport is None:
            return
        uplink = self._gateway.uplink
        if uplink.is_outdated:
            log.warning("primary has a successor; connecting anew")
            self.abort()
        elif uplink.is_overdue(now_ns):
            log.warning("primary decides nothing; connecting anew", pending=uplink.pending_count)
            self.abort()
        else:
            data = uplink.take_output()
            if data:
                self._transport.write(data)

    def abort(self) -> None:
        """Ends the connection, if there is one, at once."""
        if self._transport is not None:
            self._transport.abort()

    def on_connected(self, record: PrimaryRecord, transport: asyncio.Transport) -> None:
        """A connection is made."""
        self._transport = transport
        self._gateway.on_uplink_connected(record.epoch, time.monotonic_ns())
        pending = self._gateway.uplink.pending_count
        write = log.debug if self._is_in_vain else log.info  # a backup ends it again at once
        write("primary connected", **record._asdict(), pending=pending)
        self._on_change()

    def on_data(self, data: bytes) -> None:
        """The primary sent something."""
        try:
            self._gateway.on_uplink_data(data, time.monotonic_ns())
        except WireError as error:
            log.warning("this is no decision of the primary; connecting anew", why=str(error))
            self.abort()
        else:
            self._has_decided = True
            self._last_failure = ""
        self._on_change()

    def on_lost(self, record: PrimaryRecord, error: Exception | None) -> None:
        """The connection is over."""
        self._transport = None
        self._is_in_vain = not self._has_decided
        self._gateway.on_uplink_lost(time.monotonic_ns())
        if not self._is_ending:
            self._failed("primary lost", record, str(error or "it was closed"))
        self._on_change()

    def _newest(self) -> PrimaryRecord | None:
        """The record to go by: never an older one than before."""
        known, record = self._record, self._source.primary
        if known is None or (record is not None and record.epoch >= known.epoch):
            return record
        return known

    async def _until_newer(self) -> None:
        while self._newest() == self._record:
            self._news.clear()
            await self._news.wait()

    async def _hold(self, record: PrimaryRecord) -> None:
        """Connects to this primary, and connects to it again, until it is cancelled."""
        self._is_in_vain = False
        self._last_failure = ""
        wait_ns = self._limits.shortest_wait_ns
        while True:
            protocol = _Protocol(self, record)
            self._has_decided = False
            try:
                if await self._connect(protocol, record):
                    await protocol.lost.wait()
            finally:
                await protocol.end()
            if self._has_decided:
                wait_ns = self._limits.shortest_wait_ns
            # Gateways that lost the same primary do not all come back at once.
            await asyncio.sleep((wait_ns - self._random.randrange(wait_ns // 2 + 1)) / 1e9)
            wait_ns = min(2 * wait_ns, self._limits.longest_wait_ns)

    async def _connect(self, protocol: _Protocol, record: PrimaryRecord) -> bool:
        loop = asyncio.get_running_loop()
        try:
            host, port = parse_address(record.commands)
            # A host that is gone does not refuse a connection; it says nothing.
            async with asyncio.timeout(self._limits.connect_timeout_ns / 1e9):
                await loop.create_connection(lambda: protocol, host, port)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            self._failed("primary not reached", record, str(error) or "no answer")
            return False
        return True

    def _failed(self, what: str, record: PrimaryRecord, why: str) -> None:
        write = log.debug if why == self._last_failure else log.warning  # once is enough
        write(what, **record._asdict(), why=why)
        self._last_failure = why
