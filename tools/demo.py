"""`lockstep demo`: a whole exchange on this machine, traded by simulated clients."""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import structlog
import typer

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from tools.console import ExitStatus, Summary, print_json, stop_on_signals
from tools.layout import Transport
from tools.observer import FeedError, Observer
from tools.operate import summarize as summarize_status
from tools.options import FaultsOption, JsonOption
from tools.outcome import LOAD, print_outcome, summarize
from tools.processes import CONFIGURATION_FILE, ClientSpec, Exchange
from tools.rates import RateMeter
from tools.roles import parse_fault_shares
from tools.screen import REFRESHES_PER_SECOND, Screen
from tools.settling import settle
from tools.takeovers import Killer
from tools.view import HolderState, Scene

log = structlog.get_logger()

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "TSLA", "META", "NFLX")
MOST_CLIENTS = 99
MOST_GATEWAYS = 9
REPLICAS = 3  # the fewest of which one may die and leave a backup behind
RETRANSMITTERS = 2
_KILL_KEY = "k"
_LOOK_AT_HOLDERS_S = 0.5  # how often the replicas are asked for what the screen shows of them


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is to be shown."""

    seconds: float | None  # of trading; None: until the user has seen enough
    symbols: int
    clients: int
    gateways: int
    rate: int  # commands a second, of all clients together
    kill_after_s: float | None  # kill the primary so often; None: only when the user asks for it
    seed: int
    faults: FaultShares | None
    transport: Transport
    keep: Path | None  # where the exchange stays when the demo is over


class Demo:
    """One run: the exchange, its simulated clients, and an independent subscriber."""

    def __init__(self, options: DemoOptions, stop: asyncio.Event) -> None:
        self._options = options
        self._stop = stop
        clients = [f"C{i + 1:02}" for i in range(options.clients)]
        self._exchange = Exchange(
            clients={name: ClientSpec() for name in clients},
            symbols=[InstrumentSettings(symbol=name) for name in SYMBOLS[: options.symbols]],
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
        self._status: Summary = {}  # of the exchange, as it was when it was last looked at
        self._is_kill_wanted = False
        self._killed_ns = self._begin_ns  # when the last kill was over; at first, the beginning

    def ask_for_kill(self) -> None:
        """Let the primary be killed, unless one still is dead."""
        self._is_kill_wanted = True

    async def run(self, screen: Screen | None) -> Summary:
        """Trade until the time is over or `stop` is set; what came of it.

        Raises CommandError when one of the processes fails, or nobody takes over.
        """
        async with self._exchange as exchange:
            faults = self._options.faults
            observer = Observer(
                exchange.configuration,
                receive=exchange.receive,
                faults=faults.faults(Random()) if faults is not None else None,
            )
            killer = Killer(exchange, observer)
            observer.start()
            try:
                await exchange.start(LOAD, self._load_arguments())
                log.info("trading", processes=len(exchange.children), folder=str(exchange.folder))
                with screen or contextlib.nullcontext():
                    seconds = await self._trade(observer, killer, screen)
                    await exchange.finish(LOAD)
                    settled = await settle(exchange, observer)
                takeovers = killer.takeovers()
            finally:
                observer.close()
            await exchange.stop()
            return summarize(
                settled, observer.summary(), exchange.summaries, seconds, faults, takeovers
            )

    async def _trade(self, observer: Observer, killer: Killer, screen: Screen | None) -> float:
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
                    self._show(observer, killer, screen)
                    await observer.watch_until(
                        self._stop if killing is None else asyncio.Event(),
                        within_s=1 / REFRESHES_PER_SECOND,
                    )
                    killing = self._next_kill(killer, killing)
            for task in beside:
                if task.done():
                    task.result()
        finally:
            for task in beside:
                task.cancel()
            if killing is not None:
                killing.cancel()
        self._state = "stopping"
        self._show(observer, killer, screen)
        return (time.monotonic_ns() - self._begin_ns) / 1e9

    def _next_kill(
        self, killer: Killer, killing: asyncio.Future[None] | None
    ) -> asyncio.Future[None] | None:
        """The kill that is under way, if one is: the same one, or one whose time has come."""
        wanted, self._is_kill_wanted = self._is_kill_wanted, False
        if killing is not None:
            if not killing.done():
                return killing
            killing.result()
            self._killed_ns = time.monotonic_ns()
        after_s = self._options.kill_after_s
        if after_s is not None:
            wanted |= time.monotonic_ns() - self._killed_ns >= after_s * 1e9
        is_trading = not (self._stop.is_set() or self._is_over())
        return asyncio.ensure_future(killer.kill_primary()) if wanted and is_trading else None

    async def _look_at_holders(self) -> None:
        configuration = self._exchange.configuration
        while True:
            self._status = summarize_status(configuration, await self._exchange.statuses())
            await asyncio.sleep(_LOOK_AT_HOLDERS_S)

    def _is_over(self) -> bool:
        seconds = self._options.seconds
        return seconds is not None and time.monotonic_ns() - self._begin_ns >= seconds * 1e9

    def _show(self, observer: Observer, killer: Killer, screen: Screen | None) -> None:
        if screen is not None:
            screen.show(lambda page: self._scene(observer, killer, page))

    def _scene(self, observer: Observer, killer: Killer, page: int) -> Scene:
        now_ns = time.monotonic_ns()
        for name, meter in self._meters:
            meter.read(getattr(observer, name), now_ns)
        summary = observer.summary()
        faults = self._options.faults
        note = f"faults at every receiver: {faults}" if faults is not None else ""
        primary = observer.reigns[-1].primary if observer.reigns else "nobody"
        times = [each.takeover_ms for each in killer.takeovers() if each.takeover_ms is not None]
        return Scene(
            title=self._exchange.configuration.exchange,
            state=f"{self._state}  primary {primary}",
            elapsed_s=(now_ns - self._begin_ns) / 1e9,
            sequence=observer.sequence,
            epoch=observer.subscriber.epoch,
            books=list(observer.books),
            tape=observer.tape,
            meters=self._meters,
            facts=[
                ("gaps filled", f"{summary['gaps_filled']} of {summary['gaps_detected']}"),
                ("ZooKeeper", str(self._status.get("zookeeper"))),
                ("last takeover", f"{times[-1]:.0f} ms" if times else "none yet"),
                ("processes", f"{len(self._exchange.children)}"),
            ],
            holders=holder_states(self._status),
            keys=[f"{_KILL_KEY}: kill the primary"],
            note=killer.story or note,
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


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="No live view: trade, and tell at the end.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="S", help="How long to trade; without it, until q or Ctrl-C."
        ),
    ] = None,
    rate: Annotated[
        int,
        typer.Option(
            min=1, max=100_000, metavar="N", help="Commands a second, of all clients together."
        ),
    ] = 1000,
    clients: Annotated[
        int, typer.Option(min=1, max=MOST_CLIENTS, metavar="N", help="How many clients trade.")
    ] = 4,
    gateways: Annotated[
        int,
        typer.Option(min=1, max=MOST_GATEWAYS, metavar="N", help="How many gateways serve them."),
    ] = 2,
    symbols: Annotated[
        int,
        typer.Option(min=1, max=len(SYMBOLS), metavar="N", help="How many instruments are listed."),
    ] = 4,
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="The same seed makes the clients send the same commands."),
    ] = 1,
    kill_primary_after: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="S",
            help="Kill the primary after so many seconds, and again so long after each return.",
        ),
    ] = None,
    faults: FaultsOption = None,
    transport: Annotated[
        Transport, typer.Option(help='"auto" is multicast where that works, else unicast.')
    ] = Transport.AUTO,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help='Keep the exchange there, with journals, for "lockstep run".'
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a whole exchange on this machine, with a live view.

    Starts three replicas, two retransmitters, two gateways and a ZooKeeper server as processes of
    their own, in a temporary folder, on free ports and a multicast group of the loopback interface.
    Simulated clients trade over TCP, and an independent subscriber keeps the books that you see.

    The key k, or --kill-primary-after, kills the primary: a backup takes over while the clients
    trade on. The dead replica is started anew two seconds later, catches up, and votes again.

    With --keep, the holders keep journals, and all files stay in that folder: lockstep run brings
    the same exchange back from there, with all its orders.

    At the end the subscriber's books are compared with the primary's, and everybody's list with
    everybody else's. The exit status is 1 when any differ, or a frame was lost.

    Examples:
    lockstep demo
    lockstep demo --headless --seconds 20 --kill-primary-after 3
    lockstep demo --faults drop=5,duplicate=5,reorder=10,corrupt=1
    lockstep demo --headless --seconds 10 --json
    """
    options = DemoOptions(
        seconds=seconds,
        symbols=symbols,
        clients=clients,
        gateways=gateways,
        rate=rate,
        kill_after_s=kill_primary_after,
        seed=seed,
        faults=parse_fault_shares(faults),
        transport=transport,
        keep=keep,
    )
    result = asyncio.run(_run(options, headless=headless))
    if as_json:
        print_json(result)
    else:
        print_outcome(result)
        if keep is not None:
            print(f"To bring this exchange back: lockstep run -c {keep / CONFIGURATION_FILE}")
    if result["frames_lost"] or not (result["books_equal"] and result["digests_equal"]):
        sys.exit(ExitStatus.FAILED)


async def _run(options: DemoOptions, *, headless: bool) -> Summary:
    stop = asyncio.Event()
    stop_on_signals(stop)
    runner = Demo(options, stop)
    if headless:
        return await runner.run(None)
    # First of all: without a screen there is no use in the rest.
    screen = Screen(stop, "add --headless", {_KILL_KEY: runner.ask_for_kill})
    print(
        f"Starting {REPLICAS} replicas, {RETRANSMITTERS} retransmitters, "
        f"{options.gateways} gateways and a ZooKeeper server ...",
        file=sys.stderr,
    )
    return await runner.run(screen)
