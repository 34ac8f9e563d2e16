"""Whom a fault befalls: the cluster, its own luck, and who may still lose its memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from random import Random
from typing import NamedTuple, TypeVar

from tools.simulation.cluster import Cluster
from tools.simulation.holder_node import HolderNode
from tools.simulation.holders import ReplicaNode
from tools.simulation.network import Process
from tools.simulation.operator import Operator
from tools.simulation.world import MILLISECOND_NS

Mend = Callable[[], None]
Each = TypeVar("Each", bound=Process)

# Most faults befall the primary, where they do the most harm.
PRIMARY_SHARE = 0.6
MOST_ORDERS = 15  # that a client sends more while a fault strikes


class Loss(Enum):
    """What a holder loses."""

    PROCESS = auto()
    POWER = auto()
    SYNCS = auto()  # what is written, and never gets to the disk
    DISK = auto()


class Scene:
    """What faults need to know. Between two calms, no more than a minority may forget."""

    def __init__(
        self, cluster: Cluster, random: Random, *, interval_ns: int = MILLISECOND_NS
    ) -> None:
        """Each client sends an order in each interval, while it has any. The cluster is that of the
        shard that the faults befall."""
        self.cluster = cluster
        self.random = random
        self.interval_ns = interval_ns
        self.weather = cluster.network.weather  # as it is when there is no storm
        self.operator: Operator | None = None  # where there are several shards
        self._forgetful: set[str] = set()
        self._has_zookeeper_forgotten = False

    def begin(self) -> None:
        """Everybody has caught up: another minority may forget now."""
        self._forgetful.clear()
        self._has_zookeeper_forgotten = False

    @property
    def has_majority(self) -> bool:
        """Whether a majority still remembers all that it has said."""
        return len(self._forgetful) <= self._minority

    @property
    def remembers_all(self) -> bool:
        """Whether nobody has forgotten since the last calm, and all have journals, so that
        ZooKeeper may forget everything; not while other shards go on meanwhile."""
        has_journals = all(node.disk is not None for node in self.cluster.holders.values())
        return has_journals and not self._forgetful and len(self.cluster.clusters) == 1

    def may_lose(self, nodes: Iterable[Process], loss: Loss = Loss.PROCESS) -> bool:
        """Whether all of these may lose that now; notes who forgets by it."""
        forgetful = {node.name for node in nodes if self._forgets(node, loss)}
        if forgetful and self._has_zookeeper_forgotten:
            return False
        if len(self._forgetful | forgetful) > self._minority:
            return False
        self._forgetful |= forgetful
        return True

    def have_zookeeper_forget(self) -> None:
        """It loses all that it knows: who has been here is with those alone who still are."""
        self._has_zookeeper_forgotten = True
        self.cluster.zookeeper.forget_everything()

    def lose(self, nodes: Iterable[Process], loss: Loss) -> None:
        """They lose that, however many forget by it: then the shard may have to stop."""
        self._forgetful |= {node.name for node in nodes if self._forgets(node, loss)}

    def may_forget(self, node: Process) -> bool:
        """Whether the process of a holder may end now; notes when that makes it forget."""
        return self.may_lose([node])

    def may_forget_all(self, node: HolderNode) -> bool:
        """Whether a holder may lose its memory now, and its disk if it has one; notes that it
        does."""
        return self.may_lose([node], Loss.DISK)

    @property
    def _minority(self) -> int:
        return (len(self.cluster.holders) - 1) // 2

    def _forgets(self, node: Process, loss: Loss) -> bool:
        holder = self.cluster.holders.get(node.name)
        if holder is None:
            return False
        if holder.disk is None:
            return loss in (Loss.PROCESS, Loss.POWER, Loss.DISK)
        if loss is Loss.POWER:
            return holder.disk.is_lax
        return loss in (Loss.SYNCS, Loss.DISK)

    def trade(self) -> None:
        """Have the clients send orders now."""
        for client in self.cluster.clients.values():
            client.trade(self.random.randint(1, MOST_ORDERS), self.interval_ns)

    def holder(self) -> HolderNode:
        """A holder; most of the time the primary."""
        primary = self.cluster.primary
        if primary is not None and self.random.random() < PRIMARY_SHARE:
            return primary
        return self.random.choice(list(self.cluster.holders.values()))

    def holders(self, most: int) -> list[HolderNode]:
        """One holder, or some; at most so many."""
        victims = [self.holder()]
        others = [node for node in self.cluster.holders.values() if node is not victims[0]]
        count = min(self.random.randint(1, most) - 1, len(others))
        return victims + self.random.sample(others, count)

    def replica(self) -> ReplicaNode:
        """A replica; most of the time the primary."""
        victim = self.holder()
        if isinstance(victim, ReplicaNode):
            return victim
        return self.random.choice(list(self.cluster.replicas.values()))

    def one_of(self, nodes: Mapping[str, Each]) -> Each | None:
        """Any of these; None when there is none."""
        return self.random.choice(list(nodes.values())) if nodes else None

    def anybody(self) -> Process:
        """Any process at all."""
        return self.random.choice(list(self.cluster.processes.values()))

    def duration_ms(self) -> float:
        """How long something lasts: mostly about a suspicion time, now and then a session's."""
        shape = self.cluster.shard.shape
        longest_ns = self.random.choice(
            (shape.suspicion_time_ns, 3 * shape.suspicion_time_ns, 2 * shape.session_timeout_ns)
        )
        return self.random.uniform(0, longest_ns / 1e6)


class Plot:
    """What a fault has in store, until it is mended."""

    def __init__(self, scene: Scene) -> None:
        self._network = scene.cluster.network
        self._is_over = False

    def later(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Have something happen later, unless it is mended by then."""
        self._network.after(delay_ns, lambda: None if self._is_over else act())

    def mend(self, *acts: Mend) -> Mend:
        """What mends it: nothing of it happens any more, and these do."""

        def end() -> None:
            self._is_over = True
            for act in acts:
                act()

        return end


class Fault(NamedTuple):
    """Something that may go wrong: strikes, and says how it is mended."""

    kind: str
    weight: int
    strike: Callable[[Scene], Mend | None]  # None: it could not befall anybody now


def nothing() -> None:
    """There is nothing to mend."""


def start_again(nodes: Sequence[Process]) -> Mend:
    """Those of them that are dead by then start, without their memory."""
    return partial(_start, tuple(nodes))


def _start(nodes: Sequence[Process]) -> None:
    for node in nodes:
        node.sends_to_live = None
        if not node.is_alive:
            node.start()


def wake(nodes: Sequence[Process]) -> Mend:
    """Those of them that are paused by then go on."""
    return partial(_wake, tuple(nodes))


def _wake(nodes: Sequence[Process]) -> None:
    for node in nodes:
        if node.is_paused:
            node.unpause()
