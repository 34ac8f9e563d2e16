"""Each kind of fault does what it says, is mended, and an exchange gets over it."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from tools.simulation.cluster import Cluster
from tools.simulation.disk_faults import DISK_FAULTS
from tools.simulation.faults import FAULTS
from tools.simulation.hosts import DiskShape
from tools.simulation.plan import draw_plan
from tools.simulation.scene import Fault, Mend, Plot, Scene
from tools.simulation.shard import CACHE_BYTES
from tools.simulation.simulation import CALM_MS, run_seed

KINDS = {fault.kind: fault for fault in FAULTS}


def trading(seed: int = 1, disk: DiskShape | None = None) -> Scene:
    """An exchange whose clients are trading, and whose holders have such disks, if any."""
    plan = draw_plan(Random(seed))
    shape = replace(plan.shape, disk=disk, without_journal=(), cache_bytes=CACHE_BYTES)
    cluster = Cluster(seed, shape, plan.weather)
    scene = Scene(cluster, Random(seed))
    for client in cluster.clients.values():
        client.trade(30, 1_000_000)
    cluster.run_until(lambda: cluster.ledger.commands > 10, CALM_MS, "trading")
    return scene


def strike(scene: Scene, kind: str) -> Mend:
    """Have a fault strike, as soon as it finds somebody."""
    for _ in range(100):
        mend = KINDS[kind].strike(scene)
        if mend is not None:
            return mend
    raise AssertionError(f"{kind} finds nobody")


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.kind for fault in FAULTS])
@pytest.mark.parametrize("seed", [1, 2])
def test_exchange_gets_over_each_fault_alone(fault: Fault, seed: int) -> None:
    scene = trading(seed, DiskShape() if fault in DISK_FAULTS else None)
    mend = strike(scene, fault.kind)
    scene.cluster.run(120)
    mend()
    scene.cluster.network.heal()
    scene.cluster.revive()
    scene.cluster.settle(CALM_MS)


def test_every_kind_of_fault_is_drawn_alone_or_with_few_others() -> None:
    drawn = Counter(
        fault.kind
        for seed in range(300)
        if len(faults := draw_plan(Random(seed)).faults) < len(FAULTS)
        for fault in faults
    )
    assert drawn.keys() == KINDS.keys()


def test_datagrams_meet_with_everything() -> None:
    befell: Counter[str] = Counter()
    for seed in range(108, 118):
        befell += run_seed(seed).faults
    assert {"datagram lost", "datagram doubled", "datagram damaged"} <= befell.keys()
    assert {"datagram overtaken", "datagram cut off", "crash while sending"} <= befell.keys()


@pytest.mark.parametrize("kind", ["holder killed", "machine without power"])
def test_killed_holder_forgets_and_comes_back(kind: str) -> None:
    scene = trading()
    lives = {name: node.life for name, node in scene.cluster.holders.items()}
    mend = strike(scene, kind)
    mend()
    again = [name for name, node in scene.cluster.holders.items() if node.life > lives[name]]
    assert again
    assert all(scene.cluster.holders[name].holder.last_sequence == 0 for name in again)


def test_no_more_than_a_minority_forgets_before_a_calm() -> None:
    scene = trading()
    for _ in range(100):
        KINDS["holder killed"].strike(scene)
    alive = [node for node in scene.cluster.holders.values() if node.life == 1 and node.is_alive]
    assert 2 * len(alive) > len(scene.cluster.holders)


def test_primary_dies_in_a_group() -> None:
    broken_off = 0
    for seed in range(1, 30):
        scene = trading(seed)
        primary = scene.cluster.primary
        assert primary is not None
        primary.dies_after_packets = 1
        packets = scene.cluster.shard.packets = []
        for client in scene.cluster.clients.values():
            client.trade(20, 100_000)
        scene.cluster.run(30)
        assert not primary.is_alive
        broken_off += bool(packets)
    assert broken_off


def test_pause_stops_a_process_and_what_reaches_it_waits() -> None:
    scene = trading()
    mend = strike(scene, "pause")
    paused = [node for node in scene.cluster.holders.values() if node.is_paused]
    before = {node.name: node.holder.last_sequence for node in paused}
    scene.cluster.run(20)
    assert {node.name: node.holder.last_sequence for node in paused} == before
    mend()
    assert all(node.runs for node in paused)


def test_storm_and_clock_jump_and_slowness_are_felt_and_pass() -> None:
    scene = trading()
    network = scene.cluster.network
    before = network.weather
    mend = strike(scene, "storm")
    mend()
    assert network.weather == before
    strike(scene, "clock jump")
    assert any(node.clock_ahead_ns for node in scene.cluster.processes.values())
    mend = strike(scene, "slow process")
    assert any(node.lag_ns for node in scene.cluster.processes.values())
    mend()
    assert not any(node.lag_ns for node in scene.cluster.processes.values())


def test_plot_that_is_mended_does_nothing_more() -> None:
    scene = trading()
    happened: list[str] = []
    plot = Plot(scene)
    plot.later(1_000_000, lambda: happened.append("first act"))
    plot.later(5_000_000, lambda: happened.append("second act"))
    mend = plot.mend(lambda: happened.append("mended"))
    scene.cluster.run(3)
    mend()
    scene.cluster.run(10)
    assert happened == ["first act", "mended"]
