# cython: language_level=3
"""Arenas: records of one size, each known by its index, which stays when the arena grows.

Index 0 is no record, so that zeroed memory refers to nothing. A freed record holds the index of the
one freed before it: who takes one gets the latest freed, which is likely still in the cache.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from engine.memory cimport memory_free, memory_grow

cdef enum:
    NONE = 0  # the index that stands for no record


cdef struct Arena:
    char *records
    size_t record_bytes
    uint32_t capacity  # records that there is memory for, the unused first one included
    uint32_t used  # the first index that was never taken
    uint32_t free  # the latest freed, or NONE
    uint32_t live  # taken and not freed


cdef inline bint arena_open(Arena *arena, size_t record_bytes, uint32_t capacity) noexcept nogil:
    """Memory for the first records; False when there is none."""
    arena.records = <char *> memory_grow(NULL, 0, capacity * record_bytes)
    arena.record_bytes = record_bytes
    arena.capacity = capacity
    arena.used = 1
    arena.free = NONE
    arena.live = 0
    return arena.records != NULL


cdef inline void arena_close(Arena *arena) noexcept nogil:
    memory_free(arena.records, arena.capacity * arena.record_bytes)
    arena.records = NULL


cdef inline bint arena_grow(Arena *arena) noexcept nogil:
    """Twice the memory; False when there is none, and everything stays as it was."""
    cdef size_t size = arena.capacity * arena.record_bytes
    cdef char *records
    if arena.capacity > 1 << 30:
        return False
    records = <char *> memory_grow(arena.records, size, 2 * size)
    if records == NULL:
        return False
    arena.records = records
    arena.capacity *= 2
    return True


cdef inline bint arena_reserve(Arena *arena, uint32_t count) noexcept nogil:
    """Make sure of `count` free records, so that taking them neither fails nor moves any."""
    while arena.capacity - arena.live <= count:
        if not arena_grow(arena):
            return False
    return True


cdef inline uint32_t arena_take(Arena *arena) noexcept nogil:
    """A record that was reserved. It is all zero unless it was freed before."""
    cdef uint32_t index = arena.free
    cdef char *record
    arena.live += 1
    if index == NONE:
        index = arena.used
        arena.used += 1
        return index
    record = arena.records + index * arena.record_bytes
    memcpy(&arena.free, record, sizeof(uint32_t))
    return index


cdef inline void arena_free(Arena *arena, uint32_t index) noexcept nogil:
    memcpy(arena.records + index * arena.record_bytes, &arena.free, sizeof(uint32_t))
    arena.free = index
    arena.live -= 1


cdef inline const char *arena_audit(const Arena *arena) noexcept nogil:
    """What is wrong with the chain of freed records; NULL when nothing is."""
    cdef uint32_t index = arena.free
    cdef uint32_t freed = 0
    if arena.used > arena.capacity:
        return "an arena has used more than its memory"
    while index != NONE:
        freed += 1
        if index >= arena.used or freed >= arena.used:
            return "an arena's chain of freed records leads astray"
        memcpy(&index, arena.records + index * arena.record_bytes, sizeof(uint32_t))
    if 1 + arena.live + freed != arena.used:
        return "an arena has lost a record"
    return NULL
