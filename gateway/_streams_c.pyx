# cython: language_level=3
# distutils: include_dirs = feed
# distutils: depends = feed/wire.h feed/wire.pxd feed/layout.pxd gateway/layout.pxd gateway/told.pxd
# distutils: extra_compile_args = -O3
"""The compiled twin of `gateway._streams_py`: what groups tell their clients.

The frames are walked once: each message is written behind the one before it, whoever it is for, and
noted in a table of clients. Then each client's messages are copied together, in their order.

Nothing is read beyond the end of the bytes: where the twin in plain Python relies on the caller's
word that they are frames, WireError is raised here.
"""

from cpython cimport array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from feed cimport wire
from feed.layout cimport *
from gateway.layout cimport *
from gateway.told cimport *

import array

from feed.codec import WireError
from gateway._streams_py import Told

cdef struct Group:
    # The command's frame, and what is known of its events.
    const uint8_t *frame
    const uint8_t *time
    const uint8_t *body
    uint8_t type
    bint is_rejected

cdef size_t[256] _frame_bytes  # by type; 0 where there is no such type
cdef array.array _no_ends = array.array("I")
cdef array.array _no_sequences = array.array("Q")
cdef array.array _no_spent = array.array("I")
cdef object _new_tuple = tuple.__new__  # past the named tuple's own, which is in plain Python


def _fill_frame_bytes():
    _frame_bytes[TYPE_EPOCH] = EPOCH_FRAME_BYTES
    _frame_bytes[TYPE_DEFINE_INSTRUMENT] = DEFINE_INSTRUMENT_FRAME_BYTES
    _frame_bytes[TYPE_LOG_IN] = LOG_IN_FRAME_BYTES
    _frame_bytes[TYPE_ENTER_ORDER] = ENTER_ORDER_FRAME_BYTES
    _frame_bytes[TYPE_REPLACE_ORDER] = REPLACE_ORDER_FRAME_BYTES
    _frame_bytes[TYPE_CANCEL_ORDER] = CANCEL_ORDER_FRAME_BYTES
    _frame_bytes[TYPE_MASS_CANCEL] = MASS_CANCEL_FRAME_BYTES
    _frame_bytes[TYPE_SET_TRADING_STATE] = SET_TRADING_STATE_FRAME_BYTES
    _frame_bytes[TYPE_NEW_DAY] = NEW_DAY_FRAME_BYTES
    _frame_bytes[TYPE_SHARD_MARK] = SHARD_MARK_FRAME_BYTES
    _frame_bytes[TYPE_MOVE_OUT] = MOVE_OUT_FRAME_BYTES
    _frame_bytes[TYPE_ADOPT_INSTRUMENT] = ADOPT_INSTRUMENT_FRAME_BYTES
    _frame_bytes[TYPE_ADOPT_ORDER] = ADOPT_ORDER_FRAME_BYTES
    _frame_bytes[TYPE_TRADE] = TRADE_FRAME_BYTES
    _frame_bytes[TYPE_CANCELED] = CANCELED_FRAME_BYTES
    _frame_bytes[TYPE_REPLACED] = REPLACED_FRAME_BYTES
    _frame_bytes[TYPE_TRIGGERED] = TRIGGERED_FRAME_BYTES
    _frame_bytes[TYPE_REJECTED] = REJECTED_FRAME_BYTES
    _frame_bytes[TYPE_INSTRUMENT_STATE] = INSTRUMENT_STATE_FRAME_BYTES
    _frame_bytes[TYPE_ORDER_STATE] = ORDER_STATE_FRAME_BYTES


_fill_frame_bytes()


def tell(bytes groups not None):
    """What these verified frames, whole committed groups, tell each client.

    Each one whom they concern is there once, in the order in which they come to it.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(groups)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(groups)
    cdef Py_ssize_t frame_count = _count_frames(at, end)
    cdef Table table
    if frame_count < 0:
        raise WireError("these are no whole groups")
    if frame_count == 0:
        return []
    if not make_table(&table, frame_count):
        free_table(&table)
        raise MemoryError
    try:
        while at < end:
            at = _tell_of_group(&table, at)
            if at == NULL:
                raise AssertionError("REPLACED outside its group")
        return _told(&table)
    finally:
        free_table(&table)


cdef Py_ssize_t _count_frames(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """How many frames there are; -1 when they are none, or the last group has no end."""
    cdef Py_ssize_t count = 0
    cdef size_t size
    cdef bint is_whole = True
    while at < end:
        if end - at < FRAME_HEADER_BYTES:
            return -1
        size = wire.load_u16(at + FRAME_HEADER_LENGTH_AT)
        if size == 0 or size != _frame_bytes[at[FRAME_HEADER_TYPE_AT]] or size > <size_t>(end - at):
            return -1
        is_whole = at[FRAME_HEADER_FLAGS_AT] & FRAME_FLAG_END
        at += size
        count += 1
    return count if is_whole else -1


cdef list _told(Table *table):
    """Everything by client."""
    cdef list told = []
    cdef Client *client
    cdef const uint8_t *packet = table.packets
    cdef uint32_t i
    cdef bytes packets
    cdef array.array ends, sequences, spent
    for i in range(table.client_count):
        client = &table.clients[i]
        packets = PyBytes_FromStringAndSize(NULL, client.size)
        ends = array.clone(_no_ends, client.count, False)
        sequences = array.clone(_no_sequences, client.count, False)
        spent = array.clone(_no_spent, client.spent_count, False)
        client.packets = <uint8_t *>PyBytes_AS_STRING(packets)
        client.ends = ends.data.as_uints
        client.sequences = sequences.data.as_ulonglongs
        client.spent = spent.data.as_uints
        told.append(_new_tuple(Told, (client.number, packets, ends, sequences, spent)))
        client.size = client.count = client.spent_count = 0
    for i in range(table.message_count):
        client = &table.clients[table.messages[i].client]
        memcpy(client.packets + client.size, packet, table.messages[i].size)
        packet += table.messages[i].size
        client.size += table.messages[i].size
        client.ends[client.count] = <unsigned int>client.size
        client.sequences[client.count] = table.messages[i].sequence
        client.count += 1
    for i in range(table.spent_count):
        client = &table.clients[table.spent[i].client]
        client.spent[client.spent_count] = table.spent[i].number
        client.spent_count += 1
    return told


cdef const uint8_t *_tell_of_group(Table *table, const uint8_t *at) noexcept nogil:
    """Write what a group tells its clients; where it ends, or NULL when it can't be."""
    cdef Group group
    cdef const uint8_t *frame = at
    group.frame = at
    group.time = at + FRAME_HEADER_TIME_NS_AT
    group.body = at + FRAME_HEADER_BYTES
    group.type = at[FRAME_HEADER_TYPE_AT]
    group.is_rejected = False
    while not frame[FRAME_HEADER_FLAGS_AT] & FRAME_FLAG_END:
        frame += wire.load_u16(frame + FRAME_HEADER_LENGTH_AT)
        group.is_rejected |= frame[FRAME_HEADER_TYPE_AT] == TYPE_REJECTED
    _spend(table, &group)
    if not group.is_rejected:
        _accept(table, &group)
    while not at[FRAME_HEADER_FLAGS_AT] & FRAME_FLAG_END:
        at += wire.load_u16(at + FRAME_HEADER_LENGTH_AT)
        if not _tell_of_event(table, &group, at):
            return NULL
    return at + wire.load_u16(at + FRAME_HEADER_LENGTH_AT)


cdef void _spend(Table *table, const Group *group) noexcept nogil:
    """Note the user_ref_num that the command used up."""
    cdef uint32_t client, number
    if group.type == TYPE_ENTER_ORDER:
        client = wire.load_u32(group.body + ENTER_ORDER_CLIENT_AT)
        number = wire.load_u32(group.body + ENTER_ORDER_USER_REF_NUM_AT)
    elif group.type == TYPE_REPLACE_ORDER:
        client = wire.load_u32(group.body + REPLACE_ORDER_CLIENT_AT)
        number = wire.load_u32(group.body + REPLACE_ORDER_USER_REF_NUM_AT)
    elif group.type == TYPE_MASS_CANCEL:
        client = wire.load_u32(group.body + MASS_CANCEL_CLIENT_AT)
        number = wire.load_u32(group.body + MASS_CANCEL_USER_REF_NUM_AT)
    else:
        return
    if number:
        spend(table, client, number)


cdef void _accept(Table *table, const Group *group) noexcept nogil:
    """Tell that the command is done, where its events do not say so."""
    if group.type == TYPE_ENTER_ORDER:
        _accepted(table, group)
    elif group.type == TYPE_MASS_CANCEL:
        if wire.load_u32(group.body + MASS_CANCEL_USER_REF_NUM_AT):
            _mass_cancel_response(table, group)


cdef bint _tell_of_event(Table *table, const Group *group, const uint8_t *frame) noexcept nogil:
    """Write what one event tells its clients; False when it can't be where it is."""
    cdef uint8_t event = frame[FRAME_HEADER_TYPE_AT]
    if event == TYPE_TRADE:
        _executed(
            table,
            group,
            frame,
            TRADE_MAKER_CLIENT_AT,
            TRADE_MAKER_USER_REF_NUM_AT,
            LIQUIDITY_ADDED,
        )
        _executed(
            table,
            group,
            frame,
            TRADE_TAKER_CLIENT_AT,
            TRADE_TAKER_USER_REF_NUM_AT,
            LIQUIDITY_REMOVED,
        )
    elif event == TYPE_CANCELED:
        _canceled(table, group, frame)
    elif event == TYPE_REPLACED:
        if group.type != TYPE_REPLACE_ORDER:
            return False
        _replaced(table, group, frame)
    elif event == TYPE_TRIGGERED:
        _priority_update(table, group, frame)
    elif event == TYPE_REJECTED:
        _rejected(table, group, frame)
    return True


cdef void _accepted(Table *table, const Group *group) noexcept nogil:
    cdef const uint8_t *order = group.body
    cdef uint8_t order_type = order[ENTER_ORDER_ORDER_TYPE_AT]
    cdef bint waits = order_type == ORDER_TYPE_STOP or order_type == ORDER_TYPE_STOP_LIMIT
    cdef bint is_post_only = order[ENTER_ORDER_POST_ONLY_AT] == POST_ONLY_YES
    cdef size_t appendage_bytes = (
        (ELEMENT_BYTES + 1 if is_post_only else 0) + (STOP_PRICE_BYTES if waits else 0)
    )
    cdef uint8_t *out = begin_message(
        table,
        group.time,
        group.frame,
        wire.load_u32(order + ENTER_ORDER_CLIENT_AT),
        OUT_ACCEPTED,
        OUT_ACCEPTED_BYTES + appendage_bytes,
    )
    if out == NULL:
        return
    memcpy(out + OUT_ACCEPTED_USER_REF_NUM_AT, order + ENTER_ORDER_USER_REF_NUM_AT, 4)
    out[OUT_ACCEPTED_SIDE_AT] = order[ENTER_ORDER_SIDE_AT]
    memcpy(out + OUT_ACCEPTED_QUANTITY_AT, order + ENTER_ORDER_QUANTITY_AT, 4)
    memcpy(out + OUT_ACCEPTED_SYMBOL_AT, order + ENTER_ORDER_SYMBOL_AT, SYMBOL_BYTES)
    _store_price(out + OUT_ACCEPTED_PRICE_AT, order + ENTER_ORDER_PRICE_AT)
    out[OUT_ACCEPTED_TIME_IN_FORCE_AT] = order[ENTER_ORDER_TIME_IN_FORCE_AT]
    out[OUT_ACCEPTED_DISPLAY_AT] = FLAG_YES
    memcpy(out + OUT_ACCEPTED_ORDER_NUMBER_AT, group.frame + FRAME_HEADER_SEQUENCE_AT, 8)
    out[OUT_ACCEPTED_CAPACITY_AT] = order[ENTER_ORDER_CAPACITY_AT]
    out[OUT_ACCEPTED_INTERMARKET_SWEEP_AT] = FLAG_NO
    out[OUT_ACCEPTED_CROSS_TYPE_AT] = CROSS_TYPE_CONTINUOUS
    out[OUT_ACCEPTED_STATE_AT] = ORDER_STATE_LIVE
    memcpy(
        out + OUT_ACCEPTED_CLIENT_ORDER_ID_AT,
        order + ENTER_ORDER_CLIENT_ORDER_ID_AT,
        CLIENT_ORDER_ID_BYTES,
    )
    wire.store_u16(out + OUT_ACCEPTED_APPENDAGE_LENGTH_AT, <uint16_t>appendage_bytes)
    out += OUT_ACCEPTED_BYTES
    if is_post_only:
        out[ELEMENT_LENGTH_AT] = ELEMENT_BYTES
        out[ELEMENT_TAG_AT] = TAG_POST_ONLY
        out[ELEMENT_BYTES] = POST_ONLY_YES
        out += ELEMENT_BYTES + 1
    if waits:
        _store_stop_price(out, order + ENTER_ORDER_STOP_PRICE_AT)


cdef void _replaced(Table *table, const Group *group, const uint8_t *frame) noexcept nogil:
    cdef const uint8_t *event = frame + FRAME_HEADER_BYTES
    cdef const uint8_t *command = group.body
    cdef bint waits = wire.load_u64(event + REPLACED_STOP_PRICE_AT) != 0
    cdef size_t appendage_bytes = STOP_PRICE_BYTES if waits else 0
    cdef uint8_t *out = begin_message(
        table,
        group.time,
        frame,
        wire.load_u32(event + REPLACED_CLIENT_AT),
        OUT_REPLACED,
        OUT_REPLACED_BYTES + appendage_bytes,
    )
    if out == NULL:
        return
    memcpy(
        out + OUT_REPLACED_ORIGINAL_USER_REF_NUM_AT, event + REPLACED_ORIGINAL_USER_REF_NUM_AT, 4
    )
    memcpy(out + OUT_REPLACED_USER_REF_NUM_AT, event + REPLACED_USER_REF_NUM_AT, 4)
    out[OUT_REPLACED_SIDE_AT] = event[REPLACED_SIDE_AT]
    memcpy(out + OUT_REPLACED_QUANTITY_AT, event + REPLACED_QUANTITY_AT, 4)
    memcpy(out + OUT_REPLACED_SYMBOL_AT, event + REPLACED_SYMBOL_AT, SYMBOL_BYTES)
    _store_price(out + OUT_REPLACED_PRICE_AT, event + REPLACED_PRICE_AT)
    out[OUT_REPLACED_TIME_IN_FORCE_AT] = command[REPLACE_ORDER_TIME_IN_FORCE_AT]
    out[OUT_REPLACED_DISPLAY_AT] = FLAG_YES
    memcpy(out + OUT_REPLACED_ORDER_NUMBER_AT, event + REPLACED_ORDER_NUMBER_AT, 8)
    out[OUT_REPLACED_CAPACITY_AT] = event[REPLACED_CAPACITY_AT]
    out[OUT_REPLACED_INTERMARKET_SWEEP_AT] = FLAG_NO
    out[OUT_REPLACED_CROSS_TYPE_AT] = CROSS_TYPE_CONTINUOUS
    out[OUT_REPLACED_STATE_AT] = ORDER_STATE_LIVE
    memcpy(
        out + OUT_REPLACED_CLIENT_ORDER_ID_AT,
        command + REPLACE_ORDER_CLIENT_ORDER_ID_AT,
        CLIENT_ORDER_ID_BYTES,
    )
    wire.store_u16(out + OUT_REPLACED_APPENDAGE_LENGTH_AT, <uint16_t>appendage_bytes)
    if waits:
        _store_stop_price(out + OUT_REPLACED_BYTES, event + REPLACED_STOP_PRICE_AT)


cdef void _executed(
    Table *table,
    const Group *group,
    const uint8_t *frame,
    size_t client_at,
    size_t user_ref_num_at,
    uint8_t liquidity,
) noexcept nogil:
    """One side of a trade; the match number is the frame's sequence number."""
    cdef const uint8_t *trade = frame + FRAME_HEADER_BYTES
    cdef uint8_t *out = begin_message(
        table, group.time, frame, wire.load_u32(trade + client_at), OUT_EXECUTED, OUT_EXECUTED_BYTES
    )
    if out == NULL:
        return
    memcpy(out + OUT_EXECUTED_USER_REF_NUM_AT, trade + user_ref_num_at, 4)
    memcpy(out + OUT_EXECUTED_QUANTITY_AT, trade + TRADE_QUANTITY_AT, 4)
    memcpy(out + OUT_EXECUTED_PRICE_AT, trade + TRADE_PRICE_AT, 8)
    out[OUT_EXECUTED_LIQUIDITY_AT] = liquidity
    memcpy(out + OUT_EXECUTED_MATCH_NUMBER_AT, frame + FRAME_HEADER_SEQUENCE_AT, 8)
    wire.store_u16(out + OUT_EXECUTED_APPENDAGE_LENGTH_AT, 0)


cdef void _canceled(Table *table, const Group *group, const uint8_t *frame) noexcept nogil:
    cdef const uint8_t *event = frame + FRAME_HEADER_BYTES
    cdef uint8_t *out = begin_message(
        table,
        group.time,
        frame,
        wire.load_u32(event + CANCELED_CLIENT_AT),
        OUT_CANCELED,
        OUT_CANCELED_BYTES,
    )
    if out == NULL:
        return
    memcpy(out + OUT_CANCELED_USER_REF_NUM_AT, event + CANCELED_USER_REF_NUM_AT, 4)
    memcpy(out + OUT_CANCELED_QUANTITY_AT, event + CANCELED_QUANTITY_AT, 4)
    out[OUT_CANCELED_REASON_AT] = event[CANCELED_REASON_AT]


cdef void _priority_update(Table *table, const Group *group, const uint8_t *frame) noexcept nogil:
    cdef const uint8_t *event = frame + FRAME_HEADER_BYTES
    cdef uint8_t *out = begin_message(
        table,
        group.time,
        frame,
        wire.load_u32(event + TRIGGERED_CLIENT_AT),
        OUT_PRIORITY_UPDATE,
        OUT_PRIORITY_UPDATE_BYTES,
    )
    if out == NULL:
        return
    memcpy(out + OUT_PRIORITY_UPDATE_USER_REF_NUM_AT, event + TRIGGERED_USER_REF_NUM_AT, 4)
    _store_price(out + OUT_PRIORITY_UPDATE_PRICE_AT, event + TRIGGERED_PRICE_AT)
    out[OUT_PRIORITY_UPDATE_DISPLAY_AT] = FLAG_YES
    memcpy(out + OUT_PRIORITY_UPDATE_ORDER_NUMBER_AT, event + TRIGGERED_ORDER_NUMBER_AT, 8)


cdef void _rejected(Table *table, const Group *group, const uint8_t *frame) noexcept nogil:
    cdef const uint8_t *event = frame + FRAME_HEADER_BYTES
    cdef uint8_t *out = begin_message(
        table,
        group.time,
        frame,
        wire.load_u32(event + REJECTED_CLIENT_AT),
        OUT_REJECTED,
        OUT_REJECTED_BYTES,
    )
    cdef uint8_t *client_order_id
    if out == NULL:
        return
    memcpy(out + OUT_REJECTED_USER_REF_NUM_AT, event + REJECTED_USER_REF_NUM_AT, 4)
    memcpy(out + OUT_REJECTED_REASON_AT, event + REJECTED_REASON_AT, 2)
    client_order_id = out + OUT_REJECTED_CLIENT_ORDER_ID_AT
    if group.type == TYPE_ENTER_ORDER:
        memcpy(
            client_order_id, group.body + ENTER_ORDER_CLIENT_ORDER_ID_AT, CLIENT_ORDER_ID_BYTES
        )
    elif group.type == TYPE_REPLACE_ORDER:
        memcpy(
            client_order_id, group.body + REPLACE_ORDER_CLIENT_ORDER_ID_AT, CLIENT_ORDER_ID_BYTES
        )
    else:
        memset(client_order_id, 0x20, CLIENT_ORDER_ID_BYTES)


cdef void _mass_cancel_response(Table *table, const Group *group) noexcept nogil:
    cdef const uint8_t *command = group.body
    cdef uint8_t *out = begin_message(
        table,
        group.time,
        group.frame,
        wire.load_u32(command + MASS_CANCEL_CLIENT_AT),
        OUT_MASS_CANCEL_RESPONSE,
        OUT_MASS_CANCEL_RESPONSE_BYTES,
    )
    if out == NULL:
        return
    memcpy(out + OUT_MASS_CANCEL_RESPONSE_USER_REF_NUM_AT, command + MASS_CANCEL_USER_REF_NUM_AT, 4)
    memset(out + OUT_MASS_CANCEL_RESPONSE_FIRM_AT, 0x20, FIRM_BYTES)
    memcpy(out + OUT_MASS_CANCEL_RESPONSE_SYMBOL_AT, command + MASS_CANCEL_SYMBOL_AT, SYMBOL_BYTES)
    wire.store_u16(out + OUT_MASS_CANCEL_RESPONSE_APPENDAGE_LENGTH_AT, 0)


cdef void _store_price(uint8_t *out, const uint8_t *price) noexcept nogil:
    """A price from the list; where that says 0, the order has no limit."""
    if wire.load_u64(price):
        memcpy(out, price, 8)
    else:
        wire.store_u64(out, MARKET_PRICE)


cdef void _store_stop_price(uint8_t *out, const uint8_t *stop_price) noexcept nogil:
    out[ELEMENT_LENGTH_AT] = STOP_PRICE_BYTES - 1  # without itself
    out[ELEMENT_TAG_AT] = TAG_STOP_PRICE
    memcpy(out + ELEMENT_BYTES, stop_price, 8)
