"""Many datagrams in one call, in plain Python: what `feed._sockets_c` does, and has to do alike.

The sockets are UDP over IPv4 and do not block. A call of the system for each datagram: the compiled
twin makes one for many.
"""

import socket
from collections.abc import Sequence
from typing import NamedTuple


class Sent(NamedTuple):
    """What became of the datagrams that were to be sent."""

    datagrams: int  # taken by the kernel; the others are lost
    size: int  # their bytes
    error: int  # the errno of the last that was refused; 0 without any


class DatagramReader:
    """Takes datagrams from sockets, at most `limit` at a time, each cut off after `read_bytes`."""

    __slots__ = ("_limit", "_read_bytes")

    def __init__(self, limit: int, read_bytes: int) -> None:
        """Both have to be 1 at least; raises ValueError when they aren't."""
        if limit < 1 or read_bytes < 1:
            raise ValueError("there must be room for a datagram of one byte")
        self._limit = limit
        self._read_bytes = read_bytes

    def read(self, opened: socket.socket) -> list[bytes]:
        """The datagrams that wait at a socket, in their order; raises OSError as `recv` does."""
        taken: list[bytes] = []
        try:
            while len(taken) < self._limit:
                taken.append(opened.recv(self._read_bytes))
        except BlockingIOError:
            pass
        return taken


def send_datagrams(
    opened: socket.socket, datagrams: Sequence[bytes], address: tuple[str, int]
) -> Sent:
    """Send each datagram to `address`, a dotted number and a port, in order.

    The kernel may refuse any of them (ENOBUFS, EAGAIN, EMSGSIZE, EPERM, ...): that one is lost, and
    the next one's turn comes.
    """
    count = size = error = 0
    for data in datagrams:
        try:
            size += opened.sendto(data, address)
            count += 1
        except OSError as refused:
            error = refused.errno or 0
    return Sent(count, size, error)
