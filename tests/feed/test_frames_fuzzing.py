"""Damaged, cut, spliced and random bytes: nothing but WireError, and both twins agree."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.checksum import CHECKSUM_BYTES, checksum_around
from feed.codec import (
    FRAME_HEADER_BYTES,
    HEARTBEAT,
    PACKET_HEADER_BYTES,
    RETRANSMISSION,
    PacketHeader,
    decode_frame,
    decode_packet,
    encode_packet,
)
from feed.datagrams import (
    HolderWord,
    Submission,
    decode_holder_word,
    decode_repair,
    encode_holder_word,
    encode_submission,
)
from feed.messages import CancelOrder, holder_field
from feed.schema import HolderKind
from tests.feed.frame_twins import (
    COMPILED,
    TWINS,
    agreed,
    batch_of,
    frame_lists,
    needs_both,
    outcome,
)
from tests.feed.lists import SHARD, group_frames, nak, packet
from tests.feed.wire import numbers
from tests.submissions import take_submissions

NAME = holder_field("engine-1")
CANCEL = CancelOrder(7, 1, 0)


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A packet with bits flipped, cut off, cut out of, or spliced with another one."""
    changed = bytearray(data)
    match random.randrange(5):
        case 0:
            for _ in range(random.randint(1, 3)):
                if changed:
                    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        case 1:
            del changed[random.randint(0, len(changed)) :]
        case 2:
            begin = random.randint(0, len(changed))
            del changed[begin : begin + random.randint(1, 100)]
        case 3:
            other = random.choice(others)
            changed[random.randint(0, len(changed)) :] = other[random.randint(0, len(other)) :]
        case _:
            place = random.randint(0, len(changed))
            changed[place:place] = random.randbytes(random.randint(1, 8))
    return bytes(changed)


def with_checksums(data: bytes) -> bytes:
    """The same with right checksums in the header and in whatever may be a frame behind it."""
    if len(data) < PACKET_HEADER_BYTES:
        return data
    parts = [with_checksum(data[:PACKET_HEADER_BYTES], 12)]
    rest = data[PACKET_HEADER_BYTES:]
    while len(rest) >= FRAME_HEADER_BYTES:
        length = max(FRAME_HEADER_BYTES, int.from_bytes(rest[:2], "big"))
        parts.append(with_checksum(rest[:length], 4))
        rest = rest[length:]
    return b"".join(parts) + rest


def with_checksum(data: bytes, place: int) -> bytes:
    """The same with the right checksum at `place`."""
    checksum = checksum_around(data, place)
    return data[:place] + checksum.to_bytes(CHECKSUM_BYTES, "big") + data[place + CHECKSUM_BYTES :]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_packets_are_refused_with_a_wire_error_and_by_both_alike(seed: int) -> None:
    random = Random(seed)
    datagrams, _ = batch_of(random.choices([1, 2, 3, 9], k=12))
    datagrams.append(packet([], 5, committed=4, flags=HEARTBEAT))
    refused = 0
    for _ in range(1_500):
        data = random.choice(datagrams)
        for _ in range(random.randint(1, 2)):
            data = mutated(data, datagrams, random)
        if random.random() < 0.5:
            data = with_checksums(data)
        scans = [outcome(twin.scan_packet, data) for twin in TWINS]
        assert scans == scans[:1] * len(TWINS), data.hex()
        refused += isinstance(scans[0], str)
        if not isinstance(scans[0], str):
            header, held = decode_packet(data)
            again = encode_packet(header, [frame.data for frame in held])
            assert again == data  # whatever is let through is a packet as we would make it
    assert refused > 1_000


DATAGRAM_DECODERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (decode_packet, packet(group_frames(1), 1)),
    (decode_frame, group_frames(1)[0]),
    (decode_repair, nak(3, 9)),
    (decode_holder_word, encode_holder_word(HolderWord(HolderKind.ASK, 1, 2, NAME, 3, 4, 5, 6))),
    (lambda data: take_submissions(bytearray(data)), encode_submission(Submission(1, CANCEL)) * 2),
]


@pytest.mark.parametrize(("decode", "valid"), DATAGRAM_DECODERS)
def test_no_mutation_has_a_decoder_raise_anything_else(
    decode: Callable[[bytes], object], valid: bytes
) -> None:
    random = Random(len(valid))
    others = [valid for _, valid in DATAGRAM_DECODERS]
    for _ in range(2_000):
        data = mutated(valid, others, random)
        # The checksum after the header's first fields, where there is one, or else any four bytes.
        fixed = with_checksum(data, 10) if random.random() < 0.5 and len(data) > 14 else data
        outcome(decode, fixed)


@needs_both
@given(data=st.binary(max_size=200))
def test_both_agree_on_any_bytes(data: bytes) -> None:
    for name in ("scan_packet", "whole_submissions"):
        agreed(name, data)
        agreed(name, packet(group_frames(1), 1) + data)
        agreed(name, b"LS\1" + data)


@needs_both
@given(first=st.integers(1, 2**64 - 8), data=st.data())
def test_both_read_any_packet_alike(first: int, data: st.DataObject) -> None:
    contents = data.draw(frame_lists(first))
    flags = data.draw(st.sampled_from([0, RETRANSMISSION] if contents else [0, HEARTBEAT, 3]))
    header = PacketHeader(flags, data.draw(st.integers(0, 65535)), data.draw(numbers), first, 0)
    scan = agreed("scan_packet", encode_packet(header, contents))
    assert scan.header == header
    assert scan.summary.frame_count == len(contents)


@needs_both
@given(data=st.data())
def test_both_take_the_same_of_any_batch(data: st.DataObject) -> None:
    datagrams, _ = batch_of(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=8)))
    stray = st.sampled_from([*datagrams, packet([], 2, committed=1, flags=HEARTBEAT), b"LS"])
    places = st.integers(0, len(datagrams))
    for place in data.draw(st.lists(places, max_size=2)):
        datagrams.insert(place, data.draw(stray))
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(datagrams) - 1))
        datagrams[place] = mutated(datagrams[place], datagrams, data.draw(st.randoms()))
    start = data.draw(st.integers(-1, len(datagrams) + 1))
    shard, epoch = data.draw(st.sampled_from([(SHARD, 1), (SHARD, 2), (SHARD + 1, 1)]))
    agreed("scan_batch", datagrams, start, shard, epoch, data.draw(st.integers(0, 9)))


@needs_both
@given(contents=st.integers(1, 2**32).flatmap(frame_lists), is_open=st.booleans())
def test_both_find_the_same_groups_in_any_frames(contents: list[bytes], is_open: bool) -> None:
    agreed("whole_groups", b"".join(contents), is_open)


@needs_both
@given(begin=st.sampled_from([b"", group_frames(1)[0]]), rest=st.binary(max_size=100))
def test_the_compiled_twin_reads_no_further_than_there_are_bytes(begin: bytes, rest: bytes) -> None:
    """The twin in plain Python takes the caller's word for it that these are frames."""
    garbage = begin + rest
    header = PacketHeader(0, SHARD, 1, 1, 0)
    for result in (
        outcome(COMPILED.read_frames, garbage),
        outcome(COMPILED.summarize, garbage),
        outcome(COMPILED.cut_frames, garbage, 0, 2),
        outcome(COMPILED.encode_packets, header, garbage, 1400),
    ):
        assert isinstance(result, str) is bool(rest)
