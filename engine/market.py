"""The market: the state machine that turns commands into events.

It is a pure function of its commands. docs/machine.md tells its rules in words.
"""

from collections.abc import Iterable, Iterator
from typing import assert_never

from engine import invariants, moving, restoring, state
from engine.book import Instrument
from engine.checks import refuse_enter, refuse_listing, refuse_replace
from engine.codes import (
    MASS_CANCEL_REASONS,
    RESTING_TIMES,
    SELF_TRADE_MODES,
    SETTABLE_STATES,
)
from engine.days import is_day
from engine.listed import ListedInstrument
from engine.matching import Matcher
from engine.orders import Client, Order
from engine.rejects import RejectReason
from feed.book import BookEntry
from feed.messages import (
    ALL_SYMBOLS,
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
    LogIn,
    MassCancel,
    Message,
    MoveOut,
    NewDay,
    Rejected,
    Replaced,
    ReplaceOrder,
    SetTradingState,
    ShardMark,
    State,
    TimeInForce,
    TradingState,
)

MAX_LIVE_ORDERS = 4_000_000  # bounds the machine's memory: some 400 bytes an order
MAX_MARKS = 64  # how many other shards are marked: more than an exchange has

_NOBODY = 0  # the client of commands that no client sent
_DAY = int(TimeInForce.DAY)


class Market:
    """Instruments, books and clients of one shard; the reference, and so the specification."""

    def __init__(self) -> None:
        self.instruments: dict[bytes, Instrument] = {}
        self.clients: dict[int, Client] = {}
        self.orders: dict[int, Order] = {}  # the live ones, by number
        self.day = 0  # as YYYYMMDD; 0 before the first
        self.marks: dict[int, int] = {}  # how far another shard's list is told of here, by shard
        self._matcher = Matcher(self.orders)

    def admits(self, login: int, command: Command) -> bool:
        """Whether a command sent under this log-in gets a place in the list at all."""
        match command:
            case EnterOrder() | ReplaceOrder():
                client = self._client_under(login, command.client)
                return client is not None and _is_new(client, command.user_ref_num)
            case CancelOrder():
                client = self._client_under(login, command.client)
                if client is None:
                    return False
                order = client.orders.get(command.user_ref_num)
                if order is None:
                    return command.user_ref_num > client.last_user_ref_num
                return command.quantity < order.leaves
            case MassCancel():
                client = self._client_under(login, command.client)
                if client is None:
                    return False
                if command.user_ref_num:
                    return _is_new(client, command.user_ref_num)
                is_known = command.reason in MASS_CANCEL_REASONS
                return is_known and bool(self._orders_to_cancel(client, command.symbol))
            case LogIn():
                return self._admits_log_in(command)
            case DefineInstrument():
                return not self._is_listed(command)
            case ShardMark():
                return self._admits_mark(command)
            case MoveOut():
                return moving.may_move_out(self, command)
            case AdoptInstrument():
                return moving.may_adopt_instrument(self, command)
            case AdoptOrder():
                return moving.may_adopt_order(self, command)
            case SetTradingState() | NewDay() | Epoch():
                return True
            case _:
                assert_never(command)

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        """Carry out an admitted command with this sequence number; the events that it caused.

        Nothing depends on the time yet: it is a field of the frame, for those who read it.
        """
        match command:
            case EnterOrder():
                return self._enter(sequence, command)
            case CancelOrder():
                return self._cancel(command)
            case ReplaceOrder():
                return self._replace(command)
            case MassCancel():
                return self._mass_cancel(command)
            case LogIn():
                return self._log_in(command)
            case DefineInstrument():
                return self._define_instrument(command)
            case SetTradingState():
                return self._set_trading_state(command)
            case NewDay():
                return self._new_day(command)
            case ShardMark():
                return self._mark(command)
            case MoveOut():
                gone = moving.move_out(self, command)
                return gone if isinstance(gone, list) else _refused(gone)
            case AdoptInstrument():
                return _refused(moving.adopt_instrument(self, command))
            case AdoptOrder():
                return _refused(moving.adopt_order(self, sequence, command, MAX_LIVE_ORDERS))
            case Epoch():
                return []
            case _:
                assert_never(command)

    def check(self) -> None:
        """Raise AssertionError when an invariant of docs/machine.md does not hold."""
        invariants.check(self, MAX_MARKS)

    def digest(self) -> bytes:
        """The SHA-256 of the whole state: of each of its records, the type and the body."""
        return state.digest(self)

    def state(self) -> Iterator[State]:
        """The whole state, in an order that depends on nothing but the state."""
        return state.records(self)

    def restore(self, records: Iterable[tuple[int, Message]]) -> None:
        """Become, from empty, the market of these records, each with the number of its frame.

        Raises ValueError when no market can have such a state, and stays empty.
        """
        restoring.restore(self, records, MAX_LIVE_ORDERS, MAX_MARKS)

    def listed(self) -> Iterator[ListedInstrument]:
        """Each instrument by symbol, as operators are told of it."""
        for symbol in sorted(self.instruments):
            instrument = self.instruments[symbol]
            orders = sum(len(level.orders) for each in instrument.ladders for level in each)
            yield ListedInstrument(symbol, instrument.state, instrument.moves, orders)

    def book_entries(self) -> Iterator[BookEntry]:
        """The resting orders as a subscriber knows them, for `feed.book.book_digest`."""
        for symbol in sorted(self.instruments):
            instrument = self.instruments[symbol]
            for side, ladder in ((BookSide.BID, instrument.bids), (BookSide.ASK, instrument.asks)):
                for order in ladder.orders():
                    yield BookEntry(symbol, side, order.price, order.number, order.leaves)

    def _enter(self, sequence: int, command: EnterOrder) -> list[Event]:
        client = self.clients[command.client]
        client.last_user_ref_num = command.user_ref_num
        instrument = self.instruments.get(command.symbol)
        reason = refuse_enter(instrument, command)
        if reason is None and len(self.orders) >= MAX_LIVE_ORDERS:
            reason = RejectReason.TOO_MANY_ORDERS
        if reason is not None:
            return [Rejected(command.client, command.user_ref_num, reason)]
        assert instrument is not None
        order = Order(sequence, client, command)
        self.orders[sequence] = order
        client.orders[command.user_ref_num] = order
        events: list[Event] = []
        self._matcher.bring_in(instrument, order, events)
        return events

    def _cancel(self, command: CancelOrder) -> list[Event]:
        order = self.clients[command.client].orders.get(command.user_ref_num)
        if order is None:
            return [Rejected(command.client, command.user_ref_num, RejectReason.ORDER_NOT_LIVE)]
        return [self._take_off(order, order.leaves - command.quantity, CancelReason.USER)]

    def _replace(self, command: ReplaceOrder) -> list[Event]:
        client = self.clients[command.client]
        client.last_user_ref_num = command.user_ref_num
        order = client.orders.get(command.original_user_ref_num)
        if order is None:
            return [Rejected(command.client, command.user_ref_num, RejectReason.ORDER_NOT_LIVE)]
        instrument = self.instruments[order.symbol]
        reason = refuse_replace(instrument, order, command)
        if reason is not None:
            return [Rejected(command.client, command.user_ref_num, reason)]
        leaves = command.quantity - order.executed
        keeps_priority = (
            not order.stop_price
            and command.price == order.price
            and leaves <= order.leaves
            and command.time_in_force in RESTING_TIMES
        )
        del client.orders[order.user_ref_num]
        order.user_ref_num = command.user_ref_num
        client.orders[order.user_ref_num] = order
        ladder = order.ladder
        assert ladder is not None
        if keeps_priority:
            if leaves < order.leaves:
                ladder.cancel(order, order.leaves - leaves)
        else:
            ladder.remove(order)
            order.leaves = leaves
            order.price = command.price
            order.stop_price = command.stop_price or order.stop_price
        order.time_in_force = command.time_in_force
        order.quantity = command.quantity
        order.canceled = 0
        events: list[Event] = [_replaced(order, command, keeps_priority=keeps_priority)]
        if not keeps_priority:
            self._matcher.bring_in(instrument, order, events)
        return events

    def _mass_cancel(self, command: MassCancel) -> list[Event]:
        client = self.clients[command.client]
        client.last_user_ref_num = max(client.last_user_ref_num, command.user_ref_num)
        if command.symbol != ALL_SYMBOLS and command.symbol not in self.instruments:
            return [Rejected(command.client, command.user_ref_num, RejectReason.UNKNOWN_SYMBOL)]
        if command.reason not in MASS_CANCEL_REASONS:
            return [Rejected(command.client, command.user_ref_num, RejectReason.INVALID_REASON)]
        reason = CancelReason(command.reason)
        orders = self._orders_to_cancel(client, command.symbol)
        return [self._take_off(order, order.leaves, reason) for order in orders]

    def _log_in(self, command: LogIn) -> list[Event]:
        if command.self_trade_prevention not in SELF_TRADE_MODES:
            return [Rejected(command.client, 0, RejectReason.INVALID_SELF_TRADE_PREVENTION)]
        client = self.clients.setdefault(command.client, Client())
        client.login = command.login
        client.self_trade_prevention = command.self_trade_prevention
        client.home_sequence = command.home_sequence
        return []

    def _define_instrument(self, command: DefineInstrument) -> list[Event]:
        reason = refuse_listing(*command, is_free=command.symbol not in self.instruments)
        if reason is None:
            self.instruments[command.symbol] = Instrument(*command)
        return _refused(reason)

    def _set_trading_state(self, command: SetTradingState) -> list[Event]:
        instrument = self.instruments.get(command.symbol)
        if instrument is None:
            return _refused(RejectReason.UNKNOWN_SYMBOL)
        if command.state not in SETTABLE_STATES:
            return _refused(RejectReason.INVALID_TRADING_STATE)
        if instrument.state == TradingState.MOVED:
            return _refused(RejectReason.MOVED)
        if instrument.state == TradingState.ARRIVING and command.state != TradingState.HALTED:
            return _refused(RejectReason.NOT_HALTED)
        instrument.state = command.state
        instrument.adopted_sequence = 0
        return []

    def _new_day(self, command: NewDay) -> list[Event]:
        if not is_day(command.day) or command.day <= self.day:
            return _refused(RejectReason.INVALID_DAY)
        self.day = command.day
        expired = [order for order in self.orders.values() if order.time_in_force == _DAY]
        expired.sort(key=lambda order: order.number)
        return [self._take_off(order, order.leaves, CancelReason.EXPIRED) for order in expired]

    def _mark(self, command: ShardMark) -> list[Event]:
        if not self._admits_mark(command):
            return _refused(RejectReason.INVALID_MARK)
        self.marks[command.shard] = command.sequence
        return []

    def _take_off(self, order: Order, quantity: int, reason: CancelReason) -> Canceled:
        assert order.ladder is not None
        order.ladder.cancel(order, quantity)
        if not order.leaves:
            self._matcher.end(order)
        return Canceled(order.client, order.user_ref_num, order.number, quantity, reason)

    def _orders_to_cancel(self, client: Client, symbol: bytes) -> list[Order]:
        orders = [
            order for order in client.orders.values() if symbol in (ALL_SYMBOLS, order.symbol)
        ]
        return sorted(orders, key=lambda order: order.number)

    def _admits_log_in(self, command: LogIn) -> bool:
        client = self.clients.get(command.client) or Client()
        return (
            command.client != _NOBODY
            and command.login not in (0, client.login)
            and command.home_sequence >= client.home_sequence
        )

    def _admits_mark(self, command: ShardMark) -> bool:
        last = self.marks.get(command.shard, 0)
        has_room = last != 0 or len(self.marks) < MAX_MARKS
        return command.shard != 0 and command.sequence > last and has_room

    def _is_listed(self, command: DefineInstrument) -> bool:
        """Whether an instrument is listed exactly so; to list it again would be superfluous."""
        known = self.instruments.get(command.symbol)
        if known is None:
            return False
        listed = (known.symbol, known.tick_size, known.lot_size, known.short_sale)
        return listed == tuple(command)

    def _client_under(self, login: int, number: int) -> Client | None:
        """The client, if this is its log-in; before its first one, it has none."""
        client = self.clients.get(number)
        return client if client is not None and login == client.login and login != 0 else None


def _is_new(client: Client, user_ref_num: int) -> bool:
    """Whether the client has not used this number here.

    One of an order that came from another shard may be above the last one that it used here.
    """
    return user_ref_num > client.last_user_ref_num and user_ref_num not in client.orders


def _refused(reason: RejectReason | None) -> list[Event]:
    """What becomes of a command that no client sent: nothing to tell, where it is not refused."""
    return [] if reason is None else [Rejected(_NOBODY, 0, reason)]


def _replaced(order: Order, command: ReplaceOrder, *, keeps_priority: bool) -> Replaced:
    return Replaced(
        order.client,
        command.original_user_ref_num,
        order.user_ref_num,
        order.number,
        order.symbol,
        order.side,
        order.leaves,
        order.price,
        order.stop_price,
        order.capacity,
        int(keeps_priority),
    )
