"""`lockstep subscribe`, from another process, against an exchange and against a broken feed."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from engine.settings import InstrumentSettings, ReplicaSettings
from feed.codec import PacketHeader, encode_frame, encode_group, encode_packet
from feed.datagrams import decode_repair, encode_repair
from feed.messages import DefineInstrument, Epoch, ShortSale, holder_field
from feed.multicast import FeedSender
from feed.replay import SourceSnapshot
from feed.replay_port import ReplayPort
from feed.schema import RepairKind
from feed.settings import Address, FeedSettings
from tests.feed.lists import SYMBOL, frames_up_to, group_frames
from tests.feed.replays import Source, snapshot_of
from tests.tools.terminal import Terminal
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import ExitStatus, UsageError
from tools.layout import Layout, Transport
from tools.ports import free_addresses
from tools.processes import Exchange
from zk.settings import ZooKeeperSettings

WITHIN_S = 90
EPOCH = Epoch(1, holder_field("e1"))
LISTED = DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)
SYMBOLS = [InstrumentSettings(symbol="AAPL"), InstrumentSettings(symbol="MSFT")]


def run(situation: Callable[[], Awaitable[None]]) -> None:
    async def within_limits() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(within_limits())


@asynccontextmanager
async def solo() -> AsyncIterator[Exchange]:
    """A primary that has listed two instruments, and no other holder."""
    async with Exchange(clients={}, symbols=SYMBOLS, gateways=0, retransmitters=0) as exchange:
        yield exchange


async def subscribe(
    configuration: Path, *arguments: str, status: ExitStatus = ExitStatus.OK
) -> tuple[list[str], str]:
    """The lines on stdout, and stderr, of `lockstep subscribe`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.cli", "subscribe", "-c", str(configuration), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == status, err.decode()
    return out.decode().splitlines(), err.decode()


def test_frames_from_the_start_are_printed_as_text_and_as_json() -> None:
    async def situation() -> None:
        async with solo() as exchange:
            text, as_json = await asyncio.gather(
                subscribe(exchange.configuration_path, "--frames", "3"),
                subscribe(exchange.configuration_path, "--frames", "2", "--json"),
            )
        types = [line.split()[2] for line in text[0]]
        assert types == ["EPOCH", "DEFINE_INSTRUMENT", "DEFINE_INSTRUMENT"]
        frames = [json.loads(line) for line in as_json[0]]
        assert [frame["sequence"] for frame in frames] == [1, 2]
        assert frames[1]["symbol"] == "AAPL"

    run(situation)


def test_live_subscriber_begins_with_what_comes_next() -> None:
    async def situation() -> None:
        async with solo() as exchange:
            path = exchange.configuration_path
            subscribing = asyncio.ensure_future(subscribe(path, "--live", "--frames", "1"))
            while not subscribing.done():
                await exchange.ask("e1", {"request": "halt", "symbol": "AAPL"})
                await asyncio.wait({subscribing}, timeout=0.1)
            (line,), _ = subscribing.result()
            assert line.split()[2:] == ["SET_TRADING_STATE", "symbol=AAPL", "state=HALTED"]
            assert int(line.split()[0]) > 3

    run(situation)


def test_subscriber_ends_well_when_its_reader_has_enough() -> None:
    async def situation() -> None:
        async with solo() as exchange:
            reading, writing = os.pipe()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tools.cli", "subscribe"),
                *("-c", str(exchange.configuration_path)),
                stdout=writing,
                stderr=asyncio.subprocess.PIPE,
            )
            os.close(writing)
            await asyncio.to_thread(os.read, reading, 1)
            os.close(reading)
            _, err = await process.communicate()
            assert (process.returncode, err) == (ExitStatus.OK, b"")

    run(situation)


class DenyingRetransmitter(asyncio.DatagramProtocol):
    """Says of everything that it does not hold it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = decode_repair(data)._replace(kind=RepairKind.MISSING)
        self._transport.sendto(encode_repair(answer), addr)


def configured(tmp_path: Path) -> tuple[Configuration, Path, Address]:
    """An exchange of one replica that a test plays, where that is written, and who may listen."""
    commands, repair, replication, control, receive, own = free_addresses(6)
    path = tmp_path / "exchange.toml"
    configuration = Configuration(
        exchange="TEST",
        feed=FeedSettings(transport="unicast", receivers=(receive, own)),
        instruments=(SYMBOLS[0],),
        replicas={
            "e1": ReplicaSettings(
                repair=repair,
                replication=replication,
                receive=receive,
                commands=commands,
                control=control,
            )
        },
    )
    configuration.save(path)
    return configuration, path, own


def test_gap_that_nobody_can_fill_ends_with_status_1_and_says_which(tmp_path: Path) -> None:
    configuration, path, own = configured(tmp_path)
    repair = configuration.replicas["e1"].repair
    second = encode_packet(PacketHeader(0, 1, 1, 2, 2), [encode_frame(EPOCH, 2, 0, end=True)])

    async def situation() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(DenyingRetransmitter, local_addr=repair)
        sender = FeedSender(configuration.feed)
        subscribing = asyncio.ensure_future(
            subscribe(path, "--receive", str(own), status=ExitStatus.FAILED)
        )
        try:
            while not subscribing.done():
                sender.send([second])
                await asyncio.wait({subscribing}, timeout=0.05)
        finally:
            sender.close()
            transport.close()
        printed, error = subscribing.result()
        assert printed == []
        *logged, error = error.splitlines()
        assert error == "lockstep: frames 1 to 1 can't be had: retransmitter 1 does not hold it"
        assert all("a replay failed" in line for line in logged)  # nobody listens there for those

    run(situation)


def test_who_comes_in_mid_day_is_told_where_it_begins_and_gets_all_that_follows(
    tmp_path: Path,
) -> None:
    configuration, path, own = configured(tmp_path)
    frames = frames_up_to(50)
    source = Source(frames, first_sequence=40)
    source.day = source.newest = SourceSnapshot(45, lambda: [snapshot_of(frames, 45)])

    async def situation() -> None:
        port = ReplayPort(configuration.replicas["e1"].repair, source)
        port.start()
        try:
            printed, told = await subscribe(path, "--receive", str(own), "--frames", "5")
        finally:
            await port.stop()
        assert [int(line.split()[0]) for line in printed] == [46, 47, 48, 49, 50]
        assert told == ("lockstep: begins after frame 45, with a snapshot of what came before\n")

    run(situation)


def test_live_book_is_drawn_and_the_terminal_given_back_as_it_was() -> None:
    async def situation() -> None:
        async with solo() as exchange:
            path = str(exchange.configuration_path)
            await asyncio.to_thread(look_at_books, ["subscribe", "-c", path, "--book"])

    run(situation)


def look_at_books(arguments: list[str]) -> None:
    with Terminal(arguments) as terminal:
        terminal.until("\x1b[?1049h")  # the other screen
        terminal.until("sequence 3 ")
        for text in ("LOCKSTEP DEMO", "AAPL", "MSFT", "tape"):
            assert text.encode() in terminal.output
        assert terminal.modes() != terminal.modes_before  # single keys, without echo
        terminal.press("xq")
        assert terminal.until_end() == ExitStatus.OK
        assert terminal.modes() == terminal.modes_before
        assert terminal.output.index(b"\x1b[?1049l") > terminal.output.rindex(b"LOCKSTEP DEMO")
        assert terminal.output.endswith(b"\x1b[?25h\x1b[?1049l")  # cursor and shell are back


def test_frames_of_several_shards_name_their_shard(tmp_path: Path) -> None:
    layout = Layout(["e1", "e2"], [], [], shards=2, transport=Transport.UNICAST)
    zookeeper = ZooKeeperSettings()
    configuration, own = layout.configuration("TEST", SYMBOLS, zookeeper, Path("clients.toml"))
    path = tmp_path / "exchange.toml"
    configuration.save(path)
    receive = [word for shard in own for word in ("--receive", f"{shard}={own[shard]}")]

    async def situation() -> None:
        ports = []
        for shard, view in configuration.by_shard().items():
            listed = encode_group([LISTED], 1, 0)
            orders = [frame for each in range(2, 2 * shard + 1) for frame in group_frames(each)]
            source = Source([*listed, *orders], shard=shard)
            (replica,) = view.replicas.values()
            ports.append(ReplayPort(replica.repair, source))
            ports[-1].start()
        try:
            # One after the other: they listen at the same addresses.
            text = await subscribe(path, *receive, "--frames", "6")
            as_json = await subscribe(path, *receive, "--frames", "6", "--json")
            alone = await subscribe(path, *receive[2:], "--frames", "4", "--shard", "2")
        finally:
            for port in ports:
                await port.stop()
        places = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4)]
        assert sorted(tuple(map(int, line.split()[:2])) for line in text[0]) == places
        told = [json.loads(line) for line in as_json[0]]
        assert sorted((frame["shard"], frame["sequence"]) for frame in told) == places
        assert [int(line.split()[0]) for line in alone[0]] == [1, 2, 3, 4]

    run(situation)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the feed of shard 1 comes by unicast: give --receive 1=, one of"),
        (["--receive", "1=127.0.0.1:1"], "the feed of shard 2 comes by unicast"),
        (["--receive", "127.0.0.1:1"], "'127.0.0.1:1': write it as N=HOST:PORT"),
        (["--receive", "1=here"], "--receive: 'here' is not an address"),
        (["--shard", "3"], "the exchange has no shard 3"),
        (["--shard", "2"], "the feed comes by unicast: give --receive, one of"),
    ],
)
def test_each_shard_that_comes_by_unicast_needs_an_address(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    layout = Layout(["e1", "e2"], [], [], shards=2, transport=Transport.UNICAST)
    zookeeper = ZooKeeperSettings()
    configuration, _ = layout.configuration("TEST", SYMBOLS, zookeeper, Path("clients.toml"))
    path = tmp_path / "exchange.toml"
    configuration.save(path)
    words = ["subscribe", "-c", str(path), *arguments]
    result = CliRunner().invoke(build_app(["subscribe"]), words)
    assert isinstance(result.exception, UsageError), result.output
    assert text in str(result.exception)


@pytest.mark.parametrize(
    ("transport", "arguments", "text"),
    [
        ("multicast", ["--book", "--json"], "leave off --json, --live and --frames"),
        ("multicast", ["--book", "--frames", "3"], "leave off --json, --live and --frames"),
        ("multicast", ["--book", "--live"], "leave off --json, --live and --frames"),
        ("multicast", ["--faults", "drop=x"], "--faults: 'drop=x': write a percentage"),
        ("multicast", ["--receive", "127.0.0.1:1"], "leave it off"),
        ("multicast", ["--book"], "there is no terminal to draw on; leave off --book"),
        ("unicast", [], "give --receive, one of 127.0.0.1:30400"),
        ("unicast", ["--receive", "here"], "--receive: 'here' is not an address"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, transport: str, arguments: list[str], text: str
) -> None:
    path = tmp_path / "exchange.toml"
    receive = 'receive = "127.0.0.1:30400"\n' if transport == "unicast" else ""
    path.write_text(
        'exchange = "TEST"\n'
        f'[feed]\ntransport = "{transport}"\nreceivers = ["127.0.0.1:30400"]\n'
        '[replicas.e1]\ncommands = "127.0.0.1:30100"\nrepair = "127.0.0.1:30101"\n'
        f'control = "127.0.0.1:30102"\nreplication = "127.0.0.1:30103"\n{receive}'
        '[[instruments]]\nsymbol = "AAPL"\n'
    )
    words = ["subscribe", "-c", str(path), *arguments]
    result = CliRunner().invoke(build_app(["subscribe"]), words)
    assert isinstance(result.exception, UsageError), result.output
    assert text in str(result.exception)
