"""Whole drills: real processes, a real fault, and nothing lost; one here, the others take long."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.other_processes import processes_with
from tools.console import ExitStatus
from tools.drill.drill import Drill
from tools.drill.kill_all import KillAll
from tools.drill.kinds import DRILLS

WITHIN_S = 300
IS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the drill put its folders where the test can look for what is left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tools.cli", "drill", *arguments]


def run_drill(*arguments: str) -> dict[str, Any]:
    """The result of a drill that ends well."""
    done = subprocess.run(
        command_line(*arguments, "--json"), capture_output=True, text=True, timeout=WITHIN_S
    )
    assert done.returncode == ExitStatus.OK, done.stderr + done.stdout
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert isinstance(result, dict)
    return result


def assert_nothing_left(folder: Path) -> None:
    assert processes_with(str(folder)) == []
    assert list(folder.iterdir()) == []
    assert not [path for path in Path("/run/netns").glob("lockstep-*") if not is_of_living(path)]


def is_of_living(path: Path) -> bool:
    """Whether the drill that made a namespace still runs: it is another one, then."""
    _, process_id, _ = path.name.split("-", 2)
    return Path("/proc", process_id).exists()


def assert_sound(result: dict[str, Any], kind: type[Drill], rounds: int) -> None:
    assert (result["drill"], result["rounds"]) == (kind.name, rounds)
    assert (result["lost"], result["doubled"], result["changed"], result["refused"]) == (0, 0, 0, 0)
    assert result["digests_equal"] is True
    assert result["problems"] == []
    assert result["answered"] >= sum(each["answered"] for each in result["per_round"]) > 0
    assert [each["round"] for each in result["per_round"]] == list(range(1, rounds + 1))
    for each in result["per_round"]:
        assert each["answered"] > 0
        assert each["outage_ms"] > 0
        assert each["story"]
        if kind.takeover:
            assert each["takeover_ms"] > 0
            assert each["epoch_after"] > each["epoch_before"]
        elif kind.takeover is False:
            assert each["takeover_ms"] is None


def test_kill_primary_loses_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    kind = next(each for each in DRILLS if each.name == "kill-primary")
    result = run_drill(kind.name, "--rounds", "1", "--rate", "300")
    assert_sound(result, kind, rounds=1)
    assert result["zookeeper"] == "embedded"
    assert result["takeovers"] == 1
    assert_nothing_left(tmp_path)


def test_power_cut_of_everything_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    result = run_drill(KillAll.name, "--rounds", "1", "--rate", "300", "--power-cut")
    assert_sound(result, KillAll, rounds=1)
    assert (result["sync"], result["power_cut"], result["stopped"]) == ("group", True, 0)
    assert result["audited_frames"] == result["sequence"] > 0
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("cut", [[], ["--power-cut"]], ids=["kill", "power cut"])
def test_everything_of_two_shards_is_killed_and_comes_back(cut: list[str], tmp_path: Path) -> None:
    result = run_drill(KillAll.name, "--rounds", "1", "--rate", "300", "--shards", "2", *cut)
    assert_sound(result, KillAll, rounds=1)
    assert (result["shards"], result["stopped"]) == (2, 0)
    assert result["takeovers"] == 2
    assert result["audited_frames"] == result["sequence"] > 0
    (struck,) = result["per_round"]
    (other,) = struck["others"]
    assert (struck["shard"], other["shard"]) == (1, 2)
    assert other["epoch_after"] > other["epoch_before"]
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("name", [each.name for each in DRILLS if not each.one_shard])
def test_one_shard_is_struck_and_the_other_goes_on(name: str, tmp_path: Path) -> None:
    kind = next(each for each in DRILLS if each.name == name)
    result = run_drill(name, "--rounds", "2", "--rate", "300", "--shards", "2")
    assert_sound(result, kind, rounds=2)
    assert [each["shard"] for each in result["per_round"]] == [1, 2]
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("sync", ["group", "interval", "never"])
def test_killed_processes_forget_nothing_whenever_journals_are_synced(
    sync: str, tmp_path: Path
) -> None:
    result = run_drill(KillAll.name, "--rounds", "3", "--sync", sync)
    assert_sound(result, KillAll, rounds=3)
    assert result["stopped"] == 0
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("sync", ["interval", "never"])
def test_shard_whose_journals_forgot_stops_and_says_so(sync: str, tmp_path: Path) -> None:
    result = run_drill(KillAll.name, "--rounds", "2", "--power-cut", "--sync", sync)
    assert (result["lost"], result["doubled"], result["changed"]) == (0, 0, 0)
    assert result["stopped"] == 2
    assert all("holders that remember" in each["stopped"] for each in result["per_round"])
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("kind", DRILLS, ids=lambda kind: kind.name)
def test_drill_loses_nothing_and_leaves_nothing_behind(kind: type[Drill], tmp_path: Path) -> None:
    if kind.cuts_hosts and not IS_ROOT:
        pytest.skip("only root may make network namespaces")
    result = run_drill(kind.name, "--rounds", "3")
    assert_sound(result, kind, rounds=3)
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize("name", ["kill-primary", "kill-gateway", "kill-in-group"])
def test_drill_against_apaches_zookeeper(name: str, tmp_path: Path) -> None:
    kind = next(each for each in DRILLS if each.name == name)
    result = run_drill(name, "--rounds", "3", "--zookeeper", "apache")
    assert_sound(result, kind, rounds=3)
    assert result["zookeeper"] == "apache"
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
@pytest.mark.parametrize(
    "name",
    [
        "kill-primary",
        pytest.param("cut-primary", marks=pytest.mark.skipif(not IS_ROOT, reason="root only")),
    ],
)
def test_drill_that_is_interrupted_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    if name == "cut-primary" and not IS_ROOT:
        pytest.skip("only root may make network namespaces")
    with subprocess.Popen(
        command_line(name, "--rounds", "50", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as drill:
        assert drill.stderr is not None
        assert any(line.startswith("Round 1 of 50") for line in drill.stderr)
        drill.send_signal(signal.SIGINT)
        assert drill.wait(WITHIN_S) == ExitStatus.INTERRUPTED
    assert_nothing_left(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S)
def test_false_alarms_are_counted_at_each_suspicion_time(tmp_path: Path) -> None:
    result = run_drill(
        *("false-alarms", "--times-ms", "50,500", "--seconds", "2", "--rounds", "1"),
        *("--burners", "1"),
    )
    assert [point["suspicion_time_ms"] for point in result["points"]] == [50, 500]
    slow = result["points"][1]
    assert slow["trouble"] is None
    assert slow["idle"] == {**slow["idle"], "suspicions": 0, "takeovers": 0}
    assert slow["takeover_ms"]["median"] > 500
    assert_nothing_left(tmp_path)
