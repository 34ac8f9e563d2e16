"""The tree of nodes that ZooKeeper is about: sans-I/O, in memory, each change whole or not at all.

Rules and refusals are those of Apache's server; where two apply, so is their order.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from zk.jute import ANY_VERSION, OPEN_ACL, CreateFlag, ErrorCode, EventType

LARGEST_TREE_BYTES = 64 << 20  # far more than any exchange writes, far less than a laptop has
_NODE_BYTES = 500  # about what a node takes that has no data
_ROOT = "/"
_OWN_PATHS = (_ROOT, "/zookeeper", "/zookeeper/config", "/zookeeper/quota")  # as Apache has them
# What a path may not have, by Apache's rule: control characters, private ones, and all for which
# Java needs two units.
_BAD_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")
_EMPTY_OR_RELATIVE = ("", ".", "..")
_FLAGS_NOT_OFFERED = (4, 5, 6)  # containers, and nodes that live for a time


class RefusedError(Exception):
    """An operation that the tree's state or the rules do not allow; nothing has changed."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Event(NamedTuple):
    """What a change did to one node, for those who watch it."""

    type: EventType
    path: str


class Node:
    """One node."""

    __slots__ = (
        "acl_version",
        "children",
        "children_zxid",
        "created_ms",
        "created_zxid",
        "creates",
        "data",
        "ephemeral_owner",
        "modified_ms",
        "modified_zxid",
        "version",
    )

    def __init__(self, data: bytes | None, zxid: int, now_ms: int, ephemeral_owner: int) -> None:
        self.data = data
        self.created_zxid = self.modified_zxid = self.children_zxid = zxid
        self.created_ms = self.modified_ms = now_ms
        self.version = self.acl_version = 0
        self.ephemeral_owner = ephemeral_owner  # a session; 0: the node outlives every session
        self.children: dict[str, None] = {}  # their names, oldest first
        self.creates = 0  # children that it ever had; the next sequential one gets this number

    def stat(self) -> dict[str, int]:
        """What clients are told about the node, as `zk.jute.STAT` has it."""
        return {
            "czxid": self.created_zxid,
            "mzxid": self.modified_zxid,
            "ctime": self.created_ms,
            "mtime": self.modified_ms,
            "version": self.version,
            # Counts what came and what went; what went is what came and is no longer there.
            "cversion": 2 * self.creates - len(self.children),
            "aversion": self.acl_version,
            "ephemeral_owner": self.ephemeral_owner,
            "data_length": len(self.data or b""),
            "children_count": len(self.children),
            "pzxid": self.children_zxid,
        }


class Tree:
    """All nodes; changed in transactions alone."""

    def __init__(self, now_ms: int, zxid: int = 0) -> None:
        self.zxid = zxid  # of the last change; the next one has the next number
        self._nodes = {path: Node(b"", 0, now_ms, 0) for path in _OWN_PATHS}
        for path in _OWN_PATHS[1:]:
            parent_path, name = _split(path)
            self._nodes[parent_path].children[name] = None
        self._paths_of_session: dict[int, dict[str, None]] = {}
        self._bytes = sum(_size(path, node.data) for path, node in self._nodes.items())

    def find(self, path: str) -> Node | None:
        """The node with that path, to read."""
        return self._nodes.get(path)

    def node(self, path: str) -> Node:
        """The same; raises RefusedError when there is none."""
        node = self._nodes.get(path)
        if node is None:
            raise RefusedError(ErrorCode.NO_NODE)
        return node

    def ephemerals(self, session_id: int) -> list[str]:
        """The paths that end with a session, oldest first."""
        return list(self._paths_of_session.get(session_id, ()))

    @contextmanager
    def transaction(self, now_ms: int, session_id: int) -> Iterator["Transaction"]:
        """One change, by that session: done at the end, undone when an exception ends it."""
        transaction = Transaction(self, now_ms, session_id)
        try:
            yield transaction
        except BaseException:
            transaction.undo()
            raise
        self.zxid = transaction.zxid

    def check(self) -> None:
        """Raise AssertionError unless the tree is whole."""
        ephemerals: dict[int, set[str]] = {}
        for path, node in self._nodes.items():
            if path != _ROOT:
                parent_path, name = _split(path)
                parent = self._nodes[parent_path]
                assert name in parent.children, f"{path} is not among its parent's children"
                assert not parent.ephemeral_owner, f"{path} is a child of an ephemeral node"
                assert node.created_zxid <= parent.children_zxid, f"{path} came unnoticed"
            for name in node.children:
                assert _join(path, name) in self._nodes, f"{path} has a child that is not there"
            assert node.created_zxid <= node.modified_zxid <= self.zxid, f"{path} has a wrong zxid"
            if node.ephemeral_owner:
                ephemerals.setdefault(node.ephemeral_owner, set()).add(path)
        known = {session: set(paths) for session, paths in self._paths_of_session.items()}
        assert known == ephemerals, "the ephemeral nodes are not those of the sessions"
        size = sum(_size(path, node.data) for path, node in self._nodes.items())
        assert self._bytes == size <= LARGEST_TREE_BYTES, f"{self._bytes} bytes are {size}"

    def _insert(self, path: str, node: Node) -> None:
        parent_path, name = _split(path)
        self._grow(_size(path, node.data))
        self._nodes[path] = node
        self._nodes[parent_path].children[name] = None
        if node.ephemeral_owner:
            self._paths_of_session.setdefault(node.ephemeral_owner, {})[path] = None

    def _remove(self, path: str) -> Node:
        parent_path, name = _split(path)
        node = self._nodes.pop(path)
        self._bytes -= _size(path, node.data)
        del self._nodes[parent_path].children[name]
        if node.ephemeral_owner:
            paths = self._paths_of_session[node.ephemeral_owner]
            del paths[path]
            if not paths:
                del self._paths_of_session[node.ephemeral_owner]
        return node

    def _grow(self, size: int) -> None:
        if self._bytes + size > LARGEST_TREE_BYTES:
            raise RefusedError(ErrorCode.QUOTA_EXCEEDED)
        self._bytes += size


class Transaction:
    """One change of the tree: all its operations share its zxid, and are undone together.

    Each operation raises RefusedError when it is not allowed; the ones before it stand until the
    transaction is left.
    """

    def __init__(self, tree: Tree, now_ms: int, session_id: int) -> None:
        self.zxid = tree.zxid + 1
        self.events: list[Event] = []
        self._tree = tree
        self._now_ms = now_ms
        self._session_id = session_id
        self._undo: list[Callable[[], None]] = []

    def undo(self) -> None:
        """Make the tree what it was before."""
        while self._undo:
            self._undo.pop()()
        self.events.clear()

    def create(
        self, path: str, data: bytes | None, acl: Sequence[Mapping[str, Any]], flags: int
    ) -> str:
        """Add a node; its path, which a sequential one ends with a number."""
        ephemeral, sequential = _kind_of_node(flags)
        parent_path, _ = _split(path)
        _require_open(acl)
        parent = self._tree.node(parent_path)
        if sequential:
            path += f"{parent.creates:010}"
        _require_valid(path)
        if self._tree.find(path) is not None:
            raise RefusedError(ErrorCode.NODE_EXISTS)
        if parent.ephemeral_owner:
            raise RefusedError(ErrorCode.NO_CHILDREN_FOR_EPHEMERALS)
        owner = self._session_id if ephemeral else 0
        self._tree._insert(path, Node(data, self.zxid, self._now_ms, owner))
        self._undo.append(lambda: _discard(self._tree._remove(path)))
        self._touch_children(parent, created=1)
        self.events.append(Event(EventType.CREATED, path))
        self.events.append(Event(EventType.CHILDREN_CHANGED, parent_path))
        return path

    def delete(self, path: str, version: int = ANY_VERSION) -> None:
        """Remove a node that has no children."""
        parent_path, _ = _split(path)
        if path in _OWN_PATHS:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        parent = self._tree.node(parent_path)
        node = self._tree.node(path)
        _require_version(node.version, version)
        if node.children:
            raise RefusedError(ErrorCode.NOT_EMPTY)
        self._tree._remove(path)
        self._undo.append(lambda: self._tree._insert(path, node))
        self._touch_children(parent, created=0)
        self.events.append(Event(EventType.DELETED, path))
        self.events.append(Event(EventType.CHILDREN_CHANGED, parent_path))

    def set_data(self, path: str, data: bytes | None, version: int) -> Node:
        """Give a node other data; the node."""
        _require_valid(path)
        node = self._tree.node(path)
        _require_version(node.version, version)
        before = (node.data, node.version, node.modified_zxid, node.modified_ms)
        growth = len(data or b"") - len(node.data or b"")
        self._tree._grow(growth)

        def restore() -> None:
            node.data, node.version, node.modified_zxid, node.modified_ms = before
            self._tree._grow(-growth)

        self._undo.append(restore)
        node.data = data
        node.version += 1
        node.modified_zxid = self.zxid
        node.modified_ms = self._now_ms
        self.events.append(Event(EventType.DATA_CHANGED, path))
        return node

    def set_acl(self, path: str, acl: Sequence[Mapping[str, Any]], version: int) -> Node:
        """Let everybody do everything with a node, as before; the node. No other list is taken."""
        _require_valid(path)
        _require_open(acl)
        node = self._tree.node(path)
        _require_version(node.acl_version, version)
        node.acl_version += 1

        def restore() -> None:
            node.acl_version -= 1

        self._undo.append(restore)
        return node

    def check(self, path: str, version: int) -> None:
        """Change nothing, but be refused unless the node has that version."""
        _require_valid(path)
        _require_version(self._tree.node(path).version, version)

    def _touch_children(self, parent: Node, *, created: int) -> None:
        before = (parent.creates, parent.children_zxid)

        def restore() -> None:
            parent.creates, parent.children_zxid = before

        self._undo.append(restore)
        parent.creates += created
        parent.children_zxid = self.zxid


def _split(path: str) -> tuple[str, str]:
    """A path's parent and its last name."""
    parent_path, slash, name = path.rpartition("/")
    if not slash or "\0" in path:
        raise RefusedError(ErrorCode.BAD_ARGUMENTS)
    return parent_path or _ROOT, name


def _join(parent_path: str, name: str) -> str:
    return f"{parent_path.rstrip('/')}/{name}"


def _size(path: str, data: bytes | None) -> int:
    return _NODE_BYTES + len(path) + len(data or b"")


def _discard(_: Node) -> None:
    """A removed node is of no use to an undo."""


def _kind_of_node(flags: int) -> tuple[bool, bool]:
    """Whether it is ephemeral, and whether sequential."""
    if flags in _FLAGS_NOT_OFFERED:
        raise RefusedError(ErrorCode.UNIMPLEMENTED)
    try:
        kind = CreateFlag(flags)
    except ValueError:
        raise RefusedError(ErrorCode.BAD_ARGUMENTS) from None
    return bool(kind & CreateFlag.EPHEMERAL), bool(kind & CreateFlag.PERSISTENT_SEQUENTIAL)


def _require_valid(path: str) -> None:
    if path == _ROOT:
        return
    names = path.split("/")
    if names[0] or any(name in _EMPTY_OR_RELATIVE for name in names[1:]):
        raise RefusedError(ErrorCode.BAD_ARGUMENTS)
    if _BAD_CHARACTER.search(path):
        raise RefusedError(ErrorCode.BAD_ARGUMENTS)


def _require_open(acl: Sequence[Mapping[str, Any]]) -> None:
    if [{key: entry[key] for key in OPEN_ACL[0]} for entry in acl] != OPEN_ACL:
        raise RefusedError(ErrorCode.INVALID_ACL)


def _require_version(actual: int, expected: int) -> None:
    if expected not in (ANY_VERSION, actual):
        raise RefusedError(ErrorCode.BAD_VERSION)
