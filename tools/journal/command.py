"""`lockstep journal`: what the holders keep on disk, while none of them needs to run."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from feed.run import Run
from feed.schema import FrameType
from tools.console import CommandError, ExitStatus, UsageError, explain_os_error, print_json
from tools.journal.export import LIST_TYPE_NAMES, ExportFormat, Selection, export
from tools.journal.folders import HolderJournal, open_journal, open_journals
from tools.journal.listing import describe_journal, journal_object
from tools.journal.progress import Progress, say
from tools.journal.repair import RepairError, fill, is_damaged, plan_fill, reopen
from tools.journal.verifying import finding_object, remedy
from tools.options import JsonOption

_LAST_SEQUENCE = 2**64 - 1

journal_app = typer.Typer(
    help="List, verify, export and repair what the holders keep on disk.", no_args_is_help=True
)

FoldersArgument: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR...", help="Holders' folders, or folders above them: all that are below."
    ),
]
FolderArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of one holder.")
]


@journal_app.command("list")
def list_journals(folders: FoldersArgument, as_json: JsonOption = False) -> None:
    """List segments, days, reigns and snapshots, and how each holder left its journal.

    Example: lockstep journal list journal
    """
    with open_journals(folders) as journals:
        if as_json:
            print_json({"journals": [journal_object(journal) for journal in journals]})
            return
        for journal in journals:
            for line in describe_journal(journal):
                print(line)
            _print_segments(journal)


@journal_app.command()
def verify(folders: FoldersArgument, as_json: JsonOption = False) -> None:
    """Read every byte, and tell each thing that is wrong, what it means, and what to do.

    Whether the frames say what they should is another question: `lockstep audit` answers it. The
    exit status is 1 when anything is wrong.

    Example: lockstep journal verify journal
    """
    with open_journals(folders) as journals:
        found = [each for journal in journals for each in _verify(journal, tell=not as_json)]
        frames = sum(journal.frame_count for journal in journals)
    if as_json:
        print_json({"journals": len(journals), "findings": found})
    elif not found:
        print(f"All is intact: {len(journals)} journals, {frames:,} frames.")
    if found:
        sys.exit(ExitStatus.FAILED)


@journal_app.command("export")
def export_frames(
    folder: FolderArgument,
    export_format: Annotated[
        ExportFormat,
        typer.Option(
            "--format", help='"frames" is the bytes as they are on the wire, back to back.'
        ),
    ] = ExportFormat.JSONL,
    first: Annotated[int, typer.Option("--from", min=1, metavar="N", help="From frame N on.")] = 1,
    last: Annotated[
        int, typer.Option("--to", min=1, metavar="N", help="Up to frame N.")
    ] = _LAST_SEQUENCE,
    day: Annotated[
        int | None, typer.Option(metavar="YYYYMMDD", help="Of this trading day alone.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="T", help="Of this type, as TRADE; may be given again."),
    ] = None,
    client: Annotated[
        int | None, typer.Option(metavar="N", help="Those that name this client's number.")
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(metavar="S", help="Those that name this symbol; cancels name an order alone."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there; without it, to stdout.")
    ] = None,
) -> None:
    """Write frames for other programs, every field of each: as CSV, JSON lines, or as they are.

    Prices stand twice, in 1/10,000 and as decimals. What can't be read is told on stderr, and the
    exit status is 1 then.

    Example: lockstep journal export journal/shard-1/e1 --format csv --type TRADE --output t.csv
    """
    wanted = _parse_types(types or [])
    with open_journal(folder) as journal:
        if day is not None:
            first, last = _range_of_day(journal, day, first, last)
        selection = Selection(first, last, wanted, client, symbol)
        runs = _counted(journal.runs(first, last), journal.frame_count)
        count = _write(output, lambda file: export(runs, selection, export_format, file))
        say(f"{count:,} frames")
        for finding in journal.findings:
            say(f"{journal.folder / finding.file}: {finding.what}: {finding.text}")
    if journal.findings:
        sys.exit(ExitStatus.FAILED)


@journal_app.command()
def repair(
    folder: FolderArgument,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="OTHER_DIR", help="Fill what is missing from this holder's journal."
        ),
    ] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="End it before what is damaged, as its holder would.")
    ] = False,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Give a doubtful journal its vote back, though frames or a promise may be lost.",
        ),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without this, what would be done is told.")
    ] = False,
) -> None:
    """Repair a holder's journal, while the holder does not run. Without --apply nothing changes.

    --from compares both journals frame by frame, and takes what this one lacks from the other.
    --cut ends it before what is damaged. --accept-loss is for a shard that has stopped because too
    few holders remember: you decide that what is left is the list. Whatever is changed stays
    beside it, in a folder before-repair-...

    Example: lockstep journal repair journal/shard-1/e1 --from journal/shard-1/e2 --apply
    """
    if not (source or cut or accept_loss):
        raise UsageError("say how: --from OTHER_DIR, --cut or --accept-loss")
    if source is not None:
        with _repairable(folder) as journal, open_journal(source) as other:
            _fill(journal, other, apply=apply)
    if cut or accept_loss:
        with _repairable(folder) as journal:
            _reopen(journal, cut=cut, accept_loss=accept_loss, apply=apply)
    if not apply:
        print("Nothing was changed; --apply does it.")


@contextlib.contextmanager
def _repairable(folder: Path) -> Iterator[HolderJournal]:
    with open_journal(folder) as journal:
        if not journal.state:
            raise RepairError(
                f"{journal.folder}: its state can't be read, so it is not known whose journal this "
                "is: move state.json away and start the holder, which catches up"
            )
        yield journal


def _fill(journal: HolderJournal, other: HolderJournal, *, apply: bool) -> None:
    plan = plan_fill(journal, other)
    if plan is None:
        print(f"{journal.folder} lacks nothing that {other.folder} could give.")
        return
    for line in plan.lines(journal, other):
        print(line)
    if apply:
        print(f"Done. The old files are in {fill(journal, other, plan)}.")


def _reopen(journal: HolderJournal, *, cut: bool, accept_loss: bool, apply: bool) -> None:
    if is_damaged(journal) and not cut:
        raise RepairError(
            f"{journal.folder} is damaged (lockstep journal verify tells how): fill it with --from,"
            " or end it before the damage with --cut, before you accept what is lost"
        )
    if accept_loss and not (journal.state["is_doubtful"] or cut):
        raise RepairError(f"{journal.folder} is not doubtful: there is no loss to accept")
    if apply:
        print(*reopen(journal, accept_loss=accept_loss), sep="\n")
        return
    if cut:
        print(f"{journal.folder} would end before what is damaged, after a copy was made.")
    if accept_loss:
        print(f"{journal.holder} would have a vote again, with what is there: see docs/audit.md.")


def _verify(journal: HolderJournal, *, tell: bool) -> Iterator[dict[str, Any]]:
    """Each finding as JSON has it, told in words as it comes."""
    say(f"{journal.folder}: {journal.frame_count:,} frames ...")
    for finding in journal.verify():
        if tell:
            at = f", frame {finding.sequence:,}" if finding.sequence else ""
            print(f"{journal.folder / finding.file}{at}: {finding.what}: {finding.text}")
            print(f"    {remedy(finding)}")
        yield finding_object(journal, finding)


def _counted(runs: Iterable[Run], total: int) -> Iterator[Run]:
    progress = Progress("export", "frames", total)
    for run in runs:
        yield run
        progress.add(len(run))


def _parse_types(names: list[str]) -> frozenset[FrameType]:
    for name in names:
        if name.upper() not in LIST_TYPE_NAMES:
            raise UsageError(f"--type {name}: use one of {', '.join(LIST_TYPE_NAMES)}")
    return frozenset(FrameType[name.upper()] for name in names)


def _range_of_day(journal: HolderJournal, day: int, first: int, last: int) -> tuple[int, int]:
    """The part of a range that is of a trading day."""
    days = [*journal.files.days, (_LAST_SEQUENCE, 0)]
    before = (journal.files.first_sequence, journal.files.base.day)
    for (begin, each), (end, _) in zip([before, *days], days, strict=False):
        if each == day:
            return max(first, begin), min(last, end - 1)
    known = ", ".join(str(each) for _, each in days[:-1]) or "none"
    raise UsageError(f"--day {day}: not in this journal; its days are: {known}")


def _write(output: Path | None, write: Callable[[BinaryIO], int]) -> int:
    try:
        if output is not None:
            with output.open("wb") as file:
                return write(file)
        count = write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return count
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush
        sys.exit(ExitStatus.OK)
    except OSError as error:
        raise CommandError(f"{output or 'stdout'}: {explain_os_error(error)}") from error


def _print_segments(journal: HolderJournal) -> None:
    table = Table("segment")
    for heading in ("first", "last", "bytes"):
        table.add_column(heading, justify="right")
    table.add_column("sealed")
    for name, first, last, is_sealed, size in journal.segments:
        cells = [f"{number:,}" for number in (first, last, size)]
        table.add_row(name, *cells, "yes" if is_sealed else "no")
    Console().print(table)
