"""The asyncio shell around whoever answers requests for replays: a TCP port.

What is answered is decided in `feed.replay`; here are only sockets, and who has to wait. Each piece
is made when the one before it has gone, so that a client that reads slowly costs no memory; and
between two pieces the event loop has its turn, so that the feed does not wait for a replay.
"""

import asyncio
import socket
from dataclasses import dataclass

import structlog

from feed.codec import WireError
from feed.datagrams import REPLAY_BYTES
from feed.replay import DEFAULT_REPLAY_LIMITS, ReplayLimits, ReplaySource, answer_replay
from feed.settings import Address
from feed.snapshot import SnapshotError
from feed.storage import StorageError

# What was not sent in so much time may be sent later at once: event loops wake up late.
CREDIT_SECONDS = 0.005

log = structlog.get_logger()


@dataclass(slots=True)
class ReplayPortCounters:
    """Who came to the port, and what became of it. Each connection counts in one of the rest."""

    connections: int = 0
    answered: int = 0  # to the end
    turned_away: int = 0  # since as many as may be at once were there already
    rubbish: int = 0  # asked for nothing, or for what is no request of this shard
    stalled: int = 0  # sent no request, or read no answer, for too long
    lost: int = 0  # went away, or the port was closed
    failed: int = 0  # what they asked for could not be read here
    bytes_sent: int = 0


class ReplayPort:
    """A TCP port that long ranges of the list, and snapshots, are had from."""

    def __init__(
        self, address: Address, source: ReplaySource, limits: ReplayLimits = DEFAULT_REPLAY_LIMITS
    ) -> None:
        """Bind the port; port 0 takes a free one.

        Raises OSError, naming the address, when it can't be bound.
        """
        self.counters = ReplayPortCounters()
        self._source = source
        self._limits = limits
        self._stall_seconds = limits.stall_ns / 1e9
        self._socket = _listening(address, limits.connections)
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._accepting: asyncio.Task[None] | None = None
        self._free_at = 0.0  # when the next piece may go, by the event loop's clock
        self.address = Address(*self._socket.getsockname())

    def start(self) -> None:
        """Begin to answer, on the running event loop."""
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def stop(self) -> None:
        """End what is connected, and free the port; may be called again."""
        tasks = [*self._tasks]
        if self._accepting is not None:
            tasks.append(self._accepting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                opened, _ = await loop.sock_accept(self._socket)
            except OSError as error:  # the client is gone already, or no file is left to open
                log.warning("a replay's connection could not be accepted", reason=str(error))
                await asyncio.sleep(self._stall_seconds / 100)
                continue
            self.counters.connections += 1
            if len(self._tasks) >= self._limits.connections:
                self.counters.turned_away += 1
                opened.close()
                continue
            opened.setblocking(False)
            task = loop.create_task(self._serve(opened))
            self._tasks[task] = None
            task.add_done_callback(self._on_done)

    async def _serve(self, opened: socket.socket) -> None:
        counters = self.counters
        with opened:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    request = await self._read_request(opened)
                for piece in answer_replay(request, self._source):
                    async with asyncio.timeout(self._stall_seconds):
                        await asyncio.get_running_loop().sock_sendall(opened, piece)
                    counters.bytes_sent += len(piece)
                    await self._wait_for_room(len(piece))
            except WireError:
                counters.rubbish += 1
            except TimeoutError:
                counters.stalled += 1
            except (SnapshotError, StorageError) as error:
                counters.failed += 1
                log.error("a replay broke off: it can't be read here", reason=str(error))
            except (OSError, asyncio.CancelledError):
                counters.lost += 1
            else:
                counters.answered += 1

    async def _read_request(self, opened: socket.socket) -> bytes:
        """As much of a request as comes."""
        data = b""
        loop = asyncio.get_running_loop()
        while len(data) < REPLAY_BYTES:
            read = await loop.sock_recv(opened, REPLAY_BYTES - len(data))
            if not read:
                break
            data += read
        return data

    async def _wait_for_room(self, size_bytes: int) -> None:
        """Let everybody else have a turn, and keep to the rate for all answers together."""
        now = asyncio.get_running_loop().time()
        begin = max(self._free_at, now - CREDIT_SECONDS)
        self._free_at = begin + size_bytes / self._limits.bytes_per_second
        await asyncio.sleep(max(0.0, self._free_at - now))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.result()  # raises here what nobody foresaw, and the event loop tells of it


def _listening(address: Address, backlog: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen(backlog)
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"can't listen at {address}: {error.strerror}") from error
    return opened
