"""A trading floor for examples: a market with instruments and clients, and short ways to act on it.

Sequence numbers, user_ref_nums and log-ins are counted here, so that an example shows only what it
is about. The events that it should see are made from the orders that took part.
"""

from typing import NamedTuple

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    BookSide,
    Canceled,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    Event,
    LogIn,
    MassCancel,
    OrderType,
    PostOnly,
    Rejected,
    Replaced,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    Side,
    TimeInForce,
    Trade,
    TradingState,
    Triggered,
    symbol_field,
)
from tests.engine.driving import AnyMarket, take

ALICE, BOB, CAROL = 1, 2, 3
AAPL = symbol_field("AAPL")  # any price, any quantity, any seller
MSFT = symbol_field("MSFT")  # prices in fives, lots of ten, never sold short
BUY, SELL, SELL_SHORT = Side.BUY, Side.SELL, Side.SELL_SHORT
BID, ASK = BookSide.BID, BookSide.ASK


class Ticket(NamedTuple):
    """An order that was entered or replaced, and the events that this caused."""

    client: int
    user_ref_num: int
    number: int
    symbol: bytes
    side: Side
    events: list[Event]


class Floor:
    """AAPL and MSFT are listed; Alice, Bob and Carol are logged in, and trade with themselves."""

    def __init__(self, market: AnyMarket) -> None:
        self.market = market
        self.next_sequence = 1
        self.logins = dict.fromkeys((ALICE, BOB, CAROL), 0)
        self.user_ref_nums = dict.fromkeys((ALICE, BOB, CAROL), 0)
        self.submit(DefineInstrument(AAPL, 1, 1, ShortSale.ALLOWED))
        self.submit(DefineInstrument(MSFT, 5, 10, ShortSale.FORBIDDEN))
        for client in self.logins:
            self.log_in(client, SelfTradePrevention.OFF)

    def submit(self, command: Command) -> list[Event]:
        """What a command causes; it is sent under its client's log-in and must be admitted."""
        login = self.logins.get(getattr(command, "client", 0), 0)
        events = take(self.market, login, command, self.next_sequence, 0)
        assert events is not None, f"not admitted: {command}"
        self.next_sequence += 1 + len(events)
        return events

    def log_in(self, client: int, mode: int) -> list[Event]:
        """A new log-in with this mode of self-trade prevention."""
        login = self.logins[client] + 1
        events = self.submit(LogIn(client, login, mode))
        if not events:
            self.logins[client] = login
        return events

    def enter(
        self,
        client: int,
        side: Side,
        quantity: int,
        price: int = 0,
        *,
        stop: int = 0,
        kind: OrderType | None = None,
        time: TimeInForce = TimeInForce.DAY,
        post_only: PostOnly = PostOnly.NO,
        symbol: bytes = AAPL,
    ) -> Ticket:
        """Enter an order: its type follows from the prices that it has, where none is given."""
        if kind is None and stop:
            kind = OrderType.STOP_LIMIT if price else OrderType.STOP
        elif kind is None:
            kind = OrderType.LIMIT if price else OrderType.MARKET
        command = EnterOrder(
            client=client,
            user_ref_num=self.next_user_ref_num(client),
            symbol=symbol,
            side=side,
            order_type=kind,
            time_in_force=time,
            post_only=post_only,
            quantity=quantity,
            price=price,
            stop_price=stop,
            capacity=Capacity.AGENCY,
            client_order_id=NO_CLIENT_ORDER_ID,
        )
        number = self.next_sequence
        events = self.submit(command)
        return Ticket(client, command.user_ref_num, number, symbol, side, events)

    def replace(
        self,
        order: Ticket,
        quantity: int,
        price: int = 0,
        *,
        stop: int = 0,
        time: TimeInForce = TimeInForce.DAY,
    ) -> Ticket:
        """Give an order other terms; it goes by another user_ref_num from then on."""
        command = ReplaceOrder(
            client=order.client,
            original_user_ref_num=order.user_ref_num,
            user_ref_num=self.next_user_ref_num(order.client),
            quantity=quantity,
            price=price,
            stop_price=stop,
            time_in_force=time,
            client_order_id=NO_CLIENT_ORDER_ID,
        )
        return order._replace(user_ref_num=command.user_ref_num, events=self.submit(command))

    def cancel(self, order: Ticket, remaining: int = 0) -> list[Event]:
        """Cancel an order, or reduce it to what should remain."""
        return self.submit(CancelOrder(order.client, order.user_ref_num, remaining))

    def mass_cancel(self, client: int, symbol: bytes = ALL_SYMBOLS) -> list[Event]:
        """Cancel a client's orders, at the client's own wish."""
        number = self.next_user_ref_num(client)
        return self.submit(MassCancel(client, number, symbol, CancelReason.USER))

    def set_state(self, symbol: bytes, state: TradingState) -> list[Event]:
        """Halt or resume."""
        return self.submit(SetTradingState(symbol, state))

    def next_user_ref_num(self, client: int) -> int:
        """A number that the client has not used."""
        self.user_ref_nums[client] += 1
        return self.user_ref_nums[client]

    def print_price(self, price: int, symbol: bytes = AAPL) -> None:
        """Let ten trade at this price, and nothing be left of it."""
        self.enter(BOB, SELL, 10, price, symbol=symbol)
        self.enter(CAROL, BUY, 10, price, symbol=symbol)

    def book(self, symbol: bytes = AAPL) -> list[tuple[BookSide, int, int, int]]:
        """One book: side, price, order number and quantity; bids first, best first."""
        return [
            (side, price, number, quantity)
            for entry_symbol, side, price, number, quantity in self.market.book_entries()
            if entry_symbol == symbol
        ]


def row(order: Ticket, price: int, quantity: int) -> tuple[BookSide, int, int, int]:
    """An order as it rests in the book."""
    return BID if order.side is BUY else ASK, price, order.number, quantity


def trade(maker: Ticket, taker: Ticket, quantity: int, price: int) -> Trade:
    """Taker and maker trade."""
    return Trade(
        symbol=taker.symbol,
        price=price,
        quantity=quantity,
        taker_side=taker.side,
        maker_number=maker.number,
        maker_client=maker.client,
        maker_user_ref_num=maker.user_ref_num,
        taker_number=taker.number,
        taker_client=taker.client,
        taker_user_ref_num=taker.user_ref_num,
    )


def canceled(order: Ticket, quantity: int, reason: CancelReason) -> Canceled:
    """Quantity is taken off the order."""
    return Canceled(order.client, order.user_ref_num, order.number, quantity, reason)


def triggered(order: Ticket, quantity: int, price: int = 0) -> Triggered:
    """The stop order wakes."""
    client, user_ref_num, number, symbol, side, _ = order
    return Triggered(client, user_ref_num, number, symbol, side, quantity, price)


def replaced(
    old: Ticket, new: Ticket, quantity: int, price: int, *, keeps: bool, stop: int = 0
) -> Replaced:
    """The order has new terms, with this quantity open."""
    return Replaced(
        client=new.client,
        original_user_ref_num=old.user_ref_num,
        user_ref_num=new.user_ref_num,
        order_number=new.number,
        symbol=new.symbol,
        side=new.side,
        quantity=quantity,
        price=price,
        stop_price=stop,
        capacity=Capacity.AGENCY,
        keeps_priority=int(keeps),
    )


def rejected(order: Ticket, reason: RejectReason) -> Rejected:
    """The order, or its new terms, are refused."""
    return Rejected(order.client, order.user_ref_num, reason)
