"""Whatever happens over several days, each client is told each event once, on whichever gateway.

Gateways die, and start again late, from the snapshot that the day began with; primaries die with
what is not committed; clients stay away for days.
"""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.codec import Frame, decode_frame
from feed.messages import NewDay, Rejected, Side, TimeInForce
from gateway.events import Accepted, Event, SessionBegan, to_event
from gateway.events import Rejected as RejectedEvent
from gateway.ouch_codec import decode_outbound
from gateway.translate import client_messages
from tests.gateway.exchange import CLIENTS, Exchange
from tests.gateway.situations import cancels_on_disconnect, limited
from tests.gateway.traders import Trader
from tests.gateway.twins import EVERY_KERNEL

pytestmark = EVERY_KERNEL

FIRST_DAY = 20261101
ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("enter", "enter", "connect", "connect", "leave", "cut off", "new day", "new day"),
                *("an old day", "stop feed", "start feed", "slow", "take", "take over", "commit"),
                *("hold commits", "lose primary", "find primary", "start late", "start anew"),
            )
        ),
        st.integers(0, 7),
    ),
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_over_days_every_client_is_told_every_event_once_whatever_happens(
    acts: list[tuple[str, int]],
) -> None:
    world = Days()
    for act, number in acts:
        world.act(act, number)
    world.settle()
    for trader in world.traders.values():
        world.judge(trader)
    world.judge_gateways()


class Days:
    """Two gateways, and two clients of the library that use both of them."""

    def __init__(self) -> None:
        self.exchange = Exchange(gateways=2, settings=limited(sessions={"output_bytes": 4096}))
        cancels_on_disconnect(self.exchange, "BOB")
        self.traders = {name: Trader(self.exchange, name, gateway_count=2) for name in CLIENTS}
        self._names = list(CLIENTS)
        self._day = FIRST_DAY

    def act(self, act: str, number: int) -> None:
        exchange, node = self.exchange, self.exchange.gateways[number % 2]
        trader = self.traders[self._names[number // 2 % 2]]
        match act:
            case "enter" if trader.session.knows_its_numbers:
                tif = (TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL)[number // 4]
                side = (Side.BUY, Side.SELL)[number % 2]
                trader.enter(1 + number, side, 10_000, tif)
            case "connect":
                trader.connect(number % 2)
            case "leave":
                trader.leave()
            case "cut off":
                trader.cut_off()
            case "new day" | "an old day":
                self._day += act == "new day"
                exchange.begin_day(self._day)
            case "slow" | "take" if trader.line is not None:
                trader.line.takes = act == "take"
                trader.line.buffered_bytes = 0
                exchange.wait(number / 2)
            case "stop feed" | "start feed":
                node.reads_feed = act == "start feed"
                exchange.settle()
            case "take over":
                exchange.take_over(lost_groups=number)
                exchange.settle()
            case "hold commits" | "commit":
                exchange.commit()
                exchange.primary.commits = act == "commit"
            case "lose primary" if node.shard.uplink.is_connected:
                node.lose_primary()
            case "find primary" if not node.shard.uplink.is_connected:
                node.connect()
            case "start late" | "start anew":
                self._replace(number % 2, late=act == "start late")
        self._pump()

    def settle(self) -> None:
        """Everything works again, and everybody hears all that there is."""
        exchange = self.exchange
        exchange.commit()
        exchange.primary.commits = True
        for node in exchange.gateways:
            node.reads_feed = True
        for trader in self.traders.values():
            if trader.line is not None:
                trader.line.takes, trader.line.buffered_bytes = True, 0
        exchange.follow()
        exchange.wait(0.2)
        for turn in range(8):  # refused by each gateway, the rest of a day, another day, and so on
            self._pump()
            for trader in self.traders.values():
                if not trader.is_open:
                    trader.connect(turn % 2)

    def judge(self, trader: Trader) -> None:
        """Holds what a client was told against the list."""
        expected = self._told(trader)
        began = [event for event in trader.events if isinstance(event, SessionBegan)]
        first = began[0].previous if began else trader.session.session
        heard: list[tuple[str, list[Event]]] = [(first, [])]
        for event in trader.events:
            if isinstance(event, SessionBegan):
                assert event.previous == heard[-1][0]
                heard.append((event.session, []))
            elif event.sequence:
                heard[-1][1].append(event)
        for name, events in heard:
            assert events == expected[name][: len(events)], f"session {name}"
        names = list(expected)
        for (name, events), following in zip(heard, began, strict=False):
            if not following.may_have_missed:
                assert names.index(following.session) == names.index(name) + 1
                assert events == expected[name]
        assert heard[-1] == (names[-1], expected[names[-1]])
        assert trader.is_open
        self._judge_commands(trader, expected)

    def judge_gateways(self) -> None:
        """Whenever it started, a gateway has the day's streams as every other one."""
        whole = self.exchange.start_gateway()
        self.exchange.settle()
        for node in self.exchange.gateways:
            assert node.digest.hex() == whole.digest.hex()
            assert node.shard.home.days.name == whole.shard.home.days.name
            for client in CLIENTS.values():
                ours, theirs = (each.gateway.stream_of(client.number) for each in (node, whole))
                assert ours.read(1, 1 << 30) == theirs.read(1, 1 << 30)

    def _judge_commands(self, trader: Trader, expected: dict[str, list[Event]]) -> None:
        """Each command stands in the list once."""
        placed = [
            event.user_ref_num
            for events in expected.values()
            for event in events
            if isinstance(event, Accepted | RejectedEvent)
        ]
        assert placed == sorted(set(placed))
        assert set(trader.entered) == set(placed)
        assert trader.session.unanswered.numbered_count == 0

    def _told(self, trader: Trader) -> dict[str, list[Event]]:
        """What the list says that a client is told, by session."""
        (number,) = (c.number for n, c in CLIENTS.items() if self.traders[n] is trader)
        told: dict[str, list[Event]] = {"DEMO": []}
        name = "DEMO"
        for group in _groups([decode_frame(data) for data in self.exchange.primary.frames]):
            for client, payload in client_messages(group):
                if client == number:
                    message = decode_outbound(payload)
                    told[name].append(to_event(message, len(told[name]) + 1))
            match [frame.message() for frame in group]:
                case [NewDay(day=day), *rest] if not any(isinstance(e, Rejected) for e in rest):
                    name = str(day)
                    told[name] = []
        return told

    def _replace(self, place: int, *, late: bool) -> None:
        """A gateway is killed, and another one started in its place."""
        node = self.exchange.gateways[place]
        for trader in self.traders.values():
            if trader.is_connected_to(node):
                trader.cut_off()
        node.die()
        started = self.exchange.start_gateway(late=late)
        started.clients = node.clients
        self.exchange.gateways.pop()
        self.exchange.gateways.insert(place, started)
        self.exchange.settle()

    def _pump(self) -> None:
        for trader in self.traders.values():
            trader.pump()
            assert trader.failure is None


def _groups(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    ends = [0, *(n for n, frame in enumerate(frames, 1) if frame.is_end)]
    return [frames[begin:end] for begin, end in pairwise(ends)]
