# cython: language_level=3
"""What is being told: clients in the order in which they come, and the packets for them."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from feed cimport wire
from feed.layout cimport *
from gateway.layout cimport *

cdef enum:
    NOBODY = 0  # the client in frames that belong to no client
    # A frame makes two messages at most, and none is longer than one of these with its appendages.
    MESSAGES_PER_FRAME = 2
    STOP_PRICE_BYTES = ELEMENT_BYTES + 8
    LONGEST_PACKET_BYTES = (
        SOUP_HEADER_BYTES + OUT_REPLACED_BYTES + ELEMENT_BYTES + 1 + STOP_PRICE_BYTES
    )

cdef struct Client:
    uint32_t number
    uint32_t count  # of its messages
    uint32_t spent_count  # of the user_ref_nums that it used up
    size_t size  # of the messages' packets
    uint8_t *packets  # once there is room for all of this
    unsigned int *ends
    unsigned long long *sequences
    unsigned int *spent

cdef struct Message:
    uint32_t client  # its place in the table
    uint32_t size  # of the packet
    uint64_t sequence  # of the frame that it tells of

cdef struct Spent:
    uint32_t client  # its place in the table
    uint32_t number

cdef struct Table:
    # Clients in the order in which they came, and where in that order each stands.
    Client *clients
    uint32_t client_count
    uint32_t *places  # by a hash of the number; 1 is the first, 0 stands for nobody
    uint32_t mask
    Message *messages
    uint32_t message_count
    Spent *spent
    uint32_t spent_count
    uint8_t *packets  # all of them, back to back
    uint8_t *out  # where the next one goes


cdef inline bint make_table(Table *table, Py_ssize_t frame_count) noexcept nogil:
    """Make room for all that so many frames can tell; False when there is none."""
    # Of clients, too: a command concerns one, an event two at most.
    cdef size_t most = MESSAGES_PER_FRAME * frame_count
    cdef uint32_t places = 16
    memset(table, 0, sizeof(Table))
    if most > 1 << 28:
        return False
    while places < 2 * most:
        places *= 2
    table.mask = places - 1
    table.clients = <Client *>malloc(most * sizeof(Client))  # each cleared as it comes in
    table.places = <uint32_t *>calloc(places, sizeof(uint32_t))
    table.messages = <Message *>malloc(most * sizeof(Message))
    table.spent = <Spent *>malloc(frame_count * sizeof(Spent))
    table.packets = table.out = <uint8_t *>malloc(most * LONGEST_PACKET_BYTES)
    return table.clients and table.places and table.messages and table.spent and table.packets


cdef inline void free_table(Table *table) noexcept nogil:
    free(table.clients)
    free(table.places)
    free(table.messages)
    free(table.spent)
    free(table.packets)


cdef inline uint32_t place_of(Table *table, uint32_t number) noexcept nogil:
    """Where a client stands in the table; it comes in when it is not there yet."""
    cdef uint32_t at = (number * 2654435769U) >> 7 & table.mask
    cdef uint32_t place
    while True:
        place = table.places[at]
        if place == 0:
            memset(&table.clients[table.client_count], 0, sizeof(Client))
            table.clients[table.client_count].number = number
            table.client_count += 1
            table.places[at] = table.client_count
            return table.client_count - 1
        if table.clients[place - 1].number == number:
            return place - 1
        at = (at + 1) & table.mask


cdef inline void spend(Table *table, uint32_t client, uint32_t number) noexcept nogil:
    """Note a number that a client used up."""
    cdef uint32_t place = place_of(table, client)
    table.clients[place].spent_count += 1
    table.spent[table.spent_count].client = place
    table.spent[table.spent_count].number = number
    table.spent_count += 1


cdef inline uint8_t *begin_message(
    Table *table,
    const uint8_t *time,
    const uint8_t *frame,
    uint32_t client,
    uint8_t letter,
    size_t size,
) noexcept nogil:
    """A message of so many bytes with its letter and time; NULL when it is for nobody.

    `frame` is what it tells of.
    """
    cdef uint32_t place
    cdef uint8_t *packet = table.out
    if client == NOBODY:
        return NULL
    place = place_of(table, client)
    table.clients[place].size += SOUP_HEADER_BYTES + size
    table.clients[place].count += 1
    table.messages[table.message_count].client = place
    table.messages[table.message_count].size = <uint32_t>(SOUP_HEADER_BYTES + size)
    table.messages[table.message_count].sequence = wire.load_u64(frame + FRAME_HEADER_SEQUENCE_AT)
    table.message_count += 1
    table.out += SOUP_HEADER_BYTES + size
    wire.store_u16(packet + SOUP_HEADER_LENGTH_AT, <uint16_t>(size + 1))
    packet[SOUP_HEADER_TYPE_AT] = SOUP_SEQUENCED_DATA
    packet += SOUP_HEADER_BYTES
    packet[OUT_ACCEPTED_TYPE_AT] = letter
    memcpy(packet + OUT_ACCEPTED_TIME_NS_AT, time, 8)  # at the same place in all of them
    return packet
