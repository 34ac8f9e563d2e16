"""The engine's process: the sockets, clocks and signals around a primary."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog

from engine.control import Answer, ControlServer
from engine.market import Market
from engine.replica import Primary, ShardIdentity
from engine.settings import EngineSettings, InstrumentSettings
from feed.book import book_digest
from feed.codec import WireError
from feed.datagrams import Decision, encode_decision, take_submissions
from feed.messages import (
    DefineInstrument,
    SetTradingState,
    ShortSale,
    TradingState,
    symbol_field,
)
from feed.multicast import FeedSender
from feed.repair_port import RepairPort
from feed.schema import FrameType
from feed.settings import FeedSettings

log = structlog.get_logger()


class CommandConnection(asyncio.Protocol):
    """A gateway's connection: submissions in, decisions out."""

    def __init__(self, engine: "EngineProcess") -> None:
        self._engine = engine
        self._buffer = bytearray()
        self._submissions = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._engine.connections.add(self)
        log.info("gateway connected", peer=transport.get_extra_info("peername"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.connections.discard(self)
        log.info("gateway disconnected", submissions=self._submissions)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            submissions = take_submissions(self._buffer)
        except WireError as error:
            log.error("connection closed: its bytes are no submissions", reason=str(error))
            self._engine.bad_submissions += 1
            self.close()
            return
        if not submissions:
            return
        time_ns = time.time_ns()
        for submission in submissions:
            self._engine.primary.submit(submission, time_ns)
        self._engine.publish()
        self._submissions += len(submissions)
        decision = Decision(self._submissions, self._engine.primary.last_sequence)
        if self._transport is not None:
            self._transport.write(encode_decision(decision))

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()


class EngineProcess:
    """A solo primary on real sockets."""

    def __init__(
        self,
        feed: FeedSettings,
        settings: EngineSettings,
        instruments: Sequence[InstrumentSettings],
        epoch: int,
    ) -> None:
        self.connections: set[CommandConnection] = set()
        self.bad_submissions = 0
        self.market = Market()
        self.primary = Primary(
            ShardIdentity(feed.shard, epoch, "engine", ("engine",)),
            self.market,
            payload_limit_bytes=feed.payload_limit_bytes,
            cache_bytes=settings.cache_bytes,
        )
        self._settings = settings
        self._instruments = instruments
        self._sender = FeedSender(feed)
        self._repair_port: RepairPort | None = None
        self._server: asyncio.Server | None = None
        self._control = ControlServer(self._handle)
        self._heartbeat: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open every port and begin the epoch; raises OSError when an address is taken."""
        loop = asyncio.get_running_loop()
        self._repair_port = RepairPort(self._settings.repair, self.primary.on_nak)
        self._repair_port.start()
        await self._control.start(self._settings.control)
        self.primary.open_epoch(time.time_ns(), map(_listing, self._instruments))
        self.publish()
        self._server = await loop.create_server(
            lambda: CommandConnection(self), *self._settings.commands
        )

    async def stop(self) -> None:
        """Close every port; the list ends where it is."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        await self._control.stop()
        if self._server is not None:
            self._server.close()
            for connection in tuple(self.connections):
                connection.close()
            await self._server.wait_closed()
        if self._repair_port is not None:
            self._repair_port.close()
        self._sender.close()

    def publish(self) -> None:
        """Send what has been sequenced, and set the clock for the next heartbeat."""
        self._sender.send(self.primary.flush(time.monotonic_ns()))
        self._schedule_heartbeat()

    def summary(self) -> dict[str, Any]:
        """What the engine has done, for operators and programs."""
        primary = self.primary
        return {
            "role": "engine",
            "shard": primary.identity.shard,
            "epoch": primary.identity.epoch,
            "sequence": primary.last_sequence,
            "committed_sequence": primary.committed_sequence,
            "commands": primary.commands,
            "frames": primary.last_sequence,
            "trades": primary.frames_by_type[FrameType.TRADE],
            "rejects": primary.frames_by_type[FrameType.REJECTED],
            "not_admitted": primary.not_admitted,
            "bad_submissions": self.bad_submissions,
            "repairs": asdict(primary.repairs.counters),
            "live_orders": len(self.market.orders),
            "book_digest": book_digest(self.market.book_entries()),
            "state_digest": self.market.digest().hex(),
        }

    def _schedule_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        loop = asyncio.get_running_loop()
        delay_ns = self.primary.deadline_ns - time.monotonic_ns()
        self._heartbeat = loop.call_later(max(0, delay_ns) / 1e9, self._on_heartbeat)

    def _on_heartbeat(self) -> None:
        self._sender.send(self.primary.on_time(time.monotonic_ns()))
        self._schedule_heartbeat()

    def _handle(self, request: Mapping[str, Any]) -> Answer:
        match request:
            case {"request": "status"}:
                return self.summary()
            case {"request": "halt" | "resume" as wanted, "symbol": str(symbol)}:
                return self._set_trading_state(wanted, symbol)
            case _:
                return {"error": 'known requests: "status"; "halt" and "resume" with a "symbol"'}

    def _set_trading_state(self, wanted: str, symbol: str) -> Answer:
        try:
            field = symbol_field(symbol)
        except ValueError as error:
            return {"error": str(error)}
        if field not in self.market.instruments:
            return {"error": f"{symbol} is not listed here"}
        state = TradingState.HALTED if wanted == "halt" else TradingState.TRADING
        self.primary.sequence(SetTradingState(field, state), time.time_ns())
        self.publish()
        log.info("trading state set", symbol=symbol, state=state.name)
        return {"symbol": symbol, "state": state.name, "sequence": self.primary.last_sequence}


def _listing(settings: InstrumentSettings) -> DefineInstrument:
    return DefineInstrument(
        symbol_field(settings.symbol),
        settings.tick_size,
        settings.lot_size,
        ShortSale.ALLOWED if settings.short_sale else ShortSale.FORBIDDEN,
    )


async def run(
    feed: FeedSettings,
    settings: EngineSettings,
    instruments: Sequence[InstrumentSettings],
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> dict[str, Any]:
    """Run the engine until `stop` is set; what it did.

    Calls `ready` once it takes commands. Raises OSError when an address is taken.
    """
    # Nobody counts the epochs of a solo primary; the second it starts in is later than any before.
    # So who still reads the list of an engine that died finds out that this is another list.
    epoch = time.time_ns() // 1_000_000_000
    engine = EngineProcess(feed, settings, instruments, epoch)
    try:
        await engine.start()
        log.info("engine ready", commands=str(settings.commands), shard=feed.shard, epoch=epoch)
        ready()
        await stop.wait()
    finally:
        await engine.stop()
    return engine.summary()
