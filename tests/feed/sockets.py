"""Real sockets to test with: free groups and ports on this machine, and what arrived at them."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address
from random import Random
from typing import Any, Generic, TypeVar

from feed.settings import Address, FeedSettings
from tools import ports

LOOPBACK = Address("127.0.0.1", 0)

# A test that waits for longer has failed; nothing here takes more than a moment.
PATIENCE_SECONDS = 20

Item = TypeVar("Item")


def free_addresses(count: int) -> tuple[Address, ...]:
    """So many different addresses on the loopback that nobody has, nor is given by chance."""
    return tuple(ports.free_addresses(count))


def multicast_settings(**changes: Any) -> FeedSettings:
    """A feed on the loopback, to a group of its own."""
    random = Random()
    group = f"239.255.{random.randrange(256)}.{random.randrange(1, 255)}"
    settings = FeedSettings(group=IPv4Address(group), port=free_addresses(1)[0].port)
    return settings.model_copy(update=changes)


def unicast_settings(receivers: int) -> FeedSettings:
    """A feed to so many addresses on the loopback."""
    return FeedSettings(transport="unicast", receivers=free_addresses(receivers))


def address_of(opened: socket.socket) -> Address:
    """Where a socket is bound."""
    return Address(*opened.getsockname())


class Inbox(Generic[Item]):
    """Keeps what it is called with, and lets a test wait for it."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.batches: list[int] = []  # how many came at once
        self._arrived = asyncio.Event()

    def __call__(self, items: Sequence[Item]) -> None:
        self.items += items
        self.batches.append(len(items))
        self._arrived.set()

    async def holds(self, count: int) -> list[Item]:
        """Wait until `count` things have arrived; all that has."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.items) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.items


async def arriving(opened: socket.socket) -> tuple[bytes, Address]:
    """The next datagram at a socket, and its sender."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        data, sender = await asyncio.get_running_loop().sock_recvfrom(opened, 65536)
    return data, Address(*sender)
