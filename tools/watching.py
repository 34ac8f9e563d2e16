"""Work in tasks with watchers beside it, so that nobody waits for what can't come any more."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, None]


async def run_watched(work: Sequence[Work], watchers: Sequence[Work]) -> None:
    """Run all of `work` to its end, and the watchers meanwhile.

    The first exception in any of them is raised; all of them have ended by then. A watcher that
    ends without one is not missed.
    """
    working = {asyncio.ensure_future(each) for each in work}
    watching = {asyncio.ensure_future(each) for each in watchers}
    try:
        while working:
            done, _ = await asyncio.wait(working | watching, return_when=asyncio.FIRST_COMPLETED)
            working -= done
            watching -= done
            for task in done:
                task.result()
    finally:
        for task in working | watching:
            task.cancel()
        await asyncio.gather(*working, *watching, return_exceptions=True)


async def first_failure(tasks: Sequence[asyncio.Future[Any]], until: asyncio.Future[Any]) -> None:
    """Wait until one of the tasks raises, which is raised here, or `until` is done."""
    pending = {*tasks, until}
    try:
        while until in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        until.cancel()
