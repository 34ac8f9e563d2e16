"""What became of a file of orders: a row for each line, and the totals."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO, TypeAlias

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from feed.messages import CancelReason, unpad
from gateway.rejects import reject_text
from tools.order_words import describe_cancel
from tools.prices import format_price
from tools.replay.ledger import Entry, Ledger, Status
from tools.replay.order_formats import OrderFormat
from tools.replay.order_lines import Enter, MassCancel, OrderLine, Replace

COLUMNS = (
    *("line", "action", "client", "id", "symbol", "status", "quantity", "executed"),
    *("average_price", "open", "canceled", "order_number", "reason"),
)
_NUMBERS = ("line", "quantity", "executed", "average_price", "open", "canceled")
_HIDDEN = ("order_number",)  # on a terminal
Row: TypeAlias = dict[str, str | int | None]


@dataclass(slots=True)
class Totals:
    """What became of all lines together."""

    lines: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)  # by their reasons' texts
    executed_quantity: int = 0
    canceled_quantity: int = 0

    def add(self, entry: Entry) -> None:
        """Count one line."""
        self.lines += 1
        self.statuses[entry.status] += 1
        if entry.status is Status.REJECTED:
            self.rejected[reject_text(entry.reason)] += 1
        self.executed_quantity += entry.executed
        if entry.order_number:  # only an order has one; a cancel tells of the same quantity
            self.canceled_quantity += entry.canceled

    def summary(self) -> dict[str, Any]:
        """The totals as JSON has them."""
        return {
            "lines": self.lines,
            "statuses": {status.name.lower(): self.statuses[status] for status in Status},
            "rejected": dict(self.rejected.most_common()),
            "executed_quantity": self.executed_quantity,
            "canceled_quantity": self.canceled_quantity,
        }


def make_rows(lines: Iterable[OrderLine], ledger: Ledger, totals: Totals) -> Iterator[Row]:
    """A row for each line, in their order, which is counted in the totals."""
    for line in lines:
        entry = ledger.read(line.ordinal)
        totals.add(entry)
        yield make_row(line, entry)


def make_row(line: OrderLine, entry: Entry) -> Row:
    """What became of one line. What it has not is None."""
    action = line.action
    is_order = isinstance(action, Enter | Replace)
    was_taken = is_order and entry.order_number != 0
    symbol = unpad(entry.symbol.rstrip(b"\0")) or getattr(action, "symbol", None)
    return {
        "line": line.line,
        "action": action.word,
        "client": line.client,
        "id": None if isinstance(action, MassCancel) else action.id,
        "symbol": symbol,
        "status": entry.status.text,
        "quantity": entry.quantity or getattr(action, "quantity", None) if is_order else None,
        "executed": entry.executed if was_taken else None,
        "average_price": _average(entry),
        "open": entry.open if was_taken else None,
        "canceled": entry.canceled if was_taken or entry.canceled else None,
        "order_number": entry.order_number or None,
        "reason": _reason(line, entry) or None,
    }


def _average(entry: Entry) -> str | None:
    """The average price, rounded to 1/10,000: half of it upwards."""
    if not entry.executed:
        return None
    return format_price((2 * entry.value + entry.executed) // (2 * entry.executed))


def _reason(line: OrderLine, entry: Entry) -> str:
    match entry.status:
        case Status.REJECTED:
            return reject_text(entry.reason)
        case Status.REPLACED:
            return f"by line {entry.replaced_by}"
        case Status.WITHOUT_EFFECT:
            return "no more was open"
        case Status.DONE if isinstance(line.action, MassCancel):
            return f"{entry.reason} order{'' if entry.reason == 1 else 's'}"
    return (
        describe_cancel(CancelReason(entry.reason)) if entry.order_number and entry.reason else ""
    )


def row_writer(format: OrderFormat, file: TextIO) -> Callable[[Row], None]:
    """Writes rows to a file: CSV with a header, or JSON lines."""
    if format is OrderFormat.JSON_LINES:
        return lambda row: print(json.dumps(row), file=file)
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    return writer.writerow


def make_table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal, without columns that have nothing to say."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown = [
        name
        for name in COLUMNS
        if name not in _HIDDEN and any(row[name] is not None for row in rows)
    ]
    for name in shown:
        heading = "average" if name == "average_price" else name
        justify: JustifyMethod = "right" if name in _NUMBERS else "left"
        table.add_column(heading, justify=justify, no_wrap=name != "reason")
    for row in rows:
        table.add_row(*(Text("" if row[name] is None else str(row[name])) for name in shown))
    return table


def describe(totals: Totals) -> str:
    """The totals in words."""
    parts = [f"{totals.statuses[status]:,} {status.text}" for status in Status]
    counted = [part for part, status in zip(parts, Status, strict=True) if totals.statuses[status]]
    lines = [
        f"{totals.lines:,} line{'' if totals.lines == 1 else 's'}: {', '.join(counted)}",
        f"executed: {totals.executed_quantity:,}, both sides of a trade counted; canceled: "
        f"{totals.canceled_quantity:,}",
    ]
    lines += [f"rejected {count:,}: {text}" for text, count in totals.rejected.most_common()]
    return "\n".join(lines)
