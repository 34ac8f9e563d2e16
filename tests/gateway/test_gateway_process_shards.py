"""The gateway's process with several shards, on real sockets."""

import asyncio
from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random

import pytest

from feed.faults import FaultShares
from feed.messages import NewDay, Side
from feed.multicast import open_unicast
from gateway import seats
from gateway.client import Client
from gateway.closing import ClosingReason
from gateway.events import Accepted, Event
from gateway.process import FeedLostError
from gateway.soup import Debug, EndOfSession, ServerPacket
from tests.feed.lists import list_digest, packet
from tests.feed.sockets import LOOPBACK, address_of
from tests.gateway.exchange import SECRETS, letters
from tests.gateway.live_exchange import (
    SYMBOLS,
    LiveExchange,
    alternating,
    enter,
    exchange,
    open_wire,
    read_again,
)
from tests.gateway.live_replays import LiveSource, replays
from tests.gateway.processes import Wire, run
from tests.gateway.situations import refused

DAY = 20261122


@pytest.fixture(autouse=True)
def soon_seated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client need not wait for long for shards that do not answer."""
    monkeypatch.setattr(seats, "SEATING_NS", 50_000_000)


def orders_in(made: LiveExchange) -> dict[int, int]:
    """How many orders stand in each shard."""
    return {number: len(each.live.market.orders) for number, each in made.shards.items()}


def test_one_stream_of_orders_in_both_shards_is_the_same_on_both_gateways(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made, made.gateway() as one, made.gateway() as two:
            async with AsyncExitStack() as stack:
                alice = await open_wire(stack, one, "ALICE")
                bob = await open_wire(stack, two, "BOB")
                alice.send(alternating(1, 300))
                stream = await alice.take(300)
                assert letters(stream) == "A" * 300
                bob.send(enter(1, 1, "S"), enter(2, 2, "S"))
                assert sorted(letters(await bob.take(4))) == ["A", "A", "E", "E"]
                stream += await alice.take(2)
                assert letters(stream[300:]) == "EE"
            assert orders_in(made) == {1: 149, 2: 149}
            assert await read_again(one, 302) == stream
            assert await read_again(two, 302) == stream
        for gateway in (one, two):
            assert [*gateway.summary["shards"]] == ["1", "2"]
            for number, each in made.shards.items():
                told = gateway.summary["shards"][str(number)]
                assert told["sequence"] == each.live.last_sequence
                assert told["list_digest"] == list_digest(each.live.reign.frames)
                assert (told["epoch"], told["primary"], told["zookeeper"]) == (1, "e2", "connected")
                assert told["uplink"]["pending"] == 0

    run(scenario)


def test_a_client_resumes_on_the_other_gateway_in_the_middle_of_its_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made, made.gateway() as one, made.gateway() as two:
            async with AsyncExitStack() as stack:
                wire = await open_wire(stack, one)
                wire.send(alternating(1, 100))
                stream = await wire.take(100)
            async with AsyncExitStack() as stack:
                wire = await open_wire(stack, two, sequence=51)
                assert await wire.take(50) == stream[50:]
                wire.send(alternating(101, 150))
                stream += await wire.take(50)
            assert letters(stream) == "A" * 150
            assert await read_again(one, 150) == stream

    run(scenario)


def test_a_killed_gateway_costs_its_client_no_order_and_none_is_there_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made, made.gateway() as one, made.gateway() as two:
            addresses = [one.address, two.address]
            async with Client(addresses, "ALICE", SECRETS["ALICE"]) as alice:
                events, heard = alice.events(), list[Event]()
                victims = iter((one, two))
                for number in range(1, 201):
                    await alice.enter(SYMBOLS[1 + number % 2], Side.BUY, 100, 10_000)
                    if number == 100:
                        heard += [await anext(events) for _ in range(20)]
                        connected = next(
                            each for each in victims if each.gateway.summary()["sessions"]
                        )
                        await connected.kill()
                heard += [await anext(events) for _ in range(180)]
                accepted = [each for each in heard if isinstance(each, Accepted)]
                assert sorted(each.user_ref_num for each in accepted) == list(range(1, 201))
                assert [each.sequence for each in accepted] == list(range(1, 201))
            assert orders_in(made) == {1: 100, 2: 100}

    run(scenario)


def test_a_shard_without_a_primary_holds_up_nobody_who_is_at_home_elsewhere(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with (
            exchange(tmp_path) as made,
            made.gateway() as gateway,
            AsyncExitStack() as stack,
        ):
            alice = await open_wire(stack, gateway, "ALICE")
            bob = await open_wire(stack, gateway, "BOB")
            alice.send(alternating(1, 10))
            bob.send(enter(1, 1), enter(2, 2))
            stream = await alice.take(10)
            assert letters(await bob.take(2)) == "AA"
            await made.shards[2].live.stop()
            alice.send(enter(11, 2))
            for number in range(12, 20):
                alice.send(enter(number, 1))
                stream += await alice.take(1)
            bob.send(enter(3, 1))  # its stream goes on when its home does
            assert letters(stream) == "A" * 18
            await made.shards[2].take_over()
            stream += await alice.take(1)
            assert letters(await bob.take(1)) == "A"
            assert letters(stream) == "A" * 19
            assert orders_in(made) == {1: 15, 2: 7}

    run(scenario)


def test_takeovers_of_both_shards_lose_nothing_and_keep_the_streams_alike(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made, made.gateway() as one, made.gateway() as two:
            streams: dict[str, list[ServerPacket]] = {"ALICE": [], "BOB": []}
            async with AsyncExitStack() as stack:
                alice = await open_wire(stack, one, "ALICE")
                bob = await open_wire(stack, two, "BOB")
                for takeover in range(4):
                    shard = made.shards[1 + takeover % 2]
                    last_sequence = shard.live.last_sequence
                    shard.live.reign.commits = False
                    first = 40 * takeover + 1
                    alice.send(alternating(first, first + 39))
                    bob.send(alternating(first, first + 39))
                    while shard.live.last_sequence < last_sequence + 20:
                        await asyncio.sleep(0)
                    await shard.take_over(lost_groups=7 * takeover)
                    streams["ALICE"] += await alice.take(40)
                    streams["BOB"] += await bob.take(40)
            assert orders_in(made) == {1: 160, 2: 160}
            for name, stream in streams.items():
                assert letters(stream) == "A" * 160
                assert await read_again(one, 160, name) == stream
                assert await read_again(two, 160, name) == stream
        for gateway in (one, two):
            shards = gateway.summary["shards"]
            assert [shards[number]["epoch"] for number in ("1", "2")] == [3, 3]

    run(scenario)


def test_a_client_can_log_in_at_home_while_the_other_shard_never_had_a_primary(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = LiveExchange(tmp_path)
        await made.shards[1].start()
        async with made.gateway() as gateway, AsyncExitStack() as stack:
            alice = await open_wire(stack, gateway)
            alice.send(*(enter(number, 1) for number in range(1, 6)))
            assert letters(await alice.take(5)) == "AAAAA"
            alice.send(enter(6, 2))
            await made.shards[2].start()
            assert letters(await alice.take(1)) == "A"
        await made.stop()

    run(scenario)


def test_a_gateway_that_stops_cancels_in_every_shard_where_it_is_asked_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            exchange(tmp_path) as made,
            made.gateway() as gateway,
            AsyncExitStack() as stack,
        ):
            alice = await open_wire(stack, gateway, "ALICE")
            bob = await open_wire(stack, gateway, "BOB")
            for wire in (alice, bob):
                wire.send(alternating(1, 6))
                await wire.take(6)
            assert orders_in(made) == {1: 6, 2: 6}
            gateway.stop.set()
            farewell = [Debug(ClosingReason.GATEWAY_STOPS.text), EndOfSession()]
            assert await alice.until_closed() == farewell
            assert await bob.until_closed() == farewell
            await asyncio.wait([gateway.task])
            assert orders_in(made) == {1: 3, 2: 3}

    run(scenario)


def test_a_gateway_that_can_not_read_one_list_any_further_ends_and_names_the_shard(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = LiveExchange(tmp_path)
        await made.shards[1].start()
        made.configured[2] = made.shards[2].sources(retransmitters=[])
        farewell: list[ServerPacket] = []

        async def lose_it() -> None:
            async with made.gateway() as gateway, AsyncExitStack() as stack:
                alice = await open_wire(stack, gateway, "ALICE")
                made.shards[2].live.sender.send([packet([], 1000, shard=2, committed=999)])
                farewell.extend(await alice.until_closed())

        with pytest.raises(FeedLostError, match="of shard 2 can't be had"):
            await lose_it()
        assert farewell == [Debug(ClosingReason.FEED_LOST.text)]
        await made.stop()

    run(scenario)


def test_who_is_at_home_in_a_list_that_lags_is_not_let_in_and_the_others_are(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made, AsyncExitStack() as stack:
            silent = stack.enter_context(closing(open_unicast(LOOPBACK)))
            made.configured[2] = made.shards[2].sources([address_of(silent)])
            gateway = await stack.enter_async_context(made.gateway())
            made.shards[2].live.sender.send([packet([], 20_001, shard=2, committed=20_000)])
            subscriber = gateway.gateway.feeds.running[2]._subscriber
            while subscriber.committed_sequence < 20_000:
                await asyncio.sleep(0)
            await open_wire(stack, gateway, "ALICE")
            bob = await stack.enter_async_context(Wire.open(gateway.address))
            bob.log_in("BOB")
            assert await bob.until_closed() == refused(ClosingReason.CATCHING_UP)

    run(scenario)


def test_a_bad_network_mixes_no_shards_up_and_costs_nobody_anything(tmp_path: Path) -> None:
    async def scenario() -> None:
        faults = FaultShares(drop=0.1, duplicate=0.1, reorder=0.3).faults(Random(7))
        async with (
            exchange(tmp_path) as made,
            made.gateway(faults) as gateway,
            AsyncExitStack() as stack,
        ):
            alice = await open_wire(stack, gateway)
            for first in range(1, 201, 10):
                alice.send(alternating(first, first + 9))
                assert letters(await alice.take(10)) == "A" * 10
        for told in gateway.summary["shards"].values():
            assert told["gaps_filled"] > 0
            assert told["feed"]["other_shard"] == 0

    run(scenario)


def test_each_shard_s_feed_can_come_by_unicast(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = LiveExchange(tmp_path, by_unicast=True)
        await made.start()
        async with made.gateway() as gateway, AsyncExitStack() as stack:
            alice = await open_wire(stack, gateway)
            alice.send(alternating(1, 20))
            assert letters(await alice.take(20)) == "A" * 20
        await made.stop()

    run(scenario)


def test_a_gateway_that_starts_late_has_the_day_of_both_shards(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with exchange(tmp_path) as made, made.gateway() as first, AsyncExitStack() as stack:
            alice = await open_wire(stack, first, "ALICE")
            alice.send(alternating(1, 20))
            await alice.take(20)
            sources = {n: LiveSource(each.live.reign) for n, each in made.shards.items()}
            for number, each in made.shards.items():
                each.live.reign.sequence(NewDay(DAY), 0)
                each.live.publish()
                sources[number].day = each.live.reign.snapshot()
            assert letters(await alice.until_closed()) == "C" * 20
            alice = await open_wire(stack, first, "ALICE")
            alice.send(alternating(21, 40))
            stream = await alice.take(20)
            assert letters(stream) == "A" * 20
            ports = {n: await stack.enter_async_context(replays(s)) for n, s in sources.items()}
            made.replayed_by(ports)
            async with made.gateway() as second:
                async with Client(second.address, "BOB", SECRETS["BOB"]):
                    pass  # it tries until it is let in
                async with Client(second.address, "ALICE", SECRETS["ALICE"]):
                    pass
                assert await read_again(second, 20) == stream
        for number, each in made.shards.items():
            told = second.summary["shards"][str(number)]
            assert told["replays"]["day"]["snapshots"] == 1
            assert told["sequence"] == each.live.last_sequence

    run(scenario)
