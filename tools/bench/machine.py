"""The suite `machine`: CPU time of the state machine per command, from bytes to packets.

Each kind of command by itself, then mixed, through the kernel, the reference and a plain book; the
neutral workload through the kernel's matching core; and how the cost grows with the book. Every run
is checked: the reference has to end with the trades and orders of the plain book, and the kernel
with every byte of the reference.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from engine.markets import KernelMarket, MarketMachine, ReferenceMarket
from feed.codec import PACKET_HEADER_BYTES, PacketHeader
from feed.datagrams import Submission, encode_submission
from feed.frames import encode_packets, scan_packet
from feed.messages import Command, DefineInstrument, LogIn, SelfTradePrevention, ShortSale
from feed.schema import FrameType
from tools.bench.figures import (
    BenchmarkError,
    Measurement,
    Stopwatch,
    interleaved_medians,
    measurement,
    settled_collector,
)
from tools.bench.neutral import neutral_figures
from tools.bench.plain_book import PlainBook
from tools.bench.workload import (
    CLIENTS,
    SYMBOL,
    TICK,
    Generator,
    Operation,
    Workload,
    commands,
    workloads,
)

LOGIN = 1
DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
DEEPEST_REFERENCE = 100_000  # it takes a minute to fill a book of a million
NEUTRAL_SYMBOLS = (1, 1_000)
NEUTRAL_OPERATIONS_FACTOR = 20  # an operation of the core costs that much less than a command
BATCH = 64  # submissions in a call, about what a busy primary reads at once
_SUITE = "machine"
_TIME_NS = 1_700_000_000_000_000_000  # any time: the machine only carries it
_PAYLOAD_LIMIT_BYTES = 1400
_NS = "ns/command"


class _Result(NamedTuple):
    """What a timed run has cost, and made."""

    ns: float  # of CPU time a command
    packets: Sequence[bytes]


def measure_suite(operations: int, runs: int, depth: int, seed: int) -> list[Measurement]:
    """All figures of the suite; `depth` bounds the deepest book."""
    deepest = depth if KernelMarket is not None else min(depth, DEEPEST_REFERENCE)
    depths = [each for each in DEPTHS if each <= deepest]
    return [
        *measure_machine(operations, runs, seed),
        *measure_neutral(NEUTRAL_OPERATIONS_FACTOR * operations, runs),
        *measure_growth(depths, operations, runs, seed),
    ]


def measure_machine(operations: int, runs: int, seed: int) -> list[Measurement]:
    """The figures for each kind of command, in the order in which they are shown.

    Raises BenchmarkError when a run does not end with the trades and orders that it should.
    """
    measurements = []
    for each in workloads(operations, seed):
        measurements += _measure_kind(each, runs)
    return measurements


def measure_neutral(operations: int, runs: int) -> list[Measurement]:
    """The neutral workload through the kernel's core; the baseline is a tuned plain-Python book.

    Nothing without the kernel. Raises BenchmarkError when a run comes to other trades or orders.
    """
    if KernelMarket is None:
        return []
    measurements = []
    for symbols in NEUTRAL_SYMBOLS:
        figures = neutral_figures(symbols, operations, runs)
        name = f"neutral, {symbols:,} symbol{'s' if symbols > 1 else ''}, core, {BATCH} a call"
        made = measurement(_SUITE, name, figures.kernel, "ns/operation", figures.plain)
        measurements.append(made)
    return measurements


def measure_growth(
    depths: Sequence[int], operations: int, runs: int, seed: int
) -> list[Measurement]:
    """What a mixed command costs at each depth of the book; the baseline is the first depth's cost.

    All books are filled at first, and then the runs go around them. Raises BenchmarkError when a
    machine ends with other trades or orders than a plain book.
    """
    build = KernelMarket or ReferenceMarket
    books = [_DeepBook(build(), depth, operations * runs, seed) for depth in depths]
    with settled_collector():
        medians = interleaved_medians(runs, *(partial(each.run, operations) for each in books))
    for book in books:
        book.verify()
    name = "mixed, {:,} orders in the book"
    return [
        measurement(_SUITE, name.format(depth), cost, _NS, medians[0])
        for depth, cost in zip(depths, medians, strict=True)
    ]


def _measure_kind(each: Workload, runs: int) -> list[Measurement]:
    """The reference beside the plain book, and the kernel, where there is one, beside it."""
    expected: list[bytes] = []

    def reference() -> float:
        result = _time_machine(ReferenceMarket(), each, BATCH)
        expected[:] = [_frames(result.packets)]
        return result.ns

    def kernel(batch: int) -> float:
        assert KernelMarket is not None
        result = _time_machine(KernelMarket(), each, batch)
        if _frames(result.packets) != expected[0]:
            raise BenchmarkError(f"the kernel's frames of {each.name!r} are not the reference's")
        return result.ns

    timed: list[Callable[[], float]] = [partial(_time_plain, each), reference]
    if KernelMarket is not None:
        timed += [partial(kernel, BATCH), partial(kernel, 1)]
    plain, by_reference, *by_kernel = interleaved_medians(runs, *timed)
    measurements = [measurement(_SUITE, f"{each.name}, reference", by_reference, _NS, plain)]
    for batch, value in zip((BATCH, 1), by_kernel, strict=False):
        name = f"{each.name}, kernel, {batch} a call"
        measurements.append(measurement(_SUITE, name, value, _NS, by_reference))
    if each.name == "mixed":
        fastest = by_kernel[0] if by_kernel else by_reference
        rate = measurement(_SUITE, "mixed, the fastest", 1e9 / fastest, "commands/s", 1e9 / plain)
        measurements.append(rate)
    return measurements


def _time_plain(each: Workload) -> float:
    """CPU time per command of the plain book, in ns."""
    book = PlainBook()
    _play(book, each.prefill)
    with settled_collector(), Stopwatch() as watch:
        _play(book, each.operations)
    _expect(each, len(book.trades), [quantity for _, quantity in book.resting()])
    return watch.elapsed_ns / len(each.commands)


def _play(book: PlainBook, operations: Sequence[Operation]) -> None:
    for number, enters, is_buy, price, quantity in operations:
        if enters:
            book.enter(number, is_buy, price, quantity)
        else:
            book.cancel(number)


def _time_machine(market: MarketMachine, each: Workload, batch: int) -> _Result:
    """CPU time per command, in ns, from submissions to packets, and the packets."""
    first = open_market(market)
    for data in encoded_batches(commands(each.prefill), BATCH):
        first = market.submit(data, first, _TIME_NS).run.next_sequence
    timed = list(encoded_batches(each.commands, batch))
    before = market.frame_counts.get(FrameType.TRADE, 0)
    with settled_collector(), Stopwatch() as watch:
        packets = to_packets(market, timed, first)
    trades = market.frame_counts.get(FrameType.TRADE, 0)
    assert before == 0, "orders that fill the book do not trade"
    _expect(each, trades, [entry.quantity for entry in market.book_entries()])
    return _Result(watch.elapsed_ns / len(each.commands), packets)


def open_market(market: MarketMachine) -> int:
    """List the instrument and log the clients in; the sequence number of the next frame."""
    opening: list[Command] = [DefineInstrument(SYMBOL, TICK, 1, ShortSale.ALLOWED)]
    opening += [LogIn(client, LOGIN, SelfTradePrevention.OFF) for client in range(1, CLIENTS + 1)]
    sequence = 1
    for command in opening:
        sequence = market.carry_out(command, sequence, _TIME_NS).next_sequence
    return sequence


def encoded_batches(timed: Sequence[Command], batch: int) -> Iterator[bytes]:
    """The commands as submissions, so many in each piece of bytes."""
    encoded = (encode_submission(Submission(LOGIN, command)) for command in timed)
    while data := b"".join(islice(encoded, batch)):
        yield data


def to_packets(market: MarketMachine, batches: Sequence[bytes], sequence: int) -> list[bytes]:
    """Carry out batches of submissions, and pack the frames of each as a primary does."""
    packets: list[bytes] = []
    for data in batches:
        run = market.submit(data, sequence, _TIME_NS).run
        header = PacketHeader(0, 1, 1, sequence, sequence - 1)
        packets += encode_packets(header, run.data, _PAYLOAD_LIMIT_BYTES)
        sequence = run.next_sequence
    return packets


def _frames(packets: Sequence[bytes]) -> bytes:
    """The frames in packets, all checksums verified."""
    for packet in packets:
        scan_packet(packet)
    return b"".join(packet[PACKET_HEADER_BYTES:] for packet in packets)


def _expect(each: Workload, trades: int, resting: Sequence[int]) -> None:
    """`resting`: the open quantities, bids and then asks, first to trade first."""
    if trades != each.trades or list(resting) != [quantity for _, quantity in each.resting]:
        raise BenchmarkError(
            f"the run of {each.name!r} made {trades} trades and left {len(resting)} orders; "
            f"{each.trades} and {len(each.resting)} were expected"
        )


class _DeepBook:
    """A machine with so many resting orders, and the mixed commands to time on it."""

    def __init__(self, market: MarketMachine, depth: int, operations: int, seed: int) -> None:
        self._market = market
        self._generator = Generator(seed, depth=depth)
        self._sequence = open_market(market)
        filling = (self._generator.rest_anywhere(depth) for _ in range(depth))
        while operations_of_fill := list(islice(filling, BATCH)):
            (data,) = encoded_batches(commands(operations_of_fill), BATCH)
            self._sequence = market.submit(data, self._sequence, _TIME_NS).run.next_sequence
        timed = [self._generator.mixed() for _ in range(operations)]
        self._batches = iter(list(encoded_batches(commands(timed), BATCH)))

    def run(self, operations: int) -> float:
        """CPU time per command of the next so many, in ns."""
        batches = list(islice(self._batches, operations // BATCH))
        with Stopwatch() as watch:
            packets = to_packets(self._market, batches, self._sequence)
        header, summary = scan_packet(packets[-1])
        self._sequence = header.first_sequence + summary.frame_count
        return watch.elapsed_ns / (len(batches) * BATCH)

    def verify(self) -> None:
        """Raise BenchmarkError when the market is not what the plain book has become."""
        to_packets(self._market, list(self._batches), self._sequence)
        book = self._generator.book
        seen = self._market.frame_counts.get(FrameType.TRADE, 0)
        resting = [entry.quantity for entry in self._market.book_entries()]
        if seen != len(book.trades) or resting != [quantity for _, quantity in book.resting()]:
            raise BenchmarkError(
                f"the deep book made {seen} trades and left {len(resting)} orders; "
                f"{len(book.trades)} and {len(book.resting())} were expected"
            )
