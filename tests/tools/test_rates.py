"""The rate of a counter, now and over the last minute."""

from tools.rates import RateMeter

SECOND_NS = 1_000_000_000


def test_rate_is_that_of_the_last_two_seconds() -> None:
    meter = RateMeter(0)
    for second in range(1, 11):
        meter.read(100 * second, second * SECOND_NS)
    meter.read(1500, 11 * SECOND_NS)
    assert meter.per_second == (1500 - 900) / 2
    assert meter.total == 1500


def test_rate_is_nothing_before_the_second_reading() -> None:
    assert RateMeter(5).per_second == 0


def test_history_has_the_growth_of_each_second() -> None:
    meter = RateMeter(0)
    for tenth in range(1, 31):
        meter.read(tenth if tenth <= 20 else 20, tenth * SECOND_NS // 10)
    assert meter.history(10) == [10, 10, 0]
    assert meter.history(2) == [10, 0]
    assert meter.history(0) == []


def test_seconds_without_a_reading_share_what_grew() -> None:
    meter = RateMeter(0)
    meter.read(30, 3 * SECOND_NS)
    assert meter.history(10) == [10, 10, 10]


def test_history_and_window_are_bounded() -> None:
    meter = RateMeter(0)
    for second in range(1000):
        meter.read(second, second * SECOND_NS)
    assert len(meter.history(10_000)) == 120
    meter.read(1000, 100_000 * SECOND_NS)
    assert len(meter.history(10_000)) == 120
