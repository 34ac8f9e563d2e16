"""Sessions outlive connections, and end with their ephemeral nodes, as in Apache's server."""

import queue
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from kazoo.client import KazooState  # type: ignore[import-untyped]
from kazoo.exceptions import AuthFailedError  # type: ignore[import-untyped]
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]

from tests.zk.raw_client import NO_PASSWORD, Closed, RawClient, create
from tests.zk.servers import ZooKeeper

Connect = Callable[..., Any]
EPHEMERAL = 1
NO_NODE = -101
SHORT_TIMEOUT_MS = 400
TOLD_WITHIN_S = 10.0
DELETED = 2


def test_ephemeral_nodes_go_when_their_client_closes(connect: Connect) -> None:
    owner, other = connect(), connect()
    owner.create("/a", ephemeral=True)
    owner.create("/parent/b", ephemeral=True, makepath=True)
    owner.create("/kept")
    other.sync("/")
    assert other.exists("/a").ephemeralOwner == owner.client_id[0]
    before = other.exists("/parent")
    deleted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    other.exists("/a", watch=deleted.put)
    owner.stop()
    assert deleted.get(timeout=TOLD_WITHIN_S).type == "DELETED"
    other.sync("/")
    assert sorted(other.get_children("/")) == ["kept", "parent"]
    after = other.exists("/parent")
    assert (after.numChildren, after.cversion) == (0, before.cversion + 1)
    assert after.pzxid > before.pzxid


def test_ephemeral_nodes_go_when_their_client_is_silent_for_too_long(
    zookeeper: ZooKeeper, root: str
) -> None:
    with RawClient(zookeeper.address) as watcher:
        with RawClient(zookeeper.address, timeout_ms=SHORT_TIMEOUT_MS) as silent:
            assert silent.timeout_ms == SHORT_TIMEOUT_MS
            started = time.monotonic()
            silent.ask(create(f"{root}/silent", b"", EPHEMERAL))
            assert watcher.ask(judge.Exists(f"{root}/silent", True)).error == 0
            assert watcher.next_event() == (DELETED, f"{root}/silent")
            elapsed_ms = (time.monotonic() - started) * 1_000
            assert elapsed_ms >= SHORT_TIMEOUT_MS
            assert silent.is_closed_by_the_server()
        with RawClient(zookeeper.address, session=silent.session) as again:
            assert (again.timeout_ms, again.session) == (0, (0, NO_PASSWORD))
            assert again.is_closed_by_the_server()


def test_pings_keep_a_session_alive(zookeeper: ZooKeeper, root: str) -> None:
    with RawClient(zookeeper.address, timeout_ms=SHORT_TIMEOUT_MS) as client:
        client.ask(create(f"{root}/node", b"", EPHEMERAL))
        until = time.monotonic() + 3 * SHORT_TIMEOUT_MS / 1_000
        while time.monotonic() < until:
            client.send(struct.pack("!ii", -2, judge.Ping.type))
            header, _ = judge.ReplyHeader.deserialize(client.receive(), 0)
            assert (header.xid, header.err) == (-2, 0)
            time.sleep(SHORT_TIMEOUT_MS / 10_000)
        assert client.ask(judge.Exists(f"{root}/node", None)).error == 0


def test_a_session_goes_on_over_another_connection(zookeeper: ZooKeeper, root: str) -> None:
    with RawClient(zookeeper.address) as first:
        zxid = first.ask(create(f"{root}/node", b"", EPHEMERAL)).zxid
    with RawClient(zookeeper.address, session=first.session, last_zxid=zxid) as second:
        assert second.session == first.session
        assert second.timeout_ms == first.timeout_ms
        stat = second.ask(judge.Exists(f"{root}/node", None)).value
        assert stat.ephemeralOwner == first.session[0]
        second.close_session()
        assert second.is_closed_by_the_server()
    with RawClient(zookeeper.address) as other:
        other.ask(judge.Sync(root))
        assert other.ask(judge.Exists(f"{root}/node", None)).error == NO_NODE


def test_the_older_connection_is_closed_when_its_session_goes_on_elsewhere(
    zookeeper: ZooKeeper, root: str
) -> None:
    with (
        RawClient(zookeeper.address) as first,
        RawClient(zookeeper.address, session=first.session) as second,
    ):
        assert first.is_closed_by_the_server()
        assert second.ask(create(f"{root}/node", b"", EPHEMERAL)).error == 0


def test_wrong_password_does_not_resume_a_session(zookeeper: ZooKeeper, root: str) -> None:
    with RawClient(zookeeper.address) as owner:
        owner.ask(create(f"{root}/node", b"", EPHEMERAL))
    wrong = (owner.session[0], bytes(15) + b"\1")
    with RawClient(zookeeper.address, session=wrong) as thief:
        assert (thief.timeout_ms, thief.session) == (0, (0, NO_PASSWORD))
        assert thief.is_closed_by_the_server()
    with RawClient(zookeeper.address, session=owner.session) as again:
        assert again.session == owner.session
        assert again.ask(judge.Exists(f"{root}/node", None)).error == 0


def test_a_client_that_has_seen_more_than_the_server_is_sent_away(zookeeper: ZooKeeper) -> None:
    with pytest.raises(Closed):
        RawClient(zookeeper.address, last_zxid=(1 << 63) - 1)


@pytest.mark.parametrize(("asked_ms", "granted_ms"), [(-1, None), (1, None), (1 << 30, 60_000)])
def test_timeouts_have_bounds(zookeeper: ZooKeeper, asked_ms: int, granted_ms: int | None) -> None:
    shortest_ms = 100 if zookeeper.kind == "embedded" else 200
    with RawClient(zookeeper.address, timeout_ms=asked_ms) as client:
        assert client.timeout_ms == (granted_ms or shortest_ms)
        client.close_session()


def test_kazoo_is_told_that_its_session_was_ended_elsewhere(connect: Connect) -> None:
    client = connect()
    client.create("/node", ephemeral=True)
    states: queue.SimpleQueue[str] = queue.SimpleQueue()
    client.add_listener(states.put)
    old_session = client.client_id[0]
    elsewhere = connect(client_id=client.client_id)
    assert elsewhere.client_id[0] == old_session
    elsewhere.stop()
    seen = [states.get(timeout=TOLD_WITHIN_S)]
    while seen[-1] != KazooState.LOST:
        seen.append(states.get(timeout=TOLD_WITHIN_S))
    assert seen[0] == KazooState.SUSPENDED
    while states.get(timeout=TOLD_WITHIN_S) != KazooState.CONNECTED:
        pass
    client.sync("/")
    assert client.client_id[0] != old_session
    assert client.exists("/node") is None


def test_kazoo_keeps_its_session_when_the_connection_breaks(connect: Connect) -> None:
    client = connect()
    client.create("/node", ephemeral=True)
    session = client.client_id
    states: queue.SimpleQueue[str] = queue.SimpleQueue()
    client.add_listener(states.put)
    client._connection._socket.shutdown(socket.SHUT_RDWR)  # as a broken network would
    assert states.get(timeout=TOLD_WITHIN_S) == KazooState.SUSPENDED
    assert states.get(timeout=TOLD_WITHIN_S) == KazooState.CONNECTED
    client.sync("/")
    assert client.client_id == session
    assert client.exists("/node").ephemeralOwner == session[0]


def test_credentials_that_nobody_knows_are_refused(connect: Connect) -> None:
    client = connect()
    with pytest.raises(AuthFailedError):
        client.add_auth("nobody", "user:password")
