"""Many frames in one call: what each function does, in plain Python and compiled."""

import os
import struct
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed import _frames_py, frames, schema
from feed.codec import (
    HEARTBEAT,
    PACKET_HEADER_BYTES,
    RETRANSMISSION,
    Frame,
    PacketHeader,
    decode_body,
    decode_frame,
    decode_packet,
    encode_frame,
    encode_packet,
)
from feed.datagrams import SUBMISSION_TYPES, Submission, encode_submission
from feed.frames import BatchScan, GroupScan, PacketScan, Summary
from feed.kernel import KERNEL_WANTED
from feed.messages import Command
from feed.run import type_bit
from feed.schema import FrameType
from tests.feed.frame_twins import IS_BUILT, LAST, batch_of, both, frame_lists, outcome
from tests.feed.lists import SHARD, group_frames, list_of, packet
from tests.feed.wire import messages, numbers, reference_crc32c, words

ORDER, CANCELED, TRADE = map(type_bit, (FrameType.ENTER_ORDER, FrameType.CANCELED, FrameType.TRADE))


def header_with(
    *, version: int = 1, flags: int = 0, frame_count: int = 0, first_sequence: int = 1
) -> bytes:
    """A packet's header, be it one that no packet has, with the right checksum."""
    form = struct.Struct(">" + schema.struct_format(schema.PACKET_HEADER))
    fields = (schema.PACKET_MAGIC, version, flags, SHARD, frame_count, 1)
    data = form.pack(*fields, 0, first_sequence, 0)
    checksum = reference_crc32c(data[:12] + data[16:])
    return form.pack(*fields, checksum, first_sequence, 0)


# Which one is in use


def test_the_compiled_twin_is_in_use_where_it_was_built_unless_it_is_not_wanted() -> None:
    used = "feed._frames_c" if IS_BUILT and KERNEL_WANTED else "feed._frames_py"
    assert used == frames.IN_USE
    assert (frames.scan_packet is _frames_py.scan_packet) is (used == "feed._frames_py")
    ask = [sys.executable, "-c", "from feed import frames; print(frames.IN_USE)"]
    environment = {**os.environ, "LOCKSTEP_KERNEL": "0"}
    told = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "feed._frames_py\n"


# One packet


@both
def test_a_packet_is_told_by_header_and_summary(twin: Any) -> None:
    group = group_frames(5, size=3)
    scan = twin.scan_packet(packet(group, 5, committed=9, epoch=7, flags=RETRANSMISSION))
    header = PacketHeader(RETRANSMISSION, SHARD, 7, 5, 9)
    assert scan == PacketScan(header, Summary(3, 7, ORDER | TRADE | CANCELED))
    kinds = (type(scan), type(scan.header), type(scan.summary))
    assert kinds == (PacketScan, PacketHeader, Summary)


@both
def test_a_heartbeat_has_no_frames(twin: Any) -> None:
    scan = twin.scan_packet(packet([], LAST, committed=LAST, flags=HEARTBEAT))
    assert scan == ((HEARTBEAT, SHARD, 1, LAST, LAST), (0, 0, 0))


@both
def test_each_check_of_a_packet_has_its_own_words(twin: Any) -> None:
    frame, next_frame = group_frames(1)[0], group_frames(2)[0]
    whole = packet([frame], 1)
    no_frame = "not the beginning of a frame: unknown length, type or flags"
    cases = {
        whole[: PACKET_HEADER_BYTES - 1]: "shorter than a packet header",
        b"XX" + whole[2:]: "foreign packet: no magic",
        header_with(version=2): "packet of version 2, not 1",
        header_with() + b"?": "bytes left over after the last frame",
        header_with()[:-1] + b"?": "packet header checksum does not match",
        header_with(flags=4): "impossible packet header",
        header_with(flags=HEARTBEAT, frame_count=1) + frame: "impossible packet header",
        header_with(first_sequence=0): "impossible packet header",
        header_with(frame_count=1): no_frame,
        header_with(frame_count=1) + frame[:3]: no_frame,
        header_with(frame_count=1) + frame[:2] + b"?" + frame[3:]: no_frame,
        header_with(frame_count=1) + frame[:3] + b"\2" + frame[4:]: no_frame,
        header_with(frame_count=1) + b"\0\0" + frame[2:]: no_frame,
        header_with(frame_count=1) + bytes(79): no_frame,
        header_with(frame_count=1) + frame[:-1]: "truncated frame",
        header_with(frame_count=1) + frame[:-1] + b"?": "frame checksum does not match",
        header_with(frame_count=1) + next_frame: "frames out of sequence within a packet",
        header_with(frame_count=2) + frame + frame: "frames out of sequence within a packet",
        header_with(frame_count=0) + frame: "bytes left over after the last frame",
        header_with(frame_count=2) + frame: no_frame,
    }
    for data, text in cases.items():
        assert outcome(twin.scan_packet, data) == text
        assert outcome(decode_packet, data) == text


@both
def test_sequence_numbers_do_not_begin_anew_after_the_last_one(twin: Any) -> None:
    last, zeroth = (
        encode_frame(decode_frame(group_frames(1)[0]).message(), n, 0, end=True) for n in (LAST, 0)
    )
    assert twin.scan_packet(packet([last], LAST)).summary == (1, LAST, ORDER)
    head = header_with(first_sequence=LAST, frame_count=2)
    text = "frames out of sequence within a packet"
    assert outcome(twin.scan_packet, head + last + zeroth) == text
    assert outcome(decode_packet, head + last + zeroth) == text
    after = encode_packet(PacketHeader(HEARTBEAT, SHARD, 1, 1, 0))
    scan = twin.scan_batch([packet([last], LAST, committed=5), after], 0, SHARD, 1, LAST)
    assert (scan.packets, scan.frames) == (1, last)
    assert twin.scan_batch([after], 0, SHARD, 1, LAST + 1).packets == 0


# A batch


@both
def test_a_batch_of_what_is_to_come_is_taken_whole(twin: Any) -> None:
    (first, second), everything = batch_of([3, 2])
    heartbeat = packet([], 6, committed=5, flags=HEARTBEAT)
    unmarked = packet([], 4, committed=3)
    scan = twin.scan_batch([first, unmarked, second, heartbeat], 0, SHARD, 1, 1)
    summary = Summary(5, 5, ORDER | TRADE | CANCELED)
    assert scan == BatchScan(4, 2, 5, b"".join(everything), summary)
    assert (type(scan), type(scan.summary)) == (BatchScan, Summary)


@both
def test_the_highest_commit_of_a_batch_counts(twin: Any) -> None:
    first, second = list_of([3, 2])
    datagrams = [packet(first, 1, committed=3), packet(second, 4, committed=1)]
    assert twin.scan_batch(datagrams, 0, SHARD, 1, 1).committed_sequence == 3


@both
def test_a_batch_is_read_from_where_it_is_told(twin: Any) -> None:
    datagrams, everything = batch_of([1, 1, 1])
    scan = twin.scan_batch(tuple(datagrams), 1, SHARD, 1, 2)
    assert (scan.packets, scan.frames) == (2, b"".join(everything[1:]))
    for start in (3, 4):
        assert twin.scan_batch(datagrams, start, SHARD, 1, 4) == (0, 0, 0, b"", (0, 0, 0))


@both
def test_the_first_datagram_that_is_not_what_is_to_come_ends_a_batch(twin: Any) -> None:
    (first, second, third), everything = batch_of([1, 2, 1])
    taken = BatchScan(1, 0, 1, everything[0], Summary(1, 1, ORDER))
    strange = [
        first,  # again
        third,  # too early
        second[:-1],
        b"",
        packet(everything[1:3], 2, epoch=2),
        packet(everything[1:3], 2, shard=SHARD + 1),
        packet(everything[1:3], 2, flags=RETRANSMISSION),
        packet(everything[1:3], 2, committed=4),  # names what is still to come
        packet([], 2, committed=2, flags=HEARTBEAT),
        packet([], 3, committed=1, flags=HEARTBEAT),
    ]
    for datagram in strange:
        assert twin.scan_batch([first, datagram, second], 0, SHARD, 1, 1) == taken


# Frames that have been verified


@both
@given(contents=st.integers(1, 2**32).flatmap(frame_lists))
def test_frames_are_read_as_the_codec_decodes_them(twin: Any, contents: list[bytes]) -> None:
    together = b"".join(contents)
    read = twin.read_frames(together)
    assert read == [decode_frame(frame) for frame in contents]
    assert all(type(frame) is Frame and type(frame.type) is FrameType for frame in read)
    types = ends = 0
    for frame in read:
        types |= type_bit(frame.type)
        ends = frame.sequence if frame.is_end else ends
    summary = twin.summarize(together)
    assert (summary, type(summary)) == ((len(contents), ends, types), Summary)


@both
@given(contents=frame_lists(5), skip=st.integers(-1, 8), count=st.one_of(st.integers(-1, 8), words))
def test_frames_are_cut_out_as_far_as_there_are_so_many(
    twin: Any, contents: list[bytes], skip: int, count: int
) -> None:
    count = min(count, sys.maxsize)
    cut, summary = twin.cut_frames(b"".join(contents), skip, count)
    begin = max(0, skip)
    expected = contents[begin : begin + max(0, count)]
    assert (cut, summary) == (b"".join(expected), twin.summarize(b"".join(expected)))
    assert type(summary) is Summary


@both
def test_every_type_of_frame_is_read(twin: Any) -> None:
    for frame_type, body in schema.BODIES.items():
        message = decode_body(frame_type, bytes(body.sizeof()))
        frame = encode_frame(message, 3, 4, end=True)
        assert twin.read_frames(frame) == [decode_frame(frame)]
        assert twin.summarize(frame) == (1, 3, type_bit(frame_type))
        assert twin.scan_packet(packet([frame], 3)).summary == (1, 3, type_bit(frame_type))


@both
def test_whole_groups_end_where_a_group_has_not_ended(twin: Any) -> None:
    first, second, third = list_of([1, 3, 2])
    begun, rest = b"".join([*first, *second, third[0]]), third[1]
    whole = len(b"".join(first + second))
    assert twin.whole_groups(begun, False) == GroupScan(4, whole, -1)
    assert type(twin.whole_groups(begun, False)) is GroupScan
    assert twin.whole_groups(rest, True) == (1, len(rest), -1)
    assert twin.whole_groups(third[0], False) == (0, 0, -1)
    assert twin.whole_groups(b"", True) == (0, 0, -1)


@both
def test_a_frame_that_can_not_stand_where_it_does_breaks_the_groups(twin: Any) -> None:
    first, second, third = list_of([1, 3, 2])
    command_inside = b"".join([*first, *second[:2], *third])
    assert twin.whole_groups(command_inside, False) == (1, len(first[0]), 3)
    event_outside = b"".join([*first, *third[1:]])
    assert twin.whole_groups(event_outside, False) == (1, len(first[0]), 1)
    assert twin.whole_groups(first[0], True) == (0, 0, 0)


# Packets to send


@both
@given(contents=frame_lists(8, limit=20), committed=st.integers(0, 40), limit=st.integers(0, 400))
def test_packets_hold_all_frames_each_as_many_as_fit_in(
    twin: Any, contents: list[bytes], committed: int, limit: int
) -> None:
    header = PacketHeader(RETRANSMISSION, SHARD, 3, 8, committed)
    packets = twin.encode_packets(header, b"".join(contents), limit)
    sequence = 8
    for data in packets:
        own, held = decode_packet(data)
        last = sequence + len(held) - 1
        assert own == (RETRANSMISSION, SHARD, 3, sequence, min(committed, last))
        assert [frame.data for frame in held] == contents[sequence - 8 : last - 7]
        following = contents[last - 7 : last - 6]
        assert len(data) <= limit or len(held) == 1
        assert not following or len(data) + len(following[0]) > limit
        sequence = last + 1
    assert sequence == 8 + len(contents)


@both
def test_frames_that_fill_a_packet_to_its_last_byte_fit_in(twin: Any) -> None:
    group = group_frames(1, size=3)
    header = PacketHeader(0, SHARD, 1, 1, 3)
    whole = packet(group, 1)
    assert twin.encode_packets(header, b"".join(group), len(whole)) == [whole]
    assert twin.encode_packets(header, b"".join(group), len(whole) - 1) == [
        packet(group[:2], 1),
        packet(group[2:], 3),
    ]


@both
def test_packets_can_not_go_past_the_last_sequence_number(twin: Any) -> None:
    frame = encode_frame(decode_frame(group_frames(1)[0]).message(), LAST, 0, end=True)
    header = PacketHeader(0, SHARD, 1, LAST, LAST)
    assert twin.encode_packets(header, frame, 1400) == [packet([frame], LAST)]
    with pytest.raises(struct.error, match=r"int too large|sequence numbers"):
        twin.encode_packets(header, frame * 2, 100)


# Submissions


@both
@given(commands=st.lists(st.tuples(words, messages(SUBMISSION_TYPES)), max_size=4), cut=numbers)
def test_whole_submissions_are_counted_and_a_rest_is_left(
    twin: Any, commands: list[tuple[int, Command]], cut: int
) -> None:
    encoded = [encode_submission(Submission(*each)) for each in commands]
    data = b"".join(encoded)
    assert twin.whole_submissions(data) == (len(data), len(encoded))
    kept = cut % (len(data) + 1)
    whole = [n for n in range(len(encoded) + 1) if len(b"".join(encoded[:n])) <= kept][-1]
    assert twin.whole_submissions(data[:kept]) == (len(b"".join(encoded[:whole])), whole)


@both
def test_what_can_not_be_a_submission_is_named(twin: Any) -> None:
    trade, short = b"\0\100T" + bytes(8), b"\0\27X\0" + bytes(9)
    whole = bytes([0, 23]) + b"X" + bytes(20)
    cases = {
        trade: "not a submission: type 84, length 64",
        bytes(11): "not a submission: type 0, length 0",
        b"\0\26X" + bytes(8): "not a submission: type 88, length 22",
        whole + trade: "not a submission: type 84, length 64",
    }
    for data, text in cases.items():
        assert outcome(twin.whole_submissions, data) == text
    assert twin.whole_submissions(trade[:10]) == (0, 0)
    assert twin.whole_submissions(whole + short) == (23, 1)
