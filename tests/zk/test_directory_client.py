"""The directory through kazoo, against the embedded server and Apache's, one and three."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]

from tests.zk.members import WITHIN_S, run
from tests.zk.servers import EmbeddedInThread, ZooKeeper, with_new_root
from zk.directory import Directory, decode_directory, encode_directory, place
from zk.directory_client import DirectoryClient, DirectoryError
from zk.settings import ZooKeeperSettings

FIRST = place([1, 2], {"AAPL": 1, "MSFT": 2})
OTHER = place([1, 2, 3], {"AAPL": 3})
AT_ONCE_S = 0.05  # for what can't come about
SOON_S = 0.5  # enough to read a node in


class Reader:
    """A client, and what it was told."""

    def __init__(self, settings: ZooKeeperSettings, first: Directory | None) -> None:
        self.told: list[Directory] = []
        self._changed = asyncio.Event()
        self.client = DirectoryClient(settings, "DEMO", first=first, on_change=self._on_change)

    async def until(self, directory: Directory) -> None:
        """Wait until it was told this last."""
        async with asyncio.timeout(WITHIN_S):
            while self.told[-1:] != [directory]:
                self._changed.clear()
                await self._changed.wait()

    def _on_change(self, directory: Directory) -> None:
        self.told.append(directory)
        self._changed.set()


@contextlib.asynccontextmanager
async def readers(
    settings: ZooKeeperSettings, *firsts: Directory | None
) -> AsyncIterator[list[Reader]]:
    async with contextlib.AsyncExitStack() as stack:
        made = [Reader(settings, first) for first in firsts]
        for each in made:
            await stack.enter_async_context(each.client)
        yield made


async def with_kazoo(settings: ZooKeeperSettings, work: Any, **options: Any) -> Any:
    """Have a client of its own do something."""

    def act() -> Any:
        kazoo = KazooClient(hosts=settings.hosts, timeout=5.0, **options)
        kazoo.start(timeout=WITHIN_S)
        try:
            return work(kazoo)
        finally:
            kazoo.stop()
            kazoo.close()

    return await asyncio.to_thread(act)


def test_created_once_by_two_at_the_same_time(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with readers(zookeeper.settings, FIRST, OTHER, None) as made:
            found = await asyncio.gather(*(each.client.read(WITHIN_S) for each in made))
            assert found[0] in (FIRST, OTHER)
            assert found == [found[0]] * 3
            assert [each.told for each in made] == [[found[0]]] * 3
            node = f"{zookeeper.settings.root}/DEMO/directory"
            data, stat = await with_kazoo(zookeeper.settings, lambda kazoo: kazoo.get(node))
            assert decode_directory(data) == (found[0], 0)
            assert (stat.version, stat.ephemeralOwner) == (0, 0)

    run(story())


def test_watch_tells_of_every_change_that_stays(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with readers(zookeeper.settings, FIRST, None) as (one, two):
            await two.client.read(WITHIN_S)
            begun = await one.client.change(lambda each: each.begin_move("AAPL", 2), WITHIN_S)
            assert begun == FIRST.begin_move("AAPL", 2)
            await two.until(begun)
            ended = await two.client.change(lambda each: each.end_move("AAPL"), WITHIN_S)
            await one.until(ended)
            assert one.told == two.told == [FIRST, begun, ended]

    run(story())


def test_of_two_who_replace_the_same_directory_one_does_it(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with readers(zookeeper.settings, FIRST, FIRST) as (one, two):
            await asyncio.gather(one.client.read(WITHIN_S), two.client.read(WITHIN_S))
            first, second = FIRST.begin_move("AAPL", 2), FIRST.begin_move("MSFT", 1)
            done = await asyncio.gather(
                one.client.replace(FIRST, first, WITHIN_S),
                two.client.replace(FIRST, second, WITHIN_S),
            )
            assert sorted(done) == [False, True]
            winner = first if done[0] else second
            await asyncio.gather(one.until(winner), two.until(winner))
            assert not await one.client.replace(FIRST, second, WITHIN_S)  # it is another one now
            assert one.client.directory == winner

    run(story())


def test_changes_of_two_at_once_are_all_made(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with readers(zookeeper.settings, FIRST, FIRST) as (one, two):
            names = [f"S{number}" for number in range(10)]

            async def add(client: DirectoryClient, symbol: str) -> None:
                await client.change(lambda each: each.add_symbol(symbol, 1), WITHIN_S)

            for first, second in zip(names[::2], names[1::2], strict=True):
                await asyncio.gather(add(one.client, first), add(two.client, second))
            with pytest.raises(ValueError, match="S1 is in shard 1 already"):
                await add(two.client, "S1")
            async with readers(zookeeper.settings, None) as (three,):  # which has seen no older one
                last = await three.client.read(WITHIN_S)
            assert set(last.symbols) == {"AAPL", "MSFT", *names}
            await asyncio.gather(one.until(last), two.until(last))

    run(story())


def test_after_the_session_is_lost_changes_are_told_again(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with readers(zookeeper.settings, FIRST, FIRST) as (one, two):
            await asyncio.gather(one.client.read(WITHIN_S), two.client.read(WITHIN_S))
            number, password = one.client.session()
            changing = asyncio.ensure_future(
                two.client.change(lambda each: each.begin_move("AAPL", 2), WITHIN_S)
            )
            client_id = (number, bytes.fromhex(password))
            await with_kazoo(zookeeper.settings, lambda kazoo: None, client_id=client_id)
            begun = await changing
            await one.until(begun)
            ended = await two.client.change(lambda each: each.end_move("AAPL"), WITHIN_S)
            await one.until(ended)
            back = await one.client.change(lambda each: each.begin_move("AAPL", 1), WITHIN_S)
            await two.until(back)
            assert one.client.session()[0] != number
            assert one.told == two.told == [FIRST, begun, ended, back]

    run(story())


def test_node_without_a_directory_is_told_in_the_error(embedded_hosts: str) -> None:
    async def story() -> None:
        settings = with_new_root("embedded", embedded_hosts).settings
        async with readers(settings, FIRST) as (one,):
            await one.client.read(WITHIN_S)
            node = f"{settings.root}/DEMO/directory"
            await with_kazoo(settings, lambda kazoo: kazoo.set(node, b"{}"))
            async with readers(settings, None) as (two,):
                with pytest.raises(DirectoryError, match=r"not read .*: can't read the directory"):
                    await two.client.read(SOON_S)
                whole = encode_directory(FIRST, 1)
                await with_kazoo(settings, lambda kazoo: kazoo.set(node, whole))
                assert await two.client.read(WITHIN_S) == FIRST

    run(story())


def test_without_a_server_the_error_says_so_and_reading_goes_on_when_it_is_there() -> None:
    server = EmbeddedInThread()
    settings = with_new_root("embedded", server.hosts).settings

    async def story() -> None:
        await asyncio.to_thread(server.stop)
        async with readers(settings, FIRST) as (one,):
            with pytest.raises(DirectoryError, match=r"not changed within 0.05 s.*no connection"):
                await one.client.change(lambda each: each, AT_ONCE_S)
            assert one.client.directory is None
            await asyncio.to_thread(server.start)
            assert await one.client.read(WITHIN_S) == FIRST

    run(story())
    server.close()


def test_server_that_has_forgotten_is_told_by_those_who_know() -> None:
    server = EmbeddedInThread()
    settings = with_new_root("embedded", server.hosts).settings

    async def story() -> None:
        async with readers(settings, FIRST) as (one,):
            begun = await one.client.change(lambda each: each.begin_move("AAPL", 2), WITHIN_S)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            async with readers(settings, FIRST) as (two,):
                await two.until(begun)
            assert one.told == [FIRST, begun]

    run(story())
    server.close()
