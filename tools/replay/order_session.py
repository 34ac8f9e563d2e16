"""One file of orders on its way through an exchange: one of its own, or one that runs."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import structlog
import uvloop

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from feed.messages import SelfTradePrevention
from gateway.client_errors import ClientError
from tools.configuration import Configuration
from tools.console import CommandError, Summary, stop_on_signals
from tools.credentials import find_secret, open_client
from tools.processes import DEFAULT_SYMBOLS, ClientSpec, Exchange
from tools.replay.endings import NO_LIMIT, ReplayInterrupted
from tools.replay.ledger import Ledger, Status
from tools.replay.order_check import Contents
from tools.replay.order_file import OrderFile
from tools.replay.order_formats import OrderFormat
from tools.replay.order_report import Row, Totals, make_rows, row_writer
from tools.replay.outcomes import Outcomes
from tools.replay.pace import Pace
from tools.replay.play import Play
from tools.watching import run_watched

TABLE_ROWS = 40  # more than fit a screen are for a file

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Running:
    """An exchange that runs, with the secrets of the file's clients."""

    configuration: Configuration
    secrets: Mapping[str, str]

    @classmethod
    def load(cls, path: Path, clients: Sequence[str], secrets: Path | None) -> "Running":
        """By its configuration. Raises UsageError when that or a secret is missing."""
        configuration = Configuration.load(path)
        return cls(configuration, {name: find_secret(name, secrets) for name in clients})

    @property
    def orders_per_second(self) -> int | None:
        """How much each gateway takes of a client that has no rate of its own."""
        gateways = self.configuration.gateways.values()
        return min((each.sessions.orders_per_second for each in gateways), default=None)


class OrderSession:
    """One replay of a file that has been checked. Without `running` it starts its own exchange."""

    def __init__(
        self,
        file: OrderFile,
        contents: Contents,
        pace: Pace,
        running: Running | None,
        faults: FaultShares | None = None,
    ) -> None:
        self.failure: CommandError | None = None  # why it ended before the file did
        self._file = file
        self._contents = contents
        self._pace = pace
        self._running = running
        self._faults = faults
        self._ledger = Ledger()
        self._play: Play | None = None
        self._seconds = 0.0

    def __enter__(self) -> "OrderSession":
        return self

    def __exit__(self, *exception: object) -> None:
        self._ledger.close()

    @property
    def has_begun(self) -> bool:
        """Whether the exchange could be reached, so that lines may have been sent."""
        return self._play is not None

    def run(self) -> None:
        """Play the file; what ended it too early, if anything, is `failure`."""
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        except CommandError as error:
            self.failure = error
        except ClientError as error:
            self.failure = CommandError(f"the replay stopped: {error}")

    def report(self, format: OrderFormat, file: TextIO | None) -> tuple[Summary, Totals, list[Row]]:
        """Write what became of each line, if to a file; the summary, and the first rows."""
        write = None if file is None else row_writer(format, file)
        totals = Totals()
        first: list[Row] = []
        for row in make_rows(self._file.lines(), self._ledger, totals):
            if write is not None:
                write(row)
            if len(first) < TABLE_ROWS:
                first.append(row)
        latest_ns = 0 if self._play is None else self._play.latest_ns
        summary = {
            "file": self._file.name,
            "clients": len(self._contents.clients),
            "symbols": len(self._contents.symbols),
            **totals.summary(),
            "seconds": round(self._seconds, 3),
            "latest_ms": latest_ns // 1_000_000,
        }
        if self.failure is not None:
            summary["failure"] = str(self.failure)
        elif totals.statuses[Status.UNANSWERED]:
            self.failure = CommandError("some lines were not answered")
        return summary, totals, first

    async def _run(self) -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await run_watched([self._replay(stop)], [self._until_stopped(stop)])
        if stop.is_set():
            raise ReplayInterrupted("the replay was stopped")

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        await stop.wait()
        if self._play is None:  # else it sees to that itself
            raise ReplayInterrupted("the replay was stopped before anything was sent")

    async def _replay(self, stop: asyncio.Event) -> None:
        if self._running is not None:
            await self._play_in(self._running, stop)
            return
        async with self._own_exchange() as own:
            log.info("the exchange is up", configuration=str(own.configuration_path))
            running = Running(own.configuration, own.secrets)
            await run_watched([self._play_in(running, stop)], [own.watch()])

    async def _play_in(self, running: Running, stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            clients = {
                name: await stack.enter_async_context(
                    open_client(running.configuration, name, secret, next_sequence=0)
                )
                for name, secret in running.secrets.items()
            }
            begin = time.monotonic()
            self._play = Play(clients, Outcomes(self._ledger), self._pace, stop)
            try:
                await self._play.run(self._file.lines())
            finally:
                self._seconds = time.monotonic() - begin

    def _own_exchange(self) -> Exchange:
        spec = ClientSpec(
            self_trade_prevention=SelfTradePrevention.OFF,
            orders_per_second=NO_LIMIT,
            orders_burst=NO_LIMIT,
        )
        # The finest tick: every price that can be written is to be taken.
        symbols = [InstrumentSettings(symbol=name, tick_size=1) for name in self._contents.symbols]
        return Exchange(
            name="REPLAY",
            symbols=symbols or DEFAULT_SYMBOLS,  # a file may have none: it needs some all the same
            clients=dict.fromkeys(self._contents.clients, spec),
            faults=self._faults,
        )
