"""A subscriber that has only the frames holds the machine's book after every group."""

import pytest
from hypothesis import given

from feed.book import Books, book_digest
from feed.codec import decode_frame, encode_group
from feed.datagrams import Submission
from feed.subscriber import Group
from tests.engine.driving import Step, drive
from tests.engine.machines import MACHINES, ByBytes
from tests.engine.strategies import PROPERTY, seeded_submissions, submission_lists


def over_the_wire(step: Step) -> Group:
    """The step's group as a subscriber receives it."""
    frames = encode_group((step.command, *step.events), step.sequence, step.time_ns)
    return Group(tuple(map(decode_frame, frames)))


def assert_same_books(machine: str, submissions: list[Submission]) -> None:
    market, books = ByBytes(MACHINES[machine]), Books()
    for step in drive(market, submissions):
        group = over_the_wire(step)
        assert [frame.message() for frame in group.frames] == [step.command, *step.events]
        books.apply(group)
        books.check()
        assert books.sequence == step.sequence + len(step.events)
        assert list(books.entries()) == list(market.book_entries())
        assert books.digest() == book_digest(market.book_entries())


@pytest.mark.parametrize("machine", MACHINES)
@PROPERTY
@pytest.mark.timeout(600)  # a failure takes its time to shrink
@given(submission_lists())
def test_subscribers_book_is_the_machines_after_every_group(
    machine: str, submissions: list[Submission]
) -> None:
    assert_same_books(machine, submissions)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("seed", range(100, 110))
def test_subscribers_book_is_the_machines_through_a_day(machine: str, seed: int) -> None:
    assert_same_books(machine, seeded_submissions(seed, count=1_000))


@pytest.mark.long
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("first_seed", range(10_000, 12_000, 100))
def test_subscribers_book_is_the_machines_through_many_days(machine: str, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 100):
        assert_same_books(machine, seeded_submissions(seed, count=1_000))
