"""What the suites that run a whole exchange share: its processes, what they cost, and their end."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from rich.table import Table

from engine.control import ControlError
from engine.settings import InstrumentSettings, MachineKind
from feed.digest import ListDigest
from feed.listener import Listener
from feed.settings import FailoverSettings, SyncPolicy
from feed.subscriber import Groups, Subscriber
from tools.bench.figures import BenchmarkError
from tools.processes import DEFAULT_SYMBOLS, ClientSpec, Exchange
from tools.replicas import Status, all_follow

Result = TypeVar("Result")

REPLICAS = 3
RETRANSMITTERS = 2
# Two cores shared by eight busy processes let each of them wait for longer than the 30 ms after
# which a primary is suspected by default. Where speed is measured, nobody is to be replaced.
SUSPICION_TIME_MS = 1_000
REACHED_WITHIN_S = 30.0  # for what is under way to get to everybody
_LOOK_AGAIN_S = 0.01
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running_exchange(
    machine: MachineKind | None,
    *,
    gateways: int,
    clients: Mapping[str, ClientSpec] | None = None,
    symbols: Sequence[InstrumentSettings] = DEFAULT_SYMBOLS,
    gateway_options: Mapping[str, Any] | None = None,
    sync: SyncPolicy | None = None,
    shards: int = 1,
    suspicion_time_ms: int = SUSPICION_TIME_MS,
) -> AsyncIterator[Exchange]:
    """Three replicas with this machine, two retransmitters, gateways and the embedded ZooKeeper.

    Of several shards each has as many replicas and retransmitters. With `sync`, all holders keep
    journals under that policy.
    """
    names = [f"e{number}" for number in range(1, shards * REPLICAS + 1)]  # as Exchange has them
    exchange = Exchange(
        clients=clients or {},
        name="BENCH",
        symbols=symbols,
        shards=shards,
        replicas=REPLICAS,
        retransmitters=RETRANSMITTERS,
        gateways=gateways,
        failover=FailoverSettings(suspicion_time_ms=suspicion_time_ms),
        gateway_options=gateway_options,
        machines={} if machine is None else dict.fromkeys(names, machine),
        journal=None if sync is None else {"sync": sync},
    )
    async with exchange:
        yield exchange


async def watched(exchange: Exchange, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work; raises ChildError when a process of the exchange ends meanwhile."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(exchange.watch())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        return await working
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)


class FeedReader:
    """A subscriber that only counts and digests committed frames; a context manager."""

    def __init__(self, exchange: Exchange, shard: int | None = None) -> None:
        """Of several shards it reads the list of this one."""
        configuration = exchange.configuration.of_shard(shard)
        retransmitters = configuration.repair_addresses()
        self.sequence = 0  # of the last committed frame that came
        self.digest = ListDigest()
        self.subscriber = Subscriber(
            shard=configuration.feed.shard, source_count=len(retransmitters), random=Random()
        )
        self._listener = Listener(
            configuration.feed,
            self.subscriber,
            retransmitters,
            self._take,
            receive=exchange.receive_of(configuration.feed.shard),
        )

    def __enter__(self) -> "FeedReader":
        self._listener.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()

    async def reach(self, sequence: int) -> None:
        """Wait for a frame. Raises BenchmarkError when it does not come, or an earlier one."""
        deadline = time.monotonic() + REACHED_WITHIN_S
        while self.sequence < sequence:
            if self._listener.failed.done() or time.monotonic() > deadline:
                raise BenchmarkError(
                    f"frame {self.sequence + 1} did not come, of {sequence} that were to"
                )
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _take(self, groups: Groups) -> None:
        self.digest.update(groups.run)
        self.sequence = groups.run.last_sequence


async def until_all_have_all(exchange: Exchange, shard: int | None = None) -> Status:
    """Wait until every holder has all of a shard's list; the primary's status."""
    return await exchange.until("one list that all holders have", all_follow, shard=shard)


async def verify_ends(
    exchange: Exchange,
    began: Status,
    reader: FeedReader | None = None,
    shard: int | None = None,
) -> None:
    """Raise BenchmarkError unless all holders and gateways, and the reader, ended with one list,
    all replicas with one state, and the primary still leads that did when it `began`.

    Ends the gateways and the shard's retransmitters.
    """
    primary = await until_all_have_all(exchange, shard)
    if (primary["name"], primary["epoch"]) != (began["name"], began["epoch"]):
        raise BenchmarkError(f"{began['name']} led at first, and {primary['name']} took over")
    lists: dict[str, tuple[int, Any]] = {}  # the last frame's sequence number, and the digest
    states = {}
    if reader is not None:
        await reader.reach(primary["sequence"])
        lists["subscriber"] = reader.sequence, reader.digest.hex()
    for name, status in (await exchange.statuses(digests=True, shard=shard)).items():
        if isinstance(status, ControlError):
            raise BenchmarkError(f"{name} does not say how it ended: {status}")
        lists[name] = status["sequence"], status["list_digest"]
        states[name] = status["state_digest"]
    configuration = exchange.configuration.of_shard(shard)
    for name in configuration.gateways:
        summary = exchange.summaries.get(name) or await exchange.finish(name)
        told = summary if shard is None else summary["shards"][str(shard)]
        lists[name] = told["sequence"], told["list_digest"]
    for name in configuration.retransmitters:
        summary = await exchange.finish(name)
        lists[name] = summary["next_sequence"] - 1, summary["list_digest"]
    if len(set(lists.values())) != 1 or len(set(states.values())) != 1:
        raise BenchmarkError(f"not all ended with one list: {lists}, {states}")


class Spent(NamedTuple):
    """The CPU time of some processes between two moments."""

    seconds: float  # between the moments
    by_process: Mapping[str, float]  # in CPU seconds, in the order of the processes


class CpuMeter:
    """Reads what processes of this machine have spent, from /proc."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """`processes` are process numbers by name."""
        self._processes = processes
        self._begin = self._read()
        self._begin_s = time.monotonic()

    def spent(self) -> Spent:
        """Since this was made."""
        seconds = time.monotonic() - self._begin_s
        end = self._read()
        return Spent(seconds, {name: end[name] - self._begin[name] for name in end})

    def _read(self) -> dict[str, float]:
        return {name: _cpu_seconds(process_id) for name, process_id in self._processes.items()}


def process_ids(exchange: Exchange, **others: int) -> dict[str, int]:
    """The processes of an exchange by name, and these others."""
    return {name: child.process_id for name, child in exchange.children.items()} | others


def cpu_table(spent: Mapping[str, Spent], primary: str) -> Table:
    """How much of a core each process used, by stage: people want to see what bounds a figure."""
    table = Table(title="CPU time, in percent of one core", caption=f"{primary} is the primary")
    table.add_column("stage")
    for process in next(iter(spent.values())).by_process:
        table.add_column(process, justify="right")
    table.add_column("all", justify="right")
    for stage, each in spent.items():
        shares = [seconds / each.seconds * 100 for seconds in each.by_process.values()]
        table.add_row(stage, *(f"{share:.0f}" for share in (*shares, sum(shares))))
    return table


def _cpu_seconds(process_id: int) -> float:
    """User and system time of a process with its threads, to a hundredth."""
    text = Path(f"/proc/{process_id}/stat").read_text()
    fields = text.rpartition(")")[2].split()  # the name before may hold blanks
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
