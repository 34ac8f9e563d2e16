"""A drill's trading clients: each sends at its pace, and writes down all that it sends and hears.

The pace is an open loop: each command has its time, whatever became of the earlier ones. So an
outage leaves commands waiting, as it does with real clients, and nobody stops asking because nobody
answers.
"""

import asyncio
import contextlib
import time
from array import array
from collections.abc import Mapping, Sequence

from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    CancelReason,
    Capacity,
    EnterOrder,
    MassCancel,
    PostOnly,
    ReplaceOrder,
    TimeInForce,
    symbol_field,
)
from gateway.client import Client
from gateway.client_errors import ClientError
from gateway.events import Accepted, Event, MassCanceled, Rejected, Replaced
from tools.console import CommandError
from tools.drill.audit import ClientCommand, ClientRecord
from tools.drill.flow import Flow
from tools.load.flow import Cancel, Enter, LoadCommand, Replace
from tools.load.flow import MassCancel as CancelAll

_SHORTEST_SLEEP_S = 0.001  # what the event loop's clock is worth; what falls due within is sent


class Pace:
    """How fast all clients together send; they can be told to wait, and to go on."""

    def __init__(self, rate: int, clients: int) -> None:
        self.interval_ns = clients * 1_000_000_000 // rate
        self.is_ended = False
        self.since_ns = 0  # when they were last told to go
        self._goes = asyncio.Event()

    @property
    def goes(self) -> bool:
        """Whether commands are being sent."""
        return self._goes.is_set() and not self.is_ended

    def go(self) -> None:
        """Let the clients send."""
        self.since_ns = time.monotonic_ns()
        self._goes.set()

    def wait(self) -> None:
        """Let them hold back; what they have sent may still be answered."""
        self._goes.clear()

    def end(self) -> None:
        """Let them send nothing any more."""
        self.is_ended = True
        self._goes.set()

    async def until_it_goes(self) -> None:
        """Wait while the clients are to hold back."""
        await self._goes.wait()


class Trader:
    """One client and its record."""

    def __init__(self, client: Client, name: str, number: int, flow: Flow) -> None:
        """`number` is what stands for the client in the list."""
        self.name = name
        self.client = client
        self.answered = 0  # commands with a user_ref_num
        self.heard_ns = array("q")  # when each numbered event came
        self._number = number
        self._flow = flow
        self._sent: list[ClientCommand] = []
        self._received: list[Event] = []
        self._waiting: dict[int, int] = {}  # when what is not answered was sent, by user_ref_num
        self._first_user_ref_num: int | None = None  # stands for the flow's key 0

    @property
    def number(self) -> int:
        """What stands for the client in the lists."""
        return self._number

    @property
    def record(self) -> ClientRecord:
        """All that was sent and received so far."""
        return ClientRecord(self.name, self._number, self._sent, self._received)

    @property
    def waiting(self) -> int:
        """How many commands wait for an answer that is sure to come."""
        return len(self._waiting)

    @property
    def waits_since_ns(self) -> int | None:
        """When the oldest unanswered command was sent; None when there is none."""
        return next(iter(self._waiting.values()), None)

    async def trade(self, pace: Pace, place: int, places: int) -> None:
        """Send until the pace ends. Clients take turns: this one's `place` is among `places`."""
        offset_ns = pace.interval_ns * place // places
        due_ns = since_ns = -1
        while not pace.is_ended:
            await pace.until_it_goes()
            if pace.since_ns != since_ns:
                since_ns = pace.since_ns
                due_ns = since_ns + offset_ns
            early_s = (due_ns - time.monotonic_ns()) / 1e9
            if early_s > _SHORTEST_SLEEP_S:
                await asyncio.sleep(early_s)
            if not pace.goes or pace.since_ns != since_ns:
                continue
            await self.send(self._flow.next_command())
            await asyncio.sleep(0)  # what comes in gets its turn, also when sending is late
            due_ns += pace.interval_ns

    async def listen(self) -> None:
        """Write down the events until the client is closed."""
        async for event in self.client.events():
            self._received.append(event)
            if event.sequence:
                self.heard_ns.append(time.monotonic_ns())
            match event:
                case (
                    Accepted(user_ref_num=number)
                    | Replaced(user_ref_num=number)
                    | MassCanceled(user_ref_num=number)
                    | Rejected(user_ref_num=number)
                ) if self._waiting.pop(number, None) is not None:
                    self.answered += 1

    async def send(self, command: LoadCommand) -> None:
        """Send one command of the flow, and write it down as it should stand in the list."""
        client = self.client
        match command:
            case Enter():
                number = await client.enter(
                    command.symbol,
                    command.side,
                    command.quantity,
                    command.price or 0,
                    stop_price=command.stop_price or 0,
                    time_in_force=command.time_in_force,
                    post_only=command.post_only,
                )
                self._begin(number - command.key)
                self._note(number, self._entered(number, command))
            case Replace(original_key, _, quantity, price):
                original = self._user_ref_num(original_key)
                number = await client.replace(original, quantity, price)
                day = TimeInForce.DAY
                sent = (self._number, original, number, quantity, price, 0, day, NO_CLIENT_ORDER_ID)
                self._note(number, ReplaceOrder(*sent))
            case Cancel(key, remaining):
                number = self._user_ref_num(key)
                await client.cancel(number, remaining)
                self._sent.append(CancelOrder(self._number, number, remaining))
            case CancelAll(key, symbol):
                number = await client.mass_cancel(symbol)
                self._begin(number - key)
                field = ALL_SYMBOLS if symbol is None else symbol_field(symbol)
                self._note(number, MassCancel(self._number, number, field, CancelReason.USER))

    def _entered(self, number: int, command: Enter) -> EnterOrder:
        return EnterOrder(
            self._number,
            number,
            symbol_field(command.symbol),
            command.side,
            command.order_type,
            command.time_in_force,
            PostOnly.YES if command.post_only else PostOnly.NO,
            command.quantity,
            command.price or 0,
            command.stop_price or 0,
            Capacity.AGENCY,
            NO_CLIENT_ORDER_ID,
        )

    def _begin(self, first_user_ref_num: int) -> None:
        """Keys and user_ref_nums count the same commands, so that they stay the same apart."""
        if self._first_user_ref_num is None:
            self._first_user_ref_num = first_user_ref_num
        assert first_user_ref_num == self._first_user_ref_num, "a user_ref_num was left out"

    def _user_ref_num(self, key: int) -> int:
        assert self._first_user_ref_num is not None, "an order is named before the first was sent"
        return self._first_user_ref_num + key

    def _note(self, number: int, command: ClientCommand) -> None:
        self._sent.append(command)
        self._waiting[number] = time.monotonic_ns()


class Traders:
    """All clients of a drill, in tasks of their own; an async context manager."""

    def __init__(self, traders: Sequence[Trader], rate: int) -> None:
        self.pace = Pace(rate, len(traders))
        self._traders = traders
        self._tasks: list[asyncio.Task[None]] = []
        self._clients = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Traders":
        """Logs everybody in; raises CommandError when somebody is not let in."""
        async with self._clients as clients:
            try:
                for trader in self._traders:
                    await clients.enter_async_context(trader.client)
            except ClientError as error:
                raise CommandError(f"a client can't log in: {error}") from error
            self._clients = clients.pop_all()
        places = len(self._traders)
        for place, trader in enumerate(self._traders):
            self._tasks += [
                asyncio.create_task(trader.listen(), name=f"{trader.name} listens"),
                asyncio.create_task(trader.trade(self.pace, place, places), name=trader.name),
            ]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Log everybody out."""
        self.pace.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._clients.aclose()

    @property
    def records(self) -> list[ClientRecord]:
        """What each client sent and received so far."""
        return [trader.record for trader in self._traders]

    @property
    def heard_ns(self) -> Mapping[str, Sequence[int]]:
        """When each client's events came, by its name."""
        return {trader.name: trader.heard_ns for trader in self._traders}

    @property
    def numbers(self) -> Mapping[str, int]:
        """What stands for each client in the lists, by its name."""
        return {trader.name: trader.number for trader in self._traders}

    @property
    def answered(self) -> int:
        """How many commands have been answered."""
        return sum(trader.answered for trader in self._traders)

    @property
    def waiting(self) -> int:
        """How many commands wait for their answer."""
        return sum(trader.waiting for trader in self._traders)

    @property
    def events(self) -> int:
        """How many numbered events have come."""
        return sum(len(trader.heard_ns) for trader in self._traders)

    @property
    def are_connected(self) -> bool:
        """Whether every client is logged in."""
        return all(trader.client.is_open for trader in self._traders)

    def have_heard_since(self, moment_ns: int) -> bool:
        """Whether every client has had its answers to what it sent up to a moment.

        And each one an event since, so that the answers flow again.
        """
        return all(
            trader.client.is_open
            and bool(trader.heard_ns)
            and trader.heard_ns[-1] > moment_ns
            and (trader.waits_since_ns is None or trader.waits_since_ns > moment_ns)
            for trader in self._traders
        )

    def check(self) -> None:
        """Raise CommandError when a client can't go on."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if isinstance(error, ClientError):
                    raise CommandError(f"{task.get_name()} can't go on: {error}") from error
                if error is not None:
                    raise error
