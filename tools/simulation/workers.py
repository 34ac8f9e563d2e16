"""Processes that run seeds, each of them one at a time, and what is said of those that die of it.

A worker is a fresh Python (start method spawn), so that nothing of its parent's can make a seed go
another way. It is quiet, its memory and the CPU time of each seed are bounded, and it leaves
Ctrl-C, which a terminal sends to all, to its parent.
"""

import contextlib
import logging
import multiprocessing
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple, Protocol, TypeAlias

import structlog

from tools.console import CommandError
from tools.simulation.outcome import Outcome
from tools.simulation.watchdog import SEED_LIMIT_S, OutOfTime, watched

MEMORY_LIMIT_BYTES = 2 << 30  # of address space: what grows without end is to fail its seed only
_LOOK_AROUND_S = 0.2  # how soon a signal is heeded, and how often progress is shown
_GRACE_S = 5.0  # for a process to end that has closed its connection
_PLACES = 6  # in the code that are told when a seed raises: the innermost ones
_CONTEXT = multiprocessing.get_context("spawn")


class Task(NamedTuple):
    """A seed to run."""

    seed: int
    bug: str | None = None  # the planted bug that the run is about
    is_control: bool = False  # run it without the bug, to see that it is the bug that fails


Work: TypeAlias = Callable[[Task], Outcome]  # a function of a module's top level, or a partial


class Schedule(Protocol):
    """What there is to do, and what is made of the results."""

    def next_task(self) -> Task | None:
        """Something to do now; None when there is nothing, at least until a result comes."""

    def take(self, task: Task, outcome: Outcome) -> None:
        """A task is done."""


class WorkerError(CommandError):
    """A worker did not come up, so that no seed could be run in it."""


class Workers:
    """So many processes; a context manager that ends them, whatever they are at."""

    def __init__(self, work: Work, count: int, *, limit_s: float = SEED_LIMIT_S) -> None:
        self._workers = [_Worker(work, limit_s) for _ in range(count)]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.kill()

    def run(
        self, schedule: Schedule, is_stopped: Callable[[], bool], on_look: Callable[[], None]
    ) -> None:
        """Work until the schedule has nothing more and all is done, or leave it when `is_stopped`.

        Calls `on_look` now and then. Raises WorkerError when a process does not start.
        """
        while not is_stopped():
            for worker in self._workers:
                if worker.task is None and (task := schedule.next_task()) is not None:
                    worker.begin(task)
            busy = {worker.connection: worker for worker in self._workers if worker.task}
            if not busy:
                return
            for connection in wait(list(busy), _LOOK_AROUND_S):
                assert isinstance(connection, Connection)
                worker = busy[connection]
                task, outcome = worker.task, worker.collect()
                if outcome is not None:
                    assert task is not None
                    schedule.take(task, outcome)
            on_look()


class _Worker:
    """One process at a time: when it dies of a seed, another one takes its place."""

    def __init__(self, work: Work, limit_s: float) -> None:
        self.task: Task | None = None  # what it is at
        self._work = work
        self._limit_s = limit_s
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._is_up = False

    @property
    def connection(self) -> Connection:
        """Where it answers, once it was given something to do."""
        assert self._connection is not None
        return self._connection

    def begin(self, task: Task) -> None:
        """Give it something to do."""
        if self._process is None or not self._process.is_alive():
            self.kill()
            self._start()
        self.task = task
        with contextlib.suppress(OSError):  # it has just died, as `collect` will see
            self.connection.send(task)

    def collect(self) -> Outcome | None:
        """What it says; None when it only says that it is up."""
        assert self.task is not None
        try:
            outcome: Outcome | None = self.connection.recv()
        except (EOFError, OSError):  # closed, or in the middle of a message
            outcome = self._on_death(self.task)
        if outcome is None:
            self._is_up = True
            return None
        self.task = None
        return outcome

    def kill(self) -> None:
        """End it: it keeps nothing that would have to be put in order."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = self.task = None

    def _start(self) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._is_up = False
        self._process = _CONTEXT.Process(
            target=_serve, args=(self._work, theirs, self._limit_s), daemon=True
        )
        with theirs, _signals_held():
            self._process.start()

    def _on_death(self, task: Task) -> Outcome:
        assert self._process is not None
        self._process.join(_GRACE_S)
        how = _ending(self._process.exitcode)
        is_up = self._is_up
        self.kill()
        if not is_up:
            raise WorkerError(f"a process to run seeds in does not start: it {how}")
        return Outcome(task.seed, f"the process that ran it {how}")


def _ending(exitcode: int | None) -> str:
    if exitcode is None:
        return "closed its connection"
    if exitcode >= 0:
        return f"ended with status {exitcode}"
    name = signal.Signals(-exitcode).name
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"was killed with {name}{hint}"


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """A process that is started in here never gets the signals that a terminal sends to all."""
    resource_tracker.ensure_running()  # else the first start does it, and lets them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# What follows runs in the worker.


def _serve(work: Work, connection: Connection, limit_s: float) -> None:
    """Run what comes, one after the other, until the parent is gone."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(None)
        while True:
            connection.send(_run(work, connection.recv(), limit_s))


def _run(work: Work, task: Task, limit_s: float) -> Outcome:
    try:
        with watched(limit_s):
            return work(task)
    except (Exception, OutOfTime) as error:
        what = f"{type(error).__name__}: {error}"
        places = traceback.format_tb(error.__traceback__, -_PLACES)
        return Outcome(task.seed, "\n".join([what, *"".join(places).splitlines()]))
