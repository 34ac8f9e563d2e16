"""One exchange whose replicas run the kernel and the reference: each checks the other."""

import asyncio
from pathlib import Path

import pytest

from engine.markets import KernelMarket
from engine.settings import InstrumentSettings, MachineKind
from feed.messages import Side
from gateway.client import Client
from gateway.events import Accepted
from tools.credentials import open_client
from tools.processes import ClientSpec, Exchange
from tools.replicas import all_follow, ask_replicas

WITHIN_S = 60
ORDERS = 30


async def accepted(client: Client, orders: int) -> None:
    """Wait until so many orders are."""
    async for event in client.events():
        orders -= isinstance(event, Accepted)
        if not orders:
            return


@pytest.mark.skipif(KernelMarket is None, reason="the kernel was not built here")
def test_kernel_and_reference_hold_the_same_market_in_one_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kinds = {
        "e1": MachineKind.KERNEL,
        "e2": MachineKind.REFERENCE,
        "e3": MachineKind.REFERENCE,
    }

    async def situation() -> None:
        exchange = Exchange(
            clients={"ALICE": ClientSpec(), "BOB": ClientSpec()},
            symbols=[InstrumentSettings(symbol="AAPL")],
            replicas=3,
            machines=kinds,
        )
        async with exchange:
            configuration = exchange.configuration
            for name, side in (("ALICE", Side.BUY), ("BOB", Side.SELL)):
                secret = exchange.secrets[name]
                async with open_client(configuration, name, secret, next_sequence=0) as client:
                    for quantity in range(1, ORDERS + 1):
                        await client.enter("AAPL", side, quantity, 10_000)
                    await accepted(client, ORDERS)
            await exchange.until("all to have every order", all_follow)
            statuses = await ask_replicas(configuration, digests=True)
        told = [status for status in statuses.values() if isinstance(status, dict)]
        assert {each["name"]: each["machine"] for each in told} == kinds
        assert {each["divergence"] for each in told} == {None}
        assert all(each["trades"] > 0 for each in told)
        for digest in ("list_digest", "book_digest", "state_digest"):
            assert len({each[digest] for each in told}) == 1

    async def within_limits() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(within_limits())
