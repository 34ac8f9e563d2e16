"""A replica's process on real sockets: commands over TCP, frames over multicast, NAKs, control."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest

from engine.control import ControlError, ask
from engine.process import ReplicaProcess
from engine.replica import State
from engine.settings import InstrumentSettings, ReplicaSettings
from feed.codec import Frame, decode_packet
from feed.datagrams import (
    DECISION_BYTES,
    Decision,
    Repair,
    Submission,
    encode_repair,
    encode_submission,
    take_decisions,
)
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    Capacity,
    DefineInstrument,
    EnterOrder,
    Epoch,
    LogIn,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
    holder_field,
)
from feed.multicast import open_receiver, open_unicast
from feed.schema import RepairKind
from feed.settings import Address, FailoverSettings, FeedSettings, ShardSettings
from tools.ports import free_addresses, free_group
from zk.embedded import EmbeddedServer
from zk.settings import ZooKeeperSettings

LOGIN = 5
ANY = Address("127.0.0.1", 0)
ORDER = EnterOrder(
    1,
    1,
    b"ACME    ",
    Side.BUY,
    OrderType.LIMIT,
    TimeInForce.DAY,
    PostOnly.NO,
    10,
    10_000,
    0,
    Capacity.AGENCY,
    NO_CLIENT_ORDER_ID,
)


class Running:
    """A replica that is its shard's only holder, on free ports, and a receiver of its feed."""

    def __init__(self, zookeeper: ZooKeeperSettings) -> None:
        feed, commands, control, repair, replication = free_addresses(5)
        self.feed = FeedSettings(group=free_group(), port=feed.port)
        self.settings = ReplicaSettings(
            commands=commands, control=control, repair=repair, replication=replication
        )
        self.receiver = open_receiver(self.feed)
        self.ended = asyncio.Event()
        self.process = ReplicaProcess(
            "e1",
            "DEMO",
            ShardSettings(self.feed, FailoverSettings(), {"e1": self.settings}, {}),
            zookeeper,
            self.settings,
            [InstrumentSettings(symbol="ACME", short_sale=False)],
        )

    @property
    def sequence(self) -> int:
        """How long the list is."""
        return self.process.replica.sequence

    async def frames(self, count: int) -> list[Frame]:
        """The next `count` frames from the feed."""
        loop = asyncio.get_running_loop()
        frames: list[Frame] = []
        while len(frames) < count:
            frames += decode_packet(await loop.sock_recv(self.receiver, 2048)).frames
        return frames


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    """A replica that leads in epoch 1, with its instrument listed."""
    server = EmbeddedServer(ANY)
    await server.start()
    host, port = server.address
    exchange = Running(ZooKeeperSettings(hosts=f"{host}:{port}"))
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(exchange.process.run(stop, ready.set))
    task.add_done_callback(lambda _: exchange.ended.set())
    try:
        async with asyncio.timeout(20):
            while exchange.process.replica.state is not State.PRIMARY:
                assert not task.done(), task.exception()
                await asyncio.sleep(0.005)
            yield exchange
    finally:
        stop.set()
        exchange.receiver.close()
        try:
            await task
        finally:
            await server.stop()


def run(scenario: Callable[[Running], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running() as exchange:
            await scenario(exchange)

    asyncio.run(main())


def test_commands_over_tcp_become_frames_on_the_feed_and_are_decided() -> None:
    async def scenario(exchange: Running) -> None:
        reader, writer = await asyncio.open_connection(*exchange.settings.commands)
        login = LogIn(1, LOGIN, SelfTradePrevention.OFF)
        writer.write(encode_submission(Submission(LOGIN, login)))
        writer.write(encode_submission(Submission(LOGIN, ORDER)) * 2)  # the second is a repeat
        frames = await exchange.frames(4)
        assert [frame.message() for frame in frames] == [
            Epoch(1, holder_field("e1")),
            DefineInstrument(b"ACME    ", 100, 1, ShortSale.FORBIDDEN),
            login,
            ORDER,
        ]
        assert [frame.sequence for frame in frames] == [1, 2, 3, 4]
        decisions: list[Decision] = []
        while not decisions or decisions[-1].submission < 3:
            decisions += take_decisions(bytearray(await reader.readexactly(DECISION_BYTES)))
        assert decisions[-1] == (1, 3, 4)
        writer.close()
        await writer.wait_closed()

    run(scenario)


def test_bytes_that_are_no_submission_close_that_connection_and_no_other() -> None:
    async def scenario(exchange: Running) -> None:
        good_reader, good = await asyncio.open_connection(*exchange.settings.commands)
        bad_reader, bad = await asyncio.open_connection(*exchange.settings.commands)
        bad.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await bad_reader.read() == b""
        good.write(encode_submission(Submission(9, LogIn(1, 9, SelfTradePrevention.OFF))))
        assert len(await good_reader.readexactly(DECISION_BYTES)) == DECISION_BYTES
        assert exchange.process.summary()["bad_submissions"] == 1
        assert exchange.sequence == 3
        for writer in (good, bad):
            writer.close()
            await writer.wait_closed()

    run(scenario)


def test_nak_is_answered_and_garbage_on_the_nak_port_is_not() -> None:
    async def scenario(exchange: Running) -> None:
        sent = await exchange.frames(2)
        loop = asyncio.get_running_loop()
        with open_unicast(ANY) as asker:
            for data in (b"", b"\x00" * 40, b"LR" + b"\xff" * 28):
                await loop.sock_sendto(asker, data, exchange.settings.repair)
            nak = encode_repair(Repair(RepairKind.NAK, exchange.feed.shard, 1, 1, 2))
            await loop.sock_sendto(asker, nak, exchange.settings.repair)
            assert list(decode_packet(await loop.sock_recv(asker, 2048)).frames) == sent

    run(scenario)


def test_operator_sees_the_status_and_halts_and_resumes() -> None:
    async def scenario(exchange: Running) -> None:
        control = exchange.settings.control
        await exchange.frames(2)
        before = await ask(control, {"request": "status"})
        assert (before["sequence"], before["epoch"], before["live_orders"]) == (2, 1, 0)
        halted = await ask(control, {"request": "halt", "symbol": "ACME"})
        assert halted == {"symbol": "ACME", "state": "HALTED", "sequence": 3}
        resumed = await ask(control, {"request": "resume", "symbol": "ACME"})
        assert resumed == {"symbol": "ACME", "state": "TRADING", "sequence": 4}
        assert [frame.message() for frame in await exchange.frames(2)] == [
            SetTradingState(b"ACME    ", TradingState.HALTED),
            SetTradingState(b"ACME    ", TradingState.TRADING),
        ]

    run(scenario)


@pytest.mark.parametrize(
    ("request_line", "complaint"),
    [
        ({"request": "halt", "symbol": "NOPE"}, "NOPE is not listed here"),
        ({"request": "halt", "symbol": "much too long"}, "longer than 8"),
        ({"request": "fly"}, "known requests"),
        ({"request": "halt", "symbol": 7}, "known requests"),
        ({}, "known requests"),
    ],
)
def test_operator_is_told_what_is_wrong_with_a_request(
    request_line: dict[str, object], complaint: str
) -> None:
    async def scenario(exchange: Running) -> None:
        with pytest.raises(ControlError, match=complaint):
            await ask(exchange.settings.control, request_line)
        assert exchange.sequence == 2

    run(scenario)


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b"\xff\xfe\n", b"[" * 60_000 + b"\n"])
def test_garbage_on_the_control_port_is_refused(line: bytes) -> None:
    async def scenario(exchange: Running) -> None:
        reader, writer = await asyncio.open_connection(*exchange.settings.control)
        writer.write(line)
        assert b"error" in await reader.readline()
        writer.close()
        await writer.wait_closed()

    run(scenario)


def test_endless_line_on_the_control_port_ends_that_connection() -> None:
    async def scenario(exchange: Running) -> None:
        reader, writer = await asyncio.open_connection(*exchange.settings.control)
        writer.write(b"x" * 200_000)
        with suppress(ConnectionResetError):  # what was not read makes the end a reset
            assert await reader.read() == b""
        writer.close()
        assert (await ask(exchange.settings.control, {"request": "status"}))["sequence"] == 2

    run(scenario)


def test_asking_where_no_replica_is_says_so() -> None:
    with pytest.raises(ControlError, match="no answer from a replica"):
        asyncio.run(ask(free_addresses(1)[0], {"request": "status"}))


def test_idle_primary_keeps_sending_heartbeats() -> None:
    async def scenario(exchange: Running) -> None:
        await exchange.frames(2)
        loop = asyncio.get_running_loop()
        for _ in range(3):
            header, frames = decode_packet(await loop.sock_recv(exchange.receiver, 2048))
            assert (header.first_sequence, frames) == (3, ())

    run(scenario)


def test_taken_address_is_an_error_and_leaves_nothing_open() -> None:
    async def main() -> None:
        exchange = Running(ZooKeeperSettings(hosts=str(free_addresses(1)[0])))
        with socket.socket() as taken:
            taken.bind(exchange.settings.control)
            taken.listen()
            with pytest.raises(OSError, match="address already in use"):
                await exchange.process.run(asyncio.Event(), lambda: None)
        exchange.receiver.close()

    asyncio.run(main())


def test_gateway_that_comes_to_a_backup_is_turned_away() -> None:
    async def main() -> None:
        exchange = Running(
            ZooKeeperSettings(hosts=str(free_addresses(1)[0]))
        )  # nobody grants an epoch
        stop, ready = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(exchange.process.run(stop, ready.set))
        try:
            async with asyncio.timeout(20):
                await ready.wait()
                reader, writer = await asyncio.open_connection(*exchange.settings.commands)
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
                with suppress(ConnectionResetError):
                    await writer.wait_closed()
                request = {"request": "halt", "symbol": "ACME"}
                with pytest.raises(ControlError, match="e1 is not the primary"):
                    await ask(exchange.settings.control, request)
        finally:
            stop.set()
            await task
            exchange.receiver.close()

    asyncio.run(main())


def test_machine_that_breaks_ends_the_process_so_that_a_backup_can_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("quantities do not add up")

    async def scenario(exchange: Running) -> None:
        primary = exchange.process.replica.primary
        monkeypatch.setattr(primary, "machine", SimpleNamespace(submit=broken))
        _, writer = await asyncio.open_connection(*exchange.settings.commands)
        writer.write(encode_submission(Submission(9, LogIn(1, 9, SelfTradePrevention.OFF))))
        with suppress(ConnectionResetError):
            writer.close()
            await writer.wait_closed()
        await exchange.ended.wait()

    with pytest.raises(AssertionError, match="do not add up"):
        run(scenario)
