"""Simulated replicas and retransmitters: production's objects, with the simulator for a shell."""

from collections.abc import Callable, Sequence
from functools import partial

from engine.command_port import CommandConnection, CommandPort
from engine.machine import Machine
from engine.markets import KernelMarket, ReferenceMarket
from engine.primary import LeadSettings
from engine.replica import Replica, ReplicaRules, State
from engine.snapshots import Snapshots
from feed.codec import COMMIT, decode_packet
from feed.publisher import HeartbeatPolicy
from feed.schema import ReplayKind
from feed.snapshot import WholeSnapshot
from retransmitter.retransmitter import Retransmitter
from tools.simulation.holder_node import HolderNode
from tools.simulation.network import Process
from tools.simulation.shard import Shard
from tools.simulation.world import MILLISECOND_NS

__all__ = ["COMMANDS_PORT", "HolderNode", "ReplicaNode", "RetransmitterNode"]

COMMANDS_PORT = "commands"
# Whether a replica may stand for election changes with time alone; its shell looks so often.
TICK_NS = 100 * MILLISECOND_NS


class RetransmitterNode(HolderNode):
    """A retransmitter."""

    core: Retransmitter
    role = "retransmitter"
    replay_kind = ReplayKind.LIST

    def build(self) -> Retransmitter:
        shape = self.shard.shape
        holder = self._new_holder(shape.retransmitter_names, shape.replica_names)
        return Retransmitter(holder, shape.replica_names)

    def let_out(self) -> Sequence[tuple[str, bytes]]:
        return self.core.turn(self.network.now_ns)

    def restart(self, snapshot: WholeSnapshot) -> None:
        self.holder.rebase(snapshot, self.network.now_ns)


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
    replay_kind = ReplayKind.STATE

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

    def begin(self) -> None:
        super().begin()
        for _ in self.core.recover():
            pass
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
            self._snapshots(),
        )

    def is_stuck(self) -> bool:
        return self.core.lacks_state

    def restart(self, snapshot: WholeSnapshot) -> None:
        self.core.restart(snapshot, self.network.now_ns)

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
            held, first = self.readable()
            self.shard.witness.on_lead(self.name, self.life, primary.epoch, held, first)
        if primary is not None:
            own = primary.held[self.name]
            committed = primary.committed_sequence
            self.shard.witness.on_own(self.name, self.memory, primary.epoch, own, committed)
        for packet in packets:
            if self.dies_after_packets is not None or self.dies_within_group:
                self._draw_near_death(packet)
            self._multicast(packet)
        return words

    def settle(self) -> None:
        divergence = self.core.divergence
        assert divergence is None or self._may_diverge, f"{self.name}: {divergence}"
        state = self.core.state
        if state is not self._state or state is State.PRIMARY:
            self._commands.settle()
            self._check_window()
        if state is not self._state:
            self.note("is {} in epoch {}, at {}", state, self.core.epoch, self.core.sequence)
            self._state = state
        if self.keeping is not None and not self.keeping.is_writing:
            writing = self.core.take_writing()
            if writing is not None:
                self.keeping.write(writing)

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
            gateways = self.shard.gateways
            for end in self.shard.tcp.connections_of(self):
                if end.peer not in gateways:
                    continue
                is_reading = end.is_made and not end.is_closing() and end.is_reading()
                assert not is_reading, f"{self.name} reads more than its window has room for"

    def _multicast(self, packet: bytes) -> None:
        shard = self.shard
        # Holders have the system drop what only tells of a commit.
        holders = {} if decode_packet(packet).header.flags & COMMIT else shard.holders
        readers: list[tuple[Process, Callable[[bytes], None]]] = [
            *((node, node.on_packet) for node in holders.values()),
            *((node, node.on_packet) for node in shard.subscribers.values()),
            *((node, node.hears(shard.number)) for node in shard.gateways.values()),
        ]
        self.network.multicast(self, readers, packet)
        shard.witness.on_multicast(self.name, self.life, packet)
        if shard.packets is not None:
            shard.packets.append(packet)

    def _snapshots(self) -> Snapshots | None:
        if self.keeping is None or self.disk is None:
            return None
        shape = self.disk.shape
        return Snapshots(
            self.keeping.snapshots, every_frames=shape.snapshot_frames, count=shape.snapshots
        )

    def _tick(self, life: int) -> None:
        if self.is_alive and self.life == life:
            self.do(life, lambda: None)
            self.network.after(TICK_NS, partial(self._tick, life))
