"""What the replay says of each line is what the machine did: the list and the books are asked."""

import asyncio
import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from engine.rejects import RejectReason
from feed import messages
from feed.messages import CancelReason, OrderType, Side, TimeInForce
from gateway.events import Canceled, Executed, Rejected
from gateway.ouch import Liquidity
from gateway.rejects import GatewayReject
from tests.tools.market_clients import MarketExchange
from tests.tools.order_files import CLIENTS, SYMBOLS, Meant, files
from tests.tools.scripted_client import ScriptedClient, accepted
from tools.console import CommandError
from tools.replay import play as play_module
from tools.replay.endings import ReplayInterrupted
from tools.replay.ledger import Entry, Ledger, Status
from tools.replay.order_fields import Moment, TimeKind
from tools.replay.order_file import OrderFile
from tools.replay.order_formats import OrderFormat
from tools.replay.order_lines import Action, Cancel, Enter, MassCancel, OrderLine, Replace
from tools.replay.order_report import Totals, describe, make_row, make_rows, make_table, row_writer
from tools.replay.outcomes import Outcomes
from tools.replay.pace import Pace
from tools.replay.play import Play

GUIDE = Path(__file__).parents[2] / "docs" / "replay.md"
BUY_10 = Enter.model_construct(client="ALICE", id="a", symbol="AAPL", side=Side.BUY, quantity=10)


@contextlib.contextmanager
def a_ledger() -> Iterator[Ledger]:
    with contextlib.closing(Ledger()) as ledger:
        yield ledger


def numbered(actions: Sequence[Action]) -> list[OrderLine]:
    """The lines of a file, from line 2 on."""
    entered: dict[str, OrderLine] = {}
    lines: list[OrderLine] = []
    for ordinal, action in enumerate(actions):
        if isinstance(action, Replace | Cancel):
            named = entered[action.id]
            line = OrderLine(ordinal, ordinal + 2, named.client, action, named.ordinal)
        else:
            line = OrderLine(ordinal, ordinal + 2, action.client or "ALICE", action, None)
        if isinstance(action, Enter) and action.id is not None:
            entered[action.id] = line
        lines.append(line)
    return lines


def played(lines: Sequence[OrderLine], ledger: Ledger, seed: int) -> MarketExchange:
    async def run() -> MarketExchange:
        exchange = MarketExchange(CLIENTS, SYMBOLS, Random(seed))
        player = Play(exchange.clients, Outcomes(ledger), Pace(), asyncio.Event())
        async with asyncio.timeout(20):
            await player.run(lines)
        return exchange

    return asyncio.run(run())


@settings(max_examples=60)
@given(meant=files(most=40), seed=st.integers(0, 1000))
def test_each_line_is_told_what_the_machine_did(meant: list[Meant], seed: int) -> None:
    lines = numbered([each.action for each in meant])
    with a_ledger() as ledger:
        exchange = played(lines, ledger, seed)
        entries = {line: ledger.read(line.ordinal) for line in lines}
    check_orders(exchange, entries)
    check_cancels(exchange, entries)
    check_order_of_commands(exchange, entries)
    for line, entry in entries.items():
        assert entry.status not in (Status.NOT_REACHED, Status.UNANSWERED)
        make_row(line, entry)


def check_orders(exchange: MarketExchange, entries: dict[OrderLine, Entry]) -> None:
    """Each order traded, was canceled and is open as its lines say together."""
    executed: Counter[int] = Counter()
    value: Counter[int] = Counter()
    canceled: Counter[int] = Counter()
    rejected = set()
    number_of = {}
    current: dict[tuple[int, int], int] = {}
    for frame in exchange.frames:
        message = frame.message()
        match message:
            case messages.EnterOrder():
                current[message.client, message.user_ref_num] = frame.sequence
            case messages.Replaced():
                key = message.client, message.user_ref_num
                current[key] = current[message.client, message.original_user_ref_num]
            case messages.Rejected():
                rejected.add((message.client, message.user_ref_num, message.reason))
            case messages.Trade():
                for client, number in (
                    (message.maker_client, message.maker_user_ref_num),
                    (message.taker_client, message.taker_user_ref_num),
                ):
                    executed[current[client, number]] += message.quantity
                    value[current[client, number]] += message.quantity * message.price
            case messages.Canceled():
                canceled[current[message.client, message.user_ref_num]] += message.quantity
    told = {
        (exchange.clients[line.client].number, entry.user_ref_num, entry.reason)
        for line, entry in entries.items()
        if entry.status is Status.REJECTED
    }
    marks = {each for each in rejected if each[2] == RejectReason.UNKNOWN_SYMBOL}
    assert told == rejected - marks
    for line, entry in entries.items():
        if entry.order_number:
            number_of[line] = entry.order_number
    for name, truth in (("executed", executed), ("value", value), ("canceled", canceled)):
        sums: Counter[int] = Counter()
        for line, number in number_of.items():
            sums[number] += getattr(entries[line], name)
        assert +sums == +truth, name
    live = {order.number: order.leaves for order in exchange.market.orders.values()}
    assert {
        number: entries[line].open for line, number in number_of.items() if entries[line].open
    } == live
    for line in number_of:
        entry = entries[line]
        is_open = entry.status is Status.OPEN
        assert is_open == (entry.open > 0)
        if entry.status is Status.EXECUTED:
            assert entry.executed


def check_cancels(exchange: MarketExchange, entries: dict[OrderLine, Entry]) -> None:
    """What was canceled on request is what the lines say that asked for it."""
    single: Counter[str] = Counter()
    mass: Counter[str] = Counter()
    is_mass = False
    names = {client.number: name for name, client in exchange.clients.items()}
    for frame in exchange.frames:
        message = frame.message()
        if frame.is_command:
            is_mass = isinstance(message, messages.MassCancel)
        if isinstance(message, messages.Canceled) and message.reason == CancelReason.USER:
            (mass if is_mass else single)[names[message.client]] += message.quantity
    for kind, truth in ((Cancel, single), (MassCancel, mass)):
        told: Counter[str] = Counter()
        for line, entry in entries.items():
            if isinstance(line.action, kind) and entry.status is Status.DONE:
                told[line.client] += entry.canceled
        assert +told == +truth, kind


def check_order_of_commands(exchange: MarketExchange, entries: dict[OrderLine, Entry]) -> None:
    """The list has the numbered commands in the order of the file."""
    kinds = (messages.EnterOrder, messages.ReplaceOrder, messages.MassCancel)
    listed = [
        (message.client, message.user_ref_num)
        for message in (frame.message() for frame in exchange.frames if frame.is_command)
        if isinstance(message, kinds)
    ]
    sent = [
        (exchange.clients[line.client].number, entry.user_ref_num)
        for line, entry in entries.items()
        if not isinstance(line.action, Cancel)
    ]
    assert listed[: len(sent)] == sent


def test_a_replace_leaves_what_it_does_not_name_as_it_is() -> None:
    first = BUY_10.model_copy(update={"price": 1_000_000, "time_in_force": TimeInForce.DAY})
    lines = numbered(
        [
            first,
            Cancel.model_construct(id="a", remaining=4),
            Replace.model_construct(id="a", price=1_000_100),
            Replace.model_construct(id="a", quantity=7),
            Replace.model_construct(id="a", time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL),
            Replace.model_construct(id="a", quantity=9),
        ]
    )
    with a_ledger() as ledger:
        exchange = played(lines, ledger, seed=1)
        assert statuses(ledger, lines) == [
            *(Status.REPLACED, Status.DONE, Status.REPLACED),
            *(Status.REPLACED, Status.CANCELED, Status.REJECTED),
        ]
        assert make_row(lines[2], ledger.read(2))["reason"] == "by line 5"
    replaces = [
        (message.quantity, message.price, message.time_in_force)
        for message in (frame.message() for frame in exchange.frames if frame.is_command)
        if isinstance(message, messages.ReplaceOrder)
    ]
    day, immediate = TimeInForce.DAY, TimeInForce.IMMEDIATE_OR_CANCEL
    assert replaces[:3] == [(4, 1_000_100, day), (7, 1_000_100, day), (7, 1_000_100, immediate)]


def statuses(ledger: Ledger, lines: Sequence[OrderLine]) -> list[Status]:
    return [ledger.read(line.ordinal).status for line in lines]


def play_scripted(
    client: ScriptedClient, lines: Sequence[OrderLine], ledger: Ledger, stop: asyncio.Event
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await Play({"ALICE": client}, Outcomes(ledger), Pace(), stop).run(lines)

    asyncio.run(run())


def test_an_order_expires_and_another_is_refused_by_the_gateway() -> None:
    def answer(client: ScriptedClient, command: str, number: int) -> list[object]:
        if command.startswith("enter") and number == 1:
            executed = Executed(2, 0, 1, 3, 1_000_001, Liquidity.REMOVED, 1)
            return [accepted(1, 10), executed, Canceled(3, 0, 1, 7, CancelReason.EXPIRED)]
        return [Rejected(0, 0, number, GatewayReject.RATE_EXCEEDED, "", "")]

    lines = numbered([BUY_10, BUY_10.model_copy(update={"id": "b"})])
    with a_ledger() as ledger:
        play_scripted(ScriptedClient(answer), lines, ledger, asyncio.Event())  # type: ignore[arg-type]
        totals = Totals()
        rows = list(make_rows(lines, ledger, totals))
    assert rows[0] == {
        **{"line": 2, "action": "enter", "client": "ALICE", "id": "a", "symbol": "AAPL"},
        **{"status": "expired", "quantity": 10, "executed": 3, "average_price": "100.0001"},
        **{"open": 0, "canceled": 7, "order_number": 1001, "reason": "its day has ended"},
    }
    assert rows[1]["status"] == "rejected"
    assert rows[1]["reason"] == GatewayReject.RATE_EXCEEDED.text
    assert "2 lines: 1 expired, 1 rejected" in describe(totals)
    assert totals.summary()["rejected"] == {GatewayReject.RATE_EXCEEDED.text: 1}


def test_a_stop_leaves_the_rest_of_the_file_and_tells_so() -> None:
    client, stop = ScriptedClient(), asyncio.Event()
    client.when_commands(2, stop.set)
    lines = numbered([BUY_10.model_copy(update={"id": str(i)}) for i in range(4)])
    with a_ledger() as ledger:
        play_scripted(client, lines, ledger, stop)
        assert statuses(ledger, lines) == [Status.OPEN] * 2 + [Status.NOT_REACHED] * 2
    assert client.commands[2:] == ["mass_cancel *MARK*"]


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_is_not_answered_is_told(monkeypatch: pytest.MonkeyPatch, is_stopped: bool) -> None:
    monkeypatch.setattr(play_module, "PATIENCE_S", 20.0 if is_stopped else 0.01)
    monkeypatch.setattr(play_module, "_ANSWERS_WITHIN_S", 0.01)
    client, stop = ScriptedClient(lambda client, command, number: []), asyncio.Event()
    if is_stopped:
        client.when_commands(1, stop.set)
    lines = numbered([BUY_10])
    error = ReplayInterrupted if is_stopped else CommandError
    with a_ledger() as ledger:
        with pytest.raises(error, match=r"answer"):
            play_scripted(client, lines, ledger, stop)
        assert statuses(ledger, lines) == [Status.UNANSWERED]


def test_times_and_rates_set_the_pace() -> None:
    times = (5_000_000_000, None, 6_000_000_000, 6_500_000_000)
    lines = numbered(
        [
            BUY_10.model_copy(
                update={"time": None if time is None else Moment(TimeKind.SECONDS, time)}
            )
            for time in times
        ]
    )
    doubled, fixed, free = Pace(speed=2.0), Pace(rate=1000), Pace()
    assert [doubled.due_ns(line) for line in lines] == [0, 0, 500_000_000, 750_000_000]
    assert [fixed.due_ns(line) for line in lines] == [0, 1_000_000, 2_000_000, 3_000_000]
    assert [free.due_ns(line) for line in lines] == [None] * 4


def test_a_report_is_written_in_both_formats() -> None:
    lines = numbered([BUY_10, Cancel.model_construct(id="a", remaining=0)])
    entry = Entry(
        *(Status.EXECUTED, 0, 2, 1, 0, 0, 10, 0, TimeInForce.DAY, b"AAPL    ", 77, 0, 10),
        value=10_000_005,
    )
    row = make_row(lines[0], entry)
    csv_file, json_file = io.StringIO(), io.StringIO()
    row_writer(OrderFormat.CSV, csv_file)(row)
    row_writer(OrderFormat.JSON_LINES, json_file)(row)
    assert csv_file.getvalue().splitlines()[1] == (
        "2,enter,ALICE,a,AAPL,executed,10,10,100.0001,0,0,77,"
    )
    assert json.loads(json_file.getvalue()) == row
    assert make_row(lines[1], Entry())["status"] == "not reached"


def test_half_a_ten_thousandth_of_an_average_price_goes_up() -> None:
    (line,) = numbered([BUY_10.model_copy(update={"type": OrderType.MARKET})])
    entry = Entry(Status.EXECUTED, order_number=1, executed=2, value=2_000_003)
    assert make_row(line, entry)["average_price"] == "100.0002"


def test_the_examples_of_the_guide_are_one_and_end_as_it_says(tmp_path: Path) -> None:
    _, *blocks = GUIDE.read_text().split("```\n")
    (csv_example,) = (block for block in blocks if block.startswith("# two clients"))
    (json_example,) = (block for block in blocks if block.startswith('{"time"'))
    (told,) = (block for block in blocks if block.startswith("$ lockstep replay orders.csv"))
    both = []
    for name, text in (("orders.csv", csv_example), ("orders.jsonl", json_example)):
        path = tmp_path / name
        path.write_text(text)
        with OrderFile(path, OrderFormat(path.suffix[1:]), None) as file:
            file.check()
            both.append(list(file.lines()))
    lines, others = both
    assert [line.action for line in lines] == [line.action for line in others]
    totals = Totals()
    with a_ledger() as ledger:
        played(lines, ledger, seed=1)
        rows = list(make_rows(lines, ledger, totals))
    output = io.StringIO()
    Console(file=output, width=200).print(make_table(rows))
    shown = [line.rstrip() for line in output.getvalue().splitlines()]
    heading, rule, *body = [line.rstrip() for line in told.splitlines()[2:10]]
    assert [heading, *body] == [shown[1], *shown[3:9]]
    assert set(rule.strip()) == {"─"}
    assert describe(totals) in told
