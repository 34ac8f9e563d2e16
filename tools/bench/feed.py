"""The suite `feed`: from a publisher to 1, 2 and 4 subscribers, beside the network's limit.

Each subscriber is a process with the listener and the receiver of production; the publisher encodes
and sends as a primary does. In turns with them, as many processes do nothing but take packets of
the same size, which are sent with nothing done for them. Neither sender runs farther ahead of the
slowest receiver than its socket can hold. So nothing is lost; a round that loses something has no
figure.
"""

import asyncio
import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from typing import NamedTuple

from feed.multicast import FeedSender, destinations, open_receiver, open_sender
from feed.publisher import Publisher
from feed.settings import FeedSettings
from tools.bench import raw
from tools.bench.apart import Apart
from tools.bench.feed_list import PublishedList, published_list
from tools.bench.feed_receiver import Job, Received, serve
from tools.bench.figures import BenchmarkError, Measurement, measurement, settled_collector
from tools.ports import free_addresses, free_group

SUITE = "feed"
BASELINE = f"sendmmsg and recvmmsg of packets that nobody looks at ({raw.IN_USE})"
SUBSCRIBERS = (1, 2, 4)
_GROUPS = 60_000  # of a round: enough for a twentieth of a second, and soon made
_EPOCH = 1
_MOST_PACKETS_AHEAD = 1024  # more in flight would fall out of the processor's caches
_BYTES_OF_SOCKET_PER_BYTE = 4  # the kernel counts its own structures, and the room that they waste
_WAIT_S = 20e-6  # between two looks at how far the receivers are
_PATIENCE_S = 20.0  # a round takes a tenth of a second, in plain Python a second
_START_WITHIN_S = 30.0  # a fresh Python, on a busy computer


class _Round(NamedTuple):
    """What one round took."""

    elapsed_s: float  # until the slowest receiver had all
    cpu_ns: float  # of a receiver, on the average
    received: Sequence[Received]


def measure_feed(
    seconds: float, payload_bytes: int = 1400, *, groups: int = _GROUPS
) -> list[Measurement]:
    """The figures of the suite: for each number of subscribers, the medians of `seconds` of rounds.

    Raises BenchmarkError when something was lost, and OSError when a socket can't be opened.
    """
    return asyncio.run(_measure(seconds, payload_bytes, groups))


async def _measure(seconds: float, payload_bytes: int, groups: int) -> list[Measurement]:
    (address,) = free_addresses(1)
    settings = FeedSettings(
        group=free_group(), port=address.port, payload_limit_bytes=payload_bytes
    )
    published = published_list(groups, payload_bytes, raw.BATCH)
    measurements = []
    with _Receivers(max(SUBSCRIBERS), settings) as receivers, settled_collector():
        for count in SUBSCRIBERS:
            measurements += await _measure_to(count, receivers, published, seconds)
    return measurements


async def _measure_to(
    count: int, receivers: "_Receivers", published: PublishedList, seconds: float
) -> list[Measurement]:
    """Rounds of both kinds in turns, so that a slow moment of the computer hits both alike."""
    # Everything is cold for the first one, so that it is not timed, and its digest costs nothing.
    await _feed_round(receivers, count, published, takes_digest=True)
    raw_rounds: list[_Round] = []
    feed_rounds: list[_Round] = []
    end = time.monotonic() + seconds
    while not feed_rounds or time.monotonic() < end:
        raw_rounds.append(await _raw_round(receivers, count, published))
        feed_rounds.append(await _feed_round(receivers, count, published))
    taken_s, limit_s = (
        statistics.median(each.elapsed_s for each in rounds) for rounds in (feed_rounds, raw_rounds)
    )
    taken_ns, limit_ns = (
        statistics.median(each.cpu_ns for each in rounds) for rounds in (feed_rounds, raw_rounds)
    )
    frames, packets, size = published.frames, published.packets, published.size
    return [
        measurement(SUITE, f"frames to {count}", frames / taken_s, "frames/s", frames / limit_s),
        measurement(SUITE, f"bytes to {count}", size / taken_s, "bytes/s", size / limit_s),
        measurement(
            SUITE, f"CPU of each of {count}", taken_ns / packets, "ns/packet", limit_ns / packets
        ),
    ]


async def _raw_round(receivers: "_Receivers", count: int, published: PublishedList) -> _Round:
    """As many packets of the same size, with nothing in them."""
    packet = bytes(published.size // published.packets)
    (address,) = destinations(receivers.settings)

    def send() -> None:
        with open_sender(receivers.settings) as opened:
            raw.send_packets(
                opened,
                packet,
                published.packets,
                address,
                receivers.progress[:count],
                receivers.packets_ahead,
                _PATIENCE_S,
            )

    job = Job(receivers.settings, True, published.packets, False, _PATIENCE_S)
    done = await receivers.round(count, job, send)
    for received in done.received:
        if received.packets != published.packets:
            raise BenchmarkError(f"{received.packets} of {published.packets} packets arrived")
    return done


async def _feed_round(
    receivers: "_Receivers", count: int, published: PublishedList, *, takes_digest: bool = False
) -> _Round:
    """The list, by the ways of production."""
    settings = receivers.settings
    frames_ahead = receivers.packets_ahead * published.frames // published.packets

    def send() -> None:
        publisher = Publisher(
            shard=settings.shard, epoch=_EPOCH, payload_limit_bytes=settings.payload_limit_bytes
        )
        with closing(FeedSender(settings)) as sender:
            for run in published.runs:
                _wait_for(receivers.progress[:count], run.last_sequence - frames_ahead)
                # The commit is one run behind, as it is where holders have to acknowledge first.
                committed = run.first_sequence - 1
                sender.send(publisher.publish(run, committed, time.monotonic_ns()))
            sender.send(publisher.on_time(published.frames, time.monotonic_ns()))

    job = Job(settings, False, published.frames, takes_digest, _PATIENCE_S)
    done = await receivers.round(count, job, send)
    for received in done.received:
        _expect(received, published, takes_digest)
    return done


def _expect(received: Received, published: PublishedList, takes_digest: bool) -> None:
    packets = published.packets + 1  # and a heartbeat
    if (received.packets, received.frames) != (packets, published.frames):
        raise BenchmarkError(
            f"a subscriber got {received.frames} of {published.frames} frames, in"
            f" {received.packets} of {packets} packets"
        )
    if takes_digest and received.digest != published.digest:
        raise BenchmarkError("a subscriber got other frames than were sent")


class _Receivers:
    """Processes that receive; a context manager that ends them."""

    def __init__(self, count: int, settings: FeedSettings) -> None:
        context = multiprocessing.get_context("spawn")
        shared = context.RawArray("Q", count)
        self.settings = settings
        self.progress = memoryview(shared).cast("B").cast("Q")  # what each has of its job
        self.packets_ahead = _packets_ahead(settings)
        self._jobs: list[Connection] = []
        self._processes: list[Apart[Received | None]] = []
        self._resources = ExitStack()
        for place in range(count):
            theirs, ours = context.Pipe(duplex=False)
            self._jobs.append(self._resources.enter_context(ours))
            self._processes.append(Apart(serve, theirs, shared, place))

    def __enter__(self) -> "_Receivers":
        with self._resources:
            for process in self._processes:
                self._resources.enter_context(process)
            self._resources = self._resources.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    async def round(self, count: int, job: Job, send: Callable[[], None]) -> _Round:
        """Have `count` of them do a job, which is to receive what `send` sends."""
        processes = self._processes[:count]
        for place, jobs in enumerate(self._jobs[:count]):
            self.progress[place] = 0
            jobs.send(job)
        for process in processes:
            await process.hear(_START_WITHIN_S)
        start = time.monotonic()
        send()
        _wait_for(self.progress[:count], job.total)
        elapsed_s = time.monotonic() - start
        heard = [await process.hear(_PATIENCE_S) for process in processes]
        received = [each for each in heard if each is not None]
        return _Round(elapsed_s, statistics.mean(each.cpu_ns for each in received), received)


def _wait_for(progress: memoryview, least: int) -> None:
    """Wait until each receiver has so much. Raises BenchmarkError when one gets no farther."""
    deadline = time.monotonic() + _PATIENCE_S
    while min(progress) < least:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"a receiver is stuck: it has {min(progress)}, {least} were sent")
        time.sleep(_WAIT_S)


def _packets_ahead(settings: FeedSettings) -> int:
    """How many packets on their way a receiver's socket surely holds on this machine."""
    with open_receiver(settings) as opened:
        room = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    held = room // (_BYTES_OF_SOCKET_PER_BYTE * settings.payload_limit_bytes)
    return min(_MOST_PACKETS_AHEAD, max(held, 2 * raw.BATCH))
