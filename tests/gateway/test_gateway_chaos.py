"""Whatever clients and networks do, streams are whole and no order counts twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ouch
from gateway.soup import (
    LoginAccepted,
    SequencedData,
)
from tests.gateway.exchange import (
    CLIENTS,
    Exchange,
    Line,
    enter,
    messages,
)
from tests.gateway.situations import cancels_on_disconnect, limited
from tests.gateway.twins import EVERY_KERNEL

pytestmark = EVERY_KERNEL

ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("connect", "log in", "bytes", "orders", "hang up", "log out", "wait", "mute"),
                *("take", "lose primary", "find primary", "stop feed", "start feed"),
                *("take over", "hold commits", "commit", "replace gateway"),
            )
        ),
        st.integers(0, 7),
        st.binary(max_size=40),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_whatever_clients_and_networks_do_streams_are_whole_and_no_order_counts_twice(
    acts: list[tuple[str, int, bytes]],
) -> None:
    world = Chaos()
    for act, number, data in acts:
        world.act(act, number, data)
    world.settle()
    for name, received in world.received.items():
        assert received == dict(enumerate(world.stream(name), 1)), name


class Chaos:
    """Clients on two gateways that do as they please, and note what they got under each number."""

    def __init__(self) -> None:
        self.exchange = Exchange(gateways=2, settings=limited(uplink={"pending": 12}))
        cancels_on_disconnect(self.exchange, "BOB")
        self.lines: list[Line] = []
        self.received: dict[str, dict[int, bytes]] = {"ALICE": {}, "BOB": {}}
        self._counting: dict[Line, int] = {}

    def act(self, act: str, number: int, data: bytes) -> None:
        exchange, node = self.exchange, self.exchange.gateways[number % 2]
        line = self.lines[number % len(self.lines)] if self.lines else None
        match act:
            case "connect":
                self.lines.append(exchange.line(number % 2))
            case "log in" if line is not None:
                name = ("ALICE", "BOB")[number % 2]
                line.log_in(name, sequence=len(self.received[name]) + 1)
            case "bytes" if line is not None:
                line.send(data)
            case "orders" if line is not None:
                side = "BS"[number % 2]
                line.send(*(enter(byte % 40, side, 1 + byte) for byte in data))
            case "hang up" if line is not None:
                line.hang_up()
            case "log out" if line is not None:
                line.log_out()
            case "lose primary" if node.shard.uplink.is_connected:
                node.lose_primary()
            case "find primary" if not node.shard.uplink.is_connected:
                node.connect()
            case "take over":
                exchange.take_over(lost_groups=number)
                exchange.settle()
            case "hold commits":
                exchange.primary.commits = False
            case "commit":
                exchange.commit()
                exchange.primary.commits = True
            case "replace gateway":
                node.die()
                exchange.gateways.insert(number % 2, exchange.start_gateway())
                exchange.gateways.pop()
                self.lines = [line for line in self.lines if line.gateway is not node]
            case "stop feed" | "start feed":
                node.reads_feed = act == "start feed"
                exchange.settle()
            case "wait":
                exchange.wait(number)
            case "mute" | "take" if line is not None:
                line.takes = act == "take"
                line.buffered_bytes = 0
        self._note()

    def settle(self) -> None:
        """Everything works again, and each client reads its stream to the end."""
        self.exchange.commit()
        self.exchange.primary.commits = True
        for node in self.exchange.gateways:
            node.reads_feed = True
        self.exchange.follow()
        self.exchange.settle()
        self._note()
        for name, received in self.received.items():
            self.lines.append(self.exchange.open(name, sequence=len(received) + 1))
            self._note()
        self.exchange.market.check()
        for node in self.exchange.gateways:
            assert node.shard.heard_sequence == self.exchange.primary.last_sequence
        assert len({node.digest.hex() for node in self.exchange.gateways}) == 1

    def stream(self, name: str) -> list[bytes]:
        """A client's stream, as a gateway has it that has seen nothing of all this."""
        late = self.exchange.start_gateway()
        stream = late.gateway.stream_of(CLIENTS[name].number)
        line = self.exchange.open(name, gateway=len(self.exchange.gateways) - 1)
        payloads = [p.payload for p in line.news if isinstance(p, SequencedData)]
        assert len(payloads) == stream.next_sequence - 1
        entered = [
            message.user_ref_num
            for message in messages([SequencedData(payload) for payload in payloads])
            if isinstance(message, ouch.Accepted)
        ]
        assert entered == sorted(set(entered))
        return payloads

    def _note(self) -> None:
        """Files what has come under its number; what came twice must be the same."""
        for line in self.lines:
            for packet in line.news:
                if isinstance(packet, LoginAccepted):
                    self._counting[line] = packet.sequence
                elif isinstance(packet, SequencedData):
                    sequence = self._counting[line]
                    self._counting[line] += 1
                    received = self.received[line.session.user]
                    assert received.setdefault(sequence, packet.payload) == packet.payload
