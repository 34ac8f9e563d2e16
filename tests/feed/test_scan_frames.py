"""`scan_frames`: how far bytes that nobody has looked at are frames of a list."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.checksum import CHECKSUM_BYTES, checksum_around
from feed.codec import Frame, WireError, decode_frame, encode_frame
from feed.frames import Summary
from feed.run import type_bit
from feed.schema import FrameType
from tests.feed.frame_twins import LAST, agreed, both, frame_lists, needs_both
from tests.feed.lists import frames_up_to, group_frames, list_of

ORDER, CANCELED, TRADE = map(type_bit, (FrameType.ENTER_ORDER, FrameType.CANCELED, FrameType.TRADE))
CHECKSUM_AT = 4


def intact(data: bytes, first_sequence: int) -> list[Frame]:
    """The same by the codec alone."""
    frames: list[Frame] = []
    offset = 0
    while offset < len(data):
        try:
            frame = decode_frame(data, offset)
        except WireError:
            break
        if frame.sequence != first_sequence + len(frames):
            break
        frames.append(frame)
        offset += len(frame.data)
    return frames


@both
def test_frames_are_counted_as_far_as_they_follow_one_another(twin: Any) -> None:
    (order,), trade = list_of([1, 3])
    data = b"".join([order, *trade])
    size, summary = twin.scan_frames(data, 1)
    assert (size, summary) == (len(data), Summary(4, 4, ORDER | TRADE | CANCELED))
    assert type(summary) is Summary
    assert twin.scan_frames(order + data, 1) == (len(order), Summary(1, 1, ORDER))
    assert twin.scan_frames(data, 2) == (0, Summary(0, 0, 0))
    assert twin.scan_frames(b"", 1) == (0, Summary(0, 0, 0))
    assert twin.scan_frames(trade[0] + order, 2) == (len(trade[0]), Summary(1, 0, ORDER))


@both
def test_a_frame_that_is_cut_off_anywhere_is_not_counted(twin: Any) -> None:
    first, second = frames_up_to(2)
    for size in range(len(second)):
        assert twin.scan_frames(first + second[:size], 1) == (len(first), Summary(1, 1, ORDER))


@both
def test_a_frame_with_any_bit_turned_over_is_not_counted(twin: Any) -> None:
    first, second, third = frames_up_to(3)
    for bit in range(len(second) * 8):
        changed = bytearray(first + second + third)
        changed[len(first) + bit // 8] ^= 1 << bit % 8
        assert twin.scan_frames(bytes(changed), 1) == (len(first), Summary(1, 1, ORDER))


@both
def test_nothing_follows_the_last_sequence_number(twin: Any) -> None:
    message = decode_frame(group_frames(1)[0]).message()
    last, zeroth = (encode_frame(message, sequence, 0, end=True) for sequence in (LAST, 0))
    assert twin.scan_frames(last + zeroth, LAST) == (len(last), Summary(1, LAST, ORDER))
    assert twin.scan_frames(zeroth, 0) == (len(zeroth), Summary(1, 0, ORDER))
    for impossible in (LAST + 1, -1):
        assert twin.scan_frames(last + zeroth, impossible) == (0, Summary(0, 0, 0))


@both
@pytest.mark.parametrize("seed", range(3))
def test_mutated_frames_are_counted_as_the_codec_reads_them(twin: Any, seed: int) -> None:
    random = Random(seed)
    frames = [frame for group in list_of(random.choices([1, 2, 4], k=8)) for frame in group]
    whole = b"".join(frames)
    ends = {0: 0}
    for frame in frames:
        ends[max(ends) + 1] = ends[max(ends)] + len(frame)
    counts = set()
    for _ in range(600):
        data = bytearray(whole)
        place = random.choice(list(ends.values())[:-1])
        match random.randrange(4):
            case 0:
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            case 1:
                del data[random.randrange(len(data)) :]
            case 2:  # whole frames, and the checksums are right
                at = random.choice(list(ends.values()))
                data[place:at] = b""
            case _:
                data[place + 8 + random.randrange(12)] ^= 1 << random.randrange(8)
                length = int.from_bytes(data[place : place + 2], "big")
                checksum = checksum_around(bytes(data[place : place + length]), CHECKSUM_AT)
                at = place + CHECKSUM_AT
                data[at : at + CHECKSUM_BYTES] = checksum.to_bytes(CHECKSUM_BYTES, "big")
        size, summary = twin.scan_frames(bytes(data), 1)
        expected = intact(bytes(data), 1)
        assert data[:size] == b"".join(frame.data for frame in expected)
        assert summary == twin.summarize(bytes(data[:size]))
        counts.add(summary.frame_count)
    assert len(counts) > 10


@needs_both
@given(data=st.data(), first=st.integers(0, 2**64 - 8))
@settings(max_examples=30)
def test_both_agree_on_damaged_frames(data: st.DataObject, first: int) -> None:
    contents = data.draw(frame_lists(first))
    whole = bytearray(b"".join(contents))
    for _ in range(data.draw(st.integers(0, 2)) if whole else 0):
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
    cut = data.draw(st.integers(0, len(whole)))
    asked = data.draw(st.sampled_from([first, first, first + 1]))
    agreed("scan_frames", bytes(whole[:cut]), asked)
    agreed("scan_frames", bytes(whole[cut:]), asked)


@needs_both
@given(data=st.binary(max_size=200), first=st.integers(-1, 2**64 + 1))
def test_both_agree_on_any_bytes(data: bytes, first: int) -> None:
    agreed("scan_frames", data, first)
