"""The live view, on screens of all sizes."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from feed.book import Book, Books
from feed.codec import decode_frame, encode_group
from feed.messages import (
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    Event,
    OrderType,
    PostOnly,
    SetTradingState,
    ShortSale,
    Side,
    TimeInForce,
    Trade,
    TradingState,
    symbol_field,
)
from feed.subscriber import Group
from tools.rates import RateMeter
from tools.view import (
    ASCII,
    UNICODE,
    Glyphs,
    HolderState,
    ListState,
    Scene,
    TapeEntry,
    page_count,
    render,
)

SECOND_NS = 1_000_000_000
TAPE = [
    TapeEntry(13 * 3600 * SECOND_NS, symbol_field("AAPL"), 1_902_500, 300, Side.BUY),
    TapeEntry(12 * 3600 * SECOND_NS, symbol_field("MSFT"), 3_678_000, 1200, Side.SELL),
]


class Market:
    """Books, filled by groups as a feed has them."""

    def __init__(self, *symbols: str) -> None:
        self.books = Books()
        for symbol in symbols:
            self.apply(DefineInstrument(symbol_field(symbol), 100, 1, ShortSale.ALLOWED))

    def apply(self, command: Command, *events: Event) -> int:
        """Take a group; the sequence number of its command."""
        first = self.books.sequence + 1
        frames = encode_group([command, *events], first, 0)
        self.books.apply(Group(tuple(map(decode_frame, frames))))
        return first

    def order(self, symbol: str, side: Side, quantity: int, price: int) -> int:
        """Let an order rest; its number."""
        return self.apply(enter(symbol, side, quantity, price))


def enter(symbol: str, side: Side, quantity: int, price: int) -> EnterOrder:
    return EnterOrder(
        client=1,
        user_ref_num=1,
        symbol=symbol_field(symbol),
        side=side,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        post_only=PostOnly.NO,
        quantity=quantity,
        price=price,
        stop_price=0,
        capacity=Capacity.AGENCY,
        client_order_id=b" " * 14,
    )


def scene(books: Sequence[Book], page: int = 0) -> Scene:
    commands, trades = RateMeter(0), RateMeter(0)
    for second in range(1, 11):
        commands.read(1000 * second, second * SECOND_NS)
    return Scene(
        title="DEMO",
        state="trading",
        elapsed_s=83.4,
        lists=[ListState(1, "e1", 1, 1_234_567)],
        books=books,
        tape=TAPE,
        meters=[("commands", commands), ("trades", trades)],
        facts=[("gaps filled", "12 of 12")],
        note="faults: drop=5",
        page=page,
    )


def screen(drawn: Scene, width: int, height: int, glyphs: Glyphs = UNICODE) -> list[str]:
    """The lines of a screen, as they would be seen."""
    console = Console(width=width, height=height, file=StringIO(), color_system=None)
    console.print(render(drawn, width, height, glyphs), end="")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def deep_market(*symbols: str) -> list[Book]:
    market = Market(*symbols)
    for symbol in symbols:
        for level in range(1, 60):
            market.order(symbol, Side.BUY, 100 * level, 1_900_000 - 100 * level)
            market.order(symbol, Side.SELL, 100 * level, 1_900_000 + 100 * level)
    return list(market.books)


@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (200, 50), (40, 12), (60, 80), (300, 20), (133, 37)]
)
@pytest.mark.parametrize("symbols", [0, 1, 2, 5, 12])
def test_screen_is_filled_exactly(width: int, height: int, symbols: int) -> None:
    lines = screen(scene(deep_market(*(f"S{i}" for i in range(symbols)))), width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}


def test_ladder_shows_asks_above_bids_with_bars_as_long_as_the_quantities() -> None:
    market = Market("AAPL")
    market.order("AAPL", Side.SELL, 400, 1_900_300)
    market.order("AAPL", Side.SELL, 100, 1_900_100)
    market.order("AAPL", Side.SELL, 100, 1_900_100)
    market.order("AAPL", Side.BUY, 300, 1_899_900)
    lines = screen(scene(list(market.books)), 80, 24)
    ladder = [line[2:52].rstrip() for line in lines[2:18] if line[2:52].strip()]
    assert ladder == [
        "190.03     400 " + "█" * 35,
        "190.01     200 " + "█" * 17 + "▌",
        " spread 0.02 ".center(50, "-"),
        "189.99     300 " + "█" * 26 + "▎",
    ]


def test_eighty_columns_have_two_books_and_the_tape_side_by_side() -> None:
    lines = screen(scene(deep_market("AAPL", "MSFT", "NVDA")), 80, 24)
    assert lines[1].startswith("╭─ AAPL ")
    assert "╭─ MSFT " in lines[1]
    assert "╭─ tape " in lines[1]
    assert "NVDA" not in "".join(lines[:19])
    assert "symbols 1 to 2 of 3, n: next" in lines[-1]
    assert "q: quit" in lines[-1]
    assert sum("190." in line[2:25] for line in lines) == 7


def test_large_screen_has_two_rows_of_books_and_the_time_on_the_tape() -> None:
    lines = screen(scene(deep_market(*"ABCDEF")), 200, 50)
    titles = [name for line in lines for name in "ABCDEF" if f"╭─ {name} " in line]
    assert titles == list("ABCDEF")
    assert "next" not in lines[-1]
    assert any(":00:00.000 AAPL" in line for line in lines)


def test_next_page_shows_the_other_symbols_and_the_one_after_the_last_the_first() -> None:
    books = deep_market("AAPL", "MSFT", "NVDA")
    assert page_count(scene(books), 80, 24) == 2
    second = screen(scene(books, page=1), 80, 24)
    assert second[1].startswith("╭─ NVDA ")
    assert "symbols 3 to 3 of 3" in second[-1]
    assert screen(scene(books, page=2), 80, 24) == screen(scene(books, page=0), 80, 24)


def test_header_and_footer_tell_the_state_of_the_feed() -> None:
    lines = screen(scene(deep_market("AAPL")), 80, 24)
    assert " ".join(lines[0].split()) == "LOCKSTEP DEMO trading epoch 1 sequence 1,234,567 01:23"
    assert lines[-5].startswith("╭─ faults: drop=5 ─")
    assert "commands 1,000/s ██████████" in lines[-4]
    assert "trades 0/s" in lines[-4]
    assert "10,000 in all" in lines[-3]
    assert "gaps filled 12 of 12" in lines[-2]


HOLDERS = [
    HolderState("e1", "primary", 0),
    HolderState("e2", "backup", 1234),
    HolderState("e3", "down", None),
    HolderState("r1", "", 2),
]


def test_holders_have_a_line_of_their_own_with_their_state_and_lag() -> None:
    drawn = replace(scene(deep_market("AAPL")), holders={1: HOLDERS})
    lines = screen(drawn, 80, 24)
    assert len(lines) == 24
    assert lines[-6].startswith("╭─ faults: drop=5 ─")
    assert " ".join(lines[-3].strip("│ ").split()) == (
        "holders e1 primary e2 backup -1,234 e3 down r1 -2"
    )
    assert "gaps filled 12 of 12" in lines[-2]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (200, 50)])
def test_screen_with_holders_is_filled_exactly(width: int, height: int) -> None:
    lines = screen(replace(scene(deep_market("A", "B")), holders={1: HOLDERS}), width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}


TWO_LISTS = [ListState(1, "e1", 1, 1_234_567), ListState(2, "e5", 12, 98_765)]


def two_shards() -> Scene:
    shards = {symbol_field("A"): 1, symbol_field("B"): 2}
    return replace(scene(deep_market("A", "B")), lists=TWO_LISTS, shards=shards)


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (80, "1: e1 epoch 1 1,234,567 2: e5 epoch 12 98,765"),
        (70, "1: e1 1,234,567 2: e5 98,765"),
        (45, "1: e1 2: e5"),
    ],
)
def test_header_tells_of_each_list_as_much_as_there_is_room_for(width: int, told: str) -> None:
    lines = screen(two_shards(), width, 24)
    assert " ".join(lines[0].split()) == f"LOCKSTEP DEMO trading {told} 01:23"


def test_book_tells_its_shard_where_there_are_several() -> None:
    lines = screen(two_shards(), 80, 24)
    (line,) = [line for line in lines if "trades" in line and "shard" in line]
    assert "─ shard 1  trades 0 ─" in line
    assert "─ shard 2  trades 0 ─" in line
    assert line.index("shard 1") < line.index("shard 2")


@pytest.mark.parametrize(("height", "shown"), [(24, [1, 2, 3]), (12, [1, 2])])
def test_each_shard_has_its_holders_on_a_line_as_long_as_there_is_room(
    height: int, shown: list[int]
) -> None:
    holders = {shard: [HolderState(f"e{shard}", "primary", 0)] for shard in (1, 2, 3)}
    lines = screen(replace(two_shards(), holders=holders), 80, height)
    assert len(lines) == height
    told = [line.strip("│ ") for line in lines if "primary" in line]
    assert told == [f"shard {shard}  e{shard} primary" for shard in shown]
    assert "gaps filled" in lines[-2]


def test_keys_of_a_screen_stand_before_the_one_that_quits() -> None:
    drawn = replace(scene(deep_market("AAPL")), keys=["k: kill the primary"])
    assert "k: kill the primary   q: quit" in screen(drawn, 80, 24)[-1]


def test_tape_has_the_newest_trade_on_top() -> None:
    lines = screen(scene(deep_market("AAPL")), 80, 24)
    assert [line[54:].strip(" │") for line in lines[2:4]] == [
        "AAPL   190.25    300 ▲",
        "MSFT   367.80   1200 ▼",
    ]


def test_last_price_trades_and_a_halt_stand_on_the_frame_of_the_book() -> None:
    market = Market("AAPL")
    maker = market.order("AAPL", Side.SELL, 100, 1_900_100)
    taker = market.books.sequence + 1
    trade = Trade(symbol_field("AAPL"), 1_900_100, 100, Side.BUY, maker, 1, 1, taker, 2, 1)
    market.apply(enter("AAPL", Side.BUY, 100, 1_900_100), trade)
    market.apply(SetTradingState(symbol_field("AAPL"), TradingState.HALTED))
    lines = screen(scene(list(market.books)), 80, 24)
    assert lines[1].startswith("╭─ AAPL 190.01 HALTED ─")
    assert "─ trades 1 ─" in lines[18]


def test_plain_characters_are_enough_for_what_is_drawn_in_the_books() -> None:
    lines = screen(scene(deep_market("AAPL")), 80, 24, ASCII)
    assert "190.01     100 " in lines[8]
    assert "189.93     700 ##################" in "".join(lines)
    assert not {"█", "▲", "▇"} & set("".join(lines))
