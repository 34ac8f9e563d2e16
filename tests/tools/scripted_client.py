"""A client without a network: it writes down what it is asked, and answers from a script."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from feed.messages import Capacity, OrderType, Side, TimeInForce
from gateway.client import Client
from gateway.events import Accepted, Event, MassCanceled, Replaced

Answer = Callable[["ScriptedClient", str, int], Iterable[Event]]


def accept_all(client: "ScriptedClient", command: str, number: int) -> Iterable[Event]:
    """The answers of an exchange where everything rests, and cancels come too late."""
    if command.startswith("enter"):
        return [accepted(number)]
    if command.startswith("replace"):
        return [replaced(number)]
    if command.startswith("mass_cancel"):
        return [MassCanceled(number, 0, number, "")]
    return []


def accepted(number: int, quantity: int = 100) -> Accepted:
    return Accepted(
        *(number, 0, number, 1000 + number, "AAPL", Side.BUY, OrderType.LIMIT, quantity),
        *(1_872_500, 0, TimeInForce.DAY, False, Capacity.AGENCY, ""),
    )


def replaced(number: int, original: int = 1) -> Replaced:
    return Replaced(
        *(number, 0, original, number, 1000 + number, "AAPL", Side.BUY, OrderType.LIMIT, 100),
        *(1_872_500, 0, TimeInForce.DAY, Capacity.AGENCY, ""),
    )


class ScriptedClient(Client):
    """Each command is written to `commands` as text, and brings the events of its answer."""

    def __init__(self, answer: Answer = accept_all, first_user_ref_num: int = 1) -> None:
        self.commands: list[str] = []
        self._awaited: tuple[int, Callable[[], None]] | None = None
        self._answer = answer
        self._next_user_ref_num = first_user_ref_num
        self._scripted: asyncio.Queue[Event | Exception] = asyncio.Queue()

    def when_commands(self, count: int, call: Callable[[], None]) -> None:
        """Call back when so many commands have been given."""
        self._awaited = count, call

    def tell(self, event: Event | Exception) -> None:
        self._scripted.put_nowait(event)

    async def enter(
        self,
        symbol: str,
        side: Side,
        quantity: int,
        price: int = 0,
        *,
        stop_price: int = 0,
        order_type: OrderType | None = None,
        time_in_force: TimeInForce = TimeInForce.DAY,
        post_only: bool = False,
        capacity: Capacity = Capacity.AGENCY,
        client_order_id: str = "",
    ) -> int:
        if symbol == "TOOLONGASYMBOL":
            raise ValueError("longer than 8 characters")
        terms = f"{side.name} {quantity} {symbol} {price} {stop_price} {time_in_force.name}"
        return self._command(f"enter {terms}{' post-only' if post_only else ''}")

    async def replace(
        self,
        user_ref_num: int,
        quantity: int,
        price: int = 0,
        *,
        stop_price: int = 0,
        time_in_force: TimeInForce = TimeInForce.DAY,
        client_order_id: str = "",
    ) -> int:
        return self._command(f"replace {user_ref_num} {quantity} {price} {stop_price}")

    async def cancel(self, user_ref_num: int, remaining: int = 0) -> None:
        self._write_down(f"cancel {user_ref_num} {remaining}", user_ref_num)

    async def mass_cancel(self, symbol: str | None = None) -> int:
        return self._command(f"mass_cancel {symbol}")

    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            event = await self._scripted.get()
            if isinstance(event, Exception):
                raise event
            yield event

    def _command(self, text: str) -> int:
        number = self._next_user_ref_num
        self._next_user_ref_num += 1
        self._write_down(text, number)
        return number

    def _write_down(self, text: str, number: int) -> None:
        self.commands.append(text)
        for event in self._answer(self, text, number):
            self.tell(event)
        if self._awaited is not None and len(self.commands) == self._awaited[0]:
            self._awaited[1]()
