"""A whole exchange in virtual time: holders, gateways, clients, subscribers and ZooKeeper.

A cluster is one shard of it. What all shards share stands in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

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
from tools.simulation.shard import EXCHANGE, Shape, Shard
from tools.simulation.subscribers import SubscriberNode
from tools.simulation.tcp import Tcp
from tools.simulation.trace import LINES
from tools.simulation.witness import Witness
from tools.simulation.world import MILLISECOND_NS
from tools.simulation.zookeeper import Ensemble
from zk.directory import Directory


class NotInTimeError(AssertionError):
    """What had to come about did not."""


class Cluster:
    """One shard, whose processes start at once, or `starts_ms` after the beginning.

    The first one of an exchange makes the others, and the gateways and clients. All of them tell of
    the whole exchange but for what is said to be of the shard.
    """

    def __init__(
        self,
        seed: int = 1,
        shape: Shape | None = None,
        weather: Weather | None = None,
        *,
        machines: Mapping[str, Callable[[], Machine]] | None = None,
        starts_ms: Mapping[str, int] | None = None,
        trace_lines: int = LINES,
        others: Sequence[Shape] = (),
        directory: Directory | None = None,
    ) -> None:
        """`others` are the further shards; the `directory` is that of one shard, unless it is
        given."""
        shape = shape or Shape()
        self.network = Network(seed, weather or Weather(), trace_lines=trace_lines)
        self.zookeeper = Ensemble(self.network, session_timeout_ns=shape.session_timeout_ns)
        witness = Witness(len(shape.holder_names))
        tcp = Tcp(self.network)
        self.clusters: dict[int, Cluster] = {}
        self.is_settled: Callable[[], bool] = lambda: True  # whatever else has to end
        self._begin(Shard(shape, self.network, tcp, self.zookeeper, witness), machines)
        self.places = self.shard.places
        if directory is not None:
            self.places.directory = directory
        numbers = [shape.number, *(each.number for each in others)]
        self.ledger = Ledger(numbers, self.places.directory.homes, EXCHANGE)
        for other in others:
            self._add(other, machines)
        if shape.clients:  # else what is traded comes from elsewhere
            for number, cluster in self.clusters.items():
                hear = partial(self.ledger.on_committed, shard=number)
                cluster.witness.listeners.append(hear)
        for name in shape.gateway_names:
            self.gateways[name] = GatewayNode(self.shard, name)
        for number, name in enumerate(shape.client_names, 1):
            self.clients[name] = ClientNode(self.shard, name, number, self.ledger)
        for name, node in self.processes.items():
            self.network.after((starts_ms or {}).get(name, 0) * MILLISECOND_NS, node.start)

    def _begin(self, shard: Shard, machines: Mapping[str, Callable[[], Machine]] | None) -> None:
        """Make the shard's own processes."""
        self.shard, shape = shard, shard.shape
        self.witness = shard.witness
        self.clusters[shard.number] = self
        for group in (*shape.hosts, *((name,) for name in shape.holder_names)):
            host = Host("+".join(group))
            for name in group:
                shard.hosts.setdefault(name, host)
        self.holders, self.subscribers = shard.holders, shard.subscribers
        self.gateways, self.clients = shard.gateways, shard.clients
        for name in shape.replica_names:
            build_machine = (machines or {}).get(name, ReferenceMarket)
            self.holders[name] = ReplicaNode(shard, name, build_machine)
        for name in shape.retransmitter_names:
            self.holders[name] = RetransmitterNode(shard, name)
        for name in shape.subscriber_names:
            self.subscribers[name] = SubscriberNode(shard, name)

    def _add(self, shape: Shape, machines: Mapping[str, Callable[[], Machine]] | None) -> None:
        """One more shard, which shares everything with this one but its own processes."""
        other = Cluster.__new__(Cluster)
        other.network, other.zookeeper, other.ledger = self.network, self.zookeeper, self.ledger
        other.clusters, other.places = self.clusters, self.places
        shard = self.shard.beside(shape, Witness(len(shape.holder_names)))
        other._begin(shard, machines)

    # What is so.

    @property
    def processes(self) -> dict[str, Process]:
        """Everybody, by name."""
        processes: dict[str, Process] = {}
        for cluster in self.clusters.values():
            processes |= {**cluster.holders, **cluster.subscribers}
        return {**processes, **self.gateways, **self.clients}

    @property
    def all_holders(self) -> list[HolderNode]:
        """The holders of all shards."""
        return [node for each in self.clusters.values() for node in each.holders.values()]

    @property
    def replicas(self) -> dict[str, ReplicaNode]:
        """The shard's replicas by name."""
        nodes = self.holders.items()
        return {name: node for name, node in nodes if isinstance(node, ReplicaNode)}

    @property
    def retransmitters(self) -> dict[str, RetransmitterNode]:
        """The shard's retransmitters by name."""
        nodes = self.holders.items()
        return {name: node for name, node in nodes if isinstance(node, RetransmitterNode)}

    @property
    def primary(self) -> ReplicaNode | None:
        """The running replica that leads the shard in its latest epoch, if there is one."""
        leading = [
            node
            for node in self.replicas.values()
            if node.runs and node.core.state is State.PRIMARY
        ]
        return max(leading, key=lambda node: node.core.epoch, default=None)

    @property
    def is_led(self) -> bool:
        """Whether somebody leads the shard whose EPOCH frame is committed."""
        primary = self.primary
        return primary is not None and primary.core.epoch in self.witness.epochs

    @property
    def has_begun(self) -> bool:
        """Whether all run, and know that they have not been here before."""
        return all(each.is_alive for each in self.processes.values()) and not any(
            node.keeping is not None and node.keeping.journal.is_doubtful
            for node in self.all_holders
        )

    @property
    def is_stopped(self) -> bool:
        """Whether nobody leads the shard, since too few have a vote."""
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
        clusters = self.clusters.values()
        self.run_until(
            lambda: all(each.is_led for each in clusters), milliseconds, "a primary has to lead"
        )
        self.run_until(
            lambda: self.is_settled() and all(each.is_settled for each in self.clients.values()),
            milliseconds,
            "every command has to be answered",
        )
        self.run_until(
            lambda: all(each.is_calm(without) for each in clusters) and self._is_all_answered(),
            milliseconds,
            "all have to know all of the lists",
        )
        self.check_agreement(without)
        assert self.primary is not None
        return self.primary

    def check_agreement(self, without: Collection[HolderNode] = ()) -> None:
        """All who run hold the same lists, all of them committed, and have the same state."""
        markets: dict[int, Market] = {}
        for number, cluster in self.clusters.items():
            leader = cluster.primary
            assert leader is not None
            cluster.check_holders(leader, without)
            market = cluster.reference_market(leader)
            cluster.check_readers(market)
            if market is not None:
                markets[number] = market
        for name, gateway in self.gateways.items():
            gateway.check()
            check_growth(name, gateway.gateway)
        if self.clients and markets:
            self.ledger.check_settled(markets)

    # How it is done.

    def check_holders(self, leader: ReplicaNode, without: Collection[HolderNode]) -> None:
        """All holders of the shard that run have what is committed, and the same state."""
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

    def check_readers(self, market: Market | None) -> None:
        """All subscribers of the shard that run were told what is committed; their books are those
        of the market, where there is one to look at."""
        books = None if market is None else book_digest(market.book_entries())
        for name, subscriber in self.subscribers.items():
            if not subscriber.runs:
                continue
            assert subscriber.frames == self.witness.committed, f"{name} was told another list"
            subscriber.subscriber.check()
            check_growth(name, subscriber.subscriber)
            subscriber.books.check()
            assert books in (None, subscriber.books.digest()), f"{name} has other books"

    def reference_market(self, leader: ReplicaNode) -> Market | None:
        """A market whose orders can be looked at, of a replica in the same state as the leader's.

        None when no replica of the shard has one.
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
        for node in self.all_holders:
            has_failed = node.is_alive and node.holder.storage_failure is not None
            if node.disk is not None:
                node.disk.mend()
                has_failed |= node.disk.has_lost_syncs
            if has_failed:
                node.kill()
            if not node.is_alive:
                node.start()

    def is_calm(self, without: Collection[HolderNode]) -> bool:
        """Whether all of the shard's list is committed, and known to everybody who runs."""
        primary, number = self.primary, self.shard.number
        if primary is None or self.zookeeper.realm(number).epoch != primary.core.epoch:
            return False
        last = primary.core.sequence
        if primary.core.committed_sequence != last:
            return False
        return (
            all(
                node.subscriber.next_sequence == last + 1
                for node in self.subscribers.values()
                if node.runs
            )
            and all(
                node.feeds[number].subscriber.next_sequence == last + 1
                for node in self.gateways.values()
                if node.runs and number in node.feeds
            )
            and all(
                has_stopped(node) or knows_all(node, primary)
                for node in self.holders.values()
                if node.runs and node not in without
            )
        )

    def _is_all_answered(self) -> bool:
        is_settled = self.is_settled() and all(each.is_settled for each in self.clients.values())
        return is_settled and not any(each.gateway.pending_count for each in self.gateways.values())


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
