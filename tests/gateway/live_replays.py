"""A holder of tests that answers replays over TCP from a primary's list."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from feed.replay import SourceSnapshot
from feed.replay_port import ReplayPort
from feed.run import Run, run_of_frames
from feed.snapshot import WholeSnapshot
from tests.feed.sockets import LOOPBACK
from tests.gateway.reigns import Reign


class LiveSource:
    """The list of a reign, from a frame on, and the snapshot that its day began with."""

    def __init__(self, reign: Reign) -> None:
        self.reign = reign
        self.first_sequence = 1  # what comes before is not held any more
        self.day: WholeSnapshot | None = None
        self.is_recovering = False  # it does not know what is committed yet

    @property
    def shard(self) -> int:
        return self.reign.shard

    @property
    def epoch(self) -> int:
        return self.reign.epoch

    @property
    def committed_sequence(self) -> int:
        return 0 if self.is_recovering else self.reign.committed_sequence

    def runs(self, first: int, last: int) -> list[Run]:
        if first < self.first_sequence:
            return []
        return [run_of_frames(first, self.reign.frames[first - 1 : last])]

    def newest_snapshot(self) -> SourceSnapshot | None:
        return None

    def day_snapshot(self) -> SourceSnapshot | None:
        if self.day is None or self.is_recovering:
            return None
        return SourceSnapshot(self.day.head.sequence, self.day.chunks)


@asynccontextmanager
async def replays(source: LiveSource) -> AsyncIterator[ReplayPort]:
    """A port that answers from this source."""
    port = ReplayPort(LOOPBACK, source)
    port.start()
    try:
        yield port
    finally:
        await port.stop()
