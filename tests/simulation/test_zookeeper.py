"""The simulated ensemble: what it does to its clients is what ZooKeeper may do, all of it."""

import os
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.zookeeper_shard import TIMEOUT_MS, Shard, led_shard, story, troubled_shard
from tools.simulation.zookeeper_tree import State

ROOT = Path(__file__).parents[2]
SEEDS = range(12)


def test_the_first_replica_that_may_is_granted_the_first_epoch_and_all_know_it() -> None:
    shard = led_shard()
    assert [each.member.epoch_at_start for each in shard.holders.values()] == [0] * 5
    assert shard["e1"].grants == [1]
    assert shard.ensemble.epoch == 1
    assert (1, "e1") in shard.ensemble.attempts


def test_a_quiet_shard_costs_next_to_nothing() -> None:
    shard = led_shard()
    steps = shard.network.world.steps
    turns = [each.turns for each in shard.holders.values()]
    shard.run(60_000)
    pings = len(shard.holders) * 60_000 / (TIMEOUT_MS / 3)
    assert shard.network.world.steps - steps <= pings + 10
    assert [each.turns for each in shard.holders.values()] == turns


@pytest.mark.parametrize("seed", SEEDS)
def test_a_session_ends_while_its_process_is_paused_which_notices_when_it_wakes(seed: int) -> None:
    shard = led_shard(seed)
    primary = shard["e1"]
    shard.run(seed * 100)
    primary.pause()
    waited_ms = shard.run_until(lambda: shard.ensemble.epoch == 2)
    assert TIMEOUT_MS * 2 / 3 <= waited_ms <= TIMEOUT_MS + 200
    shard.run(1000)
    assert (primary.member.connected, primary.member.granted) == (True, 1)
    session = primary.member.session
    primary.unpause()
    assert not primary.member.connected
    shard.run_until(shard.is_agreed)
    assert primary.member.session > session
    assert primary.member.granted is None
    assert [epoch for epoch, _ in shard.ensemble.grants] == [1, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pause_that_is_short_for_the_session_changes_nothing(seed: int) -> None:
    shard = led_shard(seed)
    shard.run(seed * 100)
    session = shard["e1"].member.session
    shard["e1"].pause()
    shard.run(TIMEOUT_MS * 0.6)
    shard["e1"].unpause()
    shard.run(3 * TIMEOUT_MS)
    assert shard.is_agreed()
    assert shard["e1"].member.session == session
    assert shard.ensemble.epoch == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_one_who_is_cut_off_notices_by_its_own_clock_before_its_session_ends(seed: int) -> None:
    shard = led_shard(seed)
    shard.run(seed * 100)
    primary, other = shard["e1"], shard["e2"]
    session = primary.member.session
    primary.reaches_zookeeper = False
    waited_ms = shard.run_until(lambda: not primary.member.connected)
    assert TIMEOUT_MS / 3 - 10 <= waited_ms <= TIMEOUT_MS * 2 / 3 + 10
    assert "e1" in other.member.members
    primary.reaches_zookeeper = True
    shard.run_until(shard.is_agreed, TIMEOUT_MS / 3)
    assert primary.member.session == session  # it lives: the same one again
    primary.reaches_zookeeper = False
    shard.run_until(lambda: "e1" not in other.member.members)
    primary.reaches_zookeeper = True
    shard.run_until(shard.is_agreed)
    assert primary.member.session != session
    assert shard.ensemble.epoch == 2


def test_what_is_under_way_when_the_network_is_cut_passes_when_it_heals() -> None:
    shard = led_shard()
    shard["r1"].reaches_zookeeper = False
    shard["r1"].wish(lambda: shard["r1"].member.suspect(1))
    shard["r2"].wish(lambda: shard["r2"].member.suspect(1))
    shard["e2"].wish(lambda: shard["e2"].member.suspect(1))
    shard.run(TIMEOUT_MS / 4)
    assert shard.ensemble.epoch == 1  # two of four suspect the primary
    shard["r1"].reaches_zookeeper = True
    assert shard.run_until(lambda: shard.ensemble.epoch == 2) < 400


def test_who_dies_has_a_session_until_its_time_is_over_even_when_it_is_back_at_once() -> None:
    shard = led_shard()
    watcher, old = shard["r1"].member, shard["r2"].member.session
    shard["r2"].kill()
    shard.run(TIMEOUT_MS / 2)
    assert "r2" in watcher.members
    shard["r2"].start()
    shard.run_until(shard.is_agreed)
    new = shard["r2"].member
    assert new.session != old
    assert (new.was_here, new.epoch_at_start) == (True, 1)
    shard["r2"].kill()
    waited_ms = shard.run_until(lambda: "r2" not in watcher.members)
    assert TIMEOUT_MS * 2 / 3 <= waited_ms <= TIMEOUT_MS + 200


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_quorum_connections_drop_but_no_session_ends_until_long_after(seed: int) -> None:
    shard = led_shard(seed)
    sessions = {name: each.member.session for name, each in shard.holders.items()}
    shard["r2"].kill()
    shard.ensemble.lose_quorum()
    shard.run(50)
    assert not any(each.member.connected for each in shard.holders.values() if each.is_alive)
    shard.ensemble.expire("e1")
    shard.run(10 * TIMEOUT_MS)
    assert not any(each.member.connected for each in shard.holders.values() if each.is_alive)
    assert shard["e1"].member.granted == 1
    shard.ensemble.return_quorum()
    shard.run(TIMEOUT_MS * 0.9)
    assert "r2" in shard["e2"].member.members  # which has a whole time-out again
    shard.run_until(shard.is_agreed)
    del sessions["r2"]
    assert sessions == {name: shard[name].member.session for name in sessions}
    assert shard.ensemble.grants == [(1, "e1")]


@pytest.mark.parametrize("seed", range(40))
def test_a_connection_can_be_lost_as_soon_as_it_is_made(seed: int) -> None:
    shard = Shard(seed, "e1", "r1")
    shard["e1"].be_electable()
    shard["r1"].lag_ns = 5_000_000  # the news that it has one takes so much longer
    shard.run_until(lambda: "r1" in shard.ensemble.clients)
    shard["r1"].lag_ns = 0
    assert not shard["r1"].member.connected
    shard.ensemble.drop_connection("r1")
    shard.run_until(shard.is_agreed)


def test_an_epoch_that_the_feed_has_shown_is_not_granted_again() -> None:
    shard = Shard(1, "e1", "r1")
    shard.run(500)
    shard["r1"].wish(lambda: shard["r1"].member.observe_epoch(41))
    shard.run(1000)
    assert (shard.ensemble.epoch, shard.ensemble.grants) == (41, [])
    shard["e1"].be_electable()
    shard.run_until(shard.is_agreed)
    assert shard.ensemble.grants == [(42, "e1")]


def test_what_changes_by_a_wish_alone_is_told_after_it() -> None:
    shard = led_shard()
    primary = shard["e1"]
    primary.reaches_zookeeper = False
    primary.changes = 0
    primary.wish(primary.member.yield_epoch)
    assert (primary.member.granted, primary.changes) == (None, 0)
    shard.run(1)
    assert primary.changes == 1


def test_a_session_that_was_ended_is_noticed_at_once() -> None:
    shard = led_shard(1, "e1", "r1")
    session = shard["r1"].member.session
    shard.ensemble.expire("r1")
    assert shard.run_until(lambda: not shard["r1"].member.connected) < 10
    shard.run_until(shard.is_agreed)
    assert shard["r1"].member.session != session


def outcomes(befall: Callable[[Shard], None]) -> Counter[bool]:
    """Whether e1's first transaction was carried out though this befell it on the way."""
    counts: Counter[bool] = Counter()
    for seed in range(40):
        shard = Shard(seed, "e1", "e2", "r1")
        shard.run(1000)
        shard["e1"].be_electable()  # its transaction sets out
        shard.run(1)
        befall(shard)
        shard.run(0.1)
        assert not shard["e1"].grants  # it has not been told
        counts[bool(shard.ensemble.grants)] += 1
        shard["e2"].be_electable()
        shard.run_until(shard.is_agreed)
        epochs = [epoch for epoch, _ in shard.ensemble.grants]
        assert epochs == list(range(1, len(epochs) + 1))
        if shard["e1"].is_alive and shard.ensemble.grants[0][1] == "e1":
            assert shard["e1"].grants == [1]  # it has found out
    return counts


def test_what_was_under_way_when_the_connection_was_lost_was_done_or_not() -> None:
    counts = outcomes(lambda shard: shard.ensemble.drop_connection("e1"))
    assert counts[True] >= 10
    assert counts[False] >= 10


def test_what_was_under_way_when_the_quorum_was_lost_was_done_or_not() -> None:
    def lose_quorum(shard: Shard) -> None:
        shard.ensemble.lose_quorum()
        shard.network.after(500_000_000, shard.ensemble.return_quorum)

    counts = outcomes(lose_quorum)
    assert counts[True] >= 10
    assert counts[False] >= 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_request_reaches_zookeeper_though_its_sender_is_dead_by_then(seed: int) -> None:
    shard = Shard(seed, "e1", "e2", "r1")
    shard.run(1000)
    shard["e1"].be_electable()
    shard["e1"].kill()
    assert not shard.ensemble.grants
    shard.run(10)
    assert shard.ensemble.grants == [(1, "e1")]
    shard["e2"].be_electable()
    shard.run_until(lambda: shard["e2"].grants == [2])


def test_a_process_can_die_at_each_of_its_requests() -> None:
    granted = []
    for requests in range(24):
        shard = Shard(1, "e1", "e2", "r1")
        shard["e1"].be_electable()
        shard["e1"].sends_to_live = requests
        shard.run(500)
        granted.append(bool(shard.ensemble.grants))
        assert shard["e1"].is_alive or "crash while sending" in shard.network.faults
        shard["e1"].kill()
        shard["e2"].be_electable()
        shard.run_until(shard.is_agreed)
        assert len(shard.ensemble.grants) == 1 + granted[-1]
        lines = shard.network.trace.lines()
        was_connected = any("e1" in line and "is connected" in line for line in lines)
        assert was_connected == (requests > 0)  # to connect is the first
    assert granted == sorted(granted)
    assert granted.count(False) > 5
    assert granted[-1]


@pytest.mark.parametrize("seed", range(40))
def test_an_epoch_is_granted_once_and_all_agree_in_the_end(seed: int) -> None:
    shard = troubled_shard(seed)
    shard.run_until(shard.is_agreed, 10_000)
    shard.ensemble.check()
    told = sorted((epoch, each.name) for each in shard.holders.values() for epoch in each.grants)
    assert set(told) <= set(shard.ensemble.grants)
    assert set(shard.ensemble.grants) <= set(shard.ensemble.attempts)
    newest, name = shard.ensemble.grants[-1]
    assert shard[name].member.granted == newest


def test_a_long_life_sees_every_fault_and_many_epochs() -> None:
    faults: Counter[str] = Counter()
    attempts = grants = 0
    for seed in SEEDS:
        shard = troubled_shard(seed)
        faults += shard.network.faults
        attempts += len(shard.ensemble.attempts)
        grants += len(shard.ensemble.grants)
    assert grants > 5 * len(SEEDS)
    assert attempts > grants  # some were too late
    for fault in ("session ended", "connection lost", "server lagged"):
        assert faults[f"ZooKeeper {fault}"] > len(SEEDS)


def test_the_same_seed_gives_the_same_story_whatever_the_order_of_hashes() -> None:
    code = "from tests.simulation.zookeeper_shard import story; print(story(5))"
    stories = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert stories == {story(5) + "\n"}
    assert story(5) != story(6)


def test_books_that_are_not_in_order_are_noticed() -> None:
    shard = led_shard()
    shard.ensemble.check()
    shard.ensemble.grants.append((1, "e2"))
    with pytest.raises(AssertionError, match="not granted one by one"):
        shard.ensemble.check()
    shard.ensemble.grants[:] = [(1, "e1"), (2, "e2")]
    with pytest.raises(AssertionError, match="forgotten"):
        shard.ensemble.check()
    shard.ensemble.grants.pop()
    del shard.ensemble._sessions[shard["r1"].member.session]
    with pytest.raises(AssertionError, match="not those that live"):
        shard.ensemble.check()
    shard.ensemble._history.sessions.discard(shard["r1"].member.session)
    with pytest.raises(AssertionError, match="members/r1 outlives its session"):
        shard.ensemble.check()


def test_states_that_no_connection_is_at_are_forgotten() -> None:
    shard = led_shard()
    shard["r2"].kill()
    shard["e3"].pause()
    shard["e2"].reaches_zookeeper = False
    states: list[weakref.ref[State]] = []
    for _ in range(300):
        shard.ensemble.expire("r1")
        shard.run_until(lambda: shard["r1"].member.connected)
        shard.run(TIMEOUT_MS / 20)
        states.append(weakref.ref(shard.ensemble._history.newest))
        kept = [state for state in states if state() is not None]
        assert len(kept) < 30
