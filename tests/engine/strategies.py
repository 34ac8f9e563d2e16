"""Random commands for the machine: few clients, few symbols and few prices, so that all collide.

A `Draft` names an order by its place, as in "the client's third newest": so a list of drafts keeps
its meaning when hypothesis takes some of them out. `submissions` gives drafts the numbers that they
have on the wire. One generator serves hypothesis and fast seeded runs alike: hypothesis only hands
it a `Random` of its own.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from random import Random
from typing import NamedTuple, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st

from feed.datagrams import Submission
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    AdoptInstrument,
    AdoptOrder,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    Epoch,
    Event,
    LogIn,
    MassCancel,
    MoveOut,
    NewDay,
    OrderState,
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
from tests.model.naive_market import NaiveMarket
from tests.model.naive_state import Client, Order

T = TypeVar("T")
# A failure shrinks to a few commands within a minute; explaining it would take another.
PROPERTY = settings(max_examples=100, deadline=None, phases=set(Phase) - {Phase.explain})

AAPL = symbol_field("AAPL")  # any quantity, any seller
MSFT = symbol_field("MSFT")  # lots of ten, never sold short
NEW = symbol_field("NEW")  # not listed when the day begins
TICK = 100
LISTED = (
    DefineInstrument(AAPL, TICK, 1, ShortSale.ALLOWED),
    DefineInstrument(MSFT, TICK, 10, ShortSale.FORBIDDEN),
)
CLIENTS = (1, 2, 3)
STRANGER = 4  # does not log in when the day begins
PRICES = tuple(range(96 * TICK, 104 * TICK, TICK))
GREATEST_PRICE = 1_999_999_900
SAME_PRICE = -1  # in the draft of a REPLACE_ORDER: the order's own
NEXT_TO_ARRIVE = -1  # in the draft of an ADOPT_ORDER: the client and the terms of one that left
BAD_PRICES = (0, 1, TICK + 1, GREATEST_PRICE + TICK, 2**64 - 1)
EXTREME_PRICES = (TICK, GREATEST_PRICE)
BAD_QUANTITIES = (0, 1_000_000, 2**32 - 1)
TIMES_IN_FORCE = (*(TimeInForce.DAY,) * 4, *(TimeInForce.GOOD_TILL_CANCEL,) * 2, *TimeInForce)
BAD_CODES = (0, ord("?"), 255)
FIRST_DAY = 20240226  # three more, and February ends
BAD_DAYS = (19700229, 20240230, 20241301, 99991232, 100000101, 2**32 - 1)


class Draft(NamedTuple):
    """A command before its numbers are known.

    Its `user_ref_num` counts from the client's last one: 1 is the next one, 0 a repeat (but a
    MASS_CANCEL with 0 stays as it is). The order that a CANCEL_ORDER or REPLACE_ORDER is about is
    given by its place among the client's live ones: 0 is the newest, and a negative one is still
    to come. The `login` of a LOG_IN counts from the client's current one, its `home_sequence`
    likewise, and the `day` of a NEW_DAY from the market's, when it is small. The `sequence` of a
    SHARD_MARK counts from the mark so far; `moves` of the ADOPT commands from the instrument's, and
    `source_sequence` from the one adopted last. An ADOPT_ORDER of `NEXT_TO_ARRIVE` brings the next
    of the orders that the symbol's last MOVE_OUT took away.
    """

    command: Command
    logins_ago: int = 0  # under which of the client's log-ins it is sent; 0 is the current one


def submissions(drafts: Iterable[Draft]) -> list[Submission]:
    """The drafts as gateways send them, after the morning's listings; a model does the counting."""
    sent = []
    model = NaiveMarket()
    gone: dict[bytes, list[OrderState]] = {}
    sequence = 1
    for draft in (*map(Draft, LISTED), *drafts):
        submission = _settled(draft, model, gone)
        sent.append(submission)
        if model.admits(*submission):
            events = model.apply(sequence, 0, submission.command)
            if isinstance(submission.command, MoveOut):
                gone[submission.command.symbol] = _orders_in(events)
            sequence += 1 + len(events)
    return sent


def _orders_in(events: Iterable[Event]) -> list[OrderState]:
    return [event for event in events if isinstance(event, OrderState)]


def _settled(draft: Draft, model: NaiveMarket, gone: dict[bytes, list[OrderState]]) -> Submission:
    command = draft.command
    number = getattr(command, "client", 0)
    client = model.clients.get(number, Client(0, 0))
    last = client.last_user_ref_num
    match command:
        case LogIn(login=ahead, home_sequence=further):
            command = command._replace(
                login=max(client.login + ahead, 0),
                home_sequence=max(client.home_sequence + further, 0),
            )
        case ShardMark(shard=shard, sequence=ahead):
            command = ShardMark(shard, max(model.marks.get(shard, 0) + ahead, 0))
        case AdoptInstrument(symbol=symbol, moves=ahead):
            known = model.instruments.get(symbol)
            command = command._replace(moves=max((known.moves if known else 0) + ahead, 0))
        case AdoptOrder():
            command = _arriving(command, model, gone.get(command.symbol, []))
        case NewDay(day=ahead) if ahead < FIRST_DAY:
            command = NewDay((model.day or FIRST_DAY) + ahead)
        case EnterOrder(user_ref_num=ahead):
            command = command._replace(user_ref_num=max(last + ahead, 0))
        case MassCancel(user_ref_num=ahead) if ahead != 0:
            command = command._replace(user_ref_num=max(last + ahead, 0))
        case CancelOrder(user_ref_num=place):
            order = _order_at(place, model, number)
            command = command._replace(
                user_ref_num=order.user_ref_num if order else max(last - place, 0)
            )
        case ReplaceOrder(original_user_ref_num=place, user_ref_num=ahead, price=price):
            order = _order_at(place, model, number)
            if price == SAME_PRICE:
                price = order.price if order else 0
            command = command._replace(
                original_user_ref_num=order.user_ref_num if order else max(last - place, 0),
                user_ref_num=max(last + ahead, 0),
                price=price,
            )
    return Submission(max(client.login - draft.logins_ago, 0), command)


def _arriving(command: AdoptOrder, model: NaiveMarket, gone: list[OrderState]) -> AdoptOrder:
    if command.client == NEXT_TO_ARRIVE:
        if gone:
            _, client, user_ref_num, _, *terms = gone.pop(0)
            command = AdoptOrder(*command[:3], client, user_ref_num, *terms)
        else:
            command = command._replace(client=CLIENTS[0])
    known = model.instruments.get(command.symbol)
    moves, adopted = (known.moves, known.adopted_sequence) if known else (0, 0)
    return command._replace(
        moves=max(moves + command.moves, 0),
        source_sequence=max(adopted + command.source_sequence, 0),
    )


def _order_at(place: int, model: NaiveMarket, client: int) -> Order | None:
    live = [order for order in model.orders if order.client == client]
    live.sort(key=lambda order: order.user_ref_num, reverse=True)
    return live[place] if 0 <= place < len(live) else None


def seeded_submissions(seed: int, count: int) -> list[Submission]:
    """What a seed stands for: always the same commands."""
    random = Random(seed)
    morning = [log_in(random, client) for client in CLIENTS]
    rest: list[Draft] = []
    while len(rest) < count:
        rest += drafts(random)
    return submissions([*morning, *rest[:count]])


@st.composite
def _drafts(draw: st.DrawFn) -> list[Draft]:
    return drafts(draw(st.randoms(use_true_random=False)))


@st.composite
def submission_lists(draw: st.DrawFn) -> list[Submission]:
    """A day of some thirty commands; it shrinks to few."""
    modes = draw(st.tuples(*(st.sampled_from(SelfTradePrevention) for _ in CLIENTS)))
    morning = [Draft(LogIn(client, 1, mode)) for client, mode in zip(CLIENTS, modes, strict=True)]
    # Hypothesis makes lists of five or so unless they have a least size, which they keep as they
    # shrink; several lists in a row grow long and still shrink to nothing.
    hours = draw(st.tuples(*[st.lists(_drafts(), max_size=20)] * 6))
    return submissions([*morning, *chain.from_iterable(chain.from_iterable(hours))])


def drafts(random: Random) -> list[Draft]:
    """One command of any kind; now and then all of those that a move takes."""
    return [draft(random)] if random.randrange(80) < 79 else move(random)


def draft(random: Random) -> Draft:
    """One command of any kind: mostly orders, mostly right."""
    kinds = (enter_order,) * 12 + (replace_order,) * 5 + (cancel_order,) * 3
    kind = _usually(random, kinds, (operator_command, mass_cancel, log_in), one_in=12)
    return kind(random, _usually(random, CLIENTS, (STRANGER,), one_in=60))


def enter_order(random: Random, client: int) -> Draft:
    """An order; every field is wrong once in a while."""
    symbol = _usually(random, (AAPL, AAPL, MSFT), (NEW, ALL_SYMBOLS), one_in=40)
    order_type = _usually(random, (OrderType.LIMIT,) * 5 + tuple(OrderType), BAD_CODES)
    has_price = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    has_stop = order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    is_right = random.randrange(60) != 59
    command = EnterOrder(
        client=client,
        user_ref_num=_usually(random, (1,), (2, 0, -1), one_in=30),
        symbol=symbol,
        side=_usually(random, (Side.BUY, Side.SELL) * 3 + tuple(Side), BAD_CODES),
        order_type=order_type,
        time_in_force=_usually(random, TIMES_IN_FORCE, BAD_CODES),
        post_only=_usually(random, (PostOnly.NO,) * 7 + (PostOnly.YES,), BAD_CODES),
        quantity=_quantity(random, symbol),
        price=_price(random) if has_price == is_right else 0,
        stop_price=_price(random) if has_stop == is_right else 0,
        capacity=_usually(random, tuple(Capacity), BAD_CODES),
        client_order_id=NO_CLIENT_ORDER_ID,
    )
    return Draft(command, _logins_ago(random))


def replace_order(random: Random, client: int) -> Draft:
    """New terms for one of the client's last orders, alive or not."""
    command = ReplaceOrder(
        client=client,
        original_user_ref_num=_order_place(random),
        user_ref_num=_usually(random, (1,), (2, 0, -1), one_in=30),
        quantity=_quantity(random, random.choice((AAPL, AAPL, MSFT))),
        price=random.choice((_price(random), _price(random), SAME_PRICE, 0)),
        stop_price=random.choice((0, 0, _price(random))),
        time_in_force=_usually(random, TIMES_IN_FORCE, BAD_CODES),
        client_order_id=NO_CLIENT_ORDER_ID,
    )
    return Draft(command, _logins_ago(random))


def cancel_order(random: Random, client: int) -> Draft:
    """A cancel or a reduce of one of the client's last orders, alive or not."""
    remaining = random.choice((0, 0, 1, 3, 10))
    return Draft(CancelOrder(client, _order_place(random), remaining), _logins_ago(random))


def mass_cancel(random: Random, client: int) -> Draft:
    """A mass cancel by the client, or by its gateway."""
    reasons = (CancelReason.USER, CancelReason.LINK_LOST)
    command = MassCancel(
        client=client,
        user_ref_num=random.choice((1, 0, -1)),
        symbol=_usually(random, (AAPL, MSFT, AAPL, MSFT, ALL_SYMBOLS), (NEW,), one_in=10),
        reason=_usually(random, reasons, (CancelReason.SELF_TRADE, 0), one_in=10),
    )
    return Draft(command, _logins_ago(random))


def log_in(random: Random, client: int) -> Draft:
    """A client comes back under another log-in, or repeats the last one."""
    mode = _usually(random, tuple(SelfTradePrevention), BAD_CODES, one_in=10)
    further = _usually(random, (0,), (1, -1), one_in=4)
    return Draft(LogIn(client, _usually(random, (1,), (0, -1), one_in=5), mode, further))


def move(random: Random) -> list[Draft]:
    """An instrument goes and comes back, as a rule; each step is left out or taken twice at times.

    Some orders come that nobody sent away, some commands come in between.
    """
    symbol = random.choice((AAPL, AAPL, MSFT, NEW))
    halt = Draft(SetTradingState(symbol, TradingState.HALTED))
    steps = [halt, Draft(MoveOut(symbol, 2)), Draft(_arrival(random, symbol))]
    steps += [Draft(_adoption(random, symbol)) for _ in range(random.randrange(10))]
    taken: list[Draft] = []
    for step in (*steps, halt):
        times = _usually(random, (1,), (0, 2), one_in=20)
        between = [draft(random)] if random.randrange(5) == 0 else []
        taken += [*[step] * times, *between]
    return [*taken, Draft(SetTradingState(symbol, TradingState.TRADING))]


def _arrival(random: Random, symbol: bytes) -> AdoptInstrument:
    return AdoptInstrument(
        symbol,
        _usually(random, (TICK,), (0, 1), one_in=40),
        _usually(random, (10 if symbol == MSFT else 1,), (0, 5), one_in=40),
        _usually(random, tuple(ShortSale), BAD_CODES, one_in=40),
        _usually(random, (0, *PRICES), (1, GREATEST_PRICE + TICK, 2**64 - TICK), one_in=40),
        _usually(random, (1,), (0, -1, 2), one_in=12),
    )


def _adoption(random: Random, symbol: bytes) -> AdoptOrder:
    """An order that arrives: one that left, as a rule, or one with any terms."""
    order_type = _usually(random, (OrderType.LIMIT,) * 5 + tuple(OrderType), BAD_CODES)
    quantity = _quantity(random, symbol)
    return AdoptOrder(
        symbol=symbol,
        moves=_usually(random, (0,), (1, -1), one_in=20),
        source_sequence=_usually(random, (1,), (2, 0, -1), one_in=12),
        client=random.choice((*(NEXT_TO_ARRIVE,) * 5, *CLIENTS, STRANGER, STRANGER + 1)),
        user_ref_num=random.randrange(1, 400),
        side=_usually(random, (Side.BUY, Side.SELL), (Side.SELL_SHORT, *BAD_CODES), one_in=10),
        order_type=order_type,
        time_in_force=_usually(random, TIMES_IN_FORCE, BAD_CODES),
        post_only=_usually(random, (PostOnly.NO,) * 7 + (PostOnly.YES,), BAD_CODES),
        capacity=_usually(random, tuple(Capacity), BAD_CODES),
        quantity=quantity,
        leaves=_usually(random, (quantity,), (quantity // 2, 0, (quantity + 1) % 2**32), one_in=3),
        executed=_usually(random, (0,), (quantity // 3, 1, 2**32 - 1), one_in=3),
        price=_price(random) if order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) else 0,
        stop_price=_price(random) if order_type in (OrderType.STOP, OrderType.STOP_LIMIT) else 0,
    )


def operator_command(random: Random, client: int) -> Draft:
    """What no client sends: halts, listings, and the beginning of a reign."""
    symbol = random.choice((AAPL, MSFT, NEW))
    states = (TradingState.TRADING,) * 4 + (TradingState.HALTED,)
    commands = (
        SetTradingState(symbol, _usually(random, states, BAD_CODES, one_in=10)),
        DefineInstrument(symbol, TICK, 1, ShortSale.ALLOWED),
        DefineInstrument(
            _usually(random, (NEW,), (ALL_SYMBOLS,), one_in=4),
            random.choice((TICK, 0)),
            random.choice((1, 0)),
            random.choice((ShortSale.FORBIDDEN, 0)),
        ),
        Epoch(random.randrange(1, 9), holder_field("e1")),
        NewDay(_usually(random, (1, 1, 1, 2, 70), (0, *BAD_DAYS), one_in=5)),
        ShardMark(_usually(random, (2, 3, 9), (0,), one_in=9), random.choice((1, 1, 50, 0, -1))),
        MoveOut(NEW, 2),
        SetTradingState(symbol, random.choice((TradingState.MOVED, TradingState.ARRIVING))),
    )
    return Draft(random.choice((commands[0],) * 5 + commands))


def _price(random: Random) -> int:
    return _usually(random, PRICES, BAD_PRICES + EXTREME_PRICES)


def _quantity(random: Random, symbol: bytes) -> int:
    lot_size = 10 if symbol == MSFT else 1
    usual: Sequence[int] = range(lot_size, 10 * lot_size, lot_size)
    return _usually(random, usual, (*BAD_QUANTITIES, 999_990, 999_999, 15))


def _order_place(random: Random) -> int:
    return _usually(random, (0, 0, 1, 2, 3, 5), (-1, -7), one_in=20)


def _logins_ago(random: Random) -> int:
    return _usually(random, (0,), (1,), one_in=40)


def _usually(random: Random, usual: Sequence[T], seldom: Sequence[T], one_in: int = 80) -> T:
    return random.choice(usual if random.randrange(one_in) < one_in - 1 else seldom)
