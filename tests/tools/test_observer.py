"""The observer that begins with a snapshot: its books, its digest, and what it says of both."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from feed.digest import ListDigest
from feed.replay import SourceSnapshot
from feed.replay_port import ReplayPort
from feed.run import run_of_frames
from feed.schema import ReplayKind
from tests.feed.lists import frames_up_to
from tests.feed.replays import FEW, Source, snapshot_of
from tests.tools.test_subscribe import configured
from tools.observer import Observer

FRAMES = frames_up_to(1100)


@pytest.mark.parametrize("begin", [ReplayKind.STATE, ReplayKind.DAY])
def test_an_observer_goes_on_from_a_snapshot(tmp_path: Path, begin: ReplayKind) -> None:
    configuration, _, own = configured(tmp_path)
    at = 1090
    source = Source(FRAMES, first_sequence=at)
    source.day = source.newest = SourceSnapshot(at, lambda: [snapshot_of(FRAMES, at)])
    begun: list[int] = []

    async def scenario() -> None:
        arrived = asyncio.Event()
        port = ReplayPort(configuration.replicas["e1"].repair, source)
        port.start()
        observer = Observer(
            configuration,
            receive=own,
            begin=begin,
            on_groups=lambda _: arrived.set() if observer.sequence == len(FRAMES) else None,
            on_snapshot=begun.append,
        )
        with closing(observer):
            observer.start()
            await observer.watch_until(arrived, within_s=20)
        await port.stop()
        digest = ListDigest()
        digest.update(run_of_frames(1, FRAMES))
        assert begun == [at]
        assert observer.books.order_count == FEW + len(FRAMES) - at
        summary = observer.summary()
        assert (summary["sequence"], summary["frames"]) == (len(FRAMES), len(FRAMES) - at)
        assert summary["list_digest"] == digest.hex()
        assert not observer.is_catching_up

    asyncio.run(scenario())
