"""Many frames in one call, in plain Python: what `feed._frames_c` does, and has to do alike.

Frames stand back to back in bytes. Where a function says "verified", they are from a packet that
passed every check, or from this process's own machine: nothing is checked again.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from feed import schema
from feed.codec import (
    COMMAND,
    END,
    PACKET_HEADER_BYTES,
    RETRANSMISSION,
    Frame,
    PacketHeader,
    WireError,
    body_bytes,
    decode_frame,
    decode_packet,
    decode_verified,
    encode_packet,
)
from feed.datagrams import SUBMISSION_TYPES

_LENGTH_BYTES = 2
_SUBMISSION_HEADER_BYTES = schema.SUBMISSION_HEADER.sizeof()


class Summary(NamedTuple):
    """What one look at consecutive frames tells."""

    frame_count: int
    end_sequence: int  # of the last END-marked frame; 0 without any
    types: int  # which types there are: bit n stands for letter n of the alphabet, from 0


class PacketScan(NamedTuple):
    """A packet that passed every check: its header, and its frames, which follow that."""

    header: PacketHeader
    summary: Summary


class BatchScan(NamedTuple):
    """The datagrams of a batch that were just what was to come next."""

    packets: int  # how many of the datagrams
    heartbeats: int  # how many of these had no frames
    committed_sequence: int  # the highest that they named
    frames: bytes
    summary: Summary


class GroupScan(NamedTuple):
    """The whole groups at the beginning of some frames."""

    frame_count: int  # up to the end of the last whole group
    size: int  # their bytes
    broken_at: int  # the index of the first frame that can't stand where it does; -1 without any


def scan_packet(data: bytes) -> PacketScan:
    """Verify a packet; raises WireError as `feed.codec.decode_packet` does."""
    header, frames = decode_packet(data)
    return PacketScan(header, _summary(frames))


def scan_batch(
    datagrams: Sequence[bytes], start: int, shard: int, epoch: int, next_sequence: int
) -> BatchScan:
    """Take datagrams from index `start` on, as long as each is just what is to come.

    That is an intact packet of this shard and epoch, no retransmission, whose first frame, or the
    next one where it has none, follows on those before it, the first on `next_sequence`; and that
    names nothing as committed beyond its own last frame. The first other one ends it, unread.
    """
    packets = heartbeats = committed = 0
    taken: list[Frame] = []
    for data in datagrams[start:]:
        try:
            header, frames = decode_packet(data)
        except WireError:
            break
        found = (header.shard, header.epoch, header.first_sequence)
        expected = (shard, epoch, next_sequence + len(taken))
        if header.flags & RETRANSMISSION or found != expected:
            break
        if header.committed_sequence > next_sequence + len(taken) + len(frames) - 1:
            break
        packets += 1
        heartbeats += not frames
        committed = max(committed, header.committed_sequence)
        taken += frames
    data = b"".join(frame.data for frame in taken)
    return BatchScan(packets, heartbeats, committed, data, _summary(taken))


def scan_frames(data: bytes, first_sequence: int) -> tuple[int, Summary]:
    """How many bytes at the front are intact frames, numbered from `first_sequence` on.

    And what there is in these. Nothing is known of the bytes: each frame is checked.
    """
    offset = 0
    taken: list[Frame] = []
    while offset < len(data):
        try:
            frame = decode_frame(data, offset)
        except WireError:
            break
        if frame.sequence != first_sequence + len(taken):
            break
        taken.append(frame)
        offset += len(frame.data)
    return offset, _summary(taken)


def summarize(frames: bytes) -> Summary:
    """What there is in verified frames."""
    return _summary(read_frames(frames))


def cut_frames(frames: bytes, skip: int, count: int) -> tuple[bytes, Summary]:
    """The `count` verified frames after the first `skip`, as far as there are so many."""
    begin = _offset_after(frames, skip)
    cut = frames[begin : begin + _offset_after(frames[begin:], count)]
    return cut, summarize(cut)


def read_frames(frames: bytes) -> list[Frame]:
    """Verified frames, each by itself."""
    return list(_frames(frames))


def whole_groups(frames: bytes, is_open: bool) -> GroupScan:
    """How far whole groups go in verified frames.

    `is_open` says that the first frame goes on with a group that has begun before.
    """
    count = size = offset = 0
    for index, frame in enumerate(_frames(frames)):
        if bool(frame.flags & COMMAND) is is_open:
            return GroupScan(count, size, index)
        is_open = not frame.flags & END
        offset += len(frame.data)
        if not is_open:
            count, size = index + 1, offset
    return GroupScan(count, size, -1)


def encode_packets(header: PacketHeader, frames: bytes, payload_limit_bytes: int) -> list[bytes]:
    """Verified frames in as few packets as hold them, each of `payload_limit_bytes` at most.

    The header's first sequence number is that of the first frame. None of the packets names a
    frame as committed that comes after its own last.
    """
    packets = []
    sequence = header.first_sequence
    chunk: list[bytes] = []
    room = payload_limit_bytes - PACKET_HEADER_BYTES

    def close() -> None:
        last = sequence + len(chunk) - 1
        committed = min(header.committed_sequence, last)
        own = header._replace(first_sequence=sequence, committed_sequence=committed)
        packets.append(encode_packet(own, chunk))

    size = 0
    for frame in _frames(frames):
        if chunk and size + len(frame.data) > room:
            close()
            sequence += len(chunk)
            chunk, size = [], 0
        chunk.append(frame.data)
        size += len(frame.data)
    if chunk:
        close()
    return packets


def whole_submissions(data: bytes) -> tuple[int, int]:
    """How many bytes at the beginning are whole submissions, and how many submissions they are.

    Raises WireError when the bytes can't be submissions; the stream can't be read any further.
    """
    offset = count = 0
    while len(data) - offset >= _SUBMISSION_HEADER_BYTES:
        length = int.from_bytes(data[offset : offset + _LENGTH_BYTES], "big")
        frame_type = data[offset + _LENGTH_BYTES]
        size = body_bytes(frame_type) if frame_type in SUBMISSION_TYPES else None
        if size is None or length != _SUBMISSION_HEADER_BYTES + size:
            raise WireError(f"not a submission: type {frame_type}, length {length}")
        if len(data) - offset < length:
            break
        offset += length
        count += 1
    return offset, count


def _frames(frames: bytes) -> Iterator[Frame]:
    offset = 0
    while offset < len(frames):
        frame = decode_verified(frames, offset)
        yield frame
        offset += len(frame.data)


def _offset_after(frames: bytes, count: int) -> int:
    """Where the first `count` of some verified frames end; the end of all when there are fewer."""
    offset = 0
    while count > 0 and offset < len(frames):
        offset += int.from_bytes(frames[offset : offset + _LENGTH_BYTES], "big")
        count -= 1
    return offset


def _summary(frames: Sequence[Frame]) -> Summary:
    end_sequence = types = 0
    for frame in frames:
        types |= 1 << frame.type - ord("A")
        if frame.flags & END:
            end_sequence = frame.sequence
    return Summary(len(frames), end_sequence, types)
