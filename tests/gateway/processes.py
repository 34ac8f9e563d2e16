"""A shard and its gateways as processes run them, and a client that speaks bytes."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from engine.process import EngineProcess
from engine.settings import EngineSettings, InstrumentSettings
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
    free_addresses,
    multicast_settings,
)
from tests.gateway.exchange import SECRETS

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def free_tcp_address() -> Address:
    with socket.socket() as probe:
        probe.bind(LOOPBACK)
        return Address(*probe.getsockname())


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
    """A real engine on free ports, and what its gateways need."""

    def __init__(self, folder: Path) -> None:
        self.clients = folder / "clients.toml"
        for name, secret in SECRETS.items():
            add_client(
                self.clients, name, secret, cancel_on_disconnect=name == "BOB", hasher=HASHER
            )
        self.feed: FeedSettings = multicast_settings()
        repair, commands, control = *free_addresses(1), free_tcp_address(), free_tcp_address()
        self.settings = EngineSettings(commands=commands, repair=repair, control=control)
        self.engine = EngineProcess(
            self.feed, self.settings, [InstrumentSettings(symbol="AAPL", tick_size=100)], epoch=1
        )

    @asynccontextmanager
    async def gateway(
        self,
        *,
        commands: Address | None = None,
        retransmitters: Sequence[Address] | None = None,
        **changes: Any,
    ) -> AsyncIterator[Running]:
        """A gateway, stopped at the end of the context."""
        settings = GatewaySettings.model_validate(
            {"listen": str(LOOPBACK), "clients": self.clients, **changes}
        )
        gateway = GatewayProcess(
            "DEMO",
            self.feed,
            settings,
            commands or self.settings.commands,
            [self.settings.repair] if retransmitters is None else retransmitters,
        )
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
    await made.engine.start()
    try:
        yield made
    finally:
        await made.engine.stop()


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
