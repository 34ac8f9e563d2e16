"""The sums of an audit: what was entered and what became of it, by symbol and by client.

Each is counted from the frames that say it, none from another; what is open at the end comes from
the orders themselves. So that they come out is something to check.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from feed.messages import unpad
from tools.audit.findings import Findings, Kind
from tools.audit.records import Order


@dataclass(slots=True)
class Flow:
    """Quantities of orders; executed ones are counted once for each order of a trade."""

    orders: int = 0
    entered: int = 0
    replaced: int = 0
    arrived: int = 0  # with its instrument, from another shard
    executed: int = 0
    canceled: int = 0
    left: int = 0  # with its instrument, for another shard
    open: int = 0

    @property
    def missing(self) -> int:
        """What was entered and became nothing; negative when more became of it."""
        came = self.entered + self.replaced + self.arrived
        return came - self.executed - self.canceled - self.left - self.open


@dataclass(slots=True)
class SymbolTotals:
    """What happened in one instrument."""

    flow: Flow = field(default_factory=Flow)
    trades: int = 0
    quantity: int = 0  # traded
    turnover: int = 0  # quantity times price, in 1/10,000


@dataclass(slots=True)
class ClientTotals:
    """What one client did, and what it has of it."""

    flow: Flow = field(default_factory=Flow)
    commands: int = 0
    rejected: int = 0
    bought: int = 0
    sold: int = 0
    cash: int = 0  # in 1/10,000; what it paid is negative


class Totals:
    """The sums of a list, from where the audit begins."""

    def __init__(self) -> None:
        self.symbols: defaultdict[bytes, SymbolTotals] = defaultdict(SymbolTotals)
        self.clients: defaultdict[int, ClientTotals] = defaultdict(ClientTotals)
        # By symbol and client: quantity bought less quantity sold, and cash.
        self.positions: defaultdict[tuple[bytes, int], int] = defaultdict(int)
        self._cash: defaultdict[bytes, int] = defaultdict(int)  # by symbol, of all clients

    def begin_with(self, order: Order) -> None:
        """An order stands from before."""
        for flow in self._flows(order):
            flow.orders += 1
            flow.entered += order.entered
            flow.executed += order.executed
            flow.canceled += order.canceled

    def enter(self, order: Order) -> None:
        """An order was entered."""
        for flow in self._flows(order):
            flow.orders += 1
            flow.entered += order.entered

    def arrive(self, order: Order) -> None:
        """An order came from another shard, with what was left of it there."""
        for flow in self._flows(order):
            flow.orders += 1
            flow.arrived += order.open

    def leave(self, order: Order) -> None:
        """An order went to another shard, with what is left of it."""
        for flow in self._flows(order):
            flow.left += order.open

    def replace(self, order: Order, added: int) -> None:
        """An order is to be for so much more."""
        for flow in self._flows(order):
            flow.replaced += added

    def cancel(self, order: Order, quantity: int) -> None:
        """So much was taken off an order."""
        for flow in self._flows(order):
            flow.canceled += quantity

    def trade(self, symbol: bytes, price: int, quantity: int) -> None:
        """Two orders traded; what it is to each of them, `execute` counts."""
        totals = self.symbols[symbol]
        totals.trades += 1
        totals.quantity += quantity
        totals.turnover += price * quantity
        totals.flow.executed += 2 * quantity

    def execute(self, client: int, symbol: bytes, price: int, quantity: int, is_buy: bool) -> None:
        """One of the two orders of a trade, by the side that it is on."""
        totals = self.clients[client]
        totals.flow.executed += quantity
        signed = quantity if is_buy else -quantity
        if is_buy:
            totals.bought += quantity
        else:
            totals.sold += quantity
        totals.cash -= signed * price
        self._cash[symbol] -= signed * price
        self.positions[symbol, client] += signed

    def close(self, live: Iterable[Order], findings: Findings) -> None:
        """Count what is open at the end, and check that all sums come out."""
        for order in live:
            for flow in self._flows(order):
                flow.open += order.open
        positions: defaultdict[bytes, int] = defaultdict(int)
        for (symbol, _), position in self.positions.items():
            positions[symbol] += position
        for symbol, of_symbol in sorted(self.symbols.items()):
            name = unpad(symbol)
            _check_zero(findings, of_symbol.flow.missing, f"{name}: {_LEFT_OVER}")
            _check_zero(findings, positions[symbol], f"{name}: the sum of all clients' positions")
            _check_zero(findings, self._cash[symbol], f"{name}: the sum of all clients' cash")
        for client, of_client in sorted(self.clients.items()):
            _check_zero(findings, of_client.flow.missing, f"client {client}: {_LEFT_OVER}")

    def _flows(self, order: Order) -> tuple[Flow, Flow]:
        return self.symbols[order.symbol].flow, self.clients[order.client].flow


_LEFT_OVER = "what was entered and arrived, less what was executed, canceled, left and is open"


def _check_zero(findings: Findings, value: int, what: str) -> None:
    findings.checked["sums"] += 1
    if value:
        findings.add(Kind.SUM, 0, what, found=f"{value:,}", expected="0")
