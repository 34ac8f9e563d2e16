"""A client whose symbols live in two shards: each command is told of once, whatever breaks.

The model of the exchange keeps the order within each shard only. Its gateways refuse some orders,
and connections take what is on its way with them.
"""

from collections import Counter, deque
from collections.abc import Callable
from itertools import chain
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.messages import Side, TimeInForce
from gateway import ouch
from gateway.client_session import ClientSession, Phase
from gateway.events import Accepted, Canceled, Event, Rejected
from gateway.rejects import GatewayReject
from gateway.soup import LoginRequest, UnsequencedData
from tests.gateway.exchange_side import (
    AAPL,
    MSFT,
    accept,
    accepted,
    account,
    canceled,
    messages_in,
    numbered,
    packets_in,
    rejected,
    unnumbered,
)

SYMBOLS = (AAPL, MSFT)


class Shard:
    """One list, as far as it concerns the client."""

    def __init__(self, symbol: bytes) -> None:
        self.symbol = symbol
        self.on_the_way: deque[ouch.Inbound] = deque()
        self.last_number = 0
        self.sent: set[int] = set()  # numbers that have come through the gateway of this connection
        self.used: set[int] = set()
        self.open: set[int] = set()
        self.answers: deque[ouch.Outbound] = deque()  # not in the client's stream yet

    def take(self) -> None:
        """The next command comes into the list, unless it is a repeat."""
        match self.on_the_way.popleft():
            case ouch.EnterOrder(user_ref_num=number) if number > self.last_number:
                self.last_number = number
                self.used.add(number)
                self.open.add(number)
                self.answers.append(accepted(number, symbol=self.symbol))
            case ouch.CancelOrder(user_ref_num=number) if number in self.open:
                self.open.remove(number)
                self.answers.append(canceled(number, 100))


class World:
    """The client, a connection, and two shards; `do` is one step of any of them."""

    def __init__(self) -> None:
        self.session = ClientSession("ALICE", "secret")
        self.shards = [Shard(symbol) for symbol in SYMBOLS]
        self.symbols: dict[int, int] = {}  # of the orders, by number
        self.canceled: set[int] = set()
        self.events: list[Event] = []
        self.now_ns = 0
        self._stream: list[ouch.Outbound] = []
        self._read = 0  # of the stream, on this connection
        self._to_gateway: deque[ouch.Inbound] = deque()
        self._to_client: deque[bytes] = deque()  # what has no number
        self.connect()

    def connect(self) -> None:
        """The client logs in anew, which voids what was on its way."""
        for shard in self.shards:
            shard.on_the_way.clear()
            shard.sent.clear()
        self._to_gateway.clear()
        self._to_client.clear()
        self.session.disconnected()
        self.session.connected(self.now_ns)
        (request,) = packets_in(self.session.take_output(self.now_ns))
        assert isinstance(request, LoginRequest)
        self._read = request.sequence - 1
        self._hear(accept(request.sequence))
        (query,) = packets_in(self.session.take_output(self.now_ns))
        assert isinstance(query, UnsequencedData)
        last = max(shard.last_number for shard in self.shards)
        self._to_client.append(account(last + 1))

    def enter(self, place: int) -> None:
        """A new order, in one symbol or the other."""
        if self.session.knows_its_numbers:
            number = self.session.next_user_ref_num()
            self.symbols[number] = place
            terms = Side.BUY, 100, SYMBOLS[place], 10_000, TimeInForce.DAY
            self.session.submit(ouch.EnterOrder(number, *terms))
            self._send()

    def cancel(self, place: int) -> None:
        """A cancel of one of the last orders."""
        number = self.session.last_user_ref_num - place
        if number in self.symbols:
            self.canceled.add(number)
            self.session.submit_cancel(ouch.CancelOrder(number, 0))
            self._send()

    def gateway_takes(self, place: int, *, refuses: bool = False) -> None:
        """The gateway looks at what the client sent next."""
        if not self._to_gateway:
            return
        message = self._to_gateway.popleft()
        assert isinstance(message, ouch.EnterOrder | ouch.CancelOrder)
        number = message.user_ref_num
        shard = self.shards[self.symbols[number]]
        if isinstance(message, ouch.EnterOrder):
            if refuses:
                self._refuse(number, GatewayReject.RATE_EXCEEDED)
                return
            if number <= max(shard.last_number, *shard.sent, 0):
                if number not in shard.used | shard.sent:
                    self._refuse(number, GatewayReject.NUMBER_PASSED)
                return
            shard.sent.add(number)
        shard.on_the_way.append(message)

    def gateway_refuses(self, place: int) -> None:
        """The same; there was too much at once."""
        self.gateway_takes(place, refuses=True)

    def arrive(self, place: int) -> None:
        """What the client sent next comes into its list at once."""
        self.gateway_takes(place)
        for shard in self.shards:
            if shard.on_the_way:
                shard.take()

    def shard_takes(self, place: int) -> None:
        """A command comes into a list."""
        if self.shards[place].on_the_way:
            self.shards[place].take()

    def mark(self, place: int) -> None:
        """The client's stream goes on with what a shard has for it."""
        if self.shards[place].answers:
            self._stream.append(self.shards[place].answers.popleft())

    def hear(self, place: int) -> None:
        """Something from the stream comes to the client."""
        if self._read < len(self._stream):
            self._hear(numbered(self._stream[self._read]))
            self._read += 1

    def hear_unnumbered(self, place: int) -> None:
        """What stands outside of it comes to the client."""
        if self._to_client:
            self._hear(self._to_client.popleft())

    def wait(self, place: int) -> None:
        """Time passes; nobody falls silent for it."""
        self.now_ns += 1_000_000_000
        self.session.on_time(self.now_ns, is_reading=False)
        self._send()

    def break_off(self, place: int) -> None:
        """The connection breaks, and the client logs in again."""
        self.connect()
        if place:
            self.hear_unnumbered(place)  # and all that it sent comes again

    def settle(self) -> None:
        """Everything arrives."""
        for _ in range(8 * (len(self.symbols) + len(self.canceled)) + 16):
            for place in range(len(SYMBOLS)):
                self.hear_unnumbered(place)
                self.gateway_takes(place)
                self.shard_takes(place)
                self.mark(place)
                self.hear(place)
            self.wait(0)
        assert self.session.phase is Phase.OPEN

    def _refuse(self, number: int, reason: GatewayReject) -> None:
        self._to_client.append(unnumbered(rejected(number, reason)))

    def _hear(self, data: bytes) -> None:
        self.events += self.session.receive(data, self.now_ns)
        self.session.unanswered.check()
        self._send()

    def _send(self) -> None:
        if self.session.phase is Phase.OPEN:
            packets = packets_in(self.session.take_output(self.now_ns))
            for packet in packets:
                if isinstance(packet, UnsequencedData):
                    self._to_gateway += messages_in(packet.encode())


Step: TypeAlias = Callable[[World, int], None]
STEPS: tuple[Step, ...] = (
    World.enter,
    World.enter,
    World.cancel,
    World.gateway_takes,
    World.gateway_refuses,
    World.shard_takes,
    World.arrive,
    World.arrive,
    World.mark,
    World.hear,
    World.hear_unnumbered,
    World.wait,
    World.break_off,
)


# Several lists in a row grow long, as one alone does not, and still shrink to nothing.
HOURS = st.tuples(
    *[st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1)), max_size=20)] * 5
)


@settings(deadline=None, max_examples=150)
@given(HOURS)
def test_each_command_takes_effect_once_at_most_and_is_told_of_once(
    hours: tuple[list[tuple[Step, int]], ...],
) -> None:
    world = World()
    world.hear_unnumbered(0)
    for step, place in chain.from_iterable(hours):
        step(world, place)
    world.settle()
    # What had nothing to cancel is seen through by what is sent later.
    for place in range(len(SYMBOLS)):
        world.enter(place)
    world.settle()
    assert world.session.unanswered.numbers == set()
    in_lists = Counter(event.user_ref_num for event in world.events if isinstance(event, Accepted))
    refused = Counter(event.user_ref_num for event in world.events if isinstance(event, Rejected))
    assert in_lists + refused == Counter(world.symbols.keys())
    for place, shard in enumerate(world.shards):
        entered = {number for number, symbol in world.symbols.items() if symbol == place}
        assert shard.used == entered & in_lists.keys()
        assert not shard.open & world.canceled
    canceled_numbers = [each.user_ref_num for each in world.events if isinstance(each, Canceled)]
    assert sorted(canceled_numbers) == sorted(world.canceled & in_lists.keys())
