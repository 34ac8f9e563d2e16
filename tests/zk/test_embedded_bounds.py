"""What the embedded server keeps for its clients has bounds."""

import pytest
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]

from tests.zk.raw_client import create
from tests.zk.talking import START, Talker, new_server, request_packet
from zk.server import MOST_WATCH_BYTES, HangUpError
from zk.tree import LARGEST_TREE_BYTES

QUOTA_EXCEEDED = -125
NODE_DATA = bytes(1_000_000)


def test_the_tree_takes_no_more_than_its_bound() -> None:
    server = new_server()
    client = Talker(server, 1)
    count = 0
    while (answer := client.ask(create(f"/{count}", NODE_DATA))).error == 0:
        count += 1
    assert answer.error == QUOTA_EXCEEDED
    assert count == LARGEST_TREE_BYTES // len(NODE_DATA)
    children = client.ask(judge.GetChildren("/", None)).value
    assert len(children) == count + 1
    # A multi that does not fit leaves nothing, what goes makes room, and small nodes fit.
    too_much = [judge.SetData("/0", b"", -1), *(create(f"/x{i}", NODE_DATA) for i in range(2))]
    refusals = client.ask(judge.Transaction(too_much)).value
    assert [each.code for each in refusals] == [0, 0, QUOTA_EXCEEDED]
    assert client.ask(judge.GetData("/0", None)).value[0] == NODE_DATA
    assert client.ask(judge.SetData("/0", b"", -1)).error == 0
    assert client.ask(create("/more", NODE_DATA)).error == 0


def test_the_watches_of_a_connection_have_a_bound() -> None:
    server = new_server()
    client = Talker(server, 1)
    path = "/" + "x" * 100_000
    for number in range(MOST_WATCH_BYTES // 101_000):
        client.ask(judge.Exists(f"{path}{number}", True))
    with pytest.raises(HangUpError):
        client.ask(judge.Exists(f"{path}more", True))
    server.disconnected(1)
    server.check()


def test_watches_that_have_told_make_room() -> None:
    server = new_server()
    client = Talker(server, 1)
    path = "/" + "x" * 400_000
    for _ in range(10):
        client.ask(judge.Exists(path, True))
        client.ask(create(path))
        client.ask(judge.Delete(path, -1))


def test_the_same_watch_is_kept_once() -> None:
    server = new_server()
    client = Talker(server, 1)
    packet = request_packet(judge.Exists("/" + "x" * 400_000, True))
    for _ in range(10):
        server.receive(client.connection, packet, START)
