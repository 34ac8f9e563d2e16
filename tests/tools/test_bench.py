import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from engine.market import Market
from feed.messages import CancelOrder, Command
from tools.bench import workload
from tools.bench.command import BenchmarkError, bench_app, measure_machine
from tools.bench.plain_book import PlainBook, PlainTrade
from tools.bench.workload import Workload, workloads

NAMES = [
    ("rest", "ns/command"),
    ("rest, encoded", "ns/command"),
    ("cancel", "ns/command"),
    ("cancel, encoded", "ns/command"),
    ("trade", "ns/command"),
    ("trade, encoded", "ns/command"),
    ("mixed", "ns/command"),
    ("mixed, encoded", "ns/command"),
    ("mixed, encoded", "commands/s"),
]


@pytest.fixture(autouse=True)
def _small_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "PREFILL", 400)


def test_the_plain_book_trades_by_price_and_then_by_time_at_the_makers_price() -> None:
    book = PlainBook()
    book.enter(1, False, 102, 10)
    book.enter(2, False, 101, 10)
    book.enter(3, False, 101, 10)
    book.enter(4, True, 102, 25)
    assert book.trades == [
        PlainTrade(4, 2, 101, 10),
        PlainTrade(4, 3, 101, 10),
        PlainTrade(4, 1, 102, 5),
    ]
    assert book.resting() == [(1, 5)]


def test_the_plain_book_lets_the_rest_of_an_order_rest_and_be_canceled() -> None:
    book = PlainBook()
    book.enter(1, True, 100, 10)
    book.enter(2, False, 100, 15)
    assert (book.best(True), book.best(False), book.best_price(False)) == ([], [(2, 5)], 100)
    book.enter(3, False, 99, 1)
    assert book.resting() == [(3, 1), (2, 5)]
    book.cancel(3)
    book.cancel(2)
    assert book.resting() == []
    assert book.best_price(False) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(95, 105), st.integers(1, 9)), max_size=60))
def test_the_plain_book_is_never_crossed_and_loses_no_quantity(
    orders: list[tuple[bool, int, int]],
) -> None:
    book = PlainBook()
    for number, (is_buy, price, quantity) in enumerate(orders, start=1):
        book.enter(number, is_buy, price, quantity)
        bid, ask = book.best_price(True), book.best_price(False)
        assert bid is None or ask is None or bid < ask
    entered = sum(quantity for _, _, quantity in orders)
    traded = sum(trade.quantity for trade in book.trades)
    assert entered == 2 * traded + sum(quantity for _, quantity in book.resting())


def test_the_same_seed_makes_the_same_workloads() -> None:
    assert workloads(300, 1) == workloads(300, 1)
    assert workloads(300, 1) != workloads(300, 2)


def test_each_workload_does_what_its_name_says() -> None:
    rest, cancel, trade, mixed = workloads(2000, 1)
    assert [each.name for each in (rest, cancel, trade, mixed)] == [
        "rest",
        "cancel",
        "trade",
        "mixed",
    ]
    assert _kinds(rest) == {"enter": 2000}
    assert rest.trades == 0
    assert _kinds(cancel) == {"cancel": 2000}
    assert _kinds(trade) == {"enter": 2000}
    assert trade.trades == 2000
    assert len(trade.resting) == len(trade.prefill) - 2000
    shares = {kind: count / 2000 for kind, count in _kinds(mixed).items()}
    assert shares == pytest.approx({"enter": 0.65, "cancel": 0.35}, abs=0.05)
    assert 1.3 < mixed.trades / (0.1 * 2000) < 5  # orders that each of the others trades with


def _kinds(workload: Workload) -> dict[str, int]:
    return Counter("enter" if each.enters else "cancel" for each in workload.operations)


def test_each_figure_is_measured_beside_its_baseline() -> None:
    measurements = measure_machine(operations=200, runs=2, seed=1)
    assert [(each.name, each.unit) for each in measurements] == NAMES
    for each in measurements:
        assert each.suite == "machine"
        assert each.ratio == pytest.approx(each.value / each.baseline, rel=0.01)
    by_name = {(each.name, each.unit): each for each in measurements}
    cost = by_name["mixed, encoded", "ns/command"].value
    assert by_name["mixed, encoded", "commands/s"].value == pytest.approx(1e9 / cost, rel=0.01)


def test_a_run_with_another_result_is_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = workloads(100, 1)
    monkeypatch.setattr(
        "tools.bench.command.workloads", lambda *_: [each._replace(trades=9) for each in honest]
    )
    with pytest.raises(BenchmarkError, match=r"'rest' made 0 trades .*; 9 and"):
        measure_machine(operations=100, runs=1, seed=1)


class Forgetful(Market):
    """A fast machine: it lets no cancel in."""

    def admits(self, login: int, command: Command) -> bool:
        return not isinstance(command, CancelOrder)


def test_a_machine_that_does_less_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.command.Market", Forgetful)
    with pytest.raises(BenchmarkError, match="'cancel'"):
        measure_machine(operations=100, runs=1, seed=1)


def test_json_is_a_list_of_measurements_and_the_computer_is_told_on_stderr() -> None:
    result = CliRunner().invoke(
        bench_app, ["machine", "--operations", "100", "--runs", "1", "--json"]
    )
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert [(each["name"], each["unit"]) for each in figures] == NAMES
    assert {key for each in figures for key in each} == {
        "suite",
        "name",
        "value",
        "unit",
        "baseline",
        "ratio",
    }
    assert "Python" in result.stderr
    assert "machine in use: the reference (engine.market)" in result.stderr


def test_the_table_shows_every_figure_and_the_computer() -> None:
    result = CliRunner().invoke(bench_app, ["machine", "--operations", "100", "--runs", "1"])
    assert result.exit_code == 0
    assert "machine in use: the reference (engine.market)" in result.stdout
    assert result.stdout.count("ns/command") == 8
    assert result.stdout.count("commands/s") == 1
