"""The replica's process: the sockets, clocks and ZooKeeper around `engine.replica`."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from random import Random, SystemRandom
from typing import Any, cast

import structlog

from engine.command_port import CommandPort
from engine.control import Answer, ControlServer
from engine.markets import MarketMachine, market_builder
from engine.operating import Operating
from engine.primary import LeadSettings, Primary
from engine.replica import Replica, ReplicaRules, State
from engine.settings import InstrumentSettings, ReplicaSettings
from engine.snapshots import Snapshots
from feed.book import book_digest
from feed.codec import COMMAND_TYPES, decode_packet
from feed.continuity import Continuity
from feed.faults import Faults
from feed.holder import Holder, HolderIdentity
from feed.keeping import Keeping
from feed.listener import Listener
from feed.messages import (
    DefineInstrument,
    ShortSale,
    symbol_field,
)
from feed.multicast import FeedSender
from feed.pauses import keep_pauses_short
from feed.publisher import HeartbeatPolicy
from feed.repair_port import RepairPort
from feed.replication_port import ReplicationPort
from feed.schema import FrameType, ReplayKind
from feed.settings import FailoverSettings, JournalSettings, ShardSettings
from feed.unheard import Unheard
from zk.membership import Member
from zk.settings import ZooKeeperSettings
from zk.standing import Standing

log = structlog.get_logger()

_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000
# Whether it may stand for election changes with time alone, too.
_TICK_S = 0.1


class ReplicaProcess:
    """One replica on real sockets."""

    def __init__(
        self,
        name: str,
        exchange: str,
        shard: ShardSettings,
        zookeeper: ZooKeeperSettings,
        settings: ReplicaSettings,
        instruments: Sequence[InstrumentSettings],
        faults: Faults | None = None,
    ) -> None:
        """Raises OSError when an address can't be used, JournalError or StorageError when the
        journal can't be."""
        feed = shard.feed
        keeping = self._keeping = (
            None
            if shard.journal is None
            else Keeping(shard.journal, exchange, feed.shard, name, drills=settings.drills)
        )
        peers = [each.repair for each in shard.retransmitters.values()]
        replicas = [each.repair for other, each in shard.replicas.items() if other != name]
        self.replica = Replica(
            Holder(
                HolderIdentity(feed.shard, name, SystemRandom().getrandbits(64)),
                peer_count=len(peers) + len(replicas),
                last_resort_count=len(replicas),
                random=Random(),
                cache_bytes=settings.cache_bytes,
                payload_limit_bytes=feed.payload_limit_bytes,
                suspicion_time_ns=shard.failover.suspicion_time_ms * _MILLISECOND_NS,
                journal=None if keeping is None else keeping.journal,
            ),
            ReplicaRules(
                holders=tuple(shard.holders),
                replicas=tuple(shard.replicas),
                lead=lead_settings(feed.payload_limit_bytes, shard.failover),
                listings=tuple(map(_listing, instruments)),
            ),
            market_builder(settings.machine),
            time.time_ns,
            snapshots=_snapshots(keeping, shard.journal),
        )
        self._settings = settings
        self._operating = Operating(self.replica, self.turn, time.time_ns)
        self._control = ControlServer(self._handle)
        self._commands = CommandPort(self.replica, self.turn)
        self._member = Member(
            zookeeper,
            exchange,
            feed.shard,
            name,
            role="replica",
            holder=True,
            commands=str(settings.commands),
            memory="" if self._keeping is None else self._keeping.journal.token,
            on_change=self._on_zookeeper,
        )
        self._standing = Standing(self.replica, self._member)
        self._resources = contextlib.ExitStack()
        with self._resources:
            self._sender = FeedSender(feed)
            self._resources.callback(self._sender.close)
            self._repair_port = self._opened(RepairPort(settings.repair, self.replica.on_nak))
            self._replication = self._opened(
                ReplicationPort(
                    settings.replication,
                    {other: each.replication for other, each in shard.holders.items()},
                    feed.payload_limit_bytes + 1,
                    self.replica.on_word,
                    self.turn,
                )
            )
            self._resources = self._resources.pop_all()
        self._listener: Listener[None] = Listener(
            feed,
            self.replica,
            [*peers, *replicas],
            receive=settings.receive,
            faults=faults,
            after=self.turn,
            unheard=Unheard(self._sender.address, commits=True),
        )
        self._continuity = Continuity(
            self._repair_port.address,
            self.replica.holder,
            self.replica,
            [*replicas, *peers],
            ReplayKind.STATE,
            self.replica.restart,
            self._listener,
            keeping,
            is_stuck=lambda: self.replica.lacks_state,
        )
        self._state = self.replica.state
        self._dies_in_group = False

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Be a replica until `stop` is set. Raises OSError when an address is taken."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._resources.close)
            if self._keeping is not None:
                stack.callback(self._keeping.close)
                stack.callback(self._write_snapshots)
            stack.push_async_callback(self._continuity.stop)
            if not await self._recover(stop):
                return
            self._listener.start()
            stack.callback(self._listener.close)
            self._repair_port.start()
            self._replication.start()
            await self._control.start(self._settings.control)
            stack.push_async_callback(self._control.stop)
            await self._commands.start(self._settings.commands)
            stack.push_async_callback(self._commands.stop)
            self._continuity.start()
            await self._member.start()
            stack.push_async_callback(self._member.stop)
            log.info("replica ready", name=self.replica.name, commands=str(self._settings.commands))
            ready()
            tasks: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(work)
                for work in (stop.wait(), self._keep_time(), keep_pauses_short())
            ]
            stack.push_async_callback(_cancel, tasks)
            ends = (*tasks, self._listener.failed, self._commands.failed)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for done in ends:
                if done.done():
                    done.result()
            self.replica.take_last_snapshot()

    def turn(self) -> None:
        """Let out what anything that came in has caused."""
        output = self.replica.turn(time.monotonic_ns())
        if self._dies_in_group:
            _die_in_group(output.packets, self._sender)
        self._sender.send(output.packets)
        self._replication.send(output.words)
        self._standing.tell(time.monotonic_ns())
        state = self.replica.state
        if state is not self._state or state is State.PRIMARY:
            self._commands.settle()
            self._state = state
        self._continuity.turn(self.turn)
        self._write_snapshots()
        self._listener.wake()

    def summary(self, *, digests: bool = True) -> dict[str, Any]:
        """What the replica is and has done, for operators and programs.

        The digests cost time with everything that is in the list: without them, it costs next to
        nothing to ask.
        """
        replica, holder, member = self.replica, self.replica.holder, self._member
        market = self._market
        frame_counts = market.frame_counts
        return {
            "role": "replica",
            "name": replica.name,
            "shard": holder.identity.shard,
            "state": replica.state.value,
            "machine": market.kind,
            "epoch": replica.epoch,
            "primary": replica.leader,
            "sequence": replica.sequence,
            "committed_sequence": holder.committed_sequence,
            "commands": sum(frame_counts.get(each, 0) for each in COMMAND_TYPES),
            "frames": replica.sequence,
            "trades": frame_counts.get(FrameType.TRADE, 0),
            "rejects": frame_counts.get(FrameType.REJECTED, 0),
            "not_admitted": 0 if replica.primary is None else replica.primary.not_admitted,
            "bad_submissions": self._commands.bad_submissions,
            "vote": holder.vote.value,
            "takeovers": replica.takeovers,
            "tails_dropped": holder.list.tails_dropped,
            "divergence": None if replica.divergence is None else replica.divergence._asdict(),
            "failure": None if holder.failure is None else holder.failure._asdict(),
            "storage_failure": holder.storage_failure,
            "first_sequence": holder.list.first_sequence,
            "journal_sequence": None
            if self._keeping is None
            else self._keeping.journal.first_sequence,
            "stored_sequence": holder.list.stored_sequence,
            "day": market.day,
            "holders": replica.primary and _standings(replica.primary, replica.name),
            "zookeeper": "connected" if member.connected else "suspended",
            "members": {name: dict(data) for name, data in member.members.items()},
            "words_refused": holder.words_refused,
            "repairs": asdict(holder.repairs),
            "received": asdict(holder.received),
            "replay_port": asdict(self._continuity.port.counters),
            "catch_up": asdict(self._continuity.catch_up.counters),
            "live_orders": market.live_orders,
            "list_digest": holder.list.digest(replica.sequence) if digests else None,
            "book_digest": book_digest(market.book_entries()) if digests else None,
            "state_digest": market.digest().hex() if digests else None,
        }

    @property
    def _market(self) -> MarketMachine:
        """The replica's machine, which is a market here."""
        return cast(MarketMachine, self.replica.machine)

    async def _recover(self, stop: asyncio.Event) -> bool:
        """Carry out what is on the disk, before anything else; whether it came to its end."""
        began_ns = told_ns = time.monotonic_ns()
        total = self.replica.holder.held_sequence
        first = self.replica.sequence
        for sequence in self.replica.recover():
            await asyncio.sleep(0)
            if stop.is_set():
                return False
            if time.monotonic_ns() - told_ns >= _SECOND_NS:
                told_ns = time.monotonic_ns()
                name = self.replica.name
                log.info("recovering: carrying out", name=name, done=sequence, total=total)
        if total:
            seconds = round((time.monotonic_ns() - began_ns) / 1e9, 3)
            log.info("recovered", name=self.replica.name, first=first, last=total, seconds=seconds)
        return True

    def _write_snapshots(self) -> None:
        if self._keeping is not None and not self._keeping.is_writing:
            writing = self.replica.take_writing()
            if writing is not None:
                self._keeping.write(writing)

    def _opened(self, port: Any) -> Any:
        self._resources.callback(port.close)
        return port

    def _on_zookeeper(self) -> None:
        """ZooKeeper has told something new."""
        self._standing.heed(time.monotonic_ns())
        self.turn()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.turn()

    def _handle(self, request: Mapping[str, Any]) -> Answer:
        match request:
            case {"request": "status"}:
                return self.summary(digests=bool(request.get("digests")))
            case {"request": "session"} if self._settings.drills:
                number, password = self._member.session()
                return {"session_id": f"{number:x}", "password": password}
            case {"request": "die-in-group"} if self._settings.drills:
                self._dies_in_group = True
                return {"name": self.replica.name}
            case _:
                return self._operating.handle(request)


def lead_settings(payload_limit_bytes: int, failover: FailoverSettings) -> LeadSettings:
    """How a primary leads with this configuration."""
    interval_ns = failover.heartbeat_interval_ms * _MILLISECOND_NS
    return LeadSettings(
        payload_limit_bytes,
        failover.window_frames,
        HeartbeatPolicy(first_ns=min(2 * _MILLISECOND_NS, interval_ns), limit_ns=interval_ns),
    )


def _standings(primary: Primary, own_name: str) -> dict[str, dict[str, Any]]:
    """How far each holder is, and whether it is there and has a vote."""
    now_ns = time.monotonic_ns()
    return {
        name: {
            "sequence": sequence,
            "vote": name == own_name or primary.is_heard(name, now_ns),
        }
        for name, sequence in primary.held.items()
    }


def _die_in_group(packets: Sequence[bytes], sender: FeedSender) -> None:
    """For a drill: send the packets up to one that breaks off in a group, and die at once."""
    for count, packet in enumerate(packets, 1):
        frames = decode_packet(packet).frames
        if frames and not frames[-1].is_end:
            sender.send(packets[:count])
            os.kill(os.getpid(), signal.SIGKILL)


def _snapshots(keeping: Keeping | None, settings: JournalSettings | None) -> Snapshots | None:
    if keeping is None or settings is None:
        return None
    return Snapshots(
        keeping.snapshots, every_frames=settings.snapshot_frames, count=settings.snapshots
    )


def _listing(settings: InstrumentSettings) -> DefineInstrument:
    return DefineInstrument(
        symbol_field(settings.symbol),
        settings.tick_size,
        settings.lot_size,
        ShortSale.ALLOWED if settings.short_sale else ShortSale.FORBIDDEN,
    )


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run(
    name: str,
    exchange: str,
    shard: ShardSettings,
    zookeeper: ZooKeeperSettings,
    settings: ReplicaSettings,
    instruments: Sequence[InstrumentSettings],
    stop: asyncio.Event,
    ready: Callable[[], None],
    faults: Faults | None = None,
) -> dict[str, Any]:
    """Run a replica until `stop` is set; what it did.

    Calls `ready` once its ports are open. Raises OSError when an address can't be used.
    """
    process = ReplicaProcess(name, exchange, shard, zookeeper, settings, instruments, faults)
    await process.run(stop, ready)
    return process.summary()
