"""What tests of the listener share: receivers that do as they are told, and how to run one."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from feed.gap import GapFailure, Nak
from feed.subscriber import Group, Subscriber
from tests.feed.lists import SHARD
from tests.feed.sockets import (
    PATIENCE_SECONDS,
)

Recorded = tuple[bytes, int | None]  # a datagram and its source


class Recorder:
    """A receiver that delivers what it is given, and does what the test wants."""

    def __init__(self) -> None:
        self.deadline_ns: int | None = None
        self.failure: GapFailure | None = None
        self.naks: list[Nak] = []
        self.called_ns: list[int] = []

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> list[Recorded]:
        return [(data, source)] if data else []

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> list[Recorded]:
        return [taken for data in datagrams for taken in self.on_datagram(data, now_ns)]

    def on_time(self, now_ns: int) -> list[Nak]:
        self.called_ns.append(now_ns)
        self.deadline_ns = None
        naks, self.naks = self.naks, []
        return naks


class Chronicle(Recorder):
    """A recorder that also keeps the order of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[bytes] = []
        self.batches: list[int] = []  # how many datagrams came at once from the group

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> list[Recorded]:
        self.batches.append(len(datagrams))
        return super().on_datagrams(datagrams, now_ns)

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> list[Recorded]:
        self.events.append(data)
        return super().on_datagram(data, now_ns, source)

    def on_time(self, now_ns: int) -> list[Nak]:
        self.events.append(b"time")
        return super().on_time(now_ns)


def run(scenario: Callable[[], Awaitable[None]]) -> list[dict[str, Any]]:
    """Run a scenario to its end; what the event loop had to report meanwhile."""
    reports: list[dict[str, Any]] = []

    async def limited() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scenario()

    asyncio.run(limited())
    gc.collect()  # a socket left open would warn here
    return reports


def subscriber(source_count: int = 0) -> Subscriber:
    return Subscriber(shard=SHARD, source_count=source_count, random=Random(1))


def sequences(groups: Sequence[Group]) -> list[int]:
    return [group.first_sequence for group in groups]
