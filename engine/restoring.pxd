# cython: language_level=3
"""A core from the frames of its state, each of which is checked as if a stranger had written it.

As in `engine.restoring`, check by check. What is wrong is told in the reference's words.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from engine.arena cimport NONE, arena_reserve
from engine.core cimport add_client, add_instrument
from engine.days cimport is_day
from engine.directory cimport directory_find
from engine.framing cimport body_bytes, opens_group
from engine.ladder cimport ladder_reserve
from engine.order_index cimport index_entry, index_reserve
from engine.records cimport (
    LADDERS, MAX_MARKS, Client, Core, Instrument, Level, Order, OrderEntry, client_at,
    instrument_at, key_of, level_at, order_at,
)
from engine.refusals cimport (
    ALL_SYMBOLS, is_price, is_self_trade_mode, is_short_sale, is_trading_state,
)
from engine.sorting cimport Keyed, sort_by_key
from engine.terms cimport (
    Terms, add_order, ladder_of, read_state, refuse_place, refuse_terms, standing_price,
)
from feed.layout cimport *
from feed.wire cimport crc32c, load_u16, load_u32, load_u64

cdef enum:
    FIRST_NUMBERS = 1024
    NOT_TOLD = 0  # the self-trade prevention of a client whose own record is to come


# What has been read so far.
cdef struct Restoring:
    uint64_t first_sequence  # the number of the first frame
    uint64_t sequence  # of the one that is read
    uint64_t last_symbol
    uint32_t last_client
    uint32_t instrument  # the last one, or NONE
    uint32_t last_order  # the last one of that instrument, or NONE
    bint has_begun
    bint has_clients
    Keyed *numbers  # of each order, with the place of its frame
    size_t number_count
    size_t number_capacity


cdef inline void restoring_open(Restoring *restoring, uint64_t first_sequence) noexcept nogil:
    memset(restoring, 0, sizeof(Restoring))
    restoring.first_sequence = restoring.sequence = first_sequence


cdef inline void restoring_free(Restoring *restoring) noexcept nogil:
    free(restoring.numbers)
    restoring.numbers = NULL


cdef inline const char *take_frames(
    Core *core, Restoring *restoring, const uint8_t *frames, size_t size
) noexcept nogil:
    """Add what these frames say; what is wrong with the one numbered `sequence`, or NULL."""
    cdef const uint8_t *frame
    cdef const char *wrong
    cdef size_t offset = 0
    while offset < size:
        frame = frames + offset
        wrong = refuse_frame(restoring, frame, size - offset)
        if wrong == NULL:
            wrong = take_record(
                core, restoring, frame[FRAME_HEADER_TYPE_AT], frame + FRAME_HEADER_BYTES
            )
        if wrong != NULL:
            return wrong
        offset += load_u16(frame + FRAME_HEADER_LENGTH_AT)
        restoring.sequence += 1
    return NULL


cdef inline const char *refuse_frame(
    const Restoring *restoring, const uint8_t *frame, size_t left
) noexcept nogil:
    """What is wrong with a frame, where so many bytes are left, whatever it says."""
    cdef size_t length, size
    cdef uint32_t checksum
    cdef uint8_t flags
    if left < FRAME_HEADER_CHECKSUM_AT:
        return "not the beginning of a frame: unknown length, type or flags"
    length = load_u16(frame + FRAME_HEADER_LENGTH_AT)
    size = body_bytes(frame[FRAME_HEADER_TYPE_AT])
    flags = FRAME_FLAG_COMMAND if opens_group(frame[FRAME_HEADER_TYPE_AT]) else 0
    if size == 0 or length != FRAME_HEADER_BYTES + size or (
        frame[FRAME_HEADER_FLAGS_AT] & ~FRAME_FLAG_END != flags
    ):
        return "not the beginning of a frame: unknown length, type or flags"
    if length > left:
        return "truncated frame"
    checksum = crc32c(0, frame, FRAME_HEADER_CHECKSUM_AT)
    checksum = crc32c(
        checksum, frame + FRAME_HEADER_SEQUENCE_AT, length - FRAME_HEADER_SEQUENCE_AT
    )
    if checksum != load_u32(frame + FRAME_HEADER_CHECKSUM_AT):
        return "frame checksum does not match"
    if load_u64(frame + FRAME_HEADER_SEQUENCE_AT) != restoring.sequence:
        return "it has another number"
    if frame[FRAME_HEADER_FLAGS_AT]:
        return "it begins or ends a group"
    return NULL


cdef inline const char *take_record(
    Core *core, Restoring *restoring, uint8_t frame_type, const uint8_t *body
) noexcept nogil:
    """Add a record; what is wrong with it, or NULL. Memory may also have ended."""
    if (frame_type == TYPE_MARKET_STATE) == restoring.has_begun:
        return "the market's own record comes first, and once"
    if frame_type == TYPE_ORDER_STATE:
        return take_order(core, restoring, body)
    if frame_type == TYPE_CLIENT_STATE:
        return take_client(core, restoring, body)
    if frame_type == TYPE_INSTRUMENT_STATE:
        return take_instrument(core, restoring, body)
    if frame_type == TYPE_MARK_STATE:
        return take_mark(core, restoring, body)
    if frame_type == TYPE_MARKET_STATE:
        restoring.has_begun = True
        core.day = load_u32(body + MARKET_STATE_DAY_AT)
        if core.day and not is_day(core.day):
            return "the day is no date"
        return NULL
    return "no record of a market's state"


cdef inline const char *take_mark(
    Core *core, const Restoring *restoring, const uint8_t *body
) noexcept nogil:
    cdef uint16_t shard = load_u16(body + MARK_STATE_SHARD_AT)
    cdef uint16_t last_shard = core.marks[core.mark_count - 1].shard if core.mark_count else 0
    cdef uint64_t sequence = load_u64(body + MARK_STATE_SEQUENCE_AT)
    if restoring.instrument != NONE or restoring.has_clients:
        return "a mark after the instruments"
    if shard <= last_shard:
        return "marks out of order"
    if sequence == 0:
        return "a mark at no place"
    if core.mark_count == MAX_MARKS:
        return "more marks than a market holds"
    core.marks[core.mark_count].shard = shard
    core.marks[core.mark_count].sequence = sequence
    core.mark_count += 1
    return NULL


cdef inline const char *take_instrument(
    Core *core, Restoring *restoring, const uint8_t *body
) noexcept nogil:
    cdef uint64_t symbol = load_u64(body + INSTRUMENT_STATE_SYMBOL_AT)
    cdef uint32_t tick_size = load_u32(body + INSTRUMENT_STATE_TICK_SIZE_AT)
    cdef uint32_t lot_size = load_u32(body + INSTRUMENT_STATE_LOT_SIZE_AT)
    cdef uint8_t short_sale = body[INSTRUMENT_STATE_SHORT_SALE_AT]
    cdef uint8_t state = body[INSTRUMENT_STATE_STATE_AT]
    cdef uint64_t last_price = load_u64(body + INSTRUMENT_STATE_LAST_PRICE_AT)
    cdef uint32_t moves = load_u32(body + INSTRUMENT_STATE_MOVES_AT)
    cdef uint64_t adopted_sequence = load_u64(body + INSTRUMENT_STATE_ADOPTED_SEQUENCE_AT)
    cdef Instrument *instrument
    if restoring.has_clients:
        return "an instrument after the clients"
    if restoring.instrument != NONE and symbol <= restoring.last_symbol:
        return "instruments out of order"
    if symbol == ALL_SYMBOLS:
        return "an instrument without a name"
    if tick_size == 0 or lot_size == 0:
        return "a tick size or lot size of 0"
    if not (is_short_sale(short_sale) and is_trading_state(state)):
        return "an unknown code"
    restoring.instrument = add_instrument(core, symbol, tick_size, lot_size, short_sale)
    if restoring.instrument == NONE:
        return no_memory(core)
    instrument = instrument_at(core, restoring.instrument)
    if last_price and not is_price(instrument, last_price):
        return "a last price that nothing trades at"
    if state == TRADING_STATE_MOVED and moves == 0:
        return "an instrument is gone that never moved"
    if adopted_sequence and state != TRADING_STATE_ARRIVING:
        return "orders adopted without an arrival"
    instrument.state = state
    instrument.last_price = <uint32_t> last_price
    instrument.moves = moves
    instrument.adopted_sequence = adopted_sequence
    restoring.last_symbol = symbol
    restoring.last_order = NONE
    return NULL


cdef inline const char *take_order(
    Core *core, Restoring *restoring, const uint8_t *body
) noexcept nogil:
    cdef const Instrument *instrument = instrument_at(core, restoring.instrument)
    cdef uint64_t number = load_u64(body + ORDER_STATE_NUMBER_AT)
    cdef Terms terms = read_state(body)
    cdef uint32_t client
    cdef OrderEntry *entry
    cdef const char *wrong
    if restoring.instrument == NONE or restoring.has_clients or (
        load_u64(body + ORDER_STATE_SYMBOL_AT) != restoring.last_symbol
    ):
        return "an order apart from its instrument"
    if instrument.state == TRADING_STATE_MOVED or (
        instrument.state == TRADING_STATE_ARRIVING and instrument.adopted_sequence == 0
    ):
        return "an order of an instrument that has none"
    wrong = refuse_terms(instrument, &terms)
    if wrong != NULL:
        return wrong
    if core.orders.live >= core.order_limit:
        return "more live orders than a market holds"
    client = client_of(core, restoring, terms.client)
    if client == NONE or not (
        arena_reserve(&core.orders, 1) and index_reserve(&core.index) and ladder_reserve(core)
        and numbers_reserve(restoring)
    ):
        return no_memory(core)
    entry = index_entry(core, client, terms.user_ref_num)
    if entry.order != NONE:
        return "its client has another order by this user_ref_num"
    if is_out_of_order(core, restoring, &terms):
        return "orders out of order"
    wrong = refuse_place(core, instrument, &terms)
    if wrong != NULL:
        return wrong
    restoring.last_order = add_order(core, entry, restoring.instrument, client, number, &terms)
    restoring.numbers[restoring.number_count].key = number
    restoring.numbers[restoring.number_count].index = restoring.last_order
    restoring.numbers[restoring.number_count].place = <uint32_t> (
        restoring.sequence - restoring.first_sequence
    )
    restoring.number_count += 1
    return NULL


cdef inline const char *take_client(
    Core *core, Restoring *restoring, const uint8_t *body
) noexcept nogil:
    cdef uint32_t number = load_u32(body + CLIENT_STATE_CLIENT_AT)
    cdef uint8_t mode = body[CLIENT_STATE_SELF_TRADE_PREVENTION_AT]
    cdef uint32_t index
    cdef Client *client
    if restoring.has_clients and number <= restoring.last_client:
        return "clients out of order"
    if not is_self_trade_mode(mode):
        return "an unknown code"
    index = directory_find(&core.client_numbers, number)
    if index == NONE:
        index = add_client(core, number)
        if index == NONE:
            return no_memory(core)
    client = client_at(core, index)
    client.login = load_u64(body + CLIENT_STATE_LOGIN_AT)
    client.last_user_ref_num = load_u32(body + CLIENT_STATE_LAST_USER_REF_NUM_AT)
    client.self_trade_prevention = mode
    client.home_sequence = load_u64(body + CLIENT_STATE_HOME_SEQUENCE_AT)
    restoring.has_clients = True
    restoring.last_client = number
    return NULL


cdef inline uint32_t client_of(
    Core *core, const Restoring *restoring, uint32_t number
) noexcept nogil:
    """The client of an order, whose own record is to come; NONE when there is no memory."""
    cdef uint32_t index = directory_find(&core.client_numbers, number)
    if index == NONE:
        index = add_client(core, number)
        if index != NONE:
            client_at(core, index).self_trade_prevention = NOT_TOLD
            client_at(core, index).login = restoring.sequence
    return index


cdef inline bint is_out_of_order(
    const Core *core, const Restoring *restoring, const Terms *terms
) noexcept nogil:
    """Whether an order of the last instrument can't come after the one before it."""
    cdef uint32_t ladder = restoring.instrument * LADDERS + ladder_of(terms)
    cdef const Level *before
    if restoring.last_order == NONE:
        return False
    before = level_at(core, order_at(core, restoring.last_order).level)
    return ladder < before.ladder or (
        ladder == before.ladder and key_of(ladder, standing_price(terms)) < before.key
    )


cdef inline const char *take_whole(Core *core, Restoring *restoring) noexcept nogil:
    """Finish a state whose frames were all taken: each client's list of its orders.

    What is wrong with the frame numbered `sequence`, or NULL. Memory may also have ended.
    """
    cdef size_t count = restoring.number_count
    cdef uint32_t index
    cdef size_t at
    cdef Keyed *spare
    for index in range(1, core.clients.used):
        if client_at(core, index).self_trade_prevention == NOT_TOLD:
            restoring.sequence = client_at(core, index).login
            return "the record of its client is missing"
    spare = <Keyed *> malloc((count + 1) * sizeof(Keyed))
    if spare == NULL:
        return no_memory(core)
    sort_by_key(restoring.numbers, spare, count)
    free(spare)
    for at in range(count):
        if at > 0 and restoring.numbers[at].key == restoring.numbers[at - 1].key:
            restoring.sequence = restoring.first_sequence + restoring.numbers[at].place
            return "two orders have this number"
        join_last(core, restoring.numbers[at].index)
    return NULL


cdef inline void join_last(Core *core, uint32_t index) noexcept nogil:
    """Put an order at the end of its client's list."""
    cdef Order *order = order_at(core, index)
    cdef Client *client = client_at(core, order.client)
    order.client_previous = client.last
    if client.last == NONE:
        client.first = index
    else:
        order_at(core, client.last).client_next = index
    client.last = index
    client.order_count += 1


cdef inline bint numbers_reserve(Restoring *restoring) noexcept nogil:
    """Make room for one more number; False when there is no memory."""
    cdef size_t capacity = 2 * restoring.number_capacity
    cdef Keyed *numbers
    if restoring.number_count < restoring.number_capacity:
        return True
    if capacity == 0:
        capacity = FIRST_NUMBERS
    numbers = <Keyed *> realloc(restoring.numbers, capacity * sizeof(Keyed))
    if numbers == NULL:
        return False
    restoring.numbers = numbers
    restoring.number_capacity = capacity
    return True


cdef inline const char *no_memory(Core *core) noexcept nogil:
    core.out_of_memory = True
    return "no memory"
