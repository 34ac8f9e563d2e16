"""`lockstep replay`: a file of orders, or real order flow, through an exchange."""

from pathlib import Path
from typing import Annotated

import typer

from feed.faults import FaultShares
from tools.console import UsageError
from tools.credentials import SecretsOption
from tools.options import FaultsOption, JsonOption
from tools.replay.endings import NO_LIMIT
from tools.replay.files import LobsterFiles
from tools.replay.lobster_replay import replay_lobster
from tools.replay.order_formats import OrderFormat
from tools.replay.order_replay import DEFAULT_CLIENT, OrderOptions, replay_orders


def replay(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Orders, one a line, as CSV or JSON lines; docs/replay.md has examples. With - "
            "they are read from standard input.",
        ),
    ] = None,
    format: Annotated[
        OrderFormat | None,
        typer.Option(
            help="How FILE is written; without it, its suffix tells: .csv, .jsonl or .ndjson."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Written: what became of each line of FILE, as CSV or JSON lines by its suffix.",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="LOCKSTEP_CLIENT",
            help=f"Whose the lines of FILE are that name no client; {DEFAULT_CLIENT} without -c.",
        ),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR",
            help="How many times as fast as the times in FILE say, or max: as fast as is taken; "
            "without it, 1.",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            min=1, max=NO_LIMIT, help="So many lines a second at most, whatever times they have."
        ),
    ] = None,
    configuration: Annotated[
        Path | None,
        typer.Option(
            "--configuration",
            "-c",
            metavar="FILE",
            help="Play FILE in the exchange of this TOML file, which runs; without it, in one that "
            "is started for it.",
        ),
    ] = None,
    secrets: SecretsOption = None,
    lobster: Annotated[
        Path | None,
        typer.Option(metavar="MESSAGES.csv", help="LOBSTER's message file, in the place of FILE."),
    ] = None,
    opening: Annotated[
        Path | None,
        typer.Option(
            metavar="OPENING.csv",
            help="With --lobster: the book right after the first event, as in LOBSTER's order book "
            "file, of which the first line is read.",
        ),
    ] = None,
    top_of_book: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.csv",
            help="With --lobster, written: bid_price, bid_quantity, ask_price, ask_quantity after "
            "each event, with commas between; a side without orders is left empty. No header; "
            "prices in 1/10,000.",
        ),
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(help="With --lobster: the symbol to trade it under; without it, AAPL."),
    ] = None,
    faults: FaultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play a file of orders through an exchange, and tell what became of each line.

    The file is checked as a whole before anything is sent. Its lines take effect in their order, at
    the pace of their times if they have any. The exchange is started for it and stopped in the end;
    with -c it is one that runs.

    With --lobster it is real Nasdaq order flow, through an exchange of its own: the best prices
    after each event are written from the book of a subscriber of the feed, and for each execution
    the command tells whether it traded with the very order that the file names.

    Examples:

    lockstep replay orders.csv --report what-became.csv

    lockstep replay orders.jsonl --speed 10 -c exchange.toml --secrets secrets.toml

    lockstep replay --lobster messages.csv --opening opening.csv --top-of-book out.csv
    """
    for_orders = {
        "--format": format,
        "--report": report,
        "--speed": speed,
        "--rate": rate,
        "-c": configuration,
        "--secrets": secrets,
    }
    for_lobster = {"--opening": opening, "--top-of-book": top_of_book, "--symbol": symbol}
    if (file is None) == (lobster is None):
        raise UsageError("what is to be played? Give a FILE of orders, or --lobster MESSAGES.csv")
    misplaced = for_orders if file is None else for_lobster
    for name, value in misplaced.items():
        if value is not None:
            where = "a FILE of orders" if file is None else "--lobster"
            raise UsageError(f"{name} goes with {where}")
    shares = _parse_faults(faults)
    if file is not None:
        options = OrderOptions(
            format, report, client, speed, rate, configuration, secrets, shares, as_json
        )
        replay_orders(file, options)
        return
    assert lobster is not None, "one of both is given"
    if opening is None or top_of_book is None:
        raise UsageError("--lobster needs --opening OPENING.csv and --top-of-book OUT.csv")
    files = LobsterFiles(lobster, opening)
    replay_lobster(files, top_of_book, symbol or "AAPL", shares, as_json=as_json)


def _parse_faults(text: str | None) -> FaultShares | None:
    if text is None:
        return None
    try:
        return FaultShares.parse(text)
    except ValueError as error:
        raise UsageError(f"--faults {error}") from error
