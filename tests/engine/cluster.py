"""A shard of the simulator whose only client hands its orders straight to the replicas."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from engine.machine import Machine
from engine.replica import State
from feed.faults import FaultShares
from feed.messages import DefineInstrument, ShortSale
from tests.engine.trader import LOGIN, SYMBOL, Trader
from tools.simulation import cluster
from tools.simulation.holders import HolderNode, ReplicaNode
from tools.simulation.network import Weather
from tools.simulation.shard import Shape
from tools.simulation.subscribers import SubscriberNode
from tools.simulation.world import MILLISECOND_NS

LISTING = DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)
SUSPICION_NS = Shape().suspicion_time_ns
SESSION_NS = Shape().session_timeout_ns
NO_FAULTS = FaultShares()


class Cluster(cluster.Cluster):
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
        shape = Shape(
            replicas=replicas,
            retransmitters=retransmitters,
            gateways=0,
            clients=0,
            window_frames=window_frames,
            instruments=(LISTING,),
        )
        weather = Weather(**asdict(shares))
        super().__init__(seed, shape, weather, machines=machines, starts_ms=starts_ms)
        self.trader = Trader(self.network, self.replicas)
        self.witness.listeners.append(self.trader.on_committed)

    @property
    def entered(self) -> list[int]:
        """The numbers of the committed orders, in the list's order."""
        return self.trader.entered

    def backups(self) -> list[ReplicaNode]:
        """The running replicas that follow, and have a vote."""
        return [
            node for node in self.replicas.values() if node.runs and node.core.state is State.BACKUP
        ]

    def run_until(
        self, is_so: Callable[[], bool], milliseconds: float = 5000, what: str = "it"
    ) -> None:
        super().run_until(is_so, milliseconds, what)

    def leader(self) -> ReplicaNode:
        """Wait for a primary that has committed its EPOCH frame."""
        self.run_until(lambda: self.is_led)
        assert self.primary is not None
        return self.primary

    def log_in(self) -> None:
        """Have the client log in, and wait until that is committed."""
        self.trader.log_in()
        self.run_until(lambda: LOGIN in self.trader.logged_in)

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
        """Wait until all orders are committed, too."""
        sent = self.trader.sent
        self.run_until(lambda: len(self.entered) == sent, milliseconds)
        assert self.entered == [*range(1, sent + 1)]
        return super().settle(milliseconds, without=without)

    def deliver(self, packets: Sequence[bytes]) -> None:
        """Late packets arrive, at everybody."""
        for data in packets:
            nodes: list[HolderNode | SubscriberNode] = [
                *self.holders.values(),
                *self.subscribers.values(),
            ]
            for node in nodes:
                node.do(node.life, partial(node.on_packet, data))
