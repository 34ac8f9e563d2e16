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
from tools.simulation.clients import ClientNode
from tools.simulation.cluster import Cluster, NotInTimeError
from tools.simulation.operator import Operator
from tools.simulation.outcome import Outcome
from tools.simulation.plan import draw_plan
from tools.simulation.scene import Mend, Scene
from tools.simulation.shard_plan import draw_shards
from tools.simulation.trace import LINES, Trace
from tools.simulation.watchdog import OutOfTime
from zk.directory import Directory

# How long calm may take, in virtual time: many times what the longest time-outs add up to.
CALM_MS = 60_000
LAST_ORDERS = 5
# The same when more than a minority has forgotten, so that it may be in vain.
STOPPED_AFTER_MS = 8_000
# While one shard is cut off: when all others must have taken orders.
GOES_ON_WITHIN_MS = 10_000


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
    witnesses = [each.witness for each in cluster.clusters.values()]
    outcome.takeovers = sum(max(0, len(each.epochs) - 1) for each in witnesses)
    outcome.faults = cluster.network.faults
    lists = (b"".join(each.committed) for each in witnesses)
    outcome.digest = hashlib.sha256(b"".join(lists)).hexdigest()
    return outcome


class Simulation:
    """One run."""

    def __init__(self, seed: int, trace_lines: int = LINES, *, with_kernel: bool = False) -> None:
        self.random = Random(f"plan/{seed}")
        self.plan = plan = draw_plan(self.random)
        self.shards = shards = draw_shards(Random(f"shards/{seed}"), plan.shape)
        names = [shape.replica_names for shape in (plan.shape, *shards.shapes)]
        kernel = market_builder(MachineKind.KERNEL) if with_kernel else None
        self.cluster = Cluster(
            seed,
            plan.shape,
            plan.weather,
            machines={first: kernel for first, *others in names if kernel and others},
            starts_ms=plan.starts_ms,
            trace_lines=trace_lines,
            others=shards.shapes,
            directory=shards.directory,
        )
        self.scenes = [
            Scene(cluster, self.random, interval_ns=plan.interval_ns)
            for cluster in self.cluster.clusters.values()
        ]
        if shards.shapes:
            operator = Operator(self.cluster, Random(f"operator/{seed}"))
            self.cluster.is_settled = lambda: operator.is_idle
            for scene in self.scenes:
                scene.operator = operator

    def run(self) -> bool:
        """All of it; raises AssertionError at the first thing that is not as it has to be.

        Returns False when it ended early, as a shard had to stop: too few remember.
        """
        cluster, plan = self.cluster, self.plan
        cluster.run_until(lambda: cluster.has_begun, CALM_MS, "all start")
        for _ in range(plan.rounds):
            self._trade(plan.orders)
            mends = self._strike()
            if not self._calm(mends):
                return False
            if self.shards.later is not None:
                self._add_shards(self.shards.later)
        if self.shards.cuts_off is not None:
            self._cut_off(self.shards.cuts_off)
        cluster.network.weather = replace(
            plan.weather, drop=0.0, duplicate=0.0, reorder=0.0, corrupt=0.0
        )
        self._trade(LAST_ORDERS)
        cluster.settle(CALM_MS)
        return True

    @property
    def clients(self) -> list[ClientNode]:
        """All clients."""
        return list(self.cluster.clients.values())

    def _trade(self, orders: int) -> None:
        for client in self.clients:
            client.trade(orders, self.plan.interval_ns)

    def _strike(self) -> list[Mend]:
        """Faults, one after the other or several at once; some are mended before the next one."""
        for each in self.scenes:
            each.begin()
            if each.operator is not None:
                each.operator.rest()
        random, cluster = self.random, self.cluster
        scene = self.scenes[0]
        faults = (*self.plan.faults, *self.shards.faults)
        weights = [fault.weight for fault in faults]
        mends: list[Mend] = []
        for _ in range(random.choice((1, 2, 3, 4, 6, 8))):
            if random.random() < 0.75:
                cluster.run(scene.duration_ms() * random.random())
            if mends and random.random() < 0.4:
                mends.pop(random.randrange(len(mends)))()
                continue
            (fault,) = random.choices(faults, weights)
            if len(self.scenes) > 1:
                scene = random.choice(self.scenes)
                cluster.network.trace.note("fault", "in shard {}:", scene.cluster.shard.number)
            cluster.network.trace.note("fault", "{}", fault.kind)
            scene.trade()
            mend = fault.strike(scene)
            if mend is not None:
                cluster.network.count(fault.kind)
                mends.append(mend)
        cluster.run(scene.duration_ms())
        return mends

    def _add_shards(self, later: Directory) -> None:
        """There are more shards from now on."""
        places = self.cluster.places
        directory = places.directory
        for shard in later.shards:
            if shard not in directory.shards:
                directory = directory.add_shard(shard)
        for symbol in later.symbols:
            if symbol not in directory.symbols:
                directory = directory.add_symbol(symbol, later.shard_of(symbol))
        places.change(directory)

    def _cut_off(self, number: int) -> None:
        """One shard is cut off from all gateways, and nothing else goes wrong: the others go on."""
        cluster = self.cluster
        for gateway in cluster.gateways:
            cluster.cut(gateway, list(cluster.clusters[number].holders))
        cluster.network.trace.note("fault", "shard {} is cut off, and no other", number)
        # An order for a symbol of which its gateway has not heard yet would go to another shard.
        cluster.run_until(
            lambda: cluster.places.is_known, GOES_ON_WITHIN_MS, "all have to hear where symbols are"
        )
        places = cluster.places.directory.symbols.items()
        symbols = {name: shards[-1] for name, shards in places if shards[-1] != number}
        counts = {
            shard: cluster.ledger.commands_in(shard, without_home=number)
            for shard in symbols.values()
        }
        home_of = cluster.ledger.streams.home_of
        others = [client for client in self.clients if home_of(client.number) != number]
        for client in others:
            client.enter(list(symbols))
        if others:
            cluster.run_until(
                lambda: all(
                    cluster.ledger.commands_in(shard, without_home=number) > count
                    for shard, count in counts.items()
                ),
                GOES_ON_WITHIN_MS,
                f"the others have to go on without shard {number}",
            )
        self._trade(LAST_ORDERS)
        cluster.network.heal()

    def _calm(self, mends: list[Mend]) -> bool:
        """Whether all come back to life, which they have to while a majority remembers."""
        cluster = self.cluster
        cluster.network.trace.note("calm", "everything is mended")
        for mend in mends:
            mend()
        cluster.network.heal()
        for each in cluster.clusters.values():
            each.shard.starved.clear()
        cluster.revive()
        forgetful = [scene for scene in self.scenes if not scene.has_majority]
        try:
            cluster.settle(STOPPED_AFTER_MS if forgetful else CALM_MS)
        except NotInTimeError:
            if not any(scene.cluster.is_stopped for scene in forgetful):
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
