"""Members while ZooKeeper is not there, or not whole, or not itself any more."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zk.members import run, shard_at
from tests.zk.servers import EmbeddedInThread, with_new_root
from tools.apache import ApacheZooKeeper
from tools.ports import HOST, free_addresses
from zk.client import STOP_WITHIN_S
from zk.settings import ZooKeeperSettings

FIVE = ("e1", "e2", "e3", "r1", "r2")


@pytest.fixture
def embedded() -> Iterator[EmbeddedInThread]:
    server = EmbeddedInThread()
    yield server
    server.close()


def test_a_zookeeper_that_is_not_there_yet_is_no_error(embedded: EmbeddedInThread) -> None:
    async def story() -> None:
        async with shard_at(with_new_root("embedded", embedded.hosts).settings) as shard:
            embedded.stop()
            await shard.start_without_waiting("e1", "r1")
            shard["e1"].electable = True
            shard["e1"].suspect(1)
            shard["e1"].withdraw()
            shard["e1"].observe_epoch(3)
            await asyncio.sleep(0.2)  # time to fail in
            assert not shard["e1"].connected
            assert (shard["e1"].epoch, shard["e1"].epoch_at_start) == (None, None)
            with pytest.raises(ConnectionError):
                shard["e1"].session()
            embedded.start()
            await shard.until_reigning("e1", 4)
            await shard.until(lambda: shard["r1"].epoch_at_start is not None)

    run(story())


def test_an_embedded_server_that_was_restarted_learns_who_reigns(
    embedded: EmbeddedInThread,
) -> None:
    async def story() -> None:
        async with shard_at(with_new_root("embedded", embedded.hosts).settings) as shard:
            await shard.start_with_primary(*FIVE)
            shard["e2"].electable = shard["e3"].electable = True
            shard.suspect(1, "e2", "r1", "r2")
            await shard.until(lambda: len(shard.grants) == 2)
            name, epoch = shard.grants[-1]
            assert epoch == 2
            await shard.until_reigning(name, 2)
            embedded.stop()
            await shard.until(lambda: not any(each.connected for each in shard.members.values()))
            assert shard[name].granted == 2
            embedded.start()
            await shard.until(
                lambda: all(
                    each.connected and set(each.members) == set(FIVE)
                    for each in shard.members.values()
                )
            )
            await shard.until_reigning(name, 2)
            session, _ = shard[name].session()
            await shard.until_nodes("", lambda nodes: nodes.get("primary") == session)
            assert len(shard.grants) == 2

    run(story())


def test_a_primary_and_members_outlive_the_leader_of_the_ensemble(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            ApacheZooKeeper(3, tmp_path, sync=False) as servers,
            shard_at(with_new_root("ensemble", servers.hosts).settings) as shard,
        ):
            await shard.start_with_primary(*FIVE)
            sessions = {name: member.session() for name, member in shard.members.items()}
            leader = await servers.leader()
            servers.kill(leader)
            await shard.until(lambda: not any(each.connected for each in shard.members.values()))
            await shard.until(lambda: all(each.connected for each in shard.members.values()))
            await shard.until_reigning("e1", 1)
            assert {name: member.session() for name, member in shard.members.items()} == sessions

            # The next leader and the primary at once.
            await servers.restart(leader)
            servers.kill(await servers.leader())
            shard["e2"].electable = shard["e3"].electable = True
            shard.suspect(1, "e2", "e3", "r1", "r2")
            await shard.until(lambda: len(shard.grants) == 2)
            await shard.until_reigning(shard.grants[1][0], 2)
            assert len(shard.grants) == 2

    run(story())


def test_without_a_quorum_the_primary_stays_and_nothing_is_granted(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            ApacheZooKeeper(3, tmp_path, sync=False) as servers,
            shard_at(with_new_root("ensemble", servers.hosts).settings) as shard,
        ):
            await shard.start_with_primary(*FIVE)
            leader = await servers.leader()
            others = [server for server in range(3) if server != leader]
            servers.kill(leader)
            servers.kill(others[0])
            await shard.until(lambda: not any(each.connected for each in shard.members.values()))
            shard["e2"].electable = shard["e3"].electable = True
            shard.suspect(1, "e2", "e3", "r1", "r2")
            await asyncio.sleep(0.5)  # nothing happens; there is nothing to wait for
            assert [each.connected for each in shard.members.values()] == [False] * 5
            assert [each.primary for each in shard.members.values()] == [
                ("e1", 1, "127.0.0.1:1")
            ] * 5
            assert shard["e1"].granted == 1
            assert shard.grants == [("e1", 1)]
            for name in FIVE:
                shard[name].withdraw()
            await asyncio.gather(servers.restart(leader), servers.restart(others[0]))
            await shard.until(lambda: all(each.connected for each in shard.members.values()))
            shard.suspect(1, "e2", "e3", "r1", "r2")  # and now it counts again
            await shard.until(lambda: len(shard.grants) == 2)
            await shard.until_reigning(shard.grants[1][0], 2)

    run(story())


def test_stop_takes_a_bounded_time_when_the_servers_are_gone(embedded: EmbeddedInThread) -> None:
    async def story() -> None:
        async with shard_at(with_new_root("embedded", embedded.hosts).settings) as shard:
            await shard.start_with_primary("e1", "r1")
            embedded.stop()
            await stop_in_time(shard.members.pop("e1").stop())
            await shard.start_without_waiting("e2")
            await stop_in_time(shard.members.pop("e2").stop())

    run(story())


def test_stop_takes_a_bounded_time_when_a_server_hangs() -> None:
    async def story() -> None:
        address = free_addresses(1)[0]
        taken = asyncio.Event()
        connections: list[asyncio.StreamWriter] = []

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            taken.set()

        server = await asyncio.start_server(hang, HOST, address.port)
        settings = ZooKeeperSettings(
            hosts=f"{HOST}:{address.port}", session_timeout_ms=1000, root="/tests"
        )
        async with server, shard_at(settings) as shard:
            await shard.start_without_waiting("e1")
            await taken.wait()
            await stop_in_time(shard.members.pop("e1").stop())
            for writer in connections:
                writer.close()

    run(story())


async def stop_in_time(stopping: Coroutine[Any, Any, None]) -> None:
    began_s = time.monotonic()
    await stopping
    assert time.monotonic() - began_s < STOP_WITHIN_S + 0.5
