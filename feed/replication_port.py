"""The asyncio shell around what holders tell one another: datagrams in and out of one UDP port."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic_ns

from feed.multicast import drain, open_unicast, resolve
from feed.settings import Address

# Acknowledgements of all holders, and a FETCH's answer, while the process does other work.
RECEIVE_BUFFER_BYTES = 1 << 21


@dataclass(slots=True)
class ReplicationPortCounters:
    """What passed the port; the holder counts what the datagrams were."""

    datagrams: int = 0  # from configured holders
    foreign: int = 0  # from anybody else: dropped
    sent: int = 0
    send_errors: int = 0


class ReplicationPort:
    """A holder's port for other holders, which are known by where they send from.

    `take` gets a datagram, the name of the holder that sent it, and the monotonic time in
    nanoseconds; `after` is called when those that waited have been taken.
    """

    def __init__(
        self,
        address: Address,
        holders: Mapping[str, Address],
        read_bytes: int,
        take: Callable[[bytes, str, int], None],
        after: Callable[[], None],
    ) -> None:
        """Bind the port.

        Raises OSError, naming the address, when it can't be bound or a holder's name has none.
        """
        self.counters = ReplicationPortCounters()
        self._addresses = {name: resolve(holder) for name, holder in holders.items()}
        self._names = {holder: name for name, holder in self._addresses.items()}
        self._read_bytes = read_bytes
        self._take = take
        self._after = after
        self._socket = open_unicast(address, RECEIVE_BUFFER_BYTES)
        self._resources = contextlib.ExitStack()
        self._resources.callback(self._socket.close)

    def start(self) -> None:
        """Begin to receive, on the running event loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._on_readable)
        self._resources.callback(loop.remove_reader, self._socket)

    def close(self) -> None:
        """Receive and send no more; may be called again."""
        self._resources.close()

    def send(self, words: Iterable[tuple[str, bytes]]) -> None:
        """Send each datagram to the holder with that name; one that is lost will be said again."""
        for name, data in words:
            address = self._addresses.get(name)
            try:
                if address is not None:
                    self._socket.sendto(data, address)
            except OSError:  # a full buffer, or an address that can't be reached: as good as lost
                self.counters.send_errors += 1
            else:
                self.counters.sent += address is not None

    def _on_readable(self) -> None:
        now_ns = monotonic_ns()
        for data, sender in drain(self._socket, self._read_bytes):
            name = self._names.get(sender)
            if name is None:
                self.counters.foreign += 1
            else:
                self.counters.datagrams += 1
                self._take(data, name, now_ns)
        self._after()
