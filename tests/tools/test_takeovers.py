"""The primary is killed, a backup takes over, the dead one comes back; and what is told of it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.control import ControlError
from tests.tools.replica_statuses import status
from tools import takeovers
from tools.console import CommandError
from tools.observer import Observer, Reign
from tools.processes import Exchange
from tools.takeovers import Killer, Takeover

SECOND_NS = 1_000_000_000


class FakeExchange:
    """Replicas e1 and e2, of which the other one leads once one is killed."""

    def __init__(self, observer: SimpleNamespace, *, takes_over: bool = True) -> None:
        self.done: list[str] = []
        self._observer = observer
        self._takes_over = takes_over
        self._looks = 0

    async def primary(self, shard: int | None = None) -> str:
        return str(self._observer.reigns[-1].primary)

    async def kill(self, name: str) -> None:
        self.done.append(f"kill {name}")
        if self._takes_over:
            asyncio.get_running_loop().call_later(0.02, self._take_over, name)

    async def restart(self, name: str) -> None:
        self.done.append(f"restart {name}")

    async def until(
        self,
        what: str,
        condition: Callable[[Mapping[str, Any]], dict[str, Any] | None],
        *,
        shard: int | None = None,
    ) -> None:
        """Look twice: when it returns, and when it votes again."""
        name = what.removeprefix("the return of ")
        leader = await self.primary()
        for state, vote in (("returning", False), ("backup", False), ("backup", True)):
            holders = {name: {"sequence": 100, "vote": vote}}
            statuses = {
                name: status(name, state=state),
                leader: status(leader, state="primary", holders=holders),
            }
            self.done.append(f"{name} {'is back' if condition(statuses) else 'is not back'}")
        assert condition({name: ControlError("gone"), leader: statuses[leader]}) is None
        assert condition({name: statuses[name], leader: status(leader)}) is None

    def _take_over(self, killed: str) -> None:
        epoch = self._observer.reigns[-1].epoch + 1
        successor = {"e1": "e2", "e2": "e1"}[killed]
        seen_ns = time.monotonic_ns()
        self._observer.reigns.append(Reign(epoch, successor, 10 * epoch, seen_ns))


def situation(*, takes_over: bool = True) -> tuple[Killer, FakeExchange, SimpleNamespace]:
    observer = SimpleNamespace(reigns=[Reign(1, "e1", 1, 0)])
    exchange = FakeExchange(observer, takes_over=takes_over)
    return Killer(cast(Exchange, exchange), cast(Observer, observer)), exchange, observer


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeovers, "RESTART_AFTER_S", 0.0)


def test_killed_primary_is_succeeded_restarted_and_back_once_it_votes() -> None:
    killer, exchange, _ = situation()
    asyncio.run(killer.kill_primary())
    assert exchange.done == [
        "kill e1",
        "restart e1",
        "e1 is not back",
        "e1 is not back",
        "e1 is back",
    ]
    (takeover,) = killer.takeovers()
    assert takeover[:3] == (2, "e2", "e1")
    assert takeover.takeover_ms is not None
    assert 20 <= takeover.takeover_ms < 5000
    assert killer.story == (
        f"e1 was killed: e2 took over in epoch 2, {takeover.takeover_ms:.0f} ms later; e1 is back"
    )


def test_every_takeover_is_told_also_one_for_which_nobody_was_killed() -> None:
    killer, _, observer = situation()
    asyncio.run(killer.kill_primary())
    observer.reigns.append(Reign(3, "e3", 77, SECOND_NS))
    assert killer.takeovers()[1:] == [Takeover(3, "e3", None, None)]


def test_exchange_that_nobody_takes_over_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeovers, "TAKEOVER_WITHIN_S", 0.05)
    killer, _, _ = situation(takes_over=False)
    with pytest.raises(CommandError, match="nobody took over from e1 within 0 s"):
        asyncio.run(killer.kill_primary())
    assert killer.story == "e1 was killed"
    assert killer.takeovers() == []
