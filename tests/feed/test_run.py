"""A run is its frames: cut, joined and looked into, it is what a list of frames would be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import PACKET_HEADER_BYTES, WireError, decode_frame, decode_packet
from feed.messages import EnterOrder, Epoch
from feed.run import Run, empty_run, joined, read_packet, run_of, run_of_frames, type_bit
from feed.schema import FrameType
from tests.feed.holding import FIRST, SECOND
from tests.feed.lists import SHARD, list_of, packet

# EPOCH, then groups of orders, trades and cancels, and at the end a group that goes on.
FRAMES = [*SECOND, *list_of([1] * len(SECOND) + [4])[-1][:2]]


def run(first: int, last: int) -> Run:
    return run_of_frames(first, FRAMES[first - 1 : last])


def test_a_run_tells_where_it_stands_and_what_is_in_it() -> None:
    made = run(3, 12)
    assert (made.first_sequence, made.last_sequence, made.next_sequence) == (3, 12, 13)
    assert len(made) == 10
    assert made.end_sequence == 11
    assert made.data == b"".join(FRAMES[2:12])
    assert made.split() == FRAMES[2:12]
    assert list(made) == [decode_frame(frame) for frame in FRAMES[2:12]]
    assert (made[0].sequence, made[-1].sequence) == (3, 12)
    assert [frame.sequence for frame in made[2:4]] == [5, 6]
    assert isinstance(made[0].message(), EnterOrder)
    assert repr(made) == f"Run(3 to 12, {len(made.data)} bytes)"
    with pytest.raises(IndexError):
        made[10]


def test_a_run_knows_the_types_of_its_frames() -> None:
    assert run(1, 1).types == type_bit(FrameType.EPOCH)
    assert isinstance(run(1, 1)[0].message(), Epoch)
    assert run(2, 3).types == type_bit(FrameType.ENTER_ORDER)
    whole = run(1, 13)
    wanted = {frame.type for frame in whole}
    assert {each for each in FrameType if whole.has(each)} == wanted
    assert len(wanted) == 4
    assert not empty_run(5).has(FrameType.EPOCH)


def test_a_run_without_an_end_marked_frame_has_no_end_sequence() -> None:
    assert (run(4, 5).end_sequence, run(4, 6).end_sequence, run(12, 13).end_sequence) == (0, 6, 0)


def test_an_empty_run_stands_before_the_next_frame() -> None:
    for made in (empty_run(5), run_of(5, b""), run_of_frames(5, []), run(5, 4)):
        assert not made
        assert made == empty_run(5)
        assert (made.first_sequence, made.last_sequence, made.next_sequence) == (5, 4, 5)
        assert (len(made), made.end_sequence, made.types, made.split()) == (0, 0, 0, [])
        assert made.part(1, 99) == made


def test_equal_runs_have_the_same_frames_at_the_same_place() -> None:
    assert run(4, 6) == run(1, 9).part(4, 6)
    assert hash(run(4, 6)) == hash(run(1, 9).part(4, 6))
    assert run(4, 6) != run(4, 5)
    assert run_of(4, run(4, 6).data) != run_of(5, run(4, 6).data)
    assert run_of_frames(7, FIRST[6:7]) != run(7, 7)
    assert empty_run(4) != empty_run(5)
    assert run(4, 6) != run(4, 6).split()


places = st.integers(0, len(FRAMES) + 3)


@given(first=st.integers(1, len(FRAMES)), last=places, part=st.tuples(places, places))
def test_a_part_is_the_frames_that_are_in_both(
    first: int, last: int, part: tuple[int, int]
) -> None:
    made = run(first, last)
    cut = made.part(*part)
    wanted = [frame for frame in made if part[0] <= frame.sequence <= part[1]]
    assert list(cut) == wanted
    assert len(cut) == len(wanted)
    if wanted:
        assert cut == run(max(first, part[0]), min(last, part[1]))
        fresh = run_of(cut.first_sequence, cut.data)
        assert (len(cut), cut.end_sequence, cut.types) == (
            len(fresh),
            fresh.end_sequence,
            fresh.types,
        )


def test_a_part_from_a_place_within_tells_that_place_also_when_nothing_is_left() -> None:
    made = run(4, 8)
    assert made.part(6, 5) == empty_run(6)
    assert made.part(9, 20) == empty_run(9), "whoever reads on goes on here"
    assert made.part(4, 8) is made
    assert made.part(1, 99) is made


@given(cuts=st.lists(st.integers(0, 5), min_size=1, max_size=10), first=st.integers(1, 4))
def test_runs_that_follow_one_another_are_joined_to_what_they_were_cut_from(
    cuts: list[int], first: int
) -> None:
    parts = []
    next_sequence = first
    for size in cuts:
        last = min(next_sequence + size - 1, len(FRAMES))
        parts.append(run(next_sequence, last))
        next_sequence = parts[-1].next_sequence
    whole, wanted = joined(parts), run(first, next_sequence - 1)
    assert whole == wanted
    assert (len(whole), whole.end_sequence, whole.types) == (
        len(wanted),
        wanted.end_sequence,
        wanted.types,
    )


def test_a_run_alone_is_joined_to_itself() -> None:
    made = run(2, 4)
    assert joined([made]) is made


def test_a_packet_is_read_as_its_header_and_the_run_behind_it() -> None:
    data = packet(FRAMES[3:9], 4, committed=2, epoch=7)
    header, made = read_packet(data)
    assert header == decode_packet(data).header
    assert header == (0, SHARD, 7, 4, 2)
    assert made == run(4, 9)
    assert (len(made), made.end_sequence, made.types) == (
        6,
        run(4, 9).end_sequence,
        run(4, 9).types,
    )
    assert made.data == data[PACKET_HEADER_BYTES:]
    header, made = read_packet(packet([], 9))
    assert (header.first_sequence, made) == (9, empty_run(9))


@pytest.mark.parametrize("size", [0, 5, 40, -1])
def test_what_is_no_packet_is_not_read(size: int) -> None:
    with pytest.raises(WireError):
        read_packet(packet(FRAMES[3:9], 4)[:size])
