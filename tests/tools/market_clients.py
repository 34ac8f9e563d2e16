"""Clients of a market in this process: the reference machine carries out what they send.

Commands and events pass through OUCH, as they do between a client and a gateway. Events come when
the other side is good and ready: a seed decides how much else happens before.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from random import Random

from engine.market import Market
from feed.codec import Frame, decode_frame, encode_group
from feed.messages import (
    Capacity,
    Command,
    DefineInstrument,
    LogIn,
    OrderType,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    symbol_field,
)
from gateway import orders
from gateway.client import Client
from gateway.events import Event, to_event
from gateway.ouch import AccountQuery, Inbound
from gateway.ouch_codec import decode_outbound, encode
from gateway.translate import Refusal, client_messages, to_command


class MarketExchange:
    """One market and its clients, whose numbers go from 1 on; `frames` is its list."""

    def __init__(self, names: Sequence[str], symbols: Sequence[str], random: Random) -> None:
        self.market = Market()
        self.frames: list[Frame] = []
        for symbol in symbols:
            self.submit(0, DefineInstrument(symbol_field(symbol), 1, 1, ShortSale.ALLOWED))
        self.clients = {
            name: MarketClient(self, number, random) for number, name in enumerate(names, start=1)
        }
        for number in range(1, len(names) + 1):
            self.submit(number, LogIn(number, number, SelfTradePrevention.CANCEL_NEWEST))

    def submit(self, login: int, command: Command) -> None:
        if not self.market.admits(login, command):
            return
        sequence = len(self.frames) + 1
        events = self.market.apply(sequence, 0, command)
        group = [decode_frame(each) for each in encode_group((command, *events), sequence, 0)]
        self.frames += group
        by_number = {client.number: client for client in getattr(self, "clients", {}).values()}
        for number, payload in client_messages(group):
            if number in by_number:
                by_number[number].tell(to_event(decode_outbound(payload), sequence))


class MarketClient(Client):
    """One client; `numbers` are those of its commands, in their order."""

    def __init__(self, exchange: MarketExchange, number: int, random: Random) -> None:
        self.number = number
        self._exchange = exchange
        self._random = random
        self._last_user_ref_num = random.choice([0, 70])  # it may have been here before
        self._told: deque[Event] = deque()
        self._came = asyncio.Event()

    def tell(self, event: Event) -> None:
        self._told.append(event)
        self._came.set()

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
        message = orders.enter_order(
            self._next(),
            symbol,
            side,
            quantity,
            price,
            order_type=order_type,
            stop_price=stop_price,
            time_in_force=time_in_force,
            post_only=post_only,
            capacity=capacity,
            client_order_id=client_order_id,
        )
        return self._send(message)

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
        message = orders.replace_order(
            user_ref_num,
            self._next(),
            quantity,
            price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            client_order_id=client_order_id,
        )
        return self._send(message)

    async def cancel(self, user_ref_num: int, remaining: int = 0) -> None:
        self._send(orders.cancel_order(user_ref_num, remaining))

    async def mass_cancel(self, symbol: str | None = None) -> int:
        return self._send(orders.mass_cancel(self._next(), symbol))

    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            while not self._told:
                self._came.clear()
                await self._came.wait()
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            yield self._told.popleft()

    def _next(self) -> int:
        self._last_user_ref_num += 1
        return self._last_user_ref_num

    def _send(self, message: Inbound) -> int:
        command = to_command(encode(message), self.number)
        assert not isinstance(command, AccountQuery | Refusal)
        self._exchange.submit(self.number, command)
        return self._last_user_ref_num
