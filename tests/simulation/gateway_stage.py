"""A simulated gateway between a primary and clients that a test plays."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from feed.datagrams import encode_decision
from gateway.settings import GatewaySettings
from gateway.soup import LoginRequest, ServerHeartbeat, ServerPacket, server_packets
from tests.gateway.reigns import Reign
from tests.simulation.lines import Recorder
from tests.submissions import take_submissions
from tools.simulation.gateways import CLIENTS_PORT, GatewayNode, secret_of
from tools.simulation.holders import COMMANDS_PORT, HolderNode
from tools.simulation.network import Network, Process, Weather
from tools.simulation.shard import INSTRUMENTS, SHARD, Shape, Shard
from tools.simulation.tcp import End, Tcp
from tools.simulation.witness import Witness
from tools.simulation.world import MILLISECOND_NS, SECOND_NS
from tools.simulation.zookeeper import Ensemble
from zk.election import PrimaryRecord

HEARTBEAT_NS = 10 * MILLISECOND_NS


class Registry:
    """As much of ZooKeeper as a gateway needs."""

    def __init__(self) -> None:
        self.primary: PrimaryRecord | None = None
        self.connected = True
        self._on_change: Callable[[], None] = lambda: None

    def join(
        self,
        process: Process,
        *,
        role: str,
        holder: bool,
        commands: str | None,
        on_change: Callable[[], None],
        shard: int,
    ) -> "Registry":
        assert (role, holder, commands) == ("gateway", False, None)
        life = process.life
        self._on_change = partial(process.do, life, on_change)
        process.network.after(0, self._on_change)
        return self

    def tell(self, record: PrimaryRecord | None) -> None:
        self.primary = record
        self._on_change()


class Listener:
    """Hears everything that a gateway was told is committed."""

    def __init__(self) -> None:
        self.sequence = 0

    def on_committed(self, frames: Sequence[object]) -> None:
        self.sequence += len(frames)


class Primary(Process):
    """A primary that commits when the test says so."""

    def __init__(self, stage: "Stage", reign: Reign) -> None:
        super().__init__(stage.network, reign.record.name)
        self.reign = reign
        self.connections: list[GatewayConnection] = []
        self._stage = stage
        self.start()
        stage.tcp.listen(self, COMMANDS_PORT, lambda: GatewayConnection(self))
        self.network.after(HEARTBEAT_NS, self._beat)

    @property
    def record(self) -> PrimaryRecord:
        return self.reign.record._replace(commands=f"{self.name}:1")

    def time_ns(self) -> int:
        return self.wall_clock_ns()

    def publish(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            self._stage.packets.append(packet)
            self.network.multicast(
                self, [(self._stage.node, self._stage.node.hears(SHARD))], packet
            )

    def commit(self) -> None:
        self.do(self.life, lambda: self.publish(self.reign.commit()))

    def _beat(self) -> None:
        if self.is_alive and self._stage.primary is self:
            self.do(self.life, lambda: self.publish([self.reign.heartbeat()]))
        self.network.after(HEARTBEAT_NS, self._beat)


class GatewayConnection(asyncio.Protocol):
    """A gateway's connection at the primary."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._buffer = bytearray()
        self._submissions = 0
        self._end: End
        self.is_lost = False
        primary.connections.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self._end = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        primary = self._primary
        self._buffer += data
        for submission in take_submissions(self._buffer):
            primary.reign.submit(submission, primary.time_ns())
            self._submissions += 1
        primary.publish(primary.reign.flush())
        self._end.write(encode_decision(primary.reign.decision(self._submissions)))


class Repairer(Process):
    """A retransmitter that sends all that there is to whoever lacks anything."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__(stage.network, "r1")
        self._stage = stage
        self.start()

    def on_nak(self, data: bytes, asker: Process, life: int, take: Callable[[bytes], None]) -> None:
        for packet in self._stage.packets:
            self.network.send(self, asker, take, packet)


class Client(Recorder):
    """A client's connection, byte by byte."""

    def __init__(self, stage: "Stage", name: str, *, keeps_open: bool = False) -> None:
        super().__init__(keeps_open=keeps_open)
        self.name = name
        self._stage = stage
        self._reader = server_packets()
        self._packets: list[ServerPacket] = []
        self.process = Process(stage.network, f"{name}'s")
        self.process.start()
        stage.tcp.connect(
            self.process, stage.node, CLIENTS_PORT, lambda: self, self.told.append, SECOND_NS
        )
        stage.run(2)

    def data_received(self, data: bytes) -> None:
        self._packets += [
            each for each in self._reader.take(data) if not isinstance(each, ServerHeartbeat)
        ]

    def send(self, *packets: bytes) -> None:
        self.process.do(self.process.life, lambda: self.end.write(b"".join(packets)))

    def log_in(self, sequence: int = 1, secret: str = "") -> None:
        secret = secret or secret_of(self.name)
        self.send(LoginRequest(self.name, secret, "", sequence).encode())

    def take(self) -> list[ServerPacket]:
        """What has come since this was last asked, but for heartbeats."""
        taken, self._packets = self._packets, []
        return taken


class Stage:
    """A gateway, "g1", and what it needs; a primary leads, and the gateway knows."""

    def __init__(self, seed: int = 1, **settings: object) -> None:
        self.network = Network(seed, Weather())
        self.tcp = Tcp(self.network)
        self.registry = Registry()
        self.witness = Listener()
        self.packets: list[bytes] = []
        shape = Shape(
            retransmitters=1,
            clients=6,
            gateway=GatewaySettings.model_validate(
                {"listen": "127.0.0.1:0", "clients": "clients.toml", **settings}
            ),
        )
        self.shard = Shard(
            shape,
            self.network,
            self.tcp,
            cast(Ensemble, self.registry),
            cast(Witness, self.witness),
        )
        self.node = GatewayNode(self.shard, "g1")
        self.shard.gateways["g1"] = self.node
        self.shard.holders["r1"] = cast(HolderNode, Repairer(self))
        reign = Reign(SHARD, epoch=1)
        self.primary = self._lead(reign)
        reign.open(self.primary.time_ns(), INSTRUMENTS)
        self.primary.commit()
        self.node.start()
        self.registry.tell(self.primary.record)
        self.run(5)

    def take_over(self, *, tells: bool = True) -> Primary:
        """Another primary leads; the deposed one is returned, alive."""
        deposed = self.primary
        reign = deposed.reign.successor(deposed.time_ns())
        reign.commits = True
        self.primary = self._lead(reign)
        self.primary.do(1, lambda: self.primary.publish(reign.flush()))
        if tells:
            self.registry.tell(self.primary.record)
        return deposed

    def client(self, name: str = "C1", *, keeps_open: bool = False) -> Client:
        return Client(self, name, keeps_open=keeps_open)

    def open(self, name: str = "C1", sequence: int = 1) -> Client:
        """A client that has logged in."""
        client = self.client(name)
        client.log_in(sequence)
        self.run(100)
        return client

    def run(self, milliseconds: float = 50) -> None:
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)
        self.node.check()

    def _lead(self, reign: Reign) -> Primary:
        self.primary = primary = Primary(self, reign)
        self.shard.holders[primary.name] = cast(HolderNode, primary)
        return primary
