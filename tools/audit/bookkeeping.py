"""Does each event follow from the orders? An auditor's own books, apart from all machines.

Sans-I/O. Takes the list at its word, group by group, and says which of its words can't be true: a
trade of an order that is not there, at a price that an order did not allow, past an order that came
first; a cancel of more than is open; a number used twice. What an event must fulfil is in
`tools.audit.rules`.

What is left to the machine: which commands are refused and why, and which of several stops is
triggered first.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from feed import messages
from feed.book import BookEntry
from feed.codec import Frame
from feed.messages import ALL_SYMBOLS, Command, PostOnly, Side, TimeInForce, unpad
from feed.run import Run
from feed.schema import FrameType
from tools.audit.ascending import Ascending
from tools.audit.crossings import Crossings
from tools.audit.findings import Findings, Kind, describe
from tools.audit.moving import Moving
from tools.audit.records import Instrument, Order, Standing
from tools.audit.register import Register
from tools.audit.rules import (
    Fault,
    cancel_faults,
    may_rest,
    reaches,
    replace_faults,
    trade_faults,
    trigger_faults,
)
from tools.audit.totals import Totals
from tools.prices import format_price

_NUMBERED = frozenset({FrameType.ENTER_ORDER, FrameType.REPLACE_ORDER, FrameType.MASS_CANCEL})


class _Group:
    """What is going on within one group."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.command = cast(Command, frame.message())
        self.active: Order | None = None  # the order that is being matched
        self.open_before = 0  # of that order, when it came in
        self.executed_before = 0
        self.instrument: Instrument | None = None
        self.last_price = 0  # before the group
        self.prices: list[int] = []  # of its trades so far


_EventHandler: TypeAlias = Callable[[_Group, Frame, Any], None]


class Bookkeeping:
    """The orders, clients and instruments of a list, by its own account."""

    def __init__(self, findings: Findings) -> None:
        self.totals = Totals()
        self.crossings = Crossings()
        self._findings = findings
        self._register = Register()
        self._ascending = Ascending(self._register, self.crossings, findings, self._complain)
        self._moving = Moving(self._register, self.totals, self.crossings, findings, self._complain)
        self._events: dict[FrameType, _EventHandler] = {
            FrameType.TRADE: self._trade,
            FrameType.CANCELED: self._canceled,
            FrameType.REPLACED: self._replaced,
            FrameType.TRIGGERED: self._triggered,
            FrameType.INSTRUMENT_STATE: self._moved,
            FrameType.ORDER_STATE: self._moved,
        }

    @property
    def live_orders(self) -> int:
        """How many orders live."""
        return len(self._register.orders)

    def begin(self, sequence: int, state: Iterable[Run]) -> None:
        """Begin, from empty, with the state in a snapshot of frame `sequence`."""
        self.crossings.began_after = sequence
        for run in state:
            for frame in run:
                self._register.restore(frame.message())
        for order in self._register.orders.values():
            self.totals.begin_with(order)
        self._moving.begin()

    def take(self, frames: Sequence[Frame]) -> None:
        """The next group of the list."""
        group = _Group(frames[0])
        if group.frame.type in _NUMBERED:
            self._count_number(group)
        if any(frame.type is FrameType.REJECTED for frame in frames):
            self._reject(group, frames)
            return
        self._begin_group(group)
        for frame in frames[1:]:
            handler = self._events.get(frame.type)
            if handler is not None:
                handler(group, frame, frame.message())
        self._settle(group)
        self._end_group(group)

    def close(self, book: Iterable[BookEntry] | None) -> None:
        """The list ends here: check the sums, and what is open against a machine's book."""
        if book is not None:
            self._compare_book(book)
        live = self._register.orders.values()
        self.crossings.live = {(order.client, order.user_ref_num) for order in live}
        self.totals.close(self._register.orders.values(), self._findings)

    # Commands.

    def _begin_group(self, group: _Group) -> None:
        match group.command:
            case messages.EnterOrder():
                self._enter(group, group.command)
            case messages.LogIn():
                self._ascending.log_in(group.frame, group.command)
            case messages.DefineInstrument(symbol):
                if symbol in self._register.instruments:
                    self._complain(Kind.ORDER, group.frame, Fault(f"{unpad(symbol)} is listed"))
                self._register.instruments[symbol] = Instrument(*group.command)
            case messages.SetTradingState(symbol, state):
                instrument = self._instrument(group.frame, symbol)
                self._moving.set_state(group.frame, instrument, state)
            case messages.ShardMark():
                self._ascending.mark(group.frame, group.command)
            case messages.MoveOut(symbol):
                instrument = self._instrument(group.frame, symbol)
                self._moving.leave(group.frame, group.command, instrument)
            case messages.AdoptInstrument():
                self._moving.arrive(group.frame, group.command)
            case messages.AdoptOrder(symbol):
                self._moving.order_arrives(group.frame, group.command, is_refused=False)
                group.instrument = self._register.instruments.get(symbol)

    def _enter(self, group: _Group, command: messages.EnterOrder) -> None:
        number = group.frame.sequence
        is_buy = command.side == Side.BUY
        order = Order(number, command.client, command.user_ref_num, command.symbol, is_buy=is_buy)
        order.limit = command.price
        order.time_in_force = command.time_in_force
        order.post_only = command.post_only == PostOnly.YES
        order.asked = order.entered = command.quantity
        self._register.add(order)
        self.totals.enter(order)
        instrument = self._instrument(group.frame, order.symbol)
        if instrument.is_halted:
            self._complain(Kind.ORDER, group.frame, Fault(f"{order} came in during a halt"))
        self._come_in(group, instrument, order, command.stop_price)

    def _count_number(self, group: _Group) -> None:
        """A command that a client has numbered."""
        command = group.command
        assert isinstance(
            command, messages.EnterOrder | messages.ReplaceOrder | messages.MassCancel
        )
        self.totals.clients[command.client].commands += 1
        if not command.user_ref_num and isinstance(command, messages.MassCancel):
            return  # a gateway's
        self._ascending.number(group.frame, command)

    def _reject(self, group: _Group, frames: Sequence[Frame]) -> None:
        client = getattr(group.command, "client", 0)
        if client:
            self.totals.clients[client].rejected += 1
        if len(frames) != 2:
            self._complain(Kind.ORDER, frames[1], Fault("a refusal comes alone", "REJECTED"))
        if isinstance(group.command, messages.AdoptOrder):
            self._moving.order_arrives(group.frame, group.command, is_refused=True)

    def _end_group(self, group: _Group) -> None:
        """What must be so once a group has taken effect."""
        command = group.command
        left: Iterable[Order] = ()
        match command:
            case messages.CancelOrder():
                order = self._register.client(command.client).orders.get(command.user_ref_num)
                remains = order.open if order else 0
                if remains != command.quantity:
                    fault = Fault(f"{remains:,} remain open", f"{command.quantity:,}")
                    self._complain(Kind.ORDER, group.frame, fault)
            case messages.MassCancel():
                orders = self._register.client(command.client).orders.values()
                left = (each for each in orders if command.symbol in (ALL_SYMBOLS, each.symbol))
            case messages.NewDay():
                orders = self._register.orders.values()
                left = (each for each in orders if each.time_in_force == TimeInForce.DAY)
            case messages.MoveOut(symbol):
                instrument = self._instrument(group.frame, symbol)
                self._moving.finish_leaving(group.frame, instrument)
        for order in left:
            self._complain(Kind.ORDER, group.frame, Fault(f"{order} still lives", "canceled"))
        if group.instrument is not None:
            self._check_book(group, group.instrument)

    def _check_book(self, group: _Group, instrument: Instrument) -> None:
        """Nothing that could trade was left untraded, and no stop was passed over."""
        self._findings.checked["books"] += 1
        bid, ask = instrument.bids.first(), instrument.asks.first()
        if bid is not None and ask is not None and bid.limit >= ask.limit:
            fault = Fault(
                f"{bid} at {format_price(bid.limit)} and {ask} at {format_price(ask.limit)} "
                "both rest",
                "a trade",
            )
            self._complain(Kind.ORDER, group.frame, fault)
        for stop in (instrument.buy_stops.first(), instrument.sell_stops.first()):
            if stop is not None and any(reaches(stop, price) for price in group.prices):
                fault = Fault(f"{stop} still waits, and its stop price has traded", "TRIGGERED")
                self._complain(Kind.ORDER, group.frame, fault)

    # Events.

    def _trade(self, group: _Group, frame: Frame, trade: messages.Trade) -> None:
        self._findings.checked["trades"] += 1
        self.totals.trade(trade.symbol, trade.price, trade.quantity)
        instrument = self._instrument(frame, trade.symbol)
        maker = self._order_of(Kind.TRADE, frame, trade.maker_number, "maker")
        taker = self._order_of(Kind.TRADE, frame, trade.taker_number, "taker")
        if maker is not None and taker is not None:
            mode = self._register.client(taker.client).self_trade_prevention
            for fault in trade_faults(trade, maker, taker, instrument, group.active, mode):
                self._complain(Kind.TRADE, frame, fault)
        taker_buys = trade.taker_side == Side.BUY
        for order, client, is_buy in (
            (maker, trade.maker_client, not taker_buys),
            (taker, trade.taker_client, taker_buys),
        ):
            side = is_buy if order is None else order.is_buy
            self.totals.execute(client, trade.symbol, trade.price, trade.quantity, side)
            if order is not None:
                order.executed += trade.quantity
                self._end_if_done(order, frame)
        instrument.last_price = trade.price
        group.prices.append(trade.price)

    def _canceled(self, group: _Group, frame: Frame, event: messages.Canceled) -> None:
        self._findings.checked["cancels"] += 1
        order = self._order_of(Kind.ORDER, frame, event.order_number, "order")
        if order is None:
            return
        has_traded = order is group.active and order.executed != group.executed_before
        for fault in cancel_faults(
            event, order, group.command, group.active, has_traded=has_traded
        ):
            self._complain(Kind.ORDER, frame, fault)
        self.totals.cancel(order, event.quantity)
        order.canceled += event.quantity
        self._end_if_done(order, frame)

    def _replaced(self, group: _Group, frame: Frame, event: messages.Replaced) -> None:
        self._findings.checked["replaces"] += 1
        command = group.command
        order = self._order_of(Kind.ORDER, frame, event.order_number, "order")
        if not isinstance(command, messages.ReplaceOrder):
            self._complain(Kind.ORDER, frame, Fault("nobody asked for a replace"))
            return
        if order is None:
            return
        for fault in replace_faults(event, order, command):
            self._complain(Kind.ORDER, frame, fault)
        self._register.rename(order, event.user_ref_num)
        added = event.quantity - order.open
        order.asked = command.quantity
        order.replaced += added
        self.totals.replace(order, added)
        instrument = self._instrument(frame, order.symbol)
        group.instrument = instrument
        order.time_in_force = command.time_in_force
        if not event.keeps_priority:
            order.leave()
            order.limit = event.price
            order.place = frame.sequence
            self._come_in(group, instrument, order, event.stop_price)

    def _triggered(self, group: _Group, frame: Frame, event: messages.Triggered) -> None:
        self._findings.checked["stops"] += 1
        self._settle(group)
        order = self._order_of(Kind.ORDER, frame, event.order_number, "order")
        if order is None:
            return
        for fault in trigger_faults(event, order, group.last_price, group.prices):
            self._complain(Kind.ORDER, frame, fault)
        order.leave()
        order.stop_price = 0
        order.place = frame.sequence
        _activate(group, order)

    def _moved(
        self, group: _Group, frame: Frame, event: messages.InstrumentState | messages.OrderState
    ) -> None:
        if not isinstance(group.command, messages.MoveOut):
            self._complain(Kind.MOVE, frame, Fault("nothing was told to move"))
        elif isinstance(event, messages.OrderState):
            self._moving.order_leaves(frame, event)
        else:
            instrument = self._instrument(group.frame, group.command.symbol)
            self._moving.leave_as(frame, event, instrument)

    # What becomes of orders.

    def _come_in(
        self, group: _Group, instrument: Instrument, order: Order, stop_price: int
    ) -> None:
        """An order enters, or enters again: to wait, or to be matched."""
        group.instrument = instrument
        group.last_price = instrument.last_price
        order.stop_price = stop_price
        if stop_price:
            order.standing = Standing.WAITING
            instrument.stops(is_buy=order.is_buy).add(order, stop_price)
        else:
            _activate(group, order)

    def _settle(self, group: _Group) -> None:
        """What was matched is matched: what is left of it rests, if it may."""
        order = group.active
        group.active = None
        if order is None:
            return
        executed = order.executed - group.executed_before
        is_whole = order.time_in_force == TimeInForce.FILL_OR_KILL
        if is_whole and executed not in (0, group.open_before):
            fault = Fault(f"{order} was filled in part", "all of it, or nothing")
            self._complain(Kind.ORDER, group.frame, fault)
        if order.standing is Standing.ENDED:
            return
        if not may_rest(order):
            self._complain(Kind.ORDER, group.frame, Fault(f"{order} may not rest", "CANCELED"))
        order.standing = Standing.RESTING
        self._instrument(group.frame, order.symbol).book(is_buy=order.is_buy).add(
            order, order.limit
        )

    def _end_if_done(self, order: Order, frame: Frame) -> None:
        if order.open > 0:
            return
        self._register.end(order, f"{frame.type.name} in frame {frame.sequence:,} ended it")

    def _compare_book(self, book: Iterable[BookEntry]) -> None:
        """Each order that rests is open by these books with what a machine has of it."""
        resting = {
            number: order.open
            for number, order in self._register.orders.items()
            if order.standing is Standing.RESTING
        }
        for entry in book:
            self._findings.checked["resting orders"] += 1
            ours = resting.pop(entry.order_number, 0)
            if ours != entry.quantity:
                text = f"order {entry.order_number:,} rests with another quantity at the end"
                expected = f"{entry.quantity:,}, by the machine"
                self._findings.add(
                    Kind.SUM, 0, text, found=f"{ours:,}, by its events", expected=expected
                )
        for number, quantity in resting.items():
            text = f"order {number:,} rests at the end"
            expected = "not there, by the machine"
            self._findings.add(
                Kind.SUM, 0, text, found=f"{quantity:,}, by its events", expected=expected
            )

    # Finding things.

    def _instrument(self, frame: Frame, symbol: bytes) -> Instrument:
        instrument = self._register.instruments.get(symbol)
        if instrument is None:
            self._complain(Kind.ORDER, frame, Fault(f"{unpad(symbol)!r} is not listed"))
            instrument = self._register.instruments[symbol] = Instrument(symbol)
        return instrument

    def _order_of(self, kind: Kind, frame: Frame, number: int, role: str) -> Order | None:
        order = self._register.orders.get(number)
        if order is None:
            why = self._register.ended.get(number, "no such order was entered")
            fault = Fault(f"the {role}, order {number:,}, does not live", why)
            self._complain(kind, frame, fault)
        return order

    def _complain(self, kind: Kind, frame: Frame, fault: Fault) -> None:
        self._findings.add(
            kind, frame.sequence, fault.text, found=describe(frame), expected=fault.expected
        )


def _activate(group: _Group, order: Order) -> None:
    """From here on this order is the one that is matched."""
    order.standing = Standing.ACTIVE
    order.stop_price = 0
    group.active = order
    group.open_before = order.open
    group.executed_before = order.executed
