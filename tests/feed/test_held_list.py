"""A held list: what is stored in it stays until it is contradicted, and that is told."""

from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.cache import MINIMUM_BYTES
from feed.codec import decode_frame
from feed.held_list import HeldList
from feed.messages import Epoch, unpad
from feed.run import Run, empty_run, run_of_frames
from tests.feed.histories import History, histories
from tests.feed.holding import FIRST, SECOND, reign
from tests.feed.lists import list_digest


def run(frames: list[bytes], first: int, last: int) -> Run:
    """The frames `first` to `last` of a list."""
    return run_of_frames(first, frames[first - 1 : last])


def kept(of: HeldList) -> list[bytes]:
    return of.cache.frames(1, of.last_sequence)


def filled(frames: list[bytes]) -> HeldList:
    made = HeldList(1 << 20)
    assert made.store(run(frames, 1, len(frames))) == run(frames, 1, len(frames))
    made.check()
    return made


def test_what_is_there_already_is_not_new_and_goes_nowhere() -> None:
    made = filled(FIRST)
    for first, last in ((1, 8), (3, 5), (8, 8)):
        assert made.store(run(FIRST, first, last)) == empty_run(last + 1)
    assert (kept(made), made.take_dropped(), made.tails_dropped) == (FIRST, None, 0)


def test_of_a_run_that_goes_further_the_rest_is_new() -> None:
    made = filled(FIRST[:4])
    assert made.store(run(FIRST, 3, 6)) == run(FIRST, 5, 6)
    assert made.store(run(FIRST, 7, 8)) == run(FIRST, 7, 8)
    assert (kept(made), made.take_dropped()) == (FIRST, None)


def test_from_the_first_frame_within_a_run_that_differs_all_is_replaced() -> None:
    made = filled(FIRST)  # the second list differs from frame 7 on
    assert made.store(run(SECOND, 5, 7)) == run(SECOND, 7, 7)
    made.check()
    assert (kept(made), made.tails_dropped, made.take_dropped()) == (SECOND[:7], 1, 7)
    assert made.reign is not None
    assert (made.reign.epoch, made.reign.sequence) == (2, 7)


def test_a_tail_that_a_run_does_not_reach_is_kept() -> None:
    made = filled(FIRST)
    assert not made.store(run(SECOND, 2, 6))
    assert kept(made) == FIRST


def test_nothing_that_is_digested_is_ever_replaced() -> None:
    made = filled(FIRST)
    made.digest_to(7)
    with pytest.raises(AssertionError, match="what is committed"):
        made.store(run(SECOND, 5, 8))


def test_a_run_behind_a_hole_is_refused() -> None:
    made = filled(FIRST[:4])
    with pytest.raises(ValueError, match="does not follow"):
        made.store(run(FIRST, 6, 7))
    assert kept(made) == FIRST[:4]


def test_what_was_evicted_counts_as_held() -> None:
    frames = reign(1, "e1", 1, [1] * 5999)
    made = HeldList(MINIMUM_BYTES)
    for first in range(1, 6000, 100):
        made.store(run(frames, first, first + 99))
    oldest = made.cache.first_sequence
    assert oldest > 1000
    other = reign(1, "e2", 1, [1] * 6000, client=9)
    assert made.store(run(other, 1, oldest - 1)) == empty_run(oldest)
    assert made.take_dropped() is None
    assert made.store(run(other, 1, oldest + 5)) == run(other, oldest, oldest + 5)
    assert (made.take_dropped(), made.cache.first_sequence) == (oldest, oldest)
    made.check()


@given(history=histories(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_runs_of_several_lists_are_kept_as_in_a_plain_list(
    history: History, data: st.DataObject
) -> None:
    made = HeldList(1 << 20)
    plain: list[bytes] = []
    dropped: int | None = None
    tails = 0
    for _ in range(data.draw(st.integers(1, 20))):
        frames = data.draw(st.sampled_from(history.lists))
        # A reader has compared what came before.
        pairs = zip(plain, frames, strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        first = data.draw(st.integers(1, alike + 1))
        last = data.draw(st.integers(first - 1, len(frames)))
        new = made.store(run(frames, first, last))
        wanted: list[bytes] = []
        for sequence in range(first, last + 1):
            if wanted or plain[sequence - 1 : sequence] != frames[sequence - 1 : sequence]:
                wanted.append(frames[sequence - 1])
        if wanted:
            start = last - len(wanted)
            if start < len(plain):
                tails += 1
                dropped = start + 1 if dropped is None else min(dropped, start + 1)
            plain[start:] = wanted
        assert new.split() == wanted
        assert new.next_sequence == last + 1
        made.check()
        assert kept(made) == plain
        assert (made.last_sequence, made.tails_dropped) == (len(plain), tails)
        assert made.reign == last_reign(plain)
        assert made.digest(len(plain)) == list_digest(plain)
        if data.draw(st.booleans()):
            assert made.take_dropped() == dropped
            dropped = None


def last_reign(frames: list[bytes]) -> tuple[int, int, str] | None:
    """Where the last EPOCH frame stands, and what it says."""
    for frame in reversed([decode_frame(data) for data in frames]):
        message = frame.message()
        if isinstance(message, Epoch):
            return frame.sequence, message.epoch, unpad(message.primary)
    return None
