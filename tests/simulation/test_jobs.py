"""Seeds on several processes: each is counted once, whatever becomes of the process it runs in."""

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.simulation import stub_seeds
from tools.simulation.jobs import PlantedSchedule, SeedsSchedule
from tools.simulation.outcome import Outcome
from tools.simulation.report import PlantedReport, SeedsReport
from tools.simulation.watchdog import SEED_LIMIT_S, OutOfTime, watched
from tools.simulation.workers import Task, Work, WorkerError, Workers


def never() -> bool:
    return False


def nothing() -> None:
    pass


def run_seeds(
    work: Work, seeds: range, *, jobs: int = 1, limit_s: float = SEED_LIMIT_S
) -> SeedsReport:
    report = SeedsReport(seeds)
    with Workers(work, jobs, limit_s=limit_s) as workers:
        workers.run(SeedsSchedule(report, never), never, nothing)
    assert not multiprocessing.active_children()
    return report


def run_planted(bugs: list[str], seeds: range, *, jobs: int = 1) -> PlantedReport:
    report = PlantedReport([(bug, f"{bug} is wrong") for bug in bugs], seeds)
    with Workers(stub_seeds.with_bugs, jobs) as workers:
        workers.run(PlantedSchedule(report, never), never, nothing)
    return report


@pytest.mark.parametrize("jobs", [1, 2])
def test_totals_do_not_depend_on_how_many_work(jobs: int) -> None:
    report = run_seeds(stub_seeds.failing_when_odd, range(10, 20), jobs=jobs)
    assert report.seeds == 10
    assert [each.seed for each in report.failures] == [11, 13, 15, 17, 19]
    assert report.virtual_ns == 5 * 3_600_000_000_000
    assert report.commands == 100 + sum(range(10, 20))
    assert report.takeovers == 20
    assert report.faults == {"crash": 10, "pause": sum(range(10, 20))}


def test_endless_loop_is_a_failure_of_its_seed() -> None:
    report = run_seeds(stub_seeds.looping_at_1, range(3), limit_s=0.5)
    assert report.seeds == 3
    (failure,) = report.failures
    assert failure.seed == 1
    assert failure.headline == "OutOfTime: not done after 0.5 s of CPU time: an endless loop?"
    assert "in looping_at_1" in failure.what


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (
            stub_seeds.killed_at_1,
            "the process that ran it was killed with SIGKILL, as the system does when memory runs "
            "out",
        ),
        (stub_seeds.exiting_at_1, "the process that ran it ended with status 7"),
        (stub_seeds.raising_at_1, "ValueError: no plan to be had"),
        (stub_seeds.hoarding_at_1, "MemoryError: "),
    ],
)
def test_whatever_a_process_dies_of_is_a_failure_of_its_seed(work: Work, text: str) -> None:
    report = run_seeds(work, range(3))
    assert report.seeds == 3
    assert [(each.seed, each.headline) for each in report.failures] == [(1, text)]


def test_process_that_does_not_come_up_is_no_failure_of_a_seed(tmp_path: Path) -> None:
    (tmp_path / "up").touch()
    with pytest.raises(WorkerError, match="does not start: it ended with status 3"):
        run_seeds(stub_seeds.UpOnce(tmp_path), range(3), jobs=2)
    assert not multiprocessing.active_children()


def test_workers_are_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    report = run_seeds(stub_seeds.logging, range(2))
    assert report.seeds == 2
    assert capfd.readouterr() == ("", "")


def test_workers_leave_ctrl_c_to_their_parent() -> None:
    report = run_seeds(stub_seeds.told_to_stop, range(4), jobs=2)
    assert report.seeds == 4
    assert not report.failures


def test_what_is_under_way_when_the_time_is_up_is_finished_and_counted(tmp_path: Path) -> None:
    report = SeedsReport(range(1000))
    with Workers(partial(stub_seeds.leaving_files, folder=str(tmp_path)), 2) as workers:
        workers.run(SeedsSchedule(report, lambda: report.seeds >= 3), never, nothing)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2", "3"}
    assert report.seeds == 4


def test_what_is_under_way_is_left_when_somebody_asks_to_stop(tmp_path: Path) -> None:
    report = SeedsReport(range(1000))
    with Workers(partial(stub_seeds.leaving_files, folder=str(tmp_path)), 1) as workers:
        workers.run(SeedsSchedule(report, never), lambda: report.seeds >= 1, nothing)
    assert not multiprocessing.active_children()
    assert report.seeds == 1


def test_process_that_dies_between_two_seeds_is_replaced() -> None:
    report = SeedsReport(range(3))

    def end_them() -> None:
        for process in multiprocessing.active_children():
            process.kill()
            process.join()

    with Workers(stub_seeds.passing, 1) as workers:
        workers.run(SeedsSchedule(report, lambda: report.seeds == 1), never, nothing)
        end_them()
        report.asked = range(3, 6)
        workers.run(SeedsSchedule(report, never), never, nothing)
    assert report.seeds == 4
    assert not report.failures


def test_watchdog_is_off_outside() -> None:
    handler = signal.getsignal(signal.SIGVTALRM)
    with watched(0.05):
        pass
    assert signal.getsignal(signal.SIGVTALRM) == handler
    limit_ns = 100_000_000
    before = os.times().user
    while os.times().user - before < limit_ns / 1e9:
        sum(range(1000))
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_watchdog_ends_a_loop_that_swallows_exceptions() -> None:
    with pytest.raises(OutOfTime), watched(0.05):
        stub_seeds.looping_at_1(Task(1))


def test_failures_are_told_by_seed_whichever_came_first() -> None:
    report = SeedsReport(range(9))
    for seed in (8, 2, 6, 1, 7, 4, 5):
        report.add(Outcome(seed, f"{seed} fails", ["an event"]))
    assert [each.seed for each in report.failures] == [1, 2, 4, 5, 6, 7, 8]
    assert [len(each.trace) for each in report.failures] == [1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("jobs", [1, 2])
def test_planted_bugs_are_run_until_a_seed_fails(jobs: int) -> None:
    report = run_planted(["fails-at-2", "fails-at-0", "fails-at-9"], range(4), jobs=jobs)
    assert [bug.summary() for bug in report.bugs.values()] == [
        {
            "name": "fails-at-2",
            "what": "fails-at-2 is wrong",
            "seeds": 3,
            "seed": 2,
            "failure": "fails-at-2 shows\nin a place",
        },
        {
            "name": "fails-at-0",
            "what": "fails-at-0 is wrong",
            "seeds": 1,
            "seed": 0,
            "failure": "fails-at-0 shows\nin a place",
        },
        {
            "name": "fails-at-9",
            "what": "fails-at-9 is wrong",
            "seeds": None,
            "seed": None,
            "failure": None,
        },
    ]
    assert report.runs == (3 + 1) + (1 + 1) + 4  # the control of each that is caught
    assert report.is_complete
    assert not report.is_sound


def test_seed_that_fails_without_the_bug_too_catches_none() -> None:
    report = run_planted(["fails-at-5", "fails-at-6"], range(3, 8))
    assert [(bug.tried, bug.is_caught) for bug in report.bugs.values()] == [(3, True), (4, True)]
    assert [each.summary() for each in report.failures] == [{"seed": 4, "failure": "broken anyhow"}]
    assert not report.is_sound


def test_control_is_run_though_the_time_is_up() -> None:
    report = PlantedReport([("bug", "")], range(9))
    schedule = PlantedSchedule(report, lambda: report.runs > 0)
    task = schedule.next_task()
    assert task == Task(0, "bug")
    schedule.take(task, Outcome(0, "fails"))
    control = schedule.next_task()
    assert control == Task(0, "bug", is_control=True)
    schedule.take(control, Outcome(0))
    assert schedule.next_task() is None
    assert report.is_sound


def test_no_bug_is_begun_when_the_time_is_up() -> None:
    report = PlantedReport([("a", ""), ("b", "")], range(9))
    schedule = PlantedSchedule(report, lambda: report.runs > 0)
    first, second = schedule.next_task(), schedule.next_task()
    assert (first, second) == (Task(0, "a"), Task(0, "b"))
    assert first is not None
    schedule.take(first, Outcome(0))
    assert schedule.next_task() is None
    assert not report.is_complete
