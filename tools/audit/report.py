"""The report of an audit: as text that somebody can sign, and as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from feed.messages import unpad
from tools.audit.findings import Difference, Findings
from tools.audit.holders import Comparison
from tools.audit.structure import Day, RulingReign
from tools.audit.totals import Flow, Totals
from tools.journal.export import moment
from tools.prices import format_price

_CHECKS = {  # by the names under which they are counted
    "files": "files read whole, and their checksums verified",
    "frames": "frames intact, numbered without a hole, and at times that never run backwards",
    "groups": "groups whole, from a command to an END mark",
    "epochs": "epochs, each above the one before, with one primary",
    "days": "trading days, each after the one before",
    "frames compared": "frames compared with another holder's, byte by byte",
    "computed groups": "groups carried out once more, and compared byte by byte",
    "snapshots": "snapshots compared with the state computed there",
    "list digests": "digests of the list, as segments and snapshots have them, computed anew",
    "numbered commands": "commands with a user_ref_num, each above the client's one before: once",
    "trades": "trades that follow from their two orders",
    "cancels": "cancels of orders that had so much open",
    "replaces": "replaces that give what was asked for",
    "stops": "stop orders triggered by a trade",
    "books": "looks at a book: nothing rests that could have traded",
    "resting orders": "orders at the end, open by their events as by the machine",
    "marks": "marks of other shards, each later than the one before",
    "marks compared": "marks that name the end of a group which the other shard's list has",
    "log-ins compared": "log-ins that follow one in the client's home shard",
    "orders that left": "orders that left with their instrument, as they stood",
    "orders that arrived": "orders that arrived with their instrument, where they may stand",
    "arrivals compared": "orders that arrived as they had left another shard, once",
    "numbers compared": "user_ref_nums of clients that were looked for in another shard's list",
    "sums": "sums that come out: entered is executed, canceled and open; positions and cash zero",
}
_RULE = "-" * 78


class FileRead(NamedTuple):
    """A file as it was read."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HolderRead:
    """A holder's journal as it was read."""

    holder: str
    folder: str
    state: str  # what its state file says, in words
    comparison: Comparison
    files: Sequence[FileRead]


@dataclass(frozen=True, slots=True)
class ListReport:
    """All that an audit has to say of one list."""

    exchange: str
    shard: int
    holders: Sequence[HolderRead]
    committed_sequence: int  # the highest that any of the holders knew of
    first_sequence: int
    last_sequence: int
    first_time_ns: int
    last_time_ns: int
    start: str  # from which snapshot it was computed; "" for from the first frame on
    computed_to: int
    sha256: str
    list_digest: str | None
    state_digest: str | None
    live_orders: int
    reigns: Sequence[RulingReign]
    days: Sequence[Day]
    totals: Totals
    findings: Findings


@dataclass(frozen=True, slots=True)
class AuditReport:
    """One audit: what it was made with, and each list."""

    version: str
    machine: str
    made_at: str
    seconds: float
    lists: Sequence[ListReport]
    findings: Findings = field(default_factory=Findings)  # of no list

    @property
    def is_clean(self) -> bool:
        """Whether there is no difference at all."""
        return self.findings.is_clean and all(each.findings.is_clean for each in self.lists)

    @property
    def difference_count(self) -> int:
        """All differences, told or only counted."""
        every = [self.findings, *(each.findings for each in self.lists)]
        return sum(findings.counts.total() for findings in every)

    def summary(self) -> dict[str, Any]:
        """The report as one JSON object."""
        frames = sum(each.findings.checked["frames"] for each in self.lists)
        return {
            "verdict": "clean" if self.is_clean else "differences",
            "differences": self.difference_count,
            "version": self.version,
            "machine": self.machine,
            "made_at": self.made_at,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(frames / self.seconds) if self.seconds else None,
            **_findings_object(self.findings),
            "lists": [_list_object(each) for each in self.lists],
        }

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield "LOCKSTEP AUDIT REPORT"
        yield f"made {self.made_at} by Lockstep {self.version}, machine {self.machine}"
        yield self._verdict
        for each in self.lists:
            yield from ("", _RULE, *_list_lines(each))
        if self.findings.counts or self.findings.notes:
            yield from ("", _RULE, "Of no list", *_finding_lines(self.findings))
        yield from ("", _RULE, self._verdict)
        for blank in ("Name", "Date", "Signature"):
            yield from ("", f"{blank:12}{'_' * 50}")

    @property
    def _verdict(self) -> str:
        if self.is_clean:
            return "VERDICT: CLEAN. All that was checked holds; there is no difference."
        return f"VERDICT: NOT CLEAN. Differences: {self.difference_count:,}."


def _list_lines(report: ListReport) -> Iterator[str]:
    yield f"Exchange {report.exchange or 'unknown'}, shard {report.shard}"
    yield from ("", "1. What was read")
    for holder in report.holders:
        yield from _holder_lines(holder)
    yield from ("", "2. The list", *_facts(report), *_history(report))
    yield from ("", "3. What was checked")
    for name, text in _CHECKS.items():
        if count := report.findings.checked[name]:
            yield f"  {count:>15,}  {text}"
    yield from ("", "4. Totals by symbol", *_symbol_lines(report.totals))
    yield from ("", "5. Totals by client", *_client_lines(report.totals))
    yield from ("", "6. Differences", *_finding_lines(report.findings))
    yield from ("", "7. Files, with their SHA-256 (sha256sum --check reads these lines)")
    for holder in report.holders:
        for file in holder.files:
            yield f"  {file.sha256}  {file.path}"


def _holder_lines(holder: HolderRead) -> Iterator[str]:
    compared = holder.comparison
    yield f"  {holder.holder or 'a holder without a name'}, {holder.folder}"
    yield f"    frames {compared.first_sequence:,} to {compared.last_sequence:,}; {holder.state}"
    if compared.lost_tail is not None:
        first, last, epoch = compared.lost_tail
        yield f"    not of the list: {first:,} to {last:,}, of epoch {epoch}"
    size = sum(file.size_bytes for file in holder.files)
    yield f"    {len(holder.files):,} files of {size:,} bytes: see 7"


def _facts(report: ListReport) -> Iterator[str]:
    computed = f"from {report.start}" if report.start else "from the first frame"
    facts = {
        "frames": f"{report.first_sequence:,} to {report.last_sequence:,}",
        "times": f"{moment(report.first_time_ns)} to {moment(report.last_time_ns)}",
        "computed": f"{computed} to frame {report.computed_to:,}",
        "known committed": f"to frame {report.committed_sequence:,}",
        "live orders": f"{report.live_orders:,} at the end",
        "SHA-256": f"{report.sha256} (of all frames)",
        "list digest": report.list_digest or "not known",
        "state digest": report.state_digest or "not known",
    }
    for name, value in facts.items():
        yield f"  {name:16} {value}"


def _history(report: ListReport) -> Iterator[str]:
    for reign, time_ns in report.reigns:
        began = f"frame {reign.sequence:,}, {moment(time_ns)}"
        yield f"  {f'epoch {reign.epoch}':16} {reign.primary:16} from {began}"
    for day, sequence, time_ns in report.days:
        yield f"  {f'day {day}':16} {'':16} from frame {sequence:,}, {moment(time_ns)}"


_FLOW = ("orders", "entered", "replaced", "arrived", "executed", "canceled", "left", "open")
_MOVED = frozenset({"arrived", "left"})  # told in words where an instrument has moved


def _flow_names(totals: Totals) -> list[str]:
    flows = [each.flow for each in totals.symbols.values()]
    has_moved = any(flow.arrived or flow.left for flow in flows)
    return [name for name in _FLOW if has_moved or name not in _MOVED]


def _symbol_lines(totals: Totals) -> Iterator[str]:
    names = _flow_names(totals)
    heading = [*names, "trades", "quantity", "turnover"]
    rows = {
        unpad(symbol): [
            *_flow_words(each.flow, names),
            f"{each.trades:,}",
            f"{each.quantity:,}",
            _money(each.turnover),
        ]
        for symbol, each in sorted(totals.symbols.items())
    }
    yield from _table("symbol", heading, rows)


def _client_lines(totals: Totals) -> Iterator[str]:
    names = _flow_names(totals)
    heading = [*names, "commands", "rejected", "bought", "sold", "cash"]
    rows = {
        str(client): [
            *_flow_words(each.flow, names),
            f"{each.commands:,}",
            f"{each.rejected:,}",
            f"{each.bought:,}",
            f"{each.sold:,}",
            _money(each.cash),
        ]
        for client, each in sorted(totals.clients.items())
    }
    yield from _table("client", heading, rows)


def _flow_words(flow: Flow, names: Iterable[str]) -> list[str]:
    return [f"{getattr(flow, name):,}" for name in names]


def _table(first: str, heading: Sequence[str], rows: dict[str, list[str]]) -> Iterator[str]:
    if not rows:
        yield "  none"
        return
    lines = [[first, *heading], *([name, *row] for name, row in rows.items())]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heading) + 1)]
    for line in lines:
        cells = [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
        yield "  ".join([f"  {line[0]:{widths[0]}}", *cells])


def _money(amount: int) -> str:
    """An amount of any sign, as prices are written."""
    return f"-{format_price(-amount)}" if amount < 0 else format_price(amount)


def _finding_lines(findings: Findings) -> Iterator[str]:
    if not findings.counts:
        yield "  none"
    for kind, count in findings.counts.items():
        yield f"  {count:>15,}  {kind}"
    for difference in findings.differences:
        yield ""
        for line in difference.lines():
            yield f"  {line}"
    told = len(findings.differences)
    if told < findings.counts.total():
        yield ""
        yield f"  {findings.counts.total() - told:,} more are counted above, and not told here."
    for note in findings.notes:
        yield f"  Note: {note}."


def _findings_object(findings: Findings) -> dict[str, Any]:
    return {
        "counts": {str(kind): count for kind, count in findings.counts.items()},
        "told": [_difference_object(each) for each in findings.differences],
        "notes": findings.notes,
    }


def _difference_object(difference: Difference) -> dict[str, Any]:
    return {**difference._asdict(), "kind": str(difference.kind)}


def _list_object(report: ListReport) -> dict[str, Any]:
    totals = report.totals
    return {
        "exchange": report.exchange,
        "shard": report.shard,
        "holders": [_holder_object(each) for each in report.holders],
        "first_sequence": report.first_sequence,
        "last_sequence": report.last_sequence,
        "first_time_ns": report.first_time_ns,
        "last_time_ns": report.last_time_ns,
        "committed_sequence": report.committed_sequence,
        "start": report.start or None,
        "computed_to": report.computed_to,
        "sha256": report.sha256,
        "list_digest": report.list_digest,
        "state_digest": report.state_digest,
        "live_orders": report.live_orders,
        "epochs": [{**reign._asdict(), "time_ns": time_ns} for reign, time_ns in report.reigns],
        "days": [day._asdict() for day in report.days],
        "checked": dict(report.findings.checked),
        "symbols": {
            unpad(symbol): {
                **_flow_object(each.flow),
                "trades": each.trades,
                "quantity": each.quantity,
                "turnover": each.turnover,
            }
            for symbol, each in sorted(totals.symbols.items())
        },
        "clients": {
            str(client): {
                **_flow_object(each.flow),
                "commands": each.commands,
                "rejected": each.rejected,
                "bought": each.bought,
                "sold": each.sold,
                "cash": each.cash,
            }
            for client, each in sorted(totals.clients.items())
        },
        **_findings_object(report.findings),
    }


def _flow_object(flow: Flow) -> dict[str, int]:
    return {name: getattr(flow, name) for name in _FLOW}


def _holder_object(holder: HolderRead) -> dict[str, Any]:
    compared = holder.comparison
    tail = compared.lost_tail
    return {
        "holder": holder.holder,
        "folder": holder.folder,
        "state": holder.state,
        "first_sequence": compared.first_sequence,
        "last_sequence": compared.last_sequence,
        "lost_tail": None if tail is None else tail._asdict(),
        "files": [file._asdict() for file in holder.files],
    }
