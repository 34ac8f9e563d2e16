"""What the primaries of a shard do, one after the other, around a real machine: for tests.

A primary's list is committed as far as a test says; the next one goes on with as much of it as a
test leaves to it, and never with less than what is committed.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from engine.market import Market
from feed.codec import (
    HEARTBEAT,
    RETRANSMISSION,
    PacketHeader,
    decode_frame,
    encode_frame,
    encode_group,
    encode_packet,
)
from feed.datagrams import Decision, Submission
from feed.digest import ListDigest
from feed.messages import Command, Epoch, Snapshot, holder_field
from feed.publisher import Publisher, chunks
from feed.run import run_of_frames
from feed.schema import FrameType
from feed.snapshot import WholeSnapshot, encode_snapshot, read_snapshot
from zk.election import PrimaryRecord

PAYLOAD_LIMIT_BYTES = 1400


class Reign:
    """One primary, from its takeover on; `open` begins its epoch."""

    def __init__(
        self, shard: int, epoch: int, list_so_far: Sequence[bytes] = (), committed_sequence: int = 0
    ) -> None:
        self.shard = shard
        self.record = PrimaryRecord(f"e{epoch % 3 + 1}", epoch, "127.0.0.1:1")
        self.market = Market()
        self.frames = list(list_so_far)
        self.committed_sequence = committed_sequence
        self.is_open = False
        self.commits = True  # everything at once; else when a test says so
        self.not_admitted = 0
        self._time_ns = 0
        self._adopted = self.frames[committed_sequence:]
        self._unsent: list[bytes] = []
        self._publisher = Publisher(shard=shard, epoch=epoch, next_sequence=self.last_sequence + 1)
        for frame in map(decode_frame, self.frames):
            if frame.is_command:
                command = cast(Command, frame.message())
                self.market.apply(frame.sequence, frame.time_ns, command)

    @property
    def epoch(self) -> int:
        return self.record.epoch

    @property
    def last_sequence(self) -> int:
        return len(self.frames)

    def open(self, time_ns: int, commands: Iterable[Command] = ()) -> None:
        """Begins the epoch with its first frame."""
        self.is_open = True
        self.sequence(Epoch(self.epoch, holder_field(self.record.name)), time_ns)
        for command in commands:
            self.submit(Submission(0, command), time_ns)

    def submit(self, submission: Submission, time_ns: int) -> None:
        """Takes a command as it comes from a gateway."""
        if self.market.admits(submission.login, submission.command):
            self.sequence(submission.command, time_ns)
        else:
            self.not_admitted += 1

    def sequence(self, command: Command, time_ns: int) -> None:
        """Puts a command into the list."""
        self._time_ns = max(self._time_ns, time_ns)
        first = self.last_sequence + 1
        events = self.market.apply(first, self._time_ns, command)
        frames = encode_group((command, *events), first, self._time_ns)
        self.frames += frames
        self._unsent += frames

    def decision(self, submissions: int) -> Decision:
        """What is said about the first so many submissions of a connection."""
        return Decision(self.epoch, submissions, self.last_sequence)

    def flush(self, now_ns: int = 0) -> list[bytes]:
        """The packets to be sent now; what was adopted and is not committed goes first."""
        adopted, self._adopted = self._adopted, []
        packets = [
            encode_packet(self._header(RETRANSMISSION, decode_frame(chunk[0]).sequence), chunk)
            for chunk in chunks(adopted, PAYLOAD_LIMIT_BYTES)
        ]
        if self.commits and self._unsent:
            self.committed_sequence = self.last_sequence
        unsent, self._unsent = self._unsent, []
        run = run_of_frames(self._publisher.next_sequence, unsent)
        return packets + self._publisher.publish(run, self.committed_sequence, now_ns)

    def commit(self) -> list[bytes]:
        """Everything is committed; the packets that say so."""
        packets = self.flush()
        self.committed_sequence = self.last_sequence
        return [*packets, self.heartbeat()]

    def heartbeat(self) -> bytes:
        """A packet that says how far the list is, and how far it is committed."""
        return encode_packet(self._header(HEARTBEAT, self.last_sequence + 1))

    def snapshot(self) -> WholeSnapshot:
        """That of its market, at the end of its list."""
        whole = run_of_frames(1, self.frames)
        digest = ListDigest()
        digest.update(whole)
        opened = next(
            frame
            for frame in map(decode_frame, reversed(self.frames))
            if frame.type is FrameType.EPOCH
        )
        epoch = cast(Epoch, opened.message())
        head = Snapshot(
            self.last_sequence, epoch.epoch, opened.sequence, epoch.primary, *digest.block
        )
        state = [
            encode_frame(record, number, self._time_ns, end=False)
            for number, record in enumerate(self.market.state(), 2)
        ]
        tail = whole.part(head.digest_sequence + 1, self.last_sequence)
        chunks = list(
            encode_snapshot(head, [run_of_frames(2, state)], bytes(32), tail, self._time_ns)
        )
        return read_snapshot(lambda: chunks)

    def without_tail(self, groups: int) -> list[bytes]:
        """The list without its last so many groups, as far as they are not committed."""
        kept = list(self.frames)
        for _ in range(groups):
            end = len(kept)
            while end > self.committed_sequence and not decode_frame(kept[end - 1]).is_command:
                end -= 1
            if end > self.committed_sequence:
                del kept[end - 1 :]
        return kept

    def successor(self, time_ns: int, lost_groups: int = 0) -> "Reign":
        """The next primary, whose epoch is open; this one commits nothing any more."""
        self.commits = False
        adopted = self.without_tail(lost_groups)
        reign = Reign(self.shard, self.epoch + 1, adopted, self.committed_sequence)
        reign.open(time_ns)
        return reign

    def _header(self, flags: int, first_sequence: int) -> PacketHeader:
        return PacketHeader(flags, self.shard, self.epoch, first_sequence, self.committed_sequence)
