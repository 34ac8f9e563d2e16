"""The order in which the simulated ensemble serves a client: writes, reads that lag, watches."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.simulation.zookeeper_shard import TIMEOUT_MS
from tools.simulation import zookeeper
from tools.simulation.network import Network, Process, Weather
from tools.simulation.world import MILLISECOND_NS
from tools.simulation.zookeeper import Ensemble
from tools.simulation.zookeeper_member import Link, Reply, SimulatedMember
from zk.nodes import ShardNodes
from zk.operations import (
    Children,
    Create,
    Delete,
    Node,
    Operation,
    Prepare,
    Read,
    ReadChildren,
    Request,
    SetData,
    Synchronize,
    Write,
)
from zk.presence import Identity, Presence

SEEDS = range(20)
NODE = "/number"


class Client(SimulatedMember):
    """Has no wishes, asks what the test wants, and keeps what comes in."""

    def __init__(self, ensemble: Ensemble, process: Process) -> None:
        identity = Identity(process.name, "gateway", False, None, 1)
        nodes = ShardNodes.of("/lockstep", "SIM", 1)
        presence = Presence(nodes, identity, return_time_ns=1)
        super().__init__(ensemble, process, presence, _ignore, shard=1)
        self.link: Link | None = None
        self.replies: list[Reply] = []
        self.numbers: list[int] = []  # what each read of the node has found
        self._ensemble = ensemble
        self._asked = 0
        ensemble.reconnect(self)

    def ask(self, *requests: Request) -> None:
        """Ask for these, one right after the other."""
        for request in requests:
            assert self.link is not None
            self._asked += 1
            self._ensemble.send(self.link, Operation(self._asked, request))

    def on_connected(self, link: Link) -> None:
        self.link, self.session = link, link.connection.session

    def give_up(self, link: Link) -> None:
        if link is self.link:
            self.link = None
            link.is_followed = False
            self._ensemble.reconnect(self)

    def on_reply(self, link: Link, reply: Reply, state: int) -> None:
        if link is not self.link:
            return
        self.replies.append(reply)
        if reply is None:
            self.give_up(link)
        elif isinstance(reply, tuple):
            self.seen = max(self.seen, state)
            if isinstance(reply[1], Node):
                self.numbers.append(int(reply[1].data))


@dataclass
class Scene:
    """Clients of one ensemble, and a node that counts up."""

    seed: int
    number: int = 0
    clients: dict[str, Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = Network(self.seed, Weather())
        self.ensemble = Ensemble(self.network, session_timeout_ns=TIMEOUT_MS * MILLISECOND_NS)
        for name in ("writer", "g1", "g2", "g3"):
            process = Process(self.network, name)
            process.start()
            self.clients[name] = Client(self.ensemble, process)
        self.run(200)
        self["writer"].ask(Prepare(((NODE, b"0"),)))
        self.run(500)

    def __getitem__(self, name: str) -> Client:
        return self.clients[name]

    def count_up(self) -> None:
        """The writer asks for the next number."""
        self["writer"].ask(Write((SetData(NODE, str(self.number + 1).encode(), self.number),)))
        self.number += 1

    def run(self, milliseconds: float) -> None:
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)


def _ignore() -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_come_in_the_order_of_the_requests_also_over_a_cut(seed: int) -> None:
    scene = Scene(seed)
    writer = scene["writer"]
    writer.replies.clear()
    first = writer._asked + 1
    for step in range(60):
        writer.process.reaches_zookeeper = step % 20 < 10
        scene.count_up()
        writer.ask(Read(NODE))
        scene.run(1)
    writer.process.reaches_zookeeper = True
    scene.run(500)
    answers = [reply for reply in writer.replies if isinstance(reply, tuple)]
    assert [number for number, _ in answers] == [*range(first, first + 120)]
    assert writer.numbers == [*range(1, 61)]  # who wrote reads what it wrote


@pytest.mark.parametrize("seed", SEEDS)
def test_a_watch_tells_of_a_change_before_any_later_read_shows_it(seed: int) -> None:
    scene = Scene(seed)
    reader = scene["g1"]
    reader.replies.clear()
    for _ in range(100):
        scene.count_up()
        reader.ask(Read(NODE), Read(NODE))
        scene.run(scene.network.random.choice((0, 1, 2, 8)))
    scene.run(500)
    reader.ask(Read(NODE))
    scene.run(50)
    known, has_told = None, False
    for reply in reader.replies:
        if reply == NODE:
            assert not has_told, "a watch tells once"
            has_told = True
        elif isinstance(reply, tuple):
            assert known in (None, reply[1]) or has_told
            known, has_told = reply[1], False
    assert reader.numbers[-1] == 100


def test_a_read_may_be_of_an_older_state_but_not_after_a_sync() -> None:
    lags: Counter[bool] = Counter()
    for seed in SEEDS:
        scene = Scene(seed)
        for _ in range(20):
            scene.count_up()
            scene.run(7)  # it is answered by now
            scene["g1"].ask(Read(NODE))
            scene["g2"].ask(Synchronize(NODE), Read(NODE))
            scene.run(14)
            lags[scene["g1"].numbers[-1] < scene.number] += 1
            assert scene["g2"].numbers[-1] == scene.number
    assert lags[True] > 5
    assert lags[False] > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_sees_an_older_state_than_before_on_whichever_server(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zookeeper, "LONG_LAG_SHARE", 0.5)
    monkeypatch.setattr(zookeeper, "LONGEST_LAG_NS", 400 * MILLISECOND_NS)
    scene = Scene(seed)
    readers = ("g1", "g2", "g3")
    sessions = [scene[name].session for name in readers]
    for _ in range(300):
        scene.count_up()
        for name in readers:
            if scene[name].link is not None:
                scene[name].ask(Read(NODE))
        if scene.network.random.random() < 0.1:
            scene.ensemble.drop_connection("g1")
        scene.run(3)
    for name in readers:
        assert scene[name].numbers == sorted(scene[name].numbers)
    assert scene["g1"].replies.count(None) > 5
    assert [scene[name].session for name in readers] == sessions


def test_what_a_client_has_given_up_may_be_done_but_not_once_it_has_another_connection() -> None:
    outcomes: Counter[bool] = Counter()
    for seed in range(40):
        scene = Scene(seed)
        writer = scene["writer"]
        writer.process.reaches_zookeeper = False
        scene.count_up()
        while writer.link is not None:
            scene.run(1)
        writer.process.reaches_zookeeper = True
        while writer.link is None:
            scene.run(0.1)
        writer.ask(Synchronize(NODE), Read(NODE))
        scene.run(200)
        writer.ask(Synchronize(NODE), Read(NODE))
        scene.run(200)
        before, after = writer.numbers
        assert before == after
        outcomes[bool(after)] += 1
    assert outcomes[True] > 5
    assert outcomes[False] > 5


def test_a_new_client_may_begin_at_a_server_that_is_behind() -> None:
    behind = 0
    for seed in range(60):
        scene = Scene(seed)
        for each in range(10):
            process = Process(scene.network, f"n{each}")
            process.start()
            newcomer = scene.clients[process.name] = Client(scene.ensemble, process)
            while newcomer.link is None:
                scene.count_up()
                scene.run(1)
            behind += newcomer.link.connection.lag > 1
    assert behind > 10


def test_children_are_listed_first_and_read_later() -> None:
    """So what is told of them need not have been so at any one time, as with kazoo."""
    found = set()
    for seed in range(60):
        scene = Scene(seed)
        scene["writer"].ask(Prepare((("/all", b""),)), Write((Create("/all/a", b"old"),)))
        scene.run(500)
        scene["g1"].ask(ReadChildren("/all"))
        scene["writer"].ask(
            Write((Delete("/all/a"), Create("/all/a", b"new"), Create("/all/b", b"")))
        )
        scene.run(500)
        told = [reply[1] for reply in scene["g1"].replies if isinstance(reply, tuple)][-1]
        assert isinstance(told, Children)
        data = tuple((name, node.data) for name, node in told.nodes.items())
        found.add(data)
        if data != (("a", b"new"), ("b", b"")):
            assert "/all" in scene["g1"].replies  # it is told to look again
    assert found == {(("a", b"old"),), (("a", b"new"),), (("a", b"new"), ("b", b""))}
