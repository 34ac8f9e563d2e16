"""Watches tell once, in order, and before the answer, as those of Apache's server."""

import queue
from collections.abc import Callable
from typing import Any

import pytest
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]

from tests.zk.raw_client import SET_WATCHES, RawClient, create, set_watches
from tests.zk.servers import ZooKeeper

Connect = Callable[..., Any]
TOLD_WITHIN_S = 10.0

CREATED, DELETED, CHANGED, CHILD = 1, 2, 3, 4


def told(events: queue.SimpleQueue[Any]) -> tuple[str, str]:
    event = events.get(timeout=TOLD_WITHIN_S)
    return event.type, event.path


def test_another_client_is_told_of_each_kind_of_change(connect: Connect) -> None:
    watcher, writer = connect(), connect()
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    assert watcher.exists("/node", watch=events.put) is None
    writer.create("/node", b"1")
    assert told(events) == ("CREATED", "/node")
    watcher.get("/node", watch=events.put)
    writer.set("/node", b"2")
    assert told(events) == ("CHANGED", "/node")
    watcher.get_children("/node", watch=events.put)
    writer.create("/node/child")
    assert told(events) == ("CHILD", "/node")
    watcher.get_children("/node", watch=events.put)
    writer.delete("/node/child")
    assert told(events) == ("CHILD", "/node")
    watcher.exists("/node", watch=events.put)
    writer.delete("/node")
    assert told(events) == ("DELETED", "/node")
    assert events.empty()


@pytest.fixture
def client(zookeeper: ZooKeeper, root: str) -> Any:
    """A raw client whose events come in the order in which the server sends them."""
    with RawClient(zookeeper.address) as raw:
        yield raw
        raw.close_session()


def test_a_watch_tells_once_and_before_the_answer(client: RawClient, root: str) -> None:
    client.ask(create(f"{root}/node"))
    client.ask(judge.GetData(f"{root}/node", True))
    client.ask(judge.Exists(f"{root}/node", True))  # the same watch, which tells once all the same
    first = client.ask(judge.SetData(f"{root}/node", b"1", -1))
    assert first.events == [(CHANGED, f"{root}/node")]
    assert client.ask(judge.SetData(f"{root}/node", b"2", -1)).events == []


def test_refused_requests_leave_a_watch_only_where_it_was_asked_for_existence(
    client: RawClient, root: str
) -> None:
    client.ask(judge.GetData(f"{root}/data", True))
    client.ask(judge.GetChildren(f"{root}/children", True))
    client.ask(judge.Exists(f"{root}/exists", True))
    assert client.ask(create(f"{root}/data")).events == []
    assert client.ask(create(f"{root}/children")).events == []
    assert client.ask(create(f"{root}/children/x")).events == []
    assert client.ask(create(f"{root}/exists")).events == [(CREATED, f"{root}/exists")]


def test_refused_changes_tell_nothing(client: RawClient, root: str) -> None:
    client.ask(create(f"{root}/node"))
    client.ask(judge.GetData(f"{root}/node", True))
    client.ask(judge.GetChildren(root, True))
    assert client.ask(create(f"{root}/node")).events == []
    assert client.ask(judge.SetData(f"{root}/node", b"", 7)).events == []
    assert client.ask(judge.Delete(f"{root}/node", 7)).events == []


def test_deletion_tells_who_watches_data_and_children_once(client: RawClient, root: str) -> None:
    client.ask(create(f"{root}/node"))
    client.ask(judge.GetData(f"{root}/node", True))
    client.ask(judge.GetChildren(f"{root}/node", True))
    client.ask(judge.GetChildren2(root, True))
    answer = client.ask(judge.Delete(f"{root}/node", -1))
    assert answer.events == [(DELETED, f"{root}/node"), (CHILD, root)]
    assert client.ask(create(f"{root}/node")).events == []


def test_other_data_does_not_tell_who_watches_children(client: RawClient, root: str) -> None:
    client.ask(create(f"{root}/node"))
    client.ask(judge.GetChildren(f"{root}/node", True))
    client.ask(judge.GetChildren(root, True))
    assert client.ask(judge.SetData(f"{root}/node", b"1", -1)).events == []
    assert client.ask(create(f"{root}/node/child")).events == [(CHILD, f"{root}/node")]


def test_other_rights_tell_nobody(client: RawClient, root: str) -> None:
    client.ask(create(f"{root}/node"))
    client.ask(judge.Exists(f"{root}/node", True))
    acls = client.ask(judge.GetACL(f"{root}/node")).value[0]
    answer = client.ask(judge.SetACL(f"{root}/node", acls, -1))
    assert (answer.error, answer.events) == (0, [])


def test_watches_set_again_tell_what_was_missed(client: RawClient, root: str) -> None:
    for name in ("same", "changed", "deleted"):
        client.ask(create(f"{root}/{name}"))
    zxid = client.ask(judge.Exists(root, None)).zxid
    client.ask(judge.SetData(f"{root}/changed", b"1", -1))
    client.ask(create(f"{root}/changed/child"))
    client.ask(judge.Delete(f"{root}/deleted", -1))
    client.ask(create(f"{root}/created"))
    paths = {name: f"{root}/{name}" for name in ("same", "changed", "deleted", "created", "none")}
    record = set_watches(
        zxid,
        data=[paths["same"], paths["changed"], paths["deleted"]],
        exist=[paths["created"], paths["none"]],
        child=[paths["same"], paths["changed"], paths["deleted"]],
    )
    answer = client.ask_bytes(SET_WATCHES, record)
    assert answer.events == [
        (CHANGED, paths["changed"]),
        (DELETED, paths["deleted"]),
        (CREATED, paths["created"]),
        (CHILD, paths["changed"]),
        (DELETED, paths["deleted"]),
    ]
    # What had not changed is watched from now on; what was told is not.
    told_now = client.ask(judge.SetData(paths["same"], b"1", -1)).events
    told_now += client.ask(create(f"{paths['same']}/child")).events
    told_now += client.ask(create(paths["none"])).events
    told_now += client.ask(judge.SetData(paths["changed"], b"2", -1)).events
    assert told_now == [(CHANGED, paths["same"]), (CHILD, paths["same"]), (CREATED, paths["none"])]


def test_watches_end_with_their_connection(zookeeper: ZooKeeper, root: str) -> None:
    with RawClient(zookeeper.address) as first:
        first.ask(create(f"{root}/node"))
        first.ask(judge.GetData(f"{root}/node", True))
        with RawClient(zookeeper.address, session=first.session) as second:
            assert second.session == first.session
            assert second.ask(judge.SetData(f"{root}/node", b"1", -1)).events == []
