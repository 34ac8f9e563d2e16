"""What is fuzzed: everything here that reads bytes from outside, twin beside twin.

A case is a number. It stands for some bytes, most of them nearly right, and what is done with them
hangs on nothing else; so a number or the bytes themselves show a failure again.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from feed.codec import (
    HEARTBEAT,
    WireError,
    decode_frame,
    decode_packet,
    encode_packet,
)
from feed.datagrams import (
    HolderWord,
    Repair,
    Submission,
    decode_holder_word,
    decode_repair,
    decode_submissions,
    encode_holder_word,
    encode_repair,
    encode_submission,
)
from feed.messages import holder_field
from feed.schema import HolderKind, RepairKind
from gateway.limits import Rate
from gateway.ouch_codec import OuchError, decode_inbound, decode_outbound, encode
from gateway.soup import SoupError, UnsequencedData, client_packets, server_packets
from gateway.translate import to_command
from tests.engine.machines import MACHINES
from tests.engine.strategies import seeded_submissions
from tests.feed.frame_twins import agreed, batch_of, outcome
from tests.feed.lists import SHARD, packet
from tests.feed.test_frames_fuzzing import mutated, with_checksum, with_checksums
from tests.gateway.test_kernel_orders import BAD, BAD_PAYLOADS, GOOD
from tests.gateway.twins import ORDER_TWINS

ALICE, LOGIN = 7, 99


class Target(NamedTuple):
    """Bytes to be read, and what has to hold when they are."""

    draw: Callable[[Random], bytes]
    judge: Callable[[bytes], None]


def case(target: str, number: int) -> bytes:
    """The bytes that a number stands for."""
    return TARGETS[target].draw(Random(f"{target} {number}"))


_DATAGRAMS, _ = batch_of([1, 2, 3, 9, 1, 2])
_PACKETS = [*_DATAGRAMS, packet([], 5, committed=4, flags=HEARTBEAT)]
_WORDS = [
    encode_repair(Repair(RepairKind.NAK, SHARD, 1, 3, 9)),
    encode_repair(Repair(RepairKind.MISSING, SHARD, 1, 3, 2**64 - 1)),
    *(
        encode_holder_word(HolderWord(kind, SHARD, 2, holder_field("e1"), 3, 4, 5, 6))
        for kind in HolderKind
    ),
]
_DAY = seeded_submissions(0, 400)
_SUBMISSIONS = [encode_submission(each) for each in _DAY]
_FROM_CLIENTS = [encode(message) for message in (*GOOD, *BAD)] + list(BAD_PAYLOADS)


def _spoilt(random: Random, parts: list[bytes], most: int = 1) -> bytes:
    """Some of these parts, mutated once or twice, or as they are."""
    data = b"".join(random.choices(parts, k=random.randint(1, most)))
    for _ in range(random.choice((0, 1, 1, 2))):
        data = mutated(data, parts, random)
    return data


# Packets, and batches of them


def _packet(random: Random) -> bytes:
    data = _spoilt(random, _PACKETS)
    return with_checksums(data) if random.randrange(2) else data


def _judge_packet(data: bytes) -> None:
    scan = agreed("scan_packet", data)
    whole = outcome(decode_packet, data)
    if isinstance(whole, str):
        assert scan == whole
        return
    header, frames = whole
    assert encode_packet(header, [frame.data for frame in frames]) == data
    run = b"".join(frame.data for frame in frames)
    assert agreed("read_frames", run) == list(frames)
    assert agreed("summarize", run) == scan.summary
    for is_open in (False, True):
        agreed("whole_groups", run, is_open)
    agreed("cut_frames", run, len(frames) // 2, len(frames))
    agreed("encode_packets", header, run, 400)


def _batch(random: Random) -> bytes:
    """Datagrams, each behind its length."""
    first = random.randrange(len(_PACKETS))
    datagrams = _PACKETS[first:]
    if random.randrange(2):
        datagrams[random.randrange(len(datagrams))] = _packet(random)
    return b"".join(len(data).to_bytes(2, "big") + data for data in datagrams)


def _judge_batch(data: bytes) -> None:
    datagrams = []
    while data:
        size = 2 + int.from_bytes(data[:2], "big")
        datagrams.append(data[2:size])
        data = data[size:]
    first = next((int.from_bytes(each[20:28], "big") for each in datagrams if len(each) > 28), 1)
    for start in (0, 1, len(datagrams)):
        for shard, epoch in ((SHARD, 1), (SHARD + 1, 1), (SHARD, 2)):
            agreed("scan_batch", datagrams, start, shard, epoch, first)


# Datagrams between holders, frames, submissions


def _word(random: Random) -> bytes:
    data = _spoilt(random, _WORDS)
    return with_checksum(data, 10) if random.randrange(2) and len(data) > 14 else data


def _judge_word(data: bytes) -> None:
    for decode, again in (
        (decode_repair, encode_repair),
        (decode_holder_word, encode_holder_word),
    ):
        word: Any = outcome(decode, data)
        assert isinstance(word, str) or again(word) == data
    frame = outcome(decode_frame, data)
    assert isinstance(frame, str) or data.startswith(frame.data)


def _submissions(random: Random) -> bytes:
    return _spoilt(random, _SUBMISSIONS, most=20)


def _judge_submissions(data: bytes) -> None:
    agreed("whole_submissions", data)
    submissions = outcome(decode_submissions, data)
    if not isinstance(submissions, str):
        assert b"".join(map(encode_submission, submissions)) == data


def _judge_machines(data: bytes) -> None:
    """Every machine takes the same of it, or refuses it in the same words and is as it was."""
    results = []
    for build in MACHINES.values():
        machine = build()
        morning, _ = machine.submit(b"".join(_SUBMISSIONS[:5]), 1, 0)
        try:
            run, not_admitted = machine.submit(data, morning.next_sequence, 1)
            result: object = (run.data, len(run), run.end_sequence, run.types, not_admitted)
        except WireError as error:
            result = str(error)
        machine.check()
        results.append((result, machine.digest()))
    assert results == results[:1] * len(results)


# What clients send


def _order_stream(random: Random) -> bytes:
    payloads = random.choices(_FROM_CLIENTS, k=random.randint(1, 8))
    if random.randrange(2):
        at = random.randrange(len(payloads))
        payloads[at] = mutated(payloads[at], _FROM_CLIENTS, random)
    packets = [UnsequencedData(payload).encode() for payload in payloads]
    return _spoilt(random, [b"".join(packets)])


def _judge_order_stream(data: bytes) -> None:
    results = []
    for twin in ORDER_TWINS:
        rate = Rate(1_000, 5)
        taken = twin.take_orders(data, 0, 6, ALICE, LOGIN, rate, 5)
        results.append((tuple(taken), rate.orders.full_at_ns, rate.cancels.full_at_ns))
    assert results == results[:1] * len(results)
    for submission in decode_submissions(results[0][0][2]):
        assert isinstance(submission, Submission)
    for reader in (client_packets(), server_packets()):
        try:
            for _ in reader.take(data):
                pass
        except SoupError:
            pass


def _message(random: Random) -> bytes:
    return _spoilt(random, _FROM_CLIENTS)


def _judge_message(data: bytes) -> None:
    to_command(data, ALICE)
    for decode in (decode_inbound, decode_outbound):
        try:
            message = decode(data)
        except OuchError:
            continue
        again = encode(message)
        assert decode(again) == message


TARGETS = {
    "packets": Target(_packet, _judge_packet),
    "batches": Target(_batch, _judge_batch),
    "words": Target(_word, _judge_word),
    "submissions": Target(_submissions, _judge_submissions),
    "machines": Target(_submissions, _judge_machines),
    "orders": Target(_order_stream, _judge_order_stream),
    "messages": Target(_message, _judge_message),
}
