"""One drill from its first process to its last: exchange, clients, rounds, audit."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from engine.markets import market_builder
from feed.settings import Address, FailoverSettings
from gateway.client import Client
from gateway.client_policy import ClientPolicy
from gateway.clients import read_clients
from tools.audit.auditing import audit_journals
from tools.console import Summary
from tools.drill.audit import Findings, audit
from tools.drill.drill import Drill
from tools.drill.endings import Ending, differences, shrinking_epochs
from tools.drill.flow import Flow, SweepFlow
from tools.drill.namespaces import Network
from tools.drill.report import DrillPlan, DrillReport, RoundReport
from tools.drill.rounds import finish_trading, run_round
from tools.drill.servers import choose_servers
from tools.drill.trader import Trader, Traders
from tools.drill.witness import Witness
from tools.drill.world import PROBE, WITHIN_S, WatchedShard, World
from tools.drill.zookeeper import SuspicionWatcher
from tools.journal.folders import open_journals
from tools.layout import SUBSCRIBER, Host
from tools.load.flow import ClientFlow
from tools.ports import HOST
from tools.processes import CLIENTS_FILE, DEFAULT_SYMBOLS, ClientSpec, Exchange
from tools.replicas import Status, status_request

RETRANSMITTERS = 2
# A client waits for as long as the drill does: until all processes have come back, for instance.
_PATIENT = ClientPolicy(give_up_after_ns=int(WITHIN_S * 1e9))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a drill runs under."""

    plan: DrillPlan
    network: Network | None = None  # hosts for the replicas; this process is in its hub
    logs: Path | None = None  # where copies of all logs go


async def run_drill(
    drill: Drill, conditions: Conditions, on_round: Callable[[RoundReport], None]
) -> DrillReport:
    """All rounds of a drill, each told to `on_round` as it ends, and what came of them.

    Raises CommandError when the exchange does not start, or does not come back after a fault.
    """
    plan = conditions.plan
    begin_ns = time.monotonic_ns()
    rounds: list[RoundReport] = []
    findings, told, sequence, audited = Findings(), list[str](), 0, 0
    while len(rounds) < plan.rounds:  # a shard that has stopped for good makes way for another
        async with opened_world(drill, conditions) as world:
            with _logs_kept(world.exchange, conditions.logs):
                stopped = False
                while len(rounds) < plan.rounds and not stopped:
                    rounds.append(await run_round(world, drill, len(rounds) + 1))
                    on_round(rounds[-1])
                    stopped = rounds[-1].stopped is not None
                told += await _end(world, stopped=stopped)
                if world.exchange.configuration.journal is not None and not stopped:
                    audited += await asyncio.to_thread(audited_frames, world.exchange, told)
                lists = {each.number: list(each.witness.groups()) for each in world.shards}
                home_of = world.exchange.configuration.first_directory().home_of
                findings.add(audit(lists, world.traders.records, home_of, stopped=stopped))
                sequence = sum(each.witness.sequence for each in world.shards)
    seconds = (time.monotonic_ns() - begin_ns) / 1e9
    return DrillReport(plan, rounds, findings, told, sequence, seconds, audited)


async def _end(world: World, *, stopped: bool) -> list[str]:
    """End the trading, and compare what everybody has at the end; the differences."""
    told = list[str]()
    for shard in world.shards:
        told += shrinking_epochs([reign.epoch for reign in shard.witness.reigns])
    if stopped:
        await world.traders.close()
        return told  # the holders lack what they forgot, each another part
    await finish_trading(world)
    await world.traders.close()  # who is logged out does not log in at the next gateway
    summaries = {}
    statuses = {
        name: await world.exchange.ask(name, status_request(digests=True))
        for shard in world.shards
        for name in shard.configuration.replicas
    }
    for shard in world.shards:
        for name in (*shard.configuration.gateways, *shard.configuration.retransmitters):
            if name not in summaries:
                summaries[name] = await world.exchange.finish(name)
    for shard in world.shards:
        told += differences(*endings(shard, statuses, summaries))
    return told


def audited_frames(exchange: Exchange, told: list[str]) -> int:
    """How many frames of the journals "lockstep audit" has gone through; what differs is added to
    what is told."""
    journal = exchange.configuration.journal
    assert journal is not None
    with open_journals([journal.folder]) as journals:
        report = audit_journals(journals, market_builder())
    every = [report.findings, *(each.findings for each in report.lists)]
    told += [
        f"audit: {' '.join(each.lines())}" for findings in every for each in findings.differences
    ]
    return sum(each.findings.checked["frames"] for each in report.lists)


@contextlib.asynccontextmanager
async def opened_world(drill: Drill, conditions: Conditions) -> AsyncIterator[World]:
    """The whole exchange with its ZooKeeper, its clients logged in, and the witness."""
    plan, network = conditions.plan, conditions.network
    names = [f"C{each + 1:02}" for each in range(plan.clients)]
    host = HOST if network is None else str(network.hub_address)
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstep-drill-"))
        servers = choose_servers(plan.zookeeper, drill, Path(folder), host)
        stack.push_async_callback(servers.close)
        await servers.start()
        exchange = Exchange(
            clients={name: ClientSpec() for name in (*names, PROBE)},
            symbols=DEFAULT_SYMBOLS,
            shards=plan.shards,
            replicas=plan.replicas,
            gateways=plan.gateways,
            retransmitters=RETRANSMITTERS,
            zookeeper_hosts=servers.hosts,
            failover=failover(plan.suspicion_time_ms),
            drills=True,
            feed_options=drill.feed_options,
            hosts=None if network is None else hosts(network),
            journal=drill.journal,
            environment=drill.environment,
        )
        await stack.enter_async_context(exchange)
        shards = []
        for number, view in exchange.shards.items():
            receive = exchange.receive_of(number)
            witness = await stack.enter_async_context(Witness(view, receive))
            watcher = stack.enter_context(SuspicionWatcher(view.zookeeper, view.exchange, number))
            shards.append(WatchedShard(number, view, witness, watcher))
        traders = await stack.enter_async_context(_traders(exchange, names, plan, drill))
        random = Random(plan.seed)
        yield World(exchange, servers, traders, shards, random, network)


def failover(suspicion_time_ms: int) -> FailoverSettings:
    """The settings for a suspicion time: heartbeats have to come twice in it at least."""
    default = FailoverSettings().heartbeat_interval_ms
    return FailoverSettings(
        heartbeat_interval_ms=min(default, max(1, suspicion_time_ms // 2)),
        suspicion_time_ms=suspicion_time_ms,
    )


def hosts(network: Network) -> dict[str, Host]:
    """Where each process runs: replicas on hosts of their own, all others here, in the hub."""
    placed = {SUBSCRIBER: Host((), str(network.hub_address))}
    for host in network.hosts:
        placed[host.name] = Host(("ip", "netns", "exec", host.namespace), str(host.address))
    return placed


def _traders(exchange: Exchange, names: list[str], plan: DrillPlan, drill: Drill) -> Traders:
    """The clients, each beginning at another gateway."""
    configuration = exchange.configuration
    addresses: list[Address] = [each.listen for each in configuration.gateways.values()]
    numbers = read_clients(exchange.folder / CLIENTS_FILE)
    traders = []
    for place, name in enumerate(names):
        first = place % len(addresses)
        in_turn = [*addresses[first:], *addresses[:first]]
        client = Client(in_turn, name, exchange.secrets[name], policy=_PATIENT)
        flow: Flow = ClientFlow(plan.seed, name, configuration.instruments)
        if drill.sweeps:
            flow = SweepFlow(place, plan.clients, configuration.instruments)
        traders.append(Trader(client, name, numbers[name].number, flow))
    return Traders(traders, plan.rate)


def endings(
    shard: WatchedShard, statuses: Mapping[str, Status], summaries: Mapping[str, Summary]
) -> tuple[Ending, list[Ending]]:
    """How the witness of a shard ended, and how everybody else did.

    The replicas were asked; the others told when they stopped, while the replicas still ran.
    """
    configuration, witness = shard.configuration, shard.witness
    others = []
    for name in configuration.replicas:
        status = statuses[name]
        others.append(
            Ending(
                name,
                status["sequence"],
                status["list_digest"],
                status["book_digest"],
                status["state_digest"],
            )
        )
    for name in configuration.gateways:
        summary = summaries[name]
        told = summary["shards"][str(shard.number)] if "shards" in summary else summary
        others.append(Ending(name, told["sequence"], told["list_digest"]))
    for name in configuration.retransmitters:
        summary = summaries[name]
        others.append(Ending(name, summary["next_sequence"] - 1, summary["list_digest"]))
    own = Ending("subscriber", witness.sequence, witness.list_digest, witness.book_digest)
    return own, others


@contextlib.contextmanager
def _logs_kept(exchange: Exchange, logs: Path | None) -> Iterator[None]:
    """Copy the logs before the exchange is gone, whatever became of it."""
    try:
        yield
    finally:
        _keep_logs(exchange, logs)


def _keep_logs(exchange: Exchange, logs: Path | None) -> None:
    if logs is None:
        return
    logs.mkdir(parents=True, exist_ok=True)
    for path in exchange.folder.glob("*.log"):
        shutil.copy(path, logs)
    for path in exchange.folder.glob("*.toml"):
        if path.name.startswith("exchange"):  # not the clients' secrets
            shutil.copy(path, logs)
