"""What each client has to be told of a committed list, and how much is open of each order.

Worked out from docs/machine.md and docs/client.md, and not with the gateway's own code, so that a
mistake there is not made here as well. It raises AssertionError where a group can't be right.
"""

from collections.abc import Sequence

from engine.rejects import RejectReason
from feed.codec import Frame
from feed.messages import (
    ALL_SYMBOLS,
    AdoptInstrument,
    AdoptOrder,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    EnterOrder,
    InstrumentState,
    LogIn,
    MassCancel,
    Message,
    MoveOut,
    NewDay,
    OrderState,
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
from tools.simulation.client_streams import Told
from tools.simulation.open_order import AS_TRIGGERED, OpenOrder
from tools.simulation.transit import Transit

NOBODY = 0  # the client of what no client sent
_DAY = TimeInForce.DAY
_REASONS = {int(reason): reason for reason in RejectReason}


class Expectation:
    """Reads a shard's list group by group. `told` is what the last one tells clients.

    `orders` are those that are open, by their number.
    """

    def __init__(self, transit: Transit | None = None) -> None:
        """`transit` is that of the whole exchange."""
        self.told: list[Told] = []
        self.orders: dict[int, OpenOrder] = {}
        self._transit = transit or Transit()
        self._named: dict[tuple[int, int], OpenOrder] = {}  # by client and user_ref_num
        self._modes: dict[int, int] = {}  # self-trade prevention, by client
        self._touched: dict[int, OpenOrder] = {}  # in this group
        self._time_ns = 0  # of this group
        self._leaving: InstrumentState  # of this group

    def order_named(self, client: int, user_ref_num: int) -> OpenOrder | None:
        """The open order that goes by this number."""
        return self._named.get((client, user_ref_num))

    def open_quantity(self, client: int, user_ref_num: int) -> int:
        """What is open of the order that goes by this number; 0 when none does any more."""
        order = self._named.get((client, user_ref_num))
        return 0 if order is None else order.open

    def take(self, group: Sequence[Frame]) -> None:
        """Read the next whole group."""
        command = group[0].message()
        self._time_ns = group[0].time_ns
        self._touched.clear()
        self.told = []
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
            case AdoptInstrument():
                self._transit.arrive(command)
            case AdoptOrder():
                order = self._transit.adopt(sequence, command)
                self.orders[sequence] = self._touched[sequence] = order
                self._named[order.client, order.user_ref_num] = order

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
            case InstrumentState():
                assert isinstance(command, MoveOut), f"frame {sequence} moves unasked"
                assert event.symbol == command.symbol, f"{command} moves {event}"
                self._leaving = event
                self._transit.leave(event)
            case OrderState():
                assert isinstance(command, MoveOut), f"frame {sequence} moves unasked"
                self._leave(sequence, event)
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

    def _leave(self, sequence: int, state: OrderState) -> None:
        order = self.orders.pop(state.number, None)
        assert order is not None, f"an order leaves that is not open: {state}"
        del self._named[order.client, order.user_ref_num]
        self._transit.leave_with(self._leaving, sequence, state, order)

    def _trigger(self, event: Triggered) -> None:
        client, user_ref_num, number, symbol, side, quantity, price = event
        order = self._order(number, client, user_ref_num)
        assert order.order_type in AS_TRIGGERED, f"order {number} was triggered, and is no stop"
        order.order_type, order.stop_price = AS_TRIGGERED[order.order_type], 0
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
            case NewDay():
                days = [each for each in self.orders.values() if each.time_in_force == _DAY]
                left = [each.number for each in days if each.open]
                assert not left, f"{command} left orders {left} of the day before open"
            case MoveOut(symbol):
                left = [each.number for each in self.orders.values() if each.symbol == symbol]
                assert not left, f"{command} left orders {left} behind"
                assert caused, f"{command} did nothing"
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
        """The next event of a client."""
        if client != NOBODY:
            self.told.append(Told(client, kind, (self._time_ns, *fields)))
