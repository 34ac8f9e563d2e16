"""`Market.check()` finds each kind of damage: else calling it in every test would prove little."""

from collections.abc import Callable

import pytest

from engine.book import Level
from engine.market import MAX_MARKS, Market
from engine.orders import Order
from feed.messages import DefineInstrument, ShortSale, TradingState, symbol_field
from tests.engine.floor import AAPL, ALICE, BOB, BUY, CAROL, MSFT, SELL, Floor

EMPTY = symbol_field("EMPTY")
Damage = Callable[[Market], object]


def trading_market() -> Market:
    """A market with orders on both sides, stops on both sides, and a part of an order executed."""
    market = Market()
    floor = Floor(market)
    floor.enter(ALICE, SELL, 10, 105)
    floor.enter(BOB, SELL, 10, 105)
    floor.enter(CAROL, BUY, 4, 105)
    floor.enter(CAROL, BUY, 10, 100)
    floor.enter(ALICE, BUY, 10, stop=110)
    floor.enter(ALICE, SELL, 10, stop=90)
    floor.enter(BOB, BUY, 10, 100, symbol=MSFT)
    floor.submit(DefineInstrument(EMPTY, 1, 1, ShortSale.ALLOWED))
    return market


def order_of(market: Market, client: int) -> Order:
    """The client's order that came first."""
    return next(order for order in market.orders.values() if order.client == client)


def stop_of(market: Market, side: int) -> Order:
    """The order that waits for its stop price on this side."""
    return next(each for each in market.orders.values() if each.stop_price and each.side == side)


def test_market_that_nobody_damaged_passes() -> None:
    trading_market().check()


def cross_the_book(market: Market) -> None:
    bid = order_of(market, CAROL)
    book = market.instruments[AAPL]
    book.bids.remove(bid)
    bid.price = 105
    book.bids.add(bid, 105)


def stand_on_the_other_side(market: Market) -> None:
    book = market.instruments[AAPL]
    bid = order_of(market, CAROL)
    book.bids.remove(bid)
    bid.price = 106
    book.asks.add(bid, 106)


def stand_in_another_book(market: Market) -> None:
    bid = order_of(market, CAROL)
    market.instruments[AAPL].bids.remove(bid)
    market.instruments[MSFT].bids.add(bid, 100)


def stand_in_two_places(market: Market) -> None:
    bid = order_of(market, CAROL)
    ladder, level = bid.ladder, bid.level
    market.instruments[MSFT].bids.add(bid, 100)
    bid.ladder, bid.level = ladder, level


def leave_the_book_alone(market: Market) -> None:
    market.instruments[AAPL].bids.remove(order_of(market, CAROL))


def wait_though_reached_from_below(market: Market) -> None:
    market.instruments[AAPL].last_price = 110


def wait_though_reached_from_above(market: Market) -> None:
    market.instruments[AAPL].last_price = 90


def wait_in_the_book(market: Market) -> None:
    stop = stop_of(market, BUY)
    book = market.instruments[AAPL]
    book.buy_stops.remove(stop)
    book.bids.add(stop, stop.price)


def wait_among_the_others_stops(market: Market) -> None:
    stop = stop_of(market, BUY)
    book = market.instruments[AAPL]
    book.buy_stops.remove(stop)
    book.sell_stops.add(stop, 90)
    stop.stop_price = 90


def wait_at_another_price(market: Market) -> None:
    stop_of(market, BUY).stop_price += 1


def stand_under_another_number(market: Market) -> None:
    level = order_of(market, ALICE).level
    assert level is not None
    level.orders = {number + 1: order for number, order in level.orders.items()}


def mistake_its_level(market: Market) -> None:
    order_of(market, CAROL).level = Level(100)


def mistake_its_ladder(market: Market) -> None:
    order_of(market, CAROL).ladder = market.instruments[AAPL].asks


def mistake_its_owner(market: Market) -> None:
    order_of(market, CAROL).owner = market.clients[ALICE]


def forget_the_best_level(market: Market) -> None:
    market.instruments[AAPL].asks.best = None


def list_under_another_symbol(market: Market) -> None:
    market.instruments[b"OTHER   "] = market.instruments.pop(EMPTY)


def leave_an_empty_level(market: Market) -> None:
    bid = order_of(market, CAROL)
    assert bid.level is not None
    del bid.level.orders[bid.number]
    bid.level.quantity = 0
    del market.orders[bid.number]
    del market.clients[CAROL].orders[bid.user_ref_num]


def arrive(market: Market) -> None:
    """An instrument arrives with orders that nobody adopted."""
    market.instruments[AAPL].state = TradingState.ARRIVING


def be_gone_and_keep_orders(market: Market) -> None:
    market.instruments[AAPL].state = TradingState.MOVED
    market.instruments[AAPL].moves = 1


def be_gone_without_a_move(market: Market) -> None:
    market.instruments[EMPTY].state = TradingState.MOVED


def adopt_without_an_arrival(market: Market) -> None:
    market.instruments[AAPL].adopted_sequence = 1


def be_in_no_state(market: Market) -> None:
    market.instruments[EMPTY].state = 0


def mark_no_shard(market: Market) -> None:
    market.marks[0] = 7


def mark_no_place(market: Market) -> None:
    market.marks[7] = 0


def mark_too_many_shards(market: Market) -> None:
    market.marks.update((shard, 1) for shard in range(1, MAX_MARKS + 2))


def change(what: str, client: int = ALICE, by: int = 1) -> Damage:
    """Change a number of the client's first order."""

    def damage(market: Market) -> None:
        order = order_of(market, client)
        setattr(order, what, getattr(order, what) + by)

    damage.__name__ = f"change_{what}"
    return damage


def change_level_quantity(market: Market) -> None:
    level = order_of(market, ALICE).level
    assert level is not None
    level.quantity += 1


def leave_nothing_open(market: Market) -> None:
    bid = order_of(market, CAROL)
    assert bid.level is not None
    bid.level.quantity = bid.leaves = 0
    bid.executed = bid.quantity


def lose_from_the_index(market: Market) -> None:
    market.orders.popitem()


def lose_from_its_client(market: Market) -> None:
    market.clients[ALICE].orders.popitem()


def belong_to_another_client(market: Market) -> None:
    order = market.clients[CAROL].orders.pop(2)
    market.clients[BOB].orders[2] = order


def be_known_under_a_second_user_ref_num(market: Market) -> None:
    orders = market.clients[CAROL].orders
    orders[77] = order_of(market, CAROL)


@pytest.mark.parametrize(
    "damage",
    [
        cross_the_book,
        stand_on_the_other_side,
        stand_in_another_book,
        stand_in_two_places,
        leave_the_book_alone,
        wait_though_reached_from_below,
        wait_though_reached_from_above,
        wait_in_the_book,
        wait_among_the_others_stops,
        wait_at_another_price,
        stand_under_another_number,
        mistake_its_level,
        mistake_its_ladder,
        mistake_its_owner,
        forget_the_best_level,
        list_under_another_symbol,
        leave_an_empty_level,
        change_level_quantity,
        leave_nothing_open,
        lose_from_the_index,
        lose_from_its_client,
        belong_to_another_client,
        be_known_under_a_second_user_ref_num,
        arrive,
        be_gone_and_keep_orders,
        be_gone_without_a_move,
        adopt_without_an_arrival,
        be_in_no_state,
        mark_no_shard,
        mark_no_place,
        mark_too_many_shards,
        change("leaves"),
        change("executed"),
        change("canceled"),
        change("quantity"),
        change("price"),
        change("number"),
        change("client"),
        change("user_ref_num"),
    ],
    ids=lambda damage: damage.__name__,
)
def test_check_finds_damage(damage: Damage) -> None:
    market = trading_market()
    damage(market)
    with pytest.raises(AssertionError):
        market.check()
