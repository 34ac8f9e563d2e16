"""When a client tries which address, under a clock of its own."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.settings import Address
from gateway.client_policy import ClientPolicy
from gateway.reconnect import Attempt, Reconnect

SECOND_NS = 1_000_000_000
FIRST, SECOND, THIRD = (Address("127.0.0.1", port) for port in (1, 2, 3))
POLICY = ClientPolicy()


class Unshortened(random.Random):
    """Draws the waits at their full length."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 0


def plan(*addresses: Address) -> Reconnect:
    reconnect = Reconnect(addresses, POLICY, Unshortened())
    reconnect.begin(0)
    return reconnect


def attempts(reconnect: Reconnect, now_ns: int = 0) -> list[Attempt]:
    """All attempts until it gives up, when each connection is refused at once."""
    made = []
    while (attempt := reconnect.attempt(now_ns)) is not None:
        made.append(attempt)
        now_ns += attempt.wait_ns
        reconnect.lost(now_ns)
    return made


def test_a_round_tries_each_address_without_a_wait_and_then_waits_longer_each_time() -> None:
    reconnect = plan(FIRST, SECOND, THIRD)
    made = attempts(reconnect)
    assert [attempt.address for attempt in made[:7]] == [
        *(FIRST, SECOND, THIRD),
        *(FIRST, SECOND, THIRD),
        FIRST,
    ]
    assert [attempt.wait_ns // 1_000_000 for attempt in made[:10]] == [
        *(0, 0, 0),
        *(50, 0, 0),
        *(100, 0, 0),
        200,
    ]


def test_waits_do_not_grow_beyond_the_longest() -> None:
    reconnect = plan(FIRST)
    reconnect.logged_in(0)
    waits = [attempt.wait_ns // 1_000_000 for attempt in attempts(reconnect)]
    assert waits[:8] == [0, 50, 100, 200, 400, 800, 1600, 2000]
    assert set(waits[8:]) == {2000}


def test_a_client_that_was_never_there_gives_up_soon_and_another_one_later() -> None:
    never_there = sum(attempt.wait_ns for attempt in attempts(plan(FIRST)))
    reconnect = plan(FIRST)
    reconnect.logged_in(0)
    once_there = sum(attempt.wait_ns for attempt in attempts(reconnect))
    assert 0.5 * POLICY.give_up_first_ns < never_there <= POLICY.give_up_first_ns
    assert 0.9 * POLICY.give_up_after_ns < once_there <= POLICY.give_up_after_ns


def test_a_client_whose_first_log_in_is_put_off_is_as_patient_as_one_that_was_there() -> None:
    reconnect = plan(FIRST)
    reconnect.put_off()
    waited_ns = sum(attempt.wait_ns for attempt in attempts(reconnect))
    assert 0.9 * POLICY.give_up_after_ns < waited_ns <= POLICY.give_up_after_ns


def test_a_client_whose_gateways_die_one_after_the_other_does_not_give_up_or_wait() -> None:
    reconnect = plan(FIRST, SECOND)
    now_ns = 0
    for _ in range(200):
        assert reconnect.attempt(now_ns) in [Attempt(FIRST, 0), Attempt(SECOND, 0)]
        reconnect.logged_in(now_ns)
        now_ns += POLICY.stable_after_ns
        reconnect.lost(now_ns)


def test_after_a_session_that_lasted_the_next_address_is_tried_at_once() -> None:
    reconnect = plan(FIRST, SECOND)
    assert reconnect.attempt(0) == Attempt(FIRST, 0)
    reconnect.logged_in(0)
    reconnect.lost(POLICY.stable_after_ns)
    assert reconnect.attempt(POLICY.stable_after_ns) == Attempt(SECOND, 0)
    assert reconnect.attempt(POLICY.stable_after_ns) == Attempt(FIRST, 0)


def test_a_session_that_ends_at_once_is_not_tried_again_without_a_pause() -> None:
    reconnect = plan(FIRST)
    now_ns = 0
    waits = []
    while (attempt := reconnect.attempt(now_ns)) is not None:
        waits.append(attempt.wait_ns)
        now_ns += attempt.wait_ns
        reconnect.logged_in(now_ns)
        now_ns += SECOND_NS // 100
        reconnect.lost(now_ns)
    assert waits[:4] == [0, 50_000_000, 100_000_000, 200_000_000]
    assert now_ns >= POLICY.give_up_after_ns - POLICY.longest_wait_ns


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_waits_are_shortened_at_random_by_up_to_a_half(seed: int, address_count: int) -> None:
    addresses = (FIRST, SECOND, THIRD, Address("127.0.0.1", 4))[:address_count]
    reconnect = Reconnect(addresses, POLICY, random.Random(seed))
    reconnect.begin(0)
    waits = [attempt.wait_ns for attempt in attempts(reconnect)]
    full = [attempt.wait_ns for attempt in attempts(plan(*addresses))]
    assert len(waits) >= len(full)
    assert all(longest / 2 <= wait <= longest for wait, longest in zip(waits, full, strict=False))


def test_a_client_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        plan()
