"""The market as a machine: the reference, and the kernel where it was built."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from engine.listed import ListedInstrument
from engine.machine import Machine
from engine.market import Market
from engine.reference import Reference
from engine.settings import MachineKind
from feed.book import BookEntry
from feed.kernel import KERNEL_WANTED


class MarketMachine(Machine, Protocol):
    """What operators ask a market for, besides what the list asks of any machine."""

    @property
    def live_orders(self) -> int:
        """How many orders live, resting or waiting for their stop price."""

    @property
    def day(self) -> int:
        """The day that it is, as YYYYMMDD; 0 before the first."""

    def is_listed(self, symbol: bytes) -> bool:
        """Whether there is an instrument with this symbol, padded to eight bytes."""

    def instruments(self) -> Iterable[ListedInstrument]:
        """Each instrument by symbol, those that have moved to another shard included."""

    def book_entries(self) -> Iterable[BookEntry]:
        """The resting orders as a subscriber knows them, for `feed.book.book_digest`."""


class ReferenceMarket(Reference):
    """The specification, in plain Python."""

    rules: Market

    def __init__(self) -> None:
        super().__init__(Market())

    @property
    def live_orders(self) -> int:
        """How many orders live."""
        return len(self.rules.orders)

    @property
    def day(self) -> int:
        """The day that it is."""
        return self.rules.day

    def is_listed(self, symbol: bytes) -> bool:
        """Whether there is an instrument with this symbol."""
        return symbol in self.rules.instruments

    def instruments(self) -> Iterable[ListedInstrument]:
        """Each instrument by symbol."""
        return self.rules.listed()

    def book_entries(self) -> Iterable[BookEntry]:
        """The resting orders as a subscriber knows them."""
        return self.rules.book_entries()


if TYPE_CHECKING or not KERNEL_WANTED:
    KernelMarket: Callable[[], MarketMachine] | None = None
else:
    try:
        from engine._market_c import KernelMarket
    except ImportError:
        KernelMarket = None


class MachineNotBuiltError(Exception):
    """The kernel is asked for, and there is none."""


def market_builder(kind: MachineKind | None = None) -> Callable[[], MarketMachine]:
    """What makes an empty market of this kind; without one, of the fastest that there is.

    Raises MachineNotBuiltError when the kernel is asked for and was not built.
    """
    if kind is MachineKind.REFERENCE or (kind is None and KernelMarket is None):
        return ReferenceMarket
    if KernelMarket is None:
        raise MachineNotBuiltError(
            "the kernel was not built here: it takes a C compiler when Lockstep is installed"
            " (apt-get install gcc python3-dev, and then pip install again), and LOCKSTEP_KERNEL"
            ' must not be 0. The machine "reference" is always there'
        )
    return KernelMarket
