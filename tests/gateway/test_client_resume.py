"""A gateway's process is killed with orders in flight: the client resumes on another one."""

import asyncio
import os
import signal

import pytest

from feed.messages import Side
from gateway.client import Client
from gateway.events import Accepted, Event
from tools.child import ChildError
from tools.processes import ClientSpec, Exchange

GUARD_SECONDS = 60
ORDERS = 2000


async def read(client: Client, last_user_ref_num: int) -> list[Event]:
    """The events until an order is answered."""
    got: list[Event] = []
    async for event in client.events():
        got.append(event)
        if event.user_ref_num == last_user_ref_num:
            break
    return got


def test_each_order_takes_effect_once_though_its_gateway_is_killed() -> None:
    async def test() -> list[Event]:
        async with Exchange(clients={"ALICE": ClientSpec()}, gateways=2) as exchange:
            addresses = [gateway.listen for gateway in exchange.configuration.gateways.values()]
            secret = exchange.secrets["ALICE"]
            async with Client(addresses, "ALICE", secret) as client:
                reading = asyncio.create_task(read(client, ORDERS))
                for number in range(1, ORDERS + 1):
                    await client.enter("AAPL", Side.BUY, 1, 1_000_000 + number % 50 * 100)
                    if number == ORDERS // 2:
                        os.kill(exchange.children["g1"].process_id, signal.SIGKILL)
                    if number % 100 == 0:
                        await asyncio.sleep(0)
                got = await reading
                assert (client.resumes, client.unanswered_count) == (1, 0)
            async with Client(addresses[1], "ALICE", secret, next_sequence=0) as client:
                assert await client.enter("AAPL", Side.BUY, 1, 1_000_000) == ORDERS + 1
            with pytest.raises(ChildError, match="-9"):
                await exchange.finish("g1")
            return got

    async def guarded() -> list[Event]:
        async with asyncio.timeout(GUARD_SECONDS):
            return await test()

    got = asyncio.run(guarded())
    assert {type(event) for event in got} == {Accepted}
    assert [event.sequence for event in got] == list(range(1, ORDERS + 1))
    assert [event.user_ref_num for event in got] == list(range(1, ORDERS + 1))
