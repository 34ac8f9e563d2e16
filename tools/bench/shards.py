"""The suite `shards`: what a command costs with one shard and with several, each with its own flow.

The exchange is that of the suite `pipeline`, once for each number of shards: three replicas and two
retransmitters a shard, each a process, and for each shard one more that writes the same flow to its
primary. Shards share nothing but the computer: where a command costs as much with several as with
one, throughput grows with the shards as long as there are cores. Then orders go through a gateway
over two shards, to one of them: from clients that are at home there, and from others.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from engine.settings import InstrumentSettings, MachineKind
from feed.messages import SelfTradePrevention, symbol_field
from gateway.clients import read_clients
from gateway.settings import SessionLimits
from tools.bench.apart import Apart
from tools.bench.figures import BenchmarkError, Measurement, Report, measurement
from tools.bench.histogram import Histogram
from tools.bench.latencies import drive_exchange
from tools.bench.order_bytes import OrderFlow
from tools.bench.order_driver import DrivePlan, Paced
from tools.bench.pipeline import commands_between, verify_sent
from tools.bench.pipeline_driver import Mark, Sent, send_commands
from tools.bench.rig import (
    CpuMeter,
    Spent,
    process_ids,
    running_exchange,
    until_all_have_all,
    verify_ends,
    watched,
)
from tools.bench.workload import PREFILL, TICK
from tools.processes import CLIENTS_FILE, ClientSpec, Exchange
from tools.replicas import status_request

COUNTS = (1, 2, 4)
CLIENTS = 4  # of each kind, at the gateway
OPERATIONS = 8 * PREFILL  # of the mix in a cycle of the tape
_SUITE = "shards"
_WARM_UP_S = 2.0
_LONGER_S = 5.0  # for the drivers that are ready first
_MORE_TIME_S = 60.0  # to make the tapes, and for what is under way at the end
# Twenty busy processes on few cores: each of them may wait for seconds.
_SUSPICION_TIME_MS = 10_000
_LIMIT = 1_000_000  # orders a second: no client is to be slowed down by its own limit
_SECRET = "benches"
_NS_PER_MS = 1_000_000
_MOST_CLIENTS = 64  # of which some are at home in each shard


class Load(NamedTuple):
    """What some shards did under full load, all at the same time."""

    committed: Sequence[int]  # commands, by shard
    spent: Spent

    @property
    def per_second(self) -> float:
        """Commands committed by all shards a second."""
        return sum(self.committed) / self.spent.seconds

    @property
    def cpu_us(self) -> float:
        """What a committed command cost in its shard's processes, in µs of CPU."""
        return sum(self.spent.by_process.values()) / sum(self.committed) * 1e6


async def measure_shards(
    machine: MachineKind | None,
    seconds: float,
    counts: Sequence[int] = COUNTS,
    rate: int = 1_000,
    seed: int = 1,
) -> Report:
    """Throughput and cost by the number of shards, and latencies at home and elsewhere.

    Raises BenchmarkError when anything is lost, refused or not the same for all.
    """
    loads = {count: await measure_load(machine, count, seconds, seed) for count in counts}
    figures = list(load_figures(loads))
    alone = await measure_latencies(machine, 1, seconds, rate)
    several = await measure_latencies(machine, 2, seconds, rate)
    figures += latency_figures(rate, alone, several)
    return Report(figures)


def load_figures(loads: Mapping[int, Load]) -> Iterator[Measurement]:
    """The figures of each number of shards, beside those of the smallest one."""
    cores = os.cpu_count() or 1
    first = next(iter(loads.values()))
    for count, load in loads.items():
        name = _of_shards(count)
        yield measurement(
            _SUITE, f"{name}, committed commands", load.per_second, "1/s", first.per_second
        )
        used = sum(load.spent.by_process.values()) / load.spent.seconds
        yield measurement(_SUITE, f"{name}, cores used by shards", used, "cores", cores)
        yield measurement(
            _SUITE, f"{name}, CPU per committed command", load.cpu_us, "us/command", first.cpu_us
        )


def latency_figures(
    rate: int, alone: Sequence[Histogram], several: Sequence[Histogram]
) -> Iterator[Measurement]:
    """Of orders to a client's home, beside those of an exchange with one shard; and of orders to
    another shard, beside those to the home."""
    (one,) = alone
    home, elsewhere = several
    for name, ours, beside in (("at home", home, one), ("elsewhere", elsewhere, home)):
        for text, share in (("p50", 0.5), ("p99", 0.99)):
            value, baseline = ours.percentile(share), beside.percentile(share)
            figure = f"{rate:,}/s {name}, {text}"
            yield measurement(_SUITE, figure, value / _NS_PER_MS, "ms", baseline / _NS_PER_MS)


async def measure_load(machine: MachineKind | None, count: int, seconds: float, seed: int) -> Load:
    """So many shards at once, each with as many commands as it takes."""
    symbols = _symbols(count)
    exchange = running_exchange(
        machine,
        gateways=0,
        symbols=symbols,
        shards=count,
        suspicion_time_ms=_SUSPICION_TIME_MS,
    )
    async with exchange as running:
        began = {shard: await until_all_have_all(running, shard) for shard in running.shards}
        with contextlib.ExitStack() as stack:
            drivers = {
                shard: stack.enter_context(
                    Apart(
                        send_commands,
                        running.configuration.all_replicas()[status["name"]].commands,
                        PREFILL,
                        OPERATIONS,
                        seed,
                        _WARM_UP_S + seconds + _LONGER_S,
                        symbol_field(symbols[shard - 1].symbol),
                    )
                )
                for shard, status in began.items()
            }
            primaries = {shard: str(status["name"]) for shard, status in began.items()}
            load, sent = await watched(running, _load(running, drivers, primaries, seconds))
        for shard, each in sent.items():
            of = shard if count > 1 else None
            status = await until_all_have_all(running, shard)
            verify_sent(each, status["sequence"], status)
            await verify_ends(running, began[shard], shard=of)
    return load


async def _load(
    exchange: Exchange,
    drivers: Mapping[int, Apart[Mark | Sent]],
    primaries: Mapping[int, str],
    seconds: float,
) -> tuple[Load, dict[int, Sent]]:
    """Let all drivers send, and see what is committed within so many seconds, and what it costs."""

    async def committed() -> dict[int, int]:
        request = status_request(digests=False)
        asked = (exchange.ask(name, request) for name in primaries.values())
        statuses = await asyncio.gather(*asked)
        return {
            shard: int(status["committed_sequence"])
            for shard, status in zip(primaries, statuses, strict=True)
        }

    await asyncio.gather(*(driver.hear(_MORE_TIME_S) for driver in drivers.values()))
    await asyncio.sleep(_WARM_UP_S)
    views = exchange.shards.values()
    holders = {name for each in views for name in (*each.replicas, *each.retransmitters)}
    begins = await committed()
    meter = CpuMeter(
        {name: each for name, each in process_ids(exchange).items() if name in holders}
    )
    await asyncio.sleep(seconds)
    ends = await committed()
    spent = meter.spent()
    sent: dict[int, Sent] = {}
    for shard, driver in drivers.items():
        heard = await driver.hear(_MORE_TIME_S)
        assert isinstance(heard, Sent)
        sent[shard] = heard
    counts = [
        commands_between(each.marks, begins[shard], ends[shard]) for shard, each in sent.items()
    ]
    return Load(counts, spent), sent


def _symbols(shards: int) -> list[InstrumentSettings]:
    """An instrument for each shard."""
    return [
        InstrumentSettings(
            symbol=f"BENCH{shard}", tick_size=TICK, shard=shard if shards > 1 else None
        )
        for shard in range(1, shards + 1)
    ]


async def measure_latencies(
    machine: MachineKind | None, shards: int, seconds: float, rate: int
) -> list[Histogram]:
    """Latencies of orders to shard 1 through a gateway, by the home of the clients."""
    users = [f"S{number:03}" for number in range(1, _MOST_CLIENTS + 1)]
    exchange = running_exchange(
        machine,
        gateways=1,
        clients=dict.fromkeys(users, ClientSpec(_SECRET, SelfTradePrevention.OFF)),
        symbols=_symbols(shards),
        gateway_options={"sessions": SessionLimits(orders_per_second=_LIMIT, orders_burst=_LIMIT)},
        shards=shards,
    )
    async with exchange as running:
        began = {shard: await until_all_have_all(running, shard) for shard in running.shards}
        (gateway,) = running.configuration.gateways.values()
        numbers = {
            name: each.number for name, each in read_clients(running.folder / CLIENTS_FILE).items()
        }
        home_of = running.configuration.first_directory().home_of
        found = []
        for home in running.shards:
            at_home = [name for name in users if home_of(numbers[name]) == home][:CLIENTS]
            if len(at_home) < CLIENTS:
                raise BenchmarkError(f"too few of {_MOST_CLIENTS} clients are at home in {home}")
            stages = [Paced(seconds, rate, OrderFlow.TRADING)]
            symbols = (symbol_field("BENCH1"),)
            plan = DrivePlan(gateway.listen, at_home, _SECRET, symbols, stages)
            result = await watched(running, drive_exchange(plan))
            found.append(result.stages[0].latencies)
        for shard, status in began.items():
            await verify_ends(running, status, shard=shard if shards > 1 else None)
    return found


def _of_shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"
