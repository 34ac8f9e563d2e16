# cython: language_level=3
# distutils: include_dirs = feed
# distutils: depends = feed/wire.h feed/wire.pxd feed/layout.pxd
# distutils: extra_compile_args = -O3
"""The compiled twin of `feed._frames_py`: many frames in one call, read where they stand.

Nothing is read beyond the end of the bytes, be they verified or not: where the twin in plain Python
relies on the caller's word that they are frames, WireError is raised here.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from feed cimport wire
from feed.layout cimport *

from struct import error as StructError

from feed._frames_py import BatchScan, GroupScan, PacketScan, Summary
from feed.codec import COMMAND_TYPES, Frame, PacketHeader, WireError, body_bytes
from feed.datagrams import SUBMISSION_TYPES
from feed.schema import FrameType

cdef extern from "Python.h":
    PyTypeObject PyTuple_Type

wire.crc32c_prepare()

cdef enum Fault:
    FAULT_NONE
    FAULT_HEADER_SHORT
    FAULT_MAGIC
    FAULT_VERSION
    FAULT_HEADER_CHECKSUM
    FAULT_HEADER_IMPOSSIBLE
    FAULT_PREFIX
    FAULT_TRUNCATED
    FAULT_CHECKSUM
    FAULT_SEQUENCE
    FAULT_LEFT_OVER

cdef dict _FAULT_TEXTS = {
    FAULT_HEADER_SHORT: "shorter than a packet header",
    FAULT_MAGIC: "foreign packet: no magic",
    FAULT_HEADER_CHECKSUM: "packet header checksum does not match",
    FAULT_HEADER_IMPOSSIBLE: "impossible packet header",
    FAULT_PREFIX: "not the beginning of a frame: unknown length, type or flags",
    FAULT_TRUNCATED: "truncated frame",
    FAULT_CHECKSUM: "frame checksum does not match",
    FAULT_SEQUENCE: "frames out of sequence within a packet",
    FAULT_LEFT_OVER: "bytes left over after the last frame",
}

cdef struct Kind:
    # What has to stand in the first four bytes of a frame of one type.
    uint16_t length  # 0 where there is no such type
    uint16_t submission_length  # 0 where no submission is of this type
    uint8_t flags  # without END, which any frame may have
    uint32_t[2] checksums  # of these four bytes, without END and with it

cdef struct Header:
    uint8_t flags
    uint16_t shard
    uint16_t frame_count
    uint32_t epoch
    uint64_t first_sequence
    uint64_t committed_sequence

cdef struct Counts:
    Py_ssize_t frame_count
    uint64_t end_sequence
    uint32_t types

cdef Kind[256] _kinds
cdef list _frame_types = [None] * 256  # the members of FrameType, by their letters


def _fill_kinds():
    cdef Kind *kind
    cdef uint8_t[FRAME_HEADER_CHECKSUM_AT] prefix
    memset(_kinds, 0, sizeof(_kinds))
    for frame_type in FrameType:
        kind = &_kinds[<uint8_t>frame_type]
        kind.length = FRAME_HEADER_BYTES + body_bytes(frame_type)
        opens = frame_type in COMMAND_TYPES or frame_type is FrameType.SNAPSHOT
        kind.flags = FRAME_FLAG_COMMAND if opens else 0
        if frame_type in SUBMISSION_TYPES:
            kind.submission_length = SUBMISSION_HEADER_BYTES + body_bytes(frame_type)
        wire.store_u16(&prefix[FRAME_HEADER_LENGTH_AT], kind.length)
        prefix[FRAME_HEADER_TYPE_AT] = frame_type
        for is_end in range(2):
            prefix[FRAME_HEADER_FLAGS_AT] = kind.flags | (FRAME_FLAG_END if is_end else 0)
            kind.checksums[is_end] = wire.crc32c(0, prefix, FRAME_HEADER_CHECKSUM_AT)
        _frame_types[frame_type] = frame_type


_fill_kinds()


def scan_packet(bytes data not None):
    """Verify a packet; raises WireError as `feed.codec.decode_packet` does."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Header header
    cdef Counts counts = Counts(0, 0, 0)
    cdef Fault fault = read_header(at, size, &header)
    if fault == FAULT_NONE:
        fault = verify_frames(at, size, &header, &counts)
    if fault == FAULT_VERSION:
        version = at[PACKET_HEADER_VERSION_AT]
        raise WireError(f"packet of version {version}, not {WIRE_VERSION}")
    refuse(fault)
    fields = (
        header.flags,
        header.shard,
        header.epoch,
        header.first_sequence,
        header.committed_sequence,
    )
    return named(PacketScan, (named(PacketHeader, fields), summary_of(&counts)))


def scan_batch(datagrams, start, long long shard, long long epoch, next_sequence):
    """Take datagrams from index `start` on, as long as each is just what is to come.

    See `feed._frames_py.scan_batch`.
    """
    cdef list batch = list(datagrams[start:])
    cdef Header header
    cdef Counts counts = Counts(0, 0, 0)
    cdef uint64_t next_first, committed = 0
    cdef Py_ssize_t packets = 0, heartbeats = 0, total = 0, size
    cdef const uint8_t *at
    cdef bytes data
    # The one after the last number that there is: no packet can begin with it.
    next_first = next_sequence if 0 <= next_sequence <= UINT64_MAX else 0
    for data in batch:
        at = <const uint8_t *>PyBytes_AS_STRING(data)
        size = PyBytes_GET_SIZE(data)
        if read_header(at, size, &header) != FAULT_NONE:
            break
        if header.flags & PACKET_FLAG_RETRANSMISSION or header.shard != shard:
            break
        if header.epoch != epoch or header.first_sequence != next_first:
            break
        # One less first: the last frame may have the highest number that there is.
        if header.committed_sequence > header.first_sequence - 1 + header.frame_count:
            break
        if verify_frames(at, size, &header, &counts) != FAULT_NONE:
            break
        packets += 1
        heartbeats += header.frame_count == 0
        committed = max(committed, header.committed_sequence)
        next_first += header.frame_count  # 0 after the last number: nothing follows
        total += size - PACKET_HEADER_BYTES
    return named(
        BatchScan,
        (packets, heartbeats, committed, join_frames(batch, packets, total), summary_of(&counts)),
    )


def scan_frames(bytes data not None, first_sequence):
    """How many bytes at the front are intact frames, numbered from `first_sequence` on.

    See `feed._frames_py.scan_frames`.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), offset = 0, length = 0
    cdef Counts counts = Counts(0, 0, 0)
    cdef uint64_t expected
    if not 0 <= first_sequence <= UINT64_MAX:
        return 0, summary_of(&counts)  # no frame can have such a number
    expected = first_sequence
    while offset < size:
        if verify_frame(at + offset, size - offset, &length) != FAULT_NONE:
            break
        if wire.load_u64(at + offset + FRAME_HEADER_SEQUENCE_AT) != expected:
            break
        count_frame(at + offset, &counts)
        offset += length
        if expected == UINT64_MAX:
            break
        expected += 1
    return offset, summary_of(&counts)


def summarize(bytes frames not None):
    """What there is in verified frames."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(frames)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(frames)
    cdef Counts counts = Counts(0, 0, 0)
    cdef Py_ssize_t length = 0
    while at < end:
        refuse(measure_frame(at, end - at, &length))
        count_frame(at, &counts)
        at += length
    return summary_of(&counts)


def cut_frames(bytes frames not None, Py_ssize_t skip, Py_ssize_t count):
    """The `count` verified frames after the first `skip`, as far as there are so many."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(frames)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(frames), length = 0, begin, end
    cdef Counts counts = Counts(0, 0, 0)
    begin = skip_frames(at, size, skip)
    end = begin
    while end < size and counts.frame_count < count:
        refuse(measure_frame(at + end, size - end, &length))
        count_frame(at + end, &counts)
        end += length
    return frames[begin:end], summary_of(&counts)


def read_frames(bytes frames not None):
    """Verified frames, each by itself."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(frames)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(frames)
    cdef Py_ssize_t length = 0
    cdef list read = []
    while at < end:
        refuse(measure_frame(at, end - at, &length))
        fields = (
            _frame_types[at[FRAME_HEADER_TYPE_AT]],
            at[FRAME_HEADER_FLAGS_AT],
            wire.load_u64(at + FRAME_HEADER_SEQUENCE_AT),
            wire.load_u64(at + FRAME_HEADER_TIME_NS_AT),
            PyBytes_FromStringAndSize(<const char *>at, length),
        )
        read.append(named(Frame, fields))
        at += length
    return read


def whole_groups(bytes frames not None, bint is_open):
    """How far whole groups go in verified frames.

    `is_open` says that the first frame goes on with a group that has begun before.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(frames)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(frames), offset = 0, length = 0
    cdef Py_ssize_t index = 0, whole_count = 0, whole_size = 0, broken_at = -1
    cdef uint8_t flags
    while offset < size:
        refuse(measure_frame(at + offset, size - offset, &length))
        flags = at[offset + FRAME_HEADER_FLAGS_AT]
        if (flags & FRAME_FLAG_COMMAND != 0) == is_open:
            broken_at = index
            break
        is_open = not flags & FRAME_FLAG_END
        offset += length
        index += 1
        if not is_open:
            whole_count = index
            whole_size = offset
    return named(GroupScan, (whole_count, whole_size, broken_at))


def encode_packets(header, bytes frames not None, Py_ssize_t payload_limit_bytes):
    """Verified frames in as few packets as hold them, each of `payload_limit_bytes` at most.

    See `feed._frames_py.encode_packets`.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(frames)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(frames), size, length = 0, count
    cdef Py_ssize_t room = payload_limit_bytes - PACKET_HEADER_BYTES
    cdef uint64_t sequence, last, committed
    cdef Header own
    cdef list packets = []
    own.flags, own.shard, own.epoch, sequence, committed = header
    while left:
        size = count = 0
        while size < left:
            refuse(measure_frame(at + size, left - size, &length))
            if count and size + length > room:
                break
            size += length
            count += 1
        if count > 0xFFFF:
            raise StructError("more frames than a packet's header can count")
        last = sequence + count - 1 if sequence <= UINT64_MAX - (count - 1) else UINT64_MAX
        own.frame_count = count
        own.first_sequence = sequence
        own.committed_sequence = min(committed, last)
        packets.append(make_packet(&own, at, size))
        at += size
        left -= size
        if left and sequence > UINT64_MAX - count:
            raise StructError("more frames than there are sequence numbers")
        sequence += count
    return packets


def whole_submissions(bytes data not None):
    """How many bytes at the beginning are whole submissions, and how many submissions they are.

    Raises WireError when the bytes can't be submissions; the stream can't be read any further.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), offset = 0, count = 0
    cdef uint16_t length
    cdef uint8_t frame_type
    while size - offset >= SUBMISSION_HEADER_BYTES:
        length = wire.load_u16(at + offset + SUBMISSION_HEADER_LENGTH_AT)
        frame_type = at[offset + SUBMISSION_HEADER_TYPE_AT]
        if not length or length != _kinds[frame_type].submission_length:
            raise WireError(f"not a submission: type {frame_type}, length {length}")
        if size - offset < length:
            break
        offset += length
        count += 1
    return offset, count


cdef Fault read_header(const uint8_t *at, Py_ssize_t size, Header *header) noexcept nogil:
    """The header at the beginning of a packet, after the same checks in the same order."""
    cdef uint32_t checksum
    if size < PACKET_HEADER_BYTES:
        return FAULT_HEADER_SHORT
    if wire.load_u16(at + PACKET_HEADER_MAGIC_AT) != PACKET_MAGIC:
        return FAULT_MAGIC
    if at[PACKET_HEADER_VERSION_AT] != WIRE_VERSION:
        return FAULT_VERSION
    if wire.load_u32(at + PACKET_HEADER_CHECKSUM_AT) != header_checksum(at):
        return FAULT_HEADER_CHECKSUM
    header.flags = at[PACKET_HEADER_FLAGS_AT]
    header.shard = wire.load_u16(at + PACKET_HEADER_SHARD_AT)
    header.frame_count = wire.load_u16(at + PACKET_HEADER_FRAME_COUNT_AT)
    header.epoch = wire.load_u32(at + PACKET_HEADER_EPOCH_AT)
    header.first_sequence = wire.load_u64(at + PACKET_HEADER_FIRST_SEQUENCE_AT)
    header.committed_sequence = wire.load_u64(at + PACKET_HEADER_COMMITTED_SEQUENCE_AT)
    if header.flags & ~(
        PACKET_FLAG_HEARTBEAT | PACKET_FLAG_RETRANSMISSION | PACKET_FLAG_COMMIT
        | PACKET_FLAG_SNAPSHOT
    ):
        return FAULT_HEADER_IMPOSSIBLE
    if header.flags & PACKET_FLAG_HEARTBEAT:
        if header.frame_count:
            return FAULT_HEADER_IMPOSSIBLE
    elif header.flags & PACKET_FLAG_COMMIT:
        return FAULT_HEADER_IMPOSSIBLE
    if header.first_sequence == 0:
        return FAULT_HEADER_IMPOSSIBLE
    return FAULT_NONE


cdef uint32_t header_checksum(const uint8_t *at) noexcept nogil:
    """The checksum of a packet's header, without the field that is to hold it."""
    cdef uint32_t before = wire.crc32c(0, at, PACKET_HEADER_CHECKSUM_AT)
    return wire.crc32c(
        before, at + PACKET_HEADER_FIRST_SEQUENCE_AT,
        PACKET_HEADER_BYTES - PACKET_HEADER_FIRST_SEQUENCE_AT,
    )


cdef Fault verify_frames(
    const uint8_t *packet, Py_ssize_t size, const Header *header, Counts *counts
) noexcept nogil:
    """Check every frame of a packet whose header was read, and add them to `counts`.

    After a fault `counts` is what it was before.
    """
    cdef Counts found = counts[0]
    cdef Py_ssize_t offset = PACKET_HEADER_BYTES, length = 0
    cdef const uint8_t *at
    cdef uint64_t sequence
    cdef int i
    cdef Fault fault
    for i in range(header.frame_count):
        at = packet + offset
        fault = verify_frame(at, size - offset, &length)
        if fault != FAULT_NONE:
            return fault
        sequence = wire.load_u64(at + FRAME_HEADER_SEQUENCE_AT)
        # The difference instead of the sum, which would wrap after the last number there is.
        if sequence < header.first_sequence or sequence - header.first_sequence != <uint64_t>i:
            return FAULT_SEQUENCE
        count_frame(at, &found)
        offset += length
    if offset != size:
        return FAULT_LEFT_OVER
    counts[0] = found
    return FAULT_NONE


cdef inline Fault verify_frame(
    const uint8_t *at, Py_ssize_t left, Py_ssize_t *length
) noexcept nogil:
    """The same as `measure_frame`, of a frame whose checksum has to be right too."""
    cdef Fault fault = measure_frame(at, left, length)
    if fault != FAULT_NONE:
        return fault
    if wire.load_u32(at + FRAME_HEADER_CHECKSUM_AT) != frame_checksum(at, length[0]):
        return FAULT_CHECKSUM
    return FAULT_NONE


cdef inline Fault measure_frame(
    const uint8_t *at, Py_ssize_t left, Py_ssize_t *length
) noexcept nogil:
    """The length of the frame at `at`, where `left` bytes are left, if one may stand there."""
    cdef const Kind *kind
    if left < FRAME_HEADER_CHECKSUM_AT:
        return FAULT_PREFIX
    kind = &_kinds[at[FRAME_HEADER_TYPE_AT]]
    length[0] = wire.load_u16(at + FRAME_HEADER_LENGTH_AT)
    if not kind.length or length[0] != kind.length:
        return FAULT_PREFIX
    if at[FRAME_HEADER_FLAGS_AT] & ~FRAME_FLAG_END != kind.flags:
        return FAULT_PREFIX
    if length[0] > left:
        return FAULT_TRUNCATED
    return FAULT_NONE


cdef Py_ssize_t skip_frames(const uint8_t *at, Py_ssize_t size, Py_ssize_t count) except -1:
    """Where the first `count` of the frames at `at` end, or where all do."""
    cdef Py_ssize_t offset = 0, length = 0
    while count > 0 and offset < size:
        refuse(measure_frame(at + offset, size - offset, &length))
        offset += length
        count -= 1
    return offset


cdef inline uint32_t frame_checksum(const uint8_t *at, Py_ssize_t length) noexcept nogil:
    """The checksum of a frame that was measured, without the field that is to hold it."""
    cdef bint is_end = at[FRAME_HEADER_FLAGS_AT] & FRAME_FLAG_END != 0
    return wire.crc32c(
        _kinds[at[FRAME_HEADER_TYPE_AT]].checksums[is_end],
        at + FRAME_HEADER_SEQUENCE_AT,
        length - FRAME_HEADER_SEQUENCE_AT,
    )


cdef inline void count_frame(const uint8_t *at, Counts *counts) noexcept nogil:
    counts.frame_count += 1
    counts.types |= <uint32_t>1 << (at[FRAME_HEADER_TYPE_AT] - c'A')
    if at[FRAME_HEADER_FLAGS_AT] & FRAME_FLAG_END:
        counts.end_sequence = wire.load_u64(at + FRAME_HEADER_SEQUENCE_AT)


cdef inline int refuse(Fault fault) except -1:
    """Raise the WireError that a fault is, if it is one."""
    if fault != FAULT_NONE:
        raise WireError(_FAULT_TEXTS[fault])
    return 0


cdef bytes join_frames(list packets, Py_ssize_t count, Py_ssize_t total):
    """The frames of the first `count` packets, `total` bytes, back to back."""
    cdef bytes joined = PyBytes_FromStringAndSize(NULL, total)
    cdef char *to = PyBytes_AS_STRING(joined)
    cdef Py_ssize_t size, i
    cdef bytes packet
    for i in range(count):
        packet = packets[i]
        size = PyBytes_GET_SIZE(packet) - PACKET_HEADER_BYTES
        memcpy(to, PyBytes_AS_STRING(packet) + PACKET_HEADER_BYTES, size)
        to += size
    return joined


cdef bytes make_packet(const Header *header, const uint8_t *frames, Py_ssize_t size):
    cdef bytes packet = PyBytes_FromStringAndSize(NULL, PACKET_HEADER_BYTES + size)
    cdef uint8_t *at = <uint8_t *>PyBytes_AS_STRING(packet)
    wire.store_u16(at + PACKET_HEADER_MAGIC_AT, PACKET_MAGIC)
    at[PACKET_HEADER_VERSION_AT] = WIRE_VERSION
    at[PACKET_HEADER_FLAGS_AT] = header.flags
    wire.store_u16(at + PACKET_HEADER_SHARD_AT, header.shard)
    wire.store_u16(at + PACKET_HEADER_FRAME_COUNT_AT, header.frame_count)
    wire.store_u32(at + PACKET_HEADER_EPOCH_AT, header.epoch)
    wire.store_u64(at + PACKET_HEADER_FIRST_SEQUENCE_AT, header.first_sequence)
    wire.store_u64(at + PACKET_HEADER_COMMITTED_SEQUENCE_AT, header.committed_sequence)
    wire.store_u32(at + PACKET_HEADER_CHECKSUM_AT, header_checksum(at))
    memcpy(at + PACKET_HEADER_BYTES, frames, size)
    return packet


cdef inline object summary_of(const Counts *counts):
    return named(Summary, (counts.frame_count, counts.end_sequence, counts.types))


cdef inline object named(object kind, tuple fields):
    """A NamedTuple of these fields, without a call of its constructor, which is in Python."""
    cdef tuple arguments = (fields,)
    return PyTuple_Type.tp_new(<type>kind, <PyObject *>arguments, NULL)
