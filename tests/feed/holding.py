"""Holders to test with, lists that several primaries wrote, and what holders say to one another."""

from collections.abc import Iterable, Sequence
from random import Random

from feed.codec import RETRANSMISSION, decode_frame, encode_frame
from feed.datagrams import HolderWord, decode_holder_word
from feed.gap import DEFAULT_REPAIR_POLICY, RepairPolicy
from feed.holder import Holder, HolderIdentity
from feed.messages import Epoch, holder_field
from feed.schema import HolderKind
from feed.vote import Vote
from tests.feed.lists import MILLISECOND_NS, SHARD, group_frames, packet

INCARNATION = 11
SUSPICION_TIME_NS = 30 * MILLISECOND_NS
PAYLOAD_LIMIT_BYTES = 1400


def holder(
    *,
    cache_bytes: int = 1 << 20,
    peer_count: int = 2,
    policy: RepairPolicy = DEFAULT_REPAIR_POLICY,
) -> Holder:
    """One whose vote is not known yet."""
    return Holder(
        HolderIdentity(SHARD, "r1", INCARNATION),
        peer_count=peer_count,
        last_resort_count=min(peer_count, 1),
        random=Random(1),
        cache_bytes=cache_bytes,
        payload_limit_bytes=PAYLOAD_LIMIT_BYTES,
        suspicion_time_ns=SUSPICION_TIME_NS,
        policy=policy,
    )


def voter(*, cache_bytes: int = 1 << 20, peer_count: int = 2) -> Holder:
    """One that was never here before, and has a vote."""
    made = holder(cache_bytes=cache_bytes, peer_count=peer_count)
    made.on_start(0, was_here=False, now_ns=0)
    return made


def reign(
    epoch: int, primary: str, first_sequence: int, sizes: Iterable[int] = (), client: int = 0
) -> list[bytes]:
    """What a primary writes: its EPOCH frame, then groups of these sizes, like no other's."""
    frames = [encode_frame(Epoch(epoch, holder_field(primary)), first_sequence, 0, end=True)]
    for size in sizes:
        frames += group_frames(first_sequence + len(frames), size, client=client or epoch)
    return frames


def group_ends(frames: Iterable[bytes]) -> list[int]:
    """The sequence numbers that groups end at."""
    return [frame.sequence for frame in map(decode_frame, frames) if frame.is_end]


# Two primaries' lists. The second adopted six frames of the first; both hold a group of three.
FIRST = reign(1, "e1", 1, [1, 1, 3, 1, 1])  # 1 EPOCH · 2 · 3 · 4 to 6 · 7 · 8
SECOND = FIRST[:6] + reign(2, "e2", 7, [1, 3])  # the same six · 7 EPOCH · 8 · 9 to 11


def new(frames: Sequence[bytes], first: int, last: int, *, epoch: int, committed: int = 0) -> bytes:
    """A packet of the frames `first` to `last` of a list, from its primary."""
    return packet(frames[first - 1 : last], first, epoch=epoch, committed=committed)


def again(
    frames: Sequence[bytes], first: int, last: int, *, epoch: int, committed: int = 0
) -> bytes:
    """The same as a retransmission."""
    part = frames[first - 1 : last]
    return packet(part, first, epoch=epoch, committed=committed, flags=RETRANSMISSION)


def take(to: Holder, *datagrams: bytes, now_ns: int = 0) -> list[list[int]]:
    """The sequence numbers of what was new, for each datagram."""
    out = []
    for datagram in datagrams:
        out.append([frame.sequence for frame in to.on_datagram(datagram, now_ns)])
        to.check()
    return out


def held(of: Holder) -> list[bytes]:
    """All frames that are held, doubtful or not."""
    return of.list.cache.frames(of.list.cache.first_sequence, of.last_sequence)


def vote(of: Holder) -> Vote:
    """Its vote as of now."""
    return of.vote


def word(
    kind: HolderKind,
    *,
    epoch: int,
    speaker: str = "e2",
    incarnation: int = 22,
    last_epoch: int = 0,
    last_sequence: int = 0,
    committed: int = 0,
) -> HolderWord:
    """What another holder says."""
    return HolderWord(
        kind,
        SHARD,
        epoch,
        holder_field(speaker),
        incarnation,
        last_epoch,
        last_sequence,
        committed,
    )


def ask(of: Holder, epoch: int, *, speaker: str = "e2", now_ns: int = 0) -> list[HolderWord]:
    """What it answers to whoever takes over."""
    answers = of.on_word(word(HolderKind.ASK, epoch=epoch, speaker=speaker), now_ns)
    of.check()
    return [decode_holder_word(data) for data in answers]


def acknowledged(of: Holder, now_ns: int, held_sequence: int | None = None) -> int | None:
    """How far it acknowledges now, in its newest epoch; None when it says nothing."""
    data = of.ack_word(of.held_sequence if held_sequence is None else held_sequence, now_ns)
    if data is None:
        return None
    said = decode_holder_word(data)
    assert said == HolderWord(
        HolderKind.ACK,
        SHARD,
        of.epoch,
        holder_field("r1"),
        INCARNATION,
        of.last_epoch,
        said.last_sequence,
        of.committed_sequence,
    )
    return said.last_sequence
