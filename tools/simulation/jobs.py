"""What `lockstep simulate` has its workers do: a range of seeds, or seeds with bugs planted."""

from collections import deque
from collections.abc import Callable

from tools.simulation.outcome import Outcome
from tools.simulation.report import PlantedReport, SeedsReport
from tools.simulation.workers import Task


class SeedsSchedule:
    """Every seed once, in order, until the time is up; what is under way then is done."""

    def __init__(self, report: SeedsReport, is_time_up: Callable[[], bool]) -> None:
        self._report = report
        self._seeds = iter(report.asked)
        self._is_time_up = is_time_up

    def next_task(self) -> Task | None:
        """The next seed."""
        if self._is_time_up():
            return None
        seed = next(self._seeds, None)
        return None if seed is None else Task(seed)

    def take(self, _: Task, outcome: Outcome) -> None:
        """A seed is done."""
        self._report.add(outcome)


class PlantedSchedule:
    """For each bug, seed after seed until one fails; several bugs at the same time.

    The seed that fails is run once more without the bug. Only when it passes then is the bug
    caught; else the code itself fails this seed, and the next one is tried.
    """

    def __init__(self, report: PlantedReport, is_time_up: Callable[[], bool]) -> None:
        self._report = report
        self._is_time_up = is_time_up
        self._tasks = deque(Task(report.asked[0], name) for name in report.bugs)
        self._failed: dict[str, Outcome] = {}  # with the bug planted, by its name

    def next_task(self) -> Task | None:
        """A bug that was begun goes before one that was not."""
        if not self._tasks or (self._is_time_up() and not self._tasks[0].is_control):
            return None
        return self._tasks.popleft()

    def take(self, task: Task, outcome: Outcome) -> None:
        """Go on with the bug, or have done with it."""
        assert task.bug is not None
        self._report.runs += 1
        if task.is_control:
            if outcome.failure is None:
                self._report.catch(task.bug, self._failed[task.bug])
                return
            self._report.add_failure(outcome)
        elif outcome.failure is not None:
            self._failed[task.bug] = outcome
            self._tasks.appendleft(task._replace(is_control=True))
            return
        self._report.bugs[task.bug].tried += 1
        if task.seed < self._report.asked[-1]:
            self._tasks.appendleft(Task(task.seed + 1, task.bug))
