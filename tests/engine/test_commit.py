"""Commit by majority, alone and among several holders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commit import CommitRule


def test_solo_primary_commits_what_it_holds() -> None:
    rule = CommitRule(("engine",), epoch_sequence=1)
    assert rule.acknowledge("engine", 1)
    assert rule.committed_sequence == 1
    assert rule.acknowledge("engine", 7)
    assert rule.committed_sequence == 7


def test_commit_waits_for_a_majority_of_five() -> None:
    rule = CommitRule("abcde", epoch_sequence=1)
    moved = [rule.acknowledge(holder, 10) for holder in "abc"]
    assert moved == [False, False, True]
    assert rule.committed_sequence == 10


def test_two_of_four_are_no_majority() -> None:
    rule = CommitRule("abcd", epoch_sequence=1)
    assert not rule.acknowledge("a", 5)
    assert not rule.acknowledge("b", 5)
    assert rule.acknowledge("c", 3)
    assert rule.committed_sequence == 3


def test_older_epochs_frames_commit_only_with_the_first_of_this_one() -> None:
    rule = CommitRule("abc", epoch_sequence=20, committed_sequence=10)
    rule.acknowledge("a", 19)
    assert not rule.acknowledge("b", 19)
    assert rule.committed_sequence == 10
    rule.acknowledge("a", 20)
    assert rule.acknowledge("b", 20)
    assert rule.committed_sequence == 20


def test_late_acknowledgement_says_nothing_new() -> None:
    rule = CommitRule("abc", epoch_sequence=1)
    rule.acknowledge("a", 9)
    rule.acknowledge("b", 9)
    assert not rule.acknowledge("b", 4)
    assert rule.committed_sequence == 9


def test_stranger_is_refused() -> None:
    with pytest.raises(KeyError):
        CommitRule("abc", epoch_sequence=1).acknowledge("mallory", 9)


def test_shard_without_holders_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one holder"):
        CommitRule((), epoch_sequence=1)


@given(
    st.integers(1, 7),
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 50)), max_size=60),
    st.integers(1, 30),
)
def test_committed_is_held_by_a_majority_and_never_moves_back(
    size: int, acknowledgements: list[tuple[int, int]], epoch_sequence: int
) -> None:
    holders = [f"holder{i}" for i in range(size)]
    rule = CommitRule(holders, epoch_sequence=epoch_sequence)
    held = dict.fromkeys(holders, 0)
    for index, sequence in acknowledgements:
        holder = holders[index % size]
        before = rule.committed_sequence
        moved = rule.acknowledge(holder, sequence)
        held[holder] = max(held[holder], sequence)
        reachable = [s for s in held.values() if sum(h >= s for h in held.values()) * 2 > size]
        best = max(reachable, default=0)
        assert rule.committed_sequence == max(before, best if best >= epoch_sequence else 0)
        assert moved == (rule.committed_sequence > before)


def test_what_a_holder_forgot_counts_no_more_and_what_was_committed_stays() -> None:
    rule = CommitRule("abcde", epoch_sequence=1)
    for holder in "abc":
        rule.acknowledge(holder, 10)
    for holder in "ab":
        rule.acknowledge(holder, 20)
    rule.forget("a")
    assert (rule.committed_sequence, rule.held["a"]) == (10, 0)
    assert not rule.acknowledge("c", 20), "of the three, one has forgotten"
    assert rule.acknowledge("a", 20)
    with pytest.raises(KeyError):
        rule.forget("mallory")
