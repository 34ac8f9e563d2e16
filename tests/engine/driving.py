"""Feeds machines as a primary does: what is admitted gets the next sequence number in the list."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, NoReturn, Protocol
from unittest.mock import patch

from feed.datagrams import Submission
from feed.messages import BookSide, Command, Event
from tests.engine.machines import MACHINES, ByBytes
from tests.model.naive_market import NaiveMarket

FEW_ORDERS = 12  # the limit of live orders in these tests: low, so that it is reached


class AnyMarket(Protocol):
    """What the machines and the naive model have in common."""

    def admits(self, login: int, command: Command) -> bool:
        """Whether a command sent under this log-in gets a place in the list."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        """The events that the command causes."""

    def book_entries(self) -> Iterable[tuple[bytes, BookSide, int, int, int]]:
        """The resting orders in canonical order: symbol, side, price, number, open quantity."""


class Step(NamedTuple):
    """A command that was let into the list, and what it caused."""

    sequence: int
    time_ns: int
    command: Command
    events: list[Event]


def take(
    machine: AnyMarket, login: int, command: Command, sequence: int, time_ns: int
) -> list[Event] | None:
    """What a command causes that is sent under this log-in; None when it is not admitted."""
    if isinstance(machine, ByBytes):
        return machine.take(login, command, sequence, time_ns)
    if machine.admits(login, command):
        return machine.apply(sequence, time_ns, command)
    return None


def drive(machine: AnyMarket, submissions: Iterable[Submission]) -> Iterator[Step]:
    """Let the machine carry out what it admits; each step once it has been taken."""
    sequence = 1
    for login, command in submissions:
        time_ns = 1_000 * sequence
        events = take(machine, login, command, sequence, time_ns)
        if events is not None:
            yield Step(sequence, time_ns, command, events)
            sequence += 1 + len(events)


def assert_agreement(
    machine: str, submissions: Iterable[Submission], order_limit: int = FEW_ORDERS
) -> None:
    """Drive a machine and the naive model side by side, and compare them at each step."""
    with patch("engine.market.MAX_LIVE_ORDERS", order_limit):
        _compare(ByBytes(MACHINES[machine]), NaiveMarket(order_limit), submissions)


def _compare(market: ByBytes, model: NaiveMarket, submissions: Iterable[Submission]) -> None:
    history: list[str] = []
    sequence = 1
    for login, command in submissions:
        history.append(f"{sequence:4} {command}")
        wanted = take(model, login, command, sequence, 0)
        events = take(market, login, command, sequence, 0)
        if wanted is None or events is None:
            if events is not wanted:
                fail(history, f"under login {login} the model admits this: {wanted is not None}")
            history.pop()
            continue
        expected, actual = event_lines(wanted), event_lines(events)
        if actual != expected:
            fail(history, "the model says:", *expected, "the machine says:", *actual)
        market.check()
        rows = model.book_entries()
        entries = list(map(tuple, market.book_entries()))
        if entries != rows:
            fail(
                history, "the model's book:", *map(str, rows), "the machine's:", *map(str, entries)
            )
        history += expected
        sequence += 1 + len(expected)


def fail(history: list[str], *difference: str) -> NoReturn:
    """Fail with the list up to here, or its end where it is long, and what the two say of it."""
    __tracebackhide__ = True
    raise AssertionError("\n".join(["machine and model differ:", *history[-100:], "", *difference]))


def event_lines(events: Iterable[Event]) -> list[str]:
    """Events as text, their codes as plain numbers: equal only for the same events in order."""
    return [f"    {type(event).__name__}{tuple(map(_plain, event))}" for event in events]


def _plain(field: object) -> object:
    return int(field) if isinstance(field, int) else field
