"""A holder of the list, sans-I/O: what it has of it, what it may say of that, and its vote.

A replica or a retransmitter. It reads the list as every receiver does, keeps every frame, repairs
others' gaps, and answers for what it holds: to the primary with acknowledgements, to whoever takes
over with the place that its list ends at. These are Raft's rules (Ongaro and Ousterhout 2014,
section 5): a promised epoch is never taken back, what is doubtful in a new epoch is kept until the
new primary's frames contradict it, and who came back without its memory has no vote.
"""

from collections.abc import Hashable, Sequence
from random import Random
from typing import NamedTuple

from feed.codec import RETRANSMISSION, PacketHeader, WireError
from feed.datagrams import HolderWord, decode_holder_word, encode_holder_word
from feed.frames import encode_packets
from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Nak, RepairPolicy
from feed.held_list import HeldList
from feed.journal import Base, Journal
from feed.memory import Memory
from feed.messages import holder_field, unpad
from feed.receiver import Receiver, ReceiverCounters
from feed.reign import Reign
from feed.repair import DEFAULT_REPAIR_LIMITS, RepairCounters, RepairLimits, RepairResponder
from feed.run import Run
from feed.schema import HolderKind
from feed.snapshot import WholeSnapshot
from feed.vote import Return, Vote

_MILLISECOND_NS = 1_000_000
# An acknowledgement may get lost. It is said again after this time while its frames are not
# committed, and otherwise often enough for an operator who looks.
ACK_REPEAT_NS = 5 * _MILLISECOND_NS
ACK_IDLE_NS = 250 * _MILLISECOND_NS
# What nobody had is asked for again after this time, as long as the epoch lasts.
RETRY_AFTER_NS = 1_000 * _MILLISECOND_NS
# What one FETCH is answered with: some hundred packets, which a receive buffer has room for.
FETCH_FRAMES = 1024


class HolderIdentity(NamedTuple):
    """Who a holder is."""

    shard: int
    name: str
    incarnation: int  # drawn anew each time that the process starts


class Holder:
    """The newest frames of one shard's list, committed or not.

    Of `peer_count` others that can be asked for what is missing, the last `last_resort_count` are
    asked only when all others have been. What nobody has is not kept, nor anything after it, until
    a new epoch shows that it need not be there.
    """

    def __init__(
        self,
        identity: HolderIdentity,
        *,
        peer_count: int,
        last_resort_count: int,
        random: Random,
        cache_bytes: int,
        payload_limit_bytes: int,
        suspicion_time_ns: int,
        limits: RepairLimits = DEFAULT_REPAIR_LIMITS,
        policy: RepairPolicy = DEFAULT_REPAIR_POLICY,
        journal: Journal | None = None,
    ) -> None:
        self.identity = identity
        self.held_sequence = 0  # the last group's end that is known to stand in this epoch's list
        self.list = HeldList(cache_bytes, journal)
        self._name = holder_field(identity.name)
        self._payload_limit_bytes = payload_limit_bytes
        self._suspicion_time_ns = suspicion_time_ns
        self._receiver = Receiver(
            shard=identity.shard,
            source_count=peer_count,
            random=random,
            policy=policy,
            last_resort_count=last_resort_count,
            rewinds=True,
        )
        self._responder = RepairResponder(
            shard=identity.shard,
            held=self.list,
            limits=limits,
            payload_limit_bytes=payload_limit_bytes,
        )
        self._leads = False
        self._failure: GapFailure | None = None
        self._retry_at_ns: int | None = None
        self._life_ns: int | None = None  # when a takeover of this epoch was last heard of
        self._promised_to = b""  # the candidate that asked first in this epoch
        self._acked = (0, 0)  # epoch and sequence
        self._acked_ns = 0
        self._return = Return()
        self._memory = Memory(journal)
        self._vouched_sequence = 0  # what was held when it had no vote
        self.words_refused = 0  # what came from other holders and was nothing we know
        self.is_suspicious = False  # the primary of this epoch has been silent for too long
        self.holds_naks_back = False  # while a replay brings what is missing
        if journal is not None:
            self._remember(journal)

    # What is known.

    @property
    def epoch(self) -> int:
        """The highest epoch seen or promised."""
        return self._receiver.epoch

    @property
    def vote(self) -> Vote:
        """Whether its word counts."""
        return self._return.vote

    @property
    def committed_sequence(self) -> int:
        """How far the list is known to be committed."""
        return self._receiver.committed_sequence

    @property
    def last_sequence(self) -> int:
        """The last frame that is held, doubtful or not."""
        return self.list.last_sequence

    @property
    def last_epoch(self) -> int:
        """The epoch that the last frame belongs to."""
        return 0 if self.list.reign is None else self.list.reign.epoch

    @property
    def verified_sequence(self) -> int:
        """The last frame that is known to stand in this epoch's list."""
        return self.last_sequence if self._leads else self._receiver.next_sequence - 1

    @property
    def primary(self) -> str | None:
        """Who leads in this epoch, once the list tells."""
        reign = self._own_reign
        return None if reign is None else reign.primary

    @property
    def failure(self) -> GapFailure | None:
        """The gap that nobody could fill; nothing after it is kept until somebody does."""
        return self._failure

    @property
    def storage_failure(self) -> str | None:
        """Why nothing more is stored; it acknowledges nothing then, and has no vote."""
        return self._memory.failure

    @property
    def next_sequence(self) -> int:
        """The frame that is to come next, or is missing."""
        return self._receiver.next_sequence

    @property
    def highest_sequence(self) -> int:
        """The last frame that is known to exist."""
        return max(self._receiver.highest_sequence, self._receiver.committed_sequence)

    @property
    def received(self) -> ReceiverCounters:
        """What came in from the feed and from peers."""
        return self._receiver.counters

    @property
    def repairs(self) -> RepairCounters:
        """What was asked for and sent."""
        return self._responder.counters

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self.list.check()
        self._receiver.check()
        if not self._leads:
            assert self.held_sequence <= self.verified_sequence <= self.last_sequence
        assert self.last_epoch <= self.epoch

    # The feed.

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> Run:
        """Take in a datagram from the feed, or a peer's answer; the frames that were new here.

        Frames that are held already, and that a new epoch's primary repeats, come out no more.
        """
        receiver = self._receiver
        epoch, committed = receiver.epoch, receiver.committed_sequence
        run = receiver.on_datagram(data, now_ns, source)
        if receiver.epoch != epoch:
            self._doubt(committed, now_ns)
        return self._keep(run, now_ns)

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> None:
        """Take in what came from the group at once."""
        at = 0
        while at < len(datagrams):
            taken, run = self._receiver.take_expected(datagrams, at, now_ns)
            if taken:
                self._keep(run, now_ns)
                at += taken
            else:
                self.on_datagram(datagrams[at], now_ns)
                at += 1

    def on_time(self, now_ns: int) -> list[Nak]:
        """The NAKs that are due, each to be sent to its peer. Suspects a primary that is silent."""
        self._listen(now_ns)
        if self._retry_at_ns is not None and now_ns >= self._retry_at_ns:
            self._retry_at_ns = None
            self._receiver.retry(now_ns)
        naks = [] if self.holds_naks_back else self._receiver.on_time(now_ns)
        self._watch_failure(now_ns)
        return naks

    def on_nak(self, data: bytes, requester: Hashable, now_ns: int) -> list[bytes]:
        """The datagrams that answer a NAK, to be sent back to `requester`; none over the limits.

        What is not known to stand in this epoch's list counts as missing: it may be of a tail that
        the new primary does not have.
        """
        return self._responder.on_nak(
            data, requester, now_ns, self.epoch, self.committed_sequence, self.verified_sequence
        )

    @property
    def deadline_ns(self) -> int | None:
        """When something is due: a NAK, a JOIN, or the suspicion that the primary is dead."""
        due = [self._return.deadline_ns, self._retry_at_ns]
        if not self.holds_naks_back:
            due.append(self._receiver.deadline_ns)
        if not self.is_suspicious:
            due.append(self.suspicion_deadline_ns)
        return min((at for at in due if at is not None), default=None)

    # Silence.

    @property
    def suspicion_deadline_ns(self) -> int | None:
        """When the primary will have been silent for too long; None while there never was one."""
        heard = [at for at in (self._receiver.heard_ns, self._life_ns) if at is not None]
        return max(heard) + self._suspicion_time_ns if heard else None

    # Epochs and votes.

    def promise(self, epoch: int, now_ns: int) -> None:
        """Take nothing of an older epoch any more; its primary is to be heard from now on."""
        if epoch > self.epoch:
            committed = self.committed_sequence
            self._receiver.fence(epoch)
            self._doubt(committed, now_ns)

    def on_start(self, epoch: int, *, was_here: bool, now_ns: int) -> None:
        """ZooKeeper's word: which epoch it had granted when this process started, and whether this
        holder was ever there before. Then it has forgotten what it said in those epochs, unless its
        journal remembers."""
        if self.vote is not Vote.UNKNOWN:
            return
        has_forgotten = self._memory.has_forgotten(was_here=was_here and epoch > 0)
        had_earlier_life = self._memory.had_earlier_life  # as its journal was found
        self._return.begin(has_forgotten=has_forgotten)
        self._vouch()
        self.promise(epoch, now_ns)
        if self.epoch and self._life_ns is None:
            self._life_ns = now_ns  # who leads in the epoch that it remembers is to be heard now
        if had_earlier_life:
            self._return.announce()

    def rebase(self, snapshot: WholeSnapshot, now_ns: int) -> None:
        """Hold the list from a snapshot on, which is committed, and nothing before it."""
        head = snapshot.head
        self.promise(head.epoch, now_ns)
        first = head.digest_sequence + 1
        reign = None  # of the frames before the first one; the tail tells of later ones
        if head.epoch_sequence < first:
            reign = Reign(head.epoch_sequence, head.epoch, unpad(head.primary))
        self.list.rebase(Base(first, reign, head.digest_sequence, head.list_digest))
        self.list.store(snapshot.tail)
        receiver = self._receiver
        receiver.committed_sequence = max(receiver.committed_sequence, head.sequence)
        receiver.restart(head.sequence + 1)
        self.held_sequence = head.sequence
        self._failure = None
        self.list.digest_to(head.sequence)
        self._regain_vote()

    def join_word(self, now_ns: int) -> bytes | None:
        """What to tell every replica now, to get the vote back; None when nothing is due."""
        return self.say(HolderKind.JOIN) if self._return.is_join_due(now_ns) else None

    def welcome_word(self, join: HolderWord) -> bytes:
        """The primary's answer to a JOIN: how far its list goes now."""
        return self.say(HolderKind.WELCOME, incarnation=join.incarnation)

    def read_word(self, data: bytes, sender: str) -> HolderWord | None:
        """What the configured holder `sender` says in a datagram; None, and counted, when it is
        damaged, of another shard, or said in somebody else's name."""
        try:
            word = decode_holder_word(data)
        except WireError:
            word = None
        if word is None or (word.shard, unpad(word.holder)) != (self.identity.shard, sender):
            self.words_refused += 1
            return None
        return word

    def on_word(self, word: HolderWord, now_ns: int) -> list[bytes]:
        """Take in what another holder says that concerns every holder; the answers to it."""
        self.promise(word.epoch, now_ns)
        match word.kind:
            case HolderKind.ASK:
                return self._on_ask(word, now_ns)
            case HolderKind.FETCH:
                return self._on_fetch(word)
            case HolderKind.WELCOME:
                # A primary of an older epoch than is promised does not know all that is committed.
                if word.incarnation == self.identity.incarnation and word.epoch == self.epoch:
                    self._return.on_welcome(word.last_sequence)
                    self._regain_vote()
        return []

    def _on_ask(self, word: HolderWord, now_ns: int) -> list[bytes]:
        """The answer to whoever takes over: promised, or refused with the later epoch.

        ZooKeeper grants an epoch once; one that has forgotten might not know that. So an epoch is
        promised to one candidate, or is that of the primary which the list names; another that asks
        in it gets no answer. What tells of a later epoch counts as no answer there: no promise of
        that one has been asked for.
        """
        if word.epoch < self.epoch:
            return [self.say(HolderKind.FORGOT)]
        if word.epoch == self.epoch:
            primary = self.primary and holder_field(self.primary)
            self._promised_to = primary or self._promised_to or word.holder
            if word.holder != self._promised_to:
                return []
            if not self._memory.vow(self.epoch, self._promised_to):
                return []
            self._life_ns = now_ns
            self._listen(now_ns)
        return [self.say(HolderKind.ANSWER if self.vote is Vote.COUNTS else HolderKind.FORGOT)]

    def _on_fetch(self, word: HolderWord) -> list[bytes]:
        """The packets with what is held from a sequence number on, for the new primary.

        It asks for doubtful frames knowingly, to adopt them.
        """
        if word.epoch != self.epoch or word.last_sequence < self.list.first_sequence:
            return []
        first = word.last_sequence
        header = PacketHeader(
            RETRANSMISSION, self.identity.shard, self.epoch, first, self.committed_sequence
        )
        runs = self.list.runs(first, first + FETCH_FRAMES - 1)
        frames = b"".join([run.data for run in runs])
        return encode_packets(header, frames, self._payload_limit_bytes)

    def ack_word(self, held_sequence: int, now_ns: int) -> bytes | None:
        """The acknowledgement that is due now; None when there is nothing to say, or no vote.

        `held_sequence` is how far this holder stands for the list, at most `self.held_sequence`:
        a backup has applied and compared that much. Nothing is acknowledged before it is stored,
        nor before the epoch's first frame is.
        """
        held_sequence = min(held_sequence, self.list.stored_sequence)
        self._vouch()
        position = (self.epoch, held_sequence)
        if self.vote is not Vote.COUNTS or self.failure is not None:
            return None
        if self.storage_failure is not None:
            return None
        if self._own_reign is None or held_sequence < self._own_reign.sequence:
            return None
        wait_ns = ACK_REPEAT_NS if held_sequence > self.committed_sequence else ACK_IDLE_NS
        if position <= self._acked and now_ns - self._acked_ns < wait_ns:
            return None
        self._acked, self._acked_ns = position, now_ns
        return self.say(HolderKind.ACK, held_sequence)

    def say(
        self,
        kind: HolderKind,
        last_sequence: int | None = None,
        *,
        incarnation: int | None = None,
    ) -> bytes:
        """The datagram in which this holder says something."""
        word = HolderWord(
            kind,
            self.identity.shard,
            self.epoch,
            self._name,
            self.identity.incarnation if incarnation is None else incarnation,
            self.last_epoch,
            self.last_sequence if last_sequence is None else last_sequence,
            self.committed_sequence,
        )
        return encode_holder_word(word)

    # Leading: only a replica does.

    def adopted(self, committed_sequence: int) -> None:
        """All of the longest list is held, and this much of it is known to be committed."""
        receiver = self._receiver
        receiver.committed_sequence = max(receiver.committed_sequence, committed_sequence)
        self._vouch()
        self._return.on_adopted()

    def lead(self, epoch: int) -> None:
        """This holder is the primary of `epoch`, whose EPOCH frame comes next."""
        assert epoch == self.epoch
        self._leads = True
        # What came early, or was missing, stands in the adopted list by now.
        self._receiver.resume(epoch, self.committed_sequence)

    def stand(self) -> bool:
        """Whether this holder may take over in this epoch; then it lets nobody else do so.

        It may not when it has promised the epoch to another that was granted it as well.
        """
        self._promised_to = self._promised_to or self._name
        return self._promised_to == self._name and self._memory.vow(self.epoch, self._name)

    def commit(self, committed_sequence: int) -> None:
        """As the primary: so much is held by a majority."""
        self._receiver.committed_sequence = committed_sequence
        self.list.digest_to(committed_sequence)
        self._vouch()

    def follow(self, now_ns: int) -> None:
        """Read on as a backup after having led: what is not committed is doubtful."""
        self._leads = False
        committed = self.committed_sequence
        self.held_sequence = committed
        self._receiver.resume(self.epoch, committed)
        self._doubt(committed, now_ns)

    # How it is done.

    @property
    def _own_reign(self) -> Reign | None:
        """The reign of this epoch, once its EPOCH frame is held."""
        reign = self.list.reign
        return reign if reign is not None and reign.epoch == self.epoch else None

    def _doubt(self, committed_sequence: int, now_ns: int) -> None:
        """A new epoch: what was not committed has to be seen again in its list."""
        self.held_sequence = min(self.held_sequence, committed_sequence)
        self._life_ns = now_ns
        self._promised_to = b""
        self._return.on_epoch()
        self.is_suspicious = False
        self._failure = self._receiver.failure  # the new epoch may have made it void

    def _watch_failure(self, now_ns: int) -> None:
        """Note that a gap was given up, and when to try again; or that it has been filled."""
        if self._receiver.failure is not None:
            if self._retry_at_ns is None:
                self._retry_at_ns = now_ns + RETRY_AFTER_NS
            self._failure = self._receiver.failure
        elif self._failure is not None and self.verified_sequence >= self._failure.first_sequence:
            self._failure = None

    def _listen(self, now_ns: int) -> None:
        """Suspect the primary, or no more."""
        deadline_ns = self.suspicion_deadline_ns
        self.is_suspicious = deadline_ns is not None and now_ns >= deadline_ns

    def _keep(self, run: Run, now_ns: int) -> Run:
        """Keep frames of this epoch's list; those that were new here."""
        if self.is_suspicious:
            self._listen(now_ns)
        new = self.list.store(run)
        if run.end_sequence:
            self.held_sequence = run.end_sequence
            self._regain_vote()
        self.list.digest_to(min(self.committed_sequence, self.verified_sequence))
        self._watch_failure(now_ns)
        return new

    def _regain_vote(self) -> None:
        """What is held stands in this epoch's list once the list is held beyond its EPOCH frame."""
        if self._own_reign is not None and self.held_sequence >= self._own_reign.sequence:
            self._vouch()
            self._return.on_held(self.held_sequence)

    def _vouch(self) -> None:
        """Let the journal count as complete, once all is stored that gave the vote back."""
        if self.vote is not Vote.COUNTS:
            self._vouched_sequence = self.list.end_sequence
        elif self.list.stored_sequence >= self._vouched_sequence:
            self._memory.vouch()

    def _remember(self, journal: Journal) -> None:
        """Go on where an earlier process of this holder ended.

        Where its last frame is of the newest epoch, that epoch's primary wrote all of the list up
        to it: who stores an EPOCH frame has dropped whatever contradicts it (log matching, section
        5.3 of Raft's paper). Else what is not known to be committed is doubtful.
        """
        self._receiver.fence(max(journal.vow.epoch, self.last_epoch))
        if journal.vow.epoch == self.epoch:
            self._promised_to = journal.vow.candidate
        committed = journal.committed_sequence
        is_of_this_epoch = self.last_epoch == self.epoch
        verified = self.last_sequence if is_of_this_epoch else min(committed, self.last_sequence)
        self._receiver.committed_sequence = committed
        self._receiver.restart(verified + 1)
        self.held_sequence = min(verified, self.list.end_sequence)
        self.list.digest_to(min(committed, verified))
