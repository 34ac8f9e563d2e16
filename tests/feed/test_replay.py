"""Replays without sockets: what a source answers to a request."""

from collections.abc import Iterator

import pytest

from feed.codec import (
    RETRANSMISSION,
    SNAPSHOT,
    Packet,
    WireError,
    decode_packet,
)
from feed.datagrams import (
    REPLAY_BYTES,
    Repair,
    Replay,
    decode_repair,
    encode_repair,
    encode_replay,
    is_repair,
)
from feed.digest import BLOCK_FRAMES
from feed.replay import (
    LENGTH,
    MESSAGE_LIMIT_BYTES,
    PIECE_FRAMES,
    ROUNDS_LIMIT,
    SNAPSHOT_WORTH_FRAMES,
    SourceSnapshot,
    answer_replay,
)
from feed.run import Run
from feed.schema import RepairKind
from feed.snapshot import SnapshotError
from tests.feed.lists import SHARD, frames_up_to
from tests.feed.replays import (
    EPOCH,
    TO_LIST,
    Source,
    pieces,
    snapshot_of,
)
from tests.feed.requests import AT, DAY, FRAMES, LIST, STATE, request, with_snapshot


def messages(data: bytes) -> Iterator[Packet | Repair]:
    """What an answer consists of, each message checked."""
    offset = 0
    while offset < len(data):
        (size,) = LENGTH.unpack_from(data, offset)
        assert 0 < size <= MESSAGE_LIMIT_BYTES
        datagram = data[offset + LENGTH.size : offset + LENGTH.size + size]
        assert len(datagram) == size
        offset += LENGTH.size + size
        yield decode_repair(datagram) if is_repair(datagram) else decode_packet(datagram)


def outline(source: Source, asked: Replay) -> list[tuple[int, ...]]:
    """Of each message of an answer its flags, first and last frame; of MISSING just the range."""
    told: list[tuple[int, ...]] = []
    for each in messages(b"".join(answer_replay(encode_replay(asked), source))):
        if isinstance(each, Repair):
            assert (each.kind, each.shard) == (RepairKind.MISSING, SHARD)
            told.append((each.first_sequence, each.last_sequence))
            continue
        header = each.header
        assert (header.shard, header.epoch) == (source.shard, source.epoch)
        last = header.first_sequence + len(each.frames) - 1
        if header.flags == TO_LIST:
            last = header.committed_sequence
        elif header.flags == RETRANSMISSION:
            assert header.committed_sequence == last
        told.append((header.flags, header.first_sequence, last))
    return told


def test_what_is_committed_is_sent_from_the_frame_asked_for_on() -> None:
    source = Source(FRAMES, committed=700)
    assert outline(source, request(first=600)) == [
        (TO_LIST, 600, 700),
        (RETRANSMISSION, 600, 700),
        (TO_LIST, 701, 700),
    ]
    assert outline(source, request(first=701)) == [(TO_LIST, 701, 700)]
    assert outline(source, request(first=900)) == [(TO_LIST, 900, 700)]
    assert outline(Source([]), request()) == [(TO_LIST, 1, 0)]


def test_what_is_not_held_is_missing() -> None:
    evicted = Source(FRAMES, first_sequence=100)
    assert outline(evicted, request(first=99))[1:] == [(99, len(FRAMES))]
    assert outline(evicted, request(first=100))[-1] == (TO_LIST, len(FRAMES) + 1, len(FRAMES))
    damaged = Source(FRAMES[:800], committed=900)
    told = outline(damaged, request(first=1))
    assert told[0] == (TO_LIST, 1, 900)
    assert told[-1] == (801, 900)


def test_a_source_that_does_not_know_the_epoch_yet_has_nothing() -> None:
    source = Source(FRAMES, committed=700)
    assert outline(source, request(epoch=EPOCH + 1)) == [(1, 700)]
    assert outline(source, request(epoch=EPOCH + 1, first=800)) == [(800, 800)]
    assert source.asked == []


def test_an_answer_goes_on_to_what_has_been_committed_meanwhile_but_not_for_ever() -> None:
    class Growing(Source):
        def runs(self, first: int, last: int) -> list[Run]:
            self.committed_sequence += 1
            return super().runs(first, last)

    told = outline(Growing(FRAMES, committed=100), request())
    begins = [(first, last) for flags, first, last in told if flags == TO_LIST]
    assert begins == [
        (1, 100),
        *((at, at) for at in range(101, 100 + ROUNDS_LIMIT)),
        (100 + ROUNDS_LIMIT, 99 + ROUNDS_LIMIT),
    ]


def test_pieces_are_made_one_by_one_and_are_of_a_bounded_size() -> None:
    frames = frames_up_to(3 * PIECE_FRAMES)
    source = Source(frames)
    answer = answer_replay(encode_replay(request()), source)
    next(answer)
    assert source.asked == []
    sizes = [len(next(answer))]
    assert source.asked == [(1, PIECE_FRAMES)]
    sizes += [len(piece) for piece in answer]
    assert max(sizes) < 300_000
    assert [last - first + 1 for first, last in source.asked] == [PIECE_FRAMES] * 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode_replay(request())[:-1],
        encode_replay(request()) + b"\0",
        bytes(REPLAY_BYTES),
        encode_replay(request(first=0)),
        encode_replay(request(shard=2)),
        encode_repair(Repair(RepairKind.NAK, SHARD, 1, 1, 1)),
    ],
)
def test_what_is_no_request_for_this_list_gets_no_answer(data: bytes) -> None:
    with pytest.raises(WireError):
        answer_replay(data, Source(FRAMES))


def test_a_request_with_any_bit_wrong_gets_no_answer() -> None:
    for bit in range(8 * REPLAY_BYTES):
        data = bytearray(encode_replay(request(STATE, 77)))
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            answer_replay(bytes(data), Source(FRAMES))


SENT = [
    *((SNAPSHOT, 1, 8), (RETRANSMISSION, BLOCK_FRAMES + 1, BLOCK_FRAMES + 10)),
    *((TO_LIST, BLOCK_FRAMES + 11, BLOCK_FRAMES + 500),),
    *((RETRANSMISSION, BLOCK_FRAMES + 11, BLOCK_FRAMES + 500),),
    (TO_LIST, BLOCK_FRAMES + 501, BLOCK_FRAMES + 500),
]


def test_a_snapshot_comes_first_where_the_frames_are_not_held_any_more() -> None:
    for first in (1, 800):
        source = with_snapshot(AT, first_sequence=801)
        assert outline(source, request(STATE, first)) == SENT
    assert outline(with_snapshot(AT, first_sequence=AT + 1), request(STATE)) == SENT


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        (with_snapshot(AT), request(STATE)),  # not worth it
        (with_snapshot(AT, first_sequence=801), request(LIST, 801)),
        (with_snapshot(AT, first_sequence=801), request(STATE, 801)),
        (with_snapshot(AT, day=True), request(LIST)),
        (with_snapshot(AT, day=True), request(STATE)),
        (with_snapshot(AT, day=True), request(DAY, AT + 1)),
        (Source(FRAMES), request(DAY)),
        (Source(FRAMES), request(STATE)),
    ],
)
def test_elsewhere_it_is_the_list(source: Source, asked: Replay) -> None:
    assert outline(source, asked)[0] == (TO_LIST, asked.first_sequence, len(FRAMES))


def test_a_snapshot_that_the_list_does_not_follow_on_is_of_no_use() -> None:
    for kind in (STATE, DAY):
        source = with_snapshot(AT, first_sequence=AT + 2, day=kind is DAY)
        assert outline(source, request(kind))[1] == (1, len(FRAMES))


def test_the_days_first_snapshot_is_sent_whatever_it_saves() -> None:
    assert outline(with_snapshot(AT, day=True), request(DAY)) == SENT
    assert outline(with_snapshot(AT, day=True), request(DAY, AT)) == SENT


@pytest.mark.parametrize("saved", [SNAPSHOT_WORTH_FRAMES, SNAPSHOT_WORTH_FRAMES + 1])
def test_a_snapshot_is_sent_when_it_saves_much(saved: int) -> None:
    first = 5
    source = Source(FRAMES)
    drawn = []

    def chunks() -> Iterator[bytes]:
        drawn.append(True)
        yield snapshot_of(FRAMES, AT)

    source.newest = SourceSnapshot(first + saved - 1, chunks)
    next(answer_replay(encode_replay(request(STATE, first)), source))
    assert bool(drawn) == (saved > SNAPSHOT_WORTH_FRAMES)


@pytest.mark.parametrize("damage", ["cut off", "flipped"])
def test_a_damaged_snapshot_breaks_the_answer_off(damage: str) -> None:
    data = bytearray(snapshot_of(FRAMES, AT))
    if damage == "cut off":
        del data[-1]
    else:
        data[len(data) // 2] ^= 1
    source = Source(FRAMES)
    source.day = SourceSnapshot(AT, lambda: pieces(bytes(data), 100))
    answer = answer_replay(encode_replay(request(DAY)), source)
    with pytest.raises(SnapshotError):
        b"".join(answer)
