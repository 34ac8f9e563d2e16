"""When a process that died is started again."""

from hypothesis import given
from hypothesis import strategies as st

from tools.restarts import MOST_RESTARTS, RESTART_AFTER_NS, WITHIN_NS, Restarts


def test_process_that_dies_now_and_then_is_always_started_again() -> None:
    restarts = Restarts()
    for death in range(100):
        assert restarts.after_death(death * (WITHIN_NS // MOST_RESTARTS)) == RESTART_AFTER_NS
    assert restarts.count == 100


def test_sixth_death_within_a_minute_is_the_last() -> None:
    restarts = Restarts()
    for death in range(5):
        assert restarts.after_death(death) is not None
    assert restarts.after_death(WITHIN_NS - 1) is None
    assert restarts.count == 5


@given(st.lists(st.integers(0, WITHIN_NS), max_size=40))
def test_never_more_than_five_restarts_are_within_a_minute(waits: list[int]) -> None:
    restarts, now_ns, granted = Restarts(), 0, list[int]()
    for wait_ns in waits:
        now_ns += wait_ns
        within = [each for each in granted if now_ns - each < WITHIN_NS]
        wanted = restarts.after_death(now_ns)
        assert (wanted is None) == (len(within) >= MOST_RESTARTS)
        if wanted is not None:
            granted.append(now_ns)
    assert restarts.count == len(granted)
