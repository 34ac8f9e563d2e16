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
from feed.codec import PacketHeader, encode_frame, encode_packet
from feed.datagrams import decode_repair, encode_repair
from feed.messages import Epoch, holder_field
from feed.multicast import FeedSender
from feed.schema import RepairKind
from feed.settings import FeedSettings
from tests.tools.terminal import Terminal
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import ExitStatus, UsageError
from tools.ports import free_addresses
from tools.processes import Exchange

WITHIN_S = 90
EPOCH = Epoch(1, holder_field("e1"))
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


def test_gap_that_nobody_can_fill_ends_with_status_1_and_says_which(tmp_path: Path) -> None:
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
        assert error == ("lockstep: frames 1 to 1 can't be had: retransmitter 1 does not hold it\n")

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


@pytest.mark.parametrize(
    ("transport", "arguments", "text"),
    [
        ("multicast", ["--book", "--json"], "leave off --json, --live and --frames"),
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
