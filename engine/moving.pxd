# cython: language_level=3
"""How an instrument leaves the core with its orders, and how one comes in.

As in `engine.moving`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from engine.arena cimport NONE, arena_reserve
from engine.core cimport add_client, add_instrument, emit_record
from engine.directory cimport directory_find
from engine.ladder cimport ladder_reserve
from engine.layout cimport (
    MAX_PRICE, REJECT_REASON_INVALID_ORDER, REJECT_REASON_INVALID_PRICE, REJECT_REASON_MOVED,
    REJECT_REASON_NOT_HALTED, REJECT_REASON_UNKNOWN_SYMBOL,
)
from engine.order_index cimport index_entry, index_find, index_reserve
from engine.records cimport LADDERS, Core, Instrument, instrument_at, order_at
from engine.refusals cimport FINE, refuse_listing
from engine.rules cimport DONE, NOBODY, OUT_OF_MEMORY, reject
from engine.standing cimport forget, join_client, leave
from engine.state cimport first_order, write_instrument, write_order
from engine.terms cimport Terms, add_order, read_adopted, refuse_place, refuse_terms
from feed.layout cimport *
from feed.wire cimport load_u32, load_u64

cdef enum:
    MAX_MOVES = 0xFFFFFFFF  # what the count of an instrument's moves can hold


cdef inline bint admits_move_out(const Core *core, uint32_t index) noexcept nogil:
    """Whether it would do or say anything that is not known yet."""
    return index == NONE or instrument_at(core, index).state != TRADING_STATE_MOVED


cdef inline bint admits_instrument(
    const Core *core, uint32_t index, const uint8_t *body
) noexcept nogil:
    """Whether the symbol is free, be it since the instrument left in an earlier move."""
    cdef const Instrument *known = instrument_at(core, index)
    return index == NONE or (
        known.state == TRADING_STATE_MOVED
        and load_u32(body + ADOPT_INSTRUMENT_MOVES_AT) > known.moves
    )


cdef inline bint admits_order(
    const Core *core, uint32_t index, const uint8_t *body
) noexcept nogil:
    """Whether it is a later order than those that this very arrival has brought."""
    cdef const Instrument *instrument = instrument_at(core, index)
    return (
        index != NONE
        and instrument.state == TRADING_STATE_ARRIVING
        and load_u32(body + ADOPT_ORDER_MOVES_AT) == instrument.moves
        and load_u64(body + ADOPT_ORDER_SOURCE_SEQUENCE_AT) > instrument.adopted_sequence
    )


cdef inline int move_out(Core *core, uint32_t index) noexcept nogil:
    """Let an instrument (NONE when it is not known) go with all of its orders."""
    cdef Instrument *instrument = instrument_at(core, index)
    cdef uint32_t order
    if index == NONE:
        return reject(core, NOBODY, 0, REJECT_REASON_UNKNOWN_SYMBOL)
    if instrument.state == TRADING_STATE_MOVED:
        return reject(core, NOBODY, 0, REJECT_REASON_MOVED)
    if instrument.state != TRADING_STATE_HALTED:
        return reject(core, NOBODY, 0, REJECT_REASON_NOT_HALTED)
    if instrument.moves == MAX_MOVES:
        return reject(core, NOBODY, 0, REJECT_REASON_MOVED)
    instrument.moves += 1
    write_instrument(instrument, emit_record(core, TYPE_INSTRUMENT_STATE))
    instrument.state = TRADING_STATE_MOVED
    order = first_order(core, index * LADDERS)
    while order != NONE:
        write_order(core, order_at(core, order), emit_record(core, TYPE_ORDER_STATE))
        leave(core, order)
        forget(core, order)
        order = first_order(core, index * LADDERS)
    return OUT_OF_MEMORY if core.out_of_memory else DONE


cdef inline int adopt_instrument(
    Core *core, uint32_t index, const uint8_t *body
) noexcept nogil:
    """Let an instrument arrive, without its orders yet; `index` is of the one that was here."""
    cdef uint64_t symbol = load_u64(body + ADOPT_INSTRUMENT_SYMBOL_AT)
    cdef uint32_t tick_size = load_u32(body + ADOPT_INSTRUMENT_TICK_SIZE_AT)
    cdef uint32_t lot_size = load_u32(body + ADOPT_INSTRUMENT_LOT_SIZE_AT)
    cdef uint8_t short_sale = body[ADOPT_INSTRUMENT_SHORT_SALE_AT]
    cdef uint64_t last_price = load_u64(body + ADOPT_INSTRUMENT_LAST_PRICE_AT)
    cdef Instrument *instrument
    cdef uint8_t reason = refuse_listing(
        symbol, tick_size, lot_size, short_sale, admits_instrument(core, index, body)
    )
    if reason == FINE and (last_price > MAX_PRICE or last_price % tick_size):
        reason = REJECT_REASON_INVALID_PRICE
    if reason != FINE:
        return reject(core, NOBODY, 0, reason)
    if index == NONE:
        index = add_instrument(core, symbol, tick_size, lot_size, short_sale)
        if index == NONE:
            return OUT_OF_MEMORY
    instrument = instrument_at(core, index)
    instrument.tick_size = tick_size
    instrument.lot_size = lot_size
    instrument.short_sale = short_sale
    instrument.last_price = <uint32_t> last_price
    instrument.moves = load_u32(body + ADOPT_INSTRUMENT_MOVES_AT)
    instrument.state = TRADING_STATE_ARRIVING
    instrument.adopted_sequence = 0
    return DONE


cdef inline int adopt_order(
    Core *core, uint32_t index, const uint8_t *body, uint64_t number
) noexcept nogil:
    """Let an order of an instrument stand behind all at its price, under this number."""
    cdef Terms terms = read_adopted(body)
    cdef uint32_t client = directory_find(&core.client_numbers, terms.client)
    if not admits_order(core, index, body):
        return reject(core, NOBODY, 0, REJECT_REASON_INVALID_ORDER)
    instrument_at(core, index).adopted_sequence = load_u64(body + ADOPT_ORDER_SOURCE_SEQUENCE_AT)
    if is_wrong(core, index, client, &terms):
        return reject(core, NOBODY, 0, REJECT_REASON_INVALID_ORDER)
    if client == NONE:
        client = add_client(core, terms.client)
    if client == NONE or not (
        arena_reserve(&core.orders, 1) and index_reserve(&core.index) and ladder_reserve(core)
    ):
        return OUT_OF_MEMORY
    join_client(
        core,
        add_order(
            core, index_entry(core, client, terms.user_ref_num), index, client, number, &terms
        ),
    )
    return DONE


cdef inline bint is_wrong(
    const Core *core, uint32_t index, uint32_t client, const Terms *terms
) noexcept nogil:
    """Whether no order of these terms can be let in; the client is NONE when it is not known."""
    cdef const Instrument *instrument = instrument_at(core, index)
    return (
        refuse_terms(instrument, terms) != NULL
        or refuse_place(core, instrument, terms) != NULL
        or core.orders.live >= core.order_limit
        or (client != NONE and index_find(core, client, terms.user_ref_num) != NONE)
    )
