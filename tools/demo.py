"""`lockstep demo`: a whole exchange on this machine, traded by simulated clients."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from tools.console import ExitStatus, Summary, print_json, stop_on_signals
from tools.demo_run import (
    MOST_SHARDS,
    REPLICAS,
    RETRANSMITTERS,
    SYMBOLS,
    Demo,
    DemoOptions,
)
from tools.layout import Transport
from tools.options import FaultsOption, JsonOption
from tools.outcome import print_outcome
from tools.processes import CONFIGURATION_FILE
from tools.roles import parse_fault_shares
from tools.screen import Screen

MOST_CLIENTS = 99
MOST_GATEWAYS = 9


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
    shards: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_SHARDS, metavar="N", help="How many shards share the instruments."
        ),
    ] = 1,
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

    With --shards, the instruments are shared out to several shards, each with replicas,
    retransmitters and a list of its own; the keys 1, 2 and so on kill that shard's primary, and k
    and --kill-primary-after one after the other. What happens in one shard does not touch the
    others.

    With --keep, the holders keep journals, and all files stay in that folder: lockstep run brings
    the same exchange back from there, with all its orders.

    At the end the subscriber's books are compared with the primary's, and everybody's list with
    everybody else's. The exit status is 1 when any differ, or a frame was lost.

    Examples:
    lockstep demo
    lockstep demo --headless --seconds 20 --kill-primary-after 3
    lockstep demo --shards 2
    lockstep demo --faults drop=5,duplicate=5,reorder=10,corrupt=1
    lockstep demo --headless --seconds 10 --json
    """
    options = DemoOptions(
        seconds=seconds,
        symbols=symbols,
        shards=shards,
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
    screen = Screen(stop, "add --headless", runner.keys())
    print(
        f"Starting {options.shards * REPLICAS} replicas, "
        f"{options.shards * RETRANSMITTERS} retransmitters, "
        f"{options.gateways} gateways and a ZooKeeper server ...",
        file=sys.stderr,
    )
    return await runner.run(screen)
