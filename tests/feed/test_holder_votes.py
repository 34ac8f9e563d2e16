"""What a holder says: acknowledgements, promises, and how it gets its vote back."""

import pytest

from feed.codec import HEARTBEAT
from feed.datagrams import HolderWord, decode_holder_word
from feed.holder import ACK_IDLE_NS, ACK_REPEAT_NS, Holder
from feed.messages import holder_field
from feed.schema import HolderKind
from feed.vote import JOIN_REPEAT_NS, Vote
from tests.feed.holding import (
    FIRST,
    INCARNATION,
    SECOND,
    SUSPICION_TIME_NS,
    acknowledged,
    again,
    ask,
    holder,
    new,
    reign,
    take,
    vote,
    voter,
    word,
)
from tests.feed.lists import SECOND_NS, SHARD, packet


def heartbeat(next_sequence: int, *, epoch: int, committed: int = 0, flags: int = 0) -> bytes:
    return packet((), next_sequence, epoch=epoch, committed=committed, flags=HEARTBEAT | flags)


def said(kind: HolderKind, of: Holder, last_sequence: int, last_epoch: int) -> HolderWord:
    """What the holder under test says as of now."""
    return HolderWord(
        kind,
        SHARD,
        of.epoch,
        holder_field("r1"),
        INCARNATION,
        last_epoch,
        last_sequence,
        of.committed_sequence,
    )


# Acknowledgements.


def test_only_whole_groups_are_acknowledged_each_at_once() -> None:
    made = voter()
    acks = []
    for sequence in range(1, 9):
        take(made, new(FIRST, sequence, sequence, epoch=1))
        acks.append(acknowledged(made, 0))
    assert acks == [1, 2, 3, None, None, 6, 7, 8]


def test_a_backup_acknowledges_as_far_as_it_has_compared() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1))
    assert [acknowledged(made, 0, applied) for applied in (0, 3, 3, 6)] == [None, 3, None, 6]


def test_nothing_of_a_new_epoch_is_acknowledged_before_its_first_frame_is_held() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1, committed=3))
    take(made, heartbeat(7, epoch=2, committed=3), again(SECOND, 4, 6, epoch=2))
    assert (made.held_sequence, acknowledged(made, SECOND_NS)) == (6, None)
    take(made, new(SECOND, 8, 8, epoch=2))
    assert acknowledged(made, SECOND_NS) is None
    take(made, new(SECOND, 7, 7, epoch=2))
    assert acknowledged(made, SECOND_NS) == 8


def test_the_new_epochs_first_frame_does_not_count_while_earlier_ones_are_not_compared() -> None:
    made = voter()
    take(made, new(FIRST, 1, 6, epoch=1), new(SECOND, 7, 11, epoch=2))
    assert (made.held_sequence, acknowledged(made, 0)) == (0, None)
    take(made, again(SECOND, 1, 6, epoch=2))
    assert acknowledged(made, 0) == 11


def test_nothing_of_an_older_epoch_than_promised_is_acknowledged() -> None:
    made = voter()
    take(made, new(FIRST, 1, 7, epoch=1))
    ask(made, 2)
    take(made, new(FIRST, 8, 8, epoch=1))
    assert (made.primary, acknowledged(made, SECOND_NS)) == (None, None)
    assert acknowledged(made, SECOND_NS, 7) is None


def test_an_epoch_frame_that_was_held_before_the_rewind_counts_once_it_is_seen_again() -> None:
    """A holder saw the second epoch begin, and promised the third, which adopts the second."""
    made = voter()
    take(made, new(SECOND, 1, 11, epoch=2, committed=3))
    ask(made, 3, speaker="e3")
    third = SECOND + reign(3, "e3", 12, [1])
    take(made, again(third, 4, 11, epoch=3))
    assert (made.held_sequence, acknowledged(made, 0)) == (11, None)
    take(made, new(third, 12, 12, epoch=3))
    assert acknowledged(made, 0) == 12


def test_an_acknowledgement_that_may_be_lost_is_said_again_until_the_commit_shows_it() -> None:
    made = voter()
    take(made, new(FIRST, 1, 3, epoch=1))
    assert acknowledged(made, 0) == 3
    assert acknowledged(made, ACK_REPEAT_NS - 1) is None
    assert acknowledged(made, ACK_REPEAT_NS) == 3
    assert acknowledged(made, ACK_REPEAT_NS + 1) is None
    take(made, heartbeat(4, epoch=1, committed=3), now_ns=ACK_REPEAT_NS + 1)
    assert acknowledged(made, 3 * ACK_REPEAT_NS) is None
    assert acknowledged(made, ACK_REPEAT_NS + ACK_IDLE_NS - 1) is None
    assert acknowledged(made, ACK_REPEAT_NS + ACK_IDLE_NS) == 3


def test_the_same_frames_are_acknowledged_anew_to_each_primary() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1, committed=8))
    assert acknowledged(made, 0) == 8
    second = FIRST + reign(2, "e2", 9)
    take(made, new(second, 9, 9, epoch=2, committed=8), now_ns=1)
    assert acknowledged(made, 1) == 9


@pytest.mark.parametrize("has_forgotten", [None, True])
def test_nothing_is_acknowledged_without_a_vote(has_forgotten: bool | None) -> None:
    made = holder()
    if has_forgotten:
        made.on_start(1, was_here=True, now_ns=0)
    take(made, new(FIRST, 1, 8, epoch=1, committed=8))
    assert (made.held_sequence, acknowledged(made, SECOND_NS)) == (8, None)


# Promises.


def test_an_ask_is_answered_with_the_promise_and_with_where_the_list_ends() -> None:
    made = voter()
    take(made, new(FIRST, 1, 5, epoch=1, committed=3))
    assert ask(made, 2) == [said(HolderKind.ANSWER, made, last_sequence=5, last_epoch=1)]
    assert (made.epoch, made.committed_sequence) == (2, 3)
    assert take(made, new(FIRST, 6, 8, epoch=1)) == [[]]
    assert ask(made, 2) == [said(HolderKind.ANSWER, made, last_sequence=5, last_epoch=1)]


def test_an_older_epoch_is_refused_with_the_later_one() -> None:
    made = voter()
    ask(made, 4)
    # It tells of the later epoch, and counts for nothing there: its candidate has not asked.
    assert ask(made, 3, speaker="e3") == [said(HolderKind.FORGOT, made, 0, 0)]
    assert made.epoch == 4


def test_an_epoch_is_promised_to_one_candidate_only_and_the_next_one_to_another() -> None:
    made = voter()
    answers = [
        len(ask(made, epoch, speaker=speaker))
        for epoch, speaker in [(2, "e2"), (2, "e3"), (2, "e2"), (3, "e3"), (3, "e2"), (3, "e3")]
    ]
    assert answers == [1, 0, 1, 1, 0, 1]


def test_an_epoch_that_the_list_has_begun_is_promised_to_nobody_but_its_primary() -> None:
    made = voter()
    take(made, new(SECOND, 1, 11, epoch=2))
    assert [len(ask(made, 2, speaker=speaker)) for speaker in ("e3", "e2", "e3")] == [0, 1, 0]


def test_any_word_of_a_later_epoch_is_a_promise() -> None:
    for kind in set(HolderKind) - {HolderKind.ASK}:
        made = voter()
        take(made, new(FIRST, 1, 8, epoch=1, committed=3))
        assert made.on_word(word(kind, epoch=2), 0) == []
        assert (made.epoch, made.held_sequence) == (2, 3)
        assert take(made, new(FIRST, 7, 8, epoch=1)) == [[]]


@pytest.mark.parametrize("has_forgotten", [None, True])
def test_who_has_no_vote_answers_that_it_forgot(has_forgotten: bool | None) -> None:
    made = holder()
    if has_forgotten:
        made.on_start(1, was_here=True, now_ns=0)
    take(made, new(FIRST, 1, 8, epoch=1, committed=3))
    assert ask(made, 2) == [said(HolderKind.FORGOT, made, last_sequence=8, last_epoch=1)]
    assert take(made, new(FIRST, 7, 8, epoch=1)) == [[]], "it takes the epoch all the same"


# The return without memory.


@pytest.mark.parametrize(
    ("epoch", "was_here", "outcome"),
    [
        (0, False, Vote.COUNTS),
        (0, True, Vote.COUNTS),  # no epoch was granted, so it can't have acknowledged anything
        (3, False, Vote.COUNTS),
        (3, True, Vote.RETURNING),
    ],
)
def test_who_was_here_while_an_epoch_was_granted_has_forgotten(
    epoch: int, was_here: bool, outcome: Vote
) -> None:
    made = holder()
    made.on_start(epoch, was_here=was_here, now_ns=0)
    assert (vote(made), made.epoch) == (outcome, epoch)
    made.on_start(9, was_here=not was_here, now_ns=0)
    assert (vote(made), made.epoch) == (outcome, epoch), "told once"


def returning(epoch: int = 1) -> Holder:
    made = holder()
    made.on_start(epoch, was_here=True, now_ns=0)
    return made


def welcome(to: Holder, last: int, *, epoch: int = 1, incarnation: int = INCARNATION) -> None:
    """The primary says how far its list goes; it may not know yet that more than 0 is committed."""
    said = word(HolderKind.WELCOME, epoch=epoch, incarnation=incarnation, last_sequence=last)
    assert to.on_word(said, 0) == []
    to.check()


def test_a_join_is_said_until_it_is_welcomed() -> None:
    made = returning()
    assert made.deadline_ns == 0
    joins = [made.join_word(now_ns) for now_ns in (0, 1, JOIN_REPEAT_NS - 1, JOIN_REPEAT_NS)]
    assert [join and decode_holder_word(join) for join in joins] == [
        *(said(HolderKind.JOIN, made, 0, 0), None, None, said(HolderKind.JOIN, made, 0, 0)),
    ]
    assert made.deadline_ns == SUSPICION_TIME_NS, "the primary may be dead before the next JOIN"
    welcome(made, 5)
    assert made.join_word(9 * JOIN_REPEAT_NS) is None


def test_a_primary_welcomes_the_life_that_joined() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1, committed=6))
    join = word(HolderKind.JOIN, epoch=1, speaker="r2", incarnation=77)
    assert decode_holder_word(made.welcome_word(join)) == (
        said(HolderKind.WELCOME, made, 8, 1)._replace(incarnation=77)
    )


def test_the_vote_returns_only_with_all_that_the_primarys_list_had() -> None:
    made = returning()
    welcome(made, 6)
    take(made, again(FIRST, 1, 5, epoch=1, committed=8))
    assert (vote(made), acknowledged(made, 0)) == (Vote.RETURNING, None)
    take(made, again(FIRST, 6, 6, epoch=1, committed=8))
    assert (vote(made), acknowledged(made, 0)) == (Vote.COUNTS, 6)


def test_the_vote_returns_with_the_welcome_when_the_list_is_there_already() -> None:
    made = returning()
    take(made, new(FIRST, 1, 8, epoch=1, committed=6))
    assert vote(made) is Vote.RETURNING
    welcome(made, 6)
    assert (vote(made), acknowledged(made, 0)) == (Vote.COUNTS, 8)


def test_the_vote_returns_only_in_a_list_that_was_seen_in_this_epoch() -> None:
    made = returning()
    take(made, new(FIRST, 1, 8, epoch=1, committed=3))
    made.promise(2, 0)
    welcome(made, 3, epoch=2)
    assert vote(made) is Vote.RETURNING, "frames 1 to 3 are here, but not the epoch's first"
    take(made, again(SECOND, 4, 6, epoch=2))
    assert vote(made) is Vote.RETURNING
    take(made, new(SECOND, 7, 7, epoch=2))
    assert vote(made) is Vote.COUNTS


def test_in_a_later_epoch_its_primary_is_asked_anew() -> None:
    made = returning()
    made.join_word(0)
    welcome(made, 100)
    assert made.join_word(1) is None
    made.promise(2, 1)
    assert made.join_word(1) is not None
    welcome(made, 7, epoch=2)
    take(made, new(SECOND, 1, 7, epoch=2))
    assert vote(made) is Vote.COUNTS, "the list of epoch 2 has nothing to do with epoch 1's end"


def test_a_welcome_for_an_earlier_life_or_from_an_older_epoch_counts_nothing() -> None:
    made = returning(epoch=2)
    take(made, new(SECOND, 1, 11, epoch=2, committed=8))
    welcome(made, 1, epoch=2, incarnation=INCARNATION - 1)
    welcome(made, 1, epoch=1)
    assert (vote(made), made.join_word(0) is not None) == (Vote.RETURNING, True)
    welcome(made, 8, epoch=2)
    assert vote(made) is Vote.COUNTS


def test_a_welcome_of_a_later_epoch_counts_in_that_epochs_list() -> None:
    made = returning()
    take(made, new(FIRST, 1, 8, epoch=1, committed=3))
    welcome(made, 3, epoch=2)
    assert (made.epoch, made.vote) == (2, Vote.RETURNING)
    take(made, again(SECOND, 4, 7, epoch=2))
    assert (vote(made), acknowledged(made, 0)) == (Vote.COUNTS, 7)
