"""Over several shards: each command of a client takes effect once, in one stream, whatever dies."""

from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rejects import RejectReason
from feed.codec import decode_frame
from feed.messages import EnterOrder, Side, TimeInForce, TradingState, symbol_field
from feed.schema import FrameType
from gateway import ouch
from gateway.events import Accepted, Rejected, SessionBegan
from gateway.ouch_codec import decode_outbound
from gateway.rejects import GatewayReject
from gateway.soup import SequencedData, server_packets
from tests.gateway.exchange import CLIENTS
from tests.gateway.sharded import SYMBOLS, ShardedExchange, ShardedNode
from tests.gateway.situations import limited
from tests.gateway.traders import Trader

GATEWAYS = 2
SHARDS = (1, 2)
DAY = 20261123
ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("connect", "connect", "leave", "cut off", "enter", "enter", "enter", "wait"),
                *("take over", "hold commits", "commit", "kill gateway", "late gateway"),
                *("lose primary", "find primary", "stop feed", "start feed"),
                *("stop uplink", "start uplink", "mass cancel", "move", "new day"),
            )
        ),
        st.integers(0, 31),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ACTS)
def test_each_order_takes_effect_once_in_one_stream(acts: list[tuple[str, int]]) -> None:
    world = Turmoil()
    for act, number in acts:
        world.act(act, number)
    world.settle()
    world.judge()


class Turmoil:
    """Two clients that want to trade in all shards, while everything around them breaks."""

    def __init__(self) -> None:
        uplink = {"pending": 16, "pending_per_client": 12}
        self.exchange = ShardedExchange(gateways=GATEWAYS, settings=limited(uplink=uplink))
        self.traders = {name: Trader(self.exchange, name) for name in CLIENTS}  # type: ignore[arg-type]
        self._day = DAY
        self._is_between_days = False

    def act(self, act: str, number: int) -> None:
        exchange = self.exchange
        place, rest = number % GATEWAYS, number // GATEWAYS
        node = exchange.gateways[place]
        shard = SHARDS[rest % 2]
        trader = list(self.traders.values())[rest % 2]
        symbol = sorted(SYMBOLS)[rest % len(SYMBOLS)]
        match act:
            case "connect":
                trader.connect(place)
            case "leave":
                trader.leave()
            case "cut off":
                trader.cut_off()
            case "enter" if trader.session.knows_its_numbers:
                side = (Side.BUY, Side.SELL)[rest % 2]
                count, field = 1 + rest % 3, symbol_field(symbol)
                trader.enter(count, side, 10_000, TimeInForce.GOOD_TILL_CANCEL, field)
            case "mass cancel" if trader.session.knows_its_numbers:
                number = trader.session.next_user_ref_num()
                trader.session.submit(ouch.MassCancel(number))
            case "wait":
                exchange.wait(rest / 10)
            case "take over":
                exchange.take_over(shard, lost_groups=rest)
            case "hold commits":
                exchange.primaries[shard].commits = False
            case "commit":
                self._commit(shard)
            case "kill gateway" | "late gateway":
                self._kill(place, late=act == "late gateway")
            case "lose primary" if node.gateway.shards[shard].uplink.is_connected:
                node.lose_primary(shard)
            case "find primary" if not node.gateway.shards[shard].uplink.is_connected:
                node.connect(shard)
            case "stop feed" | "start feed":
                node.links[shard].reads_feed = act == "start feed"
            case "stop uplink" | "start uplink":
                node.links[shard].reaches_primary = act == "start uplink"
            case "move":
                self._move(symbol)
            case "new day":
                self._begin_day()
        self._settle()

    def settle(self) -> None:
        """Everything works again, and clients come back until they are let in."""
        exchange = self.exchange
        for _ in range(2 if self._is_between_days else 1):
            for shard in SHARDS:
                self._commit(shard)
            for node in exchange.gateways:
                for link in node.links.values():
                    link.reads_feed = link.reaches_primary = True
            exchange.reconnect()
            self._settle()
            if self._is_between_days:
                self._begin_day()
        for _ in range(4):
            for place, trader in enumerate(self.traders.values()):
                if not trader.is_open:
                    trader.connect(place)
            exchange.wait(1.1)
            self._settle()

    def judge(self) -> None:
        """Each order is accepted once; streams are the same everywhere, and without a hole."""
        exchange = self.exchange
        late = exchange.start_gateway(late=True)
        whole = exchange.start_gateway()
        self._settle()
        for market in exchange.markets:
            market.check()
        for name, trader in self.traders.items():
            assert trader.is_open
            assert trader.failure is None
            taken = Counter(order.user_ref_num for order in self._orders(name))
            assert max(taken.values(), default=0) <= 1
            if not any(isinstance(e, SessionBegan) and e.may_have_missed for e in trader.events):
                assert set(trader.accepted) == taken.keys()
                assert Counter(answered(trader)) == Counter(trader.entered), name
            assert trader.session.unanswered.numbered_count == 0
            streams = [stream_of(node, name) for node in exchange.gateways]
            assert streams == [streams[0]] * len(streams)
            began = [i for i, e in enumerate(trader.events) if isinstance(e, SessionBegan)]
            events = trader.events[began[-1] + 1 if began else 0 :]
            numbers = [e.sequence for e in events if e.sequence]
            assert numbers == list(range(1, len(streams[0]) + 1))
            told = [e.user_ref_num for e in streams[0] if isinstance(e, ouch.Accepted)]
            assert told == [e.user_ref_num for e in events if isinstance(e, Accepted)]
        assert late.gateway.shards.keys() == whole.gateway.shards.keys()

    def _orders(self, name: str) -> Iterator[EnterOrder]:
        """The orders of a client that were not rejected, in all lists."""
        for reign in self.exchange.primaries.values():
            frames = list(map(decode_frame, reign.frames))
            for frame, after in zip(frames, [*frames[1:], None], strict=True):
                match frame.message() if frame.type is FrameType.ENTER_ORDER else None:
                    case EnterOrder(client) as order if client == CLIENTS[name].number:
                        if after is None or after.type is not FrameType.REJECTED:
                            yield order

    def _settle(self) -> None:
        self.exchange.settle()
        for trader in self.traders.values():
            trader.pump()
            assert trader.failure is None
        self.exchange.settle()

    def _commit(self, shard: int) -> None:
        self.exchange.commit(shard)
        self.exchange.primaries[shard].commits = True

    def _move(self, symbol: str) -> None:
        """From the shard where it is to the other one, as an operator does it: with commits."""
        exchange = self.exchange
        for shard in SHARDS:
            self._commit(shard)
        source = exchange.directory.shard_of(symbol)
        exchange.set_state(symbol, TradingState.HALTED)
        exchange.move(symbol, SHARDS[0] if source == SHARDS[1] else SHARDS[1])
        exchange.set_state(symbol, TradingState.TRADING)

    def _begin_day(self) -> None:
        """In the one shard, and at the next call in the other."""
        shard = SHARDS[1] if self._is_between_days else SHARDS[0]
        self._commit(shard)
        self.exchange.begin_day(shard, self._day)
        self._day += self._is_between_days
        self._is_between_days = not self._is_between_days

    def _kill(self, place: int, *, late: bool) -> None:
        exchange = self.exchange
        node = exchange.gateways[place]
        for trader in self.traders.values():
            if trader.line is not None and trader.line.gateway is node:  # type: ignore[comparison-overlap]
                trader.cut_off()
        fresh = exchange.start_gateway(late=late)
        exchange.gateways.remove(fresh)
        exchange.gateways[place] = fresh


def answered(trader: Trader) -> list[int]:
    """The orders that were accepted, or crossed with a move of their symbol.

    Those come to a shard that it has left, or, sent again, to one that has had later ones.
    """
    crossed = (RejectReason.MOVED, RejectReason.HALTED, GatewayReject.CONNECTION_LOST)
    rejected = [event for event in trader.events if isinstance(event, Rejected)]
    assert all(event.reason in crossed for event in rejected)
    return [*trader.accepted, *(event.user_ref_num for event in rejected)]


def stream_of(node: ShardedNode, name: str) -> list[ouch.Outbound]:
    """A client's stream of the running day."""
    data = node.gateway.stream_of(CLIENTS[name].number).read(1, 1 << 30).data
    packets = server_packets().take(data)
    return [decode_outbound(each.payload) for each in packets if isinstance(each, SequencedData)]
