"""Opens a journal: finds out how it was left, and puts right what can be.

What is to be done is known, and the state says so, before any file is changed: when that is cut
short, the next one to open it comes to the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from feed.commit_marks import CommitMarks
from feed.journal_state import STATE_NAME, JournalState, Vow, decode_state, encode_state
from feed.journal_survey import Damage, Finding, Survey, survey
from feed.messages import holder_field
from feed.reign import Reign
from feed.segments import (
    ASIDE_SUFFIX,
    FIRST_BASE,
    FRAMES_SUFFIX,
    INDEX_SUFFIX,
    Base,
    Segment,
    SegmentHeader,
    encode_header,
    first_sequences,
    index_name,
    segment_name,
)
from feed.settings import SyncPolicy
from feed.storage import Storage, StorageError

_COPY_BYTES = 1 << 20


class JournalError(Exception):
    """A journal can't be used at all; the text names the file, what is wrong, and what to do."""


@dataclass(slots=True)
class Opened:
    """A journal as it is gone on with."""

    state: JournalState
    base: Base
    segments: list[Segment]
    older: list[Segment]
    findings: list[Finding]
    digest_block: tuple[int, bytes] | None


def open_files(
    storage: Storage, owner: JournalState, on_progress: Callable[[int, int], None] | None
) -> Opened:
    """Go on with what is there; `owner` says whose it has to be, and how it will be written.

    Raises JournalError.
    """
    try:
        return _open(storage, owner, on_progress)
    except (StorageError, ValueError) as error:
        raise JournalError(str(error)) from error


def read_state(storage: Storage) -> JournalState | None:
    """The state that is stored, if one is; raises ValueError when it can't be read."""
    if STATE_NAME not in storage.names():
        return None
    try:
        return decode_state(storage.read(STATE_NAME, 0, storage.size(STATE_NAME)))
    except ValueError as error:
        raise ValueError(
            f"{STATE_NAME} can't be read: {error}. Move it away to go on without it: the holder"
            " then has no vote until it has caught up with the others"
        ) from error


def _open(
    storage: Storage, owner: JournalState, on_progress: Callable[[int, int], None] | None
) -> Opened:
    stored = read_state(storage)
    if stored is not None:
        storage.sync(STATE_NAME)  # the last process may not have come to that
    _check_owner(stored, owner)
    has_begun = stored is not None or bool(first_sequences(storage.names(), FRAMES_SUFFIX))
    state = stored or owner
    if state.rebase is not None:
        _rebase(storage, state.shard, state.rebase)
    _remove_pruned(storage, state.first_sequence)
    names = storage.names()
    sealed = set(first_sequences(names, INDEX_SUFFIX))
    for first in first_sequences(names, FRAMES_SUFFIX):
        if first not in sealed:
            storage.sync(segment_name(first))  # what is read after it is what the disk has
    found = survey(
        storage, owner.shard, was_closed=state.closed_sequence is not None, on_progress=on_progress
    )
    if has_begun:
        _judge(found, stored, owner, CommitMarks(storage).read())
    opened = _begin(found, stored, owner)
    storage.replace(STATE_NAME, [encode_state(opened.state)])
    _repair(storage, found)
    return opened


def _check_owner(stored: JournalState | None, owner: JournalState) -> None:
    if stored is None:
        return
    for what in ("exchange", "shard", "holder"):
        theirs, ours = getattr(stored, what), getattr(owner, what)
        if theirs != ours:
            raise ValueError(
                f"{STATE_NAME}: this is the journal of {what} {theirs}, not of {ours}: give each"
                " holder a folder of its own"
            )


def _rebase(storage: Storage, shard: int, base: Base) -> None:
    """Go on where a rebase was cut short: nothing has been appended since."""
    names = storage.names()
    for suffix in (FRAMES_SUFFIX, INDEX_SUFFIX):
        for first in first_sequences(names, suffix):
            storage.remove(f"{first:020d}{suffix}")
    storage.append(segment_name(base.next_sequence), encode_header(SegmentHeader(shard, base, 0)))
    storage.sync(segment_name(base.next_sequence))


def _remove_pruned(storage: Storage, first_sequence: int) -> None:
    """Remove what a prune that was cut short has left."""
    names = storage.names()
    firsts = first_sequences(names, FRAMES_SUFFIX)
    for first, following in pairwise(firsts):
        if following <= first_sequence:
            if index_name(first) in names:
                storage.remove(index_name(first))
            storage.remove(segment_name(first))


def _judge(
    found: Survey, stored: JournalState | None, owner: JournalState, marked_sequence: int
) -> None:
    """Decide whether frames that were acknowledged may be missing, or a vow."""

    def doubt(what: Damage, sequence: int, text: str) -> None:
        found.findings.append(Finding(STATE_NAME, sequence, what, text))
        found.is_doubtful = True

    if stored is None:
        doubt(Damage.LOST_STATE, 0, "there is none, though there are frames: a vow may be lost")
        return
    last = found.segments[-1].last_sequence if found.segments else 0
    is_power_cut = stored.boot != owner.boot and stored.closed_sequence is None
    kept = max(stored.kept_sequence, marked_sequence)  # a mark tells what is gone with a segment
    if stored.closed_sequence is not None:
        kept = max(kept, stored.closed_sequence)
    if last < kept:
        text = f"the frames {last + 1} to {kept} were stored, and are not there any more"
        doubt(Damage.MISSING_END, last + 1, text)
    if is_power_cut and stored.sync is not SyncPolicy.GROUP:
        text = (
            f"the machine was started again, and the journal had not been closed: with sync ="
            f' "{stored.sync}" the last frames may be lost'
        )
        doubt(Damage.POWER_CUT, last + 1, text)


def _begin(found: Survey, stored: JournalState | None, owner: JournalState) -> Opened:
    segments = found.segments
    base = segments[0].header.base if segments else FIRST_BASE
    last = segments[-1].last_sequence if segments else base.next_sequence - 1
    headers = [segment.header for segment in segments]
    committed = max((header.committed_sequence for header in headers), default=0)
    block = _digest_block(stored, [header.base for header in headers] or [base], last)
    state = owner
    if stored is not None:
        committed = max(committed, stored.committed_sequence)
        state = replace(stored, boot=owner.boot, sync=owner.sync)
    reigns = [reign for segment in segments for reign in segment.reigns]
    state = replace(
        state,
        vow=_vow(state.vow, reigns[-1] if reigns else base.reign),
        is_doubtful=state.is_doubtful or found.is_doubtful,
        is_new=state.is_new and not found.is_doubtful,
        committed_sequence=committed,
        kept_sequence=min(committed, last),
        digest_block=block,
        closed_sequence=None,
        rebase=None,
    )
    return Opened(state, base, segments, found.older, found.findings, block)


def _digest_block(
    stored: JournalState | None, bases: list[Base], last: int
) -> tuple[int, bytes] | None:
    """The newest digest that is known, and can be gone on with from frames that are held."""
    known = [(base.digest_sequence, base.digest) for base in bases]
    if stored is not None and stored.digest_block is not None:
        known.append(stored.digest_block)
    first = bases[0].next_sequence
    return max((block for block in known if first - 1 <= block[0] <= last), default=None)


def _vow(vow: Vow, reign: Reign | None) -> Vow:
    """At least the epoch whose frames are held: who takes those has promised it."""
    if reign is None or reign.epoch <= vow.epoch:
        return vow
    return Vow(reign.epoch, holder_field(reign.primary) if reign.primary else b"")


def _repair(storage: Storage, found: Survey) -> None:
    """Have only those files that belong there, each with what belongs in it; on the disk."""
    for name in found.leftovers:
        storage.remove(name)
    for name in found.aside:
        storage.rename(name, name + ASIDE_SUFFIX)
    if found.is_tail_to_cut:
        segment = found.segments[-1]
        if found.is_tail_kept:
            storage.replace(segment.name + ASIDE_SUFFIX, _pieces(storage, segment.name))
        storage.truncate(segment.name, segment.size)
    for segment in found.segments:
        if not segment.is_sealed:
            storage.sync(segment.name)
            segment.synced_changes = segment.changes
    if found.leftovers or found.aside:
        storage.sync(STATE_NAME)  # these files are gone for good before there may be others


def _pieces(storage: Storage, name: str) -> Iterator[bytes]:
    offset = 0
    while data := storage.read(name, offset, _COPY_BYTES):
        yield data
        offset += len(data)
