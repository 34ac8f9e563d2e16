"""Faults in several acts: what has to come together for a subtle mistake to do harm.

A single fault seldom leaves two lists that differ, or a majority that hangs on one holder. These
bring an exchange to such a place and let chance do the rest.
"""

from collections.abc import Callable
from functools import partial

from tools.simulation.clients import ClientNode
from tools.simulation.holders import HolderNode, ReplicaNode
from tools.simulation.scene import Fault, Mend, Plot, Scene, start_again, wake
from tools.simulation.world import MILLISECOND_NS


def two_lists(scene: Scene) -> Mend | None:
    """A primary and too few others lose the rest, and go on taking orders: a part of the list is
    theirs alone when the rest goes on without them. Then it may befall the next primary."""
    plot = Plot(scene)
    _part(scene, plot, scene.random.randint(1, 4))
    return plot.mend(scene.cluster.network.heal)


def _part(scene: Scene, plot: Plot, acts: int) -> None:
    cluster, random = scene.cluster, scene.random
    cluster.network.heal()
    primary = cluster.primary
    if primary is None or not acts:
        return
    scene.trade()
    rest = [name for name in cluster.holders if name != primary.name]
    minority = (len(cluster.holders) - 1) // 2
    with_it = random.sample(rest, random.randint(0, max(minority - 1, 0)))
    rest = [name for name in rest if name not in with_it]
    for name in (primary.name, *with_it):
        cluster.cut(name, rest, ways=random.choice(("both", "both", "out")))
    next_act = partial(_part, scene, plot, acts - 1)
    if random.random() < 0.5:
        _when_led_anew(scene, plot, primary, next_act)
    else:
        suspicion_ns = cluster.shard.shape.suspicion_time_ns
        plot.later(random.randint(suspicion_ns // 2, 4 * suspicion_ns), next_act)


def _when_led_anew(scene: Scene, plot: Plot, deposed: ReplicaNode, act: Callable[[], None]) -> None:
    """Act as soon as another primary has begun its list, and has hardly written any more of it."""
    primary = scene.cluster.primary
    if primary is not None and primary is not deposed and scene.cluster.is_led:
        plot.later(scene.random.randrange(4 * MILLISECOND_NS), act)
    else:
        plot.later(MILLISECOND_NS, partial(_when_led_anew, scene, plot, deposed, act))


def thin_majority(scene: Scene) -> Mend | None:
    """Too few hear the primary for anything to be committed. One of those who do forgets what it
    has acknowledged, and gets no repairs; then one of the others hears the primary again."""
    cluster, random = scene.cluster, scene.random
    primary = cluster.primary
    if primary is None or len(cluster.holders) < 3:
        return None
    plot = Plot(scene)
    others = [node for node in cluster.holders.values() if node is not primary]
    random.shuffle(others)
    hearing = (len(cluster.holders) - 1) // 2 - random.choice((0, 0, 1))
    deaf = others[hearing:]
    cluster.network.cut([primary.name], [node.name for node in deaf])
    scene.trade()
    suspicion_ns = cluster.shard.shape.suspicion_time_ns
    if hearing > 0:
        forgets_ns = random.randrange(suspicion_ns // 3)
        plot.later(forgets_ns, partial(_forget, scene, others[0]))
    plot.later(
        random.randint(suspicion_ns // 3, suspicion_ns),
        partial(cluster.network.join, [primary.name], [deaf[0].name]),
    )
    starved = cluster.shard.starved
    return plot.mend(cluster.network.heal, partial(starved.discard, others[0].name))


def _forget(scene: Scene, node: HolderNode) -> None:
    """It dies, and starts at once, with nobody who would tell it what was before."""
    if node.is_alive and scene.may_forget_all(node):
        scene.cluster.shard.starved.add(node.name)
        node.forget()
        node.start()


def forgetful_takeover(scene: Scene) -> Mend | None:
    """What is committed last is with a primary and others who then die and start again with
    nothing, and with those who fall silent: whoever takes over hears from all but them."""
    cluster, random = scene.cluster, scene.random
    primary = cluster.primary
    if primary is None or not scene.may_forget_all(primary):
        return None
    plot = Plot(scene)
    dying: list[HolderNode] = [primary]
    for node in random.sample(list(cluster.holders.values()), len(cluster.holders)):
        if node is not primary and random.random() < 0.8 and scene.may_forget_all(node):
            dying.append(node)
    remembering = [node for node in cluster.holders.values() if node not in dying]
    majority = len(cluster.holders) // 2 + 1
    silent = remembering[: majority - len(dying)]
    deaf = [node.name for node in remembering if node not in silent]
    cluster.network.cut([primary.name], deaf)
    scene.trade()

    def strike() -> None:
        for node in dying:
            node.forget()
            node.start()
        for node in silent:
            node.pause()
        cluster.network.heal()

    plot.later(random.randrange(cluster.shard.shape.suspicion_time_ns), strike)
    return plot.mend(start_again(dying), wake(silent))


def die_within_a_group(scene: Scene) -> Mend | None:
    """The next packet of a primary that breaks off in the middle of a group is its last one."""
    node = scene.cluster.primary
    if node is None or not scene.may_forget(node):
        return None
    node.dies_within_group = True
    return partial(_bring_back, node)


def _bring_back(node: ReplicaNode) -> None:
    node.dies_within_group = False
    start_again([node])()


def strand_orders(scene: Scene) -> Mend | None:
    """A gateway's orders are stuck on their way to the primary while its clients go elsewhere, or
    start again and know nothing of them, and trade on; then they arrive."""
    cluster, random = scene.cluster, scene.random
    gateway = scene.one_of(cluster.gateways)
    if gateway is None:
        return None
    plot = Plot(scene)
    ways = random.choice(("out", "out", "both"))
    cluster.cut(gateway.name, list(cluster.replicas), ways=ways)
    scene.trade()
    leaves_ns = random.randint(1, 30) * MILLISECOND_NS
    for client in cluster.clients.values():
        restart = partial(_restart, client)
        plot.later(leaves_ns, random.choice((client.move, client.vanish_connection, restart)))
    plot.later(leaves_ns, scene.trade)
    plot.later(leaves_ns + random.randint(1, 60) * MILLISECOND_NS, cluster.network.heal)
    return plot.mend(cluster.network.heal)


def _restart(client: ClientNode) -> None:
    client.kill()
    client.start()


PLOTS = (
    Fault("two lists", 4, two_lists),
    Fault("thin majority", 3, thin_majority),
    Fault("takeover among the forgetful", 2, forgetful_takeover),
    Fault("death within a group", 3, die_within_a_group),
    Fault("stranded orders", 4, strand_orders),
)
