"""What outlives simulated holders on their disks, and what they make of it when they come back."""

from random import Random

import pytest

from feed.settings import SyncPolicy
from feed.vote import Vote
from tools.simulation.bounds import small_bounds
from tools.simulation.cluster import Cluster, NotInTimeError
from tools.simulation.hosts import Disk, DiskShape
from tools.simulation.scene import Loss, Scene
from tools.simulation.shard import Shape
from tools.simulation.simulation import CALM_MS

SHORT_SEGMENTS = DiskShape(segment_bytes=1500, snapshot_frames=20)


def traded(disk: DiskShape = SHORT_SEGMENTS, **shape: object) -> Cluster:
    """An exchange with journals, at rest after some trading."""
    cluster = Cluster(1, Shape(disk=disk, **shape))  # type: ignore[arg-type]
    cluster.run_until(lambda: cluster.has_begun, CALM_MS, "all start")
    trade(cluster)
    return cluster


def trade(cluster: Cluster) -> None:
    for client in cluster.clients.values():
        client.trade(20, 1_000_000)
    cluster.settle(CALM_MS)


def start_all(cluster: Cluster) -> None:
    for node in cluster.holders.values():
        node.start()


def test_all_who_lose_their_power_at_once_come_back_with_everything() -> None:
    with small_bounds():
        cluster = traded()
        before = len(cluster.witness.committed)
        for node in cluster.holders.values():
            node.vanish()
        start_all(cluster)
        assert all(node.holder.last_sequence == before for node in cluster.holders.values())
        assert all(node.core.sequence == before for node in cluster.replicas.values())
        trade(cluster)
    assert cluster.witness.epochs == sorted(set(cluster.witness.epochs))
    assert len(cluster.witness.epochs) > 1
    assert all(node.memory == 1 for node in cluster.holders.values())


def test_epochs_go_on_when_zookeeper_has_forgotten_them() -> None:
    cluster = traded()
    (first,) = cluster.witness.epochs
    for node in cluster.holders.values():
        node.kill()
    assert cluster.zookeeper.paths
    cluster.zookeeper.forget_everything()
    assert cluster.zookeeper.paths == cluster.zookeeper.clients == []
    start_all(cluster)
    trade(cluster)
    assert cluster.witness.epochs[1] > first


def test_shard_stops_when_a_lax_policy_has_let_a_majority_forget() -> None:
    cluster = traded(DiskShape(sync=SyncPolicy.NEVER))
    scene = Scene(cluster, Random(1))
    scene.lose(cluster.holders.values(), Loss.POWER)
    assert not scene.has_majority
    for node in cluster.holders.values():
        node.vanish()
    start_all(cluster)
    with pytest.raises(NotInTimeError, match="a primary has to lead"):
        cluster.settle(3000)
    assert cluster.is_stopped
    assert {node.holder.vote for node in cluster.holders.values()} == {Vote.RETURNING}


def test_holder_with_an_empty_disk_has_all_from_the_others() -> None:
    with small_bounds():
        cluster = traded()
        node = cluster.holders["e3"]
        node.kill()
        node.disk.replace()  # type: ignore[union-attr]
        node.start()
        assert node.holder.last_sequence == 0
        trade(cluster)
    assert node.memory == 2
    assert node.catching_up.answers > 0


def test_power_goes_for_all_on_a_machine() -> None:
    cluster = traded(hosts=(("e1", "r1"),))
    cluster.holders["e1"].vanish()
    dead = [name for name, node in cluster.holders.items() if not node.is_alive]
    assert dead == ["e1", "r1"]
    boots = {node.host.boot for node in cluster.holders.values()}
    assert len(boots) == 4


def test_journal_that_is_not_as_it_should_be_is_noticed() -> None:
    cluster = traded()
    disk = cluster.holders["r2"].disk
    assert disk is not None
    name = max(each for each in disk.journal.names() if each.endswith(".frames"))
    disk.journal.flip_bit(name, 8 * disk.journal.size(name) - 1)
    with pytest.raises(AssertionError, match=r"r2 has stored \d+ of"):
        cluster.check_agreement()


@pytest.mark.parametrize(
    ("sync", "is_lossy"),
    [(SyncPolicy.GROUP, False), (SyncPolicy.INTERVAL, True), (SyncPolicy.NEVER, True)],
)
def test_disk_is_known_to_lose_what_its_policy_lets_it_lose(
    sync: SyncPolicy, is_lossy: bool
) -> None:
    disk = Disk(Random(1), DiskShape(sync=sync))
    disk.journal.append("a", b"what was acknowledged")
    disk.crash()
    assert not disk.is_lossy
    disk.fail_to_sync()
    disk.mend()
    disk.crash()
    assert disk.is_lossy is is_lossy
    disk.remember()
    disk.lose_power()
    assert disk.is_lossy is is_lossy
    disk.remember()
    disk.replace()
    assert disk.is_lossy
    assert disk.journal.names() == []


def test_rolling_restart_of_all_but_the_primary_costs_no_epoch() -> None:
    cluster = traded()
    primary = cluster.primary
    for node in cluster.holders.values():
        if node is not primary:
            node.stop()
            node.start()
            cluster.run(5)
    trade(cluster)
    assert len(cluster.witness.epochs) == 1


def test_only_replica_leads_again_after_its_disk_was_replaced_and_then_all_were_restarted() -> None:
    cluster = traded(replicas=1)
    node = cluster.holders["e1"]
    node.forget()
    node.start()
    trade(cluster)
    for each in cluster.holders.values():
        each.kill()
    start_all(cluster)
    trade(cluster)
    assert node.memory == 2
    assert len(cluster.witness.epochs) == 3


def test_primary_asks_for_no_replay_of_what_it_has_written_itself() -> None:
    cluster = traded(long_gap_frames=10)
    primary = cluster.primary
    assert primary is not None
    before = primary.catching_up.answers
    trade(cluster)
    cluster.run(1000)
    assert cluster.primary is primary
    assert primary.catching_up.answers == before
    assert not primary.catching_up.is_under_way


def test_replica_whose_journal_has_a_hole_has_its_machine_filled_by_the_others() -> None:
    with small_bounds():
        cluster = traded(DiskShape(segment_bytes=1500, snapshot_frames=100_000), long_gap_frames=30)
        node = cluster.replicas["e3"] if cluster.primary is not cluster.replicas["e3"] else None
        node = node or cluster.replicas["e2"]
        disk = node.disk
        assert disk is not None
        node.stop()
        disk.journal.flip_bit(min(disk.journal.names()), 8 * 900)
        disk.is_damaged = disk.is_newly_damaged = True
        node.start()
        assert node.core.lacks_state
        trade(cluster)
        assert not node.core.lacks_state
