"""Simulated holders: the very objects of production, with the simulator for a shell."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from engine.command_port import CommandConnection, CommandPort
from engine.machine import Machine
from engine.markets import KernelMarket, ReferenceMarket
from engine.primary import LeadSettings
from engine.replica import Replica, ReplicaRules, State
from feed.codec import COMMIT, decode_frame, decode_packet
from feed.datagrams import HolderWord, decode_holder_word
from feed.holder import Holder, HolderIdentity
from feed.publisher import HeartbeatPolicy
from feed.repair import RepairLimits
from feed.schema import HOLDER_MAGIC, HolderKind
from feed.vote import Vote
from retransmitter.retransmitter import Retransmitter
from tools.simulation.listening import Listening
from tools.simulation.shard import SHARD, Shard
from tools.simulation.world import MILLISECOND_NS
from zk.standing import Standing

COMMANDS_PORT = "commands"
CACHE_BYTES = 64 << 20
# What it remembers of those that asked it is far less than in production, so that the bounds hold.
REPAIR_LIMITS = RepairLimits(requesters=8, remembered_naks=64)
# Whether a replica may stand for election changes with time alone; its shell looks so often.
TICK_NS = 100 * MILLISECOND_NS
# A holder's invariants are checked at its every so manieth turn: they look at all that it holds.
TURNS_PER_CHECK = 100


class HolderNode(Listening):
    """A replica or retransmitter, with its view of ZooKeeper."""

    core: Replica | Retransmitter
    role: str

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard, name)
        self.peers: list[str] = []  # whom it asks for what it lacks
        self.steady_since_ns = 0  # since when it has run, and has had a vote
        self._turns = 0
        self._told: dict[str, HolderWord] = {}  # to whom, and what was said last

    @property
    def holder(self) -> Holder:
        """What it holds."""
        return self.core.holder

    @property
    def commands(self) -> str | None:
        """Where it takes commands, if it can lead."""
        return None

    def start(self) -> None:
        super().start()
        self.core = self.build()
        self.member = self.shard.zookeeper.join(
            self, role=self.role, holder=True, commands=self.commands, on_change=self._on_change
        )
        self._standing = Standing(self.core, self.member)

    def unpause(self) -> None:
        self.steady_since_ns = self.network.now_ns
        super().unpause()

    @abstractmethod
    def build(self) -> Replica | Retransmitter:
        """Make the process's objects, empty."""

    @abstractmethod
    def let_out(self) -> Sequence[tuple[str, bytes]]:
        """Send packets that are due to the group; the datagrams for other holders."""

    def check_acknowledged(self, sequence: int) -> None:
        """What is acknowledged ends with a group."""
        (last,) = self.holder.list.cache.frames(sequence, sequence)
        assert decode_frame(last).is_end, f"{self.name} acknowledges a part of a group"

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        if source is None:
            self.core.on_datagrams([data], self.network.now_ns)
        else:
            self.core.on_datagram(data, self.network.now_ns, source)

    def on_word(self, data: bytes, sender: str) -> None:
        """A datagram of another holder."""
        self.core.on_word(data, sender, self.network.now_ns)

    def on_nak(self, data: bytes, asker: Listening, life: int, source: int) -> None:
        """A NAK; its answers go back."""
        answers = self.core.on_nak(data, asker.name, self.network.now_ns)
        if asker.life != life or asker.name in self.shard.starved:
            return
        for answer in answers:
            self.shard.witness.on_answer(self.name, answer)
            self.network.send(self, asker, partial(asker.on_packet, source=source), answer)

    def deadline_ns(self) -> int | None:
        return self.core.deadline_ns

    def on_due(self) -> None:
        self.ask(self.core.on_time(self.network.now_ns), self.peers)

    def turn(self) -> None:
        witness, now_ns = self.shard.witness, self.network.now_ns
        for name, data in self.let_out():
            other = self.shard.holders.get(name)
            if other is not None:
                self.network.send(self, other, partial(other.on_word, sender=self.name), data)
            if data.startswith(HOLDER_MAGIC):
                word = decode_holder_word(data)
                witness.on_word(self.name, self.life, word, self.holder)
                if word.kind is HolderKind.ACK:
                    self.check_acknowledged(word.last_sequence)
                else:
                    self._note_word(name, word)
        witness.on_known(self.name, self.life, self.holder)
        if self.holder.vote is not Vote.COUNTS:
            self.steady_since_ns = now_ns
        self._turns += 1
        if self._turns % TURNS_PER_CHECK == 0:
            self.holder.check()
        self._standing.tell(now_ns)
        self.timer.set()

    def _note_word(self, name: str, word: HolderWord) -> None:
        """Once is enough: what is not answered is said again every few milliseconds."""
        if self._told.get(name) != word:
            self._told[name] = word
            self.note(
                "tells {}: {} in epoch {}, list to {} of epoch {}, committed {}",
                name,
                word.kind.name,
                word.epoch,
                word.last_sequence,
                word.last_epoch,
                word.committed_sequence,
            )

    def _on_change(self) -> None:
        """ZooKeeper has told something new."""
        self._standing.heed(self.network.now_ns)

    def _new_holder(self, ordinary: Sequence[str], last_resort: Sequence[str]) -> Holder:
        incarnation = self.network.random.getrandbits(64)
        self.shard.witness.on_start(self.name, self.life, incarnation)
        self.peers = [name for name in (*ordinary, *last_resort) if name != self.name]
        shape = self.shard.shape
        return Holder(
            HolderIdentity(SHARD, self.name, incarnation),
            peer_count=len(self.peers),
            last_resort_count=sum(name in last_resort for name in self.peers),
            random=self.network.random,
            cache_bytes=CACHE_BYTES,
            payload_limit_bytes=shape.payload_limit_bytes,
            suspicion_time_ns=shape.suspicion_time_ns,
            limits=REPAIR_LIMITS,
        )


class RetransmitterNode(HolderNode):
    """A retransmitter."""

    core: Retransmitter
    role = "retransmitter"

    def build(self) -> Retransmitter:
        shape = self.shard.shape
        holder = self._new_holder(shape.retransmitter_names, shape.replica_names)
        return Retransmitter(holder, shape.replica_names)

    def let_out(self) -> Sequence[tuple[str, bytes]]:
        return self.core.turn(self.network.now_ns)


class _CommandPort(CommandPort):
    """A command that breaks the machine is a failure of the run."""

    def __init__(self, node: "ReplicaNode") -> None:
        super().__init__(node.core, node.turn)
        self._node = node

    def call_soon(self, act: Callable[[], None]) -> None:
        node = self._node
        node.network.after(0, partial(node.do, node.life, act))

    def fail(self, error: Exception) -> None:
        raise error


class ReplicaNode(HolderNode):
    """A replica."""

    core: Replica
    role = "replica"

    def __init__(self, shard: Shard, name: str, build_machine: Callable[[], Machine]) -> None:
        super().__init__(shard, name)
        self.dies_after_packets: int | None = None  # of those with frames in them
        self.dies_within_group = False  # after the next packet that breaks off in one
        self._build_machine = build_machine
        self._may_diverge = build_machine not in (ReferenceMarket, KernelMarket)
        self._led = 0
        self._state = State.STARTING

    @property
    def commands(self) -> str:
        return f"{self.name}:1"

    def start(self) -> None:
        self.dies_after_packets = None
        self.dies_within_group = False
        self._led = 0
        self._state = State.STARTING
        super().start()
        port = self._commands = _CommandPort(self)
        self.shard.tcp.listen(self, COMMANDS_PORT, lambda: CommandConnection(port))
        self._tick(self.life)

    def build(self) -> Replica:
        shape = self.shard.shape
        interval_ns = shape.heartbeat_interval_ns
        heartbeats = HeartbeatPolicy(min(2 * MILLISECOND_NS, interval_ns), interval_ns)
        lead = LeadSettings(shape.payload_limit_bytes, shape.window_frames, heartbeats)
        return Replica(
            self._new_holder(shape.retransmitter_names, shape.replica_names),
            ReplicaRules(shape.holder_names, shape.replica_names, lead, shape.instruments),
            self._build_machine,
            self.wall_clock_ns,
        )

    def unpause(self) -> None:
        # A primary that wakes may send before it reads: what it says then must be harmless.
        if self.is_alive and self.core.primary is not None and self.network.random.random() < 0.5:
            self.is_paused = False
            self.do(self.life, lambda: None)
        super().unpause()

    def let_out(self) -> Sequence[tuple[str, bytes]]:
        packets, words = self.core.turn(self.network.now_ns)
        primary = self.core.primary
        if primary is not None and primary.epoch != self._led:
            self._led = primary.epoch
            held = self.holder.list.cache.frames(1, self.holder.last_sequence)
            self.shard.witness.on_lead(self.name, self.life, primary.epoch, held)
        for packet in packets:
            if self.dies_after_packets is not None or self.dies_within_group:
                self._draw_near_death(packet)
            self._multicast(packet)
        return words

    def turn(self) -> None:
        super().turn()
        divergence = self.core.divergence
        assert divergence is None or self._may_diverge, f"{self.name}: {divergence}"
        state = self.core.state
        if state is not self._state or state is State.PRIMARY:
            self._commands.settle()
            self._check_window()
        if state is not self._state:
            self.note("is {} in epoch {}, at {}", state, self.core.epoch, self.core.sequence)
            self._state = state

    def check_acknowledged(self, sequence: int) -> None:
        super().check_acknowledged(sequence)
        assert sequence <= self.core.sequence, f"{self.name} has not compared what it acknowledges"

    def _draw_near_death(self, packet: bytes) -> None:
        frames = decode_packet(packet).frames
        if not frames:
            return
        if self.dies_within_group and not frames[-1].is_end:
            self.sends_to_live = 1  # this packet
        if self.dies_after_packets is not None:
            self.sends_to_live = None if self.dies_after_packets else 0
            self.dies_after_packets -= 1

    def _check_window(self) -> None:
        """A primary whose window is full reads nothing of its gateways."""
        primary = self.core.primary
        if primary is not None and primary.is_full:
            for end in self.shard.tcp.connections_of(self):
                is_reading = end.is_made and not end.is_closing() and end.is_reading()
                assert not is_reading, f"{self.name} reads more than its window has room for"

    def _multicast(self, packet: bytes) -> None:
        shard = self.shard
        # Holders have the system drop what only tells of a commit.
        holders = {} if decode_packet(packet).header.flags & COMMIT else shard.holders
        self.network.multicast(
            self,
            (
                (node, node.on_packet)
                for nodes in (holders, shard.subscribers, shard.gateways)
                for node in nodes.values()
            ),
            packet,
        )
        shard.witness.on_multicast(self.name, self.life, packet)
        if shard.packets is not None:
            shard.packets.append(packet)

    def _tick(self, life: int) -> None:
        if self.is_alive and self.life == life:
            self.do(life, lambda: None)
            self.network.after(TICK_NS, partial(self._tick, life))
