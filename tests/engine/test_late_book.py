"""A subscriber that begins with a machine's snapshot holds that machine's book from there on."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine import Machine
from feed.book import Books
from feed.codec import encode_frame
from feed.digest import ListDigest
from feed.messages import (
    Epoch,
    InstrumentState,
    Message,
    OrderState,
    OrderType,
    Side,
    Snapshot,
    State,
    TradingState,
    holder_field,
)
from feed.run import Run, run_of_frames
from feed.snapshot import (
    SnapshotError,
    StateDigest,
    WholeSnapshot,
    encode_snapshot,
    read_snapshot,
)
from feed.subscriber import Groups
from tests.engine.agreement import day, groups
from tests.engine.machines import MACHINES
from tests.feed.lists import SYMBOL
from tests.feed.replays import pieces, state_of, state_runs


def snapshot_after(machine: Machine, run: Run) -> WholeSnapshot:
    """The snapshot of a machine that has carried out this list."""
    digest = ListDigest()
    digest.update(run)
    at, list_digest = digest.block
    time_ns = run[-1].time_ns
    data = b"".join(
        encode_snapshot(
            Snapshot(run.last_sequence, 1, 1, holder_field("e1"), at, list_digest),
            machine.snapshot(2, time_ns),
            machine.digest(),
            run.part(at + 1, run.last_sequence),
            time_ns,
        )
    )
    return read_snapshot(lambda: pieces(data, 10_000))


@pytest.mark.parametrize("name", MACHINES)
@settings(max_examples=25)
@given(st.integers(0, 10_000), st.data())
def test_books_from_a_snapshot_are_those_from_the_whole_list(
    name: str, seed: int, data: st.DataObject
) -> None:
    every = groups(day(seed, count=150))
    cut = data.draw(st.integers(1, len(every)))
    machine, early = MACHINES[name](), Books()
    for group in every[:cut]:
        assert machine.follow(group) == (len(group), None)
        early.apply(*Groups(group))
    run = run_of_frames(1, [frame for group in every[:cut] for frame in group.split()])
    late = Books.from_snapshot(snapshot_after(machine, run))
    late.check()
    assert late.sequence == early.sequence
    assert late.order_count == early.order_count
    for following in ([], *([group] for group in every[cut:])):
        for group in following:
            early.apply(*Groups(group))
            late.apply(*Groups(group))
            late.check()
        assert late.digest() == early.digest()
        assert [
            (each.symbol, each.tick_size, each.lot_size, each.trading_state, each.last_price)
            for each in late
        ] == [
            (each.symbol, each.tick_size, each.lot_size, each.trading_state, each.last_price)
            for each in early
        ]


def books_of(state: Sequence[State], digest: bytes | None = None) -> Books:
    own = StateDigest()
    runs = state_runs(state, 0)
    for run in runs:
        own.update(run)
    head = Snapshot(1, 1, 1, holder_field("e1"), 0, bytes(32))
    tail = run_of_frames(1, [encode_frame(FIRST, 1, 0, end=True)])
    data = b"".join(encode_snapshot(head, runs, digest or own.digest(), tail, 0))
    return Books.from_snapshot(read_snapshot(lambda: [data]))


FIRST: Message = Epoch(1, holder_field("e1"))
INSTRUMENT = state_of()[1]
BID, OTHER_BID = (each for each in state_of(2) if isinstance(each, OrderState))


def test_a_made_up_state_makes_books() -> None:
    books = books_of(state_of(3))
    books.check()
    (book,) = books
    assert (book.trading_state, book.last_price) == (TradingState.TRADING, 10_000)
    assert [level.order_count for level in book.bids()] == [1, 2]
    assert (book.volume, book.trade_count, books.trade_count) == (0, 0, 0)
    assert books.sequence == 1


@pytest.mark.parametrize(
    "state",
    [
        [BID],
        [INSTRUMENT, INSTRUMENT],
        [INSTRUMENT, BID, BID],
        [INSTRUMENT, BID._replace(leaves=0)],
        [INSTRUMENT, BID._replace(price=0)],
        [INSTRUMENT, BID, OTHER_BID._replace(side=Side.SELL)],
        [InstrumentState(SYMBOL, 1, 1, 0, ord("?"), 0)],
    ],
)
def test_an_impossible_state_is_refused(state: Sequence[State]) -> None:
    with pytest.raises(SnapshotError, match="impossible"):
        books_of(state)


def test_a_state_with_another_digest_is_refused() -> None:
    with pytest.raises(SnapshotError, match="another digest"):
        books_of(state_of(), digest=b"x" * 32)


def test_an_order_that_waits_for_its_stop_price_is_not_in_the_book() -> None:
    stop = BID._replace(order_type=OrderType.STOP_LIMIT, stop_price=20_000)
    books = books_of([INSTRUMENT, OTHER_BID, stop])
    books.check()
    assert (books.order_count, len(list(books.entries()))) == (2, 1)
