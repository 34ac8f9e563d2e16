"""A multi takes effect whole or not at all, and its answers are those of Apache's server."""

from collections.abc import Callable
from typing import Any

import pytest
from kazoo import exceptions as refused  # type: ignore[import-untyped]
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]
from kazoo.security import OPEN_ACL_UNSAFE  # type: ignore[import-untyped]

from tests.zk.raw_client import RawClient
from tests.zk.servers import ZooKeeper

Connect = Callable[..., Any]
EVENT_DATA_CHANGED = 3


def test_all_operations_in_one(connect: Connect) -> None:
    client = connect()
    client.create("/old", b"1")
    transaction = client.transaction()
    transaction.check("/old", 0)
    transaction.create("/new", b"x", ephemeral=True)
    transaction.set_data("/old", b"2", 0)
    transaction.check("/old", 1)
    transaction.create("/old/n-", sequence=True)
    transaction.delete("/old/n-0000000000", 0)
    transaction.delete("/new")
    transaction.create("/new", b"y")
    results = transaction.commit()
    stat = client.exists("/old")
    # The set was answered with the stat that the node had then.
    after_set = stat._replace(cversion=0, pzxid=stat.czxid)
    assert results == [
        True,
        "/new",
        after_set,
        True,
        "/old/n-0000000000",
        True,
        True,
        "/new",
    ]
    assert client.get("/old")[0] == b"2"
    assert (stat.cversion, stat.numChildren) == (2, 0)
    data, new_stat = client.get("/new")
    assert (data, new_stat.ephemeralOwner) == (b"y", 0)
    assert new_stat.czxid == stat.mzxid == stat.pzxid == client.last_zxid


def test_one_refusal_undoes_everything(connect: Connect) -> None:
    client = connect()
    client.create("/kept", b"1")
    client.create("/kept/child")
    before = client.get("/kept")
    transaction = client.transaction()
    transaction.set_data("/kept", b"2")
    transaction.create("/kept/new")
    transaction.delete("/kept/child")
    transaction.create("/kept/ephemeral", ephemeral=True)
    transaction.delete("/kept/new")
    transaction.check("/kept", 7)
    transaction.create("/never")
    results = transaction.commit()
    assert [type(result) for result in results] == [
        *[refused.RolledBackError] * 5,
        refused.BadVersionError,
        refused.RuntimeInconsistency,
    ]
    assert client.get("/kept") == before
    assert client.get_children("/kept") == ["child"]
    assert client.get_children("/") == ["kept"]
    # Nothing of it is left in the numbers of sequential nodes, nor with the session.
    assert client.create("/kept/n-", sequence=True) == "/kept/n-0000000001"
    client.stop()
    other = connect()
    assert sorted(other.get_children("/kept")) == ["child", "n-0000000001"]


@pytest.mark.parametrize(
    ("add", "error"),
    [
        (lambda t: t.create("/there"), refused.NodeExistsError),
        (lambda t: t.create("/missing/x"), refused.NoNodeError),
        (lambda t: t.create("/ephemeral/x"), refused.NoChildrenForEphemeralsError),
        (lambda t: t.delete("/missing"), refused.NoNodeError),
        (lambda t: t.delete("/parent"), refused.NotEmptyError),
        (lambda t: t.delete("/there", 3), refused.BadVersionError),
        (lambda t: t.set_data("/missing", b""), refused.NoNodeError),
        (lambda t: t.set_data("/there", b"", 3), refused.BadVersionError),
        (lambda t: t.check("/missing", 0), refused.NoNodeError),
        (lambda t: t.check("/there", 3), refused.BadVersionError),
    ],
)
def test_refusal_of_one_operation(connect: Connect, add: Callable[[Any], None], error: Any) -> None:
    client = connect()
    client.create("/there")
    client.create("/parent/child", makepath=True)
    client.create("/ephemeral", ephemeral=True)
    transaction = client.transaction()
    add(transaction)
    (result,) = transaction.commit()
    assert type(result) is error


def test_check_of_any_version_wants_the_node_alone(connect: Connect) -> None:
    client = connect()
    client.create("/node")
    transaction = client.transaction()
    transaction.check("/node", -1)
    assert transaction.commit() == [True]


def test_empty_multi(connect: Connect) -> None:
    assert connect().transaction().commit() == []


def test_watches_tell_of_a_multi_only_when_it_is_done(zookeeper: ZooKeeper, root: str) -> None:
    with RawClient(zookeeper.address) as client:
        client.ask(judge.Create(f"{root}/node", b"", OPEN_ACL_UNSAFE, 0))
        client.ask(judge.GetData(f"{root}/node", True))
        failing = [judge.SetData(f"{root}/node", b"1", -1), judge.CheckVersion(f"{root}/node", 7)]
        answer = client.ask(judge.Transaction(failing))
        assert (answer.error, answer.events) == (0, [])
        answer = client.ask(judge.Transaction(failing[:1]))
        assert answer.events == [(EVENT_DATA_CHANGED, f"{root}/node")]


def test_create2_in_a_multi_is_answered_as_create(zookeeper: ZooKeeper, root: str) -> None:
    create2 = judge.Create2(f"{root}/node", b"123", OPEN_ACL_UNSAFE, 0)
    with RawClient(zookeeper.address) as client:
        answer = client.ask(judge.Transaction([create2]))
        assert answer.value == [f"{root}/node"]
        assert client.ask(judge.Exists(f"{root}/node", None)).value.dataLength == 3
