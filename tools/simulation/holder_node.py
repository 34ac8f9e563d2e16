"""A simulated holder: the very objects of production, with the simulator for a shell."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from engine.replica import Replica
from feed.codec import decode_frame
from feed.datagrams import HolderWord, decode_holder_word
from feed.holder import Holder, HolderIdentity
from feed.holder_source import HolderSource
from feed.journal import JournalError
from feed.journal_state import STATE_NAME
from feed.messages import MarketState
from feed.repair import RepairLimits
from feed.schema import HOLDER_MAGIC, HolderKind, ReplayKind
from feed.snapshot import SnapshotError, WholeSnapshot
from feed.storage import StorageError
from feed.vote import Vote
from retransmitter.retransmitter import Retransmitter
from tools.simulation.catching_up import REPLAY_PORT, CatchingUp, ReplayConnection
from tools.simulation.hosts import Disk
from tools.simulation.keeping import Keeping
from tools.simulation.listening import Listening
from tools.simulation.network import Process
from tools.simulation.shard import Shard
from tools.simulation.storage import CutShort
from zk.standing import Standing

# What it remembers of those that asked it is far less than in production, so that the bounds hold.
REPAIR_LIMITS = RepairLimits(requesters=8, remembered_naks=64)
# A holder's invariants are checked at its every so manieth turn: they look at all that it holds.
TURNS_PER_CHECK = 100


class HolderNode(Listening):
    """A replica or retransmitter, with its view of ZooKeeper."""

    core: Replica | Retransmitter
    role: str
    replay_kind: ReplayKind  # what it asks for when it is far behind
    catching_up: CatchingUp

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard, name)
        shape = shard.shape.disk_of(name)
        self.disk = None
        if shape is not None:
            self.disk = Disk(Random(shard.network.random.getrandbits(64)), shape)
        self.host = shard.hosts[name]
        self.host.nodes.append(self)
        self.keeping: Keeping | None = None
        self.memory = 0  # counts up whenever it starts without that of the life before
        self.vows = 0  # the same for its promises
        self.loses_power_at_its_disk = False  # rather than the process alone, when it is cut short
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
        try:
            self.begin()
        except CutShort:
            self.die_at_its_disk()
        except (JournalError, StorageError) as error:
            self.note("can't start: {}", error)
            self._see_to_journal()
            self.kill()
            self.start_again_later()

    def begin(self) -> None:
        """What the process does first; raises JournalError and StorageError when it can't."""
        disk, network = self.disk, self.network
        self.keeping = None if disk is None else Keeping(self, disk, self.host.boot)
        self.core = self.build()
        self._recall()
        self.catching_up = CatchingUp(
            self,
            self.peers,
            self.core,
            self.replay_kind,
            self._take_packet,
            self._take_snapshot,
            partial(setattr, self.holder, "holds_naks_back"),
            self.is_stuck,
        )
        snapshots = None if self.keeping is None else self.keeping.snapshots
        source = HolderSource(self.holder, snapshots)
        self.shard.tcp.listen(self, REPLAY_PORT, lambda: ReplayConnection(self, source))
        self.member = self.shard.zookeeper.join(
            self,
            shard=self.shard.number,
            role=self.role,
            holder=True,
            commands=self.commands,
            on_change=self._on_change,
            memory="" if self.keeping is None else self.keeping.journal.token,
        )
        self._standing = Standing(self.core, self.member)
        network.after(0, partial(self.do, self.life, self.catching_up.begin))

    def readable(self) -> tuple[list[bytes], int]:
        """What can be read of its list, up to the end, and the first frame of that."""
        held = self.holder.list
        is_damaged = self.disk is not None and self.disk.is_damaged
        first = held.cache.first_sequence if is_damaged else held.first_sequence
        return held.frames(first, held.last_sequence), first

    def stop(self) -> None:
        """It is asked to stop, as with SIGTERM: its journal is closed in order."""
        self.do(self.life, self._close)
        self.kill()

    def vanish(self) -> None:
        self.host.lose_power()

    def go_with_the_power(self) -> None:
        """Its machine has lost the power, and tells nobody."""
        if self.is_alive:
            super().vanish()
        if self.disk is not None:
            self.disk.lose_power()

    def forget(self) -> None:
        """It dies, and its disk with it if it has one; or the power takes what was not synced."""
        disk, is_alone = self.disk, len(self.host.nodes) == 1
        if disk is not None and disk.is_lax and is_alone and self.network.random.random() < 0.7:
            self.vanish()
            return
        self.kill()
        if disk is not None:
            disk.replace()

    def die_at_its_disk(self) -> None:
        """It was cut short in the middle of an operation there."""
        self.network.count("death while writing")
        if self.loses_power_at_its_disk:
            self.vanish()
        else:
            self.kill()

    def do(self, life: int, act: Callable[[], None]) -> None:
        try:
            super().do(life, act)
        except CutShort:
            self.die_at_its_disk()

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
        if sequence >= self.holder.list.first_sequence:  # else a snapshot stands for it
            (last,) = self.holder.list.frames(sequence, sequence)
            assert decode_frame(last).is_end, f"{self.name} acknowledges a part of a group"

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        """A datagram of the feed, or the answer of the peer with this number."""
        if source is None:
            self.core.on_datagrams([data], self.network.now_ns)
        else:
            self.core.on_datagram(data, self.network.now_ns, source)

    def on_word(self, data: bytes, sender: str) -> None:
        """A datagram of another holder."""
        self.core.on_word(data, sender, self.network.now_ns)

    def on_nak(self, data: bytes, asker: Process, life: int, take: Callable[[bytes], None]) -> None:
        """A NAK; its answers go back to the asker, in this life of it, which is to take them."""
        answers = self.core.on_nak(data, asker.name, self.network.now_ns)
        if asker.life != life or asker.name in self.shard.starved:
            return
        for answer in answers:
            self.shard.witness.on_answer(self.name, answer)
            self.network.send(self, asker, take, answer)

    def deadline_ns(self) -> int | None:
        return self.core.deadline_ns

    def on_due(self) -> None:
        self.ask(self.core.on_time(self.network.now_ns), self.peers, self.shard, self.on_packet)

    def is_stuck(self) -> bool:
        """Whether it can't go on without a replay."""
        return False

    @abstractmethod
    def restart(self, snapshot: WholeSnapshot) -> None:
        """Go on after a snapshot; raises ValueError when that is of no use."""

    def turn(self) -> None:
        witness, now_ns = self.shard.witness, self.network.now_ns
        for name, data in self.let_out():
            other = self.shard.holders.get(name)
            if other is not None:
                self.network.send(self, other, partial(other.on_word, sender=self.name), data)
            if data.startswith(HOLDER_MAGIC):
                word = decode_holder_word(data)
                witness.on_word(self.name, self.memory, self.vows, word, self.holder)
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
        self.settle()
        if self.keeping is not None:
            self.keeping.turn()
        self.catching_up.wake()
        self.timer.set()

    def settle(self) -> None:
        """What else there is to do, before anything is forced to the disk."""

    def _go_down(self, how: str) -> None:
        super()._go_down(how)
        if self.disk is not None:
            self.disk.crash()

    def _close(self) -> None:
        if self.keeping is not None:
            self.keeping.close()

    def _recall(self) -> None:
        """Count whether this life has the memory, and the promises, of the one before."""
        disk, witness, holder = self.disk, self.shard.witness, self.holder
        self.vows += disk is None or disk.has_lost_vows or not self.vows
        has_forgotten = disk is None or disk.is_lossy or not self.memory
        if disk is not None and disk.is_newly_damaged:
            # Damage may have hit what it has acknowledged, or something else.
            has_forgotten |= not witness.remembers_all(self.name, self.memory, holder)
        self.memory += has_forgotten
        witness.on_start(self.name, self.memory, holder.identity.incarnation)
        witness.on_recovered(self.name, self.memory, self.vows, holder)
        if disk is not None:
            disk.remember()

    def _see_to_journal(self) -> None:
        """What an operator does who reads that the state of the journal is damaged."""
        if self.disk is not None and self.disk.has_lost_vows:
            files = self.disk.journal
            if STATE_NAME in files.names():
                with suppress(StorageError):
                    files.remove(STATE_NAME)

    def _take_packet(self, data: bytes) -> None:
        self.core.on_datagram(data, self.network.now_ns)

    def _take_snapshot(self, snapshot: WholeSnapshot) -> None:
        sequence = snapshot.head.sequence
        try:
            if self.keeping is not None:
                self.keeping.snapshots.write(sequence, _day(snapshot), snapshot.chunks())
            self.restart(snapshot)
        except (ValueError, StorageError) as error:
            raise SnapshotError(f"the snapshot of {sequence} is of no use here: {error}") from error
        self.note("began with a snapshot of {}", sequence)

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
        self.peers = [name for name in (*ordinary, *last_resort) if name != self.name]
        shape = self.shard.shape
        return Holder(
            HolderIdentity(self.shard.number, self.name, incarnation),
            peer_count=len(self.peers),
            last_resort_count=sum(name in last_resort for name in self.peers),
            random=self.network.random,
            cache_bytes=shape.cache_bytes,
            payload_limit_bytes=shape.payload_limit_bytes,
            suspicion_time_ns=shape.suspicion_time_ns,
            limits=REPAIR_LIMITS,
            journal=None if self.keeping is None else self.keeping.journal,
        )


def _day(snapshot: WholeSnapshot) -> int:
    """The day that is in force in a snapshot of a market."""
    state = (frame.message() for run in snapshot.state() for frame in run)
    return next(each.day for each in state if isinstance(each, MarketState))
