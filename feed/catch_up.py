"""The asyncio shell around a replay's reading end: gets a receiver over a long gap.

Repair by NAKs is for what was lost a moment ago. Whoever comes late, or comes back after a while,
asks one source after the other for the whole range over TCP, and takes in what it answers as if it
had come as a retransmission. What is believed of an answer is decided in `feed.replay_answer`.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from tempfile import SpooledTemporaryFile
from time import monotonic_ns
from typing import Generic, Protocol, TypeVar

import structlog

from feed.datagrams import Replay, encode_replay
from feed.replay_answer import (
    ListPacket,
    ReplayAnswer,
    ReplayError,
    ReplayMissing,
    SnapshotIsWhole,
    SnapshotPart,
)
from feed.schema import ReplayKind
from feed.settings import Address
from feed.snapshot import CHUNK_BYTES, SnapshotError, WholeSnapshot

log = structlog.get_logger()

Delivered = TypeVar("Delivered")
Delivered_co = TypeVar("Delivered_co", covariant=True)

# A gap that NAKs would take longer for than a connection does; a third of what a receiver can hold
# of what comes after it.
LONG_GAP_FRAMES = 20_000
# Of a snapshot, what is kept in memory; a larger one goes to a temporary file.
SPOOL_BYTES = 4 << 20
# A source that sends less while it could stall is left: a modem sends more, and NAKs wait for it.
LEAST_BYTES = 16 << 10
_READ_BYTES = 256 << 10
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CatchUpPolicy:
    """When a receiver catches up by a replay, and how patient it is with a source."""

    long_gap_frames: int = LONG_GAP_FRAMES
    # For a connection, and for each LEAST_BYTES or the rest of an answer.
    stall_ns: int = 5 * _SECOND_NS
    # When no source was of use: meanwhile NAKs may be. Then all are tried again.
    retry_after_ns: int = _SECOND_NS
    # Between two reports of progress: nobody reads faster.
    progress_interval_ns: int = _SECOND_NS


DEFAULT_CATCH_UP_POLICY = CatchUpPolicy()


@dataclass(slots=True)
class CatchUpCounters:
    """What has been had by replays."""

    answers: int = 0  # that were whole
    failures: int = 0  # of sources: no connection, no answer, or none that could be used
    snapshots: int = 0
    packets: int = 0
    bytes_received: int = 0


class Behind(Protocol[Delivered_co]):
    """A `Subscriber`, a `Holder`, or whatever else may have fallen behind the list."""

    @property
    def next_sequence(self) -> int: ...

    @property
    def highest_sequence(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> Delivered_co: ...


class CatchUp(Generic[Delivered]):
    """Brings a receiver near the live feed, now and whenever it has fallen far behind.

    `sources` are the `repair` addresses of holders; they are tried in random order. `deliver` gets
    what the receiver gives out, as a `Listener`'s does. `on_snapshot` gets a sound snapshot, which
    can be read while it is called, and has to make the receiver go on after it; without one, or for
    ReplayKind.LIST, none is asked for. It may raise SnapshotError to refuse it: then the next
    source is tried. `on_progress` is told how many frames of how many are there, once a second.
    `hold_naks` is called with True when a replay begins, and with False when it is over.
    """

    def __init__(
        self,
        sources: Sequence[Address],
        shard: int,
        receiver: Behind[Delivered],
        kind: ReplayKind,
        random: Random,
        *,
        deliver: Callable[[Delivered], None] | None = None,
        on_snapshot: Callable[[WholeSnapshot], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        hold_naks: Callable[[bool], None] | None = None,
        policy: CatchUpPolicy = DEFAULT_CATCH_UP_POLICY,
    ) -> None:
        self.counters = CatchUpCounters()
        self.is_under_way = False
        self.is_refused = False  # the last time, most sources said that they lack what is asked for
        self.last_failure: str | None = None  # of a source, and which one
        self._sources = tuple(sources)
        self._shard = shard
        self._receiver = receiver
        self._kind = kind if on_snapshot is not None else ReplayKind.LIST
        self._random = random
        self._deliver = deliver
        self._on_snapshot = on_snapshot
        self._on_progress = on_progress
        self._hold_naks = hold_naks
        self._policy = policy
        self._woken = asyncio.Event()
        self._is_wanted = False  # that the sources are asked, whatever the gap
        self._progress_ns = 0  # when it was told last

    @property
    def is_far_behind(self) -> bool:
        """Whether the gap is one for a replay."""
        receiver = self._receiver
        gap = receiver.highest_sequence + 1 - receiver.next_sequence
        return receiver.next_sequence > 0 and gap > self._policy.long_gap_frames

    def wake(self, *, at_once: bool = False) -> None:
        """The receiver may have fallen behind; to be called whenever it has taken something in.

        With `at_once` the sources are asked, however short the gap is.
        """
        self._is_wanted |= at_once
        if self._is_wanted or self.is_far_behind:
            self._woken.set()

    async def run(self, *, at_once: bool = False) -> None:
        """Catch up whenever the gap is long, until cancelled.

        With `at_once` the sources are asked in any case, the first time: whoever has only begun
        does not know yet how far the list goes. What `deliver` and `on_snapshot` raise ends it.
        """
        self._is_wanted |= at_once
        while True:
            if not self._is_wanted:
                self._woken.clear()
                if not self.is_far_behind:
                    await self._woken.wait()
            self._is_wanted = False
            before = self._receiver.next_sequence
            if not await self.catch_up() or self._receiver.next_sequence == before:
                await asyncio.sleep(self._policy.retry_after_ns / _SECOND_NS)

    async def catch_up(self) -> bool:
        """Ask the sources, until one has answered wholly; whether one has."""
        sources = list(self._sources)
        refusals = 0
        self._random.shuffle(sources)
        self._progress_ns = monotonic_ns()
        self._set_under_way(True)
        try:
            for source in sources:
                try:
                    await self._fetch(source)
                except (ReplayError, SnapshotError) as error:
                    self.counters.failures += 1
                    refusals += isinstance(error, ReplayMissing)
                    self.last_failure = f"{source}: {error}"
                    log.debug("a replay failed", source=str(source), reason=str(error))
                else:
                    self.counters.answers += 1
                    return True
        finally:
            self.is_refused = 2 * refusals > len(sources)
            self._set_under_way(False)
        return False

    def _set_under_way(self, is_under_way: bool) -> None:
        self.is_under_way = is_under_way
        if self._hold_naks is not None:
            self._hold_naks(is_under_way)

    async def _fetch(self, source: Address) -> None:
        """Take in what one source answers; raises what says that it is of no use, or no more."""
        loop = asyncio.get_running_loop()
        receiver = self._receiver
        first = max(receiver.next_sequence, 1)
        request = Replay(self._kind, self._shard, receiver.epoch, first)
        answer, stall_seconds = ReplayAnswer(request), self._policy.stall_ns / _SECOND_NS
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with opened, SpooledTemporaryFile(SPOOL_BYTES) as spool:
            reading = _Reading(answer, first, spool)
            deadline, size = loop.time() + stall_seconds, 0
            async with _until(deadline):
                found = await loop.getaddrinfo(*source, family=opened.family, type=opened.type)
                await loop.sock_connect(opened, found[0][4])
                await loop.sock_sendall(opened, encode_replay(request))
            while not answer.is_over:
                async with _until(deadline):
                    data = await loop.sock_recv(opened, _READ_BYTES)
                if not data:
                    raise ReplayError("it broke off in the middle of its answer")
                came_at = loop.time()
                self._take(reading, data)
                deadline += loop.time() - came_at  # it was not the source that took this time
                size += len(data)
                if size >= LEAST_BYTES:
                    deadline, size = loop.time() + stall_seconds, 0
                await asyncio.sleep(0)  # more may be there at once; but so may be the feed
        if receiver.next_sequence < answer.next_sequence:
            raise ReplayError(f"the list could not be read on at {receiver.next_sequence}")

    def _take(self, reading: "_Reading", data: bytes) -> None:
        """Take in the bytes that have come."""
        self.counters.bytes_received += len(data)
        for item in reading.answer.take(data, self._receiver.epoch):
            match item:
                case ListPacket(packet):
                    self.counters.packets += 1
                    delivered = self._receiver.on_datagram(packet, monotonic_ns(), None)
                    if delivered and self._deliver is not None:
                        self._deliver(delivered)
                case SnapshotPart(part):
                    reading.spool.write(part)
                case SnapshotIsWhole(reader):
                    self._take_snapshot(WholeSnapshot(reader, reading.chunks))
        self._tell(reading)

    def _take_snapshot(self, snapshot: WholeSnapshot) -> None:
        if snapshot.head.sequence < self._receiver.next_sequence:
            return  # the live feed was faster
        assert self._on_snapshot is not None
        self._on_snapshot(snapshot)
        self.counters.snapshots += 1

    def _tell(self, reading: "_Reading") -> None:
        """Report progress, when it is time to."""
        now_ns = monotonic_ns()
        is_due = now_ns - self._progress_ns >= self._policy.progress_interval_ns
        if self._on_progress is not None and is_due:
            self._progress_ns = now_ns
            answer, before = reading.answer, reading.first_sequence - 1
            last = max(answer.target_sequence, self._receiver.highest_sequence)
            self._on_progress(answer.next_sequence - 1 - before, last - before)


@contextlib.asynccontextmanager
async def _until(deadline: float) -> AsyncIterator[None]:
    """Raises ReplayError when the source is of no use, or takes longer."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError as error:
        raise ReplayError("it is silent") from error
    except OSError as error:
        raise ReplayError(error.strerror or str(error)) from error
    except UnicodeError as error:
        raise ReplayError(f"no host can have its name: {error}") from error


@dataclass(frozen=True, slots=True)
class _Reading:
    """The answer of one source, and as much of its snapshot as has come."""

    answer: ReplayAnswer
    first_sequence: int
    spool: "SpooledTemporaryFile[bytes]"

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the snapshot."""
        offset = 0
        while True:
            self.spool.seek(offset)
            chunk = self.spool.read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk
            offset += len(chunk)
