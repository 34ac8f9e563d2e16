"""The processes of a shard in virtual time: the very objects of production, with shells around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from engine.machine import Machine
from engine.primary import LeadSettings
from engine.replica import Replica, ReplicaRules
from feed.codec import decode_frame, decode_packet
from feed.datagrams import Submission, decode_holder_word
from feed.gap import Nak
from feed.holder import Holder, HolderIdentity
from feed.messages import DefineInstrument, ShortSale
from feed.publisher import HeartbeatPolicy
from feed.schema import HOLDER_MAGIC, HolderKind
from feed.subscriber import Group, Subscriber
from retransmitter.retransmitter import Retransmitter
from tests.engine.cluster_network import Network, Process
from tests.engine.cluster_witness import Witness
from tests.engine.cluster_zookeeper import MILLISECOND_NS, ZooKeeper
from tests.feed.cluster import Timer

SHARD = 1
SUSPICION_NS = 30 * MILLISECOND_NS
HEARTBEATS = HeartbeatPolicy(2 * MILLISECOND_NS, 5 * MILLISECOND_NS)
PAYLOAD_BYTES = 256  # two or three frames a packet, so that groups span packets
SYMBOL = b"ACME    "
LISTING = DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)
# A holder's invariants are checked at its every so manieth turn: they look at all that it holds.
TURNS_PER_CHECK = 50


@dataclass(slots=True)
class Shard:
    """What the processes of a shard share."""

    network: Network
    replica_names: tuple[str, ...]
    retransmitter_names: tuple[str, ...]
    window_frames: int
    zookeeper: ZooKeeper
    witness: Witness
    holders: dict[str, HolderNode] = field(default_factory=dict)
    subscribers: list[SubscriberNode] = field(default_factory=list)
    starved: set[str] = field(default_factory=set)  # whom no answers to their NAKs reach
    packets: list[bytes] | None = None  # where a test keeps all that goes to the group

    @property
    def holder_names(self) -> tuple[str, ...]:
        """All configured holders."""
        return self.replica_names + self.retransmitter_names


class Listening(Process):
    """A process that reads the feed."""

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard.network, name)
        self.shard = shard
        self.timer = Timer(shard.network.world, lambda: None, lambda: None)

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        """A datagram of the feed, or a peer's answer."""
        raise NotImplementedError

    def deadline_ns(self) -> int | None:
        """When something is due."""
        raise NotImplementedError

    def on_due(self) -> None:
        """Do what is due."""
        raise NotImplementedError

    def start(self) -> None:
        super().start()
        life = self.life
        self.timer = Timer(
            self.network.world,
            lambda: self.deadline_ns() if self.runs and self.life == life else None,
            lambda: self.do(life, self.on_due),
        )

    def ask(self, naks: Sequence[Nak], peers: Sequence[str]) -> None:
        """Send NAKs to those peers that they are for."""
        for source, data in naks:
            peer = self.shard.holders[peers[source]]
            self.network.send(
                self.name, peer, partial(peer.on_nak, asker=self, source=source), data
            )


class HolderNode(Listening):
    """A replica or retransmitter, with its view of ZooKeeper."""

    core: Replica | Retransmitter

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard, name)
        self.reaches_zookeeper = True
        self.granted: int | None = None
        self._turns = 0

    @property
    def holder(self) -> Holder:
        """What it holds."""
        return self.core.holder

    @property
    def is_electable(self) -> bool:
        """Whether it may stand now."""
        return False

    @property
    def gives_back(self) -> bool:
        """Whether the epoch that it was granted is of no use to it."""
        return False

    @property
    def suspected_epoch(self) -> int | None:
        """The epoch whose primary it takes for dead."""
        return self.core.suspected_epoch

    def start(self) -> None:
        super().start()
        self.granted = None
        self.build()
        self.shard.zookeeper.connect(self, self.life)

    def check_acknowledged(self, sequence: int) -> None:
        """What is acknowledged ends with a group."""
        (last,) = self.holder.list.cache.frames(sequence, sequence)
        assert decode_frame(last).is_end, f"{self.name} acknowledges a part of a group"

    def build(self) -> None:
        """Make the process's objects, empty."""
        raise NotImplementedError

    def let_out(self) -> Sequence[tuple[str, bytes]]:
        """Send packets that are due to the group; the datagrams for other holders."""
        raise NotImplementedError

    def on_start(self, epoch: int, *, was_here: bool) -> None:
        """ZooKeeper has said what was before."""
        self.holder.on_start(epoch, was_here=was_here, now_ns=self.network.now_ns)

    def on_epochs(self, epoch: int) -> None:
        """ZooKeeper has told the newest epoch."""
        raise NotImplementedError

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        self.core.on_datagram(data, self.network.now_ns, source)

    def on_word(self, data: bytes, sender: str) -> None:
        """A datagram of another holder."""
        self.core.on_word(data, sender, self.network.now_ns)

    def on_nak(self, data: bytes, asker: Listening, source: int) -> None:
        """A NAK; its answers go back."""
        answers = self.core.on_nak(data, asker.name, self.network.now_ns)
        for answer in answers if asker.name not in self.shard.starved else []:
            self.shard.witness.on_answer(self.name, answer)
            self.network.send(self.name, asker, partial(asker.on_packet, source=source), answer)

    def deadline_ns(self) -> int | None:
        return self.core.deadline_ns

    def on_due(self) -> None:
        self.ask(self.core.on_time(self.network.now_ns), self.peers)

    def turn(self) -> None:
        for name, data in self.let_out():
            if data.startswith(HOLDER_MAGIC):
                word = decode_holder_word(data)
                self.shard.witness.on_word(self.name, self.life, word, self.holder)
                if word.kind is HolderKind.ACK:
                    self.check_acknowledged(word.last_sequence)
            other = self.shard.holders.get(name)
            if other is not None:
                self.network.send(self.name, other, partial(other.on_word, sender=self.name), data)
        if not self.is_alive:
            return  # it has died while sending
        self.shard.witness.on_known(self.name, self.life, self.holder)
        self._turns += 1
        if self._turns % TURNS_PER_CHECK == 0:
            self.holder.check()
        self.shard.zookeeper.listen(self)
        self.timer.set()

    def _new_holder(self, ordinary: Sequence[str], last_resort: Sequence[str]) -> Holder:
        incarnation = self.network.random.getrandbits(64)
        self.shard.witness.on_start(self.name, self.life, incarnation)
        self.peers = [name for name in (*ordinary, *last_resort) if name != self.name]
        return Holder(
            HolderIdentity(SHARD, self.name, incarnation),
            peer_count=len(self.peers),
            last_resort_count=sum(name in last_resort for name in self.peers),
            random=self.network.random,
            cache_bytes=64 << 20,
            payload_limit_bytes=PAYLOAD_BYTES,
            suspicion_time_ns=SUSPICION_NS,
        )


class RetransmitterNode(HolderNode):
    """A retransmitter."""

    core: Retransmitter

    def build(self) -> None:
        shard = self.shard
        holder = self._new_holder(shard.retransmitter_names, shard.replica_names)
        self.core = Retransmitter(holder, shard.replica_names)

    def on_epochs(self, epoch: int) -> None:
        self.core.on_epoch(epoch, self.network.now_ns)

    def let_out(self) -> Sequence[tuple[str, bytes]]:
        return self.core.turn(self.network.now_ns)


class ReplicaNode(HolderNode):
    """A replica."""

    core: Replica

    def __init__(self, shard: Shard, name: str, build_machine: Callable[[], Machine]) -> None:
        super().__init__(shard, name)
        self.clock_ahead_ns = 0  # of its wall clock, which may jump
        self.dies_after_packets: int | None = None  # of those with frames in them
        self._build_machine = build_machine
        self._led = 0

    @property
    def is_electable(self) -> bool:
        return self.runs and self.core.is_electable(self.network.now_ns)

    @property
    def gives_back(self) -> bool:
        return self.granted is not None and self.core.gives_back(self.granted)

    def build(self) -> None:
        shard = self.shard
        lead = LeadSettings(PAYLOAD_BYTES, shard.window_frames, HEARTBEATS)
        self.dies_after_packets = None
        self._led = 0
        self.core = Replica(
            self._new_holder(shard.retransmitter_names, shard.replica_names),
            ReplicaRules(shard.holder_names, shard.replica_names, lead, (LISTING,)),
            self._build_machine,
            lambda: self.network.now_ns + self.clock_ahead_ns,
        )

    def on_epochs(self, epoch: int) -> None:
        self.core.on_epochs(epoch, self.granted, self.network.now_ns)

    def on_submission(self, submission: Submission) -> None:
        """A gateway's command; a primary takes none when its window is full."""
        if self.core.primary is not None and not self.core.primary.is_full:
            self.core.submit(submission)

    def unpause(self) -> None:
        # A primary that wakes may send before it reads: what it says then must be harmless.
        if self.is_alive and self.core.primary is not None and self.network.random.random() < 0.5:
            self.is_paused = False
            self.turn()
        super().unpause()

    def let_out(self) -> Sequence[tuple[str, bytes]]:
        packets, words = self.core.turn(self.network.now_ns)
        primary = self.core.primary
        if primary is not None and primary.epoch != self._led:
            self._led = primary.epoch
            held = self.holder.list.cache.frames(1, self.holder.last_sequence)
            self.shard.witness.on_lead(self.name, self.life, primary.epoch, held)
        for packet in packets:
            if self.dies_after_packets is not None and decode_packet(packet).frames:
                if self.dies_after_packets == 0:
                    self.kill()
                    return []
                self.dies_after_packets -= 1
            self._multicast(packet)
        return words

    def check_acknowledged(self, sequence: int) -> None:
        super().check_acknowledged(sequence)
        assert sequence <= self.core.sequence, f"{self.name} has not compared what it acknowledges"

    def _multicast(self, packet: bytes) -> None:
        self.shard.witness.on_multicast(self.name, self.life, packet)
        if self.shard.packets is not None:
            self.shard.packets.append(packet)
        for node in (*self.shard.holders.values(), *self.shard.subscribers):
            self.network.send(self.name, node, node.on_packet, packet)


class SubscriberNode(Listening):
    """A subscriber, and all that it delivered."""

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard, name)
        self.groups: list[Group] = []
        self.subscriber = Subscriber(
            shard=SHARD,
            source_count=len(shard.retransmitter_names),
            random=shard.network.random,
        )
        self.start()

    @property
    def frames(self) -> list[bytes]:
        """All frames that were delivered."""
        return [frame.data for group in self.groups for frame in group.frames]

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        groups = self.subscriber.on_datagram(data, self.network.now_ns, source)
        self.groups += groups
        for group in groups:
            self.shard.witness.on_committed(group.frames)

    def deadline_ns(self) -> int | None:
        return self.subscriber.deadline_ns

    def on_due(self) -> None:
        naks = self.subscriber.on_time(self.network.now_ns)
        self.ask(naks, self.shard.retransmitter_names)

    def turn(self) -> None:
        assert self.subscriber.failure is None, self.subscriber.failure
        self.timer.set()
