"""Long ranges of the list, and snapshots: what is asked for over TCP, and how it is answered.

A client sends one request. The answer is datagrams of the feed, each after its length:

- where a snapshot is worth its while, that: its group in SNAPSHOT packets, its tail in
  RETRANSMISSION packets;
- a heartbeat that names the next frame and how far the list is committed, and the frames from the
  one to the other in RETRANSMISSION packets; and so again, as long as more has been committed
  meanwhile;
- MISSING, when the next frame is not held; or a heartbeat that names nothing as committed from the
  next frame on. Only these end an answer: one that breaks off before is not whole.

`feed.replay_answer` reads it, `feed.replay_port` and `feed.catch_up` are the sockets.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from feed.codec import HEARTBEAT, RETRANSMISSION, SNAPSHOT, PacketHeader, WireError, encode_packet
from feed.datagrams import Repair, Replay, decode_replay, encode_repair
from feed.frames import encode_packets
from feed.run import Run, joined
from feed.schema import RepairKind, ReplayKind
from feed.snapshot import SnapshotReader

_SECOND_NS = 1_000_000_000

# A message's length comes before it, in so many bytes.
LENGTH = struct.Struct(">I")
# The longest message: each is sent and verified in one go, and costs about a microsecond for that.
MESSAGE_LIMIT_BYTES = 1 << 16
# What is read from the source at once: a fraction of a millisecond's work for whoever answers.
PIECE_FRAMES = 2048
# A snapshot takes about as long to restore as so many frames to apply, and has to be sent first.
SNAPSHOT_WORTH_FRAMES = 200_000
# How often an answer goes on to what has been committed meanwhile: each time it is a fraction of
# what it was before, unless the client reads more slowly than the list grows.
ROUNDS_LIMIT = 8


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """How much is given to those who ask for replays, and how long they may take."""

    # At once. A shard has some holders, and its subscribers come back at different times.
    connections: int = 16
    # To all of them together; the feed has the rest of the network.
    bytes_per_second: int = 200_000_000
    # For a request to come, or one piece of an answer to be taken.
    stall_ns: int = 5 * _SECOND_NS


DEFAULT_REPLAY_LIMITS = ReplayLimits()


class SourceSnapshot(NamedTuple):
    """A snapshot that a source has."""

    sequence: int  # how much of the list it stands for
    chunks: Callable[[], Iterable[bytes]]  # its bytes


class ReplaySource(Protocol):
    """A holder's list, as it is now."""

    @property
    def shard(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def committed_sequence(self) -> int:
        """How far it holds what is committed."""
        ...

    @property
    def first_sequence(self) -> int:
        """The oldest frame that it holds; the next one while it holds none."""
        ...

    def runs(self, first: int, last: int) -> list[Run]:
        """The frames `first` to `last`, verified, as far as it holds them from `first` on."""
        ...

    def newest_snapshot(self) -> SourceSnapshot | None: ...

    def day_snapshot(self) -> SourceSnapshot | None:
        """The one that the current day began with."""
        ...


def answer_replay(data: bytes, source: ReplaySource) -> Iterator[bytes]:
    """The answer to a request, in pieces of a bounded size, each made when it is drawn.

    Raises WireError at once when `data` is no request for this shard's list. Drawing a piece raises
    SnapshotError when the snapshot turns out to be damaged: then the answer is to be broken off.
    """
    request = decode_replay(data)
    if request.shard != source.shard:
        raise WireError(f"a request for shard {request.shard}, not {source.shard}")
    return _answer(request, source)


def _answer(request: Replay, source: ReplaySource) -> Iterator[bytes]:
    first = request.first_sequence
    if request.epoch > source.epoch:
        # What is held here may be void in an epoch that is not known here yet.
        yield _missing(source, first, max(first, source.committed_sequence))
        return
    snapshot = _chosen(request, source)
    if snapshot is not None:
        yield from _snapshot(snapshot, source)
        first = snapshot.sequence + 1
    yield from _list(first, source)


def _chosen(request: Replay, source: ReplaySource) -> SourceSnapshot | None:
    """The snapshot that the answer begins with, if it does with one."""
    first = request.first_sequence
    snapshot = None
    match request.kind:
        case ReplayKind.DAY:
            snapshot = source.day_snapshot()
        case ReplayKind.STATE:
            snapshot = source.newest_snapshot()
            least = first if first < source.first_sequence else first + SNAPSHOT_WORTH_FRAMES
            if snapshot is not None and snapshot.sequence < least:
                return None
    if snapshot is None or snapshot.sequence < first:
        return None  # the asker has more already
    return snapshot if snapshot.sequence + 1 >= source.first_sequence else None


def _snapshot(snapshot: SourceSnapshot, source: ReplaySource) -> Iterator[bytes]:
    reader = SnapshotReader()
    header = PacketHeader(SNAPSHOT, source.shard, source.epoch, 0, 0)
    for chunk in snapshot.chunks():
        for run in reader.take(chunk):
            yield _packets(header, run)
    reader.finish()
    header = PacketHeader(RETRANSMISSION, source.shard, source.epoch, 0, snapshot.sequence)
    for run in reader.tail:
        yield _packets(header, run)


def _list(sequence: int, source: ReplaySource) -> Iterator[bytes]:
    for _ in range(ROUNDS_LIMIT):
        committed = source.committed_sequence
        if sequence > committed:
            break
        yield _heartbeat(source, sequence, committed)
        while sequence <= committed:
            runs = source.runs(sequence, min(committed, sequence + PIECE_FRAMES - 1))
            if not runs or runs[0].first_sequence != sequence:
                yield _missing(source, sequence, committed)
                return
            run = joined(runs)
            header = PacketHeader(RETRANSMISSION, source.shard, source.epoch, 0, committed)
            yield _packets(header, run)
            sequence = run.next_sequence
    yield _heartbeat(source, sequence, min(source.committed_sequence, sequence - 1))


def _packets(header: PacketHeader, run: Run) -> bytes:
    own = header._replace(first_sequence=run.first_sequence)
    return b"".join(map(message, encode_packets(own, run.data, MESSAGE_LIMIT_BYTES)))


def _heartbeat(source: ReplaySource, sequence: int, committed_sequence: int) -> bytes:
    flags = HEARTBEAT | RETRANSMISSION
    header = PacketHeader(flags, source.shard, source.epoch, sequence, committed_sequence)
    return message(encode_packet(header))


def _missing(source: ReplaySource, first: int, last: int) -> bytes:
    repair = Repair(RepairKind.MISSING, source.shard, source.epoch, first, last)
    return message(encode_repair(repair))


def message(datagram: bytes) -> bytes:
    """A datagram as it goes over TCP."""
    return LENGTH.pack(len(datagram)) + datagram
