"""Sessions that are lost, suspicions, and processes that are restarted, on a model of ZooKeeper."""

import pytest

from tests.zk.model import SHARD, ModelZooKeeper, Process, settle
from tests.zk.situations import (
    ROLES,
    Shard,
    lose_session,
    new_shard,
    primary_of,
    reigns,
    set_electable,
    settle_all,
    settle_one,
    suspect,
    suspicions_of,
)
from zk.operations import Delete, Failure, Synchronize, Write


@pytest.fixture
def zookeeper() -> ModelZooKeeper:
    return ModelZooKeeper()


@pytest.fixture
def shard(zookeeper: ModelZooKeeper) -> Shard:
    return new_shard(zookeeper)


def test_a_primary_whose_session_was_lost_puts_its_node_back_in_the_same_epoch(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e2"], False)
    set_electable(shard["e3"], False)
    lose_session(zookeeper, shard["e1"])
    assert primary_of(zookeeper) is None
    settle_all(shard)
    assert primary_of(zookeeper) == "e1"
    assert reigns(shard) == {"e1": 1}
    assert shard["e1"].grants == [1]


def test_a_primary_whose_session_was_lost_is_replaced_and_finds_itself_fenced(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    lose_session(zookeeper, shard["e1"])
    settle([shard["e2"]])
    assert reigns(shard) == {"e1": 1, "e2": 2}  # e1 can't know yet; no holder listens to it
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}
    assert primary_of(zookeeper) == "e2"


def test_a_primary_that_returns_while_another_takes_the_epoch_does_not_push_it_out(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    lose_session(zookeeper, shard["e1"])
    shard["e1"].connect()
    connection = shard["e1"].connection
    assert connection is not None
    while not any(
        isinstance(request, Write)
        and any(change.path == SHARD.primary for change in request.changes)
        for _, request in connection.requests
    ):
        if connection.requests:
            connection.serve()
        else:
            shard["e1"].deliver()
    settle_one(shard["e2"])  # takes epoch 2 before the node of epoch 1 is back
    assert reigns(shard)["e2"] == 2
    shard["e2"].disconnect()
    zookeeper.expire(shard["e2"].session or 0)  # and dies, so that the place is free
    settle_one(shard["e1"])
    assert primary_of(zookeeper) is None
    assert "e1" not in reigns(shard)


def test_a_lost_session_takes_member_and_suspicion_along_and_both_come_back(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    suspect(shard, 1, "r1")
    settle_all(shard)
    lose_session(zookeeper, shard["r1"])
    settle_one(shard["e1"])
    assert set(shard["e1"].presence.known.members) == {"e1", "e2", "e3", "r2"}
    assert suspicions_of(zookeeper) == set()
    settle_all(shard)
    assert set(shard["e1"].presence.known.members) == set(ROLES)
    assert zookeeper.tree[SHARD.member("r1")].owner == shard["r1"].session
    assert zookeeper.tree[SHARD.suspicion(1, "r1")].owner == shard["r1"].session


def test_nodes_that_somebody_has_removed_come_back(zookeeper: ModelZooKeeper, shard: Shard) -> None:
    set_electable(shard["e2"], False)
    set_electable(shard["e3"], False)
    zookeeper.write((Delete(SHARD.primary), Delete(SHARD.member("e2"))), 0)
    settle_all(shard)
    assert primary_of(zookeeper) == "e1"
    assert zookeeper.tree[SHARD.member("e2")].owner == shard["e2"].session


def test_while_the_connection_is_lost_the_last_known_is_kept(shard: Shard) -> None:
    before = shard["e2"].presence.known
    shard["e2"].disconnect()
    known = shard["e2"].presence.known
    assert before.connected
    assert known == before._replace(connected=False)
    assert reigns(shard) == {"e1": 1}
    shard["e1"].disconnect()
    assert reigns(shard) == {"e1": 1}  # it keeps trading


def test_a_suspicion_that_is_withdrawn_is_gone(zookeeper: ModelZooKeeper, shard: Shard) -> None:
    suspect(shard, 1, "r1")
    settle_all(shard)
    shard["r1"].presence.withdraw()
    settle_all(shard)
    assert suspicions_of(zookeeper) == {"1-r1"}  # not before it is asked to go on
    shard["r1"].go_on()
    settle_all(shard)
    assert suspicions_of(zookeeper) == set()


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_suspicion_of_an_epoch_that_is_not_the_newest_is_not_written(
    zookeeper: ModelZooKeeper, shard: Shard, epoch: int
) -> None:
    suspect(shard, epoch, "e2", "e3", "r1", "r2")
    settle_all(shard)
    assert suspicions_of(zookeeper) == set()
    assert reigns(shard) == {"e1": 1}


def test_a_suspicion_that_the_own_dead_process_left_is_replaced_or_removed(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    suspect(shard, 1, "r1", "r2")
    settle_all(shard)
    for name in ("r1", "r2"):
        shard[name] = Process(zookeeper, name, ROLES[name], started_ns=2)
    suspect(shard, 1, "r1")
    settle_all(shard)
    assert suspicions_of(zookeeper) == {"1-r1"}
    assert zookeeper.tree[SHARD.suspicion(1, "r1")].owner == shard["r1"].session


def test_a_suspicion_of_the_old_session_is_replaced_before_it_goes(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    suspect(shard, 1, "r1")
    settle_all(shard)
    shard["r1"].disconnect()
    old, shard["r1"].session = shard["r1"].session, None  # a new one, while the old one lives
    settle_all(shard)
    assert old is not None
    zookeeper.expire(old)
    assert suspicions_of(zookeeper) == {"1-r1"}


def test_a_process_that_is_restarted_at_once_replaces_its_old_node(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    old = shard["e2"]
    shard["e2"] = Process(zookeeper, "e2", started_ns=2)
    settle_all(shard)
    assert zookeeper.tree[SHARD.member("e2")].owner == shard["e2"].session != old.session
    assert old.session is not None
    zookeeper.expire(old.session)
    settle_all(shard)
    assert zookeeper.tree[SHARD.member("e2")].owner == shard["e2"].session


def test_a_primary_that_is_restarted_at_once_says_that_nobody_reigns(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    shard["e1"] = Process(zookeeper, "e1", started_ns=2)
    settle_all(shard)  # nobody suspects anybody, and the dead primary's session lives
    assert reigns(shard) == {"e2": 2}
    assert shard["e1"].presence.known.epoch_at_start == 1


def test_an_old_process_that_wakes_does_not_fight_with_its_successor(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    for name in ("e2", "e3"):
        set_electable(shard[name], False)
    old = shard["e1"]
    new = shard["e1"] = Process(zookeeper, "e1", started_ns=2)
    old.presence.suspect(1)
    new.presence.suspect(1)
    settle([*shard.values(), old])
    assert old.presence.known.granted is None
    assert primary_of(zookeeper) is None
    assert zookeeper.tree[SHARD.member("e1")].owner == new.session
    assert zookeeper.tree[SHARD.suspicion(1, "e1")].owner == new.session


def test_an_old_process_that_wakes_suspects_nobody_in_the_name_of_its_successor(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    old = shard["r1"]
    shard["r1"] = Process(zookeeper, "r1", "retransmitter", started_ns=2)
    settle([*shard.values(), old])
    old.presence.suspect(1)
    old.go_on()
    settle([*shard.values(), old])
    assert suspicions_of(zookeeper) == set()


def test_an_old_process_takes_its_place_again_when_its_successor_is_gone(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    new = Process(zookeeper, "r1", "retransmitter", started_ns=2)
    settle([*shard.values(), new])
    lose_session(zookeeper, new)
    settle_all(shard)
    assert zookeeper.tree[SHARD.member("r1")].owner == shard["r1"].session


def test_the_epoch_at_the_start_is_not_what_a_server_that_lags_behind_says(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    process = Process(zookeeper, "r3", "retransmitter")
    process.connect()
    connection = process.connection
    assert connection is not None
    suspect(shard, 1, "e2", "r1", "r2")
    settle_all(shard)
    assert connection.lag
    while process.presence.known.epoch_at_start is None:
        if connection.requests:
            connection.serve()
        else:
            process.deliver()
    assert process.presence.known.epoch_at_start == 2


def test_the_epoch_at_the_start_is_not_what_was_read_before_the_server_had_caught_up(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    process = Process(zookeeper, "r3", "retransmitter")
    process.connect()
    connection = process.connection
    assert connection is not None
    suspect(shard, 1, "e2", "r1", "r2")
    settle_all(shard)
    first = connection.requests.popleft()
    assert isinstance(first.request, Synchronize)
    process.presence.on_answer(first.number, Failure.UNKNOWN, zookeeper.now_ns)
    while connection.requests and not isinstance(connection.requests[0].request, Write):
        connection.serve()
    while connection.replies:
        process.deliver()
    assert process.presence.known.epoch == 1
    assert process.presence.known.epoch_at_start is None
    settle([process])
    assert process.presence.known.epoch_at_start == 2


def test_the_first_process_of_an_exchange_starts_in_epoch_0(zookeeper: ModelZooKeeper) -> None:
    process = Process(zookeeper, "r1", "retransmitter")
    assert process.presence.known.epoch_at_start is None
    settle([process])
    assert process.presence.known.epoch_at_start == 0
    assert process.presence.known.epoch == 0
