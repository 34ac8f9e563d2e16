"""Sends synthetic order flow over client connections at a rate of its own, and counts the answers.

The pace is an open loop: each command has its time, whatever became of the earlier ones. So an
exchange that falls behind shows as waiting time, and not as a lower rate.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.rejects import RejectReason
from engine.settings import InstrumentSettings
from gateway.client import Client
from gateway.events import (
    Accepted,
    Canceled,
    Event,
    Executed,
    MassCanceled,
    Rejected,
    Replaced,
    SessionBegan,
    Triggered,
)
from gateway.rejects import GatewayReject
from tools.load.flow import Cancel, ClientFlow, Enter, LoadCommand, MassCancel, Replace
from tools.watching import run_watched

ANSWERED_WITHIN_S = 5.0  # after the last command: an exchange that is well needs milliseconds
_TIMES_KEPT = 10_000  # of the last round trips, to tell their distribution
_SHORTEST_SLEEP_S = 0.001  # what the event loop's clock is worth; what falls due within is sent

_ANSWERS = ("accepted", "replaced", "rejected", "mass_canceled")  # one to each but to cancels


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is to be sent."""

    rate: int  # commands a second, of all clients together
    seed: int
    instruments: Sequence[InstrumentSettings]
    keeps_orders: bool = False  # else each client cancels all of its orders at the end


@dataclass(slots=True)
class LoadCounters:
    """What was sent, and what the exchange answered."""

    sent: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    executed_quantity: int = 0
    latest_ns: int = 0  # how late the latest command was sent, against its time
    round_trips_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))

    def summary(self) -> dict[str, Any]:
        """The counters as JSON has them."""
        times = sorted(self.round_trips_ns)
        return {
            "sent": {"total": self.sent.total(), **self.sent},
            "answered": sum(self.events[name] for name in _ANSWERS),
            "events": dict(self.events),
            "rejected": {"total": self.rejected.total(), **dict(self.rejected.most_common())},
            "executed_quantity": self.executed_quantity,
            "round_trip_us": {
                name: times[len(times) * share // 100] // 1000 if times else None
                for name, share in (("median", 50), ("p99", 99))
            },
            "latest_us": self.latest_ns // 1000,
        }


class LoadClient:
    """One client's flow on its connection.

    Only commands that bring a user_ref_num are sure to be answered: a cancel that comes too late
    for its order is passed over in silence.
    """

    def __init__(self, client: Client, flow: ClientFlow, counters: LoadCounters) -> None:
        self._client = client
        self._flow = flow
        self._counters = counters
        self._first_user_ref_num: int | None = None  # stands for the flow's key 0
        self._sent_ns: dict[int, int] = {}  # when what waits for its answer was sent
        self._all_answered = asyncio.Event()
        self._all_answered.set()

    @property
    def unanswered(self) -> int:
        """How many commands wait for an answer that is sure to come."""
        return len(self._sent_ns)

    async def run(
        self, interval_s: float, delay_s: float, stop: asyncio.Event, *, keeps_orders: bool
    ) -> None:
        """Send a command each `interval_s`, from `delay_s` on, until `stop` is set; then finish.

        To finish is to cancel all orders, unless they are to stay, and to wait for the answers.
        """
        await self._send_all(interval_s, delay_s, stop)
        if not keeps_orders:
            self._note("mass_cancel", await self._client.mass_cancel(), time.monotonic_ns())
        with contextlib.suppress(TimeoutError):  # `unanswered` tells of it
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                await self._all_answered.wait()

    async def _send_all(self, interval_s: float, delay_s: float, stop: asyncio.Event) -> None:
        due_ns = time.monotonic_ns() + int(delay_s * 1e9)
        interval_ns = int(interval_s * 1e9)
        while not stop.is_set():
            now_ns = time.monotonic_ns()
            early_s = (due_ns - now_ns) / 1e9
            if early_s > _SHORTEST_SLEEP_S:
                await _sleep_or_stop(early_s, stop)
                continue
            self._counters.latest_ns = max(self._counters.latest_ns, now_ns - due_ns)
            await self._send(self._flow.next_command(), now_ns)
            await asyncio.sleep(0)  # what comes in gets its turn, also when sending is late
            due_ns += interval_ns

    async def read_all(self) -> None:
        """Count the events until the client is closed."""
        async for event in self._client.events():
            self._count(event)

    async def _send(self, command: LoadCommand, now_ns: int) -> None:
        match command:
            case Enter():
                number = await self._client.enter(
                    command.symbol,
                    command.side,
                    command.quantity,
                    command.price or 0,
                    stop_price=command.stop_price or 0,
                    time_in_force=command.time_in_force,
                    post_only=command.post_only,
                )
                self._begin(number - command.key)
                self._note("enter", number, now_ns)
            case Replace(original_key, _, quantity, price):
                original = self._user_ref_num(original_key)
                number = await self._client.replace(original, quantity, price)
                self._note("replace", number, now_ns)
            case Cancel(key, remaining):
                await self._client.cancel(self._user_ref_num(key), remaining)
                self._counters.sent["cancel"] += 1
            case MassCancel(key, symbol):
                number = await self._client.mass_cancel(symbol)
                self._begin(number - key)
                self._note("mass_cancel", number, now_ns)

    def _begin(self, first_user_ref_num: int) -> None:
        """Keys and user_ref_nums count the same commands, so that they stay the same apart."""
        if self._first_user_ref_num is None:
            self._first_user_ref_num = first_user_ref_num
        assert first_user_ref_num == self._first_user_ref_num, "a user_ref_num was left out"

    def _user_ref_num(self, key: int) -> int:
        assert self._first_user_ref_num is not None, "an order is named before the first was sent"
        return self._first_user_ref_num + key

    def _note(self, kind: str, number: int, now_ns: int) -> None:
        self._counters.sent[kind] += 1
        self._sent_ns[number] = now_ns
        self._all_answered.clear()

    def _count(self, event: Event) -> None:
        self._counters.events[_EVENT_NAMES[type(event)]] += 1
        match event:
            case Accepted() | Replaced() | MassCanceled():
                self._answered(event.user_ref_num)
            case Rejected(reason=reason):
                self._counters.rejected[_reason_name(reason)] += 1
                self._answered(event.user_ref_num)
            case Executed(quantity=quantity):
                self._counters.executed_quantity += quantity
            case SessionBegan(may_have_missed=True):  # the answers, it may be
                self._sent_ns.clear()
                self._all_answered.set()

    def _answered(self, user_ref_num: int) -> None:
        sent_ns = self._sent_ns.pop(user_ref_num, None)
        if sent_ns is not None:
            self._counters.round_trips_ns.append(time.monotonic_ns() - sent_ns)
        if not self._sent_ns:
            self._all_answered.set()


_EVENT_NAMES: dict[type[Event], str] = {
    Accepted: "accepted",
    Replaced: "replaced",
    Executed: "executed",
    Canceled: "canceled",
    Rejected: "rejected",
    Triggered: "triggered",
    MassCanceled: "mass_canceled",
    SessionBegan: "session_began",
}


async def run_load(
    clients: Mapping[str, Client], plan: LoadPlan, counters: LoadCounters, stop: asyncio.Event
) -> int:
    """Send the plan's flow over clients that are logged in, by name, until `stop` is set.

    Returns how many commands were left without the answer that should have come. Raises ClientError
    when a client can't go on.
    """
    loads = [
        LoadClient(client, ClientFlow(plan.seed, name, plan.instruments), counters)
        for name, client in clients.items()
    ]
    interval_s = len(loads) / plan.rate
    await run_watched(
        [
            load.run(interval_s, i / plan.rate, stop, keeps_orders=plan.keeps_orders)
            for i, load in enumerate(loads)
        ],
        [load.read_all() for load in loads],
    )
    return sum(load.unanswered for load in loads)


async def _sleep_or_stop(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):  # the time has passed, as was asked for
        async with asyncio.timeout(seconds):
            await stop.wait()


def _reason_name(reason: RejectReason | GatewayReject | int) -> str:
    return reason.name if isinstance(reason, RejectReason | GatewayReject) else str(reason)
