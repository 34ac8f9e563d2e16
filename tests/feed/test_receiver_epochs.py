"""A receiver for a holder: what a new epoch has it read again, and whose sign of life counts."""

from feed.codec import HEARTBEAT, RETRANSMISSION
from feed.gap import GapFailure
from feed.receiver import Receiver
from tests.feed.lists import answer, asked, group_frames, missing, packet
from tests.feed.receiving import FRAMES, SOON_NS, counted, data, heartbeat, ranges, receiver, take


def failed(at: int, *, committed: int) -> tuple[Receiver, int]:
    """One that reads on to before `at`, where nobody has the frame, and gave up; and when."""
    to = receiver(source_count=1, rewinds=True)
    take(to, [data(1, at - 1, committed=committed), data(at + 1, at + 1, committed=committed)])
    now_ns = 0
    while to.failure is None:
        assert to.deadline_ns is not None
        now_ns = to.deadline_ns
        for source, first, last in asked(to.on_time(now_ns)):
            to.on_datagram(missing(first, last), now_ns, source)
    assert to.failure == GapFailure(at, at, "retransmitter 1 does not hold it")
    return to, now_ns


def test_in_a_new_epoch_what_follows_the_last_committed_frame_comes_out_again() -> None:
    to = receiver(rewinds=True)
    assert take(to, [data(1, 6, committed=4)]) == [[1, 2, 3, 4, 5, 6]]
    other = [*FRAMES[:5], *group_frames(6, 2)]
    assert take(to, [heartbeat(8, epoch=2, committed=4)]) == [[]]
    assert (to.next_sequence, to.highest_sequence) == (5, 7)
    assert ranges(to, SOON_NS) == [(5, 7)]
    frames = to.on_datagram(answer(other, 5, 7, epoch=2), SOON_NS, 0)
    assert [frame.data for frame in frames] == other[4:]


def test_without_rewinding_what_came_out_comes_out_no_more() -> None:
    to = receiver()
    take(to, [data(1, 6, committed=4), heartbeat(7, epoch=2, committed=4)])
    assert (to.next_sequence, to.deadline_ns) == (7, None)
    assert take(to, [data(5, 7, epoch=2, committed=4)]) == [[7]]


def test_a_rewind_never_goes_forward_over_what_has_not_come_out() -> None:
    to = receiver(rewinds=True)
    take(to, [data(1, 2, committed=6), data(5, 8, committed=6)])
    assert take(to, [heartbeat(9, epoch=2, committed=6)]) == [[]]
    assert (to.next_sequence, to.counters.dropped_epoch) == (3, 2)
    assert ranges(to, SOON_NS) == [(3, 4), (7, 8)]
    assert take(to, [answer(FRAMES, 3, 4, epoch=2, committed=6)]) == [[3, 4, 5, 6]]


def test_a_fence_keeps_older_epochs_out_before_anything_of_the_new_one_came() -> None:
    to = receiver(rewinds=True)
    take(to, [data(1, 4, committed=2), data(6, 6, committed=2)])
    to.fence(3)
    to.check()
    assert (to.epoch, to.next_sequence, to.highest_sequence, to.deadline_ns) == (3, 3, 2, None)
    assert take(to, [data(5, 5, epoch=1), data(5, 5, epoch=2), heartbeat(9)]) == [[], [], []]
    assert take(to, [data(3, 4, epoch=3, committed=2)]) == [[3, 4]]
    assert counted(to) == {
        "packets": 3,
        "stale_epoch": 3,
        "frames": 6,
        "held_early": 1,
        "dropped_epoch": 1,
        "gaps_detected": 1,
        "gaps_abandoned": 1,
    }


def test_a_fence_of_an_epoch_that_is_not_newer_changes_nothing() -> None:
    to = receiver(rewinds=True)
    take(to, [data(1, 4, epoch=3, committed=2), data(6, 6, epoch=3, committed=2)])
    to.fence(3)
    to.fence(2)
    to.check()
    assert (to.epoch, to.next_sequence, to.highest_sequence) == (3, 5, 6)
    assert take(to, [data(5, 5, epoch=3, committed=2)]) == [[5, 6]]


def test_who_led_reads_on_after_the_last_committed_frame() -> None:
    to = receiver(rewinds=True)
    take(to, [data(1, 2, committed=2), data(5, 5, committed=2)])
    to.resume(4, 7)  # the frames up to 9 were written or adopted meanwhile
    to.check()
    assert (to.epoch, to.next_sequence, to.committed_sequence) == (4, 8, 7)
    assert (to.highest_sequence, to.deadline_ns, to.missing_frames) == (7, None, 0)
    assert take(to, [data(7, 9, epoch=4, committed=7), data(10, 10, epoch=3)]) == [[8, 9], []]


def test_who_led_after_giving_up_a_frame_has_adopted_it_and_reads_on() -> None:
    to, now_ns = failed(4, committed=3)
    to.resume(2, 5)
    to.check()
    assert to.failure is None
    assert take(to, [data(6, 6, epoch=2, committed=5)], now_ns) == [[6]]
    assert take(to, [data(8, 8, epoch=2, committed=5)], now_ns) == [[]]
    assert ranges(to, now_ns + SOON_NS) == [(7, 7)]


def test_a_frame_that_nobody_has_need_not_exist_in_a_new_epoch() -> None:
    to, now_ns = failed(4, committed=2)
    assert take(to, [data(4, 4, committed=2)], now_ns) == [[]]
    assert take(to, [data(3, 5, epoch=2, committed=2)], now_ns) == [[3, 4, 5]]
    assert to.failure is None
    assert take(to, [data(7, 7, epoch=2, committed=2)], now_ns) == [[]]
    assert ranges(to, now_ns + SOON_NS) == [(6, 6)]


def test_a_fence_makes_a_failure_void_too() -> None:
    to, _ = failed(4, committed=3)
    to.fence(2)
    to.check()
    assert to.failure is None


def test_a_committed_frame_that_nobody_has_is_missing_in_every_epoch() -> None:
    to, now_ns = failed(4, committed=4)
    assert take(to, [data(5, 6, epoch=2, committed=4)], now_ns) == [[]]
    to.fence(3)
    assert to.failure is not None
    assert take(to, [data(4, 6, epoch=3, committed=4)], now_ns) == [[]]


def test_a_primary_that_forgot_what_is_committed_stays_a_failure_in_later_epochs() -> None:
    to = receiver(rewinds=True)
    take(to, [data(1, 6), data(1, 2, epoch=2), data(7, 7, epoch=3)])
    assert to.failure is not None
    assert to.next_sequence == 7


def test_only_the_primary_of_this_epoch_itself_counts_as_heard() -> None:
    to = receiver(rewinds=True)
    heard = [to.heard_ns]
    arriving = [
        packet(FRAMES[:2], 1, flags=RETRANSMISSION),
        data(3, 3),
        packet((), 4, flags=RETRANSMISSION | HEARTBEAT),
        heartbeat(4),
        data(4, 4)[:-1],  # damaged
        packet(FRAMES[3:4], 4, shard=2),
        answer(FRAMES, 4, 5, epoch=2, committed=3),
        heartbeat(6, committed=3),  # of the older epoch
        heartbeat(6, epoch=2, committed=3),
    ]
    for now_ns, datagram in enumerate(arriving, 1):
        to.on_datagram(datagram, now_ns)
        heard.append(to.heard_ns)
    assert heard == [None, None, 2, 2, 4, 4, 4, None, None, 9]
    to.fence(3)
    assert to.heard_ns is None


def test_a_list_that_is_begun_anew_ends_it_even_when_its_epoch_was_promised_before() -> None:
    to = receiver(rewinds=True)
    take(to, [data(1, 8, committed=8)])
    to.fence(2)
    assert take(to, [data(1, 8, epoch=2, committed=8)]) == [[]]
    assert to.failure is not None
    assert to.failure[:2] == (1, 8)
    assert "begun the list anew" in to.failure.reason
