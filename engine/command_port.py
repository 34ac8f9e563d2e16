"""The TCP port that gateways submit commands at, while this replica leads.

A gateway that comes while the replica takes over waits for the end of that; whoever comes to a
backup is turned away, and asks ZooKeeper again. A primary whose window is full reads no more: its
gateways then stop reading their clients.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import cast

import structlog

from engine.primary import Primary
from engine.replica import Replica, State
from feed.codec import WireError
from feed.datagrams import Decision, encode_decision
from feed.frames import whole_submissions
from feed.settings import Address

log = structlog.get_logger()


class CommandConnection(asyncio.Protocol):
    """A gateway's connection: submissions in, decisions out."""

    def __init__(self, port: "CommandPort") -> None:
        self._port = port
        self._unread = b""  # not submitted yet
        self._is_wanted = False  # whether what comes is to be submitted
        self._submissions = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._port.on_connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.on_lost(self)
        log.info("gateway disconnected", submissions=self._submissions)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        # A loop may read a new connection even if it was paused before it began to, as uvloop does.
        # What comes to a candidate waits then: dropped, it would be gone, and what follows not.
        if self._is_wanted:
            self._submit()

    def set_reading(self, wanted: bool) -> None:
        """Read what the gateway sends, or let it wait."""
        if self._transport is None or self._transport.is_closing():
            return
        self._is_wanted = wanted
        if wanted and self._unread:
            self._port.call_soon(partial(self.data_received, b""))
        if wanted and not self._transport.is_reading():
            self._transport.resume_reading()
        elif not wanted and self._transport.is_reading():
            self._transport.pause_reading()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _submit(self) -> None:
        """Submit what has come."""
        data = self._unread
        try:
            size, count = whole_submissions(data)
        except WireError as error:
            log.error("connection closed: its bytes are no submissions", reason=str(error))
            self._port.bad_submissions += 1
            self.abort()
            return
        self._unread = data[size:]
        primary = self._port.replica.primary
        if primary is None or not count:
            return
        try:
            self._port.replica.submit(data[:size])
            self._submissions += count
            # What has been sequenced is on its way before the gateway is told of it.
            self._port.on_submitted()
        except Exception as error:  # a broken machine must not go on: a backup is better
            self._port.fail(error)
            raise
        self._decide(primary)

    def _decide(self, primary: Primary) -> None:
        """Tell the gateway how far what it sent is decided."""
        if self._transport is not None:
            decision = Decision(primary.epoch, self._submissions, primary.last_sequence)
            self._transport.write(encode_decision(decision))


class CommandPort:
    """All gateways' connections to one replica.

    `failed` is there from `start` on. It is done, with the error, when a command broke the machine.
    """

    failed: asyncio.Future[None]

    def __init__(self, replica: Replica, on_submitted: Callable[[], None]) -> None:
        self.replica = replica
        self.on_submitted = on_submitted
        self.bad_submissions = 0
        # A dict rather than a set: its order is the same in every run.
        self._connections: dict[CommandConnection, None] = {}
        self._reads = False
        self._server: asyncio.Server | None = None

    async def start(self, address: Address) -> None:
        """Listen; raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self.failed = loop.create_future()
        self._server = await loop.create_server(lambda: CommandConnection(self), *address)

    async def stop(self) -> None:
        """Stop listening and end what is connected."""
        if self._server is None:
            return
        self._server.close()
        self._abort_all()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)

    def on_connected(self, connection: CommandConnection) -> None:
        """A gateway is there."""
        self._connections[connection] = None
        if self.replica.state not in (State.PRIMARY, State.CANDIDATE):
            connection.abort()
            return
        log.info("gateway connected")
        connection.set_reading(self._reads)

    def on_lost(self, connection: CommandConnection) -> None:
        """A gateway is gone."""
        self._connections.pop(connection, None)

    def fail(self, error: Exception) -> None:
        """A command could not be carried out: the process is to end with this error."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def call_soon(self, act: Callable[[], None]) -> None:
        """Do something once what is being done now is over."""
        asyncio.get_running_loop().call_soon(act)

    def settle(self) -> None:
        """Read from the gateways, or not, after whatever may have changed that."""
        primary = self.replica.primary
        if primary is None:
            self._reads = False
            if self.replica.state is not State.CANDIDATE:
                self._abort_all()
            return
        wanted = not primary.is_full if self._reads else primary.has_room_again
        if wanted != self._reads:
            self._reads = wanted
            for connection in self._connections:
                connection.set_reading(wanted)

    def _abort_all(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()
