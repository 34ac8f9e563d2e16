"""The asyncio shell around whoever answers NAKs: datagrams in, answers back to their senders."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns

from feed.datagrams import REPAIR_BYTES
from feed.multicast import drain, open_unicast
from feed.settings import Address


@dataclass(slots=True)
class RepairPortCounters:
    """What passed the port; whoever answers counts what the datagrams were."""

    datagrams: int = 0
    answers: int = 0  # datagrams sent back
    send_errors: int = 0


class RepairPort:
    """A UDP port that NAKs come in at, and are answered from.

    `answer` gets a datagram, its sender and the monotonic time in nanoseconds, and returns the
    datagrams to send back to that sender.
    """

    def __init__(
        self, address: Address, answer: Callable[[bytes, Address, int], list[bytes]]
    ) -> None:
        """Bind the port; port 0 takes a free one.

        Raises OSError, naming the address, when it can't be bound.
        """
        self.counters = RepairPortCounters()
        self._answer = answer
        self._socket = open_unicast(address)
        self._resources = contextlib.ExitStack()
        self._resources.callback(self._socket.close)
        self.address = Address(*self._socket.getsockname())

    def start(self) -> None:
        """Begin to answer, on the running event loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._on_readable)
        self._resources.callback(loop.remove_reader, self._socket)

    def close(self) -> None:
        """Answer no more, and free the port; may be called again."""
        self._resources.close()

    def _on_readable(self) -> None:
        now_ns = monotonic_ns()
        # One byte more than a NAK has: what is longer shows by its size that it is none.
        for data, sender in drain(self._socket, REPAIR_BYTES + 1):
            self.counters.datagrams += 1
            for answer in self._answer(data, sender, now_ns):
                self._send(answer, sender)

    def _send(self, answer: bytes, requester: Address) -> None:
        try:
            self._socket.sendto(answer, requester)
        except OSError:  # a full buffer, or an address that can't be reached: as good as lost
            self.counters.send_errors += 1
        else:
            self.counters.answers += 1
