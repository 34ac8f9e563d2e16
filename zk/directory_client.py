"""A process's part in the directory: the shell around `zk.directory_talk`, on kazoo and a clock."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import structlog

from zk.client import ZooKeeperClient
from zk.directory import Directory
from zk.directory_talk import DirectoryTalk, Outcome
from zk.nodes import ExchangeNodes
from zk.operations import Answer
from zk.settings import ZooKeeperSettings

log = structlog.get_logger()

Result = TypeVar("Result")


class DirectoryError(Exception):
    """The directory could not be read or changed in time; the text says why."""


class DirectoryClient:
    """The directory on a real connection; to be used, and told of changes, on one event loop."""

    def __init__(
        self,
        settings: ZooKeeperSettings,
        exchange: str,
        *,
        first: Directory | None = None,
        on_change: Callable[[Directory], None] = lambda directory: None,
    ) -> None:
        """`first` is created where there is none; without it, another process has to.

        `on_change` hears of the directory when it is first read, and whenever it is another one.
        Raises ValueError when `exchange` can't be the name of a node, or `first` is too large.
        """
        self._settings = settings
        self._talk = DirectoryTalk(ExchangeNodes.of(settings.root, exchange), first)
        self._on_change = on_change
        self._client: ZooKeeperClient | None = None
        self._session: tuple[int, bytes] | None = None
        self._known = self._talk.known
        self._happened = asyncio.Event()  # replaced by another each time that something happens
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "DirectoryClient":
        self.start()
        return self

    async def __aexit__(self, *rest: object) -> None:
        await self.stop()

    @property
    def directory(self) -> Directory | None:
        """The newest that is known; None until one was read."""
        return self._known.directory

    @property
    def connected(self) -> bool:
        """Whether there is a connection; without one, the directory may be out of date."""
        return self._known.connected

    def start(self) -> None:
        """Connect, in the background: that ZooKeeper is away is no error."""
        assert self._client is None, "a client is started once"
        self._client = ZooKeeperClient(self._settings, self)
        self._client.start()

    async def stop(self) -> None:
        """Leave. Bounded, with ZooKeeper gone."""
        client, self._client = self._client, None
        if self._timer is not None:
            self._timer.cancel()
        self._talk.on_disconnected()
        self._known = self._talk.known
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

    async def read(self, within_s: float | None = None) -> Directory:
        """The directory, once one is known. Raises DirectoryError when that takes too long."""
        async with self._bounded("read", within_s):
            return await self._until(lambda: self._known.directory)

    async def change(
        self, change: Callable[[Directory], Directory], within_s: float | None = None
    ) -> Directory:
        """Replace the directory by what `change` makes of it; the new one.

        When somebody else is faster, `change` is applied to what that one left. It may raise
        ValueError, which is passed on: then nothing is replaced. Raises DirectoryError when it
        takes too long; it may have been done all the same.
        """
        async with self._bounded("changed", within_s):
            while True:
                old = await self._until(lambda: self._talk.replaceable(time.monotonic_ns()))
                new = change(old)
                if new == old or await self._replace(new):
                    return new

    async def replace(
        self, expected: Directory, directory: Directory, within_s: float | None = None
    ) -> bool:
        """Replace the directory if it is as expected; whether that was done.

        Raises ValueError when a node can't hold it, DirectoryError when it takes too long.
        """
        async with self._bounded("changed", within_s):
            old = await self._until(lambda: self._talk.replaceable(time.monotonic_ns()))
            return old == expected and await self._replace(directory)

    async def _replace(self, directory: Directory) -> bool:
        try:
            self._talk.replace(directory, time.monotonic_ns())
            self._carry_out()
            return await self._until(self._talk.take_outcome) is Outcome.DONE
        finally:
            self._talk.forget_replacement()

    # What the client tells.

    def on_connected(self, session: int, password: bytes) -> None:
        """There is a connection for this session."""
        self._session = (session, password)
        self._talk.on_connected()
        self._carry_out()

    def on_disconnected(self) -> None:
        """The connection is lost."""
        self._talk.on_disconnected()
        self._carry_out()

    def on_answer(self, number: int, answer: Answer) -> None:
        """The answer to an operation."""
        self._talk.on_answer(number, answer, time.monotonic_ns())
        self._carry_out()

    def on_watch(self, path: str) -> None:
        """What was read at this path has changed."""
        self._talk.on_watch(path)
        self._carry_out()

    def _carry_out(self) -> None:
        """Ask for what is to be done now, see to what is to be done later, and tell."""
        client = self._client
        if client is None:
            return
        now_ns = time.monotonic_ns()
        for operation in self._talk.take_operations(now_ns):
            client.execute(operation)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ns = self._talk.deadline_ns(now_ns)
        if deadline_ns is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0, deadline_ns - now_ns) / 1e9, self._carry_out)
        before, self._known = self._known, self._talk.known
        self._happened.set()
        self._happened = asyncio.Event()
        if self._known.trouble not in (None, before.trouble):
            log.error("ZooKeeper refuses", why=self._known.trouble)
        directory = self._known.directory
        if directory is not None and directory != before.directory:
            log.debug("directory read", shards=directory.shards, change=self._known.change)
            self._on_change(directory)

    async def _until(self, probe: Callable[[], Result | None]) -> Result:
        """What `probe` finds, once it finds something."""
        while True:
            happened = self._happened
            result = probe()
            if result is not None:
                return result
            await happened.wait()

    @contextlib.asynccontextmanager
    async def _bounded(self, what: str, within_s: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError as error:
            why = self._known.trouble or (
                "ZooKeeper has none, or others are changing it all the time"
                if self._known.connected
                else "no connection"
            )
            raise DirectoryError(
                f"the directory was not {what} within {within_s} s,"
                f" in ZooKeeper at {self._settings.hosts}: {why}"
            ) from error
