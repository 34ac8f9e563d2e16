"""`lockstep bench`: what it prints, and the suites that need a whole exchange, made small."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from engine.settings import MachineKind
from gateway.clients import read_clients
from gateway.verifier import Verifier
from tools.bench import clients, environment, failover, workload
from tools.bench.command import bench_app, parse_rates
from tools.bench.environment import describe_environment
from tools.bench.figures import BenchmarkError, Measurement, measurement, number, table, to_json
from tools.console import UsageError
from tools.drill.audit import Findings
from tools.drill.report import DrillPlan, DrillReport, RoundReport
from tools.drill.run import Conditions

KEYS = ["suite", "name", "value", "unit", "baseline", "ratio"]
MS = 1_000_000


@pytest.fixture(autouse=True)
def _small_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "PREFILL", 200)


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(bench_app, arguments)


def figures(suite: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """What a suite gives with --json, by name, after a look at its form."""
    result = bench(suite, *arguments, "--json")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "Python" in result.stderr
    assert "machine in use: " in result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    for each in found:
        assert list(each) == KEYS
        assert each["suite"] == suite
        assert isinstance(each["name"], str)
        assert isinstance(each["unit"], str)
        for key in ("value", "baseline", "ratio"):
            assert isinstance(each[key], int | float)
            assert each[key] >= 0
        if each["baseline"]:
            assert each["ratio"] == pytest.approx(each["value"] / each["baseline"], rel=0.02)
    return {each["name"]: each for each in found}


def test_the_machines_figures_as_json_and_as_a_table() -> None:
    small = ("--operations", "128", "--runs", "1", "--depth", "1000")
    found = figures("machine", *small)
    assert found["mixed, reference"]["value"] > found["mixed, reference"]["baseline"]
    assert "mixed, 1,000 orders in the book" in found
    result = bench("machine", *small)
    assert result.exit_code == 0
    assert "machine in use: " in result.stdout
    assert "baseline: a tuned plain-Python book" in result.stdout


def test_without_the_kernel_the_reference_is_measured_and_said_to_be_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tools.bench.machine.KernelMarket", None)
    monkeypatch.setattr("engine.markets.KernelMarket", None)
    assert "machine in use: reference" in describe_environment()
    found = figures("machine", "--operations", "128", "--runs", "1", "--depth", "1000")
    assert not [name for name in found if "kernel" in name]
    with pytest.raises(UsageError, match="the kernel was not built here"):
        describe_environment(MachineKind.KERNEL)


def test_the_environment_names_every_codec() -> None:
    told = describe_environment(MachineKind.REFERENCE)
    assert "machine in use: reference" in told
    for selector in environment.codecs_in_use():
        assert selector in told
        assert selector.split(".")[0] in ("feed", "gateway")


def test_orders_through_a_whole_gateway_in_both_ways() -> None:
    found = figures("gateway", "--seconds", "0.3", "--clients", "2", "--rates", "200")
    assert list(found) == [
        "resting orders",
        "cancels",
        "trading orders",
        *(f"200/s, {each}" for each in ("p50", "p99", "p99.9", "max")),
    ]
    assert found["resting orders"]["value"] > 200
    p50, p99, p99_9, longest = (each["value"] for each in list(found.values())[3:])
    assert 0 < p50 <= p99 <= p99_9 <= longest


def test_many_clients_stay_connected_and_are_answered() -> None:
    result = bench("clients", "--clients", "150", "--seconds", "0.5", "--rates", "300")
    assert result.exit_code == 0, result.output
    rows = {
        cells[0]: cells[1:]
        for line in result.stdout.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("│").split("│")]) == 5
    }
    assert rows["clients connected"] == ["150", "clients", "150", "1.00"]
    assert {"all logged in", "300/s, accepted", "300/s, p99", "heartbeats to clients"} <= set(rows)
    assert "latency, 300/s (p99 of how late they were sent: " in result.stdout
    assert "g1" in result.stdout  # in the table of CPU time


def test_clients_of_the_bench_can_log_in_cheaply(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    clients.write_clients(path, ["C00001", "C00002"])
    assert [each.number for each in read_clients(path).values()] == [1, 2]
    verified = Verifier(path).verify("C00002", "benches")
    assert verified is not None
    assert verified.number == 2


def drill_report(plan: DrillPlan, findings: Findings, outages_ms: Sequence[int]) -> DrillReport:
    rounds = [RoundReport(number, 0, epoch_before=number) for number in range(len(outages_ms))]
    for each, outage_ms in zip(rounds, outages_ms, strict=True):
        each.takeover_ns = (outage_ms - 5) * MS
        each.outage_ns = outage_ms * MS
        each.epoch_after = each.epoch_before + 1
    return DrillReport(plan, rounds, findings, [], 99, 1.0)


def drilled(findings: Findings) -> Callable[..., Any]:
    """A drill of three rounds that found this."""

    async def run(_: object, conditions: Conditions, on_round: object) -> DrillReport:
        return drill_report(conditions.plan, findings, [50, 60, 90])

    return run


def test_failovers_are_told_beside_the_suspicion_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "run_drill", drilled(Findings()))
    found = figures("failover", "--rounds", "3", "--suspicion-time-ms", "20")
    assert {name: each["value"] for name, each in found.items()} == {
        "takeover, median": 55,
        "takeover, p99": 85,
        "takeover, max": 85,
        "outage, median": 60,
        "outage, p99": 90,
        "outage, max": 90,
    }
    assert {each["baseline"] for each in found.values()} == {20}


def test_a_failover_that_lost_something_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Findings(lost=1, problems=["C01's command 7 is not in the list"])
    monkeypatch.setattr(failover, "run_drill", drilled(findings))
    result = bench("failover", "--rounds", "3")
    assert isinstance(result.exception, BenchmarkError)
    assert "command 7 is not in the list" in str(result.exception)


@pytest.mark.parametrize("text", ["", "0", "1000,", "fast", "-5", "1e3", "2000000"])
def test_rates_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="use whole numbers"):
        parse_rates(text)


def test_rates_are_read_in_their_order() -> None:
    assert parse_rates("5000,1000") == (5000, 1000)


def test_figures_have_four_digits_and_a_ratio() -> None:
    made = measurement("feed", "frames", 1_234_567.8, "1/s", 3_000_000)
    assert made == Measurement("feed", "frames", 1_234_568, "1/s", 3_000_000, 0.4115)
    assert measurement("feed", "nothing", 3.14159, "ms", 0).ratio == 0
    assert json.loads(to_json([made])) == [made._asdict()]
    assert [number(each) for each in (1_234_567, 99.5, 0.0256)] == ["1,234,567", "99.50", "0.026"]
    assert table("Feed", "the network", [made]).row_count == 1
