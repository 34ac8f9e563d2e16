"""The drill's own subscriber: it keeps every committed frame, and when each new epoch showed.

It reads the feed like anybody else, and believes nobody's word. It also watches itself: a witness
that wakes up late tells late times, so how late it was stands beside what it tells.
"""

import asyncio
import contextlib
import time
from array import array
from collections.abc import Iterator, Sequence

from feed.codec import Frame, decode_frame
from feed.settings import Address
from feed.subscriber import Group
from tools.configuration import Configuration
from tools.observer import Observer, Reign

_TICK_S = 0.005


class Witness:
    """Listens to the feed from the first frame on; an async context manager."""

    def __init__(self, configuration: Configuration, receive: Address | None) -> None:
        self.latest_ns = 0  # how late its latest wake-up was, since this was last set to 0
        self.heard_ns: dict[int, int] = {}  # when the last group came, by the epoch of that time
        self.taken_ns = array("q")  # when groups came
        self._frames: list[bytes] = []
        self.observer = Observer(configuration, receive=receive, on_groups=self._take)
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Witness":
        self.observer.start()
        self._ticking = asyncio.create_task(self._tick(), name="the witness watches itself")
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        self.observer.close()

    @property
    def reigns(self) -> list[Reign]:
        """Every epoch so far, with the time at which its first frame was known to be committed."""
        return list(self.observer.reigns)

    @property
    def sequence(self) -> int:
        """The last committed frame that came."""
        return self.observer.sequence

    @property
    def book_digest(self) -> str:
        """Of the books that follow from the list."""
        return self.observer.books.digest()

    @property
    def list_digest(self) -> str:
        """Of all frames."""
        assert self.observer.digest is not None, "it listens from the first frame on"
        return self.observer.digest.hex()

    @property
    def epoch(self) -> int:
        """The newest committed one; 0 before the first."""
        reigns = self.observer.reigns
        return reigns[-1].epoch if reigns else 0

    def groups(self) -> Iterator[Group]:
        """The list so far, group by group."""
        frames: list[Frame] = []
        for data in self._frames:
            frame = decode_frame(data)
            frames.append(frame)
            if frame.is_end:
                yield Group(tuple(frames))
                frames = []

    async def check(self) -> None:
        """Raise FeedError when the feed can't be read any further."""
        await self.observer.watch_until(asyncio.Event(), within_s=0)

    def _take(self, groups: Sequence[Group]) -> None:
        now_ns = time.monotonic_ns()
        self.heard_ns[self.epoch] = now_ns
        self.taken_ns.append(now_ns)
        self._frames += [frame.data for group in groups for frame in group.frames]

    async def _tick(self) -> None:
        while True:
            due_ns = time.monotonic_ns() + int(_TICK_S * 1e9)
            await asyncio.sleep(_TICK_S)
            self.latest_ns = max(self.latest_ns, time.monotonic_ns() - due_ns)
