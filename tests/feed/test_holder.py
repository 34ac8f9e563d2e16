"""A holder's list: kept through new epochs, given up where a new list differs, served with care."""

import pytest

from feed.cache import MINIMUM_BYTES
from feed.codec import HEARTBEAT, RETRANSMISSION, decode_frame, decode_packet
from feed.datagrams import Repair, decode_repair, is_repair
from feed.holder import FETCH_FRAMES, Holder
from feed.run import run_of_frames
from feed.schema import HolderKind, RepairKind
from feed.vote import Vote
from tests.feed.holding import (
    FIRST,
    PAYLOAD_LIMIT_BYTES,
    SECOND,
    acknowledged,
    again,
    held,
    holder,
    new,
    reign,
    take,
    vote,
    voter,
    word,
)
from tests.feed.lists import (
    MILLISECOND_NS,
    SECOND_NS,
    SHARD,
    asked,
    list_digest,
    missing,
    nak,
    packet,
)
from tools.simulation.growth import containers

LONG = reign(1, "e1", 1, [1] * 5999)  # does not fit into the smallest cache
STEP = 100


def with_first_list(committed: int) -> Holder:
    """A holder of the whole first list, of which so much is committed."""
    made = voter()
    assert take(made, new(FIRST, 1, 8, epoch=1, committed=committed)) == [list(range(1, 9))]
    return made


def served(of: Holder, first: int, last: int, now_ns: int = 0) -> tuple[list[bytes], list[Repair]]:
    """What a NAK is answered with: frames, and ranges that count as missing."""
    frames, ranges = [], []
    for data in of.on_nak(nak(first, last), "anybody", now_ns):
        if is_repair(data):
            ranges.append(decode_repair(data))
        else:
            frames += [frame.data for frame in decode_packet(data).frames]
    return frames, ranges


def fetched(of: Holder, first: int, epoch: int) -> list[bytes]:
    return of.on_word(word(HolderKind.FETCH, epoch=epoch, last_sequence=first), 0)


# A new epoch.


def test_every_frame_is_kept_and_comes_out_once() -> None:
    made = voter()
    datagrams = [new(FIRST, 1, 2, epoch=1), new(FIRST, 4, 8, epoch=1), new(FIRST, 2, 3, epoch=1)]
    assert take(made, *datagrams) == [[1, 2], [], [3, 4, 5, 6, 7, 8]]
    assert take(made, *datagrams) == [[], [], []]
    assert held(made) == FIRST
    assert (made.held_sequence, made.last_epoch, made.primary) == (8, 1, "e1")


def test_in_a_new_epoch_what_follows_the_last_committed_frame_has_to_be_seen_again() -> None:
    made = with_first_list(committed=3)
    made.promise(2, 0)
    assert (made.held_sequence, made.verified_sequence, made.last_sequence) == (3, 3, 8)
    # The first frame that the new primary shows again is the fourth; it is here, so it is not new.
    assert take(made, again(SECOND, 4, 5, epoch=2)) == [[]]
    assert (made.held_sequence, made.verified_sequence) == (3, 5), "the group has not ended"
    assert take(made, again(SECOND, 6, 6, epoch=2)) == [[]]
    assert (made.held_sequence, made.verified_sequence, made.last_sequence) == (6, 6, 8)


def test_a_gap_in_the_new_epoch_is_asked_for_although_the_old_frames_are_here() -> None:
    made = with_first_list(committed=3)
    take(made, new(SECOND, 7, 7, epoch=2))
    assert [nak[1:] for nak in asked(made.on_time(MILLISECOND_NS))] == [(4, 6)]
    assert held(made) == FIRST
    assert take(made, again(SECOND, 4, 6, epoch=2)) == [[7]]
    assert held(made) == SECOND[:7]


def test_a_doubtful_tail_is_kept_until_a_frame_contradicts_it_and_then_it_is_told() -> None:
    made = with_first_list(committed=3)
    take(made, packet([], 8, epoch=2, committed=3, flags=HEARTBEAT))
    take(made, again(SECOND, 4, 6, epoch=2))
    assert (held(made), made.list.take_dropped(), made.list.tails_dropped) == (FIRST, None, 0)
    assert (made.last_epoch, made.primary) == (1, None)
    assert take(made, new(SECOND, 7, 7, epoch=2)) == [[7]]
    assert held(made) == SECOND[:7]
    assert (made.list.take_dropped(), made.list.take_dropped(), made.list.tails_dropped) == (
        7,
        None,
        1,
    )
    assert (made.last_epoch, made.primary) == (2, "e2")


def test_what_is_committed_is_not_doubtful() -> None:
    made = with_first_list(committed=6)
    assert take(made, new(SECOND, 7, 8, epoch=2)) == [[7, 8]]
    assert (held(made), made.held_sequence) == (SECOND[:8], 8)


def test_a_commit_that_the_new_epoch_tells_does_not_vouch_for_the_doubtful_tail() -> None:
    made = with_first_list(committed=3)
    take(made, packet([], 9, epoch=2, committed=8, flags=HEARTBEAT))
    assert (made.committed_sequence, made.held_sequence, made.verified_sequence) == (8, 3, 3)
    made.promise(3, 0)
    assert (made.held_sequence, made.verified_sequence) == (3, 3)


def test_of_two_tails_that_have_lost_the_earlier_place_is_told() -> None:
    third = FIRST[:3] + reign(3, "e3", 4, [1])
    made = with_first_list(committed=3)
    take(made, again(SECOND, 4, 8, epoch=2), again(third, 4, 5, epoch=3))
    assert held(made) == third
    assert (made.list.take_dropped(), made.list.tails_dropped) == (4, 2)
    late = FIRST[:3] + reign(3, "e3", 4, [1, 1])
    fourth = late[:5] + reign(4, "e1", 6, [1])
    made = with_first_list(committed=3)
    take(made, again(late, 4, 6, epoch=3), again(fourth, 4, 7, epoch=4))
    assert held(made) == fourth
    assert (made.list.take_dropped(), made.list.tails_dropped) == (4, 2)


def test_an_epoch_frame_that_has_lost_counts_no_more() -> None:
    made = with_first_list(committed=3)
    take(made, again(SECOND, 4, 11, epoch=2))
    assert (made.last_epoch, made.primary) == (2, "e2")
    third = FIRST[:7] + reign(3, "e3", 8, [1])  # adopted from one that never saw the second
    take(made, again(third, 4, 7, epoch=3))
    assert (held(made), made.last_epoch, made.primary) == (FIRST[:7], 1, None)
    take(made, new(third, 8, 9, epoch=3))
    assert (held(made), made.last_epoch, made.primary) == (third, 3, "e3")


def test_nothing_of_an_older_epoch_than_promised_is_taken() -> None:
    made = voter()
    made.promise(2, 0)
    assert take(made, new(FIRST, 1, 8, epoch=1), again(FIRST, 1, 8, epoch=1)) == [[], []]
    assert (held(made), made.received.stale_epoch, made.committed_sequence) == ([], 2, 0)


def test_a_frame_that_nobody_has_stops_it_and_a_new_epoch_makes_that_void() -> None:
    made = voter(peer_count=1)
    take(made, new(FIRST, 1, 6, epoch=1, committed=6), new(FIRST, 8, 8, epoch=1, committed=6))
    now_ns = 0
    while made.failure is None:
        now_ns += MILLISECOND_NS
        for source, first, last in asked(made.on_time(now_ns)):
            made.on_datagram(missing(first, last), now_ns, source)
    assert made.failure[:2] == (7, 7)
    assert take(made, new(FIRST, 7, 8, epoch=1, committed=8), now_ns=now_ns) == [[]]
    assert acknowledged(made, now_ns) is None
    assert take(made, new(SECOND, 7, 8, epoch=2, committed=6), now_ns=now_ns) == [[7, 8]]
    assert (held(made), acknowledged(made, now_ns)) == (SECOND[:8], 8)


@pytest.mark.parametrize("was_here", [False, True])
def test_a_whole_reign_comes_again_in_any_later_one_without_a_change(was_here: bool) -> None:
    """The usual failover: nothing has lost, and the new primary only goes on."""
    made = holder()
    made.on_start(1, was_here=was_here, now_ns=0)
    take(made, new(FIRST, 1, 8, epoch=1, committed=6))
    second = FIRST + reign(2, "e2", 9, [1])
    assert take(made, again(second, 7, 8, epoch=2), new(second, 9, 10, epoch=2)) == [[], [9, 10]]
    assert (held(made), made.list.take_dropped(), made.list.tails_dropped) == (second, None, 0)
    assert acknowledged(made, 0) == (None if was_here else 10)


# What it serves.


def test_in_doubt_a_nak_is_answered_with_what_is_sure_and_a_fetch_with_all() -> None:
    made = with_first_list(committed=3)
    made.promise(2, 0)
    frames, ranges = served(made, 2, 8)
    assert frames == FIRST[1:3]
    assert ranges == [Repair(RepairKind.MISSING, SHARD, 2, 4, 8)]
    (data,) = fetched(made, 2, epoch=2)
    header, sent = decode_packet(data)
    assert header == (RETRANSMISSION, SHARD, 2, 2, 3)
    assert [frame.data for frame in sent] == FIRST[1:]
    take(made, again(SECOND, 4, 6, epoch=2))
    later_ns = SECOND_NS  # the same NAK again would count as a repeat before that
    assert served(made, 2, 8, later_ns)[0] == FIRST[1:6]


def test_a_fetch_is_answered_in_packets_that_fit_up_to_a_bound() -> None:
    frames = reign(1, "e1", 1, [1] * (FETCH_FRAMES + 10))
    made = voter()
    for first in range(1, len(frames) + 1, 10):
        take(made, new(frames, first, min(first + 9, len(frames)), epoch=1))
    packets = fetched(made, 4, epoch=1)
    assert max(map(len, packets)) <= PAYLOAD_LIMIT_BYTES
    assert [frame.data for data in packets for frame in decode_packet(data).frames] == (
        frames[3 : 3 + FETCH_FRAMES]
    )
    assert [decode_packet(data).header.first_sequence for data in packets] == [
        decode_packet(data).frames[0].sequence for data in packets
    ]


def test_a_fetch_of_an_older_epoch_or_of_what_is_not_held_any_more_gets_no_answer() -> None:
    made = voter(cache_bytes=MINIMUM_BYTES)
    for first in range(1, 6000, STEP):
        take(made, new(LONG, first, first + STEP - 1, epoch=1))
    first = made.list.cache.first_sequence
    assert first > 2
    assert fetched(made, 1, epoch=1) == fetched(made, first - 1, epoch=1) == []
    assert decode_packet(fetched(made, first, epoch=1)[0]).header.first_sequence == first
    assert len(fetched(made, 6000, epoch=1)) == 1
    assert fetched(made, 6001, epoch=1) == []
    made.promise(3, 0)
    assert fetched(made, made.last_sequence, epoch=2) == []


def test_the_digest_and_the_last_time_are_those_of_the_frames_that_are_held() -> None:
    made = with_first_list(committed=8)
    assert made.list.digest(8) == list_digest(FIRST)
    assert made.list.digest(5) == list_digest(FIRST[:5])
    assert made.list.last_time_ns == decode_frame(FIRST[7]).time_ns > 0
    assert (voter().list.last_time_ns, voter().list.digest(0)) == (0, list_digest([]))


def test_the_digest_goes_on_when_committed_frames_are_evicted_and_ends_with_a_hole() -> None:
    made = voter(cache_bytes=MINIMUM_BYTES)
    for first in range(1, 6000, STEP):
        last = first + STEP - 1
        take(made, new(LONG, first, last, epoch=1, committed=first - 1))
        assert made.list.digest(last) == list_digest(LONG[:last])
    assert made.list.cache.first_sequence > 1
    assert made.list.digest(3) is None, "that would need the first frames again"
    late = voter(cache_bytes=MINIMUM_BYTES)
    for first in range(1, 6000, STEP):
        take(late, new(LONG, first, first + STEP - 1, epoch=1))
    take(late, packet([], 6001, committed=6000, flags=HEARTBEAT))
    assert late.list.digest(6000) is None, "the first frames went before they were digested"
    take(late, new(LONG + reign(2, "e2", 6001), 6001, 6001, epoch=2, committed=6001))
    assert late.list.digest(6001) is None


# Leading.


def leader() -> Holder:
    """A replica that held the first list to frame 6, the longest, and leads in epoch 2."""
    made = voter()
    take(made, new(FIRST, 1, 6, epoch=1, committed=3))
    made.promise(2, 0)
    made.adopted(6)
    made.lead(2)
    made.list.store(run_of_frames(7, reign(2, "r1", 7, [1, 1])))
    made.check()
    return made


def test_what_came_early_is_not_kept_by_one_who_leads() -> None:
    made = voter()
    take(made, new(FIRST, 1, 2, epoch=1, committed=8), new(FIRST, 5, 8, epoch=1, committed=8))
    made.promise(2, 0)
    made.list.store(run_of_frames(3, FIRST[2:8]))  # as a takeover does with what it fetches
    made.adopted(8)
    early = [size for path, size in containers(made) if path.endswith("_held")]
    assert early == [1]
    made.lead(2)
    early = [size for path, size in containers(made) if path.endswith("_held")]
    assert early == [0]
    made.list.store(run_of_frames(9, reign(2, "r1", 9, [1])))
    made.check()


def test_whoever_is_to_lead_drops_what_differs_from_the_longest_list() -> None:
    made = with_first_list(committed=3)
    made.promise(3, 0)
    for first in (4, 6, 8):
        made.list.store(run_of_frames(first, SECOND[first - 1 : first + 1]))
        made.check()
    assert (held(made), made.last_epoch, made.list.take_dropped()) == (SECOND[:9], 2, 7)
    made.adopted(2)
    assert made.committed_sequence == 3, "less than was known already"
    made.adopted(9)
    assert (made.committed_sequence, made.primary) == (9, None)


def test_adopting_the_longest_list_gives_one_that_forgot_its_vote() -> None:
    made = holder()
    made.on_start(4, was_here=True, now_ns=0)
    assert vote(made) is Vote.RETURNING
    made.adopted(0)
    assert vote(made) is Vote.COUNTS


def test_a_primary_serves_all_that_it_wrote_and_a_commit_is_what_it_says_it_is() -> None:
    made = leader()
    written = FIRST[:6] + reign(2, "r1", 7, [1, 1])
    assert (held(made), made.primary, made.last_epoch) == (written, "r1", 2)
    assert made.verified_sequence == 9
    assert served(made, 5, 9) == (written[4:], [])
    made.commit(9)
    assert made.committed_sequence == 9


def test_a_primary_that_steps_down_doubts_what_is_not_committed_and_keeps_it() -> None:
    made = leader()
    made.commit(7)
    written = held(made)
    made.follow(0)
    made.promise(3, 0)
    made.check()
    assert (held(made), made.held_sequence, made.verified_sequence) == (written, 7, 7)
    assert served(made, 5, 9)[0] == written[4:7]
    third = written[:8] + reign(3, "e3", 9, [1])
    assert take(made, again(third, 8, 8, epoch=3), new(third, 9, 10, epoch=3)) == [[], [9, 10]]
    assert (held(made), made.list.take_dropped(), made.primary) == (third, 9, "e3")
    assert made.held_sequence == 10
