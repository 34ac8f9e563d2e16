# cython: language_level=3
"""Ladders: the price levels of one side of a book, or of its stops, in the order they are reached.

The levels are linked in that order, and a B+ tree over their keys (Bayer and McCreight 1972) finds
the level of a price, unless it is among those that were wanted last. A node's unused keys are
greater than any price: so a key's place is the number of lesser keys, which is counted without a
branch, and nodes need no counter. An inner node's first key is less than any price; each other one
is a lower bound of its child's keys, and greater than all keys of the child before. Nodes are freed
when they are empty and never merged: most books have one node a side, and those that shrink grow
again.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from engine.arena cimport NONE, arena_free, arena_reserve, arena_take
from engine.records cimport (
    NODE_WIDTH, RECENT_BITS, Core, Ladder, Level, Node, ladder_at, level_at, node_at,
)

cdef enum:
    UNUSED_KEY = 0x7FFFFFFF
    LEAST_KEY = -0x7FFFFFFF
    HALF = NODE_WIDTH // 2
    # A root splits when it has NODE_WIDTH children, each of which came of a split that left HALF:
    # so a tree of this height takes more levels made than sequence numbers count.
    MAX_HEIGHT = 16


cdef struct Step:
    uint32_t node
    uint32_t place  # of the child that the way goes on to; in the leaf, of the key


cdef inline uint32_t lesser_keys(const Node *node, int32_t key) noexcept nogil:
    """How many of the node's keys are less than this one."""
    cdef uint32_t lesser = 0
    cdef int place
    for place in range(NODE_WIDTH):
        lesser += node.keys[place] < key
    return lesser


cdef inline void node_insert(
    Node *node, uint32_t place, int32_t key, uint32_t child
) noexcept nogil:
    """Put a key and its child into a node that has room."""
    cdef uint32_t moved = NODE_WIDTH - 1 - place
    memmove(&node.keys[place + 1], &node.keys[place], moved * sizeof(int32_t))
    memmove(&node.children[place + 1], &node.children[place], moved * sizeof(uint32_t))
    node.keys[place] = key
    node.children[place] = child


cdef inline void node_remove(Node *node, uint32_t place) noexcept nogil:
    cdef uint32_t moved = NODE_WIDTH - 1 - place
    memmove(&node.keys[place], &node.keys[place + 1], moved * sizeof(int32_t))
    memmove(&node.children[place], &node.children[place + 1], moved * sizeof(uint32_t))
    node.keys[NODE_WIDTH - 1] = UNUSED_KEY


cdef inline uint32_t take_node(Core *core) noexcept nogil:
    """A node without keys."""
    cdef uint32_t taken = arena_take(&core.nodes)
    cdef Node *node = node_at(core, taken)
    cdef int place
    for place in range(NODE_WIDTH):
        node.keys[place] = UNUSED_KEY
    return taken


cdef inline uint32_t split(Core *core, Node *node) noexcept nogil:
    """Move the upper half of a full node to a new one."""
    cdef uint32_t taken = take_node(core)
    cdef Node *upper = node_at(core, taken)
    cdef int place
    memcpy(upper.keys, &node.keys[HALF], HALF * sizeof(int32_t))
    memcpy(upper.children, &node.children[HALF], HALF * sizeof(uint32_t))
    for place in range(HALF, NODE_WIDTH):
        node.keys[place] = UNUSED_KEY
    return taken


cdef inline void ladder_way(
    const Core *core, const Ladder *ladder, int32_t key, Step *way
) noexcept nogil:
    """The way from the root to where the key is in a leaf, or would be."""
    cdef uint32_t node = ladder.root
    cdef uint32_t depth, place
    for depth in range(ladder.height):
        place = lesser_keys(node_at(core, node), key + 1) - 1
        way[depth].node = node
        way[depth].place = place
        node = node_at(core, node).children[place]
    way[ladder.height].node = node
    way[ladder.height].place = lesser_keys(node_at(core, node), key)


cdef inline bint ladder_reserve(Core *core) noexcept nogil:
    """Make sure that one level can be added; False when there is no memory."""
    return arena_reserve(&core.levels, 1) and arena_reserve(&core.nodes, MAX_HEIGHT + 2)


cdef inline uint32_t ladder_level(Core *core, uint32_t ladder_number, int32_t key) noexcept nogil:
    """The level of this key; a new one, without orders, when there was none.

    Memory for it has been reserved.
    """
    cdef uint32_t *recent = &core.recent_levels[recent_place(ladder_number, key)]
    cdef const Level *level = level_at(core, recent[0])
    # A level that has ended has no first order: so it is not taken for one that is there.
    if level.key != key or level.ladder != ladder_number or level.first == NONE:
        recent[0] = ladder_search(core, ladder_number, key)
    return recent[0]


cdef inline uint32_t recent_place(uint32_t ladder, int32_t key) noexcept nogil:
    """Where the last level that was wanted with such a key is remembered."""
    return ((<uint32_t> key + (ladder << 20)) * <uint32_t> 0x9E3779B1) >> (32 - RECENT_BITS)


cdef inline uint32_t ladder_search(
    Core *core, uint32_t ladder_number, int32_t key
) noexcept nogil:
    """The level of this key by the tree; a new one when there was none."""
    cdef Ladder *ladder = ladder_at(core, ladder_number)
    cdef Step[MAX_HEIGHT + 1] way
    cdef const Step *end
    cdef const Node *leaf
    if ladder.root == NONE:
        ladder.root = take_node(core)
    ladder_way(core, ladder, key, way)
    end = &way[ladder.height]
    leaf = node_at(core, end.node)
    if end.place < NODE_WIDTH and leaf.keys[end.place] == key:
        return leaf.children[end.place]
    return ladder_add(core, ladder_number, key, way)


cdef inline uint32_t ladder_add(
    Core *core, uint32_t ladder_number, int32_t key, Step *way
) noexcept nogil:
    """A new level of this key, at the end of the way to it."""
    cdef Ladder *ladder = ladder_at(core, ladder_number)
    cdef const Step *end = &way[ladder.height]
    cdef const Node *leaf = node_at(core, end.node)
    cdef uint32_t added = arena_take(&core.levels)
    cdef Level *level = level_at(core, added)
    memset(level, 0, sizeof(Level))
    level.key = key
    level.ladder = ladder_number
    if end.place > 0:
        level.previous = leaf.children[end.place - 1]
        level.next = level_at(core, level.previous).next
    elif ladder.level_count:
        level.next = leaf.children[0]
        level.previous = level_at(core, level.next).previous
    if level.previous == NONE:
        ladder.best = added
    else:
        level_at(core, level.previous).next = added
    if level.next != NONE:
        level_at(core, level.next).previous = added
    ladder.level_count += 1
    tree_insert(core, ladder, way, key, added)
    return added


cdef inline void tree_insert(
    Core *core, Ladder *ladder, const Step *way, int32_t key, uint32_t child
) noexcept nogil:
    """Enter a key at the end of the way to it; full nodes on the way split."""
    cdef uint32_t depth = ladder.height
    cdef uint32_t place = way[depth].place
    cdef uint32_t upper, root
    cdef Node *node
    while True:
        node = node_at(core, way[depth].node)
        if node.keys[NODE_WIDTH - 1] == UNUSED_KEY:
            node_insert(node, place, key, child)
            return
        upper = split(core, node)
        if place <= HALF:
            node_insert(node, place, key, child)
        else:
            node_insert(node_at(core, upper), place - HALF, key, child)
        key = node_at(core, upper).keys[0]
        child = upper
        if depth < ladder.height:
            node_at(core, upper).keys[0] = LEAST_KEY
        if depth == 0:
            break
        depth -= 1
        place = way[depth].place + 1
    root = take_node(core)
    node_insert(node_at(core, root), 0, LEAST_KEY, ladder.root)
    node_insert(node_at(core, root), 1, key, child)
    ladder.root = root
    ladder.height += 1


cdef inline void ladder_drop(Core *core, uint32_t dropped) noexcept nogil:
    """Take a level without orders out of its ladder, and forget it."""
    cdef Level *level = level_at(core, dropped)
    cdef Ladder *ladder = ladder_at(core, level.ladder)
    cdef Step[MAX_HEIGHT + 1] way
    if level.previous == NONE:
        ladder.best = level.next
    else:
        level_at(core, level.previous).next = level.next
    if level.next != NONE:
        level_at(core, level.next).previous = level.previous
    ladder.level_count -= 1
    ladder_way(core, ladder, level.key, way)
    tree_remove(core, ladder, way)
    arena_free(&core.levels, dropped)


cdef inline void tree_remove(Core *core, Ladder *ladder, const Step *way) noexcept nogil:
    """Take out the key at the end of the way, and the nodes that it leaves empty."""
    cdef uint32_t depth = ladder.height
    cdef uint32_t root
    cdef Node *node
    while True:
        node = node_at(core, way[depth].node)
        node_remove(node, way[depth].place)
        if node.keys[0] != UNUSED_KEY:
            if depth < ladder.height:
                node.keys[0] = LEAST_KEY
            break
        arena_free(&core.nodes, way[depth].node)
        if depth == 0:
            ladder.root = NONE
            ladder.height = 0
            return
        depth -= 1
    while ladder.height and node_at(core, ladder.root).keys[1] == UNUSED_KEY:
        root = ladder.root  # with a single child, which takes its place
        ladder.root = node_at(core, root).children[0]
        ladder.height -= 1
        arena_free(&core.nodes, root)
