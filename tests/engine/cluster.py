"""A whole shard in virtual time, under a seed: replicas, retransmitters, subscribers, a client.

The very objects of production, on a network that delays and loses, with a model of what ZooKeeper
guarantees, and with a witness that holds each step against the rules of the list.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from engine.machine import Machine
from engine.market import Market
from engine.replica import State
from feed.faults import FaultShares
from feed.vote import Vote
from tests.engine.cluster_network import Network
from tests.engine.cluster_nodes import (
    HolderNode,
    ReplicaNode,
    RetransmitterNode,
    Shard,
    SubscriberNode,
)
from tests.engine.cluster_trader import LOGIN, Trader
from tests.engine.cluster_witness import Witness
from tests.engine.cluster_zookeeper import MILLISECOND_NS, ZooKeeper

NO_FAULTS = FaultShares()


class Cluster:
    """One shard, whose holders start at once, or `starts_ms` after the beginning."""

    def __init__(
        self,
        seed: int = 1,
        *,
        replicas: int = 3,
        retransmitters: int = 2,
        shares: FaultShares = NO_FAULTS,
        window_frames: int = 16_384,
        machines: Mapping[str, Callable[[], Machine]] | None = None,
        starts_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.network = Network(seed, shares)
        self.zookeeper = ZooKeeper(self.network)
        self.shard = Shard(
            self.network,
            tuple(f"e{i + 1}" for i in range(replicas)),
            tuple(f"r{i + 1}" for i in range(retransmitters)),
            window_frames,
            self.zookeeper,
            Witness(replicas + retransmitters),
        )
        self.trader = Trader(self.shard)
        self.subscribers = self.shard.subscribers
        self.subscribers += [SubscriberNode(self.shard, f"s{i + 1}") for i in range(2)]
        self.holders = self.shard.holders
        for name in self.shard.replica_names:
            self.holders[name] = ReplicaNode(self.shard, name, (machines or {}).get(name, Market))
        for name in self.shard.retransmitter_names:
            self.holders[name] = RetransmitterNode(self.shard, name)
        for name, node in self.holders.items():
            self.network.after((starts_ms or {}).get(name, 0) * MILLISECOND_NS, node.start)

    # What is so.

    @property
    def witness(self) -> Witness:
        """What is committed, and who led."""
        return self.shard.witness

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

    def backups(self) -> list[ReplicaNode]:
        """The running replicas that follow, and have a vote."""
        return [
            node for node in self.replicas.values() if node.runs and node.core.state is State.BACKUP
        ]

    # What tests do.

    def run(self, milliseconds: float) -> None:
        """Let so much virtual time pass."""
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)

    def run_until(self, is_so: Callable[[], bool], milliseconds: float = 5000) -> None:
        """Let time pass until something is so; fails when it takes too long."""
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        assert self.network.world.run(is_so, until_ns), "it did not come to that in time"

    def leader(self) -> ReplicaNode:
        """Wait for a primary that has committed its EPOCH frame."""
        self.run_until(self._is_led)
        assert self.primary is not None
        return self.primary

    def log_in(self) -> None:
        """Have the client log in, and wait until that is committed."""
        self.trader.log_in()
        self.run_until(lambda: LOGIN in self.witness.logged_in)

    def trade(self, count: int, *, interval_ns: int = MILLISECOND_NS) -> list[int]:
        """Have the client send so many orders; their numbers."""
        return self.trader.trade(count, interval_ns)

    def trading(self) -> ReplicaNode:
        """Wait until somebody leads and the client is logged in; who leads."""
        leader = self.leader()
        self.log_in()
        return leader

    def settle(
        self, milliseconds: float = 20_000, *, without: Collection[HolderNode] = ()
    ) -> ReplicaNode:
        """Wait until all orders are committed and all who run agree; who leads then.

        Those of `without` can't know all that the others do.
        """
        sent = self.trader.sent
        self.run_until(lambda: len(self.witness.entered) == sent, milliseconds)
        assert self.witness.entered == [*range(1, sent + 1)]
        self.run_until(lambda: self._is_calm(without), milliseconds)
        self.check_agreement(without)
        assert self.primary is not None
        return self.primary

    def cut(self, name: str, others: Sequence[str] | None = None, *, ways: str = "both") -> None:
        """No datagram passes between a node and others (all, unless they are named).

        `ways` is "both", "out" (only what the node sends is lost) or "in".
        """
        if others is None:
            others = [*self.holders, *(each.name for each in self.subscribers)]
        others = [other for other in others if other != name]
        if ways in ("both", "out"):
            self.network.cut([name], others)
        if ways in ("both", "in"):
            self.network.cut(others, [name])

    def deliver(self, packets: Sequence[bytes]) -> None:
        """Late packets arrive, at everybody."""
        for data in packets:
            for node in (*self.holders.values(), *self.subscribers):
                node.do(node.life, partial(node.on_packet, data))

    def check_agreement(self, without: Collection[HolderNode] = ()) -> None:
        """All who run hold the same list, all of it committed, and have the same state."""
        leader = self.primary
        assert leader is not None
        last = leader.core.sequence
        frames = leader.holder.list.cache.frames(1, last)
        assert frames == self.witness.committed
        for subscriber in self.subscribers:
            assert subscriber.frames == frames, f"{subscriber.name} was told another list"
        digest, machine = leader.holder.list.digest(last), leader.core.machine.digest()
        for name, node in self.holders.items():
            if not node.runs or self._has_stopped(node) or node in without:
                continue
            node.holder.check()
            assert node.holder.list.digest(last) == digest, f"{name} holds another list"
            if isinstance(node, ReplicaNode):
                node.core.machine.check()
                assert node.core.machine.digest() == machine, f"{name} has another state"

    # How it is done.

    def _is_led(self) -> bool:
        primary = self.primary
        return primary is not None and primary.core.epoch in self.witness.epochs

    @staticmethod
    def _has_stopped(node: HolderNode) -> bool:
        return isinstance(node, ReplicaNode) and node.core.state is State.DIVERGED

    def _is_calm(self, without: Collection[HolderNode]) -> bool:
        primary = self.primary
        if primary is None or self.zookeeper.epoch != primary.core.epoch:
            return False
        last = primary.core.sequence
        if primary.core.committed_sequence != last:
            return False
        if any(each.subscriber.next_sequence != last + 1 for each in self.subscribers):
            return False
        return all(
            self._has_stopped(node)
            or (
                node.holder.vote is Vote.COUNTS
                and node.holder.verified_sequence == last
                and node.holder.epoch == primary.core.epoch
                and (not isinstance(node, ReplicaNode) or node.core.sequence == last)
            )
            for node in self.holders.values()
            if node.runs and node not in without
        )
