"""Instruments on the move: commands that take them away and bring them in, for examples."""

from engine.rejects import RejectReason
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    AdoptInstrument,
    AdoptOrder,
    Capacity,
    DefineInstrument,
    EnterOrder,
    Event,
    InstrumentState,
    MoveOut,
    OrderState,
    OrderType,
    PostOnly,
    Rejected,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
    symbol_field,
)
from tests.engine.floor import (
    AAPL,
    ALICE,
    BUY,
    Floor,
    Ticket,
)

ARRIVING, HALTED, MOVED, TRADING = (
    TradingState.ARRIVING,
    TradingState.HALTED,
    TradingState.MOVED,
    TradingState.TRADING,
)
DAY, GTC = TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL
GOOG = symbol_field("GOOG")
DAVE = 4  # has never logged in here
AWAY = MoveOut(AAPL, 2)
LISTING = DefineInstrument(AAPL, 1, 1, ShortSale.ALLOWED)
ARRIVAL = AdoptInstrument(GOOG, 5, 10, ShortSale.FORBIDDEN, 100, 1)
ORDER = AdoptOrder(
    symbol=GOOG,
    moves=1,
    source_sequence=70,
    client=ALICE,
    user_ref_num=9,
    side=BUY,
    order_type=OrderType.LIMIT,
    time_in_force=DAY,
    post_only=PostOnly.NO,
    capacity=Capacity.PRINCIPAL,
    quantity=50,
    leaves=20,
    executed=10,
    price=95,
    stop_price=0,
)
STOP = ORDER._replace(
    order_type=OrderType.STOP, executed=0, price=0, stop_price=105, side=BUY, quantity=20
)


def refused(reason: RejectReason) -> list[Event]:
    return [Rejected(0, 0, reason)]


def went(symbol: bytes, last_price: int = 0, moves: int = 1) -> InstrumentState:
    """AAPL or MSFT as it leaves."""
    terms = (1, 1, ShortSale.ALLOWED) if symbol == AAPL else (5, 10, ShortSale.FORBIDDEN)
    return InstrumentState(symbol, *terms, HALTED, last_price, moves, 0)


def order_went(
    order: Ticket, quantity: int, price: int = 0, *, stop: int = 0, **terms: int
) -> OrderState:
    """A limit order for the day as it leaves, all of it open; or other terms."""
    return OrderState(
        number=order.number,
        client=order.client,
        user_ref_num=order.user_ref_num,
        symbol=order.symbol,
        side=order.side,
        order_type=OrderType.LIMIT,
        time_in_force=DAY,
        post_only=PostOnly.NO,
        capacity=Capacity.AGENCY,
        quantity=quantity,
        leaves=quantity,
        executed=0,
        price=price,
        stop_price=stop,
    )._replace(**terms)  # type: ignore[arg-type]


def moved(floor: Floor, symbol: bytes = AAPL) -> list[Event]:
    """Halt an instrument, and let it go."""
    floor.set_state(symbol, HALTED)
    return floor.submit(MoveOut(symbol, 2))


def arriving(floor: Floor, *orders: AdoptOrder) -> list[list[Event]]:
    """Let GOOG arrive with these orders; what came of each."""
    assert floor.submit(ARRIVAL) == []
    return [floor.submit(order) for order in orders]


def ticket(order: AdoptOrder, number: int) -> Ticket:
    """An adopted order as if it had been entered here."""
    return Ticket(order.client, order.user_ref_num, number, order.symbol, Side(order.side), [])


def enter(client: int, user_ref_num: int, symbol: bytes = AAPL) -> EnterOrder:
    return EnterOrder(
        client=client,
        user_ref_num=user_ref_num,
        symbol=symbol,
        side=BUY,
        order_type=OrderType.LIMIT,
        time_in_force=DAY,
        post_only=PostOnly.NO,
        quantity=10,
        price=100,
        stop_price=0,
        capacity=Capacity.AGENCY,
        client_order_id=NO_CLIENT_ORDER_ID,
    )
