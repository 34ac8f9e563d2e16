"""The machine against the naive model: the same admissions, events and books, step by step."""

from collections import Counter

import pytest
from hypothesis import given

from engine.rejects import RejectReason
from feed.datagrams import Submission
from feed.messages import (
    Canceled,
    CancelReason,
    Event,
    InstrumentState,
    OrderState,
    Rejected,
    Replaced,
    Trade,
    Triggered,
)
from tests.engine.driving import FEW_ORDERS, assert_agreement, drive
from tests.engine.machines import MACHINES
from tests.engine.strategies import PROPERTY, seeded_submissions, submission_lists
from tests.model.naive_market import NaiveMarket

# A mark that is not admitted is in no list that a primary writes.
REACHED = [reason for reason in RejectReason if reason is not RejectReason.INVALID_MARK]


@pytest.mark.parametrize("machine", MACHINES)
@PROPERTY
@pytest.mark.timeout(600)  # a failure takes its time to shrink
@given(submission_lists())
def test_machine_and_model_agree_on_every_group(
    machine: str, submissions: list[Submission]
) -> None:
    assert_agreement(machine, submissions)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("seed", range(20))
def test_machine_and_model_agree_through_a_day(machine: str, seed: int) -> None:
    assert_agreement(machine, seeded_submissions(seed, count=800), order_limit=FEW_ORDERS + seed)


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("first_seed", range(1_000, 6_000, 100))
def test_machine_and_model_agree_through_many_days(machine: str, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 100):
        submissions = seeded_submissions(seed, count=800)
        assert_agreement(machine, submissions, order_limit=5 + seed % 60)


def test_random_commands_reach_every_outcome() -> None:
    outcomes: Counter[object] = Counter()
    for seed in range(20):
        submissions = seeded_submissions(seed, count=800)
        steps = list(drive(NaiveMarket(FEW_ORDERS + seed), submissions))
        outcomes["dropped"] += len(submissions) - len(steps)
        for step in steps:
            outcomes.update(map(outcome, step.events))
    assert set(outcomes) == {
        "dropped",
        Trade,
        Triggered,
        InstrumentState,
        OrderState,
        (Replaced, 0),
        (Replaced, 1),
        *((Canceled, reason) for reason in CancelReason),
        *((Rejected, reason) for reason in REACHED),
    }


def outcome(event: Event) -> object:
    """What an event stands for, without its numbers."""
    match event:
        case Rejected() | Canceled():
            return type(event), event.reason
        case Replaced():
            return Replaced, event.keeps_priority
    return type(event)
