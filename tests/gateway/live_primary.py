"""A primary of tests on real sockets: submissions in over TCP, the list out by multicast."""

import asyncio
import time
from collections.abc import Iterable

from engine.market import Market
from feed.cache import FrameCache
from feed.datagrams import encode_decision
from feed.messages import Command
from feed.multicast import FeedSender
from feed.repair import RepairResponder
from feed.repair_port import RepairPort
from feed.run import run_of_frames
from feed.settings import Address, FeedSettings
from tests.feed.sockets import LOOPBACK
from tests.gateway.reigns import Reign
from tests.submissions import take_submissions
from zk.election import PrimaryRecord

HEARTBEAT_SECONDS = 0.02


class LivePrimary:
    """A reign that gateways can reach; it answers the NAKs of those that come late, too."""

    def __init__(self, feed: FeedSettings, reign: Reign) -> None:
        self.reign = reign
        self.connections: set[Connection] = set()
        self.refuses = False  # ends connections at once, as a backup does
        self.sender = FeedSender(feed)
        self._cache = FrameCache(1 << 26)
        self._responder = RepairResponder(shard=feed.shard, held=self._cache)
        self._repair_port = RepairPort(LOOPBACK, self._on_nak)
        self.repair = self._repair_port.address
        self._server: asyncio.Server | None = None
        self._heartbeats: asyncio.Task[None] | None = None

    @property
    def record(self) -> PrimaryRecord:
        """What ZooKeeper says of it, once it runs."""
        assert self._server is not None
        address = Address(*self._server.sockets[0].getsockname()[:2])
        return self.reign.record._replace(commands=str(address))

    @property
    def market(self) -> Market:
        return self.reign.market

    @property
    def last_sequence(self) -> int:
        return self.reign.last_sequence

    async def start(self, commands: Iterable[Command] = ()) -> None:
        """Opens the epoch, unless it is open, and the ports."""
        if not self.reign.is_open:
            self.reign.open(time.time_ns(), commands)
        self._repair_port.start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), *LOOPBACK)
        self._heartbeats = asyncio.create_task(self._send_heartbeats())
        self.publish()

    async def stop(self) -> None:
        """Dies."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self.connections):
                connection.transport.abort()
            await self._server.wait_closed()
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats])
        self._repair_port.close()
        self.sender.close()

    def publish(self) -> None:
        """Sends what there is to send."""
        self.sender.send(self.reign.flush(time.monotonic_ns()))

    async def _send_heartbeats(self) -> None:
        while True:
            self.sender.send([self.reign.heartbeat()])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _on_nak(self, data: bytes, sender: Address, now_ns: int) -> list[bytes]:
        held = self._cache.next_sequence
        self._cache.append(run_of_frames(held, self.reign.frames[held - 1 :]))
        epoch, committed = self.reign.epoch, self.reign.committed_sequence
        return self._responder.on_nak(data, sender, now_ns, epoch, committed)


class Connection(asyncio.Protocol):
    """A gateway's connection."""

    transport: asyncio.Transport

    def __init__(self, owner: LivePrimary) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._submissions = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._owner.connections.add(self)
        if self._owner.refuses:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        reign = self._owner.reign
        for submission in take_submissions(self._buffer):
            self._submissions += 1
            reign.submit(submission, time.time_ns())
        self._owner.publish()
        self.transport.write(encode_decision(reign.decision(self._submissions)))
