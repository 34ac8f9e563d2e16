"""A gateway's process that learns from ZooKeeper which shards there are, and where all is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from feed.messages import Side
from feed.multicast import open_unicast
from feed.settings import Address
from gateway import process, seats, shard_feeds
from gateway.client import Client
from gateway.closing import ClosingReason
from gateway.events import Accepted
from gateway.soup import ServerPacket
from tests.feed.sockets import LOOPBACK, address_of
from tests.gateway.exchange import SECRETS, letters
from tests.gateway.live_exchange import (
    SYMBOLS,
    LiveExchange,
    enter,
    exchange,
    open_wire,
    read_again,
)
from tests.gateway.processes import Wire, free_tcp_address, run, settings_of
from tests.gateway.situations import refused
from zk.directory_client import DirectoryClient
from zk.embedded import EmbeddedServer
from zk.membership import Member
from zk.settings import ZooKeeperSettings


@pytest.fixture(autouse=True)
def soon_seated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client need not wait for long for shards that do not answer."""
    monkeypatch.setattr(seats, "SEATING_NS", 50_000_000)


@asynccontextmanager
async def server(address: Address) -> AsyncIterator[EmbeddedServer]:
    """ZooKeeper, once a test starts it."""
    made = EmbeddedServer(address)
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def primary(
    made: LiveExchange, number: int, zookeeper: ZooKeeperSettings
) -> AsyncIterator[Member]:
    """The replica of a shard, as far as ZooKeeper knows of it."""
    replica = Member(
        zookeeper,
        "DEMO",
        number,
        "e2",
        role="replica",
        holder=True,
        on_change=lambda: None,
        commands=made.shards[number].live.record.commands,
    )
    replica.electable = True
    await replica.start()
    try:
        yield replica
    finally:
        await replica.stop()


class Ran:
    """A gateway as `run` runs it, and what it said at its end."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.summary: dict[str, Any] = {}


@asynccontextmanager
async def gateway(made: LiveExchange, zookeeper: ZooKeeperSettings) -> AsyncIterator[Ran]:
    """A gateway that is given the exchange's first directory."""
    settings = settings_of(made.clients, listen=str(free_tcp_address()))
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(
        process.run(
            "g1",
            "DEMO",
            dict(made.configured),
            zookeeper,
            settings,
            stop,
            ready.set,
            None,
            made.reload,
            made.directory,
        )
    )
    await ready.wait()
    ran = Ran(settings.listen)
    try:
        yield ran
    finally:
        stop.set()
        ran.summary = await running


def test_nobody_is_let_in_before_zookeeper_has_said_which_shards_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_feeds, "RELOAD_SECONDS", 0.01)

    async def scenario() -> None:
        address = free_tcp_address()
        zookeeper = ZooKeeperSettings(hosts=str(address))
        with capture_logs() as logs:
            async with (
                exchange(tmp_path) as made,
                gateway(made, zookeeper) as ran,
                Wire.open(ran.address) as wire,
            ):
                wire.log_in()
                assert await wire.until_closed() == refused(ClosingReason.CATCHING_UP)
                while not (warnings := [log for log in logs if log["log_level"] == "warning"]):
                    await asyncio.sleep(0)
        assert "ZooKeeper has not said yet" in warnings[0]["event"]
        assert ran.summary["shards"] == {}
        assert ran.summary["closed"] == {"catching_up": 1}

    run(scenario)


async def trade_in_a_third_shard(
    made: LiveExchange,
    zookeeper: ZooKeeperSettings,
    ran: Ran,
    replicas: list[Member],
    stack: AsyncExitStack,
) -> None:
    """A client trades in two shards, and in one more once the directory names it."""
    async with (
        Client(ran.address, "ALICE", SECRETS["ALICE"]) as alice,
        DirectoryClient(zookeeper, "DEMO") as directory,
    ):
        events = alice.events()
        for number in (1, 2):
            await alice.enter(SYMBOLS[number], Side.BUY, 100, 10_000)
            event = await anext(events)
            assert isinstance(event, Accepted)
            assert event.symbol == SYMBOLS[number]
        await made.add_shard(3)
        replicas.append(await stack.enter_async_context(primary(made, 3, zookeeper)))
        made.configured[3] = made.shards[3].sources()
        assert await directory.read() == made.directory
        await directory.change(lambda old: old.add_shard(3).add_symbol(SYMBOLS[3], 3))
        while not isinstance(event, Accepted) or event.symbol != SYMBOLS[3]:
            await alice.enter(SYMBOLS[3], Side.BUY, 100, 10_000)
            event = await anext(events)  # its home rejects it until the gateway knows better


def test_all_shards_are_found_in_zookeeper_and_those_that_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_feeds, "RELOAD_SECONDS", 0.01)

    async def scenario() -> None:
        address = free_tcp_address()
        zookeeper = ZooKeeperSettings(hosts=str(address))
        async with (
            exchange(tmp_path) as made,
            server(address) as started_late,
            AsyncExitStack() as stack,
        ):
            replicas = []
            async with gateway(made, zookeeper) as ran:
                await started_late.start()
                for number in made.shards:
                    replica = primary(made, number, zookeeper)
                    replicas.append(await stack.enter_async_context(replica))
                await trade_in_a_third_shard(made, zookeeper, ran, replicas, stack)
                while not all("g1" in replica.members for replica in replicas):
                    await asyncio.sleep(0)
            while any("g1" in replica.members for replica in replicas):
                await asyncio.sleep(0)
        shards = ran.summary["shards"]
        assert [*shards] == ["1", "2", "3"]
        for each in shards.values():
            assert (each["primary"], each["zookeeper"]) == ("e2", "connected")

    run(scenario)


def test_a_shard_that_appears_is_heard_while_trading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_feeds, "RELOAD_SECONDS", 0.01)

    async def keep_trading(wire: Wire, heard: list[ServerPacket], stop: asyncio.Event) -> None:
        for number in count(1):
            if stop.is_set():
                return
            wire.send(enter(number, 1 + number % 2))
            (answer,) = await wire.take(1)
            heard.append(answer)

    async def scenario() -> None:
        async with (
            exchange(tmp_path) as made,
            made.gateway() as one,
            made.gateway() as two,
            AsyncExitStack() as stack,
        ):
            alice = await open_wire(stack, one, "ALICE")
            bob = await open_wire(stack, two, "BOB")
            heard, stop = list[ServerPacket](), asyncio.Event()
            load = asyncio.create_task(keep_trading(bob, heard, stop))
            await made.add_shard(3)
            with capture_logs() as logs:
                made.tell(made.directory.add_shard(3).add_symbol(SYMBOLS[3], 3))
                alice.send(enter(1, 1))
                assert letters(await alice.take(1)) == "A"
                while not [log for log in logs if log["log_level"] == "error"]:
                    await asyncio.sleep(0)
                made.configured[3] = made.shards[3].sources()
                alice.send(enter(2, 3))
                assert letters(await alice.take(1)) == "A"
            errors = [log for log in logs if log["log_level"] == "error"]
            assert [error["shard"] for error in errors] == [3, 3]  # each gateway says so once
            assert all("[shards.3]" in error["event"] for error in errors)
            stop.set()
            await load
            assert letters(heard) == "A" * len(heard) != ""
            assert await read_again(two, 2) == await read_again(one, 2)
        assert [*one.summary["shards"]] == [*two.summary["shards"]] == ["1", "2", "3"]

    run(scenario)


def test_a_configuration_that_can_not_be_read_keeps_a_new_shard_out_until_it_can(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made:
            await made.add_shard(3)
            with capture_logs() as logs, closing(open_unicast(LOOPBACK)) as silent:
                async with made.gateway() as gateway, AsyncExitStack() as stack:
                    alice = await open_wire(stack, gateway)
                    made.misread = "line 3 is no TOML"
                    made.tell(made.directory.add_shard(3).add_symbol(SYMBOLS[3], 3))
                    alice.send(enter(1, 1))
                    assert letters(await alice.take(1)) == "A"
                    made.misread = ""
                    made.configured[3] = made.shards[3].sources([address_of(silent)] * 2)
                    made.tell(made.directory.add_symbol("SOON", 3))
                    alice.send(enter(2, 1))
                    assert letters(await alice.take(1)) == "A"
                    made.configured[3] = made.shards[3].sources()
                    made.tell(made.directory.add_symbol("NOW", 3))
                    alice.send(enter(3, 3))
                    assert letters(await alice.take(1)) == "A"
            errors = [log["why"] for log in logs if log["log_level"] == "error"]
            assert errors[0] == "line 3 is no TOML"
            assert "listed twice" in errors[1]
            assert len(errors) == 2

    run(scenario)


def test_an_address_that_is_taken_ends_a_gateway_that_learns_of_its_shards(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = LiveExchange(tmp_path, by_unicast=True)
        await made.start()
        receive = made.configured[2].receive
        assert receive is not None

        async def learn() -> None:
            async with made.gateway(directory=process.NO_DIRECTORY) as gateway:
                made.tell(made.directory)
                await asyncio.wait([gateway.task])

        with closing(open_unicast(receive)), pytest.raises(OSError, match="already in use"):
            await learn()
        await made.stop()

    run(scenario)
