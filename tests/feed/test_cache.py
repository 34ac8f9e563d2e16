"""The cache holds the newest frames, in bounded memory."""

import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.cache import LONG_RUN_FRAMES, MINIMUM_BYTES, RUN_OVERHEAD_BYTES, FrameCache
from feed.run import Run, empty_run, run_of_frames
from tests.feed.lists import frames_up_to, list_of

# Frames of several lengths, and others with the same sequence numbers.
FRAMES = [frame for group in list_of([1, 4, 2] * 1300) for frame in group]
OTHERS = frames_up_to(len(FRAMES))
LARGEST_RUN_BYTES = LONG_RUN_FRAMES * max(map(len, FRAMES)) + RUN_OVERHEAD_BYTES
EVERYTHING = (0, 2**64)


def run(first: int, last: int, of: list[bytes] = FRAMES) -> Run:
    """The frames `first` to `last`."""
    return run_of_frames(first, of[first - 1 : last])


def filled(last: int, step: int = 100, *, limit_bytes: int = MINIMUM_BYTES) -> FrameCache:
    """A cache that was given the frames 1 to `last`, so many in each run."""
    cache = FrameCache(limit_bytes)
    for first in range(1, last + 1, step):
        cache.append(run(first, min(first + step - 1, last)))
        cache.check()
    return cache


def test_empty_cache_holds_nothing() -> None:
    cache = FrameCache(MINIMUM_BYTES)
    cache.check()
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (0, 1, 1)
    assert (cache.frames(1, 10), cache.runs(1, 10), cache.size_bytes) == ([], [], 0)
    cache.append(empty_run(1))
    assert (len(cache), cache.next_sequence) == (0, 1)


@pytest.mark.parametrize("step", [1, 7, 100])
def test_all_frames_are_held_while_there_is_room(step: int) -> None:
    cache = filled(400, step)
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (400, 1, 401)
    assert cache.frames(1, 400) == FRAMES[:400]
    assert cache.frames(4, 6) == FRAMES[3:6]
    assert cache.frames(99, 302) == FRAMES[98:302]


@pytest.mark.parametrize("step", [1, 50, 5000])
def test_oldest_frames_go_when_the_room_is_used_up(step: int) -> None:
    cache = filled(9000, step)
    assert cache.next_sequence == 9001
    assert MINIMUM_BYTES - LARGEST_RUN_BYTES < cache.size_bytes <= MINIMUM_BYTES
    assert len(cache) > 0
    assert cache.frames(*EVERYTHING) == FRAMES[9000 - len(cache) : 9000]


def test_no_more_goes_at_once_than_what_came_at_once() -> None:
    cache = filled(2000)
    assert cache.first_sequence == 1
    evicted = []
    for first in range(2001, 9000, 100):
        before = cache.first_sequence
        cache.append(run(first, first + 99))
        evicted.append(cache.first_sequence - before)
    assert set(evicted) <= {0, 100, 200}
    assert sum(evicted) > 5000


def test_range_is_clipped_to_what_is_held() -> None:
    cache = filled(9000)
    first = cache.first_sequence
    assert cache.frames(first - 5, first + 1) == FRAMES[first - 1 : first + 1]
    assert cache.frames(8999, 9900) == FRAMES[8998:9000]
    assert cache.frames(1, first - 1) == cache.frames(9001, 9900) == cache.frames(8000, 7999) == []


def test_a_range_comes_as_runs_that_follow_one_another() -> None:
    cache = filled(1000)
    runs = cache.runs(150, 420)
    assert [(each.first_sequence, each.last_sequence) for each in runs] == [
        (150, 200),
        (201, 300),
        (301, 400),
        (401, 420),
    ]
    assert b"".join(each.data for each in runs) == b"".join(FRAMES[149:420])


def test_runs_of_single_commands_are_kept_together_and_cost_hardly_more_than_their_bytes() -> None:
    cache = filled(2000, 1)
    data_bytes = sum(map(len, FRAMES[:2000]))
    assert len(cache.runs(1, 2000)) < 2000 / 15
    assert data_bytes < cache.size_bytes < 1.2 * data_bytes


def test_long_runs_are_cut_so_that_no_more_than_one_of_bounded_length_goes_at_once() -> None:
    cache = filled(5000, 5000, limit_bytes=1 << 20)
    assert [len(each) for each in cache.runs(1, 5000)] == [
        LONG_RUN_FRAMES,
        LONG_RUN_FRAMES,
        5000 - 2 * LONG_RUN_FRAMES,
    ]
    cache = filled(2 * LONG_RUN_FRAMES, 2 * LONG_RUN_FRAMES)
    assert len(cache) == LONG_RUN_FRAMES


@pytest.mark.parametrize("step", [1, 30])
def test_the_memory_that_it_says_it_takes_is_what_it_takes(step: int) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cache = FrameCache(1 << 24)
        for first in range(1, 9001, step):
            cache.append(run(first, first + step - 1))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.9 * cache.size_bytes < after - before < 1.1 * cache.size_bytes


def test_first_frame_may_have_any_sequence_number_and_the_others_follow() -> None:
    cache = FrameCache(MINIMUM_BYTES)
    cache.append(run(7, 7))
    assert (cache.first_sequence, cache.next_sequence) == (7, 8)
    for wrong in (run(7, 8), run(9, 9), run(1, 8)):
        with pytest.raises(ValueError, match="does not follow"):
            cache.append(wrong)
    cache.append(run(8, 8))
    assert cache.frames(1, 99) == FRAMES[6:8]


def test_sequence_number_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        FrameCache(MINIMUM_BYTES).append(run_of_frames(0, FRAMES[:1]))


def test_cache_without_room_for_a_long_run_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        FrameCache(MINIMUM_BYTES - 1)


def test_places_of_evicted_frames_are_given_back() -> None:
    cache = FrameCache(MINIMUM_BYTES)
    for _ in range(7):
        for first in range(1, 9000, 30):
            frames = FRAMES[first - 1 : first + 29]
            cache.append(run_of_frames(cache.next_sequence, frames))
            assert len(cache._runs) <= 2000
    cache.check()
    assert cache.next_sequence == 63_001
    assert 1800 < len(cache) < 3000


def test_frames_that_are_dropped_from_the_end_make_room_for_others() -> None:
    cache = filled(9000)
    first = cache.first_sequence
    cut = first + 512  # within a run
    cache.truncate(cut)
    cache.check()
    assert (cache.first_sequence, cache.next_sequence) == (first, cut)
    assert cache.frames(*EVERYTHING) == FRAMES[first - 1 : cut - 1]
    assert cache.size_bytes < MINIMUM_BYTES // 2
    cache.append(run(cut, cut + 299, OTHERS))
    cache.check()
    assert cache.frames(*EVERYTHING) == FRAMES[first - 1 : cut - 1] + OTHERS[cut - 1 : cut + 299]


def test_what_is_not_held_cannot_be_dropped() -> None:
    cache = filled(9000)
    first = cache.first_sequence
    for sequence in (0, first - 1, 9002):
        with pytest.raises(ValueError, match="not among those that are held"):
            cache.truncate(sequence)
    cache.truncate(9001)
    assert cache.first_sequence == first
    cache.truncate(first)
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (0, first, first)
    cache.append(run(first, first))
    assert cache.frames(*EVERYTHING) == FRAMES[first - 1 : first]


counts = st.one_of(st.integers(0, 40), st.sampled_from([300, 1500, 2048, 2049, 4500]))
steps = st.one_of(
    st.tuples(st.sampled_from(["append", "append other"]), counts),
    st.tuples(st.just("truncate"), st.integers(-1, 60)),
    st.tuples(st.just("truncate"), st.integers(0, 3000)),
)


@given(
    steps=st.lists(steps, max_size=40),
    first=st.integers(1, 1000),
    limit_bytes=st.integers(MINIMUM_BYTES, 2 * MINIMUM_BYTES),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_appended_to_and_cut_off_it_is_the_newest_frames_of_a_plain_list(
    steps: list[tuple[str, int]], first: int, limit_bytes: int, random: Random
) -> None:
    cache = FrameCache(limit_bytes)
    plain: dict[int, bytes] = {}
    next_sequence = first
    for step, count in steps:
        held = len(cache)
        if step == "truncate":
            if not 0 <= count <= held:
                with pytest.raises(ValueError, match="not among those that are held"):
                    cache.truncate(cache.next_sequence - count)
                continue
            next_sequence = cache.next_sequence - count
            plain = {at: frame for at, frame in plain.items() if at < next_sequence}
            cache.truncate(next_sequence)
            assert len(cache) == held - count, "nothing else went"
        else:
            frames = FRAMES if step == "append" else OTHERS
            new = frames[next_sequence - 1 : next_sequence - 1 + count]
            cache.append(run_of_frames(next_sequence, new))
            plain |= enumerate(new, next_sequence)
            next_sequence += len(new)
            if len(cache) < held + len(new):
                assert cache.size_bytes > limit_bytes - LARGEST_RUN_BYTES, "too much has gone"
                plain = {at: frame for at, frame in plain.items() if at >= cache.first_sequence}
        cache.check()
        assert cache.next_sequence == next_sequence
        assert cache.frames(*EVERYTHING) == list(plain.values())
        assert len(cache) == len(plain)
        asked = random.randint(0, next_sequence + 5), random.randint(0, next_sequence + 5)
        wanted = range(asked[0], asked[1] + 1)
        assert cache.frames(*asked) == [frame for at, frame in plain.items() if at in wanted]
