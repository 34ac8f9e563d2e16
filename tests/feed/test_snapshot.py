"""A snapshot's bytes: what was written is read, in whatever pieces; what is damaged is noticed."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import END, encode_frame
from feed.digest import BLOCK_FRAMES, ListDigest
from feed.messages import MarketState, Snapshot, SnapshotEnd, holder_field
from feed.run import Run, empty_run, run_of_frames
from feed.snapshot import (
    SnapshotError,
    SnapshotReader,
    StateDigest,
    encode_snapshot,
    read_snapshot,
)
from tests.feed.lists import frames_up_to, group_frames, list_of
from tests.feed.replays import MANY, head_of, pieces, snapshot_of, state_of, state_runs

LIST = frames_up_to(2 * BLOCK_FRAMES + 40)
SMALL = snapshot_of(LIST, 5)


def read(data: bytes, size: int = 1 << 20) -> tuple[SnapshotReader, list[Run]]:
    reader, runs = SnapshotReader(), []
    for piece in pieces(data, size):
        runs += reader.take(piece)
    reader.finish()
    return reader, runs


@given(
    st.sampled_from([1, 2, 7, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1, len(LIST)]),
    st.integers(0, MANY),
    st.integers(1, 9000),
)
def test_what_was_written_is_read_in_pieces_of_any_size(
    sequence: int, orders: int, size: int
) -> None:
    head, tail = head_of(LIST, sequence)
    time_ns = run_of_frames(sequence, LIST[sequence - 1 : sequence])[0].time_ns
    state = state_runs(state_of(orders), time_ns)
    data = b"".join(encode_snapshot(head, state, b"d" * 32, tail, time_ns))
    if size < 200:
        size = max(size, len(data) // 300)
    reader, runs = read(data, size)
    group = [frame for run in runs for frame in run]
    assert [frame.sequence for frame in group] == list(range(1, len(state_of(orders)) + 3))
    assert [frame.message() for frame in group] == [head, *state_of(orders), SnapshotEnd(b"d" * 32)]
    assert {frame.time_ns for frame in group} == {reader.time_ns} == {time_ns}
    assert (reader.head, reader.end) == (head, SnapshotEnd(b"d" * 32))
    assert b"".join(run.data for run in reader.tail) == tail.data
    whole = read_snapshot(lambda: pieces(data, size))
    assert (whole.head, whole.end, whole.tail) == (head, reader.end, tail)
    assert b"".join(whole.chunks()) == data
    for _ in range(2):
        assert b"".join(run.data for run in whole.state()) == b"".join(run.data for run in state)


def test_a_reader_goes_on_with_the_digest_of_the_list() -> None:
    for sequence in (5, BLOCK_FRAMES, BLOCK_FRAMES + 3):
        whole = read_snapshot(lambda at=sequence: [snapshot_of(LIST, at)])  # type: ignore[misc]
        digest = ListDigest(whole.head.digest_sequence, whole.head.list_digest)
        digest.update(whole.tail)
        digest.update(run_of_frames(sequence + 1, LIST[sequence:]))
        expected = ListDigest()
        expected.update(run_of_frames(1, LIST))
        assert digest.hex() == expected.hex()


def test_every_flipped_bit_is_noticed() -> None:
    for bit in range(8 * len(SMALL)):
        data = bytearray(SMALL)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SnapshotError):
            read(bytes(data))


@pytest.mark.parametrize("sequence", [5, BLOCK_FRAMES])
def test_a_snapshot_that_is_cut_off_anywhere_is_not_whole(sequence: int) -> None:
    data = snapshot_of(LIST, sequence)
    for size in range(len(data)):
        reader = SnapshotReader()
        reader.take(data[:size])
        assert not reader.is_whole
        with pytest.raises(SnapshotError, match="cut off"):
            reader.finish()


@pytest.mark.parametrize("more", [b"\0", LIST[5], LIST[4], SMALL])
def test_what_comes_after_the_end_is_refused(more: bytes) -> None:
    for data in (SMALL, snapshot_of(LIST, BLOCK_FRAMES)):
        with pytest.raises(SnapshotError):
            read(data + more)
        reader = SnapshotReader()
        reader.take(data)
        with pytest.raises(SnapshotError):
            reader.take(more)


def test_frames_that_are_lost_or_doubled_or_change_places_are_noticed() -> None:
    frames = [frame.data for run in read(SMALL)[1] for frame in run]
    tail = LIST[:5]
    every = [*frames, *tail]
    for place in range(len(every)):
        for wrong in (
            every[:place] + every[place + 1 :],
            every[: place + 1] + every[place:],
            every[:place] + every[place : place + 2][::-1] + every[place + 2 :],
        ):
            if wrong != every:
                with pytest.raises(SnapshotError):
                    read(b"".join(wrong))


def frames_of(*, tail_from: int = 1, sequence: int = 5, **changes: Any) -> list[bytes]:
    head = Snapshot(sequence, 3, 1, holder_field("e1"), 0, bytes(32))._replace(**changes)
    time_ns = run_of_frames(5, LIST[4:5])[0].time_ns
    return [
        encode_frame(head, 1, time_ns, end=False),
        encode_frame(MarketState(1), 2, time_ns, end=False),
        encode_frame(SnapshotEnd(bytes(32)), 3, time_ns, end=True),
        *LIST[tail_from - 1 : sequence],
    ]


def replaced(at: int, frame: bytes) -> list[bytes]:
    frames = frames_of()
    frames[at] = frame
    return frames


TIME_NS = run_of_frames(5, LIST[4:5])[0].time_ns


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (frames_of(digest_sequence=1), "a digest of 1 frames"),
        (frames_of(digest_sequence=BLOCK_FRAMES), "a digest of 1024 frames"),
        (frames_of(epoch_sequence=6), "a reign that begins at 6"),
        (frames_of(epoch_sequence=0), "a reign that begins at 0"),
        (frames_of(tail_from=2), "frame 2 comes where 1 should"),
        (frames_of()[1:], "frame 2 comes where 1 should"),
        (LIST[:5], "does not begin with a snapshot's head"),
        (replaced(1, encode_frame(MarketState(1), 2, TIME_NS, end=True)), "that is not its end"),
        (replaced(1, group_frames(2)[0]), "no machine's state"),
        (replaced(1, frames_of()[0]), "frame 1 comes where 2 should"),
        (
            replaced(
                1, encode_frame(Snapshot(5, 3, 1, bytes(16), 0, bytes(32)), 2, TIME_NS, end=False)
            ),
            "no machine's state",
        ),
        (
            replaced(2, encode_frame(SnapshotEnd(bytes(32)), 3, TIME_NS, end=False)),
            "is not marked as such",
        ),
        (
            replaced(2, encode_frame(SnapshotEnd(bytes(32)), 3, TIME_NS + 1, end=True)),
            "of different times",
        ),
        (replaced(4, encode_frame(MarketState(1), 2, TIME_NS, end=False)), "can't be the list's"),
        ([*frames_of()[:7], list_of([4, 2])[1][0]], "ends no group"),
        (replaced(7, encode_frame(MarketState(2), 5, TIME_NS, end=True)), "can't be"),
        ([*frames_of()[:3], *LIST[:6]], "after (frame 5|the end)"),
    ],
)
@pytest.mark.parametrize("size", [40, 1 << 20])
def test_frames_that_make_no_snapshot_are_refused(
    frames: list[bytes], text: str, size: int
) -> None:
    with pytest.raises(SnapshotError, match=text):
        read(b"".join(frames), size)


def test_the_tail_must_be_of_the_time_that_the_snapshot_is() -> None:
    other = encode_frame(run_of_frames(5, LIST[4:5])[0].message(), 5, TIME_NS + 1, end=True)
    with pytest.raises(SnapshotError, match="another time"):
        read(b"".join(replaced(7, other)))


def test_parts_that_do_not_fit_are_not_written() -> None:
    head, tail = head_of(LIST, 5)
    state = state_runs(state_of(), 0, frames_per_run=2)
    for wrong_tail in (empty_run(6), tail.part(1, 4), tail.part(2, 5)):
        with pytest.raises(SnapshotError, match="tail"):
            b"".join(encode_snapshot(head, state, bytes(32), wrong_tail, 0))
    for wrong_state in (state[1:], [*state, state[0]]):
        with pytest.raises(SnapshotError, match="state frame"):
            b"".join(encode_snapshot(head, wrong_state, bytes(32), tail, 0))
    with pytest.raises(SnapshotError, match="digest of"):
        b"".join(encode_snapshot(head._replace(digest_sequence=7), state, bytes(32), tail, 0))


def test_the_end_of_a_group_and_the_beginning_of_a_tail_are_told_apart_by_their_types() -> None:
    sequence = BLOCK_FRAMES + 3
    orders = BLOCK_FRAMES - 5  # the end is frame 1024, and the tail begins with frame 1025
    time_ns = run_of_frames(sequence, LIST[sequence - 1 : sequence])[0].time_ns
    data = snapshot_of(LIST, sequence, state_runs(state_of(orders), time_ns))
    reader, runs = read(data)
    assert runs[-1].last_sequence == BLOCK_FRAMES
    assert runs[-1][-1].flags & END
    assert [run.first_sequence for run in reader.tail] == [BLOCK_FRAMES + 1]


def test_the_digest_of_a_state_is_that_of_types_and_bodies() -> None:
    one, other = StateDigest(), StateDigest()
    for run in state_runs(state_of(), time_ns=1, frames_per_run=2):
        one.update(run)
    for run in state_runs(state_of(), time_ns=2, frames_per_run=7):
        other.update(run)
    assert one.digest() == other.digest()
    other.update(state_runs([MarketState(0)], 0)[0])
    assert one.digest() != other.digest()


def test_what_is_not_read_yet_is_bounded_whatever_comes() -> None:
    random = Random(1)
    for _ in range(200):
        with pytest.raises(SnapshotError):
            read(random.randbytes(400), size=random.randrange(1, 50))
