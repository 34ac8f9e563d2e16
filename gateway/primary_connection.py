"""A gateway's TCP connection to the primary of a shard, made anew whenever it is lost.

A thin shell; to whom and when it connects is decided in `gateway.dialing`, and what goes over the
connection, and again over the next, in `gateway.uplink`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from random import Random
from typing import Protocol, cast

from feed.reading import BufferedReading
from feed.settings import parse_address
from gateway.dialing import Dial, Dialer, HangUp
from gateway.gateway import Gateway
from gateway.settings import UplinkLimits
from zk.election import PrimaryRecord


class PrimarySource(Protocol):
    """Knows who is primary: a `zk.membership.Member`."""

    @property
    def primary(self) -> PrimaryRecord | None:
        """The primary as last heard of; None when there never was one."""


class _Protocol(BufferedReading):
    """One connection, or the attempt at it."""

    def __init__(self, owner: "PrimaryConnection") -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._is_given_up = False
        self.is_over = asyncio.Event()

    @property
    def was_made(self) -> bool:
        """Whether there is or was a connection."""
        return self._transport is not None

    def write(self, data: bytes) -> None:
        """Send this, once it is connected."""
        assert self._transport is not None
        self._transport.write(data)

    def end(self, attempt: asyncio.Future[None]) -> None:
        """End the connection, or else the attempt at it, at once."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self._is_given_up = True
            attempt.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        if self._is_given_up:
            made.abort()
            return
        self._transport = made
        self._owner.on_connected()

    def data_received(self, data: bytes) -> None:
        if not self._is_given_up:
            self._owner.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_given_up:
            self._owner.on_lost(exc)
            self.is_over.set()


class PrimaryConnection:
    """Keeps a gateway connected to the primary of a shard.

    `on_record` is to be called whenever the source may know of another primary, `flush` whenever
    the gateway may have something to send; `on_change` is called when something came from the
    primary.
    """

    def __init__(
        self,
        gateway: Gateway,
        shard: int,
        source: PrimarySource,
        limits: UplinkLimits,
        random: Random,
        on_change: Callable[[], None],
    ) -> None:
        self._source = source
        self._timeout_seconds = limits.connect_timeout_ns / 1e9
        self._on_change = on_change
        self._dialer = Dialer(gateway, shard, limits, random)
        self._news = asyncio.Event()  # there may be something to do that `flush` has not done
        self._protocol: _Protocol | None = None
        self._attempt: asyncio.Future[None] | None = None
        self._unforeseen: BaseException | None = None

    async def run(self) -> None:
        """Connects to the newest primary, and connects again, until it is cancelled."""
        try:
            while self._unforeseen is None:
                self._news.clear()
                self._dialer.on_record(self._source.primary)
                self.flush(time.monotonic_ns())
                await self._until_due()
            raise self._unforeseen
        finally:
            await self._stop()

    def on_record(self) -> None:
        """The source may know of another primary."""
        self._news.set()

    def flush(self, now_ns: int) -> None:
        """Sends what there is to send; ends a connection that is of no more use."""
        match self._dialer.take_action(now_ns):
            case Dial(record):
                self._dial(record)
            case HangUp():
                assert self._protocol is not None
                assert self._attempt is not None
                self._protocol.end(self._attempt)
        data = self._dialer.take_output()
        if data:
            assert self._protocol is not None
            self._protocol.write(data)

    def on_connected(self) -> None:
        """A connection is made."""
        self._dialer.on_connected(time.monotonic_ns())
        self._on_change()

    def on_data(self, data: bytes) -> None:
        """The primary sent something."""
        self._dialer.on_data(data, time.monotonic_ns())
        self._on_change()

    def on_lost(self, error: Exception | None) -> None:
        """The connection is over."""
        self._dialer.on_lost(str(error or "it was closed"), time.monotonic_ns())
        self._news.set()
        self._on_change()

    async def _until_due(self) -> None:
        deadline_ns = self._dialer.deadline_ns
        seconds = None
        if deadline_ns is not None:
            seconds = max(0, deadline_ns - time.monotonic_ns()) / 1e9
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _dial(self, record: PrimaryRecord) -> None:
        protocol = self._protocol = _Protocol(self)
        attempt = self._attempt = asyncio.ensure_future(self._connect(protocol, record))
        attempt.add_done_callback(lambda _: self._on_attempted(protocol, attempt))

    async def _connect(self, protocol: _Protocol, record: PrimaryRecord) -> None:
        host, port = parse_address(record.commands)
        # A host that is gone does not refuse a connection; it says nothing.
        async with asyncio.timeout(self._timeout_seconds):
            await asyncio.get_running_loop().create_connection(lambda: protocol, host, port)

    def _on_attempted(self, protocol: _Protocol, attempt: asyncio.Future[None]) -> None:
        error = None if attempt.cancelled() else attempt.exception()
        if error is not None and not isinstance(error, OSError | ValueError):
            self._unforeseen = error
        if not protocol.was_made:  # TimeoutError is an OSError
            self._dialer.on_failed(str(error or "") or "no answer", time.monotonic_ns())
        self._news.set()

    async def _stop(self) -> None:
        """Ends what there is, without another attempt."""
        self._dialer.stop()
        self.flush(time.monotonic_ns())
        if self._attempt is not None:
            await asyncio.gather(self._attempt, return_exceptions=True)
        if self._protocol is not None and self._protocol.was_made:
            await self._protocol.is_over.wait()
