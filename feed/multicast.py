"""The sockets of the feed: packets to a group, or to a list of receivers, and back in.

Interface and TTL are always set, never left to the routing table: with the defaults of
`FeedSettings` no packet leaves the machine. All sockets are UDP over IPv4 and do not block.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence

from feed.settings import Address, FeedSettings
from feed.sockets import DatagramReader, send_datagrams

# Linux's numbers (linux/in.h, asm-generic/socket.h), which Python's socket module does not name.
_IP_MULTICAST_ALL = 49
_SO_RCVBUFFORCE = 33

# Room for a burst of a few hundred packets between two turns of the network card's driver.
SEND_BUFFER_BYTES = 1 << 20


# Taken from one socket before the event loop turns to its other work: a few milliseconds' worth.
DATAGRAMS_PER_WAKE_UP = 64


def resolve(address: Address) -> Address:
    """The address with its host as a dotted number, as the kernel reports senders.

    Raises OSError when the name has no IPv4 address.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # the latter for what can't be a host's name
        raise OSError(f"{address} has no IPv4 address: {error}") from error
    host, port = found[0][4][:2]
    return Address(str(host), int(port))


def open_unicast(address: Address, receive_buffer_bytes: int = 1 << 20) -> socket.socket:
    """A socket bound to `address`; port 0 takes a free one.

    Raises OSError, naming the address, when it can't be bound.
    """
    opened = _udp_socket(receive_buffer_bytes)
    _bind(opened, resolve(address))
    return opened


def open_receiver(settings: FeedSettings, receive: Address | None = None) -> socket.socket:
    """A socket that the shard's packets arrive at.

    By multicast it has joined the group on the interface, and takes what is sent to this group on
    this interface alone; any number of processes may do so on one machine. By unicast it is bound
    to `receive`, this receiver's own address in the list of receivers.

    Raises ValueError when unicast lacks `receive`, OSError when the socket can't be set up.
    """
    if settings.transport == "unicast":
        if receive is None:
            raise ValueError('transport "unicast" needs this receiver\'s own address')
        return open_unicast(receive, settings.receive_buffer_bytes)
    opened = _udp_socket(settings.receive_buffer_bytes)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(opened, Address(str(settings.group), settings.port))
    try:
        # Else the kernel also hands over what other sockets of this machine joined elsewhere.
        opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        membership = settings.group.packed + settings.interface.packed
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError as error:
        opened.close()
        where = f"group {settings.group} on interface {settings.interface}"
        raise OSError(error.errno, f"can't join {where}: {error.strerror}") from error
    return opened


def open_sender(settings: FeedSettings) -> socket.socket:
    """A socket to send the shard's packets from.

    Raises OSError when there is no such interface.
    """
    opened = _udp_socket(send_buffer_bytes=SEND_BUFFER_BYTES)
    if settings.transport == "unicast":
        return opened
    option = opened.setsockopt
    try:
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, settings.interface.packed)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, settings.ttl)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)  # receivers may run on this machine
    except OSError as error:
        opened.close()
        where = f"interface {settings.interface}"
        raise OSError(error.errno, f"can't send on {where}: {error.strerror}") from error
    return opened


def destinations(settings: FeedSettings) -> tuple[Address, ...]:
    """Where each packet goes: the group, or every receiver in the list.

    Raises OSError when a receiver's name can't be resolved.
    """
    if settings.transport == "unicast":
        return tuple(map(resolve, settings.receivers))
    return (Address(str(settings.group), settings.port),)


def drain(opened: socket.socket, read_bytes: int) -> Iterator[tuple[bytes, Address]]:
    """The datagrams that wait at a socket, each cut off after `read_bytes`, with their senders.

    Ends when none is left, and after DATAGRAMS_PER_WAKE_UP of them: a flood on one socket leaves
    the event loop time for the others.
    """
    for _ in range(DATAGRAMS_PER_WAKE_UP):
        try:
            data, sender = opened.recvfrom(read_bytes)
        except BlockingIOError:
            return
        yield data, Address(*sender)


class PacketReader:
    """Takes what waits at the socket of a group, many datagrams in one call."""

    __slots__ = ("_opened", "_reader")

    def __init__(self, opened: socket.socket, read_bytes: int) -> None:
        """Each datagram is cut off after `read_bytes`."""
        self._opened = opened
        self._reader = DatagramReader(DATAGRAMS_PER_WAKE_UP, read_bytes)

    def read(self) -> list[bytes]:
        """The datagrams that wait, in their order, DATAGRAMS_PER_WAKE_UP of them at most."""
        return self._reader.read(self._opened)


class FeedSender:
    """Sends the shard's packets to the group, or to each receiver in the list.

    UDP may lose any packet, and receivers repair that. So a packet which the kernel refuses is
    counted like a lost one, and the sender goes on.
    """

    def __init__(self, settings: FeedSettings) -> None:
        """Open the socket.

        Raises OSError when there is no such interface, or a receiver's name can't be resolved.
        """
        self.packets_sent = 0  # once for each destination
        self.bytes_sent = 0
        self.send_errors = 0
        self.last_error: OSError | None = None
        self._destinations = destinations(settings)
        self._socket = open_sender(settings)
        self._socket.bind(("", 0))
        self._interface = str(settings.interface) if settings.transport == "multicast" else None

    @property
    def address(self) -> Address | None:
        """Where its packets to a group come from; None when they go to a list of receivers."""
        if self._interface is None:
            return None
        return Address(self._interface, self._socket.getsockname()[1])

    def send(self, packets: Sequence[bytes]) -> None:
        """Send all packets to every destination, in order."""
        for destination in self._destinations:
            sent = send_datagrams(self._socket, packets, destination)
            self.packets_sent += sent.datagrams
            self.bytes_sent += sent.size
            if sent.error:  # ENOBUFS, EAGAIN, ENETUNREACH, EPERM: all of them a loss
                self.send_errors += len(packets) - sent.datagrams
                self.last_error = OSError(sent.error, os.strerror(sent.error))

    def close(self) -> None:
        """Close the socket; nothing can be sent any more."""
        self._socket.close()


def _udp_socket(
    receive_buffer_bytes: int | None = None, send_buffer_bytes: int | None = None
) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if receive_buffer_bytes is not None:
        _set_receive_buffer(opened, receive_buffer_bytes)
    if send_buffer_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    return opened


def _set_receive_buffer(opened: socket.socket, size: int) -> None:
    """Ask for `size` bytes; without the privilege to exceed it, up to the machine's limit."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    with contextlib.suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)


def _bind(opened: socket.socket, address: Address) -> None:
    try:
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"can't listen at {address}: {error.strerror}") from error
