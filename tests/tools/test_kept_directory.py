"""The directory on disk, for an exchange whose ZooKeeper forgets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from feed.settings import JournalSettings
from tests.tools.replica_statuses import configuration_of, shards_of
from tests.zk.servers import EmbeddedInThread
from tools.configuration import Configuration
from tools.console import CommandError
from tools.exchange_directory import open_directory, read_directory
from tools.kept_directory import FILE, KeptDirectory
from zk.directory import Directory, decode_directory
from zk.directory_client import DirectoryClient
from zk.settings import ZooKeeperSettings

WITHIN_S = 20.0


@pytest.fixture
def server() -> Iterator[EmbeddedInThread]:
    """A ZooKeeper that forgets when it is stopped."""
    server = EmbeddedInThread()
    yield server
    server.close()


def kept_in(folder: Path, server: EmbeddedInThread) -> Configuration:
    update = {
        "journal": JournalSettings(folder=folder / "journal"),
        "zookeeper": ZooKeeperSettings(hosts=server.hosts),
    }
    return shards_of(2).model_copy(update=update)


async def live(configuration: Configuration, first: Directory | None = None) -> Directory:
    """A run of the exchange, in which AAPL moves to the other shard; where everything is then."""
    kept = KeptDirectory(configuration)
    await kept.start()
    client = DirectoryClient(configuration.zookeeper, "TEST", first=first)
    async with client, asyncio.timeout(WITHIN_S):
        before = await client.read()
        to = 3 - before.shard_of("AAPL")
        await client.change(lambda each: each.begin_move("AAPL", to))
        after = await client.change(lambda each: each.end_move("AAPL"))
        path = configuration.journal.folder / FILE if configuration.journal else Path()
        while not path.exists() or decode_directory(path.read_bytes())[0] != after:
            await asyncio.sleep(0.01)
    await kept.stop()
    return after


def test_directory_outlives_a_zookeeper_that_forgets(
    tmp_path: Path, server: EmbeddedInThread
) -> None:
    configuration = kept_in(tmp_path, server)
    assert not KeptDirectory(configuration).is_needed
    after = asyncio.run(live(configuration, configuration.first_directory()))
    assert after.shard_of("AAPL") == 2
    server.stop()
    server.start()
    assert KeptDirectory(configuration).is_needed
    assert asyncio.run(live(configuration)).shard_of("AAPL") == 1


def test_directory_that_zookeeper_has_counts(tmp_path: Path, server: EmbeddedInThread) -> None:
    configuration = kept_in(tmp_path, server)
    asyncio.run(live(configuration, configuration.first_directory()))
    known = asyncio.run(read_directory(configuration))

    async def come_back() -> Directory:
        async with open_directory(configuration) as client:
            await client.change(lambda each: each.add_shard(3))
        kept = KeptDirectory(configuration)
        await kept.start()
        await kept.stop()
        return await read_directory(configuration)

    assert asyncio.run(come_back()) == known._replace(shards=(1, 2, 3))


def test_damaged_file_is_told_with_what_to_do(tmp_path: Path, server: EmbeddedInThread) -> None:
    configuration = kept_in(tmp_path, server)
    path = tmp_path / "journal" / FILE
    path.parent.mkdir()
    path.write_text('{"change":')
    with pytest.raises(CommandError, match=r"directory\.json can't be read: .*restore it, or rem"):
        KeptDirectory(configuration)


def test_exchange_of_one_shard_keeps_none(tmp_path: Path) -> None:
    configuration = configuration_of("e1", journal=JournalSettings(folder=tmp_path / "journal"))
    kept = KeptDirectory(configuration)

    async def situation() -> Directory:
        await kept.start()
        await kept.stop()
        return await read_directory(configuration)

    assert asyncio.run(situation()) == Directory.alone(1)
    assert not (tmp_path / "journal").exists()


def test_change_that_makes_no_sense_is_told(tmp_path: Path, server: EmbeddedInThread) -> None:
    configuration = kept_in(tmp_path, server)

    async def situation() -> None:
        first = configuration.first_directory()
        async with DirectoryClient(configuration.zookeeper, "TEST", first=first) as client:
            await client.read(WITHIN_S)
        async with open_directory(configuration) as client:
            await client.change(lambda each: each.end_move("AAPL"), WITHIN_S)

    with pytest.raises(CommandError, match="AAPL is not on its way to another shard"):
        asyncio.run(situation())
