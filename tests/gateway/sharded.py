"""An exchange of several shards without sockets: real machines and gateways, in virtual time."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from engine.market import Market
from feed.codec import WireError, decode_frame
from feed.datagrams import encode_decision
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    DefineInstrument,
    InstrumentState,
    MoveOut,
    NewDay,
    OrderState,
    SetTradingState,
    ShortSale,
    TimeInForce,
    TradingState,
    symbol_field,
)
from feed.snapshot import WholeSnapshot
from feed.subscriber import Subscriber
from gateway import ouch
from gateway.clients import ClientSettings
from gateway.gateway import Gateway
from gateway.ouch_codec import encode
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.soup import UnsequencedData
from tests.gateway.exchange import CLIENTS, SECRETS, SETTINGS, WALL_CLOCK_NS, Line
from tests.gateway.reigns import Reign
from tests.submissions import take_submissions
from zk.directory import Directory, place

SYMBOLS = {"AAPL": 1, "MSFT": 2, "IBM": 1, "ORCL": 2}


class _Link:
    """A gateway's side of one shard: its subscriber, and its connection to a primary."""

    def __init__(self, number: int, primary: Reign, seed: int) -> None:
        self.subscriber = Subscriber(shard=number, source_count=1, random=Random(seed))
        self.primary = primary
        self.packets_read = 0
        self.reads_feed = True
        self.reaches_primary = True
        self.submissions = 0
        self.buffer = bytearray()


class ShardedNode:
    """A gateway, and its links to every shard."""

    def __init__(self, exchange: "ShardedExchange", settings: GatewaySettings, seed: int) -> None:
        self._exchange = exchange
        self._seed = seed
        self.gateway = Gateway(
            "DEMO", settings, Random(seed), lambda: WALL_CLOCK_NS, exchange.directory
        )
        self.lines: dict[Session, Line] = {}
        self.clients: dict[str, ClientSettings] = dict(CLIENTS)
        self.links: dict[int, _Link] = {}
        self.add_links()

    def add_links(self) -> None:
        """Reads what shards there are by now."""
        for number in self.gateway.shards:
            if number not in self.links:
                reign = self._exchange.primaries[number]
                self.links[number] = _Link(number, reign, self._seed)

    def restore(self, number: int, snapshot: WholeSnapshot, packet_count: int) -> None:
        """Begins with a snapshot in one shard."""
        self.gateway.restore(number, snapshot)
        link = self.links[number]
        link.subscriber.receiver.fence(snapshot.head.epoch)
        link.subscriber.restart(snapshot.head.sequence + 1)
        link.packets_read = packet_count

    def connect(self, number: int) -> None:
        """To the primary of a shard."""
        link = self.links[number]
        link.primary = self._exchange.primaries[number]
        link.submissions = 0
        link.buffer.clear()
        self.gateway.on_uplink_connected(number, link.primary.epoch, self._exchange.now_ns)

    def lose_primary(self, number: int) -> None:
        """The connection breaks; what is on its way is lost."""
        self.gateway.on_uplink_lost(number, self._exchange.now_ns)

    def step(self) -> bool:
        """Does one round of all that is due; False when there was nothing to do."""
        now_ns = self._exchange.now_ns
        is_busy = False
        for session, name, secret in self.gateway.take_verifications():
            client = self.clients.get(name) if SECRETS.get(name) == secret else None
            self.gateway.on_verified(session, client, now_ns)
            is_busy = True
        for session in self.gateway.take_changed():
            line = self.lines.get(session)
            if line is not None:
                is_busy = True
                line.flush()
        for number, link in self.links.items():
            is_busy |= self._submit(number, link) | self._read_feed(number, link)
            if self.gateway.shards[number].uplink.is_outdated:
                self.gateway.on_uplink_lost(number, now_ns)
        self.gateway.check()
        return is_busy

    def _submit(self, number: int, link: _Link) -> bool:
        exchange = self._exchange
        link.buffer += self.gateway.shards[number].uplink.take_output()
        if not (link.buffer and link.reaches_primary):
            return False
        for submission in take_submissions(link.buffer):
            link.submissions += 1
            link.primary.submit(submission, exchange.time_ns)
        exchange.publish(link.primary)
        decision = encode_decision(link.primary.decision(link.submissions))
        try:
            self.gateway.on_uplink_data(number, decision, exchange.now_ns)
        except WireError:
            self.gateway.on_uplink_lost(number, exchange.now_ns)
        return True

    def _read_feed(self, number: int, link: _Link) -> bool:
        packets = self._exchange.packets[number]
        if not link.reads_feed or link.packets_read == len(packets):
            return False
        unread = packets[link.packets_read :]
        subscriber, now_ns = link.subscriber, self._exchange.now_ns
        run = subscriber.on_datagrams(unread, now_ns).run
        link.packets_read = len(packets)
        self.gateway.on_feed(number, run, subscriber.epoch, subscriber.committed_sequence, now_ns)
        return True


class ShardedExchange:
    """Shards with their primaries, and gateways."""

    def __init__(
        self, gateways: int = 1, shards: int = 2, settings: GatewaySettings = SETTINGS
    ) -> None:
        self.now_ns = 0
        symbols = {symbol: shard for symbol, shard in SYMBOLS.items() if shard <= shards}
        self.directory: Directory = place(range(1, shards + 1), symbols)
        self.packets: dict[int, list[bytes]] = {}
        self.primaries: dict[int, Reign] = {}
        self.days_begun: dict[int, tuple[WholeSnapshot, int]] = {}
        self.gateways: list[ShardedNode] = []
        self._settings = settings
        self._seed = 0
        for number in self.directory.shards:
            self.open_shard(number)
        for _ in range(gateways):
            self.start_gateway()

    @property
    def time_ns(self) -> int:
        return WALL_CLOCK_NS + self.now_ns

    @property
    def markets(self) -> Iterator[Market]:
        return (reign.market for reign in self.primaries.values())

    def open_shard(self, number: int) -> None:
        """Another shard, with what the directory says is in it."""
        reign = self.primaries[number] = Reign(number, epoch=1)
        self.packets[number] = []
        here = [each for each in self.directory.symbols if self.directory.shard_of(each) == number]
        listings = (
            DefineInstrument(symbol_field(each), 100, 1, ShortSale.ALLOWED) for each in here
        )
        reign.open(self.time_ns, listings)
        self.publish(reign)

    def start_gateway(self, *, late: bool = False) -> ShardedNode:
        """Another gateway; if `late`, it knows of days before only what snapshots say."""
        node = ShardedNode(self, self._settings, self._seed)
        self._seed += 1
        if late:
            for number, begun in self.days_begun.items():
                node.restore(number, *begun)
        self.gateways.append(node)
        for number in node.links:
            node.connect(number)
        return node

    def set_directory(self, directory: Directory) -> None:
        """Everybody hears of it at once."""
        self.directory = directory
        for node in self.gateways:
            node.gateway.on_directory(directory, self.now_ns)
            node.add_links()

    def take_over(self, number: int, lost_groups: int = 0) -> None:
        """Another primary takes a shard over; who reads of it connects to it."""
        deposed = self.primaries[number]
        commits = deposed.commits
        self.primaries[number] = deposed.successor(self.time_ns, lost_groups)
        self.primaries[number].commits = commits
        self.publish(self.primaries[number])

    def publish(self, primary: Reign) -> None:
        self.packets[primary.shard] += primary.flush(self.now_ns)

    def commit(self, number: int) -> None:
        """Everything that a primary has is committed."""
        self.packets[number] += self.primaries[number].commit()

    def reconnect(self) -> None:
        """Whoever has no connection to the primary of today connects to it."""
        for node in self.gateways:
            for number, link in node.links.items():
                uplink = node.gateway.shards[number].uplink
                if uplink.is_connected and link.primary is not self.primaries[number]:
                    node.lose_primary(number)
                if not uplink.is_connected:
                    node.connect(number)

    def begin_day(self, number: int, day: int) -> None:
        """A day begins in one shard."""
        reign = self.primaries[number]
        reign.sequence(NewDay(day), self.time_ns)
        self.publish(reign)
        self.days_begun[number] = (reign.snapshot(), len(self.packets[number]))

    def set_state(self, symbol: str, state: TradingState) -> None:
        """An operator halts a symbol, or has it trade again."""
        reign = self.primaries[self.directory.shard_of(symbol)]
        reign.sequence(SetTradingState(symbol_field(symbol), state), self.time_ns)
        self.publish(reign)

    def move(self, symbol: str, to: int) -> None:
        """An operator moves a symbol that is halted."""
        self.move_out(symbol, to)()

    def move_out(self, symbol: str, to: int) -> Callable[[], None]:
        """The first half of a move; the other half is to be called."""
        field = symbol_field(symbol)
        source = self.primaries[self.directory.shard_of(symbol)]
        begin = source.last_sequence
        source.sequence(MoveOut(field, to), self.time_ns)
        self.publish(source)
        return lambda: self._move_in(symbol, to, source.frames[begin:])

    def _move_in(self, symbol: str, to: int, group: Sequence[bytes]) -> None:
        field, destination = symbol_field(symbol), self.primaries[to]
        moves = 0
        for frame in map(decode_frame, group):
            match frame.message():
                case InstrumentState() as state:
                    moves = state.moves
                    terms = (state.tick_size, state.lot_size, state.short_sale, state.last_price)
                    destination.sequence(AdoptInstrument(field, *terms, moves), self.time_ns)
                case OrderState() as order:
                    destination.sequence(_adoption(order, moves, frame.sequence), self.time_ns)
        destination.sequence(SetTradingState(field, TradingState.HALTED), self.time_ns)
        self.publish(destination)
        self.set_directory(self.directory.begin_move(symbol, to).end_move(symbol))

    def line(self, gateway: int = 0) -> Line:
        return Line(self, self.gateways[gateway], "10.0.0.1")  # type: ignore[arg-type]

    def open(self, name: str = "ALICE", gateway: int = 0, sequence: int = 1) -> Line:
        """A line that has logged in."""
        line = self.line(gateway)
        line.log_in(name, sequence=sequence)
        return line

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
    symbol: str = "AAPL",
    side: str = "B",
    quantity: int = 100,
    price: int = 10_000,
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCEL,
) -> bytes:
    """An order on its way to a gateway."""
    field = symbol_field(symbol)
    message = ouch.EnterOrder(user_ref_num, ord(side), quantity, field, price, time_in_force)
    return UnsequencedData(encode(message)).encode()


def stream(node: ShardedNode, name: str) -> bytes:
    """A client's whole stream of the running day, as a gateway has it."""
    return node.gateway.stream_of(CLIENTS[name].number).read(1, 1 << 30).data


def _adoption(order: OrderState, moves: int, source_sequence: int) -> AdoptOrder:
    terms: Sequence[int] = (
        order.side,
        order.order_type,
        order.time_in_force,
        order.post_only,
        order.capacity,
        order.quantity,
        order.leaves,
        order.executed,
        order.price,
        order.stop_price,
    )
    return AdoptOrder(
        order.symbol, moves, source_sequence, order.client, order.user_ref_num, *terms
    )
