# cython: language_level=3
"""The core as a whole: its memory, and the events that its commands cause."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from engine.arena cimport NONE, arena_close, arena_open, arena_reserve, arena_take
from engine.directory cimport (
    directory_add, directory_close, directory_open, directory_reserve,
)
from engine.order_index cimport index_close, index_open
from engine.records cimport (
    Client, Core, Event, Instrument, Level, Node, Order, client_at, instrument_at,
)
from feed.layout cimport SELF_TRADE_PREVENTION_OFF, TRADING_STATE_TRADING

cdef enum:
    # What an empty core has memory for: a page or so each, as tests and simulations make many.
    FIRST_ORDERS = 64
    FIRST_OTHERS = 32
    FIRST_INDEX_BITS = 8
    FIRST_EVENTS = 64
    MOST_KEPT_EVENTS = 4096  # from one command to the next; one that ends a day may cause millions


cdef inline bint core_open(Core *core, uint32_t order_limit) noexcept nogil:
    """An empty core; False when there is no memory, and it has to be closed all the same."""
    memset(core, 0, sizeof(Core))
    core.order_limit = order_limit
    core.event_capacity = FIRST_EVENTS
    core.events = <Event *> malloc(FIRST_EVENTS * sizeof(Event))
    return (
        core.events != NULL
        and arena_open(&core.orders, sizeof(Order), FIRST_ORDERS)
        and arena_open(&core.levels, sizeof(Level), FIRST_ORDERS)
        and arena_open(&core.nodes, sizeof(Node), FIRST_OTHERS)
        and arena_open(&core.clients, sizeof(Client), FIRST_OTHERS)
        and arena_open(&core.instruments, sizeof(Instrument), FIRST_OTHERS)
        and index_open(&core.index, FIRST_INDEX_BITS)
        and directory_open(&core.client_numbers, FIRST_OTHERS)
        and directory_open(&core.symbols, FIRST_OTHERS)
    )


cdef inline void core_close(Core *core) noexcept nogil:
    arena_close(&core.orders)
    arena_close(&core.levels)
    arena_close(&core.nodes)
    arena_close(&core.clients)
    arena_close(&core.instruments)
    index_close(&core.index)
    directory_close(&core.client_numbers)
    directory_close(&core.symbols)
    free(core.events)
    core.events = NULL


cdef inline void events_trim(Core *core) noexcept nogil:
    """Give back what the events of a great command have taken."""
    cdef Event *events
    if core.event_capacity > MOST_KEPT_EVENTS:
        events = <Event *> realloc(core.events, MOST_KEPT_EVENTS * sizeof(Event))
        if events != NULL:
            core.events = events
            core.event_capacity = MOST_KEPT_EVENTS
            core.event_count = 0


cdef inline Event *emit(Core *core, uint8_t event_type) noexcept nogil:
    """One more event of the command. Valid until the next one."""
    cdef Event *events
    cdef Event *event
    if core.event_count == core.event_capacity:
        events = <Event *> realloc(core.events, 2 * core.event_capacity * sizeof(Event))
        if events == NULL:
            core.out_of_memory = True
            core.event_count -= 1  # the caller has to write somewhere
        else:
            core.events = events
            core.event_capacity *= 2
    event = &core.events[core.event_count]
    core.event_count += 1
    event.type = event_type
    return event


cdef inline Event *emit_about(Core *core, uint8_t event_type, const Order *order) noexcept nogil:
    """One more event, which names this order."""
    cdef Event *event = emit(core, event_type)
    event.number = order.number
    event.client = client_at(core, order.client).number
    event.user_ref_num = order.user_ref_num
    return event


cdef inline uint8_t *emit_record(Core *core, uint8_t record_type) noexcept nogil:
    """One more event that is a record of the state; where its body belongs."""
    return <uint8_t *> emit(core, record_type)


cdef inline uint32_t add_client(Core *core, uint32_t number) noexcept nogil:
    """A client that the core did not know; NONE when there is no memory."""
    cdef uint32_t added
    if not (arena_reserve(&core.clients, 1) and directory_reserve(&core.client_numbers)):
        return NONE
    added = arena_take(&core.clients)
    client_at(core, added).number = number
    client_at(core, added).self_trade_prevention = SELF_TRADE_PREVENTION_OFF
    directory_add(&core.client_numbers, number, added)
    return added


cdef inline uint32_t add_instrument(
    Core *core, uint64_t symbol, uint32_t tick_size, uint32_t lot_size, uint8_t short_sale
) noexcept nogil:
    """An instrument that the core did not know; NONE when there is no memory."""
    cdef uint32_t added
    cdef Instrument *instrument
    if not (arena_reserve(&core.instruments, 1) and directory_reserve(&core.symbols)):
        return NONE
    added = arena_take(&core.instruments)
    instrument = instrument_at(core, added)
    instrument.symbol = symbol
    instrument.tick_size = tick_size
    instrument.lot_size = lot_size
    instrument.short_sale = short_sale
    instrument.state = TRADING_STATE_TRADING
    directory_add(&core.symbols, symbol, added)
    return added
