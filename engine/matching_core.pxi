"""The core alone, as benchmarks and other programs drive it: from Python, and from C."""

cdef class MatchingCore:
    """The core alone, without admission and frames: what C drives by the functions below."""

    cdef Core core

    def __cinit__(self, uint32_t order_limit):
        if not core_open(&self.core, order_limit):
            raise MemoryError("no memory for an empty core")

    def __dealloc__(self):
        core_close(&self.core)

    @property
    def live_orders(self):
        """How many orders rest."""
        return self.core.orders.live

    @property
    def open_quantity(self):
        """What they have open, all together."""
        cdef uint32_t instrument, level
        cdef uint64_t quantity = 0
        for instrument in range(1, self.core.instruments.used):
            for ladder in (BIDS, ASKS):
                level = instrument_at(&self.core, instrument).ladders[<int> ladder].best
                while level != NONE:
                    quantity += level_at(&self.core, level).quantity
                    level = level_at(&self.core, level).next
        return quantity

    def list_instrument(self, bytes symbol not None, uint32_t tick_size, uint32_t lot_size):
        """List an instrument; the index that operations name it by."""
        if len(symbol) != SYMBOL_BYTES:
            raise ValueError(f"a symbol has {SYMBOL_BYTES} bytes, padded with blanks")
        return _index(list_instrument(&self.core, <const char *> symbol, tick_size, lot_size))

    def log_in(self, uint32_t client, uint8_t self_trade_prevention):
        """Let a client in; the index that operations name it by."""
        return _index(let_in(&self.core, client, self_trade_prevention))

    def run(self, bytes operations not None):
        """Carry out operations, each of OPERATION_BYTES as in engine/kernel.h.

        Trades, their quantity and notional, and how many operations were refused. Raises ValueError
        when the bytes are not whole operations.
        """
        cdef LockstepTotals totals
        cdef size_t size = len(operations)
        if size % sizeof(LockstepOperation):
            raise ValueError(f"{size} bytes are not operations of {sizeof(LockstepOperation)}")
        totals.trades = totals.quantity = totals.notional = totals.refused = 0
        if run_batch(
            &self.core,
            <const LockstepOperation *> <const char *> operations,
            size // sizeof(LockstepOperation),
            NULL,
            0,
            &totals,
        ):
            raise MemoryError("the core ran out of memory, and is of no use any more")
        return totals.trades, totals.quantity, totals.notional, totals.refused

    def check(self):
        """Raise AssertionError when an invariant does not hold."""
        cdef const char *wrong = audit(&self.core)
        if wrong != NULL:
            raise AssertionError(wrong.decode())


OPERATION_BYTES = sizeof(LockstepOperation)


def _index(uint32_t index):
    if index == NONE:
        raise ValueError("no memory, or not an instrument or client that can be added")
    return index


cdef api LockstepCore *lockstep_core_create(uint32_t order_limit) noexcept nogil:
    """An empty core for so many live orders; NULL without memory."""
    cdef Core *core = <Core *> calloc(1, sizeof(Core))
    if core != NULL and not core_open(core, order_limit):
        lockstep_core_destroy(<LockstepCore *> core)
        return NULL
    return <LockstepCore *> core


cdef api void lockstep_core_destroy(LockstepCore *core) noexcept nogil:
    """Give back all memory of a core; NULL is fine."""
    if core != NULL:
        core_close(<Core *> core)
        free(core)


cdef api uint32_t lockstep_core_list(
    LockstepCore *core, const char *symbol, uint32_t tick_size, uint32_t lot_size
) noexcept nogil:
    """List an instrument by the eight bytes of its symbol; its index, or 0 when it can't be."""
    return list_instrument(<Core *> core, symbol, tick_size, lot_size)


cdef api uint32_t lockstep_core_log_in(
    LockstepCore *core, uint32_t client, uint8_t self_trade_prevention
) noexcept nogil:
    """Let a client in by its number, or change its mode; its index, or 0 when it can't be."""
    return let_in(<Core *> core, client, self_trade_prevention)


cdef api uint32_t lockstep_core_live_orders(const LockstepCore *core) noexcept nogil:
    """How many orders rest."""
    return (<const Core *> core).orders.live


cdef api int lockstep_core_run(
    LockstepCore *core,
    const LockstepOperation *operations,
    size_t count,
    LockstepTrade *trades,
    size_t room,
    LockstepTotals *totals,
) noexcept nogil:
    """Carry out a batch, and add what came of it to the totals; 0, or 1 when memory ran out.

    The first `room` trades are written to `trades`, which may be NULL when there is none. A core
    that ran out of memory is of no use any more.
    """
    return run_batch(<Core *> core, operations, count, trades, room, totals)
