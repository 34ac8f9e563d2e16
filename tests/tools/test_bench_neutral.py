"""The neutral workload: its mix, its file, and that every run is held to its totals."""

from collections import Counter

import pytest

from engine.markets import KernelMarket
from tools.bench import neutral
from tools.bench.figures import BenchmarkError
from tools.bench.neutral import (
    NeutralWorkload,
    decode_workload,
    encode_workload,
    generate,
    neutral_figures,
    time_kernel,
    time_plain,
)
from tools.bench.neutral_flow import OperationKind
from tools.bench.plain_book import PlainBook

needs_kernel = pytest.mark.skipif(KernelMarket is None, reason="the kernel was not built here")


@pytest.fixture(scope="module", params=[1, 20])
def workload(request: pytest.FixtureRequest) -> NeutralWorkload:
    return generate(request.param, 5_000, seed=7)


def test_mix_is_as_said(workload: NeutralWorkload) -> None:
    kinds = Counter(operation.kind for operation in workload.operations)
    shares = [kinds[int(kind)] / len(workload.operations) for kind in OperationKind]
    assert shares == pytest.approx([0.55, 0.35, 0.10], abs=0.03)
    assert {operation.kind for operation in workload.prefill} == {int(OperationKind.NEW)}
    assert {operation.symbol for operation in workload.operations} == set(range(workload.symbols))


def test_same_seed_is_the_same_workload(workload: NeutralWorkload) -> None:
    assert generate(workload.symbols, 5_000, seed=7) == workload
    assert generate(workload.symbols, 5_000, seed=8) != workload


def test_new_orders_rest_and_trades_are_filled_in_full(workload: NeutralWorkload) -> None:
    books = [PlainBook() for _ in range(workload.symbols)]
    for kind, side, symbol, order, price, quantity in (*workload.prefill, *workload.operations):
        book = books[symbol]
        before = len(book.trades)
        if kind == OperationKind.CANCEL:
            assert book.place(order) == (side == 0, price)
            book.cancel(order)
            continue
        book.enter(order, side == 0, price, quantity)
        traded = sum(trade.quantity for trade in book.trades[before:])
        assert traded == (quantity if kind == OperationKind.TRADE else 0)
        assert 0 <= len(book.trades) - before <= 5
    resting = [quantity for book in books for _, quantity in book.resting()]
    trades = [trade for book in books for trade in book.trades]
    assert workload.totals == (
        len(trades),
        sum(trade.quantity for trade in trades),
        sum(trade.price * trade.quantity for trade in trades),
        len(resting),
        sum(resting),
    )


def test_file_holds_the_workload(workload: NeutralWorkload) -> None:
    data = encode_workload(workload)
    assert len(data) == 64 + 16 * (len(workload.prefill) + len(workload.operations))
    assert decode_workload(data) == workload


@pytest.mark.parametrize("damage", [b"", b"MEWLOAD2", b"MEWLOAD1"])
def test_what_is_no_workload_is_refused(damage: bytes) -> None:
    data = encode_workload(generate(1, 10))
    with pytest.raises(ValueError, match="not a neutral workload"):
        decode_workload(damage + data[len(damage) : -1] if damage else b"")


def test_plain_book_comes_to_the_totals(workload: NeutralWorkload) -> None:
    assert time_plain(workload) > 0


@needs_kernel
def test_kernel_comes_to_the_totals(workload: NeutralWorkload) -> None:
    assert time_kernel(workload) > 0


@pytest.mark.parametrize("field", ["trades", "quantity", "notional", "resting", "resting_quantity"])
@pytest.mark.parametrize("timed", [time_plain, pytest.param(time_kernel, marks=needs_kernel)])
def test_other_totals_give_no_figure(field: str, timed: neutral.Timed) -> None:
    workload = generate(1, 100)
    wrong = workload.totals._replace(**{field: 1})
    with pytest.raises(BenchmarkError, match="was expected"):
        timed(workload._replace(totals=wrong))


@needs_kernel
def test_operations_that_the_core_refuses_give_no_figure() -> None:
    workload = generate(1, 100)
    operations = [*workload.operations, workload.prefill[0]]  # an order number comes again
    with pytest.raises(BenchmarkError, match="refused 1 operations"):
        time_kernel(workload._replace(operations=operations))


@needs_kernel
def test_figures_are_of_both() -> None:
    figures = neutral_figures(symbols=2, operations=200, runs=1)
    assert figures.kernel > 0
    assert figures.plain > 0


def test_without_the_kernel_there_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neutral, "KernelMarket", None)
    with pytest.raises(BenchmarkError, match="not built"):
        neutral_figures(symbols=1, operations=10, runs=1)
