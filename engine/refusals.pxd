# cython: language_level=3
"""What refuses an order or its new terms: each check of docs/machine.md, in its order there.

As in `engine.checks`. The codes that fields may hold are few: they are compared one by one.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from engine.arena cimport NONE
from engine.crossing cimport has_limit, is_buy, is_within, rests
from engine.layout cimport (
    MAX_PRICE, MAX_QUANTITY, REJECT_REASON_HALTED, REJECT_REASON_INSTRUMENT_EXISTS,
    REJECT_REASON_INVALID_CAPACITY, REJECT_REASON_INVALID_ORDER_TYPE,
    REJECT_REASON_INVALID_POST_ONLY,
    REJECT_REASON_INVALID_PRICE, REJECT_REASON_INVALID_QUANTITY,
    REJECT_REASON_INVALID_SHORT_SALE, REJECT_REASON_INVALID_SIDE,
    REJECT_REASON_INVALID_STOP_PRICE, REJECT_REASON_INVALID_SYMBOL,
    REJECT_REASON_INVALID_TICK_OR_LOT_SIZE,
    REJECT_REASON_INVALID_TIME_IN_FORCE, REJECT_REASON_MOVED,
    REJECT_REASON_POST_ONLY_COMBINATION, REJECT_REASON_POST_ONLY_WOULD_TRADE,
    REJECT_REASON_QUANTITY_ALREADY_EXECUTED, REJECT_REASON_SHORT_SALE_FORBIDDEN,
    REJECT_REASON_UNKNOWN_SYMBOL,
)
from engine.records cimport ASKS, BIDS, Core, Instrument, Order, instrument_at, key_of
from feed.layout cimport (
    CAPACITY_AGENCY, CAPACITY_OTHER, CAPACITY_PRINCIPAL, CAPACITY_RISKLESS, ORDER_TYPE_LIMIT,
    ORDER_TYPE_MARKET, ORDER_TYPE_STOP, ORDER_TYPE_STOP_LIMIT, POST_ONLY_NO, POST_ONLY_YES,
    SELF_TRADE_PREVENTION_CANCEL_BOTH, SELF_TRADE_PREVENTION_CANCEL_NEWEST,
    SELF_TRADE_PREVENTION_CANCEL_OLDEST, SELF_TRADE_PREVENTION_OFF, SHORT_SALE_ALLOWED,
    SHORT_SALE_FORBIDDEN, SIDE_BUY, SIDE_SELL, SIDE_SELL_SHORT, TIME_IN_FORCE_FILL_OR_KILL,
    TIME_IN_FORCE_IMMEDIATE_OR_CANCEL, TRADING_STATE_ARRIVING, TRADING_STATE_HALTED,
    TRADING_STATE_MOVED, TRADING_STATE_TRADING,
)

cdef enum:
    FINE = 0  # no reject reason
    ALL_SYMBOLS = 0x2020202020202020  # blanks


cdef struct EnterOrder:
    uint64_t price
    uint64_t stop_price
    uint32_t client  # its index; NONE when the core does not know it
    uint32_t user_ref_num
    uint32_t instrument  # likewise
    uint32_t quantity
    uint8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t post_only
    uint8_t capacity


cdef struct ReplaceOrder:
    uint64_t price
    uint64_t stop_price
    uint32_t client
    uint32_t original_user_ref_num
    uint32_t user_ref_num
    uint32_t quantity
    uint8_t time_in_force


cdef inline uint8_t refuse_enter(const Core *core, const EnterOrder *command) noexcept nogil:
    """Why a new order is refused; FINE when it is not."""
    cdef const Instrument *instrument = instrument_at(core, command.instrument)
    cdef uint8_t order_type = command.order_type
    cdef uint8_t reason
    if command.instrument == NONE:
        return REJECT_REASON_UNKNOWN_SYMBOL
    if not is_side(command.side):
        return REJECT_REASON_INVALID_SIDE
    if not is_order_type(order_type):
        return REJECT_REASON_INVALID_ORDER_TYPE
    if not is_time_in_force(command.time_in_force):
        return REJECT_REASON_INVALID_TIME_IN_FORCE
    if not is_post_only(command.post_only):
        return REJECT_REASON_INVALID_POST_ONLY
    if not is_capacity(command.capacity):
        return REJECT_REASON_INVALID_CAPACITY
    if instrument.state != TRADING_STATE_TRADING:
        return refuse_state(instrument)
    if command.side == SIDE_SELL_SHORT and instrument.short_sale == SHORT_SALE_FORBIDDEN:
        return REJECT_REASON_SHORT_SALE_FORBIDDEN
    if not is_quantity(instrument, command.quantity):
        return REJECT_REASON_INVALID_QUANTITY
    reason = refuse_prices(
        instrument,
        command.price,
        command.stop_price,
        order_type == ORDER_TYPE_LIMIT or order_type == ORDER_TYPE_STOP_LIMIT,
        order_type == ORDER_TYPE_STOP or order_type == ORDER_TYPE_STOP_LIMIT,
    )
    if reason == FINE and command.post_only == POST_ONLY_YES:
        return refuse_post_only(
            core,
            instrument,
            command.side == SIDE_BUY,
            <uint32_t> command.price,
            order_type == ORDER_TYPE_LIMIT and rests(command.time_in_force),
        )
    return reason


cdef inline uint8_t refuse_replace(
    const Core *core, const Instrument *instrument, const Order *order,
    const ReplaceOrder *command,
) noexcept nogil:
    """Why new terms for a live order are refused; FINE when they are not."""
    cdef uint8_t reason
    if not is_time_in_force(command.time_in_force):
        return REJECT_REASON_INVALID_TIME_IN_FORCE
    if instrument.state != TRADING_STATE_TRADING:
        return refuse_state(instrument)
    if not is_quantity(instrument, command.quantity):
        return REJECT_REASON_INVALID_QUANTITY
    if command.quantity <= order.executed:
        return REJECT_REASON_QUANTITY_ALREADY_EXECUTED
    reason = refuse_prices(
        instrument,
        command.price,
        command.stop_price,
        has_limit(order),
        order.stop_price != 0 and command.stop_price != 0,
    )
    if reason == FINE and order.post_only == POST_ONLY_YES:
        return refuse_post_only(
            core,
            instrument,
            is_buy(order),
            <uint32_t> command.price,
            rests(command.time_in_force),
        )
    return reason


cdef inline uint8_t refuse_state(const Instrument *instrument) noexcept nogil:
    """Why nothing is entered or replaced where nothing trades."""
    if instrument.state == TRADING_STATE_MOVED:
        return REJECT_REASON_MOVED
    return REJECT_REASON_HALTED


cdef inline uint8_t refuse_listing(
    uint64_t symbol, uint32_t tick_size, uint32_t lot_size, uint8_t short_sale, bint is_free
) noexcept nogil:
    """Why an instrument can't be listed so; `is_free`: nothing else stands under its symbol."""
    if symbol == ALL_SYMBOLS:
        return REJECT_REASON_INVALID_SYMBOL
    if not is_free:
        return REJECT_REASON_INSTRUMENT_EXISTS
    if tick_size == 0 or lot_size == 0:
        return REJECT_REASON_INVALID_TICK_OR_LOT_SIZE
    if not is_short_sale(short_sale):
        return REJECT_REASON_INVALID_SHORT_SALE
    return FINE


cdef inline uint8_t refuse_prices(
    const Instrument *instrument, uint64_t price, uint64_t stop_price, bint limited, bint stopped
) noexcept nogil:
    """Why a price won't do; `limited` and `stopped`: which ones there are."""
    if not (is_price(instrument, price) if limited else price == 0):
        return REJECT_REASON_INVALID_PRICE
    if not (is_price(instrument, stop_price) if stopped else stop_price == 0):
        return REJECT_REASON_INVALID_STOP_PRICE
    return FINE


cdef inline uint8_t refuse_post_only(
    const Core *core, const Instrument *instrument, bint buys, uint32_t price, bint is_plain
) noexcept nogil:
    """Why an order may not be post-only; `is_plain`: it is a limit order that may rest."""
    cdef uint32_t opposite = ASKS if buys else BIDS
    if not is_plain:
        return REJECT_REASON_POST_ONLY_COMBINATION
    if is_within(core, &instrument.ladders[opposite], key_of(opposite, price)):
        return REJECT_REASON_POST_ONLY_WOULD_TRADE
    return FINE


cdef inline bint is_side(uint8_t code) noexcept nogil:
    # No "or", which branches: which side it is can't be predicted.
    return (code == SIDE_BUY) | (code == SIDE_SELL) | (code == SIDE_SELL_SHORT)


cdef inline bint is_time_in_force(uint8_t code) noexcept nogil:
    return (
        rests(code)
        or code == TIME_IN_FORCE_IMMEDIATE_OR_CANCEL
        or code == TIME_IN_FORCE_FILL_OR_KILL
    )


cdef inline bint is_order_type(uint8_t code) noexcept nogil:
    return (
        code == ORDER_TYPE_LIMIT
        or code == ORDER_TYPE_MARKET
        or code == ORDER_TYPE_STOP
        or code == ORDER_TYPE_STOP_LIMIT
    )


cdef inline bint is_post_only(uint8_t code) noexcept nogil:
    return code == POST_ONLY_NO or code == POST_ONLY_YES


cdef inline bint is_capacity(uint8_t code) noexcept nogil:
    return (
        code == CAPACITY_AGENCY
        or code == CAPACITY_PRINCIPAL
        or code == CAPACITY_RISKLESS
        or code == CAPACITY_OTHER
    )


cdef inline bint is_self_trade_mode(uint8_t code) noexcept nogil:
    return (
        code == SELF_TRADE_PREVENTION_OFF
        or code == SELF_TRADE_PREVENTION_CANCEL_NEWEST
        or code == SELF_TRADE_PREVENTION_CANCEL_OLDEST
        or code == SELF_TRADE_PREVENTION_CANCEL_BOTH
    )


cdef inline bint is_short_sale(uint8_t code) noexcept nogil:
    return code == SHORT_SALE_ALLOWED or code == SHORT_SALE_FORBIDDEN


cdef inline bint is_trading_state(uint8_t code) noexcept nogil:
    return (
        code == TRADING_STATE_HALTED
        or code == TRADING_STATE_TRADING
        or code == TRADING_STATE_MOVED
        or code == TRADING_STATE_ARRIVING
    )


cdef inline bint is_quantity(const Instrument *instrument, uint32_t quantity) noexcept nogil:
    return 0 < quantity <= MAX_QUANTITY and quantity % instrument.lot_size == 0


cdef inline bint is_price(const Instrument *instrument, uint64_t price) noexcept nogil:
    return 0 < price <= MAX_PRICE and <uint32_t> price % instrument.tick_size == 0
