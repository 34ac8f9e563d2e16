# cython: language_level=3
"""Marks: how far the lists of other shards had come, by shard in a table. As in `engine.market`."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from engine.layout cimport REJECT_REASON_INVALID_MARK
from engine.records cimport MAX_MARKS, Core
from engine.rules cimport DONE, NOBODY, reject
from feed.layout cimport SHARD_MARK_SEQUENCE_AT, SHARD_MARK_SHARD_AT
from feed.wire cimport load_u16, load_u64


cdef inline uint32_t mark_place(const Core *core, uint16_t shard) noexcept nogil:
    """The place of this shard's mark, or where it belongs."""
    cdef uint32_t place = 0
    while place < core.mark_count and core.marks[place].shard < shard:
        place += 1
    return place


cdef inline bint is_marked(const Core *core, uint32_t place, uint16_t shard) noexcept nogil:
    """Whether the mark at the place where this shard's belongs is this shard's."""
    return place < core.mark_count and core.marks[place].shard == shard


cdef inline bint admits_mark(const Core *core, const uint8_t *body) noexcept nogil:
    """Whether a SHARD_MARK is later than the one before, or the first of its shard."""
    cdef uint16_t shard = load_u16(body + SHARD_MARK_SHARD_AT)
    cdef uint64_t sequence = load_u64(body + SHARD_MARK_SEQUENCE_AT)
    cdef uint32_t place = mark_place(core, shard)
    if shard == 0:
        return False
    if is_marked(core, place, shard):
        return sequence > core.marks[place].sequence
    return sequence > 0 and core.mark_count < MAX_MARKS


cdef inline int mark(Core *core, const uint8_t *body) noexcept nogil:
    """Set a shard's mark."""
    cdef uint16_t shard = load_u16(body + SHARD_MARK_SHARD_AT)
    cdef uint32_t place = mark_place(core, shard)
    if not admits_mark(core, body):
        return reject(core, NOBODY, 0, REJECT_REASON_INVALID_MARK)
    if not is_marked(core, place, shard):
        insert_mark(core, place, shard)
    core.marks[place].sequence = load_u64(body + SHARD_MARK_SEQUENCE_AT)
    return DONE


cdef inline void insert_mark(Core *core, uint32_t place, uint16_t shard) noexcept nogil:
    """Make room at this place for a shard's mark; the table is not full."""
    cdef uint32_t moved = core.mark_count
    while moved > place:
        core.marks[moved] = core.marks[moved - 1]
        moved -= 1
    core.marks[place].shard = shard
    core.mark_count += 1
