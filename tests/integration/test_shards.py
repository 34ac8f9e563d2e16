"""An exchange of two shards, then three, under load: symbols move, and nobody loses anything."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.rejects import RejectReason
from engine.settings import InstrumentSettings
from feed.messages import Side
from feed.schema import ReplayKind
from gateway.client import Client
from gateway.events import Accepted, Canceled, Event, Executed, Rejected
from tools.cli import build_app
from tools.configuration import Configuration
from tools.layout import Layout, Transport
from tools.observer import Observer
from tools.observers import Observers
from tools.outcome import LOAD, ShardEnd, summarize_shards
from tools.ports import multicast_works
from tools.processes import ClientSpec, Exchange
from tools.replicas import primary_status
from tools.settling import settle
from tools.shard_primary import ShardPrimary

WITHIN_S = 90
SYMBOLS = [InstrumentSettings(symbol=name) for name in ("AAPL", "MSFT", "NVDA")]  # in turn
ORDERS = 450  # more than two batches
BID = 1_000_000
NOT_THERE = (RejectReason.MOVED, RejectReason.UNKNOWN_SYMBOL)


def lockstep(exchange: Exchange, *words: str) -> str:
    """What a command prints that ends well."""
    arguments = [*words, "-c", str(exchange.configuration_path)]
    result = CliRunner().invoke(build_app(words[:1]), arguments, env={"COLUMNS": "120"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


async def operate(exchange: Exchange, *words: str) -> str:
    """The same, beside what else goes on."""
    return await asyncio.to_thread(lockstep, exchange, *words)


async def read_until(
    client: Client, kind: type[Event] | UnionType, user_ref_num: int
) -> list[Event]:
    """A client's events up to the first one of this kind about this order."""
    got: list[Event] = []
    async for event in client.events():
        got.append(event)
        if isinstance(event, kind) and event.user_ref_num == user_ref_num:
            break
    return got


async def enter(client: Client, side: Side, quantity: int, symbol: str = "AAPL") -> list[Event]:
    """Enter an order; again, as long as the gateway does not know yet where the symbol is now."""
    got: list[Event] = []
    while True:
        number = await client.enter(symbol, side, quantity, BID)
        got += await read_until(client, Accepted | Rejected, number)
        last = got[-1]
        if not isinstance(last, Rejected) or last.reason not in NOT_THERE:
            return got


async def start_third_shard(exchange: Exchange) -> Configuration:
    """Configure another shard in the exchange's file, and start its processes."""
    replicas, retransmitters = ["e3"], ["r3"]
    layout = Layout(replicas, retransmitters, [], transport=Transport.MULTICAST)
    configuration = exchange.configuration
    own, _ = layout.configuration("X", SYMBOLS, configuration.zookeeper, Path())
    path = exchange.configuration_path
    values = Configuration.load(path).model_dump(mode="json", exclude_unset=True, exclude_none=True)
    parts = own.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    values["shards"]["3"] = {key: parts[key] for key in ("feed", "replicas", "retransmitters")}
    Configuration.model_validate(values).save(path)
    for role, names in (("replica", replicas), ("retransmitter", retransmitters)):
        for name in names:
            exchange.fleet.add(name, [role, "--configuration", str(path), "--name", name])
    await exchange.fleet.start([*retransmitters, *replicas])
    view = Configuration.load(path).of_shard(3)
    await ShardPrimary(view).until_led()
    return view


async def move_there_and_back(exchange: Exchange, alice: Client, bob: Client) -> list[Event]:
    """AAPL, with a book, goes to shard 2 and back; what Alice is told meanwhile."""
    got: list[Event] = []
    for number in range(1, ORDERS + 1):
        await alice.enter("AAPL", Side.BUY, number, BID - number % 7 * 100)
    got += await read_until(alice, Accepted, ORDERS)
    await operate(exchange, "halt", "AAPL")
    told = await operate(exchange, "move", "AAPL", "--to", "2")
    quantity = ORDERS * (ORDERS + 1) // 2
    assert f"from shard 1 to shard 2, with {ORDERS} orders for {quantity:,}" in told
    got += await enter(alice, Side.BUY, 1)  # refused, since it is halted there
    await alice.cancel(7)  # the best, and first
    got += await read_until(alice, Canceled, 7)
    await operate(exchange, "resume", "AAPL")
    await enter(bob, Side.SELL, 14)
    got += await read_until(alice, Executed, 14)  # the next in its place
    await operate(exchange, "halt", "AAPL")
    told = await operate(exchange, "move", "AAPL", "--to", "1")
    assert f"from shard 2 to shard 1, with {ORDERS - 2} orders" in told
    await operate(exchange, "resume", "AAPL")
    await enter(bob, Side.SELL, 21)
    got += await read_until(alice, Executed, 21)
    return got


async def trade(symbol: str, alice: Client, bob: Client) -> list[Event]:
    """Alice buys from Bob; what she is told."""
    got = await enter(alice, Side.BUY, 10, symbol)
    await enter(bob, Side.SELL, 10, symbol)
    return got + await read_until(alice, Executed, got[-1].user_ref_num)


async def replayed(address: Any, secret: str, count: int) -> list[Event]:
    """A client's stream from its first event on, as a gateway has it."""
    async with Client(address, "ALICE", secret, next_sequence=1) as client:
        events = client.events()
        return [await anext(events) for _ in range(count)]


async def books_of(view: Configuration) -> str:
    """The digest of a shard's books as its list has them by now."""
    sequence = (await primary_status(view))["sequence"]
    observer = Observer(view, begin=ReplayKind.DAY)
    with closing(observer):
        observer.start()
        while observer.sequence < sequence:
            await observer.watch_until(asyncio.Event(), within_s=0.05)
    return observer.books.digest()


def load_arguments(exchange: Exchange) -> Sequence[str]:
    files = [str(exchange.configuration_path), str(exchange.secrets_path)]
    which = ["--clients", "CAROL,DAVE", "--symbols", "MSFT,NVDA", "--rate", "200", "--keep-orders"]
    return ["load", "--configuration", files[0], "--secrets", files[1], *which]


@pytest.mark.skipif(not multicast_works(), reason="no multicast on the loopback interface")
def test_symbols_move_and_a_shard_comes_while_others_trade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def situation() -> None:
        exchange = Exchange(
            clients={name: ClientSpec() for name in ("ALICE", "BOB", "CAROL", "DAVE")},
            symbols=SYMBOLS,
            shards=2,
            retransmitters=1,
            gateways=2,
            transport=Transport.MULTICAST,
        )
        async with exchange:
            gateways = [each.listen for each in exchange.configuration.gateways.values()]
            secrets = exchange.secrets
            observers = Observers(exchange.shards)
            with closing(observers):
                observers.start()
                await exchange.start(LOAD, load_arguments(exchange))
                async with (
                    Client(gateways[0], "ALICE", secrets["ALICE"]) as alice,
                    Client(gateways[1], "BOB", secrets["BOB"]) as bob,
                ):
                    got = await move_there_and_back(exchange, alice, bob)
                    await operate(exchange, "add-symbol", "IBM", "--shard", "2")
                    got += await trade("IBM", alice, bob)
                    view = await start_third_shard(exchange)
                    assert "not in use yet" in await operate(exchange, "status")
                    assert "shard 3 is in use" in await operate(exchange, "add-shard", "3")
                    await operate(exchange, "add-symbol", "GE", "--shard", "3")
                    got += await trade("GE", alice, bob)
                    await operate(exchange, "halt", "AAPL")
                    await operate(exchange, "move", "AAPL", "--to", "3")
                    await operate(exchange, "resume", "AAPL")
                    await enter(bob, Side.SELL, 28)
                    got += await read_until(alice, Executed, 28)
                await exchange.finish(LOAD)
                assert [event.sequence for event in got] == list(range(1, len(got) + 1))
                for gateway in gateways:
                    assert await replayed(gateway, secrets["ALICE"], len(got)) == got
                ends = {
                    shard: ShardEnd(await settle(exchange, each, shard), each.summary(), ())
                    for shard, each in observers.items()
                }
                assert (
                    await books_of(view)
                    == (await primary_status(view, digests=True))["book_digest"]
                )
                await exchange.kill("e3", "r3")
            summaries = await exchange.stop()
            result = summarize_shards(exchange.configuration, ends, summaries, 1.0, None)
            assert (result["books_equal"], result["digests_equal"]) == (True, True)
            assert result["frames_lost"] == 0

    async def guarded() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(guarded())
