"""The interactive prompt of `lockstep send`: requests in, the client's events as they arrive."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable

from gateway.client import Client
from gateway.events import Canceled, Executed, Triggered
from tools.order_words import (
    HELP,
    CancelAll,
    CancelOne,
    NewOrder,
    OwnOrders,
    Quit,
    ReplaceOne,
    Request,
    ShowHelp,
    ShowOrders,
    describe_event,
    parse_request,
)
from tools.watching import run_watched

PROMPT = "> "
LINES_AHEAD = 100  # that are read before the earlier ones are done: enough to paste a few
QUIET_S = 0.3  # without an event: what happened before the log-in has been told
ANSWER_WITHIN_S = 1.0  # before the next line is read: so that what is pasted happens in order
LAST_ANSWERS_WITHIN_S = 5.0  # before logging out; an exchange that is well needs milliseconds


class Prompt:
    """A conversation over one client, which has logged in and asked for all events of the day.

    `say` shows a line to the user.
    """

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self._orders = OwnOrders()
        self._is_live = False  # events from before the log-in are not shown
        self._something_came = asyncio.Event()
        self._unanswered: set[int] = set()  # user_ref_nums of commands that will have an answer

    async def run(self, lines: AsyncIterator[str]) -> None:
        """Carry out the lines until one says quit, or there is none left.

        Raises ClientError when the client can't go on.
        """
        await run_watched([self._converse(lines)], [self._tell_events()])

    async def _converse(self, lines: AsyncIterator[str]) -> None:
        await self._until_quiet()
        self._is_live = True
        self._say(f"logged in; live orders: {len(self._orders)}; type help for what can be typed")
        async for line in lines:
            if not line.strip():
                continue
            try:
                request = parse_request(line)
                if isinstance(request, Quit):
                    break
                await self._do(request)
                await self._until_answered(ANSWER_WITHIN_S)
            except ValueError as error:
                self._say(str(error))
        await self._until_answered(LAST_ANSWERS_WITHIN_S)
        if self._unanswered:
            self._say(f"without an answer so far: {len(self._unanswered)}")

    async def _do(self, request: Request) -> None:
        client = self._client
        match request:
            case NewOrder():
                self._unanswered.add(await enter(client, request))
            case CancelOne(number, remaining):
                await client.cancel(number, remaining)
                await self._until_quiet()  # one that comes too late has no answer
            case CancelAll(symbol):
                self._unanswered.add(await client.mass_cancel(symbol))
            case ReplaceOne(number, quantity, price, stop_price):
                number = await client.replace(number, quantity, price, stop_price=stop_price)
                self._unanswered.add(number)
            case ShowOrders():
                for line in self._orders.lines() or ["no live orders"]:
                    self._say(line)
            case ShowHelp():
                self._say(HELP)

    async def _tell_events(self) -> None:
        async for event in self._client.events():
            self._orders.apply(event)
            if not isinstance(event, Executed | Canceled | Triggered):
                self._unanswered.discard(event.user_ref_num)
            if self._is_live:
                self._say(describe_event(event))
            self._something_came.set()

    async def _until_quiet(self) -> None:
        while True:
            self._something_came.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._something_came.wait()
            except TimeoutError:
                return

    async def _until_answered(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._unanswered:
                    self._something_came.clear()
                    await self._something_came.wait()


async def enter(client: Client, order: NewOrder) -> int:
    """Enter an order; its user_ref_num. Raises ValueError for what fits no order."""
    return await client.enter(
        order.symbol,
        order.side,
        order.quantity,
        order.price,
        stop_price=order.stop_price,
        time_in_force=order.time_in_force,
        post_only=order.post_only,
    )


class Terminal:
    """Standard input and output of a conversation, whatever they are: a terminal, pipes, files.

    On a terminal there is a prompt while a line is waited for; what is said then takes its place.
    """

    def __init__(self) -> None:
        self._prompts = sys.stdin.isatty() and sys.stdout.isatty()
        self._is_waiting = False

    def say(self, text: str) -> None:
        """Show a line, or several."""
        print(f"\r{text}\n{PROMPT}" if self._is_waiting else f"{text}\n", end="", flush=True)

    async def lines(self) -> AsyncIterator[str]:
        """The lines that are typed.

        A thread of its own reads them, for none of the event loop's ways suits terminals, pipes and
        files; it does not keep the process from ending.
        """
        lines: asyncio.Queue[str] = asyncio.Queue()  # bounded by `room`
        room = threading.Semaphore(LINES_AHEAD)
        is_done = threading.Event()
        reading = (asyncio.get_running_loop(), lines, room, is_done)
        threading.Thread(target=_read, args=reading, name="standard input", daemon=True).start()
        try:
            while True:
                if self._prompts:
                    print(PROMPT, end="", flush=True)
                    self._is_waiting = True
                line = await lines.get()
                room.release()
                self._is_waiting = False
                if not line:
                    return
                yield line
        finally:
            is_done.set()
            room.release()
            if self._prompts:
                print()


def _read(
    loop: asyncio.AbstractEventLoop,
    lines: asyncio.Queue[str],
    room: threading.Semaphore,
    is_done: threading.Event,
) -> None:
    """Hand lines over as there is room for them, up to the empty one at the end of stdin."""
    line = " "
    while line:
        room.acquire()
        if is_done.is_set():
            return
        line = sys.stdin.readline()
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody wants more lines
            loop.call_soon_threadsafe(lines.put_nowait, line)
