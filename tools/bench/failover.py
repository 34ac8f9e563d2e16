"""The suite `failover`: how long the exchange stands still when its primary is killed.

The rounds are those of `lockstep drill kill-primary`, with its audit: a figure counts only if
nothing was lost, done twice or changed.
"""

from tools.bench.figures import BenchmarkError, Measurement, Report, measurement
from tools.drill.kinds import KillPrimary
from tools.drill.report import DrillPlan
from tools.drill.run import Conditions, run_drill
from tools.drill.servers import EMBEDDED
from tools.drill.statistics import Distribution

ROUNDS = 10
RATE = 1_000
_SUITE = "failover"
_REPLICAS = 3
_GATEWAYS = 2
_CLIENTS = 4
_TOLD_PROBLEMS = 3  # `lockstep drill kill-primary` tells more


async def measure_failover(rounds: int, rate: int, suspicion_time_ms: int, seed: int) -> Report:
    """Takeover and outage over some rounds; the baseline is the suspicion time, in which nothing
    can happen yet.

    Raises BenchmarkError when the drill's audit finds anything.
    """
    plan = DrillPlan(
        KillPrimary.name,
        rounds,
        rate,
        seed,
        EMBEDDED,
        suspicion_time_ms,
        _REPLICAS,
        _GATEWAYS,
        _CLIENTS,
    )
    report = await run_drill(KillPrimary(), Conditions(plan), lambda round_report: None)
    if not report.is_sound:
        findings = report.findings
        problems = [*findings.problems, *report.differences][:_TOLD_PROBLEMS]
        raise BenchmarkError(
            f"the exchange did not bear its failovers: {findings.lost} lost, {findings.doubled} "
            f"doubled, {findings.changed} changed; {'; '.join(problems)}"
        )
    return Report(
        [
            *_figures("takeover", report.takeover, suspicion_time_ms),
            *_figures("outage", report.outage, suspicion_time_ms),
        ]
    )


def _figures(name: str, spread: Distribution, baseline: float) -> list[Measurement]:
    return [
        measurement(_SUITE, f"{name}, {field}", value, "ms", baseline)
        for field, value in spread._asdict().items()
        if value is not None
    ]
