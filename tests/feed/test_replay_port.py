"""The replay port on real sockets: whole answers, bounds, and clients that mean no good."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from feed.datagrams import Replay, encode_replay
from feed.replay import ReplayLimits, SourceSnapshot, answer_replay
from feed.replay_port import ReplayPort, ReplayPortCounters
from feed.run import Run
from feed.schema import ReplayKind
from feed.settings import Address
from tests.feed.listening import run
from tests.feed.lists import SHARD, frames_up_to
from tests.feed.replays import EPOCH, Source, snapshot_of
from tests.feed.sockets import LOOPBACK, PATIENCE_SECONDS

FRAMES = frames_up_to(5000)
ASK = encode_replay(Replay(ReplayKind.LIST, SHARD, EPOCH, 1))
IMPATIENT = ReplayLimits(stall_ns=50_000_000)


@asynccontextmanager
async def serving(source: Source, limits: ReplayLimits | None = None) -> AsyncIterator[ReplayPort]:
    port = ReplayPort(LOOPBACK, source, limits or ReplayLimits())
    port.start()
    try:
        yield port
    finally:
        await port.stop()
        await port.stop()


async def everything(address: Address, request: bytes, *, ends: bool = False) -> bytes:
    """All that a port sends until it closes the connection."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        if ends:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0)


def served(scenario: Callable[[ReplayPort], Awaitable[None]], **settings: object) -> None:
    """Run a scenario against a port; the event loop must have nothing to report."""
    limits = settings.get("limits")
    assert limits is None or isinstance(limits, ReplayLimits)

    async def whole() -> None:
        async with serving(Source(FRAMES), limits) as port:
            await scenario(port)

    assert run(whole) == []


def test_every_client_gets_the_whole_answer() -> None:
    expected = b"".join(answer_replay(ASK, Source(FRAMES)))

    async def scenario(port: ReplayPort) -> None:
        answers = await asyncio.gather(*(everything(port.address, ASK) for _ in range(5)))
        assert answers == [expected] * 5
        assert port.counters == ReplayPortCounters(
            connections=5, answered=5, bytes_sent=5 * len(expected)
        )

    served(scenario)


def test_a_request_that_comes_in_pieces_is_answered() -> None:
    async def scenario(port: ReplayPort) -> None:
        reader, writer = await asyncio.open_connection(*port.address)
        for at in range(len(ASK)):
            writer.write(ASK[at : at + 1])
            await writer.drain()
        assert await reader.read() == b"".join(answer_replay(ASK, Source(FRAMES)))
        writer.close()

    served(scenario)


@pytest.mark.parametrize(
    "request_",
    [bytes(len(ASK)), b"GET / HTTP/1.1\r\nHost: exchange\r\n\r\n", ASK[:-1] + b"\0"],
)
def test_rubbish_gets_no_answer(request_: bytes) -> None:
    async def scenario(port: ReplayPort) -> None:
        assert await everything(port.address, request_) == b""
        assert port.counters == ReplayPortCounters(connections=1, rubbish=1)
        assert await everything(port.address, ASK) != b""

    served(scenario)


def test_who_leaves_in_the_middle_of_a_request_is_rubbish() -> None:
    async def scenario(port: ReplayPort) -> None:
        assert await everything(port.address, ASK[:5], ends=True) == b""
        assert await everything(port.address, b"", ends=True) == b""
        assert port.counters == ReplayPortCounters(connections=2, rubbish=2)

    served(scenario)


def test_who_sends_no_whole_request_is_dropped() -> None:
    async def scenario(port: ReplayPort) -> None:
        assert await everything(port.address, ASK[:5]) == b""
        assert port.counters == ReplayPortCounters(connections=1, stalled=1)

    served(scenario, limits=IMPATIENT)


def test_who_does_not_read_is_dropped_and_costs_no_memory_meanwhile() -> None:
    class Endless(Source):
        def runs(self, first: int, last: int) -> list[Run]:
            self.asked.append((first, last))
            run = super().runs(1, last - first + 1)[0]
            self.pieces += 1
            return [Run(first, run.data, (len(run), run.end_sequence, run.types))]  # type: ignore[arg-type]

        pieces = 0

    async def scenario() -> None:
        source = Endless(FRAMES, committed=2**40)
        async with serving(source, IMPATIENT) as port:
            with socket.create_connection(port.address) as client:
                client.sendall(ASK)
                await until(lambda: port.counters.stalled == 1)
                assert port.counters.bytes_sent < 50_000_000  # what the system itself takes
                assert source.pieces < 300
            assert port.counters.connections == 1

    assert run(scenario) == []


def test_more_clients_than_may_be_are_turned_away_until_others_have_gone() -> None:
    async def scenario(port: ReplayPort) -> None:
        silent = [socket.create_connection(port.address) for _ in range(3)]
        await until(lambda: port.counters.connections == 3)
        assert await everything(port.address, ASK) == b""
        assert port.counters.turned_away == 1
        silent.pop().close()
        await until(lambda: port.counters.rubbish == 1)
        assert await everything(port.address, ASK) != b""
        assert port.counters.answered == 1
        for each in silent:
            each.close()
        await until(lambda: port.counters.rubbish == 3)

    served(scenario, limits=ReplayLimits(connections=3))


def test_a_hundred_connections_that_come_and_go_leave_nothing_behind() -> None:
    async def scenario(port: ReplayPort) -> None:
        for _ in range(100):
            _, writer = await asyncio.open_connection(*port.address)
            writer.close()
        await until(lambda: port.counters.connections == 100)
        assert await everything(port.address, ASK) != b""
        counters = port.counters
        await until(lambda: counters.rubbish + counters.lost + counters.turned_away == 100)

    served(scenario)


def test_who_leaves_in_the_middle_of_an_answer_is_lost() -> None:
    async def scenario() -> None:
        async with serving(Source(frames_up_to(2000) * 100, committed=200_000)) as port:
            client = socket.create_connection(port.address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(ASK)
            await until(lambda: port.counters.bytes_sent > 0)
            client.close()
            await until(lambda: port.counters.lost == 1)

    assert run(scenario) == []


def test_all_answers_together_keep_to_the_rate() -> None:
    size = len(b"".join(answer_replay(ASK, Source(FRAMES))))

    async def scenario(port: ReplayPort) -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(everything(port.address, ASK) for _ in range(2)))
        took = asyncio.get_running_loop().time() - began
        assert took > 0.08  # of the 0.1 that two answers have; the last piece need not wait

    served(scenario, limits=ReplayLimits(bytes_per_second=20 * size))


def test_the_event_loop_has_its_turn_between_two_pieces() -> None:
    async def scenario(port: ReplayPort) -> None:
        answer = asyncio.ensure_future(everything(port.address, ASK))
        seen = set()
        while not answer.done():
            seen.add(port.counters.bytes_sent)
            await asyncio.sleep(0)
        assert len(seen) > 3  # a piece at a time, though all of them were ready

    served(scenario)


def test_a_snapshot_that_is_damaged_breaks_the_answer_off() -> None:
    async def scenario() -> None:
        source = Source(FRAMES)
        source.day = SourceSnapshot(9, lambda: [snapshot_of(FRAMES, 9)[:-1]])
        ask = encode_replay(Replay(ReplayKind.DAY, SHARD, EPOCH, 1))
        async with serving(source) as port:
            await everything(port.address, ask)
            assert (port.counters.failed, port.counters.answered) == (1, 0)

    assert run(scenario) == []


def test_an_error_that_nobody_foresaw_reaches_the_event_loop() -> None:
    class Broken(Source):
        def runs(self, first: int, last: int) -> list[Run]:
            raise ZeroDivisionError("the source is broken")

    async def scenario() -> None:
        async with serving(Broken(FRAMES)) as port:
            await everything(port.address, ASK)

    (report,) = run(scenario)
    assert str(report["exception"]) == "the source is broken"
    assert "callback" in report["message"]  # at once, and not when the collector finds it


def test_a_port_that_is_taken_is_named() -> None:
    async def scenario(port: ReplayPort) -> None:
        with pytest.raises(OSError, match=f"can't listen at {port.address}"):
            ReplayPort(port.address, Source(FRAMES))

    served(scenario)


def test_stopping_ends_what_is_connected() -> None:
    async def scenario() -> None:
        async with serving(Source(FRAMES)) as port:
            reader, writer = await asyncio.open_connection(*port.address)
            await until(lambda: port.counters.connections == 1)
            await port.stop()
            assert await reader.read() == b""
            writer.close()
            assert port.counters.lost == 1
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*port.address)

    assert run(scenario) == []
