"""One observer for each list of an exchange, and all of them as one market."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from feed.book import Book
from feed.faults import Faults
from feed.messages import TradingState
from feed.schema import ReplayKind
from feed.settings import Address
from feed.subscriber import Group
from tools.configuration import Configuration
from tools.console import Summary
from tools.observer import TAPE_LENGTH, FeedError, Observer
from tools.view import ListState, TapeEntry

_COUNTED = (
    *("commands", "frames", "trades"),
    *("gaps_detected", "gaps_filled", "frames_recovered", "naks"),
)


class Observers(Mapping[int, Observer]):
    """The observers by the number of their shard, ascending.

    The arguments are an `Observer`'s; what is called says first which shard it is about.
    """

    def __init__(
        self,
        views: Mapping[int, Configuration],
        *,
        receive: Mapping[int, Address] | None = None,
        faults: Callable[[], Faults | None] = lambda: None,
        begin: ReplayKind | None = ReplayKind.LIST,
        on_groups: Callable[[int, Sequence[Group]], None] | None = None,
        on_snapshot: Callable[[int, int], None] | None = None,
        on_progress: Callable[[int, int, int], None] | None = None,
    ) -> None:
        """`views` are the configurations of the shards that are observed, each in its own form.

        Each observer has faults of its own, which `faults` gives.
        """
        self.tape: deque[TapeEntry] = deque(maxlen=TAPE_LENGTH)  # newest first
        self._observers = {
            shard: Observer(
                view,
                receive=(receive or {}).get(shard),
                faults=faults(),
                begin=begin,
                on_groups=_about(shard, on_groups),
                on_snapshot=_about(shard, on_snapshot),
                on_progress=_about(shard, on_progress),
                tape=self.tape,
            )
            for shard, view in sorted(views.items())
        }

    def __getitem__(self, shard: int) -> Observer:
        return self._observers[shard]

    def __iter__(self) -> Iterator[int]:
        return iter(self._observers)

    def __len__(self) -> int:
        return len(self._observers)

    def start(self) -> None:
        """Begin to listen; raises OSError when a socket can't be opened."""
        try:
            for observer in self.values():
                observer.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the sockets; what is known stays."""
        for observer in self.values():
            observer.close()

    async def watch_until(self, stop: asyncio.Event, *, within_s: float | None = None) -> None:
        """Wait until `stop` is set, or the time is over; raises as `Observer.watch_until`."""
        failed = {observer.failed for observer in self.values()}
        stopped = asyncio.ensure_future(stop.wait())
        ends: set[asyncio.Future[Any]] = {*failed, stopped}
        try:
            await asyncio.wait(ends, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        for shard, observer in self.items():
            try:
                observer.require_sound()
            except FeedError as error:
                where = "" if len(self) == 1 else f"shard {shard}: "
                raise FeedError(f"{where}{error}") from error

    @property
    def is_catching_up(self) -> bool:
        """Whether a long range of a list, or a snapshot, is on its way."""
        return any(observer.is_catching_up for observer in self.values())

    def total(self, name: str) -> int:
        """The sum of one of the observers' counters: commands, frames or trades."""
        return sum(getattr(observer, name) for observer in self.values())

    def books(self) -> list[Book]:
        """The books of all symbols, by symbol: each from the shard that it is in.

        While a symbol moves, it is the half-filled one where it arrives.
        """
        return [book for _, book in self._books_by_symbol()]

    def shards(self) -> dict[bytes, int]:
        """The shard of each symbol that has a book."""
        return {book.symbol: shard for shard, book in self._books_by_symbol()}

    def lists(self) -> list[ListState]:
        """Who leads in each shard, and how far its list is."""
        return [
            ListState(
                shard,
                observer.reigns[-1].primary if observer.reigns else "",
                observer.subscriber.epoch,
                observer.sequence,
            )
            for shard, observer in self.items()
        ]

    def summary(self) -> Summary:
        """What has been received of all lists together; of several, also of each by itself."""
        summaries = {shard: observer.summary() for shard, observer in self.items()}
        if len(summaries) == 1:
            return next(iter(summaries.values()))
        totals = {key: sum(each[key] for each in summaries.values()) for key in _COUNTED}
        shards = {str(shard): summary for shard, summary in summaries.items()}
        return {"role": "subscriber", **totals, "shards": shards}

    def _books_by_symbol(self) -> list[tuple[int, Book]]:
        found = [
            (shard, book)
            for shard, observer in self.items()
            for book in observer.books
            if book.trading_state is not TradingState.MOVED
        ]
        return sorted(found, key=lambda each: each[1].symbol)


def _about(shard: int, call: Callable[..., None] | None) -> Callable[..., None] | None:
    """The same call, told first which shard it is about."""
    if call is None:
        return None
    told = call
    return lambda *arguments: told(shard, *arguments)
