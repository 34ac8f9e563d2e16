"""The receiving end of a list: frames in sequence, whatever the network does to the packets."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.gap import GapFailure, RepairPolicy
from feed.receiver import Receiver
from tests.feed.lists import (
    SECOND_NS,
    SHARD,
    answer,
    asked,
    group_frames,
    list_of,
    missing,
    nak,
    packet,
    sequences,
)
from tests.feed.receiving import (
    FRAMES,
    SOON_NS,
    counted,
    data,
    heartbeat,
    ranges,
    receiver,
    take,
)


def test_packets_in_order_come_out_as_they_came() -> None:
    to = receiver()
    frames = [*to.on_datagram(data(1, 3), 0), *to.on_datagram(data(4, 4), 1)]
    assert [frame.data for frame in frames] == FRAMES[:4]
    assert (to.next_sequence, to.highest_sequence, to.committed_sequence, to.epoch) == (5, 4, 4, 1)
    assert to.deadline_ns is None
    assert counted(to) == {"packets": 2, "frames": 4}


def test_reordered_packets_come_out_in_order_and_nothing_is_asked_for() -> None:
    to = receiver()
    assert take(to, [data(1, 2), data(5, 6), data(3, 4), data(7, 7)]) == [
        [1, 2],
        [],
        [3, 4, 5, 6],
        [7],
    ]
    assert ranges(to, SECOND_NS) == []
    assert counted(to) == {
        "packets": 4,
        "frames": 7,
        "held_early": 4,
        "gaps_detected": 1,
        "gaps_filled": 1,
    }


def test_duplicates_come_out_once() -> None:
    to = receiver()
    assert take(to, [data(1, 2), data(1, 2), data(5, 5), data(5, 5), data(2, 4), data(3, 5)]) == [
        [1, 2],
        [],
        [],
        [],
        [3, 4, 5],
        [],
    ]
    assert to.counters.duplicates == 2 + 1 + 1 + 3


def test_lost_packet_is_asked_for_and_its_answer_fills_the_gap() -> None:
    to = receiver()
    take(to, [data(1, 2), data(5, 6)])
    assert to.deadline_ns is not None
    assert to.on_time(0) == []
    assert ranges(to, SOON_NS) == [(3, 4)]
    assert sequences(to.on_datagram(answer(FRAMES, 3, 4), SOON_NS, 0)) == [3, 4, 5, 6]
    assert to.deadline_ns is None
    assert counted(to) == {
        "packets": 3,
        "frames": 6,
        "held_early": 4,
        "frames_recovered": 2,
        "naks_sent": 1,
        "gaps_detected": 1,
        "gaps_filled": 1,
    }


def test_loss_of_the_last_frame_shows_by_the_next_heartbeat() -> None:
    to = receiver()
    assert take(to, [data(1, 2), heartbeat(4)]) == [[1, 2], []]
    assert ranges(to, SOON_NS) == [(3, 3)]
    assert to.counters.heartbeats == 1


def test_loss_of_the_last_frame_shows_by_a_commit_that_reaches_further() -> None:
    to = receiver()
    take(to, [data(1, 2, committed=3)])
    assert (to.highest_sequence, ranges(to, SOON_NS)) == (3, [(3, 3)])


def test_heartbeat_that_tells_nothing_new_changes_nothing() -> None:
    to = receiver()
    take(to, [data(1, 2), heartbeat(3), heartbeat(2), heartbeat(1, committed=0)])
    assert (to.next_sequence, to.highest_sequence, to.deadline_ns) == (3, 2, None)
    assert counted(to) == {"packets": 4, "frames": 2, "heartbeats": 3}


def test_whole_list_is_asked_for_by_who_joins_late() -> None:
    to = receiver()
    assert take(to, [data(300, 300)]) == [[]]
    assert ranges(to, SOON_NS) == [(1, 299)]
    for first in range(1, 300, 13):
        to.on_datagram(answer(FRAMES, first, min(first + 12, 299)), SOON_NS, 0)
        to.check()
    assert to.next_sequence == 301
    assert (to.counters.gaps_detected, to.counters.gaps_filled) == (1, 1)


def test_frames_too_far_ahead_are_not_held_and_asked_for_later() -> None:
    to = receiver(policy=RepairPolicy(held_limit_frames=10))
    assert take(to, [data(5, 14), data(30, 40)]) == [[], []]
    assert (to.counters.held_early, to.counters.dropped_early) == (6, 15)
    assert ranges(to, SOON_NS) == [(1, 4)]
    assert take(to, [data(1, 4)], SOON_NS) == [list(range(1, 11))]
    assert to.missing_frames == 10  # 11 to 20: as far as there is room
    assert ranges(to, 2 * SOON_NS) == [(11, 20)]
    assert take(to, [data(11, 20)], 2 * SOON_NS) == [list(range(11, 21))]
    assert ranges(to, 3 * SOON_NS) == [(21, 30)]
    assert take(to, [data(21, 40)], 3 * SOON_NS) == [list(range(21, 31))]
    assert take(to, [data(31, 40)], 3 * SOON_NS) == [list(range(31, 41))]
    assert to.deadline_ns is None


def test_uncommitted_frames_come_out_unless_only_committed_ones_are_wanted() -> None:
    packets = [data(1, 3, committed=0), data(4, 5, committed=2), heartbeat(6, committed=5)]
    assert take(receiver(), packets) == [[1, 2, 3], [4, 5], []]
    assert take(receiver(committed_only=True), packets) == [[], [1, 2], [3, 4, 5]]


def test_commit_that_is_told_again_from_earlier_does_not_go_back() -> None:
    to = receiver()
    take(to, [data(1, 3), data(4, 4, committed=1)])
    assert to.committed_sequence == 3


def test_packet_of_an_older_epoch_moves_nothing() -> None:
    to = receiver()
    assert take(to, [data(1, 1, epoch=2), data(2, 2, epoch=1), heartbeat(9, epoch=1)]) == [
        [1],
        [],
        [],
    ]
    assert (to.next_sequence, to.highest_sequence, to.epoch, to.deadline_ns) == (2, 1, 2, None)
    assert counted(to) == {"packets": 1, "frames": 1, "stale_epoch": 2}


def test_new_epoch_drops_what_was_held_of_the_old_one_and_asks_anew() -> None:
    to = receiver()
    take(to, [data(1, 2, committed=2), data(5, 6, committed=2)])
    assert take(to, [heartbeat(5, committed=2, epoch=2)]) == [[]]
    assert (to.highest_sequence, to.counters.dropped_epoch, to.counters.gaps_abandoned) == (4, 2, 1)
    assert ranges(to, SOON_NS) == [(3, 4)]
    other = [*FRAMES[:2], *group_frames(3, 3)]
    frames = to.on_datagram(answer(other, 3, 5, epoch=2), SOON_NS, 0)
    assert [frame.data for frame in frames] == other[2:]


def test_new_epoch_leaves_what_is_committed() -> None:
    to = receiver()
    take(to, [data(1, 2), data(5, 6, committed=5), data(9, 9, committed=5)])
    assert take(to, [heartbeat(6, committed=5, epoch=2)]) == [[]]
    assert to.counters.dropped_epoch == 2
    assert ranges(to, SOON_NS) == [(3, 4)]
    repaired = answer(FRAMES, 3, 4, committed=5, epoch=2)
    assert sequences(to.on_datagram(repaired, SOON_NS, 0)) == [3, 4, 5]


def test_commit_of_the_new_epoch_does_not_vouch_for_frames_of_the_old_one() -> None:
    to = receiver(committed_only=True)
    take(to, [data(1, 4, committed=2)])
    assert take(to, [heartbeat(5, committed=4, epoch=2)]) == [[]]
    assert (to.next_sequence, to.counters.dropped_epoch) == (3, 2)
    other = [*FRAMES[:2], *group_frames(3, 2)]
    assert ranges(to, SOON_NS) == [(3, 4)]
    frames = to.on_datagram(answer(other, 3, 4, committed=4, epoch=2), SOON_NS, 0)
    assert [frame.data for frame in frames] == other[2:]


def test_primary_that_begins_the_list_anew_ends_it_loudly() -> None:
    to = receiver()
    take(to, [data(1, 6)])
    assert take(to, [data(1, 2, epoch=2), data(7, 8)]) == [[], []]
    assert to.failure == GapFailure(1, 6, "the primary of epoch 2 has begun the list anew at 1")
    assert (to.epoch, to.next_sequence, to.on_time(SOON_NS)) == (1, 7, [])
    assert to.counters.after_failure == 2


def test_heartbeat_shows_that_a_primary_begins_the_list_anew() -> None:
    to = receiver()
    take(to, [data(1, 6)])
    take(to, [heartbeat(3, epoch=2)])
    assert to.failure is not None


def test_retransmission_of_committed_frames_in_a_new_epoch_is_no_new_beginning() -> None:
    to = receiver()
    take(to, [data(1, 6)])
    assert not to.on_datagram(answer(FRAMES, 2, 3, epoch=2), SOON_NS, 0)
    assert (to.failure, to.epoch) == (None, 2)


def test_retransmission_in_an_old_epoch_is_dropped_like_any_packet() -> None:
    to = receiver()
    take(to, [data(1, 1, epoch=2), data(4, 4, epoch=2)])
    to.on_time(SOON_NS)
    assert not to.on_datagram(answer(FRAMES, 2, 3, epoch=1), SOON_NS, 0)
    assert to.counters.stale_epoch == 1


def test_live_join_starts_with_the_first_group_that_begins() -> None:
    groups = list_of([3, 2, 1])
    to = receiver(first_sequence=None)
    assert take(to, [heartbeat(3)]) == [[]]
    assert to.next_sequence == 0
    assert take(to, [packet(groups[0][1:2], 2)]) == [[]]
    assert take(to, [packet([groups[0][2], *groups[1]], 3)]) == [[4, 5]]
    assert take(to, [packet(groups[2], 6)]) == [[6]]
    assert (to.counters.duplicates, to.deadline_ns) == (0, None)


def test_live_join_repairs_what_is_lost_after_it() -> None:
    to = receiver(first_sequence=None)
    assert take(to, [data(100, 101), data(104, 104)]) == [[100, 101], []]
    assert ranges(to, SOON_NS) == [(102, 103)]


def test_missing_answer_counts_only_from_a_known_retransmitter_and_for_this_shard() -> None:
    to = receiver()
    take(to, [data(1, 2), data(5, 6)])
    [(source, *_)] = asked(to.on_time(SOON_NS))
    for stray in (None, -1, 2):
        assert not to.on_datagram(missing(3, 4), SOON_NS, stray)
    to.on_datagram(nak(3, 4), SOON_NS, source)
    to.on_datagram(missing(3, 4, shard=SHARD + 1), SOON_NS, source)
    to.on_datagram(missing(3, 4)[:-1] + b"\xff", SOON_NS, source)
    assert ranges(to, SOON_NS) == []
    to.on_datagram(missing(3, 4), SOON_NS, source)
    assert asked(to.on_time(SOON_NS)) == [(1 - source, 3, 4)]
    counters = to.counters
    assert (
        counters.stray_repairs,
        counters.other_shard,
        counters.corrupt,
        counters.missing_answers,
    ) == (4, 1, 1, 1)


def test_the_primary_is_asked_only_when_the_retransmitters_have_been() -> None:
    to = Receiver(shard=SHARD, source_count=2, random=Random(1), last_resort_count=1)
    take(to, [data(2, 2)])
    assert asked(to.on_time(SOON_NS)) == [(0, 1, 1)]
    to.on_datagram(missing(1, 1), SOON_NS, 0)
    assert asked(to.on_time(SOON_NS)) == [(1, 1, 1)]
    take(to, [data(1, 1), data(4, 4)], SOON_NS)
    assert asked(to.on_time(2 * SOON_NS)) == [(0, 3, 3)]


def test_frame_that_nobody_has_stops_the_receiver_for_good() -> None:
    to = receiver()
    take(to, [data(1, 2), data(5, 6)])
    while to.failure is None:
        now_ns = to.deadline_ns
        assert now_ns is not None
        for source, first, last in asked(to.on_time(now_ns)):
            to.on_datagram(missing(first, last), now_ns, source)
    assert to.failure == GapFailure(
        3, 4, "retransmitter 1 does not hold it, retransmitter 2 does not hold it"
    )
    assert take(to, [data(3, 4), data(7, 7)]) == [[], []]
    assert (to.next_sequence, to.deadline_ns, to.counters.after_failure) == (3, None, 2)
    assert to.on_time(SECOND_NS * 100) == []


def test_without_retransmitters_a_gap_stops_the_receiver() -> None:
    to = receiver(source_count=0)
    take(to, [data(1, 2), data(4, 4)])
    to.on_time(SOON_NS)
    assert to.failure == GapFailure(3, 3, "no retransmitter is configured")


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Packets, as first and last frame and commit, that overlap and arrive in any order."""
    packets = []
    for _ in range(draw(st.integers(0, 25))):
        first = draw(st.integers(1, 60))
        last = first + draw(st.integers(-1, 8))
        packets.append((first, last, draw(st.integers(0, 60))))
    return packets


@given(packets=arrivals(), committed_only=st.booleans(), held_limit=st.integers(10, 70))
@settings(max_examples=300)
def test_what_comes_out_is_the_prefix_of_what_came_in(
    packets: list[tuple[int, int, int]], committed_only: bool, held_limit: int
) -> None:
    """Against a plain set of what has arrived, with room for everything or for very little."""
    to = receiver(committed_only=committed_only, policy=RepairPolicy(held_limit_frames=held_limit))
    arrived: set[int] = set()
    committed = next_sequence = 0
    out: list[bytes] = []
    for first, last, commit in packets:
        frames = to.on_datagram(data(first, last, committed=commit), 0)
        to.check()
        out += [frame.data for frame in frames]
        committed = max(committed, commit)
        room = next_sequence + held_limit
        arrived |= {sequence for sequence in range(first, last + 1) if sequence <= room}
        limit = committed if committed_only else 10_000
        while next_sequence + 1 in arrived and next_sequence < limit:
            next_sequence += 1
        assert out == FRAMES[:next_sequence]
    assert to.committed_sequence == committed
    assert to.highest_sequence == max([committed, *(last for _, last, _ in packets)], default=0)
    wanted = committed if committed_only else to.highest_sequence
    for turn in range(1, 400):
        for source, first, last in asked(to.on_time(turn * SOON_NS)):
            frames = to.on_datagram(answer(FRAMES, first, last), turn * SOON_NS, source)
            out += [frame.data for frame in frames]
            to.check()
    assert out == FRAMES[:wanted]
    assert to.missing_frames == 0
