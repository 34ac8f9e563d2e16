"""What `lockstep simulate` has to say: for people in words and tables, for programs as JSON."""

import shlex
from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.simulation.outcome import Outcome

_TRACES_SHOWN = 3  # of the failures with the lowest seeds; the others are told in a line each
_HOUR_NS = 3_600_000_000_000
_FEW_SEEDS = 100


class Stop(StrEnum):
    """Why not everything was run."""

    TIME = "time"
    SIGNAL = "signal"
    ERROR = "error"

    @property
    def words(self) -> str:
        """The same in a sentence."""
        return _STOPS[self]


_STOPS = {
    Stop.TIME: "the time was up",
    Stop.SIGNAL: "it was told to stop",
    Stop.ERROR: "an error ended it",
}


class Report(Protocol):
    """What can be shown while it grows, and told at the end."""

    seconds: float
    stopped_by: Stop | None

    @property
    def is_sound(self) -> bool:
        """Whether what has been run so far came out as it has to."""

    @property
    def is_complete(self) -> bool:
        """Whether all was run that was asked for."""

    def progress(self) -> str:
        """How far it is, in a line."""

    def summary(self) -> dict[str, Any]:
        """It all as one JSON object."""

    def lines(self) -> Iterator[str]:
        """What failed, and a last line that says what came of it all."""

    def table(self) -> Table | None:
        """The figures for people."""


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    """A seed that failed."""

    seed: int
    what: str = field(compare=False)  # in one line, and then where
    trace: Sequence[str] = field(compare=False)  # the last events

    @property
    def headline(self) -> str:
        """What failed, in one line."""
        return self.what.partition("\n")[0]

    def summary(self) -> dict[str, Any]:
        """The failure as JSON has it."""
        return {"seed": self.seed, "failure": self.what}

    def lines(self, command: str) -> Iterator[str]:
        """What failed, where, and what had happened before; `command` repeats it."""
        yield f"Seed {self.seed} failed. Again: {command}"
        yield from (f"  {line}" for line in self.what.splitlines())
        if self.trace:
            yield f"  The last {len(self.trace):,} events, in ms of virtual time:"
            yield from self.trace
        yield ""


def failed(outcome: Outcome) -> Failure:
    """The failure that an outcome tells of."""
    assert outcome.failure is not None
    return Failure(outcome.seed, outcome.failure, outcome.trace)


class Failures(list[Failure]):
    """By seed. Only the first few keep their traces: of the others there may be many."""

    def add(self, failure: Failure) -> None:
        """A seed has failed."""
        insort(self, failure)
        if len(self) > _TRACES_SHOWN:
            self[_TRACES_SHOWN] = replace(self[_TRACES_SHOWN], trace=())

    def lines(self) -> Iterator[str]:
        """The first few as they are, the others in a line each."""
        for failure in self[:_TRACES_SHOWN]:
            yield from failure.lines(f"lockstep simulate --seeds {failure.seed}..{failure.seed}")
        for failure in self[_TRACES_SHOWN:]:
            yield f"Seed {failure.seed} failed: {failure.headline}"


@dataclass(slots=True)
class SeedsReport:
    """What became of the seeds that were run so far."""

    asked: range
    seconds: float = 0.0
    stopped_by: Stop | None = None
    seeds: int = 0
    failures: Failures = field(default_factory=Failures)
    virtual_ns: int = 0
    commands: int = 0
    takeovers: int = 0
    halted: int = 0  # seeds whose shard stopped, as too few holders remembered
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """A seed is done."""
        self.seeds += 1
        self.virtual_ns += outcome.virtual_ns
        self.commands += outcome.commands
        self.takeovers += outcome.takeovers
        self.halted += outcome.is_stopped
        self.faults.update(outcome.faults)
        if outcome.failure is not None:
            self.failures.add(failed(outcome))

    @property
    def is_sound(self) -> bool:
        """Whether no seed has failed."""
        return not self.failures

    @property
    def is_complete(self) -> bool:
        """Whether all seeds were run."""
        return self.seeds == len(self.asked)

    def progress(self) -> str:
        """How far it is, in a line."""
        rate = _rate(self.seeds, self.seconds)
        of = f"{self.seeds:,} of {len(self.asked):,} seeds, {rate:,.1f} a second"
        return f"{of}, {len(self.failures):,} failed" if self.failures else of

    def summary(self) -> dict[str, Any]:
        """The run as one JSON object."""
        return {
            "seeds": self.seeds,
            "failures": [each.summary() for each in self.failures],
            "seconds": round(self.seconds, 1),
            "seeds_per_second": _rate(self.seeds, self.seconds),
            "virtual_hours": round(self.virtual_ns / _HOUR_NS, 3),
            "commands": self.commands,
            "takeovers": self.takeovers,
            "halted": self.halted,
            "faults": dict(sorted(self.faults.items())),
            "stopped_by": self.stopped_by,
        }

    def lines(self) -> Iterator[str]:
        """What failed, and a last line that says what came of it all."""
        yield from self.failures.lines()
        if self.stopped_by is not None:
            of = f"{self.seeds:,} of {len(self.asked):,} seeds"
            yield f"{of} were run, then {self.stopped_by.words}."
        if self.failures:
            yield f"{len(self.failures):,} of {self.seeds:,} seeds failed."
        elif self.seeds:
            yield f"{self.seeds:,} seeds passed, and none failed."

    def table(self) -> Table | None:
        """The figures for people."""
        if not self.seeds:
            return None
        table = Table(title=f"What happened in {self.seeds:,} seeds", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_row("seconds", f"{self.seconds:,.1f}")
        table.add_row("seeds a second", f"{_rate(self.seeds, self.seconds):,.2f}")
        table.add_row("virtual hours", f"{self.virtual_ns / _HOUR_NS:,.3f}")
        table.add_row("commands", f"{self.commands:,}")
        table.add_row("takeovers", f"{self.takeovers:,}")
        table.add_row("halted, as too few remembered", f"{self.halted:,}", end_section=True)
        for kind, count in sorted(self.faults.items()):
            table.add_row(Text(kind), f"{count:,}")
        return table


@dataclass(slots=True)
class BugReport:
    """What became of one planted bug."""

    name: str
    what: str
    tried: int = 0  # seeds that have been run with it
    failure: Failure | None = None  # by which it was caught

    @property
    def is_caught(self) -> bool:
        """Whether a seed fails with it that passes without."""
        return self.failure is not None

    def summary(self) -> dict[str, Any]:
        """The bug as JSON has it."""
        failure = self.failure
        return {
            "name": self.name,
            "what": self.what,
            "seeds": None if failure is None else self.tried,
            "seed": None if failure is None else failure.seed,
            "failure": None if failure is None else failure.what,
        }


class PlantedReport:
    """What became of the bugs that were planted so far."""

    def __init__(self, bugs: Iterable[tuple[str, str]], asked: range) -> None:
        """`bugs` are names, and what is wrong; `asked` are the seeds to try at most."""
        self.bugs = {name: BugReport(name, what) for name, what in bugs}
        self.asked = asked
        self.seconds = 0.0
        self.stopped_by: Stop | None = None
        self.runs = 0  # of seeds, with a bug and without
        self.failures = Failures()  # of seeds that fail without any bug

    def catch(self, name: str, outcome: Outcome) -> None:
        """This bug was caught."""
        bug = self.bugs[name]
        bug.tried += 1
        bug.failure = failed(outcome)

    def add_failure(self, outcome: Outcome) -> None:
        """A seed fails though nothing was planted: several bugs may find that out."""
        if all(each.seed != outcome.seed for each in self.failures):
            self.failures.add(failed(outcome))

    @property
    def caught(self) -> Collection[BugReport]:
        """The bugs that were caught."""
        return [bug for bug in self.bugs.values() if bug.is_caught]

    @property
    def is_sound(self) -> bool:
        """Whether every bug was caught, and no seed has failed without one."""
        return len(self.caught) == len(self.bugs) and not self.failures

    @property
    def is_complete(self) -> bool:
        """Whether each bug was caught, or all its seeds were run."""
        return all(bug.is_caught or self._is_missed(bug) for bug in self.bugs.values())

    def progress(self) -> str:
        """How far it is, in a line."""
        rate = _rate(self.runs, self.seconds)
        return (
            f"{len(self.caught)} of {len(self.bugs)} planted bugs caught, "
            f"{self.runs:,} seeds run, {rate:,.1f} a second"
        )

    def summary(self) -> dict[str, Any]:
        """The proof as one JSON object."""
        return {
            "planted": len(self.bugs),
            "caught": len(self.caught),
            "bugs": [bug.summary() for bug in self.bugs.values()],
            "failures": [each.summary() for each in self.failures],
            "seconds": round(self.seconds, 1),
            "stopped_by": self.stopped_by,
        }

    def lines(self) -> Iterator[str]:
        """What failed, and a last line that says what came of it all."""
        yield from self.failures.lines()
        if self.failures:
            yield "These seeds fail without a bug planted, so they catch none."
        if len(self.bugs) == 1:
            yield from self._only_bug(*self.bugs.values())
        if self.stopped_by is not None:
            yield f"Not all that was asked for was run: {self.stopped_by.words}."
        few = sum(bug.tried <= _FEW_SEEDS for bug in self.caught)
        yield (
            f"{len(self.caught)} of {len(self.bugs)} planted bugs were caught, "
            f"{few} of them within {_FEW_SEEDS} seeds."
        )

    def table(self) -> Table | None:
        """The bugs for people."""
        table = Table(title="Planted bugs")
        table.add_column("bug")
        table.add_column("seeds", justify="right")
        table.add_column("caught by")
        for bug in self.bugs.values():
            if bug.failure is not None:
                table.add_row(Text(bug.name), f"{bug.tried:,}", Text(bug.failure.headline))
            else:
                words = "NOT CAUGHT" if self._is_missed(bug) else "not caught yet"
                table.add_row(Text(bug.name), f"{bug.tried:,}", words)
        return table

    def _is_missed(self, bug: BugReport) -> bool:
        return not bug.is_caught and bug.tried == len(self.asked)

    def _only_bug(self, bug: BugReport) -> Iterator[str]:
        if bug.failure is not None:
            at = f"--bug {shlex.quote(bug.name)} --seeds {bug.failure.seed}..{bug.failure.seed}"
            yield from bug.failure.lines(f"lockstep simulate --planted {at}")


def print_report(report: Report) -> None:
    """The report for people."""
    table = report.table()
    if table is not None:
        Console().print(table)
    for line in report.lines():
        print(line)


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2) if seconds > 0 else 0.0
