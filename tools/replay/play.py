"""Plays a file of orders over clients that are logged in: lines out, events in.

Lines take effect in the file's order. One client's commands keep their order on its connection, so
they are sent without waiting. A line of another client waits until the exchange has dealt with what
was sent before; a line that names an order, until it has with what was sent for that order.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from gateway.client import Client
from gateway.events import SessionBegan
from tools.console import CommandError
from tools.replay.endings import ReplayInterrupted
from tools.replay.order_lines import Cancel, Enter, MassCancel, OrderLine, Replace
from tools.replay.outcomes import Outcomes
from tools.replay.pace import Pace
from tools.replay.run import MARK_SYMBOL, PATIENCE_S
from tools.watching import run_watched

_SHORTEST_SLEEP_S = 0.001  # what the event loop's clock is worth; what falls due within is sent
_PROGRESS_S = 5.0
_ANSWERS_WITHIN_S = 3.0  # once it is stopped; an exchange that is well needs milliseconds

log = structlog.get_logger()


class Play:
    """One play of a file. `stop` ends it before the next line."""

    def __init__(
        self, clients: Mapping[str, Client], outcomes: Outcomes, pace: Pace, stop: asyncio.Event
    ) -> None:
        self.latest_ns = 0  # how late the latest line was sent, against its pace
        self._clients = clients
        self._outcomes = outcomes
        self._pace = pace
        self._stop = stop
        self._moved = asyncio.Event()
        self._sender = ""  # the client of the last line
        self._sent = 0
        self._told_at = time.monotonic()

    async def run(self, lines: Iterable[OrderLine]) -> None:
        """Play the lines; returns when all that will become of them is known.

        Raises ClientError when a client can't go on, CommandError when no answer comes.
        """
        readers = [self._read(name, client) for name, client in self._clients.items()]
        await run_watched([self._send_all(lines)], [*readers, self._heed_stop()])

    async def _send_all(self, lines: Iterable[OrderLine]) -> None:
        begin_ns = time.monotonic_ns()
        for line in lines:
            due_ns = self._pace.due_ns(line)
            if due_ns is not None:
                await self._until_due(begin_ns + due_ns)
            if self._stop.is_set():
                break
            await self._send(line)
            self._tell_progress()
            await asyncio.sleep(0)  # what comes in gets its turn
        await self._until(lambda: self._outcomes.unsettled == 0)
        # An order's trades come after what answers it. So each client sends one thing more: when
        # that is answered, all that was before it in the list has come.
        for name, client in self._clients.items():
            self._outcomes.marked(name, await client.mass_cancel(MARK_SYMBOL))
        await self._until(lambda: self._outcomes.unanswered_marks == 0)

    async def _heed_stop(self) -> None:
        await self._stop.wait()
        await asyncio.sleep(_ANSWERS_WITHIN_S)
        raise ReplayInterrupted("the replay was stopped, and its last answers did not come")

    async def _until_due(self, due_ns: int) -> None:
        early_s = (due_ns - time.monotonic_ns()) / 1e9
        if early_s > _SHORTEST_SLEEP_S:
            with contextlib.suppress(TimeoutError):  # it is time
                async with asyncio.timeout(early_s):
                    await self._stop.wait()
        else:
            self.latest_ns = max(self.latest_ns, -int(early_s * 1e9))

    async def _send(self, line: OrderLine) -> None:
        if line.client != self._sender:
            await self._until(lambda: self._outcomes.unsettled == 0)
            self._sender = line.client
        order = line.order
        if order is not None:
            await self._until(lambda: not self._outcomes.is_busy(order))
        client = self._clients[line.client]
        match line.action:
            case Enter() as action:
                number = await client.enter(
                    action.symbol,
                    action.side,
                    action.quantity,
                    action.price or 0,
                    stop_price=action.stop_price or 0,
                    time_in_force=action.time_in_force,
                    post_only=action.post_only,
                )
                self._outcomes.entered(line, number, action)
            case Replace() as action:
                assert order is not None
                number, terms = self._outcomes.terms(order, action)
                number = await client.replace(
                    number,
                    terms.quantity,
                    terms.price,
                    stop_price=terms.stop_price,
                    time_in_force=terms.time_in_force,
                )
                self._outcomes.replaced(line, number, order, terms)
            case Cancel() as action:
                assert order is not None
                named = self._outcomes.canceling(line, order, action)
                if named is not None:
                    await client.cancel(named, action.remaining)
            case MassCancel() as action:
                number = await client.mass_cancel(action.symbol)
                self._outcomes.mass_canceled(line, number, action)

    async def _read(self, name: str, client: Client) -> None:
        async for event in client.events():
            if isinstance(event, SessionBegan) and event.may_have_missed:
                raise CommandError(
                    "a day ended, and events of it were missed: what became of some lines is not "
                    "known"
                )
            self._outcomes.apply(name, event)
            self._moved.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._moved.wait()
            except TimeoutError:
                raise CommandError(
                    f"nothing came back for {PATIENCE_S:.0f} s; commands without an answer: "
                    f"{self._outcomes.unsettled + self._outcomes.unanswered_marks}"
                ) from None

    def _tell_progress(self) -> None:
        self._sent += 1
        if time.monotonic() - self._told_at > _PROGRESS_S:
            self._told_at = time.monotonic()
            log.info("lines are sent", count=self._sent)
