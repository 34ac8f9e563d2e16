# cython: language_level=3
"""Directories: from the number of a client, or the symbol of an instrument, to its index.

An open-addressing table with linear probing, at most half full. Nothing ever leaves it, as the
market forgets neither clients nor instruments.
"""

from libc.stdint cimport uint32_t, uint64_t

from engine.arena cimport NONE
from engine.memory cimport memory_free, memory_grow


cdef struct DirectoryEntry:
    uint64_t key
    uint32_t index  # NONE where the entry is empty


cdef struct Directory:
    DirectoryEntry *entries
    uint32_t capacity  # a power of two
    uint32_t count


cdef inline bint directory_open(Directory *directory, uint32_t capacity) noexcept nogil:
    """An empty directory; False when there is no memory. The capacity is a power of two."""
    directory.entries = <DirectoryEntry *> memory_grow(
        NULL, 0, capacity * sizeof(DirectoryEntry)
    )
    directory.capacity = capacity
    directory.count = 0
    return directory.entries != NULL


cdef inline void directory_close(Directory *directory) noexcept nogil:
    memory_free(directory.entries, directory.capacity * sizeof(DirectoryEntry))
    directory.entries = NULL


cdef inline DirectoryEntry *directory_entry(
    const Directory *directory, uint64_t key
) noexcept nogil:
    """The entry of the key, or the empty one where it belongs."""
    cdef uint32_t mask = directory.capacity - 1
    cdef uint32_t place = <uint32_t> ((key * <uint64_t> 0x9E3779B97F4A7C15) >> 32) & mask
    while directory.entries[place].index != NONE and directory.entries[place].key != key:
        place = (place + 1) & mask
    return &directory.entries[place]


cdef inline uint32_t directory_find(const Directory *directory, uint64_t key) noexcept nogil:
    """The index under this key, or NONE."""
    return directory_entry(directory, key).index


cdef inline bint directory_reserve(Directory *directory) noexcept nogil:
    """Make sure of a place for one more entry; False when there is no memory."""
    cdef Directory larger
    cdef uint32_t place
    if 2 * (directory.count + 1) <= directory.capacity:
        return True
    if not directory_open(&larger, 2 * directory.capacity):
        return False
    for place in range(directory.capacity):
        if directory.entries[place].index != NONE:
            directory_add(&larger, directory.entries[place].key, directory.entries[place].index)
    directory_close(directory)
    directory[0] = larger
    return True


cdef inline void directory_add(Directory *directory, uint64_t key, uint32_t index) noexcept nogil:
    """Enter a key that is not there yet; a place for it has been reserved."""
    cdef DirectoryEntry *entry = directory_entry(directory, key)
    entry.key = key
    entry.index = index
    directory.count += 1
