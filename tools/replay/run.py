"""Plays a LOBSTER file through an exchange: orders in over a gateway, lines out from the feed."""

import asyncio
import random
from collections.abc import Callable, Iterable

from feed.faults import FaultShares
from feed.listener import Listener
from feed.messages import symbol_field
from feed.subscriber import Groups, Subscriber
from gateway.client import Client
from gateway.clients import read_clients
from gateway.events import Rejected
from tools.console import CommandError, Summary
from tools.credentials import open_client
from tools.processes import Exchange
from tools.replay.files import LobsterFiles
from tools.replay.lobster import Action, Enter, OrderFlow
from tools.replay.record import ReplayError, ReplayRecord
from tools.watching import run_watched

CLIENT = "REPLAY"
MARK_SYMBOL = "*MARK*"  # listed beside the file's symbol: a mass cancel in it changes nothing
STEPS_BETWEEN_MARKS = 256  # two such batches are under way: enough to keep all processes busy
PATIENCE_S = 30.0  # for a mark to come back; the feed gives up on a gap sooner, and says why


class Replay:
    """One replay through an exchange that runs and has nothing in its book."""

    def __init__(
        self,
        exchange: Exchange,
        files: LobsterFiles,
        symbol: str,
        write_line: Callable[[str], None],
        faults: FaultShares | None = None,
    ) -> None:
        configuration = exchange.configuration
        (gateway,) = configuration.gateways.values()
        number = read_clients(gateway.clients)[CLIENT].number
        self.record = ReplayRecord(number, symbol_field(symbol), write_line)
        self._exchange = exchange
        self._files = files
        self._symbol = symbol
        self._moved = asyncio.Event()
        self._user_ref_nums: list[int] = []  # of the orders, by their reference
        retransmitters = configuration.repair_addresses()
        self._subscriber = Subscriber(
            shard=configuration.feed.shard,
            source_count=len(retransmitters),
            random=random.Random(),
        )
        self._listener = Listener(
            configuration.feed,
            self._subscriber,
            retransmitters,
            self._take,
            receive=exchange.receive,
            faults=None if faults is None else faults.faults(random.Random()),
        )

    async def run(self) -> Summary:
        """Play the whole file, and compare the book at its end with the primary's.

        Raises ReplayError when the feed shows something else than what was sent, CommandError or
        ClientError when a process, the feed or the session fails.
        """
        self._listener.start()
        try:
            client = open_client(
                self._exchange.configuration,
                CLIENT,
                self._exchange.secrets[CLIENT],
                next_sequence=0,
            )
            async with client:
                await run_watched(
                    [self._send_all(client)],
                    [self._exchange.watch(), self._watch_feed(), _watch_refusals(client)],
                )
                status = await self._exchange.status()
        finally:
            self._listener.close()
        same_sequence = status["sequence"] == self.record.books.sequence
        books_equal = same_sequence and status["book_digest"] == self.record.books.digest()
        received = self._subscriber.receiver.counters
        return {
            **self.record.counters.summary(),
            "books_equal": books_equal,
            "gaps_detected": received.gaps_detected,
            "gaps_filled": received.gaps_filled,
        }

    async def _send_all(self, client: Client) -> None:
        flow = OrderFlow()
        opening = flow.open(self._files.levels())
        self.record.expect_opening(opening)
        await self._send(client, opening)
        marks = 0
        for count, step in enumerate(self._files.steps(flow), start=1):
            self.record.expect(step)
            await self._send(client, step.actions)
            if count % STEPS_BETWEEN_MARKS == 0:
                await self._send_mark(client)
                await self._until_marks(marks)
                marks += 1
        await self._send_mark(client)
        await self._until_marks(marks + 1)

    async def _send(self, client: Client, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Enter):
                _, side, quantity, price, time_in_force = action
                number = await client.enter(
                    self._symbol, side, quantity, price, time_in_force=time_in_force
                )
                self._user_ref_nums.append(number)
            else:
                await client.cancel(self._user_ref_nums[action.reference], action.remaining)

    async def _send_mark(self, client: Client) -> None:
        self.record.expect_mark()
        await client.mass_cancel(MARK_SYMBOL)

    async def _until_marks(self, marks: int) -> None:
        while self.record.marks < marks:
            self._moved.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._moved.wait()
            except TimeoutError:
                raise CommandError(
                    f"nothing came back for {PATIENCE_S:.0f} s; the last frame that did was "
                    f"{self.record.books.sequence}"
                ) from None

    def _take(self, groups: Groups) -> None:
        for group in groups:
            self.record.apply(group)
        self._moved.set()

    async def _watch_feed(self) -> None:
        failure = await asyncio.shield(self._listener.failed)
        raise CommandError(
            f"frames {failure.first_sequence} to {failure.last_sequence} can't be had: "
            f"{failure.reason}"
        )


async def _watch_refusals(client: Client) -> None:
    """Read the client's events; what the gateway itself refuses will never be in the list."""
    async for event in client.events():
        if isinstance(event, Rejected) and not event.sequenced:
            raise ReplayError(f"the gateway refused a command: {event.text}")
