"""What no machine can have as its state is refused, with the same words by each, and harms none."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.markets import ReferenceMarket
from engine.state_error import StateError
from feed.codec import encode_frame
from feed.frames import Summary
from feed.messages import (
    ALL_SYMBOLS,
    Canceled,
    CancelReason,
    InstrumentState,
    MarketState,
    Message,
    NewDay,
    OrderState,
    OrderType,
    PostOnly,
    Side,
    SnapshotEnd,
    State,
    TimeInForce,
)
from feed.run import Run
from tests.engine.floor import AAPL, MSFT
from tests.engine.machines import MACHINES, Build
from tests.engine.states import frames_of, moving_market, records, rich_market, run_of_records
from tests.engine.strategies import PROPERTY, seeded_submissions
from tests.engine.test_state import EACH_MACHINE

pytestmark = pytest.mark.timeout(method="thread")  # as in test_machines_agree.py

RICH = records(rich_market())
RICH_RUNS = [run_of_records(RICH)]
(
    MARKET,
    AAPL_AT,
    FIRST_BID,
    SECOND_BID,
    LOW_BID,
    ASK,
    SHORT_ASK,
    BUY_STOP,
    BUY_STOP_LIMIT,
    SELL_STOP_LIMIT,
    SELL_STOP,
    MSFT_AT,
    MSFT_BID,
    ALICE_AT,
    BOB_AT,
    CAROL_AT,
) = range(len(RICH))


def changed(at: int, **fields: object) -> list[Message]:
    """The rich state with other fields in one record."""
    state: list[Message] = [*RICH]
    state[at] = state[at]._replace(**fields)  # type: ignore[arg-type]
    return state


def without(*places: int) -> list[Message]:
    """The rich state without some of its records."""
    return [record for at, record in enumerate(RICH) if at not in places]


def moved(at: int, to: int) -> list[Message]:
    """The rich state with one record at another place."""
    state: list[Message] = [*RICH]
    state.insert(to, state.pop(at))
    return state


def verdict(build: Build, runs: Sequence[Run]) -> bytes | str:
    """What a machine makes of such a state: its digest, or why it can't be."""
    machine = build()
    try:
        machine.restore(runs)
    except ValueError as error:
        assert records(machine) == [MarketState(0)], "something of a wrong state stayed"
        machine.restore(RICH_RUNS)
        assert machine.live_orders
        return str(error)
    machine.check()
    return machine.digest()


class Wrong(NamedTuple):
    """A state that none can have, and what is said of it."""

    state: list[Message]
    frame: int
    why: str


PRICE, STOP_PRICE = "a price that no order has", "a stop price that no order has"
CODE, RESTS = "an unknown code", "an order rests that may not"
FIRST, NO_RECORD = "the market's own record comes first, and once", "no record of a market's state"
APART = "an order apart from its instrument"
ORDER = "orders out of order"
SPLIT = "open and executed are more than what was asked for"

WRONG = {
    "the market comes second": Wrong(moved(MARKET, 1), 1, FIRST),
    "the market comes twice": Wrong([MarketState(0), *RICH], 2, FIRST),
    "no market": Wrong(without(MARKET), 1, FIRST),
    "a day that is none": Wrong(changed(MARKET, day=20260230), 1, "the day is no date"),
    "no name": Wrong(changed(MSFT_AT, symbol=ALL_SYMBOLS), 12, "instruments out of order"),
    "no name, first": Wrong(
        changed(AAPL_AT, symbol=ALL_SYMBOLS), 2, "an instrument without a name"
    ),
    "one twice": Wrong(changed(MSFT_AT, symbol=AAPL), 12, "instruments out of order"),
    "the later one first": Wrong(changed(AAPL_AT, symbol=b"ZZ      "), 3, APART),
    "no tick size": Wrong(changed(AAPL_AT, tick_size=0), 2, "a tick size or lot size of 0"),
    "no lot size": Wrong(changed(AAPL_AT, lot_size=0), 2, "a tick size or lot size of 0"),
    "short sale": Wrong(changed(AAPL_AT, short_sale=1), 2, CODE),
    "trading state": Wrong(changed(AAPL_AT, state=1), 2, CODE),
    "last price off its tick": Wrong(
        changed(MSFT_AT, last_price=3), 12, "a last price that nothing trades at"
    ),
    "last price": Wrong(
        changed(AAPL_AT, last_price=2**32 + 100), 2, "a last price that nothing trades at"
    ),
    "an instrument late": Wrong(
        [*RICH, InstrumentState(b"NEW     ", 1, 1, ord("Y"), ord("T"), 0)],
        17,
        "an instrument after the clients",
    ),
    "an order before all instruments": Wrong(moved(FIRST_BID, 1), 2, APART),
    "an order of another instrument": Wrong(changed(FIRST_BID, symbol=MSFT), 3, APART),
    "an order late": Wrong(moved(MSFT_BID, 15), 16, APART),
    "side": Wrong(changed(FIRST_BID, side=1), 3, CODE),
    "order type": Wrong(changed(FIRST_BID, order_type=1), 3, CODE),
    "time in force": Wrong(changed(FIRST_BID, time_in_force=ord("2")), 3, CODE),
    "post-only": Wrong(changed(FIRST_BID, post_only=0), 3, CODE),
    "capacity": Wrong(changed(FIRST_BID, capacity=0), 3, CODE),
    "a short sale": Wrong(
        changed(MSFT_BID, side=Side.SELL_SHORT), 13, "a short sale where there are none"
    ),
    "quantity 0": Wrong(changed(FIRST_BID, quantity=0), 3, "a quantity that no order asks for"),
    "quantity too large": Wrong(
        changed(FIRST_BID, quantity=1_000_000), 3, "a quantity that no order asks for"
    ),
    "quantity off its lot": Wrong(
        changed(MSFT_BID, quantity=25), 13, "a quantity that no order asks for"
    ),
    "leaves 0": Wrong(changed(FIRST_BID, leaves=0), 3, "an order with nothing left"),
    "leaves too many": Wrong(changed(FIRST_BID, leaves=11), 3, SPLIT),
    "executed too much": Wrong(changed(ASK, executed=4), 6, SPLIT),
    "open and executed wrap": Wrong(changed(FIRST_BID, leaves=2**32 - 1, executed=2), 3, SPLIT),
    "price 0": Wrong(changed(FIRST_BID, price=0), 3, PRICE),
    "price off its tick": Wrong(changed(MSFT_BID, price=51), 13, PRICE),
    "price too high": Wrong(changed(FIRST_BID, price=2**32 + 95), 3, PRICE),
    "price without a limit": Wrong(changed(BUY_STOP, price=100), 8, PRICE),
    "stop price too high": Wrong(changed(BUY_STOP, stop_price=2**32 + 110), 8, STOP_PRICE),
    "no stop price": Wrong(changed(BUY_STOP, stop_price=0), 8, STOP_PRICE),
    "stop price in the book": Wrong(changed(FIRST_BID, stop_price=110), 3, STOP_PRICE),
    "a stop that has traded": Wrong(
        changed(BUY_STOP, leaves=4, executed=1), 8, "a stop waits that has traded"
    ),
    "a stop that is post-only": Wrong(
        changed(BUY_STOP_LIMIT, post_only=PostOnly.YES), 9, "a stop that is post-only"
    ),
    "a market order rests": Wrong(
        changed(FIRST_BID, order_type=OrderType.MARKET, price=0), 3, RESTS
    ),
    "an immediate order rests": Wrong(
        changed(FIRST_BID, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL), 3, RESTS
    ),
    "a fill-or-kill order rests": Wrong(
        changed(FIRST_BID, time_in_force=TimeInForce.FILL_OR_KILL), 3, RESTS
    ),
    "bids out of order": Wrong(moved(LOW_BID, FIRST_BID), 4, ORDER),
    "asks out of order": Wrong(moved(SHORT_ASK, ASK), 7, ORDER),
    "buy stops out of order": Wrong(moved(BUY_STOP_LIMIT, BUY_STOP), 9, ORDER),
    "sell stops out of order": Wrong(moved(SELL_STOP, SELL_STOP_LIMIT), 11, ORDER),
    "a bid behind asks": Wrong(moved(LOW_BID, ASK), 6, ORDER),
    "an ask behind stops": Wrong(moved(SHORT_ASK, BUY_STOP), 8, ORDER),
    "crossed book": Wrong(changed(ASK, price=95), 6, "crossed book"),
    "a buy stop that was reached": Wrong(
        changed(BUY_STOP, stop_price=100), 8, "a stop waits though its price has traded"
    ),
    "a sell stop that was reached": Wrong(
        changed(SELL_STOP_LIMIT, stop_price=100), 10, "a stop waits though its price has traded"
    ),
    "one user_ref_num twice": Wrong(
        changed(MSFT_BID, user_ref_num=1),
        13,
        "its client has another order by this user_ref_num",
    ),
    "one number twice": Wrong(changed(MSFT_BID, number=8), 13, "two orders have this number"),
    "one number twice, side by side": Wrong(
        changed(SECOND_BID, number=7), 4, "two orders have this number"
    ),
    "clients out of order": Wrong(moved(CAROL_AT, ALICE_AT), 15, "clients out of order"),
    "a client twice": Wrong([*RICH, RICH[-1]], 17, "clients out of order"),
    "self-trade prevention": Wrong(changed(BOB_AT, self_trade_prevention=0), 15, CODE),
    "a client is missing": Wrong(without(BOB_AT), 4, "the record of its client is missing"),
    "clients are missing": Wrong(
        without(ALICE_AT, BOB_AT, CAROL_AT), 3, "the record of its client is missing"
    ),
    "an event": Wrong([*RICH, Canceled(1, 1, 7, 10, CancelReason.USER)], 17, NO_RECORD),
    "an end": Wrong([*RICH, SnapshotEnd(bytes(32))], 17, NO_RECORD),
    "a command": Wrong([*RICH, NewDay(20260106)], 17, "it begins or ends a group"),
}


@EACH_MACHINE
@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_no_machine_can_have_is_refused(build: Build, name: str) -> None:
    wrong = WRONG[name]
    said = verdict(build, [run_of_records(wrong.state)])
    assert said == f"frame {wrong.frame} of the state: {wrong.why}"


@EACH_MACHINE
def test_more_orders_than_a_machine_holds_are_refused(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = sum(isinstance(record, OrderState) for record in RICH)
    monkeypatch.setattr("engine.market.MAX_LIVE_ORDERS", orders)
    assert isinstance(verdict(build, [run_of_records(RICH)]), bytes)
    monkeypatch.setattr("engine.market.MAX_LIVE_ORDERS", orders - 1)
    machine = build()
    with pytest.raises(StateError, match=r"frame 13 .*more live orders than a market holds"):
        machine.restore([run_of_records(RICH)])


@EACH_MACHINE
def test_a_frame_with_another_number_is_refused(build: Build) -> None:
    frames = frames_of(RICH, first_sequence=5)
    del frames[3]
    said = verdict(build, [raw(frames, 5)])
    assert said == "frame 8 of the state: it has another number"


@EACH_MACHINE
def test_a_frame_that_ends_a_group_is_refused(build: Build) -> None:
    frames = [*frames_of(RICH)[:-1], encode_frame(RICH[-1], 16, 0, end=True)]
    assert verdict(build, [raw(frames)]) == "frame 16 of the state: it begins or ends a group"


@EACH_MACHINE
@pytest.mark.parametrize("cut", [1, 3, 4, 23, 24, 40])
def test_a_frame_that_is_cut_off_is_refused(build: Build, cut: int) -> None:
    frames = frames_of(RICH)
    frames[-1] = frames[-1][:cut]
    said = verdict(build, [raw(frames)])
    if cut < 4:
        why = "not the beginning of a frame: unknown length, type or flags"
    else:
        why = "truncated frame"
    assert said == f"frame 16 of the state: {why}"


def raw(frames: Sequence[bytes], first_sequence: int = 1) -> Run:
    """A run of bytes that may be no frames."""
    return Run(first_sequence, b"".join(frames), Summary(len(frames), 0, 0))


# Whatever it is, all machines say the same of it

FIELDS = (0, 1, 2, 7, 8, 50, 95, 100, 105, 110, 2**31, 2**32 - 1)
CODES = b"BSTLMOD0134PNYAHCRF\x00\xff"


def with_other_fields(random: Random, state: list[State]) -> None:
    """Another value in one or two fields of a record."""
    at = random.randrange(len(state))
    record = state[at]
    for _ in range(random.randint(1, 2)):
        field = random.choice(record._fields)
        old = getattr(record, field)
        if isinstance(old, bytes):
            new: object = random.choice((AAPL, MSFT, ALL_SYMBOLS, bytes(8), b"\xff" * 8))
        elif field in CODE_FIELDS:
            new = random.choice(CODES)
        else:
            others = [each for each in state if field in each._fields]
            near = (old + 1, max(old - 1, 0), getattr(random.choice(others), field))
            widest = 2**16 - 1 if field == "shard" else 2**32 - 1
            new = min(random.choice((*FIELDS, *near, *near, *near)), widest)
        record = record._replace(**{field: new})  # type: ignore[arg-type]
    state[at] = record


CODE_FIELDS = {
    "short_sale",
    "state",
    "side",
    "order_type",
    "time_in_force",
    "post_only",
    "capacity",
    "self_trade_prevention",
}


def with_another_order(random: Random, state: list[State]) -> None:
    """A record goes, comes twice, or stands elsewhere."""
    at = random.randrange(len(state))
    match random.randrange(3):
        case 0:
            del state[at]
        case 1:
            state.insert(random.randrange(len(state) + 1), state[at])
        case _:
            state.insert(random.randrange(len(state)), state.pop(at))


def seeded_state(seed: int) -> list[State]:
    """The state after the commands that a seed stands for."""
    machine = ReferenceMarket()
    for at, submission in enumerate(seeded_submissions(seed, 150)):
        if machine.rules.admits(*submission):
            machine.rules.apply(100 * at + 1, 0, submission.command)
    return records(machine)


STATES = [RICH, records(moving_market()), *map(seeded_state, range(3))]
DAMAGES: tuple[Callable[[Random, list[State]], None], ...] = (
    with_other_fields,
    with_other_fields,
    with_another_order,
)


def assert_same_verdict(runs: Sequence[Run]) -> None:
    verdicts = {verdict(build, runs) for build in MACHINES.values()}
    assert len(verdicts) == 1, verdicts


@settings(PROPERTY, max_examples=300)
@given(st.randoms(use_true_random=False), st.sampled_from(STATES), st.integers(1, 3))
def test_machines_judge_a_changed_state_alike(
    random: Random, state: list[State], changes: int
) -> None:
    state = [*state]
    for _ in range(changes):
        if state:
            random.choice(DAMAGES)(random, state)
    assert_same_verdict([run_of_records(state)] if state else [])


@settings(PROPERTY, max_examples=200)
@given(st.randoms(use_true_random=False), st.sampled_from(STATES))
def test_machines_judge_spoilt_bytes_alike(random: Random, state: list[State]) -> None:
    data = bytearray(run_of_records(state).data)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                del data[at : at + random.randrange(1, 99)]
            case 2:
                data[at:at] = random.randbytes(random.randrange(1, 9))
            case _:
                del data[at:]
        if not data:
            break
    assert_same_verdict([raw([bytes(data)])])


def test_the_changes_are_of_many_kinds() -> None:
    """Else the property above would not reach what comes after the first check."""
    verdicts = []
    for seed in range(300):
        random = Random(seed)
        state = [*random.choice(STATES)]
        random.choice(DAMAGES)(random, state)
        verdicts.append(verdict(ReferenceMarket, [run_of_records(state)]))
    refused = [each.partition("state: ")[2] for each in verdicts if isinstance(each, str)]
    assert len(set(refused)) > 15
    assert len(verdicts) - len(refused) > 30
