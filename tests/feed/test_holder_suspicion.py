"""When a holder takes the primary for dead, and when no more."""

from feed.codec import HEARTBEAT, RETRANSMISSION
from feed.holder import Holder
from feed.schema import HolderKind
from tests.feed.holding import FIRST, SUSPICION_TIME_NS, again, ask, holder, new, take, voter, word
from tests.feed.lists import MILLISECOND_NS, SECOND_NS, asked, packet


def heartbeat(next_sequence: int, *, epoch: int, committed: int = 0, flags: int = 0) -> bytes:
    return packet((), next_sequence, epoch=epoch, committed=committed, flags=HEARTBEAT | flags)


def suspected_at(of: Holder, now_ns: int) -> bool:
    """Whether it suspects the primary from exactly then on, and not a moment earlier."""
    assert of.deadline_ns is not None
    assert of.deadline_ns <= now_ns
    of.on_time(now_ns - 1)
    early = of.is_suspicious
    of.on_time(now_ns)
    return of.is_suspicious and not early


def test_before_there_ever_was_a_primary_nobody_is_suspected() -> None:
    made = voter()
    assert made.deadline_ns is None
    made.on_time(3600 * SECOND_NS)
    assert not made.is_suspicious


def test_a_primary_is_suspected_after_silence_and_no_more_once_it_is_heard() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1, committed=8), now_ns=5)
    take(made, heartbeat(9, epoch=1, committed=8), now_ns=100)
    assert made.deadline_ns == 100 + SUSPICION_TIME_NS
    assert suspected_at(made, 100 + SUSPICION_TIME_NS)
    assert made.deadline_ns is None, "nothing more is due"
    heard_ns = 100 + 5 * SUSPICION_TIME_NS
    take(made, heartbeat(9, epoch=1, committed=8), now_ns=heard_ns)
    assert not made.is_suspicious
    assert suspected_at(made, heard_ns + SUSPICION_TIME_NS)


def test_what_others_send_again_is_no_life_of_the_primary() -> None:
    made = voter()
    take(made, new(FIRST, 1, 4, epoch=1))
    for sequence in range(5, 9):
        take(made, again(FIRST, sequence, sequence, epoch=1), now_ns=sequence * MILLISECOND_NS)
    assert suspected_at(made, SUSPICION_TIME_NS)
    take(made, heartbeat(9, epoch=1, flags=RETRANSMISSION), now_ns=SUSPICION_TIME_NS + 1)
    assert made.is_suspicious


def test_a_promise_gives_the_new_primary_as_much_time_as_a_living_one_has() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1))
    made.on_time(SUSPICION_TIME_NS)
    assert made.is_suspicious
    made.promise(2, 2 * SUSPICION_TIME_NS)
    assert not made.is_suspicious
    take(made, heartbeat(9, epoch=1), now_ns=3 * SUSPICION_TIME_NS - 1)  # the old one wakes
    assert suspected_at(made, 3 * SUSPICION_TIME_NS)


def test_an_epoch_that_was_granted_before_the_start_has_its_time_from_then_on() -> None:
    made = holder()
    made.on_start(3, was_here=False, now_ns=100)
    assert suspected_at(made, 100 + SUSPICION_TIME_NS)


def test_a_candidate_that_still_asks_is_alive_and_one_that_was_too_late_is_not() -> None:
    made = voter()
    ask(made, 2, now_ns=0)
    made.on_time(SUSPICION_TIME_NS)
    assert made.is_suspicious
    ask(made, 2, speaker="e3", now_ns=SUSPICION_TIME_NS)
    assert made.is_suspicious
    ask(made, 2, now_ns=SUSPICION_TIME_NS)
    assert not made.is_suspicious
    assert suspected_at(made, 2 * SUSPICION_TIME_NS)


def test_a_word_or_packet_of_the_same_epoch_by_another_holder_changes_no_suspicion() -> None:
    made = voter()
    take(made, new(FIRST, 1, 8, epoch=1))
    made.on_word(word(HolderKind.ACK, epoch=1, speaker="r2"), SUSPICION_TIME_NS - 1)
    made.on_word(word(HolderKind.FETCH, epoch=1, last_sequence=1), SUSPICION_TIME_NS - 1)
    assert suspected_at(made, SUSPICION_TIME_NS)


def test_a_holder_that_can_read_no_further_does_not_take_the_primary_for_dead() -> None:
    made = holder(peer_count=0)
    take(made, new(FIRST, 1, 2, epoch=1), new(FIRST, 4, 4, epoch=1))
    made.on_time(MILLISECOND_NS)
    assert made.failure is not None
    take(made, heartbeat(5, epoch=1), now_ns=SUSPICION_TIME_NS)
    made.on_time(SUSPICION_TIME_NS)
    assert not made.is_suspicious
    assert suspected_at(made, 2 * SUSPICION_TIME_NS)


def test_a_nak_and_a_suspicion_are_both_waited_for() -> None:
    made = voter()
    take(made, new(FIRST, 1, 2, epoch=1), new(FIRST, 7, 8, epoch=1))
    assert made.deadline_ns is not None
    assert made.deadline_ns < MILLISECOND_NS
    assert [nak[1:] for nak in asked(made.on_time(MILLISECOND_NS))] == [(3, 6)]
    take(made, again(FIRST, 3, 6, epoch=1), now_ns=MILLISECOND_NS)
    assert made.deadline_ns == SUSPICION_TIME_NS
