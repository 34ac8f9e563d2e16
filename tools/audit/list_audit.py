"""The audit of one list: all checks that it takes, fed with its runs.

Sans-I/O, and bounded in memory by what lives in the market at once.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from engine.machine import Machine
from feed.book import BookEntry
from feed.codec import Frame
from feed.digest import ListDigest
from feed.messages import Snapshot, unpad
from feed.run import Run
from feed.snapshot import WholeSnapshot
from tools.audit.bookkeeping import Bookkeeping
from tools.audit.crossings import Crossings
from tools.audit.findings import Findings, Kind, describe
from tools.audit.recomputation import Recomputation
from tools.audit.structure import Structure
from tools.audit.totals import Totals


class AuditedMachine(Machine, Protocol):
    """What an audit asks a machine for, beside what the list does."""

    def book_entries(self) -> Iterable[BookEntry]:
        """The orders that rest."""


class Checkpoint(NamedTuple):
    """What a snapshot says of the list and of the machine at one point."""

    name: str
    head: Snapshot
    state_digest: bytes


class DigestMark(NamedTuple):
    """What a file says that the list's digest was, at the end of a block."""

    name: str  # of the file
    sequence: int
    digest: bytes
    holder: str = ""  # whose segment says it


class ListAudit:
    """Takes a list, run by run, and finds what is wrong with it."""

    def __init__(
        self,
        build: Callable[[], AuditedMachine],
        findings: Findings,
        *,
        start: WholeSnapshot | None = None,
        checkpoints: Iterable[Checkpoint] = (),
        marks: Iterable[DigestMark] = (),
        is_of_list: Callable[[DigestMark], bool] = lambda mark: True,
    ) -> None:
        """Without a snapshot to start from, the list must begin with sequence number 1.

        `is_of_list` is asked once the list has come to a mark: it may be of a lost tail.
        """
        self.structure = Structure(findings)
        self.first_sequence = 0  # 0 before the first frame
        self.frames = 0
        self.state_digest: bytes | None = None
        self.findings = findings
        self._books = Bookkeeping(findings)
        self._machine = build()
        self._recomputation = Recomputation(self._machine, findings)
        self._next_group = 1  # the first frame of the next group to compute; 0 when it is lost
        self._sha256 = hashlib.sha256()
        self._list_digest: ListDigest | None = ListDigest()
        self._start = start
        self._checkpoints: defaultdict[int, list[Checkpoint]] = defaultdict(list)
        self._is_of_list = is_of_list
        self._marks: defaultdict[int, set[DigestMark]] = defaultdict(set)
        for checkpoint in checkpoints:
            name, head, _ = checkpoint
            self._checkpoints[head.sequence].append(checkpoint)
            self._marks[head.digest_sequence].add(
                DigestMark(name, head.digest_sequence, head.list_digest)
            )
        for mark in marks:
            self._marks[mark.sequence].add(mark)
        if start is not None:
            self._begin(start)

    @property
    def totals(self) -> Totals:
        """The sums, by symbol and by client."""
        return self._books.totals

    @property
    def crossings(self) -> Crossings:
        """What it says of other shards."""
        return self._books.crossings

    @property
    def live_orders(self) -> int:
        """How many orders live at the end."""
        return self._books.live_orders

    @property
    def computed_to(self) -> int:
        """The last frame that the machine computed."""
        return self._recomputation.last_sequence

    @property
    def sha256(self) -> str:
        """That of all frames, back to back."""
        return self._sha256.hexdigest()

    @property
    def list_digest(self) -> str | None:
        """The list's own digest; None where it can't be known."""
        return None if self._list_digest is None else self._list_digest.hex()

    def take(self, run: Run) -> None:
        """The next frames of the list."""
        if not run:
            return
        if not self.first_sequence:
            self.first_sequence = run.first_sequence
            self._check_beginning(run.first_sequence)
        if self._start is not None:
            self._compare_with_tail(self._start, run)
        self.frames += len(run)
        self._sha256.update(run.data)
        self._add_to_digest(run)
        for group in self.structure.take(run):
            self.crossings.ends.add(group[-1].sequence)
            self._take_group(group)

    def close(self) -> None:
        """The list ends here."""
        group = self.structure.open_group
        is_computed = bool(self._next_group) and self._recomputation.is_able
        book: Iterable[BookEntry] | None = None
        if is_computed:
            self.state_digest = self._machine.digest()
            if not (self.findings.counts[Kind.COMPUTED] or self.findings.counts[Kind.ADMISSION]):
                book = self._machine.book_entries()
        self._books.close(book)
        if group:
            first, last = group[0].sequence, group[-1].sequence
            self.findings.note(
                f"the list ends within the group of {first:,}, with frame {last:,}: its command is "
                "there, and a takeover completes it"
            )
            if is_computed and first == self._next_group:
                self._recomputation.take(group, is_whole=False)
        for checkpoint in (each for left in self._checkpoints.values() for each in left):
            self.findings.note(
                f"{checkpoint.name} is of frame {checkpoint.head.sequence:,}, where nothing was "
                "computed: it was not compared"
            )

    def _begin(self, start: WholeSnapshot) -> None:
        head = start.head
        try:
            self._machine.restore(start.state())
        except ValueError as error:
            text = "the machine can't take the snapshot that the audit was to start from"
            self.findings.add(Kind.SNAPSHOT, head.sequence, text, found=str(error))
            self._next_group = 0
            return
        self._books.begin(head.sequence, start.state())
        self._recomputation.begin(head.sequence, start.state())
        self._next_group = head.sequence + 1
        self._list_digest = ListDigest(head.digest_sequence, head.list_digest)

    def _check_beginning(self, first_sequence: int) -> None:
        """Whether all from the first frame on can be computed, or from the snapshot on."""
        start = self._start
        if start is not None and first_sequence > start.head.digest_sequence + 1:
            assert self._list_digest is not None
            self._list_digest.update(start.tail)
        if not self._next_group or first_sequence <= self._next_group:
            return
        self._lose(
            first_sequence,
            f"the list begins with frame {first_sequence:,}, and no snapshot tells what was before",
        )

    def _lose(self, sequence: int, why: str) -> None:
        self._next_group = 0
        self._list_digest = None
        self.crossings.is_whole = False
        text = f"{why}: from here on nothing was computed, and no trade was checked"
        self.findings.add(Kind.UNPROVEN, sequence, text)

    def _add_to_digest(self, run: Run) -> None:
        digest = self._list_digest
        if digest is None:
            return
        rest = run.part(digest.next_sequence, run.last_sequence)
        if rest and rest.first_sequence != digest.next_sequence:
            self._list_digest = None
            return
        asked = (end for end in self._marks if rest.first_sequence <= end <= rest.last_sequence)
        for end in sorted(asked):
            digest.update(rest.part(digest.next_sequence, end))
            for mark in sorted(self._marks.pop(end)):
                if self._is_of_list(mark):
                    self.findings.checked["list digests"] += 1
                    self._compare(mark.name, end, "list", mark.digest, digest.block[1])
        digest.update(rest.part(digest.next_sequence, rest.last_sequence))

    def _compare_with_tail(self, start: WholeSnapshot, run: Run) -> None:
        """The last frames before a snapshot stand in it, too."""
        first = max(run.first_sequence, start.tail.first_sequence)
        last = min(run.last_sequence, start.tail.last_sequence)
        if first > last:
            return
        for ours, theirs in zip(run.part(first, last), start.tail.part(first, last), strict=True):
            if ours.data != theirs.data:
                text = "the snapshot that the audit starts from has another frame here"
                found, expected = f"{describe(theirs)} (snapshot)", f"{describe(ours)} (list)"
                self.findings.add(
                    Kind.SNAPSHOT, ours.sequence, text, found=found, expected=expected
                )

    def _take_group(self, group: Sequence[Frame]) -> None:
        first, last = group[0].sequence, group[-1].sequence
        if not self._next_group or first < self._next_group:
            return
        if first != self._next_group:
            self._lose(first, f"the frames from {self._next_group:,} on make no whole group")
            return
        self._next_group = last + 1
        self._recomputation.take(group)
        self._books.take(group)
        if last in self._checkpoints:
            for checkpoint in self._checkpoints.pop(last):
                self._check(checkpoint)

    def _check(self, checkpoint: Checkpoint) -> None:
        """Hold a snapshot against what was read and computed up to its frame."""
        if not self._recomputation.is_able:
            return
        self.findings.checked["snapshots"] += 1
        head = checkpoint.head
        ours = self._machine.digest()
        self._compare(checkpoint.name, head.sequence, "state", checkpoint.state_digest, ours)
        if self.structure.reigns:
            reign = self.structure.reigns[-1].reign
            told = (head.epoch, head.epoch_sequence, unpad(head.primary))
            if told != (reign.epoch, reign.sequence, reign.primary):
                text = f"{checkpoint.name} is of another reign than the list there"
                self.findings.add(
                    Kind.SNAPSHOT, head.sequence, text, found=f"{told}", expected=f"{reign}"
                )

    def _compare(self, name: str, sequence: int, what: str, told: bytes, ours: bytes) -> None:
        if told != ours:
            self.findings.add(
                Kind.DIGEST,
                sequence,
                f"{name} has another digest of the {what} than was computed here",
                found=told.hex(),
                expected=ours.hex(),
            )
