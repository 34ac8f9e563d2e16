"""Replays without sockets: what a client believes of an answer, and what not."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import (
    HEARTBEAT,
    RETRANSMISSION,
    SNAPSHOT,
    encode_packet,
)
from feed.codec import PacketHeader as Header
from feed.datagrams import (
    Repair,
    Replay,
    encode_repair,
    encode_replay,
)
from feed.digest import BLOCK_FRAMES
from feed.receiver import Receiver
from feed.replay import (
    LENGTH,
    MESSAGE_LIMIT_BYTES,
    ROUNDS_LIMIT,
    SourceSnapshot,
    answer_replay,
    message,
)
from feed.replay_answer import (
    Item,
    ListPacket,
    ReplayAnswer,
    ReplayError,
    SnapshotIsWhole,
    SnapshotPart,
)
from feed.run import run_of_frames
from feed.schema import RepairKind
from tests.feed.lists import SHARD, list_of, packet, random_sizes
from tests.feed.receiving import receiver
from tests.feed.replays import (
    EPOCH,
    MANY,
    TO_LIST,
    Source,
    flat,
    pieces,
    snapshot_of,
    state_of,
    state_runs,
)
from tests.feed.requests import AT, DAY, FRAMES, request, with_snapshot


def read(asked: Replay, chunks: Iterable[bytes], epoch: int = 0) -> tuple[ReplayAnswer, list[Item]]:
    answer, items = ReplayAnswer(asked), list[Item]()
    for chunk in chunks:
        items += answer.take(chunk, epoch)
    return answer, items


def given_to(items: Iterable[Item], to: Receiver) -> list[bytes]:
    """The frames that a receiver makes of an answer."""
    found = []
    for item in items:
        if isinstance(item, ListPacket):
            found += to.on_datagram(item.data, 0, None).split()
            to.check()
    return found


@given(st.integers(0, 2**32), st.data())
def test_a_receiver_gets_just_the_list_whatever_the_pieces(seed: int, data: st.DataObject) -> None:
    random = Random(seed)
    frames = flat(list_of(random_sizes(random, 60)))
    committed = random.randrange(len(frames) + 1)
    first = random.randrange(1, committed + 2)
    source = Source(frames, committed=committed)
    sent = b"".join(answer_replay(encode_replay(request(first=first)), source))
    size = data.draw(st.integers(1, 4000)) if len(sent) < 5000 else 1000 + seed % 4000
    answer, items = read(request(first=first), pieces(sent, size))
    assert answer.is_over
    assert answer.next_sequence == committed + 1
    for committed_only in (False, True):
        to = receiver(first_sequence=first, committed_only=committed_only)
        assert given_to(items, to) == frames[first - 1 : committed]
        assert to.committed_sequence == committed


@pytest.mark.parametrize("size", [7, 1000, 1 << 20])
@pytest.mark.parametrize("sequence", [BLOCK_FRAMES, AT, len(FRAMES)])
def test_a_snapshot_comes_out_byte_for_byte_and_the_list_goes_on_after_it(
    sequence: int, size: int
) -> None:
    time_ns = run_of_frames(sequence, FRAMES[sequence - 1 : sequence])[0].time_ns
    data = snapshot_of(FRAMES, sequence, state_runs(state_of(MANY), time_ns))
    source = Source(FRAMES)
    source.day = SourceSnapshot(sequence, lambda: pieces(data, 5000))
    sent = b"".join(answer_replay(encode_replay(request(DAY)), source))
    answer, items = read(request(DAY), pieces(sent, size))
    assert answer.is_over
    assert b"".join(item.data for item in items if isinstance(item, SnapshotPart)) == data
    (place,) = (at for at, item in enumerate(items) if isinstance(item, SnapshotIsWhole))
    assert not any(isinstance(item, ListPacket) for item in items[:place])
    to = receiver()
    to.restart(sequence + 1)
    assert given_to(items[place:], to) == FRAMES[sequence:]


def to_list(first: int, committed: int, **changes: int) -> bytes:
    header = Header(TO_LIST, SHARD, EPOCH, first, committed)._replace(**changes)
    return message(encode_packet(header))


def frames_from(first: int, last: int, flags: int = RETRANSMISSION, **changes: int) -> bytes:
    return message(packet(FRAMES[first - 1 : last], first, epoch=EPOCH, flags=flags, **changes))


def state_from(sequence: int = AT) -> bytes:
    """A snapshot's group, without its tail."""
    source = with_snapshot(sequence, day=True)
    pieces_ = answer_replay(encode_replay(request(DAY)), source)
    return next(pieces_)


BEGIN = to_list(1, 40)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (LENGTH.pack(0), "a message of 0 bytes"),
        (LENGTH.pack(MESSAGE_LIMIT_BYTES + 1), "a message of 65537 bytes"),
        (message(b"rubbish"), "rubbish"),
        (message(b"HTTP/1.1 400 Bad Request\r\n\r\nand a page of text"), "rubbish"),
        (to_list(1, 40, shard=2), "answers for shard 2"),
        (to_list(1, 40, epoch=EPOCH - 1), "it is in epoch 2, and 3 is known"),
        (to_list(1, 40, epoch=EPOCH + 1) + frames_from(1, 40), "it is in epoch 3, and 4 is known"),
        (frames_from(1, 40), "after frame 0, its last"),
        (BEGIN + frames_from(2, 40), "it sends 2, not 1"),
        (BEGIN + frames_from(1, 20) + frames_from(22, 40), "it sends 22, not 21"),
        (BEGIN + frames_from(1, 20) + frames_from(20, 40), "it sends 20, not 21"),
        (BEGIN + frames_from(1, 41), "after frame 40, its last"),
        (BEGIN + frames_from(1, 40) + frames_from(41, 42), "after frame 40, its last"),
        (BEGIN + frames_from(1, 40, committed=39), "not committed"),
        (BEGIN + frames_from(1, 40, flags=0), "a packet with the flags 0"),
        (BEGIN + frames_from(1, 40, flags=RETRANSMISSION | SNAPSHOT), "with the flags 10"),
        (BEGIN + frames_from(1, 0), "after frame 40, its last"),
        (to_list(2, 40), "it sends 2, not 1"),
        (BEGIN + BEGIN, "does not come to an end"),
        (BEGIN + to_list(1, 0), "ends before frame 40"),
        (BEGIN + frames_from(1, 20) + to_list(21, 20), "ends before frame 40"),
        (message(encode_packet(Header(HEARTBEAT, SHARD, EPOCH, 1, 0))), "with the flags 1"),
        (to_list(1, 0) + b"\0", "after the end"),
        (to_list(1, 0) + to_list(1, 0), "after the end"),
        (message(encode_repair(Repair(RepairKind.MISSING, SHARD, 1, 3, 9))), "it lacks 3 to 9"),
        (message(encode_repair(Repair(RepairKind.NAK, SHARD, 1, 3, 9))), "a NAK"),
        (message(encode_repair(Repair(RepairKind.MISSING, 2, 1, 3, 9))), "a NAK"),
        (state_from(), "where none was asked for"),
    ],
)
def test_an_answer_that_no_sound_source_gives_is_refused(data: bytes, text: str) -> None:
    for size in (1, 1 << 20):
        with pytest.raises(ReplayError, match=text):
            read(request(), pieces(data, size))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (BEGIN + state_from(), "where none was asked for"),
        (state_from() + BEGIN, "without frames in its snapshot"),
        (state_from() + state_from(), "after its end"),
        (state_from() + frames_from(AT, AT), "a bad snapshot"),
        (
            state_from() + frames_from(BLOCK_FRAMES + 1, AT - 1) + BEGIN,
            "without frames in its snapshot",
        ),
        (state_from() + frames_from(BLOCK_FRAMES + 1, AT + 1), "a bad snapshot"),
        (state_from() + frames_from(BLOCK_FRAMES + 1, AT) + to_list(AT, AT), f"sends {AT}, not"),
        (frames_from(1, 8, flags=SNAPSHOT), "a bad snapshot"),
    ],
)
def test_a_snapshot_that_no_sound_source_sends_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ReplayError, match=text):
        read(request(DAY), [data])


def test_a_snapshot_from_before_what_was_asked_for_is_refused() -> None:
    data = state_from() + frames_from(BLOCK_FRAMES + 1, AT)
    read(request(DAY, AT), [data])
    with pytest.raises(ReplayError, match="too early"):
        read(request(DAY, AT + 1), [data])


def test_an_answer_is_refused_once_a_later_epoch_is_known_from_elsewhere() -> None:
    answer = ReplayAnswer(request())
    answer.take(BEGIN, EPOCH)
    with pytest.raises(ReplayError, match="it is in epoch 3, and 4 is known"):
        answer.take(frames_from(1, 40), EPOCH + 1)


def test_a_source_that_always_has_more_is_left_in_the_end() -> None:
    data = b"".join(to_list(n, n) + frames_from(n, n) for n in range(1, ROUNDS_LIMIT + 2))
    with pytest.raises(ReplayError, match="does not come to an end"):
        read(request(), pieces(data, 500))


@given(st.integers(0, 2**32))
def test_no_damage_on_the_way_is_believed(seed: int) -> None:
    random = Random(seed)
    source = with_snapshot(AT, day=True)
    sent = bytearray(b"".join(answer_replay(encode_replay(request(DAY)), source)))
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(sent))
        match random.randrange(3):
            case 0:
                sent[at] ^= 1 << random.randrange(8)
            case 1:
                del sent[at : at + random.randrange(1, 100)]
            case _:
                sent[at:at] = random.randbytes(random.randrange(1, 100))
    answer, items, to = ReplayAnswer(request(DAY)), list[Item](), receiver()
    to.restart(AT + 1)
    found = []
    try:
        for piece in pieces(bytes(sent), random.randrange(100, 9000)):
            items = answer.take(piece)
            found += given_to(items, to)
    except ReplayError:
        pass
    else:
        # Only what is cut off at its very end breaks no rule until the connection does.
        assert not answer.is_over or found == FRAMES[AT:]
    assert found == FRAMES[AT : AT + len(found)]
