"""The retransmitter's process: the sockets, the clock and ZooKeeper around a `Retransmitter`."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import asdict
from random import Random, SystemRandom
from typing import Any

import structlog

from feed.continuity import Continuity
from feed.faults import Faults
from feed.holder import Holder, HolderIdentity
from feed.keeping import Keeping
from feed.listener import Listener
from feed.pauses import keep_pauses_short
from feed.repair_port import RepairPort
from feed.replication_port import ReplicationPort
from feed.schema import ReplayKind
from feed.settings import ShardSettings
from feed.unheard import Unheard
from retransmitter.retransmitter import Retransmitter
from retransmitter.settings import RetransmitterSettings
from zk.membership import Member
from zk.settings import ZooKeeperSettings
from zk.standing import Standing

log = structlog.get_logger()

_MILLISECOND_NS = 1_000_000


class RetransmitterProcess:
    """One retransmitter on real sockets."""

    def __init__(
        self,
        name: str,
        exchange: str,
        shard: ShardSettings,
        zookeeper: ZooKeeperSettings,
        settings: RetransmitterSettings,
        faults: Faults | None = None,
    ) -> None:
        """`faults` befall what comes from the feed and from peers.

        Raises JournalError or StorageError when the journal can't be used.
        """
        self._name = name
        self._shard = shard
        self._settings = settings
        self._keeping = (
            None
            if shard.journal is None
            else Keeping(shard.journal, exchange, shard.feed.shard, name, drills=settings.drills)
        )
        others = [each.repair for other, each in shard.retransmitters.items() if other != name]
        replicas = [each.repair for each in shard.replicas.values()]
        self._peers = [*others, *replicas]
        feed = shard.feed
        self.retransmitter = Retransmitter(
            Holder(
                HolderIdentity(feed.shard, name, SystemRandom().getrandbits(64)),
                peer_count=len(others) + len(replicas),
                last_resort_count=len(replicas),
                random=Random(),
                cache_bytes=settings.cache_bytes,
                payload_limit_bytes=feed.payload_limit_bytes,
                suspicion_time_ns=shard.failover.suspicion_time_ms * _MILLISECOND_NS,
                limits=settings.limits(),
                journal=None if self._keeping is None else self._keeping.journal,
            ),
            tuple(shard.replicas),
        )
        self._listener: Listener[None] = Listener(
            feed,
            self.retransmitter,
            self._peers,
            receive=settings.receive,
            faults=faults,
            after=self.turn,
            unheard=Unheard(commits=True),
        )
        self._member = Member(
            zookeeper,
            exchange,
            feed.shard,
            name,
            role="retransmitter",
            holder=True,
            memory="" if self._keeping is None else self._keeping.journal.token,
            on_change=self._on_zookeeper,
        )
        self._standing = Standing(self.retransmitter, self._member)
        self._was_failing = False

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Keep the list and answer NAKs until `stop` is set.

        Raises OSError when an address can't be used.
        """
        async with AsyncExitStack() as stack:
            if self._keeping is not None:
                stack.callback(self._keeping.close)
            self._repair_port = stack.enter_context(
                closing(RepairPort(self._settings.repair, self.retransmitter.on_nak))
            )
            self._replication = stack.enter_context(
                closing(
                    ReplicationPort(
                        self._settings.replication,
                        {name: each.replication for name, each in self._shard.holders.items()},
                        self._shard.feed.payload_limit_bytes + 1,
                        self.retransmitter.on_word,
                        self.turn,
                    )
                )
            )
            self._continuity = Continuity(
                self._repair_port.address,
                self.retransmitter.holder,
                self.retransmitter,
                self._peers,
                ReplayKind.LIST,
                self.retransmitter.holder.rebase,
                self._listener,
                self._keeping,
            )
            stack.push_async_callback(self._continuity.stop)
            self._listener.start()
            stack.callback(self._listener.close)
            self._repair_port.start()
            self._replication.start()
            self._continuity.start()
            await self._member.start()
            stack.push_async_callback(self._member.stop)
            repair = str(self._repair_port.address)
            log.info("retransmitter ready", name=self._name, repair=repair)
            ready()
            pauses = asyncio.ensure_future(keep_pauses_short())
            stack.callback(pauses.cancel)
            stopped = asyncio.ensure_future(stop.wait())
            stack.callback(stopped.cancel)
            ends: set[asyncio.Future[Any]] = {stopped, self._listener.failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._listener.failed.done():
                self._listener.failed.result()

    def turn(self) -> None:
        """Let out what anything that came in has caused."""
        now_ns = time.monotonic_ns()
        self._replication.send(self.retransmitter.turn(now_ns))
        self._standing.tell(now_ns)
        self._report_failure()
        self._continuity.turn(self.turn)
        self._listener.wake()

    def summary(self) -> dict[str, object]:
        """What the retransmitter holds and has done, for JSON."""
        holder = self.retransmitter.holder
        received, repairs = holder.received, holder.repairs
        return {
            "role": "retransmitter",
            "name": self._name,
            "epoch": holder.epoch,
            "first_sequence": holder.list.first_sequence,
            "next_sequence": holder.list.next_sequence,
            "stored_sequence": holder.list.stored_sequence,
            "storage_failure": holder.storage_failure,
            "committed_sequence": holder.committed_sequence,
            "vote": holder.vote.value,
            "tails_dropped": holder.list.tails_dropped,
            "list_digest": holder.list.digest(holder.last_sequence),
            "failure": None if holder.failure is None else holder.failure._asdict(),
            "naks": self._repair_port.counters.datagrams,
            "frames_retransmitted": repairs.frames_retransmitted,
            "gaps_detected": received.gaps_detected,
            "gaps_filled": received.gaps_filled,
            "received": asdict(received),
            "repairs": asdict(repairs),
            "words_refused": holder.words_refused,
            "feed_sockets": asdict(self._listener.counters),
            "repair_port": asdict(self._repair_port.counters),
            "replication_port": asdict(self._replication.counters),
            "replay_port": asdict(self._continuity.port.counters),
            "catch_up": asdict(self._continuity.catch_up.counters),
        }

    def _on_zookeeper(self) -> None:
        """ZooKeeper has told something new."""
        self._standing.heed(time.monotonic_ns())
        self.turn()

    def _report_failure(self) -> None:
        """Say once that there is a gap which nobody can fill."""
        failure = self.retransmitter.holder.failure
        if failure is not None and not self._was_failing:
            log.error(
                "nobody has these frames: nothing after them is kept, what came before is served",
                first_sequence=failure.first_sequence,
                last_sequence=failure.last_sequence,
                reason=failure.reason,
            )
        self._was_failing = failure is not None


async def run(
    name: str,
    exchange: str,
    shard: ShardSettings,
    zookeeper: ZooKeeperSettings,
    settings: RetransmitterSettings,
    stop: asyncio.Event,
    ready: Callable[[], None],
    faults: Faults | None = None,
) -> dict[str, object]:
    """Keep the shard's frames and answer NAKs until `stop` is set; what was done, for JSON.

    Calls `ready` once it receives and answers. Raises OSError when an address can't be used,
    ValueError when the settings don't fit together.
    """
    process = RetransmitterProcess(name, exchange, shard, zookeeper, settings, faults)
    await process.run(stop, ready)
    log.info("retransmitter stopped", name=name)
    return process.summary()
