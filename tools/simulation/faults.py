"""Every fault that befalls the simulated exchange. A new one is a function and a line of FAULTS.

A fault strikes at once and returns what mends it; some are over by themselves. How often each kind
of fault has befallen anybody is counted under its name here; what happens to single datagrams is
counted by the network.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from tools.simulation.client_faults import CLIENT_FAULTS
from tools.simulation.disk_faults import DISK_FAULTS
from tools.simulation.network import Process
from tools.simulation.plots import PLOTS
from tools.simulation.scene import Fault, Loss, Mend, Plot, Scene, nothing, start_again, wake
from tools.simulation.world import MILLISECOND_NS

FARTHEST_JUMP_MS = 10_000
MOST_SENDS_TO_LIVE = 12
LONGEST_LAG_MS = 40


def kill(scene: Scene) -> Mend | None:
    """Holders die, or are stopped, and come back with what is on their disks: later, or at once."""
    killed = [node for node in scene.holders(2) if scene.may_forget(node)]
    for node in killed:
        if scene.random.random() < 0.2:
            node.stop()
        else:
            node.kill()
    if scene.random.random() < 0.3:
        start_again(killed)()
    return start_again(killed) if killed else None


def vanish(scene: Scene) -> Mend | None:
    """A holder's machine loses its power: nobody is told."""
    nodes = scene.holder().host.nodes
    if not scene.may_lose(nodes, Loss.POWER):
        return None
    nodes[0].vanish()
    if scene.random.random() < 0.3:
        start_again(nodes)()
    return start_again(nodes)


def die_while_sending(scene: Scene) -> Mend | None:
    """A holder dies between two things that it sends, as between two packets of one group."""
    node = scene.holder()
    if not node.is_alive or not scene.may_forget(node):
        return None
    node.sends_to_live = scene.random.randint(0, MOST_SENDS_TO_LIVE)
    return start_again([node])


def die_in_group(scene: Scene) -> Mend | None:
    """A replica dies after one of its next packets with frames in them."""
    node = scene.replica()
    if not node.is_alive or not scene.may_forget(node):
        return None
    node.dies_after_packets = scene.random.randint(0, 4)

    def mend() -> None:
        node.dies_after_packets = None
        start_again([node])()

    return mend


def pause(scene: Scene) -> Mend:
    """Processes stop, mostly holders, and go on later as if nothing had been."""
    is_holder = scene.random.random() < 0.8
    victims: list[Process] = [*scene.holders(3)] if is_holder else [scene.anybody()]
    for node in victims:
        node.pause()
    return wake(victims)


def freeze(scene: Scene) -> Mend:
    """A whole machine stands still; when it wakes, all of its connections are gone."""
    node = scene.holder() if scene.random.random() < 0.6 else scene.anybody()
    node.pause()

    def mend() -> None:
        scene.cluster.shard.tcp.break_all(node)
        node.unpause()

    return mend


def slow_down(scene: Scene) -> Mend:
    """A process gets to everything later than the others."""
    node = scene.anybody()
    node.lag_ns = int(scene.random.uniform(0, LONGEST_LAG_MS) * MILLISECOND_NS)
    return partial(setattr, node, "lag_ns", 0)


def cut(scene: Scene) -> Mend:
    """What some send or are sent is lost, one way or both; some may lose ZooKeeper, too."""
    victims = scene.holders(2)
    others = None
    if scene.random.random() < 0.3:
        names = list(scene.cluster.processes)
        others = scene.random.sample(names, scene.random.randint(1, len(names)))
    for node in victims:
        scene.cluster.cut(node.name, others, ways=scene.random.choice(("both", "out", "in")))
        node.reaches_zookeeper = scene.random.random() < 0.5
    return partial(_heal, scene, victims)


def split(scene: Scene) -> Mend:
    """The network falls into two parts."""
    names = list(scene.cluster.processes)
    scene.random.shuffle(names)
    place = scene.random.randint(1, len(names) - 1)
    for name in names[:place]:
        scene.cluster.cut(name, names[place:])
    return scene.cluster.network.heal


def silence(scene: Scene) -> Mend | None:
    """Again and again most of the others hear nothing of the primary for a moment."""
    interval_ns = scene.cluster.shard.shape.suspicion_time_ns * 5 // 4
    plot = Plot(scene)
    for i in range(scene.random.randint(2, 8)):
        plot.later(i * interval_ns, partial(_be_silent, scene, plot))
    return plot.mend()


def starve(scene: Scene) -> Mend:
    """No answers to NAKs reach some, who then lose a little of the feed, too."""
    cluster = scene.cluster
    names = [node.name for node in scene.holders(2)]
    cluster.shard.starved.update(names)
    cluster.network.cut(cluster.holders, names)
    plot = Plot(scene)
    plot.later(scene.random.randint(1, 20) * MILLISECOND_NS, cluster.network.heal)
    feed = partial(cluster.shard.starved.difference_update, names)
    return plot.mend(feed, cluster.network.heal)


def storm(scene: Scene) -> Mend:
    """Datagrams get lost, doubled, damaged and late far more often than before."""
    network, random, fair = scene.cluster.network, scene.random, scene.weather
    network.weather = replace(
        fair,
        drop=random.choice((0.0, 0.1, 0.3)),
        duplicate=random.choice((0.0, 0.1, 0.3)),
        reorder=random.choice((0.0, 0.1, 0.3)),
        corrupt=random.choice((0.0, 0.1, 0.2)),
        longest_delay_ns=fair.longest_delay_ns * random.choice((1, 3, 10)),
    )
    return partial(setattr, network, "weather", fair)


def jump(scene: Scene) -> Mend:
    """A wall clock jumps, back or ahead."""
    node = scene.anybody()
    jump_ms = scene.random.randint(-FARTHEST_JUMP_MS, FARTHEST_JUMP_MS)
    node.clock_ahead_ns += jump_ms * MILLISECOND_NS
    node.note("its clock jumps by {} ms", jump_ms)
    return nothing


def expire(scene: Scene) -> Mend:
    """A session with ZooKeeper ends, and the process lives."""
    victim = scene.holder()
    victim.note("its session is ended")
    scene.cluster.zookeeper.expire(victim.name)
    return nothing


def cut_from_zookeeper(scene: Scene) -> Mend:
    """A process loses ZooKeeper, and nothing else."""
    node: Process = scene.holder()
    if scene.random.random() < 0.4:
        node = scene.one_of(scene.cluster.gateways) or node
    node.reaches_zookeeper = False
    return partial(_reach_zookeeper, [node])


def kill_zookeeper_server(scene: Scene) -> Mend:
    """The server dies that a holder is connected to: it goes on at another one."""
    scene.cluster.zookeeper.drop_connection(scene.holder().name)
    return nothing


def lose_quorum(scene: Scene) -> Mend:
    """ZooKeeper has no majority of its servers."""
    scene.cluster.zookeeper.lose_quorum()
    return scene.cluster.zookeeper.return_quorum


def break_connections(scene: Scene) -> Mend:
    """All TCP connections of a process break."""
    scene.cluster.shard.tcp.break_all(scene.anybody())
    return nothing


def restart_subscriber(scene: Scene) -> Mend | None:
    """A subscriber's program starts again, and reads the list from its beginning."""
    node = scene.one_of(scene.cluster.subscribers)
    if node is None:
        return None
    node.kill()
    node.start()
    return nothing


def _heal(scene: Scene, nodes: Iterable[Process]) -> None:
    scene.cluster.network.heal()
    _reach_zookeeper(nodes)


def _reach_zookeeper(nodes: Iterable[Process]) -> None:
    for node in nodes:
        node.reaches_zookeeper = True


def _be_silent(scene: Scene, plot: Plot) -> None:
    cluster = scene.cluster
    primary = cluster.primary
    if primary is not None:
        names = [name for name in cluster.holders if name != primary.name]
        deaf = scene.random.sample(names, scene.random.randint(len(names) // 2, len(names)))
        cluster.cut(primary.name, deaf, ways="out")
        heals_ns = cluster.shard.shape.suspicion_time_ns * 9 // 8
        plot.later(heals_ns, cluster.network.heal)


FAULTS = (
    Fault("holder killed", 4, kill),
    Fault("machine without power", 1, vanish),
    Fault("death while sending", 3, die_while_sending),
    Fault("death in a group", 3, die_in_group),
    Fault("pause", 4, pause),
    Fault("freeze", 1, freeze),
    Fault("slow process", 2, slow_down),
    Fault("partition of some", 4, cut),
    Fault("partition in two", 2, split),
    Fault("silent primary", 1, silence),
    Fault("starved of repairs", 2, starve),
    Fault("storm", 2, storm),
    Fault("clock jump", 2, jump),
    Fault("session expired", 2, expire),
    Fault("cut off from ZooKeeper", 2, cut_from_zookeeper),
    Fault("ZooKeeper server killed", 1, kill_zookeeper_server),
    Fault("ZooKeeper without quorum", 2, lose_quorum),
    Fault("connections broken", 2, break_connections),
    Fault("subscriber restarted", 1, restart_subscriber),
    *DISK_FAULTS,
    *CLIENT_FAULTS,
    *PLOTS,
)
