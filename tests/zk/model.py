"""A small model of ZooKeeper, and processes that are driven by hand against it.

A history of states, each a whole tree. A connection is served from one of them, never an older one
than before; what it writes goes to the newest one. Requests, answers and watch events wait until
the test lets them on, and may be lost with the connection.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from zk.nodes import ShardNodes
from zk.operations import (
    Answer,
    Change,
    CheckVersion,
    Children,
    Create,
    Delete,
    Failure,
    Names,
    Node,
    Operation,
    Prepare,
    Read,
    ReadChildren,
    ReadNames,
    Request,
    SetData,
    Synchronize,
    Write,
)
from zk.presence import Identity, Presence

SHARD = ShardNodes.of("/lockstep", "DEMO", 0)
RETURN_TIME_NS = 2_000_000_000

Tree = dict[str, Node]


class ModelZooKeeper:
    """The ensemble: the states that it has been through, and the sessions that live."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.history: list[Tree] = [{}]
        self.sessions: set[int] = set()
        self._session = 0
        self._created = 0

    @property
    def tree(self) -> Tree:
        """The newest state."""
        return self.history[-1]

    def new_session(self) -> int:
        self._session += 1
        self.sessions.add(self._session)
        return self._session

    def expire(self, session: int) -> None:
        """End a session, and all its nodes with it."""
        self.sessions.discard(session)
        self.history.append(
            {path: node for path, node in self.tree.items() if node.owner != session}
        )

    def forget(self) -> None:
        """Start anew with nothing; connections have to be dropped before."""
        self.sessions.clear()
        self.history = [{}]

    def names(self, tree: Tree, path: str) -> frozenset[str]:
        return frozenset(each.rpartition("/")[2] for each in tree if _parent(each) == path)

    def write(self, changes: tuple[Change, ...], session: int) -> Failure | None:
        tree = dict(self.tree)
        for change in changes:
            failure = self._apply(tree, change, session)
            if failure is not None:
                return failure
        self.history.append(tree)
        return None

    def prepare(self, nodes: tuple[tuple[str, bytes], ...]) -> None:
        tree = dict(self.tree)
        for path, data in nodes:
            if path not in tree:
                tree[path] = self._node(data, 0)
        self.history.append(tree)

    def _apply(self, tree: Tree, change: Change, session: int) -> Failure | None:
        path = change.path
        if isinstance(change, Create):
            if path in tree:
                return Failure.NODE_EXISTS
            if _parent(path) not in tree:
                return Failure.NO_NODE
            tree[path] = self._node(change.data, session)
            return None
        if path not in tree:
            return Failure.NO_NODE
        if isinstance(change, Delete):
            del tree[path]
            return None
        assert isinstance(change, SetData | CheckVersion)
        if tree[path].version != change.version:
            return Failure.BAD_VERSION
        if isinstance(change, SetData):
            tree[path] = tree[path]._replace(data=change.data, version=change.version + 1)
        return None

    def _node(self, data: bytes, owner: int) -> Node:
        self._created += 1
        return Node(data, 0, owner, (self._created, 0))


class Connection:
    """One client's connection, to a server that may lag behind."""

    def __init__(self, zookeeper: ModelZooKeeper, session: int) -> None:
        self.session = session
        self.requests: deque[Operation] = deque()
        self.replies: deque[tuple[int, Answer] | str] = deque()  # an answer, or a path that changed
        self._zookeeper = zookeeper
        self._position = len(zookeeper.history) - 1
        self._watched_nodes: set[str] = set()
        self._watched_names: set[str] = set()

    @property
    def lag(self) -> int:
        """How many states this server is behind."""
        return len(self._zookeeper.history) - 1 - self._position

    def catch_up(self) -> None:
        """Let the server see one state more, if there is one."""
        if not self.lag:
            return
        before = self._zookeeper.history[self._position]
        self._position += 1
        after = self._zookeeper.history[self._position]
        for path in sorted(self._watched_nodes):
            if before.get(path) != after.get(path):
                self._watched_nodes.discard(path)
                self.replies.append(path)
        for path in sorted(self._watched_names):
            if _children(before, path) != _children(after, path) or path not in after:
                self._watched_names.discard(path)
                self.replies.append(path)

    def serve(self) -> None:
        """Let the server carry out the next request."""
        number, request = self.requests.popleft()
        self.replies.append((number, self._outcome(request)))

    def _outcome(self, request: Request) -> Answer:
        zookeeper = self._zookeeper
        if isinstance(request, Write | Prepare | Synchronize):
            if self.session not in zookeeper.sessions:
                return Failure.UNKNOWN
            failure = None
            self._catch_up_wholly()
            if isinstance(request, Write):
                failure = zookeeper.write(request.changes, self.session)
            elif isinstance(request, Prepare):
                zookeeper.prepare(request.nodes)
            self._catch_up_wholly()
            return failure
        tree, path = zookeeper.history[self._position], request.path
        if isinstance(request, Read):
            self._watched_nodes.add(path)
            return tree.get(path, Failure.NO_NODE)
        if path not in tree:
            return Failure.NO_NODE
        if isinstance(request, ReadChildren) or request.is_watched:
            self._watched_names.add(path)
        names = zookeeper.names(tree, path)
        if isinstance(request, ReadNames):
            return Names(names)
        return Children({name: tree[f"{path}/{name}"] for name in names})

    def _catch_up_wholly(self) -> None:
        while self.lag:
            self.catch_up()


def _children(tree: Tree, path: str) -> set[tuple[str, tuple[int, int]]]:
    """A child that is replaced in one transaction is another one, as for ZooKeeper's watches."""
    return {(each, node.created) for each, node in tree.items() if _parent(each) == path}


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


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
