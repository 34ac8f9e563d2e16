"""Price-time matching: what becomes of an incoming order, and of the stops that it reaches."""

from collections import deque

from engine.book import Instrument, Ladder, Level
from engine.codes import RESTING_TIMES
from engine.orders import Order
from feed.messages import (
    Canceled,
    CancelReason,
    Event,
    OrderType,
    SelfTradePrevention,
    TimeInForce,
    Trade,
    Triggered,
)

_FILL_OR_KILL = int(TimeInForce.FILL_OR_KILL)
_LIMIT = int(OrderType.LIMIT)
_MARKET = int(OrderType.MARKET)
_STP_OFF = int(SelfTradePrevention.OFF)
_CANCELS_OLDEST = frozenset(
    map(int, (SelfTradePrevention.CANCEL_OLDEST, SelfTradePrevention.CANCEL_BOTH))
)
_CANCELS_NEWEST = frozenset(
    map(int, (SelfTradePrevention.CANCEL_NEWEST, SelfTradePrevention.CANCEL_BOTH))
)


class Matcher:
    """Matches incoming orders; those that end leave `orders`, the index of live ones by number."""

    def __init__(self, orders: dict[int, Order]) -> None:
        self._orders = orders

    def bring_in(self, instrument: Instrument, order: Order, events: list[Event]) -> None:
        """Let an order that stands nowhere wait for its stop price, or match it.

        All that follows is appended to `events`, the stops that its trades reach included.
        """
        if order.stop_price:
            if not is_reached(order, instrument.last_price):
                stops = instrument.buy_stops if order.is_buy else instrument.sell_stops
                stops.add(order, order.stop_price)
                return
            events.append(_trigger(order))
        begin = len(events)
        self._match(instrument, order, events)
        if instrument.buy_stops.best or instrument.sell_stops.best:
            self._bring_in_stops(instrument, events, begin)

    def end(self, order: Order) -> None:
        """Forget an order with nothing left."""
        assert order.executed + order.canceled == order.quantity, "quantity was lost or made"
        del self._orders[order.number]
        del order.owner.orders[order.user_ref_num]

    def _bring_in_stops(self, instrument: Instrument, events: list[Event], begin: int) -> None:
        """Trigger and match the stops that the trades in `events[begin:]` reach, and so on."""
        queue = deque(_take_reached_stops(instrument, events[begin:]))
        while queue:
            order = queue.popleft()
            events.append(_trigger(order))
            begin = len(events)
            self._match(instrument, order, events)
            queue.extend(_take_reached_stops(instrument, events[begin:]))

    def _match(self, instrument: Instrument, order: Order, events: list[Event]) -> None:
        """Trade an order with the other side of the book, and settle what is left of it."""
        own, opposite = instrument.bids, instrument.asks
        if not order.is_buy:
            own, opposite = opposite, own
        if order.time_in_force != _FILL_OR_KILL or _can_fill(opposite, order):
            self._trade(instrument, opposite, order, events)
        if not order.leaves:
            self.end(order)
        elif order.order_type == _LIMIT and order.time_in_force in RESTING_TIMES:
            own.add(order, order.price)
        else:
            is_whole = order.time_in_force == _FILL_OR_KILL
            reason = CancelReason.FILL_OR_KILL if is_whole else CancelReason.IMMEDIATE
            events.append(_cancel_rest(order, reason))
            self.end(order)

    def _trade(
        self, instrument: Instrument, opposite: Ladder, order: Order, events: list[Event]
    ) -> None:
        mode = order.owner.self_trade_prevention
        while order.leaves:
            level = opposite.best_within(order.price) if order.has_limit else opposite.best
            if level is None:
                return
            maker = level.first()
            if maker.owner is order.owner and mode != _STP_OFF:
                self._prevent_self_trade(opposite, order, maker, events)
                continue
            quantity = order.leaves if order.leaves < maker.leaves else maker.leaves
            events.append(
                Trade(
                    instrument.symbol,
                    level.price,
                    quantity,
                    order.side,
                    maker.number,
                    maker.client,
                    maker.user_ref_num,
                    order.number,
                    order.client,
                    order.user_ref_num,
                )
            )
            instrument.last_price = level.price
            order.leaves -= quantity
            order.executed += quantity
            opposite.execute(maker, quantity)
            if not maker.leaves:
                self.end(maker)

    def _prevent_self_trade(
        self, opposite: Ladder, order: Order, maker: Order, events: list[Event]
    ) -> None:
        mode = order.owner.self_trade_prevention
        if mode in _CANCELS_OLDEST:
            opposite.remove(maker)
            events.append(_cancel_rest(maker, CancelReason.SELF_TRADE))
            self.end(maker)
        if mode in _CANCELS_NEWEST:
            events.append(_cancel_rest(order, CancelReason.SELF_TRADE))


def _can_fill(opposite: Ladder, order: Order) -> bool:
    """Whether the book holds enough for the whole order, self-trade prevention considered."""
    mode = order.owner.self_trade_prevention
    wanted = order.leaves
    for level in opposite:
        if not _allows(order, level):
            return False
        for maker in level.orders.values():
            if maker.owner is not order.owner or mode == _STP_OFF:
                wanted -= maker.leaves
            elif mode in _CANCELS_NEWEST:
                return False
            if wanted <= 0:
                return True
    return False


def _allows(order: Order, level: Level) -> bool:
    if not order.has_limit:
        return True
    return order.price >= level.price if order.is_buy else order.price <= level.price


def is_reached(order: Order, last_price: int) -> bool:
    """Whether a trade at the last price triggers a stop order; 0 when nothing has traded."""
    if not last_price:
        return False
    return last_price >= order.stop_price if order.is_buy else last_price <= order.stop_price


def _trigger(order: Order) -> Triggered:
    order.order_type = _LIMIT if order.has_limit else _MARKET
    order.stop_price = 0
    return Triggered(
        order.client,
        order.user_ref_num,
        order.number,
        order.symbol,
        order.side,
        order.leaves,
        order.price,
    )


def _take_reached_stops(instrument: Instrument, events: list[Event]) -> list[Order]:
    """Take out the stops that the trades among these events have reached, in their order."""
    prices = [event.price for event in events if isinstance(event, Trade)]
    reached: list[Order] = []
    if not prices:
        return reached
    for stops, price in (
        (instrument.buy_stops, max(prices)),
        (instrument.sell_stops, min(prices)),
    ):
        while (level := stops.best_within(price)) is not None:
            order = level.first()
            stops.remove(order)
            reached.append(order)
    return reached


def _cancel_rest(order: Order, reason: CancelReason) -> Canceled:
    quantity = order.leaves
    order.leaves = 0
    order.canceled += quantity
    return Canceled(order.client, order.user_ref_num, order.number, quantity, reason)
