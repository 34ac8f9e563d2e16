"""Batches of submissions that are to break a machine: fast to draw, right and wrong, by a seed.

`tests.engine.strategies` lets the naive model say what each command may name. Here a batch is drawn
at once, by what lived when it began. What a seed draws first is its market: how many instruments,
clients and prices, how often orders cross and fields are absurd, how many orders there is
room for.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from enum import IntEnum
from itertools import islice
from random import Random
from typing import NamedTuple, TypeVar

from engine.market import Market
from engine.state import order_state
from feed.datagrams import Submission
from feed.messages import (
    ALL_SYMBOLS,
    CLIENT_ORDER_ID_BYTES,
    NO_CLIENT_ORDER_ID,
    SYMBOL_BYTES,
    AdoptInstrument,
    AdoptOrder,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    Epoch,
    LogIn,
    MassCancel,
    MoveOut,
    NewDay,
    OrderType,
    PostOnly,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
    holder_field,
    symbol_field,
)

T = TypeVar("T")

GREATEST_PRICE = 1_999_999_900
GREATEST_QUANTITY = 999_999
U8, U16, U31, U32, U63, U64 = 2**8 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1
WORDS = (0, 1, U31, U31 + 1, U32 - 1, U32)
LONG_WORDS = (*WORDS, U32 + 1, U63, U63 + 1, U64 - 1, U64)
ODD_QUANTITIES = (GREATEST_QUANTITY, GREATEST_QUANTITY + 1, *WORDS)
ODD_PRICES = (GREATEST_PRICE, GREATEST_PRICE + 1, GREATEST_PRICE + 100, *LONG_WORDS)
FIRST_SEQUENCES = (1, 1, 1, U31, U32 - 9, U63 - 100)
TIMES_NS = (0, 1_700_000_000_000_000_000, U63, U64)
NO_LIMIT = 4_000_000
RESTING_TIMES = (*(TimeInForce.DAY,) * 6, *(TimeInForce.GOOD_TILL_CANCEL,) * 2)
FIRST_DAY = date(2096, 2, 27)
ODD_DAYS = (20000230, 20960231, 20960431, 20961301, 99991232, 100000101, *WORDS)


class Profile(NamedTuple):
    """What a seed's market is like."""

    instruments: Sequence[DefineInstrument]
    clients: Sequence[int]
    prices: Sequence[int]
    crossing_one_in: int  # how seldom an order is priced to trade at once
    largest_batch: int
    odd_one_in: int  # how seldom a field has a value that no honest client sends
    order_limit: int
    first_sequence: int


class Batch(NamedTuple):
    """Submissions of one call, and what stands in their frames."""

    submissions: list[Submission]
    time_ns: int


class Client:
    """What a client knows of itself."""

    def __init__(self) -> None:
        self.login = 0
        self.home_sequence = 0
        self.last_user_ref_num = 0


def profile(random: Random) -> Profile:
    """What a seed draws first."""
    tick = random.choice((1, 100, 100, 2**16))
    middle = random.choice((tick * 60, tick * 5_000, GREATEST_PRICE // tick * tick - 40 * tick))
    spread = random.choice((2, 8, 8, 50, 2_000))
    prices = range(max(tick, middle - spread * tick), middle + spread * tick, tick)
    count = random.choice((1, 1, 2, 5, 60))
    instruments = [
        DefineInstrument(
            symbol_field(f"S{i}"),
            tick,
            random.choice((1, 1, 10, U16)) if i else 1,
            random.choice(tuple(ShortSale)),
        )
        for i in range(count)
    ]
    return Profile(
        instruments,
        [*range(1, random.choice((2, 4, 4, 30))), U31 + 1, U32],
        prices,
        random.choice((1, 5, 40)),
        random.choice((1, 10, 50, 50, 400)),
        random.choice((12, 60, 400)),
        random.choice((3, 20, 200, *(NO_LIMIT,) * 4)),
        random.choice(FIRST_SEQUENCES),
    )


def batches(random: Random, market: Profile, count: int, state: Market) -> Iterator[Batch]:
    """Batches of `count` submissions in all, after the morning's listings.

    Each batch is to be carried out on `state` before the next one is drawn.
    """
    return _Day(random, market, state).batches(count)


class _Day:
    def __init__(self, random: Random, market: Profile, state: Market) -> None:
        self.random = random
        self.market = market
        self.state = state
        self.clients = {number: Client() for number in market.clients}
        self.sent: list[Submission] = []  # lately
        self.move: list[Command] = []  # what is still to come of one
        self.kinds = (
            *((self._enter,) * random.choice((6, 12, 40))),
            *((self._replace,) * random.choice((1, 8))),
            *((self._cancel,) * random.choice((1, 4, 10))),
        )

    def batches(self, count: int) -> Iterator[Batch]:
        morning: list[Command] = [Epoch(1, holder_field("e1")), *self.market.instruments]
        log_ins = [self._log_in(number, client) for number, client in self.clients.items()]
        yield Batch([*(Submission(0, command) for command in morning), *log_ins], 0)
        while count > 0:
            size = min(self.random.randint(0, self.market.largest_batch), count)
            count -= max(size, 1)
            submissions = [self._submission() for _ in range(size)]
            yield Batch(submissions, self.random.choice(TIMES_NS))

    def _submission(self) -> Submission:
        random = self.random
        if self.sent and self._seldom(20):
            return random.choice(self.sent)  # as a gateway sends it again
        if self.move and self._seldom(2):
            return Submission(0, self.move.pop(0))
        if self._seldom(150):
            self.move = self._steps_of_a_move()
        number = self._odd(random.choice(self.market.clients), (0, 99, U31, U32 - 1))
        client = self.clients.setdefault(number, Client())
        if self._seldom(60):
            submission = Submission(self._odd(0, (1, U64)), self._operator())
        elif self._seldom(100):
            submission = self._log_in(number, client)
        elif self._seldom(300):
            submission = self._mass_cancel(number, client)
        else:
            submission = random.choice(self.kinds)(number, client)
        self.sent = [*self.sent[-30:], submission]
        return submission

    def _steps_of_a_move(self) -> list[Command]:
        """An instrument goes, and comes back from where it went, by what lives now.

        Orders that enter before it is halted are lost on the way.
        """
        symbol = self.random.choice(self.market.instruments).symbol
        known = self.state.instruments.get(symbol)
        if known is None:
            return [MoveOut(symbol, 2)]
        halt = SetTradingState(symbol, TradingState.HALTED)
        moves = self._odd(min(known.moves + 2, U32), (known.moves, 0, U32))
        steps: list[Command] = [halt, MoveOut(symbol, self._odd(2, (0, U16)))]
        steps.append(
            AdoptInstrument(
                self._odd(symbol, (ALL_SYMBOLS,)),
                self._odd(known.tick_size, WORDS),
                self._odd(known.lot_size, WORDS),
                self._odd(known.short_sale, (0, U8, *ShortSale)),
                self._odd(known.last_price, (*ODD_PRICES, self.market.prices[0])),
                moves,
            )
        )
        orders = [order_state(each) for ladder in known.ladders for each in ladder.orders()]
        source_sequence = self._odd(1_000, LONG_WORDS)
        for _, client, user_ref_num, _, *terms in orders[: self.random.choice((3, 50, 500))]:
            order = AdoptOrder(symbol, moves, source_sequence, client, user_ref_num, *terms)
            steps.append(self._spoilt(order) if self._seldom(8) else order)
            source_sequence = min(source_sequence + 1, U64)
        resume = SetTradingState(symbol, TradingState.TRADING)
        steps = [step for step in steps if not self._seldom(self.market.odd_one_in)]
        return [*steps, *self._odd((halt, resume), ((resume, halt, resume),))]

    def _spoilt(self, order: AdoptOrder) -> AdoptOrder:
        """The order with other terms: wrong as a rule, with room for luck."""
        codes, quantities = b"\x00\xffBSTLM0134NPO", (order.leaves, order.quantity, *ODD_QUANTITIES)
        prices = (self._price(0), order.price, order.stop_price)
        fields: Sequence[tuple[str, Sequence[int]]] = (
            *((name, codes) for name in ("side", "order_type", "time_in_force", "post_only")),
            *((name, quantities) for name in ("quantity", "leaves", "executed")),
            *((name, prices) for name in ("price", "stop_price")),
            *((name, WORDS) for name in ("moves", "source_sequence", "user_ref_num")),
            ("client", (0, 99, U31, *self.market.clients)),
        )
        name, values = self.random.choice(fields)
        return order._replace(**{name: self.random.choice(values)})  # type: ignore[arg-type]

    def _under(self, client: Client, command: Command) -> Submission:
        earlier = (0, max(client.login - 1, 0), client.login + 1, U64)
        return Submission(self._odd(client.login, earlier), command)

    def _log_in(self, number: int, client: Client) -> Submission:
        login = self._odd(client.login + 1, (0, client.login, U63 + 1, U64))
        mode = self._code(SelfTradePrevention)
        home_sequence = self._odd(client.home_sequence, (client.home_sequence + 1, 0, 1, U63))
        is_later = home_sequence >= client.home_sequence
        if number and login and is_later and mode in tuple(SelfTradePrevention):
            client.login = login % U64
            client.home_sequence = home_sequence
        return Submission(0, LogIn(number, login, mode, home_sequence))

    def _enter(self, number: int, client: Client) -> Submission:
        random = self.random
        order_type = self._code(OrderType, (OrderType.LIMIT,) * 6)
        has_price = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        has_stop = order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        instrument = random.choice(self.market.instruments)
        side = self._code(Side, (Side.BUY, Side.BUY, Side.SELL))
        command = EnterOrder(
            client=number,
            user_ref_num=self._next_number(client),
            symbol=self._odd(instrument.symbol, (ALL_SYMBOLS, bytes(SYMBOL_BYTES), b"\xff" * 8)),
            side=side,
            order_type=order_type,
            time_in_force=self._code(TimeInForce, RESTING_TIMES),
            post_only=self._code(PostOnly, (PostOnly.NO,) * 8),
            quantity=self._quantity(instrument.lot_size),
            price=self._price(side) if has_price or self._seldom(self.market.odd_one_in) else 0,
            stop_price=self._price(0) if has_stop or self._seldom(self.market.odd_one_in) else 0,
            capacity=self._code(Capacity),
            client_order_id=random.choice((NO_CLIENT_ORDER_ID, b"\x00" * CLIENT_ORDER_ID_BYTES)),
        )
        return self._under(client, command)

    def _replace(self, number: int, client: Client) -> Submission:
        original = self._order_of(number)
        owner = self.state.clients.get(number)
        order = owner.orders.get(original) if owner else None
        stop_price, side = (order.stop_price, order.side) if order else (0, 0)
        same_price = order.price if order else 0
        command = ReplaceOrder(
            client=number,
            original_user_ref_num=original,
            user_ref_num=self._next_number(client),
            quantity=self._quantity(self.random.choice(self.market.instruments).lot_size),
            price=self._price(side) if same_price and self._seldom(2) else same_price,
            stop_price=self._price(0) if self._seldom(2 if stop_price else 40) else 0,
            time_in_force=self._code(TimeInForce, RESTING_TIMES),
            client_order_id=NO_CLIENT_ORDER_ID,
        )
        return self._under(client, command)

    def _cancel(self, number: int, client: Client) -> Submission:
        remaining = self._odd(self.random.choice((0, 0, 1, 5, 30)), ODD_QUANTITIES)
        return self._under(client, CancelOrder(number, self._order_of(number), remaining))

    def _mass_cancel(self, number: int, client: Client) -> Submission:
        user_ref_num = self.random.choice((0, self._next_number(client)))
        symbol = self.random.choice((ALL_SYMBOLS, self.random.choice(self.market.instruments)[0]))
        symbol = self._odd(symbol, (b"NOBODY  ", bytes(SYMBOL_BYTES)))
        usual = (CancelReason.USER, CancelReason.LINK_LOST)
        reason = self._code(CancelReason, usual * 8)
        return self._under(client, MassCancel(number, user_ref_num, symbol, reason))

    def _operator(self) -> Command:
        random = self.random
        instrument = random.choice(self.market.instruments)
        state = self._code(TradingState, (TradingState.TRADING,) * 8)
        new = symbol_field(f"N{random.randrange(30)}")
        return random.choice(
            (
                SetTradingState(self._odd(instrument.symbol, (ALL_SYMBOLS, new)), state),
                Epoch(random.choice(WORDS), holder_field("e2")),
                self._new_day(),
                self._mark(),
                MoveOut(self._odd(new, (ALL_SYMBOLS, instrument.symbol)), 2),
                DefineInstrument(
                    self._odd(new, (ALL_SYMBOLS, instrument.symbol)),
                    self._odd(100, WORDS),
                    self._odd(1, WORDS),
                    self._code(ShortSale),
                ),
            )
        )

    def _mark(self) -> ShardMark:
        shard = self._odd(self.random.randrange(1, 100), (0, U16))
        last = self.state.marks.get(shard, 0)
        return ShardMark(shard, self._odd(min(last + 9, U64), (last, 0, last + 1, U63)))

    def _new_day(self) -> NewDay:
        """The next day, as a rule: absurdly late ones would end what there is to come."""
        following = next_day(self.state.day)
        return NewDay(self._odd(following, (self.state.day, following - 1, 19000229, *ODD_DAYS)))

    def _next_number(self, client: Client) -> int:
        """A new user_ref_num; an absurdly high one ends what the client can do, and is rare."""
        if self._seldom(self.market.odd_one_in):
            return self.random.choice((0, 1, client.last_user_ref_num))
        step = U32 - client.last_user_ref_num if self._seldom(3_000) else 1
        client.last_user_ref_num = min(client.last_user_ref_num + step, U32)
        return client.last_user_ref_num

    def _order_of(self, number: int) -> int:
        """The user_ref_num of one of the client's orders, if it has any."""
        owner = self.state.clients.get(number)
        live = owner.orders if owner else {}
        at = self.random.randrange(min(len(live), 100)) if live else 0
        usual = next(islice(live, at, None), 1)
        last = owner.last_user_ref_num if owner else 0
        return self._odd(usual, (0, 1, last, min(last + 1, U32), U32))

    def _price(self, side: int) -> int:
        """A price where an order of this side would rest, or one of the whole range."""
        prices = self.market.prices
        middle = len(prices) // 2
        if side and not self._seldom(self.market.crossing_one_in):
            prices = prices[:middle] if side == Side.BUY else prices[middle:]
        usual = self.random.choice(prices)
        # The last ones are right in their lower half.
        return self._odd(usual, (*ODD_PRICES, U32 + 1 + usual, U63 + 1 + usual))

    def _quantity(self, lot_size: int) -> int:
        usual = self.random.randrange(1, self.random.choice((4, 30))) * lot_size
        return self._odd(usual, ODD_QUANTITIES)

    def _code(self, codes: type[IntEnum], usual: Sequence[int] = ()) -> int:
        known = tuple(map(int, codes))
        return self._odd(self.random.choice((*known, *usual)), (0, ord("?"), U8))

    def _odd(self, usual: T, odd: Sequence[T]) -> T:
        return self.random.choice(odd) if self._seldom(self.market.odd_one_in) else usual

    def _seldom(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0


def next_day(day: int) -> int:
    """The day after one that reads YYYYMMDD; the first one after 0."""
    if day == 0:
        return int(FIRST_DAY.strftime("%Y%m%d"))
    following = date(day // 10_000, day // 100 % 100, day % 100) + timedelta(days=1)
    return int(following.strftime("%Y%m%d"))
