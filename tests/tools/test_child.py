"""Child processes: ready, stopped, failed, killed, orphaned."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.tools.other_processes import until_gone, until_state
from tools import child
from tools.child import Child, ChildError
from tools.ports import free_addresses

WITHIN_S = 60


@pytest.fixture
def arguments() -> list[str]:
    """What starts a ZooKeeper server: the one process that needs no other."""
    return ["zookeeper", "--listen", str(free_addresses(1)[0])]


def run(situation: Callable[[], Awaitable[None]]) -> None:
    async def within_limits() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(within_limits())


def test_child_says_ready_and_its_summary_when_stopped(
    arguments: list[str], tmp_path: Path
) -> None:
    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        await server.until_ready()
        summary = await server.stop()
        assert summary == {"role": "zookeeper", "listen": arguments[-1]}
        assert await server.stop() == summary
        until_gone(server.process_id)
        assert "the embedded ZooKeeper serves" in server.last_log_lines()

    run(situation)


def test_child_that_can_not_start_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def situation() -> None:
        server = await Child.start("e1", ["replica", "-n", "e1", "-c", "/nowhere.toml"], tmp_path)
        with pytest.raises(ChildError) as raised:
            await server.until_ready()
        assert str(raised.value) == (
            "the process e1 ended with status 2 before it was ready. The end of its log:\n"
            "lockstep: /nowhere.toml: No such file or directory; give an existing file\n"
        )

    run(situation)


def test_child_that_is_not_ready_in_time_is_given_up(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "READY_WITHIN_S", 0.01)

    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        with pytest.raises(ChildError, match=r"was not ready, and(.|\n)*\n\(nothing\)"):
            await server.until_ready()
        with pytest.raises(ChildError, match="ended with status -15"):
            await server.stop()
        until_gone(server.process_id)

    run(situation)


def test_child_that_shows_life_is_waited_for(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def situation() -> None:
        nonlocal looks
        server = await Child.start("server", arguments, tmp_path)

        class Growing:
            """A log that is longer each time that somebody looks."""

            def stat(self) -> os.stat_result:
                nonlocal looks
                looks += 1
                return os.stat_result((0,) * 6 + (looks,) + (0,) * 3)

        log_path, server.log_path = server.log_path, Growing()  # type: ignore[assignment]
        await server.until_ready(patience_s=0.01)
        server.log_path = log_path
        await server.stop()

    run(situation)
    assert looks > 2


def test_latest_event_is_the_last_that_this_life_has_logged(
    arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "server.log").write_text("12:00:00.000000 [error    ] an earlier life\n")

    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        await server.until_ready()
        latest = server.latest_event()
        assert latest is not None
        assert latest.startswith("the embedded ZooKeeper serves this machine")
        assert server.latest_event("error") is None
        with server.log_path.open("a") as log_file:
            log_file.write("12:00:01.000000 [error    ] lost   why=x\n  traceback\n")
            log_file.write("12:00:01.000000 [info     ] found\n")
        assert (server.latest_event(), server.latest_event("error")) == ("found", "lost   why=x")
        assert "an earlier life" not in server.last_log_lines()
        await server.stop()

    run(situation)


def test_child_has_the_variables_and_descriptors_that_it_is_given(
    arguments: list[str], tmp_path: Path
) -> None:
    async def situation() -> None:
        with (tmp_path / "held").open("w") as held:
            server = await Child.start(
                "server",
                arguments,
                tmp_path,
                environment={"PLACE": "elsewhere"},
                inherit=[held.fileno()],
            )
        await server.until_ready()
        process = Path(f"/proc/{server.process_id}")
        assert b"PLACE=elsewhere" in (process / "environ").read_bytes()
        assert b"PATH=" in (process / "environ").read_bytes()
        assert tmp_path / "held" in [each.readlink() for each in (process / "fd").iterdir()]
        await server.stop()

    run(situation)


def test_child_that_dies_is_noticed(arguments: list[str], tmp_path: Path) -> None:
    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        await server.until_ready()
        watching = asyncio.ensure_future(server.watch())
        os.kill(server.process_id, signal.SIGKILL)
        with pytest.raises(ChildError, match="server ended by itself with status -9"):
            await watching
        with pytest.raises(ChildError, match="server ended with status -9"):
            await server.stop()

    run(situation)


def test_child_that_does_not_stop_in_time_is_killed(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "STOP_WITHIN_S", 0.2)

    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        await server.until_ready()
        os.kill(server.process_id, signal.SIGSTOP)
        with pytest.raises(ChildError, match="did not stop within 0 s and was killed"):
            await server.stop()
        until_gone(server.process_id)

    run(situation)


def test_child_that_is_killed_on_purpose_is_not_complained_of(
    arguments: list[str], tmp_path: Path
) -> None:
    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        await server.until_ready()
        watching = asyncio.ensure_future(server.watch())
        await server.kill()
        until_gone(server.process_id)
        await watching

    run(situation)


def test_paused_child_does_nothing_until_it_goes_on_and_can_be_stopped(
    arguments: list[str], tmp_path: Path
) -> None:
    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path)
        await server.until_ready()
        server.pause()
        until_state(server.process_id, "T")
        server.unpause()
        until_state(server.process_id, "S")
        server.pause()
        assert (await server.stop())["role"] == "zookeeper"

    run(situation)


def test_log_of_an_earlier_life_stays(arguments: list[str], tmp_path: Path) -> None:
    async def situation() -> None:
        for _ in range(2):
            server = await Child.start("server", arguments, tmp_path)
            await server.until_ready()
            await server.stop()
        assert server.log_path.read_text().count("the embedded ZooKeeper serves") == 2

    run(situation)


def test_prefix_becomes_the_command_that_follows_it(arguments: list[str], tmp_path: Path) -> None:
    async def situation() -> None:
        server = await Child.start("server", arguments, tmp_path, ["env", "PLACE=elsewhere"])
        await server.until_ready()
        environment = Path(f"/proc/{server.process_id}/environ").read_bytes()
        assert b"PLACE=elsewhere" in environment
        await server.kill()
        until_gone(server.process_id)

    run(situation)


def test_child_ends_when_its_parent_is_killed(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tools.child import Child\n"
        "async def parent():\n"
        "    server = await Child.start('server', sys.argv[2:], Path(sys.argv[1]))\n"
        "    await server.until_ready()\n"
        "    print(server.process_id, flush=True)\n"
        "    await server.watch()\n"
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
    assert "the parent is gone" in (tmp_path / "server.log").read_text()
