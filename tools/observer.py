"""An independent subscriber of one list: recovers gaps, keeps the books and the tape, counts."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from feed.book import Books
from feed.digest import ListDigest
from feed.faults import Faults
from feed.gap import GapFailure
from feed.messages import Epoch, Trade, unpad
from feed.schema import FrameType, ReplayKind
from feed.settings import Address
from feed.snapshot import WholeSnapshot
from feed.subscriber import Group, Groups
from feed.subscription import Subscription
from tools.configuration import Configuration
from tools.console import CommandError, Summary
from tools.view import TapeEntry

TAPE_LENGTH = 200  # more than the tallest terminal shows
_REIGNS_KEPT = 1000  # of the newest: more takeovers than anybody looks back on


class Reign(NamedTuple):
    """An epoch, as its EPOCH frame tells of it."""

    epoch: int
    primary: str
    sequence: int  # of that frame, the epoch's first
    seen_ns: int  # when it was delivered here, which is when it had been committed: monotonic


class FeedError(CommandError):
    """The feed can't be read any further; the text says which frames are missing, and why."""


class Observer:
    """Listens to an exchange's feed from where it begins, which is as a `Subscription` does.

    One that joins live knows nothing of what rests by then, so that its books stay empty. One that
    begins after a snapshot calls `on_snapshot` with the frame that it stands for.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        receive: Address | None = None,
        faults: Faults | None = None,
        begin: ReplayKind | None = ReplayKind.LIST,
        on_groups: Callable[[Sequence[Group]], None] | None = None,
        on_snapshot: Callable[[int], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        tape: deque[TapeEntry] | None = None,
    ) -> None:
        """`tape` is where trades are put, if others put theirs there, too."""
        self.books = Books()
        self.tape = deque(maxlen=TAPE_LENGTH) if tape is None else tape  # newest first
        self.commands = 0
        self.frames = 0
        self.trades = 0
        self.sequence = 0  # of the last frame delivered
        # Of all frames of the list, those that a snapshot stands for among them.
        self.digest: ListDigest | None = None if begin is None else ListDigest()
        self.reigns: deque[Reign] = deque(maxlen=_REIGNS_KEPT)  # the present one is the last
        self._is_live = begin is None
        self._on_groups = on_groups
        self._on_snapshot = on_snapshot
        self._subscription = Subscription(
            configuration.feed,
            configuration.repair_addresses(),
            self._take,
            replay_sources=[
                each.repair for each in configuration.shard_settings().holders.values()
            ],
            begin=begin,
            on_snapshot=self._begin_after,
            on_progress=on_progress,
            receive=receive,
            faults=faults,
        )
        self.subscriber = self._subscription.subscriber

    def start(self) -> None:
        """Begin to listen; raises OSError when a socket can't be opened."""
        self._subscription.start()

    def close(self) -> None:
        """Close the sockets; what is known stays."""
        self._subscription.close()

    async def watch_until(self, stop: asyncio.Event, *, within_s: float | None = None) -> None:
        """Wait until `stop` is set, or the time is over.

        Raises FeedError when a gap can't be filled, and what was raised where groups are taken.
        """
        failed = self.failed
        stopped = asyncio.ensure_future(stop.wait())
        either: set[asyncio.Future[Any]] = {failed, stopped}
        try:
            await asyncio.wait(either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        self.require_sound()

    @property
    def failed(self) -> asyncio.Future[GapFailure]:
        """Done when the list can't be read any further; from `start` on."""
        return self._subscription.failed

    def require_sound(self) -> None:
        """Raise what has ended the reading of the list, if anything has."""
        if self.failed.done():
            failure = self.failed.result()
            raise FeedError(
                f"frames {failure.first_sequence} to {failure.last_sequence} can't be had: "
                f"{failure.reason}"
            )

    @property
    def is_catching_up(self) -> bool:
        """Whether a long range of the list, or a snapshot, is on its way."""
        return self._subscription.catch_up.is_under_way

    def summary(self) -> Summary:
        """What has been received, and what had to be repaired."""
        counters = self.subscriber.counters
        return {
            "role": "subscriber",
            "sequence": self.sequence,
            "commands": self.commands,
            "frames": self.frames,
            "trades": self.trades,
            "gaps_detected": counters.gaps_detected,
            "gaps_filled": counters.gaps_filled,
            "frames_recovered": counters.frames_recovered,
            "naks": counters.naks_sent,
            "list_digest": None if self.digest is None else self.digest.hex(),
        }

    def _take(self, groups: Groups) -> None:
        now_ns = time.monotonic_ns()
        for group in groups:
            if group.command.type is FrameType.EPOCH:
                self._begin_reign(group, now_ns)
            if not self._is_live:
                self.books.apply(group)
            self.commands += 1
            for frame in group.frames:
                if frame.type is FrameType.TRADE:
                    self._record(frame.time_ns, cast(Trade, frame.message()))
        self.frames += len(groups.run)
        if self.digest is not None:
            self.digest.update(groups.run)
        self.sequence = groups.run.last_sequence
        if self._on_groups is not None:
            self._on_groups(groups)

    def _begin_after(self, snapshot: WholeSnapshot) -> None:
        head = snapshot.head
        self.books = Books.from_snapshot(snapshot)
        self.digest = ListDigest(head.digest_sequence, head.list_digest)
        self.digest.update(snapshot.tail)
        self.sequence = head.sequence
        if self._on_snapshot is not None:
            self._on_snapshot(head.sequence)

    def _begin_reign(self, group: Group, now_ns: int) -> None:
        epoch = cast(Epoch, group.command.message())
        self.reigns.append(Reign(epoch.epoch, unpad(epoch.primary), group.first_sequence, now_ns))

    def _record(self, time_ns: int, trade: Trade) -> None:
        self.trades += 1
        self.tape.appendleft(
            TapeEntry(time_ns, trade.symbol, trade.price, trade.quantity, trade.taker_side)
        )
