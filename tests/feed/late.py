"""What tests of catching up share: who is late, and sources, good ones and bad ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

from feed.catch_up import CatchUp, CatchUpPolicy
from feed.codec import PacketHeader as Header
from feed.codec import encode_packet
from feed.datagrams import Replay, decode_replay, encode_replay
from feed.digest import BLOCK_FRAMES
from feed.receiver import Receiver
from feed.replay import SourceSnapshot, answer_replay, message
from feed.replay_port import ReplayPort
from feed.run import Run
from feed.schema import ReplayKind
from feed.settings import Address
from feed.snapshot import SnapshotError, WholeSnapshot
from tests.feed.lists import SHARD, frames_up_to, packet
from tests.feed.receiving import receiver
from tests.feed.replays import (
    EPOCH,
    MANY,
    TO_LIST,
    Source,
    pieces,
    snapshot_of,
    state_of,
    state_runs,
)
from tests.feed.sockets import LOOPBACK, PATIENCE_SECONDS

FRAMES = frames_up_to(BLOCK_FRAMES + 600)
SNAPSHOT_AT = BLOCK_FRAMES + 10
POLICY = CatchUpPolicy(long_gap_frames=100, retry_after_ns=1_000_000)
IMPATIENT = CatchUpPolicy(long_gap_frames=100, stall_ns=100_000_000)


class Late:
    """A receiver that has heard how far the list goes, and all that it gets by catching up."""

    def __init__(
        self,
        sources: Sequence[Address],
        kind: ReplayKind = ReplayKind.LIST,
        *,
        heard: int = len(FRAMES),
        seed: int = 1,
        policy: CatchUpPolicy = POLICY,
        snapshots: bool = True,
        refuses: bool = False,
    ) -> None:
        self.receiver: Receiver = receiver(source_count=len(sources))
        self.frames: list[bytes] = []
        self.snapshots: list[tuple[int, bytes]] = []
        self.progress: list[tuple[int, int]] = []
        self.held: list[bool] = []
        self.refuses = refuses
        self.hear(heard)
        self.catch_up = CatchUp(
            sources,
            SHARD,
            self.receiver,
            kind,
            Random(seed),
            deliver=self.take,
            on_snapshot=self.take_snapshot if snapshots else None,
            on_progress=lambda done, total: self.progress.append((done, total)),
            hold_naks=self.held.append,
            policy=policy,
        )

    def hear(self, last: int) -> None:
        """A packet of the live feed has come."""
        if last:
            data = packet(FRAMES[last - 1 : last], last, epoch=EPOCH)
            self.take(self.receiver.on_datagram(data, 0))

    def take(self, delivered: Run) -> None:
        self.frames += delivered.split()
        self.receiver.check()

    def take_snapshot(self, snapshot: WholeSnapshot) -> None:
        if self.refuses:
            raise SnapshotError("it is not liked here")
        data = b"".join(snapshot.chunks())
        assert sum(len(run.data) for run in snapshot.state()) < len(data)
        self.snapshots.append((snapshot.head.sequence, data))
        self.receiver.restart(snapshot.head.sequence + 1)
        self.frames.clear()


@asynccontextmanager
async def serving(*sources: Source) -> AsyncIterator[list[ReplayPort]]:
    async with AsyncExitStack() as stack:
        ports = []
        for source in sources:
            port = ReplayPort(LOOPBACK, source)
            stack.push_async_callback(port.stop)
            port.start()
            ports.append(port)
        yield ports


@asynccontextmanager
async def acting(
    act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Address]:
    """A source that does this with each connection, once it has read the request."""
    under_way: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(task := asyncio.current_task())
        decode_replay(await reader.readexactly(len(ASK)))
        await act(reader, writer)
        writer.close()
        under_way.discard(task)

    server = await asyncio.start_server(serve, *LOOPBACK)
    try:
        yield Address(*server.sockets[0].getsockname())
        await until(lambda: not under_way)
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def saying(*answers: bytes, hangs: bool = False) -> AsyncIterator[Address]:
    """A source that gives these answers to those who connect, one after the other."""
    left = list(answers)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        if hangs:
            with contextlib.suppress(ConnectionError):
                await reader.read()  # until the other end has had enough

    async with acting(say) as address:
        yield address


def trickling(
    data: bytes, size: int, wait_seconds: float
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Sends so many bytes at a time, as long as anybody is there."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces(data, size):
            if reader.at_eof() or writer.is_closing():
                break
            writer.write(piece)
            await asyncio.sleep(wait_seconds)

    return trickle


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0)


ASK = encode_replay(Replay(ReplayKind.LIST, SHARD, EPOCH, 1))
ANSWER = b"".join(answer_replay(ASK, Source(FRAMES)))


def snapshot_source(**changes: int) -> Source:
    time_ns = SNAPSHOT_AT * 1_000_000
    data = snapshot_of(FRAMES, SNAPSHOT_AT, state_runs(state_of(MANY), time_ns))
    source = Source(FRAMES, **changes)
    source.day = source.newest = SourceSnapshot(SNAPSHOT_AT, lambda: pieces(data, 3000))
    return source


def announce(first: int, committed: int) -> bytes:
    return message(encode_packet(Header(TO_LIST, SHARD, EPOCH, first, committed)))


def hostile(what: str) -> bytes:
    """An answer that is not to be believed; of some, the beginning is sound."""
    half = len(ANSWER) // 2
    match what:
        case "cut off":
            return ANSWER[:half]
        case "closes at once":
            return b""
        case "rubbish":
            return Random(1).randbytes(50_000)
        case "damaged":
            return ANSWER[:half] + bytes([ANSWER[half] ^ 1]) + ANSWER[half + 1 :]
        case "other shard":
            other = Source(FRAMES, shard=2)
            ask = encode_replay(Replay(ReplayKind.LIST, 2, EPOCH, 1))
            return b"".join(answer_replay(ask, other))
        case "older epoch":
            ask = encode_replay(Replay(ReplayKind.LIST, SHARD, EPOCH - 1, 1))
            return b"".join(answer_replay(ask, Source(FRAMES, epoch=EPOCH - 1)))
        case "out of order":
            frames = [message(packet([FRAMES[n - 1]], n, epoch=EPOCH, flags=2)) for n in (1, 3, 2)]
            return announce(1, 3) + b"".join(frames)
        case "lacks it":
            return b"".join(answer_replay(ASK, Source(FRAMES, first_sequence=2)))
        case "unasked snapshot":
            ask = encode_replay(Replay(ReplayKind.DAY, SHARD, EPOCH, 1))
            return b"".join(answer_replay(ask, snapshot_source()))
        case _:
            raise AssertionError(what)
