"""The list that the suite `feed` publishes: groups as an exchange on a usual day makes them."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from feed.checksum import crc32c
from feed.codec import PacketHeader, encode_group
from feed.frames import encode_packets
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    EnterOrder,
    Message,
    OrderType,
    PostOnly,
    Side,
    TimeInForce,
    Trade,
)
from feed.run import Run, joined, read_packet
from tools.bench.workload import CLIENTS, SYMBOL

_SEED = 1
_TIME_NS = 1_700_000_000_000_000_000  # any time: the feed only carries it
_KINDS, _SHARES = ("rest", "cancel", "trade"), (55, 35, 10)  # those of the neutral workload
_PRICE = 1_000_000
_MOST_MAKERS = 5


class PublishedList(NamedTuple):
    """What is published, and what has to arrive."""

    runs: Sequence[Run]  # as the publisher is given them
    frames: int
    digest: int  # the CRC-32C of all frames, back to back
    packets: int  # that they come to
    size: int  # the bytes of these packets


def published_list(groups: int, payload_bytes: int, packets_of_run: int) -> PublishedList:
    """A list of so many groups, in runs that fill so many packets each, but for the last one."""
    data = b"".join(_frames(groups))
    packets = encode_packets(PacketHeader(0, 1, 1, 1, 0), data, payload_bytes)
    runs = [
        joined([read_packet(packet)[1] for packet in packets[first : first + packets_of_run]])
        for first in range(0, len(packets), packets_of_run)
    ]
    size = sum(map(len, packets))
    return PublishedList(runs, runs[-1].last_sequence, crc32c(data), len(packets), size)


def _frames(groups: int) -> Iterator[bytes]:
    random = Random(_SEED)
    sequence = 1
    for number in range(1, groups + 1):
        (kind,) = random.choices(_KINDS, _SHARES)
        group = _group(kind, number, sequence, random)
        yield from encode_group(group, sequence, _TIME_NS + number)
        sequence += len(group)


def _group(kind: str, number: int, sequence: int, random: Random) -> list[Message]:
    """A command and its events; they need not make sense, but have the sizes of those that do."""
    client = number % CLIENTS + 1
    if kind == "cancel":
        canceled = Canceled(client, number, sequence, random.randint(1, 100), CancelReason.USER)
        return [CancelOrder(client, number, 0), canceled]
    order = EnterOrder(
        client,
        number,
        SYMBOL,
        random.choice((Side.BUY, Side.SELL)),
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        random.randint(1, 100),
        _PRICE + random.randint(-50, 50) * 100,
        0,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )
    if kind == "rest":
        return [order]
    trades = [
        Trade(SYMBOL, _PRICE, 1, order.side, sequence, maker, number, sequence, client, number)
        for maker in range(random.randint(1, _MOST_MAKERS))
    ]
    return [order, *trades]
