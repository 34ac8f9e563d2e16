"""The whole exchange, as `lockstep demo` runs it: real processes, TCP, multicast, faults."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.other_processes import processes_with, until_gone
from tests.tools.terminal import Terminal
from tools.console import ExitStatus
from tools.ports import multicast_works

FAULTS = "drop=5,duplicate=5,reorder=10,corrupt=1"
WITHIN_S = 100


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo put its folder where the test can look for what is left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def run_headless(*arguments: str) -> dict[str, Any]:
    """The result of a short demo that ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "demo", "--headless", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == ExitStatus.OK, done.stderr + done.stdout
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert isinstance(result, dict)
    return result


def assert_sound(result: dict[str, Any]) -> None:
    assert result["commands"] > 200
    assert result["frames"] > result["commands"]
    assert result["trades"] > 0
    assert result["live_orders"] > 0
    assert result["frames_lost"] == 0
    assert result["books_equal"] is True
    assert result["digests_equal"] is True
    assert result["receivers"].keys() == {"subscriber", "g1", "g2", "r1", "r2"}


def assert_nothing_left(folder: Path) -> None:
    assert processes_with(str(folder)) == []
    assert list(folder.iterdir()) == []


def test_clean_run_has_equal_books_and_leaves_nothing_behind(tmp_path: Path) -> None:
    result = run_headless("--seconds", "2", "--rate", "300")
    assert_sound(result)
    assert result["seconds"] == pytest.approx(2, abs=1)
    assert result["faults"] is None
    assert result["gaps_filled"] == result["gaps_detected"]
    assert_nothing_left(tmp_path)


def test_killed_primary_is_succeeded_while_the_clients_trade_on(tmp_path: Path) -> None:
    result = run_headless("--seconds", "4", "--rate", "300", "--kill-primary-after", "1.5")
    assert_sound(result)
    takeover = result["takeovers"][-1]
    (killed,) = [each for each in result["takeovers"] if each["killed"] is not None]
    assert killed["primary"] != killed["killed"]
    assert 0 < killed["takeover_ms"] < 30_000
    assert (result["primary"], result["epoch"]) == (takeover["primary"], takeover["epoch"])
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("transport", ["multicast", "unicast"])
def test_faults_at_every_receiver_are_repaired(transport: str, tmp_path: Path) -> None:
    if transport == "multicast" and not multicast_works():
        pytest.skip("no multicast on this machine's loopback interface")
    result = run_headless(
        *("--seconds", "3", "--rate", "300", "--faults", FAULTS, "--transport", transport)
    )
    assert_sound(result)
    assert result["faults"] == FAULTS
    assert all(each["gaps_filled"] > 0 for each in result["receivers"].values())
    assert_nothing_left(tmp_path)


def test_live_view_shows_the_market_and_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    with Terminal(["demo", "--rate", "300"], columns=100, lines=30) as terminal:
        terminal.until("trading")
        terminal.until("\N{BLACK UP-POINTING TRIANGLE}")  # a trade on the tape
        for text in ("LOCKSTEP DEMO", "AAPL", "spread", "gaps filled", "commands", "holders"):
            terminal.until(text)
        terminal.press("k")
        for text in ("was killed", "down", "took over in epoch", "is back"):
            terminal.until(text)
        terminal.press("\x03")
        assert terminal.until_end() == ExitStatus.OK
        assert terminal.modes() == terminal.modes_before
        _, after = terminal.output.split(b"\x1b[?1049l")
        assert b"The subscriber's books equal the primary's" in after
        assert b"was killed; e" in after
    assert_nothing_left(tmp_path)


def test_processes_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "demo", "--headless"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        assert any('"trading"' in line for line in demo.stderr)
        children = processes_with(str(tmp_path))
        assert len(children) == 3 + 2 + 2 + 1
        demo.send_signal(signal.SIGKILL)
    for process_id in children:
        until_gone(process_id)
    assert processes_with(str(tmp_path)) == []
