"""What always holds in the market."""

from typing import TYPE_CHECKING

from engine.book import Instrument, Ladder
from engine.codes import RESTING_TIMES, TRADING_STATES, WITH_LIMIT, WITH_STOP
from engine.days import is_day
from engine.orders import Order
from feed.messages import OrderType, Side, TradingState

if TYPE_CHECKING:
    from engine.market import Market


def check(market: "Market", mark_limit: int) -> None:
    """Raise AssertionError when the market breaks an invariant of docs/machine.md."""
    assert market.day == 0 or is_day(market.day), "the day is no date"
    assert len(market.marks) <= mark_limit, "more shards are marked than may be"
    assert all(shard and sequence for shard, sequence in market.marks.items()), "an empty mark"
    standing: dict[int, Order] = {}
    for symbol, instrument in market.instruments.items():
        assert symbol == instrument.symbol, "instrument under another symbol"
        _check_instrument(instrument)
        _check_move(instrument)
        for ladder in instrument.ladders:
            for order in ladder.orders():
                assert order.symbol == symbol, "order in another instrument's book"
                assert order.number not in standing, "order in two places"
                standing[order.number] = order
    assert standing == market.orders, "the index of orders and the books differ"
    owned = {
        order.number: order
        for number, client in market.clients.items()
        for user_ref_num, order in client.orders.items()
        if order.client == number and order.user_ref_num == user_ref_num and order.owner is client
    }
    assert owned == market.orders, "the clients' orders and the books differ"
    assert sum(len(client.orders) for client in market.clients.values()) == len(owned), (
        "a client holds an order under a wrong key"
    )


def _check_instrument(instrument: Instrument) -> None:
    bid, ask = instrument.bids.best, instrument.asks.best
    assert bid is None or ask is None or bid.price < ask.price, "crossed book"
    for ladder in instrument.ladders:
        _check_ladder(ladder)
    for ladder, is_buy in ((instrument.bids, True), (instrument.asks, False)):
        for level in ladder:
            for order in level.orders.values():
                assert order.is_buy == is_buy, "order on the wrong side"
                assert order.price == level.price, "order at a wrong price"
                assert not order.stop_price, "a waiting stop in the book"
                assert order.order_type == OrderType.LIMIT, "an order without a limit rests"
                assert order.time_in_force in RESTING_TIMES, "an order rests that may not"
    for ladder, is_buy in ((instrument.buy_stops, True), (instrument.sell_stops, False)):
        for level in ladder:
            last = instrument.last_price
            is_reached = last and (last >= level.price if is_buy else last <= level.price)
            assert not is_reached, "a stop waits though its price has traded"
            for order in level.orders.values():
                assert order.is_buy == is_buy, "stop on the wrong side"
                assert order.stop_price == level.price, "stop misplaced"
                assert order.order_type in WITH_STOP, "an order waits that is no stop order"


def _check_move(instrument: Instrument) -> None:
    has_orders = any(ladder.best for ladder in instrument.ladders)
    assert instrument.state in TRADING_STATES, "unknown trading state"
    if instrument.state == TradingState.MOVED:
        assert instrument.moves, "an instrument is gone that never moved"
        assert not has_orders, "an instrument is gone, and orders of it are left"
    if instrument.state == TradingState.ARRIVING:
        assert instrument.adopted_sequence or not has_orders, "orders that nobody adopted"
    else:
        assert not instrument.adopted_sequence, "orders adopted without an arrival"


def _check_ladder(ladder: Ladder) -> None:
    assert ladder.best is next(iter(ladder), None), "the best level is another one"
    for level in ladder:
        assert level.orders, "empty level"
        assert level.quantity == sum(order.leaves for order in level.orders.values()), (
            "a level's quantity is not the sum of its orders'"
        )
        for number, order in level.orders.items():
            assert order.number == number, "order under a wrong number"
            assert order.level is level, "order does not know its level"
            assert order.ladder is ladder, "order does not know its ladder"
            assert order.is_buy == (order.side == Side.BUY), "order forgot its side"
            assert order.has_limit == (order.order_type in WITH_LIMIT), "order forgot its limit"
            assert order.leaves > 0, "an order with nothing left still stands"
            assert order.leaves + order.executed + order.canceled == order.quantity, (
                "open, executed and canceled don't add up to what was asked for"
            )
