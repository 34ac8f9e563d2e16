"""Faults that befall gateways and their clients."""

from tools.simulation.scene import Fault, Mend, Scene, nothing, start_again


def kill_gateway(scene: Scene) -> Mend | None:
    """A gateway dies with orders in flight; later, or at once, it starts with nothing."""
    node = scene.one_of(scene.cluster.gateways)
    if node is None:
        return None
    if scene.random.random() < 0.3:
        node.vanish()
    else:
        node.kill()
    if scene.random.random() < 0.3:
        node.start()
    return start_again([node])


def gateway_dies_while_sending(scene: Scene) -> Mend | None:
    """A gateway dies between two things that it sends."""
    node = scene.one_of(scene.cluster.gateways)
    if node is None:
        return None
    node.sends_to_live = scene.random.randint(0, 20)
    return start_again([node])


def pause_gateway(scene: Scene) -> Mend | None:
    """A gateway stops, and goes on later with what it believed."""
    node = scene.one_of(scene.cluster.gateways)
    if node is None:
        return None
    node.pause()
    return node.unpause


def cut_gateway(scene: Scene) -> Mend | None:
    """A gateway loses the feed, its primary or its clients, one way or both."""
    cluster, random = scene.cluster, scene.random
    node = scene.one_of(cluster.gateways)
    if node is None:
        return None
    others = list(random.choice((cluster.holders, cluster.clients, cluster.retransmitters)))
    cluster.cut(node.name, others or None, ways=random.choice(("both", "out", "in")))
    return cluster.network.heal


def drop_client(scene: Scene) -> Mend | None:
    """A client's connection breaks."""
    node = scene.one_of(scene.cluster.clients)
    if node is None:
        return None
    node.drop_connection()
    return nothing


def vanish_client(scene: Scene) -> Mend | None:
    """A client's connection is dead and its gateway is not told; it connects elsewhere."""
    node = scene.one_of(scene.cluster.clients)
    if node is None:
        return None
    node.vanish_connection()
    return nothing


def restart_client(scene: Scene) -> Mend | None:
    """A client's program starts again, and knows nothing but its name and secret."""
    node = scene.one_of(scene.cluster.clients)
    if node is None:
        return None
    node.kill()
    node.start()
    return nothing


def rival_client(scene: Scene) -> Mend | None:
    """Somebody logs in with a client's name and secret, from elsewhere, for a while."""
    node = scene.one_of(scene.cluster.clients)
    if node is None:
        return None
    node.rival()
    return nothing


CLIENT_FAULTS = (
    Fault("gateway killed", 3, kill_gateway),
    Fault("gateway dies while sending", 2, gateway_dies_while_sending),
    Fault("gateway paused", 2, pause_gateway),
    Fault("gateway cut off", 2, cut_gateway),
    Fault("client's connection broken", 2, drop_client),
    Fault("client's connection dead", 2, vanish_client),
    Fault("client's program restarted", 2, restart_client),
    Fault("client's rival", 1, rival_client),
)
