"""The nodes of an exchange and of its shards in ZooKeeper: their paths, and the data in them."""

import json
from dataclasses import dataclass
from typing import Any

from zk.election import PrimaryRecord

_FORBIDDEN_NAMES = ("", ".", "..")


class NodeDataError(ValueError):
    """A node holds what none of us has written."""


@dataclass(frozen=True, slots=True)
class ShardNodes:
    """Where the nodes of one shard are."""

    shard: str  # the node above all the others

    @classmethod
    def of(cls, root: str, exchange: str, shard: int) -> "ShardNodes":
        """The nodes of shard `shard` of `exchange`; raises ValueError when that can't be a name."""
        return cls(f"{_exchange_node(root, exchange)}/shards/{shard}")

    @property
    def epoch(self) -> str:
        """The number of the newest reign; persistent."""
        return f"{self.shard}/epoch"

    @property
    def primary(self) -> str:
        """Who reigns; ephemeral, of the primary's session."""
        return f"{self.shard}/primary"

    @property
    def members(self) -> str:
        """Above one ephemeral node for each process that is alive."""
        return f"{self.shard}/members"

    @property
    def suspicions(self) -> str:
        """Above one ephemeral node for each suspicion."""
        return f"{self.shard}/suspicions"

    def member(self, name: str) -> str:
        """The node that says that `name` is alive."""
        return f"{self.members}/{name}"

    @property
    def holders(self) -> str:
        """Above one persistent node for each holder that was ever there."""
        return f"{self.shard}/holders"

    def holder(self, name: str) -> str:
        """The node that says that the holder `name` has been there."""
        return f"{self.holders}/{name}"

    def suspicion(self, epoch: int, name: str) -> str:
        """The node that says that `name` suspects the primary of `epoch`."""
        return f"{self.suspicions}/{epoch}-{name}"

    def lasting(self, epoch: int) -> tuple[tuple[str, bytes], ...]:
        """The persistent nodes, parents first, with their data when `epoch` is the newest."""
        parents = _down_to(self.shard)
        nodes = [(path, b"") for path in (*parents, self.members, self.suspicions, self.holders)]
        return (*nodes, (self.epoch, encode_epoch(epoch)))


@dataclass(frozen=True, slots=True)
class ExchangeNodes:
    """Where the nodes are that all shards of one exchange share."""

    exchange: str  # the node above all the others

    @classmethod
    def of(cls, root: str, exchange: str) -> "ExchangeNodes":
        """The nodes of `exchange`; raises ValueError when that can't be a name."""
        return cls(_exchange_node(root, exchange))

    @property
    def directory(self) -> str:
        """Which shards there are, and where each symbol is; persistent."""
        return f"{self.exchange}/directory"

    def lasting(self, directory: bytes) -> tuple[tuple[str, bytes], ...]:
        """The persistent nodes, parents first, with the data of the directory."""
        return (*((path, b"") for path in _down_to(self.exchange)), (self.directory, directory))


def encode_epoch(epoch: int) -> bytes:
    """The data of the `epoch` node."""
    return str(epoch).encode()


def decode_epoch(data: bytes) -> int:
    """The epoch in this data; raises NodeDataError."""
    if not data.isdigit():
        raise NodeDataError(f"{data!r} is not an epoch")
    return int(data)


def encode_primary(record: PrimaryRecord) -> bytes:
    """The data of the `primary` node."""
    return _encode(record._asdict())


def decode_primary(data: bytes) -> PrimaryRecord | None:
    """The record in this data; None when it is none, as if nobody reigned."""
    match _decode(data):
        case {"name": str(name), "epoch": int(epoch), "commands": str(commands)}:
            return PrimaryRecord(name, epoch, commands)
    return None


def encode_member(role: str, *, holder: bool, started_ns: int) -> bytes:
    """The data of a member's node. Of two processes of one name, the later one is the member."""
    return _encode({"role": role, "holder": holder, "started_ns": started_ns})


def decode_member(data: bytes) -> dict[str, Any]:
    """What a member says of itself; nothing when the data is not what one writes."""
    fields = _decode(data)
    match fields:
        case {"role": str(), "holder": bool(), "started_ns": int()}:
            return fields
    return {}


def decode_suspicion(node_name: str) -> tuple[int, str] | None:
    """The epoch that is suspected and by whom; None when it is none of our names."""
    epoch, dash, name = node_name.partition("-")
    if not (dash and epoch.isascii() and epoch.isdigit()):
        return None
    return int(epoch), name


def _exchange_node(root: str, exchange: str) -> str:
    if exchange in _FORBIDDEN_NAMES or "/" in exchange:
        raise ValueError(f"{exchange!r} can't be the name of a node in ZooKeeper")
    return f"{root}/{exchange}"


def _down_to(path: str) -> list[str]:
    """The nodes above this one, the highest first, and this one."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _decode(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError:  # UnicodeDecodeError is one
        return {}
    return fields if isinstance(fields, dict) else {}
