"""Production gateways around one machine that never dies: what simulated clients are tested on.

What a gateway submits is decided, committed and delivered to all gateways at once; between clients
and gateways there is the simulated network.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, cast

from feed.datagrams import encode_decision
from feed.messages import SelfTradePrevention
from feed.run import Run, run_of_frames
from gateway.clients import ClientSettings
from gateway.gateway import Gateway
from gateway.session import Session
from tests.gateway.reigns import Reign
from tests.submissions import take_submissions
from tools.simulation.clients import PORT, ClientNode
from tools.simulation.ledger import Ledger
from tools.simulation.network import Network, Process, Weather
from tools.simulation.shard import EXCHANGE, SHARD, Shape, Shard
from tools.simulation.tcp import Tcp
from tools.simulation.witness import Witness
from tools.simulation.world import MILLISECOND_NS
from tools.simulation.zookeeper import Ensemble
from zk.directory import Directory

if TYPE_CHECKING:
    from tools.simulation.gateways import GatewayNode

SESSION_TIMEOUT_NS = 2_000 * MILLISECOND_NS
HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Nb38aP7G8AMTYRyDWZYzAA"  # never looked at here
STEP_NS = MILLISECOND_NS  # how long the machine takes for what has come in


class SmallExchange:
    """Gateways g1 and g2, clients C1 and C2; the second one's orders end with its sessions."""

    def __init__(self, seed: int = 1, shape: Shape | None = None, clients: int = 2) -> None:
        self.network = Network(seed, Weather())
        self.ledger = Ledger(session=EXCHANGE)
        shape = shape or Shape()
        self.shard = Shard(
            shape,
            self.network,
            Tcp(self.network),
            Ensemble(self.network, session_timeout_ns=SESSION_TIMEOUT_NS),
            Witness(1),
        )
        self.reign = Reign(SHARD, epoch=1)
        self.reign.open(self.time_ns, shape.instruments)
        self.gateways = {name: SmallGateway(self, name) for name in ("g1", "g2")}
        self.shard.gateways.update(cast("dict[str, GatewayNode]", self.gateways))
        self._committed = 0
        self.commit()
        for number, name in enumerate(shape.client_names[:clients], 1):
            self.shard.clients[name] = ClientNode(self.shard, name, number, self.ledger)
        for process in (*self.gateways.values(), *self.shard.clients.values()):
            process.start()

    @property
    def time_ns(self) -> int:
        return self.network.began_ns + self.network.now_ns

    @property
    def client(self) -> ClientNode:
        """The first client."""
        return self.shard.clients["C1"]

    def commit(self) -> None:
        """What the machine has is committed, and all gateways are told."""
        run = run_of_frames(self._committed + 1, self.reign.frames[self._committed :])
        self._committed = len(self.reign.frames)
        for frame in run:
            self.ledger.on_committed(frame)
        for gateway in self.gateways.values():
            gateway.do(gateway.life, partial(gateway.deliver, run))

    def run(self, milliseconds: float) -> None:
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)

    def settle(self, milliseconds: float = 60_000) -> None:
        """Until all clients are, and the ledger has nothing to say against it."""
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        clients = self.shard.clients.values()
        is_settled = self.network.world.run(
            lambda: all(client.is_settled for client in clients), until_ns
        )
        assert is_settled, "the clients don't come to rest"
        self.ledger.check_settled({SHARD: self.reign.market})
        self.reign.market.check()


class SmallGateway(Process):
    """A production gateway whose primary is a method call away."""

    def __init__(self, exchange: SmallExchange, name: str) -> None:
        super().__init__(exchange.network, name)
        self.exchange = exchange
        self.connections: dict[Session, Connection] = {}
        self.gateway: Gateway
        self._submitted = 0

    def start(self) -> None:
        super().start()
        exchange, life = self.exchange, self.life
        settings, random = exchange.shard.shape.gateway, Random(self.network.random.random())
        self.gateway = Gateway(
            EXCHANGE, settings, random, self.wall_clock_ns, Directory.alone(SHARD)
        )
        self.connections.clear()
        self._submitted = 0
        self.gateway.on_uplink_connected(SHARD, 1, self.network.now_ns)
        exchange.shard.tcp.listen(self, PORT, lambda: Connection(self))
        self.do(life, partial(self.deliver, run_of_frames(1, exchange.reign.frames)))
        self._tick(life)

    def deliver(self, run: Run) -> None:
        committed = self.exchange.reign.last_sequence
        self.gateway.on_feed(SHARD, run, 1, committed, self.network.now_ns)

    def turn(self) -> None:
        gateway, now_ns = self.gateway, self.network.now_ns
        for verification in gateway.take_verifications():
            session, name, secret = verification
            number = int(name[1:])
            assert secret == name.lower()
            client = ClientSettings(
                number=number,
                secret=HASH,
                self_trade_prevention=SelfTradePrevention.OFF,
                cancel_on_disconnect=number == 2,
            )
            let_in = partial(gateway.on_verified, session, client, now_ns + STEP_NS)
            self.network.after(STEP_NS, partial(self.do, self.life, let_in))
        data = gateway.shards[SHARD].uplink.take_output()
        if data:
            self.network.after(STEP_NS, partial(self.do, self.life, partial(self._decide, data)))
        for session in gateway.take_changed():
            connection = self.connections.get(session)
            if connection is not None:
                connection.flush(now_ns)

    def _decide(self, data: bytes) -> None:
        exchange = self.exchange
        for submission in take_submissions(bytearray(data)):
            self._submitted += 1
            exchange.reign.submit(submission, exchange.time_ns)
        exchange.commit()
        decision = encode_decision(exchange.reign.decision(self._submitted))
        self.gateway.on_uplink_data(SHARD, decision, self.network.now_ns)

    def _tick(self, life: int) -> None:
        if self.is_alive and self.life == life:
            self.do(life, lambda: self.gateway.on_time(self.network.now_ns))
            self.gateway.check()
            self.network.after(50 * MILLISECOND_NS, partial(self._tick, life))


class Connection(asyncio.Protocol):
    """One client's connection at a gateway."""

    transport: asyncio.Transport
    session: Session

    def __init__(self, node: SmallGateway) -> None:
        self._node = node

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        node = self._node
        self.session = node.gateway.connect("host", node.network.now_ns)
        node.connections[self.session] = self

    def data_received(self, data: bytes) -> None:
        self._node.gateway.on_data(self.session, data, self._node.network.now_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        del self._node.connections[self.session]
        self._node.gateway.on_disconnected(self.session, self._node.network.now_ns)

    def flush(self, now_ns: int) -> None:
        transport, gateway = self.transport, self._node.gateway
        if transport.is_closing():
            return
        buffered = transport.get_write_buffer_size()
        while data := gateway.take_output(self.session, buffered, now_ns):
            transport.write(data)
            buffered = transport.get_write_buffer_size()
        if self.session.closing is not None:
            transport.close()
