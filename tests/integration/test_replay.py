"""`lockstep replay` with all its processes, over real sockets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.lobster_sample import make_sample

REPLAY = (sys.executable, "-P", "-m", "tools.cli", "replay")
FAULTS = "drop=5,duplicate=5,reorder=10,corrupt=1"
WITHIN_S = 100  # a busy machine starts five Python processes in some ten seconds


def replay(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    files = ("--lobster", "messages.csv", "--opening", "opening.csv", "--top-of-book", "out.csv")
    return subprocess.run(
        [*REPLAY, *files, *options], cwd=folder, capture_output=True, text=True, timeout=WITHIN_S
    )


@pytest.mark.parametrize("options", [(), ("--faults", FAULTS)], ids=["clean", "faulty"])
def test_a_file_is_played_through_the_whole_exchange(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    sample = make_sample(seed=1, events=1500)
    (tmp_path / "messages.csv").write_text(sample.messages)
    (tmp_path / "opening.csv").write_text(sample.opening)
    result = replay(tmp_path, "--json", "--symbol", "TEST", *options)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out.csv").read_text().splitlines() == sample.lines
    summary = json.loads(result.stdout)
    assert summary["events"] == 1500
    assert summary["executions"] == {
        "known": sample.known,
        "matched": sample.known,
        "differed": 0,
        "differed_lines": [],
        "unknown": sample.unknown,
    }
    assert summary["books_equal"] is True
    assert summary["gaps_filled"] == summary["gaps_detected"]
    if options:
        assert summary["gaps_detected"] > 0


def test_a_bad_file_is_refused_by_its_line_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "messages.csv").write_text("34200.1,1,7,100,1000000,1\n34200.2,3,7,101,1000000,1\n")
    (tmp_path / "opening.csv").write_text("1000100,5,1000000,100\n")
    result = replay(tmp_path)
    assert result.returncode == 2
    assert "messages.csv, line 2: takes 101 off order 7, which has 100 left" in result.stderr
    assert not (tmp_path / "out.csv").exists()
