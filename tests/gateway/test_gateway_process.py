"""The gateway's process on real sockets, between a primary and clients."""

import asyncio
import ssl
import threading
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from feed.messages import Side
from feed.multicast import open_unicast
from gateway import process
from gateway.client import Client
from gateway.closing import ClosingReason
from gateway.events import Accepted, Executed
from gateway.process import GatewayProcess
from gateway.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
)
from tests.feed.lists import list_digest, packet
from tests.feed.sockets import (
    LOOPBACK,
    PATIENCE_SECONDS,
    address_of,
    arriving,
)
from tests.gateway.exchange import SECRETS, enter, letters
from tests.gateway.processes import Shard, Wire, run, settings_of, shard
from zk.directory import Directory


def test_an_order_goes_through_primary_and_feed_and_comes_back_numbered(tmp_path: Path) -> None:
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
        assert gateway.summary["sequence"] == made.live.last_sequence
        assert gateway.summary["list_digest"] == list_digest(made.live.reign.frames)
        assert (gateway.summary["epoch"], gateway.summary["primary"]) == (1, "e2")
        assert gateway.summary["zookeeper"] == "connected"

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


def test_the_primary_is_connected_again_and_what_was_under_way_takes_effect_once(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as gateway:
            async with Wire.open(gateway.address) as wire:
                wire.log_in()
                await wire.take(1)
                for first in range(1, 1001, 100):
                    wire.send(*(enter(number) for number in range(first, first + 100)))
                    for connection in tuple(made.live.connections):
                        connection.transport.abort()
                    await wire.take(50)
                await wire.take(500)
            assert len(made.live.market.orders) == 1000
        assert gateway.summary["uplink"]["connections"] > 1
        assert gateway.summary["uplink"]["pending"] == 0

    run(scenario)


def test_a_gateway_starts_without_a_primary_and_finds_it_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = Shard(tmp_path)
        async with made.gateway() as gateway, Wire.open(gateway.address) as wire:
            wire.log_in()
            await made.start()
            assert await wire.take(1) == [LoginAccepted("DEMO", 1)]
            gateway.stop.set()
            await wire.until_closed()
        await made.stop()

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
        assert len(made.live.market.orders) == 1  # BOB's is gone
        assert gateway.summary["closed"] == {"gateway_stops": 2}

    run(scenario)


def test_a_gateway_that_stops_waits_for_the_primary_to_decide(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            async with made.gateway() as gateway:
                async with Wire.open(gateway.address) as bob:
                    bob.log_in("BOB")
                    bob.send(enter(1))
                    await bob.take(2)
                    (connection,) = made.live.connections
                    connection.transport.pause_reading()
                    gateway.stop.set()
                    await bob.until_closed()
                await asyncio.wait({gateway.task}, timeout=0.2)
                assert not gateway.task.done()
                connection.transport.resume_reading()
            assert made.live.market.orders == {}

    run(scenario)


def test_a_gateway_that_lags_behind_the_feed_lets_nobody_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        with closing(open_unicast(LOOPBACK)) as silent:
            made = Shard(tmp_path)
            async with made.gateway(retransmitters=[address_of(silent)]) as gateway:
                made.live.sender.send([packet([], 20_001, committed=20_000)])
                await arriving(silent)  # its NAK, so it has heard of the frames
                async with Wire.open(gateway.address) as wire:
                    wire.log_in()
                    assert await wire.until_closed() == [
                        Debug(ClosingReason.CATCHING_UP.text),
                        LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
                    ]
            await made.stop()

    run(scenario)


def test_all_that_happens_in_one_turn_is_sent_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes: list[int] = []

    async def scenario() -> None:
        made = Shard(tmp_path)
        gateway = GatewayProcess(
            "DEMO", settings_of(made.clients), Directory.alone(1), {1: made.sources()}, made.join
        )
        monkeypatch.setattr(gateway.connections, "flush", flushes.append)
        gateway.flush_soon()
        gateway.flush_soon()
        assert len(flushes) == 0
        await asyncio.sleep(0)
        assert len(flushes) == 1
        gateway.flush_soon()
        gateway.flush()
        await asyncio.sleep(0)
        assert len(flushes) == 2
        await made.stop()

    run(scenario)
