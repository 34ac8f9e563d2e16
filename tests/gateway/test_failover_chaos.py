"""Whatever dies, each command of a client of the library takes effect once, and it is told once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.messages import Side
from gateway import ouch
from tests.gateway.exchange import CLIENTS, Exchange, stream_of
from tests.gateway.reigns import Reign
from tests.gateway.situations import limited
from tests.gateway.traders import Trader

GATEWAYS = 2
ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("connect", "connect", "leave", "cut off", "enter", "enter", "enter", "wait"),
                *("take over", "hold commits", "commit", "kill gateway", "late bytes"),
                *("lose primary", "find primary", "stale primary", "stop feed", "start feed"),
                *("stop uplink", "start uplink"),
            )
        ),
        st.integers(0, 7),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(ACTS)
def test_each_order_takes_effect_once_whatever_primaries_and_gateways_die(
    acts: list[tuple[str, int]],
) -> None:
    world = Turmoil()
    for act, number in acts:
        world.act(act, number)
    world.settle()
    for name, trader in world.traders.items():
        assert trader.accepted == trader.entered, name
        assert trader.session.unanswered.numbered_count == 0
        numbers = [event.sequence for event in trader.events]
        assert numbers == list(range(1, len(numbers) + 1))
        stream, *others = [stream_of(node, name) for node in world.exchange.gateways]
        assert others == [stream] * len(others)
        assert len(stream) == len(numbers)
        accepted = [each for each in stream if isinstance(each, ouch.Accepted)]
        assert [each.user_ref_num for each in accepted] == trader.entered
    assert len({node.digest.hex() for node in world.exchange.gateways}) == 1


class Turmoil:
    """Two clients that want to trade, while everything around them breaks."""

    def __init__(self) -> None:
        self.exchange = Exchange(gateways=GATEWAYS, settings=limited(uplink={"pending": 12}))
        self.traders = {name: Trader(self.exchange, name) for name in CLIENTS}
        self._late: list[tuple[bytes, Reign]] = []  # on its way over connections that are lost
        self._deposed: Reign | None = None

    def act(self, act: str, number: int) -> None:
        exchange = self.exchange
        place = number % GATEWAYS
        node = exchange.gateways[place]
        name = list(self.traders)[number // GATEWAYS % 2]
        trader = self.traders[name]
        match act:
            case "connect":
                trader.connect(place)
            case "leave":
                trader.leave()
            case "cut off":
                trader.cut_off()
            case "enter" if trader.session.knows_its_numbers:
                trader.enter(1 + number % 4, (Side.BUY, Side.SELL)[place])
            case "wait":
                exchange.wait(number / 10)
            case "take over":
                self._deposed = exchange.take_over(lost_groups=number)
            case "hold commits":
                exchange.primary.commits = False
            case "commit":
                exchange.commit()
                exchange.primary.commits = True
            case "kill gateway":
                self._kill(place)
            case "late bytes" if self._late:
                exchange.arrive(*self._late.pop(number % len(self._late)))
            case "lose primary" if node.shard.uplink.is_connected:
                self._late.append((node.on_its_way(), node.primary))
                node.lose_primary()
            case "find primary" if not node.shard.uplink.is_connected:
                node.connect()
            case "stale primary" if not node.shard.uplink.is_connected and self._deposed:
                node.connect(self._deposed)
            case "stop feed" | "start feed":
                node.reads_feed = act == "start feed"
            case "stop uplink" | "start uplink":
                node.reaches_primary = act == "start uplink"
        exchange.settle()
        for each in self.traders.values():
            each.pump()
            assert each.failure is None

    def settle(self) -> None:
        """Everything works again, and clients come back until they are let in."""
        exchange = self.exchange
        for data, primary in self._late:
            exchange.arrive(data, primary)
        exchange.commit()
        exchange.primary.commits = True
        for node in exchange.gateways:
            node.reads_feed = node.reaches_primary = True
        exchange.follow()
        exchange.start_gateway()
        for place, trader in enumerate(self.traders.values()):
            for _ in range(3):
                trader.pump()
                if not trader.is_open:
                    trader.connect(place)
        for trader in self.traders.values():
            trader.pump()
            assert trader.is_open
        exchange.market.check()

    def _kill(self, place: int) -> None:
        exchange = self.exchange
        node = exchange.gateways[place]
        for trader in self.traders.values():
            if trader.is_connected_to(node):
                trader.cut_off()
        self._late.append((node.die(), node.primary))
        exchange.start_gateway()
        exchange.gateways.insert(place, exchange.gateways.pop())


@pytest.mark.parametrize("lost_groups", [0, 1, 2, 7])
def test_turmoil_is_felt(lost_groups: int) -> None:
    """That the acts do what they say, so that the test above has something to find."""
    world = Turmoil()
    for act, number in (
        *(("connect", 0), ("connect", 3), ("hold commits", 0), ("enter", 1), ("enter", 6)),
        *(("take over", lost_groups), ("find primary", 0), ("find primary", 1)),
    ):
        world.act(act, number)
    assert world.exchange.primary.epoch == 2
    resent = sum(node.shard.uplink.resent for node in world.exchange.gateways)
    assert resent == 5
    assert world.exchange.primary.not_admitted == 5 - min(lost_groups, 5)
    world.settle()
