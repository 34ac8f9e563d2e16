"""The small messages beside the list, against their declarations in feed.schema."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.codec import FRAME_TYPES, WireError, body_bytes
from feed.datagrams import (
    DECISION_BYTES,
    HOLDER_BYTES,
    REPAIR_BYTES,
    REPLAY_BYTES,
    SUBMISSION_TYPES,
    Decision,
    HolderWord,
    Repair,
    Replay,
    Submission,
    decode_holder_word,
    decode_repair,
    decode_replay,
    encode_decision,
    encode_holder_word,
    encode_repair,
    encode_replay,
    encode_submission,
    is_repair,
    take_decisions,
)
from feed.messages import HOLDER_NAME_BYTES, CancelOrder, SetTradingState, holder_field
from feed.schema import (
    BODIES,
    DECISION,
    HOLDER,
    REPAIR,
    REPLAY,
    SUBMISSION_HEADER,
    FrameType,
    HolderKind,
    RepairKind,
    ReplayKind,
)
from tests.feed.wire import messages, numbers, reference_crc32c, words
from tests.submissions import take_submissions

shorts = st.integers(0, 2**16 - 1)
submissions = st.builds(Submission, words, messages(SUBMISSION_TYPES))
ranges = st.tuples(st.integers(1, 2**64 - 1), words).map(lambda ends: (ends[0], max(ends)))
repairs = st.builds(
    lambda kind, shard, epoch, ends: Repair(kind, shard, epoch, *ends),
    *(st.sampled_from(RepairKind), shorts, numbers, ranges),
)

replays = st.builds(Replay, st.sampled_from(ReplayKind), shorts, numbers, st.integers(1, 2**64 - 1))

names = st.binary(min_size=HOLDER_NAME_BYTES, max_size=HOLDER_NAME_BYTES)
holder_words = st.builds(
    HolderWord, st.sampled_from(HolderKind), shorts, numbers, names, words, numbers, words, words
)
ACK = HolderWord(HolderKind.ACK, 1, 2, holder_field("e1"), 3, 2, 50, 40)


def declared_repair(fields: dict[str, Any]) -> bytes:
    """The repair datagram as feed.schema alone has it, checksum and all."""
    data = REPAIR.build({**fields, "checksum": 0})
    return REPAIR.build({**fields, "checksum": reference_crc32c(data[:10] + data[14:])})


@given(repairs)
@settings(max_examples=200, deadline=None)
def test_a_repair_datagram_is_what_the_schema_declares_both_ways(repair: Repair) -> None:
    data = declared_repair(repair._asdict())
    assert encode_repair(repair) == data
    assert decode_repair(data) == repair
    assert is_repair(data)
    assert len(data) == REPAIR_BYTES


@given(repairs)
@settings(max_examples=50, deadline=None)
def test_any_flipped_bit_or_cut_of_a_repair_datagram_is_noticed(repair: Repair) -> None:
    data = encode_repair(repair)
    for bit in range(8 * len(data)):
        spoiled = bytearray(data)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            decode_repair(bytes(spoiled))
    for size in range(len(data)):
        with pytest.raises(WireError, match="not the size"):
            decode_repair(data[:size])
    with pytest.raises(WireError, match="not the size"):
        decode_repair(data + b"\0")


@given(st.one_of(st.binary(max_size=60), st.binary(min_size=30, max_size=30)))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_no_repair_datagram(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_repair(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": ord("X")}, "unknown kind 88"),
        ({"first_sequence": 0}, "empty range"),
        ({"first_sequence": 9, "last_sequence": 8}, "empty range"),
    ],
)
def test_a_repair_datagram_that_makes_no_sense_is_refused_although_its_checksum_matches(
    change: dict[str, int], reason: str
) -> None:
    fields = Repair(RepairKind.NAK, 1, 1, 5, 8)._asdict()
    assert decode_repair(declared_repair(fields)) == Repair(RepairKind.NAK, 1, 1, 5, 8)
    with pytest.raises(WireError, match=reason):
        decode_repair(declared_repair({**fields, **change}))


def test_a_repair_datagram_of_another_protocol_or_version_is_refused() -> None:
    data = encode_repair(Repair(RepairKind.NAK, 1, 1, 5, 8))
    for foreign in (b"XX" + data[2:], data[:2] + b"\2" + data[3:]):
        with pytest.raises(WireError, match="foreign datagram"):
            decode_repair(foreign)
    assert not is_repair(b"XX" + data[2:])


def declared_holder_word(fields: dict[str, Any]) -> bytes:
    """A holder's datagram as feed.schema alone has it, checksum and all."""
    data = HOLDER.build({**fields, "checksum": 0})
    return HOLDER.build({**fields, "checksum": reference_crc32c(data[:10] + data[14:])})


@given(holder_words)
@settings(max_examples=200, deadline=None)
def test_a_holders_word_is_what_the_schema_declares_both_ways(word: HolderWord) -> None:
    data = declared_holder_word(word._asdict())
    assert encode_holder_word(word) == data
    decoded = decode_holder_word(data)
    assert decoded == word
    assert isinstance(decoded.kind, HolderKind)
    assert len(data) == HOLDER_BYTES


@given(holder_words)
@settings(max_examples=20, deadline=None)
def test_any_flipped_bit_or_cut_of_a_holders_word_is_noticed(word: HolderWord) -> None:
    data = encode_holder_word(word)
    for bit in range(8 * len(data)):
        spoiled = bytearray(data)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            decode_holder_word(bytes(spoiled))
    for size in range(len(data)):
        with pytest.raises(WireError, match="not the size"):
            decode_holder_word(data[:size])
    with pytest.raises(WireError, match="not the size"):
        decode_holder_word(data + b"\0")


@given(st.one_of(st.binary(max_size=80), st.binary(min_size=58, max_size=58)))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_no_holders_word(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_holder_word(data)


def test_a_holders_word_of_no_known_kind_is_refused_although_its_checksum_matches() -> None:
    fields = ACK._asdict()
    assert decode_holder_word(declared_holder_word(fields)) == ACK
    with pytest.raises(WireError, match="unknown kind 88"):
        decode_holder_word(declared_holder_word({**fields, "kind": ord("X")}))


def test_a_holders_word_of_another_protocol_or_version_is_refused() -> None:
    data = encode_holder_word(ACK)
    for foreign in (b"LR" + data[2:], data[:2] + b"\2" + data[3:]):
        with pytest.raises(WireError, match="foreign datagram"):
            decode_holder_word(foreign)


@given(submissions)
@settings(max_examples=200, deadline=None)
def test_a_submission_is_what_the_schema_declares_both_ways(submission: Submission) -> None:
    frame_type = FRAME_TYPES[type(submission.command)]
    header = {
        "length": SUBMISSION_HEADER.sizeof() + BODIES[frame_type].sizeof(),
        "type": int(frame_type),
        "login": submission.login,
    }
    body = BODIES[frame_type].build(submission.command._asdict())
    data = SUBMISSION_HEADER.build(header) + body
    assert encode_submission(submission) == data
    assert take_submissions(bytearray(data)) == [submission]


@given(st.lists(submissions, max_size=8), st.lists(st.integers(0, 500), max_size=8))
@settings(max_examples=200, deadline=None)
def test_submissions_are_the_same_however_tcp_cuts_the_stream(
    sent: list[Submission], cuts: list[int]
) -> None:
    stream = b"".join(map(encode_submission, sent))
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    buffer = bytearray()
    taken = []
    for begin, end in pairwise(ends):
        buffer += stream[begin:end]
        taken += take_submissions(buffer)
    assert taken == sent
    assert buffer == b""


@pytest.mark.parametrize("frame_type", FrameType, ids=lambda frame_type: frame_type.name)
def test_only_what_clients_may_send_is_taken_as_a_submission(frame_type: FrameType) -> None:
    size = body_bytes(frame_type)
    assert size is not None
    header = {"length": SUBMISSION_HEADER.sizeof() + size, "type": int(frame_type), "login": 1}
    data = SUBMISSION_HEADER.build(header) + bytes(size)
    if frame_type in SUBMISSION_TYPES:
        assert len(take_submissions(bytearray(data))) == 1
    else:
        with pytest.raises(WireError, match="not a submission"):
            take_submissions(bytearray(data))


def test_a_submission_of_another_length_than_its_type_has_is_refused_before_it_is_whole() -> None:
    data = bytearray(encode_submission(Submission(1, CancelOrder(1, 1, 0))))
    data[1] += 1
    with pytest.raises(WireError, match="type 88, length 24"):
        take_submissions(data[:11])


def test_what_follows_a_sound_submission_can_still_be_refused() -> None:
    data = bytearray(encode_submission(Submission(1, CancelOrder(1, 1, 0))) + bytes(11))
    with pytest.raises(WireError, match="type 0, length 0"):
        take_submissions(data)


def test_a_command_that_no_client_sends_is_encoded_but_never_taken() -> None:
    data = encode_submission(Submission(1, SetTradingState(b"AAPL    ", ord("H"))))
    with pytest.raises(WireError, match="not a submission"):
        take_submissions(bytearray(data))


@given(st.binary(min_size=11, max_size=300))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_no_submissions(data: bytes) -> None:
    with pytest.raises(WireError):
        take_submissions(bytearray(data))


@given(st.lists(st.builds(Decision, numbers, words, words), max_size=5), st.binary(max_size=19))
@settings(max_examples=200, deadline=None)
def test_decisions_are_what_the_schema_declares_and_a_partial_one_waits(
    decisions: list[Decision], partial: bytes
) -> None:
    data = b"".join(DECISION.build(decision._asdict()) for decision in decisions)
    assert b"".join(map(encode_decision, decisions)) == data
    assert len(data) == DECISION_BYTES * len(decisions)
    buffer = bytearray(data + partial)
    assert take_decisions(buffer) == decisions
    assert buffer == partial


def test_a_decision_tells_which_primarys_list_it_is_about() -> None:
    sent = [Decision(3, 1, 10), Decision(4, 1, 12)]
    assert take_decisions(bytearray(b"".join(map(encode_decision, sent)))) == sent


def declared_replay(fields: dict[str, Any]) -> bytes:
    """The request for a replay as feed.schema alone has it, checksum and all."""
    data = REPLAY.build({**fields, "checksum": 0})
    return REPLAY.build({**fields, "checksum": reference_crc32c(data[:10] + data[14:])})


@given(replays)
@settings(max_examples=100, deadline=None)
def test_a_request_for_a_replay_is_what_the_schema_declares_both_ways(replay: Replay) -> None:
    data = declared_replay(replay._asdict())
    assert encode_replay(replay) == data
    assert decode_replay(data) == replay
    assert len(data) == REPLAY_BYTES


@given(replays)
@settings(max_examples=20, deadline=None)
def test_any_flipped_bit_or_cut_of_a_request_for_a_replay_is_noticed(replay: Replay) -> None:
    data = encode_replay(replay)
    for bit in range(8 * len(data)):
        spoiled = bytearray(data)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            decode_replay(bytes(spoiled))
    for wrong in (*(data[:size] for size in range(len(data))), data + b"\0"):
        with pytest.raises(WireError, match="not the size"):
            decode_replay(wrong)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"kind": ord("X")}, "unknown kind 88"), ({"first_sequence": 0}, "begins with sequence")],
)
def test_a_request_that_makes_no_sense_is_refused_although_its_checksum_matches(
    change: dict[str, int], reason: str
) -> None:
    fields = Replay(ReplayKind.STATE, 1, 1, 5)._asdict()
    assert decode_replay(declared_replay(fields)) == Replay(ReplayKind.STATE, 1, 1, 5)
    with pytest.raises(WireError, match=reason):
        decode_replay(declared_replay({**fields, **change}))
