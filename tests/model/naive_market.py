"""The market machine of docs/machine.md, written to be believed at sight; the judge of the real.

It reads like the page. Its state is in `tests.model.naive_state`, its checks in
`tests.model.naive_refusals`.
"""

from engine.rejects import RejectReason
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    BookSide,
    Canceled,
    CancelOrder,
    CancelReason,
    Command,
    DefineInstrument,
    EnterOrder,
    Epoch,
    Event,
    InstrumentState,
    LogIn,
    MassCancel,
    MoveOut,
    NewDay,
    OrderState,
    OrderType,
    Rejected,
    Replaced,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    TimeInForce,
    Trade,
    TradingState,
    Triggered,
)
from tests.model.naive_refusals import (
    RESTING_TIMES,
    adopted_order,
    arrives,
    goes_further,
    has_room,
    new_order,
    new_terms,
    refusal,
)
from tests.model.naive_state import Client, Instrument, NaiveState, Order


class NaiveMarket(NaiveState):
    """What `engine.market.Market` should do, one command at a time."""

    def admits(self, login: int, command: Command) -> bool:
        """Whether a command that was sent under `login` gets a place in the list."""
        if isinstance(command, DefineInstrument):
            known = self.instruments.get(command.symbol)
            terms = known and (known.tick_size, known.lot_size, known.short_sale)
            return terms != command[1:]
        if isinstance(command, Epoch | SetTradingState | NewDay):
            return True
        if isinstance(command, ShardMark):
            return goes_further(self, command)
        if isinstance(command, MoveOut):
            known = self.instruments.get(command.symbol)
            return known is None or known.state != TradingState.MOVED
        if isinstance(command, AdoptInstrument):
            return has_room(self, command)
        if isinstance(command, AdoptOrder):
            return arrives(self, command)
        client = self.clients.get(command.client)
        if isinstance(command, LogIn):
            is_repeat = client is not None and command.login == client.login
            is_late = client is not None and command.home_sequence < client.home_sequence
            return command.client != 0 and command.login != 0 and not is_repeat and not is_late
        if client is None or login == 0 or login != client.login:
            return False
        if isinstance(command, MassCancel) and command.user_ref_num == 0:
            targets = self.orders_to_cancel(command.client, command.symbol)
            return bool(targets) and refusal(self, command) is None
        order = self.live_order(command.client, command.user_ref_num)
        if isinstance(command, CancelOrder) and order is not None:
            return command.quantity < order.quantity
        return command.user_ref_num > client.last_user_ref_num and order is None

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        """The events that an admitted command causes, in their order."""
        if isinstance(command, AdoptOrder):
            if not arrives(self, command):
                return [rejected(command, RejectReason.INVALID_ORDER)]
            self.instruments[command.symbol].adopted_sequence = command.source_sequence
        reason = refusal(self, command)
        if isinstance(command, EnterOrder | ReplaceOrder | MassCancel):
            client = self.clients[command.client]
            client.last_user_ref_num = max(client.last_user_ref_num, command.user_ref_num)
        if reason is not None:
            return [rejected(command, reason)]
        match command:
            case EnterOrder():
                return self._take_in(new_order(sequence, command))
            case ReplaceOrder():
                return self._replace(command)
            case CancelOrder():
                return self._cancel(command)
            case MassCancel():
                return self._mass_cancel(command)
            case LogIn():
                self._log_in(command)
            case DefineInstrument(symbol, tick_size, lot_size, short_sale):
                self.instruments[symbol] = Instrument(tick_size, lot_size, short_sale)
            case SetTradingState(symbol, state):
                self.instruments[symbol].state = state
                self.instruments[symbol].adopted_sequence = 0
            case NewDay(day):
                return self._new_day(day)
            case ShardMark(shard, mark):
                self.marks[shard] = mark
            case MoveOut(symbol):
                return self._move_out(symbol)
            case AdoptInstrument(symbol, tick_size, lot_size, short_sale, last_price, moves):
                self.instruments[symbol] = Instrument(
                    tick_size,
                    lot_size,
                    short_sale,
                    state=TradingState.ARRIVING,
                    last_price=last_price or None,
                    moves=moves,
                )
            case AdoptOrder():
                self.clients.setdefault(command.client, Client(0, SelfTradePrevention.OFF))
                self._leave_standing(adopted_order(sequence, command))
        return []

    def _log_in(self, command: LogIn) -> None:
        client = self.clients.setdefault(command.client, Client(0, 0))
        client.login = command.login
        client.self_trade_prevention = command.self_trade_prevention
        client.home_sequence = command.home_sequence

    def _move_out(self, symbol: bytes) -> list[Event]:
        instrument = self.instruments[symbol]
        bids, asks = (self.side_of_book(symbol, side) for side in (BookSide.BID, BookSide.ASK))
        leaving = [*bids, *asks, *self.waiting_stops(symbol)]
        self.orders = [order for order in self.orders if order.symbol != symbol]
        instrument.state = TradingState.MOVED
        instrument.moves += 1
        went = InstrumentState(
            symbol=symbol,
            tick_size=instrument.tick_size,
            lot_size=instrument.lot_size,
            short_sale=instrument.short_sale,
            state=TradingState.HALTED,
            last_price=instrument.last_price or 0,
            moves=instrument.moves,
            adopted_sequence=0,
        )
        return [went, *map(order_state, leaving)]

    def _cancel(self, command: CancelOrder) -> list[Event]:
        order = self.live_order(command.client, command.user_ref_num)
        assert order is not None
        taken_off = order.quantity - command.quantity
        if command.quantity == 0:
            self.orders.remove(order)
        order.quantity = command.quantity
        return [canceled(order, taken_off, CancelReason.USER)]

    def _mass_cancel(self, command: MassCancel) -> list[Event]:
        events: list[Event] = []
        for order in self.orders_to_cancel(command.client, command.symbol):
            self.orders.remove(order)
            events.append(canceled(order, order.quantity, command.reason))
        return events

    def _new_day(self, day: int) -> list[Event]:
        self.day = day
        expired = [order for order in self.orders if order.time_in_force == TimeInForce.DAY]
        self.orders = [order for order in self.orders if order not in expired]
        expired.sort(key=lambda order: order.number)
        return [canceled(order, order.quantity, CancelReason.EXPIRED) for order in expired]

    def _replace(self, command: ReplaceOrder) -> list[Event]:
        old = self.live_order(command.client, command.original_user_ref_num)
        assert old is not None
        new = new_terms(old, command)
        keeps_priority = (
            not old.waits
            and new.price == old.price
            and new.quantity <= old.quantity
            and new.time_in_force in RESTING_TIMES
        )
        replaced = Replaced(
            client=new.client,
            original_user_ref_num=old.user_ref_num,
            user_ref_num=new.user_ref_num,
            order_number=new.number,
            symbol=new.symbol,
            side=new.side,
            quantity=new.quantity,
            price=new.price,
            stop_price=new.stop_price,
            capacity=new.capacity,
            keeps_priority=int(keeps_priority),
        )
        self.orders.remove(old)
        if keeps_priority:
            self.orders.append(new)  # with the arrival of the old one
            return [replaced]
        return [replaced, *self._take_in(new)]

    def _take_in(self, incoming: Order) -> list[Event]:
        """Match an incoming order, then the stop orders that wake, until the queue is empty."""
        last_price = self.instruments[incoming.symbol].last_price
        last_prices = [] if last_price is None else [last_price]
        if incoming.waits and not self.stop_is_reached(incoming, last_prices):
            self._leave_standing(incoming)
            return []
        events: list[Event] = []
        queue = [incoming]
        while queue:
            order = queue.pop(0)
            if order.waits:
                events.append(self._trigger(order))
            outcome = self._match(order)
            events += outcome
            prices = [event.price for event in outcome if isinstance(event, Trade)]
            for stop in self.reached_stops(order.symbol, prices):
                self.orders.remove(stop)
                queue.append(stop)
        return events

    def _trigger(self, order: Order) -> Triggered:
        """Turn a stop order into the market or limit order that it becomes."""
        is_limit = order.order_type == OrderType.STOP_LIMIT
        order.order_type = OrderType.LIMIT if is_limit else OrderType.MARKET
        order.stop_price = 0
        return Triggered(
            client=order.client,
            user_ref_num=order.user_ref_num,
            order_number=order.number,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
        )

    def _match(self, taker: Order) -> list[Event]:
        """Trade an order with the book, and leave it standing or cancel what is left of it."""
        fill_or_kill = taker.time_in_force == TimeInForce.FILL_OR_KILL
        if fill_or_kill and self.fillable(taker) < taker.quantity:
            return [canceled(taker, taker.quantity, CancelReason.FILL_OR_KILL)]
        mode = self.clients[taker.client].self_trade_prevention
        events: list[Event] = []
        while taker.quantity > 0 and self.makers(taker):
            maker = self.makers(taker)[0]
            if maker.client != taker.client or mode == SelfTradePrevention.OFF:
                events.append(self._trade(maker, taker))
                continue
            if mode in (SelfTradePrevention.CANCEL_OLDEST, SelfTradePrevention.CANCEL_BOTH):
                self.orders.remove(maker)
                events.append(canceled(maker, maker.quantity, CancelReason.SELF_TRADE))
            if mode in (SelfTradePrevention.CANCEL_NEWEST, SelfTradePrevention.CANCEL_BOTH):
                events.append(canceled(taker, taker.quantity, CancelReason.SELF_TRADE))
                return events
        may_rest = taker.order_type == OrderType.LIMIT and taker.time_in_force in RESTING_TIMES
        if taker.quantity > 0 and may_rest:
            self._leave_standing(taker)
        elif taker.quantity > 0:
            events.append(canceled(taker, taker.quantity, CancelReason.IMMEDIATE))
        return events

    def _trade(self, maker: Order, taker: Order) -> Trade:
        quantity = min(maker.quantity, taker.quantity)
        for order in (maker, taker):
            order.quantity -= quantity
            order.executed += quantity
        if maker.quantity == 0:
            self.orders.remove(maker)
        self.instruments[taker.symbol].last_price = maker.price
        return Trade(
            symbol=taker.symbol,
            price=maker.price,
            quantity=quantity,
            taker_side=taker.side,
            maker_number=maker.number,
            maker_client=maker.client,
            maker_user_ref_num=maker.user_ref_num,
            taker_number=taker.number,
            taker_client=taker.client,
            taker_user_ref_num=taker.user_ref_num,
        )

    def _leave_standing(self, order: Order) -> None:
        """Put an order behind all that stand already: in the book, or among the stops."""
        self.arrivals += 1
        order.arrival = self.arrivals
        self.orders.append(order)


def canceled(order: Order, quantity: int, reason: int) -> Canceled:
    """The event that takes this quantity off the order."""
    return Canceled(order.client, order.user_ref_num, order.number, quantity, reason)


def order_state(order: Order) -> OrderState:
    """The event that tells of an order that leaves with its instrument."""
    return OrderState(
        number=order.number,
        client=order.client,
        user_ref_num=order.user_ref_num,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        post_only=order.post_only,
        capacity=order.capacity,
        quantity=order.asked_for,
        leaves=order.quantity,
        executed=order.executed,
        price=order.price,
        stop_price=order.stop_price,
    )


def rejected(command: Command, reason: RejectReason) -> Rejected:
    """The event that refuses the command; what no client sent is refused to client 0."""
    if isinstance(command, AdoptOrder):
        return Rejected(0, 0, reason)
    client = getattr(command, "client", 0)
    return Rejected(client, getattr(command, "user_ref_num", 0), reason)
