"""Which instruments a replica lists, by the directory that stands in ZooKeeper."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from engine.settings import InstrumentSettings
from tests.zk.servers import EmbeddedInThread, with_new_root
from tools.configuration import Configuration
from tools.console import CommandError
from tools.layout import Layout
from tools.listings import find_listings, listed_in
from zk.directory import MOST_BYTES, place
from zk.directory_client import DirectoryClient
from zk.settings import ZooKeeperSettings

WITHIN_S = 15.0


@pytest.fixture
def server() -> Iterator[EmbeddedInThread]:
    server = EmbeddedInThread()
    yield server
    server.close()


def configuration(
    zookeeper: ZooKeeperSettings, shards: int, symbols: dict[str, int | None]
) -> Configuration:
    layout = Layout([f"e{i + 1}" for i in range(shards)], [], [], shards=shards)
    instruments = [InstrumentSettings(symbol=name, shard=shard) for name, shard in symbols.items()]
    return layout.configuration("TEST", instruments, zookeeper, Path("clients.toml"))[0]


async def listed(settings: Configuration, shard: int) -> list[str] | None:
    async with asyncio.timeout(WITHIN_S):
        listings = await find_listings(settings, shard, asyncio.Event())
    return None if listings is None else [each.symbol for each in listings]


def test_instruments_are_listed_where_they_are_and_not_where_they_were_or_are_going_to() -> None:
    directory = place([1, 2], {"AAPL": 1, "MSFT": 2, "NVDA": 1, "AMZN": 1})
    directory = directory.begin_move("NVDA", 2).begin_move("AAPL", 2).end_move("AAPL")
    instruments = [InstrumentSettings(symbol=each) for each in (*directory.symbols, "NEW")]
    listings = {shard: listed_in(directory, shard, instruments) for shard in (1, 2)}
    assert [each.symbol for each in listings[1]] == ["NVDA", "AMZN"]
    assert [each.symbol for each in listings[2]] == ["AAPL", "MSFT"]


def test_exchange_of_one_shard_asks_nobody() -> None:
    nobody = ZooKeeperSettings(hosts="127.0.0.1:1")
    settings = configuration(nobody, 1, {"AAPL": None, "MSFT": None})
    assert asyncio.run(listed(settings, 1)) == ["AAPL", "MSFT"]


def test_first_replica_creates_the_directory_and_later_ones_go_by_it(
    server: EmbeddedInThread,
) -> None:
    zookeeper = with_new_root("embedded", server.hosts).settings

    async def story() -> None:
        settings = configuration(zookeeper, 2, {"AAPL": 1, "MSFT": 2})
        assert await listed(settings, 1) == ["AAPL"]
        assert await listed(settings, 2) == ["MSFT"]
        async with DirectoryClient(zookeeper, "TEST") as client:
            await client.change(lambda each: each.begin_move("AAPL", 2), WITHIN_S)
            await client.change(lambda each: each.end_move("AAPL"), WITHIN_S)
        assert await listed(settings, 1) == []
        assert await listed(settings, 2) == ["AAPL", "MSFT"]
        # What the file says later of other places, shards and instruments changes nothing.
        later = configuration(zookeeper, 3, {"AAPL": 1, "MSFT": 3, "NVDA": 3})
        with structlog.testing.capture_logs() as logs:
            assert await listed(later, 3) == []
        warnings = [each for each in logs if each["log_level"] == "warning"]
        assert [each.get("shard") for each in warnings] == [3, None]
        assert [each.get("symbols") for each in warnings] == [None, ["NVDA"]]
        async with DirectoryClient(zookeeper, "TEST") as client:
            directory = await client.read(WITHIN_S)
        assert directory.shards == (1, 2)
        assert directory.symbols == {"AAPL": (1, 2), "MSFT": (2,)}

    asyncio.run(story())


def test_replica_that_waits_for_zookeeper_goes_when_it_is_told_to(
    server: EmbeddedInThread,
) -> None:
    settings = configuration(with_new_root("embedded", server.hosts).settings, 2, {"AAPL": 1})
    server.stop()

    async def story() -> None:
        stop = asyncio.Event()
        finding = asyncio.ensure_future(find_listings(settings, 1, stop))
        await asyncio.wait({finding}, timeout=0.05)
        assert not finding.done()
        stop.set()
        async with asyncio.timeout(WITHIN_S):
            assert await finding is None

    asyncio.run(story())


def test_directory_that_zookeeper_has_no_room_for_is_refused() -> None:
    symbols = {f"S{number}": None for number in range(MOST_BYTES // 12)}
    settings = configuration(ZooKeeperSettings(hosts="127.0.0.1:1"), 2, dict(symbols))
    with pytest.raises(CommandError, match="list fewer symbols"):
        asyncio.run(listed(settings, 1))
