# cython: language_level=3
"""Where orders stand: in the queue of a level, and in the list of their client's live orders."""

from libc.stdint cimport uint32_t

from engine.arena cimport NONE, arena_free
from engine.ladder cimport ladder_drop, ladder_level
from engine.order_index cimport index_remove
from engine.records cimport (
    Client, Core, Level, Order, client_at, key_of, level_at, order_at,
)


cdef inline void stand(Core *core, uint32_t index, uint32_t ladder, uint32_t price) noexcept nogil:
    """Put an order at the end of the queue at this price; memory for a level is reserved."""
    cdef uint32_t level_index = ladder_level(core, ladder, key_of(ladder, price))
    cdef Level *level = level_at(core, level_index)
    cdef Order *order = order_at(core, index)
    order.level = level_index
    order.previous = level.last
    order.next = NONE
    if level.last == NONE:
        level.first = index
    else:
        order_at(core, level.last).next = index
    level.last = index
    level.quantity += order.leaves


cdef inline void leave(Core *core, uint32_t index) noexcept nogil:
    """Take an order out of its level, and the level out of its ladder when nobody else is there."""
    cdef Order *order = order_at(core, index)
    cdef uint32_t level_index = order.level
    cdef Level *level = level_at(core, level_index)
    if order.previous == NONE:
        level.first = order.next
    else:
        order_at(core, order.previous).next = order.next
    if order.next == NONE:
        level.last = order.previous
    else:
        order_at(core, order.next).previous = order.previous
    level.quantity -= order.leaves
    order.level = order.next = order.previous = NONE
    if level.first == NONE:
        ladder_drop(core, level_index)


cdef inline void take_off(Core *core, uint32_t index, uint32_t quantity) noexcept nogil:
    """Take this quantity from a standing order, which keeps its place; nothing left, it leaves."""
    cdef Order *order = order_at(core, index)
    if order.leaves == quantity:
        leave(core, index)
    else:
        level_at(core, order.level).quantity -= quantity
    order.leaves -= quantity


cdef inline void join_client(Core *core, uint32_t index) noexcept nogil:
    """Add an order to the live ones of its client, which stay in the order of their numbers."""
    cdef Order *order = order_at(core, index)
    cdef Client *client = client_at(core, order.client)
    cdef uint32_t before = client.last
    # Numbers only grow, unless whoever drives the machine starts again from a lower one.
    while before != NONE and order_at(core, before).number > order.number:
        before = order_at(core, before).client_previous
    order.client_previous = before
    if before == NONE:
        order.client_next = client.first
        client.first = index
    else:
        order.client_next = order_at(core, before).client_next
        order_at(core, before).client_next = index
    if order.client_next == NONE:
        client.last = index
    else:
        order_at(core, order.client_next).client_previous = index
    client.order_count += 1


cdef inline void forget(Core *core, uint32_t index) noexcept nogil:
    """End an order that stands nowhere any more and has nothing left."""
    cdef Order *order = order_at(core, index)
    cdef Client *client = client_at(core, order.client)
    index_remove(core, index)
    if order.client_previous == NONE:
        client.first = order.client_next
    else:
        order_at(core, order.client_previous).client_next = order.client_next
    if order.client_next == NONE:
        client.last = order.client_previous
    else:
        order_at(core, order.client_next).client_previous = order.client_previous
    client.order_count -= 1
    arena_free(&core.orders, index)
