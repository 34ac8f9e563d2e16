# cython: language_level=3
"""What an order that comes as a whole, from a snapshot or from another shard, says of itself.

As in `engine.restoring`: what no market can hold is told in the reference's words.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from engine.arena cimport arena_take
from engine.crossing cimport is_reached, is_within, rests
from engine.order_index cimport index_enter
from engine.records cimport (
    ASKS, BIDS, BUY_STOPS, LADDERS, SELL_STOPS, Core, Instrument, Order, OrderEntry, instrument_at,
    key_of, order_at,
)
from engine.refusals cimport (
    is_capacity, is_order_type, is_post_only, is_price, is_quantity, is_side, is_time_in_force,
)
from engine.standing cimport stand
from feed.layout cimport *
from feed.wire cimport load_u32, load_u64


cdef struct Terms:
    uint64_t price
    uint64_t stop_price
    uint32_t client  # its number
    uint32_t user_ref_num
    uint32_t quantity
    uint32_t leaves
    uint32_t executed
    uint8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t post_only
    uint8_t capacity


cdef inline Terms read_state(const uint8_t *body) noexcept nogil:
    """Those of an ORDER_STATE."""
    cdef Terms terms
    terms.client = load_u32(body + ORDER_STATE_CLIENT_AT)
    terms.user_ref_num = load_u32(body + ORDER_STATE_USER_REF_NUM_AT)
    terms.side = body[ORDER_STATE_SIDE_AT]
    terms.order_type = body[ORDER_STATE_ORDER_TYPE_AT]
    terms.time_in_force = body[ORDER_STATE_TIME_IN_FORCE_AT]
    terms.post_only = body[ORDER_STATE_POST_ONLY_AT]
    terms.capacity = body[ORDER_STATE_CAPACITY_AT]
    terms.quantity = load_u32(body + ORDER_STATE_QUANTITY_AT)
    terms.leaves = load_u32(body + ORDER_STATE_LEAVES_AT)
    terms.executed = load_u32(body + ORDER_STATE_EXECUTED_AT)
    terms.price = load_u64(body + ORDER_STATE_PRICE_AT)
    terms.stop_price = load_u64(body + ORDER_STATE_STOP_PRICE_AT)
    return terms


cdef inline Terms read_adopted(const uint8_t *body) noexcept nogil:
    """Those of an ADOPT_ORDER."""
    cdef Terms terms
    terms.client = load_u32(body + ADOPT_ORDER_CLIENT_AT)
    terms.user_ref_num = load_u32(body + ADOPT_ORDER_USER_REF_NUM_AT)
    terms.side = body[ADOPT_ORDER_SIDE_AT]
    terms.order_type = body[ADOPT_ORDER_ORDER_TYPE_AT]
    terms.time_in_force = body[ADOPT_ORDER_TIME_IN_FORCE_AT]
    terms.post_only = body[ADOPT_ORDER_POST_ONLY_AT]
    terms.capacity = body[ADOPT_ORDER_CAPACITY_AT]
    terms.quantity = load_u32(body + ADOPT_ORDER_QUANTITY_AT)
    terms.leaves = load_u32(body + ADOPT_ORDER_LEAVES_AT)
    terms.executed = load_u32(body + ADOPT_ORDER_EXECUTED_AT)
    terms.price = load_u64(body + ADOPT_ORDER_PRICE_AT)
    terms.stop_price = load_u64(body + ADOPT_ORDER_STOP_PRICE_AT)
    return terms


cdef inline uint32_t ladder_of(const Terms *terms) noexcept nogil:
    """Which of its instrument's ladders an order of these terms stands in."""
    if terms.stop_price:
        return BUY_STOPS if terms.side == SIDE_BUY else SELL_STOPS
    return BIDS if terms.side == SIDE_BUY else ASKS


cdef inline uint32_t standing_price(const Terms *terms) noexcept nogil:
    """Of terms that were not refused, the price that the order stands at there."""
    return <uint32_t> (terms.stop_price if terms.stop_price else terms.price)


cdef inline const char *refuse_terms(
    const Instrument *instrument, const Terms *terms
) noexcept nogil:
    """What no live order of the instrument can say of itself; NULL when it is fine."""
    cdef uint8_t order_type = terms.order_type
    if not (
        is_side(terms.side) and is_order_type(order_type) and is_time_in_force(terms.time_in_force)
        and is_post_only(terms.post_only) and is_capacity(terms.capacity)
    ):
        return "an unknown code"
    if terms.side == SIDE_SELL_SHORT and instrument.short_sale == SHORT_SALE_FORBIDDEN:
        return "a short sale where there are none"
    if not is_quantity(instrument, terms.quantity):
        return "a quantity that no order asks for"
    if terms.leaves == 0:
        return "an order with nothing left"
    if <uint64_t> terms.leaves + terms.executed > terms.quantity:
        return "open and executed are more than what was asked for"
    if order_type == ORDER_TYPE_LIMIT or order_type == ORDER_TYPE_STOP_LIMIT:
        if not is_price(instrument, terms.price):
            return "a price that no order has"
    elif terms.price:
        return "a price that no order has"
    if order_type == ORDER_TYPE_STOP or order_type == ORDER_TYPE_STOP_LIMIT:
        if not is_price(instrument, terms.stop_price):
            return "a stop price that no order has"
        if terms.executed:
            return "a stop waits that has traded"
        if terms.post_only == POST_ONLY_YES:
            return "a stop that is post-only"
        return NULL
    if terms.stop_price:
        return "a stop price that no order has"
    if order_type != ORDER_TYPE_LIMIT or not rests(terms.time_in_force):
        return "an order rests that may not"
    return NULL


cdef inline const char *refuse_place(
    const Core *core, const Instrument *instrument, const Terms *terms
) noexcept nogil:
    """Why an order can't stand where its terms put it; NULL when it can."""
    cdef uint32_t opposite = ladder_of(terms) ^ BIDS ^ ASKS
    cdef uint32_t price = standing_price(terms)
    if terms.stop_price:
        if is_reached(terms.side == SIDE_BUY, price, instrument.last_price):
            return "a stop waits though its price has traded"
        return NULL
    if is_within(core, &instrument.ladders[opposite], key_of(opposite, price)):
        return "crossed book"
    return NULL


cdef inline uint32_t add_order(
    Core *core,
    OrderEntry *entry,
    uint32_t instrument,
    uint32_t client,
    uint64_t number,
    const Terms *terms,
) noexcept nogil:
    """Put an order last in the queue of its price, not yet into its client's list; its index.

    The client is known by its index. Nothing is wrong with the order, and memory is reserved.
    """
    cdef uint32_t index = arena_take(&core.orders)
    cdef Order *order = order_at(core, index)
    memset(order, 0, sizeof(Order))
    order.number = number
    order.client = client
    order.user_ref_num = terms.user_ref_num
    order.quantity = terms.quantity
    order.leaves = terms.leaves
    order.executed = terms.executed
    order.price = <uint32_t> terms.price
    order.stop_price = <uint32_t> terms.stop_price
    order.side = terms.side
    order.order_type = terms.order_type
    order.time_in_force = terms.time_in_force
    order.post_only = terms.post_only
    order.capacity = terms.capacity
    index_enter(core, entry, index)
    stand(core, index, instrument * LADDERS + ladder_of(terms), standing_price(terms))
    return index
