"""`lockstep drill NAME`: the command line of the drills."""

import asyncio
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from feed.settings import FailoverSettings, SyncPolicy
from tools.console import ExitStatus, UsageError, print_json, until_told_to_stop
from tools.drill.drill import Drill
from tools.drill.false_alarms import DEFAULT_TIMES_MS, CurvePlan, run_curve
from tools.drill.hub import network_here, run_in_hub
from tools.drill.kill_all import KillAll
from tools.drill.kinds import DRILLS, KillPrimary
from tools.drill.namespaces import require_root
from tools.drill.report import DrillPlan, RoundReport
from tools.drill.run import RETRANSMITTERS, Conditions, failover, run_drill
from tools.drill.servers import APACHE, EMBEDDED, check_choice
from tools.options import JsonOption

CLIENTS = 4
_MOST_REPLICAS = 7
_MOST_GATEWAYS = 8
_MOST_SHARDS = 4  # a drill has four instruments, and each shard at least one

drill_app = typer.Typer(
    help="Break it, and lose nothing: faults under load, and an audit of all that clients saw.",
    no_args_is_help=True,
)

RoundsOption: TypeAlias = Annotated[
    int, typer.Option(min=1, metavar="N", help="How often the fault is done.")
]
RateOption: TypeAlias = Annotated[
    int,
    typer.Option(min=10, max=20_000, metavar="N", help="Commands a second, of four clients."),
]
ZooKeeperOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help='"embedded", "apache" (started here), or HOST:PORT,... of servers that run.',
    ),
]
SuspicionOption: TypeAlias = Annotated[
    int,
    typer.Option(min=2, max=60_000, metavar="MS", help="Silence after which holders suspect."),
]
GatewaysOption: TypeAlias = Annotated[
    int, typer.Option(min=1, max=_MOST_GATEWAYS, metavar="N", help="How many gateways.")
]
ReplicasOption: TypeAlias = Annotated[
    int, typer.Option(min=2, max=_MOST_REPLICAS, metavar="N", help="How many replicas.")
]
ShardsOption: TypeAlias = Annotated[
    int,
    typer.Option(min=1, max=_MOST_SHARDS, metavar="N", help="How many shards; struck in turns."),
]
SeedOption: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="Draws the commands, the moments and the victims.")
]
LogsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--keep-logs",
        metavar="FOLDER",
        help="Copy the logs of all processes there at the end, however it ends.",
    ),
]

_DEFAULT_ROUNDS = 5
_DEFAULT_RATE = 1000
_DEFAULT_SUSPICION_TIME_MS = FailoverSettings().suspicion_time_ms


def _command_of(kind: type[Drill]) -> Callable[..., None]:
    """The function behind `lockstep drill NAME`; all drills take the same options."""

    def command(
        rounds: RoundsOption = _DEFAULT_ROUNDS,
        rate: RateOption = _DEFAULT_RATE,
        zookeeper: ZooKeeperOption = None,
        suspicion_time_ms: SuspicionOption = _DEFAULT_SUSPICION_TIME_MS,
        gateways: GatewaysOption = 2,
        replicas: ReplicasOption = 3,
        shards: ShardsOption = 1,
        seed: SeedOption = 1,
        keep_logs: LogsOption = None,
        as_json: JsonOption = False,
    ) -> None:
        if kind.one_shard and shards > 1:
            raise UsageError(
                f"{kind.name} gives each replica a host, and there are hosts for one shard only: "
                "leave --shards out"
            )
        needs_apache = kind.kills_a_leader or kind.cuts_hosts
        plan = DrillPlan(
            kind.name,
            rounds,
            rate,
            seed,
            zookeeper or (APACHE if needs_apache else EMBEDDED),
            suspicion_time_ms,
            replicas,
            gateways,
            CLIENTS,
            shards=shards,
        )
        _drill(kind(), plan, keep_logs, as_json=as_json)

    command.__doc__ = _help_of(kind)
    return command


def _help_of(kind: type[Drill]) -> str:
    return (
        f"{inspect.getdoc(kind)}\n\nThe exit status is 1 when a command was lost or done twice, or "
        f"not all ended with the same list.\n\nExample:\nlockstep drill {kind.name} --rounds 20"
    )


def _kill_all(
    rounds: RoundsOption = _DEFAULT_ROUNDS,
    rate: RateOption = _DEFAULT_RATE,
    sync: Annotated[
        SyncPolicy, typer.Option(help="When the journals force frames to the disk.")
    ] = SyncPolicy.GROUP,
    power_cut: Annotated[
        bool,
        typer.Option("--power-cut", help="The journals lose what they had not forced to the disk."),
    ] = False,
    zookeeper: ZooKeeperOption = None,
    suspicion_time_ms: SuspicionOption = _DEFAULT_SUSPICION_TIME_MS,
    gateways: GatewaysOption = 2,
    replicas: ReplicasOption = 3,
    shards: ShardsOption = 1,
    seed: SeedOption = 1,
    keep_logs: LogsOption = None,
    as_json: JsonOption = False,
) -> None:
    plan = DrillPlan(
        KillAll.name,
        rounds,
        rate,
        seed,
        zookeeper or EMBEDDED,
        suspicion_time_ms,
        replicas,
        gateways,
        CLIENTS,
        sync.value,
        power_cut,
        shards,
    )
    _drill(KillAll(sync, power_cut=power_cut), plan, keep_logs, as_json=as_json)


_kill_all.__doc__ = _help_of(KillAll)
for _kind in DRILLS:
    drill_app.command(_kind.name)(_kill_all if _kind is KillAll else _command_of(_kind))


@drill_app.command("false-alarms")
def false_alarms(
    times_ms: Annotated[
        str, typer.Option("--times-ms", metavar="A,B", help="The suspicion times to try.")
    ] = ",".join(map(str, DEFAULT_TIMES_MS)),
    seconds: Annotated[
        float, typer.Option(min=1, metavar="S", help="How long to watch, idle and then busy.")
    ] = 20.0,
    rounds: RoundsOption = _DEFAULT_ROUNDS,
    rate: RateOption = _DEFAULT_RATE,
    burners: Annotated[
        int, typer.Option(min=0, max=64, metavar="N", help="Processes that burn a core each.")
    ] = 0,
    zookeeper: ZooKeeperOption = None,
    gateways: GatewaysOption = 2,
    replicas: ReplicasOption = 3,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """How low the suspicion time can go: false alarms, idle and busy, and the takeover it buys.

    At each time, an exchange is watched while nothing is wrong with it, and then its primary is
    killed in some rounds.

    Example:
    lockstep drill false-alarms --times-ms 5,10,20,50 --burners 2
    """
    choice = zookeeper or EMBEDDED
    check_choice(choice, KillPrimary)
    times = parse_times(times_ms)
    plan = CurvePlan(
        times, seconds, rounds, rate, burners, choice, replicas, gateways, CLIENTS, seed
    )
    curve = asyncio.run(until_told_to_stop(lambda: run_curve(plan, _say)))
    if as_json:
        print_json(curve.summary())
    else:
        curve.print_table()


def parse_times(text: str) -> tuple[int, ...]:
    """The suspicion times in an option; raises UsageError when they can't be used."""
    try:
        times = tuple(int(word) for word in text.split(","))
        for each in times:
            failover(each)
    except ValueError as error:
        raise UsageError(f"--times-ms {text}: use whole milliseconds, from 2 on") from error
    return times


def _drill(drill: Drill, plan: DrillPlan, keep_logs: Path | None, *, as_json: bool) -> None:
    check_choice(plan.zookeeper, drill)
    network = None
    if drill.cuts_hosts:
        names = [f"e{each + 1}" for each in range(plan.replicas)]
        require_root()
        network = network_here(names, os.environ)
        if network is None:
            sys.exit(run_in_hub(names, sys.argv[1:]))
    conditions = Conditions(plan, network, keep_logs)

    def on_round(report: RoundReport) -> None:
        for line in report.lines(plan.rounds):
            _say(line) if as_json else print(line, flush=True)

    holders = f"{plan.replicas} replicas, {RETRANSMITTERS} retransmitters"
    if plan.shards > 1:
        holders = f"{plan.shards} shards, each of {holders}"
    _say(f"{drill.name}: starting {holders} ...")
    report = asyncio.run(until_told_to_stop(lambda: run_drill(drill, conditions, on_round)))
    if as_json:
        print_json(report.summary())
    else:
        print(*report.lines(), sep="\n")
    if not report.is_sound:
        sys.exit(ExitStatus.FAILED)


def _say(line: str) -> None:
    """What is being done, for whoever waits; results go to stdout."""
    print(line, file=sys.stderr, flush=True)
