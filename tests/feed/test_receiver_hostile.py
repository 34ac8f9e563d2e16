"""Damaged, foreign and hostile datagrams are counted and move nothing; none takes up memory."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feed.gap import RepairPolicy
from feed.receiver import Receiver
from tests.feed.lists import SHARD, answer, group_frames, missing, packet
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


def test_bad_datagrams_are_counted_by_reason_and_move_nothing() -> None:
    to = receiver()
    good = data(1, 3)
    bad = {
        "foreign": [b"", b"L", b"GET / HTTP/1.1\r\n", b"LX" + good[2:]],
        "corrupt": [
            good[:10],
            good[:-1],
            good + b"\0",
            good[:2] + b"\x02" + good[3:],
            good[:40] + bytes([good[40] ^ 1]) + good[41:],
            good[:20] + bytes([good[20] ^ 1]) + good[21:],
            b"LR",
            missing(1, 1)[:-1],
        ],
        "other_shard": [packet(FRAMES[:3], 1, shard=SHARD + 1)],
    }
    for datagrams in bad.values():
        assert take(to, datagrams) == [[]] * len(datagrams)
    assert (to.next_sequence, to.highest_sequence, to.committed_sequence, to.epoch) == (1, 0, 0, 0)
    assert counted(to) == {reason: len(datagrams) for reason, datagrams in bad.items()}
    assert take(to, [good]) == [[1, 2, 3]]


ROGUES = [
    data(3, 5),
    heartbeat(2**64 - 1),
    heartbeat(1, committed=2**64 - 1),
    packet(group_frames(2**63, 30), 2**63, committed=0),
    packet(group_frames(2**64 - 5, 5), 2**64 - 5),
]


@pytest.mark.parametrize("first_sequence", [1, None, 2**64 - 3])
@pytest.mark.parametrize("rogue", ROGUES)
def test_rogue_packet_from_the_far_end_keeps_memory_and_naks_bounded(
    rogue: bytes, first_sequence: int | None
) -> None:
    policy = RepairPolicy(held_limit_frames=100, request_limit_frames=8, window_frames=16)
    to = receiver(first_sequence=first_sequence, policy=policy)
    now_ns = 0
    for first in (1, 50, 20, 300):
        to.on_datagram(rogue, now_ns)
        to.on_datagram(data(first, first + 10), now_ns)
        now_ns += SOON_NS
        naks = ranges(to, now_ns)
        assert sum(last - first + 1 for first, last in naks) <= 16
        assert to.missing_frames <= 100
        to.check()


mutations = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 10_000), st.integers(0, 7)),
        st.tuples(st.just("cut"), st.integers(0, 10_000), st.just(0)),
        st.tuples(st.just("grow"), st.integers(1, 40), st.integers(0, 255)),
    ),
    min_size=1,
    max_size=4,
)


def mutated(good: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """`good` with bits flipped, bytes cut off or added at the end."""
    bad = bytearray(good)
    for kind, place, value in changes:
        if kind == "flip" and bad:
            bad[place % len(bad)] ^= 1 << value
        elif kind == "cut":
            del bad[place % (len(bad) + 1) :]
        elif kind == "grow":
            bad += bytes([value]) * place
    return bytes(bad)


def rejected(to: Receiver) -> int:
    """How many datagrams were counted as bad."""
    counters = to.counters
    return counters.foreign + counters.corrupt + counters.other_shard + counters.stray_repairs


@given(rubbish=st.binary(max_size=200), prefix=st.sampled_from([b"", b"LS\x01", b"LR\x01N"]))
@example(rubbish=b"", prefix=b"")
def test_arbitrary_bytes_move_nothing(rubbish: bytes, prefix: bytes) -> None:
    to = receiver()
    take(to, [data(1, 2), data(5, 6)])
    before = (to.next_sequence, to.highest_sequence, to.committed_sequence, to.epoch)
    assert not to.on_datagram(prefix + rubbish, 0, 0)
    to.check()
    assert (to.next_sequence, to.highest_sequence, to.committed_sequence, to.epoch) == before
    assert rejected(to) == 1


@given(
    good=st.sampled_from([data(3, 4), heartbeat(9), missing(3, 4), answer(FRAMES, 3, 4)]),
    changes=mutations,
)
def test_mutated_datagrams_move_nothing(good: bytes, changes: list[tuple[str, int, int]]) -> None:
    bad = mutated(good, changes)
    to = receiver()
    take(to, [data(1, 2), data(5, 6)])
    to.on_time(SOON_NS)
    before = (to.next_sequence, to.highest_sequence, to.deadline_ns)
    if bad == good:
        return
    assert not to.on_datagram(bad, SOON_NS, 0)
    to.check()
    assert (to.next_sequence, to.highest_sequence, to.deadline_ns) == before
    assert rejected(to) == 1
