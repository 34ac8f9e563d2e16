"""Several shards on real sockets, the directory of them, and gateways that hear of both."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from feed.faults import Faults
from feed.messages import TimeInForce, pad
from gateway import ouch
from gateway.ouch_codec import encode
from gateway.process import GatewayProcess
from gateway.shard_feed import ShardSources
from gateway.soup import LoginAccepted, ServerPacket, UnsequencedData
from tests.gateway.exchange import SECRETS
from tests.gateway.processes import Running, Shard, Told, Wire, running, settings_of
from zk.directory import Directory, place

# In each shard one. ALICE is at home in shard 1, BOB in shard 2.
SYMBOLS = {1: "AAPL", 2: "MSFT", 3: "NVDA"}
HOMES = {"ALICE": 1, "BOB": 2}


class LiveExchange:
    """Two shards to begin with, and gateways; one shard more when a test says so."""

    def __init__(self, folder: Path, *, by_unicast: bool = False) -> None:
        self._folder = folder
        self.shards = {
            number: Shard(folder, number, _symbol(number), by_unicast=by_unicast)
            for number in (1, 2)
        }
        self.clients = self.shards[1].clients
        self.directory = place((1, 2), {SYMBOLS[1]: 1, SYMBOLS[2]: 2})
        for number, name in enumerate(SECRETS, 1):
            assert self.directory.home_of(number) == HOMES[name]
        # What the configuration has, of which each gateway has read this much at its start.
        self.configured = {number: made.sources() for number, made in self.shards.items()}
        self.misread = ""  # why it can't be read
        self._gateways: list[GatewayProcess] = []

    async def start(self) -> None:
        for made in self.shards.values():
            await made.start()

    async def stop(self) -> None:
        for made in self.shards.values():
            await made.stop()

    async def add_shard(self, number: int) -> None:
        """One shard more runs; neither the directory nor the configuration has it."""
        made = self.shards[number] = Shard(self._folder, number, _symbol(number))
        await made.start()

    def tell(self, directory: Directory) -> None:
        """ZooKeeper has another directory."""
        self.directory = directory
        for gateway in self._gateways:
            gateway.on_directory(directory)

    def replayed_by(self, holders: Mapping[int, Any]) -> None:
        """The configuration has these ports that answer replays, by shard."""
        for number, port in holders.items():
            self.configured[number] = self.shards[number].sources(holders=[port.address])

    @asynccontextmanager
    async def gateway(
        self,
        faults: Faults | None = None,
        directory: Directory | None = None,
        **changes: Any,
    ) -> AsyncIterator[Running]:
        """A gateway, stopped at the end of the context; at first it knows of the directory."""
        gateway = GatewayProcess(
            "DEMO",
            settings_of(self.clients, **changes),
            self.directory if directory is None else directory,
            self.configured,
            self._join,
            faults,
            self.reload,
        )
        self._gateways.append(gateway)
        async with running(gateway) as made:
            yield made

    def reload(self) -> Mapping[int, ShardSources]:
        """Reads the configuration anew."""
        if self.misread:
            raise RuntimeError(self.misread)
        return self.configured

    def _join(self, shard: int, on_change: Any) -> Told:
        return self.shards[shard].join(shard, on_change)


@asynccontextmanager
async def exchange(folder: Path) -> AsyncIterator[LiveExchange]:
    made = LiveExchange(folder)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def _symbol(number: int) -> bytes:
    return pad(SYMBOLS[number], 8)


def enter(user_ref_num: int, shard: int, side: str = "B") -> bytes:
    """An order for 100 at 1.00 of the symbol that is in this shard."""
    symbol = SYMBOLS[shard].ljust(8).encode()
    message = ouch.EnterOrder(user_ref_num, ord(side), 100, symbol, 10_000, TimeInForce.DAY)
    return UnsequencedData(encode(message)).encode()


def alternating(first: int, last: int) -> bytes:
    """These orders, one to each of the two shards in turn."""
    return b"".join(enter(number, 1 + number % 2) for number in range(first, last + 1))


async def open_wire(
    stack: AsyncExitStack, gateway: Running, name: str = "ALICE", sequence: int = 1
) -> Wire:
    """A client that has logged in."""
    wire = await stack.enter_async_context(Wire.open(gateway.address))
    wire.log_in(name, sequence)
    (accepted,) = await wire.take(1)
    assert isinstance(accepted, LoginAccepted), accepted
    assert accepted.sequence == sequence
    return wire


async def read_again(gateway: Running, count: int, name: str = "ALICE") -> Sequence[ServerPacket]:
    """The first so many packets of a client's stream, as a gateway gives them out."""
    async with AsyncExitStack() as stack:
        return await (await open_wire(stack, gateway, name)).take(count)
