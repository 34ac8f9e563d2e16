"""What the processes of a simulated exchange share, and where they find one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from feed.messages import DefineInstrument, ShortSale
from gateway.client_policy import ClientPolicy
from gateway.settings import GatewaySettings
from tools.simulation.hosts import DiskShape, Host
from tools.simulation.network import Network
from tools.simulation.places import Places
from tools.simulation.tcp import Tcp
from tools.simulation.witness import Witness
from tools.simulation.world import MILLISECOND_NS, SECOND_NS
from tools.simulation.zookeeper import Ensemble
from zk.directory import Directory

if TYPE_CHECKING:
    from tools.simulation.clients import ClientNode
    from tools.simulation.gateways import GatewayNode
    from tools.simulation.holder_node import HolderNode
    from tools.simulation.subscribers import SubscriberNode

SHARD = 1  # the first one, and mostly the only one
EXCHANGE = "SIM"
CACHE_BYTES = 64 << 20
INSTRUMENTS = (
    DefineInstrument(b"ACME    ", 100, 1, ShortSale.ALLOWED),
    DefineInstrument(b"ZINC    ", 100, 1, ShortSale.FORBIDDEN),
)
# Those that begin in further shards, by the shard's number.
FURTHER_INSTRUMENTS = {
    2: (
        DefineInstrument(b"BOLT    ", 100, 1, ShortSale.ALLOWED),
        DefineInstrument(b"GEAR    ", 100, 1, ShortSale.FORBIDDEN),
    ),
    3: (DefineInstrument(b"IRON    ", 100, 1, ShortSale.ALLOWED),),
}
GATEWAY = GatewaySettings.model_validate({"listen": "127.0.0.1:0", "clients": "clients.toml"})
CLIENT = ClientPolicy()


@dataclass(frozen=True, slots=True)
class Shape:
    """How a shard is configured: who is there, and every wait and bound that tests vary.

    The gateways and clients of an exchange with several shards are in the first one's.
    """

    number: int = SHARD
    replicas: int = 3
    retransmitters: int = 2
    gateways: int = 2
    clients: int = 2
    subscribers: int = 2
    suspicion_time_ns: int = 30 * MILLISECOND_NS
    heartbeat_interval_ns: int = 5 * MILLISECOND_NS
    window_frames: int = 16_384
    payload_limit_bytes: int = 256  # two or three frames a packet, so that groups span packets
    session_timeout_ns: int = 2 * SECOND_NS
    instruments: tuple[DefineInstrument, ...] = INSTRUMENTS
    gateway: GatewaySettings = GATEWAY
    client: ClientPolicy = CLIENT
    disk: DiskShape | None = None  # of those holders that keep a journal, if any do
    without_journal: tuple[str, ...] = ()  # the others, where there are some
    hosts: tuple[tuple[str, ...], ...] = ()  # holders that share a machine; others have their own
    cache_bytes: int = CACHE_BYTES
    long_gap_frames: int = 20_000  # that are had by a replay

    @property
    def replica_names(self) -> tuple[str, ...]:
        """Those that can lead."""
        return self._names("e", self.replicas)

    @property
    def retransmitter_names(self) -> tuple[str, ...]:
        """Those that only keep the list."""
        return self._names("r", self.retransmitters)

    @property
    def holder_names(self) -> tuple[str, ...]:
        """All configured holders."""
        return self.replica_names + self.retransmitter_names

    @property
    def gateway_names(self) -> tuple[str, ...]:
        """Those that clients connect to."""
        return tuple(f"g{i + 1}" for i in range(self.gateways))

    @property
    def client_names(self) -> tuple[str, ...]:
        """Those that trade; in the list they go by their place, from 1."""
        return tuple(f"C{i + 1}" for i in range(self.clients))

    @property
    def subscriber_names(self) -> tuple[str, ...]:
        """Those that only read."""
        return self._names("s", self.subscribers)

    def disk_of(self, name: str) -> DiskShape | None:
        """The disk that a holder keeps its journal on; None for one that keeps none."""
        return None if name in self.without_journal else self.disk

    def _names(self, kind: str, count: int) -> tuple[str, ...]:
        """As in e1 and e2 of the first shard, e21 and e22 of the second one."""
        prefix = kind if self.number == SHARD else f"{kind}{self.number}"
        return tuple(f"{prefix}{i + 1}" for i in range(count))


@dataclass(slots=True)
class Shard:
    """One shard, and everybody around it. All shards of an exchange share what is not its own:
    `shards` (all of them by number), the gateways and the clients."""

    shape: Shape
    network: Network
    tcp: Tcp
    zookeeper: Ensemble
    witness: Witness
    shards: dict[int, Shard] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)  # by the names of those that run there
    holders: dict[str, HolderNode] = field(default_factory=dict)
    subscribers: dict[str, SubscriberNode] = field(default_factory=dict)
    gateways: dict[str, GatewayNode] = field(default_factory=dict)
    clients: dict[str, ClientNode] = field(default_factory=dict)
    places: Places = field(init=False)  # shared, too
    starved: set[str] = field(default_factory=set)  # whom no answers to their NAKs reach
    packets: list[bytes] | None = None  # where a test keeps all that goes to the group

    def __post_init__(self) -> None:
        first = next(iter(self.shards.values()), None)
        if first is None:
            self.places = Places(self.network, Directory.alone(self.number))
        else:
            self.places = first.places
        self.shards[self.number] = self

    @property
    def number(self) -> int:
        """Its number in packets, marks and the directory."""
        return self.shape.number

    @property
    def instruments(self) -> tuple[DefineInstrument, ...]:
        """Those of all shards."""
        return tuple(each for shard in self.shards.values() for each in shard.shape.instruments)

    def beside(self, shape: Shape, witness: Witness) -> Shard:
        """Another shard of the same exchange."""
        return Shard(
            shape,
            self.network,
            self.tcp,
            self.zookeeper,
            witness,
            self.shards,
            gateways=self.gateways,
            clients=self.clients,
        )
