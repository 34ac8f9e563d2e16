"""The suspicion curve: how low the suspicion time can go before a healthy primary is suspected.

At each suspicion time an exchange is watched while nothing is wrong with it, idle and then busy,
and its suspicions and takeovers are counted. Then its primary is killed in some rounds: that shows
what the lower time buys.
"""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tools.console import CommandError
from tools.drill.kinds import KillPrimary
from tools.drill.report import DrillPlan
from tools.drill.rounds import run_round
from tools.drill.run import Conditions, opened_world
from tools.drill.statistics import Distribution, distribution, milliseconds
from tools.drill.world import World

DEFAULT_TIMES_MS = (5, 10, 15, 20, 30, 50, 100)
_SETTLED_AFTER_S = 1.0  # what the start itself stirs up is over by then


@dataclass(frozen=True, slots=True)
class CurvePlan:
    """What was asked for."""

    times_ms: Sequence[int]
    seconds: float  # to watch, idle and then busy
    rounds: int  # of kill-primary
    rate: int
    burners: int
    zookeeper: str
    replicas: int
    gateways: int
    clients: int
    seed: int


class Watch(NamedTuple):
    """What happened in some seconds in which nothing was wrong."""

    suspicions: int
    takeovers: int
    late_ms: float  # how late this process itself woke up, at worst: the machine, not the exchange


class Point(NamedTuple):
    """What one suspicion time brings; None where the exchange was not steady enough to tell."""

    suspicion_time_ms: int
    idle: Watch | None
    busy: Watch | None
    takeover_ms: Distribution
    trouble: str | None  # why there is no more


@dataclass(frozen=True, slots=True)
class Curve:
    """All points."""

    plan: CurvePlan
    points: Sequence[Point]

    def summary(self) -> dict[str, Any]:
        """The curve as one JSON object."""
        return {
            "drill": "false-alarms",
            **asdict(self.plan),
            "points": [
                {
                    **point._asdict(),
                    "idle": None if point.idle is None else point.idle._asdict(),
                    "busy": None if point.busy is None else point.busy._asdict(),
                    "takeover_ms": point.takeover_ms._asdict(),
                }
                for point in self.points
            ],
        }

    def print_table(self) -> None:
        """The curve for people."""
        plan = self.plan
        busy = f"busy: {plan.rate:,} commands a second"
        if plan.burners:
            busy += f" and {plan.burners} processes that burn a core each"
        table = Table(
            title=f"False alarms in {plan.seconds:g} s each, by the suspicion time", caption=busy
        )
        for heading in (
            "time",
            "suspicions idle",
            "takeovers",
            "suspicions busy",
            "takeovers",
            "takeover after a kill",
            "longest",
        ):
            table.add_column(heading, justify="right")
        for point in self.points:
            table.add_row(
                f"{point.suspicion_time_ms} ms",
                *_words(point.idle),
                *_words(point.busy),
                _time(point.takeover_ms.median),
                _time(point.takeover_ms.max),
            )
        Console().print(table)
        for point in self.points:
            if point.trouble is not None:
                print(f"{point.suspicion_time_ms} ms: {point.trouble}")


async def run_curve(plan: CurvePlan, say: Callable[[str], None]) -> Curve:
    """Measure all points, one exchange after the other; `say` hears what is being done."""
    points = []
    for suspicion_time_ms in plan.times_ms:
        say(f"suspicion time {suspicion_time_ms} ms ...")
        points.append(await _measure(plan, suspicion_time_ms))
    return Curve(plan, points)


@contextlib.contextmanager
def burning(burners: int) -> Iterator[None]:
    """So many processes that do nothing but take a core each."""
    processes = []
    try:
        for _ in range(burners):
            # It ends with its parent, whose end of the pipe is closed then.
            program = (
                "import os, threading\n"
                "threading.Thread(target=lambda: (os.read(0, 1), os._exit(0))).start()\n"
                "while True: pass"
            )
            command = [sys.executable, "-c", program]
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def _measure(plan: CurvePlan, suspicion_time_ms: int) -> Point:
    drill = KillPrimary()
    conditions = Conditions(
        DrillPlan(
            drill.name,
            plan.rounds,
            plan.rate,
            plan.seed,
            plan.zookeeper,
            suspicion_time_ms,
            plan.replicas,
            plan.gateways,
            plan.clients,
        )
    )
    idle = busy = None
    takeovers_ns: list[int] = []
    trouble = None
    try:
        async with opened_world(drill, conditions) as world:
            await world.until_whole()
            await asyncio.sleep(_SETTLED_AFTER_S)
            idle = await _watch(world, plan.seconds)
            with burning(plan.burners):
                world.traders.pace.go()
                await asyncio.sleep(_SETTLED_AFTER_S)
                busy = await _watch(world, plan.seconds)
                world.traders.pace.wait()
            for number in range(1, plan.rounds + 1):
                report = await run_round(world, drill, number)
                if report.takeover_ns is not None:
                    takeovers_ns.append(report.takeover_ns)
    except CommandError as error:
        trouble = str(error)
    return Point(suspicion_time_ms, idle, busy, distribution(takeovers_ns), trouble)


async def _watch(world: World, seconds: float) -> Watch:
    """Count what happens in so many seconds. Raises CommandError when ZooKeeper can't be asked."""
    (shard,) = world.shards
    witness = shard.witness
    suspicions = await asyncio.to_thread(shard.watcher.count)
    reigns = len(witness.reigns)
    witness.latest_ns = 0
    deadline = time.monotonic() + seconds
    await world.until("the end of the watch", lambda: time.monotonic() > deadline, 2 * seconds)
    return Watch(
        await asyncio.to_thread(shard.watcher.count) - suspicions,
        len(witness.reigns) - reigns,
        milliseconds(witness.latest_ns),
    )


def _words(watch: Watch | None) -> tuple[str, str]:
    return ("-", "-") if watch is None else (str(watch.suspicions), str(watch.takeovers))


def _time(time_ms: float | None) -> str:
    return "-" if time_ms is None else f"{time_ms:,.1f} ms"
