"""An exchange without sockets: a real machine, gateways, and clients' lines, in virtual time."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from engine.market import Market
from feed.codec import WireError
from feed.datagrams import encode_decision
from feed.digest import ListDigest
from feed.messages import DefineInstrument, NewDay, SelfTradePrevention, ShortSale, TimeInForce
from feed.snapshot import WholeSnapshot
from feed.subscriber import Subscriber
from gateway import ouch
from gateway.clients import ClientSettings
from gateway.gateway import Gateway
from gateway.ouch_codec import decode_outbound, encode
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.shard import GatewayShard
from gateway.soup import (
    LoginRequest,
    LogoutRequest,
    SequencedData,
    ServerHeartbeat,
    ServerPacket,
    UnsequencedData,
    server_packets,
)
from tests.gateway.groups import ALICE, BOB, SYMBOL
from tests.gateway.reigns import Reign
from tests.submissions import take_submissions
from zk.directory import Directory

SHARD = 1
WALL_CLOCK_NS = 1_700_000_000_000_000_000
SECRETS = {"ALICE": "alice-pass", "BOB": "bob-secret"}
HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Nb38aP7G8AMTYRyDWZYzAA"  # never looked at here
SETTINGS = GatewaySettings.model_validate({"listen": "127.0.0.1:0", "clients": "clients.toml"})
CLIENTS = {
    "ALICE": ClientSettings(number=ALICE, secret=HASH),
    "BOB": ClientSettings(number=BOB, secret=HASH, self_trade_prevention=SelfTradePrevention.OFF),
}


class Line:
    """A client's connection, and what has come over it."""

    def __init__(self, exchange: "Exchange", gateway: "GatewayNode", host: str) -> None:
        self._exchange = exchange
        self.gateway = gateway
        self._reader = server_packets()
        self.session: Session = gateway.gateway.connect(host, exchange.now_ns)
        gateway.lines[self.session] = self
        self.packets: list[ServerPacket] = []
        self.takes = True
        self.buffered_bytes = 0
        exchange.settle()

    def send(self, *packets: bytes) -> None:
        """Bytes to the gateway; then everything happens that follows."""
        now_ns = self._exchange.now_ns
        self.gateway.gateway.on_data(self.session, b"".join(packets), now_ns)
        self._exchange.settle()

    def log_in(
        self,
        name: str = "ALICE",
        secret: str | None = None,
        sequence: int = 1,
        session: str = "",
    ) -> None:
        self.send(LoginRequest(name, secret or SECRETS[name], session, sequence).encode())

    def log_out(self) -> None:
        self.send(LogoutRequest().encode())

    def hang_up(self) -> None:
        """The connection is gone; neither side could say a word."""
        self.gateway.gateway.on_disconnected(self.session, self._exchange.now_ns)
        self._exchange.settle()

    def flush(self) -> None:
        """Takes what the gateway has to send, as far as it goes."""
        gateway, now_ns = self.gateway.gateway, self._exchange.now_ns
        while data := gateway.take_output(self.session, self.buffered_bytes, now_ns):
            if not self.takes:
                self.buffered_bytes += len(data)
            self.packets += self._reader.take(data)

    @property
    def news(self) -> list[ServerPacket]:
        """What has come since this was last asked, but for heartbeats."""
        packets, self.packets = self.packets, []
        return [packet for packet in packets if not isinstance(packet, ServerHeartbeat)]


class DayBegun(NamedTuple):
    """The snapshot that a day began with, and how many packets came before it was taken."""

    snapshot: WholeSnapshot
    packet_count: int


class GatewayNode:
    """A gateway, its subscriber, and its connection to a primary."""

    def __init__(self, exchange: "Exchange", settings: GatewaySettings, seed: int) -> None:
        directory = Directory.alone(SHARD)
        self.gateway = Gateway("DEMO", settings, Random(seed), lambda: WALL_CLOCK_NS, directory)
        self.subscriber = Subscriber(shard=SHARD, source_count=1, random=Random(seed))
        self.digest = ListDigest()
        self.lines: dict[Session, Line] = {}
        self.clients: Mapping[str, ClientSettings] = dict(CLIENTS)
        self.verifies = True  # secrets are looked at right away
        self.reads_feed = True
        self.reaches_primary = True  # else what it sends is on its way for as long
        self.packets_read = 0
        self._exchange = exchange
        self.primary = exchange.primary  # at the other end of the connection
        self._submissions = 0
        self._buffer = bytearray()

    @property
    def shard(self) -> GatewayShard:
        """The only one, as the gateway sees it."""
        return self.gateway.shards[SHARD]

    def restore(self, begun: DayBegun) -> None:
        """Begins with a snapshot, as one that starts late; then reads what came after it."""
        head = begun.snapshot.head
        self.gateway.restore(SHARD, begun.snapshot)
        self.digest = ListDigest(head.digest_sequence, head.list_digest)
        self.digest.update(begun.snapshot.tail)
        self.subscriber.receiver.fence(head.epoch)
        self.subscriber.restart(head.sequence + 1)
        self.packets_read = begun.packet_count

    def connect(self, primary: Reign | None = None) -> None:
        """To the primary, or to one that has been replaced."""
        self.primary = primary or self._exchange.primary
        self._submissions = 0
        self._buffer.clear()
        self.gateway.on_uplink_connected(SHARD, self.primary.epoch, self._exchange.now_ns)
        self._exchange.settle()

    def lose_primary(self) -> None:
        self.gateway.on_uplink_lost(SHARD, self._exchange.now_ns)
        self._exchange.settle()

    def die(self) -> bytes:
        """All of its connections break; what it has sent may still arrive at the primary."""
        self._exchange.gateways.remove(self)
        return self.on_its_way()

    def on_its_way(self) -> bytes:
        """What is on its way to the primary."""
        self._buffer += self.shard.uplink.take_output()
        return bytes(self._buffer)

    def verify(self) -> None:
        """Looks at the secrets that are waiting."""
        for session, name, secret in self.gateway.take_verifications():
            client = self.clients.get(name) if SECRETS.get(name) == secret else None
            self.gateway.on_verified(session, client, self._exchange.now_ns)

    def step(self) -> bool:
        """Does one round of all that is due; False when there was nothing to do."""
        is_busy = False
        if self.verifies:
            self.verify()
        for session in self.gateway.take_changed():
            line = self.lines.get(session)
            if line is not None:
                is_busy = True
                line.flush()
        is_busy |= self._submit() | self._read_feed()
        if self.shard.uplink.is_outdated:
            is_busy = True
            self.gateway.on_uplink_lost(SHARD, self._exchange.now_ns)
        self.gateway.check()
        return is_busy

    def _submit(self) -> bool:
        exchange, primary = self._exchange, self.primary
        if not (self.on_its_way() and self.reaches_primary):
            return False
        for submission in take_submissions(self._buffer):
            self._submissions += 1
            primary.submit(submission, exchange.time_ns)
        exchange.publish(primary)
        if exchange.decides:
            decision = encode_decision(primary.decision(self._submissions))
            try:
                self.gateway.on_uplink_data(SHARD, decision, exchange.now_ns)
            except WireError:
                self.gateway.on_uplink_lost(SHARD, exchange.now_ns)
        return True

    def _read_feed(self) -> bool:
        packets = self._exchange.packets
        if not self.reads_feed or self.packets_read == len(packets):
            return False
        unread = packets[self.packets_read :]
        run = self.subscriber.on_datagrams(unread, self._exchange.now_ns).run
        self.digest.update(run)
        self.packets_read = len(packets)
        self.gateway.on_feed(
            SHARD,
            run,
            self.subscriber.epoch,
            self.subscriber.committed_sequence,
            self._exchange.now_ns,
        )
        return True


class Exchange:
    """One shard with its primary and gateways."""

    def __init__(self, gateways: int = 1, settings: GatewaySettings = SETTINGS) -> None:
        self.now_ns = 0
        self.primary = Reign(SHARD, epoch=1)
        self.decides = True
        self.packets: list[bytes] = []
        self.day_begun: DayBegun | None = None  # the last one that was committed at once
        self.gateways: list[GatewayNode] = []
        self._settings = settings
        self._seed = 0
        self.primary.open(self.time_ns, [DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)])
        self.publish(self.primary)
        for _ in range(gateways):
            self.start_gateway()

    @property
    def market(self) -> Market:
        return self.primary.market

    @property
    def time_ns(self) -> int:
        return WALL_CLOCK_NS + self.now_ns

    @property
    def gateway(self) -> Gateway:
        """The first gateway."""
        return self.gateways[0].gateway

    @property
    def shard(self) -> GatewayShard:
        """The shard, as the first gateway sees it."""
        return self.gateways[0].shard

    def start_gateway(self, *, late: bool = False) -> GatewayNode:
        """Another gateway; if `late`, it knows of the days before only what a snapshot says."""
        node = GatewayNode(self, self._settings, self._seed)
        if late and self.day_begun is not None:
            node.restore(self.day_begun)
        self._seed += 1
        self.gateways.append(node)
        node.connect()
        return node

    def take_over(self, lost_groups: int = 0) -> Reign:
        """Another primary takes over, without the last groups if they are not committed.

        The deposed one, which is returned, is alive and knows nothing of it.
        """
        deposed, commits = self.primary, self.primary.commits
        self.primary = deposed.successor(self.time_ns, lost_groups)
        self.primary.commits = commits
        self.publish(self.primary)
        return deposed

    def arrive(self, data: bytes, primary: Reign | None = None) -> None:
        """What was on its way over a connection that is lost arrives at the primary after all."""
        primary = primary or self.primary
        for submission in take_submissions(bytearray(data)):
            primary.submit(submission, self.time_ns)
        self.publish(primary)
        self.settle()

    def commit(self) -> None:
        """Everything that the primary has is committed."""
        self.packets += self.primary.commit()
        self.settle()

    def follow(self) -> None:
        """All gateways hear of the primary and connect to it."""
        for node in self.gateways:
            if node.shard.uplink.is_connected:
                node.lose_primary()
            node.connect()

    def line(self, gateway: int = 0, host: str = "10.0.0.1") -> Line:
        return Line(self, self.gateways[gateway], host)

    def open(
        self, name: str = "ALICE", gateway: int = 0, sequence: int = 1, session: str = ""
    ) -> Line:
        """A line that has logged in."""
        line = self.line(gateway)
        line.log_in(name, sequence=sequence, session=session)
        return line

    def begin_day(self, day: int) -> None:
        """An operator has another day begin."""
        primary, before = self.primary, self.market.day
        primary.sequence(NewDay(day), self.time_ns)
        self.publish(primary)
        if self.market.day != before and primary.committed_sequence == primary.last_sequence:
            self.day_begun = DayBegun(primary.snapshot(), len(self.packets))
        self.settle()

    def publish(self, primary: Reign) -> None:
        self.packets += primary.flush(self.now_ns)

    def settle(self) -> None:
        """Lets everything happen that needs no time."""
        while any([node.step() for node in self.gateways]):
            pass

    def wait(self, seconds: float) -> None:
        """Time passes, a tick of the gateways at a time."""
        until_ns = self.now_ns + round(seconds * 1e9)
        while self.now_ns < until_ns:
            deadlines = [node.gateway.deadline_ns for node in self.gateways]
            self.now_ns = min(until_ns, max(self.now_ns, *deadlines))
            for node in self.gateways:
                if node.gateway.deadline_ns <= self.now_ns:
                    node.gateway.on_time(self.now_ns)
            self.settle()


def enter(
    user_ref_num: int,
    side: str = "B",
    quantity: int = 100,
    price: int = 10_000,
    time_in_force: TimeInForce = TimeInForce.DAY,
) -> bytes:
    """An order, for the day if it is not said otherwise, on its way to a gateway."""
    message = ouch.EnterOrder(user_ref_num, ord(side), quantity, SYMBOL, price, time_in_force)
    return UnsequencedData(encode(message)).encode()


def messages(packets: Iterable[ServerPacket]) -> list[ouch.Outbound]:
    """The OUCH messages of the numbered stream among these packets."""
    return [
        decode_outbound(packet.payload) for packet in packets if isinstance(packet, SequencedData)
    ]


def letters(packets: Sequence[ServerPacket]) -> str:
    """The letters of the numbered messages among these packets, as in "AEC"."""
    return "".join(
        chr(packet.payload[0]) for packet in packets if isinstance(packet, SequencedData)
    )


def stream_of(node: GatewayNode, name: str) -> list[ouch.Outbound]:
    """A client's whole stream as a gateway has it."""
    data = node.gateway.stream_of(CLIENTS[name].number).read(1, 1 << 30).data
    return messages(server_packets().take(data))
