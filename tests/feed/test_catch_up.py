"""Getting over a long gap, on real sockets: when it begins and ends, and what comes of it."""

import asyncio

import pytest

from feed.catch_up import CatchUpPolicy
from feed.replay import SourceSnapshot
from feed.run import Run
from feed.schema import ReplayKind
from tests.feed.late import (
    ANSWER,
    FRAMES,
    SNAPSHOT_AT,
    Late,
    hostile,
    saying,
    serving,
    snapshot_source,
    until,
)
from tests.feed.listening import run
from tests.feed.lists import packet
from tests.feed.replays import (
    EPOCH,
    Source,
)


def test_a_long_gap_is_closed_and_naks_are_held_back_meanwhile() -> None:
    async def scenario() -> None:
        async with serving(Source(FRAMES[:-1])) as (port,):
            late = Late([port.address])
            assert late.catch_up.is_far_behind
            assert await late.catch_up.catch_up()
            assert late.frames == FRAMES
            assert late.held == [True, False]
            assert not late.catch_up.is_far_behind
            counters = late.catch_up.counters
            assert (counters.answers, counters.failures, counters.snapshots) == (1, 0, 0)
            assert counters.bytes_received == port.counters.bytes_sent

    assert run(scenario) == []


@pytest.mark.parametrize("kind", [ReplayKind.STATE, ReplayKind.DAY])
def test_a_snapshot_is_handed_over_and_the_list_goes_on_after_it(kind: ReplayKind) -> None:
    source = snapshot_source(first_sequence=SNAPSHOT_AT)

    async def scenario() -> None:
        async with serving(source) as (port,):
            late = Late([port.address], kind)
            assert await late.catch_up.catch_up()
            assert source.day is not None
            assert late.snapshots == [(SNAPSHOT_AT, b"".join(source.day.chunks()))]
            assert late.frames == FRAMES[SNAPSHOT_AT:]
            assert late.catch_up.counters.snapshots == 1

    assert run(scenario) == []


def test_a_large_snapshot_waits_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feed.catch_up.SPOOL_BYTES", 1000)
    test_a_snapshot_is_handed_over_and_the_list_goes_on_after_it(ReplayKind.DAY)


def test_no_snapshot_is_asked_for_where_nobody_wants_one() -> None:
    async def scenario() -> None:
        async with serving(snapshot_source()) as (port,):
            late = Late([port.address], ReplayKind.DAY, snapshots=False)
            assert await late.catch_up.catch_up()
            assert late.frames == FRAMES

    assert run(scenario) == []


def test_a_snapshot_that_is_refused_leads_to_the_next_source() -> None:
    async def scenario() -> None:
        async with serving(snapshot_source(), snapshot_source()) as ports:
            late = Late([port.address for port in ports], ReplayKind.DAY, refuses=True)
            assert not await late.catch_up.catch_up()
            assert late.catch_up.counters.failures == 2
            assert "not liked here" in str(late.catch_up.last_failure)
            assert late.frames == []
            assert late.held == [True, False]

    assert run(scenario) == []


def test_a_snapshot_from_before_what_came_meanwhile_is_not_used() -> None:
    class Meanwhile(Source):
        """While it answers, the receiver gets the first frames from elsewhere."""

        late: Late

        def day_snapshot(self) -> SourceSnapshot | None:
            self.late.take(self.late.receiver.on_datagram(EARLY, 0))
            return self.day

    early = SNAPSHOT_AT + 5
    EARLY = packet(FRAMES[:early], 1, epoch=EPOCH)
    source = Meanwhile(FRAMES)
    source.day = snapshot_source().day

    async def scenario() -> None:
        async with serving(source) as (port,):
            source.late = late = Late([port.address], ReplayKind.DAY)
            assert await late.catch_up.catch_up()
            assert late.snapshots == []
            assert late.frames == FRAMES

    assert run(scenario) == []


def test_a_later_source_goes_on_where_the_one_before_it_broke_off() -> None:
    class Watched(Source):
        pass

    watched = Watched(FRAMES)

    async def scenario() -> None:
        async with saying(ANSWER[:-50_000]) as bad, serving(watched) as (port,):
            late = Late([bad, port.address])
            while not late.catch_up.counters.failures:
                watched.asked.clear()
                late = Late([bad, port.address], seed=len(watched.frames) + late.receiver.epoch)
                late.catch_up._random.seed(next(SEEDS))
                assert await late.catch_up.catch_up()
            assert late.frames == FRAMES
            assert watched.asked[0][0] > 500

    SEEDS = iter(range(100))
    assert run(scenario) == []


def test_it_runs_when_it_is_woken_and_the_gap_is_long() -> None:
    async def scenario() -> None:
        source = Source(FRAMES, committed=500)
        async with serving(source) as (port,):
            late = Late([port.address], heard=0)
            running = asyncio.ensure_future(late.catch_up.run())
            await asyncio.sleep(0)
            late.hear(90)
            late.catch_up.wake()  # not a long one
            for _ in range(3):
                await asyncio.sleep(0)
            assert late.held == []
            late.hear(500)
            late.catch_up.wake()
            await until(lambda: len(late.frames) == 500)
            await until(lambda: late.held == [True, False])
            source.committed_sequence = len(FRAMES)
            late.hear(len(FRAMES))
            assert len(late.frames) == 500
            late.catch_up.wake()
            await until(lambda: late.frames == FRAMES)
            await until(lambda: late.held == [True, False] * 2)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    assert run(scenario) == []


def test_at_once_it_asks_before_it_knows_of_a_gap() -> None:
    async def scenario() -> None:
        async with serving(Source(FRAMES)) as (port,):
            late = Late([port.address], heard=0)
            running = asyncio.ensure_future(late.catch_up.run(at_once=True))
            await until(lambda: late.frames == FRAMES)
            running.cancel()

    assert run(scenario) == []


def test_it_tries_again_until_a_source_is_there() -> None:
    async def scenario() -> None:
        async with saying(hostile("lacks it"), hostile("rubbish"), ANSWER) as source:
            late = Late([source])
            running = asyncio.ensure_future(late.catch_up.run())
            await until(lambda: late.frames == FRAMES)
            assert late.catch_up.counters.failures == 2
            running.cancel()

    assert run(scenario) == []


def test_a_source_that_has_no_more_is_not_asked_without_a_pause() -> None:
    async def scenario() -> None:
        policy = CatchUpPolicy(long_gap_frames=100, retry_after_ns=3600 * 10**9)
        async with serving(Source(FRAMES, committed=0)) as (port,):
            late = Late([port.address], policy=policy)  # all of it is there, and not committed
            running = asyncio.ensure_future(late.catch_up.run())
            await until(lambda: late.held == [True, False])
            for _ in range(50):
                late.catch_up.wake()
                await asyncio.sleep(0)
            assert port.counters.connections == 1
            running.cancel()

    assert run(scenario) == []


def test_cancelling_in_the_middle_leaves_nothing_open_and_naks_free() -> None:
    async def scenario() -> None:
        async with saying(ANSWER[:70_000], hangs=True) as source:
            late = Late([source])
            running = asyncio.ensure_future(late.catch_up.run())
            await until(lambda: bool(late.frames))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert late.held == [True, False]

    assert run(scenario) == []


def test_what_the_owner_raises_ends_it() -> None:
    async def scenario() -> None:
        async with serving(Source(FRAMES)) as (port,):
            late = Late([port.address])
            error = OSError("the owner's own trouble")

            def fail(_: Run) -> None:
                raise error

            late.catch_up._deliver = fail
            with pytest.raises(OSError, match="own trouble"):
                await late.catch_up.run()
            assert late.held == [True, False]

    assert run(scenario) == []


def test_a_new_epoch_that_is_heard_meanwhile_makes_the_rest_of_an_answer_stale() -> None:
    async def scenario() -> None:
        async with serving(Source(FRAMES)) as (port,):
            late = Late([port.address])

            def take(delivered: Run) -> None:
                if not late.frames:
                    data = packet((), len(FRAMES), committed=0, epoch=EPOCH + 1, flags=1)
                    late.receiver.on_datagram(data, 0)
                late.take(delivered)

            late.catch_up._deliver = take
            assert not await late.catch_up.catch_up()
            assert late.catch_up.last_failure is not None
            assert f"could not be read on at {len(late.frames) + 1}" in late.catch_up.last_failure
            assert len(late.frames) < len(FRAMES) - 1
            assert late.frames == FRAMES[: len(late.frames)]

    assert run(scenario) == []


def test_progress_is_told_from_where_it_began_to_where_the_list_goes() -> None:
    async def scenario() -> None:
        policy = CatchUpPolicy(long_gap_frames=100, progress_interval_ns=0)
        async with serving(Source(FRAMES)) as (port,):
            late = Late([port.address], policy=policy)
            late.hear(1)
            assert await late.catch_up.catch_up()
            total = len(FRAMES) - 1
            assert late.progress[-1] == (total, total)
            assert late.progress == sorted(late.progress)
            assert {last for _, last in late.progress} == {total}
            quiet = Late([port.address])
            assert await quiet.catch_up.catch_up()
            assert quiet.progress == []  # done within a second

    assert run(scenario) == []
