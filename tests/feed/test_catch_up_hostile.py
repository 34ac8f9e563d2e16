"""Getting over a long gap where sources are bad, slow or gone: another one is asked."""

import asyncio
import time

import pytest

from feed.catch_up import CatchUpPolicy
from feed.datagrams import Replay, encode_replay
from feed.replay import answer_replay, message
from feed.schema import ReplayKind
from feed.settings import Address
from feed.snapshot import WholeSnapshot
from tests.feed.late import (
    ANSWER,
    FRAMES,
    IMPATIENT,
    SNAPSHOT_AT,
    Late,
    acting,
    announce,
    hostile,
    saying,
    serving,
    snapshot_source,
    trickling,
)
from tests.feed.listening import run
from tests.feed.lists import SHARD, packet
from tests.feed.replays import (
    EPOCH,
    Source,
)


@pytest.mark.parametrize(
    "what",
    [
        *("cut off", "closes at once", "rubbish", "damaged", "other shard", "older epoch"),
        *("out of order", "lacks it", "unasked snapshot"),
    ],
)
def test_the_next_source_is_asked_when_one_is_of_no_use(what: str) -> None:
    async def scenario() -> None:
        async with saying(hostile(what)) as bad, serving(Source(FRAMES)) as (port,):
            failures = 0
            for seed in range(4):  # in either order
                late = Late([bad, port.address], seed=seed)
                assert await late.catch_up.catch_up()
                assert late.frames == FRAMES
                failures += late.catch_up.counters.failures
            assert 0 < failures < 4

    assert run(scenario) == []


@pytest.mark.parametrize("what", ["cut off", "rubbish", "damaged", "out of order"])
def test_nothing_that_is_not_sound_is_delivered(what: str) -> None:
    async def scenario() -> None:
        async with saying(hostile(what)) as bad:
            late = Late([bad])
            assert not await late.catch_up.catch_up()
            assert late.frames == FRAMES[: len(late.frames)]
            assert late.catch_up.last_failure is not None
            assert late.catch_up.last_failure.startswith(f"{bad}: it ")

    assert run(scenario) == []


@pytest.mark.parametrize("size", [0, 10, 70_000])
def test_a_source_that_stalls_is_left(size: int) -> None:
    async def scenario() -> None:
        async with saying(ANSWER[:size], hangs=True) as silent:
            late = Late([silent], policy=IMPATIENT)
            assert not await late.catch_up.catch_up()
            assert late.catch_up.last_failure == f"{silent}: it is silent"
            assert late.frames == FRAMES[: len(late.frames)]

    assert run(scenario) == []


@pytest.mark.parametrize("size", [1, 500])
def test_a_source_that_drips_is_as_good_as_silent(size: int) -> None:
    frames = [message(packet([FRAMES[n - 1]], n, epoch=EPOCH, flags=2)) for n in range(1, 1001)]
    small_messages = announce(1, 1000) + b"".join(frames)  # each of them is sound

    async def scenario() -> None:
        async with acting(trickling(small_messages, size, 0.005)) as address:
            late = Late([address], policy=IMPATIENT)
            assert not await late.catch_up.catch_up()
            assert late.catch_up.last_failure == f"{address}: it is silent"

    assert run(scenario) == []


def test_a_source_that_is_slow_may_take_longer_than_one_that_stalls() -> None:
    async def scenario() -> None:
        policy = CatchUpPolicy(long_gap_frames=100, stall_ns=300_000_000)
        async with acting(trickling(ANSWER, 8_000, 0.02)) as address:
            late = Late([address], policy=policy)
            began_ns = time.monotonic_ns()
            assert await late.catch_up.catch_up()
            assert late.frames == FRAMES
            assert time.monotonic_ns() - began_ns > policy.stall_ns

    assert run(scenario) == []


def test_time_that_the_reader_takes_itself_is_not_the_sources() -> None:
    ask = encode_replay(Replay(ReplayKind.DAY, SHARD, EPOCH, 1))
    sent = [*answer_replay(ask, snapshot_source())]
    at = len(sent) - 3  # before it goes on with the list
    was_taken = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(sent[:at]))
        await was_taken.wait()
        await asyncio.sleep(0.005)
        writer.write(b"".join(sent[at:]))

    async def scenario() -> None:
        async with acting(wait) as address:
            late = Late([address], ReplayKind.DAY, policy=IMPATIENT)
            taken = late.take_snapshot

            def take_slowly(snapshot: WholeSnapshot) -> None:
                until_ns = time.monotonic_ns() + 2 * IMPATIENT.stall_ns
                while time.monotonic_ns() < until_ns:
                    pass
                taken(snapshot)
                was_taken.set()

            late.catch_up._on_snapshot = take_slowly
            while not late.snapshots:  # where the machine is too busy for so little patience
                await late.catch_up.catch_up()
            assert late.frames == FRAMES[SNAPSHOT_AT:]

    assert run(scenario) == []


def test_a_source_that_nobody_listens_at_or_knows_is_passed_over() -> None:
    async def scenario() -> None:
        async with serving(Source(FRAMES)) as (port, *_), serving(Source(FRAMES)) as (gone,):
            await gone.stop()
            nowhere = Address("no-such-host.invalid", 1)
            for seed in range(4):
                late = Late([gone.address, nowhere, port.address], seed=seed)
                assert await late.catch_up.catch_up()
                assert late.frames == FRAMES

    assert run(scenario) == []
