"""The receiving processes of the suite `feed`: a subscriber, or one that looks at nothing."""

import asyncio
import contextlib
import time
from multiprocessing.connection import Connection
from random import Random
from typing import Any, NamedTuple

from feed.checksum import crc32c
from feed.listener import Listener
from feed.multicast import open_receiver
from feed.settings import FeedSettings
from feed.subscriber import Groups, Subscriber
from tools.bench import raw
from tools.bench.apart import Say


class Job(NamedTuple):
    """What to receive in one round."""

    settings: FeedSettings
    is_raw: bool
    total: int  # packets where it is raw, else frames
    takes_digest: bool  # of the frames, which costs as much as a tenth of the feed
    within_s: float  # when to give up


class Received(NamedTuple):
    """What came of it."""

    packets: int
    cpu_ns: int
    frames: int = 0  # whole committed groups of them; none where it was raw
    digest: int = 0  # the CRC-32C of these frames, back to back, where it was asked for


def serve(
    say: Say[Received | None], jobs: Connection, progress: Any, place: int
) -> Received | None:
    """Do one job after the other, until there are no more: None when ready, then what came of it.

    `progress` is memory shared with the sender: at `place`, how much of the job is done.
    """
    counts = memoryview(progress).cast("B").cast("Q")
    while True:
        try:
            job: Job = jobs.recv()
        except EOFError:
            return None
        say(
            _receive_raw(say, job, counts, place)
            if job.is_raw
            else _subscribe(say, job, counts, place)
        )


def _receive_raw(say: Say[Received | None], job: Job, progress: memoryview, place: int) -> Received:
    read_bytes = job.settings.payload_limit_bytes + 1
    with open_receiver(job.settings) as opened:
        say(None)
        start_ns = time.thread_time_ns()
        received = raw.receive_packets(opened, job.total, read_bytes, progress, place, job.within_s)
        return Received(received, time.thread_time_ns() - start_ns)


def _subscribe(say: Say[Received | None], job: Job, progress: memoryview, place: int) -> Received:
    subscription = _Subscription(job, progress, place)
    return asyncio.run(subscription.run(say))


class _Subscription:
    """A subscriber behind the listener of production, which nobody answers when it lacks frames."""

    def __init__(self, job: Job, progress: memoryview, place: int) -> None:
        self._job = job
        self._progress = progress
        self._place = place
        self._digest = 0
        self._subscriber = Subscriber(
            shard=job.settings.shard, source_count=0, random=Random(place)
        )
        self._listener = Listener(job.settings, self._subscriber, [], self._deliver)
        self._is_done = asyncio.Event()

    async def run(self, say: Say[Received | None]) -> Received:
        self._listener.start()
        self._listener.failed.add_done_callback(lambda _: self._is_done.set())
        say(None)
        start_ns = time.thread_time_ns()
        try:
            with contextlib.suppress(TimeoutError):  # what there is then says enough
                await asyncio.wait_for(self._is_done.wait(), self._job.within_s)
        finally:
            self._listener.close()
        cpu_ns = time.thread_time_ns() - start_ns
        frames = self._subscriber.next_sequence - 1
        return Received(self._subscriber.counters.packets, cpu_ns, frames, self._digest)

    def _deliver(self, groups: Groups) -> None:
        run = groups.run
        if self._job.takes_digest:
            self._digest = crc32c(run.data, self._digest)
        self._progress[self._place] = run.last_sequence
        if run.last_sequence >= self._job.total:
            self._is_done.set()
