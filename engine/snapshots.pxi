"""The state that goes out in runs of frames, and comes in again."""

cdef class SnapshotRuns:
    """The runs of a snapshot, each written when it is drawn."""

    cdef KernelMarket market
    cdef Walk walk
    cdef Frames frames
    cdef uint64_t sequence
    cdef uint64_t time_ns
    cdef uint64_t calls  # of the market, when this was begun

    def __cinit__(self, KernelMarket market not None, uint64_t first_sequence, uint64_t time_ns):
        if market.core.out_of_memory:
            raise MemoryError("the market ran out of memory before: this is no state of it")
        self.market = market
        self.sequence = first_sequence
        self.time_ns = time_ns
        self.calls = market.calls
        if not walk_open(&self.walk, &market.core):
            raise MemoryError("no memory for a way through the state")

    def __dealloc__(self):
        walk_close(&self.walk)
        free(self.frames.data)

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint64_t first_sequence = self.sequence
        cdef uint64_t end = first_sequence + <uint32_t> SNAPSHOT_RUN_FRAMES
        cdef uint8_t frame_type
        if self.calls != self.market.calls:
            raise RuntimeError("the machine was used before all of its snapshot was drawn")
        frames_clear(&self.frames)
        while self.sequence < end:
            if not frames_reserve(&self.frames, LONGEST_FRAME_BYTES):
                raise MemoryError("no memory for a run of a snapshot")
            frame_type = next_record(
                &self.market.core, &self.walk,
                self.frames.data + self.frames.size + FRAME_HEADER_BYTES,
            )
            if frame_type == 0:
                break
            close_frame(
                &self.frames, frame_type, 0, body_bytes(frame_type), self.sequence, self.time_ns
            )
            self.sequence += 1
        if self.frames.count == 0:
            raise StopIteration
        return run_of(&self.frames, first_sequence)


cdef object run_of(const Frames *frames, uint64_t first_sequence):
    """What has been written, as a run."""
    data = PyBytes_FromStringAndSize(<const char *> frames.data, frames.size)
    summary = Summary(frames.count, frames.end_sequence, frames.types)
    return Run(first_sequence, data, summary)


cdef int take_state(KernelMarket market, runs, Restoring *restoring) except -1:
    """Put the state in these runs into an empty market; raises ValueError when it is none."""
    cdef uint64_t calls = market.calls
    cdef const char *wrong
    cdef bytes data
    cdef bint has_begun = False
    for run in runs:
        if calls != market.calls:
            raise RuntimeError("the machine was used while it was restored")
        if not has_begun:
            has_begun = True
            restoring_open(restoring, run.first_sequence)
        data = run.data
        wrong = take_frames(&market.core, restoring, data, len(data))
        refuse_state(market, restoring, wrong)
    if not restoring.has_begun:
        raise ValueError("there is no state: not one frame")
    refuse_state(market, restoring, take_whole(&market.core, restoring))
    return 0


cdef int refuse_state(
    KernelMarket market, const Restoring *restoring, const char *wrong
) except -1:
    """Raise what is wrong with the frame that is read, if anything is."""
    if market.core.out_of_memory:
        raise MemoryError("no memory for the whole of a state")
    if wrong != NULL:
        raise StateError(restoring.sequence, wrong.decode())
    return 0
