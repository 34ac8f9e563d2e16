"""Repairs a journal, as far as an operator decides it: fill, cut, or accept what is lost.

Filling takes the frames that a journal lacks from another holder's, after both were compared frame
by frame: where they differ nothing is done. Cutting does what the holder itself would do when it
starts: the journal ends before what is damaged, and has no vote until it has caught up. Accepting
a loss gives a doubtful journal its vote back: nothing but an operator can know whether that is
right.

Files that change are kept as they were, in a folder of their own.
"""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from feed.journal import Journal, JournalError, JournalPolicy
from feed.journal_state import STATE_NAME
from feed.journal_survey import Damage
from feed.messages import DIGEST_BYTES
from feed.run import Run
from feed.segments import (
    FIRST_BASE,
    FRAMES_SUFFIX,
    HEADER_BYTES,
    INDEX_SUFFIX,
    Base,
    decode_header,
    segment_name,
)
from feed.settings import SyncPolicy
from feed.storage import DiskStorage, StorageError
from tools.audit.findings import Findings, Kind
from tools.audit.holders import Copy, Merger
from tools.console import CommandError
from tools.journal.folders import HolderJournal

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_WORK_NAME = "being-repaired"
_HARMLESS = (Damage.TORN_TAIL, Damage.DAMAGED_INDEX)  # what a holder puts right when it starts
_ACCEPTED = """\
*** A loss was accepted for {holder}. ***
Its journal counts as complete from now on, and it votes when a primary is chosen. If frames that
it had acknowledged are missing, and no other holder of the majority has them, they are lost for
good: orders and trades that clients were told of. Start no other holder of this shard with an older
journal after this, and write down who decided it."""


class RepairError(CommandError):
    """A journal that can't be repaired so; the text says what can be done instead."""


class Gap(NamedTuple):
    """Frames that a journal lacks."""

    first_sequence: int
    last_sequence: int

    def __str__(self) -> str:
        return f"{self.first_sequence:,} to {self.last_sequence:,}"


class Fill(NamedTuple):
    """What is to be written anew."""

    gaps: list[Gap]
    base: Base  # of the first frame to write
    last_sequence: int
    moved: list[Path]  # the files that go aside

    def lines(self, journal: HolderJournal, source: HolderJournal) -> Iterator[str]:
        """What it does, in words."""
        for gap in self.gaps:
            yield f"the frames {gap} come from {source.folder}"
        first, last = self.base.next_sequence, self.last_sequence
        yield f"the frames {first:,} to {last:,} are written anew"
        yield f"{len(self.moved)} files of {journal.folder} go aside, as they are"


def plan_fill(journal: HolderJournal, source: HolderJournal) -> Fill | None:
    """What it takes to fill a journal from another one; None when it lacks nothing.

    Raises RepairError where they are not copies of one list, or the other does not have it either.
    """
    ours, theirs = (journal.exchange, journal.shard), (source.exchange, source.shard)
    if ours != theirs:
        raise RepairError(
            f"{source.folder} is of exchange {theirs[0]}, shard {theirs[1]}, and {journal.folder} "
            f"of {ours[0]}, shard {ours[1]}: give a journal of the same list"
        )
    have = _ranges(journal.runs())
    first = int(journal.state["first_sequence"])
    last = _needed_sequence(journal, source)
    gaps = _gaps(have, first, last)
    broken = [gap.first_sequence for gap in gaps] + _without_header(journal)
    if not broken:
        return None
    _check_agreement(journal, source)
    there = _ranges(source.runs())
    for gap in gaps:
        if not any(
            each.first_sequence <= gap.first_sequence and gap.last_sequence <= each.last_sequence
            for each in there
        ):
            raise RepairError(f"{source.folder} does not have the frames {gap} either")
    begin = _begin(journal, min(broken))
    moved = [
        path
        for path in sorted(journal.folder.iterdir())
        if path.suffix in (FRAMES_SUFFIX, INDEX_SUFFIX)
        and path.stem.isdecimal()
        and int(path.stem) >= begin
    ]
    return Fill(gaps, _base(journal, source, begin), last, moved)


def fill(journal: HolderJournal, source: HolderJournal, plan: Fill) -> Path:
    """Carry out a plan; the folder in which the old files are."""
    with _Locked(journal.folder):
        work = journal.folder / _WORK_NAME
        shutil.rmtree(work, ignore_errors=True)
        _write_anew(journal, source, plan, work)
        aside = _aside(journal.folder)
        for path in plan.moved:
            path.rename(aside / path.name)
        for path in sorted(work.iterdir()):
            if path.suffix in (FRAMES_SUFFIX, INDEX_SUFFIX):
                path.rename(journal.folder / path.name)
        for changed in (aside, journal.folder):
            _sync_folder(changed)
        shutil.rmtree(work)
    return aside


def reopen(journal: HolderJournal, *, accept_loss: bool) -> list[str]:
    """Open a journal as its holder would: cut it where it has to be, and close it.

    With `accept_loss` it counts as complete afterwards. What was found and done.
    """
    folder, state = journal.folder, journal.state
    aside = _aside(folder)
    names = {STATE_NAME, *(finding.file for finding in journal.verify())}
    storage = _Locked(folder).storage
    for name in sorted(names):
        if (folder / name).is_file():
            shutil.copy2(folder / name, aside / Path(name).name)
    try:
        opened = Journal.open(
            storage,
            exchange=journal.exchange,
            shard=journal.shard,
            holder=journal.holder,
            policy=JournalPolicy(SyncPolicy(state["sync"])),
            boot=_BOOT_ID.read_text().strip(),
            now_ns=time.monotonic_ns(),
        )
        lines = [f"{finding.file}: {finding.what}: {finding.text}" for finding in opened.findings]
        if accept_loss:
            opened.vouched()
        opened.close()
        if opened.failure is not None:
            raise RepairError(opened.failure)
    except JournalError as error:
        raise RepairError(f"{folder}: {error}") from error
    finally:
        storage.close()
    lines.append(f"copies of what it changed are in {aside}")
    if accept_loss:
        lines += _ACCEPTED.format(holder=journal.holder).splitlines()
    elif opened.is_doubtful:
        lines.append("it has no vote until it has caught up with the others")
    return lines


def is_damaged(journal: HolderJournal) -> bool:
    """Whether there is anything that its holder could not put right without a loss."""
    return any(finding.what not in _HARMLESS for finding in journal.verify())


class _Locked:
    """A folder that no other process writes to; raises RepairError when one does."""

    def __init__(self, folder: Path) -> None:
        try:
            self.storage = DiskStorage(folder)
        except StorageError as error:
            raise RepairError(str(error)) from error

    def __enter__(self) -> "_Locked":
        return self

    def __exit__(self, *exception: object) -> None:
        self.storage.close()


def _ranges(runs: Iterator[Run]) -> list[Gap]:
    """Which frames there are, in as few ranges as they make."""
    found: list[Gap] = []
    for run in runs:
        if found and found[-1].last_sequence + 1 == run.first_sequence:
            found[-1] = found[-1]._replace(last_sequence=run.last_sequence)
        elif run:
            found.append(Gap(run.first_sequence, run.last_sequence))
    return found


def _gaps(have: list[Gap], first: int, last: int) -> list[Gap]:
    """What is not there of the frames `first` to `last`."""
    gaps = []
    for each in have:
        if first < each.first_sequence:
            gaps.append(Gap(first, each.first_sequence - 1))
        first = max(first, each.last_sequence + 1)
    if first <= last:
        gaps.append(Gap(first, last))
    return gaps


def _without_header(journal: HolderJournal) -> list[int]:
    """The segments whose frames can be read, but not what comes before them."""
    return [
        finding.sequence for finding in journal.verify() if finding.what is Damage.DAMAGED_HEADER
    ]


def _needed_sequence(journal: HolderJournal, source: HolderJournal) -> int:
    """How far a journal has to go: as far as it went once, and to what is known committed."""
    committed = max(journal.committed_sequence, source.committed_sequence)
    return max(journal.last_sequence, journal.stored_sequence, min(committed, source.last_sequence))


def _merger(journal: HolderJournal, source: HolderJournal, findings: Findings) -> Merger:
    copies = []
    for each in (journal, source):
        reign = each.last_reign
        epoch = reign.epoch if reign else 0
        copies.append(Copy(str(each.folder), each.runs(), epoch, each.last_sequence))
    reign = min(journal.files.base, source.files.base).reign
    committed = max(journal.committed_sequence, source.committed_sequence)
    return Merger(copies, reign.epoch if reign else 0, committed, findings)


def _check_agreement(journal: HolderJournal, source: HolderJournal) -> None:
    """Raise RepairError unless both have the same frames wherever both have some."""
    findings = Findings()
    merger = _merger(journal, source, findings)
    for _ in merger.runs():
        pass
    for difference in findings.differences:
        if difference.kind is Kind.HOLDERS:
            raise RepairError(
                f"they differ, so nothing was changed: frame {difference.sequence:,}: "
                f"{difference.text}. `lockstep audit` says which of them is right"
            )
    for comparison in merger.comparisons:
        if comparison.lost_tail is not None and comparison.holder == str(journal.folder):
            raise RepairError(
                f"its frames from {comparison.lost_tail.first_sequence:,} on are a lost tail, "
                "which the holder drops by itself: cut it, and start the holder"
            )


def _begin(journal: HolderJournal, missing: int) -> int:
    """From where on it has to be written anew: the beginning of the segment that lacks a frame."""
    for segment in journal.segments:
        if segment.first_sequence <= missing <= segment.last_sequence + 1:
            return segment.first_sequence
    return missing


def _base(journal: HolderJournal, source: HolderJournal, first: int) -> Base:
    """What is known of all that came before a frame."""
    for each in (journal, source):
        path = each.folder / segment_name(first)
        if path.is_file():
            header = decode_header(path.read_bytes()[:HEADER_BYTES])
            if header is not None and header.base.next_sequence == first:
                return header.base
    if first == 1:
        return FIRST_BASE
    files = source.files
    reigns = [reign for reign in files.reigns if reign.sequence < first]
    days = [day for sequence, day in files.days if sequence < first]
    return Base(
        first,
        reigns[-1] if reigns else files.base.reign,
        -1,
        bytes(DIGEST_BYTES),
        days[-1] if days else files.base.day,
    )


def _write_anew(journal: HolderJournal, source: HolderJournal, plan: Fill, folder: Path) -> None:
    """Write the frames of both into a journal of its own."""
    with _Locked(folder) as work:
        written = Journal.open(
            work.storage,
            exchange=journal.exchange,
            shard=journal.shard,
            holder=journal.holder,
            policy=JournalPolicy(SyncPolicy.NEVER),
            boot=_WORK_NAME,
            now_ns=time.monotonic_ns(),
        )
        written.rebase(plan.base)
        for run in _merger(journal, source, Findings()).runs():
            written.append(run.part(plan.base.next_sequence, plan.last_sequence))
        written.close()
        if written.failure is not None:
            raise RepairError(f"nothing was changed: {written.failure}")
        if written.next_sequence != plan.last_sequence + 1:
            raise RepairError("nothing was changed: the journals are not what they just were")


def _aside(folder: Path) -> Path:
    """A new folder for what is changed."""
    aside = folder / f"before-repair-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    aside.mkdir()
    return aside


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
