"""The bytes that come in: what stands in them, and where the next command is."""

cdef int check_submissions(bytes data) except -1:
    """Raise WireError unless these are whole submissions of commands."""
    cdef const uint8_t *submissions = data
    cdef size_t size = len(data)
    cdef size_t offset = 0
    cdef size_t length, size_of_body
    cdef uint8_t command_type
    while offset < size:
        if size - offset < SUBMISSION_HEADER_BYTES:
            raise WireError("truncated submission")
        length = load_u16(submissions + offset + SUBMISSION_HEADER_LENGTH_AT)
        command_type = submissions[offset + SUBMISSION_HEADER_TYPE_AT]
        size_of_body = command_bytes(command_type)
        if size_of_body == 0 or length != SUBMISSION_HEADER_BYTES + size_of_body:
            raise WireError(f"not a submission: type {command_type}, length {length}")
        if size - offset < length:
            raise WireError("truncated body")
        offset += length
    return 0


cdef inline const uint8_t *look_ahead_at_submissions(
    const Core *core, const uint8_t *submission, const uint8_t *end
) noexcept nogil:
    """Look ahead at the next whole submissions; where the first one stands that was not seen."""
    cdef Coming[AHEAD] coming
    cdef size_t count = 0
    while count < AHEAD and submission < end:
        coming[count] = coming_command(
            core, submission[SUBMISSION_HEADER_TYPE_AT], submission + SUBMISSION_HEADER_BYTES
        )
        count += 1
        submission += load_u16(submission + SUBMISSION_HEADER_LENGTH_AT)
    look_ahead(core, coming, count)
    return submission


cdef inline size_t look_ahead_at_frames(
    const Core *core, const uint8_t *frames, size_t offset, size_t size
) noexcept nogil:
    """Look ahead at the next commands among these frames; where the first one stands that was not
    seen. Whether they are frames at all is found out later."""
    cdef Coming[AHEAD] coming
    cdef const uint8_t *frame
    cdef size_t length
    cdef size_t count = 0
    while count < AHEAD and size - offset >= FRAME_HEADER_BYTES:
        frame = frames + offset
        length = load_u16(frame + FRAME_HEADER_LENGTH_AT)
        if length > size - offset or (
            length != FRAME_HEADER_BYTES + body_bytes(frame[FRAME_HEADER_TYPE_AT])
        ):
            break
        if frame[FRAME_HEADER_FLAGS_AT] & FRAME_FLAG_COMMAND:
            coming[count] = coming_command(
                core, frame[FRAME_HEADER_TYPE_AT], frame + FRAME_HEADER_BYTES
            )
            count += 1
        offset += length
    look_ahead(core, coming, count)
    return offset


cdef uint64_t next_group(bytes data, size_t *offset) except? 0:
    """How many frames the whole group at `offset` has, which is moved to its end; 0 without one.

    Raises WireError for bytes that are not frames.
    """
    cdef const uint8_t *frames = data
    cdef size_t size = len(data)
    cdef size_t at = offset[0]
    cdef size_t length
    cdef uint8_t flags
    cdef uint64_t count = 0
    while size - at >= FRAME_HEADER_BYTES:
        length = load_u16(frames + at + FRAME_HEADER_LENGTH_AT)
        flags = frames[at + FRAME_HEADER_FLAGS_AT]
        if length > size - at or length == FRAME_HEADER_BYTES or (
            length != FRAME_HEADER_BYTES + body_bytes(frames[at + FRAME_HEADER_TYPE_AT])
        ):
            raise WireError("not the beginning of a frame: unknown length, type or flags")
        at += length
        count += 1
        if flags & FRAME_FLAG_END:
            offset[0] = at
            return count
    return 0
