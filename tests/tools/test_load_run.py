import asyncio
from collections.abc import Iterable

import pytest

from engine.rejects import RejectReason
from engine.settings import InstrumentSettings
from feed.messages import CancelReason
from gateway.client_errors import ConnectionLost
from gateway.events import Canceled, Event, Executed, Rejected, SessionBegan, Triggered
from gateway.ouch import Liquidity
from gateway.rejects import GatewayReject
from tests.tools.scripted_client import Answer, ScriptedClient, accept_all, accepted
from tools.load import run as load_run
from tools.load.run import LoadCounters, LoadPlan, run_load

INSTRUMENTS = (InstrumentSettings(symbol="AAPL"), InstrumentSettings(symbol="MSFT"))
RATE = 20_000  # commands fall due faster than they are made, so that nothing waits


def run(
    *clients: ScriptedClient, commands: int, seed: int = 1, keeps_orders: bool = False
) -> tuple[int, LoadCounters]:
    """Run a load until the first client has been given so many commands."""
    counters = LoadCounters()
    plan = LoadPlan(RATE, seed, INSTRUMENTS, keeps_orders=keeps_orders)

    async def until_enough() -> int:
        stop = asyncio.Event()
        for client in clients:
            client.when_commands(commands, stop.set)
        named = {f"C{i}": client for i, client in enumerate(clients)}
        async with asyncio.timeout(20):
            return await run_load(named, plan, counters, stop)

    return asyncio.run(until_enough()), counters


def test_the_same_seed_sends_the_same_commands_whatever_is_answered() -> None:
    def reject_all(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        if command.startswith("cancel"):
            return []
        return [Rejected(number, 0, number, RejectReason.HALTED, "", "")]

    accepting, rejecting, other = ScriptedClient(), ScriptedClient(reject_all), ScriptedClient()
    run(accepting, commands=300)
    run(rejecting, commands=300)
    run(other, commands=300, seed=2)
    assert accepting.commands == rejecting.commands
    assert accepting.commands != other.commands


def test_commands_name_orders_by_the_numbers_that_they_got_here() -> None:
    first, later = ScriptedClient(), ScriptedClient(first_user_ref_num=5001)
    run(first, commands=400)
    run(later, commands=400)
    shifted = []
    for command in first.commands:
        kind, number, *rest = command.split()
        if kind in ("cancel", "replace"):
            number = str(int(number) + 5000)
        shifted.append(" ".join([kind, number, *rest]))
    assert later.commands == shifted


def test_all_orders_are_canceled_at_the_end_unless_they_are_to_stay() -> None:
    leaving, staying = ScriptedClient(), ScriptedClient()
    run(leaving, commands=50)
    run(staying, commands=50, keeps_orders=True)
    assert leaving.commands[-1] == "mass_cancel None"
    assert leaving.commands[:-1] == staying.commands


def test_answers_are_counted_by_kind_and_rejects_by_reason() -> None:
    def answer(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        reasons = {3: RejectReason.HALTED, 4: GatewayReject.RATE_EXCEEDED, 5: 4711}
        if command.startswith("enter") and number in reasons:
            return [Rejected(number, 0, number, reasons[number], "", "")]
        if command.startswith("enter") and number == 1:
            return [
                accepted(1),
                Triggered(1, 0, 1, 1001, 0),
                Executed(1, 0, 1, 60, 1_872_500, Liquidity.REMOVED, 9),
                Canceled(1, 0, 1, 40, CancelReason.IMMEDIATE),
            ]
        return accept_all(client, command, number)

    client = ScriptedClient(answer)
    unanswered, counters = run(client, commands=100)
    summary = counters.summary()
    kinds = [command.split()[0] for command in client.commands]
    assert unanswered == 0
    assert summary["sent"] == {"total": 101} | {kind: kinds.count(kind) for kind in set(kinds)}
    assert summary["answered"] == 101 - kinds.count("cancel")
    events = summary["events"]
    assert (events["executed"], events["canceled"], events["triggered"]) == (1, 1, 1)
    assert events["rejected"] == 3
    assert summary["executed_quantity"] == 60
    assert summary["rejected"] == {"total": 3, "HALTED": 1, "RATE_EXCEEDED": 1, "4711": 1}
    assert summary["round_trip_us"]["median"] <= summary["round_trip_us"]["p99"]


@pytest.mark.parametrize("missed", [True, False])
def test_a_new_day_is_counted_and_answers_that_were_missed_with_it_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, missed: bool
) -> None:
    monkeypatch.setattr(load_run, "ANSWERED_WITHIN_S", 0.01)

    def answer(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        is_numbered = not command.startswith("cancel")
        if is_numbered and number == 1:
            return []
        begins = is_numbered and number == 2
        began = [SessionBegan("20261122", "DEMO", missed)] if begins else []
        return [*began, *accept_all(client, command, number)]

    unanswered, counters = run(ScriptedClient(answer), commands=20)
    assert unanswered == (0 if missed else 1)
    assert counters.events["session_began"] == 1


def test_commands_without_their_answer_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_run, "ANSWERED_WITHIN_S", 0.01)

    def forget_some(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        return [] if number in (1, 2) else accept_all(client, command, number)

    unanswered, counters = run(ScriptedClient(forget_some), ScriptedClient(), commands=20)
    assert unanswered == 2
    assert counters.summary()["answered"] == (
        counters.sent.total() - counters.sent["cancel"] - unanswered
    )


@pytest.mark.parametrize("place", [0, 1])
def test_a_client_that_can_not_go_on_ends_the_load(place: int) -> None:
    def lose(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        client.tell(ConnectionLost("no gateway could be reached"))
        return []

    answers: list[Answer] = [accept_all, accept_all]
    answers[place] = lose
    with pytest.raises(ConnectionLost):
        run(*map(ScriptedClient, answers), commands=1_000_000)


def test_commands_are_sent_at_their_time() -> None:
    client = ScriptedClient()
    counters = LoadCounters()

    async def load_for(seconds: float) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        plan = LoadPlan(200, 1, INSTRUMENTS, keeps_orders=True)
        await run_load({"C0": client}, plan, counters, stop)

    asyncio.run(load_for(0.25))
    assert 1 <= len(client.commands) <= 200 * 0.25 + 1  # fewer on a computer that is busy
