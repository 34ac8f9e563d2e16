"""Frames are packed up to the limit, and heartbeats say what packets could have lost."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import COMMIT, HEARTBEAT, PACKET_HEADER_BYTES, PacketHeader, decode_packet
from feed.publisher import PAYLOAD_MINIMUM_BYTES, HeartbeatPolicy, Publisher, chunks
from feed.receiver import Receiver
from feed.run import Run, empty_run, run_of_frames
from tests.feed.lists import MILLISECOND_NS, SHARD, frames_up_to, list_of

FRAMES = frames_up_to(50)


def publisher(*, next_sequence: int = 1, payload_limit_bytes: int = 1400) -> Publisher:
    return Publisher(
        shard=SHARD,
        epoch=3,
        next_sequence=next_sequence,
        payload_limit_bytes=payload_limit_bytes,
    )


def part(first: int, last: int) -> Run:
    """The frames `first` to `last`."""
    return run_of_frames(first, FRAMES[first - 1 : last])


def headers(packets: list[bytes]) -> list[PacketHeader]:
    return [decode_packet(data).header for data in packets]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    payload_limit_bytes=st.integers(PAYLOAD_MINIMUM_BYTES, 1400),
)
def test_packets_hold_the_frames_in_order_and_as_many_as_fit(
    sizes: list[int], payload_limit_bytes: int
) -> None:
    frames = [frame for group in list_of(sizes) for frame in group]
    to = publisher(payload_limit_bytes=payload_limit_bytes)
    packets = to.publish(run_of_frames(1, frames), 7, 0)
    decoded = [decode_packet(data) for data in packets]
    assert [frame.data for packet in decoded for frame in packet.frames] == frames
    assert [p.header for p in decoded] == [
        PacketHeader(0, SHARD, 3, p.frames[0].sequence, min(7, p.frames[-1].sequence))
        for p in decoded
    ]
    assert max(map(len, packets)) <= payload_limit_bytes
    for data, following in zip(packets, decoded[1:], strict=False):
        assert len(data) + len(following.frames[0].data) > payload_limit_bytes


def test_packets_of_one_batch_show_no_gap_to_who_takes_them_one_by_one() -> None:
    packets = publisher().publish(part(1, 50), 50, 0)
    receiver = Receiver(shard=SHARD, source_count=1, random=Random(1), committed_only=True)
    arrived = [[frame.data for frame in receiver.on_datagram(data, 0)] for data in packets]
    assert [len(frames) for frames in arrived] == [17, 17, 16]
    assert [data for frames in arrived for data in frames] == FRAMES
    assert receiver.counters.gaps_detected == 0


def test_frames_continue_the_list_from_one_call_to_the_next() -> None:
    to = publisher(next_sequence=11)
    assert [h.first_sequence for h in headers(to.publish(part(11, 40), 0, 0))] == [11, 28]
    assert [h.first_sequence for h in headers(to.publish(part(41, 50), 0, 0))] == [41]
    assert to.next_sequence == 51


@pytest.mark.parametrize("first", [1, 9, 11])
def test_frames_that_do_not_continue_the_list_are_refused(first: int) -> None:
    to = publisher(next_sequence=10)
    with pytest.raises(ValueError, match="continue the list at 10"):
        to.publish(part(first, 12), 0, 0)
    assert headers(to.publish(part(10, 10), 1, 0)) == [PacketHeader(0, SHARD, 3, 10, 1)]


def test_nothing_to_publish_is_no_packet() -> None:
    to = publisher()
    assert to.publish(empty_run(1), 0, 5) == []
    assert to.deadline_ns == 0


def test_payload_limit_without_room_for_every_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        publisher(payload_limit_bytes=PAYLOAD_MINIMUM_BYTES - 1)


def test_frame_longer_than_a_packet_goes_alone_rather_than_never() -> None:
    assert list(chunks(FRAMES[:2], PACKET_HEADER_BYTES + 1)) == [FRAMES[:1], FRAMES[1:2]]


def test_heartbeats_come_close_after_data_and_then_wider() -> None:
    to = publisher()
    to.publish(part(1, 3), 3, 0)
    times_ms: list[int] = []
    beats: list[PacketHeader] = []
    while len(beats) < 11:
        now_ns = to.deadline_ns
        assert to.on_time(3, now_ns - 1) == []
        beats += headers(to.on_time(3, now_ns))
        times_ms.append(now_ns // MILLISECOND_NS)
    assert beats == [PacketHeader(HEARTBEAT, SHARD, 3, 4, 3)] * 11
    waits_ms = [later - earlier for earlier, later in zip([0, *times_ms], times_ms, strict=False)]
    assert waits_ms == [2, 4, 8, 16, 32, 64, 128, 250, 250, 250, 250]


def test_data_make_heartbeats_close_again() -> None:
    to = publisher()
    to.publish(part(1, 1), 1, 0)
    for _ in range(5):
        to.on_time(1, to.deadline_ns)
    now_ns = to.deadline_ns - 1
    to.publish(part(2, 2), 2, now_ns)
    assert to.deadline_ns == now_ns + 2 * MILLISECOND_NS


def test_commit_that_has_moved_is_told_at_once_and_again_soon() -> None:
    to = publisher()
    to.publish(part(1, 3), 0, 0)
    assert headers(to.on_time(3, 1000)) == [PacketHeader(HEARTBEAT | COMMIT, SHARD, 3, 4, 3)]
    assert to.on_time(3, 1001) == []
    assert to.deadline_ns == 1000 + 2 * MILLISECOND_NS


def test_first_heartbeat_is_due_at_once() -> None:
    to = publisher(next_sequence=9)
    assert headers(to.on_time(0, 123)) == [PacketHeader(HEARTBEAT, SHARD, 3, 9, 0)]
    assert to.deadline_ns > 123


@pytest.mark.parametrize("policy", [(0, 1), (2, 1)])
def test_heartbeat_policy_that_could_not_work_is_refused(policy: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="wait"):
        HeartbeatPolicy(*policy)
