"""Nodes behave as in Apache's server: the same refusals in the same order, the same stat."""

from collections.abc import Callable
from typing import Any

import pytest
from kazoo import exceptions as refused  # type: ignore[import-untyped]
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]
from kazoo.security import OPEN_ACL_UNSAFE, make_acl  # type: ignore[import-untyped]

from tests.zk.raw_client import RawClient, create
from tests.zk.servers import ZooKeeper

Connect = Callable[..., Any]

OK = 0
UNIMPLEMENTED = -6
BAD_ARGUMENTS = -8
NO_NODE = -101
BAD_VERSION = -103
NO_CHILDREN_FOR_EPHEMERALS = -108
NODE_EXISTS = -110
NOT_EMPTY = -111
INVALID_ACL = -114

EPHEMERAL = 1
SEQUENTIAL = 2


def test_what_was_written_is_read_by_another_client(connect: Connect) -> None:
    writer, reader = connect(), connect()
    assert writer.create("/node", b"first") == "/node"
    writer.set("/node", b"second")
    reader.sync("/")
    data, stat = reader.get("/node")
    assert (data, stat.version) == (b"second", 1)
    writer.delete("/node")
    reader.sync("/")
    assert reader.exists("/node") is None


def test_stat_of_a_new_node(connect: Connect) -> None:
    client = connect()
    _, stat = client.create("/node", b"12345", include_data=True)
    assert stat.czxid == stat.mzxid == stat.pzxid == client.last_zxid
    assert stat.ctime == stat.mtime
    assert (stat.version, stat.cversion, stat.aversion) == (0, 0, 0)
    assert (stat.dataLength, stat.numChildren, stat.ephemeralOwner) == (5, 0, 0)
    assert client.exists("/node") == client.get("/node")[1] == stat


def test_stat_after_other_data(connect: Connect) -> None:
    client = connect()
    _, before = client.create("/node", b"1", include_data=True)
    after = client.set("/node", b"123")
    assert after.mzxid == client.last_zxid > before.mzxid
    assert after.mtime >= before.mtime
    expected = before._replace(mzxid=after.mzxid, mtime=after.mtime, version=1, dataLength=3)
    assert after == client.exists("/node") == expected


def test_stat_of_a_parent_counts_children_that_come_and_go(connect: Connect) -> None:
    client = connect()
    _, before = client.create("/parent", include_data=True)
    client.create("/parent/a")
    client.create("/parent/b")
    both = client.exists("/parent")
    assert both == before._replace(pzxid=client.last_zxid, cversion=2, numChildren=2)
    client.delete("/parent/a")
    one = client.exists("/parent")
    assert one == before._replace(pzxid=client.last_zxid, cversion=3, numChildren=1)
    assert one.pzxid > both.pzxid > before.pzxid
    client.set("/parent/b", b"x")
    client.create("/parent/b/grandchild")
    assert client.exists("/parent") == one


def test_children_are_listed_with_the_parents_stat(connect: Connect) -> None:
    client = connect()
    for name in ("a", "b", "c"):
        client.create(f"/parent/{name}", makepath=True)
    children, stat = client.get_children("/parent", include_data=True)
    assert sorted(children) == sorted(client.get_children("/parent")) == ["a", "b", "c"]
    assert stat == client.exists("/parent")
    assert client.get_children("/parent/a") == []


def test_empty_data_is_empty_and_null_data_is_null(zookeeper: ZooKeeper, root: str) -> None:
    with RawClient(zookeeper.address) as client:
        for name, data in (("empty", b""), ("null", None)):
            assert client.ask(create(f"{root}/{name}", data)).value[1].dataLength == 0
            assert client.ask(judge.GetData(f"{root}/{name}", None)).value[0] == data
        assert client.ask(judge.SetData(f"{root}/empty", None, -1)).value.dataLength == 0
        assert client.ask(judge.GetData(f"{root}/empty", None)).value[0] is None


def test_sequential_nodes_are_numbered_by_the_children_that_ever_were(connect: Connect) -> None:
    client = connect()
    client.create("/parent")
    assert client.create("/parent/a-", sequence=True) == "/parent/a-0000000000"
    assert client.create("/parent/b-", sequence=True) == "/parent/b-0000000001"
    client.create("/parent/without a number")
    client.delete("/parent/b-0000000001")
    assert client.create("/parent/b-", sequence=True) == "/parent/b-0000000003"
    assert client.create("/parent/", sequence=True) == "/parent/0000000004"


def test_ephemeral_and_sequential_at_once(connect: Connect) -> None:
    client = connect()
    path, stat = client.create("/x-", sequence=True, ephemeral=True, include_data=True)
    assert path == "/x-0000000000"
    assert stat.ephemeralOwner == client.client_id[0] != 0


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_is_refused(connect: Connect, version: int) -> None:
    client = connect()
    client.create("/node", b"1")
    before = client.set("/node", b"2", version=0)
    with pytest.raises(refused.BadVersionError):
        client.set("/node", b"3", version=version)
    with pytest.raises(refused.BadVersionError):
        client.delete("/node", version=version)
    assert client.get("/node") == (b"2", before)
    client.delete("/node", version=1)


def test_a_child_of_an_ephemeral_node_is_refused(connect: Connect) -> None:
    client = connect()
    client.create("/ephemeral", ephemeral=True)
    with pytest.raises(refused.NoChildrenForEphemeralsError):
        client.create("/ephemeral/child")
    assert client.get_children("/ephemeral") == []


def test_open_acl_is_told_and_can_be_set_again(connect: Connect) -> None:
    client = connect()
    client.create("/node")
    acls, stat = client.get_acls("/node")
    assert acls == OPEN_ACL_UNSAFE
    after = client.set_acls("/node", OPEN_ACL_UNSAFE, version=0)
    assert after == stat._replace(aversion=1)
    with pytest.raises(refused.BadVersionError):
        client.set_acls("/node", OPEN_ACL_UNSAFE, version=0)
    with pytest.raises(refused.NoNodeError):
        client.get_acls("/missing")


def test_chroot_is_a_root_of_its_own(connect: Connect, zookeeper: ZooKeeper) -> None:
    inside = connect()
    outside = connect(hosts=zookeeper.settings.hosts)
    inside.create("/node", b"x")
    outside.sync("/")
    assert outside.get(zookeeper.settings.root + "/node")[0] == b"x"
    assert "zookeeper" in outside.get_children("/")
    assert inside.get_children("/") == ["node"]


def test_sync_answers_with_the_path(connect: Connect) -> None:
    client = connect()
    assert client.sync("/") == "/"
    assert client.sync("/missing") == "/missing"


def test_packet_as_large_as_allowed_and_one_byte_more(zookeeper: ZooKeeper, root: str) -> None:
    largest = 0xFFFFF
    overhead = len(judge.Create(f"{root}/large", b"", OPEN_ACL_UNSAFE, 0).serialize()) + 8
    with RawClient(zookeeper.address) as client:
        data = bytes(largest - overhead)
        assert client.ask(judge.Create(f"{root}/large", data, OPEN_ACL_UNSAFE, 0)).error == OK
        assert client.ask(judge.Exists(f"{root}/large", None)).value.dataLength == len(data)
        more = judge.Create(f"{root}/larger", data, OPEN_ACL_UNSAFE, 0)
        client.send(bytes(8) + bytes(more.serialize()))
        assert client.is_closed_by_the_server()
    with RawClient(zookeeper.address) as client:
        client.ask(judge.Sync(root))
        assert client.ask(judge.Exists(f"{root}/larger", None)).error == NO_NODE


REFUSALS = {
    "create where there is one": (create("{}/there"), NODE_EXISTS),
    "create without a parent": (create("{}/missing/node"), NO_NODE),
    "create the root": (create("/"), NODE_EXISTS),
    "create with an empty name": (create("{}//node"), NO_NODE),
    "create with an empty last name": (create("{}/there/"), BAD_ARGUMENTS),
    "create one dot": (create("{}/."), BAD_ARGUMENTS),
    "create two dots": (create("{}/.."), BAD_ARGUMENTS),
    "create three dots": (create("{}/..."), OK),
    "create below one dot": (create("{}/./node"), NO_NODE),
    "create without a slash": (create("node"), BAD_ARGUMENTS),
    "create without a first slash": (create("no/de"), NO_NODE),
    "create with a zero byte": (create("{}/a\0b"), BAD_ARGUMENTS),
    "create with a control character": (create("{}/a\nb"), BAD_ARGUMENTS),
    "create with a later control character": (create("{}/a\x85b"), BAD_ARGUMENTS),
    "create with a private character": (create("{}/a\ue000b"), BAD_ARGUMENTS),
    "create with a character of two units": (create("{}/a\U0001f600b"), BAD_ARGUMENTS),
    "create with a replacement character": (create("{}/a\ufffdb"), BAD_ARGUMENTS),
    "create with letters of the world": (create("{}/äж中 b"), OK),
    "create a node that lives for a time": (create("{}/node", b"", 5), UNIMPLEMENTED),
    "create with flags that nobody knows": (create("{}/node", b"", 77), BAD_ARGUMENTS),
    "create with unknown flags below nothing": (create("{}/no/node", b"", 77), BAD_ARGUMENTS),
    "create without rights": (create("{}/node", b"", 0, []), INVALID_ACL),
    "create without rights below nothing": (create("{}/no/node", b"", 0, []), INVALID_ACL),
    "create with an unknown scheme": (
        create("{}/node", b"", 0, [make_acl("nobody", "x", all=True)]),
        INVALID_ACL,
    ),
    "create below an ephemeral node": (create("{}/ephemeral/x"), NO_CHILDREN_FOR_EPHEMERALS),
    "create a bad name below an ephemeral node": (create("{}/ephemeral/."), BAD_ARGUMENTS),
    "create with a number after a bad name": (create("{}/there/", b"", SEQUENTIAL), OK),
    "create with a number after two dots": (create("{}/..", b"", SEQUENTIAL), OK),
    "delete what is not there": (judge.Delete("{}/missing", -1), NO_NODE),
    "delete below what is not there": (judge.Delete("{}/missing/node", -1), NO_NODE),
    "delete what has children": (judge.Delete("{}", -1), NOT_EMPTY),
    "delete another version of what has children": (judge.Delete("{}", 7), BAD_VERSION),
    "delete the root": (judge.Delete("/", -1), BAD_ARGUMENTS),
    "delete what is the server's": (judge.Delete("/zookeeper", -1), BAD_ARGUMENTS),
    "delete without a slash": (judge.Delete("node", -1), BAD_ARGUMENTS),
    "delete an empty name": (judge.Delete("{}/", -1), NO_NODE),
    "set what is not there": (judge.SetData("{}/missing", b"", -1), NO_NODE),
    "set with an empty name": (judge.SetData("{}/there/", b"", -1), BAD_ARGUMENTS),
    "set without a slash": (judge.SetData("there", b"", -1), BAD_ARGUMENTS),
    "set rights of what is not there": (judge.SetACL("{}/x", OPEN_ACL_UNSAFE, -1), NO_NODE),
    "set no rights": (judge.SetACL("{}/there", [], -1), INVALID_ACL),
    "get what is not there": (judge.GetData("{}/missing", None), NO_NODE),
    "get with an empty name": (judge.GetData("{}/there/", None), NO_NODE),
    "get without a slash": (judge.GetData("there", None), NO_NODE),
    "look for what is not there": (judge.Exists("{}/missing", None), NO_NODE),
    "look for an empty name": (judge.Exists("{}/there/", None), NO_NODE),
    "look for a zero byte": (judge.Exists("{}/a\0b", None), BAD_ARGUMENTS),
    "list what is not there": (judge.GetChildren("{}/missing", None), NO_NODE),
    "list what is not there with stat": (judge.GetChildren2("{}/missing", None), NO_NODE),
    "get rights of what is not there": (judge.GetACL("{}/missing"), NO_NODE),
}


@pytest.mark.parametrize("situation", REFUSALS)
def test_refusal(zookeeper: ZooKeeper, root: str, situation: str) -> None:
    request, expected = REFUSALS[situation]
    with RawClient(zookeeper.address) as client:
        assert client.ask(create(f"{root}/there")).error == OK
        assert client.ask(create(f"{root}/ephemeral", b"", EPHEMERAL)).error == OK
        answer = client.ask(request._replace(path=request.path.replace("{}", root)))
    assert answer.error == expected
