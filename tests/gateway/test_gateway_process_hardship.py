"""The gateway's process when its clients, the network or its files are not well."""

import asyncio
import random
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from feed.multicast import FeedSender
from gateway import process
from gateway.clients import ClientsError
from gateway.closing import ClosingReason
from gateway.process import FeedLostError, GatewayProcess
from gateway.settings import GatewaySettings
from gateway.shard_feed import ShardSources
from gateway.soup import (
    Debug,
    LoginRequest,
    SequencedData,
    ServerPacket,
)
from tests.feed.lists import packet
from tests.feed.sockets import (
    LOOPBACK,
    address_of,
    multicast_settings,
)
from tests.gateway.exchange import enter, letters
from tests.gateway.processes import Wire, run, running, settings_of, shard
from zk.directory import Directory
from zk.settings import ZooKeeperSettings


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
            last = made.live.last_sequence
            for _ in range(100):
                async with Wire.open(gateway.address) as wire:
                    wire.send(chance.randbytes(chance.randrange(1, 3000)))
                    if chance.random() < 0.5:
                        wire.send(LoginRequest("ALICE", "guess", "", 1).encode())
            assert made.live.last_sequence == last
            honest.send(enter(1))
            assert letters(await honest.take(1)) == "A"
        assert sum(gateway.summary["closed"].values()) == gateway.summary["connections"] == 101

    run(scenario)


def test_a_gateway_that_loses_the_feed_says_so_and_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            feed = multicast_settings()  # where nothing comes but what this test sends
            gateway = GatewayProcess(
                "DEMO",
                settings_of(made.clients),
                Directory.alone(1),
                {1: ShardSources(feed, [])},
                made.join,
            )
            farewell: list[ServerPacket] = []

            async def lose_it() -> None:
                async with running(gateway), Wire.open(gateway.address) as wire:
                    sender = FeedSender(feed)
                    sender.send([packet([], 100, committed=99)])
                    sender.close()
                    farewell.extend(await wire.until_closed())

            why = "frames 1 to 99 of shard 1 can't be had: no retransmitter is configured"
            with pytest.raises(FeedLostError, match=why):
                await lose_it()
            assert farewell == [Debug(ClosingReason.FEED_LOST.text)]

    run(scenario)


def test_a_gateway_runs_without_zookeeper_and_says_so_in_its_summary(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            with closing(socket.create_server(LOOPBACK)) as taken:
                nobody = address_of(taken)
            stop = asyncio.Event()
            summary = await process.run(
                "g1",
                "DEMO",
                {1: made.sources()},
                ZooKeeperSettings(hosts=str(nobody)),
                settings_of(made.clients),
                stop,
                stop.set,
            )
        assert (summary["role"], summary["name"], summary["connections"]) == ("gateway", "g1", 0)
        assert (summary["zookeeper"], summary["primary"]) == ("suspended", None)

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
