"""Child processes: ready, stopped, failed, killed, orphaned."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.settings import EngineSettings, InstrumentSettings
from feed.settings import FeedSettings
from tests.tools.other_processes import until_gone
from tools import child
from tools.child import Child, ChildError
from tools.configuration import Configuration
from tools.ports import free_addresses, free_group

WITHIN_S = 60


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """What starts an engine."""
    commands, repair, control, port = free_addresses(4)
    path = tmp_path / "exchange.toml"
    Configuration(
        exchange="TEST",
        feed=FeedSettings(group=free_group(), port=port.port),
        engine=EngineSettings(commands=commands, repair=repair, control=control),
        instruments=(InstrumentSettings(symbol="AAPL"),),
    ).save(path)
    return ["engine", "-c", str(path)]


def run(situation: Callable[[], Awaitable[None]]) -> None:
    async def within_limits() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(within_limits())


def test_child_says_ready_and_its_summary_when_stopped(
    arguments: list[str], tmp_path: Path
) -> None:
    async def situation() -> None:
        engine = await Child.start("engine", arguments, tmp_path)
        await engine.until_ready()
        summary = await engine.stop()
        assert (summary["role"], summary["commands"]) == ("engine", 2)
        assert await engine.stop() == summary
        until_gone(engine.process_id)
        assert "engine ready" in engine.last_log_lines()

    run(situation)


def test_child_that_can_not_start_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def situation() -> None:
        engine = await Child.start("engine", ["engine", "-c", "/nowhere.toml"], tmp_path)
        with pytest.raises(ChildError) as raised:
            await engine.until_ready()
        assert str(raised.value) == (
            "the process engine ended with status 2 before it was ready. The end of its log:\n"
            "lockstep: /nowhere.toml: No such file or directory; give an existing file\n"
        )

    run(situation)


def test_child_that_is_not_ready_in_time_is_given_up(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "READY_WITHIN_S", 0.01)

    async def situation() -> None:
        engine = await Child.start("engine", arguments, tmp_path)
        with pytest.raises(ChildError, match=r"was not ready within 0 s.*\n\(nothing\)"):
            await engine.until_ready()
        with pytest.raises(ChildError, match="ended with status -15"):
            await engine.stop()
        until_gone(engine.process_id)

    run(situation)


def test_child_that_dies_is_noticed(arguments: list[str], tmp_path: Path) -> None:
    async def situation() -> None:
        engine = await Child.start("engine", arguments, tmp_path)
        await engine.until_ready()
        watching = asyncio.ensure_future(engine.watch())
        os.kill(engine.process_id, signal.SIGKILL)
        with pytest.raises(ChildError, match="engine ended by itself with status -9"):
            await watching
        with pytest.raises(ChildError, match="engine ended with status -9"):
            await engine.stop()

    run(situation)


def test_child_that_does_not_stop_in_time_is_killed(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "STOP_WITHIN_S", 0.2)

    async def situation() -> None:
        engine = await Child.start("engine", arguments, tmp_path)
        await engine.until_ready()
        os.kill(engine.process_id, signal.SIGSTOP)
        with pytest.raises(ChildError, match="did not stop within 0 s and was killed"):
            await engine.stop()
        until_gone(engine.process_id)

    run(situation)


def test_child_ends_when_its_parent_is_killed(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tools.child import Child\n"
        "async def parent():\n"
        "    engine = await Child.start('engine', sys.argv[2:], Path(sys.argv[1]))\n"
        "    await engine.until_ready()\n"
        "    print(engine.process_id, flush=True)\n"
        "    await engine.watch()\n"
        "asyncio.run(parent())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        process_id = int(parent.stdout.readline())
        parent.kill()
    until_gone(process_id)
    assert "the parent is gone" in (tmp_path / "engine.log").read_text()
