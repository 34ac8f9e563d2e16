"""Repair datagrams, requests for a replay, what holders say, and the gateway's submissions.

The small messages beside the list itself, on structs compiled from `feed.schema`.
"""

import struct
from typing import NamedTuple, cast

from feed import schema
from feed.checksum import CHECKSUM_BYTES, checksum_around
from feed.codec import COMMAND_TYPES, FRAME_TYPES, WireError, body_bytes, decode_body, encode_body
from feed.messages import Command
from feed.schema import FrameType, HolderKind, RepairKind, ReplayKind

_REPAIR = struct.Struct(">" + schema.struct_format(schema.REPAIR))
_REPAIR_CHECKSUM_AT = schema.field_offset(schema.REPAIR, "checksum")
_CHECKSUM = struct.Struct(">I")
_SUBMISSION_HEADER = struct.Struct(">" + schema.struct_format(schema.SUBMISSION_HEADER))
_HOLDER = struct.Struct(">" + schema.struct_format(schema.HOLDER))
_HOLDER_CHECKSUM_AT = schema.field_offset(schema.HOLDER, "checksum")
_REPLAY = struct.Struct(">" + schema.struct_format(schema.REPLAY))
_REPLAY_CHECKSUM_AT = schema.field_offset(schema.REPLAY, "checksum")
_DECISION = struct.Struct(">" + schema.struct_format(schema.DECISION))

REPAIR_BYTES = _REPAIR.size
HOLDER_BYTES = _HOLDER.size
REPLAY_BYTES = _REPLAY.size
DECISION_BYTES = _DECISION.size
_HOLDER_KINDS = frozenset(map(int, HolderKind))
_REPLAY_KINDS = frozenset(map(int, ReplayKind))
SUBMISSION_TYPES = frozenset(
    {
        FrameType.LOG_IN,
        FrameType.ENTER_ORDER,
        FrameType.REPLACE_ORDER,
        FrameType.CANCEL_ORDER,
        FrameType.MASS_CANCEL,
        FrameType.SHARD_MARK,
    }
)


class Repair(NamedTuple):
    """A NAK, or the answer that frames are missing: an inclusive range of sequence numbers."""

    kind: RepairKind
    shard: int
    epoch: int
    first_sequence: int
    last_sequence: int


class Replay(NamedTuple):
    """A request over TCP, for all that is committed from a sequence number on."""

    kind: ReplayKind
    shard: int
    epoch: int  # the highest that the asker knows
    first_sequence: int


class HolderWord(NamedTuple):
    """What one holder tells another; `HolderKind` says what for.

    `epoch` is the newest that the speaker knows, `last_epoch` and `last_sequence` say where its
    list ends: the epoch that its last frame belongs to, and that frame's sequence number.
    """

    kind: HolderKind
    shard: int
    epoch: int
    holder: bytes  # who speaks, as `messages.holder_field` makes it
    incarnation: int  # drawn anew each time that the speaker's process starts
    last_epoch: int
    last_sequence: int
    committed_sequence: int


class Submission(NamedTuple):
    """A command on its way to the primary, under the log-in that it was sent with."""

    login: int
    command: Command


class Decision(NamedTuple):
    """The primary's word: what came up to `submission` stands, if at all, up to `sequence`.

    That holds for the list of its epoch; a later primary may have decided otherwise.
    """

    epoch: int  # of the primary that says so
    submission: int  # counted from 1 on each connection
    sequence: int


def encode_repair(repair: Repair) -> bytes:
    """The bytes of a NAK or of its answer."""
    kind, shard, epoch, first_sequence, last_sequence = repair
    data = _REPAIR.pack(
        schema.REPAIR_MAGIC,
        schema.WIRE_VERSION,
        kind,
        shard,
        epoch,
        0,
        first_sequence,
        last_sequence,
    )
    return _with_checksum(data, _REPAIR_CHECKSUM_AT)


def is_repair(data: bytes) -> bool:
    """Whether a datagram claims to be a repair datagram, and not a packet."""
    return data.startswith(schema.REPAIR_MAGIC)


def decode_repair(data: bytes) -> Repair:
    """The NAK or answer in a datagram.

    Raises WireError when it is of another size, version or kind, fails its checksum, or its range
    is empty.
    """
    if len(data) != REPAIR_BYTES:
        raise WireError("not the size of a repair datagram")
    magic, version, kind, shard, epoch, checksum, first, last = _REPAIR.unpack(data)
    if magic != schema.REPAIR_MAGIC or version != schema.WIRE_VERSION:
        raise WireError("foreign datagram: no magic, or another version")
    if checksum != checksum_around(data, _REPAIR_CHECKSUM_AT):
        raise WireError("repair checksum does not match")
    if kind not in (RepairKind.NAK, RepairKind.MISSING):
        raise WireError(f"unknown kind {kind} of repair datagram")
    if not 1 <= first <= last:
        raise WireError("empty range of sequence numbers")
    return Repair(RepairKind(kind), shard, epoch, first, last)


def encode_replay(request: Replay) -> bytes:
    """The bytes of a request for a replay."""
    kind, shard, epoch, first_sequence = request
    data = _REPLAY.pack(
        schema.REPLAY_MAGIC, schema.WIRE_VERSION, kind, shard, epoch, 0, first_sequence
    )
    return _with_checksum(data, _REPLAY_CHECKSUM_AT)


def decode_replay(data: bytes) -> Replay:
    """The request for a replay in these bytes.

    Raises WireError when they are of another size, version or kind, fail their checksum, or ask
    for what comes before the list.
    """
    if len(data) != REPLAY_BYTES:
        raise WireError("not the size of a request for a replay")
    magic, version, kind, shard, epoch, checksum, first = _REPLAY.unpack(data)
    if magic != schema.REPLAY_MAGIC or version != schema.WIRE_VERSION:
        raise WireError("foreign request: no magic, or another version")
    if checksum != checksum_around(data, _REPLAY_CHECKSUM_AT):
        raise WireError("checksum of the request does not match")
    if kind not in _REPLAY_KINDS:
        raise WireError(f"unknown kind {kind} of request for a replay")
    if first < 1:
        raise WireError("the list begins with sequence number 1")
    return Replay(ReplayKind(kind), shard, epoch, first)


def encode_holder_word(word: HolderWord) -> bytes:
    """The bytes of what one holder tells another."""
    kind, shard, epoch, *rest = word
    data = _HOLDER.pack(schema.HOLDER_MAGIC, schema.WIRE_VERSION, kind, shard, epoch, 0, *rest)
    return _with_checksum(data, _HOLDER_CHECKSUM_AT)


def decode_holder_word(data: bytes) -> HolderWord:
    """What a holder says in a datagram.

    Raises WireError when it is of another size, version or kind, or fails its checksum.
    """
    if len(data) != HOLDER_BYTES:
        raise WireError("not the size of a holder's datagram")
    magic, version, kind, shard, epoch, checksum, *rest = _HOLDER.unpack(data)
    if magic != schema.HOLDER_MAGIC or version != schema.WIRE_VERSION:
        raise WireError("foreign datagram: no magic, or another version")
    if checksum != checksum_around(data, _HOLDER_CHECKSUM_AT):
        raise WireError("holder checksum does not match")
    if kind not in _HOLDER_KINDS:
        raise WireError(f"unknown kind {kind} of holder's datagram")
    return HolderWord(HolderKind(kind), shard, epoch, *rest)


def encode_submission(submission: Submission) -> bytes:
    """The bytes of a command on its way to the primary."""
    body = encode_body(submission.command)
    frame_type = FRAME_TYPES[type(submission.command)]
    length = _SUBMISSION_HEADER.size + len(body)
    return _SUBMISSION_HEADER.pack(length, frame_type, submission.login) + body


def decode_submissions(data: bytes) -> list[Submission]:
    """The commands in whole submissions, of any type: what a gateway may send is another matter.

    Raises WireError when the bytes are no whole submissions of commands.
    """
    submissions = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < _SUBMISSION_HEADER.size:
            raise WireError("truncated submission")
        length, frame_type, login = _SUBMISSION_HEADER.unpack_from(data, offset)
        size = body_bytes(frame_type) if frame_type in COMMAND_TYPES else None
        if size is None or length != _SUBMISSION_HEADER.size + size:
            raise WireError(f"not a submission: type {frame_type}, length {length}")
        command = decode_body(frame_type, data, offset + _SUBMISSION_HEADER.size)
        submissions.append(Submission(login, cast(Command, command)))
        offset += length
    return submissions


def encode_decision(decision: Decision) -> bytes:
    """The bytes of the primary's answer to submissions."""
    return _DECISION.pack(*decision)


def take_decisions(buffer: bytearray) -> list[Decision]:
    """The whole decisions at the front of `buffer`, which are taken off it."""
    whole = len(buffer) // DECISION_BYTES * DECISION_BYTES
    taken = [Decision._make(fields) for fields in _DECISION.iter_unpack(bytes(buffer[:whole]))]
    del buffer[:whole]
    return taken


def _with_checksum(data: bytes, checksum_at: int) -> bytes:
    checksum = _CHECKSUM.pack(checksum_around(data, checksum_at))
    return data[:checksum_at] + checksum + data[checksum_at + CHECKSUM_BYTES :]
