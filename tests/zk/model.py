"""ZooKeeper's model without its time, and processes that are driven by hand against it.

Requests, answers and watch events wait until the test lets them on, and may be lost with the
connection.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.simulation.zookeeper_tree import Connection, History, State
from zk.nodes import ShardNodes
from zk.presence import Identity, Presence

SHARD = ShardNodes.of("/lockstep", "DEMO", 0)
RETURN_TIME_NS = 2_000_000_000


class ModelZooKeeper(History):
    """The ensemble, and the time of the processes that are driven against it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    def forget(self) -> None:
        """Start anew with nothing; connections have to be dropped before."""
        self.sessions.clear()
        self.newest = State(0, {})


@dataclass
class Process:
    """A process whose `Presence` talks to the model."""

    zookeeper: ModelZooKeeper
    name: str
    role: str = "replica"
    started_ns: int = 1
    operations: int = 0
    grants: list[int] = field(default_factory=list)  # what it was granted, in order
    connection: Connection | None = None
    session: int | None = None

    def __post_init__(self) -> None:
        commands = f"{self.name}:1" if self.role == "replica" else None
        identity = Identity(self.name, self.role, True, commands, self.started_ns)
        self.presence = Presence(SHARD, identity, return_time_ns=RETURN_TIME_NS)

    def connect(self) -> None:
        """Connect with the session that it has, if that is still alive."""
        assert self.connection is None
        if self.session not in self.zookeeper.sessions:
            self.session = self.zookeeper.new_session()
        assert self.session is not None
        self.connection = Connection(self.zookeeper, self.session)
        self.presence.on_connected(self.session)
        self.go_on()

    def disconnect(self, *, done: int = 0) -> None:
        """Lose the connection, when `done` of the requests under way were carried out."""
        if self.connection is not None:
            for _ in range(min(done, len(self.connection.requests))):
                self.connection.serve()
        self.connection = None
        self.presence.on_disconnected()
        self.go_on()

    def deliver(self) -> None:
        """Let the next answer or event arrive."""
        assert self.connection is not None
        reply = self.connection.replies.popleft()
        if isinstance(reply, str):
            self.presence.on_watch(reply)
        else:
            self.presence.on_answer(*reply, self.zookeeper.now_ns)
        self.go_on()

    def go_on(self) -> None:
        """Ask for what is to be asked for now; to be called after every change."""
        for operation in self.presence.take_operations(self.zookeeper.now_ns):
            assert self.connection is not None
            self.connection.requests.append(operation)
            self.operations += 1
        self.presence.check()
        granted = self.presence.known.granted
        if granted is not None and granted not in self.grants:
            assert self.presence.electable, "granted what it may not take"
            self.grants.append(granted)


def settle(processes: list[Process], *, connected: bool = True) -> None:
    """Let everything happen that will, pauses included; it has to come to an end."""
    if connected:
        for process in processes:
            if process.connection is None:
                process.connect()
    bound = sum(process.operations for process in processes) + 100 * len(processes)
    while True:
        for process in _busy(processes):
            connection = process.connection
            assert connection is not None
            while connection.lag:
                connection.catch_up()
            if connection.requests:
                connection.serve()
            elif connection.replies:
                process.deliver()
        assert sum(process.operations for process in processes) <= bound, "no end of operations"
        if any(True for _ in _busy(processes)):
            continue
        zookeeper = processes[0].zookeeper
        deadlines = [process.presence.deadline_ns(zookeeper.now_ns) for process in processes]
        due_ns = min((each for each in deadlines if each is not None), default=None)
        if due_ns is None:
            return
        wait(processes, due_ns - zookeeper.now_ns)


def wait(processes: list[Process], duration_ns: int) -> None:
    """Let time go by."""
    processes[0].zookeeper.now_ns += duration_ns
    for process in processes:
        process.go_on()


def _busy(processes: list[Process]) -> Iterator[Process]:
    for process in processes:
        connection = process.connection
        if connection is not None and (connection.requests or connection.replies or connection.lag):
            yield process
