"""`lockstep simulate`: its options, its exit statuses, and what it prints of seeds and bugs."""

import contextlib
import json
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from typer.testing import CliRunner, Result

from tests.simulation import stub_seeds
from tests.tools.terminal import Terminal
from tools.cli import build_app
from tools.console import ExitStatus, UsageError
from tools.simulation import command
from tools.simulation.command import HIGHEST_SEED, asked_to_stop, parse_seeds
from tools.simulation.outcome import Outcome
from tools.simulation.workers import WorkerError

Simulate = Callable[..., Result]


class StubBug(NamedTuple):
    name: str
    what: str = "something is wrong"


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Runs the command with some stub in the place of the simulator."""

    def run(work: Callable[..., Outcome], *arguments: str) -> Result:
        monkeypatch.setattr(command, "simulate_task", work)
        return CliRunner().invoke(build_app(["simulate"]), ["simulate", *arguments])

    return run


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The catalogue of the stubs; tells which of them were planted to see whether they fit."""
    fitted: list[str] = []

    @contextlib.contextmanager
    def fit(bug: StubBug) -> Iterator[None]:
        if bug.name == "misfit":
            raise ValueError("patch does not fit")
        fitted.append(bug.name)
        yield

    monkeypatch.setattr(command, "planting", fit)
    set_catalogue(monkeypatch, "fails-at-1", "fails-at-0")
    return fitted


def set_catalogue(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    bugs = [StubBug(name) for name in names]
    monkeypatch.setattr(command, "CATALOGUE", bugs)
    monkeypatch.setattr(command, "BUGS", {bug.name: bug for bug in bugs})


def json_of(result: Result) -> dict[str, Any]:
    (line,) = result.stdout.splitlines()
    return cast(dict[str, Any], json.loads(line))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0..99", range(100)),
        ("17", range(17, 18)),
        ("17..17", range(17, 18)),
        (f"7..{HIGHEST_SEED}", range(7, HIGHEST_SEED + 1)),
    ],
)
def test_seeds_are_read_from_an_option(text: str, seeds: range) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "use FROM..TO"),
        ("x", "use FROM..TO"),
        ("1..", "use FROM..TO"),
        ("..5", "use FROM..TO"),
        ("1-5", "use FROM..TO"),
        ("-1..5", "use FROM..TO"),
        ("1..5..9", "use FROM..TO"),
        ("1.5", "use FROM..TO"),
        ("\u0663", "use FROM..TO"),
        ("9" * 20, "use FROM..TO"),
        ("5..4", "the first seed is higher than the last"),
        (f"0..{HIGHEST_SEED + 1}", "the highest seed is 9007199254740992"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"--seeds.*{reason}"):
        parse_seeds(text)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_json_has_the_sums_over_all_seeds(simulate: Simulate, jobs: str) -> None:
    arguments = ("--seeds", "2..5", "--jobs", jobs, "--json")
    result = simulate(stub_seeds.failing_when_odd, *arguments)
    told = json_of(result)
    assert told.pop("seconds") > 0
    assert told.pop("seeds_per_second") > 0
    where = "\n  in check (list.py:7): assert one"
    assert told == {
        "seeds": 4,
        "failures": [
            {"seed": 3, "failure": f"two lists, says 3 [bold]{where}"},
            {"seed": 5, "failure": f"two lists, says 5 [bold]{where}"},
        ],
        "virtual_hours": 2.0,
        "commands": 54,
        "takeovers": 8,
        "halted": 0,
        "faults": {"crash": 4, "pause": 14},
        "stopped_by": None,
    }
    assert list(told["faults"]) == ["crash", "pause"]
    assert result.exit_code == ExitStatus.FAILED


def test_status_is_0_when_every_seed_passes(simulate: Simulate) -> None:
    result = simulate(stub_seeds.passing, "--seeds", "0..2", "--jobs", "1")
    assert result.exit_code == ExitStatus.OK
    assert result.stdout.splitlines()[-1] == "3 seeds passed, and none failed."
    assert "seeds, " not in result.output  # of a progress line, where there is no terminal
    for words in (("commands", "33"), ("virtual hours", "1.500"), ("crash", "3"), ("pause", "3")):
        assert any(all(word in line for word in words) for line in result.stdout.splitlines())


def test_hundred_seeds_are_run_unless_told(simulate: Simulate) -> None:
    assert json_of(simulate(stub_seeds.passing, "--json", "--jobs", "1"))["seeds"] == 100


def test_failure_shows_how_to_repeat_it_and_the_last_events(simulate: Simulate) -> None:
    arguments = ("--seeds", "1..1", "--jobs", "1", "--trace-lines", "2")
    result = simulate(stub_seeds.failing_when_odd, *arguments)
    assert result.exit_code == ExitStatus.FAILED
    assert result.stdout.splitlines()[-8:] == [
        "Seed 1 failed. Again: lockstep simulate --seeds 1..1",
        "  two lists, says 1 [bold]",
        "    in check (list.py:7): assert one",
        "  The last 2 events, in ms of virtual time:",
        "       0.000  e1       event 0 of 1",
        "       1.000  e1       event 1 of 1",
        "",
        "1 of 1 seeds failed.",
    ]


def test_of_many_failures_only_the_first_seeds_show_their_events(simulate: Simulate) -> None:
    arguments = ("--seeds", "0..11", "--jobs", "2")
    lines = simulate(stub_seeds.failing_when_odd, *arguments).stdout.splitlines()
    assert [line for line in lines if "event 0" in line] == [
        f"       0.000  e1       event 0 of {seed}" for seed in (1, 3, 5)
    ]
    assert lines[-4:] == [
        *(f"Seed {seed} failed: two lists, says {seed} [bold]" for seed in (7, 9, 11)),
        "6 of 12 seeds failed.",
    ]


def test_no_seed_is_begun_after_the_time(simulate: Simulate) -> None:
    arguments = ("--seeds", "0..1000000", "--minutes", "0.01", "--jobs", "2", "--json")
    result = simulate(stub_seeds.passing, *arguments)
    told = json_of(result)
    assert 0 < told["seeds"] == told["faults"]["crash"] < 1_000_001
    assert 0.6 <= told["seconds"] < 30
    assert told["stopped_by"] == "time"
    assert result.exit_code == ExitStatus.OK


def test_ctrl_c_tells_what_was_done_so_far(simulate: Simulate) -> None:
    before = signal.getsignal(signal.SIGINT)
    result = simulate(stub_seeds.stopping_its_parent_at_3, "--seeds", "0..99", "--jobs", "1")
    assert result.exit_code == ExitStatus.INTERRUPTED
    assert result.stdout.splitlines()[-2:] == [
        "3 of 100 seeds were run, then it was told to stop.",
        "1 of 3 seeds failed.",
    ]
    assert "Again: lockstep simulate --seeds 1..1" in result.stdout
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_second_signal_has_its_usual_effect(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with asked_to_stop() as is_stopped:
        assert not is_stopped()
        assert signal.getsignal(number) != before
        os.kill(os.getpid(), number)
        assert is_stopped()
        assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_have_their_usual_effect_after_an_error(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(WorkerError), asked_to_stop():
        raise WorkerError
    assert signal.getsignal(number) == before


def test_what_was_done_is_told_when_it_ends_in_an_error(simulate: Simulate, tmp_path: Path) -> None:
    work = stub_seeds.UpOnce(tmp_path)
    result = simulate(work, "--seeds", "0..9", "--jobs", "1", "--json")
    assert isinstance(result.exception, WorkerError)
    told = json_of(result)
    assert (told["seeds"], told["stopped_by"]) == (2, "error")
    assert [each["seed"] for each in told["failures"]] == [1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--jobs", "0"),
        ("--minutes", "-1"),
        ("--trace-lines", "0"),
        ("--seeds",),
        ("--workers", "2"),
    ],
)
def test_options_that_make_no_sense_have_status_2(
    simulate: Simulate, arguments: tuple[str, ...]
) -> None:
    result = simulate(stub_seeds.passing, *arguments)
    assert result.exit_code == ExitStatus.USAGE
    assert arguments[0] in result.output


def test_progress_is_shown_on_a_terminal_alone() -> None:
    with Terminal(["simulate", "--seeds", "0..999999", "--jobs", "1"]) as terminal:
        terminal.until("of 1,000,000 seeds")
        terminal.press("\x03")
        assert terminal.until_end() == ExitStatus.INTERRUPTED
    assert b"seeds were run, then it was told to stop." in terminal.output
    assert b"Traceback" not in terminal.output


def test_json_is_all_that_is_shown_even_on_a_terminal() -> None:
    with Terminal(["simulate", "--seeds", "0..3", "--json"]) as terminal:
        terminal.until_end()
    assert json.loads(terminal.output)["seeds"] == 4


@pytest.mark.usefixtures("planted")
def test_planted_bugs_are_told_with_the_seeds_that_they_took(simulate: Simulate) -> None:
    result = simulate(stub_seeds.with_bugs, "--planted", "--jobs", "2", "--json")
    told = json_of(result)
    assert told.pop("seconds") > 0
    assert told == {
        "planted": 2,
        "caught": 2,
        "bugs": [
            {
                "name": f"fails-at-{seed}",
                "what": "something is wrong",
                "seeds": seed + 1,
                "seed": seed,
                "failure": f"fails-at-{seed} shows\nin a place",
            }
            for seed in (1, 0)
        ],
        "failures": [],
        "stopped_by": None,
    }
    assert result.exit_code == ExitStatus.OK


@pytest.mark.usefixtures("planted")
def test_planted_bugs_are_a_table_for_people(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_catalogue(monkeypatch, "fails-at-1", "fails-at-9")
    result = simulate(stub_seeds.with_bugs, "--planted", "--seeds", "0..3", "--jobs", "1")
    assert result.exit_code == ExitStatus.FAILED
    rows = [line.strip("│ ").split("│") for line in result.stdout.splitlines()]
    table = [[cell.strip() for cell in row] for row in rows if len(row) == 3]
    assert table == [
        ["fails-at-1", "2", "fails-at-1 shows"],
        ["fails-at-9", "4", "NOT CAUGHT"],
    ]
    assert result.stdout.splitlines()[-1] == (
        "1 of 2 planted bugs were caught, 1 of them within 100 seeds."
    )


def test_one_bug_alone_shows_the_events_of_the_seed(simulate: Simulate, planted: list[str]) -> None:
    arguments = ("--planted", "--bug", "fails-at-1", "--jobs", "1")
    result = simulate(stub_seeds.with_bugs, *arguments, "--trace-lines", "2")
    assert result.exit_code == ExitStatus.OK
    assert planted == ["fails-at-1"]
    assert result.stdout.splitlines()[-8:] == [
        "Seed 1 failed. Again: lockstep simulate --planted --bug fails-at-1 --seeds 1..1",
        "  fails-at-1 shows",
        "  in a place",
        "  The last 2 events, in ms of virtual time:",
        "       1.000  e1       dies",
        "       1.000  e1       dies",
        "",
        "1 of 1 planted bugs were caught, 1 of them within 100 seeds.",
    ]


@pytest.mark.usefixtures("planted")
def test_command_that_repeats_a_bug_can_be_pasted_into_a_shell(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_catalogue(monkeypatch, "it's all wrong")
    arguments = ("--planted", "--seeds", "8..9", "--jobs", "1")
    line = simulate(stub_seeds.failing_with_any_bug, *arguments).stdout.splitlines()[-4]
    command_line = line.removeprefix("Seed 8 failed. Again: ")
    assert shlex.split(command_line) == [
        *("lockstep", "simulate", "--planted"),
        *("--bug", "it's all wrong", "--seeds", "8..8"),
    ]


@pytest.mark.usefixtures("planted")
def test_seed_that_fails_without_a_bug_fails_the_proof(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_catalogue(monkeypatch, "fails-at-5")
    result = simulate(stub_seeds.with_bugs, "--planted", "--jobs", "1", "--json")
    told = json_of(result)
    assert told["caught"] == 1
    assert told["failures"] == [{"seed": 4, "failure": "broken anyhow"}]
    assert result.exit_code == ExitStatus.FAILED


@pytest.mark.usefixtures("planted")
def test_patch_that_does_not_fit_is_no_bug_that_was_caught(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_catalogue(monkeypatch, "fails-at-0", "misfit")
    result = simulate(stub_seeds.with_bugs, "--planted", "--json")
    assert isinstance(result.exception, ValueError)
    assert result.stdout == ""


@pytest.mark.usefixtures("planted")
def test_bug_that_is_unknown_or_without_its_option_is_refused(simulate: Simulate) -> None:
    result = simulate(stub_seeds.with_bugs, "--planted", "--bug", "nonsense")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == (
        "--bug nonsense: no bug has this name; there are\n  fails-at-1\n  fails-at-0"
    )
    result = simulate(stub_seeds.with_bugs, "--bug", "fails-at-0")
    assert isinstance(result.exception, UsageError)
    assert "--planted" in str(result.exception)
