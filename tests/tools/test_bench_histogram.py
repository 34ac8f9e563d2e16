import math

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.histogram import Histogram, Percentiles

TIMES = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


def recorded(times: list[int]) -> Histogram:
    histogram = Histogram()
    for each in times:
        histogram.record(each)
    return histogram


@given(TIMES, st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_percentile_is_the_time_of_that_rank_or_less_than_1_percent_above(
    times: list[int], share: float
) -> None:
    rank = max(1, math.ceil(round(share * len(times), 6)))
    exact = sorted(times)[rank - 1]
    assert exact <= recorded(times).percentile(share) <= exact * (1 + 1 / 128)


@given(TIMES)
def test_the_longest_time_is_exact_and_no_percentile_is_above_it(times: list[int]) -> None:
    p50, p99, p99_9, longest = recorded(times).percentiles()
    assert longest == max(times)
    assert p50 <= p99 <= p99_9 <= longest


@given(TIMES)
def test_a_drawing_has_a_line_for_every_time(times: list[int]) -> None:
    title, *lines = str(recorded(times).draw("orders")).splitlines()
    assert title == f"orders: {len(times):,} times"
    assert sum(int(line.split()[3].replace(",", "")) for line in lines) == len(times)


def test_a_drawing_shows_where_the_times_are() -> None:
    times = [1_500_000] * 75 + [4_000_000] * 24 + [90_000_000]
    assert str(recorded(times).draw("latency")).splitlines() == [
        "latency: 100 times",
        f"  <       2.00 ms         75  75.00% {'█' * 38}",
        f"  <       5.00 ms         24  24.00% {'█' * 12}",
        "  <      10.00 ms          0   0.00% ",
        "  <      20.00 ms          0   0.00% ",
        "  <      50.00 ms          0   0.00% ",
        "  <     100.00 ms          1   1.00% ▏",
    ]


def test_a_histogram_of_nothing_has_no_times() -> None:
    assert Histogram().percentiles() == Percentiles(0, 0, 0, 0)
    assert str(Histogram().draw("nothing")) == "nothing: 0 times\n"


def test_a_time_below_zero_counts_as_none() -> None:
    assert recorded([-5]).percentiles() == Percentiles(0, 0, 0, 0)
