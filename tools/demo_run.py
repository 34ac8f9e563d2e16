"""A run of the demo: an exchange, clients that trade, and what a screen shows of both."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import structlog

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from tools.console import Summary
from tools.layout import Transport
from tools.observer import FeedError
from tools.observers import Observers
from tools.outcome import LOAD, ShardEnd, summarize_shards
from tools.processes import ClientSpec, Exchange
from tools.rates import RateMeter
from tools.screen import REFRESHES_PER_SECOND, Screen
from tools.settling import settle
from tools.status import summarize as summarize_status
from tools.takeovers import Killer
from tools.view import HolderState, Scene

log = structlog.get_logger()

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "TSLA", "META", "NFLX")
REPLICAS = 3  # the fewest of which one may die and leave a backup behind
RETRANSMITTERS = 2
MOST_SHARDS = 4  # of five processes each: more is slow to start on a laptop
_KILL_KEY = "k"
_LOOK_AT_HOLDERS_S = 0.5  # how often the replicas are asked for what the screen shows of them


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is to be shown."""

    seconds: float | None  # of trading; None: until the user has seen enough
    symbols: int
    shards: int
    clients: int
    gateways: int
    rate: int  # commands a second, of all clients together
    kill_after_s: float | None  # kill the primary so often; None: only when the user asks for it
    seed: int
    faults: FaultShares | None
    transport: Transport
    keep: Path | None  # where the exchange stays when the demo is over


class Demo:
    """One run: the exchange, its simulated clients, and an independent subscriber of each list."""

    def __init__(self, options: DemoOptions, stop: asyncio.Event) -> None:
        self._options = options
        self._stop = stop
        clients = [f"C{i + 1:02}" for i in range(options.clients)]
        self._exchange = Exchange(
            clients={name: ClientSpec() for name in clients},
            symbols=[InstrumentSettings(symbol=name) for name in SYMBOLS[: options.symbols]],
            shards=options.shards,
            replicas=REPLICAS,
            retransmitters=RETRANSMITTERS,
            gateways=options.gateways,
            faults=options.faults,
            transport=options.transport,
            journal=None if options.keep is None else {},
            folder=options.keep,
        )
        self._begin_ns = time.monotonic_ns()
        self._meters = [
            (name, RateMeter(self._begin_ns)) for name in ("commands", "frames", "trades")
        ]
        self._state = "trading"
        self._status: dict[int, Summary] = {}  # of each shard, as it was when last looked at
        self.wanted: int | None = None  # the shard whose primary is to be killed next
        self._turn = 0  # of the shard whose primary is killed when it is not said which one
        self._last_killed = 1  # the shard whose primary was
        self._killed_ns = self._begin_ns  # when the last kill was over; at first, the beginning

    def keys(self) -> dict[str, Callable[[], None]]:
        """What the keys of a screen do: k kills a primary, a digit that of its shard."""
        shards = range(1, self._options.shards + 1)
        digits = {str(shard): partial(self.ask_for_kill, shard) for shard in shards}
        return {_KILL_KEY: self.ask_for_kill, **(digits if self._options.shards > 1 else {})}

    def ask_for_kill(self, shard: int | None = None) -> None:
        """Let a shard's primary be killed, unless one still is dead; of several, each in turn."""
        self.wanted = self._turn % self._options.shards + 1 if shard is None else shard
        self._turn = self.wanted

    async def run(self, screen: Screen | None) -> Summary:
        """Trade until the time is over or `stop` is set; what came of it.

        Raises CommandError when one of the processes fails, or nobody takes over.
        """
        async with self._exchange as exchange:
            faults = self._options.faults
            observers = Observers(
                exchange.shards,
                receive={
                    shard: address
                    for shard in exchange.shards
                    if (address := exchange.receive_of(shard)) is not None
                },
                faults=lambda: faults.faults(Random()) if faults is not None else None,
            )
            killers = {
                shard: Killer(exchange, observer, shard) for shard, observer in observers.items()
            }
            observers.start()
            try:
                await exchange.start(LOAD, self._load_arguments())
                log.info("trading", processes=len(exchange.children), folder=str(exchange.folder))
                with screen or contextlib.nullcontext():
                    seconds = await self._trade(observers, killers, screen)
                    await exchange.finish(LOAD)
                    ends = {
                        shard: ShardEnd(
                            await settle(exchange, observer, shard),
                            observer.summary(),
                            killers[shard].takeovers(),
                        )
                        for shard, observer in observers.items()
                    }
            finally:
                observers.close()
            await exchange.stop()
            return summarize_shards(
                exchange.configuration, ends, exchange.summaries, seconds, faults
            )

    async def _trade(
        self, observers: Observers, killers: Mapping[int, Killer], screen: Screen | None
    ) -> float:
        """Let the clients trade until it is time to stop; for how many seconds they did."""
        self._begin_ns = self._killed_ns = time.monotonic_ns()
        beside = [asyncio.ensure_future(self._exchange.watch())]
        if screen is not None:
            beside.append(asyncio.ensure_future(self._look_at_holders()))
        killing: asyncio.Future[None] | None = None
        for task in beside:
            task.add_done_callback(lambda _: self._stop.set())
        try:
            with contextlib.suppress(FeedError):  # settling says it again, with the result
                while not (self._stop.is_set() or self._is_over()) or killing is not None:
                    self._show(observers, killers, screen)
                    await observers.watch_until(
                        self._stop if killing is None else asyncio.Event(),
                        within_s=1 / REFRESHES_PER_SECOND,
                    )
                    killing = self._next_kill(killers, killing)
            for task in beside:
                if task.done():
                    task.result()
        finally:
            for task in beside:
                task.cancel()
            if killing is not None:
                killing.cancel()
        self._state = "stopping"
        self._show(observers, killers, screen)
        return (time.monotonic_ns() - self._begin_ns) / 1e9

    def _next_kill(
        self, killers: Mapping[int, Killer], killing: asyncio.Future[None] | None
    ) -> asyncio.Future[None] | None:
        """The kill that is under way, if one is: the same one, or one whose time has come."""
        wanted, self.wanted = self.wanted, None
        if killing is not None:
            if not killing.done():
                return killing
            killing.result()
            self._killed_ns = time.monotonic_ns()
        after_s = self._options.kill_after_s
        is_due = after_s is not None and time.monotonic_ns() - self._killed_ns >= after_s * 1e9
        if wanted is None and is_due:
            self.ask_for_kill()
            wanted, self.wanted = self.wanted, None
        if wanted is None or self._stop.is_set() or self._is_over():
            return None
        self._last_killed = wanted
        return asyncio.ensure_future(killers[wanted].kill_primary())

    async def _look_at_holders(self) -> None:
        exchange = self._exchange
        while True:
            self._status = {
                shard: summarize_status(view, await exchange.statuses(shard=shard))
                for shard, view in exchange.shards.items()
            }
            await asyncio.sleep(_LOOK_AT_HOLDERS_S)

    def _is_over(self) -> bool:
        seconds = self._options.seconds
        return seconds is not None and time.monotonic_ns() - self._begin_ns >= seconds * 1e9

    def _show(
        self, observers: Observers, killers: Mapping[int, Killer], screen: Screen | None
    ) -> None:
        if screen is not None:
            screen.show(lambda page: self._scene(observers, killers, page))

    def _scene(self, observers: Observers, killers: Mapping[int, Killer], page: int) -> Scene:
        now_ns = time.monotonic_ns()
        for name, meter in self._meters:
            meter.read(observers.total(name), now_ns)
        summary = observers.summary()
        faults = self._options.faults
        note = f"faults at every receiver: {faults}" if faults is not None else ""
        killer = killers[self._last_killed]
        times = [each.takeover_ms for each in killer.takeovers() if each.takeover_ms is not None]
        zookeeper = {str(each["zookeeper"]) for each in self._status.values()}
        lists, is_one = observers.lists(), len(observers) == 1
        led = f"  primary {lists[0].primary or 'nobody'}" if is_one else ""
        where = "" if is_one else f"shard {self._last_killed}: "
        return Scene(
            title=self._exchange.configuration.exchange,
            state=f"{self._state}{led}",
            elapsed_s=(now_ns - self._begin_ns) / 1e9,
            lists=lists,
            books=observers.books(),
            tape=observers.tape,
            meters=self._meters,
            facts=[
                ("gaps filled", f"{summary['gaps_filled']} of {summary['gaps_detected']}"),
                ("ZooKeeper", ", ".join(sorted(zookeeper)) or "None"),
                ("last takeover", f"{times[-1]:.0f} ms" if times else "none yet"),
                ("processes", f"{len(self._exchange.children)}"),
            ],
            holders={shard: holder_states(each) for shard, each in self._status.items()},
            shards={} if is_one else observers.shards(),
            keys=[f"{', '.join(self.keys())}: kill {'the' if is_one else 'a'} primary"],
            note=where + killer.story if killer.story else note,
            page=page,
        )

    def _load_arguments(self) -> list[str]:
        options = self._options
        return [
            "load",
            *("--configuration", str(self._exchange.configuration_path)),
            *("--secrets", str(self._exchange.secrets_path)),
            "--keep-orders",  # so that there are books to compare at the end
            *("--rate", str(options.rate)),
            *("--seed", str(options.seed)),
        ]


def holder_states(status: Summary) -> list[HolderState]:
    """The holders as the screen shows them; none before anybody has been asked."""
    shown = []
    for name, holder in status.get("holders", {}).items():
        state = holder["state"] or ""
        if state == "no answer" or not holder["alive"]:
            state = "down"
        elif not state and holder["vote"] is False:
            state = "returning"
        shown.append(HolderState(name, state, None if state == "down" else holder["lag"]))
    return shown
