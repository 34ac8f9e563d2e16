"""Faults that befall disks, and all machines at once: whose holders have journals get over them."""

from collections.abc import Callable, Sequence
from functools import partial

from tools.simulation.holder_node import HolderNode
from tools.simulation.hosts import Disk
from tools.simulation.scene import Fault, Loss, Mend, Plot, Scene, start_again
from tools.simulation.world import MILLISECOND_NS

MOST_OPERATIONS = 12
MOST_BITS = 3


def die_while_writing(scene: Scene) -> Mend | None:
    """A holder, or its machine, ends in the middle of an operation on its disk."""
    node = scene.holder()
    if node.disk is None or not node.is_alive:
        return None
    loses_power = scene.random.random() < 0.5
    if loses_power and not scene.may_lose(node.host.nodes, Loss.POWER):
        return None
    node.loses_power_at_its_disk = loses_power
    storage = scene.random.choice((node.disk.journal, node.disk.journal, node.disk.snapshots))
    storage.operations_left = scene.random.randint(0, MOST_OPERATIONS)
    if scene.random.random() < 0.4:  # or when it comes back
        node.kill()
        storage.operations_left = scene.random.randint(0, MOST_OPERATIONS)
        node.start()

    def mend() -> None:
        storage.operations_left = None
        start_again(node.host.nodes)()

    return mend


def fill_up(scene: Scene) -> Mend | None:
    """The disk of a holder, or of some, is full for a while."""
    return _befall(scene, scene.holders(3), Disk.fill_up)


def become_read_only(scene: Scene) -> Mend | None:
    """The disk of a holder can't be written to for a while."""
    return _befall(scene, scene.holders(2), Disk.become_read_only)


def fail_to_sync(scene: Scene) -> Mend | None:
    """The disk of a holder takes what is written, and can't keep it."""
    node = scene.holder()
    if node.disk is None or not scene.may_lose([node], Loss.SYNCS):
        return None
    return _befall(scene, [node], Disk.fail_to_sync)


def damage(scene: Scene) -> Mend | None:
    """A holder dies, and finds bits turned over, or a segment missing, when it comes back."""
    node = scene.holder()
    disk, random = node.disk, scene.random
    if disk is None or not scene.may_lose([node], Loss.DISK):
        return None
    if random.random() < 0.3:
        node.stop()
    else:
        node.kill()
    if random.random() < 0.3:
        node.note("loses {}", disk.lose_segment())
    else:
        for _ in range(random.randint(1, MOST_BITS)):
            node.note("has a bit turned over in {}", disk.flip_bit())
    if random.random() < 0.5:
        node.start()
    return start_again([node])


def replace_disk(scene: Scene) -> Mend | None:
    """A holder dies with its disk, and comes back with an empty one."""
    node = scene.holder()
    if node.disk is None or not scene.may_lose([node], Loss.DISK):
        return None
    node.forget()
    if scene.random.random() < 0.5:
        node.start()
    return start_again([node])


def kill_all(scene: Scene) -> Mend | None:
    """All holders die at once, and perhaps ZooKeeper forgets everything; then all come back."""
    return _fall_dark(scene, Loss.PROCESS)


def lose_all_power(scene: Scene) -> Mend | None:
    """All machines of holders lose their power at once."""
    return _fall_dark(scene, Loss.POWER)


def restart_in_turn(scene: Scene) -> Mend | None:
    """Holders are stopped and started again, one after the other, and perhaps not the primary."""
    cluster, random = scene.cluster, scene.random
    nodes = [node for node in cluster.holders.values() if node is not cluster.primary]
    if random.random() < 0.3:
        nodes = list(cluster.holders.values())
    random.shuffle(nodes)
    plot = Plot(scene)
    pause_ns = random.randint(1, 40) * MILLISECOND_NS
    for turn, node in enumerate(nodes):
        if node.disk is not None:
            plot.later(turn * pause_ns, partial(_restart, scene, node))
    return plot.mend(start_again(nodes))


def die_after_a_promise(scene: Scene) -> Mend | None:
    """A primary dies, and not all have heard its last frames. In the takeover some die as soon as
    they have promised the next epoch, and come back at once."""
    cluster, random = scene.cluster, scene.random
    primary = cluster.primary
    if primary is None or not scene.may_forget(primary):
        return None
    plot = Plot(scene)
    others = [node for node in cluster.holders.values() if node is not primary]
    deaf = random.sample(others, random.randint(len(others) // 2, len(others) - 1))
    cluster.network.cut([primary.name], [node.name for node in deaf])
    scene.trade()
    epoch = primary.core.epoch
    waiting = [node for node in others if node.disk is not None]

    def watch() -> None:
        for node in tuple(waiting):
            if node.runs and node.holder.epoch > epoch:
                waiting.remove(node)
                if random.random() < 0.7:
                    _restart(scene, node)
        if waiting:
            plot.later(MILLISECOND_NS // 5, watch)

    def strike() -> None:
        primary.kill()
        cluster.network.heal()
        watch()

    plot.later(random.randrange(cluster.shard.shape.suspicion_time_ns // 2), strike)
    return plot.mend(cluster.network.heal, start_again([primary, *others]))


def _restart(scene: Scene, node: HolderNode) -> None:
    if node.is_alive and scene.may_forget(node):
        if scene.random.random() < 0.3:
            node.stop()
        else:
            node.kill()
        node.start()


def _befall(
    scene: Scene, nodes: Sequence[HolderNode], fault: Callable[[Disk], None]
) -> Mend | None:
    """Something befalls the disks of some; who can store nothing for it is started again after."""
    nodes = [node for node in nodes if node.disk is not None]
    if not nodes:
        return None
    for node in nodes:
        assert node.disk is not None
        fault(node.disk)
        node.note("its disk: {}", fault.__name__)

    def mend() -> None:
        for node in nodes:
            assert node.disk is not None
            node.disk.mend()
            if node.is_alive and not node.is_paused and node.holder.storage_failure is not None:
                node.kill()
        start_again(nodes)()

    return mend


def _fall_dark(scene: Scene, loss: Loss) -> Mend | None:
    cluster, random = scene.cluster, scene.random
    nodes = list(cluster.holders.values())
    # More than a minority may forget by it, where the sync policy promises no more than that: then
    # the shard has to stop.
    if any(node.disk is None for node in nodes) and not scene.may_lose(nodes, loss):
        return None
    scene.lose(nodes, loss)
    forgets = scene.remembers_all and random.random() < 0.4
    if random.random() < 0.3:
        for gateway in cluster.gateways.values():
            gateway.vanish()
    for node in nodes:
        if loss is Loss.POWER:
            node.vanish()
        else:
            node.kill()
    cluster.zookeeper.lose_quorum()
    if forgets:
        scene.have_zookeeper_forget()
    plot = Plot(scene)
    later_ns = random.randrange(100 * MILLISECOND_NS)
    start = start_again([*nodes, *cluster.gateways.values()])
    for act in (cluster.zookeeper.return_quorum, start):
        plot.later(random.choice((0, later_ns)), act)
    return plot.mend(cluster.zookeeper.return_quorum, start)


DISK_FAULTS = (
    Fault("death while writing", 3, die_while_writing),
    Fault("disk full", 2, fill_up),
    Fault("disk read-only", 1, become_read_only),
    Fault("disk fails to sync", 1, fail_to_sync),
    Fault("disk damaged", 2, damage),
    Fault("disk replaced", 2, replace_disk),
    Fault("rolling restart", 2, restart_in_turn),
    Fault("death after a promise", 3, die_after_a_promise),
    Fault("all holders killed", 2, kill_all),
    Fault("all machines without power", 2, lose_all_power),
)
