# cython: language_level=3
"""The core's state in bytes that depend on nothing but the state: those of `engine.invariants`."""

from libc.stdint cimport uint8_t

from engine.records cimport Client, Core, Instrument, Order, client_at
from feed.wire cimport store_u32, store_u64

cdef enum:
    INSTRUMENT_RECORD_BYTES = 35
    ORDER_RECORD_BYTES = 70
    CLIENT_RECORD_BYTES = 18


cdef inline void instrument_record(const Instrument *instrument, uint8_t *at) noexcept nogil:
    at[0] = c'I'
    store_u64(at + 1, instrument.symbol)
    store_u64(at + 9, instrument.tick_size)
    store_u64(at + 17, instrument.lot_size)
    at[25] = instrument.short_sale
    at[26] = instrument.is_halted
    store_u64(at + 27, instrument.last_price)


cdef inline void order_record(const Core *core, const Order *order, uint8_t *at) noexcept nogil:
    at[0] = c'O'
    store_u64(at + 1, order.number)
    store_u32(at + 9, client_at(core, order.client).number)
    store_u32(at + 13, order.user_ref_num)
    at[17] = order.side
    at[18] = order.order_type
    at[19] = order.time_in_force
    at[20] = order.post_only
    at[21] = order.capacity
    store_u64(at + 22, order.quantity)
    store_u64(at + 30, order.leaves)
    store_u64(at + 38, order.executed)
    store_u64(at + 46, order.quantity - order.leaves - order.executed)  # what was taken off
    store_u64(at + 54, order.price)
    store_u64(at + 62, order.stop_price)


cdef inline void client_record(const Client *client, uint8_t *at) noexcept nogil:
    at[0] = c'C'
    store_u32(at + 1, client.number)
    store_u64(at + 5, client.login)
    store_u32(at + 13, client.last_user_ref_num)
    at[17] = client.self_trade_prevention
