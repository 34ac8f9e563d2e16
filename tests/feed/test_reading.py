"""What is read from TCP connections, whoever reads."""

import asyncio

from feed.reading import READ_BYTES, BufferedReading
from tests.feed.sockets import LOOPBACK


class Reader(BufferedReading):
    """Keeps all that it is given until the other end closes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.is_over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over.set()


def test_two_connections_are_read_whole_though_they_share_a_buffer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        readers: list[Reader] = []

        def make() -> Reader:
            readers.append(Reader())
            return readers[-1]

        async with asyncio.timeout(30), await loop.create_server(make, *LOOPBACK) as server:
            address = server.sockets[0].getsockname()
            sent = [bytes([letter]) * (3 * READ_BYTES + letter) for letter in b"ab"]
            writers = [(await asyncio.open_connection(*address))[1] for _ in sent]
            for writer, data in zip(writers, sent, strict=True):
                writer.write(data)
                writer.close()
            for writer in writers:
                await writer.wait_closed()
            while len(readers) < len(sent):
                await asyncio.sleep(0)
            for reader in readers:
                await reader.is_over.wait()
        assert sorted(b"".join(reader.pieces) for reader in readers) == sent

    asyncio.run(scenario())
