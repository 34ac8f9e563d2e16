"""A list's frames on disk, and what its holder has promised: what it knows when it comes back.

Sans-I/O but for its `Storage`. Nothing is lost or invented whatever operation on that is the last
one before the process or the power ends: docs/journal.md tells what each sync policy promises, what
may be found when a journal is opened, and what is done then.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from feed.commit_marks import CommitMarks
from feed.journal_opening import JournalError, Opened, open_files
from feed.journal_state import STATE_NAME, JournalState, Vow, encode_state
from feed.journal_survey import Damage, Finding
from feed.reign import Reign
from feed.run import SNAPSHOT_TYPES, Run
from feed.segment_list import SegmentList, Sync
from feed.segment_reader import DamagedFrames
from feed.segments import Base, Segment
from feed.settings import SyncPolicy
from feed.storage import Storage, StorageError, SyncError

__all__ = ["Base", "Damage", "Finding", "Journal", "JournalError", "JournalPolicy", "Vow"]


@dataclass(frozen=True, slots=True)
class JournalPolicy:
    """When frames are forced to the disk, and how long the files are that they stand in."""

    sync: SyncPolicy = SyncPolicy.GROUP
    sync_interval_ns: int = 10_000_000  # for SyncPolicy.INTERVAL
    segment_bytes: int = 64 << 20


class Journal:
    """The frames of one holder's list, without holes, and its vow.

    What can't be stored sets `failure`: from then on nothing is written, and nothing more counts as
    stored. What is there can still be read.
    """

    @classmethod
    def open(
        cls,
        storage: Storage,
        *,
        exchange: str,
        shard: int,
        holder: str,
        policy: JournalPolicy,
        boot: str,
        now_ns: int,
        token: str = "",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> "Journal":
        """Go on with the journal that is there, or begin one.

        `boot` names this boot of the machine: under another one the power may have been cut.
        `on_progress` is told how many bytes of how many have been read. Raises JournalError, which
        says what to do, when the journal can't be used at all.
        """
        owner = JournalState(exchange, shard, holder, boot, policy.sync, token=token)
        return cls(storage, policy, open_files(storage, owner, on_progress), now_ns)

    def __init__(
        self, storage: Storage, policy: JournalPolicy, opened: Opened, now_ns: int
    ) -> None:
        """Made by `open`."""
        self.findings: list[Finding] = opened.findings  # what was wrong, and what was done
        self.failure: str | None = None  # why nothing more is stored
        # How far the list digest is known, and what it is there; the frames after it are held.
        self.digest_block = opened.digest_block
        self._storage = storage
        self._policy = policy
        self._marks = CommitMarks(storage)
        committed = max(opened.state.committed_sequence, self._marks.read())
        self._state = replace(opened.state, committed_sequence=committed)
        self._older: list[Segment] = opened.older  # before a hole: nothing of them is given out
        self._list = SegmentList(
            storage, opened.state.shard, policy.segment_bytes, opened.base, opened.segments
        )
        self._stored_sequence = self.next_sequence - 1
        self._synced_ns = now_ns  # when the last sync was over
        self._sync: Sync | None = None  # the one that is under way
        self._unreadable: set[int] = set()  # frames that are among the findings
        self._attempt(self._list.seal_all)

    # What is known.

    @property
    def base(self) -> Base:
        """What is known of all that came before the first frame."""
        return self._list.base

    @property
    def first_sequence(self) -> int:
        """The oldest frame; equal to `next_sequence` while there is none."""
        return self.base.next_sequence

    @property
    def next_sequence(self) -> int:
        """The frame that can be appended."""
        return self._list.next_sequence

    @property
    def stored_sequence(self) -> int:
        """The last frame that is stored as surely as the policy wants: it may be acknowledged."""
        return self._stored_sequence

    @property
    def reigns(self) -> list[Reign]:
        """Those whose EPOCH frames are held, ascending."""
        return [reign for segment in self._list.segments for reign in segment.reigns]

    @property
    def days(self) -> list[tuple[int, int]]:
        """The sequence and day of each NEW_DAY frame that is held, ascending."""
        return [day for segment in self._list.segments for day in segment.days]

    @property
    def vow(self) -> Vow:
        """The highest epoch that was promised, and to whom."""
        return self._state.vow

    @property
    def committed_sequence(self) -> int:
        """How far the list is committed, as last told."""
        return self._state.committed_sequence

    @property
    def is_doubtful(self) -> bool:
        """Whether frames that were acknowledged may be missing, or a vow: no vote without others'
        help."""
        return self._state.is_doubtful

    @property
    def is_new(self) -> bool:
        """Whether it is not known if this holder was ever here before, with another memory.

        Such a journal is doubtful, too, until somebody vouches for it.
        """
        return self._state.is_new

    @property
    def token(self) -> str:
        """What names this memory."""
        return self._state.token

    @property
    def size_bytes(self) -> int:
        """How much the frames take on disk."""
        return sum(segment.size for segment in self._list.segments)

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        assert self._stored_sequence < self.next_sequence
        if self.failure is None:
            assert self.first_sequence - 1 <= self._stored_sequence
            self._list.check()
            is_lax = self._policy.sync is not SyncPolicy.GROUP
            assert not is_lax or self._stored_sequence == self.next_sequence - 1

    # Frames.

    def append(self, run: Run) -> None:
        """Write the frames that come next; they may be acknowledged once they are stored."""
        if self.failure is not None or not run:
            return
        if run.first_sequence != self.next_sequence:
            raise ValueError(f"frame {run.first_sequence} does not follow {self.next_sequence - 1}")
        if run.types & SNAPSHOT_TYPES:
            raise ValueError("a snapshot's frames are no part of a list")
        try:
            self._list.append(run, self.committed_sequence, self.digest_block)
        except StorageError as error:
            self._fail(error)
            self._list.cut_view(run.first_sequence)
        else:
            if self._policy.sync is not SyncPolicy.GROUP:
                self._stored_sequence = self.next_sequence - 1

    def truncate(self, next_sequence: int) -> None:
        """Drop the frames from `next_sequence` on; they are gone for good when it returns.

        Raises ValueError when the frames before it are not held.
        """
        if next_sequence >= self.next_sequence:
            return
        if next_sequence < self.first_sequence:
            raise ValueError(f"frame {next_sequence} comes before all that are held")
        last = next_sequence - 1
        self._stored_sequence = min(self._stored_sequence, last)
        if self._sync is not None:
            self._sync.last_sequence = min(self._sync.last_sequence, last)
        if self.digest_block is not None and self.digest_block[0] > last:
            self.digest_block = None
        if self._state.kept_sequence > last:
            self._keep()
        if self.failure is None:
            self._attempt(lambda: self._list.cut(next_sequence))
        if self.failure is not None:
            self._list.cut_view(next_sequence)

    def runs(self, first: int, last: int) -> list[Run]:
        """Those of the frames `first` to `last` that are held; ends before what can't be read."""
        found: list[Run] = []
        try:
            for run in self._list.runs(first, last):
                found.append(run)
        except (DamagedFrames, StorageError) as error:
            missing = found[-1].next_sequence if found else max(first, self.first_sequence)
            if missing not in self._unreadable:
                self._unreadable.add(missing)
                file = self._list.segment_of(missing).name
                self.findings.append(Finding(file, missing, Damage.DAMAGED_FRAME, str(error)))
        return found

    def prune(self, next_sequence: int) -> None:
        """Remove the sealed segments that end before `next_sequence`; never the last one.

        Nor the one before that, while nothing of the last is on the disk: without any segment it
        would not be known where the list goes on.
        """
        segments = self._list.segments
        sealed = [
            one for one, after in pairwise(segments) if one.is_sealed and after.synced_changes
        ]
        old = [one for one in self._older + sealed if one.next_sequence <= next_sequence]
        if not old:
            return
        # First, so that a power cut in the middle leaves no hole that somebody would miss.
        kept = next(segment for segment in segments if segment not in old)
        if self._keep(first_sequence=min(next_sequence, kept.first_sequence)):
            self._attempt(lambda: self._list.remove(old))
            self._older = [segment for segment in self._older if segment not in old]
            self._stored_sequence = max(self._stored_sequence, self.first_sequence - 1)

    def rebase(self, base: Base) -> None:
        """Forget all frames: the list is to be held from `base` on. Durable when it returns."""
        gone = self._older + self._list.segments
        self._older = []
        self._stored_sequence = min(self._stored_sequence, base.next_sequence - 1)
        if self._sync is not None:  # it is still under way, of files that are gone
            self._sync.segments, self._sync.last_sequence = (), base.next_sequence - 1
        self.digest_block = None
        if base.digest_sequence == base.next_sequence - 1:
            self.digest_block = base.digest_sequence, base.digest
        self._list.clear(base)
        # What is to be done is stored before any of it: cut short, it is done at the next opening.
        if self._keep(rebase=base, first_sequence=base.next_sequence):
            self._attempt(lambda: self._list.begin_anew(gone, self.committed_sequence))
            if self._keep(rebase=None):
                self._stored_sequence = base.next_sequence - 1

    # What is known beside them.

    def promise(self, vow: Vow) -> bool:
        """Make a vow that outlives the power; whether that was possible."""
        if vow.epoch < self.vow.epoch:
            raise ValueError(f"epoch {vow.epoch} can't be promised after {self.vow.epoch}")
        return self._keep(vow=vow)

    def note(self, committed_sequence: int, digest_block: tuple[int, bytes] | None) -> None:
        """So much is committed, and this is the list's digest so far.

        It is stored when that costs little: with a vow, with a segment, and at the end. A mark of
        the commit is made more often.
        """
        if committed_sequence > self.committed_sequence:
            self._state = replace(self._state, committed_sequence=committed_sequence)
            if self.failure is None:
                self._mark()
        if digest_block is not None:
            self.digest_block = digest_block

    def vouched(self) -> None:
        """The holder has all that it may ever have acknowledged: nothing is doubtful any more."""
        if self.is_doubtful:
            # Where an operator has accepted a loss, what was committed beyond it counts no more.
            self._marks.clear()
            committed = min(self.committed_sequence, self.next_sequence - 1)
            self._state = replace(self._state, committed_sequence=committed)
            self._keep(is_doubtful=False, is_new=False)

    # Syncing.

    @property
    def deadline_ns(self) -> int | None:
        """When `begin_sync` wants to be asked next; None while nothing waits for it."""
        if self.failure is not None or self._sync is not None:
            return None
        if not self._list.loose(is_lazy=self._is_lazy):
            return None
        is_interval = self._policy.sync is SyncPolicy.INTERVAL
        return self._synced_ns + (self._policy.sync_interval_ns if is_interval else 0)

    def begin_sync(self, now_ns: int) -> Callable[[], None] | None:
        """What is to be called, in a thread if one likes, to have frames on the disk.

        None when nothing is due, or another sync is under way. It raises StorageError; in any case
        `end_sync` has to be told.
        """
        deadline_ns = self.deadline_ns
        if deadline_ns is None or now_ns < deadline_ns:
            return None
        self._sync = self._list.sync(is_lazy=self._is_lazy)
        return self._sync.carry_out

    def end_sync(self, error: StorageError | None, now_ns: int) -> None:
        """The sync that was begun is over, with this error."""
        sync, self._sync = self._sync, None
        self._synced_ns = now_ns
        if error is not None:
            self._fail(error)
        if sync is None or self.failure is not None:
            return
        if self._policy.sync is SyncPolicy.GROUP:
            self._stored_sequence = max(self._stored_sequence, sync.last_sequence)
            self._mark()
        self._attempt(lambda: self._list.synced(sync))

    def close(self) -> None:
        """Have everything on the disk, and the state say so; no sync may be under way.

        The storage is still the caller's to close.
        """
        if self.failure is None:
            self._attempt(self._list.sync_all)
        if self.failure is None:
            self._stored_sequence = self.next_sequence - 1
            self._keep(closed_sequence=self._stored_sequence)

    # How it is done.

    @property
    def _is_lazy(self) -> bool:
        return self._policy.sync is SyncPolicy.NEVER

    def _mark(self) -> None:
        """Note the commit, but of nothing that a power cut may take: so a mark tells of damage."""
        marked = min(self.committed_sequence, self._stored_sequence)
        if marked:
            self._marks.note(marked)

    def _keep(self, **changes: Any) -> bool:
        """Store the state with some changes; whether that was possible."""
        if self.failure is not None:
            return False
        state = replace(
            self._state,
            kept_sequence=min(self._stored_sequence, self.committed_sequence),
            digest_block=self.digest_block,
            **changes,
        )
        self._attempt(lambda: self._storage.replace(STATE_NAME, [encode_state(state)]))
        if self.failure is None:
            self._state = state
        return self.failure is None

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (StorageError, DamagedFrames) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = str(error)
        if isinstance(error, SyncError):
            self._doubt()

    def _doubt(self) -> None:
        """What the disk has is not known any more: say so there, if it takes that."""
        self._state = replace(self._state, is_doubtful=True, is_new=False)
        try:
            self._storage.replace(STATE_NAME, [encode_state(self._state)])
        except StorageError:
            return  # then the next process has to find out from the files
