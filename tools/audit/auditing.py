"""Audits the journals in some folders: sorts them by list, reads them, and makes the report."""

import contextlib
import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from engine.markets import MarketMachine
from feed.journal_survey import Damage
from feed.run import Run
from feed.snapshot import SnapshotError
from feed.storage import StorageError
from tools.audit.between import Side, compare
from tools.audit.crossings import Crossings
from tools.audit.findings import Findings, Kind
from tools.audit.holders import Comparison, Copy, Merger
from tools.audit.list_audit import Checkpoint, DigestMark, ListAudit
from tools.audit.report import AuditReport, FileRead, HolderRead, ListReport
from tools.journal.folders import HolderJournal, Snapshot, sha256_of
from tools.journal.listing import describe_state
from tools.journal.progress import Progress


class _Name(NamedTuple):
    """Which list a journal is of."""

    exchange: str
    shard: int


def audit_journals(
    journals: Sequence[HolderJournal], build: Callable[[], MarketMachine]
) -> AuditReport:
    """Audit all lists that there are journals of."""
    findings = Findings()
    lists = _by_list(journals, findings)
    total = sum(journal.last_sequence for each in lists.values() for journal in each[:1])
    progress = Progress("audit", "frames", total)
    reports, sides = [], []
    for name, holders in sorted(lists.items()):
        report, crossings = _audit_list(name, holders, build, progress)
        reports.append(report)
        has_grown = len(lists) > 1 and _have_grown(holders)
        last_sequence = report.last_sequence
        sides.append(Side(name.shard, crossings, report.findings, last_sequence, has_grown))
    compare(sides)
    for report, holders in zip(reports, (lists[name] for name in sorted(lists)), strict=True):
        _place(report.findings, holders)
    return AuditReport(
        metadata.version("lockstep"),
        f"{build().kind}, Python {platform.python_version()}",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        progress.seconds,
        reports,
        findings,
    )


def _by_list(
    journals: Iterable[HolderJournal], findings: Findings
) -> dict[_Name, list[HolderJournal]]:
    """The journals of each list. One audit is of one exchange: the one that most of them are of."""
    found: defaultdict[_Name, list[HolderJournal]] = defaultdict(list)
    for journal in journals:
        found[_Name(journal.exchange, journal.shard)].append(journal)
    counts: defaultdict[str, int] = defaultdict(int)
    for name, holders in found.items():
        counts[name.exchange] += len(holders)
    exchange = max(counts, key=lambda name: (bool(name), counts[name]))
    for name in [name for name in found if not name.exchange and exchange]:
        # Without a state nothing says whose it is; that its state is lost is told beside.
        found[name._replace(exchange=exchange)] += found.pop(name)
    for name in [name for name in found if name.exchange != exchange]:
        for journal in found.pop(name):
            findings.add(
                Kind.FOREIGN,
                0,
                f"{journal.folder} is not of the same exchange as the others, and was left out",
                found=f"exchange {name.exchange or 'unknown'}, shard {name.shard}",
                expected=f"exchange {exchange}",
            )
    return dict(found)


def _audit_list(
    name: _Name,
    journals: Sequence[HolderJournal],
    build: Callable[[], MarketMachine],
    progress: Progress,
) -> tuple[ListReport, Crossings]:
    findings = Findings()
    snapshots = list(_sound_snapshots(journals))
    start = _start(journals, snapshots)
    checkpoints = [
        Checkpoint(str(each.path), each.whole.head, each.whole.end.state_digest)
        for each in snapshots
        if each is not start
    ]
    marks = [
        DigestMark(str(path), sequence, digest, _label(journal))
        for journal in journals
        for path, sequence, digest in journal.list_digests()
    ]
    committed = max(journal.committed_sequence for journal in journals)
    oldest = min(
        journals, key=lambda journal: journal.segments[0][1] if journal.segments else 2**64
    )
    reign = oldest.files.base.reign
    merger = Merger(map(_copy, journals), reign.epoch if reign else 0, committed, findings)
    audit = ListAudit(
        build,
        findings,
        start=start.whole if start else None,
        checkpoints=checkpoints,
        marks=marks,
        is_of_list=lambda mark: merger.is_of_list(mark.holder, mark.sequence),
    )
    for run in _counted(merger.runs(), progress):
        audit.take(run)
    audit.close()
    structure = audit.structure
    last_sequence = structure.next_sequence - 1 if structure.next_sequence else 0
    if committed > last_sequence:
        findings.add(
            Kind.MISSING,
            last_sequence + 1,
            f"nobody has the frames up to {committed:,}, which were known to be committed",
        )
    compared = {comparison.holder: comparison for comparison in merger.comparisons}
    holders = [_read_whole(journal, compared[_label(journal)], findings) for journal in journals]
    report = ListReport(
        name.exchange,
        name.shard,
        holders,
        committed,
        audit.first_sequence,
        last_sequence,
        structure.first_time_ns,
        structure.last_time_ns,
        str(start.path) if start else "",
        audit.computed_to,
        audit.sha256,
        audit.list_digest,
        None if audit.state_digest is None else audit.state_digest.hex(),
        audit.live_orders,
        structure.reigns,
        structure.days,
        audit.totals,
        findings,
    )
    return report, audit.crossings


def _label(journal: HolderJournal) -> str:
    """How a journal is called beside others: two of one holder may be copies of one another."""
    return f"{journal.holder} in {journal.folder}"


def _copy(journal: HolderJournal) -> Copy:
    reign = journal.last_reign
    return Copy(_label(journal), journal.runs(), reign.epoch if reign else 0, journal.last_sequence)


def _counted(runs: Iterable[Run], progress: Progress) -> Iterator[Run]:
    for run in runs:
        yield run
        progress.add(len(run))


def _have_grown(journals: Iterable[HolderJournal]) -> bool:
    """Whether frames were added since they were opened: then other lists may tell of more."""
    for journal in journals:
        with contextlib.closing(HolderJournal(journal.folder)) as again:
            if again.last_sequence > journal.last_sequence:
                return True
    return False


def _sound_snapshots(journals: Iterable[HolderJournal]) -> Iterator[Snapshot]:
    for journal in journals:
        for stored in journal.stored_snapshots:
            with contextlib.suppress(SnapshotError, StorageError):  # `verify` tells of it
                yield journal.snapshot(stored)


def _start(journals: Iterable[HolderJournal], snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """The snapshot to begin with: none when a list is there from its first frame on."""
    firsts = [journal.segments[0].first_sequence for journal in journals if journal.segments]
    first = min(firsts, default=1)
    if first == 1:
        return None
    usable = [each for each in snapshots if each.stored.sequence >= first - 1]
    return min(usable, key=lambda each: each.stored.sequence, default=None)


def _read_whole(journal: HolderJournal, comparison: Comparison, findings: Findings) -> HolderRead:
    """Read every byte of a journal's files, and tell what is not intact."""
    for finding in journal.verify():
        file = journal.folder / finding.file
        if finding.what is Damage.TORN_TAIL:  # nothing that was acknowledged is in it
            findings.note(f"{file}: {finding.what} behind frame {finding.sequence - 1:,}")
        else:
            text = f"{file}: {finding.what}"
            findings.add(Kind.DAMAGED, finding.sequence, text, found=finding.text)
    files = []
    progress = Progress(f"{journal.folder}: SHA-256", "bytes", 0)
    for path in journal.paths():
        files.append(FileRead(str(path), path.stat().st_size, sha256_of(path, progress.add)))
        findings.checked["files"] += 1
    state = describe_state(journal)
    return HolderRead(journal.holder, str(journal.folder), state, comparison, files)


def _place(findings: Findings, journals: Iterable[HolderJournal]) -> None:
    """Say of each difference in which files it is."""
    holders = list(journals)
    for at, difference in enumerate(findings.differences):
        if difference.sequence and not difference.place:
            places = [place for each in holders if (place := each.place_of(difference.sequence))]
            findings.differences[at] = difference._replace(place=", ".join(places))


def write_report(report: AuditReport, path: Path) -> None:
    """Write the report as text to a file."""
    path.write_text("\n".join(report.lines()) + "\n")
