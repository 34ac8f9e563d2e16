"""Who was ever there: a holder that comes back learns from ZooKeeper that it was."""

from collections.abc import Iterator

import pytest

from tests.zk.members import run, shard_at
from tests.zk.servers import EmbeddedInThread, ZooKeeper, with_new_root


@pytest.fixture
def embedded() -> Iterator[EmbeddedInThread]:
    server = EmbeddedInThread()
    yield server
    server.close()


def test_a_holder_that_comes_back_learns_that_it_was_there(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("e1", "r1", "g1")
            assert not any(member.was_here for member in shard.members.values())
            assert set(await shard.nodes("holders")) == {"e1", "r1"}, "a gateway holds nothing"
            for name in ("r1", "g1"):
                await shard[name].stop()
                await shard.start(name)
            assert (shard["r1"].was_here, shard["g1"].was_here) == (True, False)
            await shard.start("r2")
            assert not shard["r2"].was_here, "the first time, however late"

    run(story())


def test_a_process_with_another_s_memory_is_no_other_holder(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("r1", memory="the first disk")
            for memory, was_here in (
                ("the first disk", False),
                ("another disk", True),
                ("another disk", True),
                ("", True),
                ("the first disk", False),
            ):
                await shard["r1"].stop()
                await shard.start("r1", memory=memory)
                assert shard["r1"].was_here is was_here

    run(story())


def test_a_holder_whose_session_expired_was_not_away(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("e1", "r1")
            first, _ = shard["r1"].session()
            await shard.end_session("r1")
            await shard.until(lambda: shard["r1"].session()[0] != first)
            await shard.until(lambda: shard["r1"].connected and "r1" in shard["e1"].members)
            assert not shard["r1"].was_here

    run(story())


def test_a_server_that_forgot_is_told_of_those_who_are_away_too(
    embedded: EmbeddedInThread,
) -> None:
    async def story() -> None:
        async with shard_at(with_new_root("embedded", embedded.hosts).settings) as shard:
            await shard.start("e1", "r1", "r2")
            await shard.until_nodes("holders", lambda nodes: len(nodes) == 3)
            await shard.start("r3")  # so that the others have read all the names by now
            await shard["r2"].stop()
            embedded.stop()
            await shard.until(lambda: not shard["e1"].connected)
            embedded.start()
            await shard.until_nodes("holders", lambda nodes: "r2" in nodes)
            await shard.start("r2")
            assert shard["r2"].was_here

    run(story())
