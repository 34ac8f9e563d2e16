"""NAKs are answered with what is held and what is not, within limits that no storm breaks."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feed.cache import FrameCache
from feed.codec import RETRANSMISSION, PacketHeader, decode_packet
from feed.datagrams import Repair, decode_repair, is_repair
from feed.repair import RepairLimits, RepairResponder
from feed.run import run_of_frames
from feed.schema import RepairKind
from tests.feed.lists import (
    MILLISECOND_NS,
    SECOND_NS,
    SHARD,
    frames_up_to,
    missing,
    nak,
    packet,
)

FRAMES = frames_up_to(3000)
FRAME_BYTES = len(FRAMES[0])
EPOCH, COMMITTED = 3, 2900
NO_LIMITS = RepairLimits(
    burst_bytes=1 << 40, requester_burst_bytes=1 << 40, packets_per_nak=1 << 20
)


def responder(
    limits: RepairLimits = NO_LIMITS, *, first: int = 1, last: int = 3000, payload: int = 1400
) -> RepairResponder:
    """One that holds the frames `first` to `last`."""
    cache = FrameCache(1 << 20)
    for start in range(first, last + 1, 17):  # as they come in full packets
        cache.append(run_of_frames(start, FRAMES[start - 1 : min(start + 16, last)]))
    return RepairResponder(shard=SHARD, held=cache, limits=limits, payload_limit_bytes=payload)


def ask(
    of: RepairResponder,
    data: bytes,
    *,
    requester: object = "a",
    now_ns: int = 0,
    last_sequence: int | None = None,
) -> list[bytes]:
    return of.on_nak(data, requester, now_ns, EPOCH, COMMITTED, last_sequence)


def told(datagrams: list[bytes]) -> tuple[list[tuple[int, int]], list[tuple[int, bytes]]]:
    """The ranges said to be missing, and the sequence numbers and bytes of the frames sent."""
    ranges: list[tuple[int, int]] = []
    frames: list[tuple[int, bytes]] = []
    for data in datagrams:
        if is_repair(data):
            repair = decode_repair(data)
            assert repair == (RepairKind.MISSING, SHARD, EPOCH, *repair[3:])
            ranges.append((repair.first_sequence, repair.last_sequence))
        else:
            header, packed = decode_packet(data)
            assert header == PacketHeader(
                RETRANSMISSION, SHARD, EPOCH, packed[0].sequence, COMMITTED
            )
            frames += [(frame.sequence, frame.data) for frame in packed]
    return ranges, frames


def counted(of: RepairResponder) -> dict[str, int]:
    """The counters that are not zero."""
    values = {name: getattr(of.counters, name) for name in of.counters.__slots__}
    return {name: value for name, value in values.items() if value}


def test_frames_are_sent_again_in_the_same_bytes() -> None:
    of = responder()
    datagrams = ask(of, nak(11, 50))
    assert told(datagrams) == ([], list(enumerate(FRAMES[10:50], 11)))
    assert max(map(len, datagrams)) <= 1400
    assert counted(of) == {
        "naks_answered": 1,
        "frames_retransmitted": 40,
        "packets_retransmitted": 3,
        "bytes_retransmitted": sum(map(len, datagrams)),
    }


def test_what_is_not_held_is_said_to_be_missing() -> None:
    of = responder(first=100, last=199)
    assert told(ask(of, nak(1, 99))) == ([(1, 99)], [])
    assert told(ask(of, nak(200, 2**64 - 1))) == ([(200, 2**64 - 1)], [])
    assert told(ask(of, nak(98, 101))) == ([(98, 99)], list(enumerate(FRAMES[99:101], 100)))
    assert told(ask(of, nak(199, 205))) == ([(200, 205)], [(199, FRAMES[198])])
    ranges, frames = told(ask(of, nak(90, 210)))
    assert ranges == [(90, 99), (200, 210)]
    assert [sequence for sequence, _ in frames] == list(range(100, 200))
    assert of.counters.missing_answers == 6


def test_empty_cache_lacks_everything() -> None:
    assert told(ask(responder(last=0), nak(5, 9))) == ([(5, 9)], [])


def test_frames_of_an_epoch_that_has_passed_are_not_passed_off_as_those_of_a_newer_one() -> None:
    of = responder()
    assert told(ask(of, nak(5, 9, epoch=EPOCH + 1))) == ([(5, 9)], [])
    assert told(ask(of, nak(5, 8, epoch=EPOCH - 1))) == ([], list(enumerate(FRAMES[4:8], 5)))


def test_repeated_nak_is_suppressed_for_a_while() -> None:
    of = responder()
    suppression_ns = NO_LIMITS.suppression_ns
    assert len(ask(of, nak(5, 9))) == 1
    assert ask(of, nak(5, 9), now_ns=suppression_ns - 1) == []
    assert len(ask(of, nak(5, 9), requester="b", now_ns=suppression_ns - 1)) == 1
    assert len(ask(of, nak(5, 8), now_ns=suppression_ns - 1)) == 1
    assert len(ask(of, nak(5, 9), now_ns=suppression_ns)) == 1
    assert ask(of, nak(5, 9), now_ns=suppression_ns + 1) == []
    assert (of.counters.naks_answered, of.counters.naks_suppressed) == (4, 2)


def test_long_answer_is_cut_short() -> None:
    of = responder(RepairLimits(packets_per_nak=4, requester_burst_bytes=1_000_000))
    datagrams = ask(of, nak(1, 3001))
    ranges, frames = told(datagrams)
    assert ranges == [(3001, 3001)]
    assert frames == list(enumerate(FRAMES[: 4 * (1368 // FRAME_BYTES)], 1))
    assert of.counters.answers_cut_short == 1


def test_nak_storm_of_one_receiver_leaves_allowance_to_the_others() -> None:
    limits = RepairLimits(
        bytes_per_second=200_000,
        burst_bytes=20_000,
        requester_bytes_per_second=100_000,
        requester_burst_bytes=10_000,
    )
    of = responder(limits)
    sent_bytes = 0
    answers = 0
    for turn in range(2000):
        now_ns = turn * MILLISECOND_NS // 2
        first = turn % 1500 + 1
        sent_bytes += sum(map(len, ask(of, nak(first, first + 400), requester=0, now_ns=now_ns)))
        if turn % 100 == 0:
            ranges, frames = told(ask(of, nak(turn + 1, turn + 5), requester=1, now_ns=now_ns))
            answers += (ranges, len(frames)) == ([], 5)
    assert answers == 20
    assert 90_000 <= sent_bytes <= 10_000 + 100_000
    assert of.counters.naks_limited > 1500


def test_storm_of_many_receivers_stays_below_the_rate() -> None:
    limits = RepairLimits(bytes_per_second=100_000, burst_bytes=10_000, requesters=50)
    of = responder(limits)
    sent_bytes = 0
    for turn in range(2000):
        now_ns = turn * MILLISECOND_NS // 2
        sent_bytes += sum(map(len, ask(of, nak(1, 100), requester=turn, now_ns=now_ns)))
    assert 90_000 <= sent_bytes <= 10_000 + 100_000


def test_answers_are_given_again_once_the_storm_is_over() -> None:
    of = responder(RepairLimits(burst_bytes=2000, bytes_per_second=10_000))
    assert len(ask(of, nak(1, 17))) == 1
    assert ask(of, nak(18, 34)) == []
    assert len(ask(of, nak(18, 34), now_ns=SECOND_NS)) == 1
    assert counted(of)["naks_limited"] == 1


def test_nak_that_found_no_allowance_may_be_repeated_at_once() -> None:
    of = responder(RepairLimits(burst_bytes=1500, bytes_per_second=1_500_000))
    assert len(ask(of, nak(1, 17))) == 1
    assert ask(of, nak(18, 34)) == []
    assert len(ask(of, nak(18, 34), now_ns=MILLISECOND_NS)) == 1


def test_requesters_and_naks_are_remembered_within_bounds() -> None:
    of = responder(RepairLimits(requesters=10, remembered_naks=20))
    for turn in range(200):
        assert ask(of, nak(turn + 1, turn + 1), requester=turn)
    assert (len(of._requesters), len(of._remembered)) == (10, 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"burst_bytes": 100},
        {"requester_burst_bytes": 100},
        {"bytes_per_second": 0},
        {"requester_bytes_per_second": 0},
        {"requesters": 0},
        {"remembered_naks": 0},
        {"packets_per_nak": 0},
    ],
)
def test_limits_that_would_answer_nothing_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"can't|must|least"):
        RepairLimits(**changes)


def test_payload_limit_without_room_for_every_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        responder(last=0, payload=64)


def test_what_is_no_nak_of_this_shard_is_counted_and_not_answered() -> None:
    of = responder()
    good = nak(5, 9)
    for bad in (b"", b"hello", good[:-1], good + b"\0", missing(5, 9), packet(FRAMES[:2], 1)):
        assert ask(of, bad) == []
    assert ask(of, nak(5, 9, shard=SHARD + 1)) == []
    assert counted(of) == {"naks_corrupt": 6, "naks_other_shard": 1}


@given(
    rubbish=st.binary(max_size=64),
    prefix=st.sampled_from([b"", b"LR\x01N", b"LS\x01"]),
)
@example(rubbish=nak(5, 9)[4:-1] + b"\xff", prefix=b"LR\x01N")
def test_arbitrary_bytes_get_no_answer(rubbish: bytes, prefix: bytes) -> None:
    of = responder(last=10)
    assert ask(of, prefix + rubbish) == []
    assert counted(of) == {"naks_corrupt": 1}


@given(
    held=st.tuples(st.integers(1, 60), st.integers(0, 60)),
    asked=st.tuples(st.integers(1, 70), st.integers(0, 70)),
    payload=st.integers(256, 1400),
)
def test_every_frame_asked_for_is_sent_or_said_to_be_missing(
    held: tuple[int, int], asked: tuple[int, int], payload: int
) -> None:
    first, last = held[0], held[0] + held[1] - 1
    of = responder(first=first, last=last, payload=payload)
    datagrams = ask(of, nak(asked[0], sum(asked)))
    ranges, frames = told(datagrams)
    wanted = set(range(asked[0], sum(asked) + 1))
    holds = set(range(first, last + 1))
    assert frames == [(sequence, FRAMES[sequence - 1]) for sequence in sorted(wanted & holds)]
    lacking = [sequence for start, stop in ranges for sequence in range(start, stop + 1)]
    assert lacking == sorted(wanted - holds)
    assert max(map(len, datagrams)) <= payload


def test_nak_names_the_epoch_that_its_answer_is_for() -> None:
    """A receiver that is behind gets the frames too: their packets bring it the new epoch."""
    assert decode_repair(nak(1, 2, epoch=9)) == Repair(RepairKind.NAK, SHARD, 9, 1, 2)
    [data] = ask(responder(), nak(1, 2, epoch=1))
    assert decode_packet(data).header.epoch == EPOCH


@pytest.mark.parametrize(
    ("sure", "ranges", "frames"),
    [
        (3000, [(3001, 3002)], range(2990, 3001)),
        (9999, [(3001, 3002)], range(2990, 3001)),  # no more than is held
        (2995, [(2996, 3002)], range(2990, 2996)),
        (2990, [(2991, 3002)], range(2990, 2991)),
        (2989, [(2990, 3002)], range(0)),
        (0, [(2990, 3002)], range(0)),
    ],
)
def test_what_may_not_stand_in_this_epochs_list_counts_as_missing(
    sure: int, ranges: list[tuple[int, int]], frames: range
) -> None:
    sent = [(sequence, FRAMES[sequence - 1]) for sequence in frames]
    assert told(ask(responder(), nak(2990, 3002), last_sequence=sure)) == (ranges, sent)
