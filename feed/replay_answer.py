"""The reading end of a replay: bytes of an answer in, what may be believed of it out."""

from dataclasses import dataclass
from typing import TypeAlias

from feed.codec import HEARTBEAT, RETRANSMISSION, SNAPSHOT, PacketHeader, WireError
from feed.datagrams import Repair, Replay, decode_repair, is_repair
from feed.replay import LENGTH, MESSAGE_LIMIT_BYTES, ROUNDS_LIMIT
from feed.run import Run, read_packet
from feed.schema import RepairKind, ReplayKind
from feed.snapshot import SnapshotError, SnapshotReader

# Ten times what the largest machine's state takes; what is longer would never end.
SNAPSHOT_LIMIT_BYTES = 8 << 30


class ReplayError(Exception):
    """An answer that can't be used, or not any further; the text says why."""


class ReplayMissing(ReplayError):
    """The source says that it does not hold what was asked for."""


@dataclass(frozen=True, slots=True)
class ListPacket:
    """A packet that goes on with the list, to be taken in like a retransmission."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """Verified bytes of a snapshot, or of its tail, to be kept until `SnapshotIsWhole`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotIsWhole:
    """The parts so far are a snapshot, and `reader` has read it; the list goes on from there."""

    reader: SnapshotReader


Item: TypeAlias = ListPacket | SnapshotPart | SnapshotIsWhole


class ReplayAnswer:
    """Reads the answer to one request, and refuses all that no sound source would send.

    That is: damaged or foreign bytes; another shard, or an epoch older than one already known;
    frames out of order, that were not asked for, or that are not said to be committed; a snapshot
    that is not sound; what does not come to an end.
    """

    __slots__ = (
        "_epoch",
        "_request",
        "_rounds",
        "_snapshot",
        "_snapshot_bytes",
        "_unread",
        "is_over",
        "next_sequence",
        "target_sequence",
    )

    def __init__(self, request: Replay) -> None:
        self.next_sequence = request.first_sequence  # of the list's frame that comes next
        self.target_sequence = 0  # the answer goes to this frame, as far as is known by now
        self.is_over = False  # all of it is there; nothing else may come
        self._request = request
        self._epoch = request.epoch
        self._rounds = 0
        self._snapshot: SnapshotReader | None = None
        self._snapshot_bytes = 0
        self._unread = bytearray()

    def take(self, data: bytes, epoch: int = 0) -> list[Item]:
        """Read on; `epoch` is the highest that is known from elsewhere.

        Raises ReplayError at the first message that can't be used.
        """
        self._epoch = max(self._epoch, epoch)
        unread = self._unread
        unread += data
        items: list[Item] = []
        offset = 0
        while len(unread) - offset >= LENGTH.size:
            (size,) = LENGTH.unpack_from(unread, offset)
            if not 0 < size <= MESSAGE_LIMIT_BYTES:
                raise ReplayError(f"it sends a message of {size} bytes")
            begin = offset + LENGTH.size
            if len(unread) - begin < size:
                break
            offset = begin + size
            items += self._on_message(bytes(unread[begin:offset]))
        del unread[:offset]
        if self.is_over and unread:
            raise ReplayError("it goes on after the end of its answer")
        return items

    def _on_message(self, data: bytes) -> list[Item]:
        if self.is_over:
            raise ReplayError("it goes on after the end of its answer")
        try:
            if is_repair(data):
                self._on_missing(decode_repair(data))
            header, run = read_packet(data)
        except WireError as error:
            raise ReplayError(f"it sends rubbish: {error}") from error
        if header.shard != self._request.shard:
            raise ReplayError(f"it answers for shard {header.shard}")
        if header.epoch < self._epoch:
            raise ReplayError(f"it is in epoch {header.epoch}, and {self._epoch} is known")
        self._epoch = header.epoch
        if header.flags == SNAPSHOT:
            return self._on_snapshot(run)
        if header.flags & SNAPSHOT or not header.flags & RETRANSMISSION:
            raise ReplayError(f"it sends a packet with the flags {header.flags}")
        if self._snapshot is not None and not self._snapshot.is_whole:
            return self._on_tail(self._snapshot, run)
        if header.first_sequence != self.next_sequence:
            raise ReplayError(f"it sends {header.first_sequence}, not {self.next_sequence}")
        if header.flags & HEARTBEAT:
            return self._on_heartbeat(header, data)
        return self._on_frames(header, run, data)

    def _on_missing(self, repair: Repair) -> None:
        if repair.kind is not RepairKind.MISSING or repair.shard != self._request.shard:
            raise ReplayError("it sends a NAK")
        raise ReplayMissing(f"it lacks {repair.first_sequence} to {repair.last_sequence}")

    def _on_heartbeat(self, header: PacketHeader, data: bytes) -> list[Item]:
        if header.committed_sequence >= header.first_sequence:
            self._rounds += 1
            if self._rounds > ROUNDS_LIMIT or self.next_sequence <= self.target_sequence:
                raise ReplayError("it does not come to an end")
            self.target_sequence = header.committed_sequence
            return []
        if self.next_sequence <= self.target_sequence:
            raise ReplayError(f"it ends before frame {self.target_sequence}, which it announced")
        self.is_over = True
        return [ListPacket(data)]

    def _on_frames(self, header: PacketHeader, run: Run, data: bytes) -> list[Item]:
        if not run or run.last_sequence > self.target_sequence:
            raise ReplayError(f"it goes on after frame {self.target_sequence}, its last")
        if run.last_sequence > header.committed_sequence:
            raise ReplayError("it sends frames that are not committed")
        self.next_sequence = run.next_sequence
        return [ListPacket(data)]

    def _on_snapshot(self, run: Run) -> list[Item]:
        if self._snapshot is None:
            if self._request.kind is ReplayKind.LIST or self._rounds:
                raise ReplayError("it sends a snapshot where none was asked for")
            self._snapshot = SnapshotReader()
        if self._snapshot.end is not None:
            raise ReplayError("it goes on with a snapshot after its end")
        return self._on_tail(self._snapshot, run)

    def _on_tail(self, snapshot: SnapshotReader, run: Run) -> list[Item]:
        if not run:
            raise ReplayError("it sends a packet without frames in its snapshot")
        self._snapshot_bytes += len(run.data)
        if self._snapshot_bytes > SNAPSHOT_LIMIT_BYTES:
            raise ReplayError("its snapshot does not come to an end")
        try:
            snapshot.take(run.data)
        except SnapshotError as error:
            raise ReplayError(f"it sends a bad snapshot: {error}") from error
        items: list[Item] = [SnapshotPart(run.data)]
        if snapshot.is_whole:
            assert snapshot.head is not None
            sequence = snapshot.head.sequence
            if sequence < self._request.first_sequence:
                raise ReplayError(f"it sends a snapshot of {sequence}, which comes too early")
            self.next_sequence = sequence + 1
            items.append(SnapshotIsWhole(snapshot))
        return items
