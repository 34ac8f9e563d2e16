"""status, halt and resume, asked of an engine that runs and of one that does not."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.settings import EngineSettings, InstrumentSettings
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import CommandError
from tools.ports import free_addresses
from tools.processes import Exchange

WITHIN_S = 60


def lockstep(configuration: Path, *words: str) -> str:
    """What a command prints that ends well; raises what it refuses with."""
    arguments = [*words, "-c", str(configuration)]
    result = CliRunner().invoke(build_app(words[:1]), arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_instrument_is_halted_resumed_and_the_status_counts_both() -> None:
    async def situation() -> None:
        async with (
            asyncio.timeout(WITHIN_S),
            Exchange(
                clients={},
                symbols=[InstrumentSettings(symbol="AAPL")],
                gateways=0,
                retransmitters=0,
            ) as exchange,
        ):
            path = exchange.configuration_path
            halted = await asyncio.to_thread(lockstep, path, "halt", "AAPL", "--json")
            assert json.loads(halted) == {"symbol": "AAPL", "state": "HALTED", "sequence": 3}
            resumed = await asyncio.to_thread(lockstep, path, "resume", "AAPL")
            assert resumed.split() == ["symbol", "AAPL", "state", "TRADING", "sequence", "4"]
            status = await asyncio.to_thread(lockstep, path, "status", "--json")
            assert json.loads(status) == await exchange.status()
            assert json.loads(status)["sequence"] == 4
            with pytest.raises(CommandError, match="MSFT is not listed here"):
                await asyncio.to_thread(lockstep, path, "halt", "MSFT")

    asyncio.run(situation())


def test_engine_that_does_not_run_is_told_with_a_hint(tmp_path: Path) -> None:
    commands, repair, control = free_addresses(3)
    path = tmp_path / "exchange.toml"
    Configuration(
        exchange="TEST",
        engine=EngineSettings(commands=commands, repair=repair, control=control),
        instruments=(InstrumentSettings(symbol="AAPL"),),
    ).save(path)
    with pytest.raises(CommandError, match=rf"at {control}.*; is it running, with this config"):
        lockstep(path, "status")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gateway", "--name", "g9"], r"--name g9: no section \[gateways.g9\] \(there is: none\)"),
        (["retransmitter", "--name", "r9"], r"no section \[retransmitters.r9\] \(there is: r1\)"),
        (["retransmitter", "--name", "r1", "--faults", "lose=5"], "--faults: 'lose=5'"),
    ],
)
def test_role_that_the_configuration_does_not_have_is_refused(
    tmp_path: Path, words: list[str], text: str
) -> None:
    path = tmp_path / "exchange.toml"
    path.write_text(
        'exchange = "TEST"\n'
        '[engine]\ncommands = "127.0.0.1:30100"\nrepair = "127.0.0.1:30101"\n'
        'control = "127.0.0.1:30102"\n'
        '[[instruments]]\nsymbol = "AAPL"\n'
        '[retransmitters.r1]\nrepair = "127.0.0.1:30111"\n'
    )
    with pytest.raises(CommandError, match=text):
        lockstep(path, *words)
