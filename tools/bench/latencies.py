"""What the suites that send orders share: the stages' figures, and a process to compare with."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import RenderableType

from feed.messages import symbol_field
from tools.bench.apart import Apart
from tools.bench.figures import BenchmarkError, Measurement, Report, measurement
from tools.bench.order_driver import (
    LOG_IN_WITHIN_S,
    Busy,
    DrivePlan,
    DriveResult,
    Paced,
    Stage,
    StageResult,
    Sweep,
    answer_at_once,
    drive,
)
from tools.bench.rig import cpu_table
from tools.processes import DEFAULT_SYMBOLS

SYMBOL_FIELDS = tuple(symbol_field(each.symbol) for each in DEFAULT_SYMBOLS)
_STAGE_WITHIN_S = 150.0  # beyond its own seconds
_LONGEST_BARE_S = 2.0
_NS_PER_MS = 1_000_000


async def drive_exchange(plan: DrivePlan) -> DriveResult:
    """Do a plan's stages from a process of their own."""
    within_s = LOG_IN_WITHIN_S + sum(map(_longest_s, plan.stages))
    with Apart(drive, plan) as driver:
        return await driver.hear(within_s)


async def drive_answerer(users: Sequence[str], secret: str, stages: Sequence[Stage]) -> DriveResult:
    """Do the same stages with a process that accepts every order at once and does nothing else.

    None of them lasts longer than is needed to see how quiet the computer is.
    """
    stages = [
        each
        if isinstance(each, Sweep)
        else replace(each, seconds=min(each.seconds, _LONGEST_BARE_S))
        for each in stages
    ]
    with Apart(answer_at_once) as answerer:
        address = await answerer.hear(LOG_IN_WITHIN_S)
        if address is None:
            raise BenchmarkError("the process to compare with ended")
        processes = {"answerer": answerer.process_id}
        return await drive_exchange(
            DrivePlan(address, users, secret, SYMBOL_FIELDS, stages, processes)
        )


def stages_report(
    suite: str, stages: Sequence[Stage], ours: DriveResult, bare: DriveResult, primary: str
) -> Report:
    """The figures of all stages, `bare` being those with the process that answers at once."""
    measurements: list[Measurement] = []
    drawings: list[RenderableType] = []
    for stage, result, beside in zip(stages, ours.stages, bare.stages, strict=True):
        if not isinstance(stage, Paced):
            unit = "cancels/s" if isinstance(stage, Sweep) else "orders/s"
            measurements.append(
                measurement(suite, stage_name(stage), result.per_second, unit, beside.per_second)
            )
        else:
            measurements += _latencies(suite, stage_name(stage), result, beside)
            late_ms = result.lateness.percentile(0.99) / _NS_PER_MS
            title = (
                f"latency, {stage_name(stage)} (p99 of how late they were sent: {late_ms:.2f} ms)"
            )
            drawings.append(result.latencies.draw(title))
    names = [stage_name(stage) for stage in stages]
    spent = dict(zip(names, (result.spent for result in ours.stages), strict=True))
    return Report(measurements, [*drawings, cpu_table(spent, primary)])


def stage_name(stage: Stage) -> str:
    """What a stage is called in figures."""
    match stage:
        case Busy():
            return f"{stage.flow} orders"
        case Paced():
            return f"{stage.rate:,}/s"
        case Sweep():
            return "cancels"


def _longest_s(stage: Stage) -> float:
    """How long a stage may take, with what is under way at its end, on a busy machine."""
    own_s = 0.0 if isinstance(stage, Sweep) else stage.warm_up_s + stage.seconds
    return own_s + _STAGE_WITHIN_S


def _latencies(
    suite: str, name: str, ours: StageResult, bare: StageResult
) -> Iterator[Measurement]:
    beside = bare.latencies.percentiles()
    for (field, value), value_beside in zip(
        ours.latencies.percentiles()._asdict().items(), beside, strict=True
    ):
        figure = f"{name}, {field.replace('_', '.')}"
        yield measurement(suite, figure, value / _NS_PER_MS, "ms", value_beside / _NS_PER_MS)
