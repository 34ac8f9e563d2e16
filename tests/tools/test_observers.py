"""The observers of several lists, as one market."""

import asyncio
from collections.abc import Sequence

import pytest

from feed.codec import encode_group
from feed.gap import GapFailure
from feed.messages import (
    AdoptInstrument,
    Command,
    DefineInstrument,
    Epoch,
    Event,
    InstrumentState,
    MoveOut,
    SetTradingState,
    ShortSale,
    TradingState,
    holder_field,
    symbol_field,
    unpad,
)
from feed.run import run_of_frames
from feed.subscriber import Group, Groups
from tests.tools.replica_statuses import configuration_of, shards_of
from tools.observer import FeedError
from tools.observers import Observers
from tools.view import ListState

AAPL, MSFT, NVDA = map(symbol_field, ("AAPL", "MSFT", "NVDA"))


def define(symbol: bytes) -> DefineInstrument:
    return DefineInstrument(symbol, 100, 1, ShortSale.ALLOWED)


class Lists:
    """Two lists, each of which begins with an epoch, and their observers."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, list[int]]] = []
        views = shards_of(2).by_shard()
        self.observers = Observers(dict(reversed(views.items())), on_groups=self._on_groups)
        for shard, primary in ((1, "e1"), (2, "e2")):
            self.add(shard, Epoch(shard, holder_field(primary)))

    def add(self, shard: int, command: Command, *events: Event) -> None:
        observer = self.observers[shard]
        first = observer.sequence + 1
        frames = encode_group([command, *events], first, 0)
        observer._take(Groups(run_of_frames(first, frames)))

    def _on_groups(self, shard: int, groups: Sequence[Group]) -> None:
        self.heard.append((shard, [group.first_sequence for group in groups]))


def test_books_of_all_shards_stand_by_symbol_each_with_its_shard() -> None:
    lists = Lists()
    lists.add(2, define(AAPL))
    lists.add(1, define(MSFT))
    lists.add(2, define(NVDA))
    observers = lists.observers
    assert [unpad(book.symbol) for book in observers.books()] == ["AAPL", "MSFT", "NVDA"]
    assert observers.shards() == {AAPL: 2, MSFT: 1, NVDA: 2}
    assert lists.heard == [(1, [1]), (2, [1]), (2, [2]), (1, [2]), (2, [3])]


def test_symbol_that_has_moved_has_the_book_of_the_shard_that_it_is_in() -> None:
    lists = Lists()
    lists.add(1, define(AAPL))
    lists.add(1, SetTradingState(AAPL, TradingState.HALTED))
    state = InstrumentState(AAPL, 100, 1, ShortSale.ALLOWED, TradingState.HALTED, 0, 1)
    lists.add(1, MoveOut(AAPL, 2), state)
    assert lists.observers.shards() == {}
    lists.add(2, AdoptInstrument(AAPL, 100, 1, ShortSale.ALLOWED, 0, 1))
    assert lists.observers.shards() == {AAPL: 2}
    (book,) = lists.observers.books()
    assert book.trading_state is TradingState.ARRIVING


def test_counters_add_up_and_each_list_is_told() -> None:
    lists = Lists()
    lists.add(2, define(AAPL))
    observers = lists.observers
    assert (observers.total("commands"), observers.total("frames")) == (3, 3)
    assert observers.lists() == [ListState(1, "e1", 0, 1), ListState(2, "e2", 0, 2)]
    summary = observers.summary()
    assert (summary["role"], summary["frames"]) == ("subscriber", 3)
    assert [summary["shards"][shard]["sequence"] for shard in ("1", "2")] == [1, 2]
    assert "sequence" not in summary


def test_one_list_is_summed_up_as_ever() -> None:
    observers = Observers({1: configuration_of("e1")})
    assert observers.summary() == observers[1].summary()
    assert observers.lists() == [ListState(1, "", 0, 0)]


@pytest.mark.parametrize(("count", "where"), [(1, ""), (2, "shard 1: ")])
def test_list_that_can_not_be_read_further_ends_the_watch_and_is_named(
    count: int, where: str
) -> None:
    async def situation() -> None:
        views = shards_of(2).by_shard()
        observers = Observers({shard: views[shard] for shard in range(1, count + 1)})
        for observer in observers.values():
            observer._subscription.failed = asyncio.get_running_loop().create_future()
        await observers.watch_until(asyncio.Event(), within_s=0)
        observers[1].failed.set_result(GapFailure(7, 9, "nobody holds it"))
        with pytest.raises(FeedError) as raised:
            await observers.watch_until(asyncio.Event())
        assert str(raised.value) == f"{where}frames 7 to 9 can't be had: nobody holds it"

    asyncio.run(situation())
