"""A shard on the model of ZooKeeper, and what its tests do to it and ask about it."""

from tests.zk.model import SHARD, ModelZooKeeper, Process, settle
from zk.nodes import decode_epoch, decode_primary
from zk.operations import SetData, Write

ROLES = {
    "e1": "replica",
    "e2": "replica",
    "e3": "replica",
    "r1": "retransmitter",
    "r2": "retransmitter",
}
Shard = dict[str, Process]


def new_shard(zookeeper: ModelZooKeeper) -> Shard:
    """Five holders that are connected; e1 reigns in epoch 1, and e2 and e3 may be elected."""
    shard = {name: Process(zookeeper, name, role) for name, role in ROLES.items()}
    set_electable(shard["e1"], True)
    settle_all(shard)
    set_electable(shard["e2"], True)
    set_electable(shard["e3"], True)
    settle_all(shard)
    assert reigns(shard) == {"e1": 1}
    return shard


def settle_all(shard: Shard) -> None:
    settle(list(shard.values()))


def settle_one(process: Process) -> None:
    """Let one process talk to ZooKeeper, while time stands still."""
    connection = process.connection
    assert connection is not None
    while connection.requests or connection.replies or connection.lag:
        connection.catch_up()
        if connection.requests:
            connection.serve()
        elif connection.replies:
            process.deliver()


def set_electable(process: Process, electable: bool) -> None:
    process.presence.electable = electable
    process.go_on()


def suspect(shard: Shard, epoch: int, *names: str) -> None:
    for name in names:
        shard[name].presence.suspect(epoch)
        shard[name].go_on()


def reigns(shard: Shard) -> dict[str, int]:
    """Who believes to reign, in which epoch."""
    granted = {name: process.presence.known.granted for name, process in shard.items()}
    return {name: epoch for name, epoch in granted.items() if epoch is not None}


def epoch_of(zookeeper: ModelZooKeeper) -> int:
    return decode_epoch(zookeeper.tree[SHARD.epoch].data)


def primary_of(zookeeper: ModelZooKeeper) -> str | None:
    node = zookeeper.tree.get(SHARD.primary)
    record = None if node is None else decode_primary(node.data)
    return None if record is None else record.name


def suspicions_of(zookeeper: ModelZooKeeper) -> set[str]:
    return set(zookeeper.names(zookeeper.tree, SHARD.suspicions))


def lose_session(zookeeper: ModelZooKeeper, process: Process) -> None:
    process.disconnect()
    assert process.session is not None
    zookeeper.expire(process.session)


def takeovers_asked_for(process: Process) -> int:
    """How many transactions of this process that take an epoch have not been carried out yet."""
    assert process.connection is not None
    return sum(
        isinstance(request, Write)
        and any(isinstance(change, SetData) for change in request.changes)
        for _, request in process.connection.requests
    )
