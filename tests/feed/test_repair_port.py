"""The NAK port on real sockets: answers go back to who asked, and what can't go is counted."""

import asyncio
import gc
from contextlib import closing

import pytest

from feed.datagrams import REPAIR_BYTES
from feed.multicast import open_unicast
from feed.repair_port import RepairPort, RepairPortCounters
from feed.settings import Address
from tests.feed.sockets import LOOPBACK, address_of, arriving


def test_each_answer_goes_back_to_whoever_asked() -> None:
    async def scenario() -> None:
        def answer(data: bytes, requester: Address, now_ns: int) -> list[bytes]:
            assert now_ns > 0
            return [data * 2, str(requester).encode()]

        with (
            closing(RepairPort(LOOPBACK, answer)) as port,
            closing(open_unicast(LOOPBACK)) as first,
            closing(open_unicast(LOOPBACK)) as second,
        ):
            port.start()
            for requester, data in ((first, b"one"), (second, b"two")):
                requester.sendto(data, port.address)
                assert await arriving(requester) == (data * 2, port.address)
                own = str(address_of(requester)).encode()
                assert await arriving(requester) == (own, port.address)
            assert port.counters == RepairPortCounters(datagrams=2, answers=4)

    asyncio.run(scenario())


def test_a_datagram_longer_than_a_nak_arrives_as_one_that_is_too_long() -> None:
    async def scenario() -> None:
        with (
            closing(RepairPort(LOOPBACK, lambda data, *_: [b"%d" % len(data)])) as port,
            closing(open_unicast(LOOPBACK)) as requester,
        ):
            port.start()
            for size in (REPAIR_BYTES, REPAIR_BYTES + 1, 5000):
                requester.sendto(bytes(size), port.address)
            sizes = [int((await arriving(requester))[0]) for _ in range(3)]
            assert sizes == [REPAIR_BYTES, REPAIR_BYTES + 1, REPAIR_BYTES + 1]

    asyncio.run(scenario())


def test_an_answer_that_cannot_be_sent_is_counted_and_the_next_one_goes_out() -> None:
    async def scenario() -> None:
        with (
            closing(RepairPort(LOOPBACK, lambda *_: [bytes(70_000), b"small"])) as port,
            closing(open_unicast(LOOPBACK)) as requester,
        ):
            port.start()
            requester.sendto(b"?", port.address)
            assert (await arriving(requester))[0] == b"small"
            assert port.counters == RepairPortCounters(datagrams=1, answers=1, send_errors=1)

    asyncio.run(scenario())


def test_the_port_is_taken_from_the_start_and_free_after_the_end() -> None:
    async def scenario() -> None:
        port = RepairPort(LOOPBACK, lambda *_: [])
        with pytest.raises(OSError, match=f"can't listen at {port.address}"):
            RepairPort(port.address, lambda *_: [])
        port.start()
        port.close()
        port.close()
        RepairPort(port.address, lambda *_: []).close()

    asyncio.run(scenario())
    gc.collect()  # a socket left open would warn here
