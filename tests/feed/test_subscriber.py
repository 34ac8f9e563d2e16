"""Groups come out whole, committed, in order, and each once."""

from collections.abc import Iterable, Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from feed.codec import HEARTBEAT, RETRANSMISSION
from feed.gap import GapFailure, RepairPolicy
from feed.messages import EnterOrder, Trade
from feed.subscriber import Subscriber
from tests.feed.lists import (
    MILLISECOND_NS,
    SECOND_NS,
    SHARD,
    answer,
    asked,
    delivered,
    frames_up_to,
    group_frames,
    list_of,
    missing,
    packet,
)

GROUPS = list_of([1, 3, 1, 4, 2])
FRAMES = [frame for group in GROUPS for frame in group]
SOON_NS = MILLISECOND_NS


def subscriber(
    *, first_sequence: int | None = 1, policy: RepairPolicy | None = None, source_count: int = 2
) -> Subscriber:
    return Subscriber(
        shard=SHARD,
        source_count=source_count,
        random=Random(1),
        policy=policy or RepairPolicy(),
        first_sequence=first_sequence,
    )


def data(first: int, last: int, *, committed: int = 11, epoch: int = 1) -> bytes:
    """A packet of the frames `first` to `last`."""
    return packet(FRAMES[first - 1 : last], first, committed=committed, epoch=epoch)


def heartbeat(next_sequence: int, *, committed: int, epoch: int = 1) -> bytes:
    return packet((), next_sequence, committed=committed, epoch=epoch, flags=HEARTBEAT)


def take(to: Subscriber, datagrams: Iterable[bytes], now_ns: int = 0) -> list[list[list[bytes]]]:
    """What is delivered for each datagram, in bytes."""
    out = []
    for datagram in datagrams:
        out.append(delivered(to.on_datagram(datagram, now_ns)))
        to.check()
    return out


def test_group_tells_its_command_events_range_and_time() -> None:
    [first, group] = subscriber().on_datagram(data(1, 4, committed=4), 0)
    assert (first.first_sequence, first.last_sequence, first.events) == (1, 1, ())
    assert (group.first_sequence, group.last_sequence) == (2, 4)
    assert isinstance(group.command.message(), EnterOrder)
    assert isinstance(group.events[0].message(), Trade)
    assert group.time_ns == 2 * MILLISECOND_NS
    assert group.frames == (group.command, *group.events)


def test_group_that_spans_packets_is_delivered_when_its_end_has_come() -> None:
    to = subscriber()
    assert take(to, [data(1, 2), data(3, 3), data(4, 6), data(7, 11)]) == [
        [GROUPS[0]],
        [],
        [GROUPS[1], GROUPS[2]],
        [GROUPS[3], GROUPS[4]],
    ]
    assert to.next_sequence == 12


def test_group_waits_for_its_commit_though_all_of_it_has_come() -> None:
    to = subscriber()
    assert take(
        to,
        [
            data(1, 5, committed=0),
            heartbeat(6, committed=1),
            data(6, 9, committed=4),
            heartbeat(10, committed=9),
        ],
    ) == [[], [GROUPS[0]], [GROUPS[1]], [GROUPS[2], GROUPS[3]]]


def test_commit_in_the_middle_of_a_group_delivers_nothing_of_it() -> None:
    to = subscriber()
    assert take(to, [data(1, 4, committed=3), heartbeat(5, committed=4)]) == [
        [GROUPS[0]],
        [GROUPS[1]],
    ]
    assert to.next_sequence == 5


def test_next_sequence_is_that_of_the_group_which_is_delivered_next() -> None:
    to = subscriber()
    take(to, [data(1, 3)])
    assert (to.next_sequence, to.receiver.next_sequence) == (2, 4)
    assert (to.committed_sequence, to.epoch) == (11, 1)


def test_lost_packet_of_a_group_is_repaired_before_the_group_is_delivered() -> None:
    to = subscriber()
    take(to, [data(1, 2), data(4, 11)])
    assert to.deadline_ns is not None
    [(source, first, last)] = asked(to.on_time(SOON_NS))
    assert (first, last) == (3, 3)
    groups = to.on_datagram(answer(FRAMES, 3, 3, committed=11), SOON_NS, source)
    assert delivered(groups) == GROUPS[1:]
    assert (to.counters.gaps_filled, to.counters.frames_recovered) == (1, 1)
    assert to.receiver.missing_frames == 0


def test_new_epoch_replaces_what_was_not_committed() -> None:
    to = subscriber()
    take(to, [data(1, 9, committed=4)])
    assert to.next_sequence == 5
    frames = FRAMES[:4]
    others = [group_frames(5, 2), group_frames(7, 1)]
    for group in others:
        frames += group
    assert take(to, [heartbeat(8, committed=4, epoch=2)]) == [[]]
    [(source, first, last)] = asked(to.on_time(SOON_NS))
    assert (first, last) == (5, 7)
    groups = to.on_datagram(answer(frames, 5, 7, committed=7, epoch=2), SOON_NS, source)
    assert delivered(groups) == others
    assert take(to, [data(5, 9, committed=9, epoch=1)]) == [[]]
    assert (to.next_sequence, to.counters.stale_epoch) == (8, 1)


def test_new_epoch_leaves_the_committed_part_of_an_unfinished_group() -> None:
    to = subscriber()
    take(to, [data(1, 3, committed=4)])
    repaired = answer(FRAMES, 4, 4, committed=4, epoch=2)
    assert take(to, [heartbeat(5, committed=4, epoch=2), repaired]) == [[], [GROUPS[1]]]


def test_live_join_delivers_from_the_first_group_that_begins() -> None:
    to = subscriber(first_sequence=None)
    assert to.next_sequence == 0
    packets = [data(3, 4, committed=4), data(4, 7, committed=5), data(8, 9, committed=9)]
    assert take(to, packets) == [[], [GROUPS[2]], [GROUPS[3]]]
    assert to.deadline_ns is None


def test_frame_that_nobody_has_stops_delivery() -> None:
    to = subscriber(source_count=1)
    take(to, [data(1, 2), data(4, 4)])
    now_ns = 0
    while to.failure is None:
        assert to.deadline_ns is not None
        now_ns = max(to.deadline_ns, now_ns)
        for source, first, last in asked(to.on_time(now_ns)):
            to.on_datagram(missing(first, last), now_ns, source)
    assert to.failure == GapFailure(3, 3, "retransmitter 1 does not hold it")
    assert take(to, [data(3, 11)]) == [[]]
    assert (to.next_sequence, to.deadline_ns, to.on_time(2 * now_ns)) == (2, None, [])


def test_list_whose_groups_are_broken_stops_delivery() -> None:
    in_the_middle = [FRAMES[0], FRAMES[1], group_frames(3)[0]]
    without_a_command = [FRAMES[0], group_frames(1, 2)[1]]
    for frames, at in ((in_the_middle, 3), (without_a_command, 2)):
        to = subscriber()
        assert take(to, [packet(frames, 1)]) == [[GROUPS[0]]]
        together = subscriber()
        packets = [packet(frames[:1], 1), packet(frames[1:2], 2), packet(frames[2:], 3)]
        assert delivered(together.on_datagrams(packets[: len(frames)], 0)) == [GROUPS[0]]
        assert together.failure == to.failure
        assert together.next_sequence == to.next_sequence == 2, "the broken group"
        assert to.failure == GapFailure(
            at, at, "the list is broken: a group begins or ends in the wrong place"
        )
        assert not to.on_datagram(data(4, 11), 0)
        assert to.deadline_ns is None


def test_group_without_an_end_does_not_fill_the_memory() -> None:
    to = subscriber(policy=RepairPolicy(group_limit_frames=10))
    [endless] = list_of([60])
    assert take(to, [packet(endless[:7], 1)]) == [[]]
    assert to.failure is None
    assert take(to, [packet(endless[7:12], 8), packet(endless[12:], 13)]) == [[], []]
    assert to.failure == GapFailure(12, 12, "a group is longer than 10 frames")


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=60),
    order=st.randoms(use_true_random=False),
    lag=st.integers(0, 10),
)
def test_groups_come_out_the_same_however_they_are_cut_and_shuffled(
    sizes: Sequence[int], cuts: Sequence[int], order: Random, lag: int
) -> None:
    groups = list_of(sizes)
    frames = [frame for group in groups for frame in group]
    packets: list[bytes] = []
    first = 1
    while first <= len(frames):
        last = min(first + cuts[len(packets) % len(cuts)] - 1, len(frames))
        packets.append(packet(frames[first - 1 : last], first, committed=max(last - lag, 0)))
        first = last + 1
    packets += packets[::3]
    order.shuffle(packets)
    to = subscriber()
    out: list[list[bytes]] = []
    for received in [*packets, heartbeat(len(frames) + 1, committed=len(frames))]:
        arrived = to.on_datagram(received, 0)
        to.check()
        out += delivered(arrived)
        assert all(group.last_sequence <= to.committed_sequence for group in arrived)
    assert out == groups


def test_long_list_is_recovered_by_who_joins_late() -> None:
    count = 20_000
    frames = frames_up_to(count)
    to = subscriber()
    assert not to.on_datagram(heartbeat(count + 1, committed=count), 0)
    now_ns, naks, out = 0, 0, 0
    while to.deadline_ns is not None:
        now_ns = max(now_ns, to.deadline_ns)
        answers = asked(to.on_time(now_ns))
        naks += len(answers)
        assert sum(last - first + 1 for _, first, last in answers) <= 2048
        now_ns += 200_000  # there and back
        for source, first, last in answers:
            for start in range(first, last + 1, 17):
                part = answer(frames, start, min(start + 16, last), committed=count)
                out += len(to.on_datagram(part, now_ns, source))
    assert (out, to.next_sequence, naks) == (count, count + 1, -(-count // 512))
    assert now_ns < 10 * MILLISECOND_NS


def ask_until(to: Subscriber, end_ns: int) -> int:
    """Let time pass, with nobody having what is asked for; how many NAKs were sent."""
    naks = 0
    while to.deadline_ns is not None and to.deadline_ns < end_ns:
        now_ns = to.deadline_ns
        for source, first, last in asked(to.on_time(now_ns)):
            naks += 1
            to.on_datagram(missing(first, last), now_ns, source)
        to.check()
    return naks


def test_uncommitted_frame_that_nobody_has_is_asked_for_until_a_new_epoch_does_without_it() -> None:
    to = subscriber()
    take(to, [data(1, 1, committed=1), data(5, 5, committed=1)])
    assert ask_until(to, 60 * SECOND_NS) > 100
    assert to.failure is None
    later = packet(frames_up_to(3)[1:], 2, committed=3, epoch=2)
    assert [group.last_sequence for group in to.on_datagram(later, 60 * SECOND_NS)] == [2, 3]


def test_frame_that_nobody_has_ends_it_once_it_is_committed() -> None:
    to = subscriber()
    take(to, [data(1, 1, committed=1), data(5, 5, committed=1)])
    ask_until(to, 20 * SECOND_NS)
    take(to, [heartbeat(6, committed=5)], 20 * SECOND_NS)
    ask_until(to, 40 * SECOND_NS)
    assert to.failure is not None
    assert to.failure[:2] == (2, 4)


def test_begun_anew_it_goes_on_from_the_frame_that_it_was_told() -> None:
    to = subscriber()
    groups = list_of([1, 3, 1, 2, 1])
    frames = [frame for group in groups for frame in group]
    take(to, [packet(frames[:2], 1, committed=2), packet(frames[7:], 8, committed=2)])
    assert (to.next_sequence, to.highest_sequence) == (2, 8)  # in the middle of a group
    to.restart(6)
    to.check()
    assert (to.next_sequence, to.committed_sequence) == (6, 5)
    assert delivered(to.on_datagram(packet(frames[:5], 1, flags=RETRANSMISSION), 0)) == []
    assert delivered(to.on_datagram(packet(frames[5:7], 6), 0)) == [groups[3]]
    assert asked(to.on_time(SECOND_NS))[0][1:] == (8, 8)
    assert delivered(to.on_datagram(packet(frames[7:], 8), 0)) == [groups[4]]


def test_begun_anew_it_reads_on_after_a_failure() -> None:
    to = subscriber()
    take(to, [heartbeat(9, committed=8)])
    ask_until(to, 20 * SECOND_NS)
    assert to.failure is not None
    to.restart(9)
    to.check()
    assert to.deadline_ns is None
    assert [
        group.first_sequence for group in to.on_datagram(packet(frames_up_to(9)[8:], 9), 0)
    ] == [9]


def test_while_naks_are_held_back_none_is_due_and_nothing_is_given_up() -> None:
    to = subscriber()
    take(to, [heartbeat(9, committed=8)])
    to.holds_naks_back = True
    assert to.deadline_ns is None
    assert to.on_time(3600 * SECOND_NS) == []
    to.holds_naks_back = False
    assert to.deadline_ns is not None
    assert [each[1:] for each in asked(to.on_time(3601 * SECOND_NS))] == [(1, 8)]
    assert to.failure is None
