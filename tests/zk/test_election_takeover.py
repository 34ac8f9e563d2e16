"""How an epoch is taken and given up, and answers that are lost, on a model of ZooKeeper."""

import pytest

from tests.zk.model import ModelZooKeeper, settle, wait
from tests.zk.situations import (
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
    suspicions_of,
    takeovers_asked_for,
)
from zk.dialogue import CONFLICT_PAUSE_NS


@pytest.fixture
def zookeeper() -> ModelZooKeeper:
    return ModelZooKeeper()


@pytest.fixture
def shard(zookeeper: ModelZooKeeper) -> Shard:
    return new_shard(zookeeper)


def test_a_minority_of_suspicions_changes_nothing(zookeeper: ModelZooKeeper, shard: Shard) -> None:
    suspect(shard, 1, "e2", "r1")
    settle_all(shard)
    assert suspicions_of(zookeeper) == {"1-e2", "1-r1"}
    assert reigns(shard) == {"e1": 1}


def test_a_majority_of_suspicions_overrides_a_primary_that_is_there(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    shard["e1"].disconnect()  # killed, with its session alive
    suspect(shard, 1, "e2", "r1", "r2")
    settle([shard[name] for name in ("e2", "e3", "r1", "r2")], connected=False)
    assert epoch_of(zookeeper) == 2
    assert primary_of(zookeeper) in ("e2", "e3")
    settle_all(shard)
    assert list(reigns(shard).values()) == [2]
    assert "e1" not in reigns(shard)


def test_the_last_one_needed_takes_the_epoch_without_a_round_trip_before(shard: Shard) -> None:
    suspect(shard, 1, "r1", "r2")
    settle_all(shard)
    suspect(shard, 1, "e2")
    assert takeovers_asked_for(shard["e2"]) == 1


def test_of_two_candidates_at_once_one_wins_and_the_other_does_not_stand_again(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    suspect(shard, 1, "r1", "r2")
    settle_all(shard)
    suspect(shard, 1, "e2", "e3")
    assert [takeovers_asked_for(shard[name]) for name in ("e2", "e3")] == [1, 1]
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}
    assert epoch_of(zookeeper) == 2
    assert suspicions_of(zookeeper) == set()


def test_who_lost_waits_before_it_stands_again(zookeeper: ModelZooKeeper, shard: Shard) -> None:
    suspect(shard, 1, "r1", "r2")
    settle_all(shard)
    suspect(shard, 1, "e2", "e3")
    settle_one(shard["e2"])
    lose_session(zookeeper, shard["e2"])  # the winner dies, and nobody reigns again
    settle_one(shard["e3"])
    assert takeovers_asked_for(shard["e3"]) == 0
    wait(list(shard.values()), CONFLICT_PAUSE_NS)
    assert takeovers_asked_for(shard["e3"]) == 1


def test_a_replica_that_is_not_electable_does_not_stand(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e2"], False)
    set_electable(shard["e3"], False)
    suspect(shard, 1, "e2", "e3", "r1", "r2")
    settle_all(shard)
    assert reigns(shard) == {"e1": 1}
    set_electable(shard["e3"], True)
    settle_all(shard)
    assert reigns(shard) == {"e3": 2}


def test_a_replica_that_is_not_connected_does_not_stand_but_decides_anew_when_it_is(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e3"], False)
    suspect(shard, 1, "r1", "r2")
    settle_all(shard)
    shard["e2"].disconnect()
    suspect(shard, 1, "e2")
    for name in ("r1", "r2"):
        shard[name].presence.withdraw()
        shard[name].go_on()
        settle_one(shard[name])
    settle_all(shard)
    assert reigns(shard) == {"e1": 1}


def test_what_is_won_when_it_may_not_be_any_more_is_given_up_untold(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    set_electable(shard["e1"], False)
    set_electable(shard["e3"], False)
    suspect(shard, 1, "e2", "r1", "r2")
    settle_one(shard["r1"])
    settle_one(shard["r2"])
    connection = shard["e2"].connection
    assert connection is not None
    while not takeovers_asked_for(shard["e2"]):
        connection.catch_up()
        if connection.requests:
            connection.serve()
        else:
            shard["e2"].deliver()
    set_electable(shard["e2"], False)
    settle_all(shard)
    assert epoch_of(zookeeper) == 2
    assert primary_of(zookeeper) is None
    assert shard["e2"].grants == []
    assert reigns(shard) == {}


def stand_and_lose_the_connection(shard: Shard, *, done: bool) -> None:
    set_electable(shard["e1"], False)
    set_electable(shard["e3"], False)
    suspect(shard, 1, "r1", "r2")
    settle_all(shard)
    suspect(shard, 1, "e2")
    assert takeovers_asked_for(shard["e2"]) == 1
    shard["e2"].disconnect(done=done)


def test_a_winner_whose_answer_was_lost_finds_out_that_it_won(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    stand_and_lose_the_connection(shard, done=True)
    assert epoch_of(zookeeper) == 2
    assert shard["e2"].grants == []
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}
    assert shard["e2"].grants == [2]


def test_a_candidate_whose_transaction_was_lost_stands_again(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    stand_and_lose_the_connection(shard, done=False)
    assert epoch_of(zookeeper) == 1
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}


def test_a_winner_that_lost_its_answer_and_its_session_takes_a_new_epoch(
    zookeeper: ModelZooKeeper, shard: Shard
) -> None:
    stand_and_lose_the_connection(shard, done=True)
    session = shard["e2"].session
    assert session is not None
    shard["e2"].session = None  # a new one, while the nodes of the old one are still there
    settle_all(shard)
    zookeeper.expire(session)
    settle_all(shard)
    assert reigns(shard) == {"e2": 3}
    assert shard["e2"].grants == [3]


def test_a_primary_that_yields_makes_room_at_once(zookeeper: ModelZooKeeper, shard: Shard) -> None:
    set_electable(shard["e3"], False)
    set_electable(shard["e1"], False)
    shard["e1"].presence.yield_epoch()
    shard["e1"].go_on()
    assert reigns(shard) == {}
    settle_all(shard)
    assert reigns(shard) == {"e2": 2}


def test_a_primary_that_sees_a_newer_epoch_on_the_feed_reigns_no_more(shard: Shard) -> None:
    shard["e1"].disconnect()
    shard["e1"].presence.observe_epoch(2)
    shard["e1"].go_on()
    assert reigns(shard) == {}
    assert shard["e1"].presence.known.epoch == 2
