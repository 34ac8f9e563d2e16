# cython: language_level=3
"""Every command of the list: whether it is admitted, and what carries it out.

A command is its type and the bytes of its body, of the right size. As in `engine.market`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from engine.arena cimport NONE
from engine.core cimport add_client, add_instrument
from engine.directory cimport directory_find
from engine.framing cimport read_enter, read_replace
from engine.layout cimport (
    REJECT_REASON_INVALID_SELF_TRADE_PREVENTION, REJECT_REASON_INVALID_TRADING_STATE,
    REJECT_REASON_MOVED, REJECT_REASON_NOT_HALTED, REJECT_REASON_UNKNOWN_SYMBOL,
)
from engine.lookahead cimport Coming, coming_cancel, coming_order
from engine.marks cimport admits_mark, mark
from engine.moving cimport (
    admits_instrument, admits_move_out, admits_order, adopt_instrument, adopt_order, move_out,
)
from engine.order_index cimport index_find
from engine.records cimport Client, Core, Instrument, client_at, instrument_at, order_at
from engine.refusals cimport (
    FINE, EnterOrder, ReplaceOrder, is_self_trade_mode, refuse_listing,
)
from engine.rules cimport (
    DONE, NOBODY, NO_COMMAND, OUT_OF_MEMORY, cancel, enter,
    has_something_to_cancel, is_mass_cancel_reason, mass_cancel, new_day, reject, replace,
)
from feed.layout cimport *
from feed.wire cimport load_u32, load_u64


cdef inline uint32_t find_client(const Core *core, const uint8_t *at) noexcept nogil:
    """The index of the client whose number stands here, or NONE."""
    return directory_find(&core.client_numbers, load_u32(at))


cdef inline uint32_t find_instrument(const Core *core, const uint8_t *at) noexcept nogil:
    """The index of the instrument whose symbol stands here, or NONE."""
    return directory_find(&core.symbols, load_u64(at))


cdef inline bint is_listed(const Core *core, const uint8_t *body) noexcept nogil:
    """Whether an instrument is listed exactly so; to list it again would be superfluous."""
    cdef uint32_t index = find_instrument(core, body + DEFINE_INSTRUMENT_SYMBOL_AT)
    cdef const Instrument *known = instrument_at(core, index)
    return (
        index != NONE
        and known.tick_size == load_u32(body + DEFINE_INSTRUMENT_TICK_SIZE_AT)
        and known.lot_size == load_u32(body + DEFINE_INSTRUMENT_LOT_SIZE_AT)
        and known.short_sale == body[DEFINE_INSTRUMENT_SHORT_SALE_AT]
    )


cdef inline bint admits(
    const Core *core, uint64_t login, uint8_t command_type, const uint8_t *body
) noexcept nogil:
    """Whether a command, sent under this log-in, gets a place in the list at all."""
    if is_of_client(command_type):
        return client_admits(core, login, command_type, body)
    if command_type == TYPE_SHARD_MARK:
        return admits_mark(core, body)
    if command_type == TYPE_ADOPT_ORDER:
        return admits_order(core, find_instrument(core, body + ADOPT_ORDER_SYMBOL_AT), body)
    if command_type == TYPE_ADOPT_INSTRUMENT:
        return admits_instrument(
            core, find_instrument(core, body + ADOPT_INSTRUMENT_SYMBOL_AT), body
        )
    if command_type == TYPE_MOVE_OUT:
        return admits_move_out(core, find_instrument(core, body + MOVE_OUT_SYMBOL_AT))
    return command_type != TYPE_DEFINE_INSTRUMENT or not is_listed(core, body)


cdef inline bint is_of_client(uint8_t command_type) noexcept nogil:
    """Whether it is a client's command, at the beginning of which the client's number stands."""
    return (
        command_type == TYPE_ENTER_ORDER
        or command_type == TYPE_CANCEL_ORDER
        or command_type == TYPE_REPLACE_ORDER
        or command_type == TYPE_MASS_CANCEL
        or command_type == TYPE_LOG_IN
    )


cdef inline bint client_admits(
    const Core *core, uint64_t login, uint8_t command_type, const uint8_t *body
) noexcept nogil:
    """Whether a client's command gets a place in the list."""
    cdef uint32_t client_index = find_client(core, body)
    cdef const Client *client = client_at(core, client_index)  # all zero when it is not known
    cdef uint32_t user_ref_num, index
    if command_type == TYPE_LOG_IN:
        login = load_u64(body + LOG_IN_LOGIN_AT)
        return (
            load_u32(body + LOG_IN_CLIENT_AT) != NOBODY
            and login
            and login != client.login
            and load_u64(body + LOG_IN_HOME_SEQUENCE_AT) >= client.home_sequence
        )
    if login == 0 or client.login != login:
        return False
    if command_type == TYPE_ENTER_ORDER:
        return is_new(core, client_index, load_u32(body + ENTER_ORDER_USER_REF_NUM_AT))
    if command_type == TYPE_REPLACE_ORDER:
        return is_new(core, client_index, load_u32(body + REPLACE_ORDER_USER_REF_NUM_AT))
    if command_type == TYPE_CANCEL_ORDER:
        user_ref_num = load_u32(body + CANCEL_ORDER_USER_REF_NUM_AT)
        index = index_find(core, client_index, user_ref_num)
        if index == NONE:
            return user_ref_num > client.last_user_ref_num
        return load_u32(body + CANCEL_ORDER_QUANTITY_AT) < order_at(core, index).leaves
    user_ref_num = load_u32(body + MASS_CANCEL_USER_REF_NUM_AT)
    if user_ref_num:
        return is_new(core, client_index, user_ref_num)
    return is_mass_cancel_reason(body[MASS_CANCEL_REASON_AT]) and has_something_to_cancel(
        core,
        client,
        load_u64(body + MASS_CANCEL_SYMBOL_AT),
        find_instrument(core, body + MASS_CANCEL_SYMBOL_AT),
    )


cdef inline bint is_new(
    const Core *core, uint32_t client_index, uint32_t user_ref_num
) noexcept nogil:
    """Whether a client has not used this number here.

    One of an order that came from another shard may be above the last one that it used here.
    """
    return (
        user_ref_num > client_at(core, client_index).last_user_ref_num
        and index_find(core, client_index, user_ref_num) == NONE
    )


cdef inline Coming coming_command(
    const Core *core, uint8_t command_type, const uint8_t *body
) noexcept nogil:
    """What looking ahead has to know of a command; of those that are seldom, nothing."""
    if command_type == TYPE_ENTER_ORDER:
        return coming_order(
            core,
            find_client(core, body + ENTER_ORDER_CLIENT_AT),
            load_u32(body + ENTER_ORDER_USER_REF_NUM_AT),
            find_instrument(core, body + ENTER_ORDER_SYMBOL_AT),
            body[ENTER_ORDER_SIDE_AT],
            load_u64(body + ENTER_ORDER_PRICE_AT),
        )
    if command_type == TYPE_CANCEL_ORDER:
        return coming_cancel(
            find_client(core, body + CANCEL_ORDER_CLIENT_AT),
            load_u32(body + CANCEL_ORDER_USER_REF_NUM_AT),
        )
    if command_type == TYPE_REPLACE_ORDER:
        return coming_cancel(
            find_client(core, body + REPLACE_ORDER_CLIENT_AT),
            load_u32(body + REPLACE_ORDER_ORIGINAL_USER_REF_NUM_AT),
        )
    return coming_cancel(NONE, 0)


cdef inline int carry_out(
    Core *core, uint8_t command_type, const uint8_t *body, uint64_t sequence
) noexcept nogil:
    """Carry out a command with this sequence number, its events into the core; the outcome."""
    cdef EnterOrder entered
    cdef ReplaceOrder replaced
    core.event_count = 0
    if command_type == TYPE_ENTER_ORDER:
        entered = read_enter(core, body)
        return enter(core, &entered, sequence)
    if command_type == TYPE_CANCEL_ORDER:
        return cancel(
            core,
            find_client(core, body + CANCEL_ORDER_CLIENT_AT),
            load_u32(body + CANCEL_ORDER_USER_REF_NUM_AT),
            load_u32(body + CANCEL_ORDER_QUANTITY_AT),
        )
    if command_type == TYPE_REPLACE_ORDER:
        replaced = read_replace(core, body)
        return replace(core, &replaced)
    if command_type == TYPE_MASS_CANCEL:
        return mass_cancel(
            core,
            find_client(core, body + MASS_CANCEL_CLIENT_AT),
            load_u32(body + MASS_CANCEL_USER_REF_NUM_AT),
            load_u64(body + MASS_CANCEL_SYMBOL_AT),
            find_instrument(core, body + MASS_CANCEL_SYMBOL_AT),
            body[MASS_CANCEL_REASON_AT],
        )
    if command_type == TYPE_LOG_IN:
        return log_in(core, body)
    if command_type == TYPE_DEFINE_INSTRUMENT:
        return define_instrument(core, body)
    if command_type == TYPE_SET_TRADING_STATE:
        return set_trading_state(core, body)
    if command_type == TYPE_NEW_DAY:
        return new_day(core, load_u32(body + NEW_DAY_DAY_AT))
    if command_type == TYPE_SHARD_MARK:
        return mark(core, body)
    if command_type == TYPE_ADOPT_ORDER:
        return adopt_order(
            core, find_instrument(core, body + ADOPT_ORDER_SYMBOL_AT), body, sequence
        )
    if command_type == TYPE_ADOPT_INSTRUMENT:
        return adopt_instrument(
            core, find_instrument(core, body + ADOPT_INSTRUMENT_SYMBOL_AT), body
        )
    if command_type == TYPE_MOVE_OUT:
        return move_out(core, find_instrument(core, body + MOVE_OUT_SYMBOL_AT))
    return DONE if command_type == TYPE_EPOCH else NO_COMMAND


cdef inline int log_in(Core *core, const uint8_t *body) noexcept nogil:
    cdef uint32_t number = load_u32(body + LOG_IN_CLIENT_AT)
    cdef uint8_t mode = body[LOG_IN_SELF_TRADE_PREVENTION_AT]
    cdef uint32_t index
    if not is_self_trade_mode(mode):
        return reject(core, number, 0, REJECT_REASON_INVALID_SELF_TRADE_PREVENTION)
    index = directory_find(&core.client_numbers, number)
    if index == NONE:
        index = add_client(core, number)
        if index == NONE:
            return OUT_OF_MEMORY
    client_at(core, index).login = load_u64(body + LOG_IN_LOGIN_AT)
    client_at(core, index).self_trade_prevention = mode
    client_at(core, index).home_sequence = load_u64(body + LOG_IN_HOME_SEQUENCE_AT)
    return DONE


cdef inline int define_instrument(Core *core, const uint8_t *body) noexcept nogil:
    cdef uint64_t symbol = load_u64(body + DEFINE_INSTRUMENT_SYMBOL_AT)
    cdef uint32_t tick_size = load_u32(body + DEFINE_INSTRUMENT_TICK_SIZE_AT)
    cdef uint32_t lot_size = load_u32(body + DEFINE_INSTRUMENT_LOT_SIZE_AT)
    cdef uint8_t short_sale = body[DEFINE_INSTRUMENT_SHORT_SALE_AT]
    cdef uint8_t reason = refuse_listing(
        symbol, tick_size, lot_size, short_sale, directory_find(&core.symbols, symbol) == NONE
    )
    if reason != FINE:
        return reject(core, NOBODY, 0, reason)
    if add_instrument(core, symbol, tick_size, lot_size, short_sale) == NONE:
        return OUT_OF_MEMORY
    return DONE


cdef inline int set_trading_state(Core *core, const uint8_t *body) noexcept nogil:
    cdef uint32_t index = find_instrument(core, body + SET_TRADING_STATE_SYMBOL_AT)
    cdef uint8_t state = body[SET_TRADING_STATE_STATE_AT]
    cdef Instrument *instrument = instrument_at(core, index)
    if index == NONE:
        return reject(core, NOBODY, 0, REJECT_REASON_UNKNOWN_SYMBOL)
    if state != TRADING_STATE_HALTED and state != TRADING_STATE_TRADING:
        return reject(core, NOBODY, 0, REJECT_REASON_INVALID_TRADING_STATE)
    if instrument.state == TRADING_STATE_MOVED:
        return reject(core, NOBODY, 0, REJECT_REASON_MOVED)
    if instrument.state == TRADING_STATE_ARRIVING and state != TRADING_STATE_HALTED:
        return reject(core, NOBODY, 0, REJECT_REASON_NOT_HALTED)
    instrument.state = state
    instrument.adopted_sequence = 0
    return DONE
