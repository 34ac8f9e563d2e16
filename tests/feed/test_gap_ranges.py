"""Which frames of a range are missing, told from gaps that come, go and are asked for in parts."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from feed.gap import Gaps, RepairPolicy
from tests.feed.lists import SECOND_NS, SHARD

ranges = st.tuples(st.integers(0, 15), st.integers(1, 12))


@given(
    opened=st.lists(ranges, max_size=6),
    filled=st.lists(ranges, max_size=6),
    asked_at=st.sets(st.integers(0, 6)),
    asked=st.tuples(st.integers(1, 200), st.integers(-1, 60)),
)
def test_what_is_missing_within_a_range_is_told_in_ranges(
    opened: list[tuple[int, int]],
    filled: list[tuple[int, int]],
    asked_at: set[int],
    asked: tuple[int, int],
) -> None:
    """However the gaps are divided into parts that are asked for one by one."""
    policy = RepairPolicy(request_limit_frames=3, window_frames=9)
    gap = Gaps(shard=SHARD, source_count=2, random=Random(1), policy=policy)
    missing: set[int] = set()
    last = 0
    for number, (distance, length) in enumerate(opened):
        first, last = last + distance + 1, last + distance + length
        gap.open(first, last, 0)
        missing |= set(range(first, last + 1))
        if number in asked_at:
            gap.on_time(SECOND_NS, 1)
    first = 0
    for distance, length in filled:
        first += 2 * distance + 1
        gap.fill(first, first + length - 1, SECOND_NS)
        missing -= set(range(first, first + length))
    found = gap.missing_within(asked[0], sum(asked))
    within = [each for first, last in found for each in range(first, last + 1)]
    assert within == sorted(missing & set(range(asked[0], sum(asked) + 1)))
    assert all(first <= last for first, last in found)
