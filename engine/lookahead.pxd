# cython: language_level=3
"""Looks ahead at the next commands, and asks for the cache lines that they will want.

In a deep book nearly each of them comes from far: an entry of the index, from there the order, from
there its neighbours; or a ladder, its leaf and the level. One command has to wait for one after the
other. Many commands together wait for each link of their chains once. What is found here is a guess
that nothing depends on: commands that come before may change it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from engine.arena cimport NONE
from engine.crossing cimport book_side
from engine.ladder cimport lesser_keys
from engine.layout cimport MAX_PRICE
from engine.memory cimport memory_prefetch
from engine.order_index cimport index_guess, index_prefetch
from engine.records cimport (
    LADDERS, NODE_WIDTH, Core, Level, Node, Order, instrument_at, key_of, ladder_at,
    level_at, node_at, order_at,
)

cdef enum:
    AHEAD = 16  # commands together: enough that they wait for memory, and not for one another
    # A core that never had more orders lies in the processor's cache, where looking ahead costs
    # more than it saves.
    FEW_ORDERS = 16384


# A command that is to come: an order that enters, or one that is to be found.
cdef struct Coming:
    uint32_t client
    uint32_t user_ref_num
    uint32_t order  # that it is about: a guess
    uint32_t ladder  # where an order that enters would rest; NONE for a command about an order
    int32_t key  # of its price
    uint32_t node  # on the way to its level: a guess


cdef inline bint is_worth_looking_ahead(const Core *core) noexcept nogil:
    return core.orders.used > FEW_ORDERS


cdef inline Coming coming_cancel(uint32_t client, uint32_t user_ref_num) noexcept nogil:
    """A command about an order that is there. The client is known by its index."""
    cdef Coming coming
    coming.client = client
    coming.user_ref_num = user_ref_num
    coming.order = coming.node = NONE
    coming.ladder = NONE
    coming.key = 0
    return coming


cdef inline Coming coming_order(
    const Core *core,
    uint32_t client,
    uint32_t user_ref_num,
    uint32_t instrument,
    uint8_t side,
    uint64_t price,
) noexcept nogil:
    """An order that enters. Nothing has been checked yet, so any of this may be wrong."""
    cdef Coming coming = coming_cancel(client, user_ref_num)
    if instrument < core.instruments.used and price <= MAX_PRICE:
        coming.ladder = instrument * LADDERS + book_side(side)
        coming.key = key_of(coming.ladder, <uint32_t> price)
    return coming


cdef inline void look_ahead(const Core *core, Coming *coming, size_t count) noexcept nogil:
    """Follow the chains of all these commands, a link at a time."""
    cdef size_t place
    if count < 2:
        return  # alone, it would wait here instead
    for place in range(count):
        ask_for_entry(core, &coming[place])
    for place in range(count):
        ask_for_order(core, &coming[place])
    for place in range(count):
        ask_for_neighbours(core, &coming[place])
    for place in range(count):
        ask_for_level(core, &coming[place])


cdef inline void ask_for_entry(const Core *core, const Coming *coming) noexcept nogil:
    index_prefetch(core, coming.client, coming.user_ref_num)
    memory_prefetch(instrument_at(core, coming.ladder // LADDERS))


cdef inline void ask_for_order(const Core *core, Coming *coming) noexcept nogil:
    """Guess the order; for one that enters, find the root of its ladder."""
    if coming.ladder == NONE:
        coming.order = index_guess(core, coming.client, coming.user_ref_num)
        memory_prefetch(order_at(core, coming.order))
    else:
        coming.node = ladder_at(core, coming.ladder).root
        ask_for_node(node_at(core, coming.node))


cdef inline void ask_for_neighbours(const Core *core, Coming *coming) noexcept nogil:
    """Ask for what the order is linked with; for one that enters, for the leaf of its price."""
    cdef const Order *order
    if coming.ladder == NONE:
        order = order_at(core, coming.order)
        memory_prefetch(level_at(core, order.level))
        memory_prefetch(order_at(core, order.next))
        memory_prefetch(order_at(core, order.previous))
        memory_prefetch(order_at(core, order.client_next))
        memory_prefetch(order_at(core, order.client_previous))
    elif coming.node != NONE:
        coming.node = ask_for_leaf(core, coming.ladder, coming.key)


cdef inline void ask_for_level(const Core *core, const Coming *coming) noexcept nogil:
    """Ask for the level that an order enters, and for what changes with a level that ends."""
    cdef const Level *level
    cdef const Node *leaf
    cdef uint32_t place
    if coming.ladder == NONE:
        level = level_at(core, order_at(core, coming.order).level)
        if level.first == level.last and level.first != NONE:
            memory_prefetch(level_at(core, level.next))
            memory_prefetch(level_at(core, level.previous))
            ask_for_leaf(core, level.ladder, level.key)
    elif coming.node != NONE:
        leaf = node_at(core, coming.node)
        place = lesser_keys(leaf, coming.key)
        memory_prefetch(level_at(core, leaf.children[place % NODE_WIDTH]))
        memory_prefetch(level_at(core, leaf.children[(place - 1) % NODE_WIDTH]))


cdef inline uint32_t ask_for_leaf(const Core *core, uint32_t ladder, int32_t key) noexcept nogil:
    """Ask for the leaf where a key of a ladder that has levels is, or would be; the leaf."""
    cdef uint32_t leaf = ladder_at(core, ladder).root
    cdef uint32_t height = ladder_at(core, ladder).height
    while height:
        leaf = node_at(core, leaf).children[lesser_keys(node_at(core, leaf), key + 1) - 1]
        height -= 1
    ask_for_node(node_at(core, leaf))
    return leaf


cdef inline void ask_for_node(const Node *node) noexcept nogil:
    """Ask for a node's four cache lines."""
    memory_prefetch(&node.keys[0])
    memory_prefetch(&node.keys[NODE_WIDTH // 2])
    memory_prefetch(&node.children[0])
    memory_prefetch(&node.children[NODE_WIDTH // 2])
