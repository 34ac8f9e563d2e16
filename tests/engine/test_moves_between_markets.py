"""A book that moves from one market to another trades there as if it had never moved."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.datagrams import Submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    CancelOrder,
    ClientState,
    Command,
    DefineInstrument,
    Event,
    InstrumentState,
    LogIn,
    MoveOut,
    OrderState,
    SetTradingState,
    ShortSale,
    TradingState,
)
from tests.engine.machines import MACHINES, ByBytes
from tests.engine.states import NEW, records
from tests.engine.strategies import (
    AAPL,
    CLIENTS,
    MSFT,
    PROPERTY,
    enter_order,
    replace_order,
    seeded_submissions,
    submission_lists,
)
from tests.engine.test_state import EACH_PAIR

pytestmark = pytest.mark.timeout(600, method="thread")  # a failure takes its time to shrink

LOGIN = 1_000
UNUSED = 10_000  # user_ref_nums from here on are nobody's
HALTED, TRADING = TradingState.HALTED, TradingState.TRADING


class Desk:
    """A market, its list's end, and what the numbers of its orders are in the other list."""

    def __init__(self, driven: ByBytes) -> None:
        self.driven = driven
        self.sequence = 1
        self.numbers: dict[int, int] = {}

    def submit(self, command: Command, login: int = LOGIN) -> list[Event] | None:
        """The events that a command causes, with the numbers of the other list; None when it is
        not admitted."""
        events = self.driven.take(login, command, self.sequence, 0)
        self.driven.check()
        if events is None:
            return None
        self.sequence += 1 + len(events)
        return [self._translated(event) for event in events]

    def _translated(self, event: Event) -> Event:
        fields = {
            name: self.numbers.get(value, value)
            for name, value in event._asdict().items()
            if name.endswith("number")
        }
        return event._replace(**fields)  # type: ignore[arg-type]

    def book(self, symbol: bytes) -> list[tuple[int, ...]]:
        """The resting orders of a symbol: side, price, number and quantity, in their priority."""
        return [
            (side, price, self.numbers.get(number, number), leaves)
            for entry, side, price, number, leaves in self.driven.book_entries()
            if entry == symbol
        ]

    def orders(self, symbol: bytes) -> list[OrderState]:
        """Every live order of a symbol, the waiting stops too."""
        state = records(self.driven.machine)
        return [each for each in state if isinstance(each, OrderState) and each.symbol == symbol]


def played(machine: str, submissions: Sequence[Submission]) -> Desk:
    """A market after these submissions, but moves: all clients are logged in, AAPL and MSFT
    halted."""
    desk = Desk(ByBytes(MACHINES[machine]))
    for login, command in submissions:
        if not isinstance(command, MoveOut):
            desk.submit(command, login)
    log_in(desk, desk)
    for symbol in (AAPL, MSFT):
        desk.submit(SetTradingState(symbol, HALTED))
    return desk


def log_in(desk: Desk, like: Desk) -> None:
    """Let each client log in with its mode of self-trade prevention in the other market."""
    known = [each for each in records(like.driven.machine) if isinstance(each, ClientState)]
    modes = {each.client: each.self_trade_prevention for each in known}
    for client in CLIENTS:
        mode = modes.get(client, ord("F"))
        assert desk.submit(LogIn(client, LOGIN, mode, 2**63)) == []


def arrival(symbol: bytes, group: Sequence[Event], first_sequence: int) -> list[Command]:
    """The commands that bring in what left in this group, whose first event has this number."""
    went = group[0]
    assert isinstance(went, InstrumentState)
    assert (went.symbol, went.state, went.adopted_sequence) == (symbol, HALTED, 0)
    terms = (went.tick_size, went.lot_size, went.short_sale, went.last_price)
    commands: list[Command] = [AdoptInstrument(symbol, *terms, went.moves)]
    for sequence, event in enumerate(group[1:], first_sequence + 1):
        assert isinstance(event, OrderState)
        _, client, user_ref_num, _, *rest = event
        commands.append(AdoptOrder(symbol, went.moves, sequence, client, user_ref_num, *rest))
    return commands


def moved(symbol: bytes, source: Desk, machine: str) -> Desk:
    """Another market, to which a symbol has moved from this one, and where it is halted."""
    begin = source.sequence
    events = source.submit(MoveOut(symbol, 2))
    assert events
    assert source.orders(symbol) == []
    there = Desk(ByBytes(MACHINES[machine]))
    there.submit(DefineInstrument(NEW, 100, 1, ShortSale.ALLOWED))
    for command in arrival(symbol, events, begin + 1):
        if isinstance(command, AdoptOrder):
            state = events[command.source_sequence - begin - 1]
            assert isinstance(state, OrderState)
            there.numbers[there.sequence] = state.number
        assert there.submit(command) == []
        assert there.submit(command) is None  # once, however often it is sent
    assert there.submit(SetTradingState(symbol, HALTED)) == []
    return there


def trade_alike(random: Random, symbol: bytes, one: Desk, other: Desk) -> None:
    """Let clients enter, replace and cancel orders in both markets, with the same outcome."""
    for user_ref_num in range(UNUSED, UNUSED + 12):
        live = one.orders(symbol)
        client = random.choice(CLIENTS)
        command: Command
        if live and random.randrange(3) == 0:
            order = random.choice(live)
            command = CancelOrder(order.client, order.user_ref_num, random.choice((0, 1, 5)))
        elif live and random.randrange(3) == 0:
            order = random.choice(live)
            terms = replace_order(random, order.client).command
            command = terms._replace(  # type: ignore[call-arg]
                original_user_ref_num=order.user_ref_num,
                user_ref_num=user_ref_num,
                price=random.choice((order.price, 9_900, 10_000, 10_100)),
            )
        else:
            terms = enter_order(random, client).command
            command = terms._replace(symbol=symbol, user_ref_num=user_ref_num)  # type: ignore[call-arg]
        other.numbers[other.sequence] = one.sequence
        assert other.submit(command) == one.submit(command), command
        assert other.book(symbol) == one.book(symbol)


@EACH_PAIR
@settings(PROPERTY, max_examples=40)
@given(submission_lists(), st.sampled_from((AAPL, AAPL, MSFT)), st.randoms(use_true_random=False))
def test_a_book_that_has_moved_trades_like_one_that_has_not(
    writer: str, reader: str, submissions: list[Submission], symbol: bytes, random: Random
) -> None:
    stays, goes = played(writer, submissions), played(writer, submissions)
    assert_moves_and_trades_alike(symbol, stays, goes, reader, random)


@EACH_PAIR
@pytest.mark.parametrize("seed", range(3))
def test_a_days_book_that_has_moved_trades_like_one_that_has_not(
    writer: str, reader: str, seed: int
) -> None:
    submissions = seeded_submissions(seed, 150)
    stays, goes = played(writer, submissions), played(writer, submissions)
    orders = {each.symbol: each.orders for each in goes.driven.machine.instruments()}
    symbol = max((AAPL, MSFT), key=lambda each: orders[each])
    assert orders[symbol] > 2
    assert_moves_and_trades_alike(symbol, stays, goes, reader, Random(seed))


def assert_moves_and_trades_alike(
    symbol: bytes, stays: Desk, goes: Desk, machine: str, random: Random
) -> None:
    before = stays.book(symbol)
    there = moved(symbol, goes, machine)
    assert there.book(symbol) == before
    assert [each[1:] for each in there.orders(symbol)] == [
        each[1:] for each in stays.orders(symbol)
    ]
    log_in(there, stays)
    for desk in (stays, there):
        assert desk.submit(SetTradingState(symbol, TRADING)) == []
    trade_alike(random, symbol, stays, there)
