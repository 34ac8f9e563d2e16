"""What each client has to be told of the committed list, and how much is open of each order.

Worked out from docs/machine.md and docs/client.md, and not with the gateway's own code, so that a
mistake there is not made here as well. It raises AssertionError where a group can't be right.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from engine.rejects import RejectReason
from feed.codec import Frame
from feed.messages import (
    ALL_SYMBOLS,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
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
    unpad,
)
from gateway import events
from gateway.events import Event
from gateway.ouch import Liquidity

NOBODY = 0  # the client of what no client sent
_REASONS = {int(reason): reason for reason in RejectReason}
_RESTING = (TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL)
_AS_TRIGGERED = {OrderType.STOP: OrderType.MARKET, OrderType.STOP_LIMIT: OrderType.LIMIT}


@dataclass(slots=True)
class OpenOrder:
    """An order, with what has become of the quantity that was asked for."""

    number: int
    client: int
    user_ref_num: int
    symbol: bytes
    side: Side
    order_type: OrderType  # as it is now: a stop that was triggered is none any more
    time_in_force: int
    price: int
    stop_price: int
    capacity: int
    quantity: int
    executed: int = 0
    canceled: int = 0

    @property
    def open(self) -> int:
        """What may still trade."""
        return self.quantity - self.executed - self.canceled

    @property
    def may_rest(self) -> bool:
        """Whether it stays when it has found nobody to trade with."""
        if self.order_type in _AS_TRIGGERED:
            return True
        return self.order_type == OrderType.LIMIT and self.time_in_force in _RESTING

    def take(self, *, executed: int = 0, canceled: int = 0) -> None:
        """So much has been executed or canceled; never more than was open."""
        assert executed + canceled > 0, f"nothing was taken off order {self.number}"
        self.executed += executed
        self.canceled += canceled
        assert self.open >= 0, f"more was taken off order {self.number} than was open"


class Expectation:
    """Reads the list group by group. `streams` has each client's events, the first one's number 1.

    `orders` are those that are open, by their number.
    """

    def __init__(self) -> None:
        self.streams: defaultdict[int, list[Event]] = defaultdict(list)
        self.orders: dict[int, OpenOrder] = {}
        self._named: dict[tuple[int, int], OpenOrder] = {}  # by client and user_ref_num
        self._modes: dict[int, int] = {}  # self-trade prevention, by client
        self._touched: dict[int, OpenOrder] = {}  # in this group
        self._time_ns = 0  # of this group

    def open_quantity(self, client: int, user_ref_num: int) -> int:
        """What is open of the order that goes by this number; 0 when none does any more."""
        order = self._named.get((client, user_ref_num))
        return 0 if order is None else order.open

    def take(self, group: Sequence[Frame]) -> None:
        """Read the next whole group."""
        command = group[0].message()
        self._time_ns = group[0].time_ns
        self._touched.clear()
        caused = [(frame.sequence, frame.message()) for frame in group[1:]]
        if caused and isinstance(caused[0][1], Rejected):
            assert len(caused) == 1, f"group {group[0].sequence} does more than to refuse"
            self._reject(command, caused[0][1])
            return
        self._begin(group[0].sequence, command)
        for sequence, event in caused:
            self._take_event(sequence, event, command)
        self._end(command, [event for _, event in caused])

    def _begin(self, sequence: int, command: Message) -> None:
        """What a command means by itself, when it is not refused."""
        match command:
            case EnterOrder():
                self._enter(sequence, command)
            case LogIn(client, _, mode):
                self._modes[client] = mode
            case MassCancel(client, user_ref_num, symbol) if user_ref_num:
                self._tell(client, events.MassCanceled, user_ref_num, unpad(symbol))

    def _enter(self, sequence: int, command: EnterOrder) -> None:
        order = OpenOrder(
            sequence,
            command.client,
            command.user_ref_num,
            command.symbol,
            Side(command.side),
            OrderType(command.order_type),
            command.time_in_force,
            command.price,
            command.stop_price,
            command.capacity,
            command.quantity,
        )
        assert order.open > 0, f"order {sequence} asks for nothing"
        self.orders[sequence] = self._touched[sequence] = order
        self._named[order.client, order.user_ref_num] = order
        self._tell(
            order.client,
            events.Accepted,
            order.user_ref_num,
            order.number,
            unpad(order.symbol),
            order.side,
            order.order_type,
            order.quantity,
            order.price,
            order.stop_price,
            TimeInForce(command.time_in_force),
            command.post_only == PostOnly.YES,
            Capacity(command.capacity),
            unpad(command.client_order_id),
        )

    def _take_event(self, sequence: int, event: Message, command: Message) -> None:
        match event:
            case Trade():
                self._trade(sequence, event)
            case Canceled(client, user_ref_num, number, quantity, reason):
                self._order(number, client, user_ref_num).take(canceled=quantity)
                self._tell(client, events.Canceled, user_ref_num, quantity, CancelReason(reason))
            case Replaced():
                assert isinstance(command, ReplaceOrder), f"frame {sequence} replaces unasked"
                self._replace(event, command)
            case Triggered():
                self._trigger(event)
            case _:
                raise AssertionError(f"frame {sequence} is out of its place: {event}")

    def _trade(self, match: int, trade: Trade) -> None:
        maker = self._order(trade.maker_number, trade.maker_client, trade.maker_user_ref_num)
        taker = self._order(trade.taker_number, trade.taker_client, trade.taker_user_ref_num)
        assert maker.symbol == taker.symbol == trade.symbol, f"trade {match} is of two symbols"
        assert (maker.side == Side.BUY) != (taker.side == Side.BUY), f"trade {match} of one side"
        assert trade.taker_side == taker.side, f"trade {match} names the wrong side"
        assert trade.price == maker.price, f"trade {match} is not at the maker's price"
        assert not taker.price or (
            taker.price >= trade.price if taker.side == Side.BUY else taker.price <= trade.price
        ), f"trade {match} is beyond the taker's limit"
        if maker.client == taker.client:
            mode = self._modes.get(maker.client)
            assert mode == SelfTradePrevention.OFF, f"trade {match} is of a client with itself"
        for order, liquidity in ((maker, Liquidity.ADDED), (taker, Liquidity.REMOVED)):
            order.take(executed=trade.quantity)
            self._tell(
                order.client,
                events.Executed,
                order.user_ref_num,
                trade.quantity,
                trade.price,
                liquidity,
                match,
            )

    def _replace(self, event: Replaced, command: ReplaceOrder) -> None:
        order = self._order(event.order_number, event.client, command.original_user_ref_num)
        del self._named[order.client, order.user_ref_num]
        order.user_ref_num = command.user_ref_num
        self._named[order.client, order.user_ref_num] = order
        order.quantity, order.canceled = command.quantity, 0
        order.price, order.time_in_force = command.price, command.time_in_force
        order.stop_price = command.stop_price or order.stop_price
        _, original, renewed, _, symbol, side, quantity, price, stop_price, capacity, _ = event
        assert (event.client, original, renewed) == command[:3], f"{event} is not what was asked"
        assert (symbol, side, capacity) == (order.symbol, order.side, order.capacity)
        assert (quantity, price, stop_price) == (order.open, order.price, order.stop_price), (
            f"order {order.number} did not get the terms that it was replaced with"
        )
        assert quantity > 0, f"order {order.number} was replaced by nothing"
        self._tell(
            order.client,
            events.Replaced,
            original,
            renewed,
            order.number,
            unpad(symbol),
            order.side,
            order.order_type,
            quantity,
            price,
            stop_price,
            TimeInForce(command.time_in_force),
            Capacity(capacity),
            unpad(command.client_order_id),
        )

    def _trigger(self, event: Triggered) -> None:
        client, user_ref_num, number, symbol, side, quantity, price = event
        order = self._order(number, client, user_ref_num)
        assert order.order_type in _AS_TRIGGERED, f"order {number} was triggered, and is no stop"
        order.order_type, order.stop_price = _AS_TRIGGERED[order.order_type], 0
        assert (symbol, side, quantity, price) == (
            order.symbol,
            order.side,
            order.open,
            order.price,
        ), f"order {number} was changed when it was triggered"
        self._tell(client, events.Triggered, user_ref_num, number, price)

    def _reject(self, command: Message, event: Rejected) -> None:
        client, user_ref_num, code = event
        asked = getattr(command, "client", NOBODY), getattr(command, "user_ref_num", 0)
        assert (client, user_ref_num) == asked, f"a refusal is told to another one: {event}"
        name = b""
        if isinstance(command, EnterOrder | ReplaceOrder):
            name = command.client_order_id
        reason = _REASONS[code]
        self._tell(client, events.Rejected, user_ref_num, reason, reason.text, unpad(name))

    def _end(self, command: Message, caused: Sequence[Message]) -> None:
        """Hold what a whole group has done against what its command asked for."""
        match command:
            case ReplaceOrder():
                kinds = [isinstance(event, Replaced) for event in caused]
                assert kinds[:1] == [True], f"{command} was not done"
                assert sum(kinds) == 1, f"{command} was done twice"
            case CancelOrder(client, user_ref_num, remaining):
                done = [tuple(event)[:2] for event in caused]
                assert done == [(client, user_ref_num)], f"{command} did {done}"
                assert self.open_quantity(client, user_ref_num) == remaining, (
                    f"{command} left {self.open_quantity(client, user_ref_num)} open"
                )
            case MassCancel():
                self._end_mass_cancel(command, caused)
        for order in self._touched.values():
            if not order.open:
                del self.orders[order.number]
                del self._named[order.client, order.user_ref_num]
            else:
                assert order.may_rest, f"order {order.number} may not rest, and {order.open} does"

    def _end_mass_cancel(self, command: MassCancel, caused: Sequence[Message]) -> None:
        client, _, symbol, reason = command
        for event in caused:
            assert isinstance(event, Canceled), f"{command} did {event}"
            assert (event.client, event.reason) == (client, reason), f"{command} did {event}"
        for order in self._touched.values():
            assert symbol in (ALL_SYMBOLS, order.symbol), f"{command} reached {order}"
        left = [
            order.number
            for order in self.orders.values()
            if order.client == client and symbol in (ALL_SYMBOLS, order.symbol) and order.open
        ]
        assert not left, f"{command} left orders {left} open"

    def _order(self, number: int, client: int, user_ref_num: int) -> OpenOrder:
        order = self.orders.get(number)
        assert order is not None, f"order {number} is not open, and yet something happens to it"
        assert (order.client, order.user_ref_num) == (client, user_ref_num), (
            f"order {number} is {order.client}'s {order.user_ref_num},"
            f" not {client}'s {user_ref_num}"
        )
        self._touched[number] = order
        return order

    def _tell(self, client: int, kind: type[Event], *fields: object) -> None:
        """The next event of a client's stream."""
        if client == NOBODY:
            return
        stream = self.streams[client]
        stream.append(kind._make((len(stream) + 1, self._time_ns, *fields)))
