"""The asyncio client over real loopback sockets, with an exchange in this process."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trustme

from feed.messages import ALL_SYMBOLS, Side, TimeInForce
from feed.settings import Address
from gateway import ouch
from gateway.client import Client
from gateway.client_errors import (
    ClientError,
    ConnectionLost,
    LoginRejected,
    Overrun,
    ProtocolError,
    SessionEnded,
)
from gateway.client_link import Link
from gateway.client_policy import ClientPolicy
from gateway.closing import ClosingReason
from gateway.events import Accepted, Event, to_event
from gateway.soup import Debug, LoginRejectReason, LoginRequest, SequencedData
from tests.gateway.exchange_side import (
    AAPL,
    accepted,
    canceled,
    mass_canceled,
    numbered,
    reject,
    replaced,
)
from tests.gateway.fake_gateway import FakeExchange, FakeGateway

GUARD_SECONDS = 10  # below the 15 seconds after which a client gives up on a link by itself
# Impatient, so that a failure shows soon; the waits that tests depend on are far longer or shorter.
POLICY = ClientPolicy(
    first_wait_ns=1_000_000,
    longest_wait_ns=10_000_000,
    give_up_first_ns=200_000_000,
    give_up_after_ns=500_000_000,
)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(GUARD_SECONDS) as guard:
            await test()
        assert not guard.expired()

    asyncio.run(guarded())


def events(*stream: ouch.Outbound, first_sequence: int = 1) -> list[Event]:
    return [to_event(message, first_sequence + i) for i, message in enumerate(stream)]


async def take(client: Client, count: int) -> list[Event]:
    """The next events; waits until there are as many."""
    taken: list[Event] = []
    async for event in client.events():
        taken.append(event)
        if len(taken) == count:
            return taken
    raise AssertionError(f"the stream ended after {len(taken)} events")


async def take_all(client: Client, taken: list[Event]) -> None:
    """Adds events to `taken` until there are no more."""
    async for event in client.events():
        taken.append(event)


def order(user_ref_num: int) -> ouch.EnterOrder:
    return ouch.EnterOrder(user_ref_num, Side.BUY, 100, AAPL, 1_850_000, TimeInForce.DAY)


async def enter(client: Client, count: int = 1) -> list[int]:
    return [await client.enter("AAPL", Side.BUY, 100, 1_850_000) for _ in range(count)]


def test_commands_go_out_with_numbers_of_their_own_and_events_come_back_typed() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with FakeGateway(exchange) as gateway:
            async with Client(str(gateway.address), "ALICE", "secret", policy=POLICY) as client:
                first = await client.enter("AAPL", Side.BUY, 100, 1_850_000)
                second = await client.replace(first, 80, 1_840_000)
                await client.cancel(second, remaining=30)
                third = await client.mass_cancel()
                assert (first, second, third) == (1, 2, 3)
                assert await take(client, 4) == events(
                    accepted(1), replaced(1, 2, 80), canceled(2, 70), mass_canceled(3)
                )
                assert (client.unanswered_count, client.next_sequence) == (0, 5)
            assert exchange.commands == [
                order(1),
                ouch.ReplaceOrder(1, 2, 80, 1_840_000, TimeInForce.DAY),
                ouch.CancelOrder(2, 30),
                ouch.MassCancel(3, symbol=ALL_SYMBOLS),
            ]
            assert gateway.log_ins == [LoginRequest("ALICE", "secret", "", 1)]
            assert (gateway.log_outs, gateway.connections) == (1, set())

    run(test)


def test_a_client_that_starts_again_does_not_use_a_number_again() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with FakeGateway(exchange) as gateway:
            for sequence, expected in ((1, [1, 2]), (0, [3, 4]), (3, [5, 6])):
                async with Client(
                    gateway.address, "ALICE", "secret", next_sequence=sequence, policy=POLICY
                ) as client:
                    assert await enter(client, 2) == expected
                    (event, *_) = await take(client, 2 if sequence != 3 else 4)
                    assert event.sequence == (3 if sequence != 1 else 1)
            assert (exchange.last_user_ref_num, exchange.repeats) == (6, 0)

    run(test)


def test_a_connection_dropped_in_the_middle_of_a_message_is_resumed_elsewhere() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with FakeGateway(exchange) as first, FakeGateway(exchange) as second:
            addresses = [first.address, second.address]
            async with Client(addresses, "ALICE", "secret", policy=POLICY) as client:
                await enter(client)
                assert await take(client, 1) == events(accepted(1))
                exchange.answers = False
                await enter(client, 2)
                first.send(numbered(accepted(2))[:20])
                while exchange.last_user_ref_num < 3:
                    await asyncio.sleep(0)
                exchange.answers = True
                first.drop()
                await enter(client, 1)
                assert await take(client, 3) == events(
                    accepted(2), accepted(3), accepted(4), first_sequence=2
                )
                assert (client.resumes, client.is_open) == (1, True)
        assert second.log_ins == [LoginRequest("ALICE", "secret", "DEMO", 2)]
        assert exchange.commands == [order(1), order(2), order(3), order(4)]
        assert exchange.repeats == 0

    run(test)


def test_each_order_takes_effect_once_however_often_connections_break() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        answers = 0

        def break_every_third(data: bytes) -> bytes | None:
            nonlocal answers
            answers += 1
            return None if answers % 3 == 0 else data

        async with FakeGateway(exchange) as first, FakeGateway(exchange) as second:
            first.spoil = second.spoil = break_every_third
            second.repeats_the_stream = True
            addresses = [first.address, second.address]
            async with Client(addresses, "ALICE", "secret", policy=POLICY) as client:
                reading = asyncio.create_task(take(client, 20))
                for _ in range(20):
                    await enter(client)
                    await asyncio.sleep(0)
                assert await reading == events(*map(accepted, range(1, 21)))
                assert client.resumes >= 1
        assert exchange.commands == [order(number) for number in range(1, 21)]

    run(test)


def test_what_is_delivered_twice_is_given_out_once() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        exchange.stream += [accepted(number) for number in range(1, 6)]
        async with (
            FakeGateway(exchange) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=POLICY) as client,
        ):
            assert await take(client, 5) == events(*exchange.stream)
            gateway.repeats_the_stream = True
            exchange.stream.append(canceled(5, 100))
            gateway.drop()
            assert await take(client, 1) == events(canceled(5, 100), first_sequence=6)

    run(test)


def test_a_refused_log_in_is_raised_with_what_the_exchange_said() -> None:
    async def test() -> None:
        async with FakeGateway(FakeExchange()) as gateway:
            gateway.refusal = reject(LoginRejectReason.NOT_AUTHORISED, "who are you?")
            with pytest.raises(LoginRejected, match=r"who are you\?") as refused:
                async with Client(gateway.address, "ALICE", "wrong", policy=POLICY):
                    raise AssertionError("logged in")
            assert refused.value.reason is LoginRejectReason.NOT_AUTHORISED
            assert len(gateway.log_ins) == 1

    run(test)


def test_a_log_in_that_fails_for_a_while_is_tried_again_elsewhere() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with FakeGateway(exchange) as first, FakeGateway(exchange) as second:
            reason = ClosingReason.CATCHING_UP
            first.refusal = reject(LoginRejectReason.NO_SUCH_SESSION, reason.text)
            addresses = [first.address, second.address]
            async with Client(addresses, "ALICE", "secret", policy=POLICY) as client:
                assert await enter(client) == [1]
            assert (len(first.log_ins), len(second.log_ins)) == (1, 1)

    run(test)


def test_a_first_log_in_is_tried_for_longer_when_a_gateway_says_that_it_has_to_wait() -> None:
    policy = replace(
        POLICY,
        first_wait_ns=50_000_000,  # shortened by half at most: too long for a first time
        longest_wait_ns=50_000_000,
        give_up_first_ns=20_000_000,
        give_up_after_ns=3_600_000_000_000,
    )

    async def test() -> None:
        async with FakeGateway(FakeExchange()) as gateway:
            text = ClosingReason.LOG_IN_UNANSWERED.text
            gateway.refusal = reject(LoginRejectReason.NO_SUCH_SESSION, text)
            client = Client(gateway.address, "ALICE", "secret", policy=policy)
            entering = asyncio.create_task(client.__aenter__())
            while len(gateway.log_ins) < 3:
                await asyncio.sleep(0)
            gateway.refusal = None
            await entering
            await client.close()

    run(test)


def closed_port() -> Address:
    """A port of this machine on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return Address(*listener.getsockname())


def test_a_client_that_reaches_nobody_says_so() -> None:
    async def test() -> None:
        client = Client([closed_port(), closed_port()], "ALICE", "secret", policy=POLICY)
        with pytest.raises(ConnectionLost, match="Connect call failed"):
            async with client:
                raise AssertionError("logged in")
        with pytest.raises(ClientError):
            await client.mass_cancel()

    run(test)


def test_a_client_gives_up_when_the_exchange_stays_away_and_keeps_what_it_had() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with FakeGateway(exchange) as gateway:
            client = await Client(gateway.address, "ALICE", "secret", policy=POLICY).__aenter__()
            await enter(client)
            while client.unanswered_count:
                await asyncio.sleep(0)
        got: list[Event] = []
        with pytest.raises(ConnectionLost):
            await take_all(client, got)
        assert got == events(accepted(1))
        with pytest.raises(ConnectionLost):
            await enter(client)
        await client.close()

    run(test)


def test_a_client_that_logs_in_elsewhere_ends_the_one_that_was_there() -> None:
    async def test() -> None:
        async with (
            FakeGateway(FakeExchange()) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=POLICY) as client,
        ):
            gateway.send(numbered(accepted(1)) + Debug(ClosingReason.SUPERSEDED.text).encode())
            got: list[Event] = []
            with pytest.raises(SessionEnded, match="logged in again"):
                await take_all(client, got)
            assert got == events(accepted(1))
            assert len(gateway.log_ins) == 1

    run(test)


def test_a_stream_that_can_not_be_read_is_not_asked_for_again() -> None:
    async def test() -> None:
        async with (
            FakeGateway(FakeExchange()) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=POLICY) as client,
        ):
            gateway.send(SequencedData(b"?").encode())
            with pytest.raises(ProtocolError):
                await take(client, 1)
            assert len(gateway.log_ins) == 1

    run(test)


def test_heartbeats_are_sent_and_a_silent_gateway_is_left() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        policy = ClientPolicy(heartbeat_interval_ns=5_000_000, dead_link_ns=50_000_000)
        async with FakeGateway(exchange) as first, FakeGateway(exchange) as second:
            addresses = [first.address, second.address]
            async with Client(addresses, "ALICE", "secret", policy=policy) as client:
                await second.logged_in.wait()
                assert await enter(client) == [1]
                assert await take(client, 1) == events(accepted(1))
                assert client.resumes >= 1
            assert first.heartbeats >= 5

    run(test)


def test_a_client_reads_no_further_than_its_user_does() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        exchange.stream += [accepted(number) for number in range(1, 50_001)]
        policy = ClientPolicy(unread_limit=100)
        async with (
            FakeGateway(exchange) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=policy) as client,
        ):
            for _ in range(2000):  # enough for all of it to come, if it were let
                await asyncio.sleep(0)
            assert client.next_sequence == 1
            assert 100 <= client.unread_count < 10_000
            got = await take(client, 50_000)
            assert [event.sequence for event in got] == list(range(1, 50_001))
            assert client.next_sequence == 50_001

    run(test)


def test_entering_waits_for_room_and_says_when_events_have_to_be_read() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        policy = ClientPolicy(unanswered_limit=3, unread_limit=5)
        async with (
            FakeGateway(exchange) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=policy) as client,
        ):
            exchange.answers = False
            await enter(client, 3)
            waiting = asyncio.create_task(enter(client))
            await asyncio.sleep(0)
            assert client.unanswered_count == 3
            gateway.send(numbered(accepted(1)))
            assert await waiting == [4]
            gateway.send(numbered(*map(accepted, (2, 3, 4))))
            while client.unanswered_count:
                await asyncio.sleep(0)
            await enter(client, 3)
            waiting = asyncio.create_task(enter(client))
            gateway.send(numbered(canceled(1, 1)))
            with pytest.raises(Overrun, match="read events"):
                await waiting
            assert await take(client, 5) == events(*map(accepted, (1, 2, 3, 4)), canceled(1, 1))

    run(test)


def test_entering_does_not_wait_for_a_client_that_is_closed() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        exchange.answers = False
        policy = ClientPolicy(unanswered_limit=1)
        async with FakeGateway(exchange) as gateway:
            async with Client(gateway.address, "ALICE", "secret", policy=policy) as client:
                await enter(client)
                waiting = asyncio.create_task(enter(client))
                await asyncio.sleep(0)
            with pytest.raises(ClientError, match="not open"):
                await waiting

    run(test)


def test_too_many_unanswered_cancels_are_refused() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        policy = ClientPolicy(unanswered_limit=3)
        async with (
            FakeGateway(exchange) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=policy) as client,
        ):
            orders = await enter(client, 4)
            await take(client, 4)
            exchange.answers = False
            for number in orders[:3]:
                await client.cancel(number)
            with pytest.raises(Overrun, match="cancels"):
                await client.cancel(orders[3])
            gateway.send(numbered(canceled(orders[0], 100)))
            await take(client, 1)
            await client.cancel(orders[3])

    run(test)


def test_events_end_when_the_client_is_closed() -> None:
    async def test() -> None:
        async with FakeGateway(FakeExchange()) as gateway:
            client = Client(gateway.address, "ALICE", "secret", policy=POLICY)
            async with client:
                await enter(client)
                assert [type(event) for event in await take(client, 1)] == [Accepted]
                rest: list[Event] = []
                reading = asyncio.create_task(take_all(client, rest))
                await asyncio.sleep(0)
            await reading
            assert rest == []
            with pytest.raises(ClientError, match="not open"):
                await enter(client)
            with pytest.raises(RuntimeError, match="used once"):
                await client.__aenter__()
            await client.close()

    run(test)


def test_a_client_closes_while_it_is_connecting_again() -> None:
    async def test() -> None:
        patient = ClientPolicy(
            first_wait_ns=10**12, longest_wait_ns=10**12, give_up_after_ns=10**13
        )
        async with (
            FakeGateway(FakeExchange()) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=patient) as client,
        ):
            await enter(client)
            await take(client, 1)
            gateway.drop()
            while client.is_open:
                await asyncio.sleep(0)
            assert await enter(client) == [2]
            assert client.unanswered_count == 1

    run(test)


def test_a_client_closes_though_the_gateway_does_not() -> None:
    async def test() -> None:
        hasty = ClientPolicy(close_timeout_ns=10_000_000)
        async with FakeGateway(FakeExchange()) as gateway:
            gateway.answers_log_outs = False
            async with Client(gateway.address, "ALICE", "secret", policy=hasty) as client:
                await enter(client)
            while gateway.connections:
                await asyncio.sleep(0)
            assert gateway.log_outs == 1

    run(test)


def test_a_log_in_that_the_user_does_not_wait_for_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with FakeGateway(FakeExchange()) as gateway:
            gateway.answers_log_ins = False
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), Client(gateway.address, "ALICE", "secret"):
                    raise AssertionError("logged in")
            assert len(gateway.log_ins) == 1
            while gateway.connections:
                await asyncio.sleep(0)

    run(test)


def test_entering_waits_while_the_gateway_takes_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    links: list[Link] = []

    class Observed(Link):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            links.append(self)
            super().connection_made(transport)

    monkeypatch.setattr("gateway.client.Link", Observed)

    async def test() -> None:
        async with (
            FakeGateway(FakeExchange()) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=POLICY) as client,
        ):
            await enter(client)
            links[0].pause_writing()  # as the transport does when its buffer is full
            waiting = asyncio.create_task(enter(client))
            assert await take(client, 1) == events(accepted(1))
            assert not waiting.done()
            links[0].resume_writing()
            assert await waiting == [2]

    run(test)


def test_arguments_that_fit_no_command_are_refused_before_anything_is_sent() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with (
            FakeGateway(exchange) as gateway,
            Client(gateway.address, "ALICE", "secret", policy=POLICY) as client,
        ):
            refused: list[Awaitable[object]] = [
                client.enter("", Side.BUY, 100),
                client.enter("AAPL", Side.BUY, -1),
                client.replace(7, 100),
                client.cancel(7),
                client.mass_cancel("A LONG NAME"),
            ]
            for command in refused:
                with pytest.raises(ValueError, match=r"symbol|quantity|user_ref_num|longer"):
                    await command
            assert await enter(client) == [1]
            assert await take(client, 1) == events(accepted(1))
        assert exchange.commands == [order(1)]

    run(test)


@pytest.mark.parametrize("addresses", ["", "nowhere", "host:port", [], ["127.0.0.1:1", "?"]])
def test_addresses_are_checked_at_once(addresses: str | list[str]) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(addresses, "ALICE", "secret")


def test_a_session_over_tls_is_refused_to_a_stranger() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)

    def trusting(known: trustme.CA) -> ssl.SSLContext:
        context = ssl.create_default_context()
        known.configure_trust(context)
        return context

    async def test() -> None:
        exchange = FakeExchange()
        async with FakeGateway(exchange, server_side) as gateway:
            async with Client(
                gateway.address, "ALICE", "secret", tls=trusting(authority), policy=POLICY
            ) as client:
                await enter(client)
                assert await take(client, 1) == events(accepted(1))
            with pytest.raises(ConnectionLost, match="certificate"):
                async with Client(
                    gateway.address, "ALICE", "secret", tls=trusting(stranger), policy=POLICY
                ):
                    raise AssertionError("logged in")
            assert len(gateway.log_ins) == 1

    run(test)
