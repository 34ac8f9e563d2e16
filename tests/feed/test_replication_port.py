"""The replication port on real sockets: who sent what is known by the address it came from."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import ExitStack, closing
from socket import socket
from time import monotonic_ns

import pytest

from feed.multicast import DATAGRAMS_PER_WAKE_UP, open_unicast
from feed.replication_port import ReplicationPort, ReplicationPortCounters
from feed.settings import Address
from tests.feed.sockets import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Inbox,
    address_of,
    arriving,
    free_addresses,
)

Taken = tuple[bytes, str]
READ_BYTES = 2000


def nothing() -> None:
    """What is done after each turn when a test does not care."""


class Ports:
    """A port at a free address, two holders that it knows, and what it has taken."""

    def __init__(
        self, sockets: ExitStack, after: Callable[[], None] = nothing, read_bytes: int = READ_BYTES
    ) -> None:
        self.first, self.second, self.stranger = (
            sockets.enter_context(closing(open_unicast(LOOPBACK))) for _ in range(3)
        )
        self.address = free_addresses(1)[0]
        self.inbox = Inbox[Taken]()
        self.times_ns: list[int] = []
        holders = {
            "e1": address_of(self.first),
            "r1": Address("localhost", address_of(self.second).port),
        }
        self.port = sockets.enter_context(
            closing(ReplicationPort(self.address, holders, read_bytes, self._take, after))
        )

    def _take(self, data: bytes, sender: str, now_ns: int) -> None:
        self.times_ns.append(now_ns)
        self.inbox([(data, sender)])

    def tell(self, sender: socket, data: bytes) -> None:
        sender.sendto(data, self.address)


def test_each_holder_is_known_by_where_it_sends_from_and_strangers_are_counted_and_dropped() -> (
    None
):
    async def scenario() -> None:
        with ExitStack() as sockets:
            ports = Ports(sockets)
            began_ns = monotonic_ns()
            ports.port.start()
            ports.tell(ports.second, b"from r1")
            ports.tell(ports.stranger, b"I am e1")
            ports.tell(ports.first, b"from e1")
            ports.tell(ports.stranger, b"and r1")
            ports.tell(ports.second, b"r1 again")
            assert await ports.inbox.holds(3) == [
                *((b"from r1", "r1"), (b"from e1", "e1"), (b"r1 again", "r1")),
            ]
            assert ports.port.counters == ReplicationPortCounters(datagrams=3, foreign=2)
            assert all(began_ns <= now_ns <= monotonic_ns() for now_ns in ports.times_ns)

    asyncio.run(scenario())


def test_words_go_to_the_holders_they_are_for_and_unknown_names_get_none() -> None:
    async def scenario() -> None:
        with ExitStack() as sockets:
            ports = Ports(sockets)
            ports.port.start()
            ports.port.send(
                [("r1", b"to r1"), ("e9", b"to nobody"), ("e1", b"to e1"), ("r1", b"more")]
            )
            assert await arriving(ports.second) == (b"to r1", ports.address)
            assert await arriving(ports.second) == (b"more", ports.address)
            assert await arriving(ports.first) == (b"to e1", ports.address)
            assert ports.port.counters == ReplicationPortCounters(sent=3)

    asyncio.run(scenario())


def test_a_word_that_cannot_be_sent_is_counted_and_the_next_one_goes_out() -> None:
    async def scenario() -> None:
        with ExitStack() as sockets:
            ports = Ports(sockets)
            ports.port.send([("e1", bytes(70_000)), ("e1", b"small")])
            assert (await arriving(ports.first))[0] == b"small"
            assert ports.port.counters == ReplicationPortCounters(sent=1, send_errors=1)

    asyncio.run(scenario())


def test_after_all_that_waited_was_taken_the_turn_ends_once_whoever_it_came_from() -> None:
    async def scenario() -> None:
        turns: list[int] = []
        ended = asyncio.Event()

        def after() -> None:
            turns.append(len(ports.inbox.items))
            ended.set()

        with ExitStack() as sockets:
            ports = Ports(sockets, after)
            count = DATAGRAMS_PER_WAKE_UP + 3
            for _ in range(count):
                ports.tell(ports.first, b"waits already")
            ports.port.start()
            await ports.inbox.holds(count)
            await asyncio.wait_for(ended.wait(), PATIENCE_SECONDS)
            assert turns == [DATAGRAMS_PER_WAKE_UP, count]
            ended.clear()
            ports.tell(ports.stranger, b"nothing to take")
            await asyncio.wait_for(ended.wait(), PATIENCE_SECONDS)
            assert turns == [DATAGRAMS_PER_WAKE_UP, count, count]

    asyncio.run(scenario())


def test_a_datagram_longer_than_any_is_cut_off_so_that_its_checks_fail() -> None:
    async def scenario() -> None:
        with ExitStack() as sockets:
            ports = Ports(sockets, read_bytes=60)
            ports.port.start()
            for size in (59, 60, 5000):
                ports.tell(ports.first, bytes(size))
            assert [len(data) for data, _ in await ports.inbox.holds(3)] == [59, 60, 60]

    asyncio.run(scenario())


def test_the_port_is_taken_from_the_start_and_free_after_the_end() -> None:
    async def scenario() -> None:
        address = free_addresses(1)[0]

        def made(holders: dict[str, Address]) -> ReplicationPort:
            return ReplicationPort(address, holders, READ_BYTES, lambda *_: None, nothing)

        port = made({})
        with pytest.raises(OSError, match=f"can't listen at {address}"):
            made({})
        port.start()
        port.close()
        port.close()
        with pytest.raises(OSError, match="no IPv4 address"):
            made({"e1": Address("no host is called this", 1)})
        made({}).close()

    asyncio.run(scenario())
    gc.collect()  # a socket left open would warn here
