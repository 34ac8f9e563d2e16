"""A new day in all shards: one after the other, and again after something went wrong."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from tests.tools.replica_statuses import shards_of
from tools import new_days
from tools.configuration import Configuration
from tools.console import CommandError
from tools.new_days import BegunDay, BegunDays, begin_day_everywhere
from zk.directory import Directory

DAY = 20261123


class FakePrimary:
    """A shard's primary in a day, which may refuse, or die when it has begun another one."""

    def __init__(self, shard: int, day: int, *, refuses: bool = False, dies: bool = False) -> None:
        self.shard = shard
        self.day = day
        self.asked = 0
        self.refuses = refuses
        self._dies = dies

    async def status(self) -> dict[str, Any]:
        return {"day": self.day or None}

    async def commit(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        assert request["request"] == "new-day"
        self.asked += 1
        if self.refuses:
            raise CommandError(f"shard {self.shard}: it is full")
        if self._dies and self.asked == 1:
            return None
        self.day = request["day"]
        return {"day": self.day, "sequence": 100 * self.shard, "expired": self.shard}


def begun(
    monkeypatch: pytest.MonkeyPatch, *primaries: FakePrimary, moving: Mapping[str, int] = {}
) -> BegunDays:
    """The day is begun in an exchange of these shards."""
    shards = tuple(each.shard for each in primaries)
    held: list[str] = []

    @contextlib.asynccontextmanager
    async def only_operator(configuration: Configuration, what: str) -> AsyncIterator[None]:
        held.append(what)
        yield
        held.append("over")

    async def read_directory(configuration: Configuration) -> Directory:
        assert held == [f"new-day {DAY}"]
        return Directory(shards, shards, {"AAPL": (1,)}, moving)

    async def primaries_of(
        configuration: Configuration, wanted: Sequence[int]
    ) -> dict[int, FakePrimary]:
        assert wanted == shards
        return {each.shard: each for each in primaries}

    monkeypatch.setattr(new_days, "only_operator", only_operator)
    monkeypatch.setattr(new_days, "read_directory", read_directory)
    monkeypatch.setattr(new_days, "primaries_of", primaries_of)
    return asyncio.run(begin_day_everywhere(shards_of(2), DAY))


def test_day_begins_in_every_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    result = begun(monkeypatch, FakePrimary(1, 0), FakePrimary(2, 20261122))
    assert result == BegunDays(DAY, {1: BegunDay(100, 1), 2: BegunDay(200, 2)})
    assert result.lines() == [
        "shard 1: day 20261123 began with frame 100; orders that expired: 1",
        "shard 2: day 20261123 began with frame 200; orders that expired: 2",
    ]
    assert result.summary() == {
        "day": DAY,
        "shards": {"1": {"sequence": 100, "expired": 1}, "2": {"sequence": 200, "expired": 2}},
    }


def test_shards_that_are_in_the_day_already_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakePrimary(1, DAY), FakePrimary(2, 20261122)
    result = begun(monkeypatch, one, two)
    assert (one.asked, two.asked) == (0, 1)
    assert result.lines()[0] == "shard 1: day 20261123 had begun before"
    assert result.shards[1] == BegunDay(None, None)


def test_what_was_begun_before_a_failure_is_told_and_the_rest_done_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = FakePrimary(1, 0), FakePrimary(2, 0, refuses=True)
    with pytest.raises(CommandError, match=r"it is full; shards that are in day 20261123: 1\. Run"):
        begun(monkeypatch, one, two)
    two.refuses = False
    assert begun(monkeypatch, one, two).shards == {1: BegunDay(None, None), 2: BegunDay(200, 2)}


def test_next_primary_is_asked_when_one_dies_with_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = FakePrimary(1, 0, dies=True)
    assert begun(monkeypatch, primary).shards == {1: BegunDay(100, 1)}
    assert primary.asked == 2


@pytest.mark.parametrize("days", [(DAY, DAY), (0, DAY + 1), (DAY, DAY + 1)])
def test_day_that_is_not_later_is_refused(
    monkeypatch: pytest.MonkeyPatch, days: tuple[int, int]
) -> None:
    primaries = [FakePrimary(shard, day) for shard, day in enumerate(days, 1)]
    with pytest.raises(CommandError, match=f"the exchange is in day {max(days)} already"):
        begun(monkeypatch, *primaries)
    assert [each.asked for each in primaries] == [0, 0]


def test_day_waits_for_a_symbol_that_is_between_two_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakePrimary(1, 0), FakePrimary(2, 0)
    with pytest.raises(CommandError, match=r"between two shards \(AAPL to 2\): finish that first"):
        begun(monkeypatch, one, two, moving={"AAPL": 2})
    assert one.asked == 0
