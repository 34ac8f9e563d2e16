"""`lockstep replay` with all its processes, over real sockets."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tools.lobster_sample import make_sample
from tools.cli import build_app
from tools.console import UsageError

REPLAY = (sys.executable, "-P", "-m", "tools.cli", "replay")
FAULTS = "drop=5,duplicate=5,reorder=10,corrupt=1"
WITHIN_S = 100  # a busy machine starts five Python processes in some ten seconds


def replay(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    files = ("--lobster", "messages.csv", "--opening", "opening.csv", "--top-of-book", "out.csv")
    return run(folder, *files, *options)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*REPLAY, *arguments], cwd=folder, capture_output=True, text=True, timeout=WITHIN_S
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


def test_a_file_of_orders_is_played_and_each_line_is_told_its_end(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "time,action,client,id,symbol,side,quantity,price,time_in_force,remaining\n"
        "0,enter,ALICE,a,AAPL,buy,100,101.25,,\n"
        "0.2,enter,BOB,b,AAPL,sell,150,101.2501,,\n"
        ",enter,BOB,c,AAPL,sell,70,101.25,ioc,\n"
        "0.2,replace,,b,,,150,101.24,,\n"
        ",cancel,,b,,,,,,20\n"
        "0.3,enter,ALICE,d,MSFT,buy,5,7,,\n"
        ",cancel,,a,,,,,,\n"
        ",mass-cancel,ALICE,,,,,,,\n"
    )
    result = run(tmp_path, "orders.csv", "--report", "report.csv", "--json")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = ("line", "status", "executed", "average_price", "open", "canceled", "reason")
    assert [tuple(row[name] for name in told) for row in rows] == [
        ("2", "executed", "100", "101.25", "0", "0", ""),
        ("3", "replaced", "0", "", "0", "0", "by line 5"),
        ("4", "executed", "70", "101.25", "0", "0", ""),
        ("5", "open", "30", "101.25", "20", "100", "as asked"),
        ("6", "done", "", "", "", "100", ""),
        ("7", "canceled", "0", "", "0", "5", "as asked"),
        ("8", "without effect", "", "", "", "", "no more was open"),
        ("9", "done", "", "", "", "5", "1 order"),
    ]
    summary = json.loads(result.stdout)
    assert (summary["executed_quantity"], summary["canceled_quantity"]) == (200, 105)
    assert summary["seconds"] >= 0.3


def test_a_bad_file_of_orders_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text('{"action": "cancel", "id": "x"}\n[]\n')
    result = run(tmp_path, "orders.jsonl", "--report", "report.csv")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "lockstep: orders.jsonl, line 1: id 'x': no line above enters an order with this id",
        'orders.jsonl, line 2: not an object; write {"action": "enter", ...}',
    ]
    assert not (tmp_path / "report.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "what is to be played? Give a FILE of orders, or --lobster MESSAGES.csv"),
        (("o.csv", "--opening", "o.csv"), "--opening goes with --lobster"),
        (("--lobster", "o.csv", "--rate", "5"), "--rate goes with a FILE of orders"),
        (("--lobster", "o.csv"), "--lobster needs --opening OPENING.csv and --top-of-book OUT.csv"),
        (("o.txt",), "o.txt: its name does not tell how it is written; give --format"),
        (("o.csv", "--report", "r.txt"), "--report r.txt: end its name in .csv or .jsonl"),
        (("o.csv", "--report", "./o.csv"), "--report o.csv is the file of orders"),
        (("o.csv", "--report", "no/r.csv"), "--report no/r.csv: No such file or directory"),
        (("o.csv", "--speed", "0"), "--speed '0': write a number above 0, as 10 or 0.5, or max"),
        (("o.csv", "--speed", "2"), "--speed 2: o.csv has no times; give --rate"),
        (("o.csv", "--speed", "2", "--rate", "2"), "give --speed or --rate, not both"),
        (("o.csv", "--secrets", "s.toml"), "--secrets is for an exchange that runs: give -c"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("o.csv").write_text("action,client\nmass-cancel,ALICE\n")
    refused = CliRunner().invoke(build_app(["replay"]), ["replay", *arguments])
    assert isinstance(refused.exception, UsageError)
    assert complaint in str(refused.exception)
