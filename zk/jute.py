"""ZooKeeper's client protocol on the wire: every record that the embedded server knows, once.

The records and their names are those of Apache's zookeeper.jute (version 3.8). A packet is a length
of 4 bytes and a record: first a ConnectRequest, then a RequestHeader and what its type takes.
Integers are signed and big-endian; a string or buffer of length -1 is null.
"""

import io
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import construct as cs

LARGEST_PACKET_BYTES = 0xFFFFF  # Apache's default of jute.maxbuffer
PASSWORD_BYTES = 16
LENGTH_BYTES = 4
ANY_VERSION = -1
SYNC_CONNECTED = 3  # the only state that a WatcherEvent of ours carries
OPEN_ACL = [{"perms": 31, "scheme": "world", "id": "anyone"}]  # everybody may do everything


class OperationType(IntEnum):
    """What a request asks for."""

    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    AUTH = 100
    SET_WATCHES = 101
    CLOSE_SESSION = -11
    ERROR = -1  # in the answer to a multi: an operation that failed, or was undone


class ReplyNumber(IntEnum):
    """What stands for a request's own number in packets that answer none."""

    NOTIFICATION = -1
    PING = -2
    AUTH = -4


class ErrorCode(IntEnum):
    """Why a request was refused."""

    OK = 0
    RUNTIME_INCONSISTENCY = -2  # in a multi: an operation before this one was refused
    UNIMPLEMENTED = -6
    BAD_ARGUMENTS = -8
    NO_NODE = -101
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    INVALID_ACL = -114
    AUTH_FAILED = -115
    QUOTA_EXCEEDED = -125


class EventType(IntEnum):
    """What a watch has seen."""

    CREATED = 1
    DELETED = 2
    DATA_CHANGED = 3
    CHILDREN_CHANGED = 4


class CreateFlag(IntEnum):
    """What kind of node a create makes; the second bit asks for a number after the name."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3


class MalformedError(Exception):
    """Bytes that are not a record of the protocol."""


class _Buffer(cs.Construct):  # type: ignore[type-arg]  # no generic class when it runs
    """A length and as many bytes."""

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes | None:
        length = cs.Int32sb._parse(stream, context, path)
        if length == -1:
            return None
        # A negative length, or one beyond the packet's end, raises here.
        return cs.stream_read(stream, length, path)

    def _build(self, value: bytes | None, stream: Any, context: Any, path: Any) -> Any:
        content = value if value is not None else b""
        cs.Int32sb._build(-1 if value is None else len(content), stream, context, path)
        cs.stream_write(stream, content, len(content), path)
        return value


def _vector(of: Any) -> Any:
    return cs.PrefixedArray(cs.Int32sb, of)


BUFFER = _Buffer()
TEXT: Any = cs.StringEncoded(BUFFER, "utf8")  # never null in what we read

ACL = cs.Struct("perms" / cs.Int32sb, "scheme" / TEXT, "id" / TEXT)
STAT = cs.Struct(
    "czxid" / cs.Int64sb,
    "mzxid" / cs.Int64sb,
    "ctime" / cs.Int64sb,
    "mtime" / cs.Int64sb,
    "version" / cs.Int32sb,
    "cversion" / cs.Int32sb,
    "aversion" / cs.Int32sb,
    "ephemeral_owner" / cs.Int64sb,
    "data_length" / cs.Int32sb,
    "children_count" / cs.Int32sb,
    "pzxid" / cs.Int64sb,
)

CONNECT_REQUEST = cs.Struct(
    "protocol_version" / cs.Int32sb,
    "last_zxid_seen" / cs.Int64sb,
    "timeout_ms" / cs.Int32sb,
    "session_id" / cs.Int64sb,
    "password" / BUFFER,
    "read_only" / cs.Optional(cs.Flag),  # clients before version 3.4 leave it out
)
CONNECT_RESPONSE = cs.Struct(
    "protocol_version" / cs.Int32sb,
    "timeout_ms" / cs.Int32sb,
    "session_id" / cs.Int64sb,
    "password" / BUFFER,
    "read_only" / cs.Flag,
)
REQUEST_HEADER = cs.Struct("number" / cs.Int32sb, "type" / cs.Int32sb)
REPLY_HEADER = cs.Struct("number" / cs.Int32sb, "zxid" / cs.Int64sb, "error" / cs.Int32sb)
WATCHER_EVENT = cs.Struct("type" / cs.Int32sb, "state" / cs.Int32sb, "path" / TEXT)

_NOTHING = cs.Struct()
_PATH = cs.Struct("path" / TEXT)
_PATH_AND_WATCH = cs.Struct("path" / TEXT, "watch" / cs.Flag)
_PATH_AND_VERSION = cs.Struct("path" / TEXT, "version" / cs.Int32sb)
_CREATE = cs.Struct("path" / TEXT, "data" / BUFFER, "acl" / _vector(ACL), "flags" / cs.Int32sb)
_SET_DATA = cs.Struct("path" / TEXT, "data" / BUFFER, "version" / cs.Int32sb)
_STAT_ONLY = cs.Struct("stat" / STAT)
_PATH_AND_STAT = cs.Struct("path" / TEXT, "stat" / STAT)

_IN_A_MULTI = {
    OperationType.CREATE: (_CREATE, _PATH),
    OperationType.CREATE2: (_CREATE, _PATH),  # answered as CREATE
    OperationType.DELETE: (_PATH_AND_VERSION, _NOTHING),
    OperationType.SET_DATA: (_SET_DATA, _STAT_ONLY),
    OperationType.CHECK: (_PATH_AND_VERSION, _NOTHING),
}
_MULTI_HEADER = ("type" / cs.Int32sb, "done" / cs.Flag, "error" / cs.Int32sb)


def _multi(cases: dict[Any, Any]) -> Any:
    unknown: Any = cs.Error
    nothing: Any = cs.Pass
    of_type = cs.Switch(cs.this.type, cases, unknown)
    record = cs.Struct(*_MULTI_HEADER, "record" / cs.IfThenElse(cs.this.done, nothing, of_type))
    return cs.Struct("records" / cs.RepeatUntil(lambda each, *_: each["done"], record))


MULTI_END = {"type": -1, "done": True, "error": -1, "record": None}
_MULTI_REQUEST = _multi({kind: request for kind, (request, _) in _IN_A_MULTI.items()})
_MULTI_RESPONSE = _multi(
    {
        OperationType.ERROR: cs.Struct("error" / cs.Int32sb),
        **{kind: response for kind, (_, response) in _IN_A_MULTI.items()},
    }
)

# What a request carries after its header, and what its answer does.
_RECORDS: Mapping[int, tuple[Any, Any]] = {
    OperationType.CREATE: (_CREATE, _PATH),
    OperationType.CREATE2: (_CREATE, _PATH_AND_STAT),
    OperationType.DELETE: (_PATH_AND_VERSION, _NOTHING),
    OperationType.EXISTS: (_PATH_AND_WATCH, _STAT_ONLY),
    OperationType.GET_DATA: (_PATH_AND_WATCH, cs.Struct("data" / BUFFER, "stat" / STAT)),
    OperationType.SET_DATA: (_SET_DATA, _STAT_ONLY),
    OperationType.GET_ACL: (_PATH, cs.Struct("acl" / _vector(ACL), "stat" / STAT)),
    OperationType.SET_ACL: (
        cs.Struct("path" / TEXT, "acl" / _vector(ACL), "version" / cs.Int32sb),
        _STAT_ONLY,
    ),
    OperationType.GET_CHILDREN: (_PATH_AND_WATCH, cs.Struct("children" / _vector(TEXT))),
    OperationType.GET_CHILDREN2: (
        _PATH_AND_WATCH,
        cs.Struct("children" / _vector(TEXT), "stat" / STAT),
    ),
    OperationType.SYNC: (_PATH, _PATH),
    OperationType.PING: (_NOTHING, _NOTHING),
    OperationType.MULTI: (_MULTI_REQUEST, _MULTI_RESPONSE),
    OperationType.AUTH: (
        cs.Struct("type" / cs.Int32sb, "scheme" / TEXT, "auth" / BUFFER),
        _NOTHING,
    ),
    OperationType.SET_WATCHES: (
        cs.Struct(
            "relative_zxid" / cs.Int64sb,
            "data_watches" / _vector(TEXT),
            "exist_watches" / _vector(TEXT),
            "child_watches" / _vector(TEXT),
        ),
        _NOTHING,
    ),
    OperationType.CLOSE_SESSION: (_NOTHING, _NOTHING),
}


class Request(NamedTuple):
    """A request of a client that is connected."""

    number: int  # repeated in the answer
    type: int  # an OperationType where we know it
    record: Any  # the fields by name; None where we don't know the type


class PacketReader:
    """Cuts a connection's bytes into packets."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._bytes)

    def feed(self, received: bytes) -> None:
        """Take what has come."""
        self._bytes += received

    def head(self) -> bytes:
        """What would be the next packet's length."""
        return bytes(self._bytes[:LENGTH_BYTES])

    def next(self) -> bytes | None:
        """The next whole packet; None when it has not all come.

        Raises MalformedError when its length is more than a packet may have.
        """
        if len(self._bytes) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._bytes[:LENGTH_BYTES], signed=True)
        if not 0 <= length <= LARGEST_PACKET_BYTES:
            raise MalformedError(f"a packet of {length} bytes; {LARGEST_PACKET_BYTES} are the most")
        end = LENGTH_BYTES + length
        if len(self._bytes) < end:
            return None
        packet = bytes(self._bytes[LENGTH_BYTES:end])
        del self._bytes[:end]
        return packet


def parse_connect_request(packet: bytes) -> Any:
    """The fields by name. Raises MalformedError."""
    return _parse(CONNECT_REQUEST, io.BytesIO(packet))


def parse_request(packet: bytes) -> Request:
    """What a connected client asks for. Raises MalformedError."""
    stream = io.BytesIO(packet)
    header = _parse_part(REQUEST_HEADER, stream)
    records = _RECORDS.get(header.type)
    if records is None:
        return Request(header.number, header.type, None)
    return Request(header.number, header.type, _parse(records[0], stream))


def build_connect_response(timeout_ms: int, session_id: int, password: bytes) -> bytes:
    """A packet that grants a session; with a time-out of 0 one that refuses it."""
    fields = {
        "protocol_version": 0,
        "timeout_ms": timeout_ms,
        "session_id": session_id,
        "password": password,
        "read_only": False,
    }
    return _packet(CONNECT_RESPONSE.build(fields))


def build_reply(number: int, zxid: int, operation: int, fields: Any) -> bytes:
    """The packet that answers a request which was done."""
    _, declared = _RECORDS[operation]
    return _packet(_reply_header(number, zxid, ErrorCode.OK) + declared.build(fields))


def build_refusal(number: int, zxid: int, error: ErrorCode) -> bytes:
    """The packet that answers a request which was refused."""
    return _packet(_reply_header(number, zxid, error))


def build_event(event: EventType, path: str) -> bytes:
    """The packet that tells a client what its watch has seen."""
    fields = {"type": event, "state": SYNC_CONNECTED, "path": path}
    header = _reply_header(ReplyNumber.NOTIFICATION, -1, ErrorCode.OK)
    return _packet(header + WATCHER_EVENT.build(fields))


def _reply_header(number: int, zxid: int, error: ErrorCode) -> bytes:
    return REPLY_HEADER.build({"number": number, "zxid": zxid, "error": error})


def _packet(record: bytes) -> bytes:
    return len(record).to_bytes(LENGTH_BYTES) + record


def _parse(declared: Any, stream: io.BytesIO) -> Any:
    fields = _parse_part(declared, stream)
    if stream.read(1):
        raise MalformedError("a packet that is longer than its record")
    return fields


def _parse_part(declared: Any, stream: io.BytesIO) -> Any:
    try:
        return declared.parse_stream(stream)
    except cs.ConstructError as error:
        raise MalformedError(str(error)) from error
