import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.messages import ALL_SYMBOLS, CancelOrder, CancelReason, EnterOrder, MassCancel
from gateway.limits import SECOND_NS, FailedLogIns, Origin, Rate, TokenBucket
from gateway.ouch import AccountQuery
from gateway.settings import LogInLimits

LIMITS = LogInLimits(window_ns=60 * SECOND_NS, failures_per_name=3, failures_per_host=5)
ORDER = EnterOrder(1, 1, b"AAPL    ", 66, 76, 48, 78, 100, 10_000, 0, 65, b" " * 14)


def test_a_burst_goes_at_once_and_then_one_token_each_interval() -> None:
    bucket = TokenBucket(10, 3)
    taken = [bucket.take(at_ns) for at_ns in (0, 0, 0, 0, SECOND_NS // 10 - 1, SECOND_NS // 10)]
    assert taken == [True, True, True, False, False, True]
    assert not bucket.has_token(SECOND_NS // 10)
    assert bucket.has_token(SECOND_NS // 5)


def test_a_token_that_is_put_back_can_be_taken_again() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(5)
    bucket.put_back()
    assert [bucket.take(5), bucket.take(5)] == [True, False]


@pytest.mark.parametrize(("tokens", "burst", "period_ns"), [(0, 1, 9), (1, 0, 9), (10, 1, 9)])
def test_a_bucket_that_makes_no_sense_is_refused(tokens: int, burst: int, period_ns: int) -> None:
    with pytest.raises(ValueError, match="no token bucket"):
        TokenBucket(tokens, burst, period_ns)


@given(
    tokens=st.integers(1, 50),
    burst=st.integers(1, 20),
    waits_ns=st.lists(st.integers(0, SECOND_NS // 20), max_size=200),
)
def test_no_span_of_time_lets_more_through_than_burst_and_rate(
    tokens: int, burst: int, waits_ns: list[int]
) -> None:
    bucket = TokenBucket(tokens, burst)
    interval_ns = SECOND_NS // tokens
    now_ns = 0
    taken_at_ns = []
    for wait_ns in waits_ns:
        now_ns += wait_ns
        had_token = bucket.has_token(now_ns)
        assert bucket.take(now_ns) == had_token
        if had_token:
            taken_at_ns.append(now_ns)
    for i, begin_ns in enumerate(taken_at_ns):
        for count, end_ns in enumerate(taken_at_ns[i:], 1):
            assert count <= burst + (end_ns - begin_ns) // interval_ns


@given(burst=st.integers(1, 20), idle_ns=st.integers(0, 10 * SECOND_NS))
def test_idle_time_saves_up_no_more_than_the_burst(burst: int, idle_ns: int) -> None:
    bucket = TokenBucket(1000, burst)
    assert sum(bucket.take(idle_ns) for _ in range(2 * burst)) == burst


def test_cancels_go_through_when_there_were_too_many_orders() -> None:
    rate = Rate(1, 2)
    assert [rate.take(ORDER, 0) for _ in range(3)] == [True, True, False]
    assert not rate.take(AccountQuery(), 0)
    mass_cancel = MassCancel(1, 9, ALL_SYMBOLS, CancelReason.USER)
    assert [rate.take(cancel, 0) for cancel in (CancelOrder(1, 1, 0), mass_cancel)] == [True, True]
    assert not rate.take(CancelOrder(1, 1, 0), 0)


def test_a_name_is_refused_after_its_failures_wherever_they_came_from_and_free_again_later() -> (
    None
):
    failed = FailedLogIns(LIMITS)
    for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert failed.start(Origin("ALICE", host), 0)
        failed.failed(Origin("ALICE", host), 0)
    assert not failed.start(Origin("ALICE", "10.0.0.4"), 0)
    assert failed.start(Origin("BOB", "10.0.0.4"), 0)
    assert failed.start(Origin("ALICE", "10.0.0.4"), 20 * SECOND_NS)
    assert not failed.start(Origin("ALICE", "10.0.0.4"), 20 * SECOND_NS)


def test_attempts_at_once_are_no_way_around_the_limit() -> None:
    failed = FailedLogIns(LIMITS)
    assert [failed.start(Origin("ALICE", str(i)), 0) for i in range(5)] == [True] * 3 + [False] * 2


def test_log_ins_that_succeed_never_count() -> None:
    failed = FailedLogIns(LIMITS)
    for i in range(20):
        assert failed.start(Origin("ALICE", str(i)), 0)
        failed.succeeded(Origin("ALICE", str(i)))


def test_a_host_is_refused_after_failures_under_many_names() -> None:
    failed = FailedLogIns(LIMITS)
    for i in range(5):
        assert failed.start(Origin(f"N{i}", "10.0.0.1"), 0)
        failed.failed(Origin(f"N{i}", "10.0.0.1"), 0)
    assert not failed.start(Origin("N9", "10.0.0.1"), 0)
    assert failed.start(Origin("N9", "10.0.0.2"), 0)


def test_nobody_can_lock_a_client_out_of_where_it_trades_from() -> None:
    failed = FailedLogIns(LIMITS)
    home = Origin("ALICE", "10.0.0.1")
    assert failed.start(home, 0)
    failed.succeeded(home)
    for i in range(10):
        failed.start(Origin("ALICE", f"10.6.6.{i}"), 0)
    assert not failed.start(Origin("ALICE", "10.0.0.2"), 0)
    assert failed.start(home, 0)
    failed.failed(home, 0)  # a wrong secret from there ends that trust
    assert not failed.start(home, 0)


@given(st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("123456"), st.booleans())))
def test_the_tables_stay_within_their_bound(attempts: list[tuple[str, str, bool]]) -> None:
    failed = FailedLogIns(LIMITS.model_copy(update={"remembered": 3}))
    for name, host, is_good in attempts:
        origin = Origin(name, host)
        if failed.start(origin, 0):
            if is_good:
                failed.succeeded(origin)
            else:
                failed.failed(origin, 0)
        failed.check()
