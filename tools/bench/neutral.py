"""The neutral workload: the same operations for any matching engine, through ours and plain Python.

A prefill of resting orders, which is not timed; then limit orders that rest within 50 ticks of a
middle that wanders (55 %), cancels of any live order (35 %), and limit orders that trade with one
to five resting ones (10 %): on one instrument or on many, some far busier than others. What has to
come out stands in the workload, and every run is held to it.

The file format is one that engines of many languages read, little-endian. A header: `MEWLOAD1`, how
many symbols, prefill operations, timed operations and order numbers there are, and the totals. Then
the operations.
"""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from engine.markets import KernelMarket
from feed.messages import SelfTradePrevention, Side
from tools.bench.figures import (
    BenchmarkError,
    Stopwatch,
    interleaved_medians,
    settled_collector,
)
from tools.bench.neutral_flow import NeutralFlow, Operation, OperationKind, Totals
from tools.bench.tuned_book import TunedBook

BATCH = 64  # operations in a call
SEED = 23
_MAGIC = b"MEWLOAD1"
_HEADER = struct.Struct("<8sIIIIQQQQQ")
_RECORD = struct.Struct("<BBHIiI")  # the fields of Operation
_CORE_OPERATION = struct.Struct("<BBHIIIII")  # LockstepOperation in engine/kernel.h
_ENTER, _CANCEL = ord("O"), ord("X")
_ORDER_LIMIT = 4_000_000
_SIDES = (int(Side.BUY), int(Side.SELL))


class NeutralWorkload(NamedTuple):
    """Operations, and what must come of all of them, the prefill included."""

    symbols: int
    prefill: Sequence[Operation]
    operations: Sequence[Operation]
    totals: Totals


Timed: TypeAlias = Callable[[NeutralWorkload], float]


class NeutralFigures(NamedTuple):
    """Medians of CPU time per operation, in ns, of runs that took turns."""

    kernel: float
    plain: float


def neutral_figures(symbols: int, operations: int, runs: int, seed: int = SEED) -> NeutralFigures:
    """The kernel's core in batches beside the tuned book of plain Python.

    Raises BenchmarkError when the kernel was not built, or a run does not come to the totals.
    """
    workload = generate(symbols, operations, seed)
    timed: list[Timed] = [time_kernel, time_plain]
    return NeutralFigures(*interleaved_medians(runs, *(partial(run, workload) for run in timed)))


def generate(symbols: int, operations: int, seed: int = SEED) -> NeutralWorkload:
    """The workload that a seed stands for."""
    flow = NeutralFlow(symbols, seed)
    prefill = [flow.rest(index % symbols) for index in range(flow.depth * symbols)]
    busy = flow.busy_symbols(operations)
    timed = [flow.next(symbol) for symbol in busy]
    return NeutralWorkload(symbols, prefill, timed, flow.totals())


def time_kernel(workload: NeutralWorkload) -> float:
    """CPU time per operation of the kernel's matching core, in ns.

    Raises BenchmarkError when the kernel was not built, or other totals come out.
    """
    if KernelMarket is None:
        raise BenchmarkError("the kernel was not built here, and the core is a part of it")
    from engine._market_c import MatchingCore

    core = MatchingCore(_ORDER_LIMIT)
    for symbol in range(workload.symbols):
        core.list_instrument(b"%08d" % symbol, 1, 1)
    client = core.log_in(1, SelfTradePrevention.OFF)
    seen = [core.run(data) for data in _batches(workload.prefill, client)]
    batches = _batches(workload.operations, client)
    with settled_collector(), Stopwatch() as watch:
        seen += [core.run(data) for data in batches]
    core.check()
    trades, quantity, notional, refused = map(sum, zip(*seen, strict=True))
    if refused:
        raise BenchmarkError(f"the core refused {refused} operations")
    _expect(workload, Totals(trades, quantity, notional, core.live_orders, core.open_quantity))
    return watch.elapsed_ns / len(workload.operations)


def time_plain(workload: NeutralWorkload) -> float:
    """CPU time per operation of the tuned book of plain Python, in ns.

    Raises BenchmarkError when other totals come out.
    """
    books = [TunedBook() for _ in range(workload.symbols)]
    _play(books, workload.prefill)
    with settled_collector(), Stopwatch() as watch:
        _play(books, workload.operations)
    trades = [trade for book in books for trade in book.trades]
    resting = [book.resting() for book in books]
    seen = Totals(
        len(trades),
        sum(quantity for _, _, _, quantity in trades),
        sum(price * quantity for _, _, price, quantity in trades),
        sum(count for count, _ in resting),
        sum(quantity for _, quantity in resting),
    )
    _expect(workload, seen)
    return watch.elapsed_ns / len(workload.operations)


def encode_workload(workload: NeutralWorkload) -> bytes:
    """The file of a workload."""
    operations = (*workload.prefill, *workload.operations)
    greatest = max((operation.order for operation in operations), default=0)
    counts = (workload.symbols, len(workload.prefill), len(workload.operations), greatest)
    header = _HEADER.pack(_MAGIC, *counts, *workload.totals)
    return header + b"".join(_RECORD.pack(*operation) for operation in operations)


def decode_workload(data: bytes) -> NeutralWorkload:
    """The workload in a file; raises ValueError when it is none."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise ValueError("not a neutral workload: no magic")
    _, symbols, prefill, timed, _, *totals = _HEADER.unpack_from(data)
    if len(data) != _HEADER.size + (prefill + timed) * _RECORD.size:
        raise ValueError("not a neutral workload: its operations are not what its header counts")
    operations = [Operation._make(fields) for fields in _RECORD.iter_unpack(data[_HEADER.size :])]
    return NeutralWorkload(symbols, operations[:prefill], operations[prefill:], Totals(*totals))


def _play(books: Sequence[TunedBook], operations: Sequence[Operation]) -> None:
    cancel = int(OperationKind.CANCEL)
    for kind, side, symbol, order, price, quantity in operations:
        if kind == cancel:
            books[symbol].cancel(order)
        else:
            books[symbol].enter(order, side, price, quantity)


def _batches(operations: Sequence[Operation], client: int) -> list[bytes]:
    """The operations as the core takes them; the symbols are its instruments, from 1."""
    packed = [
        _CORE_OPERATION.pack(
            _CANCEL if kind == OperationKind.CANCEL else _ENTER,
            _SIDES[side],
            0,
            symbol + 1,
            client,
            order,
            price,
            quantity,
        )
        for kind, side, symbol, order, price, quantity in operations
    ]
    return [b"".join(packed[at : at + BATCH]) for at in range(0, len(packed), BATCH)]


def _expect(workload: NeutralWorkload, seen: Totals) -> None:
    if seen != workload.totals:
        raise BenchmarkError(f"a run came to {seen}; {workload.totals} was expected")
