"""The way back to a vote: who forgot asks, is told how much to hold, and counts once it does."""

from feed.vote import JOIN_REPEAT_NS, Return, Vote


def returning() -> Return:
    back = Return()
    back.begin(has_forgotten=True)
    return back


def vote(of: Return) -> Vote:
    """The vote as of now."""
    return of.vote


def test_before_it_is_known_whether_it_was_here_nothing_counts_and_nothing_is_asked() -> None:
    back = Return()
    back.on_welcome(0)
    back.on_held(100)
    assert (back.vote, back.waits_for_welcome, back.deadline_ns) == (Vote.UNKNOWN, False, None)
    assert not back.is_join_due(JOIN_REPEAT_NS)


def test_who_was_never_here_counts_at_once() -> None:
    back = Return()
    back.begin(has_forgotten=False)
    assert (vote(back), back.deadline_ns, back.is_join_due(0)) == (Vote.COUNTS, None, False)


def test_only_the_first_word_on_whether_it_was_here_counts() -> None:
    back = returning()
    back.begin(has_forgotten=False)
    assert vote(back) is Vote.RETURNING
    fresh = Return()
    fresh.begin(has_forgotten=False)
    fresh.begin(has_forgotten=True)
    assert fresh.vote is Vote.COUNTS


def test_a_join_is_said_at_once_and_again_until_it_is_answered() -> None:
    back = returning()
    times = [0, 1, JOIN_REPEAT_NS - 1, JOIN_REPEAT_NS, JOIN_REPEAT_NS + 1, 5 * JOIN_REPEAT_NS]
    assert [back.is_join_due(now_ns) for now_ns in times] == [True, False, False, True, False, True]
    assert back.deadline_ns == 6 * JOIN_REPEAT_NS
    back.on_welcome(7)
    assert not back.is_join_due(99 * JOIN_REPEAT_NS)
    assert not back.waits_for_welcome
    assert vote(back) is Vote.RETURNING


def test_the_vote_returns_with_all_of_the_list_as_it_was_at_the_return() -> None:
    back = returning()
    back.on_held(100)
    assert vote(back) is Vote.RETURNING, "nobody has told how far the list goes"
    back.on_welcome(7)
    back.on_held(6)
    assert vote(back) is Vote.RETURNING
    back.on_held(7)
    assert vote(back) is Vote.COUNTS


def test_a_welcome_that_comes_again_later_does_not_move_the_mark() -> None:
    back = returning()
    back.on_welcome(7)
    back.on_welcome(3)
    back.on_held(6)
    assert vote(back) is Vote.RETURNING
    back.on_welcome(50)
    back.on_held(7)
    assert vote(back) is Vote.COUNTS


def test_in_a_later_epoch_its_primary_is_asked_anew_and_at_once() -> None:
    back = returning()
    assert back.is_join_due(0)
    back.on_welcome(50)
    back.on_epoch()
    assert [back.is_join_due(now_ns) for now_ns in (1, 2)] == [True, False]
    back.on_held(100)
    assert vote(back) is Vote.RETURNING
    back.on_welcome(7)
    back.on_held(7)
    assert vote(back) is Vote.COUNTS
    back.on_epoch()
    assert vote(back) is Vote.COUNTS


def test_who_adopted_the_longest_list_of_a_majority_has_forgotten_nothing() -> None:
    back = returning()
    back.on_adopted()
    assert (vote(back), back.deadline_ns, back.is_join_due(0)) == (Vote.COUNTS, None, False)
