"""Commit, divergence and lost memory on a whole shard, in virtual time: rules 3 to 8."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from engine.market import Market
from engine.reference import Reference
from engine.replica import State
from feed.codec import decode_frame
from feed.messages import Command, EnterOrder, Event, Trade
from feed.vote import Vote
from tests.engine.cluster import SESSION_NS, Cluster
from tests.engine.situations import list_of, others, took_over, trading
from tools.simulation.holders import HolderNode, ReplicaNode

TOO_FEW = "too few holders that remember: the shard stops until more of them are back"


class Fault(NamedTuple):
    """Where a machine computes wrongly, and what."""

    user_ref_num: int  # of the order that causes the frame
    event: int  # of its events


class FaultyRules(Market):
    """A machine that computes one frame of one group wrongly."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        events = super().apply(sequence, time_ns, command)
        if isinstance(command, EnterOrder) and command.user_ref_num == self._fault.user_ref_num:
            wrong = events[self._fault.event]
            assert isinstance(wrong, Trade)
            events[self._fault.event] = wrong._replace(quantity=wrong.quantity + 1)
        return events


def faulty_market(fault: Fault) -> Reference:
    """A replica's machine by such rules."""
    return Reference(FaultyRules(fault))


def test_cluster_trades_and_everybody_agrees() -> None:
    cluster = Cluster()
    leader = cluster.trading()
    cluster.trade(100)
    assert cluster.settle() is leader
    assert cluster.witness.leaders == {1: leader.name}


@pytest.mark.parametrize(("replicas", "retransmitters"), [(1, 1), (1, 2), (2, 1), (2, 2), (5, 4)])
def test_every_shape_of_a_shard_commits_by_its_own_majority(
    replicas: int, retransmitters: int
) -> None:
    cluster = Cluster(replicas=replicas, retransmitters=retransmitters)
    leader = cluster.trading()
    majority = (replicas + retransmitters) // 2 + 1
    helpers = others(cluster, leader)[: majority - 1]
    absent = others(cluster, leader, *helpers)
    for node in absent:
        node.pause()
    cluster.trade(20)
    assert cluster.settle() is leader
    if helpers:
        helpers[0].pause()
        before = list_of(cluster)
        cluster.trade(5)
        cluster.run(25)
        assert list_of(cluster) == before


def test_trader_that_was_told_of_a_trade_finds_it_there_after_any_number_of_failovers() -> None:
    cluster, leader = trading()
    for epoch in range(2, 8):
        before = list_of(cluster)
        cluster.trade(30)
        cluster.run(12)
        leader.kill()
        later = took_over(cluster, leader)
        cluster.run(30)
        leader.start()
        assert cluster.settle() is later
        assert list_of(cluster)[: len(before)] == before
        assert cluster.witness.leaders[epoch] == later.name
        leader = later


def test_list_has_no_holes_and_time_in_it_never_runs_backwards_whatever_clocks_do() -> None:
    cluster, leader = trading()
    hour_ns = 3_600 * 10**9
    for ahead_ns in (hour_ns, -cluster.network.now_ns, 2 * hour_ns, 0):
        leader.clock_ahead_ns = ahead_ns
        cluster.trade(10)
        cluster.settle()
    leader.kill()  # and its successor's clock is two hours behind
    cluster.trade(10)
    cluster.settle()
    frames = [decode_frame(data) for data in list_of(cluster)]
    assert [frame.sequence for frame in frames] == [*range(1, len(frames) + 1)]
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(frames))


def test_candidate_drops_what_lost_even_below_the_commit_that_it_was_told_of() -> None:
    cluster, first = trading()
    cluster.cut(first.name)
    cluster.trade(10)
    second = took_over(cluster, first)
    cluster.settle(without=[first])
    tail = first.holder.last_sequence
    third = next(node for node in cluster.replicas.values() if node not in (first, second))
    third.reaches_zookeeper = False  # so that the old primary is the one to be elected
    cluster.shard.starved.add(first.name)
    cluster.trade(40)
    cluster.run(60)
    cluster.network.heal()
    cluster.run(20)
    holder = first.holder
    # It knows that more is committed than it holds, and what it holds has lost.
    assert holder.verified_sequence < tail == holder.last_sequence < holder.committed_sequence
    second.kill()
    assert took_over(cluster, second) is first
    cluster.shard.starved.clear()
    third.reaches_zookeeper = True
    assert cluster.settle() is first


def test_of_two_candidates_whom_a_forgetful_zookeeper_grants_one_epoch_one_leads_at_most() -> None:
    led = set()
    for seed in range(8):
        cluster, first = trading(seed=seed)
        first.kill()
        cluster.zookeeper.lose_quorum()
        candidates = cluster.backups()
        epoch = first.core.epoch + 1
        for node in candidates:
            grant = partial(node.core.on_epochs, epoch, epoch, cluster.network.now_ns)
            node.do(node.life, grant)
        cluster.run(100)
        leading = [node.name for node in candidates if node.core.state is State.PRIMARY]
        assert len(candidates) == 2
        assert leading == [name for at, name in cluster.witness.leaders.items() if at == epoch]
        led.add(len(leading))
    assert led == {0, 1}  # each may have the promise of one of the others


def test_primary_whose_holders_do_not_acknowledge_takes_no_more_than_its_window() -> None:
    cluster = Cluster(window_frames=30)
    leader = cluster.trading()
    before = leader.core.sequence
    silent = others(cluster, leader)
    cluster.cut(leader.name, [node.name for node in silent], ways="in")
    cluster.trade(200, interval_ns=100_000)
    cluster.run(20)
    primary = leader.core.primary
    assert primary is not None
    assert primary.is_full
    # The group that fills the window may go beyond it, and nothing after that.
    assert 30 <= primary.last_sequence - primary.committed_sequence < 60
    assert primary.committed_sequence == before
    assert len(cluster.entered) == 0
    cluster.network.heal()
    assert cluster.settle() is leader
    assert not primary.is_full


@pytest.mark.parametrize("event", [0, 3])
def test_planted_wrong_frame_is_found_at_that_frame_and_the_replica_is_not_electable(
    event: int,
) -> None:
    machines = {"e3": partial(faulty_market, Fault(30, event))}
    cluster = Cluster(machines=machines, starts_ms={"e3": 50})  # when another one leads
    leader = cluster.trading()
    faulty = cluster.replicas["e3"]
    cluster.run_until(lambda: faulty in cluster.backups())
    cluster.trade(29)
    cluster.settle()
    at = len(list_of(cluster)) + 1
    acknowledged = leader.core.primary.held["e3"] if leader.core.primary else 0
    assert acknowledged == at - 1
    with capture_logs() as logs:
        cluster.trade(31)
        cluster.settle()
    divergence = faulty.core.divergence
    assert divergence is not None
    assert divergence.sequence == at + 1 + event
    theirs = decode_frame(list_of(cluster)[at + event]).message()
    assert str(theirs) in divergence.reason
    (said,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert said["event"] == "this replica differs from the list and stops"
    assert (said["name"], said["sequence"]) == ("e3", divergence.sequence)
    # It acknowledges nothing of that group, nor after it, and counts no more.
    assert leader.core.primary is not None
    assert leader.core.primary.held["e3"] == at - 1
    assert faulty.core.state is State.DIVERGED
    assert not faulty.core.is_electable(cluster.network.now_ns)
    third = next(node for node in cluster.replicas.values() if node not in (leader, faulty))
    for node in (leader, third):
        node.kill()
    cluster.run(3 * SESSION_NS / 1e6)
    assert cluster.primary is None
    assert "e3" not in {name for _, name in cluster.zookeeper.grants}
    third.start()  # it leads when two that remember answer; the diverged one does not
    cluster.run(3_000)
    assert cluster.primary is None


def test_wrong_frame_is_found_in_what_a_candidate_adopts_too() -> None:
    machines = {"e3": partial(faulty_market, Fault(30, 0))}
    cluster = Cluster(machines=machines, starts_ms={"e3": 50})
    leader = cluster.trading()
    cluster.trade(29)
    cluster.settle()
    faulty = cluster.replicas["e3"]
    second = next(node for node in cluster.replicas.values() if node not in (leader, faulty))
    cluster.shard.starved.add(faulty.name)
    cluster.cut(leader.name, [faulty.name], ways="out")
    cluster.trade(1)
    cluster.run_until(lambda: len(cluster.entered) == 30)
    second.reaches_zookeeper = False
    leader.kill()
    cluster.run_until(lambda: faulty.core.divergence is not None)
    assert cluster.zookeeper.grants[-1][1] == "e3"
    assert "e3" not in cluster.witness.leaders.values()
    second.reaches_zookeeper = True
    cluster.shard.starved.clear()
    assert took_over(cluster, leader) is second
    cluster.settle()


def forgetting(cluster: Cluster, leader: ReplicaNode, count: int) -> list[str]:
    """Kill so many holders, the primary among them, and start them without their memory."""
    victims = [leader, *others(cluster, leader)[: count - 1]]
    for node in victims:
        node.kill()
    for node in victims:
        node.start()
    return [node.name for node in victims]


def vote_of(node: HolderNode) -> Vote:
    return node.holder.vote


def test_with_a_minority_that_remembers_the_shard_stops_and_says_who_forgot() -> None:
    cluster, leader = trading()
    before = list_of(cluster)
    last_to_remember = cluster.holders["r2"]
    last_to_remember.pause()
    with capture_logs() as logs:
        victims = forgetting(cluster, leader, 2)
        cluster.run(5_000)
    (*_, said) = [entry for entry in logs if entry["log_level"] == "error"]
    assert said["event"] == TOO_FEW
    assert said["missing"] == 1
    assert set(said["answered"]) == set(cluster.holders) - {*victims, "r2"}
    assert set(said["forgetful"]) == set(victims) - {said["name"]}
    assert cluster.primary is None
    assert list_of(cluster) == before
    last_to_remember.unpause()
    took_over(cluster, leader, within_ms=3_000)
    cluster.trade(20)
    cluster.settle()
    assert list_of(cluster)[: len(before)] == before


def test_with_a_majority_that_forgot_the_shard_stays_stopped() -> None:
    cluster, leader = trading()
    before = list_of(cluster)
    victims = forgetting(cluster, leader, 3)
    cluster.run(8_000)
    assert cluster.primary is None
    assert list_of(cluster) == before
    votes = {name: node.holder.vote for name, node in cluster.holders.items()}
    assert {name for name, vote in votes.items() if vote is Vote.RETURNING} == set(victims)


def test_the_only_replica_returns_and_leads_on_from_its_retransmitters() -> None:
    cluster = Cluster(replicas=1, retransmitters=2)
    leader = cluster.trading()
    cluster.trade(40)
    cluster.settle()
    before = list_of(cluster)
    forgetting(cluster, leader, 1)
    cluster.run_until(lambda: 2 in cluster.witness.epochs)
    cluster.trade(20)
    assert cluster.settle() is leader
    assert list_of(cluster)[: len(before)] == before


def test_a_holder_that_returned_votes_when_it_has_caught_up_and_not_before() -> None:
    cluster, leader = trading()
    node = cluster.holders["r1"]
    node.kill()
    cluster.trade(20)
    cluster.settle()
    cluster.shard.starved.add(node.name)
    node.start()
    cluster.trade(20)
    cluster.run_until(lambda: len(cluster.entered) == 80)
    cluster.run(100)
    assert vote_of(node) is Vote.RETURNING
    assert leader.core.primary is not None
    assert leader.core.primary.held["r1"] == 0
    cluster.shard.starved.clear()
    cluster.settle()
    assert vote_of(node) is Vote.COUNTS
    cluster.run(300)
    assert leader.core.primary.held["r1"] == leader.core.sequence


def test_what_a_holder_acknowledged_before_its_return_counts_no_more() -> None:
    cluster, leader = trading()
    helper, *rest = others(cluster, leader)
    for node in rest:
        node.pause()
    cluster.trade(1)  # held by two of five
    cluster.run(15)
    primary = leader.core.primary
    assert primary is not None
    assert primary.held[helper.name] == primary.last_sequence > primary.committed_sequence
    helper.kill()
    cluster.shard.starved.add(helper.name)
    helper.start()
    cluster.run(15)
    assert primary.held[helper.name] == 0
    before = primary.committed_sequence
    rest[0].unpause()
    cluster.run(10)  # two of five again, now that the other has forgotten
    assert primary.held[rest[0].name] == primary.last_sequence
    assert primary.committed_sequence == before
    cluster.shard.starved.clear()
    cluster.run_until(lambda: primary.committed_sequence == primary.last_sequence)
    for node in rest[1:]:
        node.unpause()
    cluster.settle()


def test_holders_that_start_at_very_different_times_all_vote() -> None:
    starts = {"e1": 0, "r1": 300, "r2": 900, "e2": 1500, "e3": 2500}
    cluster = Cluster(starts_ms=starts)
    cluster.run(800)
    assert cluster.witness.committed == []  # two of five are no majority
    cluster.trading()
    cluster.trade(50)
    cluster.run(3_000)
    cluster.settle()
    assert {node.holder.vote for node in cluster.holders.values()} == {Vote.COUNTS}


def test_the_same_seed_does_the_same_again() -> None:
    def run() -> tuple[Sequence[bytes], dict[int, str], int]:
        cluster, leader = trading()
        cluster.trade(60)
        cluster.run(20)
        leader.kill()
        cluster.settle()
        return cluster.witness.committed, cluster.witness.leaders, cluster.network.now_ns

    assert run() == run()
