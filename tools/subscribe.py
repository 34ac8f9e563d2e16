"""`lockstep subscribe`: the feed as lines or JSON, or a live book."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from feed.schema import ReplayKind
from feed.settings import Address, parse_address
from feed.subscriber import Group
from tools.configuration import Configuration
from tools.console import UsageError, stop_on_signals, stop_when_nobody_reads
from tools.observer import Observer
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
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the feed comes by unicast: this subscriber's address among feed.receivers.",
        ),
    ] = None,
) -> None:
    """Join the feed, repair its gaps, and print every committed group, or keep the books.

    Each line is a frame: its sequence number, time, type and fields; events are indented under
    the command that caused them. Runs until Ctrl-C. A gap that can't be filled ends it with exit
    status 1, and says which frames nobody has: nothing is ever left out silently.

    Started in the middle of a day, it gets over TCP what came before; on stderr it says how far it
    is. Where the day began with a snapshot, the frames before that are not printed. The books are
    exact at once, wherever they begin; trades are counted from there on.

    Examples:
    lockstep subscribe -c exchange.toml
    lockstep subscribe -c exchange.toml --json --live | jq 'select(.type == "TRADE")'
    lockstep subscribe -c exchange.toml --book
    lockstep subscribe -c exchange.toml --book --from-start --faults drop=5,reorder=10
    """
    settings = Configuration.load(configuration)
    if book and (as_json or live or frames):
        raise UsageError("--book prints no frames: leave off --json, --live and --frames")
    address = _receive_address(settings, receive)
    printer = None if book else _Printer(as_json=as_json, limit=frames)
    newest = ReplayKind.STATE if book and live is None else ReplayKind.DAY
    progress = _Progress(is_told=not book)
    observer = Observer(
        settings,
        receive=address,
        faults=parse_faults(faults),
        begin=None if live else newest,
        on_groups=printer,
        on_snapshot=progress.begin_after,
        on_progress=progress.take,
    )
    if printer is None:
        asyncio.run(_show_books(observer, settings.exchange, faults, progress))
    else:
        asyncio.run(_print_frames(observer, printer))


class _Printer:
    """Prints the frames of groups.

    `done` is set when the limit has been reached, or whoever reads the lines has enough of them.
    """

    def __init__(self, *, as_json: bool, limit: int | None) -> None:
        self.done = asyncio.Event()
        self._as_json = as_json
        self._left = limit

    def __call__(self, groups: Sequence[Group]) -> None:
        frames = [frame for group in groups for frame in group.frames]
        if self._left is not None:
            frames = frames[: self._left]
            self._left -= len(frames)
            if not self._left:
                self.done.set()
        try:
            for frame in frames:
                print(json.dumps(frame_object(frame)) if self._as_json else frame_line(frame))
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.done.set()


class _Progress:
    """How far the subscriber is with what it missed; on stderr, where no screen shows it."""

    def __init__(self, *, is_told: bool) -> None:
        self.text = ""
        self._is_told = is_told

    def take(self, done: int, total: int) -> None:
        """So many frames of so many are there."""
        self._tell(f"catching up: {done:,} of {total:,} frames")

    def begin_after(self, sequence: int) -> None:
        """A snapshot stands for the frames up to `sequence`."""
        self._tell(f"begins after frame {sequence}, with a snapshot of what came before")

    def _tell(self, text: str) -> None:
        self.text = text
        if self._is_told:
            print(f"lockstep: {text}", file=sys.stderr, flush=True)


async def _print_frames(observer: Observer, printer: _Printer) -> None:
    stop_on_signals(printer.done)
    stop_when_nobody_reads(printer.done)
    observer.start()
    try:
        await observer.watch_until(printer.done)
    finally:
        observer.close()


async def _show_books(
    observer: Observer, exchange: str, faults: str | None, progress: _Progress
) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    begin_ns = time.monotonic_ns()
    meters = [(name, RateMeter(begin_ns)) for name in ("commands", "frames", "trades")]

    def scene(page: int) -> Scene:
        now_ns = time.monotonic_ns()
        summary = observer.summary()
        for name, meter in meters:
            meter.read(getattr(observer, name), now_ns)
        return Scene(
            title=exchange,
            state=(progress.text if observer.is_catching_up else "") or "subscribed",
            elapsed_s=(now_ns - begin_ns) / 1e9,
            sequence=observer.sequence,
            epoch=observer.subscriber.epoch,
            books=list(observer.books),
            tape=observer.tape,
            meters=meters,
            facts=[
                ("gaps filled", f"{summary['gaps_filled']} of {summary['gaps_detected']}"),
                ("NAKs", str(summary["naks"])),
            ],
            note=f"faults {faults}" if faults else "",
            page=page,
        )

    observer.start()
    try:
        with Screen(stop, "leave off --book") as screen:
            while not stop.is_set():
                screen.show(scene)
                await observer.watch_until(stop, within_s=1 / REFRESHES_PER_SECOND)
    finally:
        observer.close()


def _receive_address(settings: Configuration, text: str | None) -> Address | None:
    if settings.feed.transport == "multicast":
        if text is not None:
            raise UsageError('--receive is only for feed.transport = "unicast": leave it off')
        return None
    if text is None:
        known = ", ".join(map(str, settings.feed.receivers))
        raise UsageError(f"the feed comes by unicast: give --receive, one of {known}")
    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(f"--receive: {error}") from error
