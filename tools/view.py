"""The live view of a market: books with depth bars, the tape, rates and the state of the feed.

Drawn for any size of terminal from 40 by 12 upwards: a larger one shows more symbols, more levels
and longer histories. A scene in, something that rich can print out; no terminal in here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import NamedTuple

from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from feed.book import Book, Level
from feed.messages import SYMBOL_BYTES, Side, TradingState, unpad
from tools.prices import format_price
from tools.rates import RateMeter

_LEAST_BOOK_WIDTH = 26  # a price, a quantity and a bar of a few characters
_LEAST_BOOK_HEIGHT = 19  # eight levels a side; a second row of books only where both have that
_LEAST_TAPE_WIDTH = 26
_MOST_TAPE_WIDTH = 44
_LEAST_BODY_HEIGHT = 4
_FOOTER_HEIGHT = 5  # and one line more for each shard whose holders are shown
_TAPE_WIDTH_WITH_TIME = 40
_TAPE_PRICE_WIDTH = 8
_SHORT_SYMBOL_WIDTH = 5
_QUANTITY_WIDTH = 7
_NOTABLE_LAG = 1000  # frames: about a second of a brisk market
_STATE_STYLES = {"": "", "primary": "bold green", "backup": "", "returning": "yellow"}
_BID, _ASK, _FAINT = "green", "red", "bright_black"
_LINES = Text("\n", no_wrap=True, overflow="ellipsis")  # joins lines that are cut, never wrapped


class Glyphs(NamedTuple):
    """The characters for bars and histories, from empty to full, and the signs of the tape."""

    bar: str
    spark: str
    up: str
    down: str


UNICODE = Glyphs(" ▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█", "▲", "▼")
ASCII = Glyphs(" #", "_.-=#", "+", "-")


class TapeEntry(NamedTuple):
    """One trade, as the tape shows it."""

    time_ns: int
    symbol: bytes
    price: int
    quantity: int
    taker_side: int


class ListState(NamedTuple):
    """How far one shard's list is, as the feed shows it."""

    shard: int
    primary: str  # empty before the first epoch is known
    epoch: int
    sequence: int


class HolderState(NamedTuple):
    """How one holder of a list is."""

    name: str
    state: str  # a replica's own word, or empty where a healthy one has none
    lag: int | None  # in frames, behind the primary; None where that is not known


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a screen shows at one moment."""

    title: str
    state: str
    elapsed_s: float
    lists: Sequence[ListState]  # of each shard
    books: Sequence[Book]
    tape: Sequence[TapeEntry]  # newest first
    meters: Sequence[tuple[str, RateMeter]]
    facts: Sequence[tuple[str, str]]  # counters and their values, for the footer
    holders: Mapping[int, Sequence[HolderState]] = field(default_factory=dict)  # by shard
    shards: Mapping[bytes, int] = field(default_factory=dict)  # by symbol, where there are several
    keys: Sequence[str] = ()  # what the user may press beside what every screen has
    note: str = ""  # about the run as a whole, as the faults that are put in
    page: int = 0  # which screenful of symbols


class _Plan(NamedTuple):
    """How a screen is divided; sizes in characters."""

    tape_width: int
    body_height: int
    columns: int  # of books
    rows: int


def render(scene: Scene, width: int, height: int, glyphs: Glyphs = UNICODE) -> Layout:
    """The scene on a screen of `width` by `height` characters."""
    plan = _plan(scene, width, height)
    size = plan.columns * plan.rows
    page = scene.page % page_count(scene, width, height)
    shown = scene.books[page * size : (page + 1) * size]
    books = Layout(_books(shown, plan, width - plan.tape_width, scene.shards, glyphs))
    body = Layout(size=plan.body_height)
    body.split_row(books)
    if plan.tape_width:
        tape = _tape(scene.tape, plan.tape_width, plan.body_height, glyphs)
        body.split_row(books, Layout(tape, size=plan.tape_width))
    keys = "   ".join([*scene.keys, "q: quit"])
    if len(shown) < len(scene.books):
        first = page * size + 1
        last = first + len(shown) - 1
        keys = f"symbols {first} to {last} of {len(scene.books)}, n: next   {keys}"
    screen = Layout()
    screen.split_column(
        Layout(_header(scene, width), size=1),
        body,
        Layout(_footer(scene, keys, width, height, glyphs), size=_footer_height(scene, height)),
    )
    return screen


def page_count(scene: Scene, width: int, height: int) -> int:
    """How many screenfuls the symbols take."""
    plan = _plan(scene, width, height)
    return max(1, ceil(len(scene.books) / (plan.columns * plan.rows)))


def _plan(scene: Scene, width: int, height: int) -> _Plan:
    book_count = len(scene.books)
    body_height = max(_LEAST_BODY_HEIGHT, height - 1 - _footer_height(scene, height))
    tape_width = max(_LEAST_TAPE_WIDTH, min(_MOST_TAPE_WIDTH, width // 4))
    if width < tape_width + _LEAST_BOOK_WIDTH:
        tape_width = 0
    rows = max(1, min(body_height // _LEAST_BOOK_HEIGHT, book_count))
    most_columns = max(1, (width - tape_width) // _LEAST_BOOK_WIDTH)
    columns = max(1, min(most_columns, ceil(book_count / rows)))
    return _Plan(tape_width, body_height, columns, rows)


def _header(scene: Scene, width: int) -> Table:
    minutes, seconds = divmod(int(scene.elapsed_s), 60)
    line = Table.grid(expand=True)
    line.style = "white on blue"
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    begin = Text.assemble((f" LOCKSTEP {scene.title}", "bold"), f"  {scene.state}")
    clock = f"{minutes:02}:{seconds:02} "
    line.add_row(begin, f" {_lists(scene.lists, width - begin.cell_len - len(clock) - 3)}  {clock}")
    return line


def _lists(lists: Sequence[ListState], room: int) -> str:
    """How far the lists are; of several, as much as there is room for."""
    if len(lists) == 1:
        return f"epoch {lists[0].epoch}  sequence {lists[0].sequence:,}"
    tellings = (
        [f"{each.shard}: {each.primary} epoch {each.epoch} {each.sequence:,}" for each in lists],
        [f"{each.shard}: {each.primary} {each.sequence:,}" for each in lists],
        [f"{each.shard}: {each.primary}" for each in lists],
    )
    texts = ["  ".join(telling) for telling in tellings]
    return next((text for text in texts if len(text) <= room), texts[-1])


def _books(
    books: Sequence[Book], plan: _Plan, width: int, shards: Mapping[bytes, int], glyphs: Glyphs
) -> RenderableType:
    if not books:
        waiting = Text("waiting for the first instrument", _FAINT)
        return Panel(waiting, border_style=_FAINT, height=plan.body_height)
    widths = _shares(width, plan.columns)
    grid = Table.grid()
    for each in widths:
        grid.add_column(width=each)
    for row, height in enumerate(_shares(plan.body_height, plan.rows)):
        line = books[row * plan.columns : (row + 1) * plan.columns]
        panels = zip(line, widths, strict=False)
        grid.add_row(
            *(_book(book, each, height, shards.get(book.symbol), glyphs) for book, each in panels)
        )
    return grid


def _shares(whole: int, count: int) -> list[int]:
    return [whole // count + (i < whole % count) for i in range(count)]


def _book(book: Book, width: int, height: int, shard: int | None, glyphs: Glyphs) -> Panel:
    """One symbol's ladder: asks above bids, the best prices in the middle."""
    depth = max(1, (height - 3) // 2)
    bids, asks = book.bids(depth), book.asks(depth)
    most = max((level.quantity for level in (*bids, *asks)), default=1)
    price_width = max((len(format_price(level.price)) for level in (*bids, *asks)), default=0)
    bar_width = max(0, width - 4 - price_width - _QUANTITY_WIDTH - 2)

    def ladder(levels: Iterable[Level], style: str) -> Iterable[Text]:
        for level in levels:
            price = format_price(level.price).rjust(price_width)
            quantity = f"{level.quantity:,}".rjust(_QUANTITY_WIDTH)
            bar = _bar(level.quantity, most, bar_width, glyphs.bar)
            yield Text.assemble((price, style), f" {quantity} ", (bar, style), no_wrap=True)

    lines = [Text()] * (depth - len(asks))
    lines += ladder(reversed(asks), _ASK)
    lines.append(_middle(book, width - 4))
    lines += ladder(bids, _BID)
    title = Text.assemble((unpad(book.symbol), "bold"))
    if book.last_price is not None:
        title.append(f" {format_price(book.last_price)}", "bold yellow")
    halted = book.trading_state is not TradingState.TRADING
    if halted:
        title.append(f" {book.trading_state.name}", "bold red")
    where = "" if shard is None else f"shard {shard}  "
    return Panel(
        _LINES.join(lines),
        title=title,
        title_align="left",
        subtitle=Text(f"{where}trades {book.trade_count:,}", _FAINT),
        subtitle_align="right",
        border_style="red" if halted else _FAINT,
        height=height,
    )


def _bar(value: int, most: int, width: int, glyphs: str) -> str:
    """A bar of at most `width` characters, in steps of a fraction of a character."""
    full, part = divmod(value * width * (len(glyphs) - 1) // most, len(glyphs) - 1)
    return glyphs[-1] * full + (glyphs[part] if part else "")


def _middle(book: Book, width: int) -> Text:
    bid, ask = book.best_bid, book.best_ask
    spread = f" spread {format_price(ask.price - bid.price)} " if bid and ask else " "
    return Text(spread.center(width, "-" if width else " "), _FAINT, no_wrap=True)


def _tape(tape: Iterable[TapeEntry], width: int, height: int, glyphs: Glyphs) -> Panel:
    """The last trades, newest on top, with the time where there is room for it."""
    with_time = width >= _TAPE_WIDTH_WITH_TIME
    symbol_width = SYMBOL_BYTES if with_time else _SHORT_SYMBOL_WIDTH
    lines = []
    for entry, _ in zip(tape, range(height - 2), strict=False):
        bought = entry.taker_side == Side.BUY
        line = Text(no_wrap=True)
        if with_time:
            line.append(_clock(entry.time_ns) + " ", _FAINT)
        line.append(unpad(entry.symbol)[:symbol_width].ljust(symbol_width), "bold")
        line.append(format_price(entry.price).rjust(_TAPE_PRICE_WIDTH))
        line.append(f"{entry.quantity}".rjust(_QUANTITY_WIDTH))
        line.append(f" {glyphs.up if bought else glyphs.down}", _BID if bought else _ASK)
        lines.append(line)
    return Panel(
        _LINES.join(lines),
        title=Text("tape", "bold"),
        title_align="left",
        border_style=_FAINT,
        height=height,
    )


def _clock(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return f"{moment:%H:%M:%S}.{nanoseconds // 1_000_000:03}"


def _footer_height(scene: Scene, height: int) -> int:
    room = height - 1 - _LEAST_BODY_HEIGHT - _FOOTER_HEIGHT
    return _FOOTER_HEIGHT + max(0, min(len(scene.holders), room))


def _footer(scene: Scene, keys: str, width: int, height: int, glyphs: Glyphs) -> Panel:
    """Rates with their histories, the counters of the feed, and the keys."""
    cell_width = (width - 4) // max(1, len(scene.meters))
    rates, totals = Text(no_wrap=True), Text(no_wrap=True)
    for name, meter in scene.meters:
        rate = f"{meter.per_second:,.0f}/s "
        room = cell_width - len(name) - len(rate) - 3
        history = _spark(meter.history(room), glyphs.spark)
        rates.append(f"{name} ", _FAINT).append(rate, "bold")
        rates.append(history.ljust(room + 2), "cyan")
        totals.append(f"{meter.total:,} in all".ljust(cell_width), _FAINT)
    facts = Text(no_wrap=True, overflow="ellipsis")
    for name, value in scene.facts:
        facts.append(f"{name} ", _FAINT).append(f"{value}   ")
    holders = [
        _holders("holders" if len(scene.holders) == 1 else f"shard {shard}", states)
        for shard, states in scene.holders.items()
    ]
    lines = [rates, totals, *holders[: _footer_height(scene, height) - _FOOTER_HEIGHT], facts]
    return Panel(
        _LINES.join(lines),
        title=Text(scene.note, "yellow"),
        title_align="left",
        subtitle=Text(keys, _FAINT),
        subtitle_align="right",
        border_style=_FAINT,
        height=_footer_height(scene, height),
    )


def _holders(heading: str, holders: Sequence[HolderState]) -> Text:
    """Each holder's state, and how many frames it lacks."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{heading}  ", _FAINT)
    for name, state, lag in holders:
        style = _STATE_STYLES.get(state, "bold red")
        line.append(name, "bold")
        if state:
            line.append(f" {state}", style)
        if lag is not None and state != "primary":
            line.append(f" -{lag:,}", _FAINT if lag < _NOTABLE_LAG else "yellow")
        line.append("   ")
    return line


def _spark(values: Sequence[int], glyphs: str) -> str:
    """A line of characters as high as the values are, the highest as high as can be."""
    most = max(values, default=0) or 1
    return "".join(glyphs[value * (len(glyphs) - 1) // most] for value in values)
