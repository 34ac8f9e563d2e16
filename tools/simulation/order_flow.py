"""What a simulated client sends: orders that meet, replaces and cancels, and now and then nonsense.

Beside the flow that load tests use, orders close to one price, so that also few of them trade, and
some that sweep the book; and what a gateway or the machine has to refuse.
"""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from engine.settings import InstrumentSettings
from feed.messages import (
    ALL_SYMBOLS,
    CLIENT_ORDER_ID_BYTES,
    CancelOrder,
    CancelReason,
    Capacity,
    DefineInstrument,
    EnterOrder,
    MassCancel,
    OrderType,
    PostOnly,
    ReplaceOrder,
    ShortSale,
    Side,
    TimeInForce,
    pad,
    symbol_field,
    unpad,
)
from gateway import orders, ouch
from gateway.ouch import MARKET_PRICE, Appendage
from tools.load.flow import Cancel, ClientFlow, Enter, LoadCommand, PriceWalk, Replace
from tools.load.flow import MassCancel as CancelAll

# A load's orders are of up to 500 lots: small ones leave less in the book.
LOAD_LOTS_IN_ONE = 25
FARTHEST_TICKS = 3
MOST_LOTS = 12
SWEPT_LOTS = 80
REMEMBERED = 50  # own numbers, to cancel or to replace
NEVER_USED = 4_000_000_000  # a user_ref_num that nobody gets to
UNKNOWN_SYMBOL = "NOWHERE"
_HAS_LIMIT = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_HAS_STOP = (OrderType.STOP, OrderType.STOP_LIMIT)


class Sending(NamedTuple):
    """A message, and the command that should stand in the list; None where a gateway refuses it."""

    message: ouch.EnterOrder | ouch.ReplaceOrder | ouch.CancelOrder | ouch.MassCancel
    command: EnterOrder | ReplaceOrder | CancelOrder | MassCancel | None


class OrderFlow:
    """One program's commands. Flows of one seed, for one exchange, have the same prices."""

    def __init__(
        self,
        client: int,
        program: str,
        instruments: Sequence[DefineInstrument],
        random: Random,
        *,
        seed: int,
    ) -> None:
        """`client` is its number, `program` stands in its client order ids."""
        self._client = client
        self._program = program
        self._random = random
        self._instruments = [
            InstrumentSettings(
                symbol=unpad(each.symbol),
                tick_size=each.tick_size,
                lot_size=each.lot_size,
                short_sale=each.short_sale == ShortSale.ALLOWED,
            )
            for each in instruments
        ]
        self._prices = {each.symbol: PriceWalk(seed, each) for each in self._instruments}
        self._flow = ClientFlow(seed, program, self._instruments)
        self._numbers: dict[int, int] = {}  # user_ref_nums by the flow's keys
        self._recent: deque[int] = deque(maxlen=REMEMBERED)
        self._asked = 0  # how often for nothing but an answer
        self._draws: dict[Callable[[int], Sending], int] = {  # with the share of each
            self._load: 55,
            self._close: 30,
            self._sweep: 3,
            self._cancel_recent: 4,
            self._replace_recent: 4,
            self._cancel_all: 2,
            self._refused_by_machine: 2,
            self._refused_by_gateway: 2,
        }

    def next(self, number: int) -> Sending:
        """The next command, which gets this user_ref_num if it has one."""
        (draw,) = self._random.choices(list(self._draws), list(self._draws.values()))
        sending = draw(number)
        if isinstance(sending.command, EnterOrder | ReplaceOrder):
            self._recent.append(number)
        return sending

    def plain(self, number: int, symbol: str) -> Sending:
        """An order that rests or trades."""
        instrument = next(each for each in self._instruments if each.symbol == symbol)
        price = self._price(instrument)
        return self._order(number, symbol, Side.BUY, instrument.lot_size, price=price)

    def without_effect(self, number: int) -> Sending:
        """A command that is answered, and changes nothing; of one symbol after the other, since an
        answer says nothing of other symbols."""
        self._asked += 1
        symbol = self._instruments[self._asked % len(self._instruments)].symbol
        return self._order(number, symbol, Side.BUY, 0, price=100)

    def _load(self, number: int) -> Sending:
        command = self._flow.next_command()
        self._note_key(command, number)
        match command:
            case Enter():
                return self._order(
                    number,
                    command.symbol,
                    command.side,
                    _fewer(command.quantity),
                    order_type=command.order_type,
                    price=command.price or 0,
                    stop_price=command.stop_price or 0,
                    time_in_force=command.time_in_force,
                    post_only=command.post_only,
                )
            case Replace(original_key, _, quantity, price):
                original = self._numbers[original_key]
                return self._replacement(original, number, _fewer(quantity), price)
            case Cancel(key, remaining):
                return self._cancellation(self._numbers[key], _fewer(remaining))
            case CancelAll(_, symbol):
                return self._mass_cancellation(number, symbol)

    def _note_key(self, command: LoadCommand, number: int) -> None:
        if not isinstance(command, Cancel):
            self._numbers[command.key] = number

    def _close(self, number: int) -> Sending:
        """An order of any kind, about where all clients think that the price is."""
        random = self._random
        kind = random.choice((OrderType.LIMIT,) * 9 + tuple(OrderType))
        day = TimeInForce.DAY
        time_in_force = random.choice((day,) * 7 + tuple(TimeInForce))
        is_plain = kind is OrderType.LIMIT and time_in_force in (day, TimeInForce.GOOD_TILL_CANCEL)
        instrument, side = self._pick()
        return self._order(
            number,
            instrument.symbol,
            side,
            random.randint(1, MOST_LOTS) * instrument.lot_size,
            order_type=kind,
            price=self._price(instrument) if kind in _HAS_LIMIT else 0,
            stop_price=self._price(instrument) if kind in _HAS_STOP else 0,
            time_in_force=time_in_force,
            post_only=is_plain and random.random() < 0.1,
        )

    def _sweep(self, number: int) -> Sending:
        """Takes all that there is: a group of many frames."""
        instrument, side = self._pick()
        quantity = SWEPT_LOTS * instrument.lot_size
        symbol, kind = instrument.symbol, OrderType.MARKET
        return self._order(number, symbol, side, quantity, order_type=kind)

    def _cancel_recent(self, number: int) -> Sending:
        """An order that may well have ended."""
        if not self._recent:
            return self._close(number)
        remaining = self._random.choice((0, 0, 1, 5))
        return self._cancellation(self._random.choice(self._recent), remaining)

    def _replace_recent(self, number: int) -> Sending:
        """New terms for an order that may well have ended, or that they do not fit."""
        if not self._recent:
            return self._close(number)
        random = self._random
        instrument = random.choice(self._instruments)
        return self._replacement(
            random.choice(self._recent),
            number,
            random.randint(1, MOST_LOTS),
            random.choice((0, self._price(instrument), self._price(instrument))),
            stop_price=random.choice((0, 0, self._price(instrument))),
            time_in_force=random.choice((TimeInForce.DAY, *TimeInForce)),
        )

    def _cancel_all(self, number: int) -> Sending:
        symbols = [None, *(each.symbol for each in self._instruments)]
        return self._mass_cancellation(number, self._random.choice(symbols))

    def _refused_by_machine(self, number: int) -> Sending:
        instrument = self._random.choice(self._instruments)
        symbol, price = instrument.symbol, self._price(instrument)
        match self._random.randrange(7):
            case 0:
                return self._order(number, UNKNOWN_SYMBOL, Side.BUY, 1, price=100)
            case 1:
                return self._order(number, symbol, Side.BUY, 0, price=price)
            case 2:
                return self._order(number, symbol, Side.SELL, 1_000_000, price=price)
            case 3:
                return self._order(number, symbol, Side.BUY, 1, price=price + 1)
            case 4:
                return self._cancellation(NEVER_USED, 0)
            case 5:
                return self._replacement(NEVER_USED, number, 1, price)
            case _:
                return self._mass_cancellation(number, UNKNOWN_SYMBOL)

    def _refused_by_gateway(self, number: int) -> Sending:
        sending = self._order(number, self._instruments[0].symbol, Side.BUY, 1, price=100)
        order = sending.message
        assert isinstance(order, ouch.EnterOrder)
        wrong: tuple[ouch.EnterOrder | ouch.MassCancel, ...] = (
            order._replace(price=0),
            order._replace(side=ord("E")),
            order._replace(display=ouch.Flag.NO),
            order._replace(intermarket_sweep=ouch.Flag.YES),
            order._replace(cross_type=ord("X")),
            order._replace(client_order_id=b"\x00" * CLIENT_ORDER_ID_BYTES),
            ouch.MassCancel(number, firm=b"FIRM"),
        )
        return Sending(self._random.choice(wrong), None)

    def _order(
        self,
        number: int,
        symbol: str,
        side: Side,
        quantity: int,
        *,
        order_type: OrderType = OrderType.LIMIT,
        price: int = 0,
        stop_price: int = 0,
        time_in_force: TimeInForce = TimeInForce.DAY,
        post_only: bool = False,
    ) -> Sending:
        capacity, name = self._random.choice(list(Capacity)), self._name(number)
        message = orders.enter_order(
            number,
            symbol,
            side,
            quantity,
            price,
            order_type=order_type,
            stop_price=stop_price,
            time_in_force=time_in_force,
            post_only=post_only,
            capacity=capacity,
            client_order_id=name,
        )
        command = EnterOrder(
            self._client,
            number,
            symbol_field(symbol),
            side,
            order_type,
            time_in_force,
            PostOnly.YES if post_only else PostOnly.NO,
            quantity,
            price,
            stop_price,
            capacity,
            pad(name, CLIENT_ORDER_ID_BYTES),
        )
        return Sending(message, command)

    def _replacement(
        self,
        original: int,
        number: int,
        quantity: int,
        price: int,
        *,
        stop_price: int = 0,
        time_in_force: TimeInForce = TimeInForce.DAY,
    ) -> Sending:
        name = self._name(number)
        message = orders.replace_order(
            original,
            number,
            quantity,
            price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            client_order_id=name,
        )
        field = pad(name, CLIENT_ORDER_ID_BYTES)
        terms = quantity, price, stop_price, time_in_force, field
        return Sending(message, ReplaceOrder(self._client, original, number, *terms))

    def _cancellation(self, number: int, remaining: int) -> Sending:
        message = orders.cancel_order(number, remaining)
        return Sending(message, CancelOrder(self._client, number, remaining))

    def _mass_cancellation(self, number: int, symbol: str | None) -> Sending:
        field = ALL_SYMBOLS if symbol is None else symbol_field(symbol)
        command = MassCancel(self._client, number, field, CancelReason.USER)
        return Sending(orders.mass_cancel(number, symbol), command)

    def _pick(self) -> tuple[InstrumentSettings, Side]:
        instrument = self._random.choice(self._instruments)
        sides = (Side.BUY, Side.BUY, Side.SELL, Side.SELL_SHORT)  # some may not be sold short
        return instrument, self._random.choice(sides)

    def _price(self, instrument: InstrumentSettings) -> int:
        ticks = self._random.randint(-FARTHEST_TICKS, FARTHEST_TICKS)
        return self._prices[instrument.symbol].price(ticks)

    def _name(self, number: int) -> str:
        """What tells this program's command from one of the same number by another one."""
        return f"{self._program}.{number}"[-CLIENT_ORDER_ID_BYTES:]


def repeat_of(number: int, instrument: DefineInstrument) -> ouch.EnterOrder:
    """An order under a number that is spent, which is to be taken for a repeat."""
    symbol, price = instrument.symbol, instrument.tick_size
    appendage = Appendage(stop_price=price)
    return ouch.EnterOrder(
        number, Side.SELL, 1, symbol, MARKET_PRICE, TimeInForce.DAY, appendage=appendage
    )


def _fewer(quantity: int) -> int:
    return -(-quantity // LOAD_LOTS_IN_ONE)
