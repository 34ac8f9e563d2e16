"""A drill's clients: their pace, what they write down, and the flow that makes long groups."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from engine.market import Market
from engine.settings import InstrumentSettings
from feed.messages import (
    CancelOrder,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    ReplaceOrder,
    SelfTradePrevention,
    ShortSale,
    Trade,
    symbol_field,
)
from gateway.client_errors import ConnectionLost
from gateway.events import Event
from tests.tools.drill_exchange import INSTRUMENTS, as_sent
from tests.tools.scripted_client import ScriptedClient, accept_all
from tools.console import CommandError
from tools.drill.audit import ClientCommand
from tools.drill.flow import SWEPT_ORDERS, SweepFlow
from tools.drill.trader import Trader, Traders
from tools.load.flow import ClientFlow, Enter
from tools.processes import DEFAULT_SYMBOLS

RATE = 20_000
CLIENT = 7


def make_trader(client: ScriptedClient, name: str = "C01") -> Trader:
    return Trader(client, name, CLIENT, ClientFlow(1, name, INSTRUMENTS))


class LoggedIn(ScriptedClient):
    """A scripted client that needs no gateway to be open."""

    async def __aenter__(self) -> "LoggedIn":
        return self

    async def __aexit__(self, *exception: object) -> None:
        pass

    @property
    def is_open(self) -> bool:
        return True


async def traded(*clients: LoggedIn, commands: int) -> Traders:
    """Let the clients trade until the first one has been given so many commands."""
    traders = [make_trader(client, f"C{place}") for place, client in enumerate(clients)]
    enough = asyncio.Event()
    clients[0].when_commands(commands, enough.set)
    async with asyncio.timeout(20), Traders(traders, RATE) as running:
        running.pace.go()
        await enough.wait()
    return running


def sent_by(running: Traders) -> Sequence[ClientCommand]:
    return running.records[0].sent


def test_what_was_sent_is_written_down_as_it_should_stand_in_the_list() -> None:
    running = asyncio.run(traded(LoggedIn(), commands=300))
    flow = ClientFlow(1, "C0", INSTRUMENTS)
    sent = sent_by(running)
    assert list(sent) == [as_sent(CLIENT, flow.next_command()) for _ in sent]
    assert {EnterOrder, ReplaceOrder, CancelOrder, MassCancel} == set(map(type, sent))


def test_numbers_follow_those_that_the_exchange_gives() -> None:
    running = asyncio.run(traded(LoggedIn(first_user_ref_num=5001), commands=100))
    numbers = [each.user_ref_num for each in sent_by(running) if isinstance(each, EnterOrder)]
    assert numbers[0] == 5001
    assert numbers == sorted(set(numbers))


def test_answers_are_counted_and_what_waits_is_known() -> None:
    def answer_none(client: ScriptedClient, command: str, number: int) -> Iterable[Event]:
        return []

    async def counts() -> tuple[int, int]:
        answering, silent = make_trader(LoggedIn(accept_all)), make_trader(LoggedIn(answer_none))
        async with Traders([answering, silent], RATE):
            command = answering._flow.next_command()
            assert isinstance(command, Enter)
            await answering.send(command)
            await silent.send(command)
            while not answering.answered:
                await asyncio.sleep(0)
        assert answering.waits_since_ns is None
        assert silent.waits_since_ns is not None
        return answering.waiting, silent.waiting

    assert asyncio.run(counts()) == (0, 1)


def test_clients_hold_back_while_they_are_told_to() -> None:
    async def commands() -> None:
        client = LoggedIn()
        enough = asyncio.Event()
        client.when_commands(20, enough.set)
        async with asyncio.timeout(20), Traders([make_trader(client)], RATE) as running:
            assert client.commands == []
            running.pace.go()
            await enough.wait()
            running.pace.wait()
            await asyncio.sleep(0.02)
            count = len(client.commands)
            await asyncio.sleep(0.05)
            assert len(client.commands) == count
            client.when_commands(count + 20, enough.set)
            enough.clear()
            running.pace.go()
            await enough.wait()

    asyncio.run(commands())


def test_everybody_has_heard_once_all_that_was_sent_by_then_is_answered() -> None:
    async def heard() -> None:
        answering = make_trader(LoggedIn())
        async with Traders([answering], RATE) as running:
            assert not running.have_heard_since(0)
            await answering.send(answering._flow.next_command())
            while not answering.answered:
                await asyncio.sleep(0)
            assert running.have_heard_since(0)
            assert not running.have_heard_since(answering.heard_ns[-1])

    asyncio.run(heard())


def test_a_client_that_cannot_go_on_is_told() -> None:
    async def check() -> None:
        client = LoggedIn()
        async with asyncio.timeout(20), Traders([make_trader(client)], RATE) as running:
            running.check()
            client.tell(ConnectionLost("no gateway could be reached"))
            await asyncio.sleep(0.05)  # far more turns than it takes to be heard
            with pytest.raises(CommandError, match="C01 listens can't go on: no gateway"):
                running.check()

    asyncio.run(check())


def test_sweeps_make_groups_of_many_trades_and_leave_nothing_behind() -> None:
    clients = 4
    market = Market()
    sequence = 1
    for client in range(1, clients + 1):
        market.apply(sequence, 0, LogIn(client, client, SelfTradePrevention.CANCEL_NEWEST))
        sequence += 1
    _list(market, DEFAULT_SYMBOLS)
    flows = [SweepFlow(place, clients, DEFAULT_SYMBOLS) for place in range(clients)]
    trades = []
    for _ in range(3 * (SWEPT_ORDERS + 1)):
        for place, flow in enumerate(flows):
            command = as_sent(place + 1, flow.next_command())
            sequence += 100
            events = market.apply(sequence, 0, command)
            if events:
                trades.append([type(event) for event in events])
    assert trades == [[Trade] * SWEPT_ORDERS] * (3 * clients)
    assert not market.orders


def test_a_ring_of_sweeps_needs_two_clients_and_an_instrument_for_each() -> None:
    with pytest.raises(ValueError, match="ring"):
        SweepFlow(0, 1, DEFAULT_SYMBOLS)
    with pytest.raises(ValueError, match="ring"):
        SweepFlow(0, 3, INSTRUMENTS)


def _list(market: Market, instruments: Sequence[InstrumentSettings]) -> None:
    for place, each in enumerate(instruments):
        symbol = symbol_field(each.symbol)
        definition = DefineInstrument(symbol, each.tick_size, each.lot_size, ShortSale.ALLOWED)
        market.apply(1000 + place, 0, definition)
