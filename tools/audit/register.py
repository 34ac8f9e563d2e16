"""All instruments, clients and live orders of an auditor's books, by their names and numbers."""

from feed import messages
from feed.messages import Message, PostOnly, Side
from tools.audit.records import Client, Instrument, Order, Standing

_REMEMBERED = 100_000  # orders that ended lately: so that it can be said how they did


class Register:
    """Who is there."""

    def __init__(self) -> None:
        self.instruments: dict[bytes, Instrument] = {}
        self.orders: dict[int, Order] = {}  # the live ones, by number
        self.ended: dict[int, str] = {}  # what became of the last of the others
        self.marks: dict[int, int] = {}  # how far other shards' lists are told of, by shard
        self._clients: dict[int, Client] = {}

    def client(self, number: int) -> Client:
        """A client; one that nothing was known of is new."""
        client = self._clients.get(number)
        if client is None:
            client = self._clients[number] = Client()
        return client

    def add(self, order: Order) -> None:
        """An order begins to live."""
        self.orders[order.number] = order
        self.client(order.client).orders[order.user_ref_num] = order

    def rename(self, order: Order, user_ref_num: int) -> None:
        """An order goes by another user_ref_num."""
        orders = self.client(order.client).orders
        orders.pop(order.user_ref_num, None)
        order.user_ref_num = user_ref_num
        orders[user_ref_num] = order

    def end(self, order: Order, why: str) -> None:
        """An order lives no more."""
        order.leave()
        order.standing = Standing.ENDED
        self.orders.pop(order.number, None)
        self.client(order.client).orders.pop(order.user_ref_num, None)
        if len(self.ended) >= _REMEMBERED:
            del self.ended[next(iter(self.ended))]
        self.ended[order.number] = why

    def restore(self, state: Message) -> None:
        """Take in what a frame of a snapshot says."""
        match state:
            case messages.InstrumentState():
                instrument = Instrument(*state[:4])
                instrument.state = state.state
                instrument.last_price = state.last_price
                instrument.moves = state.moves
                instrument.adopted_sequence = state.adopted_sequence
                self.instruments[state.symbol] = instrument
            case messages.OrderState():
                # Below the number of any frame to come, and after those before it in the snapshot.
                self.put_in(state, len(self.orders) + 1)
            case messages.MarkState():
                self.marks[state.shard] = state.sequence
            case messages.ClientState():
                client = self.client(state.client)
                client.last_user_ref_num = state.last_user_ref_num
                client.self_trade_prevention = state.self_trade_prevention
                client.home_sequence = state.home_sequence

    def put_in(self, state: messages.OrderState, place: int) -> Order:
        """An order that entered before what was read, or in another shard, stands here."""
        order = Order(
            state.number,
            state.client,
            state.user_ref_num,
            state.symbol,
            is_buy=state.side == Side.BUY,
        )
        order.limit = state.price
        order.time_in_force = state.time_in_force
        order.post_only = state.post_only == PostOnly.YES
        order.asked = order.entered = state.quantity
        order.executed = state.executed
        order.canceled = state.quantity - state.executed - state.leaves
        order.place = place
        order.stop_price = state.stop_price
        instrument = self.instruments[order.symbol]
        if order.stop_price:
            order.standing = Standing.WAITING
            instrument.stops(is_buy=order.is_buy).add(order, order.stop_price)
        else:
            order.standing = Standing.RESTING
            instrument.book(is_buy=order.is_buy).add(order, order.limit)
        self.add(order)
        return order
