"""`lockstep demo`: a whole exchange on this machine, traded by simulated clients."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated

import structlog
import typer

from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from tools.console import ExitStatus, Summary, print_json, stop_on_signals
from tools.observer import FeedError, Observer
from tools.options import FaultsOption, JsonOption
from tools.processes import ClientSpec, Exchange, Transport
from tools.rates import RateMeter
from tools.roles import parse_fault_shares
from tools.screen import REFRESHES_PER_SECOND, Screen
from tools.settling import Settled, settle
from tools.view import Scene

log = structlog.get_logger()

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "TSLA", "META", "NFLX")
MOST_CLIENTS = 99
_LOAD = "load"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is to be shown."""

    seconds: float | None  # of trading; None: until the user has seen enough
    symbols: int
    clients: int
    rate: int  # commands a second, of all clients together
    seed: int
    faults: FaultShares | None
    transport: Transport


class Demo:
    """One run: the exchange, its simulated clients, and an independent subscriber."""

    def __init__(self, options: DemoOptions, stop: asyncio.Event) -> None:
        self._options = options
        self._stop = stop
        clients = [f"C{i + 1:02}" for i in range(options.clients)]
        self._exchange = Exchange(
            clients={name: ClientSpec() for name in clients},
            symbols=[InstrumentSettings(symbol=name) for name in SYMBOLS[: options.symbols]],
            faults=options.faults,
            transport=options.transport,
        )
        self._begin_ns = time.monotonic_ns()
        self._meters = [
            (name, RateMeter(self._begin_ns)) for name in ("commands", "frames", "trades")
        ]
        self._state = "trading"

    async def run(self, screen: Screen | None) -> Summary:
        """Trade until the time is over or `stop` is set; what came of it.

        Raises ChildError when one of the processes fails.
        """
        async with self._exchange as exchange:
            faults = self._options.faults
            observer = Observer(
                exchange.configuration,
                receive=exchange.receive,
                faults=faults.faults(Random()) if faults is not None else None,
            )
            observer.start()
            try:
                await exchange.start(_LOAD, self._load_arguments())
                log.info("trading", processes=len(exchange.children), folder=str(exchange.folder))
                with screen or contextlib.nullcontext():
                    seconds = await self._trade(observer, screen)
                    await exchange.finish(_LOAD)
                    settled = await settle(exchange, observer)
            finally:
                observer.close()
            await exchange.stop()
            return summarize(settled, observer.summary(), exchange.summaries, seconds, faults)

    async def _trade(self, observer: Observer, screen: Screen | None) -> float:
        """Let the clients trade until it is time to stop; for how many seconds they did."""
        self._begin_ns = time.monotonic_ns()
        children = asyncio.ensure_future(self._exchange.watch())
        children.add_done_callback(lambda _: self._stop.set())
        try:
            with contextlib.suppress(FeedError):  # settling says it again, with the result
                while not self._stop.is_set() and not self._is_over():
                    self._show(observer, screen)
                    await observer.watch_until(self._stop, within_s=1 / REFRESHES_PER_SECOND)
            if children.done():
                children.result()
        finally:
            children.cancel()
        self._state = "stopping"
        self._show(observer, screen)
        return (time.monotonic_ns() - self._begin_ns) / 1e9

    def _is_over(self) -> bool:
        seconds = self._options.seconds
        return seconds is not None and time.monotonic_ns() - self._begin_ns >= seconds * 1e9

    def _show(self, observer: Observer, screen: Screen | None) -> None:
        if screen is not None:
            screen.show(lambda page: self._scene(observer, page))

    def _scene(self, observer: Observer, page: int) -> Scene:
        now_ns = time.monotonic_ns()
        for name, meter in self._meters:
            meter.read(getattr(observer, name), now_ns)
        summary = observer.summary()
        faults = self._options.faults
        return Scene(
            title=self._exchange.configuration.exchange,
            state=self._state,
            elapsed_s=(now_ns - self._begin_ns) / 1e9,
            sequence=observer.sequence,
            epoch=observer.subscriber.epoch,
            books=list(observer.books),
            tape=observer.tape,
            meters=self._meters,
            facts=[
                ("gaps filled", f"{summary['gaps_filled']} of {summary['gaps_detected']}"),
                ("frames recovered", f"{summary['frames_recovered']}"),
                ("NAKs", f"{summary['naks']}"),
                ("processes", f"{len(self._exchange.children)}"),
            ],
            note=f"faults at every receiver: {faults}" if faults is not None else "",
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


def summarize(
    settled: Settled,
    observer: Summary,
    processes: Mapping[str, Summary],
    seconds: float,
    faults: FaultShares | None,
) -> Summary:
    """What came of a run, as a JSON object; every receiver of the feed counts.

    A receiver has lost what it lacks of the engine's list after all has been quiet for a while.
    """
    status = settled.status
    receivers = {"subscriber": {**observer, "lost": settled.frames_lost}}
    for name, summary in processes.items():
        if "gaps_detected" in summary:
            receivers[name] = {**summary, "lost": status["sequence"] - _held(summary)}

    def total(key: str) -> int:
        return sum(receiver[key] for receiver in receivers.values())

    result: Summary = {
        "commands": status["commands"],
        "frames": status["frames"],
        "trades": status["trades"],
        "gaps_detected": total("gaps_detected"),
        "gaps_filled": total("gaps_filled"),
        "frames_lost": total("lost"),
        "books_equal": settled.books_equal,
        "seconds": round(seconds, 3),
        "commands_per_second": round(status["commands"] / seconds),
        "sequence": status["sequence"],
        "live_orders": status["live_orders"],
        "book_digest": status["book_digest"],
        "faults": None if faults is None else str(faults),
        "round_trip_us": processes[_LOAD]["round_trip_us"],
        "receivers": {
            name: {
                "gaps_detected": receiver["gaps_detected"],
                "gaps_filled": receiver["gaps_filled"],
                "frames_lost": receiver["lost"],
            }
            for name, receiver in receivers.items()
        },
    }
    return result if settled.failure is None else {**result, "failure": settled.failure}


def _held(summary: Summary) -> int:
    """How far a receiver has read the list, by its process's summary."""
    if summary["role"] == "retransmitter":
        return int(summary["next_sequence"]) - 1
    return int(summary["sequence"])


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
    symbols: Annotated[
        int,
        typer.Option(min=1, max=len(SYMBOLS), metavar="N", help="How many instruments are listed."),
    ] = 4,
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="The same seed makes the clients send the same commands."),
    ] = 1,
    faults: FaultsOption = None,
    transport: Annotated[
        Transport, typer.Option(help='"auto" is multicast where that works, else unicast.')
    ] = Transport.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Run a whole exchange on this machine, with a live view.

    Starts an engine, two retransmitters and a gateway as processes of their own, in a temporary
    folder, on free ports and a multicast group of the loopback interface. Simulated clients trade
    over TCP, and an independent subscriber keeps the books that you see. At the end its books are
    compared with the engine's. The exit status is 1 when they differ, or a frame was lost.

    Examples:
    lockstep demo
    lockstep demo --faults drop=5,duplicate=5,reorder=10,corrupt=1
    lockstep demo --headless --seconds 10 --json
    """
    options = DemoOptions(
        seconds=seconds,
        symbols=symbols,
        clients=clients,
        rate=rate,
        seed=seed,
        faults=parse_fault_shares(faults),
        transport=transport,
    )
    result = asyncio.run(_run(options, headless=headless))
    if as_json:
        print_json(result)
    else:
        _print(result)
    if result["frames_lost"] or not result["books_equal"]:
        sys.exit(ExitStatus.FAILED)


async def _run(options: DemoOptions, *, headless: bool) -> Summary:
    stop = asyncio.Event()
    stop_on_signals(stop)
    runner = Demo(options, stop)
    if headless:
        return await runner.run(None)
    screen = Screen(stop, "add --headless")  # first of all: without one there is no use in the rest
    print("Starting an engine, two retransmitters and a gateway ...", file=sys.stderr)
    return await runner.run(screen)


def _print(result: Summary) -> None:
    lost = result["frames_lost"]
    sequence = f"{result['sequence']:,}"
    print(
        f"{result['commands']:,} commands, {result['frames']:,} frames and "
        f"{result['trades']:,} trades in {result['seconds']:.1f} s."
    )
    print(
        f"{result['gaps_detected']:,} gaps were found at all receivers together, "
        f"{result['gaps_filled']:,} of them filled; {lost:,} frames were lost."
    )
    if result["books_equal"]:
        print(f"The subscriber's books equal the engine's, at sequence number {sequence}.")
    else:
        why = result.get("failure", "their digests differ")
        print(f"The subscriber's books do NOT equal the engine's at {sequence}: {why}.")
