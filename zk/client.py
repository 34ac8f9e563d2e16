"""Kazoo, with types: carries operations out, and tells on the event loop what happens.

The only file that knows kazoo. Kazoo runs a thread of its own for each connection; whatever it
calls there does nothing but hand over to the event loop, in the order in which things happened.
None of its recipes is used: they don't interrupt who holds what was lost.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import structlog
from kazoo import exceptions  # type: ignore[import-untyped]
from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.handlers.threading import SequentialThreadingHandler  # type: ignore[import-untyped]
from kazoo.protocol.states import (  # type: ignore[import-untyped]
    EventType,
    KazooState,
    KeeperState,
    WatchedEvent,
)
from kazoo.retry import KazooRetry  # type: ignore[import-untyped]

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
    Refusal,
    SetData,
    Synchronize,
    Write,
)
from zk.settings import ZooKeeperSettings

log = structlog.get_logger()

# Between two rounds of trying all servers: short, since nothing else ends a takeover's wait, and
# long enough that a dead ensemble costs a process nothing.
RECONNECT_PAUSE_S = 0.05
# Before kazoo is set up anew, after it has given up by itself.
RESTART_PAUSE_S = 1.0
# For the last words to a server; a session that could not be closed ends by its time-out.
STOP_WITHIN_S = 2.0

_FAILURES = {
    exceptions.NoNodeError: Failure.NO_NODE,
    exceptions.NodeExistsError: Failure.NODE_EXISTS,
    exceptions.BadVersionError: Failure.BAD_VERSION,
}
_CONNECTION_ERRORS = (
    exceptions.ConnectionLoss,
    exceptions.SessionExpiredError,  # ConnectionClosedError is one
    exceptions.SessionMovedError,
    exceptions.OperationTimeoutError,
    exceptions.RequestTimeoutError,
)
# What the parts of a transaction say that were not what made it fail.
_FAILED_WITH_ANOTHER = (exceptions.RolledBackError, exceptions.RuntimeInconsistency)


class Listener(Protocol):
    """Who hears what happens, on the event loop."""

    def on_connected(self, session: int, password: bytes) -> None:
        """There is a connection for this session."""

    def on_disconnected(self) -> None:
        """The connection is lost, and perhaps the session; may be said more than once."""

    def on_answer(self, number: int, answer: Answer) -> None:
        """The answer to an operation; may be said more than once."""

    def on_watch(self, path: str) -> None:
        """What was read at this path has changed."""


class _LoopQueue:
    """Where kazoo puts what is to be called: the event loop takes it at once, in its order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def put(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear
            self._loop.call_soon_threadsafe(call)


class _LoopHandler(SequentialThreadingHandler):  # type: ignore[misc]
    """Kazoo's threads, without the two that would only pass on what is to be called."""

    running = True

    def __init__(self, loop: asyncio.AbstractEventLoop, connect_within_s: float) -> None:
        super().__init__()
        self.completion_queue = self.callback_queue = _LoopQueue(loop)
        self._connect_within_s = connect_within_s

    def start(self) -> None:
        """There is no thread to start."""

    def stop(self) -> None:
        """There is no thread to stop."""

    def create_connection(self, *args: Any, **options: Any) -> Any:
        """Leave a server that does not answer soon enough for the next one to save the session."""
        return super().create_connection(*args, **{**options, "timeout": self._connect_within_s})


class ZooKeeperClient:
    """One process's connection to ZooKeeper; it is made again whenever it is lost."""

    def __init__(self, settings: ZooKeeperSettings, listener: Listener) -> None:
        self._settings = settings
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._kazoo: Any = None
        self._watchers: dict[str, Callable[[WatchedEvent], None]] = {}
        self._restart: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Connect, in the background and for as long as it takes."""
        timeout_s = self._settings.session_timeout_ms / 1000
        servers = len(self._settings.hosts.split(","))
        logger = logging.getLogger("zk.kazoo")
        logger.setLevel(logging.ERROR)  # that a server is away is told once, by `Member`
        kazoo = KazooClient(
            hosts=self._settings.hosts,
            timeout=timeout_s,
            handler=_LoopHandler(self._loop, timeout_s / (servers + 1)),
            randomize_hosts=True,
            connection_retry=KazooRetry(max_tries=-1, delay=RECONNECT_PAUSE_S, backoff=1),
            logger=logger,
        )
        self._kazoo = kazoo
        self._watchers.clear()

        def on_state(state: str) -> None:  # on kazoo's thread
            hand_over = kazoo.handler.callback_queue.put
            hand_over(partial(self._on_state, kazoo, state, kazoo.client_state, kazoo.client_id))

        kazoo.add_listener(on_state)
        kazoo.start_async()

    async def stop(self) -> None:
        """Close the session, so that its nodes go at once; not for ever when nobody answers."""
        kazoo, self._kazoo = self._kazoo, None
        if self._restart is not None:
            self._restart.cancel()
        if kazoo is None:
            return
        closed = self._loop.create_future()
        queue = kazoo.handler.callback_queue

        def close() -> None:
            try:
                _close(kazoo)
            finally:
                queue.put(partial(closed.set_result, None))

        # A daemon: the end of the process need not wait for a server that hangs.
        threading.Thread(target=close, name="zookeeper-close", daemon=True).start()
        await asyncio.wait((closed,), timeout=STOP_WITHIN_S)

    def execute(self, operation: Operation) -> None:
        """Carry an operation out; the listener hears the answer."""
        number, request = operation
        kazoo = self._kazoo
        answer = partial(self._answer, kazoo, number)
        if not kazoo.connected:  # else kazoo would keep it, for who knows when
            self._loop.call_soon(answer, Failure.UNKNOWN)
            return
        match request:
            case Write(changes):
                _commit(kazoo, changes, answer)
            case Prepare(nodes):
                _prepare(kazoo, nodes, answer)
            case Synchronize(path):
                kazoo.sync_async(path).rawlink(lambda result: answer(_outcome(result)))
            case Read(path):
                _read(kazoo, path, self._watcher(path), answer)
            case ReadNames(path, is_watched):
                watcher = self._watcher(path) if is_watched else None
                kazoo.get_children_async(path, watcher).rawlink(
                    lambda result: answer(_outcome(result, lambda: Names(frozenset(result.value))))
                )
            case ReadChildren(path):
                kazoo.get_children_async(path, self._watcher(path)).rawlink(
                    lambda result: _read_each(kazoo, path, result, answer)
                )

    def _answer(self, kazoo: Any, number: int, answer: Answer) -> None:
        if kazoo is self._kazoo:
            self._listener.on_answer(number, answer)

    def _watcher(self, path: str) -> Callable[[WatchedEvent], None]:
        """The watcher of a path, always the same: kazoo keeps one of equal ones."""
        if path not in self._watchers:
            kazoo = self._kazoo

            def on_event(event: WatchedEvent) -> None:
                if event.type != EventType.NONE and kazoo is self._kazoo:
                    self._listener.on_watch(path)

            self._watchers[path] = on_event
        return self._watchers[path]

    def _on_state(
        self, kazoo: Any, state: str, keeper_state: str, client_id: tuple[int, bytes] | None
    ) -> None:
        if kazoo is not self._kazoo:
            return
        if state == KazooState.CONNECTED and client_id is not None:
            self._listener.on_connected(*client_id)
            return
        self._listener.on_disconnected()
        if state == KazooState.LOST and keeper_state != KeeperState.EXPIRED_SESSION:
            log.error("ZooKeeper client ended by itself", state=keeper_state)
            self._restart = self._loop.call_later(RESTART_PAUSE_S, self._start_again, kazoo)

    def _start_again(self, ended: Any) -> None:
        if ended is self._kazoo:
            threading.Thread(target=_close, args=(ended,), daemon=True).start()
            self.start()


def _close(kazoo: Any) -> None:
    try:
        kazoo.stop()
        kazoo.close()
    except Exception as error:  # kazoo raises plain ones, too; the session ends by its time-out
        log.warning("ZooKeeper session not closed", why=repr(error))


def _commit(kazoo: Any, changes: tuple[Change, ...], answer: Callable[[Answer], None]) -> None:
    transaction = kazoo.transaction()
    for change in changes:
        match change:
            case Create(path, data):
                transaction.create(path, data, ephemeral=True)
            case Delete(path):
                transaction.delete(path)
            case SetData(path, data, version):
                transaction.set_data(path, data, version)
            case CheckVersion(path, version):
                transaction.check(path, version)
    transaction.commit_async().rawlink(lambda result: answer(_transaction_outcome(result)))


def _prepare(
    kazoo: Any, nodes: tuple[tuple[str, bytes], ...], answer: Callable[[Answer], None]
) -> None:
    """Create all nodes at once: ZooKeeper keeps to the order."""
    outcomes: list[Answer] = []

    def on_created(path: str, result: Any) -> None:
        outcome = _transaction_outcome(result)
        if outcome is Failure.NO_NODE:
            outcome = Refusal(f"the node above {path} does not exist")
        outcomes.append(None if outcome is Failure.NODE_EXISTS else outcome)
        if len(outcomes) == len(nodes):
            answer(next((each for each in outcomes if each is not None), None))

    for path, data in nodes:
        transaction = kazoo.transaction()
        transaction.create(path, data)
        transaction.commit_async().rawlink(partial(on_created, path))


def _read(
    kazoo: Any,
    path: str,
    watcher: Callable[[WatchedEvent], None],
    answer: Callable[[Answer], None],
) -> None:
    """Read a node; the watch is set first, and on a node that is missing, too."""
    watching = kazoo.exists_async(path, watcher)

    def on_read(result: Any) -> None:
        watched = _outcome(watching)
        answer(_outcome(result, lambda: _node(result.value)) if watched is None else watched)

    kazoo.get_async(path).rawlink(on_read)


def _read_each(kazoo: Any, path: str, listing: Any, answer: Callable[[Answer], None]) -> None:
    """Read all children at once; one that has gone meanwhile is none any more."""
    failure = _outcome(listing)
    names = [] if failure is not None else listing.value
    if not names:
        answer(failure if failure is not None else Children({}))
        return
    outcomes: dict[str, Answer] = {}

    def on_read(name: str, result: Any) -> None:
        outcomes[name] = _outcome(result, lambda: _node(result.value))
        if len(outcomes) < len(names):
            return
        nodes = {key: each for key, each in outcomes.items() if isinstance(each, Node)}
        others = [each for each in outcomes.values() if not isinstance(each, Node)]
        answer(next((each for each in others if each is not Failure.NO_NODE), Children(nodes)))

    for name in names:
        kazoo.get_async(f"{path}/{name}").rawlink(partial(on_read, name))


def _node(value: Any) -> Node:
    data, stat = value
    return Node(data, stat.version, stat.ephemeralOwner, (stat.czxid, stat.ctime))


def _outcome(result: Any, value: Callable[[], Answer] = lambda: None) -> Answer:
    return value() if result.exception is None else _failure(result.exception)


def _transaction_outcome(result: Any) -> Answer:
    """What has become of a transaction: kazoo gives the outcome of each of its parts."""
    if result.exception is not None:
        return _failure(result.exception)
    errors = [each for each in result.value if isinstance(each, Exception)]
    reasons = [each for each in errors if not isinstance(each, _FAILED_WITH_ANOTHER)]
    return _failure((reasons or errors)[0]) if errors else None


def _failure(error: Exception) -> Failure | Refusal:
    if isinstance(error, _CONNECTION_ERRORS):
        return Failure.UNKNOWN
    return _FAILURES.get(type(error)) or Refusal(repr(error))
