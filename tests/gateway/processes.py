"""A shard's gateways as processes run them, its primary, and a client that speaks bytes."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from feed.messages import DefineInstrument, ShortSale
from feed.settings import Address, FeedSettings
from gateway.clients import add_client
from gateway.process import GatewayProcess
from gateway.settings import GatewaySettings
from gateway.soup import (
    LoginRequest,
    ServerHeartbeat,
    ServerPacket,
    server_packets,
)
from tests.feed.sockets import (
    LOOPBACK,
    PATIENCE_SECONDS,
    multicast_settings,
)
from tests.gateway.exchange import SECRETS
from tests.gateway.groups import SYMBOL
from tests.gateway.live_primary import LivePrimary
from tests.gateway.reigns import Reign
from zk.election import PrimaryRecord

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scenario()

    asyncio.run(limited())
    gc.collect()  # a socket left open would warn here


class Running:
    """A gateway that runs, and what it said at its end."""

    def __init__(self, gateway: GatewayProcess, stop: asyncio.Event) -> None:
        self.gateway = gateway
        self.stop = stop
        self.task: asyncio.Task[None]
        self.summary: dict[str, Any] = {}

    @property
    def address(self) -> Address:
        return self.gateway.address


class Shard:
    """A primary on free ports, the record of it that ZooKeeper has, and what gateways need."""

    def __init__(self, folder: Path) -> None:
        self.clients = folder / "clients.toml"
        for name, secret in SECRETS.items():
            add_client(
                self.clients, name, secret, cancel_on_disconnect=name == "BOB", hasher=HASHER
            )
        self.feed: FeedSettings = multicast_settings()
        # What gateways know of ZooKeeper.
        self.primary: PrimaryRecord | None = None
        self.connected = True
        self.live = LivePrimary(self.feed, Reign(self.feed.shard, epoch=1))
        self._followers: list[GatewayProcess] = []

    async def start(self) -> None:
        """The first primary begins, and everybody hears of it."""
        await self.live.start([DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)])
        self.tell(self.live.record)

    async def stop(self) -> None:
        await self.live.stop()

    async def take_over(self, lost_groups: int = 0) -> None:
        """The primary dies, and another one takes over, at another address."""
        await self.live.stop()
        reign = self.live.reign.successor(time.time_ns(), lost_groups)
        reign.commits = True
        self.live = LivePrimary(self.feed, reign)
        await self.live.start()
        self.tell(self.live.record)

    def tell(self, record: PrimaryRecord) -> None:
        """ZooKeeper has a record of who is primary."""
        self.primary = record
        for follower in self._followers:
            follower.follow()

    @asynccontextmanager
    async def gateway(
        self,
        *,
        retransmitters: Sequence[Address] | None = None,
        holders: Sequence[Address] = (),
        **changes: Any,
    ) -> AsyncIterator[Running]:
        """A gateway, stopped at the end of the context."""
        settings = GatewaySettings.model_validate(
            {"listen": str(LOOPBACK), "clients": self.clients, **changes}
        )
        sources = [self.live.repair] if retransmitters is None else retransmitters
        gateway = GatewayProcess(
            "DEMO", self.feed, settings, self, sources, replicas=holders, holders=holders
        )
        self._followers.append(gateway)
        running = Running(gateway, asyncio.Event())
        ready = asyncio.Event()
        task = running.task = asyncio.create_task(gateway.run(running.stop, ready.set))
        is_ready = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({task, is_ready}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield running
        finally:
            is_ready.cancel()
            running.stop.set()
            await task
            running.summary = gateway.summary()


@asynccontextmanager
async def shard(folder: Path) -> AsyncIterator[Shard]:
    made = Shard(folder)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Wire:
    """A client's end of a TCP connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packets = server_packets()
        self._waiting: list[ServerPacket] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, **options: Any) -> AsyncIterator["Wire"]:
        if "sock" not in options:
            options |= {"host": address.host, "port": address.port}
        reader, writer = await asyncio.open_connection(**options)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))

    def log_in(self, name: str = "ALICE", sequence: int = 1) -> None:
        self.send(LoginRequest(name, SECRETS[name], "", sequence).encode())

    def pause(self) -> None:
        """Takes nothing any more."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    def resume(self) -> None:
        """Takes everything again."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.resume_reading()

    async def until_closed(self) -> list[ServerPacket]:
        """All that comes until the gateway closes the connection, but for heartbeats."""
        while await self._read():
            pass
        return await self.take(len(self._waiting))

    async def take(self, count: int) -> list[ServerPacket]:
        """The next so many packets, but for heartbeats."""
        while len(self._waiting) < count and await self._read():
            pass
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _read(self) -> bool:
        data = await self._reader.read(65536)
        packets = self._packets.take(data)
        self._waiting += [each for each in packets if not isinstance(each, ServerHeartbeat)]
        return bool(data)
