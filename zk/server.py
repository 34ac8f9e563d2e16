"""The embedded ZooKeeper without its sockets: packets and times in, packets out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from zk.jute import (
    MULTI_END,
    OPEN_ACL,
    PASSWORD_BYTES,
    ErrorCode,
    EventType,
    OperationType,
    ReplyNumber,
    Request,
    build_connect_response,
    build_event,
    build_refusal,
    build_reply,
    parse_connect_request,
    parse_request,
)
from zk.sessions import Session, Sessions
from zk.tree import Event, RefusedError, Transaction, Tree
from zk.watches import Watches

log = structlog.get_logger()

SHORTEST_SESSION_TICKS = 2  # as Apache's server has it
LONGEST_SESSION_MS = 60_000  # our settings allow no more
MOST_SESSIONS = 10_000  # they outlive their connections, so that those alone do not limit them
MOST_WATCH_BYTES = 1 << 20  # of one connection, with what is kept about each watch
# A server that starts anew numbers changes and sessions above those of the one before, if it wrote
# no more than a million a millisecond: a client refuses a server that has seen less than itself.
_CHANGES_PER_MS = 1 << 20
_SESSIONS_PER_MS = 1 << 16
_ANSWERED_IN_A_MULTI_AS = {OperationType.CREATE2: OperationType.CREATE}  # as Apache's server does

Fields = Mapping[str, Any]


class Moment(NamedTuple):
    """One instant on two clocks: one for durations, the other for what users see."""

    monotonic_ms: int
    wall_ms: int


class HangUpError(Exception):
    """A connection that has to be closed without an answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be sent, in this order, and which connections are to be closed after that."""

    packets: list[tuple[int, bytes]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)


class Server:
    """One server's sessions, watches and tree; connections are known by a number each."""

    def __init__(self, tick_ms: int, secret: bytes, now: Moment) -> None:
        """An empty tree. `secret` is what the sessions' passwords are made with."""
        self._tick_ms = tick_ms
        self._tree = Tree(now.wall_ms, now.wall_ms * _CHANGES_PER_MS)
        self._sessions = Sessions(tick_ms, now.wall_ms * _SESSIONS_PER_MS, secret)
        self._connected: dict[int, Session] = {}
        self._data_watches = Watches()
        self._child_watches = Watches()
        self._reads: Mapping[int, Callable[[int, Any], Fields]] = {
            OperationType.EXISTS: self._exists,
            OperationType.GET_DATA: self._get_data,
            OperationType.GET_ACL: self._get_acl,
            OperationType.GET_CHILDREN: self._get_children,
            OperationType.GET_CHILDREN2: self._get_children,
            OperationType.SYNC: lambda _, record: {"path": record.path},
            OperationType.PING: lambda *_: {},
        }

    def receive(self, connection: int, packet: bytes, now: Moment) -> Output:
        """Take one packet of a connection.

        Raises HangUpError, or MalformedError, when the connection has to be closed; such a packet
        changes nothing.
        """
        output = Output()
        session = self._connected.get(connection)
        if session is None:
            self._connect(connection, packet, now, output)
            return output
        request = parse_request(packet)
        self._sessions.touch(session, now.monotonic_ms)
        try:
            self._serve(connection, session, request, now, output)
        except RefusedError as refused:
            reply = build_refusal(request.number, self._tree.zxid, refused.code)
            output.packets.append((connection, reply))
        self._limit_watches(connection)
        return output

    def disconnected(self, connection: int) -> None:
        """A connection has ended; its session goes on until it times out."""
        self._detach(connection)

    def expire(self, now: Moment) -> Output:
        """End the sessions that were not heard of in time."""
        output = Output()
        for session in self._sessions.ended(now.monotonic_ms):
            log.info("a session has expired", session_id=f"{session.session_id:#x}")
            self._end_session(session, now, output)
            if session.connection is not None:
                output.closed.append(session.connection)
                self._detach(session.connection)
        return output

    def answer_word(self, word: bytes) -> bytes | None:
        """The answer to one of the four-letter words that Apache's server takes, or None."""
        match word:
            case b"ruok":
                return b"imok"
            case b"isro":
                return b"rw"
            case b"srvr":
                text = (
                    "Zookeeper version: embedded in Lockstep, in memory alone\n"
                    f"Connections: {len(self._connected)}\n"
                    f"Zxid: {self._tree.zxid:#x}\n"
                    "Mode: standalone\n"
                )
                return text.encode()
        return None

    def check(self) -> None:
        """Raise AssertionError unless everything fits together."""
        self._tree.check()
        self._sessions.check()
        self._data_watches.check()
        self._child_watches.check()
        for connection, session in self._connected.items():
            assert session.connection == connection, "a session is served on two connections"

    def _connect(self, connection: int, packet: bytes, now: Moment, output: Output) -> None:
        """Open a session, or let a client go on with the one that it had."""
        asked = parse_connect_request(packet)
        if asked.last_zxid_seen > self._tree.zxid:
            raise HangUpError(
                f"the client has seen {asked.last_zxid_seen:#x}, which never was here"
            )
        shortest_ms = SHORTEST_SESSION_TICKS * self._tick_ms
        timeout_ms = min(max(asked.timeout_ms, shortest_ms), LONGEST_SESSION_MS)
        if asked.session_id == 0:
            if len(self._sessions) >= MOST_SESSIONS:
                raise HangUpError(f"there are {MOST_SESSIONS} sessions already")
            session = self._sessions.open(timeout_ms, now.monotonic_ms, connection)
            with self._tree.transaction(now.wall_ms, session.session_id):
                pass  # a new session takes a zxid, as every change does
        else:
            found = self._sessions.find(asked.session_id, asked.password)
            if found is None:
                refusal = build_connect_response(0, 0, bytes(PASSWORD_BYTES))
                output.packets.append((connection, refusal))
                output.closed.append(connection)
                return
            session = found
            if session.connection is not None:
                output.closed.append(session.connection)
                self._detach(session.connection)
            session.connection = connection
            session.timeout_ms = timeout_ms
            self._sessions.touch(session, now.monotonic_ms)
        self._connected[connection] = session
        granted = build_connect_response(timeout_ms, session.session_id, session.password)
        output.packets.append((connection, granted))

    def _serve(
        self, connection: int, session: Session, request: Request, now: Moment, output: Output
    ) -> None:
        """Answer one request; raises RefusedError instead."""
        record = request.record
        fields: Fields
        match request.type:
            case OperationType.SET_WATCHES:
                self._set_watches(connection, record, output)
                fields = {}
            case OperationType.CLOSE_SESSION:
                self._end_session(session, now, output)
                fields = {}
            case OperationType.AUTH:
                log.warning("refused a client's credentials: this server knows none")
                refusal = build_refusal(ReplyNumber.AUTH, self._tree.zxid, ErrorCode.AUTH_FAILED)
                self._answer_and_close(connection, refusal, output)
                return
            case OperationType.MULTI:
                fields = self._multi(session, record.records[:-1], now, output)
            case kind if kind in self._reads:
                fields = self._reads[kind](connection, record)
            case _ if record is None:
                log.warning("refused a request that this server does not know", type=request.type)
                unknown = build_refusal(request.number, self._tree.zxid, ErrorCode.UNIMPLEMENTED)
                self._answer_and_close(connection, unknown, output)
                return
            case _:
                with self._tree.transaction(now.wall_ms, session.session_id) as change:
                    fields = self._change(change, request.type, record)
                self._tell(change.events, output)
        reply = build_reply(request.number, self._tree.zxid, request.type, fields)
        if request.type == OperationType.CLOSE_SESSION:
            self._answer_and_close(connection, reply, output)
        else:
            output.packets.append((connection, reply))

    def _answer_and_close(self, connection: int, packet: bytes, output: Output) -> None:
        output.packets.append((connection, packet))
        output.closed.append(connection)
        self._detach(connection)

    def _exists(self, connection: int, record: Any) -> Fields:
        if "\0" in record.path:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        if record.watch:  # also when the node is not there: the watch tells when it comes
            self._data_watches.add(record.path, connection)
        return {"stat": self._tree.node(record.path).stat()}

    def _get_data(self, connection: int, record: Any) -> Fields:
        node = self._tree.node(record.path)
        if record.watch:
            self._data_watches.add(record.path, connection)
        return {"data": node.data, "stat": node.stat()}

    def _get_children(self, connection: int, record: Any) -> Fields:
        node = self._tree.node(record.path)
        if record.watch:
            self._child_watches.add(record.path, connection)
        return {"children": list(node.children), "stat": node.stat()}

    def _get_acl(self, _: int, record: Any) -> Fields:
        return {"acl": OPEN_ACL, "stat": self._tree.node(record.path).stat()}

    def _change(self, change: Transaction, kind: int, record: Any) -> Fields:
        """Do one operation, alone or in a multi; what its answer carries."""
        match kind:
            case OperationType.CREATE | OperationType.CREATE2:
                path = change.create(record.path, record.data, record.acl, record.flags)
                return {"path": path, "stat": self._tree.node(path).stat()}
            case OperationType.DELETE:
                change.delete(record.path, record.version)
            case OperationType.SET_DATA:
                return {"stat": change.set_data(record.path, record.data, record.version).stat()}
            case OperationType.SET_ACL:
                return {"stat": change.set_acl(record.path, record.acl, record.version).stat()}
            case OperationType.CHECK:
                change.check(record.path, record.version)
        return {}

    def _multi(self, session: Session, records: Any, now: Moment, output: Output) -> Fields:
        """Do all the operations, or none: then each answer says what became of its own."""
        answers: list[Fields] = []
        try:
            with self._tree.transaction(now.wall_ms, session.session_id) as change:
                for each in records:
                    fields = self._change(change, each.type, each.record)
                    kind = _ANSWERED_IN_A_MULTI_AS.get(each.type, each.type)
                    answers.append({"type": kind, "error": ErrorCode.OK, "record": fields})
        except RefusedError as refused:
            undone = len(answers)
            not_tried = len(records) - undone - 1
            codes = [ErrorCode.OK] * undone + [refused.code]
            codes += [ErrorCode.RUNTIME_INCONSISTENCY] * not_tried
            answers = [
                {"type": OperationType.ERROR, "error": code, "record": {"error": code}}
                for code in codes
            ]
        else:
            self._tell(change.events, output)
        return {"records": [{"done": False, **answer} for answer in answers] + [MULTI_END]}

    def _set_watches(self, connection: int, record: Any, output: Output) -> None:
        """Watch again what the client watched on another connection; tell what it missed."""
        missed: list[Event] = []
        for path in record.data_watches:
            node = self._tree.find(path)
            if node is None:
                missed.append(Event(EventType.DELETED, path))
            elif node.modified_zxid > record.relative_zxid:
                missed.append(Event(EventType.DATA_CHANGED, path))
            else:
                self._data_watches.add(path, connection)
        for path in record.exist_watches:
            if self._tree.find(path) is not None:
                missed.append(Event(EventType.CREATED, path))
            else:
                self._data_watches.add(path, connection)
        for path in record.child_watches:
            node = self._tree.find(path)
            if node is None:
                missed.append(Event(EventType.DELETED, path))
            elif node.children_zxid > record.relative_zxid:
                missed.append(Event(EventType.CHILDREN_CHANGED, path))
            else:
                self._child_watches.add(path, connection)
        output.packets.extend((connection, build_event(*event)) for event in missed)

    def _end_session(self, session: Session, now: Moment, output: Output) -> None:
        """Close it: its ephemeral nodes go in one change."""
        with self._tree.transaction(now.wall_ms, session.session_id) as change:
            for path in self._tree.ephemerals(session.session_id):
                change.delete(path)
        self._sessions.close(session)
        self._tell(change.events, output)

    def _tell(self, events: Iterable[Event], output: Output) -> None:
        """Tell those who watch; before the answer to the request that made the change."""
        for event in events:
            watchers: dict[int, None] = {}
            if event.type != EventType.CHILDREN_CHANGED:
                watchers |= dict.fromkeys(self._data_watches.take(event.path))
            if event.type in (EventType.CHILDREN_CHANGED, EventType.DELETED):
                watchers |= dict.fromkeys(self._child_watches.take(event.path))
            if watchers:
                packet = build_event(event.type, event.path)
                output.packets.extend((watcher, packet) for watcher in watchers)

    def _detach(self, connection: int) -> None:
        self._data_watches.drop(connection)
        self._child_watches.drop(connection)
        session = self._connected.pop(connection, None)
        if session is not None:
            session.connection = None

    def _limit_watches(self, connection: int) -> None:
        kept = self._data_watches.size_bytes(connection)
        kept += self._child_watches.size_bytes(connection)
        if kept > MOST_WATCH_BYTES:
            raise HangUpError(f"watches that take more than {MOST_WATCH_BYTES} bytes")
