"""The gateway's process: the sockets, clocks and threads around `gateway.gateway`.

What there is for each shard stands in `gateway.shard_feed`; here is what there is once.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import SystemRandom
from typing import Any

import structlog

from feed.faults import Faults
from feed.gap import GapFailure
from feed.pauses import keep_pauses_short
from feed.settings import Address
from gateway.client_connections import ClientConnections
from gateway.closing import ClosingReason
from gateway.gateway import Gateway, Verification
from gateway.open_files import allow_connections
from gateway.secret_checks import SecretChecks
from gateway.settings import GatewaySettings
from gateway.shard_feed import Join, Membership, ShardFeed, ShardSources, cancel
from gateway.shard_feeds import Reload, ShardFeeds
from gateway.verifier import Verifier
from zk.directory import Directory
from zk.directory_client import DirectoryClient
from zk.membership import Member
from zk.settings import ZooKeeperSettings

log = structlog.get_logger()

# Hashes looked at in parallel: each takes a core and 19 MiB, and the event loop needs a core too.
VERIFIER_THREADS = 2
TLS_HANDSHAKE_SECONDS = 5.0
# Connections that may wait to be taken: who finds no place tries again only a second later.
BACKLOG = 1024
# For what is on its way to be committed when the gateway stops, such as the mass cancels of clients
# that want them.
LAST_WORDS_SECONDS = 1.0
# Until ZooKeeper has said where all is: nobody is at home anywhere, so that nobody is let in.
NO_DIRECTORY = Directory((), (), {}, {})


class FeedLostError(Exception):
    """The gateway can't read a list any further, and so can't tell its clients anything more."""

    def __init__(self, shard: int, failure: GapFailure) -> None:
        first, last, reason = failure
        super().__init__(f"frames {first} to {last} of shard {shard} can't be had: {reason}")


class GatewayProcess:
    """A gateway on real sockets; call `on_directory` when there is another one."""

    def __init__(
        self,
        exchange: str,
        settings: GatewaySettings,
        directory: Directory,
        sources: Mapping[int, ShardSources],
        join: Join,
        faults: Faults | None = None,
        reload: Reload | None = None,
    ) -> None:
        """`sources` are those of the shards that this host's configuration has; `reload` reads it
        anew when the directory names another one.

        Raises ClientsError or OSError when a file can't be read.
        """
        random = SystemRandom()
        self.settings = settings
        self.gateway = Gateway(exchange, settings, random, time.time_ns, directory)
        self.address = settings.listen  # once it runs, with the port that it was given
        self.connections = ClientConnections(self.gateway, settings, self.flush_soon)
        self._tls = _tls_context(settings)
        self._verifier = Verifier(settings.clients)
        self._verifications: set[asyncio.Task[None]] = set()
        self._checks = SecretChecks(self.gateway, VERIFIER_THREADS)
        self._executor = ThreadPoolExecutor(VERIFIER_THREADS, "verifier")
        self._flushed = asyncio.Event()
        self._is_flush_due = False
        self._is_over = asyncio.Event()

        def make(found: ShardSources) -> ShardFeed:
            allow_connections(settings.connections.connections, len(self.feeds.running) + 1)
            own_faults = None if faults is None else faults.for_another()
            return ShardFeed(
                self.gateway, found, join, settings.uplink, random, self.flush_soon, own_faults
            )

        self.feeds = ShardFeeds(directory, sources, reload, make, self._is_over.set)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serves clients until `stop` is set. Call `leave` afterwards, whatever comes of it.

        Raises FeedLostError when a part of a list can't be had, OSError when an address is taken.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._executor.shutdown, cancel_futures=True)
            stack.push_async_callback(self.feeds.stop)
            await self.feeds.start()
            server = await self._listen()
            stack.callback(server.close)
            self.address = Address(*server.sockets[0].getsockname()[:2])
            tasks: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(work) for work in (self._keep_time(), stop.wait())
            ]
            stack.push_async_callback(cancel, tasks)
            for task in tasks:
                task.add_done_callback(lambda _: self._is_over.set())
            log.info("gateway ready", listen=str(self.address), tls=self._tls is not None)
            ready()
            await self._is_over.wait()
            server.close()
            is_lost = self.feeds.is_lost
            await self._end_sessions(
                ClosingReason.FEED_LOST if is_lost else ClosingReason.GATEWAY_STOPS
            )
            for task in tasks:
                if task.done():
                    task.result()
            for loss in self.feeds.losses():
                raise FeedLostError(*loss)

    async def leave(self) -> None:
        """Leaves ZooKeeper."""
        await self.feeds.leave()

    def on_directory(self, directory: Directory) -> None:
        """There is another directory."""
        self.gateway.on_directory(directory, time.monotonic_ns())
        self.feeds.on_directory(directory)
        self.flush_soon()

    def flush_soon(self) -> None:
        """Something has happened to the gateway; `flush` once for all that does in this turn."""
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_if_due)

    def flush(self) -> None:
        """Carries out what the gateway asks for."""
        self._is_flush_due = False
        now_ns = time.monotonic_ns()
        self.connections.flush(now_ns)
        for verification in self._checks.take(now_ns):
            task = asyncio.ensure_future(self._verify(verification))
            self._verifications.add(task)
            task.add_done_callback(self._verifications.discard)
        for feed in self.feeds.running.values():
            feed.flush(now_ns)
        self._flushed.set()

    def summary(self) -> dict[str, Any]:
        """What the gateway has done, for operators and programs."""
        summary = {"role": "gateway", **self.gateway.summary()}
        for shard, feed in self.feeds.running.items():
            # One shard alone has its part among the rest.
            summary.get("shards", {}).get(str(shard), summary).update(feed.summary())
        return summary

    def _flush_if_due(self) -> None:
        if self._is_flush_due:
            self.flush()

    async def _listen(self) -> asyncio.Server:
        host, port = self.settings.listen
        return await asyncio.get_running_loop().create_server(
            self.connections.make,
            host,
            port,
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else TLS_HANDSHAKE_SECONDS,
        )

    async def _keep_time(self) -> None:
        while True:
            self._tell_of_feeds()
            now_ns = time.monotonic_ns()
            self.gateway.on_time(now_ns)
            self.flush()
            await asyncio.sleep(max(0, self.gateway.deadline_ns - now_ns) / 1e9)

    def _tell_of_feeds(self) -> None:
        for feed in self.feeds.running.values():
            feed.tell()

    async def _verify(self, verification: Verification) -> None:
        _, name, secret = verification
        loop = asyncio.get_running_loop()
        try:
            client = await loop.run_in_executor(self._executor, self._verifier.verify, name, secret)
        except Exception as error:  # no traceback: it might show the secret
            log.error("secret not checked", client=name, why=repr(error))
            self._checks.on_failed(verification, time.monotonic_ns())
        else:
            self._tell_of_feeds()  # it is not let in while this gateway lags behind
            self._checks.on_checked(verification, client, time.monotonic_ns())
        self.flush()

    async def _end_sessions(self, reason: ClosingReason) -> None:
        """Says goodbye to all clients, and has what they leave behind committed."""
        self.gateway.stop(reason, time.monotonic_ns())
        self.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while self.connections.count or self.gateway.pending_count:
                    self._flushed.clear()
                    await self._flushed.wait()
        self.connections.abort()
        await cancel(self._verifications)


async def run(
    name: str,
    exchange: str,
    shards: Mapping[int, ShardSources],
    zookeeper: ZooKeeperSettings,
    settings: GatewaySettings,
    stop: asyncio.Event,
    ready: Callable[[], None],
    faults: Faults | None = None,
    reload: Reload | None = None,
    first_directory: Directory | None = None,
) -> dict[str, Any]:
    """Runs the gateway `name` of an exchange until `stop` is set; returns what it did.

    Without a `first_directory` all is in the one shard that there is. With one, ZooKeeper says
    where all is, and is told this where nobody has said so before; nobody is let in until then.
    `reload` reads the configuration anew when the directory names shards that are not in `shards`.

    Calls `ready` once clients can connect, primary or not. `exchange` is the name of the SoupBinTCP
    session. Raises ClientsError or OSError when a file can't be read or an address is taken,
    FeedLostError when the gateway can't go on.
    """

    def join(shard: int, on_change: Callable[[], None]) -> Membership:
        return Member(
            zookeeper, exchange, shard, name, role="gateway", holder=False, on_change=on_change
        )

    alone = Directory.alone(next(iter(shards)))
    directory = alone if first_directory is None else NO_DIRECTORY
    gateway = GatewayProcess(exchange, settings, directory, shards, join, faults, reload)
    async with contextlib.AsyncExitStack() as stack:
        pauses = asyncio.ensure_future(keep_pauses_short())
        stack.push_async_callback(cancel, [pauses])
        if first_directory is not None:
            source = DirectoryClient(
                zookeeper, exchange, first=first_directory, on_change=gateway.on_directory
            )
            await stack.enter_async_context(source)
        stack.push_async_callback(gateway.leave)
        try:
            await gateway.run(stop, ready)
        finally:
            summary = {"name": name, **gateway.summary()}
            log.info("gateway stopped", **summary)
    return summary


def _tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except OSError as error:  # ssl.SSLError is one
        files = f"{settings.tls_certificate} and {settings.tls_key}"
        raise OSError(f"can't use the TLS certificate and key in {files}: {error}") from error
    return context
