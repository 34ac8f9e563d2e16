# cython: language_level=3
"""Batches of operations in fixed-size records, without frames: how the core is driven from C."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.arena cimport NONE
from engine.commands cimport carry_out, find_client, find_instrument
from engine.lookahead cimport (
    AHEAD, Coming, coming_cancel, coming_order, is_worth_looking_ahead, look_ahead,
)
from engine.order_index cimport index_find
from engine.records cimport Core, Event, client_at, order_at
from engine.refusals cimport EnterOrder
from engine.rules cimport DONE, OUT_OF_MEMORY, cancel_standing, enter
from feed.layout cimport *
from feed.wire cimport store_u32, store_u64


cdef extern from "kernel.h" nogil:
    enum:
        LOCKSTEP_ENTER
        LOCKSTEP_CANCEL

    ctypedef struct LockstepCore:
        pass

    ctypedef struct LockstepOperation:
        uint8_t kind
        uint8_t side
        uint32_t instrument
        uint32_t client
        uint32_t user_ref_num
        uint32_t price
        uint32_t quantity

    ctypedef struct LockstepTrade:
        uint32_t operation
        uint32_t maker_client
        uint32_t maker_user_ref_num
        uint32_t price
        uint32_t quantity

    ctypedef struct LockstepTotals:
        uint64_t trades
        uint64_t quantity
        uint64_t notional
        uint64_t refused


cdef inline uint32_t list_instrument(
    Core *core, const void *symbol, uint32_t tick_size, uint32_t lot_size
) noexcept nogil:
    """List an instrument that may be sold short; NONE when it can't be."""
    cdef uint8_t[DEFINE_INSTRUMENT_BYTES] body
    memcpy(body + DEFINE_INSTRUMENT_SYMBOL_AT, symbol, SYMBOL_BYTES)
    store_u32(body + DEFINE_INSTRUMENT_TICK_SIZE_AT, tick_size)
    store_u32(body + DEFINE_INSTRUMENT_LOT_SIZE_AT, lot_size)
    body[DEFINE_INSTRUMENT_SHORT_SALE_AT] = SHORT_SALE_ALLOWED
    if carry_out(core, TYPE_DEFINE_INSTRUMENT, body, 0) != DONE or core.event_count:
        return NONE
    return find_instrument(core, body + DEFINE_INSTRUMENT_SYMBOL_AT)


cdef inline uint32_t let_in(
    Core *core, uint32_t client, uint8_t self_trade_prevention
) noexcept nogil:
    """Log a client in, or change its mode; NONE when it can't be."""
    cdef uint8_t[LOG_IN_BYTES] body
    store_u32(body + LOG_IN_CLIENT_AT, client)
    store_u64(body + LOG_IN_LOGIN_AT, 0)
    body[LOG_IN_SELF_TRADE_PREVENTION_AT] = self_trade_prevention
    store_u64(body + LOG_IN_HOME_SEQUENCE_AT, 0)
    if carry_out(core, TYPE_LOG_IN, body, 0) != DONE or core.event_count:
        return NONE
    return find_client(core, body + LOG_IN_CLIENT_AT)


cdef inline bint is_carried_out(
    Core *core, const LockstepOperation *operation, uint64_t number
) noexcept nogil:
    """Carry out one operation, its events into the core; False when it changes nothing."""
    cdef EnterOrder entered
    cdef uint32_t index
    core.event_count = 0
    if operation.client == NONE or operation.client >= core.clients.used:
        return False
    if operation.kind == LOCKSTEP_CANCEL:
        index = index_find(core, operation.client, operation.user_ref_num)
        if index == NONE:
            return False
        cancel_standing(core, index, order_at(core, index).leaves, CANCEL_REASON_USER)
        return True
    if operation.kind != LOCKSTEP_ENTER or operation.instrument >= core.instruments.used:
        return False
    if operation.user_ref_num <= client_at(core, operation.client).last_user_ref_num:
        return False
    entered.price = operation.price
    entered.stop_price = 0
    entered.client = operation.client
    entered.user_ref_num = operation.user_ref_num
    entered.instrument = operation.instrument
    entered.quantity = operation.quantity
    entered.side = operation.side
    entered.order_type = ORDER_TYPE_LIMIT
    entered.time_in_force = TIME_IN_FORCE_DAY
    entered.post_only = POST_ONLY_NO
    entered.capacity = CAPACITY_PRINCIPAL
    if enter(core, &entered, number) == OUT_OF_MEMORY:
        core.out_of_memory = True
        return False
    return core.event_count == 0 or core.events[0].type != TYPE_REJECTED


cdef inline void look_ahead_at(
    const Core *core, const LockstepOperation *operations, size_t count
) noexcept nogil:
    """Look ahead at the first of these operations, AHEAD of them at most."""
    cdef Coming[AHEAD] coming
    cdef const LockstepOperation *operation
    cdef size_t place
    if count > AHEAD:
        count = AHEAD
    for place in range(count):
        operation = &operations[place]
        if operation.kind == LOCKSTEP_CANCEL:
            coming[place] = coming_cancel(operation.client, operation.user_ref_num)
        else:
            coming[place] = coming_order(
                core, operation.client, operation.user_ref_num, operation.instrument,
                operation.side, operation.price,
            )
    look_ahead(core, coming, count)


cdef inline int run_batch(
    Core *core,
    const LockstepOperation *operations,
    size_t count,
    LockstepTrade *trades,
    size_t room,
    LockstepTotals *totals,
) noexcept nogil:
    """Carry out operations in their order, and add what came of them to the totals.

    Their trades are written to `trades` as far as there is room. OUT_OF_MEMORY: the core is of no
    use any more.
    """
    cdef size_t index, event_index
    cdef size_t written = 0
    cdef const Event *event
    for index in range(count):
        if is_worth_looking_ahead(core) and index % AHEAD == 0:
            look_ahead_at(core, &operations[index], count - index)
        if core.out_of_memory:
            return OUT_OF_MEMORY
        core.last_number += 1
        if not is_carried_out(core, &operations[index], core.last_number):
            totals.refused += 1
            continue
        for event_index in range(core.event_count):
            event = &core.events[event_index]
            if event.type != TYPE_TRADE:
                continue
            totals.trades += 1
            totals.quantity += event.quantity
            totals.notional += <uint64_t> event.price * event.quantity
            if written < room:
                trades[written].operation = <uint32_t> index
                trades[written].maker_client = event.client
                trades[written].maker_user_ref_num = event.user_ref_num
                trades[written].price = event.price
                trades[written].quantity = event.quantity
                written += 1
    return OUT_OF_MEMORY if core.out_of_memory else DONE
