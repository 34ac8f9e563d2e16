"""A gateway's process follows the primary, whatever becomes of it, on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from feed.settings import Address
from gateway import process
from gateway.soup import LoginAccepted
from gateway.uplink import Uplink
from tests.feed.lists import packet
from tests.feed.sockets import LOOPBACK, PATIENCE_SECONDS, address_of
from tests.gateway.exchange import enter, letters
from tests.gateway.processes import Running, Shard, Wire, free_tcp_address, run, settings_of, shard
from zk.election import PrimaryRecord
from zk.embedded import EmbeddedServer
from zk.membership import Member
from zk.settings import ZooKeeperSettings

LONG = {"shortest_wait_ns": 3_600_000_000_000, "longest_wait_ns": 3_600_000_000_000}


class SilentPrimary:
    """Takes connections, and decides nothing."""

    def __init__(self) -> None:
        self._connections: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._accepted: list[asyncio.StreamWriter] = []
        self._readers: list[asyncio.StreamReader] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._on_connection, *LOOPBACK)
        async with server:
            yield str(Address(*server.sockets[0].getsockname()))
            for writer in self._accepted:
                writer.transport.abort()

    async def connected(self) -> None:
        """Waits for the next connection."""
        self._accepted.append(await self._connections.get())

    async def left(self) -> None:
        """Waits until the last connection is ended by the other side."""
        await self._readers[-1].read()

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers.append(reader)
        self._connections.put_nowait(writer)


def uplink(gateway: Running) -> Uplink:
    """What is on its way from a gateway of one shard to its primary."""
    return gateway.gateway.gateway.shards[1].uplink


async def flushes(gateway: Running, count: int) -> None:
    """Waits until the gateway has gone round so many times."""
    for _ in range(count):
        gateway.gateway._flushed.clear()
        await asyncio.wait_for(gateway.gateway._flushed.wait(), PATIENCE_SECONDS)


def test_clients_stay_and_lose_nothing_when_another_primary_takes_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            shard(tmp_path) as made,
            made.gateway() as one,
            made.gateway() as two,
            Wire.open(one.address) as alice,
            Wire.open(two.address) as bob,
        ):
            alice.log_in("ALICE")
            bob.log_in("BOB")
            assert [*await alice.take(1), *await bob.take(1)] == [LoginAccepted("DEMO", 1)] * 2
            for takeover in range(3):
                made.live.reign.commits = False
                first, last_sequence = 100 * takeover + 1, made.live.last_sequence
                alice.send(*(enter(number) for number in range(first, first + 50)))
                bob.send(*(enter(number) for number in range(first, first + 50)))
                while made.live.last_sequence < last_sequence + 20:
                    await asyncio.sleep(0)
                await made.take_over(lost_groups=17 * takeover)
                alice.send(*(enter(number) for number in range(first + 50, first + 100)))
                assert letters(await alice.take(100)) == "A" * 100
                assert letters(await bob.take(50)) == "A" * 50
            assert len(made.live.market.orders) == 450
            summaries = [each.gateway.summary() for each in (one, two)]
            assert [summary["sessions"] for summary in summaries] == [1, 1]
            assert [summary["log_ins"] for summary in summaries] == [1, 1]
            assert [summary["epoch"] for summary in summaries] == [4, 4]
            assert [summary["primary"] for summary in summaries] == [made.live.record.name] * 2

    run(scenario)


def test_a_newer_record_ends_a_connection_that_seems_well_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        made, old, new = Shard(tmp_path), SilentPrimary(), SilentPrimary()
        async with old.listening() as old_address, new.listening() as new_address:
            made.tell(PrimaryRecord("e1", 1, old_address))
            async with made.gateway(uplink=LONG):
                await old.connected()
                made.tell(PrimaryRecord("e2", 2, new_address))
                await new.connected()
                await old.left()
        await made.stop()

    run(scenario)


def test_a_newer_record_wins_while_a_connection_to_a_host_that_is_gone_is_tried(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made, new = Shard(tmp_path), SilentPrimary()
        with ExitStack() as stack:
            gone = stack.enter_context(socket.socket())
            gone.bind(LOOPBACK)
            gone.listen(0)
            # A queue of connections that nobody takes: the next ones get no answer.
            for _ in range(2):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address_of(gone))
            made.tell(PrimaryRecord("e1", 1, str(address_of(gone))))
            limits = {"connect_timeout_ns": 3_600_000_000_000}
            async with new.listening() as address, made.gateway(uplink=limits) as gateway:
                await flushes(gateway, 2)
                assert not uplink(gateway).is_connected
                made.tell(PrimaryRecord("e2", 2, address))
                await new.connected()
        await made.stop()

    run(scenario)


def test_an_older_record_or_none_at_all_does_not_end_a_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        made, primary = Shard(tmp_path), SilentPrimary()
        async with primary.listening() as address:
            record = PrimaryRecord("e2", 2, address)
            made.tell(record)
            async with made.gateway(uplink=LONG) as gateway:
                await primary.connected()
                for other in (None, PrimaryRecord("e1", 1, "127.0.0.1:1"), record):
                    made.primary = other
                    made.told[0].on_change()
                    await flushes(gateway, 2)
                    assert uplink(gateway).is_connected
        assert gateway.summary["uplink"]["connections"] == 1
        await made.stop()

    run(scenario)


def test_who_ends_the_connection_at_once_is_tried_again_until_it_is_primary(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = Shard(tmp_path)
        made.live.refuses = True
        await made.start()
        async with made.gateway() as gateway, Wire.open(gateway.address) as wire:
            wire.log_in()
            while uplink(gateway).connections < 4:
                await flushes(gateway, 1)
            made.live.refuses = False
            assert await wire.take(1) == [LoginAccepted("DEMO", 1)]
        await made.stop()

    run(scenario)


def test_a_record_that_makes_no_sense_is_waited_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            record = made.live.record
            made.tell(record._replace(commands="nowhere"))
            async with made.gateway() as gateway, Wire.open(gateway.address) as wire:
                await flushes(gateway, 2)
                made.tell(record)
                wire.log_in()
                assert await wire.take(1) == [LoginAccepted("DEMO", 1)]

    run(scenario)


def test_a_primary_that_decides_nothing_is_connected_anew_and_who_waits_is_let_in(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made, silent = Shard(tmp_path), SilentPrimary()
        async with silent.listening() as address:
            made.tell(PrimaryRecord("e1", 1, address))
            limits = {"decision_timeout_ns": 50_000_000}
            async with made.gateway(uplink=limits) as gateway, Wire.open(gateway.address) as wire:
                wire.log_in()
                for _ in range(3):
                    await silent.connected()
                await made.start()
                assert await wire.take(1) == [LoginAccepted("DEMO", 1)]
        await made.stop()

    run(scenario)


def test_a_connection_whose_primary_has_a_successor_on_the_feed_is_made_anew(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made, primary = Shard(tmp_path), SilentPrimary()
        async with primary.listening() as address:
            made.tell(PrimaryRecord("e1", 1, address))
            async with made.gateway() as gateway:
                await primary.connected()
                made.live.sender.send([packet([], 1, epoch=1)])
                while gateway.gateway.summary()["epoch"] != 1:
                    await asyncio.sleep(0)
                await flushes(gateway, 2)
                assert uplink(gateway).connections == 1
                made.live.sender.send([packet([], 1, epoch=2)])
                await primary.connected()
        await made.stop()

    run(scenario)


def test_the_primary_is_found_in_zookeeper(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = EmbeddedServer(LOOPBACK)
        await server.start()
        zookeeper = ZooKeeperSettings(hosts=str(Address(*server.address)))
        async with shard(tmp_path) as made:
            granted = asyncio.Event()
            replica = Member(
                zookeeper,
                "DEMO",
                made.feed.shard,
                "e2",
                role="replica",
                holder=True,
                on_change=granted.set,
                commands=made.live.record.commands,
            )
            replica.electable = True
            settings = settings_of(made.clients, listen=str(free_tcp_address()))
            stop, ready = asyncio.Event(), asyncio.Event()
            running = asyncio.create_task(
                process.run(
                    "g1",
                    "DEMO",
                    {1: made.sources()},
                    zookeeper,
                    settings,
                    stop,
                    ready.set,
                )
            )
            await ready.wait()
            async with Wire.open(settings.listen) as wire:
                wire.log_in()
                await replica.start()
                assert await wire.take(1) == [LoginAccepted("DEMO", 1)]
            stop.set()
            summary = await running
            await replica.stop()
        await server.stop()
        assert (summary["zookeeper"], summary["primary"]) == ("connected", "e2")

    run(scenario)
