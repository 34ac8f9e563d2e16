"""The suite `machine`: its workloads, its book to compare with, and what it finds out."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.machine import Sequenced
from engine.markets import KernelMarket, MarketMachine, ReferenceMarket
from feed.messages import CancelOrder, EnterOrder, ReplaceOrder
from tools.bench import machine, workload
from tools.bench.figures import BenchmarkError
from tools.bench.machine import measure_growth, measure_machine
from tools.bench.plain_book import PlainBook, PlainTrade
from tools.bench.workload import Workload, client_of, workloads

KINDS = ("rest", "cancel", "trade", "replace", "immediate-or-cancel", "mixed")
WAYS = ("reference", "kernel, 64 a call", "kernel, 1 a call")


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
    kinds = {each.name: each for each in workloads(2000, 1)}
    assert tuple(kinds) == KINDS
    assert types(kinds["rest"]) == {EnterOrder: 2000}
    assert kinds["rest"].trades == 0
    assert types(kinds["cancel"]) == {CancelOrder: 2000}
    trade = kinds["trade"]
    assert types(trade) == {EnterOrder: 2000}
    assert trade.trades == 2000
    assert len(trade.resting) == len(trade.prefill) - 2000
    replace = kinds["replace"]
    assert types(replace) == {ReplaceOrder: 2000}
    assert len(replace.resting) == len(replace.prefill)
    miss = kinds["immediate-or-cancel"]
    assert types(miss) == {EnterOrder: 2000}
    assert [number for number, _ in miss.resting] == [number for number, _ in rested(miss)]
    mixed = kinds["mixed"]
    shares = {kind: count / 2000 for kind, count in types(mixed).items()}
    assert shares == pytest.approx({EnterOrder: 0.65, CancelOrder: 0.35}, abs=0.05)
    assert 1.3 < mixed.trades / (0.1 * 2000) < 5  # orders that each of the others trades with


def types(each: Workload) -> dict[type, int]:
    return Counter(map(type, each.commands))


def rested(each: Workload) -> list[tuple[int, int]]:
    """What rests before the operations."""
    book = PlainBook()
    for number, _, is_buy, price, quantity in each.prefill:
        book.enter(number, is_buy, price, quantity)
    return book.resting()


def test_the_numbers_of_each_client_grow() -> None:
    for each in workloads(500, 7):
        last: dict[int, int] = {}
        for command in each.commands:
            if not isinstance(command, CancelOrder):
                assert command.client == client_of(command.user_ref_num)
                assert command.user_ref_num > last.get(command.client, 0)
                last[command.client] = command.user_ref_num


def test_each_kind_is_measured_beside_its_baseline() -> None:
    measurements = measure_machine(operations=200, runs=2, seed=1)
    costs = [each for each in measurements if each.unit == "ns/command"]
    ways = WAYS if KernelMarket is not None else WAYS[:1]
    assert [each.name for each in costs] == [f"{kind}, {way}" for kind in KINDS for way in ways]
    for each in measurements:
        assert each.suite == "machine"
        assert each.ratio == pytest.approx(each.value / each.baseline, rel=0.02)
    rate = measurements[-1]
    fastest = {each.name: each.value for each in costs}[f"mixed, {ways[min(1, len(ways) - 1)]}"]
    assert rate.unit == "commands/s"
    assert rate.value == pytest.approx(1e9 / fastest, rel=0.01)


def test_growth_is_told_from_the_first_depth_on() -> None:
    first, other = measure_growth((100, 1_000), operations=128, runs=2, seed=1)
    assert (first.name, other.name) == (
        "mixed, 100 orders in the book",
        "mixed, 1,000 orders in the book",
    )
    assert first.ratio == 1
    assert first.baseline == other.baseline == first.value


def test_a_run_with_another_result_is_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = workloads(100, 1)
    monkeypatch.setattr(
        machine, "workloads", lambda *_: [each._replace(trades=9) for each in honest]
    )
    with pytest.raises(BenchmarkError, match=r"'rest' made 0 trades .*; 9 and"):
        measure_machine(operations=100, runs=1, seed=1)


class Forgetful(ReferenceMarket):
    """A fast machine: it drops the last submission of each batch that has several."""

    def submit(self, submissions: bytes, sequence: int, time_ns: int) -> Sequenced:
        return super().submit(without_last(submissions), sequence, time_ns)


def without_last(submissions: bytes) -> bytes:
    sizes = []
    rest = submissions
    while rest:
        sizes.append(int.from_bytes(rest[:2], "big"))
        rest = rest[sizes[-1] :]
    return submissions[: len(submissions) - sizes[-1]] if len(sizes) > 1 else submissions


def test_a_reference_that_does_less_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ReferenceMarket", Forgetful)
    with pytest.raises(BenchmarkError, match="'rest' made 0 trades and left"):
        measure_machine(operations=100, runs=1, seed=1)


def test_a_deep_book_that_does_less_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "KernelMarket", Forgetful)
    with pytest.raises(BenchmarkError, match="the deep book made"):
        measure_growth((300,), operations=128, runs=1, seed=1)


class Late(ReferenceMarket):
    """A kernel that ends like the reference, and stamps other times on the way."""

    def submit(self, submissions: bytes, sequence: int, time_ns: int) -> Sequenced:
        return super().submit(submissions, sequence, time_ns + 1)


def test_a_kernel_with_other_frames_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    built: type[MarketMachine] = Late
    monkeypatch.setattr(machine, "KernelMarket", built)
    with pytest.raises(BenchmarkError, match="frames of 'rest' are not the reference's"):
        measure_machine(operations=100, runs=1, seed=1)
