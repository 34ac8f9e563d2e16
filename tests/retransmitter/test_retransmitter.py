"""A retransmitter without sockets: what it keeps, answers, asks for, and never makes up."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.cache import MINIMUM_BYTES
from feed.codec import RETRANSMISSION, Packet, decode_packet, encode_frame
from feed.datagrams import Repair, decode_holder_word, decode_repair, is_repair
from feed.gap import DEFAULT_REPAIR_POLICY, Nak
from feed.holder import Holder, HolderIdentity
from feed.messages import Epoch, holder_field
from feed.repair import RepairLimits
from feed.schema import HolderKind, RepairKind
from feed.settings import Address
from retransmitter.retransmitter import Retransmitter
from tests.feed.lists import (
    MILLISECOND_NS,
    SECOND_NS,
    SHARD,
    answer,
    asked,
    frames_up_to,
    group_frames,
    missing,
    nak,
    packet,
)

REQUESTER = Address("127.0.0.1", 4000)
FRAMES = frames_up_to(4000)
DEFAULT_LIMITS = RepairLimits()


def retransmitter(
    *,
    peer_count: int = 2,
    cache_bytes: int = 1 << 20,
    limits: RepairLimits = DEFAULT_LIMITS,
    seed: int = 1,
) -> Retransmitter:
    """One whose last peer is a replica; nothing makes it suspicious within an hour."""
    holder = Holder(
        HolderIdentity(SHARD, "r1", seed),
        peer_count=peer_count,
        last_resort_count=min(peer_count, 1),
        random=Random(seed),
        cache_bytes=cache_bytes,
        payload_limit_bytes=1400,
        suspicion_time_ns=3600 * SECOND_NS,
        limits=limits,
    )
    return Retransmitter(holder, ("e1",))


def holding(last: int, **settings: Any) -> Retransmitter:
    """A retransmitter, made with these settings, that has received the frames up to `last`."""
    made = retransmitter(**settings)
    firsts = range(1, last + 1, 100)
    datagrams = [packet(FRAMES[first - 1 : min(first + 99, last)], first) for first in firsts]
    made.on_datagrams(datagrams, 0)
    assert made.holder.last_sequence == last
    return made


def held(made: Retransmitter) -> tuple[int, int]:
    """The first and the last frame that it has."""
    return made.holder.list.cache.first_sequence, made.holder.last_sequence


def told(datagrams: list[bytes]) -> list[Packet | Repair]:
    """What the datagrams of an answer say."""
    return [decode_repair(data) if is_repair(data) else decode_packet(data) for data in datagrams]


def resent(datagrams: list[bytes]) -> list[bytes]:
    """The frames in the packets of an answer, all of which are marked as retransmissions."""
    packets = [said for said in told(datagrams) if isinstance(said, Packet)]
    assert {said.header.flags for said in packets} <= {RETRANSMISSION}
    return [frame.data for said in packets for frame in said.frames]


def due(made: Retransmitter, limit_ns: int) -> list[tuple[int, Nak]]:
    """The NAKs that become due before `limit_ns` when nobody answers, with their times."""
    naks = []
    while made.deadline_ns is not None and made.deadline_ns < limit_ns:
        now_ns = made.deadline_ns
        naks += [(now_ns, each) for each in made.on_time(now_ns)]
        made.holder.check()
    return naks


def test_every_frame_is_kept_and_sent_again_byte_for_byte() -> None:
    made = holding(100)
    assert resent(made.on_nak(nak(1, 100), REQUESTER, 0)) == FRAMES[:100]
    assert held(made) == (1, 100)
    assert made.holder.committed_sequence == 100
    assert made.holder.repairs.frames_retransmitted == 100
    made.holder.check()


def test_uncommitted_frames_are_kept_and_sent_with_the_commit_that_is_known() -> None:
    made = retransmitter()
    made.on_datagram(packet(FRAMES[:10], 1, committed=4), 0)
    (said,) = told(made.on_nak(nak(3, 9), REQUESTER, 0))
    assert isinstance(said, Packet)
    assert (said.header.first_sequence, said.header.committed_sequence) == (3, 4)
    made.on_datagram(packet([], 11, committed=10), 1)
    (said,) = told(made.on_nak(nak(3, 8), REQUESTER, 1))
    assert isinstance(said, Packet)
    assert (said.header.first_sequence, said.header.committed_sequence) == (3, 10)


def test_what_has_not_arrived_or_was_evicted_is_said_to_be_missing() -> None:
    limits = RepairLimits(burst_bytes=1 << 20, requester_burst_bytes=1 << 20, packets_per_nak=1000)
    made = holding(4000, cache_bytes=MINIMUM_BYTES, limits=limits)
    first, last = held(made)
    assert (1000 < first < 3900, last) == (True, 4000)
    answered = made.on_nak(nak(first - 3, 4003), REQUESTER, 0)
    assert [said for said in told(answered) if isinstance(said, Repair)] == [
        Repair(RepairKind.MISSING, SHARD, 1, first - 3, first - 1),
        Repair(RepairKind.MISSING, SHARD, 1, 4001, 4003),
    ]
    assert resent(answered) == FRAMES[first - 1 :]
    made.holder.check()


def test_one_that_has_just_started_has_nothing_and_says_so() -> None:
    made = retransmitter()
    assert (held(made), made.deadline_ns) == ((1, 0), None)
    assert told(made.on_nak(nak(1, 5, epoch=0), REQUESTER, 0)) == [
        Repair(RepairKind.MISSING, SHARD, 0, 1, 5)
    ]


def test_a_frame_behind_a_gap_is_not_sent_before_the_gap_is_filled() -> None:
    made = holding(10)
    made.on_datagram(packet(FRAMES[11:12], 12), 0)
    assert told(made.on_nak(nak(11, 12), REQUESTER, 0)) == [
        Repair(RepairKind.MISSING, SHARD, 1, 11, 12)
    ]
    made.on_datagram(packet(FRAMES[10:11], 11), 1)
    assert held(made) == (1, 12)
    later_ns = 100 * MILLISECOND_NS
    assert resent(made.on_nak(nak(11, 12), REQUESTER, later_ns)) == FRAMES[10:12]


@pytest.mark.parametrize("seed", range(8))
def test_its_own_gap_is_repaired_from_its_peers_and_from_the_primary_only_at_last(
    seed: int,
) -> None:
    made = holding(10, peer_count=3, seed=seed)
    made.on_datagram(packet(FRAMES[12:13], 13), 0)
    naks = [each for _, each in due(made, 60 * MILLISECOND_NS)]
    sources = [source for source, _, _ in asked(naks)]
    assert {(first, last) for _, first, last in asked(naks)} == {(11, 12)}
    assert sorted(sources[:2]) == [0, 1]
    assert sources[2] == 2
    made.on_datagram(answer(FRAMES, 11, 12), 61 * MILLISECOND_NS, 2)
    assert held(made) == (1, 13)
    assert resent(made.on_nak(nak(11, 13), REQUESTER, SECOND_NS)) == FRAMES[10:13]
    assert (made.holder.received.gaps_detected, made.holder.received.gaps_filled) == (1, 1)
    assert due(made, SECOND_NS) == []
    made.holder.check()


def test_with_one_peer_alone_that_is_the_primary_and_it_is_asked() -> None:
    made = holding(10, peer_count=1)
    made.on_datagram(packet([], 12, committed=11), 0)
    assert asked([each for _, each in due(made, MILLISECOND_NS)]) == [(0, 11, 11)]


def test_when_nobody_has_a_frame_it_stops_there_and_still_serves_what_came_before() -> None:
    made = holding(10)
    made.on_datagram(packet(FRAMES[11:20], 12), 0)
    now_ns = 0
    while made.holder.failure is None:
        assert made.deadline_ns is not None
        now_ns = made.deadline_ns
        for source, _, _ in asked(made.on_time(now_ns)):
            made.on_datagram(missing(11, 11), now_ns, source)
    assert made.holder.failure[:2] == (11, 11)
    assert "retransmitter 1 does not hold it" in made.holder.failure.reason
    assert now_ns >= DEFAULT_REPAIR_POLICY.give_up_missing_after_ns
    made.on_datagram(packet(FRAMES[10:20], 11), now_ns)
    answered = made.on_nak(nak(9, 20), REQUESTER, now_ns)
    assert resent(answered) == FRAMES[8:10]
    assert told(answered)[0] == Repair(RepairKind.MISSING, SHARD, 1, 11, 20)
    assert held(made) == (1, 10)
    made.holder.check()


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "naks_corrupt"),
        (b"LR", "naks_corrupt"),
        (missing(1, 5), "naks_corrupt"),
        (packet(FRAMES[:1], 1), "naks_corrupt"),
        (nak(1, 5) + b"\0", "naks_corrupt"),
        (nak(1, 5, shard=SHARD + 1), "naks_other_shard"),
    ],
)
def test_what_is_no_nak_is_counted_and_not_answered(data: bytes, counter: str) -> None:
    made = holding(5)
    assert made.on_nak(data, REQUESTER, 0) == []
    assert getattr(made.holder.repairs, counter) == 1
    assert made.holder.repairs.naks_answered == made.holder.repairs.frames_retransmitted == 0


@given(st.lists(st.binary(max_size=60), max_size=20))
@settings(deadline=None)
def test_hostile_bytes_from_any_side_move_nothing(noise: list[bytes]) -> None:
    made = holding(5)
    for data in noise:
        made.on_datagram(data, 0)
        made.on_datagram(data, 0, 1)
        made.on_word(data, "e1", 0)
        assert made.on_nak(data, REQUESTER, 0) == []
    assert made.holder.repairs.naks_corrupt == len(noise)
    assert made.holder.received.foreign + made.holder.received.corrupt == 2 * len(noise)
    assert (held(made), made.holder.epoch, made.holder.failure) == ((1, 5), 1, None)
    assert made.holder.words_refused == len(noise)
    assert made.turn(0) == []
    made.holder.check()


def test_what_is_over_the_limits_is_not_answered() -> None:
    slow = RepairLimits(requester_burst_bytes=1400, requester_bytes_per_second=1)
    made = holding(100, limits=slow)
    served = resent(made.on_nak(nak(1, 100), REQUESTER, 0))
    assert served == FRAMES[: len(served)]
    assert 0 < len(served) < 20
    assert made.on_nak(nak(50, 100), REQUESTER, SECOND_NS) == []
    assert made.holder.repairs.naks_limited == 1
    assert resent(made.on_nak(nak(50, 60), Address("127.0.0.1", 4001), SECOND_NS)) == FRAMES[49:60]


def test_a_nak_from_an_epoch_that_is_not_known_here_is_answered_with_missing() -> None:
    made = holding(5)
    assert told(made.on_nak(nak(1, 5, epoch=2), REQUESTER, 0)) == [
        Repair(RepairKind.MISSING, SHARD, 1, 1, 5)
    ]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_arrives_in_whatever_order_only_true_frames_are_served(
    data: st.DataObject,
) -> None:
    made = retransmitter()
    now_ns = 0
    for _ in range(data.draw(st.integers(1, 30))):
        first = data.draw(st.integers(1, 100))
        last = min(first + data.draw(st.integers(0, 20)), 100)
        arriving = bytearray(packet(FRAMES[first - 1 : last], first))
        if data.draw(st.booleans()):
            arriving[data.draw(st.integers(0, len(arriving) - 1))] ^= data.draw(st.integers(0, 255))
        now_ns += data.draw(st.integers(0, 3 * MILLISECOND_NS))
        made.on_datagram(bytes(arriving), now_ns)
        made.on_time(now_ns)
        made.holder.check()
        now_ns += SECOND_NS // 10  # so that the limits never bind
        served = resent(made.on_nak(nak(1, 100), REQUESTER, now_ns))
        assert served == FRAMES[: made.holder.last_sequence]


def test_it_acknowledges_to_the_primary_that_the_list_names_and_only_whole_groups() -> None:
    made = retransmitter()
    made.holder.on_start(0, was_here=False, now_ns=0)
    epoch = encode_frame(Epoch(1, holder_field("e1")), 1, 0, end=True)
    made.on_datagram(packet([epoch, *group_frames(2, 3)[:2]], 1, committed=0), 0)
    assert acknowledged(made.turn(0)) == [("e1", 1, 1)]
    made.on_datagram(packet(group_frames(2, 3)[2:], 4, committed=1), 1)
    assert acknowledged(made.turn(1)) == [("e1", 1, 4)]
    assert made.turn(2) == [], "nothing new"


def test_one_that_came_back_asks_all_replicas_for_its_vote_and_acknowledges_nothing() -> None:
    made = retransmitter()
    made.holder.on_start(1, was_here=True, now_ns=0)
    epoch = encode_frame(Epoch(1, holder_field("e1")), 1, 0, end=True)
    made.on_datagram(packet([epoch], 1, committed=0), 0)
    made.on_time(0)
    words = made.turn(0)
    assert [(name, decode_holder_word(data).kind) for name, data in words] == [
        ("e1", HolderKind.JOIN)
    ]


def test_a_silent_primary_is_suspected_and_one_that_is_heard_again_is_not() -> None:
    made = holding(5)
    assert made.suspected_epoch is None
    made.on_time(3600 * SECOND_NS)
    assert made.suspected_epoch == 1
    made.on_datagram(packet([], 6, committed=5), 3600 * SECOND_NS + 1)
    assert made.suspected_epoch is None


def acknowledged(words: list[tuple[str, bytes]]) -> list[tuple[str, int, int]]:
    """To whom, of which epoch, up to which frame."""
    decoded = [(name, decode_holder_word(data)) for name, data in words]
    assert {word.kind for _, word in decoded} <= {HolderKind.ACK}
    return [(name, word.epoch, word.last_sequence) for name, word in decoded]
