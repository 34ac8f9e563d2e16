"""The receiving end of a list: datagrams in, frames in sequence out, NAKs when some are missing.

Rules of the list that hold here: a packet of an older epoch than the highest seen moves nothing; a
new epoch drops what was held of the old one and is not committed, since the new primary may have
decided otherwise; what is not wholly intact is dropped, and repaired like any loss.
"""

from dataclasses import dataclass
from random import Random

from feed.codec import RETRANSMISSION, Frame, WireError, decode_packet
from feed.datagrams import decode_repair, is_repair
from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Gaps, Nak, RepairPolicy
from feed.schema import PACKET_MAGIC, RepairKind


@dataclass(slots=True)
class ReceiverCounters:
    """What a receiver has seen since it began. Each datagram counts once, in the first group."""

    packets: int = 0  # intact, of this shard and epoch; heartbeats and retransmissions among them
    missing_answers: int = 0  # a retransmitter said that it lacks what it was asked for
    foreign: int = 0  # neither a packet nor a repair datagram
    corrupt: int = 0  # damaged, truncated, or of another version
    other_shard: int = 0
    stale_epoch: int = 0  # of an older epoch than the highest seen
    stray_repairs: int = 0  # repair datagrams from nobody that was to be asked, or not answers
    after_failure: int = 0  # came when the receiver had given up, or made it

    heartbeats: int = 0  # packets without frames
    frames: int = 0  # given out, in sequence
    duplicates: int = 0  # frames that came again
    held_early: int = 0  # frames that had to wait for earlier ones, or for their commit
    dropped_early: int = 0  # frames too far ahead to be held; asked for when their time comes
    dropped_epoch: int = 0  # held frames that a new epoch made doubtful
    frames_recovered: int = 0  # frames that came by retransmission
    naks_sent: int = 0
    gaps_detected: int = 0  # maximal ranges of missing frames
    gaps_filled: int = 0  # of these, the ones that arrived wholly, late or by retransmission
    gaps_abandoned: int = 0  # of these, the ones that a new epoch made void


class Receiver:
    """Reads the list of one shard from `first_sequence` on, or live, without a hole.

    With `first_sequence` None it starts at the first group that begins after it joined; until then
    `next_sequence` is 0. With `committed_only` it gives out no frame before it is committed.

    With `rewinds`, for a holder, a new epoch has it give out again what follows the last committed
    frame, since the new primary may have another list from there; its reader compares.

    `source_count` retransmitters can be asked, the last `last_resort_count` of them only when all
    others have been. Times are of one monotonic clock, in nanoseconds.
    """

    __slots__ = (
        "_committed_only",
        "_counters",
        "_frontier",
        "_gaps",
        "_held",
        "_held_limit",
        "_rewinds",
        "_settled_sequence",
        "_shard",
        "_source_count",
        "committed_sequence",
        "epoch",
        "failure",
        "heard_ns",
        "highest_sequence",
        "next_sequence",
    )

    def __init__(
        self,
        *,
        shard: int,
        source_count: int,
        random: Random,
        policy: RepairPolicy = DEFAULT_REPAIR_POLICY,
        first_sequence: int | None = 1,
        last_resort_count: int = 0,
        committed_only: bool = False,
        rewinds: bool = False,
    ) -> None:
        if first_sequence is not None and first_sequence < 1:
            raise ValueError("the list begins with sequence number 1")
        self._shard = shard
        self._source_count = source_count
        self._committed_only = committed_only
        self._rewinds = rewinds
        self._held_limit = policy.held_limit_frames
        self._held: dict[int, Frame] = {}
        self._gaps = Gaps(
            shard=shard,
            source_count=source_count,
            random=random,
            policy=policy,
            last_resort_count=last_resort_count,
        )
        self._counters = ReceiverCounters()
        self.next_sequence = first_sequence or 0  # of the next frame to be given out
        self._frontier = self.next_sequence  # every earlier frame was given out, is held or missing
        self.highest_sequence = max(self.next_sequence - 1, 0)  # known to exist
        self.committed_sequence = 0
        self.epoch = 0  # the highest seen
        self._settled_sequence = 0  # committed before this epoch
        self.heard_ns: int | None = None  # when the primary of this epoch itself was last heard
        self.failure: GapFailure | None = None  # set when the list can't be read further

    @property
    def counters(self) -> ReceiverCounters:
        """The counts as of now."""
        self._counters.gaps_detected = self._gaps.detected
        self._counters.gaps_filled = self._gaps.filled
        self._counters.gaps_abandoned = self._gaps.abandoned
        return self._counters

    @property
    def deadline_ns(self) -> int | None:
        """When to call `on_time` next; None while nothing is missing."""
        return self._gaps.deadline_ns if self._gaps else None

    @property
    def missing_frames(self) -> int:
        """How many of the frames that could be held are missing."""
        return self._gaps.missing_frames

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> list[Frame]:
        """Take one UDP datagram in; the frames that now follow in sequence come out.

        `source` is the retransmitter that sent it, when it came by unicast from one of them. A
        datagram that is damaged, foreign or stale is counted and changes nothing.
        """
        counters = self._counters
        try:
            header, frames = decode_packet(data)
        except WireError:
            self._on_other(data, now_ns, source)
            return []
        flags, shard, epoch, first, committed = header
        if shard != self._shard:
            counters.other_shard += 1
            return []
        if epoch < self.epoch:
            counters.stale_epoch += 1
            return []
        settled = self._settled_sequence if epoch == self.epoch else self.committed_sequence
        if first <= settled and not flags & RETRANSMISSION:
            counters.after_failure += 1
            self._fail_rewritten(epoch, first, settled)
            return []
        if epoch > self.epoch:
            self._open_epoch(epoch)
        if not flags & RETRANSMISSION:
            self.heard_ns = now_ns
        if self.failure is not None:
            counters.after_failure += 1
            return []
        counters.packets += 1
        if committed > self.committed_sequence:
            self.committed_sequence = committed
        last = first + len(frames) - 1
        if first == self.next_sequence == self.highest_sequence + 1 and (
            committed == last or (committed < last and not self._committed_only)
        ):
            # Nothing is missing or held, and the packet is what comes next: the usual case.
            self.next_sequence = self._frontier = last + 1
            self.highest_sequence = last
            counters.frames += len(frames)
            if not frames:
                counters.heartbeats += 1
            return list(frames)
        self._hold(frames, first, last, bool(flags & RETRANSMISSION), now_ns)
        return self._release(now_ns)

    def on_time(self, now_ns: int) -> list[Nak]:
        """The NAKs that are due, each to be sent to its retransmitter."""
        naks = self._gaps.on_time(now_ns, self.epoch)
        self._counters.naks_sent += len(naks)
        failure = self._gaps.failure
        if failure is not None and self.failure is None:
            if self._committed_only and failure.first_sequence > self.committed_sequence:
                # Nobody has to have it: it may have died with its primary. A new one decides that.
                self._gaps.begin_again(now_ns)
            else:
                self.failure = failure
        return naks

    def retry(self, now_ns: int) -> None:
        """Ask again for what nobody had: who has it may have come back."""
        if self._gaps.failure is not None:
            self._gaps.begin_again(now_ns)
            self.failure = None

    def fence(self, epoch: int) -> None:
        """Take nothing of an epoch older than this one any more, which is what an ASK demands."""
        if epoch > self.epoch:
            self._open_epoch(epoch)

    def resume(self, epoch: int, committed_sequence: int) -> None:
        """Read on after the last committed frame, as one who led in `epoch` and has to follow."""
        self.next_sequence = self._frontier = committed_sequence + 1
        self.highest_sequence = self.committed_sequence = committed_sequence
        self._held.clear()
        self._gaps.truncate(0)  # what was missing has been adopted since
        self.epoch = epoch
        self.failure = self._gaps.failure = None

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self._gaps.check()
        assert self.next_sequence <= self._frontier <= self.highest_sequence + 1
        assert self._frontier - self.next_sequence <= self._held_limit
        assert len(self._held) + self.missing_frames == self._frontier - self.next_sequence
        for sequence, frame in self._held.items():
            assert self.next_sequence <= sequence < self._frontier
            assert frame.sequence == sequence

    def _on_other(self, data: bytes, now_ns: int, source: int | None) -> None:
        """Take in what is no intact packet: a retransmitter's MISSING, or rubbish."""
        counters = self._counters
        if not is_repair(data):
            if data.startswith(PACKET_MAGIC):
                counters.corrupt += 1
            else:
                counters.foreign += 1
            return
        try:
            repair = decode_repair(data)
        except WireError:
            counters.corrupt += 1
            return
        if repair.shard != self._shard:
            counters.other_shard += 1
        elif (
            repair.kind is not RepairKind.MISSING
            or source is None
            or not 0 <= source < self._source_count
        ):
            counters.stray_repairs += 1
        else:
            counters.missing_answers += 1
            self._gaps.refuse(source, repair.first_sequence, repair.last_sequence, now_ns)

    def _fail_rewritten(self, epoch: int, first: int, settled: int) -> None:
        """Stop: a primary has forgotten what is committed, and numbers other frames like it.

        A new primary multicasts its EPOCH frame and what follows, and holds all that is committed;
        so its packets begin later than that, unless they are retransmissions.
        """
        reason = f"the primary of epoch {epoch} has begun the list anew at {first}"
        self.failure = GapFailure(first, settled, reason)

    def _open_epoch(self, epoch: int) -> None:
        """Follow a new primary: what its predecessor left uncommitted is not to be trusted."""
        self.epoch = epoch
        self.heard_ns = None
        committed = self._settled_sequence = self.committed_sequence
        if self._rewinds:
            self.next_sequence = min(self.next_sequence, committed + 1)
            kept = committed
        else:
            kept = max(committed, self.next_sequence - 1)
        doubtful = [sequence for sequence in self._held if sequence > kept]
        for sequence in doubtful:
            del self._held[sequence]
        self._counters.dropped_epoch += len(doubtful)
        self._gaps.truncate(kept)
        self._frontier = min(self._frontier, kept + 1)
        self.highest_sequence = kept
        if self.failure is not None and self.failure.first_sequence > kept:
            # Nobody had these frames; the new primary need not have them either.
            self.failure = self._gaps.failure = None

    def _hold(
        self, frames: tuple[Frame, ...], first: int, last: int, answered: bool, now_ns: int
    ) -> None:
        """Keep those frames of a packet that are not known yet and not too far ahead."""
        counters = self._counters
        self.highest_sequence = max(self.highest_sequence, last, self.committed_sequence)
        if not frames:
            counters.heartbeats += 1
            return
        if not self.next_sequence:
            frames = self._join(frames)
            if not frames:
                return
            first = frames[0].sequence
        held = self._held
        next_sequence = self.next_sequence
        limit = next_sequence + self._held_limit
        new = 0
        for frame in frames:
            sequence = frame.sequence
            if sequence < next_sequence or sequence in held:
                counters.duplicates += 1
            elif sequence >= limit:
                counters.dropped_early += 1
            else:
                held[sequence] = frame
                new += 1
        if not new:
            return
        counters.held_early += new
        if answered:
            counters.frames_recovered += new
        last = min(last, limit - 1)
        self._gaps.fill(first, last, now_ns)
        if last >= self._frontier:
            if first > self._frontier:
                self._gaps.open(self._frontier, first - 1, now_ns)
            self._frontier = last + 1

    def _join(self, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Start with the first group that begins among these frames, if one does."""
        for i, frame in enumerate(frames):
            if frame.is_command:
                self.next_sequence = self._frontier = frame.sequence
                return frames[i:]
        return ()

    def _release(self, now_ns: int) -> list[Frame]:
        """Take out what follows in sequence; note as missing what there is room for now."""
        held = self._held
        sequence = self.next_sequence
        stop = self._frontier
        if self._committed_only:
            stop = min(stop, self.committed_sequence + 1)
        released = []
        while sequence < stop and (frame := held.pop(sequence, None)) is not None:
            released.append(frame)
            sequence += 1
        self.next_sequence = sequence
        self._counters.frames += len(released)
        if sequence:
            last = min(self.highest_sequence, sequence + self._held_limit - 1)
            if self._frontier <= last:
                self._gaps.open(self._frontier, last, now_ns)
                self._frontier = last + 1
        return released
