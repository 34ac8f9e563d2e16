"""What is missing, whom to ask for it and when, and when to give up."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from feed.gap import GapFailure, Gaps, RepairPolicy
from tests.feed.lists import MILLISECOND_NS, SECOND_NS, SHARD, asked

REORDER_NS = 300_000
ANSWER_NS = 5 * MILLISECOND_NS


class _NoJitter(Random):
    """Draws the least that it may, so that every wait is the one of the policy."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 0 if stop is None else start


def gaps(
    source_count: int = 2, *, last_resort_count: int = 0, policy: RepairPolicy | None = None
) -> Gaps:
    return Gaps(
        shard=SHARD,
        source_count=source_count,
        random=_NoJitter(),
        policy=policy or RepairPolicy(),
        last_resort_count=last_resort_count,
    )


def until_failure(missing: Gaps, now_ns: int = 0) -> tuple[list[tuple[int, int]], int]:
    """Let time pass without an answer: the times and sources of all NAKs, and the end's time."""
    naks: list[tuple[int, int]] = []
    while missing.failure is None:
        deadline_ns = missing.deadline_ns
        assert deadline_ns is not None
        assert not naks or deadline_ns > now_ns, "called again at the same time, for nothing"
        now_ns = deadline_ns
        naks += [(now_ns, nak.source) for nak in missing.on_time(now_ns, 1)]
    return naks, now_ns


def test_gap_is_asked_for_once_reordering_is_ruled_out() -> None:
    missing = gaps()
    missing.open(5, 9, now_ns=1000)
    assert missing.deadline_ns == 1000 + REORDER_NS
    assert missing.on_time(1000 + REORDER_NS - 1, 1) == []
    assert asked(missing.on_time(1000 + REORDER_NS, 1)) == [(0, 5, 9)]
    assert missing.on_time(1000 + REORDER_NS, 1) == []


def test_gap_that_was_only_reordering_is_never_asked_for() -> None:
    missing = gaps()
    missing.open(5, 5, 0)
    missing.fill(5, 5, REORDER_NS - 1)
    assert missing.deadline_ns is None
    assert missing.on_time(SECOND_NS, 1) == []
    assert (missing.detected, missing.filled) == (1, 1)


def test_first_naks_of_many_receivers_are_spread_over_the_jitter() -> None:
    policy = RepairPolicy()
    times: set[int] = set()
    for seed in range(200):
        missing = Gaps(shard=SHARD, source_count=2, random=Random(seed), policy=policy)
        missing.open(1, 1, 0)
        times.add(missing.deadline_ns or 0)
    assert len(times) > 150
    assert min(times) >= policy.reorder_wait_ns
    assert max(times) <= policy.reorder_wait_ns + policy.jitter_ns


def test_receivers_divide_themselves_among_the_retransmitters() -> None:
    first = []
    for seed in range(200):
        missing = Gaps(shard=SHARD, source_count=2, random=Random(seed), policy=RepairPolicy())
        missing.open(1, 1, 0)
        first += [nak.source for nak in missing.on_time(MILLISECOND_NS, 1)]
    assert 60 < sum(first) < 140


def test_gap_is_asked_for_again_when_the_nak_is_lost() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    naks, _ = until_failure(missing)
    waits_ms = [
        round((later - earlier) / MILLISECOND_NS) for (earlier, _), (later, _) in pairwise(naks[:9])
    ]
    assert [source for _, source in naks[:9]] == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert waits_ms == [5, 10, 20, 40, 80, 100, 100, 100]


def test_retransmitter_that_stays_silent_is_not_the_first_to_be_asked_next_time() -> None:
    missing = gaps()
    missing.open(1, 1, 0)
    assert asked(missing.on_time(REORDER_NS, 1)) == [(0, 1, 1)]
    assert asked(missing.on_time(REORDER_NS + ANSWER_NS, 1)) == [(1, 1, 1)]
    missing.fill(1, 1, REORDER_NS + ANSWER_NS + 1)
    for first in (5, 9):
        missing.open(first, first, SECOND_NS)
        assert asked(missing.on_time(SECOND_NS + REORDER_NS, 1)) == [(1, first, first)]
        missing.fill(first, first, SECOND_NS + REORDER_NS)


def test_the_primary_is_asked_only_when_all_others_have_been() -> None:
    missing = gaps(3, last_resort_count=1)
    missing.open(1, 1, 0)
    naks, _ = until_failure(missing)
    assert [source for _, source in naks[:7]] == [0, 1, 2, 0, 1, 2, 0]
    assert missing._start in (0, 1)


def test_a_lone_retransmitter_of_last_resort_is_asked_too() -> None:
    missing = gaps(1, last_resort_count=1)
    missing.open(1, 1, 0)
    assert asked(missing.on_time(REORDER_NS, 1)) == [(0, 1, 1)]


def test_missing_answer_sends_the_receiver_to_the_next_retransmitter_at_once() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    assert asked(missing.on_time(REORDER_NS, 1)) == [(0, 5, 9)]
    now_ns = REORDER_NS + 100
    missing.refuse(0, 5, 9, now_ns)
    assert missing.deadline_ns == now_ns
    assert asked(missing.on_time(now_ns, 1)) == [(1, 5, 9)]


def test_retransmitter_that_lacks_a_part_is_asked_for_it_later() -> None:
    """It may be repairing the same loss itself."""
    missing = gaps()
    missing.open(5, 9, 0)
    missing.on_time(REORDER_NS, 1)
    missing.refuse(0, 5, 9, REORDER_NS)
    missing.on_time(REORDER_NS, 1)
    missing.refuse(1, 5, 9, REORDER_NS + 1000)
    assert missing.on_time(REORDER_NS + 1000, 1) == []
    assert missing.deadline_ns == REORDER_NS + ANSWER_NS
    assert asked(missing.on_time(REORDER_NS + ANSWER_NS, 1)) == [(0, 5, 9)]
    missing.fill(5, 9, REORDER_NS + ANSWER_NS + 1)
    assert (missing.detected, missing.filled, missing.missing_frames) == (1, 1, 0)


def test_missing_answer_for_the_middle_leaves_the_rest_with_the_retransmitter() -> None:
    missing = gaps()
    missing.open(1, 10, 0)
    missing.on_time(REORDER_NS, 1)
    missing.refuse(0, 4, 6, REORDER_NS)
    missing.check()
    assert asked(missing.on_time(REORDER_NS, 1)) == [(1, 4, 6)]
    assert asked(missing.on_time(REORDER_NS + ANSWER_NS, 1)) == [(1, 1, 3), (0, 4, 6), (1, 7, 10)]


def test_missing_answer_of_who_was_not_asked_changes_nothing() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    missing.refuse(0, 5, 9, 10)
    assert asked(missing.on_time(REORDER_NS, 1)) == [(0, 5, 9)]
    missing.refuse(1, 5, 9, REORDER_NS)
    assert missing.on_time(REORDER_NS + ANSWER_NS - 1, 1) == []
    assert asked(missing.on_time(REORDER_NS + ANSWER_NS, 1)) == [(1, 5, 9)]


def test_late_missing_answer_does_not_repeat_a_nak_under_way() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    missing.on_time(REORDER_NS, 1)
    missing.on_time(REORDER_NS + ANSWER_NS, 1)
    missing.refuse(0, 5, 9, REORDER_NS + ANSWER_NS + 1)
    assert missing.on_time(REORDER_NS + ANSWER_NS + 1, 1) == []


def test_gap_that_nobody_holds_ends_in_a_failure_that_says_so() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    now_ns, naks = 0, 0
    while missing.failure is None:
        assert missing.deadline_ns is not None
        now_ns = max(missing.deadline_ns, now_ns)
        for nak in missing.on_time(now_ns, 1):
            naks += 1
            missing.refuse(nak.source, 5, 9, now_ns)
    assert missing.failure == GapFailure(
        5, 9, "retransmitter 1 does not hold it, retransmitter 2 does not hold it"
    )
    assert 5 * SECOND_NS <= now_ns < 5.2 * SECOND_NS
    assert naks < 120
    assert missing.deadline_ns is None
    assert missing.on_time(now_ns + SECOND_NS, 1) == []


def test_gap_that_nobody_answers_for_ends_in_a_failure_that_says_so() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    naks, now_ns = until_failure(missing)
    assert missing.failure == GapFailure(5, 9, "no retransmitter answered")
    assert 10 * SECOND_NS <= now_ns < 10.2 * SECOND_NS
    assert len(naks) < 120


def test_failure_tells_who_lacks_the_frames_and_who_was_silent() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    missing.on_time(REORDER_NS, 1)
    missing.refuse(0, 5, 9, REORDER_NS)
    until_failure(missing)
    assert missing.failure == GapFailure(
        5, 9, "retransmitter 1 does not hold it, retransmitter 2 did not answer"
    )


def test_refusals_long_ago_and_silence_since_are_not_taken_for_a_frame_that_nobody_has() -> None:
    """Both lost the frame and said so; then a NAK storm kept them from answering for a while."""
    missing = gaps()
    missing.open(5, 5, 0)
    for now_ns in (REORDER_NS, REORDER_NS + 1):
        for nak in missing.on_time(now_ns, 1):
            missing.refuse(nak.source, 5, 5, now_ns)
    while missing.deadline_ns is not None and missing.deadline_ns < 9 * SECOND_NS:
        missing.on_time(missing.deadline_ns, 1)
    assert missing.failure is None
    missing.fill(5, 5, 9 * SECOND_NS)
    assert missing.filled == 1


def test_receiver_that_was_paused_does_not_give_up_when_it_wakes() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    missing.on_time(REORDER_NS, 1)
    woken_ns = 3600 * SECOND_NS
    assert asked(missing.on_time(woken_ns, 1)) == [(1, 5, 9)]
    _, failed_ns = until_failure(missing, woken_ns)
    assert 10 * SECOND_NS - ANSWER_NS <= failed_ns - woken_ns < 10.2 * SECOND_NS


def test_part_that_waits_behind_others_is_not_given_up_for_it() -> None:
    missing = gaps(policy=RepairPolicy(window_parts=2))
    missing.open(1, 100, 0)
    missing.open(201, 210, 0)
    assert asked(missing.on_time(REORDER_NS, 1)) == [(0, 1, 100), (0, 201, 210)]
    missing.refuse(0, 201, 203, REORDER_NS)  # three parts now, one too many
    for second in range(1, 15):
        missing.fill(second, second, second * SECOND_NS)
        missing.fill(201, 201 + second // 8, second * SECOND_NS)
        ranges = [each[1:] for each in asked(missing.on_time(second * SECOND_NS, 1))]
        assert (204, 210) not in ranges
    missing.fill(1, 100, 15 * SECOND_NS)
    assert asked(missing.on_time(15 * SECOND_NS, 1))[-1] == (1, 204, 210)
    assert missing.failure is None


def test_gap_without_any_retransmitter_fails_after_the_reorder_wait() -> None:
    missing = gaps(0)
    missing.open(5, 9, 0)
    assert missing.on_time(REORDER_NS - 1, 1) == []
    assert missing.failure is None
    assert missing.on_time(REORDER_NS, 1) == []
    assert missing.failure == GapFailure(5, 9, "no retransmitter is configured")


def test_long_gap_is_asked_for_in_bounded_parts_as_answers_arrive() -> None:
    missing = gaps()
    missing.open(1, 10_000, 0)
    assert asked(missing.on_time(REORDER_NS, 1)) == [
        (0, 1, 512),
        (0, 513, 1024),
        (0, 1025, 1536),
        (0, 1537, 2048),
    ]
    missing.fill(1, 500, REORDER_NS + 1)
    assert missing.on_time(REORDER_NS + 1, 1) == []  # not yet a whole NAK's worth of room
    missing.fill(501, 512, REORDER_NS + 2)
    assert missing.deadline_ns == REORDER_NS
    assert asked(missing.on_time(REORDER_NS + 2, 1)) == [(0, 2049, 2560)]
    missing.check()
    assert (missing.missing_frames, missing.detected, missing.filled) == (9488, 1, 0)


def test_answer_that_trickles_in_is_waited_for() -> None:
    missing = gaps()
    missing.open(1, 500, 0)
    missing.on_time(REORDER_NS, 1)
    now_ns = REORDER_NS
    for first in range(1, 500, 10):
        now_ns += ANSWER_NS - 1
        assert missing.on_time(now_ns, 1) == []
        missing.fill(first, first + 9, now_ns)
    assert (missing.filled, missing.missing_frames) == (1, 0)


def test_what_an_answer_left_out_is_asked_of_the_next_retransmitter() -> None:
    missing = gaps()
    missing.open(1, 100, 0)
    missing.on_time(REORDER_NS, 1)
    missing.fill(1, 40, REORDER_NS)
    missing.fill(61, 100, REORDER_NS)
    assert asked(missing.on_time(REORDER_NS + ANSWER_NS, 1)) == [(1, 41, 60)]


def test_many_single_frames_are_not_asked_for_all_at_once() -> None:
    missing = gaps()
    for sequence in range(1, 1001, 2):
        missing.open(sequence, sequence, 0)
    naks = asked(missing.on_time(REORDER_NS, 1))
    assert naks == [(0, sequence, sequence) for sequence in range(1, 129, 2)]


def test_new_end_of_an_open_gap_is_no_new_gap() -> None:
    missing = gaps()
    missing.open(5, 6, 0)
    missing.open(7, 9, 10)
    assert asked(missing.on_time(REORDER_NS, 1)) == [(0, 5, 9)]
    missing.open(10, 12, REORDER_NS)
    assert asked(missing.on_time(2 * REORDER_NS, 1)) == [(0, 10, 12)]
    missing.fill(5, 9, 2 * REORDER_NS)
    assert (missing.detected, missing.filled) == (1, 0)
    missing.fill(10, 12, 2 * REORDER_NS)
    assert (missing.detected, missing.filled) == (1, 1)


def test_new_epoch_voids_what_was_missing_beyond_the_commit() -> None:
    missing = gaps()
    missing.open(5, 9, 0)
    missing.open(20, 29, 0)
    missing.open(40, 40, 0)
    missing.truncate(24)
    missing.check()
    assert (missing.missing_frames, missing.detected, missing.abandoned) == (10, 3, 1)
    assert asked(missing.on_time(REORDER_NS, 2)) == [(0, 5, 9), (0, 20, 24)]


@pytest.mark.parametrize(
    "changes",
    [
        {"request_limit_frames": 0},
        {"request_limit_frames": 10, "window_frames": 9},
        {"window_parts": 0},
        {"held_limit_frames": 0},
        {"group_limit_frames": 0},
        {"reorder_wait_ns": -1},
        {"jitter_ns": -1},
        {"answer_wait_ns": 0},
        {"refusal_wait_ns": 0},
        {"wait_limit_ns": 0},
    ],
)
def test_policy_that_could_not_work_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must|can't"):
        RepairPolicy(**changes)


def test_more_last_resorts_than_retransmitters_are_refused() -> None:
    with pytest.raises(ValueError, match="last resort"):
        gaps(1, last_resort_count=2)


class GapsAgainstASet(RuleBasedStateMachine):
    """Any course of events, against the plain set of the sequence numbers that are missing."""

    POLICY = RepairPolicy(request_limit_frames=5, window_frames=12, window_parts=4)

    def __init__(self) -> None:
        super().__init__()
        self.gaps = Gaps(
            shard=SHARD, source_count=3, random=Random(1), policy=self.POLICY, last_resort_count=1
        )
        self.missing: set[int] = set()
        self.frontier = 1
        self.now_ns = 0

    @precondition(lambda self: self.gaps.failure is None)
    @rule(skipped=st.integers(0, 3), size=st.integers(1, 40))
    def open(self, skipped: int, size: int) -> None:
        first = self.frontier + skipped
        self.frontier = first + size
        self.gaps.open(first, first + size - 1, self.now_ns)
        self.missing |= set(range(first, first + size))

    @rule(first=st.integers(1, 200), size=st.integers(1, 30))
    def fill(self, first: int, size: int) -> None:
        self.gaps.fill(first, first + size - 1, self.now_ns)
        self.missing -= set(range(first, first + size))

    @rule(source=st.integers(0, 2), first=st.integers(1, 200), size=st.integers(1, 30))
    def refuse(self, source: int, first: int, size: int) -> None:
        self.gaps.refuse(source, first, first + size - 1, self.now_ns)

    @rule(last=st.integers(0, 200))
    def truncate(self, last: int) -> None:
        self.gaps.truncate(last)
        self.missing = {sequence for sequence in self.missing if sequence <= last}
        self.frontier = min(self.frontier, last + 1)

    @rule(wait_ns=st.integers(0, 50 * MILLISECOND_NS))
    def pass_time(self, wait_ns: int) -> None:
        self.now_ns += wait_ns
        naks = asked(self.gaps.on_time(self.now_ns, 1))
        wanted = [sequence for _, first, last in naks for sequence in range(first, last + 1)]
        assert len(wanted) == len(set(wanted)) <= self.POLICY.window_frames
        assert self.missing.issuperset(wanted)
        assert all(last - first < self.POLICY.request_limit_frames for _, first, last in naks)
        assert len(naks) <= self.POLICY.window_parts
        assert self.gaps.on_time(self.now_ns, 1) == []

    @invariant()
    def agrees(self) -> None:
        self.gaps.check()
        assert bool(self.gaps) is bool(self.missing)
        assert self.gaps.missing_frames == len(self.missing)
        ranges = [
            sequence for part in self.gaps._parts for sequence in range(part.first, part.last + 1)
        ]
        assert ranges == sorted(self.missing)
        if self.gaps.failure is None:
            assert (self.gaps.deadline_ns is None) is not bool(self.missing)


TestGapsAgainstASet = GapsAgainstASet.TestCase
TestGapsAgainstASet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
