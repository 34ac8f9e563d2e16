"""TCP connections that are read into one buffer, which all of a process share."""

import asyncio

READ_BYTES = 256 << 10  # at once: what asyncio reads, too

_buffer = memoryview(bytearray(READ_BYTES))


class BufferedReading(asyncio.BufferedProtocol, asyncio.Protocol):
    """A protocol that is given what was read, as `asyncio.Protocol` is, and costs less.

    To each read asyncio would bring a new buffer, as large as can be: memory that the system hands
    out and takes back, which takes ten times as long as to read one order. What is in the shared
    one is copied before anything else is read.
    """

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes are there."""
        self.data_received(bytes(_buffer[:nbytes]))
