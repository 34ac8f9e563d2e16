"""What all suites share: a figure with its baseline, how figures are taken, and how they are shown.

A figure means little by itself on a computer that others use, or on another one. So each is
measured beside a baseline in the same run, in turns where both are short: their ratio holds.
"""

import contextlib
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table

from tools.console import CommandError


class BenchmarkError(CommandError):
    """A run did not do what it was timed for, so its figure is worth nothing."""


class Measurement(NamedTuple):
    """One figure, the baseline's beside it in the same unit, and value / baseline."""

    suite: str
    name: str
    value: float
    unit: str
    baseline: float
    ratio: float


class Report(NamedTuple):
    """What came of a suite: its figures, and what people are shown besides."""

    measurements: Sequence[Measurement]
    drawings: Sequence[RenderableType] = ()


def measurement(suite: str, name: str, value: float, unit: str, baseline: float) -> Measurement:
    """The measurement of these; the ratio is 0 where the baseline is."""
    ratio = value / baseline if baseline else 0.0
    return Measurement(suite, name, _rounded(value), unit, _rounded(baseline), _rounded(ratio))


def interleaved_medians(runs: int, *timed: Callable[[], float]) -> list[float]:
    """The median of each, run in turns, so that a slow moment of the computer hits all alike."""
    results: list[list[float]] = [[] for _ in timed]
    for _ in range(runs):
        for values, run in zip(results, timed, strict=True):
            values.append(run())
    return [statistics.median(values) for values in results]


class Stopwatch:
    """The CPU time of this thread within a `with`; what else the computer does does not count."""

    elapsed_ns = 0

    def __enter__(self) -> "Stopwatch":
        self._start_ns = time.thread_time_ns()
        return self

    def __exit__(self, *exception: object) -> None:
        self.elapsed_ns = time.thread_time_ns() - self._start_ns


@contextlib.contextmanager
def settled_collector() -> Iterator[None]:
    """Keep Python's collector from walking, within the timed part, what was built before it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def to_json(measurements: Sequence[Measurement]) -> str:
    """One list of objects: suite, name, value, unit, baseline, ratio."""
    return json.dumps([each._asdict() for each in measurements], indent=1)


def table(title: str, baseline: str, measurements: Sequence[Measurement]) -> Table:
    """The figures for people; `baseline` says what theirs is."""
    shown = Table(title=title, caption=f"baseline: {baseline}")
    shown.add_column("figure")
    for heading in ("value", "unit", "baseline", "ratio"):
        shown.add_column(heading, justify="right")
    for _, name, value, unit, beside, ratio in measurements:
        shown.add_row(name, number(value), unit, number(beside), number(ratio))
    return shown


def number(value: float) -> str:
    """A figure with as many digits as say something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _rounded(value: float) -> float:
    """Four digits: more are noise."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)
