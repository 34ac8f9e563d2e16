"""A process's membership in its shard: the shell around `zk.presence`, on kazoo and a clock."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from zk.client import ZooKeeperClient
from zk.election import PrimaryRecord
from zk.nodes import ShardNodes
from zk.operations import Answer
from zk.presence import Identity, Presence
from zk.settings import ZooKeeperSettings

log = structlog.get_logger()


class Member:
    """One process in the ZooKeeper of one shard; to be used on one event loop.

    `on_change` is called there whenever something has changed of what the properties tell. What is
    wanted of it may be said at any time: it is done once ZooKeeper is there, if still wanted.
    """

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
    ) -> None:
        """A `holder` counts when it suspects. `commands`: where a replica takes them as primary.

        Raises ValueError when a name can't be one of a node.
        """
        if not name or "/" in name:
            raise ValueError(f"{name!r} can't be the name of a node in ZooKeeper")
        self._settings = settings
        self._on_change = on_change
        self._presence = Presence(
            ShardNodes.of(settings.root, exchange, shard),
            Identity(name, role, holder, commands, time.time_ns()),
            return_time_ns=settings.session_timeout_ms * 1_000_000,
        )
        self._known = self._presence.known
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

    @property
    def connected(self) -> bool:
        """Whether there is a connection; without one, all that is told here may be out of date."""
        return self._known.connected

    @property
    def epoch(self) -> int | None:
        """The newest granted epoch that is known; None until ZooKeeper was read. It only grows."""
        return self._known.epoch

    @property
    def epoch_at_start(self) -> int | None:
        """The newest epoch when this process first connected; None until that is known."""
        return self._known.epoch_at_start

    @property
    def was_here(self) -> bool:
        """Whether this holder was ever there before this process; known with `epoch_at_start`."""
        return self._known.was_here

    @property
    def primary(self) -> PrimaryRecord | None:
        """Who reigns, as last known."""
        return self._known.primary

    @property
    def members(self) -> Mapping[str, Mapping[str, Any]]:
        """Who is alive, as last known, and what each says of itself."""
        return self._known.members

    @property
    def granted(self) -> int | None:
        """The epoch in which this process reigns, until somebody else does or it yields."""
        return self._known.granted

    @property
    def electable(self) -> bool:
        """Whether this replica takes the next epoch when nobody reigns, or the holders say so.

        What it wins after this has become False it gives up at once, untold.
        """
        return self._presence.electable

    @electable.setter
    def electable(self, value: bool) -> None:
        self._presence.electable = value
        self._carry_out()

    def suspect(self, epoch: int) -> None:
        """Tell the others that the primary of this epoch is silent."""
        self._presence.suspect(epoch)
        self._carry_out()

    def withdraw(self) -> None:
        """Take the suspicion back."""
        self._presence.withdraw()
        self._carry_out()

    def observe_epoch(self, epoch: int) -> None:
        """The feed has shown this epoch: a ZooKeeper that has forgotten it is told."""
        self._presence.observe_epoch(epoch)
        self._carry_out()

    def yield_epoch(self) -> None:
        """Reign no more. Set `electable` to False before, lest the next epoch be taken at once."""
        self._presence.yield_epoch()
        self._carry_out()

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
        """Ask for what is to be done now, and see to what is to be done later."""
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
