"""Datagrams in batches give exactly what they give one by one, whatever the network did to them."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.codec import HEARTBEAT, RETRANSMISSION
from feed.datagrams import decode_repair
from feed.gap import RepairPolicy
from feed.holder import Holder
from feed.receiver import Receiver
from feed.subscriber import Subscriber
from tests.feed.histories import History, histories
from tests.feed.holding import group_ends, held, voter
from tests.feed.lists import MILLISECOND_NS, SHARD, delivered, group_frames, missing, packet
from tests.feed.receiving import FRAMES, counted, data, heartbeat, receiver

# What is just to come.


def in_order(last: int, step: int = 4) -> list[bytes]:
    """Packets of the frames 1 to `last`."""
    return [data(first, min(first + step - 1, last)) for first in range(1, last + 1, step)]


def test_all_that_is_just_to_come_is_taken_at_once() -> None:
    to = receiver()
    datagrams = [*in_order(400), heartbeat(401), heartbeat(401)]
    assert take_expected(to, datagrams[:1]) == (0, []), "the epoch is not known yet"
    to.on_datagram(datagrams[0], 1)
    assert take_expected(to, datagrams, at=1, now_ns=7) == (101, FRAMES[4:])
    assert (to.next_sequence, to.committed_sequence, to.heard_ns) == (401, 400, 7)
    assert counted(to) == {"packets": 102, "frames": 400, "heartbeats": 2}


@pytest.mark.parametrize(
    "other",
    [
        data(13, 16),  # one is missing
        data(5, 8),  # again
        data(8, 12),  # in part again
        heartbeat(10),
        heartbeat(8),
        data(9, 12, epoch=2),
        data(9, 12, epoch=0),
        data(9, 12, committed=13),
        heartbeat(9, committed=9),
        packet(FRAMES[8:12], 9, shard=SHARD + 1),
        packet(FRAMES[8:12], 9, flags=RETRANSMISSION),
        data(9, 12)[:-1],
        data(9, 12) + b"\0",
        data(9, 12)[:-1] + b"\xff",
        missing(9, 12),
        b"",
    ],
)
def test_the_first_that_is_anything_else_ends_it_and_is_left_to_be_taken_by_itself(
    other: bytes,
) -> None:
    to = receiver()
    to.on_datagram(data(1, 4), 0)
    assert take_expected(to, [data(5, 8), other, data(9, 12)]) == (1, FRAMES[4:8])
    before = counted(to)
    assert take_expected(to, [other, data(9, 12)]) == (0, [])
    assert counted(to) == before


def test_while_frames_are_missing_or_not_to_be_had_nothing_is_taken_at_once() -> None:
    to = receiver(source_count=0)
    to.on_datagram(data(1, 4), 0)
    to.on_datagram(data(6, 8), 0)
    assert take_expected(to, [data(9, 12)]) == (0, [])
    to.on_time(MILLISECOND_NS)
    assert to.failure is not None
    assert take_expected(to, [data(5, 5), data(9, 12)]) == (0, [])
    forgotten = receiver()
    forgotten.on_datagram(data(1, 8), 0)
    forgotten.on_datagram(data(1, 4, epoch=2), 0)
    assert forgotten.failure is not None
    assert take_expected(forgotten, [data(9, 12)]) == (0, [])


def test_what_waits_for_its_commit_is_held_up_to_the_limit() -> None:
    to = receiver(committed_only=True, policy=RepairPolicy(held_limit_frames=20))
    to.on_datagram(data(1, 4, committed=0), 0)
    waiting = [data(first, first + 3, committed=0) for first in range(5, 33, 4)]
    assert take_expected(to, waiting[:4]) == (4, [])
    assert take_expected(to, waiting[4:]) == (0, [])
    for datagram in waiting[4:]:
        assert not to.on_datagram(datagram, 0)
        to.check()
    assert to.counters.dropped_early == 12
    assert [frame.data for frame in to.on_datagram(heartbeat(33, committed=20), 0)] == FRAMES[:20]
    to.check()
    assert to.missing_frames == 12


def test_a_subscriber_that_nothing_is_committed_for_takes_up_bounded_memory() -> None:
    policy = RepairPolicy(held_limit_frames=20)
    to = Subscriber(shard=SHARD, source_count=1, random=Random(1), policy=policy)
    for first in range(1, 400, 4):
        assert not to.on_datagram(data(first, first + 3, committed=0), 0)
        to.check()
    assert to.counters.dropped_early == 380


def take_expected(
    to: Receiver, datagrams: Sequence[bytes], *, at: int = 0, now_ns: int = 0
) -> tuple[int, list[bytes]]:
    """How many datagrams are taken, and the frames that come out."""
    taken, run = to.take_expected(datagrams, at, now_ns)
    to.check()
    assert run.next_sequence == to.next_sequence
    return taken, run.split()


# Whatever arrives.


@st.composite
def arrivals(draw: st.DrawFn, history: History) -> list[bytes]:
    """Packets of several primaries: mostly in order, some lost, late, twice, early or damaged."""
    arriving: list[bytes] = []
    places = list(history.opened)
    epoch = 1
    kinds = st.sampled_from(
        [*["next"] * 8, "lost", "again", "any", "heartbeat", "damaged", "twice"]
    )
    for _ in range(draw(st.integers(0, 40))):
        epoch = max(epoch, draw(st.sampled_from([1] * 9 + [2, 3])))
        epoch = min(epoch, len(history.lists))
        sender = draw(st.sampled_from([epoch] * 9 + [1]))
        frames, opened = history.lists[sender - 1], history.opened[sender - 1]
        kind = draw(kinds)
        first = min(places[sender - 1], len(frames) + 1)
        if kind in ("again", "any"):
            first = draw(st.integers(1 if kind == "again" else opened, len(frames)))
        last = min(first - 1 + draw(st.sampled_from([1, 1, 2, 3, 6])), len(frames))
        if kind == "heartbeat":
            first, last = last + 1, last
        ends = [0, *group_ends(frames[: history.committed[sender - 1]])]
        committed = draw(st.sampled_from([*ends, max(end for end in ends if end <= last)]))
        flags = RETRANSMISSION if kind == "again" else HEARTBEAT if first > last else 0
        made = packet(
            frames[first - 1 : last], first, epoch=sender, committed=committed, flags=flags
        )
        if kind in ("next", "lost", "twice"):
            places[sender - 1] = last + 1
        if kind == "damaged":
            place = draw(st.integers(0, len(made) - 1))
            made = made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :]
        if kind != "lost":
            arriving += [made] * (2 if kind == "twice" else 1)
    return arriving


Take = Callable[[Any, Sequence[bytes], int], Any]


def side_by_side(
    data: st.DataObject,
    history: History,
    one: Any,
    many: Any,
    take_many: Take,
    state: Callable[[Any], object],
) -> None:
    """Give the one each datagram by itself and the other batches; compare what comes of it."""
    datagrams = data.draw(arrivals(history))
    now_ns = 0
    while datagrams:
        size = data.draw(st.integers(1, 12))
        batch, datagrams = datagrams[:size], datagrams[size:]
        apart = [each for datagram in batch for each in came_out(one.on_datagram(datagram, now_ns))]
        together = take_many(many, batch, now_ns)
        if together is not None:
            assert together == apart
        assert state(many) == state(one)
        now_ns += data.draw(st.sampled_from([0, 1, 5])) * MILLISECOND_NS
        naks = one.on_time(now_ns)
        assert many.on_time(now_ns) == naks
        for source, nak in naks:
            repair = decode_repair(nak)
            if repair.epoch and data.draw(st.booleans()):
                first, last = repair.first_sequence, repair.last_sequence
                part = history.lists[repair.epoch - 1][first - 1 : last]
                answer = packet(part, first, epoch=repair.epoch, committed=0, flags=RETRANSMISSION)
                one.on_datagram(answer, now_ns, source)
                many.on_datagram(answer, now_ns, source)
        for each in (one, many):
            each.check()
        assert state(many) == state(one)


def came_out(given_out: Any) -> list[Any]:
    """The frames' or groups' bytes."""
    if isinstance(given_out, Sequence) and given_out and hasattr(given_out[0], "frames"):
        return delivered(given_out)
    return [frame.data for frame in given_out]


def receiver_state(of: Receiver) -> object:
    names = ("next_sequence", "highest_sequence", "committed_sequence", "epoch", "heard_ns")
    known = [getattr(of, name) for name in names]
    return known, of.failure, of.missing_frames, of.deadline_ns, counted(of)


def subscriber_state(of: Subscriber) -> object:
    return of.next_sequence, of.failure, receiver_state(of.receiver)


def holder_state(of: Holder) -> object:
    of.list.check()
    return (
        held(of),
        (of.held_sequence, of.verified_sequence, of.last_epoch, of.primary, of.vote),
        (of.list.tails_dropped, of.list.digest(of.last_sequence), of.list.last_time_ns),
        (of.failure, of.is_suspicious, of.deadline_ns),
        receiver_state(of._receiver),
    )


def received_together(to: Receiver, datagrams: Sequence[bytes], now_ns: int) -> list[bytes]:
    out = []
    at = 0
    while at < len(datagrams):
        taken, run = to.take_expected(datagrams, at, now_ns)
        if not taken:
            taken, run = 1, to.on_datagram(datagrams[at], now_ns)
        out += run.split()
        at += taken
    return out


limits = st.sampled_from([5, 12, 65_536])


@given(
    history=histories(),
    committed_only=st.booleans(),
    rewinds=st.booleans(),
    first_sequence=st.sampled_from([1, 1, None, 3]),
    limit=limits,
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_receiver_takes_batches_as_it_takes_datagrams(
    history: History,
    committed_only: bool,
    rewinds: bool,
    first_sequence: int | None,
    limit: int,
    data: st.DataObject,
) -> None:
    one, many = (
        receiver(
            committed_only=committed_only,
            rewinds=rewinds,
            first_sequence=first_sequence,
            policy=RepairPolicy(held_limit_frames=limit),
        )
        for _ in range(2)
    )
    side_by_side(data, history, one, many, received_together, receiver_state)


@given(
    history=histories(),
    first_sequence=st.sampled_from([1, 1, None]),
    limit=limits,
    broken_at=st.sampled_from([None, 2, 3, 5]),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_subscriber_takes_batches_as_it_takes_datagrams(
    history: History,
    first_sequence: int | None,
    limit: int,
    broken_at: int | None,
    data: st.DataObject,
) -> None:
    if broken_at is not None:
        opens = group_frames(broken_at, 2)[:1]  # and its end does not follow
        ends = group_frames(broken_at - 1, 2)[1:]  # what has not begun
        wrong = data.draw(st.sampled_from([opens, ends]))
        for frames in history.lists:
            frames[broken_at - 1 : broken_at] = wrong
    one, many = (
        Subscriber(
            shard=SHARD,
            source_count=2,
            random=Random(1),
            policy=RepairPolicy(held_limit_frames=limit),
            first_sequence=first_sequence,
        )
        for _ in range(2)
    )

    def together(to: Subscriber, datagrams: Sequence[bytes], now_ns: int) -> list[list[bytes]]:
        groups = to.on_datagrams(datagrams, now_ns)
        assert groups.run.split() == [frame for group in delivered(groups) for frame in group]
        return delivered(groups)

    side_by_side(data, history, one, many, together, subscriber_state)


@given(history=histories(), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_holder_takes_batches_as_it_takes_datagrams(
    history: History, data: st.DataObject
) -> None:
    side_by_side(
        data,
        history,
        voter(),
        voter(),
        lambda to, datagrams, now_ns: to.on_datagrams(datagrams, now_ns),
        holder_state,
    )
