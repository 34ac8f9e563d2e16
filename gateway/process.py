"""The gateway's process: the sockets, clocks and threads around `gateway.gateway`."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from random import Random, SystemRandom
from typing import Any, Protocol

import structlog

from feed.catch_up import CatchUp
from feed.digest import ListDigest
from feed.faults import Faults
from feed.gap import GapFailure
from feed.listener import Listener
from feed.pauses import keep_pauses_short
from feed.run import Run, empty_run
from feed.schema import ReplayKind
from feed.settings import Address, FeedSettings
from feed.snapshot import WholeSnapshot
from feed.subscriber import Groups, Subscriber
from gateway.client_connections import ClientConnections
from gateway.closing import ClosingReason
from gateway.gateway import Gateway, Verification
from gateway.open_files import allow_connections
from gateway.primary_connection import PrimaryConnection, PrimarySource
from gateway.secret_checks import SecretChecks
from gateway.settings import GatewaySettings
from gateway.verifier import Verifier
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
# Before replicas are asked again what the day began with, when none of them could say.
ASK_AGAIN_SECONDS = 0.5
_NO_FRAMES = empty_run(1)


class FeedLostError(Exception):
    """The gateway can't read the list any further, and so can't tell its clients anything more."""

    def __init__(self, failure: GapFailure) -> None:
        first, last, reason = failure
        super().__init__(f"frames {first} to {last} can't be had: {reason}")


class Membership(PrimarySource, Protocol):
    """What a gateway wants of ZooKeeper: a `zk.membership.Member`."""

    @property
    def connected(self) -> bool:
        """Whether what it says is up to date."""


class GatewayProcess:
    """A gateway on real sockets; call `follow` when ZooKeeper has news."""

    def __init__(
        self,
        exchange: str,
        feed: FeedSettings,
        settings: GatewaySettings,
        membership: Membership,
        retransmitters: Sequence[Address],
        faults: Faults | None = None,
        replicas: Sequence[Address] = (),
        holders: Sequence[Address] = (),
    ) -> None:
        """`replicas` and `holders` are `repair` addresses: of those who have snapshots, and of all
        who answer replays.

        Raises ClientsError or OSError when a file can't be read.
        """
        random = SystemRandom()
        self.settings = settings
        self.gateway = Gateway(exchange, settings, random, time.time_ns)
        self.address = settings.listen  # once it runs, with the port that it was given
        self.connections = ClientConnections(self.gateway, settings, self.flush_soon)
        self._tls = _tls_context(settings)
        self._verifier = Verifier(settings.clients)
        self._verifications: set[asyncio.Task[None]] = set()
        self._checks = SecretChecks(self.gateway, VERIFIER_THREADS)
        self._executor = ThreadPoolExecutor(VERIFIER_THREADS, "verifier")
        self._flushed = asyncio.Event()
        self._is_flush_due = False
        self._membership = membership
        self._primary = PrimaryConnection(
            self.gateway, membership, settings.uplink, random, self.flush_soon
        )
        self._is_beginning = bool(replicas)
        self._shard = feed.shard
        self._digest = ListDigest()
        self._subscriber = Subscriber(
            shard=feed.shard, source_count=len(retransmitters), random=random
        )
        self._listener = Listener(
            feed,
            self._subscriber,
            retransmitters,
            self._on_groups,
            receive=settings.receive,
            faults=faults,
            after=lambda: self._gaps.wake(),
        )
        self._subscriber.holds_naks_back = self._is_beginning
        self._day = self._catch_up(replicas, ReplayKind.DAY, random, self._on_snapshot)
        self._gaps = self._catch_up(holders, ReplayKind.LIST, random)

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serves clients until `stop` is set.

        Raises FeedLostError when a part of the list can't be had, OSError when an address is taken.
        """
        allow_connections(self.settings.connections.connections)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._executor.shutdown, cancel_futures=True)
            self._listener.start()
            stack.callback(self._listener.close)
            server = await self._listen()
            stack.callback(server.close)
            self.address = Address(*server.sockets[0].getsockname()[:2])
            tasks: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(work)
                for work in (
                    self._primary.run(),
                    self._keep_time(),
                    self._keep_up(),
                    stop.wait(),
                )
            ]
            stack.push_async_callback(_cancel, tasks)
            log.info("gateway ready", listen=str(self.address), tls=self._tls is not None)
            ready()
            await asyncio.wait((*tasks, self._listener.failed), return_when=asyncio.FIRST_COMPLETED)
            server.close()
            is_failed = self._listener.failed.done()
            reason = ClosingReason.FEED_LOST if is_failed else ClosingReason.GATEWAY_STOPS
            await self._end_sessions(reason)
            for task in tasks:
                if task.done():
                    task.result()
            if is_failed:
                raise FeedLostError(self._listener.failed.result())

    def follow(self) -> None:
        """There may be another primary."""
        self._primary.on_record()

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
        self._primary.flush(now_ns)
        self._flushed.set()

    def summary(self) -> dict[str, Any]:
        """What the gateway has done, for operators and programs."""
        counters = self._subscriber.counters
        primary = self._membership.primary
        return {
            "role": "gateway",
            **self.gateway.summary(),
            "epoch": self._subscriber.epoch,
            "primary": None if primary is None else primary.name,
            "zookeeper": "connected" if self._membership.connected else "suspended",
            "list_digest": self._digest.hex(),
            "gaps_detected": counters.gaps_detected,
            "gaps_filled": counters.gaps_filled,
            "feed": {**asdict(counters), "listener": asdict(self._listener.counters)},
            "replays": {
                "day": asdict(self._day.counters),
                "gaps": asdict(self._gaps.counters),
            },
        }

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

    def _on_groups(self, groups: Groups) -> None:
        self._digest.update(groups.run)
        self._tell_of_feed(groups.run)
        self.flush_soon()

    def _catch_up(
        self,
        holders: Sequence[Address],
        kind: ReplayKind,
        random: Random,
        on_snapshot: Callable[[WholeSnapshot], None] | None = None,
    ) -> CatchUp[Groups]:
        return CatchUp(
            holders,
            self._shard,
            self._subscriber,
            kind,
            random,
            deliver=self._on_groups,
            on_snapshot=on_snapshot,
            on_progress=lambda done, total: log.info("catching up", done=done, total=total),
            hold_naks=self._hold_naks,
        )

    async def _keep_up(self) -> None:
        """Begins with the running day, and catches up whenever it has fallen far behind."""
        if self._is_beginning:
            await self._begin()
            self._is_beginning = False
            self._hold_naks(False)
        await self._gaps.run()

    async def _begin(self) -> None:
        """Gets what the day began with, and the list from there on.

        NAKs are held back until then: they would bring all days, from the first frame on. As long
        as no primary is heard, the replicas may still be starting. Where none of them is of use,
        any holder is asked for the whole list, and then it is left to NAKs.
        """
        while not self.gateway.delivered_sequence:
            if not await self._ask(self._day) and self._subscriber.epoch:
                await self._ask(self._gaps)
                return
            if not self.gateway.delivered_sequence:
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _ask(self, catch_up: CatchUp[Groups]) -> bool:
        """Has a replay made while nobody is let in; whether somebody answered."""
        self.gateway.is_catching_up = True
        try:
            return await catch_up.catch_up()
        finally:
            self.gateway.is_catching_up = False

    def _on_snapshot(self, snapshot: WholeSnapshot) -> None:
        """The day began with this; raises SnapshotError when it can't have."""
        head = snapshot.head
        self.gateway.restore(snapshot)
        self._digest = ListDigest(head.digest_sequence, head.list_digest)
        self._digest.update(snapshot.tail)
        self._subscriber.receiver.fence(head.epoch)  # who led before may not know it yet
        self._subscriber.restart(head.sequence + 1)
        log.info("day restored", day=self.gateway.days.day, sequence=head.sequence)

    def _hold_naks(self, holds: bool) -> None:
        self._subscriber.holds_naks_back = holds or self._is_beginning
        self._listener.wake()

    async def _keep_time(self) -> None:
        while True:
            self._tell_of_feed(_NO_FRAMES)  # the epoch and the commit move without groups, too
            now_ns = time.monotonic_ns()
            self.gateway.on_time(now_ns)
            self.flush()
            await asyncio.sleep(max(0, self.gateway.deadline_ns - now_ns) / 1e9)

    def _tell_of_feed(self, run: Run) -> None:
        subscriber = self._subscriber
        now_ns = time.monotonic_ns()
        self.gateway.on_feed(run, subscriber.epoch, subscriber.committed_sequence, now_ns)

    async def _verify(self, verification: Verification) -> None:
        _, name, secret = verification
        loop = asyncio.get_running_loop()
        try:
            client = await loop.run_in_executor(self._executor, self._verifier.verify, name, secret)
        except Exception as error:  # no traceback: it might show the secret
            log.error("secret not checked", client=name, why=repr(error))
            self._checks.on_failed(verification, time.monotonic_ns())
        else:
            self._tell_of_feed(_NO_FRAMES)  # it is not let in while this gateway lags behind
            self._checks.on_checked(verification, client, time.monotonic_ns())
        self.flush()

    async def _end_sessions(self, reason: ClosingReason) -> None:
        """Says goodbye to all clients, and has what they leave behind committed."""
        self.gateway.stop(reason, time.monotonic_ns())
        self.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while self.connections.count or self.gateway.uplink.pending_count:
                    self._flushed.clear()
                    await self._flushed.wait()
        self.connections.abort()
        await _cancel(self._verifications)


async def run(
    name: str,
    exchange: str,
    feed: FeedSettings,
    zookeeper: ZooKeeperSettings,
    settings: GatewaySettings,
    retransmitters: Sequence[Address],
    stop: asyncio.Event,
    ready: Callable[[], None],
    faults: Faults | None = None,
    replicas: Sequence[Address] = (),
    holders: Sequence[Address] = (),
) -> dict[str, Any]:
    """Runs the gateway `name` of an exchange until `stop` is set; returns what it did.

    NAKs go to `retransmitters`; what the day began with comes from one of the `replicas`, long
    ranges from any of the `holders`.
    Calls `ready` once clients can connect, primary or not. `exchange` is the name of the SoupBinTCP
    session. Raises ClientsError or OSError when a file can't be read or an address is taken,
    FeedLostError when the gateway can't go on.
    """
    member = Member(
        zookeeper,
        exchange,
        feed.shard,
        name,
        role="gateway",
        holder=False,
        on_change=lambda: gateway.follow(),
    )
    gateway = GatewayProcess(
        exchange, feed, settings, member, retransmitters, faults, replicas, holders
    )
    pauses = asyncio.ensure_future(keep_pauses_short())
    await member.start()
    try:
        await gateway.run(stop, ready)
    finally:
        summary = {"name": name, **gateway.summary()}
        log.info("gateway stopped", **summary)
        await member.stop()
        await _cancel([pauses])
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


async def _cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Ends these tasks; what they raised is for who awaits them, or has been told."""
    waiting = [task for task in tasks if not task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
