"""One seed: an exchange trades while everything goes wrong, then comes to rest and agrees.

In each round the clients trade, faults strike, and some of them are mended. Then all are mended and
everybody must come back to life: every command is answered, and all agree on the list and its
state. After the last round the weather is fair, and trading has to go on.
"""

import hashlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import structlog
from structlog.typing import EventDict

from engine.markets import KernelMarket, market_builder
from engine.settings import MachineKind
from tools.simulation.bounds import small_bounds
from tools.simulation.cluster import Cluster, NotInTimeError
from tools.simulation.outcome import Outcome
from tools.simulation.plan import draw_plan
from tools.simulation.scene import Mend, Scene
from tools.simulation.trace import LINES, Trace
from tools.simulation.watchdog import OutOfTime

# How long calm may take, in virtual time: many times what the longest time-outs add up to.
CALM_MS = 60_000
LAST_ORDERS = 5
# The same when more than a minority has forgotten, so that it may be in vain.
STOPPED_AFTER_MS = 8_000


def run_seed(
    seed: int, *, trace_lines: int = LINES, with_kernel: bool = KernelMarket is not None
) -> Outcome:
    """Run one seed to its end, or to its first failure; that is told, not raised.

    `with_kernel` has one replica run the compiled machine: it and the others check each other. The
    outcome is the same with it and without.
    """
    run = Simulation(seed, trace_lines, with_kernel=with_kernel)
    outcome = Outcome(seed)
    with logging_to(run.cluster.network.trace), small_bounds():
        try:
            outcome.is_stopped = not run.run()
        except (Exception, OutOfTime) as error:
            outcome.failure = _describe(error)
            outcome.trace = run.cluster.network.trace.lines()
    cluster = run.cluster
    outcome.virtual_ns = cluster.network.now_ns
    outcome.steps = cluster.network.world.steps
    outcome.commands = cluster.ledger.commands
    outcome.takeovers = max(0, len(cluster.witness.epochs) - 1)
    outcome.faults = cluster.network.faults
    outcome.digest = hashlib.sha256(b"".join(cluster.witness.committed)).hexdigest()
    return outcome


class Simulation:
    """One run."""

    def __init__(self, seed: int, trace_lines: int = LINES, *, with_kernel: bool = False) -> None:
        self.random = Random(f"plan/{seed}")
        self.plan = draw_plan(self.random)
        first, *others = self.plan.shape.replica_names
        has_kernel = with_kernel and bool(others)
        self.cluster = Cluster(
            seed,
            self.plan.shape,
            self.plan.weather,
            machines={first: market_builder(MachineKind.KERNEL)} if has_kernel else None,
            starts_ms=self.plan.starts_ms,
            trace_lines=trace_lines,
        )
        self.scene = Scene(self.cluster, self.random, interval_ns=self.plan.interval_ns)

    def run(self) -> bool:
        """All of it; raises AssertionError at the first thing that is not as it has to be.

        Returns False when it ended early, as the shard had to stop: too few remember.
        """
        cluster, plan = self.cluster, self.plan
        cluster.run_until(lambda: cluster.has_begun, CALM_MS, "all start")
        for _ in range(plan.rounds):
            self._trade(plan.orders)
            mends = self._strike()
            if not self._calm(mends):
                return False
        cluster.network.weather = replace(
            plan.weather, drop=0.0, duplicate=0.0, reorder=0.0, corrupt=0.0
        )
        self._trade(LAST_ORDERS)
        cluster.settle(CALM_MS)
        return True

    def _trade(self, orders: int) -> None:
        for client in self.cluster.clients.values():
            client.trade(orders, self.plan.interval_ns)

    def _strike(self) -> list[Mend]:
        """Faults, one after the other or several at once; some are mended before the next one."""
        self.scene.begin()
        random, cluster = self.random, self.cluster
        weights = [fault.weight for fault in self.plan.faults]
        mends: list[Mend] = []
        for _ in range(random.choice((1, 2, 3, 4, 6, 8))):
            if random.random() < 0.75:
                cluster.run(self.scene.duration_ms() * random.random())
            if mends and random.random() < 0.4:
                mends.pop(random.randrange(len(mends)))()
                continue
            (fault,) = random.choices(self.plan.faults, weights)
            cluster.network.trace.note("fault", "{}", fault.kind)
            self.scene.trade()
            mend = fault.strike(self.scene)
            if mend is not None:
                cluster.network.count(fault.kind)
                mends.append(mend)
        cluster.run(self.scene.duration_ms())
        return mends

    def _calm(self, mends: list[Mend]) -> bool:
        """Whether all come back to life, which they have to while a majority remembers."""
        cluster = self.cluster
        cluster.network.trace.note("calm", "everything is mended")
        for mend in mends:
            mend()
        cluster.network.heal()
        cluster.shard.starved.clear()
        cluster.revive()
        try:
            cluster.settle(CALM_MS if self.scene.has_majority else STOPPED_AFTER_MS)
        except NotInTimeError:
            if self.scene.has_majority or not cluster.is_stopped:
                raise
            return False
        return True


@contextmanager
def logging_to(trace: Trace) -> Iterator[None]:
    """What production objects log goes into the trace."""

    def note(logger: Any, level: str, event: EventDict) -> EventDict:
        text = event.pop("event")
        values = " ".join(f"{key}={value}" for key, value in event.items())
        trace.note(trace.speaker, "{} {}", text, values)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[note],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _describe(error: BaseException) -> str:
    """What failed, and the innermost places in the code, the last one first."""
    what = str(error) or "an assertion does not hold"
    if not isinstance(error, AssertionError):
        what = f"{type(error).__name__}: {error}"
    places = [
        f"{frame.name} ({'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}): {frame.line}"
        for frame in reversed(traceback.extract_tb(error.__traceback__))
    ]
    return "\n".join([what, *(f"  in {place}" for place in places[:6])])
