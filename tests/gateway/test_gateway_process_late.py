"""A gateway on real sockets that starts late in a day, or falls far behind the list."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from feed.catch_up import LONG_GAP_FRAMES
from feed.digest import BLOCK_FRAMES
from feed.messages import NewDay, SetTradingState, Side, TradingState
from feed.multicast import open_unicast
from gateway.client import Client
from gateway.client_errors import SessionEnded
from gateway.closing import ClosingReason
from gateway.events import Accepted, Event, SessionBegan
from tests.feed.lists import list_digest
from tests.feed.sockets import LOOPBACK, address_of
from tests.gateway.exchange import SECRETS
from tests.gateway.groups import ALICE
from tests.gateway.live_replays import LiveSource, replays
from tests.gateway.processes import Running, Shard, Wire, run, shard
from tests.gateway.situations import refused

DAY = 20261122


def lengthen(made: Shard, frames: int) -> None:
    """Makes the list so much longer by commands that are refused: each makes two frames."""
    nothing = SetTradingState(b"NOTHING ", TradingState.HALTED)
    for _ in range(frames // 2):
        made.live.reign.sequence(nothing, time.time_ns())


def begin_day(made: Shard, source: LiveSource) -> None:
    made.live.reign.sequence(NewDay(DAY), time.time_ns())
    made.live.publish()
    source.day = made.live.reign.snapshot()


def client(gateway: Running, name: str = "ALICE") -> Client:
    return Client(gateway.address, name, SECRETS[name])


async def trade(client: Client, events: AsyncGenerator[Event, None], count: int) -> None:
    """Enters so many orders, each when the one before it is on the book."""
    for _ in range(count):
        number = await client.enter("AAPL", Side.BUY, 100, 10_000)
        async for event in events:
            if isinstance(event, Accepted) and event.user_ref_num == number:
                break


async def keep_trading(
    client: Client, events: AsyncGenerator[Event, None], stop: asyncio.Event
) -> None:
    while not stop.is_set():
        await trade(client, events, 10)


async def note(client: Client, heard: list[Event]) -> None:
    """Adds all that a client is told, until it can't go on."""
    async for event in client.events():
        heard.append(event)


def stream(gateway: Running) -> bytes:
    return gateway.gateway.gateway.stream_of(ALICE).read(1, 1 << 30).data


def replays_of(gateway: Running, kind: str) -> dict[str, Any]:
    counters: dict[str, Any] = gateway.summary["replays"][kind]
    return counters


def test_a_gateway_that_starts_late_under_load_has_the_day_as_one_that_was_there(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as first:
            source = LiveSource(made.live.reign)
            async with client(first) as alice, replays(source) as port:
                events = alice.events()
                await trade(alice, events, 10)
                lengthen(made, 2 * BLOCK_FRAMES)
                begin_day(made, source)
                async for event in events:
                    if isinstance(event, SessionBegan):
                        assert event == SessionBegan(str(DAY), "DEMO", False)
                        break
                await trade(alice, events, 100)
                stop = asyncio.Event()
                load = asyncio.create_task(keep_trading(alice, events, stop))
                async with made.gateway(holders=[port.address]) as second:
                    async with client(second, "BOB") as bob:  # until it is let in
                        assert bob.session == str(DAY)
                        stop.set()
                        await load
                        await trade(bob, bob.events(), 1)
                    assert stream(second) == stream(first) != b""
                    assert second.gateway.gateway.days_of(ALICE).before is None
        assert replays_of(second, "day")["snapshots"] == 1
        for gateway in (first, second):
            assert gateway.summary["list_digest"] == list_digest(made.live.reign.frames)
            assert gateway.summary["day"] == DAY

    run(scenario)


def test_a_client_that_reads_later_is_told_each_event_s_session_and_number(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as gateway, client(gateway) as alice:
            assert (alice.session, alice.next_sequence) == ("DEMO", 1)
            events = alice.events()
            await trade(alice, events, 2)
            begin_day(made, LiveSource(made.live.reign))
            while alice.unread_count < 3 or not alice.is_open:  # two expire, and the day begins
                await asyncio.sleep(0)
            for _ in range(2):
                await alice.enter("AAPL", Side.BUY, 100, 10_000)
            while alice.unread_count < 5:
                await asyncio.sleep(0)
            places, heard = [], []
            for _ in range(5):
                places.append((alice.session, alice.next_sequence))
                heard.append(await anext(events))
            assert [event.sequence for event in heard] == [3, 4, 0, 1, 2]
            day = str(DAY)
            assert places == [("DEMO", 3), ("DEMO", 4), (day, 1), (day, 1), (day, 2)]
            assert (alice.session, alice.next_sequence) == (day, 3)

    run(scenario)


def test_a_client_that_kept_its_place_gets_the_rest_of_that_day_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made, made.gateway() as gateway:
            async with client(gateway) as alice:
                await trade(alice, alice.events(), 2)
                kept: dict[str, Any] = {
                    "session": alice.session,
                    "next_sequence": alice.next_sequence,
                }
            begin_day(made, LiveSource(made.live.reign))
            heard: list[Event] = []
            async with Client(gateway.address, "ALICE", SECRETS["ALICE"], **kept) as alice:
                with pytest.raises(SessionEnded, match=f"the session is now {DAY}"):
                    await note(alice, heard)
                with pytest.raises(SessionEnded):
                    await alice.enter("AAPL", Side.BUY, 100, 10_000)
            assert [event.sequence for event in heard] == [3, 4]

    run(scenario)


def test_a_gateway_without_a_snapshot_has_the_list_from_its_first_frame_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            source = LiveSource(made.live.reign)
            async with made.gateway() as first, client(first) as alice:
                await trade(alice, alice.events(), 100)
            with closing(open_unicast(LOOPBACK)) as silent:  # no NAK is answered
                async with (
                    replays(source) as port,
                    made.gateway(
                        holders=[port.address], retransmitters=[address_of(silent)]
                    ) as second,
                    client(second) as alice,
                ):
                    events = alice.events()
                    heard = [await anext(events) for _ in range(100)]
                    assert [event.sequence for event in heard] == list(range(1, 101))
        assert replays_of(second, "day")["answers"] == 1
        assert second.summary["list_digest"] == list_digest(made.live.reign.frames)

    run(scenario)


def test_a_gateway_that_starts_before_the_replicas_have_recovered_waits_for_them(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            source = LiveSource(made.live.reign)
            async with made.gateway() as first, client(first) as alice:
                await trade(alice, alice.events(), 20)
            begin_day(made, source)
            source.is_recovering = True
            async with replays(source) as port, made.gateway(holders=[port.address]) as second:
                while not (port.counters.answered and second.gateway.summary()["epoch"]):
                    await asyncio.sleep(0)
                source.is_recovering = False
                async with client(second) as alice:
                    assert alice.session == str(DAY)
        # All the time it could have had the list from its first frame on, by NAKs.
        assert replays_of(second, "day")["snapshots"] == 1
        assert second.summary["feed"]["naks_sent"] == 0

    run(scenario)


def test_a_gateway_that_no_holder_answers_starts_with_what_naks_bring(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            async with made.gateway() as first, client(first) as alice:
                await trade(alice, alice.events(), 10)
            with closing(open_unicast(LOOPBACK)) as nobody:
                address = address_of(nobody)
            async with made.gateway(holders=[address]) as second, client(second) as alice:
                await trade(alice, alice.events(), 1)
        assert replays_of(second, "day")["failures"] >= 1
        assert second.summary["sequence"] == made.live.last_sequence

    run(scenario)


def test_a_gateway_that_falls_far_behind_later_catches_up_and_tells_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with shard(tmp_path) as made:
            source, reign = LiveSource(made.live.reign), made.live.reign
            async with (
                replays(source) as port,
                made.gateway(holders=[port.address]) as gateway,
                client(gateway) as alice,
            ):
                events = alice.events()
                await trade(alice, events, 5)
                lengthen(made, LONG_GAP_FRAMES + 2)
                reign.flush()  # none of it is sent
                await trade(alice, events, 5)
        assert replays_of(gateway, "gaps")["answers"] >= 1
        assert gateway.summary["list_digest"] == list_digest(reign.frames)

    run(scenario)


def test_nobody_is_let_in_while_a_holder_is_asked_what_the_day_began_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        with closing(socket.create_server(LOOPBACK)) as silent:
            async with (
                shard(tmp_path) as made,
                made.gateway(holders=[address_of(silent)]) as gateway,
                Wire.open(gateway.address) as wire,
            ):
                wire.log_in()
                assert await wire.until_closed() == refused(ClosingReason.CATCHING_UP)

    run(scenario)
