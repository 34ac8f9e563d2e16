"""Whatever happens, in whatever order: an epoch is granted once, and all come to agree."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from tests.zk.model import SHARD, ModelZooKeeper, Process, settle, wait
from zk.nodes import decode_epoch, decode_primary

ROLES = {
    "e1": "replica",
    "e2": "replica",
    "e3": "replica",
    "r1": "retransmitter",
    "r2": "retransmitter",
}
names = st.sampled_from(sorted(ROLES))
replicas = st.sampled_from([name for name, role in sorted(ROLES.items()) if role == "replica"])


class Shard(RuleBasedStateMachine):
    """Five processes and a ZooKeeper, with every order of events and every loss."""

    def __init__(self) -> None:
        super().__init__()
        self.zookeeper = ModelZooKeeper()
        self.started_ns = 0
        self.processes = {name: self.new_process(name) for name in sorted(ROLES)}
        self.ended: list[Process] = []
        self.newest = 0
        self.epochs: dict[str, int] = {}

    def new_process(self, name: str) -> Process:
        self.started_ns += 1
        return Process(self.zookeeper, name, ROLES[name], self.started_ns)

    @initialize(is_running=st.booleans())
    def start(self, is_running: bool) -> None:
        """Begin with nothing, or in the middle of a day."""
        if is_running:
            for name, process in self.processes.items():
                process.presence.electable = ROLES[name] == "replica"
            settle(list(self.processes.values()))

    @rule(name=names)
    def connect(self, name: str) -> None:
        if self.processes[name].connection is None:
            self.processes[name].connect()

    @rule(name=names, done=st.integers(0, 8))
    def lose_the_connection(self, name: str, done: int) -> None:
        self.processes[name].disconnect(done=done)

    @rule(name=names, done=st.integers(0, 8))
    def lose_the_session(self, name: str, done: int) -> None:
        process = self.processes[name]
        process.disconnect(done=done)
        if process.session is not None:
            self.zookeeper.expire(process.session)

    @rule(name=names, done=st.integers(0, 8), is_dead=st.booleans())
    def restart(self, name: str, done: int, is_dead: bool) -> None:
        """Its session lives on for a while; and it does itself, when it was only paused."""
        if is_dead:
            self.processes[name].disconnect(done=done)
        self.ended.append(self.processes[name])
        self.processes[name] = self.new_process(name)
        self.epochs.pop(name, None)

    @rule(name=names, count=st.integers(1, 5))
    def serve(self, name: str, count: int) -> None:
        connection = self.processes[name].connection
        while connection is not None and connection.requests and count:
            connection.serve()
            count -= 1

    @rule(name=names, count=st.integers(1, 5))
    def deliver(self, name: str, count: int) -> None:
        process = self.processes[name]
        while process.connection is not None and process.connection.replies and count:
            process.deliver()
            count -= 1

    @rule(name=names)
    def catch_up(self, name: str) -> None:
        connection = self.processes[name].connection
        if connection is not None:
            connection.catch_up()

    @rule()
    def settle_those_that_are_connected(self) -> None:
        settle([*self.processes.values(), *self.ended], connected=False)

    @rule(name=replicas, electable=st.booleans())
    def set_electable(self, name: str, electable: bool) -> None:
        self.processes[name].presence.electable = electable
        self.processes[name].go_on()

    @rule(name=names)
    def suspect(self, name: str) -> None:
        presence = self.processes[name].presence
        epoch = presence.known.epoch
        if epoch is not None and presence.known.granted is None:
            presence.suspect(epoch)
            self.processes[name].go_on()

    @rule(name=names)
    def withdraw(self, name: str) -> None:
        self.processes[name].presence.withdraw()
        self.processes[name].go_on()

    @rule(name=names)
    def yield_epoch(self, name: str) -> None:
        self.processes[name].presence.yield_epoch()
        self.processes[name].go_on()

    @rule(name=names)
    def see_the_feed(self, name: str) -> None:
        self.processes[name].presence.observe_epoch(self.newest)
        self.processes[name].go_on()

    @rule(milliseconds=st.sampled_from([1, 60, 200, 3000]))
    def let_time_go_by(self, milliseconds: int) -> None:
        wait(list(self.processes.values()), milliseconds * 1_000_000)

    @invariant()
    def an_epoch_is_granted_once_and_epochs_only_grow(self) -> None:
        grants = [
            epoch for process in (*self.processes.values(), *self.ended) for epoch in process.grants
        ]
        assert len(grants) == len(set(grants)), f"granted twice: {sorted(grants)}"
        node = self.zookeeper.tree.get(SHARD.epoch)
        epoch = 0 if node is None else decode_epoch(node.data)
        assert epoch >= max([*grants, self.newest])
        self.newest = epoch
        for name, process in self.processes.items():
            known = process.presence.known.epoch
            if known is not None:
                assert self.epochs.get(name, 0) <= known <= epoch
                self.epochs[name] = known

    def teardown(self) -> None:
        """All come to the same conclusion once ZooKeeper is there and time goes on."""
        for process in self.ended:
            process.disconnect()
            if process.session is not None:
                self.zookeeper.expire(process.session)
        processes = list(self.processes.values())
        settle(processes)
        tree = self.zookeeper.tree
        epoch = decode_epoch(tree[SHARD.epoch].data)
        members = self.zookeeper.names(tree, SHARD.members)
        assert members == set(ROLES)
        primary = tree.get(SHARD.primary)
        record = None if primary is None else decode_primary(primary.data)
        for process in processes:
            known = process.presence.known
            assert (known.epoch, known.primary) == (epoch, record)
            assert tree[SHARD.member(process.name)].owner == process.session
            if known.granted is not None:
                assert known.granted == epoch
                assert record is not None
                assert record.name == process.name
        reigning = [process for process in processes if process.presence.known.granted]
        assert len(reigning) == (record is not None)
        if record is None:
            assert not any(process.presence.electable for process in processes)
        for path in tree:
            assert not path.startswith(f"{SHARD.suspicions}/") or path.startswith(
                f"{SHARD.suspicions}/{epoch}-"
            )


TestShard = Shard.TestCase
TestShard.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("seed", range(8))
def test_an_epoch_is_granted_once_in_a_long_random_walk(seed: int) -> None:
    """Further from the start than the search for the shortest failure gets."""
    for walk in range(15):
        random = Random(f"{seed}/{walk}")
        shard = Shard()
        shard.start(is_running=random.random() < 0.8)
        for _ in range(150):
            take_step(shard, random)
            shard.an_epoch_is_granted_once_and_epochs_only_grow()
        shard.teardown()


def take_step(shard: Shard, random: Random) -> None:
    name = random.choice(sorted(ROLES))
    replica = random.choice([name for name, role in sorted(ROLES.items()) if role == "replica"])
    done = random.randint(0, 8)
    count = random.randint(1, 5)
    steps: list[tuple[int, Callable[[], None]]] = [
        (6, lambda: shard.connect(name)),
        (3, lambda: shard.lose_the_connection(name, done)),
        (2, lambda: shard.lose_the_session(name, done)),
        (2, lambda: shard.restart(name, done, random.random() < 0.7)),
        (25, lambda: shard.serve(name, count)),
        (25, lambda: shard.deliver(name, count)),
        (7, lambda: shard.catch_up(name)),
        (2, shard.settle_those_that_are_connected),
        (7, lambda: shard.set_electable(replica, random.random() < 0.9)),
        (11, lambda: shard.suspect(name)),
        (3, lambda: shard.withdraw(name)),
        (1, lambda: shard.yield_epoch(name)),
        (3, lambda: shard.see_the_feed(name)),
        (3, lambda: shard.let_time_go_by(random.choice([1, 60, 200, 3000]))),
    ]
    weights = [weight for weight, _ in steps]
    random.choices([step for _, step in steps], weights)[0]()
