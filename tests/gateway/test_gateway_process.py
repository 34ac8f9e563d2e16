"""The gateway's process on real sockets, between a real engine and clients."""

import asyncio
import gc
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from argon2 import PasswordHasher
from pydantic import ValidationError

from engine.process import EngineProcess
from engine.settings import EngineSettings, InstrumentSettings
from feed.messages import Side
from feed.multicast import FeedSender, open_unicast
from feed.settings import Address, FeedSettings
from gateway import process
from gateway.client import Client
from gateway.clients import ClientsError, add_client
from gateway.closing import ClosingReason
from gateway.events import Accepted, Executed
from gateway.process import FeedLostError, GatewayProcess
from gateway.settings import GatewaySettings
from gateway.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
    SequencedData,
    ServerHeartbeat,
    ServerPacket,
    server_packets,
)
from tests.feed.lists import packet
from tests.feed.sockets import (
    LOOPBACK,
    PATIENCE_SECONDS,
    address_of,
    arriving,
    free_addresses,
    multicast_settings,
)
from tests.gateway.exchange import SECRETS, enter, letters

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


def test_an_order_goes_through_engine_and_feed_and_comes_back_numbered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway() as gateway,
            Wire.open(gateway.address) as wire,
        ):
            wire.log_in()
            assert await wire.take(1) == [LoginAccepted("DEMO", 1)]
            for byte in enter(1) + enter(2):
                wire.send(bytes([byte]))
            assert letters(await wire.take(2)) == "AA"
            wire.send(LogoutRequest().encode())
            assert await wire.until_closed() == [Debug(ClosingReason.LOGGED_OUT.text)]
        assert gateway.summary["role"] == "gateway"
        assert gateway.summary["commands"] == 2
        assert gateway.summary["closed"] == {"logged_out": 1}
        assert gateway.summary["sequence"] == made.engine.primary.last_sequence

    run(scenario)


def test_a_client_resumes_on_a_gateway_that_started_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            async with made.gateway() as first, Wire.open(first.address) as wire:
                wire.log_in()
                wire.send(*(enter(number) for number in range(1, 2001)))
                stream = await wire.take(2001)
            async with made.gateway() as second:
                async with Wire.open(second.address) as wire:
                    wire.log_in(sequence=500)
                    resumed = await wire.take(1502)
                assert resumed == [LoginAccepted("DEMO", 500), *stream[500:]]
                assert second.summary == {}
            assert second.summary["gaps_filled"] >= 1

    run(scenario)


def test_the_client_library_trades_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files: dict[str, Any] = {
        "tls_certificate": tmp_path / "cert.pem",
        "tls_key": tmp_path / "key.pem",
    }
    certificate.cert_chain_pems[0].write_to_path(files["tls_certificate"])
    certificate.private_key_pem.write_to_path(files["tls_key"])
    tls = ssl.create_default_context()
    authority.configure_trust(tls)

    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway(**files) as gateway:
            async with Wire.open(gateway.address) as plain:
                plain.log_in()  # who speaks no TLS is cut off
                with suppress(ConnectionResetError):
                    assert await plain.until_closed() == []
            async with (
                Client(gateway.address, "ALICE", SECRETS["ALICE"], tls=tls) as alice,
                Client(gateway.address, "BOB", SECRETS["BOB"], tls=tls) as bob,
            ):
                await alice.enter("AAPL", Side.BUY, 100, 10_000)
                events = [await anext(aiter(alice.events()))]
                await bob.enter("AAPL", Side.SELL, 100, 10_000)
                events.append(await anext(aiter(alice.events())))
                assert [type(event) for event in events] == [Accepted, Executed]
        assert gateway.summary["log_ins"] == 2

    run(scenario)


def test_wrong_secrets_are_refused_and_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway() as gateway,
            AsyncExitStack() as stack,
        ):
            wires = [await stack.enter_async_context(Wire.open(gateway.address)) for _ in range(8)]
            for wire in wires:
                wire.send(LoginRequest("ALICE", "wrong-pass", "", 1).encode())
            refused = [
                Debug(ClosingReason.NOT_AUTHORISED.text),
                LoginRejected(LoginRejectReason.NOT_AUTHORISED),
            ]
            assert [await wire.until_closed() for wire in wires] == [refused] * 8
        assert gateway.summary["closed"] == {"not_authorised": 8}

    run(scenario)


def test_a_secret_that_can_not_be_checked_is_refused_politely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as gateway:

            def no_memory(name: str, secret: str) -> None:
                raise MemoryError

            monkeypatch.setattr(gateway.gateway._verifier, "verify", no_memory)
            async with Wire.open(gateway.address) as wire:
                wire.log_in()
                assert await wire.until_closed() == [
                    Debug(ClosingReason.SECRET_NOT_CHECKED.text),
                    LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
                ]

    run(scenario)


def test_a_secret_that_nobody_waits_for_any_more_is_not_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"log_in_timeout_ns": 50_000_000}
    release = threading.Event()
    hashed: list[str] = []

    def slow(name: str, secret: str) -> None:
        hashed.append(name)
        assert release.wait(PATIENCE_SECONDS)

    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway(sessions=limits) as gateway,
            AsyncExitStack() as stack,
        ):
            monkeypatch.setattr(gateway.gateway._verifier, "verify", slow)
            names = [f"N{i}" for i in range(process.VERIFIER_THREADS + 3)]
            wires = [await stack.enter_async_context(Wire.open(gateway.address)) for _ in names]
            for wire, name in zip(wires, names, strict=True):
                wire.send(LoginRequest(name, "guess", "", 1).encode())
            for wire in wires:
                assert await wire.until_closed() == [
                    Debug(ClosingReason.LOG_IN_UNANSWERED.text),
                    LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
                ]
            release.set()
            while gateway.gateway._verifications:
                await asyncio.wait(gateway.gateway._verifications)
        assert len(hashed) == process.VERIFIER_THREADS

    run(scenario)


def test_the_engine_is_connected_again_and_what_was_under_way_takes_effect_once(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as gateway:
            async with Wire.open(gateway.address) as wire:
                wire.log_in()
                await wire.take(1)
                for first in range(1, 1001, 100):
                    wire.send(*(enter(number) for number in range(first, first + 100)))
                    for connection in tuple(made.engine.connections):
                        connection.close()
                    await wire.take(50)
                await wire.take(500)
            assert len(made.engine.market.orders) == 1000
        assert gateway.summary["uplink"]["connections"] > 1
        assert gateway.summary["uplink"]["pending"] == 0

    run(scenario)


def test_a_gateway_starts_without_an_engine_and_finds_it_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = Shard(tmp_path)
        async with made.gateway() as gateway, Wire.open(gateway.address) as wire:
            wire.log_in()
            await made.engine.start()
            assert await wire.take(1) == [LoginAccepted("DEMO", 1)]
            gateway.stop.set()
            await wire.until_closed()
        await made.engine.stop()

    run(scenario)


def test_a_gateway_that_stops_says_goodbye_and_cancels_where_it_is_asked_to(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway() as gateway,
            AsyncExitStack() as stack,
        ):
            alice = await stack.enter_async_context(Wire.open(gateway.address))
            bob = await stack.enter_async_context(Wire.open(gateway.address))
            for wire, name in ((alice, "ALICE"), (bob, "BOB")):
                wire.log_in(name)
                wire.send(enter(1))
                await wire.take(2)
            gateway.stop.set()
            farewell = [Debug(ClosingReason.GATEWAY_STOPS.text), EndOfSession()]
            assert await alice.until_closed() == farewell
            assert await bob.until_closed() == farewell
        assert len(made.engine.market.orders) == 1  # BOB's is gone
        assert gateway.summary["closed"] == {"gateway_stops": 2}

    run(scenario)


def test_a_gateway_that_stops_waits_for_the_engine_to_decide(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            async with made.gateway() as gateway:
                async with Wire.open(gateway.address) as bob:
                    bob.log_in("BOB")
                    bob.send(enter(1))
                    await bob.take(2)
                    (connection,) = made.engine.connections
                    transport = connection._transport
                    assert transport is not None
                    transport.pause_reading()
                    gateway.stop.set()
                    await bob.until_closed()
                await asyncio.wait({gateway.task}, timeout=0.2)
                assert not gateway.task.done()
                transport.resume_reading()
            assert made.engine.market.orders == {}

    run(scenario)


def test_a_gateway_that_lags_behind_the_feed_lets_nobody_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        with closing(open_unicast(LOOPBACK)) as silent:
            made = Shard(tmp_path)
            async with made.gateway(retransmitters=[address_of(silent)]) as gateway:
                made.engine._sender.send([packet([], 20_001, committed=20_000)])
                await arriving(silent)  # its NAK, so it has heard of the frames
                async with Wire.open(gateway.address) as wire:
                    wire.log_in()
                    assert await wire.until_closed() == [
                        Debug(ClosingReason.CATCHING_UP.text),
                        LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
                    ]
            await made.engine.stop()

    run(scenario)


class SilentEngine:
    """Takes connections, and decides nothing."""

    def __init__(self) -> None:
        self._connections: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._accepted: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        server = await asyncio.start_server(
            lambda reader, writer: self._connections.put_nowait(writer), *LOOPBACK
        )
        async with server:
            yield Address(*server.sockets[0].getsockname())
            for writer in self._accepted:
                writer.transport.abort()

    async def connected(self) -> None:
        """Waits for the next connection."""
        self._accepted.append(await self._connections.get())


def test_an_engine_that_decides_nothing_is_connected_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine, made = SilentEngine(), Shard(tmp_path)
        async with (
            engine.listening() as commands,
            made.gateway(commands=commands, uplink={"decision_timeout_ns": 1}) as gateway,
            Wire.open(gateway.address) as wire,
        ):
            await engine.connected()
            wire.log_in()
            assert await wire.until_closed() == [
                Debug(ClosingReason.LOG_IN_LOST.text),
                LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
            ]
            await engine.connected()
        await made.engine.stop()

    run(scenario)


def test_an_engine_of_an_older_epoch_is_connected_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine, made = SilentEngine(), Shard(tmp_path)
        async with engine.listening() as commands, made.gateway(commands=commands) as gateway:
            await engine.connected()
            made.engine._sender.send([packet([], 1, epoch=1)])
            while gateway.gateway._subscriber.epoch != 1:
                await asyncio.sleep(0)
            await asyncio.wait_for(_flushes(gateway, 2), PATIENCE_SECONDS)
            made.engine._sender.send([packet([], 1, epoch=2)])
            await engine.connected()
        await made.engine.stop()

    run(scenario)


async def _flushes(gateway: Running, count: int) -> None:
    """Waits until the gateway has gone round so many times."""
    for _ in range(count):
        gateway.gateway._flushed.clear()
        await gateway.gateway._flushed.wait()


def test_a_client_that_does_not_read_is_disconnected_and_the_others_are_served(
    tmp_path: Path,
) -> None:
    limits = {
        "output_bytes": 16384,
        "behind_bytes": 16384,
        "orders_per_second": 1_000_000,
        "orders_burst": 1_000_000,
    }

    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway(sessions=limits) as gateway:
            small = socket.socket()
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.setblocking(False)
            await asyncio.get_running_loop().sock_connect(small, gateway.address)
            async with (
                Wire.open(gateway.address, sock=small) as slow,
                Wire.open(gateway.address) as quick,
            ):
                slow.log_in("ALICE")
                quick.log_in("BOB")
                await quick.take(1)
                await slow.take(1)
                slow.pause()
                number = 0
                while gateway.gateway.gateway.summary()["sessions"] == 2:
                    slow.send(*(enter(number + i) for i in range(1, 201)))
                    number += 200
                    quick.send(enter(number))
                    assert letters(await quick.take(1)) == "A"
                slow.resume()
                got = await slow.until_closed()
        assert got[-1] == Debug(ClosingReason.SLOW_CLIENT.text)
        assert all(isinstance(message, SequencedData) for message in got[:-1])
        assert gateway.summary["closed"]["slow_client"] == 1

    run(scenario)


def test_the_kernel_keeps_no_more_for_a_client_than_the_gateway_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway(sessions={"output_bytes": 16384}) as gateway,
            Wire.open(gateway.address) as wire,
        ):
            wire.log_in()
            await wire.take(1)
            (connection,) = gateway.gateway.connections._connections.values()
            kernel = connection._transport.get_extra_info("socket")
            # Linux doubles it, for its own book-keeping (socket(7)).
            assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 16384

    run(scenario)


def test_a_client_that_is_still_sending_gets_the_reason_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway() as gateway,
            Wire.open(gateway.address) as wire,
        ):
            wire.log_in()
            await wire.take(1)
            wire.log_in()
            wire.send(bytes(2 << 20))
            assert await wire.until_closed() == [Debug(ClosingReason.UNEXPECTED_PACKET.text)]

    run(scenario)


def test_hostile_bytes_crash_nothing_move_nothing_and_are_counted(tmp_path: Path) -> None:
    chance = random.Random(7)

    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway() as gateway,
            Wire.open(gateway.address) as honest,
        ):
            honest.log_in()
            await honest.take(1)
            last = made.engine.primary.last_sequence
            for _ in range(100):
                async with Wire.open(gateway.address) as wire:
                    wire.send(chance.randbytes(chance.randrange(1, 3000)))
                    if chance.random() < 0.5:
                        wire.send(LoginRequest("ALICE", "guess", "", 1).encode())
            assert made.engine.primary.last_sequence == last
            honest.send(enter(1))
            assert letters(await honest.take(1)) == "A"
        assert sum(gateway.summary["closed"].values()) == gateway.summary["connections"] == 101

    run(scenario)


def test_a_gateway_that_loses_the_feed_says_so_and_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            settings = GatewaySettings.model_validate(
                {"listen": str(LOOPBACK), "clients": made.clients}
            )
            feed = multicast_settings()  # where nothing comes but what this test sends
            gateway = GatewayProcess("DEMO", feed, settings, made.settings.commands, [])
            ready = asyncio.Event()
            task = asyncio.create_task(gateway.run(asyncio.Event(), ready.set))
            await ready.wait()
            async with Wire.open(gateway.address) as wire:
                sender = FeedSender(feed)
                sender.send([packet([], 100, committed=99)])
                sender.close()
                assert await wire.until_closed() == [Debug(ClosingReason.FEED_LOST.text)]
            with pytest.raises(FeedLostError, match="no retransmitter is configured"):
                await task

    run(scenario)


def test_run_returns_the_summary_by_its_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            settings = GatewaySettings.model_validate(
                {"listen": str(LOOPBACK), "clients": made.clients}
            )
            stop = asyncio.Event()
            summary = await process.run(
                "g1",
                "DEMO",
                made.feed,
                settings,
                made.settings.commands,
                [made.settings.repair],
                stop,
                stop.set,
            )
        assert (summary["role"], summary["name"], summary["connections"]) == ("gateway", "g1", 0)

    run(scenario)


def test_an_address_that_is_taken_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as gateway:
            with pytest.raises(OSError, match="address already in use"):
                async with made.gateway(listen=str(gateway.address)):
                    pass

    run(scenario)


def test_files_that_are_not_there_are_errors_before_anything_runs(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "tls_certificate": tmp_path / "none.pem",
        "tls_key": tmp_path / "none.key",
    }

    async def scenario() -> None:
        async with shard(tmp_path) as made:
            with pytest.raises(ClientsError, match=r"none.toml can't be read"):
                async with made.gateway(clients=tmp_path / "none.toml"):
                    pass
            with pytest.raises(OSError, match=r"can't use the TLS certificate and key in .*none"):
                async with made.gateway(**wrong):
                    pass

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tls_key": "key.pem"}, "go together"),
        ({"connections": {"connections": 5, "strangers": 5}}, "leave no room for clients"),
        ({"listen": "nowhere"}, "is not an address"),
        ({"speed": 3}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        GatewaySettings.model_validate(
            {"listen": "127.0.0.1:0", "clients": "clients.toml", **changes}
        )
