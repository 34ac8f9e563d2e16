"""Reference and kernel are one machine: the same bytes out for the same bytes in, always.

Where the kernel was not built, the reference is held against itself.
"""

import os
import resource
from collections import Counter
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.machine import Sequenced
from engine.markets import ReferenceMarket
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    Canceled,
    CancelOrder,
    CancelReason,
    InstrumentState,
    OrderState,
    Rejected,
    Replaced,
    Trade,
    Triggered,
)
from tests.engine.agreement import Agreement, answer, assert_agreement, day
from tests.engine.batches import batches, profile
from tests.engine.cluster import LISTING
from tests.engine.machines import MACHINES, Build
from tests.engine.strategies import PROPERTY, seeded_submissions, submission_lists
from tests.engine.test_market_model import REACHED, outcome
from tests.engine.trader import CLIENT, LOGIN, order
from tests.engine.writing import LOG_IN

# Compiled code that never ends can only be ended with its process.
pytestmark = pytest.mark.timeout(method="thread")

STATM = Path("/proc/self/statm")
OTHERS = [name for name in MACHINES if name != "reference"] or ["reference"]
WITH_EACH_OTHER = pytest.mark.parametrize("build", [MACHINES[name] for name in OTHERS], ids=OTHERS)


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(50))
def test_machines_agree_on_every_byte_through_a_seeds_batches(build: Build, seed: int) -> None:
    assert_agreement(build, seed, count=1_500)


@pytest.mark.long
@WITH_EACH_OTHER
@pytest.mark.parametrize("first_seed", range(10_000, 15_000, 100))
def test_machines_agree_on_every_byte_of_many_seeds(build: Build, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 100):
        assert_agreement(build, seed, count=2_000)


@WITH_EACH_OTHER
@PROPERTY
@pytest.mark.timeout(600, method="thread")  # a failure takes its time to shrink
@given(submission_lists(), st.integers(1, 20))
def test_machines_agree_on_batches_of_colliding_orders(
    build: Build, submissions: list[Submission], batch_size: int
) -> None:
    pair = Agreement(build)
    for at in range(0, len(submissions), batch_size):
        pair.submit(submissions[at : at + batch_size], time_ns=at)
        pair.compare()


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(600, 605))
def test_machines_agree_on_commands_that_need_no_admission(build: Build, seed: int) -> None:
    """As a primary has one do for its EPOCH, and whoever has the list for each of its commands."""
    pair = Agreement(build)
    for frame in day(seed):
        if frame.is_command:
            pair.carry_out(frame.message(), frame.time_ns)  # type: ignore[arg-type]
    pair.compare()


@WITH_EACH_OTHER
def test_machines_agree_on_a_book_that_grows_deep_and_is_taken_down(build: Build) -> None:
    pair = Agreement(build)
    random = Random(1)
    numbers = list(range(1, 20_001))
    pair.submit([Submission(0, LISTING), Submission(0, LOG_IN)], 0)
    orders = [order(n)._replace(price=100 * random.randrange(1, 9_000)) for n in numbers]
    for at in range(0, len(orders), 1_000):
        pair.submit([Submission(LOGIN, each) for each in orders[at : at + 1_000]], 1)
    pair.compare()
    assert pair.other.live_orders == len(orders)
    random.shuffle(numbers)
    cancels = [CancelOrder(CLIENT, number, 0) for number in numbers]
    for at in range(0, len(orders), 1_000):
        pair.submit([Submission(LOGIN, each) for each in cancels[at : at + 1_000]], 2)
    pair.compare()
    assert pair.other.live_orders == 0


def test_random_batches_reach_every_outcome() -> None:
    outcomes: Counter[object] = Counter()
    for seed in range(30):
        random = Random(seed)
        market, machine = profile(random), ReferenceMarket()
        next_sequence = 1
        with patch("engine.market.MAX_LIVE_ORDERS", market.order_limit):
            for batch in batches(random, market, 1_500, machine.rules):
                data = b"".join(map(encode_submission, batch.submissions))
                run, _ = machine.submit(data, next_sequence, 0)
                next_sequence = run.next_sequence
                for frame in run:
                    if not frame.is_command:
                        outcomes[outcome(frame.message())] += 1  # type: ignore[arg-type]
    assert set(outcomes) == {
        Trade,
        Triggered,
        InstrumentState,
        OrderState,
        (Replaced, 0),
        (Replaced, 1),
        *((Canceled, reason) for reason in CancelReason),
        *((Rejected, reason) for reason in REACHED),
    }


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_are_no_submissions_are_refused_by_both_and_change_nothing(
    build: Build, seed: int
) -> None:
    random = Random(seed)
    reference, other = ReferenceMarket(), build()
    sequence = 1
    for submission in seeded_submissions(seed, 200):
        data = encode_submission(submission)
        digest = other.digest() if random.randrange(20) == 0 else None
        spoilt = spoil(random, data)
        for bytes_in in (spoilt, data):
            wanted, found = answer(reference, bytes_in, sequence), answer(other, bytes_in, sequence)
            assert found == wanted, bytes_in.hex()  # runs are equal when their bytes are
            if isinstance(wanted, Sequenced):
                sequence = wanted.run.next_sequence
            elif digest is not None:
                assert other.digest() == digest
    assert other.digest() == reference.digest()


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell what is in memory")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer keeps what was given back")
@WITH_EACH_OTHER
def test_a_machine_that_is_dropped_gives_its_memory_back(build: Build) -> None:
    numbers = range(1, 4_001)
    orders = [order(n)._replace(price=100 * n) for n in numbers]
    commands = [Submission(0, LISTING), Submission(0, LOG_IN)]
    commands += [Submission(LOGIN, each) for each in orders]
    data = b"".join(map(encode_submission, commands))
    for _ in range(3):
        assert build().submit(data, 1, 0).not_admitted == 0
    before = resident_bytes()
    for _ in range(8):
        build().follow(build().submit(data, 1, 0).run)
    assert resident_bytes() < before + 6_000_000  # each of the sixteen has almost a megabyte


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def spoil(random: Random, data: bytes) -> bytes:
    """Bytes that were a submission, cut off, prolonged, changed, or among others."""
    at = random.randrange(len(data))
    return random.choice(
        (
            data[:at],
            data + data[:at],
            data[:at] + bytes([random.randrange(256)]) + data[at + 1 :],
            data[:2] + bytes([random.randrange(256)]) + data[3:],
            bytes([random.randrange(256)]) + data[1:],
            data + random.randbytes(random.randrange(60)),
            random.randbytes(random.randrange(60)),
        )
    )
