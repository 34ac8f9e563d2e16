# cython: language_level=3
"""The index of live orders, by client and user_ref_num.

An open-addressing table with linear probing, at most a quarter full: most searches end at the
first entry, and the processor sees that coming. Each entry keeps its hash, so that others are passed
over, moved and put into a larger table without a look at their orders. The hash is Fibonacci's
(Knuth, volume 3, section 6.4), which spreads a client's consecutive numbers evenly.
"""

from libc.stdint cimport uint32_t, uint64_t

from engine.arena cimport NONE
from engine.memory cimport memory_free, memory_grow, memory_prefetch
from engine.records cimport Core, Order, OrderEntry, OrderIndex, order_at

cdef enum:
    MOST_INDEX_BITS = 31


cdef inline bint index_open(OrderIndex *index, uint32_t bits) noexcept nogil:
    """An empty index of 2 ** bits entries; False when there is no memory."""
    index.entries = <OrderEntry *> memory_grow(NULL, 0, sizeof(OrderEntry) << bits)
    index.bits = bits
    index.count = 0
    return index.entries != NULL


cdef inline void index_close(OrderIndex *index) noexcept nogil:
    memory_free(index.entries, sizeof(OrderEntry) << index.bits)
    index.entries = NULL


cdef inline uint32_t index_hash(uint32_t client, uint32_t user_ref_num) noexcept nogil:
    cdef uint64_t key = (<uint64_t> client << 32) | user_ref_num
    return <uint32_t> ((key * <uint64_t> 0x9E3779B97F4A7C15) >> 32)


cdef inline uint32_t home_of(const OrderIndex *index, uint32_t hashed) noexcept nogil:
    """The place of the entry where the search for a hash begins."""
    return hashed >> (32 - index.bits)


cdef inline uint32_t place_after(const OrderIndex *index, uint32_t place) noexcept nogil:
    return (place + 1) & ((<uint32_t> 1 << index.bits) - 1)


cdef inline OrderEntry *index_entry(
    const Core *core, uint32_t client, uint32_t user_ref_num
) noexcept nogil:
    """The entry of the client's (an index too) live order that goes by this user_ref_num, or the
    empty one where it would be."""
    cdef uint32_t hashed = index_hash(client, user_ref_num)
    cdef uint32_t place = home_of(&core.index, hashed)
    cdef OrderEntry *entry = &core.index.entries[place]
    cdef const Order *order
    while entry.order != NONE:
        if entry.hash == hashed:
            order = order_at(core, entry.order)
            if order.client == client and order.user_ref_num == user_ref_num:
                return entry
        place = place_after(&core.index, place)
        entry = &core.index.entries[place]
    return entry


cdef inline uint32_t index_find(
    const Core *core, uint32_t client, uint32_t user_ref_num
) noexcept nogil:
    """The client's live order that goes by this user_ref_num, or NONE."""
    return index_entry(core, client, user_ref_num).order


cdef inline bint index_reserve(OrderIndex *index) noexcept nogil:
    """Make sure of a place for one more order; False when there is no memory."""
    cdef OrderIndex larger
    cdef uint32_t place, target
    if index.count < <uint32_t> 1 << (index.bits - 2):
        return True
    if index.bits == MOST_INDEX_BITS or not index_open(&larger, index.bits + 1):
        return False
    for place in range(<uint32_t> 1 << index.bits):
        if index.entries[place].order != NONE:
            target = home_of(&larger, index.entries[place].hash)
            while larger.entries[target].order != NONE:
                target = place_after(&larger, target)
            larger.entries[target] = index.entries[place]
    larger.count = index.count
    index_close(index)
    index[0] = larger
    return True


cdef inline void index_enter(Core *core, OrderEntry *entry, uint32_t order) noexcept nogil:
    """Put an order into the empty entry where it belongs; a place has been reserved."""
    entry.hash = index_hash(order_at(core, order).client, order_at(core, order).user_ref_num)
    entry.order = order
    core.index.count += 1


cdef inline void index_remove(Core *core, uint32_t order) noexcept nogil:
    """Take out an order that is there, and close the gap: what stood beyond it moves nearer to
    where it belongs."""
    cdef OrderIndex *index = &core.index
    cdef OrderEntry *entries = index.entries
    cdef uint32_t mask = (<uint32_t> 1 << index.bits) - 1
    cdef const Order *removed = order_at(core, order)
    cdef uint32_t gap = home_of(index, index_hash(removed.client, removed.user_ref_num))
    cdef uint32_t place, home
    while entries[gap].order != order:
        gap = place_after(index, gap)
    place = place_after(index, gap)
    while entries[place].order != NONE:
        home = home_of(index, entries[place].hash)
        if ((place - home) & mask) >= ((place - gap) & mask):
            entries[gap] = entries[place]
            gap = place
        place = place_after(index, place)
    entries[gap].order = NONE
    index.count -= 1


cdef inline void index_prefetch(
    const Core *core, uint32_t client, uint32_t user_ref_num
) noexcept nogil:
    """Ask for the cache line where an order's entry is or would be."""
    memory_prefetch(&core.index.entries[home_of(&core.index, index_hash(client, user_ref_num))])


cdef inline uint32_t index_guess(
    const Core *core, uint32_t client, uint32_t user_ref_num
) noexcept nogil:
    """The order that `index_find` most likely finds, without a look at it, or NONE."""
    cdef uint32_t hashed = index_hash(client, user_ref_num)
    cdef const OrderEntry *entry = &core.index.entries[home_of(&core.index, hashed)]
    return entry.order if entry.hash == hashed else NONE
