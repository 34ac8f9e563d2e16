"""Lists of frames to test the feed with, and what packets and repair datagrams say about them."""

from collections.abc import Iterable, Sequence
from random import Random

from feed.codec import RETRANSMISSION, Frame, PacketHeader, encode_group, encode_packet
from feed.datagrams import Repair, decode_repair, encode_repair
from feed.digest import ListDigest
from feed.gap import Nak
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    Canceled,
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
from feed.run import run_of_frames
from feed.schema import RepairKind
from feed.subscriber import Group

SHARD = 1
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
SYMBOL = b"ACME    "


def group_frames(first_sequence: int, size: int = 1, *, client: int = 7) -> list[bytes]:
    """One group: an order that trades with `size - 2` makers and has its rest canceled."""
    number = first_sequence % 2**32
    command = EnterOrder(
        client,
        number,
        SYMBOL,
        Side.BUY,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        100,
        10_000,
        0,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )
    events: list[Message] = [
        Trade(SYMBOL, 10_000, 1, Side.BUY, maker, 8, maker, first_sequence, client, number)
        for maker in range(1, size - 1)
    ]
    if size > 1:
        events.append(Canceled(client, number, first_sequence, 1, CancelReason.IMMEDIATE))
    return encode_group((command, *events), first_sequence, number * MILLISECOND_NS)


def list_of(sizes: Iterable[int]) -> list[list[bytes]]:
    """Groups of these sizes, from sequence 1 on."""
    groups: list[list[bytes]] = []
    sequence = 1
    for size in sizes:
        groups.append(group_frames(sequence, size))
        sequence += size
    return groups


def frames_up_to(last: int) -> list[bytes]:
    """The frames 1 to `last`, each a group of its own."""
    return [frame for group in list_of([1] * last) for frame in group]


def random_sizes(random: Random, count: int) -> list[int]:
    """Mostly orders that just rest, some that trade, few that trade a lot."""
    return random.choices([1, 2, 3, 8, 60], weights=[60, 15, 15, 8, 2], k=count)


def packet(
    frames: Sequence[bytes],
    first: int,
    *,
    committed: int | None = None,
    epoch: int = 1,
    flags: int = 0,
    shard: int = SHARD,
) -> bytes:
    """A packet of these frames; all of them committed unless said otherwise."""
    if committed is None:
        committed = first + len(frames) - 1
    return encode_packet(PacketHeader(flags, shard, epoch, first, committed), frames)


def answer(
    frames: Sequence[bytes], first: int, last: int, *, committed: int = 0, epoch: int = 1
) -> bytes:
    """A retransmission of the frames `first` to `last` of a list."""
    return packet(
        frames[first - 1 : last], first, committed=committed, epoch=epoch, flags=RETRANSMISSION
    )


def missing(first: int, last: int, *, epoch: int = 1, shard: int = SHARD) -> bytes:
    """The answer that the frames `first` to `last` are missing."""
    return encode_repair(Repair(RepairKind.MISSING, shard, epoch, first, last))


def nak(first: int, last: int, *, epoch: int = 1, shard: int = SHARD) -> bytes:
    """A NAK for the frames `first` to `last`."""
    return encode_repair(Repair(RepairKind.NAK, shard, epoch, first, last))


def asked(naks: Iterable[Nak]) -> list[tuple[int, int, int]]:
    """Of each NAK: the retransmitter that is asked, and the range."""
    ranges = [(source, decode_repair(data)) for source, data in naks]
    return [(source, repair.first_sequence, repair.last_sequence) for source, repair in ranges]


def sequences(frames: Iterable[Frame]) -> list[int]:
    """The sequence numbers of frames."""
    return [frame.sequence for frame in frames]


def delivered(groups: Iterable[Group]) -> list[list[bytes]]:
    """The bytes of groups as they were delivered."""
    return [[frame.data for frame in group.frames] for group in groups]


def list_digest(frames: Sequence[bytes]) -> str:
    """The digest of a list, from its first frame on."""
    digest = ListDigest()
    digest.update(run_of_frames(1, frames))
    return digest.hex()
