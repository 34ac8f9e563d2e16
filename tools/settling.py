"""The end of a run: wait until all is quiet, then compare an observer's books with the engine's."""

import asyncio
from typing import Any, NamedTuple

from tools.observer import FeedError, Observer
from tools.processes import Exchange

# Longer than two of an idle engine's heartbeats, by which a lost last frame shows.
QUIET_S = 0.6
# Gaps are given up within ten seconds; whoever still lacks something after that won't get it.
SETTLE_WITHIN_S = 20.0


class Settled(NamedTuple):
    """How things stood when all was quiet."""

    status: dict[str, Any]  # the engine's
    frames_lost: int  # that the observer never got
    books_equal: bool  # the observer's books and the engine's, at the same sequence number
    failure: str | None  # why the observer could not get further


async def settle(exchange: Exchange, observer: Observer) -> Settled:
    """Wait until nothing moves any more and the observer has all of the list.

    Nobody may enter orders any more. It does not wait for ever: what is still lacking then is lost.
    """
    failure = None
    try:
        async with asyncio.timeout(SETTLE_WITHIN_S):
            await _until_quiet(exchange, observer)
    except FeedError as error:
        failure = str(error)
    except TimeoutError:
        failure = f"frames {observer.sequence + 1} and later did not arrive"
    status = await exchange.status()
    frames_lost = status["sequence"] - observer.sequence
    books_equal = not frames_lost and observer.books.digest() == status["book_digest"]
    return Settled(status, frames_lost, books_equal, failure)


async def _until_quiet(exchange: Exchange, observer: Observer) -> None:
    sequence = -1
    while True:
        status = await exchange.status()
        if status["sequence"] == sequence == observer.sequence:
            return
        sequence = status["sequence"]
        await observer.watch_until(asyncio.Event(), within_s=QUIET_S)
