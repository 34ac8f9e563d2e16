# cython: language_level=3
"""Price-time matching: what becomes of an incoming order, and of the stops that it reaches.

As in `engine.matching`, function by function.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from engine.arena cimport NONE
from engine.branches cimport is_seldom
from engine.core cimport emit_about
from engine.ladder cimport ladder_reserve
from engine.records cimport (
    ASKS, BIDS, BUY_STOPS, LADDERS, SELL_STOPS, Core, Event, Instrument, Ladder, Level, Order,
    client_at, instrument_at, key_of, level_at, order_at, price_of,
)
from engine.standing cimport forget, leave, stand, take_off
from feed.layout cimport (
    CANCEL_REASON_FILL_OR_KILL, CANCEL_REASON_IMMEDIATE, CANCEL_REASON_SELF_TRADE,
    ORDER_TYPE_LIMIT, ORDER_TYPE_MARKET, ORDER_TYPE_STOP_LIMIT,
    SELF_TRADE_PREVENTION_CANCEL_BOTH, SELF_TRADE_PREVENTION_CANCEL_NEWEST,
    SELF_TRADE_PREVENTION_CANCEL_OLDEST, SELF_TRADE_PREVENTION_OFF, SIDE_BUY,
    TIME_IN_FORCE_DAY, TIME_IN_FORCE_FILL_OR_KILL, TIME_IN_FORCE_GOOD_TILL_CANCEL, TYPE_CANCELED,
    TYPE_TRADE, TYPE_TRIGGERED,
)

cdef enum:
    ANY_KEY = 0x7FFFFFFF  # the limit of an order that has none


# The prices that an order has traded at; nothing has traded while the highest is 0.
cdef struct Reach:
    uint32_t highest
    uint32_t lowest


# Stops that were reached and wait for their turn, linked by `next`.
cdef struct Queue:
    uint32_t first
    uint32_t last


cdef inline bint is_buy(const Order *order) noexcept nogil:
    return order.side == SIDE_BUY


cdef inline uint32_t book_side(uint8_t side) noexcept nogil:
    """BIDS or ASKS: without a branch, which nobody could predict."""
    return BIDS + (ASKS - BIDS) * (side != SIDE_BUY)


cdef inline bint rests(uint8_t time_in_force) noexcept nogil:
    """Whether a limit order of this time in force rests with what it could not trade."""
    return (time_in_force == TIME_IN_FORCE_DAY) | (time_in_force == TIME_IN_FORCE_GOOD_TILL_CANCEL)


cdef inline bint has_limit(const Order *order) noexcept nogil:
    return order.order_type == ORDER_TYPE_LIMIT or order.order_type == ORDER_TYPE_STOP_LIMIT


cdef inline bint cancels_oldest(uint8_t mode) noexcept nogil:
    return (
        mode == SELF_TRADE_PREVENTION_CANCEL_OLDEST or mode == SELF_TRADE_PREVENTION_CANCEL_BOTH
    )


cdef inline bint cancels_newest(uint8_t mode) noexcept nogil:
    return (
        mode == SELF_TRADE_PREVENTION_CANCEL_NEWEST or mode == SELF_TRADE_PREVENTION_CANCEL_BOTH
    )


cdef inline bint is_within(
    const Core *core, const Ladder *ladder, int32_t limit_key
) noexcept nogil:
    """Whether the level that is reached first has this key or a better one."""
    return ladder.best != NONE and level_at(core, ladder.best).key <= limit_key


cdef inline void bring_in(Core *core, uint32_t instrument_index, uint32_t index) noexcept nogil:
    """Let an order that stands nowhere wait for its stop price, or match it.

    All that follows is emitted, the stops that its trades reach included.
    """
    cdef Instrument *instrument = instrument_at(core, instrument_index)
    cdef Order *order = order_at(core, index)
    cdef Reach reach
    cdef uint32_t stops
    if is_seldom(order.stop_price != 0):
        if not is_stop_reached(order, instrument.last_price):
            if not ladder_reserve(core):
                core.out_of_memory = True
                return
            stops = BUY_STOPS if is_buy(order) else SELL_STOPS
            stand(core, index, instrument_index * LADDERS + stops, order.stop_price)
            return
        trigger(core, instrument_index, order)
    match(core, instrument_index, index, &reach)
    if is_seldom(
        instrument.ladders[BUY_STOPS].best != NONE or instrument.ladders[SELL_STOPS].best != NONE
    ):
        bring_in_stops(core, instrument_index, &reach)


cdef inline void bring_in_stops(
    Core *core, uint32_t instrument_index, Reach *reach
) noexcept nogil:
    """Trigger and match the stops that an order's trades have reached, and so on."""
    cdef Queue queue
    cdef uint32_t index
    queue.first = queue.last = NONE
    take_reached_stops(core, instrument_index, reach, &queue)
    while queue.first != NONE and not core.out_of_memory:
        index = queue.first
        queue.first = order_at(core, index).next
        order_at(core, index).next = NONE
        trigger(core, instrument_index, order_at(core, index))
        match(core, instrument_index, index, reach)
        take_reached_stops(core, instrument_index, reach, &queue)


cdef inline void take_reached_stops(
    Core *core, uint32_t instrument_index, const Reach *reach, Queue *queue
) noexcept nogil:
    """Move the stops that these prices reach to the end of the queue, in their order."""
    cdef uint32_t ladder = instrument_index * LADDERS
    if reach.highest == 0:
        return
    take_stops(core, ladder + BUY_STOPS, reach.highest, queue)
    take_stops(core, ladder + SELL_STOPS, reach.lowest, queue)


cdef inline void take_stops(
    Core *core, uint32_t ladder, uint32_t price, Queue *queue
) noexcept nogil:
    cdef const Ladder *stops = &instrument_at(core, ladder // LADDERS).ladders[ladder % LADDERS]
    cdef uint32_t index
    while is_within(core, stops, key_of(ladder, price)):
        index = level_at(core, stops.best).first
        leave(core, index)
        if queue.first == NONE:
            queue.first = index
        else:
            order_at(core, queue.last).next = index
        queue.last = index


cdef inline void match(
    Core *core, uint32_t instrument_index, uint32_t index, Reach *reach
) noexcept nogil:
    """Trade an order with the other side of the book, and settle what is left of it."""
    cdef Order *order = order_at(core, index)
    cdef uint32_t own = instrument_index * LADDERS + book_side(order.side)
    cdef uint32_t opposite = own ^ BIDS ^ ASKS
    cdef int32_t limit_key = key_of(opposite, order.price) if has_limit(order) else ANY_KEY
    cdef const Ladder *makers = &instrument_at(core, instrument_index).ladders[opposite % LADDERS]
    reach.highest = reach.lowest = 0
    if is_within(core, makers, limit_key) and (
        order.time_in_force != TIME_IN_FORCE_FILL_OR_KILL
        or can_fill(core, makers, limit_key, order)
    ):
        trade(core, instrument_index, makers, limit_key, order, reach)
    if order.leaves == 0:
        forget(core, index)
    elif order.order_type == ORDER_TYPE_LIMIT and rests(order.time_in_force):
        if not ladder_reserve(core):
            core.out_of_memory = True
            return
        stand(core, index, own, order.price)
    else:
        cancel_rest(
            core,
            order,
            CANCEL_REASON_FILL_OR_KILL
            if order.time_in_force == TIME_IN_FORCE_FILL_OR_KILL
            else CANCEL_REASON_IMMEDIATE,
        )
        forget(core, index)


cdef inline void trade(
    Core *core,
    uint32_t instrument_index,
    const Ladder *makers,
    int32_t limit_key,
    Order *order,
    Reach *reach,
) noexcept nogil:
    """Trade with one maker after the other, as long as prices allow and something is left."""
    cdef uint8_t mode = client_at(core, order.client).self_trade_prevention
    cdef const Level *level
    cdef Order *maker
    cdef uint32_t maker_index, quantity
    cdef uint32_t price = 0
    while order.leaves and is_within(core, makers, limit_key):
        level = level_at(core, makers.best)
        maker_index = level.first
        maker = order_at(core, maker_index)
        if maker.client == order.client and mode != SELF_TRADE_PREVENTION_OFF:
            prevent_self_trade(core, order, maker_index, mode)
            continue
        quantity = order.leaves if order.leaves < maker.leaves else maker.leaves
        price = price_of(level.key)
        emit_trade(core, instrument_index, order, maker, quantity, price)
        if reach.highest < price:
            reach.highest = price
        if reach.lowest == 0 or price < reach.lowest:
            reach.lowest = price
        order.leaves -= quantity
        order.executed += quantity
        maker.executed += quantity
        take_off(core, maker_index, quantity)
        if maker.leaves == 0:
            forget(core, maker_index)
    if reach.highest:
        instrument_at(core, instrument_index).last_price = price


cdef inline void emit_trade(
    Core *core,
    uint32_t instrument_index,
    const Order *order,
    const Order *maker,
    uint32_t quantity,
    uint32_t price,
) noexcept nogil:
    cdef Event *event = emit_about(core, TYPE_TRADE, maker)
    event.taker_number = order.number
    event.taker_client = client_at(core, order.client).number
    event.taker_user_ref_num = order.user_ref_num
    event.quantity = quantity
    event.price = price
    event.instrument = instrument_index
    event.side = order.side


cdef inline void prevent_self_trade(
    Core *core, Order *order, uint32_t maker_index, uint8_t mode
) noexcept nogil:
    cdef Order *maker = order_at(core, maker_index)
    if cancels_oldest(mode):
        leave(core, maker_index)
        cancel_rest(core, maker, CANCEL_REASON_SELF_TRADE)
        forget(core, maker_index)
    if cancels_newest(mode):
        cancel_rest(core, order, CANCEL_REASON_SELF_TRADE)


cdef inline bint can_fill(
    const Core *core, const Ladder *makers, int32_t limit_key, const Order *order
) noexcept nogil:
    """Whether the book holds enough for the whole order, self-trade prevention considered."""
    cdef uint8_t mode = client_at(core, order.client).self_trade_prevention
    cdef uint32_t wanted = order.leaves
    cdef uint32_t level_index = makers.best
    cdef uint32_t maker_index
    cdef const Level *level
    cdef const Order *maker
    while level_index != NONE:
        level = level_at(core, level_index)
        if level.key > limit_key:
            return False
        maker_index = level.first
        while maker_index != NONE:
            maker = order_at(core, maker_index)
            if maker.client != order.client or mode == SELF_TRADE_PREVENTION_OFF:
                if wanted <= maker.leaves:
                    return True
                wanted -= maker.leaves
            elif cancels_newest(mode):
                return False
            maker_index = maker.next
        level_index = level.next
    return False


cdef inline bint is_stop_reached(const Order *order, uint32_t last_price) noexcept nogil:
    return is_reached(is_buy(order), order.stop_price, last_price)


cdef inline bint is_reached(bint buys, uint32_t stop_price, uint32_t last_price) noexcept nogil:
    """Whether a trade at the last price triggers such a stop; 0 when nothing has traded."""
    if last_price == 0:
        return False
    return last_price >= stop_price if buys else last_price <= stop_price


cdef inline void trigger(Core *core, uint32_t instrument_index, Order *order) noexcept nogil:
    cdef Event *event = emit_about(core, TYPE_TRIGGERED, order)
    order.order_type = ORDER_TYPE_LIMIT if has_limit(order) else ORDER_TYPE_MARKET
    order.stop_price = 0
    event.instrument = instrument_index
    event.side = order.side
    event.quantity = order.leaves
    event.price = order.price


cdef inline void cancel_rest(Core *core, Order *order, uint8_t reason) noexcept nogil:
    """Take off all that is open of an order that stands nowhere."""
    cdef Event *event = emit_about(core, TYPE_CANCELED, order)
    event.quantity = order.leaves
    event.reason = reason
    order.leaves = 0
