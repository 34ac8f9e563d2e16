"""Simulated clients at production gateways: what befalls them, and that nothing is lost of it."""

import hashlib
import os
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from engine.rejects import RejectReason
from feed.messages import CancelOrder, CancelReason, EnterOrder, MassCancel, ReplaceOrder
from feed.run import run_of_frames
from feed.subscriber import Groups
from gateway import ouch
from gateway.client_policy import ClientPolicy
from gateway.client_session import Phase
from gateway.closing import ClosingReason
from gateway.events import Accepted, Canceled, Rejected
from gateway.ouch_codec import encode
from gateway.soup import Debug
from gateway.streams import Stream
from gateway.translate import Refusal, to_command
from tests.simulation.small_exchange import Connection, SmallExchange, SmallGateway
from tools.simulation.client_log_ins import IN_DOUBT_NS, LogIns
from tools.simulation.clients import MOST_UNANSWERED, ClientNode
from tools.simulation.order_flow import OrderFlow
from tools.simulation.plan import CLIENT_POLICY
from tools.simulation.shard import INSTRUMENTS, SHARD, Shape
from tools.simulation.world import MILLISECOND_NS, SECOND_NS

INTERVAL_NS = 2 * MILLISECOND_NS
# But that a client gives up as in production.
POLICY = replace(
    CLIENT_POLICY,
    give_up_first_ns=ClientPolicy().give_up_first_ns,
    give_up_after_ns=ClientPolicy().give_up_after_ns,
)


def exchange(seed: int = 1, *, orders: int = 100, clients: int = 2) -> SmallExchange:
    """It trades; the clients are logged in."""
    made = SmallExchange(seed, Shape(client=POLICY), clients)
    for client in made.shard.clients.values():
        client.trade(orders, INTERVAL_NS)
    made.run(20)
    assert all(client.session.phase is Phase.OPEN for client in made.shard.clients.values())
    return made


def test_clients_trade_everything_that_there_is() -> None:
    trading = exchange(orders=1500)
    trading.settle()
    ledger = trading.ledger
    told = Counter(
        type(event).__name__ for stream in ledger.streams.streams.values() for event in stream
    )
    assert min(told.values()) > 10
    assert set(told) == {
        *("Accepted", "Replaced", "Executed", "Canceled"),
        *("Rejected", "Triggered", "MassCanceled"),
    }
    assert len(ledger.expectations[SHARD].orders) < 150  # books stay small, however long it goes on
    reasons = {
        event.reason
        for stream in ledger.streams.streams.values()
        for event in stream
        if isinstance(event, Rejected)
    }
    assert reasons >= {
        RejectReason.UNKNOWN_SYMBOL,
        RejectReason.SHORT_SALE_FORBIDDEN,
        RejectReason.INVALID_QUANTITY,
        RejectReason.INVALID_PRICE,
        RejectReason.POST_ONLY_WOULD_TRADE,
        RejectReason.ORDER_NOT_LIVE,
    }
    refusals = Counter[str]()
    for gateway in trading.gateways.values():
        refusals.update(gateway.gateway.summary()["refusals"])
    assert {"price_zero", "firm_not_offered", "unknown_message_type"} <= set(refusals)
    groups = Groups(run_of_frames(1, trading.reign.frames))
    longest = max(len(group.frames) for group in groups)
    assert longest > 8  # so that groups span packets


def test_commands_wait_while_too_many_are_unanswered() -> None:
    trading = exchange(clients=1, orders=3 * MOST_UNANSWERED)
    client = trading.client
    for gateway in trading.gateways.values():
        gateway.kill()
    trading.run(1000)
    assert client.unanswered == MOST_UNANSWERED
    for gateway in trading.gateways.values():
        gateway.start()
    trading.settle()
    assert trading.ledger.commands >= 2 * MOST_UNANSWERED


def test_what_is_to_be_traded_adds_up() -> None:
    trading = exchange(clients=1, orders=1)
    for _ in range(3):
        trading.client.trade(100, INTERVAL_NS)
    trading.settle()
    assert trading.client.session.last_user_ref_num > 200


def test_a_client_asks_when_an_answer_does_not_come() -> None:
    trading = exchange(clients=1)
    client = trading.client
    trading.settle()
    used = client.session.last_user_ref_num
    live = max(trading.ledger.expectations[SHARD].orders.values(), key=lambda each: each.open)
    client.session.unanswered.add_cancel(ouch.CancelOrder(live.user_ref_num, live.open))
    client.trade(0, INTERVAL_NS)
    assert not client.is_settled
    trading.settle()
    assert used < client.session.last_user_ref_num <= used + len(INSTRUMENTS)


def test_a_broken_connection_is_resumed_where_it_was() -> None:
    trading = exchange()
    trading.client.drop_connection()
    trading.run(10)
    trading.settle()
    assert trading.client.life == 1
    first, second = log_ins_of(trading)
    assert first == 1 < second


def log_ins_of(trading: SmallExchange) -> list[int]:
    """From which event on the first client logged in, each time."""
    lines = [line for line in trading.network.trace.lines() if " C1 " in line and "logs in" in line]
    return [int(line.partition("event ")[2]) for line in lines]


def test_a_dead_connection_is_left_without_a_word() -> None:
    trading = exchange(clients=1)
    trading.client.vanish_connection()
    assert trading.client.session.phase is Phase.OFFLINE
    trading.settle()
    closed = Counter[str]()
    for gateway in trading.gateways.values():
        closed.update(gateway.gateway.summary()["closed"])
    assert closed == {"superseded": 1}
    assert trading.client.superseded == 0  # it knows that this was itself


def test_a_client_moves_to_the_next_gateway() -> None:
    trading = exchange(clients=1)
    before = connected_to(trading)
    trading.client.move()
    trading.settle()
    assert before + connected_to(trading) in (["g1", "g2"], ["g2", "g1"])


def connected_to(trading: SmallExchange) -> list[str]:
    return [name for name, gateway in trading.gateways.items() if gateway.connections]


def test_a_program_that_starts_again_knows_nothing_and_learns_its_numbers() -> None:
    trading = exchange(clients=1)
    client = trading.client
    used = client.session.last_user_ref_num
    client.kill()
    client.start()
    assert not client.session.knows_its_numbers
    assert client.unanswered == 0
    trading.settle()
    assert client.session.last_user_ref_num > used
    assert client.life == 2


def test_a_program_that_dies_while_it_sends_loses_what_nobody_was_promised() -> None:
    trading = exchange(clients=1)
    client = trading.client
    client.sends_to_live = 3
    trading.run(100)
    assert not client.is_alive
    client.start()
    trading.settle()


def test_a_rival_ends_the_session_and_is_ended_in_turn() -> None:
    trading = exchange(clients=1, orders=300)
    client = trading.client
    client.rival()
    trading.run(50)
    assert client.superseded == 1
    trading.settle()
    assert client.life == 2
    names = {
        event.client_order_id.partition(".")[0]
        for event in trading.ledger.streams.streams[1]
        if isinstance(event, Accepted)
    }
    assert names == {"C1", "C1-b"}


def test_orders_are_canceled_when_a_session_ends_that_asks_for_it() -> None:
    trading = exchange(orders=30)
    trading.settle()
    assert {order.client for order in trading.ledger.expectations[SHARD].orders.values()} == {1, 2}
    trading.shard.clients["C2"].drop_connection()
    trading.client.drop_connection()
    trading.run(10)
    trading.settle()
    reasons = {
        client: {event.reason for event in stream if isinstance(event, Canceled)}
        for client, stream in trading.ledger.streams.streams.items()
    }
    assert CancelReason.LINK_LOST in reasons[2]
    assert CancelReason.LINK_LOST not in reasons[1]


def test_a_client_that_reads_slowly_gets_everything_later() -> None:
    trading = exchange(clients=1)
    client = trading.client
    client.read_slowly(500 * MILLISECOND_NS)
    program = client.program
    assert program is not None
    heard = program.next_sequence
    trading.run(400)
    assert program.next_sequence == heard
    assert client.unanswered == MOST_UNANSWERED
    client.read_slowly(500 * MILLISECOND_NS)  # which changes nothing
    trading.settle()
    assert client.life == 1


def test_silence_says_nothing_while_a_client_does_not_read() -> None:
    trading = exchange(clients=1)
    trading.client.read_slowly(2 * POLICY.dead_link_ns)
    trading.settle()
    assert len(log_ins_of(trading)) == 1


def test_nothing_is_lost_however_much_goes_wrong() -> None:
    for seed in range(12):
        turmoil(seed)


def turmoil(seed: int) -> SmallExchange:
    trading = exchange(seed)
    random, network = Random(seed), trading.network
    for _ in range(10):
        client = random.choice(list(trading.shard.clients.values()))
        gateway = random.choice(list(trading.gateways.values()))
        acts: tuple[Callable[[], object], ...] = (
            client.drop_connection,
            client.vanish_connection,
            client.move,
            client.rival,
            client.pause,
            partial(client.read_slowly, SECOND_NS),
            partial(start_again, client),
            partial(start_again, gateway),
            partial(network.cut, [gateway.name], [client.name]),
            partial(network.cut, [client.name], [gateway.name]),
        )
        random.choice(acts)()
        trading.run(random.random() * 60)
    trading.run(random.random() * 1500)
    network.heal()
    for client in trading.shard.clients.values():
        client.unpause()
    trading.settle()
    return trading


def start_again(process: ClientNode | SmallGateway) -> None:
    process.kill()
    process.start()


def test_a_seed_stands_for_one_run() -> None:
    """Whatever the hashes of strings are in this process."""
    script = "import hashlib\nfrom tests.simulation.test_clients import digest\nprint(digest(3))\n"
    environment = {**os.environ, "PYTHONHASHSEED": "99"}
    other = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest(3)
    assert digest(3) != digest(4)


def digest(seed: int) -> str:
    """Of everything that happened in a run."""
    trading = turmoil(seed)
    happened = repr((trading.network.now_ns, trading.network.world.steps, trading.reign.frames))
    return hashlib.sha256(happened.encode()).hexdigest()


# What a broken gateway does is found at once.


def test_a_gateway_that_tells_what_is_not_committed_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trading = exchange()
    extend = Stream.extend

    def twice(stream: Stream, packets: bytes, ends: "array[int]") -> None:
        extend(stream, packets, ends)
        extend(stream, packets, ends)

    monkeypatch.setattr(Stream, "extend", twice)
    with pytest.raises(AssertionError, match="was told"):
        trading.settle()


def test_a_gateway_that_loses_commands_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    trading = exchange(clients=1)
    decide = SmallGateway._decide
    monkeypatch.setattr(SmallGateway, "_decide", lambda gateway, data: None)
    trading.run(20)
    monkeypatch.setattr(SmallGateway, "_decide", decide)
    with pytest.raises(AssertionError, match="don't come to rest"):
        trading.settle(2_000)


def test_a_gateway_that_takes_what_it_should_refuse_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trading = exchange(orders=400)
    monkeypatch.setattr("gateway.translate._first_fault", lambda message: None)
    with pytest.raises(AssertionError, match="never sent, or was refused"):
        trading.settle()


def say_superseded(gateway: SmallGateway) -> None:
    (connection,) = gateway.connections.values()
    connection.transport.write(Debug(ClosingReason.SUPERSEDED.text).encode())


def test_a_session_that_is_ended_for_no_reason_is_found() -> None:
    trading = exchange(clients=1)
    (name,) = connected_to(trading)
    trading.gateways[name].do(1, partial(say_superseded, trading.gateways[name]))
    with pytest.raises(AssertionError, match="C1 can't go on, SessionEnded"):
        trading.run(100)


def test_a_log_in_that_is_refused_for_no_reason_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    trading = exchange(clients=1)
    made = Connection.connection_made

    def refuse(connection: Connection, transport: object) -> None:
        made(connection, transport)  # type: ignore[arg-type]
        session = connection.session
        session.phase = type(session.phase)["CHECKING"]
        session.close(ClosingReason.NOT_AUTHORISED, trading.network.now_ns)

    monkeypatch.setattr(Connection, "connection_made", refuse)
    trading.client.drop_connection()
    with pytest.raises(AssertionError, match="C1 can't go on, LoginRejected"):
        trading.run(1000)


def test_a_client_that_finds_no_gateway_for_too_long_is_a_failure() -> None:
    trading = exchange(clients=1)
    for gateway in trading.gateways.values():
        gateway.kill()
    trading.run(55_000)
    with pytest.raises(AssertionError, match="C1 can't go on, ConnectionLost"):
        trading.run(10_000)


def test_a_client_that_is_put_off_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = SmallGateway._decide
    monkeypatch.setattr(SmallGateway, "_decide", lambda gateway, data: None)
    trading = SmallExchange(clients=1)
    trading.run(15_000)
    monkeypatch.setattr(SmallGateway, "_decide", decide)
    for gateway in trading.gateways.values():
        start_again(gateway)
    trading.settle()
    assert trading.client.life == 1


def test_a_program_that_begins_without_gateways_is_tried_again_by_its_user() -> None:
    trading = exchange(clients=1)
    for gateway in trading.gateways.values():
        gateway.kill()
    start_again(trading.client)
    trading.run(20_000)
    assert trading.client.life > 3
    for gateway in trading.gateways.values():
        gateway.start()
    trading.settle()


# Its parts.


def test_a_log_in_may_be_superseded_by_those_that_were_under_way_with_it() -> None:
    log_ins = LogIns()
    earlier = log_ins.ask("a", 0)
    mine = log_ins.ask("b", 10)
    assert log_ins.may_supersede(mine)  # the earlier one may come late
    earlier.answered_ns = 5
    assert not log_ins.may_supersede(mine)
    log_ins.ask("b", 20)
    assert not log_ins.may_supersede(mine)  # its own
    later = log_ins.ask("a", 30)
    later.answered_ns = 40
    assert log_ins.may_supersede(mine)
    newest = log_ins.ask("b", 30 + IN_DOUBT_NS)
    assert not log_ins.may_supersede(newest)


def test_what_is_sent_is_what_should_stand_in_the_list() -> None:
    flow = OrderFlow(7, "C7.1", INSTRUMENTS, Random(1), seed=1)
    kinds = Counter[type]()
    for number in range(1, 3000):
        message, command = flow.next(number)
        understood = to_command(encode(message), 7)
        if command is None:
            assert isinstance(understood, Refusal)
            kinds[type(None)] += 1
        else:
            assert understood == command
            assert type(understood) is type(command)
            kinds[type(command)] += 1
            assert isinstance(message, ouch.CancelOrder) or command.user_ref_num == number
    assert min(kinds.values()) > 10
    assert set(kinds) == {EnterOrder, ReplaceOrder, CancelOrder, MassCancel, type(None)}
