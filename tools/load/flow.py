"""Synthetic order flow of one client: a pure function of a seed, around a wandering price.

Flows of one seed see the same prices wander, command by command, so that the orders of several
clients meet. What the exchange answers changes nothing: a flow also cancels orders that have been
filled by then, as real clients do.
"""

import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple, TypeAlias

from engine.checks import MAX_PRICE, MAX_QUANTITY
from engine.settings import InstrumentSettings
from feed.messages import OrderType, Side, TimeInForce

MAX_LIVE_ORDERS = 200  # that a client keeps in the market: beyond it, the next command cancels one
_LOWEST_START = 200_000  # a symbol's first price, in 1/10,000: between 20 and 400
_START_RANGE = 3_800_000
_STEP_SHARE = 0.1  # of commands at which a price moves by a tick
_FARTHEST_TICKS = 40
_MEAN_TICKS = 6
_THROUGH_TICKS = 3  # how far beyond the price a crossing order goes
_STOP_TICKS = 10
_SHORT_SHARE = 0.15  # of sells, where they may be short
_ALL_SYMBOLS_SHARE = 0.5  # of mass cancels
_LARGEST_LOTS = 500
_RESTING = (TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL)


class Enter(NamedTuple):
    """A new order. A `key` counts a flow's orders, replaces and mass cancels from 0."""

    key: int
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    price: int | None
    stop_price: int | None
    time_in_force: TimeInForce
    post_only: bool


class Replace(NamedTuple):
    """New terms for an order, which from then on goes by the new key."""

    original_key: int
    key: int
    quantity: int
    price: int


class Cancel(NamedTuple):
    """Let no more than `remaining` stay open of an order."""

    key: int
    remaining: int


class MassCancel(NamedTuple):
    """Cancel all of the client's orders, in one symbol or (None) in all."""

    key: int
    symbol: str | None


LoadCommand: TypeAlias = Enter | Replace | Cancel | MassCancel


class _Live(NamedTuple):
    """An order that may rest, as far as the flow knows."""

    key: int
    instrument: InstrumentSettings
    side: Side
    quantity: int
    replaceable: bool


class PriceWalk:
    """A price that moves by single ticks, and stays between half and twice where it began."""

    def __init__(self, seed: int, instrument: InstrumentSettings) -> None:
        tick = instrument.tick_size
        drawn = _LOWEST_START + zlib.crc32(instrument.symbol.encode()) % _START_RANGE
        highest_start = MAX_PRICE // tick // 4  # so that what is sent never leaves what is allowed
        self._random = Random(f"price/{seed}/{instrument.symbol}")
        self._tick = tick
        self._ticks = min(max(drawn // tick, 4 * _FARTHEST_TICKS), highest_start)
        self._lowest = self._ticks // 2
        self._highest = self._ticks * 2

    def step(self) -> None:
        """Let one command pass."""
        if self._random.random() < _STEP_SHARE:
            moved = self._ticks + self._random.choice((-1, 1))
            self._ticks = min(max(moved, self._lowest), self._highest)

    def price(self, ticks: int) -> int:
        """The price so many ticks above the present one, or below it; at least one tick."""
        return max(1, self._ticks + ticks) * self._tick


class ClientFlow:
    """Draws one client's commands; the same seed, client and instruments draw the same ones."""

    def __init__(self, seed: int, client: str, instruments: Sequence[InstrumentSettings]) -> None:
        self._random = Random(f"commands/{seed}/{client}")
        self._instruments = list(instruments)
        self._walks = {each.symbol: PriceWalk(seed, each) for each in instruments}
        self._keys = 0
        self._live: list[_Live] = []
        self._draws: dict[Callable[[], LoadCommand], float] = {  # with the share of each
            self._rest: 37.0,
            self._rest_until_canceled: 3.0,
            self._cross: 15.0,
            self._cancel: 22.0,
            self._reduce: 3.0,
            self._replace: 9.0,
            self._immediate_or_cancel: 4.0,
            self._fill_or_kill: 2.0,
            self._market: 1.0,
            self._post_only: 2.5,
            self._stop: 0.8,
            self._stop_limit: 0.6,
            self._mass_cancel: 0.1,
        }

    def next_command(self) -> LoadCommand:
        """The next command of the flow, which has no end."""
        for walk in self._walks.values():
            walk.step()
        if len(self._live) >= MAX_LIVE_ORDERS:
            return self._cancel()
        (draw,) = self._random.choices(list(self._draws), list(self._draws.values()))
        return draw()

    def _rest(self) -> LoadCommand:
        return self._limit(-1 - self._distance())

    def _rest_until_canceled(self) -> LoadCommand:
        return self._limit(-1 - self._distance(), time_in_force=TimeInForce.GOOD_TILL_CANCEL)

    def _cross(self) -> LoadCommand:
        return self._limit(self._random.randint(0, _THROUGH_TICKS))

    def _post_only(self) -> LoadCommand:
        return self._limit(-1 - self._distance(), post_only=True)

    def _immediate_or_cancel(self) -> LoadCommand:
        return self._limit(
            self._random.randint(0, _THROUGH_TICKS), time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL
        )

    def _fill_or_kill(self) -> LoadCommand:
        return self._limit(
            self._random.randint(0, _THROUGH_TICKS), time_in_force=TimeInForce.FILL_OR_KILL
        )

    def _market(self) -> LoadCommand:
        instrument, side = self._pick()
        return self._enter(instrument, side, OrderType.MARKET, None, None)

    def _stop(self) -> LoadCommand:
        instrument, side = self._pick()
        stop_price = self._price(instrument, side, self._random.randint(1, _STOP_TICKS))
        return self._enter(instrument, side, OrderType.STOP, None, stop_price)

    def _stop_limit(self) -> LoadCommand:
        instrument, side = self._pick()
        ticks = self._random.randint(1, _STOP_TICKS)
        stop_price = self._price(instrument, side, ticks)
        price = self._price(instrument, side, ticks + _THROUGH_TICKS)
        return self._enter(instrument, side, OrderType.STOP_LIMIT, price, stop_price)

    def _limit(
        self,
        ticks: int,
        *,
        time_in_force: TimeInForce = TimeInForce.DAY,
        post_only: bool = False,
    ) -> LoadCommand:
        """A limit order so many ticks through the present price; short of it when negative."""
        instrument, side = self._pick()
        price = self._price(instrument, side, ticks)
        return self._enter(
            instrument,
            side,
            OrderType.LIMIT,
            price,
            None,
            time_in_force=time_in_force,
            post_only=post_only,
        )

    def _enter(
        self,
        instrument: InstrumentSettings,
        side: Side,
        order_type: OrderType,
        price: int | None,
        stop_price: int | None,
        *,
        time_in_force: TimeInForce = TimeInForce.DAY,
        post_only: bool = False,
    ) -> Enter:
        key = self._next_key()
        quantity = self._quantity(instrument)
        if time_in_force in _RESTING and order_type != OrderType.MARKET:
            replaceable = order_type == OrderType.LIMIT
            self._live.append(_Live(key, instrument, side, quantity, replaceable))
        return Enter(
            key,
            instrument.symbol,
            side,
            quantity,
            order_type,
            price,
            stop_price,
            time_in_force,
            post_only,
        )

    def _cancel(self) -> LoadCommand:
        if not self._live:
            return self._rest()
        return Cancel(self._take_live().key, 0)

    def _reduce(self) -> LoadCommand:
        if not self._live:
            return self._rest()
        order = self._random.choice(self._live)
        lot_size = order.instrument.lot_size
        if order.quantity == lot_size:
            return self._cancel()
        return Cancel(order.key, self._random.randrange(lot_size, order.quantity, lot_size))

    def _replace(self) -> LoadCommand:
        if not self._live:
            return self._rest()
        order = self._take_live()
        if not order.replaceable:
            return Cancel(order.key, 0)
        price = self._price(order.instrument, order.side, -1 - self._distance())
        renewed = order._replace(key=self._next_key(), quantity=self._quantity(order.instrument))
        self._live.append(renewed)
        return Replace(order.key, renewed.key, renewed.quantity, price)

    def _mass_cancel(self) -> LoadCommand:
        symbol = None
        if self._random.random() >= _ALL_SYMBOLS_SHARE:
            symbol = self._random.choice(self._instruments).symbol
        self._live = [
            order for order in self._live if symbol not in (None, order.instrument.symbol)
        ]
        return MassCancel(self._next_key(), symbol)

    def _take_live(self) -> _Live:
        place = self._random.randrange(len(self._live))
        self._live[place], self._live[-1] = self._live[-1], self._live[place]
        return self._live.pop()

    def _pick(self) -> tuple[InstrumentSettings, Side]:
        instrument = self._random.choice(self._instruments)
        if self._random.random() < 0.5:
            return instrument, Side.BUY
        is_short = self._random.random() < _SHORT_SHARE
        return instrument, Side.SELL_SHORT if is_short and instrument.short_sale else Side.SELL

    def _price(self, instrument: InstrumentSettings, side: Side, ticks: int) -> int:
        """The price so many ticks beyond the present one, as a buyer or seller sees it."""
        return self._walks[instrument.symbol].price(ticks if side == Side.BUY else -ticks)

    def _distance(self) -> int:
        return min(_FARTHEST_TICKS, int(self._random.expovariate(1 / _MEAN_TICKS)))

    def _quantity(self, instrument: InstrumentSettings) -> int:
        lots = min(_LARGEST_LOTS, MAX_QUANTITY // instrument.lot_size)
        return self._random.randint(1, max(1, lots)) * instrument.lot_size

    def _next_key(self) -> int:
        self._keys += 1
        return self._keys - 1
