"""The suite `shards`: its figures, and one small run."""

import json

import pytest
from typer.testing import CliRunner

from tools.bench import pipeline, shards, workload
from tools.bench.command import bench_app, parse_counts
from tools.bench.histogram import Histogram
from tools.bench.rig import Spent
from tools.bench.shards import Load, latency_figures, load_figures
from tools.console import UsageError

MS = 1_000_000


def load(*committed: int, seconds: float, cpu: float) -> Load:
    return Load(committed, Spent(seconds, {"e1": cpu / 4, "e2": cpu * 3 / 4}))


def histogram(*times_ms: int) -> Histogram:
    latencies = Histogram()
    for each in times_ms:
        latencies.record(each * MS)
    return latencies


def test_a_command_costs_what_all_processes_of_all_shards_spent() -> None:
    one = load(1_000_000, seconds=2.0, cpu=3.0)
    two = load(500_000, 700_000, seconds=4.0, cpu=4.8)
    assert (one.per_second, one.cpu_us) == (500_000, 3.0)
    assert (two.per_second, two.cpu_us) == (300_000, 4.0)
    found = {each.name: each for each in load_figures({1: one, 2: two})}
    assert list(found) == [
        *("1 shard, committed commands", "1 shard, cores used by shards"),
        *("1 shard, CPU per committed command", "2 shards, committed commands"),
        *("2 shards, cores used by shards", "2 shards, CPU per committed command"),
    ]
    assert found["2 shards, committed commands"][2:] == (300_000, "1/s", 500_000, 0.6)
    assert found["2 shards, CPU per committed command"][2:] == (4.0, "us/command", 3.0, 1.333)
    assert found["2 shards, cores used by shards"].value == 1.2


def test_orders_elsewhere_are_told_beside_those_at_home() -> None:
    alone, home, elsewhere = histogram(1, 1, 2), histogram(2, 2, 4), histogram(3, 3, 8)
    found = list(latency_figures(1_000, [alone], [home, elsewhere]))
    assert [each.name for each in found] == [
        *("1,000/s at home, p50", "1,000/s at home, p99"),
        *("1,000/s elsewhere, p50", "1,000/s elsewhere, p99"),
    ]
    assert [round(each.value) for each in found] == [2, 4, 3, 8]
    assert [round(each.baseline) for each in found] == [1, 2, 2, 4]


def test_numbers_of_shards_are_read_in_their_order() -> None:
    assert parse_counts("1,2,4") == (1, 2, 4)
    assert parse_counts("2,1,2") == (2, 1)


@pytest.mark.parametrize("text", ["", "0", "1,", "9", "two", "-1", "1;2"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="use numbers from 1 to 8"):
        parse_counts(text)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_small_run_measures_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (workload, pipeline, shards):
        monkeypatch.setattr(module, "PREFILL", 200)
    monkeypatch.setattr(shards, "OPERATIONS", 1_600)
    monkeypatch.setattr(shards, "_WARM_UP_S", 0.2)
    monkeypatch.setattr(shards, "_LONGER_S", 1.0)
    arguments = ["shards", "--shards", "1,2", "--seconds", "0.5", "--rate", "200", "--json"]
    result = CliRunner().invoke(bench_app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = {each["name"]: each for each in json.loads(result.stdout)}
    assert len(found) == 10
    assert all(each["value"] > 0 for each in found.values())
