"""A ZooKeeper that has forgotten, that refuses, or that others write to, on a model of it."""

import pytest

from tests.zk.model import RETURN_TIME_NS, SHARD, ModelZooKeeper, Process, settle, wait
from tests.zk.situations import (
    ROLES,
    Shard,
    epoch_of,
    lose_session,
    new_shard,
    primary_of,
    reigns,
    set_electable,
    settle_all,
    settle_one,
    suspect,
    takeovers_asked_for,
)
from zk.dialogue import REFUSAL_PAUSE_NS
from zk.election import PrimaryRecord
from zk.nodes import encode_primary
from zk.operations import Create, Node, Refusal, SetData
from zk.reign import LAG_NS


@pytest.fixture
def zookeeper() -> ModelZooKeeper:
    return ModelZooKeeper()


@pytest.fixture
def shard(zookeeper: ModelZooKeeper) -> Shard:
    return new_shard(zookeeper)


def forget(zookeeper: ModelZooKeeper, shard: Shard) -> None:
    for process in shard.values():
        process.disconnect()
    zookeeper.forget()


def test_a_zookeeper_that_forgot_is_told_the_epoch_and_the_primary_keeps_it(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    suspect(shard, 1, "e2", "r1", "r2")
    settle_all(shard)
    primary, epoch = next(iter(reigns(shard).items()))
    forget(zookeeper, shard)
    late = shard.pop(primary)
    for process in shard.values():
        process.connect()
    for _ in range(3):
        for process in shard.values():
            settle_one(process)  # e3 may stand, and sees no primary: it gives it time to return
    assert epoch_of(zookeeper) == epoch
    shard[primary] = late
    settle_all(shard)
    assert reigns(shard) == {primary: epoch}
    assert epoch_of(zookeeper) == epoch
    assert set(late.presence.known.members) == set(ROLES)


def test_a_zookeeper_that_forgot_is_told_by_whoever_reads_the_feed(
    zookeeper: ModelZooKeeper,
) -> None:
    process = Process(zookeeper, "e2")
    settle([process])
    process.presence.observe_epoch(7)
    process.go_on()
    settle([process])
    assert epoch_of(zookeeper) == 7
    assert process.presence.known.epoch == 7
    set_electable(process, True)
    settle([process])
    assert reigns({"e2": process}) == {"e2": 8}


def test_a_primary_that_does_not_return_to_a_zookeeper_that_forgot_is_replaced_in_the_end(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    forget(zookeeper, shard)
    del shard["e1"]
    before_ns = zookeeper.now_ns
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}
    assert zookeeper.now_ns - before_ns >= RETURN_TIME_NS


def test_a_primary_that_died_with_a_zookeeper_that_forgot_is_replaced_at_once_when_suspected(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    forget(zookeeper, shard)
    del shard["e1"]
    suspect(shard, 1, "e2", "e3", "r1", "r2")
    before_ns = zookeeper.now_ns
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}
    assert zookeeper.now_ns == before_ns


def test_a_server_that_only_lags_behind_the_feed_is_not_written_to(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    suspect(shard, 1, "e2", "r1", "r2")
    for name in ("r1", "r2", "e2"):
        settle_one(shard[name])
    assert reigns(shard)["e2"] == 2
    late = shard["e3"]
    version = zookeeper.tree[SHARD.epoch].version
    connection = late.connection
    assert connection is not None
    assert connection.lag
    late.presence.observe_epoch(2)
    late.go_on()
    while connection.requests or connection.replies:
        if connection.requests:
            connection.serve()
        else:
            late.deliver()
    assert connection.lag  # a write would have let it catch up
    wait([late], LAG_NS - 1)
    assert takeovers_asked_for(late) == 0
    settle_all(shard)
    assert zookeeper.tree[SHARD.epoch].version == version
    assert late.presence.known.epoch == 2


def test_an_epoch_that_a_zookeeper_that_forgot_has_granted_twice_is_given_up(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    forget(zookeeper, shard)
    zookeeper.prepare(SHARD.lasting(1))
    other = encode_primary(PrimaryRecord("e4", 1, "e4:1"))
    zookeeper.write((Create(SHARD.primary, other),), zookeeper.new_session())
    settle([shard["e1"]])
    assert reigns(shard) == {}
    assert primary_of(zookeeper) == "e4"


def test_what_is_refused_is_tried_again_after_a_pause_and_told(zookeeper: ModelZooKeeper) -> None:
    process = Process(zookeeper, "e1")
    process.connect()
    connection = process.connection
    assert connection is not None
    while connection.requests:
        number = connection.requests.popleft().number
        process.presence.on_answer(number, Refusal("NoAuthError()"), zookeeper.now_ns)
        process.go_on()
    trouble = process.presence.known.trouble
    assert trouble is not None
    assert "NoAuthError()" in trouble
    wait([process], REFUSAL_PAUSE_NS - 1)
    assert not connection.requests
    wait([process], 1)
    assert connection.requests
    settle([process])
    assert process.presence.known.trouble is None
    assert process.presence.known.epoch == 0


def test_an_epoch_that_is_none_stops_the_election_and_is_told(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    epoch = zookeeper.tree[SHARD.epoch]
    zookeeper.write((SetData(SHARD.epoch, b"two", epoch.version),), 0)
    lose_session(zookeeper, shard["e1"])
    settle_one(shard["e2"])
    assert reigns(shard) == {"e1": 1}
    trouble = shard["e2"].presence.known.trouble
    assert trouble is not None
    assert "b'two' is not an epoch" in trouble
    zookeeper.write((SetData(SHARD.epoch, b"1", epoch.version + 1),), 0)
    settle([shard["e2"]])
    assert reigns(shard)["e2"] == 2


def test_a_primary_node_that_none_of_us_wrote_is_no_primary(zookeeper: ModelZooKeeper) -> None:
    process = Process(zookeeper, "e1")
    settle([process])
    zookeeper.append({**zookeeper.tree, SHARD.primary: Node(b"?", 0, 0, (99, 0))})
    set_electable(process, True)
    settle([process])
    assert reigns({"e1": process}) == {"e1": 1}
    assert primary_of(zookeeper) == "e1"


def test_foreign_nodes_among_members_and_suspicions_count_for_nothing(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    for path, data in (
        (SHARD.member("x1"), b"\xff"),
        (SHARD.member("x2"), b'{"role": "replica", "holder": "yes"}'),
        (f"{SHARD.suspicions}/everybody", b""),
    ):
        zookeeper.append({**zookeeper.tree, path: Node(data, 0, 0, (99, 0))})
    suspect(shard, 1, "e2", "r1")
    settle_all(shard)
    assert reigns(shard) == {"e1": 1}
    suspect(shard, 1, "r2")
    settle_all(shard)
    assert list(reigns(shard).values()) == [2]
    assert shard["r1"].presence.known.members["x1"] == {}
