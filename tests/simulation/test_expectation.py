"""What clients have to be told: the same as gateways tell them; and groups that can't be right."""

from collections import defaultdict
from collections.abc import Sequence

import pytest

from engine.market import Market
from engine.rejects import RejectReason
from feed.codec import Frame, decode_frame, encode_group
from feed.messages import (
    ALL_SYMBOLS,
    AdoptInstrument,
    AdoptOrder,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
    MoveOut,
    OrderType,
    PostOnly,
    Rejected,
    Replaced,
    ReplaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    Triggered,
)
from gateway.events import Event, to_event
from gateway.ouch_codec import decode_outbound
from gateway.translate import client_messages
from tests.engine.driving import drive
from tests.engine.strategies import seeded_submissions
from tools.simulation.client_streams import ClientStreams
from tools.simulation.expectation import Expectation

ACME = b"ACME    "
ZINC = b"ZINC    "
NAME = b" " * 14
BUY, SELL = Side.BUY, Side.SELL
DAY, AT_ONCE = TimeInForce.DAY, TimeInForce.IMMEDIATE_OR_CANCEL
LIMIT, MARKET, STOP = OrderType.LIMIT, OrderType.MARKET, OrderType.STOP


def frames_of(messages: Sequence[Message], first_sequence: int, time_ns: int = 1) -> list[Frame]:
    return [decode_frame(data) for data in encode_group(messages, first_sequence, time_ns)]


@pytest.mark.parametrize("seed", range(12))
def test_clients_are_to_be_told_what_gateways_tell_them(seed: int) -> None:
    market, expectation, streams = Market(), Expectation(), ClientStreams([1])
    told: defaultdict[int, list[Event]] = defaultdict(list)
    submissions = (
        each
        for each in seeded_submissions(seed, 1500)
        if not isinstance(each.command, MoveOut | AdoptInstrument | AdoptOrder)
    )
    for sequence, time_ns, command, events in drive(market, submissions):
        group = frames_of((command, *events), sequence, time_ns)
        expectation.take(group)
        streams.take(1, group[-1].sequence, expectation.told)
        for client, payload in client_messages(group):
            told[client].append(to_event(decode_outbound(payload), len(told[client]) + 1))
    assert {type(event).__name__ for stream in told.values() for event in stream} == {
        *("Accepted", "Replaced", "Executed", "Canceled"),
        *("Rejected", "Triggered", "MassCanceled"),
    }
    for client, stream in told.items():
        expected = streams.streams[client]
        assert [(type(event), event) for event in expected] == [
            (type(event), event) for event in stream
        ]
    assert streams.streams.keys() == told.keys()
    held = {
        order.number: (order.quantity, order.executed, order.canceled)
        for order in market.orders.values()
    }
    assert held == {
        order.number: (order.quantity, order.executed, order.canceled)
        for order in expectation.orders.values()
    }


def order(
    client: int,
    number: int,
    side: Side,
    quantity: int,
    price: int = 100,
    *,
    kind: OrderType = LIMIT,
    time: TimeInForce = DAY,
    symbol: bytes = ACME,
    stop: int = 0,
) -> EnterOrder:
    return EnterOrder(
        client,
        number,
        symbol,
        side,
        kind,
        time,
        PostOnly.NO,
        quantity,
        price,
        stop,
        Capacity.AGENCY,
        NAME,
    )


def trade(
    quantity: int,
    *,
    price: int = 100,
    maker: tuple[int, int, int] = (1, 1, 1),
    taker: tuple[int, int, int] = (3, 2, 1),
    side: Side = SELL,
    symbol: bytes = ACME,
) -> Trade:
    """Number, client and user_ref_num of the maker and of the taker."""
    return Trade(symbol, price, quantity, side, *maker, *taker)


def canceled(
    number: int, client: int, user_ref_num: int, quantity: int, reason: CancelReason
) -> Canceled:
    return Canceled(client, user_ref_num, number, quantity, reason)


class List:
    """Order 1 buys 10 at 1.00 for client 1, order 2 waits to be a stop of client 1's."""

    def __init__(self) -> None:
        self.expectation = Expectation()
        self.next_sequence = 1
        self.write(order(1, 1, BUY, 10))
        self.write(order(1, 2, SELL, 5, 0, kind=STOP, stop=50))

    def write(self, *group: Message) -> None:
        self.expectation.take(frames_of(group, self.next_sequence))
        self.next_sequence += len(group)


def replaced(**changes: object) -> Replaced:
    event = Replaced(1, 1, 3, 1, ACME, BUY, 6, 100, 0, Capacity.AGENCY, 1)
    return event._replace(**changes)  # type: ignore[arg-type]


USER, IMMEDIATE = CancelReason.USER, CancelReason.IMMEDIATE
SELLS = order(2, 1, SELL, 4)
REPLACES = ReplaceOrder(1, 1, 3, 6, 100, 0, DAY, NAME)
RIGHT: list[tuple[Message, ...]] = [
    (SELLS, trade(4)),
    (order(2, 1, SELL, 14, time=AT_ONCE), trade(10), canceled(3, 2, 1, 4, IMMEDIATE)),
    (CancelOrder(1, 1, 3), canceled(1, 1, 1, 7, USER)),
    (REPLACES, replaced()),
    (MassCancel(1, 3, ACME, USER), canceled(1, 1, 1, 10, USER), canceled(2, 1, 2, 5, USER)),
    (CancelOrder(1, 9, 0), Rejected(1, 9, RejectReason.ORDER_NOT_LIVE)),
]
WRONG: list[tuple[str, tuple[Message, ...]]] = [
    ("more was taken off", (order(2, 1, SELL, 20), trade(11))),
    ("more was taken off", (SELLS, trade(5))),
    ("nothing was taken off", (SELLS, trade(0))),
    ("may not rest", (order(2, 1, SELL, 14, time=AT_ONCE), trade(10))),
    ("may not rest", (order(2, 1, SELL, 14, 0, kind=MARKET), trade(10))),
    ("not at the maker's price", (SELLS, trade(4, price=101))),
    ("beyond the taker's limit", (order(2, 1, SELL, 4, 101), trade(4))),
    ("of two symbols", (order(2, 1, SELL, 4, symbol=ZINC), trade(4))),
    ("of one side", (order(2, 1, BUY, 4), trade(4))),
    ("names the wrong side", (SELLS, trade(4, side=BUY))),
    ("is not open", (SELLS, trade(4, maker=(7, 1, 1)))),
    ("order 1 is 1's 1, not 2's 1", (SELLS, trade(4, maker=(1, 2, 1)))),
    ("of a client with itself", (order(1, 3, SELL, 4), trade(4, taker=(3, 1, 3)))),
    ("left 4 open", (CancelOrder(1, 1, 3), canceled(1, 1, 1, 6, USER))),
    ("did", (CancelOrder(1, 1, 3), canceled(2, 1, 2, 5, USER))),
    ("did", (CancelOrder(1, 1, 3),)),
    ("was not done", (REPLACES,)),
    ("did not get the terms", (REPLACES, replaced(quantity=7))),
    ("did not get the terms", (REPLACES, replaced(price=99))),
    ("not what was asked", (REPLACES, replaced(user_ref_num=4))),
    ("replaces unasked", (SELLS, replaced())),
    ("left orders", (MassCancel(1, 3, ACME, USER), canceled(1, 1, 1, 10, USER))),
    ("left orders", (MassCancel(1, 3, ALL_SYMBOLS, USER),)),
    ("reached", (MassCancel(1, 3, ZINC, USER), canceled(1, 1, 1, 10, USER))),
    ("did", (MassCancel(2, 3, ACME, USER), canceled(1, 1, 1, 10, USER))),
    ("is no stop", (SELLS, Triggered(1, 1, 1, ACME, BUY, 10, 100))),
    ("changed when it was triggered", (SELLS, Triggered(1, 2, 2, ACME, SELL, 4, 0))),
    ("does more than to refuse", (SELLS, Rejected(2, 1, 1), trade(4))),
    ("out of its place", (SELLS, trade(4), Rejected(2, 1, 1))),
    ("told to another one", (SELLS, Rejected(1, 1, RejectReason.HALTED))),
    ("asks for nothing", (order(2, 1, SELL, 0),)),
]


@pytest.mark.parametrize("group", RIGHT)
def test_a_right_group_is_taken(group: tuple[Message, ...]) -> None:
    List().write(*group)


@pytest.mark.parametrize(("what", "group"), WRONG)
def test_a_group_that_can_not_be_right_is_found(what: str, group: tuple[Message, ...]) -> None:
    with pytest.raises(AssertionError, match=what):
        List().write(*group)


def test_a_client_that_lets_its_orders_meet_may_trade_with_itself() -> None:
    def cross(mode: SelfTradePrevention) -> None:
        written = List()
        written.write(LogIn(1, 7, mode))
        written.write(order(1, 3, SELL, 4), trade(4, taker=(4, 1, 3)))

    cross(SelfTradePrevention.OFF)
    with pytest.raises(AssertionError, match="of a client with itself"):
        cross(SelfTradePrevention.CANCEL_OLDEST)


def test_an_order_that_has_ended_is_forgotten() -> None:
    written = List()
    written.write(order(2, 1, SELL, 10), trade(10))
    assert list(written.expectation.orders) == [2]
    assert written.expectation.open_quantity(1, 1) == 0
    with pytest.raises(AssertionError, match="order 1 is not open"):
        written.write(order(2, 2, SELL, 4), trade(4, taker=(5, 2, 2)))
