"""Do the holders agree? Their lists side by side, byte by byte, and the one list that they make.

Sans-I/O. Where they differ, the later epoch is right, as a takeover decides (rule 5): what an older
epoch has there is a tail that was never committed, and lost, or else the list was broken. Within an
epoch nobody may differ.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple, cast

from feed import messages
from feed.codec import Frame, decode_frame
from feed.run import Run
from feed.schema import FrameType
from tools.audit.findings import Findings, Kind, describe


class Copy(NamedTuple):
    """A holder's copy of the list."""

    holder: str
    runs: Iterable[Run]  # from its first frame on; it may have holes
    last_epoch: int
    last_sequence: int


class Tail(NamedTuple):
    """The end of a holder's list that is not part of the list."""

    first_sequence: int
    last_sequence: int
    epoch: int


@dataclass(slots=True)
class Comparison:
    """How far a holder's copy was read, and what became of it."""

    holder: str
    first_sequence: int = 0
    last_sequence: int = 0  # of what is part of the list
    frames: int = 0
    lost_tail: Tail | None = None


class _Cursor:
    """Where the reading of one copy is."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.comparison = Comparison(copy.holder)
        self._runs = iter(copy.runs)
        self.run: Run | None = None  # the next frames; None at the end

    def move(self, next_sequence: int) -> int:
        """Go on to this frame; how many frames before the next ones are missing."""
        run = self.run
        if run is not None and next_sequence <= run.last_sequence:
            self.run = run.part(next_sequence, run.last_sequence)
            return 0
        self.run = next((run for run in self._runs if run), None)
        return 0 if self.run is None else self.run.first_sequence - next_sequence

    def stop(self) -> None:
        """Read no more of it."""
        self.run = None
        self._runs = iter(())


class Merger:
    """Reads all copies in step, and gives the list that they are copies of."""

    def __init__(
        self, copies: Iterable[Copy], epoch: int, committed_sequence: int, findings: Findings
    ) -> None:
        """`epoch` is in force before the first frame; `committed_sequence` is known committed."""
        by_rank = sorted(copies, key=lambda copy: (copy.last_epoch, copy.last_sequence))
        self._cursors = [_Cursor(copy) for copy in reversed(by_rank)]
        self._epoch = epoch
        self._committed_sequence = committed_sequence
        self._findings = findings

    @property
    def comparisons(self) -> list[Comparison]:
        """What was read of each copy, by the holders' names."""
        found = [cursor.comparison for cursor in self._cursors]
        return sorted(found, key=lambda comparison: comparison.holder)

    def is_of_list(self, holder: str, sequence: int) -> bool:
        """Whether what a holder had at a frame is part of the list, as far as that was read."""
        tails = [each.lost_tail for each in self.comparisons if each.holder == holder]
        return all(tail is None or sequence < tail.first_sequence for tail in tails)

    def runs(self) -> Iterator[Run]:
        """The list, from the first frame that anybody has."""
        for cursor in self._cursors:
            cursor.move(0)
            if cursor.run is not None:
                cursor.comparison.first_sequence = cursor.run.first_sequence
        while True:
            reading = [(cursor, run) for cursor in self._cursors if (run := cursor.run)]
            if not reading:
                return
            position = min(run.first_sequence for _, run in reading)
            here = [cursor for cursor, run in reading if run.first_sequence == position]
            last = min(
                run.last_sequence if run.first_sequence == position else run.first_sequence - 1
                for _, run in reading
            )
            yield from self._step(here, position, last)

    def _step(self, here: Sequence[_Cursor], position: int, last: int) -> Iterator[Run]:
        """The frames from `position` up to `last` at most, and what differs in them."""
        parts = [cast(Run, cursor.run).part(position, last) for cursor in here]
        first = parts[0]
        if any(part.data != first.data for part in parts):
            agreed = _common_frames(parts)
            if agreed == 0:
                first = self._decide(here, [part.part(position, position) for part in parts])
            else:
                first = first.part(position, position + agreed - 1)
        self._findings.checked["frames compared"] += len(first) * (len(here) - 1)
        if first.has(FrameType.EPOCH):
            self._epoch = max(_epoch_of(frame, self._epoch) for frame in first)
        for cursor in here:
            if cursor.run is not None:  # it may have been stopped
                self._count(cursor, first)
        yield first

    def _count(self, cursor: _Cursor, run: Run) -> None:
        comparison = cursor.comparison
        comparison.frames += len(run)
        comparison.last_sequence = run.last_sequence
        missing = cursor.move(run.next_sequence)
        if missing and len(self._cursors) > 1:
            last = run.last_sequence + missing
            text = f"{comparison.holder} lacks the frames up to {last:,}"
            self._findings.add(Kind.MISSING, run.next_sequence, text)

    def _decide(self, here: Sequence[_Cursor], parts: Sequence[Run]) -> Run:
        """Holders differ in a frame: the one that counts."""
        frames = [decode_frame(part.data) for part in parts]
        sequence = frames[0].sequence
        epochs = [_epoch_of(frame, self._epoch) for frame in frames]
        latest = max(epochs)
        for cursor, frame, epoch in zip(here, frames, epochs, strict=True):
            if epoch < latest:
                self._drop(cursor, frame, epoch, latest)
        remaining = [at for at, epoch in enumerate(epochs) if epoch == latest]
        votes = [frames[at].data for at in remaining]
        chosen = max(remaining, key=lambda at: (votes.count(frames[at].data), -at))
        if len(set(votes)) > 1:
            who = {
                data: ", ".join(here[at].copy.holder for at in remaining if frames[at].data == data)
                for data in votes
            }
            others = [data for data in who if data != frames[chosen].data]
            self._findings.add(
                Kind.HOLDERS,
                sequence,
                "holders have different frames here",
                found="; ".join(f"{_words(data)} ({who[data]})" for data in others),
                expected=f"{_words(frames[chosen].data)} ({who[frames[chosen].data]})",
            )
        return parts[chosen]

    def _drop(self, cursor: _Cursor, frame: Frame, epoch: int, latest: int) -> None:
        """A holder's list ends here: what follows is of an epoch that another one overruled."""
        copy, sequence = cursor.copy, frame.sequence
        cursor.comparison.lost_tail = Tail(sequence, copy.last_sequence, epoch)
        cursor.stop()
        count = copy.last_sequence - sequence + 1
        tail = f"the {count:,} frames of {copy.holder} from {sequence:,} on, of epoch {epoch}"
        if sequence > self._committed_sequence:
            self._findings.note(
                f"{tail}, are a lost tail: epoch {latest} began without them, and nothing says "
                "that they were committed"
            )
            return
        self._findings.add(
            Kind.HOLDERS,
            sequence,
            f"{tail}, were overruled by epoch {latest}, though frame "
            f"{self._committed_sequence:,} was known to be committed",
            found=f"{describe(frame)} ({copy.holder})",
            expected="what is committed stays in the list",
        )


def _epoch_of(frame: Frame, epoch: int) -> int:
    """The epoch that a frame belongs to, in a list that was in this epoch before it."""
    if frame.type is FrameType.EPOCH:
        return cast(messages.Epoch, frame.message()).epoch
    return epoch


def _common_frames(parts: Sequence[Run]) -> int:
    """How many frames at their beginning are the same in all."""
    for at, frames in enumerate(zip_longest(*parts)):
        if any(frame is None or frame.data != frames[0].data for frame in frames):
            return at
    return min(map(len, parts))


def _words(data: bytes) -> str:
    return describe(decode_frame(data))
