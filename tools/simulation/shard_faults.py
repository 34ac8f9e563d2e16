"""Faults that befall one shard of several, or come to pass between them."""

from functools import partial

from tools.simulation.scene import Fault, Mend, Plot, Scene, nothing
from tools.simulation.world import MILLISECOND_NS


def cut_off_shard(scene: Scene) -> Mend:
    """All of a shard loses all gateways, one way or both."""
    cluster, random = scene.cluster, scene.random
    ways = random.choice(("both", "both", "out", "in"))
    for gateway in cluster.gateways:
        cluster.cut(gateway, list(cluster.holders), ways=ways)
    return cluster.network.heal


def fall_behind(scene: Scene) -> Mend | None:
    """A gateway hears nothing of one shard's list for a while, and all of the others."""
    cluster = scene.cluster
    gateway = scene.one_of(cluster.gateways)
    if gateway is None:
        return None
    names = list(cluster.holders)
    cluster.network.cut(names, [gateway.name])
    scene.trade()
    return partial(cluster.network.join, names, [gateway.name])


def fall_behind_by_turns(scene: Scene) -> Mend | None:
    """The same, for one gateway after the other, while clients go from one to the next."""
    cluster, random = scene.cluster, scene.random
    gateways = random.sample(list(cluster.gateways), len(cluster.gateways))
    if not gateways:
        return None
    plot, names = Plot(scene), list(cluster.holders)
    pause_ns = random.randint(2, 60) * MILLISECOND_NS
    for turn, gateway in enumerate(gateways):
        plot.later(turn * pause_ns, partial(cluster.network.cut, names, [gateway]))
        plot.later(turn * pause_ns, scene.trade)
        plot.later((turn + 1) * pause_ns, partial(cluster.network.join, names, [gateway]))
        for client in cluster.clients.values():
            plot.later(turn * pause_ns + pause_ns // 2, random.choice((client.move, nothing)))
    return plot.mend(cluster.network.heal)


def strand_log_ins(scene: Scene) -> Mend | None:
    """Log-ins of a gateway are stuck on their way to a shard while clients go from gateway to
    gateway; then they arrive."""
    cluster, random = scene.cluster, scene.random
    gateway = scene.one_of(cluster.gateways)
    if gateway is None:
        return None
    plot = Plot(scene)
    cluster.cut(gateway.name, list(cluster.replicas), ways="out")
    for client in cluster.clients.values():
        for _ in range(random.randint(2, 4)):
            plot.later(random.randint(1, 200) * MILLISECOND_NS, client.move)
    plot.later(random.randint(100, 300) * MILLISECOND_NS, cluster.network.heal)
    plot.later(random.randint(1, 250) * MILLISECOND_NS, scene.trade)
    return plot.mend(cluster.network.heal)


def kill_home(scene: Scene) -> Mend | None:
    """The primary of a shard dies as it is about to tell its holders something."""
    primary = scene.cluster.primary
    if primary is None or not scene.may_forget(primary):
        return None
    scene.trade()
    primary.kill()
    primary.start()
    return nothing


def move_symbol(scene: Scene) -> Mend | None:
    """A symbol moves to another shard while it is traded, perhaps several times."""
    cluster, random, operator = scene.cluster, scene.random, scene.operator
    if operator is None:
        return None
    plot = Plot(scene)

    def move() -> None:
        directory = cluster.places.directory
        symbol = random.choice(sorted(directory.symbols))
        scene.trade()
        operator.move(symbol, random.choice(directory.shards))

    for turn in range(random.randint(1, 4)):
        plot.later(turn * random.randint(1, 100) * MILLISECOND_NS, move)
    return plot.mend()


def move_out_of_sight(scene: Scene) -> Mend | None:
    """A symbol leaves another shard while gateways hear nothing of this one: its clients are not
    told what became of their orders there, and send them again when they are let in anew."""
    cluster, random, operator = scene.cluster, scene.random, scene.operator
    directory, here = cluster.places.directory, cluster.shard.number
    elsewhere = [each for each in sorted(directory.symbols) if directory.shard_of(each) != here]
    if operator is None or not elsewhere or here not in directory.shards:
        return None
    plot, symbol = Plot(scene), random.choice(elsewhere)

    def move() -> None:
        operator.move(symbol, here)

    for gateway in cluster.gateways:
        cluster.cut(gateway, list(cluster.holders))
    moves_ns = random.randint(5, 60) * MILLISECOND_NS
    for client in cluster.clients.values():
        client.enter([symbol] * random.randint(1, 3))
        plot.later(moves_ns // 2, partial(client.enter, [symbol] * random.randint(1, 3)))
        plot.later(moves_ns + random.randint(1, 200) * MILLISECOND_NS, client.move)
    plot.later(moves_ns, move)
    plot.later(moves_ns + random.randint(100, 400) * MILLISECOND_NS, cluster.network.heal)
    return plot.mend(cluster.network.heal)


def begin_day(scene: Scene) -> Mend | None:
    """A day begins in one shard after the other."""
    scene.trade()
    if scene.operator is None or not scene.operator.begin_day():
        return None
    return nothing


SHARD_FAULTS = (
    Fault("shard cut off", 4, cut_off_shard),
    Fault("gateway behind in one list", 4, fall_behind),
    Fault("gateways behind by turns", 3, fall_behind_by_turns),
    Fault("new day", 6, begin_day),
    Fault("stranded log-ins", 4, strand_log_ins),
    Fault("primary of a home killed", 2, kill_home),
    Fault("symbol moved", 8, move_symbol),
    Fault("symbol moved out of sight", 4, move_out_of_sight),
)
