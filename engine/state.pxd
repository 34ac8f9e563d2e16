# cython: language_level=3
"""The core's whole state as records, in an order that depends on nothing but the state.

As in `engine.state`: the digest is made of them, and a snapshot.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from engine.arena cimport NONE
from engine.records cimport (
    LADDERS, Client, Core, Instrument, Order, client_at, instrument_at, ladder_at, level_at,
    order_at,
)
from engine.sorting cimport Keyed, sort_by_key
from feed.layout cimport *
from feed.wire cimport store_u16, store_u32, store_u64


# How far a way through the state has come.
cdef struct Walk:
    Keyed *instruments  # by symbol
    Keyed *clients  # by number
    uint32_t instrument_count
    uint32_t client_count
    uint32_t mark  # the place of the next one
    uint32_t instrument  # likewise
    uint32_t client  # likewise
    uint32_t order  # the next one; NONE when none of this instrument is left
    bint has_begun


cdef inline bint walk_open(Walk *walk, const Core *core) noexcept nogil:
    """Begin; False when there is no memory, and the walk has to be closed all the same."""
    cdef uint32_t count = core.instruments.used
    cdef uint32_t index
    cdef Keyed *spare
    if count < core.clients.used:
        count = core.clients.used
    walk.instruments = <Keyed *> malloc(core.instruments.used * sizeof(Keyed))
    walk.clients = <Keyed *> malloc(core.clients.used * sizeof(Keyed))
    walk.instrument_count = core.instruments.used - 1
    walk.client_count = core.clients.used - 1
    walk.mark = walk.instrument = walk.client = 0
    walk.order = NONE
    walk.has_begun = False
    spare = <Keyed *> malloc(count * sizeof(Keyed))
    if walk.instruments == NULL or walk.clients == NULL or spare == NULL:
        free(spare)
        return False
    for index in range(walk.instrument_count):
        walk.instruments[index].key = instrument_at(core, index + 1).symbol
        walk.instruments[index].index = index + 1
    for index in range(walk.client_count):
        walk.clients[index].key = client_at(core, index + 1).number
        walk.clients[index].index = index + 1
    sort_by_key(walk.instruments, spare, walk.instrument_count)
    sort_by_key(walk.clients, spare, walk.client_count)
    free(spare)
    return True


cdef inline void walk_close(Walk *walk) noexcept nogil:
    free(walk.instruments)
    free(walk.clients)
    walk.instruments = walk.clients = NULL


cdef inline uint8_t next_record(const Core *core, Walk *walk, uint8_t *body) noexcept nogil:
    """Write the next record's body; its type, or 0 after the last."""
    cdef uint32_t index
    if not walk.has_begun:
        walk.has_begun = True
        store_u32(body + MARKET_STATE_DAY_AT, core.day)
        return TYPE_MARKET_STATE
    if walk.mark < core.mark_count:
        store_u16(body + MARK_STATE_SHARD_AT, core.marks[walk.mark].shard)
        store_u64(body + MARK_STATE_SEQUENCE_AT, core.marks[walk.mark].sequence)
        walk.mark += 1
        return TYPE_MARK_STATE
    if walk.order != NONE:
        write_order(core, order_at(core, walk.order), body)
        walk.order = order_after(core, order_at(core, walk.order))
        return TYPE_ORDER_STATE
    if walk.instrument < walk.instrument_count:
        index = walk.instruments[walk.instrument].index
        walk.instrument += 1
        walk.order = first_order(core, index * LADDERS)
        write_instrument(instrument_at(core, index), body)
        return TYPE_INSTRUMENT_STATE
    if walk.client < walk.client_count:
        write_client(client_at(core, walk.clients[walk.client].index), body)
        walk.client += 1
        return TYPE_CLIENT_STATE
    return 0


cdef inline uint32_t first_order(const Core *core, uint32_t ladder) noexcept nogil:
    """The first order of this ladder, or of those of the same instrument that come after it."""
    cdef uint32_t end = ladder // LADDERS * LADDERS + LADDERS
    while ladder < end:
        if ladder_at(core, ladder).best != NONE:
            return level_at(core, ladder_at(core, ladder).best).first
        ladder += 1
    return NONE


cdef inline uint32_t order_after(const Core *core, const Order *order) noexcept nogil:
    """The one that comes after it in the ladders of its instrument."""
    cdef uint32_t following
    cdef uint32_t ladder
    if order.next != NONE:
        return order.next
    following = level_at(core, order.level).next
    if following != NONE:
        return level_at(core, following).first
    ladder = level_at(core, order.level).ladder + 1
    return NONE if ladder % LADDERS == 0 else first_order(core, ladder)


cdef inline uint32_t order_count(const Core *core, uint32_t instrument) noexcept nogil:
    """How many orders stand in the ladders of an instrument."""
    cdef uint32_t index = first_order(core, instrument * LADDERS)
    cdef uint32_t count = 0
    while index != NONE:
        count += 1
        index = order_after(core, order_at(core, index))
    return count


cdef inline void write_instrument(const Instrument *instrument, uint8_t *body) noexcept nogil:
    store_u64(body + INSTRUMENT_STATE_SYMBOL_AT, instrument.symbol)
    store_u32(body + INSTRUMENT_STATE_TICK_SIZE_AT, instrument.tick_size)
    store_u32(body + INSTRUMENT_STATE_LOT_SIZE_AT, instrument.lot_size)
    body[INSTRUMENT_STATE_SHORT_SALE_AT] = instrument.short_sale
    body[INSTRUMENT_STATE_STATE_AT] = instrument.state
    store_u64(body + INSTRUMENT_STATE_LAST_PRICE_AT, instrument.last_price)
    store_u32(body + INSTRUMENT_STATE_MOVES_AT, instrument.moves)
    store_u64(body + INSTRUMENT_STATE_ADOPTED_SEQUENCE_AT, instrument.adopted_sequence)


cdef inline void write_order(const Core *core, const Order *order, uint8_t *body) noexcept nogil:
    cdef uint32_t instrument = level_at(core, order.level).ladder // LADDERS
    store_u64(body + ORDER_STATE_NUMBER_AT, order.number)
    store_u32(body + ORDER_STATE_CLIENT_AT, client_at(core, order.client).number)
    store_u32(body + ORDER_STATE_USER_REF_NUM_AT, order.user_ref_num)
    store_u64(body + ORDER_STATE_SYMBOL_AT, instrument_at(core, instrument).symbol)
    body[ORDER_STATE_SIDE_AT] = order.side
    body[ORDER_STATE_ORDER_TYPE_AT] = order.order_type
    body[ORDER_STATE_TIME_IN_FORCE_AT] = order.time_in_force
    body[ORDER_STATE_POST_ONLY_AT] = order.post_only
    body[ORDER_STATE_CAPACITY_AT] = order.capacity
    store_u32(body + ORDER_STATE_QUANTITY_AT, order.quantity)
    store_u32(body + ORDER_STATE_LEAVES_AT, order.leaves)
    store_u32(body + ORDER_STATE_EXECUTED_AT, order.executed)
    store_u64(body + ORDER_STATE_PRICE_AT, order.price)
    store_u64(body + ORDER_STATE_STOP_PRICE_AT, order.stop_price)


cdef inline void write_client(const Client *client, uint8_t *body) noexcept nogil:
    store_u32(body + CLIENT_STATE_CLIENT_AT, client.number)
    store_u64(body + CLIENT_STATE_LOGIN_AT, client.login)
    store_u32(body + CLIENT_STATE_LAST_USER_REF_NUM_AT, client.last_user_ref_num)
    body[CLIENT_STATE_SELF_TRADE_PREVENTION_AT] = client.self_trade_prevention
    store_u64(body + CLIENT_STATE_HOME_SEQUENCE_AT, client.home_sequence)
