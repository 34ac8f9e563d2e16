"""A process's membership in its shard: the shell around `zk.presence`, on kazoo and a clock."""

import asyncio
import time
from collections.abc import Callable

import structlog

from zk.client import ZooKeeperClient
from zk.nodes import ShardNodes
from zk.operations import Answer
from zk.participant import Participant
from zk.presence import Identity, Presence
from zk.settings import ZooKeeperSettings

log = structlog.get_logger()


class Member(Participant):
    """A participant on a real connection; to be used, and told of changes, on one event loop."""

    def __init__(
        self,
        settings: ZooKeeperSettings,
        exchange: str,
        shard: int,
        name: str,
        *,
        role: str,
        holder: bool,
        on_change: Callable[[], None],
        commands: str | None = None,
        memory: str = "",
    ) -> None:
        """A `holder` counts when it suspects. `commands`: where a replica takes them as primary.
        `memory` names what outlives the process: with the same one, it was not here before.

        Raises ValueError when a name can't be one of a node.
        """
        if not name or "/" in name:
            raise ValueError(f"{name!r} can't be the name of a node in ZooKeeper")
        presence = Presence(
            ShardNodes.of(settings.root, exchange, shard),
            Identity(name, role, holder, commands, time.time_ns(), memory),
            return_time_ns=settings.session_timeout_ms * 1_000_000,
        )
        super().__init__(presence, on_change)
        self._settings = settings
        self._client: ZooKeeperClient | None = None
        self._session: tuple[int, bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Handle | None = None

    async def start(self) -> None:
        """Connect, in the background: that ZooKeeper is away is no error."""
        assert self._client is None, "a member is started once"
        self._client = ZooKeeperClient(self._settings, self)
        self._client.start()

    async def stop(self) -> None:
        """Leave: the session is closed, and its nodes go at once. Bounded, with ZooKeeper gone."""
        client, self._client = self._client, None
        for handle in (self._timer, self._telling):
            if handle is not None:
                handle.cancel()
        self._presence.on_disconnected()
        self._known = self._presence.known
        if client is not None:
            await client.stop()

    def session(self) -> tuple[int, str]:
        """The newest session's number, and its password in hex: with both, it can be ended.

        Raises ConnectionError when there was none yet.
        """
        if self._session is None:
            raise ConnectionError("there was no session with ZooKeeper yet")
        number, password = self._session
        return number, password.hex()

    # What the client tells.

    def on_connected(self, session: int, password: bytes) -> None:
        """There is a connection for this session."""
        is_new = self._session is None or self._session[0] != session
        self._session = (session, password)
        log.info("ZooKeeper connected", session=f"{session:#x}", new_session=is_new)
        self._presence.on_connected(session)
        self._carry_out()
        self._tell()

    def on_disconnected(self) -> None:
        """The connection is lost."""
        if self._known.connected:
            log.warning("ZooKeeper connection lost")
        self._presence.on_disconnected()
        self._carry_out()
        self._tell()

    def on_answer(self, number: int, answer: Answer) -> None:
        """The answer to an operation."""
        self._presence.on_answer(number, answer, time.monotonic_ns())
        self._carry_out()
        self._tell()

    def on_watch(self, path: str) -> None:
        """What was read at this path has changed."""
        self._presence.on_watch(path)
        self._carry_out()

    def _carry_out(self) -> None:
        client = self._client
        if client is None:
            return
        now_ns = time.monotonic_ns()
        for operation in self._presence.take_operations(now_ns):
            client.execute(operation)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        deadline_ns = self._presence.deadline_ns(now_ns)
        if deadline_ns is not None:
            self._timer = loop.call_later(max(0, deadline_ns - now_ns) / 1e9, self._carry_out)
        known = self._presence.take_change()
        if known is not None:
            if known.trouble not in (None, self._known.trouble):
                log.error("ZooKeeper refuses", why=known.trouble)
            self._known = known
            # Whoever has just asked for something need not be told of it while asking.
            if self._telling is None:
                self._telling = loop.call_soon(self._tell)

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
            self._on_change()
