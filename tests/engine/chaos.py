"""Faults at random, of all kinds, in rounds, on a whole shard in virtual time.

Never more memories are lost in a round than a minority's: whatever else happens, nothing that was
committed may change, and once the faults are over, everything goes on.
"""

from collections.abc import Callable
from functools import partial
from random import Random

import structlog

from feed.faults import FaultShares
from tests.engine.cluster import Cluster
from tests.engine.cluster_nodes import HolderNode, ReplicaNode
from tests.engine.cluster_zookeeper import MILLISECOND_NS

SHARES = FaultShares(drop=0.02, duplicate=0.02, reorder=0.05, corrupt=0.01)
SHAPES = [(3, 2)] * 6 + [(2, 1), (2, 3), (4, 1), (1, 2)]  # replicas, retransmitters
WINDOWS = [16_384, 16_384, 200, 20]
ORDERS = 60

Mend = Callable[[], None]


class Chaos:
    """One run."""

    def __init__(self, seed: int, rounds: int) -> None:
        self.random = Random(seed)
        replicas, retransmitters = self.random.choice(SHAPES)
        self.cluster = Cluster(
            seed,
            replicas=replicas,
            retransmitters=retransmitters,
            shares=SHARES,
            window_frames=self.random.choice(WINDOWS),
            starts_ms=self._starts_ms(replicas, retransmitters),
        )
        self._rounds = rounds
        self._forgetful: set[str] = set()  # who has lost its memory in this round

    def run(self) -> None:
        """Every round some faults, and then calm: trading goes on and everybody agrees."""
        cluster, random = self.cluster, self.random
        cluster.trading()
        cluster.trade(ORDERS)
        cluster.run_until(lambda: all(node.runs for node in cluster.holders.values()))
        cluster.settle()
        for _ in range(self._rounds):
            self._forgetful.clear()
            cluster.trade(ORDERS, interval_ns=random.choice([200_000, MILLISECOND_NS]))
            mends: list[Mend] = []
            for _ in range(random.choice([1, 2, 3, 4, 6, 8])):
                cluster.run(random.choice([0, *(random.uniform(0, ms) for ms in (5, 60, 200))]))
                if mends and random.random() < 0.4:
                    mends.pop(random.randrange(len(mends)))()
                else:
                    mends.append(random.choice(self._faults)(self))
            for mend in mends:
                mend()
            cluster.network.heal()
            cluster.shard.starved.clear()
            cluster.settle()

    def _starts_ms(self, replicas: int, retransmitters: int) -> dict[str, int]:
        """Nodes that all start at once, or at very different times."""
        names = [f"e{i + 1}" for i in range(replicas)]
        names += [f"r{i + 1}" for i in range(retransmitters)]
        longest = self.random.choice([0, 20, 1500])
        return {name: self.random.randint(0, longest) for name in names}

    # Whom it befalls.

    def _victim(self) -> HolderNode:
        """A holder; most of the time the primary."""
        primary = self.cluster.primary
        if primary is not None and self.random.random() < 0.6:
            return primary
        return self.random.choice(list(self.cluster.holders.values()))

    def _victims(self, count: int) -> list[HolderNode]:
        victims = [self._victim()]
        others = [node for node in self.cluster.holders.values() if node is not victims[0]]
        return victims + self.random.sample(others, min(count - 1, len(others)))

    def _may_forget(self, node: HolderNode) -> bool:
        """Whether this one may lose its memory now; notes that it does."""
        minority = (len(self.cluster.holders) - 1) // 2
        if len(self._forgetful | {node.name}) > minority:
            return False
        self._forgetful.add(node.name)
        return True

    # What may happen.

    def _kill(self) -> Mend:
        """One or more die, and come back without their memory: later, or at once."""
        victims = self._victims(self.random.choice([1, 1, 2]))
        killed = [node for node in victims if self._may_forget(node)]
        for node in killed:
            node.kill()
        if self.random.random() < 0.3:
            _start(killed)
            return _nothing
        return partial(_start, killed)

    def _pause(self) -> Mend:
        """Some stop, and go on later."""
        victims = self._victims(self.random.choice([1, 1, 2, 3]))
        for node in victims:
            node.pause()
        return partial(_unpause, victims)

    def _cut(self) -> Mend:
        """Datagrams from or to some are lost, and some may lose ZooKeeper too."""
        victims = self._victims(self.random.choice([1, 1, 2]))
        others = None
        if self.random.random() < 0.3:
            names = list(self.cluster.holders)
            others = self.random.sample(names, self.random.randint(1, len(names)))
        for node in victims:
            self.cluster.cut(node.name, others, ways=self.random.choice(["both", "out", "in"]))
            node.reaches_zookeeper = self.random.random() < 0.5
        return partial(_reach_zookeeper, victims)

    def _split(self) -> Mend:
        """The network falls into two parts."""
        names = [*self.cluster.holders, *(each.name for each in self.cluster.subscribers)]
        self.random.shuffle(names)
        place = self.random.randint(1, len(names) - 1)
        for name in names[:place]:
            self.cluster.cut(name, names[place:])
        return self.cluster.network.heal

    def _storm(self) -> Mend:
        """Again and again most of the others hear nothing of the primary for a moment."""
        for i in range(self.random.randint(2, 8)):
            self.cluster.network.after(i * 40 * MILLISECOND_NS, self._silence)
        return _nothing

    def _silence(self) -> None:
        primary = self.cluster.primary
        if primary is not None:
            names = [name for name in self.cluster.holders if name != primary.name]
            deaf = self.random.sample(names, self.random.randint(len(names) // 2, len(names)))
            self.cluster.cut(primary.name, deaf, ways="out")
            self.cluster.network.after(35 * MILLISECOND_NS, self.cluster.network.heal)

    def _starve(self) -> Mend:
        """No answers to NAKs reach some, who then lose a little of the feed too."""
        victims = self._victims(self.random.choice([1, 2]))
        names = [node.name for node in victims]
        self.cluster.shard.starved.update(names)
        self.cluster.network.cut(self.cluster.holders, names)
        silence_ns = self.random.randint(1, 20) * MILLISECOND_NS
        self.cluster.network.after(silence_ns, self.cluster.network.heal)
        return partial(self.cluster.shard.starved.difference_update, names)

    def _expire(self) -> Mend:
        """A session ends, and the process lives."""
        self.cluster.zookeeper.expire(self._victim().name)
        return _nothing

    def _lose_zookeeper(self) -> Mend:
        """ZooKeeper has no quorum."""
        self.cluster.zookeeper.lose_quorum()
        return self.cluster.zookeeper.return_quorum

    def _die_in_group(self) -> Mend:
        """A primary dies after one of its next packets."""
        node = self._victim()
        if isinstance(node, ReplicaNode) and self._may_forget(node):
            node.dies_after_packets = self.random.randint(0, 4)
        return partial(_start_if_dead, node)

    def _jump(self) -> Mend:
        """A wall clock jumps, back or ahead."""
        node = self._victim()
        if isinstance(node, ReplicaNode):
            node.clock_ahead_ns += self.random.randint(-10_000, 10_000) * MILLISECOND_NS
        return _nothing

    _faults = (
        *(_kill, _kill, _pause, _pause, _cut, _cut, _split),
        *(_starve, _storm, _expire, _lose_zookeeper, _die_in_group, _die_in_group, _jump),
    )


def _nothing() -> None:
    """There is nothing to mend."""


def _start(nodes: list[HolderNode]) -> None:
    for node in nodes:
        if not node.is_alive:
            node.start()


def _unpause(nodes: list[HolderNode]) -> None:
    for node in nodes:
        if node.is_paused:
            node.unpause()


def _reach_zookeeper(nodes: list[HolderNode]) -> None:
    for node in nodes:
        node.reaches_zookeeper = True


def _start_if_dead(node: HolderNode) -> None:
    if isinstance(node, ReplicaNode):
        node.dies_after_packets = None
    _start([node])


def quietly(run: Callable[[], None]) -> None:
    """Run without the lines that the replicas log: thousands of seeds write too many."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        run()
    finally:
        structlog.configure(**before)
