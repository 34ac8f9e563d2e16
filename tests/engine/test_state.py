"""A machine's state goes out as frames and comes in again; whoever reads it is the same machine."""

from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.reference
from engine.markets import MarketMachine, ReferenceMarket
from feed.codec import FRAME_HEADER_BYTES
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    Canceled,
    ClientState,
    InstrumentState,
    MarketState,
    NewDay,
    OrderState,
    State,
    TimeInForce,
)
from feed.run import Run, joined, run_of
from tests.engine.agreement import Agreement, shape
from tests.engine.batches import batches, profile
from tests.engine.machines import MACHINES, Build
from tests.engine.states import records, rich_market, run_of_records
from tests.engine.strategies import PROPERTY, seeded_submissions, submission_lists
from tests.engine.test_machines_agree import OTHERS, WITH_EACH_OTHER

pytestmark = pytest.mark.timeout(method="thread")  # as in test_machines_agree.py

EACH_MACHINE = pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES)
EACH_PAIR = pytest.mark.parametrize(
    ("writer", "reader"), [(writer, reader) for writer in MACHINES for reader in MACHINES]
)
TIME_NS = 1_700_000_000_000_000_000


def restored(build: Build, writer: MarketMachine, first_sequence: int = 2) -> MarketMachine:
    """Another machine, from this one's state."""
    reader = build()
    reader.restore(writer.snapshot(first_sequence, TIME_NS))
    return reader


def assert_same(writer: MarketMachine, reader: MarketMachine) -> None:
    """Compare all that two machines show of their states."""
    reader.check()
    assert reader.digest() == writer.digest()
    assert reader.live_orders == writer.live_orders
    assert reader.day == writer.day
    assert list(map(tuple, reader.book_entries())) == list(map(tuple, writer.book_entries()))
    assert list(reader.snapshot(9, 8)) == list(writer.snapshot(9, 8))


def assert_go_on_alike(
    writer: MarketMachine, reader: MarketMachine, batch: bytes, sequence: int
) -> int:
    """Hand both the same submissions; the sequence number after what they made of them."""
    wanted, found = writer.submit(batch, sequence, TIME_NS), reader.submit(batch, sequence, TIME_NS)
    assert found == wanted
    assert shape(found.run) == shape(wanted.run)
    assert_same(writer, reader)
    return wanted.run.next_sequence


# What a snapshot is


@EACH_MACHINE
def test_a_snapshot_has_the_state_in_its_canonical_order(build: Build) -> None:
    state = records(restored(build, rich_market()))
    assert [type(record) for record in state] == [
        MarketState,
        InstrumentState,
        *[OrderState] * 9,
        InstrumentState,
        OrderState,
        *[ClientState] * 3,
    ]
    assert state[0] == MarketState(20260105)
    orders = [record for record in state if isinstance(record, OrderState)]
    assert [(order.side, order.price, order.stop_price, order.number) for order in orders] == [
        (ord("B"), 95, 0, 7),
        (ord("B"), 95, 0, 8),
        (ord("B"), 94, 0, 9),
        (ord("S"), 100, 0, 10),
        (ord("T"), 105, 0, 11),
        (ord("B"), 0, 110, 16),
        (ord("B"), 112, 111, 17),
        (ord("S"), 80, 90, 18),
        (ord("S"), 0, 85, 19),
        (ord("B"), 50, 0, 20),
    ]


@EACH_MACHINE
def test_the_digest_is_that_of_the_types_and_bodies_of_a_snapshot(build: Build) -> None:
    machine = restored(build, rich_market())
    checksum = sha256()
    for run in machine.snapshot(1, 0):
        for frame in run:
            checksum.update(bytes([frame.type]) + frame.data[FRAME_HEADER_BYTES:])
    assert machine.digest() == checksum.digest()


@EACH_MACHINE
def test_frames_of_a_snapshot_are_numbered_and_timed_as_asked(build: Build) -> None:
    run = joined(list(restored(build, rich_market()).snapshot(2**40, TIME_NS)))
    assert [frame.sequence for frame in run] == list(range(2**40, 2**40 + len(run)))
    assert {(frame.time_ns, frame.flags) for frame in run} == {(TIME_NS, 0)}
    assert shape(run) == shape(run_of(2**40, run.data))


@EACH_MACHINE
@pytest.mark.parametrize("size", [1, 4, 16, 17])
def test_runs_of_a_snapshot_have_a_bound(
    build: Build, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = restored(build, rich_market())
    whole = joined(list(machine.snapshot(1, 0)))
    monkeypatch.setattr(engine.reference, "SNAPSHOT_RUN_FRAMES", size)
    if machine.kind == "kernel":
        monkeypatch.setattr("engine._market_c.SNAPSHOT_RUN_FRAMES", size)
    runs = list(machine.snapshot(1, 0))
    assert [len(run) for run in runs[:-1]] == [size] * (len(runs) - 1)
    assert 0 < len(runs[-1]) <= size
    assert joined(runs) == whole


@EACH_MACHINE
def test_an_empty_machine_has_a_state_too(build: Build) -> None:
    machine = build()
    assert records(machine) == [MarketState(0)]
    assert_same(machine, restored(build, machine))


@EACH_MACHINE
def test_frames_that_were_counted_are_no_part_of_the_state(build: Build) -> None:
    machine = restored(build, rich_market())
    assert dict(machine.frame_counts) == {}


# Who reads it


@EACH_PAIR
def test_whoever_reads_a_state_shows_the_same(writer: str, reader: str) -> None:
    author = restored(MACHINES[writer], rich_market())
    assert_same(rich_market(), author)
    assert_same(author, restored(MACHINES[reader], author))


@EACH_PAIR
@settings(PROPERTY, max_examples=25)
@pytest.mark.timeout(600, method="thread")  # a failure takes its time to shrink
@given(submission_lists(), st.integers(0, 130), st.integers(1, 20))
def test_a_machine_that_was_restored_goes_on_like_the_one_that_wrote(
    writer: str, reader: str, submissions: list[Submission], played: int, batch_size: int
) -> None:
    author = MACHINES[writer]()
    run = author.submit(b"".join(map(encode_submission, submissions[:played])), 1, 0).run
    other = restored(MACHINES[reader], author)
    assert_same(author, other)
    sequence = run.next_sequence
    for at in range(played, len(submissions), batch_size):
        batch = b"".join(map(encode_submission, submissions[at : at + batch_size]))
        sequence = assert_go_on_alike(author, other, batch, sequence)


@pytest.mark.parametrize("seed", range(800, 808))
def test_machines_that_are_restored_again_and_again_agree_through_a_seeds_batches(
    seed: int,
) -> None:
    random = Random(seed)
    market = profile(random)
    with patch("engine.market.MAX_LIVE_ORDERS", market.order_limit):
        pair = Agreement(MACHINES[OTHERS[0]], market.first_sequence)
        # Commands are drawn by what lives, and so by one market that is never replaced.
        drawn_by = pair.reference.rules
        one, other = pair.reference, pair.other
        for number, batch in enumerate(batches(random, market, 700, drawn_by)):
            data = b"".join(map(encode_submission, batch.submissions))
            wanted = pair.reference.submit(data, pair.next_sequence, batch.time_ns)
            for machine in (one, other):
                if machine is not pair.reference:
                    assert machine.submit(data, pair.next_sequence, batch.time_ns) == wanted
            pair.next_sequence = wanted.run.next_sequence
            if number % 7 == 0:
                one = ReferenceMarket()
                one.restore(other.snapshot(1, number))
                other = MACHINES[OTHERS[0]]()
                other.restore(pair.reference.snapshot(number + 1, 0))
                assert_same(pair.reference, one)
                assert_same(pair.reference, other)


@EACH_MACHINE
@pytest.mark.parametrize("size", [1, 3, 16])
def test_a_state_may_come_in_pieces_of_any_size(build: Build, size: int) -> None:
    whole = joined(list(rich_market().snapshot(5, 0)))
    last = whole.last_sequence
    pieces = [whole.part(first, first + size - 1) for first in range(5, last + 1, size)]
    machine = build()
    machine.restore(pieces)
    assert machine.digest() == rich_market().digest()


@WITH_EACH_OTHER
def test_a_deep_book_comes_back(build: Build) -> None:
    """More orders than a run holds, and than the kernel's first memory for anything."""
    author = MACHINES[OTHERS[0]]()
    submissions = seeded_submissions(1, 1)
    author.submit(b"".join(map(encode_submission, submissions)), 1, 0)
    order = next(r for r in records(rich_market()) if isinstance(r, OrderState))
    instrument = next(r for r in records(author) if isinstance(r, InstrumentState))
    clients = [r for r in records(author) if isinstance(r, ClientState)]
    numbers = list(range(1, 20_001))
    Random(1).shuffle(numbers)
    orders = [
        order._replace(
            number=number,
            user_ref_num=number,
            price=100 * (30_000 - place // 3),
            time_in_force=TimeInForce.DAY if number % 2 else TimeInForce.GOOD_TILL_CANCEL,
        )
        for place, number in enumerate(numbers)
    ]
    state: list[State] = [MarketState(0), instrument, *orders, *clients]
    machine = build()
    machine.restore([run_of_records(state)])
    machine.check()
    assert [run.data for run in machine.snapshot(1, 0)] == [
        run_of_records(state).part(first, first + 16_383).data for first in (1, 16_385)
    ]
    expired = list(machine.carry_out(NewDay(20260105), 30_000, 0))[1:]
    ended = [cast(Canceled, frame.message()).order_number for frame in expired]
    assert ended == list(range(1, 20_001, 2))
    assert machine.live_orders == 10_000
    assert len(machine.carry_out(NewDay(20260106), 60_000, 0)) == 1
    machine.check()


# Who can't


@EACH_MACHINE
def test_only_an_empty_machine_is_restored(build: Build) -> None:
    machine = restored(build, rich_market())
    digest = machine.digest()
    with pytest.raises(ValueError, match="only an empty market"):
        machine.restore(rich_market().snapshot(1, 0))
    assert machine.digest() == digest
    begun = build()
    begun.carry_out(NewDay(20260105), 1, 0)
    with pytest.raises(ValueError, match="only an empty market"):
        begun.restore(rich_market().snapshot(1, 0))


@EACH_MACHINE
def test_a_machine_whose_state_breaks_off_stays_empty(build: Build) -> None:
    class BrokenOffError(Exception):
        pass

    def broken_off() -> Iterator[Run]:
        yield joined(list(rich_market().snapshot(1, 0))).part(1, 9)
        raise BrokenOffError

    machine = build()
    with pytest.raises(BrokenOffError):
        machine.restore(broken_off())
    assert records(machine) == [MarketState(0)]
    machine.restore(rich_market().snapshot(1, 0))
    assert_same(rich_market(), machine)


@EACH_MACHINE
def test_no_frames_are_no_state(build: Build) -> None:
    for runs in ([], [run_of(1, b"")]):
        with pytest.raises(ValueError, match="not one frame"):
            build().restore(runs)


@pytest.mark.skipif("kernel" not in MACHINES, reason="the kernel was not built")
def test_the_kernel_notices_that_it_was_used_before_its_snapshot_was_drawn() -> None:
    machine = restored(MACHINES["kernel"], rich_market())
    runs = machine.snapshot(1, 0)
    machine.carry_out(NewDay(20260106), 100, 0)
    with pytest.raises(RuntimeError, match="was used"):
        next(runs)

    def meddling() -> Iterator[Run]:
        yield from rich_market().snapshot(1, 0)
        other.carry_out(NewDay(20260106), 100, 0)
        yield run_of(1, b"")

    other = MACHINES["kernel"]()
    with pytest.raises(RuntimeError, match="was used"):
        other.restore(meddling())
    assert records(other) == [MarketState(0)]
