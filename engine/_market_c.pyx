# cython: language_level=3, cdivision=True
# distutils: include_dirs = feed engine
# distutils: depends = feed/wire.h engine/memory.h engine/kernel.h engine/incoming.pxi engine/matching_core.pxi engine/snapshots.pxi engine/sorting.h
# distutils: extra_compile_args = -O3 --param=max-inline-insns-single=1500 --param=large-function-growth=3000 --param=inline-unit-growth=300
"""The market as a compiled machine: what `engine.markets.ReferenceMarket` does, byte for byte.

docs/kernel.md tells how it is built up. The interpreter's lock is held throughout: a batch takes less
than a slice of its time, and nobody else may touch the market meanwhile.
"""

import hashlib

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from engine.arena cimport NONE
from engine.audit cimport audit
from engine.batches cimport (
    LockstepCore, LockstepOperation, LockstepTotals, LockstepTrade, let_in, list_instrument,
    run_batch,
)
from engine.commands cimport admits, carry_out, coming_command
from engine.core cimport core_close, core_open, events_trim
from engine.directory cimport directory_find
from engine.framing cimport (
    LETTERS, Frames, body_bytes, close_frame, command_bytes, frames_clear, frames_reserve,
    write_group,
)
from engine.lookahead cimport AHEAD, Coming, is_worth_looking_ahead, look_ahead
from engine.records cimport (
    ASKS, BIDS, Core, Ladder, Order, instrument_at, level_at, order_at,
)
from engine.restoring cimport (
    Restoring, restoring_free, restoring_open, take_frames, take_whole,
)
from engine.rules cimport (
    DONE, MORE_THAN_OPEN, NAME_IN_USE, NO_COMMAND, OUT_OF_MEMORY, UNKNOWN_CLIENT,
)
from engine.state cimport Walk, next_record, order_count, walk_close, walk_open
from feed.layout cimport *
from feed.wire cimport crc32c_prepare, load_u16, load_u32, load_u64

from engine import market
from engine.listed import ListedInstrument
from engine.machine import SNAPSHOT_RUN_FRAMES, Followed, Sequenced
from engine.reference import cannot_carry_out, difference, other_length
from engine.state_error import StateError
from feed.book import BookEntry
from feed.codec import FRAME_TYPES, WireError, decode_verified, encode_body
from feed.frames import Summary, read_frames
from feed.messages import BookSide
from feed.run import Run
from feed.schema import FrameType

crc32c_prepare()

_WHY_NOT = {
    NAME_IN_USE: "a live order goes by this user_ref_num",
    MORE_THAN_OPEN: "less is open than should remain",
    NO_COMMAND: "it is no command",
}


cdef enum:
    RECORDS_AT_ONCE = 512  # of orders, into the checksum of the state
    RECORD_BYTES = 1 + ORDER_STATE_BYTES  # of the longest: its type and its body


cdef class KernelMarket:
    """The market on arenas of structs; no Python object an order, an event or a frame."""

    cdef Core core
    cdef Frames frames  # of the call that is under way
    cdef uint64_t calls  # that may have changed it

    def __cinit__(self):
        # Read now, and not when the module was loaded: tests lower the limit.
        if not core_open(&self.core, market.MAX_LIVE_ORDERS):
            raise MemoryError("no memory for an empty market")

    def __dealloc__(self):
        core_close(&self.core)
        free(self.frames.data)

    @property
    def kind(self):
        """Which implementation it is."""
        return "kernel"

    @property
    def live_orders(self):
        """How many orders live, resting or waiting for their stop price."""
        return self.core.orders.live

    @property
    def day(self):
        """The day that it is, as YYYYMMDD; 0 before the first."""
        return self.core.day

    @property
    def frame_counts(self):
        """How many frames of each type its groups have had; types that had none are left out."""
        cdef int letter
        counts = {}
        for letter in range(LETTERS):
            if self.frames.counts[letter]:
                counts[FrameType(c'A' + letter)] = self.frames.counts[letter]
        return counts

    def is_listed(self, bytes symbol not None):
        """Whether there is an instrument with this symbol, padded to eight bytes."""
        if len(symbol) != SYMBOL_BYTES:
            return False
        return directory_find(&self.core.symbols, load_u64(symbol)) != NONE

    def submit(self, bytes submissions not None, uint64_t sequence, uint64_t time_ns):
        """Carry out those of these whole submissions that are admitted, in their order.

        Raises WireError, before the first is carried out, when the bytes can't be submissions.
        """
        cdef const uint8_t *submission = submissions
        cdef const uint8_t *end = submission + len(submissions)
        cdef const uint8_t *seen = submission
        cdef const uint8_t *body
        cdef uint64_t first_sequence = sequence
        cdef uint8_t command_type
        cdef uint64_t login
        cdef uint64_t not_admitted = 0
        check_submissions(submissions)
        self.begin()
        while submission < end:
            if submission == seen and is_worth_looking_ahead(&self.core):
                seen = look_ahead_at_submissions(&self.core, submission, end)
            command_type = submission[SUBMISSION_HEADER_TYPE_AT]
            login = load_u64(submission + SUBMISSION_HEADER_LOGIN_AT)
            body = submission + SUBMISSION_HEADER_BYTES
            if admits(&self.core, login, command_type, body):
                self.carry_out_body(command_type, body, sequence, time_ns)
                sequence += 1 + self.core.event_count
            else:
                not_admitted += 1
            submission += load_u16(submission + SUBMISSION_HEADER_LENGTH_AT)
        return Sequenced(self.run(first_sequence), not_admitted)

    def carry_out(self, command, uint64_t sequence, uint64_t time_ns):
        """Carry out a command that needs no admission; its group.

        Raises KeyError when its client is not known, ValueError when nobody admits such a command.
        """
        cdef bytes body = encode_body(command)
        self.begin()
        self.carry_out_body(FRAME_TYPES[type(command)], body, sequence, time_ns)
        return self.run(sequence)

    def follow(self, run not None):
        """Carry out whole groups of the list, and compare their frames."""
        cdef bytes data = run.data
        cdef size_t begin = 0
        cdef size_t end = 0
        cdef size_t seen = 0
        cdef uint64_t followed = 0
        cdef uint64_t count
        while True:
            if begin >= seen and is_worth_looking_ahead(&self.core):
                seen = look_ahead_at_frames(&self.core, data, begin, len(data))
            count = next_group(data, &end)
            if count == 0:
                return Followed(followed, None)
            divergence = self.repeat(data, begin, end, count, True)
            if divergence is not None:
                return Followed(followed, divergence)
            followed += count
            begin = end

    def complete(self, run not None):
        """Carry out the group that these frames are the beginning of, and compare them."""
        cdef bytes data = run.data
        cdef uint64_t count = len(run)
        if count == 0:
            raise IndexError("no frames, so no group to complete")
        divergence = self.repeat(data, 0, len(data), count, False)
        return self.run(run.first_sequence) if divergence is None else divergence

    def check(self):
        """Raise AssertionError when an invariant of docs/machine.md does not hold."""
        cdef const char *wrong = audit(&self.core)
        if wrong != NULL:
            raise AssertionError(wrong.decode())

    def digest(self):
        """The SHA-256 of the whole state: of each of its records, the type and the body."""
        cdef uint8_t[RECORDS_AT_ONCE * RECORD_BYTES] records
        cdef size_t size = 0
        cdef Walk walk
        state = hashlib.sha256()
        try:
            if not walk_open(&walk, &self.core):
                raise MemoryError("no memory for a way through the state")
            while True:
                records[size] = next_record(&self.core, &walk, &records[size + 1])
                if records[size] == 0:
                    break
                size += 1 + body_bytes(records[size])
                if sizeof(records) - size < RECORD_BYTES:
                    state.update(records[:size])
                    size = 0
            state.update(records[:size])
        finally:
            walk_close(&walk)
        return state.digest()

    def snapshot(self, uint64_t first_sequence, uint64_t time_ns):
        """Its whole state, in runs of frames; the machine is not to be used until all are drawn."""
        return SnapshotRuns(self, first_sequence, time_ns)

    def restore(self, runs not None):
        """Become, from empty, the machine whose snapshot this is.

        Raises ValueError, which says what frame is wrong and why, when no market has such a state,
        and when this one is not empty; it stays as it was.
        """
        cdef Restoring restoring
        if self.core.day or self.core.mark_count or (
            self.core.instruments.live or self.core.clients.live
        ):
            raise ValueError("only an empty market can be restored")
        self.begin()
        restoring_open(&restoring, 0)
        try:
            take_state(self, runs, &restoring)
        except BaseException:
            self.empty()
            raise
        finally:
            restoring_free(&restoring)

    def instruments(self):
        """Each instrument by symbol, those that have moved to another shard included."""
        cdef uint32_t index
        listed = []
        for symbol, index in self.sorted_instruments():
            name = symbol.to_bytes(SYMBOL_BYTES, "big")
            state = instrument_at(&self.core, index).state
            moves = instrument_at(&self.core, index).moves
            listed.append(ListedInstrument(name, state, moves, order_count(&self.core, index)))
        return listed

    def book_entries(self):
        """The resting orders as a subscriber knows them, for `feed.book.book_digest`."""
        cdef uint32_t index
        entries = []
        for symbol, index in self.sorted_instruments():
            name = symbol.to_bytes(SYMBOL_BYTES, "big")
            for side, ladder in ((BookSide.BID, BIDS), (BookSide.ASK, ASKS)):
                self.list_ladder(
                    entries, name, side, &instrument_at(&self.core, index).ladders[<int> ladder]
                )
        return entries

    cdef int empty(self) except -1:
        """Forget whatever it knows."""
        cdef Core core
        if not core_open(&core, self.core.order_limit):
            core_close(&core)
            self.core.out_of_memory = True
            raise MemoryError("no memory for an empty market")
        core_close(&self.core)
        self.core = core
        return 0

    cdef int begin(self) except -1:
        """Begin a call: no frames yet."""
        if self.core.out_of_memory:
            raise MemoryError("the market ran out of memory before, and is of no use any more")
        frames_clear(&self.frames)
        events_trim(&self.core)
        self.calls += 1
        return 0

    cdef int carry_out_body(
        self, uint8_t command_type, const uint8_t *body, uint64_t sequence, uint64_t time_ns
    ) except -1:
        """Carry out a command and write its group; raises when that can't be."""
        cdef int outcome = carry_out(&self.core, command_type, body, sequence)
        if outcome == DONE:
            if write_group(&self.frames, &self.core, command_type, body, sequence, time_ns):
                return 0
            outcome = OUT_OF_MEMORY
        if outcome == OUT_OF_MEMORY:
            self.core.out_of_memory = True
            raise MemoryError("no memory for what a command does")
        if outcome == UNKNOWN_CLIENT:
            raise KeyError(load_u32(body))  # its number stands at the beginning of such a command
        raise ValueError(_WHY_NOT[outcome])

    cdef object run(self, uint64_t first_sequence):
        """The frames of this call. Where there is no memory for them, nobody ever gets them."""
        try:
            return run_of(&self.frames, first_sequence)
        except MemoryError:
            self.core.out_of_memory = True
            raise

    cdef object repeat(self, bytes data, size_t begin, size_t end, uint64_t count, bint whole):
        """Carry out the group that begins there in the list, and compare its frames.

        `count` frames go from `begin` to `end`; `whole`: they are the whole group. The divergence,
        or None.
        """
        cdef const uint8_t *theirs = <const uint8_t *> data + begin
        cdef uint64_t sequence = load_u64(theirs + FRAME_HEADER_SEQUENCE_AT)
        cdef uint64_t time_ns = load_u64(theirs + FRAME_HEADER_TIME_NS_AT)
        cdef size_t size = end - begin
        self.begin()
        try:
            self.carry_out_body(
                theirs[FRAME_HEADER_TYPE_AT], theirs + FRAME_HEADER_BYTES, sequence, time_ns
            )
        except Exception as error:  # whatever it is, this machine can't follow the list
            return cannot_carry_out(decode_verified(data, begin), repr(error))
        if size == self.frames.size or (not whole and size < self.frames.size):
            if memcmp(theirs, self.frames.data, size) == 0:
                return None
        return self.divergence(data[begin:end], sequence, count, whole)

    cdef object divergence(self, bytes theirs, uint64_t first_sequence, uint64_t count, bint whole):
        """How the group of the list and the frames of this call differ; None when they don't."""
        ours = read_frames(self.run(first_sequence).data)
        for their, our in zip(read_frames(theirs), ours):
            if their.data != our.data:
                return difference(their.sequence, their.data, our.data)
        if whole and count != self.frames.count:
            return other_length(first_sequence, count, self.frames.count)
        return None

    cdef list sorted_instruments(self):
        """Symbol, as a number, and index of each."""
        cdef uint32_t index
        return sorted([
            (instrument_at(&self.core, index).symbol, index)
            for index in range(1, self.core.instruments.used)
        ])

    cdef int list_ladder(self, list entries, bytes symbol, side, const Ladder *ladder) except -1:
        """Append the orders of one side of a book to the entries."""
        cdef const Order *order
        cdef uint32_t index
        cdef uint32_t level = ladder.best
        while level != NONE:
            index = level_at(&self.core, level).first
            while index != NONE:
                order = order_at(&self.core, index)
                entries.append(BookEntry(symbol, side, order.price, order.number, order.leaves))
                index = order.next
            level = level_at(&self.core, level).next
        return 0


include "incoming.pxi"
include "snapshots.pxi"
include "matching_core.pxi"
