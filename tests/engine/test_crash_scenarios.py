"""The crash scenarios that every part must survive, 1 to 16, each on a whole shard in virtual time.

The witness of the cluster checks the rules of the list at every step; here stands what each
scenario comes to: what was committed stays, everybody agrees, and who led in which epoch.
"""

import pytest
from structlog.testing import capture_logs

from engine.replica import State
from feed.codec import decode_frame, decode_packet
from feed.faults import FaultShares
from tests.engine.cluster import Cluster
from tests.engine.situations import list_of, others, took_over, trading
from tools.simulation.holders import ReplicaNode


def test_scenario_01_primary_killed() -> None:
    cluster, first = trading()
    before = list_of(cluster)
    cluster.trade(100)
    cluster.run(30)
    first.kill()
    second = took_over(cluster, first)
    assert cluster.settle() is second
    assert list_of(cluster)[: len(before)] == before
    assert cluster.witness.leaders == {1: first.name, 2: second.name}
    first.start()
    cluster.run_until(lambda: first.core.state is State.BACKUP)
    cluster.trade(20)
    assert cluster.settle() is second


def test_scenario_02_primary_paused_and_woken() -> None:
    cluster, first = trading()
    cluster.trade(60)
    cluster.run(20)
    first.pause()
    second = took_over(cluster, first)
    cluster.run(100)
    assert first.core.primary is not None  # it has noticed nothing
    first.unpause()
    cluster.run(10)
    assert first.core.state is State.BACKUP
    assert cluster.settle() is second
    assert cluster.witness.leaders == {1: first.name, 2: second.name}


def test_scenario_03_primary_cut_off_from_zookeeper_alone() -> None:
    cluster, first = trading()
    first.reaches_zookeeper = False
    cluster.trade(50)
    cluster.settle()
    assert cluster.witness.leaders == {1: first.name}
    cluster.trade(100, interval_ns=30_000_000)  # until its session has ended, and then some
    second = took_over(cluster, first, within_ms=3_000)
    assert cluster.settle() is second
    assert first.core.state is State.BACKUP
    assert cluster.witness.leaders == {1: first.name, 2: second.name}


@pytest.mark.parametrize("seed", range(5))
def test_scenario_04_two_candidates_at_once(seed: int) -> None:
    cluster = Cluster(seed, replicas=5)
    first = cluster.trading()
    cluster.trade(40)
    cluster.run(20)
    first.kill()
    second = took_over(cluster, first)
    cluster.settle()
    assert {name for epoch, name in cluster.zookeeper.attempts if epoch == 2} > {second.name}
    assert cluster.zookeeper.grants == [(1, first.name), (2, second.name)]
    assert cluster.witness.leaders == dict(cluster.zookeeper.grants)


@pytest.mark.parametrize("packets", [1, 2, 3])
def test_scenario_05_death_in_the_middle_of_a_group(packets: int) -> None:
    cluster, first = trading(59)
    sent = cluster.shard.packets = []
    first.dies_after_packets = packets
    cluster.trade(1)  # one that sweeps many, over many packets
    cluster.run_until(lambda: not first.is_alive)
    group = [frame.data for data in sent for frame in decode_packet(data).frames]
    group = [data for data in group if decode_frame(data).sequence > len(list_of(cluster))]
    assert not decode_frame(group[-1]).is_end
    at = len(list_of(cluster))
    second = took_over(cluster, first)
    cluster.settle()
    frames = [decode_frame(data) for data in list_of(cluster)]
    end = next(frame.sequence for frame in frames[at:] if frame.is_end)
    assert [frame.data for frame in frames[at : at + len(group)]] == group
    assert end > at + len(group)
    assert {frame.time_ns for frame in frames[at:end]} == {frames[at].time_ns}
    # What the dead primary had and never sent whole is what its successor made of the command.
    assert first.holder.list.cache.frames(at + 1, end) == list_of(cluster)[at:end]
    assert cluster.witness.leaders == {1: first.name, 2: second.name}


def test_scenario_06_last_frame_lost_before_death() -> None:
    cluster, first = trading(59)
    before = list_of(cluster)
    heard = cluster.holders["r1"]
    cluster.cut(first.name, [node.name for node in others(cluster, heard)], ways="out")
    cluster.trade(1)
    cluster.run(3)
    first.dies_after_packets = 0
    cluster.trade(1)  # nobody hears of it
    cluster.run_until(lambda: not first.is_alive)
    last = heard.holder.last_sequence
    assert last > len(before)
    cluster.network.heal()
    took_over(cluster, first)
    cluster.settle()
    # What one holder had heard is adopted as it was; what nobody had heard was sent again.
    group = first.holder.list.cache.frames(len(before) + 1, last)
    assert list_of(cluster)[: len(before) + len(group)] == [*before, *group]
    lost = first.holder.list.cache.frames(last + 1, last + 1)
    assert list_of(cluster)[last : last + 1] != lost


def test_scenario_07_late_frame_of_an_old_epoch_at_a_sequence_number_used_anew() -> None:
    cluster, first = trading()
    committed = len(list_of(cluster))
    late = cluster.shard.packets = []
    cluster.cut(first.name)
    cluster.trade(10)
    cluster.run(20)
    cluster.shard.packets = None
    second = took_over(cluster, first)
    cluster.settle(without=[first])
    used = list_of(cluster)
    old = {frame.sequence: frame.data for data in late for frame in decode_packet(data).frames}
    anew = [sequence for sequence in old if used[sequence - 1] != old[sequence]]
    assert anew
    assert min(anew) > committed
    cluster.deliver(late)
    cluster.trade(20)
    cluster.settle(without=[first])
    assert list_of(cluster)[: len(used)] == used
    for node in others(cluster, first):
        assert node.holder.received.stale_epoch >= len(late) or node is second
    # The old primary has the frames in its own list: it drops them when it comes back.
    cluster.network.heal()
    cluster.settle()
    assert first.core.state is State.BACKUP
    assert first.holder.list.tails_dropped == 1


@pytest.mark.parametrize("seed", range(3))
def test_scenario_08_duplicates(seed: int) -> None:
    check_failover_on(FaultShares(duplicate=0.5), seed)


@pytest.mark.parametrize("seed", range(3))
def test_scenario_09_reordering(seed: int) -> None:
    check_failover_on(FaultShares(reorder=0.5), seed)


@pytest.mark.parametrize("seed", range(3))
def test_scenario_10_corruption(seed: int) -> None:
    check_failover_on(FaultShares(corrupt=0.2), seed)


def check_failover_on(shares: FaultShares, seed: int) -> None:
    """Kill a primary on a network with these faults, and have it return."""
    cluster = Cluster(seed, shares=shares)
    first = cluster.trading()
    cluster.trade(60)
    cluster.run(30)
    first.kill()
    cluster.settle()
    first.start()
    cluster.trade(60)
    cluster.settle()
    epochs = [epoch for epoch, _ in cluster.zookeeper.grants]
    assert epochs == [*range(1, len(epochs) + 1)]


def test_scenario_11_retransmitter_that_lacks_frames() -> None:
    cluster, first = trading()
    poor, rich = cluster.retransmitters.values()
    deaf = cluster.subscribers["s1"]
    cluster.cut(poor.name, [first.name], ways="in")
    cluster.shard.starved.add(poor.name)
    cluster.cut(deaf.name, [first.name], ways="in")
    cluster.trade(20)
    cluster.run_until(lambda: len(cluster.entered) == 60)
    assert poor.holder.last_sequence < rich.holder.last_sequence
    cluster.network.heal()
    cluster.cut(poor.name, [first.name], ways="in")
    cluster.run_until(lambda: deaf.frames == list_of(cluster))
    # One that lacks frames says so: the subscriber has them from the other.
    cluster.shard.starved.clear()
    cluster.network.heal()
    cluster.settle()
    assert poor.holder.list.cache.frames(1, 2**63) == list_of(cluster)
    assert cluster.witness.leaders == {1: first.name}


def test_scenario_12_a_frame_that_nobody_has_stops_the_shard_loudly_until_somebody_returns() -> (
    None
):
    cluster, first = trading()
    before = list_of(cluster)
    keepers = [cluster.holders["r1"], cluster.holders["r2"]]
    deaf = others(cluster, first, *keepers)
    cluster.cut(first.name, [node.name for node in deaf], ways="out")
    for node in deaf:
        cluster.shard.starved.add(node.name)
    cluster.trade(1)
    cluster.run_until(lambda: len(cluster.entered) == 41)  # held by three of five
    committed = list_of(cluster)
    for node in keepers:
        node.pause()
    first.kill()
    cluster.network.heal()
    with capture_logs() as logs:
        cluster.run(5_000)
    said = [entry for entry in logs if entry["log_level"] == "error"]
    assert {entry["event"] for entry in said} == {
        "too few holders that remember: the shard stops until more of them are back"
    }
    assert said[-1]["missing"] == 1
    assert cluster.primary is None
    assert all(node.holder.last_sequence < len(committed) for node in deaf)
    first.start()  # without its memory it is no help
    cluster.run(3_000)
    assert cluster.primary is None
    assert list_of(cluster) == committed
    keepers[0].unpause()
    second = took_over(cluster, first)
    keepers[1].unpause()
    cluster.shard.starved.clear()
    cluster.trade(20)
    assert cluster.settle() is second
    assert list_of(cluster)[: len(committed)] == committed
    assert len(before) < len(committed)


def test_scenario_12_what_was_never_committed_is_given_up_loudly_and_a_new_epoch_goes_on() -> None:
    cluster, first = trading()
    before = list_of(cluster)
    backups = others(cluster, first)
    cluster.zookeeper.lose_quorum()
    cluster.shard.starved.update(cluster.holders)
    cluster.cut(first.name, ways="out")
    cluster.trade(1)
    cluster.run(1)
    cluster.network.heal()
    cluster.run(10)  # a heartbeat tells of the frame, and nobody has it
    first.kill()
    cluster.shard.starved.clear()
    cluster.run_until(lambda: all(node.holder.failure for node in backups), 30_000)
    states = [node.core.state for node in backups if isinstance(node, ReplicaNode)]
    assert set(states) == {State.FAILED}
    assert list_of(cluster) == before
    cluster.zookeeper.return_quorum()
    took_over(cluster, first, within_ms=5_000)
    cluster.settle()
    assert all(node.holder.failure is None for node in backups)


def test_scenario_12_a_holder_goes_on_when_who_has_the_frame_returns() -> None:
    cluster, first = trading()
    poor = cluster.holders["r1"]
    cluster.cut(poor.name, [first.name], ways="in")
    cluster.shard.starved.add(poor.name)
    cluster.trade(1)
    cluster.run(5)
    cluster.network.heal()
    cluster.run_until(lambda: poor.holder.failure is not None, 30_000)
    failure = poor.holder.failure
    assert failure is not None
    assert failure.first_sequence == poor.holder.last_sequence + 1
    cluster.shard.starved.clear()
    cluster.settle()
    assert poor.holder.failure is None
    assert cluster.witness.leaders == {1: first.name}


def test_scenario_13_all_backups_behind() -> None:
    cluster, first = trading()
    backups = [node for node in cluster.replicas.values() if node is not first]
    cluster.cut(first.name, [node.name for node in backups], ways="out")
    for node in backups:
        cluster.shard.starved.add(node.name)
    cluster.trade(30)
    cluster.run_until(lambda: len(cluster.entered) == 70)
    committed = list_of(cluster)
    assert all(node.holder.last_sequence < len(committed) for node in backups)
    first.kill()
    cluster.network.heal()
    second = took_over(cluster, first)
    # NAKs are still not answered: the candidate has fetched what it lacked from the retransmitters.
    assert second.holder.list.cache.frames(1, len(committed)) == committed
    cluster.shard.starved.clear()
    assert cluster.settle() is second
    assert list_of(cluster)[: len(committed)] == committed


def test_scenario_14_session_expired_and_the_process_alive() -> None:
    cluster, first = trading()
    cluster.trade(60)
    cluster.run(20)
    cluster.zookeeper.expire(first.name)
    second = took_over(cluster, first)
    assert first.runs
    cluster.run_until(lambda: first.core.state is State.BACKUP)
    assert cluster.settle() is second
    assert cluster.witness.leaders == {1: first.name, 2: second.name}


def test_scenario_15_zookeeper_without_quorum_and_the_primary_healthy() -> None:
    cluster, first = trading()
    cluster.zookeeper.lose_quorum()
    cluster.trade(200, interval_ns=20_000_000)  # for twice as long as a session lasts
    assert cluster.settle() is first
    assert cluster.witness.leaders == {1: first.name}
    cluster.zookeeper.return_quorum()
    cluster.run(500)
    assert cluster.settle() is first
    assert cluster.zookeeper.grants == [(1, first.name)]


def test_scenario_16_zookeepers_leader_and_the_primary_at_once() -> None:
    cluster, first = trading()
    before = list_of(cluster)
    cluster.trade(20)
    cluster.run(10)
    cluster.zookeeper.lose_quorum()
    first.kill()
    cluster.run(1_000)
    assert cluster.primary is None
    cluster.zookeeper.return_quorum()
    second = took_over(cluster, first)
    assert cluster.settle() is second
    assert list_of(cluster)[: len(before)] == before
    assert cluster.zookeeper.grants == [(1, first.name), (2, second.name)]
