"""TCP between simulated processes: what runs on asyncio's transports runs on these unchanged.

Bytes arrive in order and never get lost while the connection lives. A cut network stalls them, each
direction by itself. Who dies is missed by the other side, soon or once it can be told; whose
machine is gone tells nobody. A process that is paused is still connected by its kernel, which takes
a bounded number of bytes for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tools.simulation.network import Network, Process
from tools.simulation.pipe import FIRST_RETRY_NS, LONGEST_RETRY_NS, Pipe

WRITE_BUFFER_BYTES = 64 << 10  # as in asyncio

Make = Callable[[], asyncio.Protocol]


@dataclass(slots=True)
class _Attempt:
    """To connect."""

    end: End
    to: Process
    port: str
    make: Make
    on_failed: Callable[[str], None]
    until_ns: int
    retry_ns: int = FIRST_RETRY_NS


class Tcp:
    """Who listens, and all connections."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._listeners: dict[tuple[str, str], tuple[int, Make]] = {}  # the life that listens
        # Dicts rather than sets: their order is the same in every run.
        self._ends: dict[str, dict[End, None]] = {}  # by process
        network.on_death.append(self._on_death)

    def listen(self, process: Process, port: str, make: Make) -> None:
        """Take connections, each with a protocol that `make` makes, for as long as it lives."""
        self._listeners[process.name, port] = process.life, make

    def close(self, process: Process, port: str) -> None:
        """Take no more connections."""
        self._listeners.pop((process.name, port), None)

    def connect(
        self,
        process: Process,
        to: Process,
        port: str,
        make: Make,
        on_failed: Callable[[str], None],
        timeout_ns: int,
    ) -> End:
        """Connect to a port of another process; raises Died when the process dies of it.

        `on_failed` is called with the reason if that comes to nothing, unless the end that is
        returned was aborted before.
        """
        process.send_one()
        end = End(self, process, to.name)
        until_ns = self.network.now_ns + timeout_ns
        self._knock(_Attempt(end, to, port, make, on_failed, until_ns))
        return end

    def connections_of(self, process: Process) -> list[End]:
        """The ends of the connections that a process has."""
        return [end for end in self._ends.get(process.name, ()) if end.is_connected]

    def break_all(self, process: Process) -> None:
        """All connections of a process break, as when the network between has forgotten them."""
        for end in self.connections_of(process):
            end.outgoing.reset()
            end.incoming.reset()

    def keep(self, end: End) -> None:
        """An end is in use."""
        self._ends.setdefault(end.process.name, {})[end] = None

    def drop(self, end: End) -> None:
        """An end is of no more use."""
        self._ends.get(end.process.name, {}).pop(end, None)

    def _on_death(self, process: Process) -> None:
        for end in self._ends.pop(process.name, ()):
            if process.is_gone:
                end.forget()
            else:
                end.hang_up()

    def _knock(self, attempt: _Attempt) -> None:
        name, other = attempt.end.process.name, attempt.to.name
        network = self.network
        if attempt.end.is_over:
            return
        if network.passes(name, other) and network.passes(other, name):
            network.after(network.delay_ns(), partial(self._on_knock, attempt))
        else:
            self._knock_again(attempt)

    def _knock_again(self, attempt: _Attempt) -> None:
        network = self.network
        if network.now_ns + attempt.retry_ns < attempt.until_ns:
            network.after(attempt.retry_ns, partial(self._knock, attempt))
            attempt.retry_ns = min(2 * attempt.retry_ns, LONGEST_RETRY_NS)
        else:
            network.world.at(attempt.until_ns, partial(self._fail, attempt, "no answer"))

    def _on_knock(self, attempt: _Attempt) -> None:
        """Somebody wants to connect, which the kernel grants before the process hears of it."""
        end, to, network = attempt.end, attempt.to, self.network
        if end.is_over:
            return
        if to.is_gone:
            self._knock_again(attempt)
            return
        arrival_ns = network.now_ns + network.delay_ns()
        life, make = self._listeners.get((to.name, attempt.port), (0, None))
        if make is None or not to.is_alive or life != to.life:
            network.world.at(arrival_ns, partial(self._fail, attempt, "connection refused"))
            return
        other = End(self, to, end.process.name)
        end.outgoing = other.incoming = Pipe(network, end, other)
        other.outgoing = end.incoming = Pipe(network, other, end)
        end.is_connected = other.is_connected = True
        end.incoming.begin(arrival_ns)
        network.world.at(arrival_ns, partial(end.reach, partial(end.open, attempt.make)))
        other.reach(partial(other.open, make))

    def _fail(self, attempt: _Attempt, why: str) -> None:
        attempt.end.reach(partial(self._give_up, attempt, why))

    def _give_up(self, attempt: _Attempt, why: str) -> None:
        end = attempt.end
        if not end.is_over:
            end.is_over = True
            self.drop(end)
            attempt.on_failed(why)


class End(asyncio.Transport):
    """One end of a connection, as its protocol gets it in `connection_made`."""

    outgoing: Pipe  # once it is connected
    incoming: Pipe

    def __init__(self, tcp: Tcp, process: Process, peer: str) -> None:
        """An end of this process, as it is now, towards the process named `peer`."""
        super().__init__({"peername": (peer, 1)})
        self.process = process
        self.peer = peer
        self.is_connected = False
        self.is_over = False  # nothing that arrives is of any use to it
        self.is_forgotten = False  # not even its kernel knows of the connection
        self._tcp = tcp
        self._network = tcp.network
        self._life = process.life
        self._protocol: asyncio.Protocol | None = None
        self._is_silent = False
        self._is_closing = False
        self._is_reading = True
        self._is_reset = False
        self._has_told_end = False  # of what comes in
        self._wants_end = False  # of what goes out
        self._unsent = bytearray()
        self._is_writing_paused = False
        self.set_write_buffer_limits()
        tcp.keep(self)

    # What a protocol may ask for.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send bytes; what the kernels have no room for waits in the process."""
        if self._wants_end:
            raise RuntimeError("write after write_eof")
        if not data or self._is_closing:
            return
        self.process.send_one()
        if self._is_reset:
            self._lose_soon(ConnectionResetError("connection reset by peer"))
            return
        self._unsent += data
        self._push()
        if len(self._unsent) > self._high_bytes and not self._is_writing_paused:
            self._is_writing_paused = True
            self._made().pause_writing()

    def write_eof(self) -> None:
        """End the stream after what was written."""
        if self._is_closing or self._wants_end:
            return
        self._wants_end = True
        if not self._unsent:
            self.outgoing.end()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """End the connection once all that was written has left the process."""
        if self._is_closing:
            return
        self._is_closing = True
        if not self._unsent:
            self._shut()

    def abort(self) -> None:
        """End the connection, or the attempt to connect, at once."""
        if not self.is_over:
            self.hang_up()
            self._lose_soon(None)

    @property
    def is_made(self) -> bool:
        """Whether its process has been told of it; the kernel may be quicker."""
        return self._protocol is not None

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """What comes waits in the kernel, and then at the other side."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_reading:
            self._is_reading = True
            self._network.after(0, self.wake)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to ask the protocol to pause writing, and to resume it; as in asyncio."""
        if high is None:
            high = WRITE_BUFFER_BYTES if low is None else 4 * low
        self._high_bytes = high
        self._low_bytes = high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    # What its process and its kernel have to say.

    @property
    def answers(self) -> bool:
        """Whether there is a machine at this end that answers at all."""
        return not (self._is_silent or self.process.is_gone)

    def vanish(self) -> None:
        """The connection is dead: nothing passes any more, and nobody is told, on either side."""
        self._is_silent = True
        self.forget()
        self._tcp.drop(self)

    def forget(self) -> None:
        """The machine knows nothing of the connection any more."""
        self.is_over = self.is_forgotten = self._is_closing = True
        self._unsent.clear()
        if self.is_connected:
            self.outgoing.forget()

    def hang_up(self) -> None:
        """The kernel ends the connection: with a reset, or with what it has and then the end."""
        self.is_over = self._is_closing = True
        self._unsent.clear()
        if not self.is_connected:
            return
        if self.incoming.received or self._network.random.random() < 0.5:
            self.outgoing.reset()
        else:
            self.outgoing.end()

    def reach(self, act: Callable[[], None]) -> None:
        """Let something reach the process."""
        self.process.do(self._life, act)

    def open(self, make: Make) -> None:
        """The process hears that the connection is made."""
        if not self.is_over:
            self._protocol = make()
            self._protocol.connection_made(self)

    def wake(self) -> None:
        """There may be something to read."""
        if self.incoming.received or self._is_reset or self._is_end_news:
            self.reach(self._read)

    def on_room(self, count: int) -> None:
        """The other side has read so many bytes."""
        self.outgoing.on_room(count)
        self.reach(self._write_more)

    def on_reset(self) -> None:
        """The other side says that there is no such connection."""
        if self.is_over:
            return
        self._is_reset = True
        if self._unsent:
            self.reach(partial(self._lose, ConnectionResetError("connection reset by peer")))
        else:
            self.wake()

    # How it is done.

    @property
    def _is_end_news(self) -> bool:
        return self.incoming.has_ended and not self._has_told_end

    def _made(self) -> asyncio.Protocol:
        assert self._protocol is not None
        return self._protocol

    def _read(self) -> None:
        if self.is_over or not self.is_reading():
            return
        if self.incoming.received:
            self._made().data_received(self.incoming.take())
            if self._is_reset or self._is_end_news:
                self._network.after(0, self.wake)
        elif self._is_reset:
            self._lose(ConnectionResetError("connection reset by peer"))
        elif self._is_end_news:
            self._has_told_end = True
            if not self._made().eof_received():
                self.close()

    def _push(self) -> None:
        room = self.outgoing.room
        if room > 0:
            data = self._unsent[:room]
            del self._unsent[:room]
            self.outgoing.send(data)

    def _write_more(self) -> None:
        if self.is_over:
            return
        if self._unsent:
            self.process.send_one()
            self._push()
        if self._is_writing_paused and len(self._unsent) <= self._low_bytes:
            self._is_writing_paused = False
            self._made().resume_writing()
        if self._unsent:
            return
        if self._is_closing:
            self._shut()
        elif self._wants_end:
            self.outgoing.end()

    def _shut(self) -> None:
        """All has left the process, which closes the socket."""
        self.is_over = True
        if self.incoming.received:
            self.outgoing.reset()  # what it has not read is lost, and the other side is told
        else:
            self.outgoing.end()
        self._lose_soon(None)

    def _lose_soon(self, error: Exception | None) -> None:
        self._is_closing = True
        self._network.after(0, partial(self.reach, partial(self._lose, error)))

    def _lose(self, error: Exception | None) -> None:
        """The process hears that the connection is over."""
        self.is_over = self._is_closing = True
        self._unsent.clear()
        self._tcp.drop(self)
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)
