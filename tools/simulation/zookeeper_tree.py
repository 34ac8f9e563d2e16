"""What a ZooKeeper ensemble keeps, and how its servers serve it: a model that knows no time.

A chain of states, each a whole tree. A connection is served from one of them, never an older one
than before; what it writes goes to the newest one. A state knows only the one after it: those that
no connection is at any more are gone.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

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
    Request,
    SetData,
    Synchronize,
    Write,
)

Tree = dict[str, Node]


@dataclass(slots=True, eq=False, weakref_slot=True)
class State:
    """One state of the tree."""

    number: int
    tree: Tree = field(repr=False)
    changed: tuple[str, ...] = ()  # the paths of nodes that are not as in the state before
    parents: tuple[str, ...] = ()  # of nodes that came, went, or were replaced by others
    next: "State | None" = field(default=None, repr=False)


class ReadEach(NamedTuple):
    """Read these children of a node, now that they are listed. Answer: Children."""

    path: str
    names: tuple[str, ...]


class FollowUp(NamedTuple):
    """What a client asks for after a part of the answer; its number is the operation's."""

    number: int
    request: ReadEach


class History:
    """The newest state of the tree, and the sessions that live."""

    def __init__(self) -> None:
        self.newest = State(0, {})
        self.sessions: set[int] = set()
        self._session = 0
        self._created = 0

    @property
    def tree(self) -> Tree:
        """The newest state's."""
        return self.newest.tree

    def new_session(self) -> int:
        """The number of a session that begins."""
        self._session += 1
        self.sessions.add(self._session)
        return self._session

    def expire(self, session: int) -> None:
        """End a session, and all its nodes with it."""
        self.sessions.discard(session)
        self.append({path: node for path, node in self.tree.items() if node.owner != session})

    def append(self, tree: Tree) -> None:
        """The tree becomes this; there is no new state when it was so before."""
        before = self.tree
        changed = [
            path
            for path in sorted(before.keys() | tree.keys())
            if before.get(path) != tree.get(path)
        ]
        if not changed:
            return
        moved = (path for path in changed if _created(before, path) != _created(tree, path))
        parents = sorted({_parent(path) for path in moved})
        state = State(self.newest.number + 1, tree, tuple(changed), tuple(parents))
        self.newest.next = state
        self.newest = state

    def write(self, changes: Iterable[Change], session: int) -> Failure | None:
        """Make all of these changes, or none of them when one fails."""
        tree = dict(self.tree)
        for change in changes:
            failure = self._apply(tree, change, session)
            if failure is not None:
                return failure
        self.append(tree)
        return None

    def prepare(self, nodes: Iterable[tuple[str, bytes]]) -> None:
        """Create the persistent nodes that are missing, one after the other."""
        for path, data in nodes:
            if path not in self.tree:
                self.append({**self.tree, path: self._node(data, 0)})

    def names(self, tree: Tree, path: str) -> frozenset[str]:
        """The names of a node's children."""
        return frozenset(each.rpartition("/")[2] for each in tree if _parent(each) == path)

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

    def __init__(self, history: History, session: int, state: State | None = None) -> None:
        """`state` is where the server is; the newest one, unless it is given."""
        self.session = session
        self.state = history.newest if state is None else state
        self.requests: deque[Operation | FollowUp] = deque()
        self.replies: deque[tuple[int, Answer] | str] = deque()  # an answer, or a path that changed
        self._history = history
        self._watched_nodes: set[str] = set()
        self._watched_names: set[str] = set()

    @property
    def lag(self) -> int:
        """How many states this server is behind."""
        return self._history.newest.number - self.state.number

    def catch_up(self) -> None:
        """Let the server see one state more, if there is one."""
        state = self.state.next
        if state is None:
            return
        self.state = state
        for path in state.changed:
            if path in self._watched_nodes:
                self._watched_nodes.discard(path)
                self.replies.append(path)
        gone = [path for path in state.changed if path not in state.tree]
        for path in sorted({*state.parents, *gone}):
            if path in self._watched_names:
                self._watched_names.discard(path)
                self.replies.append(path)

    def close(self) -> None:
        """Serve nothing any more, and keep no state alive, though somebody keeps this."""
        self.requests.clear()
        self.state = State(self.state.number, {})

    def serve(self) -> None:
        """Let the server carry out the next request.

        Children are listed first. That they are read then is another request of the client, once it
        has the list; so it comes after those that were there already.
        """
        number, request = self.requests.popleft()
        if isinstance(request, ReadEach):
            self.replies.append((number, self._children(request)))
            return
        outcome = self._outcome(request)
        if isinstance(request, ReadChildren) and isinstance(outcome, Names):
            if outcome.names:
                rest = ReadEach(request.path, tuple(sorted(outcome.names)))
                self.requests.append(FollowUp(number, rest))
                return
            outcome = Children({})
        self.replies.append((number, outcome))

    def _outcome(self, request: Request) -> Answer:
        history = self._history
        if isinstance(request, Write | Prepare | Synchronize):
            if self.session not in history.sessions:
                return Failure.UNKNOWN
            failure = None
            self._catch_up_wholly()
            if isinstance(request, Write):
                failure = history.write(request.changes, self.session)
            elif isinstance(request, Prepare):
                history.prepare(request.nodes)
            self._catch_up_wholly()
            return failure
        tree, path = self.state.tree, request.path
        if isinstance(request, Read):
            self._watched_nodes.add(path)
            return tree.get(path, Failure.NO_NODE)
        if path not in tree:
            return Failure.NO_NODE
        if isinstance(request, ReadChildren) or request.is_watched:
            self._watched_names.add(path)
        return Names(history.names(tree, path))

    def _children(self, request: ReadEach) -> Children:
        paths = {name: f"{request.path}/{name}" for name in request.names}
        tree = self.state.tree
        return Children({name: tree[path] for name, path in paths.items() if path in tree})

    def _catch_up_wholly(self) -> None:
        while self.lag:
            self.catch_up()


def _created(tree: Tree, path: str) -> tuple[int, int] | None:
    """When a node was made: one that is replaced in one transaction is another one."""
    node = tree.get(path)
    return None if node is None else node.created


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
