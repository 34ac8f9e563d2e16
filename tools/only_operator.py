"""Sees to it that one operator at a time moves symbols, adds shards or symbols, or begins a day.

The lock is an ephemeral node in ZooKeeper, so that it is gone with who held it. It spares operators
confusion; that nothing is done twice is the machines' and the directory's own business.
"""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError  # type: ignore[import-untyped]
from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]

from tools.configuration import Configuration
from tools.console import CommandError
from zk.settings import ZooKeeperSettings

_CONNECT_WITHIN_S = 5.0  # an ensemble that is well takes milliseconds
_LOOK_AGAIN_AFTER_S = 0.1
# After the end of a killed one's session; ZooKeeper looks for such ends now and then.
_LEEWAY_S = 2.0


@contextlib.asynccontextmanager
async def only_operator(configuration: Configuration, what: str) -> AsyncIterator[None]:
    """Be the only one who changes the exchange; `what` is done, for others to read.

    One that was killed is waited for until its session ends. Raises CommandError when there is
    another one, or no ZooKeeper.
    """
    settings = configuration.zookeeper
    lock = _Lock(
        f"{settings.root}/{configuration.exchange}/operator",
        settings,
        {"what": what, "host": socket.gethostname(), "process": os.getpid()},
    )
    patience_s = settings.session_timeout_ms / 1000 + _LEEWAY_S
    try:
        await asyncio.to_thread(lock.take, time.monotonic() + patience_s)
        yield
    finally:
        await asyncio.to_thread(lock.leave)


class _Lock:
    """The node, and the session that has it; its calls block."""

    def __init__(self, path: str, settings: ZooKeeperSettings, data: dict[str, Any]) -> None:
        self._path = path
        self._hosts = settings.hosts
        session_s = settings.session_timeout_ms / 1000
        self._client = KazooClient(hosts=settings.hosts, timeout=session_s)
        self._data = json.dumps(data).encode()

    def take(self, deadline: float) -> None:
        """Create the node. Raises CommandError when that is not possible in time."""
        try:
            self._client.start(timeout=_CONNECT_WITHIN_S)
            while not self._has_created():
                if time.monotonic() > deadline:
                    raise CommandError(f"{self._holder()}; try again when that is over")
                time.sleep(_LOOK_AGAIN_AFTER_S)
        except (KazooException, KazooTimeoutError) as error:
            raise CommandError(f"ZooKeeper at {self._hosts} can't be asked: {error!r}") from error

    def leave(self) -> None:
        """Close the session: the node is gone with it."""
        self._client.stop()
        self._client.close()

    def _has_created(self) -> bool:
        try:
            self._client.create(self._path, self._data, ephemeral=True, makepath=True)
        except NodeExistsError:
            return False
        return True

    def _holder(self) -> str:
        """Who has the lock, and why."""
        try:
            told = json.loads(self._client.get(self._path)[0])
            words = f"{told['what']} (process {told['process']} on {told['host']})"
        except (NoNodeError, ValueError, KeyError, TypeError):
            words = "somebody else changes the exchange"
        return f"only one at a time: {words}"
