"""`lockstep subscribe`: the feed as lines or JSON, or a live book."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from feed.codec import Frame
from feed.schema import ReplayKind
from feed.settings import Address, parse_address
from feed.subscriber import Group
from tools.configuration import Configuration
from tools.console import UsageError, stop_on_signals, stop_when_nobody_reads
from tools.observers import Observers
from tools.options import ConfigurationOption, FaultsOption
from tools.printing import frame_line, frame_object
from tools.rates import RateMeter
from tools.roles import parse_faults
from tools.screen import REFRESHES_PER_SECOND, Screen
from tools.view import Scene


def subscribe(
    configuration: ConfigurationOption,
    book: Annotated[
        bool, typer.Option("--book", help="Show the books live instead of printing frames.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each frame as one line of JSON.")
    ] = False,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--from-start",
            help="Begin with the next group, or with the first frame of the day; without either, "
            "--book begins with the newest snapshot, and all else with the day.",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after so many frames.")
    ] = None,
    faults: FaultsOption = None,
    receive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[N=]HOST:PORT",
            help="Where the feed comes by unicast: this subscriber's address among feed.receivers; "
            "of several shards, one for each, as 2=127.0.0.1:30402.",
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The list of this shard alone; without it, of all."),
    ] = None,
) -> None:
    """Join the feed, repair its gaps, and print every committed group, or keep the books.

    Each line is a frame: its sequence number, time, type and fields; events are indented under
    the command that caused them. Runs until Ctrl-C. A gap that can't be filled ends it with exit
    status 1, and says which frames nobody has: nothing is ever left out silently.

    Started in the middle of a day, it gets over TCP what came before; on stderr it says how far it
    is. Where the day began with a snapshot, the frames before that are not printed. The books are
    exact at once, wherever they begin; trades are counted from there on.

    Of several shards, all are heard, each in its own order: every line begins with the shard, and
    JSON has it as a field. While a symbol moves from one to another, its book is the one where it
    arrives.

    Examples:
    lockstep subscribe -c exchange.toml
    lockstep subscribe -c exchange.toml --json --live | jq 'select(.type == "TRADE")'
    lockstep subscribe -c exchange.toml --book
    lockstep subscribe -c exchange.toml --book --from-start --faults drop=5,reorder=10
    lockstep subscribe -c exchange.toml --shard 2
    """
    settings = Configuration.load(configuration)
    if book and (as_json or live or frames):
        raise UsageError("--book prints no frames: leave off --json, --live and --frames")
    views = settings.by_shard() if shard is None else {shard: settings.of_shard(shard)}
    addresses = _receive_addresses(views, receive or [])
    names_shard = len(views) > 1
    printer = None if book else _Printer(as_json=as_json, limit=frames, names_shard=names_shard)
    newest = ReplayKind.STATE if book and live is None else ReplayKind.DAY
    progress = _Progress(is_told=not book, names_shard=names_shard)
    parse_faults(faults)  # refuses at once what makes no sense
    observers = Observers(
        views,
        receive=addresses,
        faults=lambda: parse_faults(faults),
        begin=None if live else newest,
        on_groups=printer,
        on_snapshot=progress.begin_after,
        on_progress=progress.take,
    )
    if printer is None:
        asyncio.run(_show_books(observers, settings.exchange, faults, progress))
    else:
        asyncio.run(_print_frames(observers, printer))


class _Printer:
    """Prints the frames of groups.

    `done` is set when the limit has been reached, or whoever reads the lines has enough of them.
    """

    def __init__(self, *, as_json: bool, limit: int | None, names_shard: bool) -> None:
        self.done = asyncio.Event()
        self._as_json = as_json
        self._left = limit
        self._names_shard = names_shard

    def __call__(self, shard: int, groups: Sequence[Group]) -> None:
        frames = [frame for group in groups for frame in group.frames]
        if self._left is not None:
            frames = frames[: self._left]
            self._left -= len(frames)
            if not self._left:
                self.done.set()
        try:
            for frame in frames:
                print(self._line(shard, frame))
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.done.set()

    def _line(self, shard: int, frame: Frame) -> str:
        if self._as_json:
            which = {"shard": shard} if self._names_shard else {}
            return json.dumps({**which, **frame_object(frame)})
        return f"{shard} {frame_line(frame)}" if self._names_shard else frame_line(frame)


class _Progress:
    """How far the subscriber is with what it missed; on stderr, where no screen shows it."""

    def __init__(self, *, is_told: bool, names_shard: bool) -> None:
        self.text = ""
        self._is_told = is_told
        self._names_shard = names_shard

    def take(self, shard: int, done: int, total: int) -> None:
        """So many frames of so many are there."""
        self._tell(shard, f"catching up: {done:,} of {total:,} frames")

    def begin_after(self, shard: int, sequence: int) -> None:
        """A snapshot stands for the frames up to `sequence`."""
        self._tell(shard, f"begins after frame {sequence}, with a snapshot of what came before")

    def _tell(self, shard: int, text: str) -> None:
        text = f"shard {shard}: {text}" if self._names_shard else text
        self.text = text
        if self._is_told:
            print(f"lockstep: {text}", file=sys.stderr, flush=True)


async def _print_frames(observers: Observers, printer: _Printer) -> None:
    stop_on_signals(printer.done)
    stop_when_nobody_reads(printer.done)
    observers.start()
    try:
        await observers.watch_until(printer.done)
    finally:
        observers.close()


async def _show_books(
    observers: Observers, exchange: str, faults: str | None, progress: _Progress
) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    begin_ns = time.monotonic_ns()
    meters = [(name, RateMeter(begin_ns)) for name in ("commands", "frames", "trades")]

    def scene(page: int) -> Scene:
        now_ns = time.monotonic_ns()
        summary = observers.summary()
        for name, meter in meters:
            meter.read(observers.total(name), now_ns)
        return Scene(
            title=exchange,
            state=(progress.text if observers.is_catching_up else "") or "subscribed",
            elapsed_s=(now_ns - begin_ns) / 1e9,
            lists=observers.lists(),
            books=observers.books(),
            tape=observers.tape,
            meters=meters,
            facts=[
                ("gaps filled", f"{summary['gaps_filled']} of {summary['gaps_detected']}"),
                ("NAKs", str(summary["naks"])),
            ],
            note=f"faults {faults}" if faults else "",
            shards=observers.shards() if len(observers) > 1 else {},
            page=page,
        )

    observers.start()
    try:
        with Screen(stop, "leave off --book") as screen:
            while not stop.is_set():
                screen.show(scene)
                await observers.watch_until(stop, within_s=1 / REFRESHES_PER_SECOND)
    finally:
        observers.close()


def _receive_addresses(
    views: Mapping[int, Configuration], texts: Sequence[str]
) -> dict[int, Address]:
    """Where each shard's feed comes by unicast; nothing for one by multicast."""
    given: dict[int, Address] = {}
    for text in texts:
        which, separator, address = text.rpartition("=")
        try:
            number = int(which) if separator or len(views) > 1 else next(iter(views))
            given[number] = parse_address(address)
        except ValueError as error:
            why = error if separator or len(views) == 1 else f"{text!r}: write it as N=HOST:PORT"
            raise UsageError(f"--receive: {why}") from error
    for shard, view in views.items():
        _require_address(shard, view, given, several=len(views) > 1)
    return given


def _require_address(
    shard: int, view: Configuration, given: Mapping[int, Address], *, several: bool
) -> None:
    """Raise UsageError unless a shard has an address if its feed needs one."""
    if view.feed.transport == "multicast":
        if shard in given:
            raise UsageError('--receive is only for feed.transport = "unicast": leave it off')
    elif shard not in given:
        known = ", ".join(map(str, view.feed.receivers))
        where = f" of shard {shard}" if several else ""
        form = f"--receive {shard}=" if several else "--receive"
        raise UsageError(f"the feed{where} comes by unicast: give {form}, one of {known}")
