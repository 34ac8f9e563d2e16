"""What is asked of ZooKeeper, and what it answers: the words between our rules and kazoo.

On one connection, ZooKeeper carries operations out in the order in which they were asked for, and
answers in that order.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Create(NamedTuple):
    """Make a node that is gone when our session is over."""

    path: str
    data: bytes


class Delete(NamedTuple):
    """Remove a node."""

    path: str


class SetData(NamedTuple):
    """Replace a node's data, if it has this version."""

    path: str
    data: bytes
    version: int


class CheckVersion(NamedTuple):
    """Do all the rest only if a node has this version."""

    path: str
    version: int


Change = Create | Delete | SetData | CheckVersion


class Write(NamedTuple):
    """All of these changes at once, or none of them. Answer: None."""

    changes: tuple[Change, ...]


class Prepare(NamedTuple):
    """Create these persistent nodes, in this order, where they don't exist. Answer: None."""

    nodes: tuple[tuple[str, bytes], ...]


class Synchronize(NamedTuple):
    """Let the server catch up with its ensemble before it reads on. Answer: None."""

    path: str


class Read(NamedTuple):
    """Read a node, and watch it or its absence. Answer: Node."""

    path: str


class ReadNames(NamedTuple):
    """Read the names of a node's children, and watch them or not. Answer: Names."""

    path: str
    is_watched: bool


class ReadChildren(NamedTuple):
    """Read a node's children, and watch their names. Answer: Children."""

    path: str


Request = Write | Prepare | Synchronize | Read | ReadNames | ReadChildren


class Operation(NamedTuple):
    """A request, with the number that its answer will carry."""

    number: int
    request: Request


class Node(NamedTuple):
    """A node that was read."""

    data: bytes
    version: int
    owner: int  # the session that it is gone with; 0 when it is persistent
    created: tuple[int, int]  # number and time of the transaction that made it


class Names(NamedTuple):
    """The names of a node's children."""

    names: frozenset[str]


class Children(NamedTuple):
    """The children of a node."""

    nodes: Mapping[str, Node]


class Failure(Enum):
    """Why something was not done."""

    NO_NODE = "there is no such node"
    NODE_EXISTS = "the node exists already"
    BAD_VERSION = "the node has another version"
    UNKNOWN = "the connection was lost; it may have been done"


class Refusal(NamedTuple):
    """ZooKeeper does not want it, and will not until an operator has changed something."""

    reason: str


Answer = Node | Names | Children | Failure | Refusal | None
