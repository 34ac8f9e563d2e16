import asyncio

import pytest

from tools.watching import first_failure, run_watched


class Journal:
    """What the tasks did."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def wait(self, name: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.lines.append(f"{name} canceled")
            raise

    async def do(self, name: str, failure: Exception | None = None) -> None:
        await asyncio.sleep(0)
        self.lines.append(f"{name} done")
        if failure is not None:
            raise failure


def test_watchers_are_canceled_when_all_work_is_done() -> None:
    journal = Journal()
    asyncio.run(run_watched([journal.do("a"), journal.do("b")], [journal.wait("watcher")]))
    assert journal.lines == ["a done", "b done", "watcher canceled"]


def test_a_watcher_that_ends_is_not_missed() -> None:
    journal = Journal()

    async def work() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await journal.do("work")

    asyncio.run(run_watched([work()], [journal.do("watcher")]))
    assert journal.lines == ["watcher done", "work done"]


@pytest.mark.parametrize("fails", ["work", "watcher"])
def test_the_first_failure_ends_everything_else(fails: str) -> None:
    journal = Journal()
    failing = journal.do(fails, ValueError("it broke"))
    other = journal.wait("other")
    work, watchers = ([other], [failing]) if fails == "watcher" else ([failing, other], [])
    with pytest.raises(ValueError, match="it broke"):
        asyncio.run(run_watched(work, watchers))
    assert journal.lines == [f"{fails} done", "other canceled"]


def test_everything_is_canceled_with_the_one_who_waits() -> None:
    journal = Journal()

    async def cancel_it() -> None:
        running = asyncio.ensure_future(
            run_watched([journal.wait("work")], [journal.wait("watcher")])
        )
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel_it())
    assert sorted(journal.lines) == ["watcher canceled", "work canceled"]


def test_first_failure_is_raised_though_other_tasks_end_well_before() -> None:
    journal = Journal()

    async def situation() -> None:
        until = asyncio.ensure_future(journal.wait("until"))
        tasks = [
            asyncio.ensure_future(journal.do("a")),
            asyncio.ensure_future(journal.do("b", OSError("b failed"))),
        ]
        with pytest.raises(OSError, match="b failed"):
            await first_failure(tasks, until)
        await asyncio.wait({until})

    asyncio.run(situation())
    assert journal.lines == ["a done", "b done", "until canceled"]


def test_waiting_for_a_failure_ends_when_what_it_lasts_until_is_done() -> None:
    journal = Journal()

    async def situation() -> None:
        watched = asyncio.ensure_future(journal.wait("watched"))
        await first_failure([watched], asyncio.ensure_future(journal.do("until")))
        assert not watched.done()
        watched.cancel()
        await asyncio.wait({watched})

    asyncio.run(situation())
    assert journal.lines == ["until done", "watched canceled"]
