"""Apache's servers as the launcher runs them: they serve, die, come back, and leave nothing."""

import asyncio
import gc
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]

from tests.tools.other_processes import until_gone
from tools import apache
from tools.apache import ApacheZooKeeper
from tools.console import CommandError

PATIENCE_S = 60.0


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scenario()

    asyncio.run(limited())
    gc.collect()  # a socket or process left open would warn here


def write(hosts: str, path: str) -> None:
    client = KazooClient(hosts=hosts, timeout=PATIENCE_S)
    client.start()
    client.retry(client.create, path, b"written")
    client.stop()
    client.close()


def read(hosts: str, path: str) -> bytes:
    client = KazooClient(hosts=hosts, timeout=PATIENCE_S)
    client.start()
    client.retry(client.sync, path)
    data: bytes = client.retry(client.get, path)[0]
    client.stop()
    client.close()
    return data


def test_one_server_serves_leads_and_comes_back_with_its_data(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ApacheZooKeeper(1, tmp_path) as zookeeper:
            assert await zookeeper.leader() == 0
            await asyncio.to_thread(write, zookeeper.hosts, "/node")
            (process_id,) = zookeeper.process_ids.values()
            zookeeper.kill(0)
            until_gone(process_id)
            await zookeeper.restart(0)
            assert await asyncio.to_thread(read, zookeeper.hosts, "/node") == b"written"
            (process_id,) = zookeeper.process_ids.values()
        until_gone(process_id)
        assert zookeeper.process_ids == {}
        await zookeeper.start()
        assert await asyncio.to_thread(read, zookeeper.hosts, "/node") == b"written"
        await zookeeper.stop()

    run(scenario)


def test_an_ensemble_goes_on_without_its_leader_and_takes_it_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ApacheZooKeeper(3, tmp_path, sync=False) as zookeeper:
            assert len(zookeeper.hosts.split(",")) == 3
            first = await zookeeper.leader()
            await asyncio.to_thread(write, zookeeper.hosts, "/before")
            zookeeper.kill(first)
            second = await zookeeper.leader()
            assert second != first
            await asyncio.to_thread(write, zookeeper.hosts, "/after")
            await zookeeper.restart(first)
            assert await zookeeper.leader() == second
            host, port = zookeeper.addresses[first]
            assert await asyncio.to_thread(read, f"{host}:{port}", "/after") == b"written"
            # Paused, the leader is as good as dead; when it wakes, it follows the other.
            zookeeper.pause(second)
            third = await zookeeper.leader()
            assert third != second
            zookeeper.resume(second)
            await asyncio.to_thread(write, zookeeper.hosts, "/woken")
            assert await zookeeper.leader() == third
            zookeeper.pause(second)  # a paused server is stopped like the others
            process_ids = list(zookeeper.process_ids.values())
        for process_id in process_ids:
            until_gone(process_id)

    run(scenario)


def test_servers_end_with_whoever_started_them(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys, time\n"
        "from tools.apache import ApacheZooKeeper\n"
        "zookeeper = ApacheZooKeeper(1, pathlib.Path(sys.argv[1]))\n"
        "asyncio.run(zookeeper.start())\n"
        "print(zookeeper.process_ids[0], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(apache.__file__).parent.parent,
    ) as starter:
        assert starter.stdout is not None
        process_id = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    until_gone(process_id)


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        zookeeper = ApacheZooKeeper(1, tmp_path)
        with (
            socket.create_server(zookeeper.addresses[0]),
            pytest.raises(CommandError, match="Address already in use"),
        ):
            await zookeeper.start()
        assert zookeeper.process_ids == {}

    run(scenario)


def test_without_java_it_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="apt-get install default-jre-headless"):
        ApacheZooKeeper(1, tmp_path)


def test_without_the_jars_it_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shutil.which("java")
    monkeypatch.setattr(apache, "_JARS", (tmp_path / "missing.jar",))
    with pytest.raises(CommandError, match="apt-get install zookeeper"):
        ApacheZooKeeper(1, tmp_path)


@pytest.mark.parametrize("servers", [0, 2, 4])
def test_other_numbers_of_servers_are_refused(tmp_path: Path, servers: int) -> None:
    with pytest.raises(ValueError, match="one, or an ensemble of three"):
        ApacheZooKeeper(servers, tmp_path)


async def lose_leader(zookeeper: ApacheZooKeeper) -> None:
    """The leader says that it leads until it has noticed that nobody follows."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_S:
        await zookeeper.leader()


def test_no_leader_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with ApacheZooKeeper(3, tmp_path, sync=False) as zookeeper:
            monkeypatch.setattr(apache, "READY_WITHIN_S", 1.0)
            leader = await zookeeper.leader()
            for server in {0, 1, 2} - {leader}:
                zookeeper.kill(server)
            with pytest.raises(CommandError, match="has no leader"):
                await lose_leader(zookeeper)

    run(scenario)
