"""Receivers to test with, a list of frames, and packets of it."""

from collections.abc import Iterable
from random import Random

from feed.codec import HEARTBEAT
from feed.gap import RepairPolicy
from feed.receiver import Receiver
from tests.feed.lists import MILLISECOND_NS, SHARD, asked, frames_up_to, packet, sequences

FRAMES = frames_up_to(400)
SOON_NS = MILLISECOND_NS  # after the reorder wait and its jitter


def receiver(
    *,
    source_count: int = 2,
    first_sequence: int | None = 1,
    committed_only: bool = False,
    rewinds: bool = False,
    policy: RepairPolicy | None = None,
) -> Receiver:
    return Receiver(
        shard=SHARD,
        source_count=source_count,
        random=Random(1),
        policy=policy or RepairPolicy(),
        first_sequence=first_sequence,
        committed_only=committed_only,
        rewinds=rewinds,
    )


def data(first: int, last: int, *, committed: int | None = None, epoch: int = 1) -> bytes:
    """A packet of the frames `first` to `last`."""
    return packet(FRAMES[first - 1 : last], first, committed=committed, epoch=epoch)


def heartbeat(next_sequence: int, *, committed: int | None = None, epoch: int = 1) -> bytes:
    """A heartbeat of a list that ends before `next_sequence`, committed unless said otherwise."""
    return packet((), next_sequence, committed=committed, epoch=epoch, flags=HEARTBEAT)


def take(to: Receiver, datagrams: Iterable[bytes], now_ns: int = 0) -> list[list[int]]:
    """The sequence numbers that come out for each datagram."""
    out = []
    for datagram in datagrams:
        out.append(sequences(to.on_datagram(datagram, now_ns)))
        to.check()
    return out


def ranges(to: Receiver, now_ns: int) -> list[tuple[int, int]]:
    """The ranges that the receiver asks for, whomever."""
    return [(first, last) for _, first, last in asked(to.on_time(now_ns))]


def counted(to: Receiver) -> dict[str, int]:
    """The counters that are not zero."""
    counters = to.counters
    values = {name: getattr(counters, name) for name in counters.__slots__}
    return {name: value for name, value in values.items() if value}
