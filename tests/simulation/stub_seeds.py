"""Seeds that simulate nothing, and come out as a test needs it; workers import them from here."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from tools.simulation.outcome import Outcome
from tools.simulation.workers import Task, Work

log = structlog.get_logger()

DAY_S = 86_400


def passing(task: Task, trace_lines: int = 0) -> Outcome:
    """Figures that a sum shows: a half of an hour, and so on."""
    return Outcome(
        task.seed,
        virtual_ns=1_800_000_000_000,
        commands=10 + task.seed,
        takeovers=2,
        faults=Counter({"pause": task.seed, "crash": 1}),
    )


def failing_when_odd(task: Task, trace_lines: int = 3) -> Outcome:
    """The figures of one that passes, all the same."""
    outcome = passing(task)
    if task.seed % 2:
        outcome.failure = f"two lists, says {task.seed} [bold]\n  in check (list.py:7): assert one"
        outcome.trace = [
            f"{i:12.3f}  e1       event {i} of {task.seed}" for i in range(trace_lines)
        ]
    return outcome


def looping_at_1(task: Task) -> Outcome:
    """Never comes back from one seed, whatever errors the code in it swallows."""
    while task.seed == 1:
        try:
            sum(range(1000))
        except Exception:
            continue
    return passing(task)


def killed_at_1(task: Task, trace_lines: int = 0) -> Outcome:
    """Dies of one seed, as for want of memory."""
    if task.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return passing(task)


def exiting_at_1(task: Task) -> Outcome:
    """Ends the whole process in one seed."""
    if task.seed == 1:
        os._exit(7)
    return passing(task)


def raising_at_1(task: Task) -> Outcome:
    """Raises in one seed, which `run_seed` should not."""
    if task.seed == 1:
        raise ValueError("no plan to be had")
    return passing(task)


def hoarding_at_1(task: Task) -> Outcome:
    """Takes more and more memory in one seed."""
    hoard = []
    while task.seed == 1:
        hoard.append(bytes(100_000_000))
    return passing(task)


def logging(task: Task) -> Outcome:
    """Says much, as production objects do when everything fails."""
    log.error("connection closed", seed=task.seed)
    return passing(task)


def told_to_stop(task: Task) -> Outcome:
    """A terminal's Ctrl-C goes to every process in it."""
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGHUP)
    return passing(task)


def leaving_files(task: Task, folder: str) -> Outcome:
    """Leaves a file when it is done, which in the case of seed 1 is after seed 3."""
    while task.seed == 1 and not (Path(folder) / "3").exists():
        time.sleep(0.01)
    time.sleep(0.5 if task.seed == 1 else 0.0)
    (Path(folder) / str(task.seed)).touch()
    return passing(task)


def stopping_its_parent_at_3(task: Task, trace_lines: int) -> Outcome:
    """Somebody presses Ctrl-C while this seed, which takes very long, is under way."""
    if task.seed == 3:
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(DAY_S)
    return failing_when_odd(task, trace_lines)


class UpOnce:
    """Work that comes to no second process, nor to a first one if `folder` has a file "up"."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], Work], tuple[Path]]:
        return come_up_once, (self._folder,)

    def __call__(self, task: Task, trace_lines: int = 0) -> Outcome:
        raise AssertionError("in a worker, what `come_up_once` returns is called")


def come_up_once(folder: Path) -> Work:
    """What a worker unpickles as its work."""
    if (folder / "up").exists():
        os._exit(3)
    (folder / "up").touch()
    return killed_at_1


def with_bugs(task: Task, trace_lines: int = 1) -> Outcome:
    """A bug is named for the seed that it fails at; seed 4 fails with and without one."""
    outcome = passing(task)
    if task.seed == 4:
        outcome.failure = "broken anyhow"
    elif task.bug == f"fails-at-{task.seed}" and not task.is_control:
        outcome.failure = f"{task.bug} shows\nin a place"
        outcome.trace = ["       1.000  e1       dies"] * trace_lines
    return outcome


def failing_with_any_bug(task: Task, trace_lines: int = 0) -> Outcome:
    """Fails unless it is a control."""
    outcome = passing(task)
    if task.bug is not None and not task.is_control:
        outcome.failure = "shows"
    return outcome
