"""Members through kazoo, against the embedded server and Apache's, one and three."""

import asyncio
import time

from tests.zk.members import Shard, let_a_primary_be_killed, run, shard_at
from tests.zk.servers import ZooKeeper

FIVE = ("e1", "e2", "e3", "r1", "r2")


def test_the_first_replica_that_may_is_granted_the_first_epoch_and_all_know_it(
    zookeeper: ZooKeeper,
) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("e1", "e2", "r1", "g1")
            assert [member.epoch_at_start for member in shard.members.values()] == [0, 0, 0, 0]
            assert [member.granted for member in shard.members.values()] == [None] * 4
            shard["e1"].electable = True
            await shard.until_reigning("e1", 1)
            assert shard["g1"].primary == ("e1", 1, "127.0.0.1:1")
            fields = shard["g1"].members["r1"]
            assert (fields["role"], fields["holder"]) == ("retransmitter", True)
            assert shard["r1"].members["g1"]["holder"] is False
            await shard.start("r2")
            assert shard["r2"].epoch_at_start == 1

    run(story())


def test_of_two_candidates_at_once_one_is_granted_the_epoch(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("e1", "e2", "r1")
            shard["e1"].electable = shard["e2"].electable = True
            await shard.until(lambda: bool(shard.grants))
            await shard.until_reigning(shard.grants[0][0], 1)
            assert len(shard.grants) == 1

    run(story())


def test_a_majority_of_suspicions_replaces_a_primary_whose_session_lives(
    zookeeper: ZooKeeper,
) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary(*FIVE)
            shard["e2"].electable = True
            shard.suspect(1, "r1", "r2")
            await shard.until_nodes("suspicions", lambda nodes: set(nodes) == {"1-r1", "1-r2"})
            assert shard["e2"].granted is None
            began_s = time.monotonic()
            shard.suspect(1, "e2")
            await shard.until(lambda: shard["e2"].granted == 2)
            assert time.monotonic() - began_s < shard.settings.session_timeout_ms / 1000
            await shard.until_reigning("e2", 2)
            assert shard["e1"].granted is None  # fenced
            await shard.until_nodes("suspicions", lambda nodes: not nodes)
            assert shard.grants == [("e1", 1), ("e2", 2)]

    run(story())


def test_a_suspicion_that_is_withdrawn_does_not_count(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary(*FIVE)
            shard["e2"].electable = True
            shard.suspect(1, "r1", "r2")
            await shard.until_nodes("suspicions", lambda nodes: len(nodes) == 2)
            shard["r1"].withdraw()
            await shard.until_nodes("suspicions", lambda nodes: set(nodes) == {"1-r2"})
            # Whoever has seen what came later has seen the withdrawal, too: servers may lag.
            await shard.start("g1")
            await shard.until(lambda: "g1" in shard["e2"].members)
            shard.suspect(1, "e2")
            await shard.until_nodes("suspicions", lambda nodes: set(nodes) == {"1-r2", "1-e2"})
            await shard.until_reigning("e1", 1)

    run(story())


def test_a_session_that_was_ended_takes_the_nodes_along_and_they_come_back(
    zookeeper: ZooKeeper,
) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary(*FIVE)
            shard.suspect(1, "r1")
            await shard.until_nodes("suspicions", lambda nodes: set(nodes) == {"1-r1"})
            for name in ("r1", "e1"):
                old, _ = shard[name].session()
                await shard.end_session(name)
                await shard.until(lambda: shard[name].session()[0] != old)  # noqa: B023
                new, _ = shard[name].session()
                await shard.until_nodes("members", lambda nodes: nodes.get(name) == new)  # noqa: B023
            r1, _ = shard["r1"].session()
            await shard.until_nodes("suspicions", lambda nodes: nodes == {"1-r1": r1})
            e1, _ = shard["e1"].session()
            await shard.until_nodes("", lambda nodes: nodes.get("primary") == e1)
            await shard.until_reigning("e1", 1)
            assert shard.grants == [("e1", 1)]  # the same reign

    run(story())


def test_a_primary_whose_session_was_ended_goes_on_or_is_replaced_but_never_both(
    zookeeper: ZooKeeper,
) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary(*FIVE)
            shard["e2"].electable = shard["e3"].electable = True
            old, _ = shard["e1"].session()
            await shard.end_session("e1")
            await shard.until(lambda: shard["e1"].session()[0] != old)
            await shard.until_nodes("", lambda nodes: nodes.get("primary") not in (None, old))
            await shard.until(
                lambda: any(each.granted == each.epoch for each in shard.members.values())
            )
            name, epoch = shard.grants[-1]
            await shard.until_reigning(name, epoch)
            assert [each for _, each in shard.grants] == list(range(1, epoch + 1))

    run(story())


def test_a_killed_primary_is_replaced_when_its_session_expires(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        await let_a_primary_be_killed(zookeeper.settings, "e1")
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("e2", "r1")
            assert shard["e2"].primary == ("e1", 1, "127.0.0.1:9")
            shard["e2"].electable = True
            await shard.until_reigning("e2", 2)
            await shard.until(lambda: "e1" not in shard["r1"].members)

    run(story())


def test_a_killed_primary_that_is_restarted_at_once_is_replaced_at_once(
    zookeeper: ZooKeeper,
) -> None:
    async def story() -> None:
        settings = zookeeper.settings.model_copy(update={"session_timeout_ms": 60_000})
        await let_a_primary_be_killed(settings, "e1")
        async with shard_at(settings) as shard:
            await shard.start("e2", "r1")
            await shard.start("e1")  # its old session lives for another minute
            session, _ = shard["e1"].session()
            await shard.until_nodes("members", lambda nodes: nodes.get("e1") == session)
            assert shard["e1"].epoch_at_start == 1
            await shard.until(lambda: shard["e2"].primary is None)
            shard["e2"].electable = True
            await shard.until_reigning("e2", 2)

    run(story())


def test_who_leaves_is_gone_at_once(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        settings = zookeeper.settings.model_copy(update={"session_timeout_ms": 60_000})
        async with shard_at(settings) as shard:
            await shard.start_with_primary("e1", "e2", "r1")
            shard["e2"].electable = True
            leaving = shard.members.pop("e1")
            await leaving.stop()
            assert not leaving.connected
            await shard.until_reigning("e2", 2)
            await shard.until(lambda: "e1" not in shard["r1"].members)

    run(story())


def test_a_primary_that_yields_is_replaced(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary("e1", "e2", "r1")
            shard["e2"].electable = True
            shard["e1"].electable = False
            shard["e1"].yield_epoch()
            assert shard["e1"].granted is None
            await shard.until_reigning("e2", 2)

    run(story())


def test_epochs_that_the_feed_has_shown_are_never_granted_again(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start("e1", "r1")
            shard["r1"].observe_epoch(41)
            await shard.until(lambda: shard["e1"].epoch == 41)
            shard["e1"].electable = True
            await shard.until_reigning("e1", 42)
            assert shard.grants == [("e1", 42)]

    run(story())


def test_a_client_that_ended_by_itself_is_set_up_anew(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary("e1", "r1")
            client = shard["e1"]._client
            assert client is not None
            kazoo = client._kazoo
            await asyncio.get_running_loop().run_in_executor(None, kazoo.stop)
            await shard.until(lambda: not shard["e1"].connected)
            await shard.until(lambda: shard["e1"].connected)
            await shard.until_reigning("e1", 1)
            assert client._kazoo is not kazoo

    run(story())


def test_changes_are_told_and_nothing_else_is(zookeeper: ZooKeeper) -> None:
    async def story() -> None:
        async with shard_at(zookeeper.settings) as shard:
            await shard.start_with_primary("e1", "e2", "r1")
            await settled(shard)
            before = dict(shard.changes)
            shard["e2"].observe_epoch(1)
            shard["e2"].withdraw()
            shard["e2"].suspect(7)
            await settled(shard)
            assert shard.changes == before
            await shard.start("r2")
            await settled(shard)
            assert all(shard.changes[name] > before[name] for name in before)

    run(story())


async def settled(shard: Shard) -> None:
    """A round trip of a later session is answered: events before it have been sent."""
    await shard.nodes("members")
    await asyncio.sleep(0.05)
