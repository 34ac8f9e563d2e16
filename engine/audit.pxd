# cython: language_level=3
"""The kernel's check: the first invariant that does not hold, in words.

What `engine.invariants` checks, and that arenas, indexes, trees and lists are what they should be.
"""

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from engine.arena cimport NONE, arena_audit
from engine.crossing cimport is_buy, is_stop_reached, rests
from engine.days cimport is_day
from engine.directory cimport directory_find
from engine.ladder cimport LEAST_KEY, UNUSED_KEY
from engine.order_index cimport index_find, index_hash
from engine.records cimport (
    ASKS, BIDS, BUY_STOPS, LADDERS, MAX_MARKS, NODE_WIDTH, Client, Core, Instrument, Ladder,
    Level, Node, Order, client_at, instrument_at, key_of, level_at, node_at, order_at, price_of,
)
from engine.refusals cimport is_trading_state
from engine.state cimport first_order
from feed.layout cimport (
    ORDER_TYPE_LIMIT, ORDER_TYPE_STOP, ORDER_TYPE_STOP_LIMIT, TRADING_STATE_ARRIVING,
    TRADING_STATE_MOVED,
)


# What was met on the way through the ladders.
cdef struct Tally:
    uint32_t orders
    uint32_t levels
    uint32_t nodes


cdef inline const char *audit(const Core *core) noexcept nogil:
    """What is wrong with the core; NULL when nothing is."""
    cdef Tally tally
    cdef uint32_t index, ladder
    cdef const char *wrong = audit_arenas(core)
    if wrong == NULL and core.day and not is_day(core.day):
        wrong = "the day is no date"
    if wrong == NULL:
        wrong = audit_marks(core)
    tally.orders = tally.levels = tally.nodes = 0
    for index in range(1, core.instruments.used):
        if wrong == NULL:
            wrong = audit_instrument(core, index)
        for ladder in range(index * LADDERS, (index + 1) * LADDERS):
            if wrong == NULL:
                wrong = audit_ladder(core, ladder, &tally)
    if wrong == NULL:
        wrong = audit_clients(core)
    if wrong != NULL:
        return wrong
    if core.orders.live != tally.orders:
        return "a live order stands nowhere"
    if core.levels.live != tally.levels or core.nodes.live != tally.nodes:
        return "a level or node is lost"
    if core.index.count != tally.orders:
        return "the index of orders and the books differ"
    return NULL


cdef inline const char *audit_arenas(const Core *core) noexcept nogil:
    cdef const char *wrong = arena_audit(&core.orders)
    if wrong == NULL:
        wrong = arena_audit(&core.levels)
    if wrong == NULL:
        wrong = arena_audit(&core.nodes)
    if wrong == NULL:
        wrong = arena_audit(&core.clients)
    if wrong == NULL:
        wrong = arena_audit(&core.instruments)
    return wrong


cdef inline const char *audit_marks(const Core *core) noexcept nogil:
    cdef uint32_t place
    cdef uint16_t last_shard = 0
    if core.mark_count > MAX_MARKS:
        return "more shards are marked than may be"
    for place in range(core.mark_count):
        if core.marks[place].shard <= last_shard:
            return "marks out of order"
        if core.marks[place].sequence == 0:
            return "an empty mark"
        last_shard = core.marks[place].shard
    return NULL


cdef inline const char *audit_instrument(const Core *core, uint32_t index) noexcept nogil:
    cdef const Instrument *instrument = instrument_at(core, index)
    cdef uint32_t bid = instrument.ladders[BIDS].best
    cdef uint32_t ask = instrument.ladders[ASKS].best
    if directory_find(&core.symbols, instrument.symbol) != index:
        return "an instrument is not found by its symbol"
    if bid != NONE and ask != NONE:
        if price_of(level_at(core, bid).key) >= price_of(level_at(core, ask).key):
            return "crossed book"
    return audit_move(core, index)


cdef inline const char *audit_move(const Core *core, uint32_t index) noexcept nogil:
    """What is wrong with an instrument's way from shard to shard."""
    cdef const Instrument *instrument = instrument_at(core, index)
    cdef bint has_orders = first_order(core, index * LADDERS) != NONE
    if not is_trading_state(instrument.state):
        return "unknown trading state"
    if instrument.state == TRADING_STATE_MOVED:
        if instrument.moves == 0:
            return "an instrument is gone that never moved"
        if has_orders:
            return "an instrument is gone, and orders of it are left"
    if instrument.state == TRADING_STATE_ARRIVING:
        if has_orders and instrument.adopted_sequence == 0:
            return "orders that nobody adopted"
    elif instrument.adopted_sequence:
        return "orders adopted without an arrival"
    return NULL


cdef inline const char *audit_ladder(
    const Core *core, uint32_t ladder_number, Tally *tally
) noexcept nogil:
    """What is wrong with a ladder, its levels or their orders."""
    cdef const Ladder *ladder = (
        &instrument_at(core, ladder_number // LADDERS).ladders[ladder_number % LADDERS]
    )
    cdef uint32_t index = ladder.best
    cdef uint32_t previous = NONE
    cdef uint32_t count = 0
    cdef const Level *level
    cdef const char *wrong
    while index != NONE:
        if index >= core.levels.used or count >= core.levels.live:
            return "the chain of levels leads astray"
        level = level_at(core, index)
        if level.ladder != ladder_number:
            return "a level stands in another ladder"
        if level.previous != previous:
            return "a level does not know the one before it"
        if previous != NONE and level_at(core, previous).key >= level.key:
            return "levels out of order"
        wrong = audit_level(core, index, tally)
        if wrong != NULL:
            return wrong
        count += 1
        previous = index
        index = level.next
    if count != ladder.level_count:
        return "a ladder has another number of levels"
    tally.levels += count
    if count == 0:
        if ladder.root != NONE or ladder.height:
            return "an empty ladder has a tree"
        return NULL
    index = ladder.best
    wrong = audit_node(core, ladder.root, ladder.height, LEAST_KEY, UNUSED_KEY, &index, tally)
    if wrong == NULL and index != NONE:
        return "a level is missing in its ladder's tree"
    return wrong


cdef inline const char *audit_node(
    const Core *core,
    uint32_t index,
    uint32_t height,
    int32_t low,
    int32_t high,
    uint32_t *level,
    Tally *tally,
) noexcept nogil:
    """What is wrong with a node whose keys are to be from `low` and below `high`.

    `level` is the level that its first key should lead to; in the end, the one after its last.
    """
    cdef const Node *node
    cdef uint32_t place, count
    cdef int32_t upper
    cdef const char *wrong
    if index == NONE or index >= core.nodes.used:
        return "a tree leads astray"
    node = node_at(core, index)
    tally.nodes += 1
    count = 0
    while count < NODE_WIDTH and node.keys[count] != UNUSED_KEY:
        count += 1
    if count == 0:
        return "an empty node"
    for place in range(count, NODE_WIDTH):
        if node.keys[place] != UNUSED_KEY:
            return "a node has a key after its last"
    for place in range(count):
        if place > 0 and node.keys[place - 1] >= node.keys[place]:
            return "a node's keys out of order"
        if height and place == 0:
            if node.keys[0] != LEAST_KEY:
                return "an inner node's first key is not the least"
        elif not low <= node.keys[place] < high:
            return "a node's key is beyond its bounds"
        if height:
            upper = node.keys[place + 1] if place + 1 < count else high
            wrong = audit_node(
                core, node.children[place], height - 1, low if place == 0 else node.keys[place],
                upper, level, tally,
            )
            if wrong != NULL:
                return wrong
        else:
            if level[0] == NONE or node.children[place] != level[0]:
                return "a ladder's tree and its levels differ"
            if level_at(core, level[0]).key != node.keys[place]:
                return "a level stands under another price"
            level[0] = level_at(core, level[0]).next
    return NULL


cdef inline const char *audit_level(
    const Core *core, uint32_t index, Tally *tally
) noexcept nogil:
    """What is wrong with a level or its queue."""
    cdef const Level *level = level_at(core, index)
    cdef uint32_t order_index = level.first
    cdef uint32_t previous = NONE
    cdef uint64_t quantity = 0
    cdef const Order *order
    cdef const char *wrong
    if order_index == NONE:
        return "empty level"
    while order_index != NONE:
        if order_index >= core.orders.used or tally.orders >= core.orders.live:
            return "a queue leads astray"
        order = order_at(core, order_index)
        if order.level != index or order.previous != previous:
            return "an order does not know its place"
        if index_find(core, order.client, order.user_ref_num) != order_index:
            return "the index of orders and the books differ"
        wrong = audit_order(core, level, order)
        if wrong != NULL:
            return wrong
        quantity += order.leaves
        tally.orders += 1
        previous = order_index
        order_index = order.next
    if level.last != previous:
        return "a level does not know its last order"
    if level.quantity != quantity:
        return "a level's quantity is not the sum of its orders'"
    return NULL


cdef inline const char *audit_order(
    const Core *core, const Level *level, const Order *order
) noexcept nogil:
    """What is wrong with an order that stands in this level."""
    cdef uint32_t ladder = level.ladder % LADDERS
    cdef uint32_t last_price = instrument_at(core, level.ladder // LADDERS).last_price
    if order.leaves == 0:
        return "an order with nothing left still stands"
    if <uint64_t> order.leaves + order.executed > order.quantity:
        return "open and executed are more than what was asked for"
    if is_buy(order) != (ladder == BIDS or ladder == BUY_STOPS):
        return "an order on the wrong side"
    if ladder == BIDS or ladder == ASKS:
        if level.key != key_of(ladder, order.price):
            return "an order at a wrong price"
        if order.stop_price:
            return "a waiting stop in the book"
        if order.order_type != ORDER_TYPE_LIMIT or not rests(order.time_in_force):
            return "an order rests that may not"
        return NULL
    if level.key != key_of(ladder, order.stop_price):
        return "a stop misplaced"
    if not (order.order_type == ORDER_TYPE_STOP or order.order_type == ORDER_TYPE_STOP_LIMIT):
        return "an order waits that is no stop order"
    if is_stop_reached(order, last_price):
        return "a stop waits though its price has traded"
    return NULL


cdef inline const char *audit_clients(const Core *core) noexcept nogil:
    """What is wrong with the clients, their lists of orders or the index."""
    cdef uint32_t index, order_index, previous, count
    cdef uint32_t total = 0
    cdef const Client *client
    cdef const Order *order
    for index in range(1, core.clients.used):
        client = client_at(core, index)
        if directory_find(&core.client_numbers, client.number) != index:
            return "a client is not found by its number"
        previous = NONE
        count = 0
        order_index = client.first
        while order_index != NONE:
            if order_index >= core.orders.used or count >= core.orders.live:
                return "a client's list leads astray"
            order = order_at(core, order_index)
            if order.client != index or order.client_previous != previous:
                return "a client's list and its orders differ"
            if previous != NONE and order_at(core, previous).number >= order.number:
                return "a client's orders out of order"
            if index_find(core, index, order.user_ref_num) != order_index:
                return "the clients' orders and the index differ"
            count += 1
            previous = order_index
            order_index = order.client_next
        if client.last != previous or client.order_count != count:
            return "a client does not know its last order, or their number"
        total += count
    if total != core.orders.live:
        return "the clients' orders and the books differ"
    return audit_index(core)


cdef inline const char *audit_index(const Core *core) noexcept nogil:
    cdef uint32_t place, index
    cdef uint32_t count = 0
    cdef const Order *order
    for place in range(<uint32_t> 1 << core.index.bits):
        index = core.index.entries[place].order
        if index == NONE:
            continue
        count += 1
        if index >= core.orders.used:
            return "the index of orders leads astray"
        order = order_at(core, index)
        if core.index.entries[place].hash != index_hash(order.client, order.user_ref_num):
            return "an order is in the index under another name"
    if count != core.index.count:
        return "the index of orders has lost count"
    return NULL
