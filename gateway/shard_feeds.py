"""The shards that a gateway hears: those of the directory, also when there is one more.

A thin shell; what a further shard means to clients is decided in `gateway.gateway`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import structlog

from feed.gap import GapFailure
from gateway.shard_feed import ShardFeed, ShardSources, cancel
from zk.directory import Directory

log = structlog.get_logger()

# Before it is looked again for a shard that the directory names and the configuration does not
# have: an operator who has just added it waits no longer, and reading a small file costs nothing.
RELOAD_SECONDS = 3.0

# Reads the configuration anew: from where the lists of all shards are to be had now.
Reload: TypeAlias = Callable[[], Mapping[int, ShardSources]]


class ShardFeeds:
    """The feeds of a gateway, made by `make`; each runs from when it is made on.

    `on_end` is called when one has come to an end, which it does by an error alone.
    """

    def __init__(
        self,
        directory: Directory,
        sources: Mapping[int, ShardSources],
        reload: Reload | None,
        make: Callable[[ShardSources], ShardFeed],
        on_end: Callable[[], None],
    ) -> None:
        """`sources` are those that the configuration of this host has by now."""
        self.running: dict[int, ShardFeed] = {}  # by shard
        self._directory = directory
        self._sources = dict(sources)
        self._reload = reload
        self._make = make
        self._on_end = on_end
        self._news = asyncio.Event()  # of the directory
        self._told: dict[int, str] = {}  # why a shard does not run, as the log has it
        self._task: asyncio.Future[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether a list can't be read any further."""
        return any(feed.failed.done() for feed in self.running.values())

    async def start(self) -> None:
        """Begins with all shards that are known; raises OSError when an address is taken."""
        await self._start_configured()
        self._task = asyncio.ensure_future(self._follow())
        self._task.add_done_callback(lambda _: self._on_end())

    def on_directory(self, directory: Directory) -> None:
        """There is another directory; the gateway has heard of it already."""
        self._directory = directory
        self._news.set()

    async def stop(self) -> None:
        """Ends all that `start` has begun, but for ZooKeeper."""
        if self._task is not None:
            await cancel([self._task])
        for feed in self.running.values():
            await feed.stop()

    async def leave(self) -> None:
        """Leaves ZooKeeper."""
        await asyncio.gather(*(feed.leave() for feed in self.running.values()))

    def losses(self) -> list[tuple[int, GapFailure]]:
        """The lists that can't be read any further, and why; raises what else has ended a feed."""
        tasks = [task for feed in self.running.values() for task in feed.tasks]
        for task in (*tasks, self._task):
            if task is not None and task.done():
                task.result()
        return [
            (feed.shard, feed.failed.result())
            for feed in self.running.values()
            if feed.failed.done()
        ]

    async def _follow(self) -> None:
        """Starts with each shard that the directory names, once the configuration has it.

        Raises OSError when an address is taken, while there are no clients yet to be served on.
        """
        if not self._directory.shards:
            if not await self._hears_news(RELOAD_SECONDS):
                log.warning("nobody is let in: ZooKeeper has not said yet which shards there are")
                await self._hears_news(None)
            await self._start_configured()
        while True:
            self._news.clear()
            is_missing = await self._start_missing()
            await self._hears_news(RELOAD_SECONDS if is_missing else None)

    async def _hears_news(self, within_seconds: float | None) -> bool:
        """Waits for another directory; whether there was one before that time was over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._news.wait()
        return self._news.is_set()

    async def _start_configured(self) -> None:
        """Starts with the shards of the directory that the configuration has."""
        for shard in self._directory.shards:
            if shard in self._sources:
                await self._start(self._sources[shard])

    async def _start_missing(self) -> bool:
        """Tries to start with the shards that do not run; whether one of them still does not."""
        missing = [shard for shard in self._directory.shards if shard not in self.running]
        trouble = self._read_configuration() if missing else ""
        for shard in missing:
            sources = self._sources.get(shard)
            if sources is None:
                self._tell(shard, trouble or "the configuration does not have it")
                continue
            try:
                await self._start(sources)
            except (OSError, ValueError) as error:  # clients of the other shards are served on
                self._tell(shard, str(error))
            else:
                log.info("shard found", shard=shard)
        return not self.running.keys() >= set(self._directory.shards)

    def _read_configuration(self) -> str:
        """Takes over what has come into the configuration; why it can't be read, if so."""
        if self._reload is None:
            return ""
        try:
            self._sources |= self._reload()
        except Exception as error:  # an operator may be in the middle of changing it
            return str(error)
        return ""

    def _tell(self, shard: int, why: str) -> None:
        """A shard can't be heard; once for each reason is enough."""
        if self._told.get(shard) != why:
            self._told[shard] = why
            log.error(
                "a shard of the directory can't be heard here, so its symbols can't be traded"
                f" through this gateway; see to it that this host's configuration has"
                f" [shards.{shard}]",
                shard=shard,
                why=why,
            )

    async def _start(self, sources: ShardSources) -> None:
        feed = self._make(sources)
        try:
            await feed.start()
        except BaseException:
            await feed.stop()
            await feed.leave()
            raise
        self.running[feed.shard] = feed
        for future in (*feed.tasks, feed.failed):
            future.add_done_callback(lambda _: self._on_end())
