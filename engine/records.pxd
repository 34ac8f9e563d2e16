# cython: language_level=3
"""What the kernel remembers: orders, levels, clients and instruments, each in an arena of its own.

Records refer to one another by index. An order is one cache line. The marks are few, and lie in a
table.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.arena cimport Arena
from engine.directory cimport Directory

cdef enum:
    NODE_WIDTH = 32  # keys in a node of a ladder: two cache lines of them
    LADDERS = 4  # of an instrument
    RECENT_BITS = 10  # 2 ** so many levels are found without a search, in the nearest cache
    MAX_MARKS = 64  # as in `engine.market`

# Which of its instrument's ladders it is. As in `engine.book`, in the order of the digest.
cdef enum:
    BIDS = 0
    ASKS = 1
    BUY_STOPS = 2
    SELL_STOPS = 3


cdef struct Order:
    uint64_t number
    uint32_t client  # its index
    uint32_t user_ref_num
    uint32_t quantity  # what was asked for: open, executed and taken off
    uint32_t leaves
    uint32_t executed
    uint32_t price  # 0 without a limit
    uint32_t stop_price  # 0 when it does not wait for one, or not any more
    uint32_t level  # where it stands; NONE while it is being matched
    uint32_t next  # in the queue of its level, or of the stops that were reached
    uint32_t previous
    uint32_t client_next  # among its client's live orders, by number
    uint32_t client_previous
    # Not in the order of `EnterOrder`: compilers would copy neighbours at once, and the processor
    # would wait for what was just written one by one.
    uint8_t side
    uint8_t time_in_force
    uint8_t capacity
    uint8_t order_type
    uint8_t post_only


cdef struct Level:
    uint64_t quantity  # the sum of what its orders have open
    int32_t key  # the price, negated in a ladder whose highest price is reached first
    uint32_t ladder  # LADDERS times the instrument's index, plus which one it is
    uint32_t first  # the order that trades next
    uint32_t last
    uint32_t next  # the level that is reached after it
    uint32_t previous


cdef struct Node:
    int32_t[NODE_WIDTH] keys
    uint32_t[NODE_WIDTH] children  # levels in a leaf, nodes above


cdef struct Ladder:
    uint32_t best  # the level that is reached first, or NONE
    uint32_t root  # the node, or NONE while there are no levels
    uint32_t height  # of the root above the leaves
    uint32_t level_count


cdef struct Instrument:
    Ladder[LADDERS] ladders
    uint64_t symbol  # its eight bytes as a big-endian number, which sorts as they do
    uint32_t tick_size
    uint32_t lot_size
    uint32_t last_price  # of the last trade; 0 before the first
    uint8_t short_sale
    uint8_t state  # a trading state, as in INSTRUMENT_STATE
    uint32_t moves  # from shard to shard
    uint64_t adopted_sequence  # while ARRIVING: the source_sequence of its last order so far
    uint8_t[24] unused  # up to whole cache lines


cdef struct Client:
    uint64_t login
    uint32_t number
    uint32_t last_user_ref_num
    uint32_t first  # of its live orders, by number
    uint32_t last
    uint32_t order_count
    uint8_t self_trade_prevention
    uint64_t home_sequence  # of its log-in; 0 in its home shard
    uint8_t[24] unused  # up to a whole cache line


cdef struct OrderEntry:
    uint32_t hash
    uint32_t order  # NONE where the entry is empty


cdef struct OrderIndex:
    OrderEntry *entries
    uint32_t bits  # there are 2 ** bits entries
    uint32_t count


# Of a record of the state, all that stands before the type is its body, as it is in a snapshot.
cdef struct Event:
    uint64_t number  # of the order; in a TRADE, of the maker
    uint64_t taker_number
    uint32_t client  # the number; in a TRADE, the maker's
    uint32_t user_ref_num
    uint32_t taker_client
    uint32_t taker_user_ref_num
    uint32_t original_user_ref_num
    uint32_t quantity
    uint32_t price
    uint32_t stop_price
    uint32_t instrument
    uint8_t side
    uint8_t reason
    uint8_t capacity
    uint8_t keeps_priority
    uint8_t[7] unused  # up to a whole cache line: more room than any record wants
    uint8_t type  # as in its frame


# How far another shard's list had come.
cdef struct Mark:
    uint64_t sequence
    uint16_t shard


cdef struct Core:
    Arena orders
    Arena levels
    Arena nodes
    Arena clients
    Arena instruments
    OrderIndex index  # from client and user_ref_num to a live order
    uint32_t[1 << RECENT_BITS] recent_levels  # by ladder and key; a hint, which may be out of date
    Directory client_numbers
    Directory symbols
    Event *events  # what the last command has caused
    size_t event_count
    size_t event_capacity
    uint64_t last_number  # of the orders that batches brought in
    uint32_t order_limit
    uint32_t day  # as YYYYMMDD; 0 before the first
    bint out_of_memory  # in the middle of a command: what it left is of no use
    Mark[MAX_MARKS] marks  # by shard
    uint32_t mark_count


cdef inline Order *order_at(const Core *core, uint32_t index) noexcept nogil:
    return <Order *> core.orders.records + index


cdef inline Level *level_at(const Core *core, uint32_t index) noexcept nogil:
    return <Level *> core.levels.records + index


cdef inline Node *node_at(const Core *core, uint32_t index) noexcept nogil:
    return <Node *> core.nodes.records + index


cdef inline Client *client_at(const Core *core, uint32_t index) noexcept nogil:
    return <Client *> core.clients.records + index


cdef inline Instrument *instrument_at(const Core *core, uint32_t index) noexcept nogil:
    return <Instrument *> core.instruments.records + index


cdef inline Ladder *ladder_at(const Core *core, uint32_t ladder) noexcept nogil:
    return &instrument_at(core, ladder // LADDERS).ladders[ladder % LADDERS]


cdef inline bint is_highest_first(uint32_t ladder) noexcept nogil:
    """Whether the highest price of a ladder is the one that is reached first."""
    return (ladder + 1) % LADDERS <= 1  # BIDS or SELL_STOPS


cdef inline int32_t key_of(uint32_t ladder, uint32_t price) noexcept nogil:
    """What a price is sorted by: the least key is reached first."""
    cdef int32_t negates = -is_highest_first(ladder)
    return (<int32_t> price ^ negates) - negates  # without a branch: no side can be predicted


cdef inline uint32_t price_of(int32_t key) noexcept nogil:
    return <uint32_t> (-key if key < 0 else key)
