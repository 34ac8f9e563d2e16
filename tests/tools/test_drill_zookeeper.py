"""What a drill itself asks of ZooKeeper: suspicions, all of them counted, and a session's end."""

import time
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.retry import KazooRetry  # type: ignore[import-untyped]

from tests.zk.servers import EmbeddedInThread
from tools.console import CommandError
from tools.drill import zookeeper
from tools.drill.zookeeper import SuspicionWatcher, end_session
from zk.nodes import ShardNodes
from zk.settings import ZooKeeperSettings

NODES = ShardNodes.of("/lockstep", "DEMO", 1)
WITHIN_S = 10.0


@pytest.fixture
def server() -> Iterator[EmbeddedInThread]:
    server = EmbeddedInThread()
    yield server
    server.close()


@pytest.fixture
def holder(server: EmbeddedInThread) -> Iterator[KazooClient]:
    """Somebody with a session of its own."""
    client = KazooClient(hosts=server.hosts, timeout=2.0)
    client.start(timeout=WITHIN_S)
    yield client
    client.stop()
    client.close()


def watching(server: EmbeddedInThread) -> SuspicionWatcher:
    return SuspicionWatcher(ZooKeeperSettings(hosts=server.hosts), "DEMO", 1)


def until_seen(watcher: SuspicionWatcher, count: int) -> list[tuple[int, str]]:
    deadline = time.monotonic() + WITHIN_S
    while len(seen := watcher.since(0)) < count:
        assert time.monotonic() < deadline, f"only {seen} was seen"
        time.sleep(0.01)
    return [(suspicion.epoch, suspicion.holder) for suspicion in seen]


def test_suspicions_are_seen_and_counted(server: EmbeddedInThread, holder: KazooClient) -> None:
    with watching(server) as watcher:
        assert watcher.count() == 0
        holder.ensure_path(NODES.suspicions)
        holder.create(NODES.suspicion(3, "e1"), ephemeral=True)
        assert until_seen(watcher, 1) == [(3, "e1")]
        holder.create(NODES.suspicion(3, "r-2"), ephemeral=True)
        assert until_seen(watcher, 2) == [(3, "e1"), (3, "r-2")]
        assert watcher.since(time.monotonic_ns()) == []
        assert watcher.count() == 2


def test_suspicions_that_come_and_go_unseen_are_counted_all_the_same(
    server: EmbeddedInThread, holder: KazooClient
) -> None:
    with watching(server) as watcher:
        holder.ensure_path(NODES.suspicions)
        for _ in range(20):
            path = holder.create(NODES.suspicion(3, "e1"), ephemeral=True)
            holder.delete(path)
        assert watcher.count() == 20


def test_watcher_goes_on_after_zookeeper_was_away(
    server: EmbeddedInThread, holder: KazooClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zookeeper, "_ANSWER_WITHIN_S", 0.1)
    with watching(server) as watcher:
        holder.ensure_path(NODES.suspicions)
        server.stop()
        with pytest.raises(CommandError, match="can't be asked"):
            watcher.count()
        server.start()
        again = KazooRetry(max_tries=-1, deadline=WITHIN_S)
        again(holder.ensure_path, NODES.suspicions)  # the server has forgotten everything
        again(holder.create, NODES.suspicion(4, "e2"), ephemeral=True)
        assert until_seen(watcher, 1) == [(4, "e2")]


def test_a_session_is_ended_and_its_nodes_go_at_once(
    server: EmbeddedInThread, holder: KazooClient
) -> None:
    holder.ensure_path(NODES.shard)
    holder.create(NODES.primary, ephemeral=True)
    other = KazooClient(hosts=server.hosts)
    other.start(timeout=WITHIN_S)
    try:
        end_session(server.hosts, *holder.client_id)
        assert other.exists(NODES.primary) is None
    finally:
        other.stop()
        other.close()
