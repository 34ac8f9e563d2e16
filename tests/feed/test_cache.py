"""The cache holds the newest frames, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.cache import FRAME_OVERHEAD_BYTES, FrameCache
from tests.feed.lists import frames_up_to

FRAMES = frames_up_to(30)
FRAME_BYTES = len(FRAMES[0]) + FRAME_OVERHEAD_BYTES


def filled(limit_frames: int, count: int = len(FRAMES)) -> FrameCache:
    cache = FrameCache(limit_frames * FRAME_BYTES)
    for sequence, frame in enumerate(FRAMES[:count], 1):
        cache.append(frame, sequence)
        cache.check()
    return cache


def test_empty_cache_holds_nothing() -> None:
    cache = FrameCache(1000)
    cache.check()
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (0, 1, 1)
    assert cache.frames(1, 10) == []


def test_all_frames_are_held_while_there_is_room() -> None:
    cache = filled(30)
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (30, 1, 31)
    assert cache.size_bytes == 30 * FRAME_BYTES
    assert cache.frames(1, 30) == FRAMES
    assert cache.frames(4, 6) == FRAMES[3:6]


def test_oldest_frames_go_when_the_room_is_used_up() -> None:
    cache = filled(10)
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (10, 21, 31)
    assert cache.size_bytes == 10 * FRAME_BYTES
    assert cache.frames(1, 2**64) == FRAMES[20:]


def test_range_is_clipped_to_what_is_held() -> None:
    cache = filled(10)
    assert cache.frames(15, 22) == FRAMES[20:22]
    assert cache.frames(29, 99) == FRAMES[28:]
    assert cache.frames(1, 20) == cache.frames(31, 99) == cache.frames(25, 24) == []


def test_first_frame_may_have_any_sequence_number_and_the_others_follow() -> None:
    cache = FrameCache(1000)
    cache.append(FRAMES[6], 7)
    assert (cache.first_sequence, cache.next_sequence) == (7, 8)
    for sequence in (7, 9, 1):
        with pytest.raises(ValueError, match="does not follow"):
            cache.append(FRAMES[7], sequence)
    cache.append(FRAMES[7], 8)
    assert cache.frames(1, 99) == FRAMES[6:8]


def test_sequence_number_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        FrameCache(1000).append(FRAMES[0], 0)


def test_cache_without_room_for_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        FrameCache(60)


def test_places_of_evicted_frames_are_given_back() -> None:
    cache = FrameCache(10 * FRAME_BYTES)
    for sequence in range(1, 20_001):
        cache.append(FRAMES[0], sequence)
        assert len(cache._frames) <= 10 + 4096
    cache.check()
    assert (len(cache), cache.first_sequence) == (10, 19_991)


def test_frames_that_are_dropped_from_the_end_make_room_for_others() -> None:
    cache = filled(10)
    cache.truncate(26)
    cache.check()
    assert (cache.first_sequence, cache.next_sequence) == (21, 26)
    assert (cache.frames(1, 99), cache.size_bytes) == (FRAMES[20:25], 5 * FRAME_BYTES)
    for sequence in range(26, 31):
        cache.append(FRAMES[0], sequence)
    cache.check()
    assert cache.frames(1, 99) == [*FRAMES[20:25], *[FRAMES[0]] * 5]


def test_what_is_not_held_cannot_be_dropped() -> None:
    cache = filled(10)
    for sequence in (0, 20, 32):
        with pytest.raises(ValueError, match="not among those that are held"):
            cache.truncate(sequence)
    cache.truncate(31)
    assert len(cache) == 10
    cache.truncate(21)
    assert (len(cache), cache.first_sequence, cache.next_sequence) == (0, 21, 21)
    cache.append(FRAMES[20], 21)
    assert cache.frames(1, 99) == FRAMES[20:21]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 300)),
            st.tuples(st.just("truncate"), st.integers(-1, 9)),
        ),
        max_size=60,
    ),
    limit_bytes=st.integers(500, 3000),
)
def test_appended_to_and_cut_off_it_is_like_a_plain_list(
    steps: list[tuple[str, int]], limit_bytes: int
) -> None:
    cache = FrameCache(limit_bytes)
    plain: dict[int, bytes] = {}
    next_sequence = 1
    for number, (step, amount) in enumerate(steps):
        if step == "append":
            plain[next_sequence] = bytes([number]) * amount
            cache.append(plain[next_sequence], next_sequence)
            next_sequence += 1
            while sum(map(len, plain.values())) + len(plain) * FRAME_OVERHEAD_BYTES > limit_bytes:
                del plain[min(plain)]
        elif 0 <= amount <= len(plain):
            next_sequence -= amount
            plain = {at: frame for at, frame in plain.items() if at < next_sequence}
            cache.truncate(next_sequence)
        else:
            with pytest.raises(ValueError, match="not among those that are held"):
                cache.truncate(next_sequence - amount)
        cache.check()
        assert cache.next_sequence == next_sequence
        assert cache.frames(0, 2**64) == list(plain.values())


@given(
    sizes=st.lists(st.integers(0, 300), max_size=60),
    limit_bytes=st.integers(500, 3000),
    first=st.integers(1, 2**63),
)
def test_cache_is_the_newest_frames_that_fit(
    sizes: list[int], limit_bytes: int, first: int
) -> None:
    cache = FrameCache(limit_bytes)
    all_frames: list[bytes] = []
    for sequence, size in enumerate(sizes, first):
        all_frames.append(bytes([sequence % 256]) * size)
        cache.append(all_frames[-1], sequence)
        cache.check()
        held = cache.frames(0, 2**64)
        assert held == all_frames[len(all_frames) - len(cache) :]
        assert cache.next_sequence == sequence + 1
        if len(cache) < len(all_frames):
            evicted = all_frames[-len(cache) - 1]
            assert cache.size_bytes + len(evicted) + FRAME_OVERHEAD_BYTES > limit_bytes
