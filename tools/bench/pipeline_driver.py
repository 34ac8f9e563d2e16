"""What drives the suite `pipeline`, in a process of its own: writes commands, reads decisions."""

import select
import socket
import time
from collections import deque
from typing import NamedTuple

from feed.datagrams import Decision, take_decisions
from feed.settings import Address
from tools.bench.apart import Say
from tools.bench.figures import BenchmarkError
from tools.bench.tape import Tape, log_ins
from tools.bench.workload import CLIENTS, SYMBOL

PIECE = 500  # commands written at a time: 25 kB
_READ_BYTES = 1 << 16
_SILENT_FOR_S = 10.0  # then nothing will be decided any more


class Mark(NamedTuple):
    """How many frames the list has, and commands carried out, after a piece of the tape."""

    sequence: int
    commands: int


class Sent(NamedTuple):
    """All that was sent, and how far the primary says that this brought the list."""

    marks: list[Mark]
    last_sequence: int


def send_commands(
    say: Say[Mark | Sent],
    address: Address,
    depth: int,
    operations: int,
    seed: int,
    seconds: float,
    symbol: bytes = SYMBOL,
) -> Sent:
    """Log in, say so, send commands for so many seconds, and wait until all are decided.

    They are about `symbol`, padded to eight bytes.

    Raises BenchmarkError when the primary takes or decides nothing any more.
    """
    tape = Tape(depth, operations, PIECE, seed)
    with socket.create_connection(address, timeout=_SILENT_FOR_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        primary = _PrimaryLink(connection)
        connection.sendall(log_ins())
        first = Mark(primary.until_decided(CLIENTS).sequence, 0)
        say(first)
        marks = [first]
        end = time.monotonic() + seconds
        for piece in tape.pieces():
            primary.send(piece.data.replace(SYMBOL, symbol))
            marks.append(Mark(first.sequence + piece.frames, piece.commands))
            if time.monotonic() > end:
                break
        last = primary.until_decided(CLIENTS + marks[-1].commands)
    return Sent(marks, last.sequence)


class _PrimaryLink:
    """The connection: only TCP's own flow control makes it wait."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._received = bytearray()
        self._decisions: deque[Decision] = deque([Decision(0, 0, 0)], maxlen=1)

    def send(self, data: bytes) -> None:
        """Write all of it, and read what comes meanwhile."""
        rest = memoryview(data)
        while rest:
            readable, writable = self._wait(to_write=True)
            if readable:
                self._read()
            if writable:
                rest = rest[self._connection.send(rest) :]

    def until_decided(self, submissions: int) -> Decision:
        """Wait for the decision on so many; the last one."""
        while self._decisions[-1].submission < submissions:
            self._wait(to_write=False)
            self._read()
        return self._decisions[-1]

    def _wait(self, *, to_write: bool) -> tuple[bool, bool]:
        ours = [self._connection]
        readable, writable, _ = select.select(ours, ours if to_write else [], [], _SILENT_FOR_S)
        if not readable and not writable:
            raise BenchmarkError(f"the primary took and said nothing for {_SILENT_FOR_S:.0f} s")
        return bool(readable), bool(writable)

    def _read(self) -> None:
        data = self._connection.recv(_READ_BYTES)
        if not data:
            raise BenchmarkError("the primary closed the connection that commands came over")
        self._received += data
        self._decisions.extend(take_decisions(self._received))
