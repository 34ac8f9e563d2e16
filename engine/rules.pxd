# cython: language_level=3
"""The commands about orders, and what they do.

As in `engine.market`. A command that no primary would have let into the list, such as one of an
unknown client, is not carried out, and the outcome says why.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.arena cimport NONE, arena_reserve, arena_take
from engine.core cimport emit, emit_about
from engine.crossing cimport bring_in, rests
from engine.days cimport is_day
from engine.layout cimport (
    REJECT_REASON_INVALID_DAY, REJECT_REASON_INVALID_REASON, REJECT_REASON_ORDER_NOT_LIVE,
    REJECT_REASON_TOO_MANY_ORDERS, REJECT_REASON_UNKNOWN_SYMBOL,
)
from engine.order_index cimport (
    index_enter, index_entry, index_find, index_remove, index_reserve,
)
from engine.records cimport (
    LADDERS, Client, Core, Event, Order, OrderEntry, client_at, instrument_at, level_at, order_at,
)
from engine.refusals cimport (
    ALL_SYMBOLS, FINE, EnterOrder, ReplaceOrder, refuse_enter, refuse_replace,
)
from engine.sorting cimport Keyed, sort_by_key
from engine.standing cimport forget, join_client, leave, take_off
from feed.layout cimport (
    CANCEL_REASON_EXPIRED, CANCEL_REASON_LINK_LOST, CANCEL_REASON_USER, TIME_IN_FORCE_DAY,
    TYPE_CANCELED, TYPE_REJECTED, TYPE_REPLACED,
)

cdef enum:
    NOBODY = 0  # the client of commands that no client sent

# What became of a command.
cdef enum:
    DONE = 0
    OUT_OF_MEMORY = 1
    UNKNOWN_CLIENT = 2
    NAME_IN_USE = 3  # a live order of the client goes by this user_ref_num already
    MORE_THAN_OPEN = 4  # a cancel would leave more open than there is
    NO_COMMAND = 5


cdef inline int enter(Core *core, const EnterOrder *command, uint64_t number) noexcept nogil:
    """A new order, with this number."""
    cdef Client *client = client_at(core, command.client)
    cdef uint32_t index
    cdef uint8_t reason
    cdef Order *order
    cdef OrderEntry *entry
    if command.client == NONE:
        return UNKNOWN_CLIENT
    if not (arena_reserve(&core.orders, 1) and index_reserve(&core.index)):
        return OUT_OF_MEMORY
    client.last_user_ref_num = command.user_ref_num
    reason = refuse_enter(core, command)
    if reason == FINE and core.orders.live >= core.order_limit:
        reason = REJECT_REASON_TOO_MANY_ORDERS
    if reason != FINE:
        return reject(core, client.number, command.user_ref_num, reason)
    entry = index_entry(core, command.client, command.user_ref_num)
    if entry.order != NONE:
        return NAME_IN_USE
    index = arena_take(&core.orders)
    order = order_at(core, index)
    memset(order, 0, sizeof(Order))
    order.number = number
    order.client = command.client
    order.user_ref_num = command.user_ref_num
    order.quantity = order.leaves = command.quantity
    order.price = <uint32_t> command.price
    order.stop_price = <uint32_t> command.stop_price
    order.side = command.side
    order.order_type = command.order_type
    order.time_in_force = command.time_in_force
    order.post_only = command.post_only
    order.capacity = command.capacity
    index_enter(core, entry, index)
    join_client(core, index)
    bring_in(core, command.instrument, index)
    return OUT_OF_MEMORY if core.out_of_memory else DONE


cdef inline int cancel(
    Core *core, uint32_t client, uint32_t user_ref_num, uint32_t quantity
) noexcept nogil:
    """Reduce an order to what should remain open of it."""
    cdef uint32_t index
    if client == NONE:
        return UNKNOWN_CLIENT
    index = index_find(core, client, user_ref_num)
    if index == NONE:
        return reject(
            core, client_at(core, client).number, user_ref_num, REJECT_REASON_ORDER_NOT_LIVE
        )
    if quantity > order_at(core, index).leaves:
        return MORE_THAN_OPEN
    cancel_standing(core, index, order_at(core, index).leaves - quantity, CANCEL_REASON_USER)
    return DONE


cdef inline int replace(Core *core, const ReplaceOrder *command) noexcept nogil:
    """Other terms for a live order."""
    cdef Client *client = client_at(core, command.client)
    cdef uint32_t index, named, instrument, leaves
    cdef uint8_t reason
    cdef bint keeps_priority
    cdef Order *order
    if command.client == NONE:
        return UNKNOWN_CLIENT
    index = index_find(core, command.client, command.original_user_ref_num)
    client.last_user_ref_num = command.user_ref_num
    if index == NONE:
        return reject(core, client.number, command.user_ref_num, REJECT_REASON_ORDER_NOT_LIVE)
    order = order_at(core, index)
    instrument = level_at(core, order.level).ladder // LADDERS
    reason = refuse_replace(core, instrument_at(core, instrument), order, command)
    if reason != FINE:
        return reject(core, client.number, command.user_ref_num, reason)
    named = index_find(core, command.client, command.user_ref_num)
    if named != NONE and named != index:
        return NAME_IN_USE
    leaves = command.quantity - order.executed
    keeps_priority = (
        order.stop_price == 0
        and command.price == order.price
        and leaves <= order.leaves
        and rests(command.time_in_force)
    )
    index_remove(core, index)
    order.user_ref_num = command.user_ref_num
    index_enter(core, index_entry(core, command.client, command.user_ref_num), index)
    if keeps_priority:
        if leaves < order.leaves:
            take_off(core, index, order.leaves - leaves)
    else:
        leave(core, index)
        order.leaves = leaves
        order.price = <uint32_t> command.price
        if command.stop_price:
            order.stop_price = <uint32_t> command.stop_price
    order.time_in_force = command.time_in_force
    order.quantity = command.quantity
    emit_replaced(core, instrument, order, command.original_user_ref_num, keeps_priority)
    if not keeps_priority:
        bring_in(core, instrument, index)
    return OUT_OF_MEMORY if core.out_of_memory else DONE


cdef inline int mass_cancel(
    Core *core, uint32_t client_index, uint32_t user_ref_num, uint64_t symbol,
    uint32_t instrument, uint8_t reason,
) noexcept nogil:
    """Cancel every order of a client, in one instrument (NONE when it is not known) or in all."""
    cdef Client *client
    cdef uint32_t index, following
    if client_index == NONE:
        return UNKNOWN_CLIENT
    client = client_at(core, client_index)
    if client.last_user_ref_num < user_ref_num:
        client.last_user_ref_num = user_ref_num
    if symbol != ALL_SYMBOLS and instrument == NONE:
        return reject(core, client.number, user_ref_num, REJECT_REASON_UNKNOWN_SYMBOL)
    if not is_mass_cancel_reason(reason):
        return reject(core, client.number, user_ref_num, REJECT_REASON_INVALID_REASON)
    index = client.first
    while index != NONE:
        following = order_at(core, index).client_next
        if symbol == ALL_SYMBOLS or stands_in(core, index, instrument):
            cancel_standing(core, index, order_at(core, index).leaves, reason)
        index = following
    return OUT_OF_MEMORY if core.out_of_memory else DONE


cdef inline int new_day(Core *core, uint32_t day) noexcept nogil:
    """Begin a day: what was for the one before expires, in the order of numbers."""
    cdef size_t count = 0
    cdef size_t at
    cdef Keyed *expired
    if not is_day(day) or day <= core.day:
        return reject(core, NOBODY, 0, REJECT_REASON_INVALID_DAY)
    expired = <Keyed *> malloc((2 * <size_t> core.orders.live + 1) * sizeof(Keyed))
    if expired == NULL:
        return OUT_OF_MEMORY
    count = find_orders_for_the_day(core, expired)
    sort_by_key(expired, expired + count, count)
    core.day = day
    for at in range(count):
        cancel_standing(
            core, expired[at].index, order_at(core, expired[at].index).leaves,
            CANCEL_REASON_EXPIRED,
        )
    free(expired)
    return OUT_OF_MEMORY if core.out_of_memory else DONE


cdef inline size_t find_orders_for_the_day(const Core *core, Keyed *found) noexcept nogil:
    """Write down every live order of time in force DAY; how many there are."""
    cdef uint32_t client, index
    cdef size_t count = 0
    for client in range(1, core.clients.used):
        index = client_at(core, client).first
        while index != NONE:
            if order_at(core, index).time_in_force == TIME_IN_FORCE_DAY:
                found[count].key = order_at(core, index).number
                found[count].index = index
                count += 1
            index = order_at(core, index).client_next
    return count


cdef inline bint has_something_to_cancel(
    const Core *core, const Client *client, uint64_t symbol, uint32_t instrument
) noexcept nogil:
    """Whether a mass cancel would cancel an order at all."""
    cdef uint32_t index = client.first
    if symbol != ALL_SYMBOLS:
        if instrument == NONE:
            return False
        while index != NONE and not stands_in(core, index, instrument):
            index = order_at(core, index).client_next
    return index != NONE


cdef inline bint is_mass_cancel_reason(uint8_t reason) noexcept nogil:
    return reason == CANCEL_REASON_USER or reason == CANCEL_REASON_LINK_LOST


cdef inline bint stands_in(const Core *core, uint32_t index, uint32_t instrument) noexcept nogil:
    return level_at(core, order_at(core, index).level).ladder // LADDERS == instrument


cdef inline int reject(
    Core *core, uint32_t client_number, uint32_t user_ref_num, uint8_t reason
) noexcept nogil:
    """Refuse a command."""
    cdef Event *event = emit(core, TYPE_REJECTED)
    event.client = client_number
    event.user_ref_num = user_ref_num
    event.reason = reason
    return DONE


cdef inline void cancel_standing(
    Core *core, uint32_t index, uint32_t quantity, uint8_t reason
) noexcept nogil:
    """Take this quantity off a standing order, which ends when nothing is left."""
    cdef Event *event = emit_about(core, TYPE_CANCELED, order_at(core, index))
    event.quantity = quantity
    event.reason = reason
    take_off(core, index, quantity)
    if order_at(core, index).leaves == 0:
        forget(core, index)


cdef inline void emit_replaced(
    Core *core, uint32_t instrument, const Order *order, uint32_t original, bint keeps_priority
) noexcept nogil:
    cdef Event *event = emit_about(core, TYPE_REPLACED, order)
    event.original_user_ref_num = original
    event.instrument = instrument
    event.side = order.side
    event.quantity = order.leaves
    event.price = order.price
    event.stop_price = order.stop_price
    event.capacity = order.capacity
    event.keeps_priority = keeps_priority
