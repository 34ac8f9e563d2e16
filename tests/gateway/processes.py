"""Gateways as processes run them, a shard's primary, and a client that speaks bytes."""

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
from gateway.shard_feed import ShardSources
from gateway.soup import (
    LoginRequest,
    ServerHeartbeat,
    ServerPacket,
    server_packets,
)
from tests.feed.sockets import (
    LOOPBACK,
    PATIENCE_SECONDS,
    free_addresses,
    multicast_settings,
    unicast_settings,
)
from tests.gateway.exchange import SECRETS
from tests.gateway.groups import SYMBOL
from tests.gateway.live_primary import LivePrimary
from tests.gateway.reigns import Reign
from zk.directory import Directory
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

    async def kill(self) -> None:
        """It dies without a word."""
        self.task.cancel()
        await asyncio.wait([self.task])
        self.gateway.connections.abort()


@asynccontextmanager
async def running(gateway: GatewayProcess) -> AsyncIterator[Running]:
    """This gateway runs, and is stopped at the end of the context, unless it was killed."""
    made = Running(gateway, asyncio.Event())
    ready = asyncio.Event()
    task = made.task = asyncio.create_task(gateway.run(made.stop, ready.set))
    is_ready = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, is_ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield made
    finally:
        is_ready.cancel()
        made.stop.set()
        await asyncio.wait([task])
        made.summary = gateway.summary()
        await gateway.leave()
        if not task.cancelled():
            task.result()


class Told:
    """What one gateway knows of a shard's ZooKeeper."""

    def __init__(self, shard: "Shard", on_change: Callable[[], None]) -> None:
        self._shard = shard
        self.on_change = on_change

    @property
    def primary(self) -> PrimaryRecord | None:
        return self._shard.primary

    @property
    def connected(self) -> bool:
        return self._shard.connected

    async def start(self) -> None:
        self._shard.told.append(self)

    async def stop(self) -> None:
        self._shard.told.remove(self)


class Shard:
    """A primary on free ports, the record of it that ZooKeeper has, and what gateways need."""

    def __init__(
        self,
        folder: Path,
        number: int = 1,
        symbol: bytes = SYMBOL,
        *,
        by_unicast: bool = False,
    ) -> None:
        self.clients = folder / "clients.toml"
        if not self.clients.exists():
            for name, secret in SECRETS.items():
                add_client(
                    self.clients, name, secret, cancel_on_disconnect=name == "BOB", hasher=HASHER
                )
        made = unicast_settings(1) if by_unicast else multicast_settings()
        self.feed: FeedSettings = made.model_copy(update={"shard": number})
        # What gateways know of ZooKeeper.
        self.primary: PrimaryRecord | None = None
        self.connected = True
        self.told: list[Told] = []
        self.live = LivePrimary(self.feed, Reign(number, epoch=1))
        self._symbol = symbol

    async def start(self) -> None:
        """The first primary begins, and everybody hears of it."""
        await self.live.start([DefineInstrument(self._symbol, 100, 1, ShortSale.ALLOWED)])
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
        for told in self.told:
            told.on_change()

    def join(self, shard: int, on_change: Callable[[], None]) -> Told:
        """A gateway's part in it."""
        assert shard == self.feed.shard
        return Told(self, on_change)

    def sources(
        self,
        retransmitters: Sequence[Address] | None = None,
        holders: Sequence[Address] = (),
    ) -> ShardSources:
        """From where a gateway has the list."""
        repair = [self.live.repair] if retransmitters is None else retransmitters
        (receive,) = self.feed.receivers or (None,)
        return ShardSources(self.feed, repair, replicas=holders, holders=holders, receive=receive)

    @asynccontextmanager
    async def gateway(
        self,
        *,
        retransmitters: Sequence[Address] | None = None,
        holders: Sequence[Address] = (),
        **changes: Any,
    ) -> AsyncIterator[Running]:
        """A gateway, stopped at the end of the context."""
        number = self.feed.shard
        gateway = GatewayProcess(
            "DEMO",
            settings_of(self.clients, **changes),
            Directory.alone(number),
            {number: self.sources(retransmitters, holders)},
            self.join,
        )
        async with running(gateway) as made:
            yield made


def settings_of(clients: Path, /, **changes: Any) -> GatewaySettings:
    """Those of a gateway on a free port, with this clients file."""
    return GatewaySettings.model_validate({"listen": str(LOOPBACK), "clients": clients, **changes})


def free_tcp_address() -> Address:
    """Where nobody listens now."""
    return free_addresses(1)[0]


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
