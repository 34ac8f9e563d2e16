"""`lockstep run`: an exchange is brought up, stopped, and brought back as it was."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from engine.settings import InstrumentSettings
from feed.settings import JournalSettings
from tests.tools.other_processes import processes_with
from tools.console import ExitStatus
from tools.layout import Layout
from tools.ports import free_addresses
from zk.settings import ZooKeeperSettings

WITHIN_S = 60


def write_exchange(folder: Path) -> Path:
    """The configuration of the smallest exchange that takes orders."""
    (folder / "clients.toml").touch()
    layout = Layout(["e1"], [], ["g1"], journal=JournalSettings(folder=Path("journal")))
    configuration, _ = layout.configuration(
        "TEST",
        [InstrumentSettings(symbol="AAPL")],
        ZooKeeperSettings(hosts=str(free_addresses(1)[0])),
        Path("clients.toml"),
    )
    path = folder / "exchange.toml"
    configuration.save(path)
    return path


@contextmanager
def running(path: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A run, and what it tells."""
    command = [sys.executable, "-m", "tools.cli", "run", "-c", str(path), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr
        finally:
            process.terminate()


def until(lines: IO[str], words: str) -> list[str]:
    """What is told up to the line with these words."""
    told = []
    for line in lines:
        told.append(line.rstrip())
        if words in line:
            return told
    raise AssertionError(f"{words!r} was never told, but {told}")


def run_and_stop(path: Path) -> tuple[list[str], dict[str, Any]]:
    """What a run tells until somebody leads, and its summary."""
    with running(path) as (process, lines):
        told = until(lines, "e1 is primary in epoch")
        process.send_signal(signal.SIGTERM)
        summary, errors = process.communicate(timeout=WITHIN_S)
        assert process.returncode == ExitStatus.OK, errors
    result = json.loads(summary)
    assert isinstance(result, dict)
    return told, result


def test_exchange_that_was_stopped_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = write_exchange(tmp_path)
    told, first = run_and_stop(path)
    assert "an embedded ZooKeeper is started there" in told[0]
    assert told[1].startswith("starting zookeeper, e1, g1; their logs are in ")
    assert (first["zookeeper"], first["primary"], first["epoch"]) == ("embedded", "e1", 1)
    assert (first["restarts"], first["given_up"], first["failures"]) == ({}, [], [])
    assert processes_with(str(tmp_path)) == []

    _, second = run_and_stop(path)
    assert second["epoch"] == 2
    assert second["sequence"] == first["sequence"] + 1  # the EPOCH frame alone is new
    assert second["processes"]["e1"]["list_digest"] != first["processes"]["e1"]["list_digest"]
    assert {each.name for each in (tmp_path / "logs").iterdir()} == {
        *("zookeeper.log", "e1.log", "g1.log")
    }
    assert processes_with(str(tmp_path)) == []
