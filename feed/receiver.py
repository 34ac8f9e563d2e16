"""The receiving end of a list: datagrams in, frames in sequence out, NAKs when some are missing.

Rules of the list that hold here: a packet of an older epoch than the highest seen moves nothing; a
new epoch drops what was held of the old one and is not committed, since the new primary may have
decided otherwise; what is not wholly intact is dropped, and repaired like any loss.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from feed.codec import RETRANSMISSION, SNAPSHOT, WireError
from feed.datagrams import decode_repair, is_repair
from feed.frames import scan_batch
from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Gaps, Nak, RepairPolicy
from feed.run import SNAPSHOT_TYPES, Run, empty_run, joined, read_packet
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
    held_early: int = 0  # frames that had to wait for earlier ones
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
        "_ordered",
        "_rewinds",
        "_settled_sequence",
        "_shard",
        "_source_count",
        "_waiting",
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
        self._held: dict[int, Run] = {}  # what came early, by first sequence number
        self._waiting: deque[Run] = deque()  # what follows in sequence, and is not given out yet
        self._gaps = Gaps(
            shard=shard,
            source_count=source_count,
            random=random,
            policy=policy,
            last_resort_count=last_resort_count,
        )
        self._counters = ReceiverCounters()
        self.next_sequence = first_sequence or 0  # of the next frame to be given out
        self._ordered = self.next_sequence  # of the frame that comes after the waiting ones
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

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> Run:
        """Take one UDP datagram in; the frames that now follow in sequence come out.

        `source` is the retransmitter that sent it, when it came by unicast from one of them. A
        datagram that is damaged, foreign or stale is counted and changes nothing.
        """
        counters = self._counters
        try:
            header, run = read_packet(data)
        except WireError:
            self._on_other(data, now_ns, source)
            return self._nothing
        flags, shard, epoch, first, committed = header
        if flags & SNAPSHOT or run.types & SNAPSHOT_TYPES:
            counters.foreign += 1
            return self._nothing
        if shard != self._shard:
            counters.other_shard += 1
            return self._nothing
        if epoch < self.epoch:
            counters.stale_epoch += 1
            return self._nothing
        settled = self._settled_sequence if epoch == self.epoch else self.committed_sequence
        if first <= settled and not flags & RETRANSMISSION:
            counters.after_failure += 1
            self._fail_rewritten(epoch, first, settled)
            return self._nothing
        if epoch > self.epoch:
            self._open_epoch(epoch)
        if not flags & RETRANSMISSION:
            self.heard_ns = now_ns
        if self.failure is not None:
            counters.after_failure += 1
            return self._nothing
        counters.packets += 1
        counters.heartbeats += not run
        self.committed_sequence = max(self.committed_sequence, committed)
        is_next = self._has_all and first == self._frontier and committed <= run.last_sequence
        if is_next and self._has_room(len(run)):
            self._append(run)
        else:
            self._hold(run, bool(flags & RETRANSMISSION), now_ns)
        return self._give_out(now_ns)

    def take_expected(self, datagrams: Sequence[bytes], at: int, now_ns: int) -> tuple[int, Run]:
        """Take in, from index `at` on, those datagrams of the group that are just what comes next.

        How many these were, and the frames that now follow in sequence. For the first one that is
        something else it is none, and it has to be given to `on_datagram`.
        """
        if not self._has_all or self.failure is not None:
            return 0, self._nothing
        packets, heartbeats, committed, frames, summary = scan_batch(
            datagrams, at, self._shard, self.epoch, self._frontier
        )
        if not packets or not self._has_room(summary.frame_count):
            return 0, self._nothing
        if summary.types & SNAPSHOT_TYPES:
            return 0, self._nothing
        self.heard_ns = now_ns
        self._counters.packets += packets
        self._counters.heartbeats += heartbeats
        self.committed_sequence = max(self.committed_sequence, committed)
        self._append(Run(self._frontier, frames, summary))
        return packets, self._give_out(now_ns)

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
        self.committed_sequence = self.highest_sequence = committed_sequence
        self.restart(committed_sequence + 1)
        self.epoch = epoch

    def restart(self, next_sequence: int) -> None:
        """Read on from there: what comes before it is had by other means."""
        self.next_sequence = self._ordered = self._frontier = next_sequence
        self.highest_sequence = max(self.highest_sequence, next_sequence - 1)
        self._held.clear()
        self._waiting.clear()
        self._gaps.truncate(0)  # what was missing has been had by other means since
        self.failure = self._gaps.failure = None

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self._gaps.check()
        assert self.next_sequence <= self._ordered <= self._frontier <= self.highest_sequence + 1
        assert self._frontier - self.next_sequence <= self._held_limit
        sequence = self.next_sequence
        for run in self._waiting:
            assert run.first_sequence == sequence, "what waits does not follow in sequence"
            assert len(run) > 0
            sequence = run.next_sequence
        assert sequence == self._ordered
        for first in sorted(self._held):
            run = self._held[first]
            assert run.first_sequence == first, "frames are held in a wrong place"
            assert sequence <= first, "frames are held twice"
            sequence = run.next_sequence
        assert sequence <= self._frontier
        held = sum(map(len, self._held.values()))
        assert held + self.missing_frames == self._frontier - self._ordered

    @property
    def _nothing(self) -> Run:
        return empty_run(self.next_sequence)

    @property
    def _has_all(self) -> bool:
        """Whether every frame that is known to exist is here, and in sequence."""
        return self._ordered == self._frontier == self.highest_sequence + 1

    def _has_room(self, frame_count: int) -> bool:
        """Whether so many more frames may wait for their commit, where they wait for it."""
        limit = self.next_sequence + self._held_limit
        return not self._committed_only or self._frontier + frame_count <= limit

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
        self._drop_after(kept)
        self._gaps.truncate(kept)
        self._ordered = min(self._ordered, kept + 1)
        self._frontier = min(self._frontier, kept + 1)
        self.highest_sequence = kept
        if self.failure is not None and self.failure.first_sequence > kept:
            # Nobody had these frames; the new primary need not have them either.
            self.failure = self._gaps.failure = None

    def _drop_after(self, kept: int) -> None:
        """Drop what is held and may not stand in the new epoch's list."""
        dropped = sum(map(len, self._waiting))  # nothing that waits is committed
        self._waiting.clear()
        for run in [run for run in self._held.values() if run.last_sequence > kept]:
            rest = run.part(run.first_sequence, kept)
            dropped += len(run) - len(rest)
            del self._held[run.first_sequence]
            if rest:
                self._held[rest.first_sequence] = rest
        self._counters.dropped_epoch += dropped

    def _append(self, run: Run) -> None:
        """Frames that come next, with nothing missing before them: the usual case."""
        if run:
            self._waiting.append(run)
            self._ordered = self._frontier = run.next_sequence
            self.highest_sequence = run.last_sequence

    def _hold(self, run: Run, answered: bool, now_ns: int) -> None:
        """Keep those frames of a packet that are not known yet and not too far ahead."""
        counters = self._counters
        self.highest_sequence = max(
            self.highest_sequence, run.last_sequence, self.committed_sequence
        )
        if run and not self.next_sequence:
            run = self._join(run)
        if not run:
            return
        limit = self.next_sequence + self._held_limit
        if run.last_sequence >= limit:
            whole, run = run, run.part(run.first_sequence, limit - 1)
            counters.dropped_early += len(whole) - len(run)
            if not run:
                return
        new = [run.part(*each) for each in self._gaps.missing_within(*_ends(run))]
        if run.last_sequence >= self._frontier:
            new.append(run.part(self._frontier, run.last_sequence))
        new_frames = sum(map(len, new))
        counters.duplicates += len(run) - new_frames
        if not new:
            return
        for part in new:
            self._held[part.first_sequence] = part
        counters.held_early += new_frames
        if answered:
            counters.frames_recovered += new_frames
        self._gaps.fill(*_ends(run), now_ns)
        if run.last_sequence >= self._frontier:
            if run.first_sequence > self._frontier:
                self._gaps.open(self._frontier, run.first_sequence - 1, now_ns)
            self._frontier = run.next_sequence

    def _join(self, run: Run) -> Run:
        """Start with the first group that begins among these frames, if one does."""
        for frame in run:
            if frame.is_command:
                self.next_sequence = self._ordered = self._frontier = frame.sequence
                return run.part(frame.sequence, run.last_sequence)
        return self._nothing

    def _give_out(self, now_ns: int) -> Run:
        """Take out what follows in sequence; note as missing what there is room for now."""
        while (run := self._held.pop(self._ordered, None)) is not None:
            self._waiting.append(run)
            self._ordered = run.next_sequence
        stop = self._ordered
        if self._committed_only:
            stop = min(stop, self.committed_sequence + 1)
        given = self._take_waiting(stop - 1)
        self.next_sequence = given.next_sequence
        self._counters.frames += len(given)
        if self.next_sequence and self._frontier <= self.highest_sequence:
            last = min(self.highest_sequence, self.next_sequence + self._held_limit - 1)
            if self._frontier <= last:
                self._gaps.open(self._frontier, last, now_ns)
                self._frontier = last + 1
        return given

    def _take_waiting(self, last: int) -> Run:
        """Take out the frames up to `last` of those that wait."""
        waiting = self._waiting
        taken = []
        while waiting and waiting[0].last_sequence <= last:
            taken.append(waiting.popleft())
        if waiting and waiting[0].first_sequence <= last:
            run = waiting[0]
            taken.append(run.part(run.first_sequence, last))
            waiting[0] = run.part(last + 1, run.last_sequence)
        return joined(taken) if taken else self._nothing


def _ends(run: Run) -> tuple[int, int]:
    return run.first_sequence, run.last_sequence
