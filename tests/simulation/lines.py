"""Two processes and TCP between them: for tests."""

import asyncio
from collections.abc import Callable
from functools import partial

from tools.simulation.network import Network, Process, Weather
from tools.simulation.tcp import End, Tcp
from tools.simulation.world import MILLISECOND_NS

PORT = "port"
TIMEOUT_NS = 500 * MILLISECOND_NS


class Recorder(asyncio.Protocol):
    """Writes down all that it is told."""

    def __init__(self, *, keeps_open: bool = False) -> None:
        self.told: list[str] = []  # but for data
        self.pieces: list[bytes] = []
        self.end: End
        self._keeps_open = keeps_open

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.end = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self._keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else "reset")

    def pause_writing(self) -> None:
        self.told.append("full")

    def resume_writing(self) -> None:
        self.told.append("room")


class Pair:
    """The processes "a", which connects, and "b", which listens."""

    def __init__(self, seed: int = 1, weather: Weather | None = None) -> None:
        self.network = Network(seed, weather or Weather())
        self.tcp = Tcp(self.network)
        self.a = Process(self.network, "a")
        self.b = Process(self.network, "b")
        self.accepted: list[Recorder] = []
        self.failures: list[tuple[str, int]] = []  # why, and when
        self.a.start()
        self.start_b()

    def start_b(self) -> None:
        self.b.start()
        self.tcp.listen(self.b, PORT, self.accept)

    def accept(self) -> Recorder:
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def dial(self, recorder: Recorder | None = None) -> tuple[Recorder, End]:
        """What "a" hears of its connection, once that is made, and its end."""
        made = recorder or Recorder()
        end = self.tcp.connect(self.a, self.b, PORT, lambda: made, self._on_failed, TIMEOUT_NS)
        return made, end

    def connected(self) -> tuple[Recorder, Recorder]:
        """A connection, as both sides hear of it."""
        made, _ = self.dial()
        self.run()
        assert made.told == self.accepted[-1].told == ["made"]
        return made, self.accepted[-1]

    def run(self, milliseconds: float = 100) -> None:
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)

    def write(self, end: End, data: bytes) -> None:
        """The process at this end writes."""
        self.during(end.process, partial(end.write, data))

    def during(self, process: Process, act: Callable[[], object]) -> None:
        """The process does something, as when something has reached it."""
        process.do(process.life, lambda: (act(), None)[1])

    def _on_failed(self, why: str) -> None:
        self.failures.append((why, self.network.now_ns))
