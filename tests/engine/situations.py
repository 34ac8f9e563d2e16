"""Where the tests of a whole shard begin, and what they wait for."""

from tests.engine.cluster import Cluster
from tools.simulation.holders import HolderNode, ReplicaNode


def trading(orders: int = 40, *, seed: int = 1) -> tuple[Cluster, ReplicaNode]:
    """A cluster on which so many orders are committed, and its primary."""
    cluster = Cluster(seed)
    leader = cluster.trading()
    cluster.trade(orders)
    cluster.settle()
    return cluster, leader


def others(cluster: Cluster, *nodes: HolderNode) -> list[HolderNode]:
    return [node for node in cluster.holders.values() if node not in nodes]


def list_of(cluster: Cluster) -> list[bytes]:
    return list(cluster.witness.committed)


def took_over(cluster: Cluster, first: ReplicaNode, *, within_ms: float = 300) -> ReplicaNode:
    """Wait for another primary in a later epoch than those that `first` led in; who it is."""
    led = max(epoch for epoch, name in cluster.witness.leaders.items() if name == first.name)
    cluster.run_until(lambda: cluster.witness.epochs[-1] > led, within_ms)
    leader = cluster.leader()
    assert leader is not first
    return leader
