# cython: language_level=3
# distutils: include_dirs = feed
# distutils: depends = feed/wire.h feed/wire.pxd feed/layout.pxd gateway/layout.pxd
# distutils: extra_compile_args = -O3
"""The compiled twin of `gateway._orders_py`: a client's orders in one call.

Each command is translated where it stands, from OUCH to the body of a frame. Whatever does not
pass a check ends the call in front of it; which check it was, `gateway.translate` finds out.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from feed cimport wire
from feed.layout cimport *
from gateway.layout cimport *

from feed.symbols import SEPARATORS
from gateway._orders_py import Taken

cdef uint8_t[256] _symbol_kinds  # of each byte in a symbol's field; 0 for a blank

cdef enum:
    # The least that a command takes up, as a packet; so much room bounds how many there can be.
    SHORTEST_PACKET_BYTES = SOUP_HEADER_BYTES + IN_CANCEL_ORDER_BYTES
    IN_A_NAME = 1
    NOT_IN_A_NAME = 2

cdef struct Bucket:
    # What `gateway.limits.TokenBucket` holds.
    int64_t full_at_ns
    int64_t interval_ns
    int64_t span_ns

cdef struct Order:
    # The appendages of an order; those that it does not carry are 0, and not there.
    bint has_post_only
    bint has_stop_price
    uint8_t post_only
    uint64_t stop_price


def _fill_symbol_kinds():
    for byte in range(256):
        is_text = 0x20 <= byte <= 0x7E and byte not in SEPARATORS
        _symbol_kinds[byte] = IN_A_NAME if is_text else NOT_IN_A_NAME
    _symbol_kinds[0x20] = 0  # between the characters of a name it stands for several, too


_fill_symbol_kinds()


def take_orders(
    bytes data not None,
    Py_ssize_t begin,
    Py_ssize_t room,
    uint32_t client,
    uint64_t login,
    rate,
    int64_t now_ns,
):
    """Make submissions of the commands that stand at `begin` of what a client sent.

    Takes `room` of them at most, and stops before the first packet that is no command, or is to be
    refused, or not whole. Each one that is taken is counted in `rate`, and nothing else is.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t count = 0, most, payload_bytes
    cdef Bucket orders, cancels
    cdef Bucket *bucket
    cdef uint8_t *submissions
    cdef uint8_t *out
    cdef size_t body_bytes
    if begin < 0:
        raise ValueError("before the beginning")
    most = min(room, (size - begin) // SHORTEST_PACKET_BYTES)
    if most <= 0:
        return Taken(begin, 0, b"")
    _read_bucket(rate.orders, &orders)
    _read_bucket(rate.cancels, &cancels)
    submissions = out = <uint8_t *>malloc(most * LONGEST_SUBMISSION_BYTES)
    if submissions == NULL:
        raise MemoryError
    try:
        while count < most:
            payload_bytes = _unsequenced_data(at + begin, size - begin)
            if payload_bytes <= 0:
                break
            body_bytes = _translate(at + begin + SOUP_HEADER_BYTES, payload_bytes, client, out)
            if not body_bytes:
                break
            bucket = &orders
            if out[SUBMISSION_HEADER_TYPE_AT] in (TYPE_CANCEL_ORDER, TYPE_MASS_CANCEL):
                bucket = &cancels
            if not _take(bucket, now_ns):
                break
            wire.store_u16(
                out + SUBMISSION_HEADER_LENGTH_AT, <uint16_t>(SUBMISSION_HEADER_BYTES + body_bytes)
            )
            wire.store_u64(out + SUBMISSION_HEADER_LOGIN_AT, login)
            out += SUBMISSION_HEADER_BYTES + body_bytes
            begin += SOUP_HEADER_BYTES + payload_bytes
            count += 1
        if count:
            rate.orders.full_at_ns = orders.full_at_ns
            rate.cancels.full_at_ns = cancels.full_at_ns
        return Taken(
            begin, count, PyBytes_FromStringAndSize(<const char *>submissions, out - submissions)
        )
    finally:
        free(submissions)


cdef int _read_bucket(object token_bucket, Bucket *bucket) except -1:
    bucket.full_at_ns = token_bucket.full_at_ns
    bucket.interval_ns = token_bucket.interval_ns
    bucket.span_ns = token_bucket.span_ns
    return 0


cdef bint _take(Bucket *bucket, int64_t now_ns) noexcept nogil:
    """Take a token as `TokenBucket.take` does."""
    cdef int64_t full_at_ns = max(bucket.full_at_ns, now_ns) + bucket.interval_ns
    if full_at_ns - now_ns > bucket.span_ns:
        return False
    bucket.full_at_ns = full_at_ns
    return True


cdef Py_ssize_t _unsequenced_data(const uint8_t *at, Py_ssize_t size) noexcept nogil:
    """How long the payload of the packet here is; -1 when it is another, or not whole."""
    cdef Py_ssize_t payload_bytes
    if size < SOUP_HEADER_BYTES or at[SOUP_HEADER_TYPE_AT] != SOUP_UNSEQUENCED_DATA:
        return -1
    payload_bytes = <Py_ssize_t>wire.load_u16(at + SOUP_HEADER_LENGTH_AT) - 1
    if payload_bytes > SOUP_PAYLOAD_LIMIT_BYTES or payload_bytes > size - SOUP_HEADER_BYTES:
        return -1
    return payload_bytes


cdef size_t _translate(
    const uint8_t *message, size_t size, uint32_t client, uint8_t *submission
) noexcept nogil:
    """Write a submission's type, and its body from an OUCH message; how long the body is.

    0 when the message is no command, or one that `gateway.translate.to_command` refuses.
    """
    cdef uint8_t *body = submission + SUBMISSION_HEADER_BYTES
    cdef uint8_t letter = message[0]
    if letter == IN_ENTER_ORDER:
        submission[SUBMISSION_HEADER_TYPE_AT] = TYPE_ENTER_ORDER
        return _enter_order(message, size, client, body)
    if letter == IN_REPLACE_ORDER:
        submission[SUBMISSION_HEADER_TYPE_AT] = TYPE_REPLACE_ORDER
        return _replace_order(message, size, client, body)
    if letter == IN_CANCEL_ORDER:
        submission[SUBMISSION_HEADER_TYPE_AT] = TYPE_CANCEL_ORDER
        return _cancel_order(message, size, client, body)
    if letter == IN_MASS_CANCEL:
        submission[SUBMISSION_HEADER_TYPE_AT] = TYPE_MASS_CANCEL
        return _mass_cancel(message, size, client, body)
    return 0


cdef size_t _enter_order(
    const uint8_t *message, size_t size, uint32_t client, uint8_t *body
) noexcept nogil:
    cdef Order order
    cdef uint64_t price
    cdef bint has_limit
    if size < IN_ENTER_ORDER_BYTES or not _read_appendages(
        message + IN_ENTER_ORDER_BYTES,
        size - IN_ENTER_ORDER_BYTES,
        wire.load_u16(message + IN_ENTER_ORDER_APPENDAGE_LENGTH_AT),
        True,
        &order,
    ):
        return 0
    price = wire.load_u64(message + IN_ENTER_ORDER_PRICE_AT)
    if (
        wire.load_u32(message + IN_ENTER_ORDER_USER_REF_NUM_AT) == 0
        or message[IN_ENTER_ORDER_SIDE_AT] == SHORT_EXEMPT
        or message[IN_ENTER_ORDER_CROSS_TYPE_AT] != CROSS_TYPE_CONTINUOUS
        or price == 0
        or message[IN_ENTER_ORDER_DISPLAY_AT] != FLAG_YES
        or message[IN_ENTER_ORDER_INTERMARKET_SWEEP_AT] != FLAG_NO
        or not _is_symbol(message + IN_ENTER_ORDER_SYMBOL_AT)
        or not _is_text(message + IN_ENTER_ORDER_CLIENT_ORDER_ID_AT, CLIENT_ORDER_ID_BYTES)
    ):
        return 0
    has_limit = price != MARKET_PRICE
    if order.has_stop_price:
        body[ENTER_ORDER_ORDER_TYPE_AT] = ORDER_TYPE_STOP_LIMIT if has_limit else ORDER_TYPE_STOP
    else:
        body[ENTER_ORDER_ORDER_TYPE_AT] = ORDER_TYPE_LIMIT if has_limit else ORDER_TYPE_MARKET
    wire.store_u32(body + ENTER_ORDER_CLIENT_AT, client)
    memcpy(body + ENTER_ORDER_USER_REF_NUM_AT, message + IN_ENTER_ORDER_USER_REF_NUM_AT, 4)
    memcpy(body + ENTER_ORDER_SYMBOL_AT, message + IN_ENTER_ORDER_SYMBOL_AT, SYMBOL_BYTES)
    body[ENTER_ORDER_SIDE_AT] = message[IN_ENTER_ORDER_SIDE_AT]
    body[ENTER_ORDER_TIME_IN_FORCE_AT] = message[IN_ENTER_ORDER_TIME_IN_FORCE_AT]
    body[ENTER_ORDER_POST_ONLY_AT] = order.post_only if order.has_post_only else POST_ONLY_NO
    memcpy(body + ENTER_ORDER_QUANTITY_AT, message + IN_ENTER_ORDER_QUANTITY_AT, 4)
    wire.store_u64(body + ENTER_ORDER_PRICE_AT, price if has_limit else 0)
    wire.store_u64(body + ENTER_ORDER_STOP_PRICE_AT, order.stop_price)
    body[ENTER_ORDER_CAPACITY_AT] = message[IN_ENTER_ORDER_CAPACITY_AT]
    memcpy(
        body + ENTER_ORDER_CLIENT_ORDER_ID_AT,
        message + IN_ENTER_ORDER_CLIENT_ORDER_ID_AT,
        CLIENT_ORDER_ID_BYTES,
    )
    return ENTER_ORDER_BYTES


cdef size_t _replace_order(
    const uint8_t *message, size_t size, uint32_t client, uint8_t *body
) noexcept nogil:
    cdef Order order
    cdef uint64_t price
    if size < IN_REPLACE_ORDER_BYTES or not _read_appendages(
        message + IN_REPLACE_ORDER_BYTES,
        size - IN_REPLACE_ORDER_BYTES,
        wire.load_u16(message + IN_REPLACE_ORDER_APPENDAGE_LENGTH_AT),
        False,
        &order,
    ):
        return 0
    price = wire.load_u64(message + IN_REPLACE_ORDER_PRICE_AT)
    if (
        wire.load_u32(message + IN_REPLACE_ORDER_USER_REF_NUM_AT) == 0
        or wire.load_u32(message + IN_REPLACE_ORDER_ORIGINAL_USER_REF_NUM_AT) == 0
        or price == 0
        or message[IN_REPLACE_ORDER_DISPLAY_AT] != FLAG_YES
        or message[IN_REPLACE_ORDER_INTERMARKET_SWEEP_AT] != FLAG_NO
        or not _is_text(message + IN_REPLACE_ORDER_CLIENT_ORDER_ID_AT, CLIENT_ORDER_ID_BYTES)
    ):
        return 0
    wire.store_u32(body + REPLACE_ORDER_CLIENT_AT, client)
    memcpy(
        body + REPLACE_ORDER_ORIGINAL_USER_REF_NUM_AT,
        message + IN_REPLACE_ORDER_ORIGINAL_USER_REF_NUM_AT,
        4,
    )
    memcpy(body + REPLACE_ORDER_USER_REF_NUM_AT, message + IN_REPLACE_ORDER_USER_REF_NUM_AT, 4)
    memcpy(body + REPLACE_ORDER_QUANTITY_AT, message + IN_REPLACE_ORDER_QUANTITY_AT, 4)
    wire.store_u64(body + REPLACE_ORDER_PRICE_AT, 0 if price == MARKET_PRICE else price)
    wire.store_u64(body + REPLACE_ORDER_STOP_PRICE_AT, order.stop_price)
    body[REPLACE_ORDER_TIME_IN_FORCE_AT] = message[IN_REPLACE_ORDER_TIME_IN_FORCE_AT]
    memcpy(
        body + REPLACE_ORDER_CLIENT_ORDER_ID_AT,
        message + IN_REPLACE_ORDER_CLIENT_ORDER_ID_AT,
        CLIENT_ORDER_ID_BYTES,
    )
    return REPLACE_ORDER_BYTES


cdef size_t _cancel_order(
    const uint8_t *message, size_t size, uint32_t client, uint8_t *body
) noexcept nogil:
    if size != IN_CANCEL_ORDER_BYTES:
        return 0
    if wire.load_u32(message + IN_CANCEL_ORDER_USER_REF_NUM_AT) == 0:
        return 0
    wire.store_u32(body + CANCEL_ORDER_CLIENT_AT, client)
    memcpy(body + CANCEL_ORDER_USER_REF_NUM_AT, message + IN_CANCEL_ORDER_USER_REF_NUM_AT, 4)
    memcpy(body + CANCEL_ORDER_QUANTITY_AT, message + IN_CANCEL_ORDER_QUANTITY_AT, 4)
    return CANCEL_ORDER_BYTES


cdef size_t _mass_cancel(
    const uint8_t *message, size_t size, uint32_t client, uint8_t *body
) noexcept nogil:
    if size != IN_MASS_CANCEL_BYTES:  # no appendage belongs to it
        return 0
    if (
        wire.load_u16(message + IN_MASS_CANCEL_APPENDAGE_LENGTH_AT) != 0
        or wire.load_u32(message + IN_MASS_CANCEL_USER_REF_NUM_AT) == 0
        or not _is_blank(message + IN_MASS_CANCEL_FIRM_AT, FIRM_BYTES)
        or not _is_symbol(message + IN_MASS_CANCEL_SYMBOL_AT)
    ):
        return 0
    wire.store_u32(body + MASS_CANCEL_CLIENT_AT, client)
    memcpy(body + MASS_CANCEL_USER_REF_NUM_AT, message + IN_MASS_CANCEL_USER_REF_NUM_AT, 4)
    memcpy(body + MASS_CANCEL_SYMBOL_AT, message + IN_MASS_CANCEL_SYMBOL_AT, SYMBOL_BYTES)
    body[MASS_CANCEL_REASON_AT] = CANCEL_REASON_USER
    return MASS_CANCEL_BYTES


cdef bint _read_appendages(
    const uint8_t *at, size_t size, size_t announced, bint may_be_post_only, Order *order
) noexcept nogil:
    """Read what stands behind an order; False when it is not just what it should be."""
    cdef size_t length
    cdef uint8_t tag
    memset(order, 0, sizeof(Order))
    if size != announced:
        return False
    while size:
        if size < ELEMENT_BYTES:
            return False
        length = at[ELEMENT_LENGTH_AT]  # without itself
        tag = at[ELEMENT_TAG_AT]
        if length + 1 > size:
            return False
        if tag == TAG_POST_ONLY and may_be_post_only and not order.has_post_only:
            if length + 1 != ELEMENT_BYTES + 1:
                return False
            order.has_post_only = True
            order.post_only = at[ELEMENT_BYTES]
        elif tag == TAG_STOP_PRICE and not order.has_stop_price:
            if length + 1 != ELEMENT_BYTES + 8:
                return False
            order.has_stop_price = True
            order.stop_price = wire.load_u64(at + ELEMENT_BYTES)
        else:
            return False
        at += length + 1
        size -= length + 1
    return True


cdef bint _is_symbol(const uint8_t *at) noexcept nogil:
    """Whether a symbol's field is text that does not name several; it may be blank."""
    cdef uint8_t kind, kinds = 0
    cdef uint32_t named = 0  # a bit for each place where a name's character stands
    cdef int i
    for i in range(SYMBOL_BYTES):
        kind = _symbol_kinds[at[i]]
        kinds |= kind
        named |= <uint32_t>(kind & IN_A_NAME) << i
    if kinds & NOT_IN_A_NAME:
        return False
    # One name is one run of bits: to add its lowest bit carries past all of them.
    return not named & (named + (named & (0 - named)))


cdef bint _is_text(const uint8_t *at, size_t size) noexcept nogil:
    """Whether all is printable ASCII."""
    cdef size_t i
    for i in range(size):
        if at[i] < 0x20 or at[i] > 0x7E:
            return False
    return True


cdef bint _is_blank(const uint8_t *at, size_t size) noexcept nogil:
    cdef size_t i
    for i in range(size):
        if at[i] != 0x20:
            return False
    return True
