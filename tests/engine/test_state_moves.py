"""Marks, and instruments that come and go, in a machine's state: written, read and doubted."""

from typing import NamedTuple

import pytest

from engine.market import MAX_MARKS
from feed.messages import (
    ClientState,
    Command,
    InstrumentState,
    MarketState,
    MarkState,
    Message,
    OrderState,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    TradingState,
)
from tests.engine.floor import AAPL, ALICE, BOB, CAROL, MSFT
from tests.engine.machines import MACHINES, Build
from tests.engine.states import (
    ADOPTED,
    NEW,
    STRANGER,
    moving_market,
    records,
    run_of_records,
)
from tests.engine.test_state import EACH_MACHINE, EACH_PAIR, assert_same, restored

pytestmark = pytest.mark.timeout(method="thread")  # as in test_machines_agree.py

STATE = records(moving_market())
MARKET, FIRST_MARK, SECOND_MARK, AAPL_AT, BID, MSFT_AT, NEW_AT, NEW_BID, NEW_STOP = range(9)
OFF = int(SelfTradePrevention.OFF)


@EACH_MACHINE
def test_a_snapshot_tells_of_marks_and_moves_in_its_canonical_order(build: Build) -> None:
    state = records(restored(build, moving_market()))
    assert [type(each) for each in state] == [
        MarketState,
        *[MarkState] * 2,
        InstrumentState,
        OrderState,
        InstrumentState,
        InstrumentState,
        OrderState,
        OrderState,
        *[ClientState] * 4,
    ]
    assert state[FIRST_MARK : SECOND_MARK + 1] == [MarkState(2, 5), MarkState(9, 70)]
    instruments = [each for each in state if isinstance(each, InstrumentState)]
    assert instruments == [
        InstrumentState(AAPL, 1, 1, ShortSale.ALLOWED, TradingState.TRADING, 0, 0, 0),
        InstrumentState(MSFT, 5, 10, ShortSale.FORBIDDEN, TradingState.MOVED, 0, 1, 0),
        InstrumentState(NEW, 5, 10, ShortSale.FORBIDDEN, TradingState.ARRIVING, 100, 3, 72),
    ]
    clients = [each for each in state if isinstance(each, ClientState)]
    assert clients == [
        ClientState(ALICE, 1, 2, OFF, 0),
        ClientState(BOB, 77, 0, OFF, 12),
        ClientState(CAROL, 1, 0, OFF, 0),
        ClientState(STRANGER, 0, 0, OFF, 0),
    ]


@EACH_PAIR
def test_an_arrival_goes_on_where_the_state_was_read(writer: str, reader: str) -> None:
    author = restored(MACHINES[writer], moving_market())
    machine = restored(MACHINES[reader], author)
    assert_same(author, machine)
    commands: list[Command] = [
        ADOPTED._replace(source_sequence=71, user_ref_num=10),
        ADOPTED._replace(source_sequence=73, user_ref_num=11),
        ShardMark(2, 5),
        ShardMark(2, 6),
        SetTradingState(NEW, TradingState.HALTED),
        SetTradingState(NEW, TradingState.TRADING),
    ]
    for sequence, command in enumerate(commands, 100):
        wanted = author.carry_out(command, 2 * sequence, 0)
        assert machine.carry_out(command, 2 * sequence, 0) == wanted
        assert_same(author, machine)


@EACH_MACHINE
def test_only_a_machine_without_marks_is_restored(build: Build) -> None:
    machine = build()
    machine.carry_out(ShardMark(2, 1), 1, 0)
    with pytest.raises(ValueError, match="only an empty market"):
        machine.restore([run_of_records(STATE)])


def changed(at: int, **fields: object) -> list[Message]:
    """The state with other fields in one record."""
    state: list[Message] = [*STATE]
    state[at] = state[at]._replace(**fields)  # type: ignore[arg-type]
    return state


def added(at: int, *messages: Message) -> list[Message]:
    """The state with these records in front of the one at that place."""
    return [*STATE[:at], *messages, *STATE[at:]]


class Wrong(NamedTuple):
    """A state that none can have, and what is said of it."""

    state: list[Message]
    frame: int
    why: str


NONE, LATE = "an order of an instrument that has none", "a mark after the instruments"
NOBODY_CAME = "orders adopted without an arrival"
MANY: list[Message] = [MarkState(shard, 1) for shard in range(1, MAX_MARKS + 2)]
BEGINNING: list[Message] = [MarketState(0)]

WRONG = {
    "a mark before the market": Wrong(
        [STATE[1], STATE[0]], 1, "the market's own record comes first, and once"
    ),
    "marks out of order": Wrong(changed(SECOND_MARK, shard=1), 3, "marks out of order"),
    "one shard twice": Wrong(changed(SECOND_MARK, shard=2), 3, "marks out of order"),
    "a mark of no shard": Wrong(changed(FIRST_MARK, shard=0), 2, "marks out of order"),
    "a mark at no place": Wrong(changed(FIRST_MARK, sequence=0), 2, "a mark at no place"),
    "a mark after an instrument": Wrong(added(BID, MarkState(10, 1)), 5, LATE),
    "a mark after the clients": Wrong(added(len(STATE), MarkState(10, 1)), 14, LATE),
    "a mark after a lone client": Wrong(
        [MarketState(0), ClientState(1, 1, 1, OFF), MarkState(1, 1)], 3, LATE
    ),
    "too many marks": Wrong(BEGINNING + MANY, MAX_MARKS + 2, "more marks than a market holds"),
    "gone without a move": Wrong(
        changed(MSFT_AT, moves=0), 6, "an instrument is gone that never moved"
    ),
    "adopted while it trades": Wrong(changed(AAPL_AT, adopted_sequence=1), 4, NOBODY_CAME),
    "adopted while it is gone": Wrong(changed(MSFT_AT, adopted_sequence=1), 6, NOBODY_CAME),
    "adopted while it is halted": Wrong(changed(NEW_AT, state=TradingState.HALTED), 7, NOBODY_CAME),
    "an order of what is gone": Wrong(changed(AAPL_AT, state=TradingState.MOVED, moves=1), 5, NONE),
    "an order that nobody adopted": Wrong(changed(NEW_AT, adopted_sequence=0), 8, NONE),
    "an unknown state": Wrong(changed(NEW_AT, state=ord("B")), 7, "an unknown code"),
}


@EACH_MACHINE
@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_no_machine_can_have_is_refused(build: Build, name: str) -> None:
    wrong = WRONG[name]
    machine = build()
    with pytest.raises(ValueError, match="frame") as refusal:
        machine.restore([run_of_records(wrong.state)])
    assert str(refusal.value) == f"frame {wrong.frame} of the state: {wrong.why}"
    assert records(machine) == [MarketState(0)], "something of a wrong state stayed"


@EACH_MACHINE
@pytest.mark.parametrize(
    "state",
    [
        changed(NEW_AT, moves=0),
        changed(NEW_AT, adopted_sequence=2**64 - 1),
        changed(MSFT_AT, moves=2**32 - 1, last_price=5),
        changed(FIRST_MARK, sequence=2**64 - 1),
        changed(SECOND_MARK, shard=2**16 - 1),
        changed(AAPL_AT, moves=7),
        [*BEGINNING, *MANY[:-1]],
    ],
)
def test_states_at_their_limits_are_read(build: Build, state: list[Message]) -> None:
    machine = build()
    machine.restore([run_of_records(state)])
    machine.check()
    assert records(machine) == state
