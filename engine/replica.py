"""A replica of a shard, sans-I/O: backup, candidate or primary, whatever the epochs make of it.

Datagrams, times and ZooKeeper's word come in; packets for the group, datagrams for other
holders and what ZooKeeper is to be told go out. docs/replication.md tells the rules.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import structlog

from engine.backup import FRAMES_PER_STEP, Backup
from engine.machine import Divergence, Machine
from engine.primary import LeadSettings, Primary
from engine.snapshots import Restored, Snapshots, restored_machine
from engine.takeover import Stage, Takeover
from feed.codec import RETRANSMISSION, WireError, decode_packet_header
from feed.datagrams import HolderWord
from feed.gap import Nak
from feed.holder import Holder
from feed.messages import Command
from feed.run import read_packet
from feed.schema import HOLDER_MAGIC, PACKET_HEADER, HolderKind, field_offset
from feed.snapshot import WholeSnapshot
from feed.vote import Vote

log = structlog.get_logger()

_SECOND_NS = 1_000_000_000
_EPOCH_AT = slice(field_offset(PACKET_HEADER, "epoch"), field_offset(PACKET_HEADER, "checksum"))
# One who came back without its memory may lead, if a majority of the others remember. It leaves
# the lead to them for so long.
RETURNING_PATIENCE_NS = _SECOND_NS
# A takeover that has no majority after so long says whom it waits for, and again each time.
TOO_FEW_AFTER_NS = _SECOND_NS


class State(StrEnum):
    """What a replica is."""

    STARTING = "starting"  # ZooKeeper has not said yet whether it was here before
    RETURNING = "returning"  # came back without its memory, and catches up
    BACKUP = "backup"
    CANDIDATE = "candidate"  # was granted an epoch, and takes over
    PRIMARY = "primary"
    DIVERGED = "diverged"  # its machine computed another frame than the list has
    FAILED = "failed"  # it lacks frames that nobody has, or can store no more of them


_FOLLOWING = {
    Vote.UNKNOWN: State.STARTING,
    Vote.RETURNING: State.RETURNING,
    Vote.COUNTS: State.BACKUP,
}


@dataclass(frozen=True, slots=True)
class ReplicaRules:
    """What a replica is configured to do."""

    holders: tuple[str, ...]  # all configured holders of the shard, this one too
    replicas: tuple[str, ...]  # those of them that can lead
    lead: LeadSettings
    listings: Sequence[Command] = ()  # sequenced at the beginning of each reign, where admitted


class Output(NamedTuple):
    """What a replica sends after a turn."""

    packets: list[bytes]  # to the group
    words: list[tuple[str, bytes]]  # datagrams to other holders, by name


class Replica:
    """One replica; `build_machine` makes the empty machine that its list begins with."""

    def __init__(
        self,
        holder: Holder,
        rules: ReplicaRules,
        build_machine: Callable[[], Machine],
        wall_clock_ns: Callable[[], int],
        snapshots: Snapshots | None = None,
    ) -> None:
        self.holder = holder
        self.primary: Primary | None = None
        self.takeovers = 0
        self._rules = rules
        self._wall_clock_ns = wall_clock_ns
        self._backup = Backup(build_machine, holder.list, snapshots)
        self._build_machine = build_machine
        self._snapshots = snapshots
        self._takeover: Takeover | None = None
        self._packets: list[bytes] = []
        self._words: list[tuple[str, bytes]] = []
        self._has_more_to_apply = False
        self._complain_at_ns = 0

    # What is known.

    @property
    def name(self) -> str:
        """Which of the configured holders it is."""
        return self.holder.identity.name

    @property
    def machine(self) -> Machine:
        """The machine, as far as this replica has carried out the list."""
        return self._backup.machine

    @property
    def state(self) -> State:
        """What it is now."""
        if self._backup.divergence is not None:
            return State.DIVERGED
        if self.primary is not None:
            return State.PRIMARY
        if self._takeover is not None:
            return State.CANDIDATE
        is_stuck = self._backup.lacks_state or self.holder.failure is not None
        if is_stuck or self.holder.storage_failure is not None:
            return State.FAILED
        return _FOLLOWING[self.holder.vote]

    @property
    def epoch(self) -> int:
        """The highest epoch seen or promised."""
        return self.holder.epoch

    @property
    def next_sequence(self) -> int:
        """The frame that is to come next, or that its machine lacks."""
        if self.primary is not None or self.lacks_state:
            return self.sequence + 1  # a primary lacks nothing, though it hears nothing either
        return self.holder.next_sequence

    @property
    def highest_sequence(self) -> int:
        """The last frame that is known to exist."""
        return self.holder.highest_sequence

    @property
    def leader(self) -> str | None:
        """Who leads in this epoch, as far as the list tells."""
        return self.holder.primary

    @property
    def sequence(self) -> int:
        """The last group's end that the machine has carried out."""
        return self.primary.last_sequence if self.primary else self._backup.applied_sequence

    @property
    def committed_sequence(self) -> int:
        """How far the list is known to be committed."""
        return (self.primary or self.holder).committed_sequence

    @property
    def divergence(self) -> Divergence | None:
        """Where the machine and the list differ."""
        return self._backup.divergence

    @property
    def failure(self) -> None:
        """Never anything: a gap that nobody can fill is not final, a new epoch may make it void."""
        return None

    def is_electable(self, now_ns: int) -> bool:
        """Whether it may stand for an epoch now."""
        if self.divergence is not None or self.lacks_state:
            return False
        if self.holder.storage_failure is not None:
            return False
        if self.primary is not None or self._takeover is not None:
            return True
        if self.holder.vote is Vote.RETURNING:
            silent_from_ns = self.holder.suspicion_deadline_ns
            return silent_from_ns is not None and now_ns >= silent_from_ns + RETURNING_PATIENCE_NS
        # One that lacks frames, too: they may be lost to all, and then only a new epoch helps.
        return self.holder.vote is Vote.COUNTS

    @property
    def suspected_epoch(self) -> int | None:
        """The epoch whose primary it takes for dead."""
        follows = self.primary is None and self._takeover is None
        return self.epoch if follows and self.holder.is_suspicious else None

    def gives_back(self, epoch: int) -> bool:
        """Whether an epoch that was granted to this replica is of no use to it any more."""
        is_of_use = self.divergence is None and not self.lacks_state
        return epoch < self.epoch or not is_of_use or self.holder.storage_failure is not None

    # From the disk, before anything else.

    def recover(self) -> Iterator[int]:
        """Carry out what is held already, step by step; yields how far that is after each."""
        last = self.holder.held_sequence
        while self._backup.apply(last, FRAMES_PER_STEP):
            yield self._backup.applied_sequence

    @property
    def lacks_state(self) -> bool:
        """Whether it can't go on without a snapshot, as older frames than those held are wanted."""
        return self._backup.lacks_state

    def restart(self, snapshot: WholeSnapshot, now_ns: int) -> None:
        """Go on from a snapshot that another replica has taken, unless more is carried out.

        Raises ValueError when no machine can be made of it.
        """
        head = snapshot.head
        leads = self.primary is not None or self._takeover is not None
        if leads or head.sequence <= self._backup.applied_sequence:
            return
        machine = restored_machine(self._build_machine, snapshot)
        held = self.holder.list
        if head.sequence >= held.next_sequence or held.contradicts(head.sequence, head.epoch):
            self.holder.rebase(snapshot, now_ns)
        self._backup.restart(Restored(machine, head.sequence))

    def take_last_snapshot(self) -> None:
        """Take a snapshot of what is carried out, if all of it is committed: the end is near."""
        sequence = self.sequence
        last = self.holder.list.runs(sequence, sequence)
        is_sound = self.divergence is None and sequence <= self.committed_sequence
        if self._snapshots is not None and is_sound and last:
            self._snapshots.take(self.machine, last[0])

    def take_writing(self) -> Callable[[], None] | None:
        """What writes the snapshots that are due, to be called in a thread or not; it raises
        StorageError."""
        if self._snapshots is None:
            return None
        holder = self.holder
        # What is committed in an epoch is not what a doubtful tail has at the same place.
        committed = min(holder.committed_sequence, holder.verified_sequence)
        return self._snapshots.take_writing(holder.list, committed)

    # From the feed.

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> None:
        """Take in a datagram from the feed, or a peer's answer."""
        if self.primary is not None or self._takeover is not None:
            if not self._is_of_later_epoch(data):
                return
            self._give_way(now_ns, "the feed is in a later epoch")
        self.holder.on_datagram(data, now_ns, source)
        if self.lacks_state:
            self._fill(data)

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> None:
        """Take in what came from the group at once."""
        if self.primary is None and self._takeover is None:
            self.holder.on_datagrams(datagrams, now_ns)
        else:
            for data in datagrams:
                self.on_datagram(data, now_ns)

    def on_time(self, now_ns: int) -> list[Nak]:
        """Do what is due; the NAKs to be sent. A primary's heartbeat comes with its packets."""
        if self.primary is not None:
            return []
        if self._takeover is not None:
            self._words += self._takeover.on_time(now_ns)
            self._complain(self._takeover, now_ns)
            return []
        join = self.holder.join_word(now_ns)
        if join is not None:
            self._words += [(name, join) for name in self._rules.replicas if name != self.name]
        return self.holder.on_time(now_ns)

    @property
    def deadline_ns(self) -> int | None:
        """When to call `on_time` next, and `turn` after it."""
        if self.primary is not None:
            return self.primary.deadline_ns
        if self._has_more_to_apply:
            return 0
        if self._takeover is not None:
            return self._takeover.deadline_ns
        return self.holder.deadline_ns

    def on_nak(self, data: bytes, requester: Hashable, now_ns: int) -> list[bytes]:
        """The datagrams that answer a receiver's NAK."""
        return self.holder.on_nak(data, requester, now_ns)

    # From other holders.

    def on_word(self, data: bytes, sender: str, now_ns: int) -> None:
        """Take in a datagram that the configured holder `sender` sent to this one alone."""
        if not data.startswith(HOLDER_MAGIC):
            if self._takeover is not None:
                self._words += self._takeover.on_packet(data, sender, now_ns)
            return
        word = self.holder.read_word(data, sender)
        if word is not None:
            self._hear(word, sender, now_ns)

    # From ZooKeeper, and from clients.

    def on_start(self, epoch: int, *, was_here: bool, now_ns: int) -> None:
        """ZooKeeper's word: the newest epoch at the start, and whether it was there before that."""
        self.holder.on_start(epoch, was_here=was_here, now_ns=now_ns)

    def on_epochs(self, epoch: int, granted: int | None, now_ns: int) -> None:
        """ZooKeeper's word: the newest epoch, and the one that was granted to this replica."""
        if epoch > self.epoch:
            self._promise(epoch, now_ns, "ZooKeeper has granted a later epoch")
        leads = self.primary or self._takeover
        if granted is None or granted != self.epoch or leads or self.divergence is not None:
            return
        if self.holder.primary is not None or not self.holder.stand():
            return  # it has led in this epoch already, or another was granted it as well
        log.info("taking over", name=self.name, epoch=granted, sequence=self.holder.last_sequence)
        self.holder.is_suspicious = False
        self._takeover = Takeover(self.holder, self._rules.holders, now_ns)
        self._words += self._takeover.on_time(now_ns)
        self._complain_at_ns = now_ns + TOO_FEW_AFTER_NS

    def submit(self, submissions: bytes) -> None:
        """Take whole submissions from a gateway; only a primary is given any."""
        assert self.primary is not None
        self.primary.submit(submissions, self._wall_clock_ns())

    def turn(self, now_ns: int) -> Output:
        """What goes out after anything that has come in; bounded work on the machine before it."""
        if self.primary is None:
            if self._takeover is not None:
                self._lead_if_adopted(self._takeover, now_ns)
            else:
                self._follow(now_ns)
        if self.holder.storage_failure is not None:
            self._give_way(now_ns, "it can store no more")
        if self.primary is not None:
            self._packets += self.primary.flush(now_ns)
            self.primary.acknowledge_own()
            self._packets += self.primary.on_time(now_ns)
        output = Output(self._packets, self._words)
        self._packets, self._words = [], []
        return output

    # How it is done.

    def _fill(self, data: bytes) -> None:
        """Have the machine go on with what a replay brings, where the own disk is damaged."""
        try:
            header, run = read_packet(data)
        except WireError:
            return
        is_sound = header.shard == self.holder.identity.shard and header.epoch == self.epoch
        if is_sound and header.flags & RETRANSMISSION:
            self._backup.fill(run.part(run.first_sequence, header.committed_sequence))

    def _is_of_later_epoch(self, data: bytes) -> bool:
        # A primary hears all that it sends itself: what can't be later is not worth a closer look.
        if int.from_bytes(data[_EPOCH_AT], "big") <= self.epoch:
            return False
        try:
            header, _ = decode_packet_header(data)
        except WireError:
            return False
        return header.shard == self.holder.identity.shard and header.epoch > self.epoch

    def _hear(self, word: HolderWord, sender: str, now_ns: int) -> None:
        if word.epoch > self.epoch:
            self._promise(word.epoch, now_ns, f"{sender} is in a later epoch")
        match word.kind:
            case HolderKind.ANSWER | HolderKind.FORGOT:
                if self._takeover is not None:
                    self._words += self._takeover.on_answer(word, now_ns)
            case HolderKind.ACK:
                if self.primary is not None:
                    self.primary.on_ack(word, now_ns)
            case HolderKind.JOIN:
                if self.primary is not None and self.primary.on_join(word):
                    log.info("a holder came back", name=self.name, holder=sender)
                    self._words.append((sender, self.holder.welcome_word(word)))
            case HolderKind.ASK if self.divergence is not None:
                pass  # it can't lead, and nobody is to count on what it has
            case _:
                self._words += [(sender, answer) for answer in self.holder.on_word(word, now_ns)]

    def _promise(self, epoch: int, now_ns: int, reason: str) -> None:
        """Follow whoever leads, or will lead, in a later epoch."""
        self._give_way(now_ns, reason)
        self.holder.promise(epoch, now_ns)

    def _give_way(self, now_ns: int, reason: str) -> None:
        """Be a backup, from primary or candidate."""
        if self.primary is not None:
            log.warning("stepping down", name=self.name, epoch=self.epoch, reason=reason)
            self._backup.led(self.primary.last_sequence)
            self.primary = None
            self._packets.clear()
            self.holder.follow(now_ns)
        elif self._takeover is not None:
            log.warning("giving up the takeover", name=self.name, epoch=self.epoch, reason=reason)
        self._takeover = None

    def _follow(self, now_ns: int) -> None:
        """Carry out what is new in the list, and acknowledge it."""
        if not self._apply(self.holder.held_sequence):
            return
        primary = self.holder.primary
        applied = min(self._backup.applied_sequence, self.holder.held_sequence)
        ack = self.holder.ack_word(applied, now_ns)
        if ack is not None and primary is not None:
            self._words.append((primary, ack))

    def _apply(self, last_sequence: int) -> bool:
        """Carry out some of what is held up to here; whether the machine still follows the list."""
        dropped = self.holder.list.take_dropped()
        if dropped is not None:
            log.warning("a tail has lost", name=self.name, from_sequence=dropped)
            self._backup.drop(dropped)
        if self.divergence is not None:
            return False
        self._has_more_to_apply = self._backup.apply(last_sequence)
        if self.divergence is not None:
            self._has_more_to_apply = False
            log.error(
                "this replica differs from the list and stops",
                name=self.name,
                sequence=self.divergence.sequence,
                reason=self.divergence.reason,
            )
        return self.divergence is None

    def _lead_if_adopted(self, takeover: Takeover, now_ns: int) -> None:
        """Begin the reign once the longest list is held and carried out."""
        if takeover.stage is not Stage.ADOPTED:
            return
        if not self._apply(self.holder.last_sequence) or self.lacks_state:
            self._takeover = None
            return
        if self._has_more_to_apply:
            return
        rest = self._backup.complete()
        if self.divergence is not None:
            self._takeover = None
            return
        if rest:
            log.info("a group was cut off", name=self.name, frames_regenerated=len(rest))
            self.holder.list.store(rest)
        self._takeover = None
        self.takeovers += 1
        self.primary = Primary(
            self.holder,
            self._backup.machine,
            self._rules.holders,
            self._rules.lead,
        )
        self.primary.open_epoch(self._wall_clock_ns(), self._rules.listings)
        took_ms = (now_ns - takeover.began_ns) / 1e6
        log.info(
            "primary",
            name=self.name,
            epoch=self.epoch,
            took_ms=round(took_ms, 1),
            sequence=self.primary.last_sequence,
        )

    def _complain(self, takeover: Takeover, now_ns: int) -> None:
        """Say whom a takeover waits for; an operator has to decide when nobody comes back."""
        if now_ns < self._complain_at_ns:
            return
        self._complain_at_ns = now_ns + TOO_FEW_AFTER_NS
        if takeover.lacking is not None:
            log.error(
                "nobody who answered has what is committed: the shard stops until one who has it"
                " is back",
                name=self.name,
                epoch=takeover.epoch,
                answered=takeover.answered,
                committed_sequence=takeover.lacking,
            )
        elif takeover.missing_answers:
            log.error(
                "too few holders that remember: the shard stops until more of them are back",
                name=self.name,
                epoch=takeover.epoch,
                answered=takeover.answered,
                forgetful=sorted(takeover.forgetful),
                missing=takeover.missing_answers,
            )
