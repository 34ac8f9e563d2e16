"""A whole exchange in virtual time: holders, gateways, clients, subscribers and ZooKeeper."""

from collections.abc import Callable, Collection, Mapping, Sequence

from engine.machine import Machine
from engine.market import Market
from engine.markets import ReferenceMarket
from engine.replica import State
from feed.book import book_digest
from feed.digest import ListDigest
from feed.journal_files import JournalFiles
from feed.run import run_of_frames
from feed.vote import Vote
from tools.simulation.clients import ClientNode
from tools.simulation.gateways import GatewayNode
from tools.simulation.growth import check_growth
from tools.simulation.holders import HolderNode, ReplicaNode, RetransmitterNode
from tools.simulation.hosts import Host
from tools.simulation.ledger import Ledger
from tools.simulation.network import Network, Process, Weather
from tools.simulation.shard import Shape, Shard
from tools.simulation.subscribers import SubscriberNode
from tools.simulation.tcp import Tcp
from tools.simulation.trace import LINES
from tools.simulation.witness import Witness
from tools.simulation.world import MILLISECOND_NS
from tools.simulation.zookeeper import Ensemble


class NotInTimeError(AssertionError):
    """What had to come about did not."""


class Cluster:
    """One exchange, whose processes start at once, or `starts_ms` after the beginning."""

    def __init__(
        self,
        seed: int = 1,
        shape: Shape | None = None,
        weather: Weather | None = None,
        *,
        machines: Mapping[str, Callable[[], Machine]] | None = None,
        starts_ms: Mapping[str, int] | None = None,
        trace_lines: int = LINES,
    ) -> None:
        shape = shape or Shape()
        self.network = Network(seed, weather or Weather(), trace_lines=trace_lines)
        self.witness = Witness(len(shape.holder_names))
        self.ledger = Ledger()
        if shape.clients:  # else what is traded comes from elsewhere
            self.witness.listeners.append(self.ledger.on_committed)
        self.zookeeper = Ensemble(self.network, session_timeout_ns=shape.session_timeout_ns)
        self.shard = Shard(shape, self.network, Tcp(self.network), self.zookeeper, self.witness)
        for group in (*shape.hosts, *((name,) for name in shape.holder_names)):
            host = Host("+".join(group))
            for name in group:
                self.shard.hosts.setdefault(name, host)
        self.holders, self.subscribers = self.shard.holders, self.shard.subscribers
        self.gateways, self.clients = self.shard.gateways, self.shard.clients
        for name in shape.replica_names:
            build_machine = (machines or {}).get(name, ReferenceMarket)
            self.holders[name] = ReplicaNode(self.shard, name, build_machine)
        for name in shape.retransmitter_names:
            self.holders[name] = RetransmitterNode(self.shard, name)
        for name in shape.subscriber_names:
            self.subscribers[name] = SubscriberNode(self.shard, name)
        for name in shape.gateway_names:
            self.gateways[name] = GatewayNode(self.shard, name)
        for number, name in enumerate(shape.client_names, 1):
            self.clients[name] = ClientNode(self.shard, name, number, self.ledger)
        for name, node in self.processes.items():
            self.network.after((starts_ms or {}).get(name, 0) * MILLISECOND_NS, node.start)

    # What is so.

    @property
    def processes(self) -> dict[str, Process]:
        """Everybody, by name."""
        return {**self.holders, **self.subscribers, **self.gateways, **self.clients}

    @property
    def replicas(self) -> dict[str, ReplicaNode]:
        """The replicas by name."""
        nodes = self.holders.items()
        return {name: node for name, node in nodes if isinstance(node, ReplicaNode)}

    @property
    def retransmitters(self) -> dict[str, RetransmitterNode]:
        """The retransmitters by name."""
        nodes = self.holders.items()
        return {name: node for name, node in nodes if isinstance(node, RetransmitterNode)}

    @property
    def primary(self) -> ReplicaNode | None:
        """The running replica that leads in the latest epoch, if there is one."""
        leading = [
            node
            for node in self.replicas.values()
            if node.runs and node.core.state is State.PRIMARY
        ]
        return max(leading, key=lambda node: node.core.epoch, default=None)

    @property
    def is_led(self) -> bool:
        """Whether somebody leads whose EPOCH frame is committed."""
        primary = self.primary
        return primary is not None and primary.core.epoch in self.witness.epochs

    @property
    def has_begun(self) -> bool:
        """Whether all run, and know that they have not been here before."""
        return all(each.is_alive for each in self.processes.values()) and not any(
            node.keeping is not None and node.keeping.journal.is_doubtful
            for node in self.holders.values()
        )

    @property
    def is_stopped(self) -> bool:
        """Whether nobody leads, since too few have a vote."""
        votes = [node.holder.vote for node in self.holders.values() if node.runs]
        return self.primary is None and 2 * votes.count(Vote.COUNTS) <= len(self.holders)

    # What happens.

    def run(self, milliseconds: float) -> None:
        """Let so much virtual time pass."""
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)

    def run_until(self, is_so: Callable[[], bool], milliseconds: float, what: str) -> None:
        """Let time pass until something is so; raises NotInTimeError when it takes too long."""
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        if not self.network.world.run(is_so, until_ns):
            raise NotInTimeError(f"{what}: not within {milliseconds / 1000:g} s")

    def cut(self, name: str, others: Sequence[str] | None = None, *, ways: str = "both") -> None:
        """Nothing passes between a process and others (all, unless they are named).

        `ways` is "both", "out" (only what the process sends is lost) or "in".
        """
        others = [other for other in others or self.processes if other != name]
        if ways in ("both", "out"):
            self.network.cut([name], others)
        if ways in ("both", "in"):
            self.network.cut(others, [name])

    def settle(self, milliseconds: float, *, without: Collection[HolderNode] = ()) -> ReplicaNode:
        """Wait until everything is committed and all agree, and check that; who leads then.

        Those of `without` can't know all that the others do.
        """
        self.run_until(lambda: self.is_led, milliseconds, "a primary has to lead")
        self.run_until(
            lambda: all(each.is_settled for each in self.clients.values()),
            milliseconds,
            "every command has to be answered",
        )
        self.run_until(
            lambda: self._is_calm(without), milliseconds, "all have to know all of the list"
        )
        self.check_agreement(without)
        assert self.primary is not None
        return self.primary

    def check_agreement(self, without: Collection[HolderNode] = ()) -> None:
        """All who run hold the same list, all of it committed, and have the same state."""
        leader = self.primary
        assert leader is not None
        self._check_holders(leader, without)
        self._check_readers(leader)

    # How it is done.

    def _check_holders(self, leader: ReplicaNode, without: Collection[HolderNode]) -> None:
        machine = leader.core.machine.digest()
        digest = list_digest(self.witness.committed)
        for name, node in self.holders.items():
            if not node.runs or has_stopped(node) or node in without:
                continue
            node.holder.check()
            check_growth(name, node.core)
            self._check_list(node, digest)
            if isinstance(node, ReplicaNode):
                node.core.machine.check()
                assert node.core.machine.digest() == machine, f"{name} has another state"

    def _check_list(self, node: HolderNode, digest: str) -> None:
        """What a holder has of the list, and what of it stands on its disk, is as committed."""
        name, held, committed = node.name, node.holder.list, self.witness.committed
        last, first = len(committed), held.first_sequence
        assert held.last_sequence == last, f"{name} holds {held.last_sequence} frames, not {last}"
        is_damaged = node.disk is not None and node.disk.is_damaged
        frames = held.frames(first, last)
        if not is_damaged:
            assert frames == committed[first - 1 :], f"{name} holds another list"
        assert held.digest(last) in ((None, digest) if is_damaged else (digest,)), (
            f"{name} has another digest of its list"
        )
        if node.disk is None or is_damaged:
            return
        files = JournalFiles(node.disk.journal)
        first = files.first_sequence
        assert files.last_sequence == last, f"{name} has stored {files.last_sequence} of {last}"
        stored = [frame for run in files.runs(first, last) for frame in run.split()]
        assert stored == committed[first - 1 :], f"{name} has stored another list"

    def _check_readers(self, leader: ReplicaNode) -> None:
        market = self._reference_market(leader)
        books = None if market is None else book_digest(market.book_entries())
        for name, subscriber in self.subscribers.items():
            if not subscriber.runs:
                continue
            assert subscriber.frames == self.witness.committed, f"{name} was told another list"
            subscriber.subscriber.check()
            check_growth(name, subscriber.subscriber)
            subscriber.books.check()
            assert books in (None, subscriber.books.digest()), f"{name} has other books"
        for name, gateway in self.gateways.items():
            gateway.check()
            check_growth(name, gateway.gateway)
        if self.clients and market is not None:
            self.ledger.check_settled(market)

    def _reference_market(self, leader: ReplicaNode) -> Market | None:
        """A market whose orders can be looked at, of a replica in the same state as the leader's.

        None when no replica has one.
        """
        digest = leader.core.machine.digest()
        for node in self.replicas.values():
            machine = node.core.machine if node.runs else None
            if isinstance(machine, ReferenceMarket) and machine.digest() == digest:
                return machine.rules
        return None

    def revive(self) -> None:
        """Start whoever is dead, or can store no more, or will not be able to: the disks are
        mended, and nobody uses one that has failed to sync as if nothing had been."""
        for node in self.holders.values():
            has_failed = node.is_alive and node.holder.storage_failure is not None
            if node.disk is not None:
                node.disk.mend()
                has_failed |= node.disk.has_lost_syncs
            if has_failed:
                node.kill()
            if not node.is_alive:
                node.start()

    def _is_calm(self, without: Collection[HolderNode]) -> bool:
        primary = self.primary
        if primary is None or self.zookeeper.epoch != primary.core.epoch:
            return False
        last = primary.core.sequence
        if primary.core.committed_sequence != last:
            return False
        return (
            all(
                node.subscriber.next_sequence == last + 1
                for nodes in (self.subscribers, self.gateways)
                for node in nodes.values()
                if node.runs
            )
            and all(each.is_settled for each in self.clients.values())
            and not any(each.gateway.uplink.pending_count for each in self.gateways.values())
            and all(
                has_stopped(node) or knows_all(node, primary)
                for node in self.holders.values()
                if node.runs and node not in without
            )
        )


def knows_all(node: HolderNode, primary: ReplicaNode) -> bool:
    """Whether a holder has a vote in the primary's epoch, and all of its list."""
    last = primary.core.sequence
    return (
        node.holder.vote is Vote.COUNTS
        and node.holder.verified_sequence == node.holder.list.stored_sequence == last
        and node.holder.epoch == primary.core.epoch
        and (not isinstance(node, ReplicaNode) or node.core.sequence == last)
    )


def list_digest(frames: Sequence[bytes]) -> str:
    """The digest of a list."""
    digest = ListDigest()
    digest.update(run_of_frames(1, frames))
    return digest.hex()


def has_stopped(node: HolderNode) -> bool:
    """Whether this replica computes otherwise than the list, and so follows it no more."""
    return isinstance(node, ReplicaNode) and node.core.state is State.DIVERGED
