"""A market from the records of its state, each of which is checked as if a stranger had written it.

What a market would never have let in can't be in its state. The kernel makes the same checks in the
same order (`engine/restoring.pxd`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.book import Instrument, Ladder
from engine.checks import is_price, is_quantity
from engine.codes import (
    CAPACITIES,
    ORDER_TYPES,
    POST_ONLY,
    RESTING_TIMES,
    SELF_TRADE_MODES,
    SHORT_SALE_CODES,
    SIDES,
    TIMES_IN_FORCE,
    TRADING_STATES,
    WITH_LIMIT,
    WITH_STOP,
)
from engine.days import is_day
from engine.matching import is_reached
from engine.orders import Client, Order
from engine.state_error import StateError
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    ClientState,
    EnterOrder,
    InstrumentState,
    MarketState,
    MarkState,
    Message,
    OrderState,
    OrderType,
    PostOnly,
    ShortSale,
    Side,
    TradingState,
)

if TYPE_CHECKING:
    from engine.market import Market


def restore(
    market: "Market",
    records: Iterable[tuple[int, Message]],
    order_limit: int,
    mark_limit: int,
) -> None:
    """Make an empty market what the records say; each comes with the number of its frame.

    Raises ValueError when no market can have such a state; the market stays empty.
    """
    if market.day or market.marks or market.instruments or market.clients:
        raise ValueError("only an empty market can be restored")
    restoring = _Restoring(order_limit, mark_limit)
    for sequence, record in records:
        wrong = restoring.take(sequence, record)
        if wrong is not None:
            raise StateError(sequence, wrong)
    restoring.close()
    market.day = restoring.day
    market.marks.update(restoring.marks)
    market.instruments.update(restoring.instruments)
    market.clients.update(restoring.clients)
    market.orders.update(restoring.orders)


class _Restoring:
    """What has been read so far, in the canonical order of `engine.state`."""

    def __init__(self, order_limit: int, mark_limit: int) -> None:
        self.day = 0
        self.marks: dict[int, int] = {}
        self.instruments: dict[bytes, Instrument] = {}
        self.clients: dict[int, Client] = {}
        self.orders: dict[int, Order] = {}
        self._order_limit = order_limit
        self._mark_limit = mark_limit
        self._has_begun = False
        self._instrument: Instrument | None = None  # the last one; None among the clients
        self._last_order: Order | None = None  # of that instrument
        self._last_shard = 0
        self._last_symbol = b""
        self._last_client = -1
        self._numbers: list[tuple[int, int]] = []  # of each order, and of its frame
        # Those that have orders, and whose own record is to come: with the frame of the first one.
        self._missing: dict[int, int] = {}

    def take(self, sequence: int, record: Message) -> str | None:
        """Add the record of the frame with this number; what is wrong with it, or None."""
        if isinstance(record, MarketState) is self._has_begun:
            return "the market's own record comes first, and once"
        match record:
            case MarketState():
                self._has_begun = True
                return self._take_market(record)
            case MarkState():
                return self._take_mark(record)
            case InstrumentState():
                return self._take_instrument(record)
            case OrderState():
                return self._take_order(sequence, record)
            case ClientState():
                return self._take_client(record)
        return "no record of a market's state"

    def close(self) -> None:
        """Raise ValueError when what was read is not the whole of a state."""
        if not self._has_begun:
            raise ValueError("there is no state: not one frame")
        for sequence in self._missing.values():
            raise StateError(sequence, "the record of its client is missing")
        self._numbers.sort()
        for (number, _), (following, sequence) in zip(
            self._numbers, self._numbers[1:], strict=False
        ):
            if number == following:
                raise StateError(sequence, "two orders have this number")

    def _take_market(self, record: MarketState) -> str | None:
        if record.day and not is_day(record.day):
            return "the day is no date"
        self.day = record.day
        return None

    def _take_mark(self, record: MarkState) -> str | None:
        if self._last_symbol or self._last_client >= 0:
            return "a mark after the instruments"
        if record.shard <= self._last_shard:
            return "marks out of order"
        if not record.sequence:
            return "a mark at no place"
        if len(self.marks) >= self._mark_limit:
            return "more marks than a market holds"
        self.marks[record.shard] = record.sequence
        self._last_shard = record.shard
        return None

    def _take_instrument(self, record: InstrumentState) -> str | None:
        if self._last_client >= 0:
            return "an instrument after the clients"
        if record.symbol <= self._last_symbol:
            return "instruments out of order"
        if record.symbol == ALL_SYMBOLS:
            return "an instrument without a name"
        if not (record.tick_size and record.lot_size):
            return "a tick size or lot size of 0"
        if record.short_sale not in SHORT_SALE_CODES or record.state not in TRADING_STATES:
            return "an unknown code"
        instrument = Instrument(record.symbol, record.tick_size, record.lot_size, record.short_sale)
        if record.last_price and not is_price(instrument, record.last_price):
            return "a last price that nothing trades at"
        if record.state == TradingState.MOVED and not record.moves:
            return "an instrument is gone that never moved"
        if record.adopted_sequence and record.state != TradingState.ARRIVING:
            return "orders adopted without an arrival"
        instrument.state = record.state
        instrument.last_price = record.last_price
        instrument.moves = record.moves
        instrument.adopted_sequence = record.adopted_sequence
        self.instruments[record.symbol] = instrument
        self._instrument = instrument
        self._last_symbol = record.symbol
        self._last_order = None
        return None

    def _take_order(self, sequence: int, record: OrderState) -> str | None:
        instrument = self._instrument
        if instrument is None or record.symbol != instrument.symbol or self._last_client >= 0:
            return "an order apart from its instrument"
        has_adopted = instrument.state != TradingState.ARRIVING or instrument.adopted_sequence
        if instrument.state == TradingState.MOVED or not has_adopted:
            return "an order of an instrument that has none"
        wrong = refuse_terms(instrument, record)
        if wrong is not None:
            return wrong
        if len(self._numbers) >= self._order_limit:
            return "more live orders than a market holds"
        client = self.clients.get(record.client)
        if client is None:
            client = self.clients[record.client] = Client()
            self._missing[record.client] = sequence
        if record.user_ref_num in client.orders:
            return "its client has another order by this user_ref_num"
        order = order_of(record, client)
        wrong = _refuse_sequel(instrument, order, self._last_order)
        if wrong is None:
            wrong = refuse_place(instrument, order)
        if wrong is not None:
            return wrong
        ladder_of(instrument, order).add(order, order.stop_price or order.price)
        client.orders[order.user_ref_num] = order
        self.orders[order.number] = order
        self._numbers.append((order.number, sequence))
        self._last_order = order
        return None

    def _take_client(self, record: ClientState) -> str | None:
        if record.client <= self._last_client:
            return "clients out of order"
        if record.self_trade_prevention not in SELF_TRADE_MODES:
            return "an unknown code"
        client = self.clients.setdefault(record.client, Client())
        client.login = record.login
        client.last_user_ref_num = record.last_user_ref_num
        client.self_trade_prevention = record.self_trade_prevention
        client.home_sequence = record.home_sequence
        self._missing.pop(record.client, None)
        self._last_client = record.client
        return None


def refuse_terms(instrument: Instrument, record: OrderState) -> str | None:
    """What no live order of the instrument can say of itself; None when it is fine."""
    order_type, stop_price = record.order_type, record.stop_price
    is_known = (
        record.side in SIDES
        and order_type in ORDER_TYPES
        and record.time_in_force in TIMES_IN_FORCE
        and record.post_only in POST_ONLY
        and record.capacity in CAPACITIES
    )
    if not is_known:
        return "an unknown code"
    if record.side == Side.SELL_SHORT and instrument.short_sale == ShortSale.FORBIDDEN:
        return "a short sale where there are none"
    if not is_quantity(instrument, record.quantity):
        return "a quantity that no order asks for"
    if not record.leaves:
        return "an order with nothing left"
    if record.leaves + record.executed > record.quantity:
        return "open and executed are more than what was asked for"
    if not (is_price(instrument, record.price) if order_type in WITH_LIMIT else not record.price):
        return "a price that no order has"
    if order_type in WITH_STOP:
        if not is_price(instrument, stop_price):
            return "a stop price that no order has"
        if record.executed:
            return "a stop waits that has traded"
        if record.post_only == PostOnly.YES:
            return "a stop that is post-only"
        return None
    if stop_price:
        return "a stop price that no order has"
    if order_type != OrderType.LIMIT or record.time_in_force not in RESTING_TIMES:
        return "an order rests that may not"
    return None


def refuse_place(instrument: Instrument, order: Order) -> str | None:
    """Why an order can't stand where its terms put it; None when it can."""
    if order.stop_price:
        if is_reached(order, instrument.last_price):
            return "a stop waits though its price has traded"
        return None
    opposite = instrument.asks if order.is_buy else instrument.bids
    return None if opposite.best_within(order.price) is None else "crossed book"


def _refuse_sequel(instrument: Instrument, order: Order, before: Order | None) -> str | None:
    """Why an order can't come after the one before it; None when it can."""
    if before is None:
        return None
    ladders = instrument.ladders
    ladder = ladder_of(instrument, order)
    place, place_before = ladders.index(ladder), ladders.index(ladder_of(instrument, before))
    price, price_before = (each.stop_price or each.price for each in (order, before))
    is_better = ladder in (instrument.bids, instrument.sell_stops)
    is_late = price > price_before if is_better else price < price_before
    if place < place_before or (place == place_before and is_late):
        return "orders out of order"
    return None


def ladder_of(instrument: Instrument, order: Order) -> Ladder:
    """Where an order of these terms stands."""
    if order.stop_price:
        return instrument.buy_stops if order.is_buy else instrument.sell_stops
    return instrument.bids if order.is_buy else instrument.asks


def order_of(record: OrderState, client: Client) -> Order:
    """The order that a record tells of; it stands nowhere yet."""
    command = EnterOrder(
        record.client,
        record.user_ref_num,
        record.symbol,
        record.side,
        record.order_type,
        record.time_in_force,
        record.post_only,
        record.quantity,
        record.price,
        record.stop_price,
        record.capacity,
        NO_CLIENT_ORDER_ID,
    )
    order = Order(record.number, client, command)
    order.leaves = record.leaves
    order.executed = record.executed
    order.canceled = record.quantity - record.leaves - record.executed
    return order
