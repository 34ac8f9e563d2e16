# cython: language_level=3
"""The core's commands from bytes, and its events to frames with their checksums."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from engine.directory cimport directory_find
from engine.records cimport Core, Event, instrument_at
from engine.refusals cimport EnterOrder, ReplaceOrder
from feed.layout cimport *
from feed.wire cimport crc32c, load_u32, load_u64, store_u16, store_u32, store_u64

cdef enum:
    FIRST_FRAMES_BYTES = 4096
    # More than a call's frames take, unless it ends a day or sweeps a deep book: that much is kept.
    MOST_KEPT_BYTES = 1 << 18
    LETTERS = 26


# Frames back to back, and what a `feed.run.Run` wants to know of them.
cdef struct Frames:
    uint8_t *data
    size_t size
    size_t capacity
    uint64_t count
    uint64_t end_sequence  # of the last frame that ends a group; 0 without any
    uint32_t types  # a bit for each type by its letter, from A
    uint64_t[LETTERS] counts  # of each type since the machine began


cdef inline void frames_clear(Frames *frames) noexcept nogil:
    """Begin anew; the counts by type go on. What a great group has taken is given back."""
    if frames.capacity > MOST_KEPT_BYTES:
        free(frames.data)
        frames.data = NULL
        frames.capacity = 0
    frames.size = 0
    frames.count = 0
    frames.end_sequence = 0
    frames.types = 0


cdef inline bint frames_reserve(Frames *frames, size_t more) noexcept nogil:
    """Make room for so many more bytes; False when there is no memory."""
    cdef size_t capacity = frames.capacity
    cdef uint8_t *data
    if capacity - frames.size >= more:
        return True
    if capacity == 0:
        capacity = FIRST_FRAMES_BYTES
    while capacity - frames.size < more:
        capacity *= 2
    data = <uint8_t *> realloc(frames.data, capacity)
    if data == NULL:
        return False
    frames.data = data
    frames.capacity = capacity
    return True


cdef inline size_t command_bytes(uint8_t frame_type) noexcept nogil:
    """The size of a command's body; 0 when the type is of none."""
    if frame_type == TYPE_ENTER_ORDER:
        return ENTER_ORDER_BYTES
    if frame_type == TYPE_CANCEL_ORDER:
        return CANCEL_ORDER_BYTES
    if frame_type == TYPE_REPLACE_ORDER:
        return REPLACE_ORDER_BYTES
    if frame_type == TYPE_MASS_CANCEL:
        return MASS_CANCEL_BYTES
    if frame_type == TYPE_LOG_IN:
        return LOG_IN_BYTES
    if frame_type == TYPE_SET_TRADING_STATE:
        return SET_TRADING_STATE_BYTES
    if frame_type == TYPE_DEFINE_INSTRUMENT:
        return DEFINE_INSTRUMENT_BYTES
    if frame_type == TYPE_EPOCH:
        return EPOCH_BYTES
    if frame_type == TYPE_NEW_DAY:
        return NEW_DAY_BYTES
    if frame_type == TYPE_SHARD_MARK:
        return SHARD_MARK_BYTES
    if frame_type == TYPE_ADOPT_ORDER:
        return ADOPT_ORDER_BYTES
    if frame_type == TYPE_ADOPT_INSTRUMENT:
        return ADOPT_INSTRUMENT_BYTES
    if frame_type == TYPE_MOVE_OUT:
        return MOVE_OUT_BYTES
    return 0


cdef inline size_t event_bytes(uint8_t frame_type) noexcept nogil:
    """The size of an event's body that no snapshot has; 0 when the type is of none."""
    if frame_type == TYPE_TRADE:
        return TRADE_BYTES
    if frame_type == TYPE_CANCELED:
        return CANCELED_BYTES
    if frame_type == TYPE_REPLACED:
        return REPLACED_BYTES
    if frame_type == TYPE_REJECTED:
        return REJECTED_BYTES
    if frame_type == TYPE_TRIGGERED:
        return TRIGGERED_BYTES
    return 0


cdef inline size_t snapshot_bytes(uint8_t frame_type) noexcept nogil:
    """The size of a body that stands in snapshots; 0 when the type is of none."""
    if frame_type == TYPE_ORDER_STATE:
        return ORDER_STATE_BYTES
    if frame_type == TYPE_CLIENT_STATE:
        return CLIENT_STATE_BYTES
    if frame_type == TYPE_INSTRUMENT_STATE:
        return INSTRUMENT_STATE_BYTES
    if frame_type == TYPE_MARKET_STATE:
        return MARKET_STATE_BYTES
    if frame_type == TYPE_MARK_STATE:
        return MARK_STATE_BYTES
    if frame_type == TYPE_SNAPSHOT:
        return SNAPSHOT_BYTES
    if frame_type == TYPE_SNAPSHOT_END:
        return SNAPSHOT_END_BYTES
    return 0


cdef inline size_t body_bytes(uint8_t frame_type) noexcept nogil:
    """The size of a body of this type; 0 when the type is not known."""
    cdef size_t size = command_bytes(frame_type)
    if size == 0:
        size = event_bytes(frame_type)
    return size if size else snapshot_bytes(frame_type)


cdef inline bint opens_group(uint8_t frame_type) noexcept nogil:
    """Whether frames of this type are the first of their groups."""
    return command_bytes(frame_type) or frame_type == TYPE_SNAPSHOT


cdef inline EnterOrder read_enter(const Core *core, const uint8_t *body) noexcept nogil:
    cdef EnterOrder command
    command.client = directory_find(
        &core.client_numbers, load_u32(body + ENTER_ORDER_CLIENT_AT)
    )
    command.user_ref_num = load_u32(body + ENTER_ORDER_USER_REF_NUM_AT)
    command.instrument = directory_find(
        &core.symbols, load_u64(body + ENTER_ORDER_SYMBOL_AT)
    )
    command.side = body[ENTER_ORDER_SIDE_AT]
    command.order_type = body[ENTER_ORDER_ORDER_TYPE_AT]
    command.time_in_force = body[ENTER_ORDER_TIME_IN_FORCE_AT]
    command.post_only = body[ENTER_ORDER_POST_ONLY_AT]
    command.quantity = load_u32(body + ENTER_ORDER_QUANTITY_AT)
    command.price = load_u64(body + ENTER_ORDER_PRICE_AT)
    command.stop_price = load_u64(body + ENTER_ORDER_STOP_PRICE_AT)
    command.capacity = body[ENTER_ORDER_CAPACITY_AT]
    return command


cdef inline ReplaceOrder read_replace(const Core *core, const uint8_t *body) noexcept nogil:
    cdef ReplaceOrder command
    command.client = directory_find(
        &core.client_numbers, load_u32(body + REPLACE_ORDER_CLIENT_AT)
    )
    command.original_user_ref_num = load_u32(body + REPLACE_ORDER_ORIGINAL_USER_REF_NUM_AT)
    command.user_ref_num = load_u32(body + REPLACE_ORDER_USER_REF_NUM_AT)
    command.quantity = load_u32(body + REPLACE_ORDER_QUANTITY_AT)
    command.price = load_u64(body + REPLACE_ORDER_PRICE_AT)
    command.stop_price = load_u64(body + REPLACE_ORDER_STOP_PRICE_AT)
    command.time_in_force = body[REPLACE_ORDER_TIME_IN_FORCE_AT]
    return command


cdef inline bint write_group(
    Frames *frames,
    const Core *core,
    uint8_t command_type,
    const uint8_t *body,
    uint64_t sequence,
    uint64_t time_ns,
) noexcept nogil:
    """Append the group of a command, by its body, and of the events in the core.

    False when there is no memory.
    """
    cdef size_t index
    cdef uint64_t last = sequence + core.event_count
    cdef uint8_t flags = FRAME_FLAG_COMMAND
    cdef size_t size = command_bytes(command_type)
    if not frames_reserve(frames, (1 + core.event_count) * LONGEST_FRAME_BYTES):
        return False
    if core.event_count == 0:
        flags |= FRAME_FLAG_END
    memcpy(frames.data + frames.size + FRAME_HEADER_BYTES, body, size)
    close_frame(frames, command_type, flags, size, sequence, time_ns)
    for index in range(core.event_count):
        sequence += 1
        flags = FRAME_FLAG_END if sequence == last else 0
        size = write_event(
            core, &core.events[index], frames.data + frames.size + FRAME_HEADER_BYTES
        )
        close_frame(frames, core.events[index].type, flags, size, sequence, time_ns)
    frames.end_sequence = last
    return True


cdef inline void close_frame(
    Frames *frames,
    uint8_t frame_type,
    uint8_t flags,
    size_t body_size,
    uint64_t sequence,
    uint64_t time_ns,
) noexcept nogil:
    """Put the header before a body that has just been written after the frames."""
    cdef uint8_t *frame = frames.data + frames.size
    cdef size_t length = FRAME_HEADER_BYTES + body_size
    cdef uint32_t checksum
    store_u16(frame + FRAME_HEADER_LENGTH_AT, <uint16_t> length)
    frame[FRAME_HEADER_TYPE_AT] = frame_type
    frame[FRAME_HEADER_FLAGS_AT] = flags
    store_u64(frame + FRAME_HEADER_SEQUENCE_AT, sequence)
    store_u64(frame + FRAME_HEADER_TIME_NS_AT, time_ns)
    checksum = crc32c(0, frame, FRAME_HEADER_CHECKSUM_AT)
    checksum = crc32c(
        checksum, frame + FRAME_HEADER_SEQUENCE_AT, length - FRAME_HEADER_SEQUENCE_AT
    )
    store_u32(frame + FRAME_HEADER_CHECKSUM_AT, checksum)
    frames.size += length
    frames.count += 1
    frames.types |= 1 << (frame_type - c'A')
    frames.counts[frame_type - c'A'] += 1


cdef inline size_t write_event(
    const Core *core, const Event *event, uint8_t *body
) noexcept nogil:
    """The event's body; its size."""
    if event.type == TYPE_TRADE:
        store_u64(body + TRADE_SYMBOL_AT, instrument_at(core, event.instrument).symbol)
        store_u64(body + TRADE_PRICE_AT, event.price)
        store_u32(body + TRADE_QUANTITY_AT, event.quantity)
        body[TRADE_TAKER_SIDE_AT] = event.side
        store_u64(body + TRADE_MAKER_NUMBER_AT, event.number)
        store_u32(body + TRADE_MAKER_CLIENT_AT, event.client)
        store_u32(body + TRADE_MAKER_USER_REF_NUM_AT, event.user_ref_num)
        store_u64(body + TRADE_TAKER_NUMBER_AT, event.taker_number)
        store_u32(body + TRADE_TAKER_CLIENT_AT, event.taker_client)
        store_u32(body + TRADE_TAKER_USER_REF_NUM_AT, event.taker_user_ref_num)
        return TRADE_BYTES
    if event.type == TYPE_CANCELED:
        store_u32(body + CANCELED_CLIENT_AT, event.client)
        store_u32(body + CANCELED_USER_REF_NUM_AT, event.user_ref_num)
        store_u64(body + CANCELED_ORDER_NUMBER_AT, event.number)
        store_u32(body + CANCELED_QUANTITY_AT, event.quantity)
        body[CANCELED_REASON_AT] = event.reason
        return CANCELED_BYTES
    if event.type == TYPE_REPLACED:
        store_u32(body + REPLACED_CLIENT_AT, event.client)
        store_u32(body + REPLACED_ORIGINAL_USER_REF_NUM_AT, event.original_user_ref_num)
        store_u32(body + REPLACED_USER_REF_NUM_AT, event.user_ref_num)
        store_u64(body + REPLACED_ORDER_NUMBER_AT, event.number)
        store_u64(body + REPLACED_SYMBOL_AT, instrument_at(core, event.instrument).symbol)
        body[REPLACED_SIDE_AT] = event.side
        store_u32(body + REPLACED_QUANTITY_AT, event.quantity)
        store_u64(body + REPLACED_PRICE_AT, event.price)
        store_u64(body + REPLACED_STOP_PRICE_AT, event.stop_price)
        body[REPLACED_CAPACITY_AT] = event.capacity
        body[REPLACED_KEEPS_PRIORITY_AT] = event.keeps_priority
        return REPLACED_BYTES
    if event.type == TYPE_TRIGGERED:
        store_u32(body + TRIGGERED_CLIENT_AT, event.client)
        store_u32(body + TRIGGERED_USER_REF_NUM_AT, event.user_ref_num)
        store_u64(body + TRIGGERED_ORDER_NUMBER_AT, event.number)
        store_u64(body + TRIGGERED_SYMBOL_AT, instrument_at(core, event.instrument).symbol)
        body[TRIGGERED_SIDE_AT] = event.side
        store_u32(body + TRIGGERED_QUANTITY_AT, event.quantity)
        store_u64(body + TRIGGERED_PRICE_AT, event.price)
        return TRIGGERED_BYTES
    if event.type == TYPE_REJECTED:
        store_u32(body + REJECTED_CLIENT_AT, event.client)
        store_u32(body + REJECTED_USER_REF_NUM_AT, event.user_ref_num)
        store_u16(body + REJECTED_REASON_AT, event.reason)
        return REJECTED_BYTES
    memcpy(body, event, snapshot_bytes(event.type))
    return snapshot_bytes(event.type)
