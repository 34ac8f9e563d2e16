"""A journal as those see it who only read it: to list, verify, export or audit it.

A holder may write to it meanwhile; what it had stored when this was made can be read.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from feed.journal_state import STATE_NAME, state_fields
from feed.journal_survey import Damage, Finding, survey
from feed.reign import Reign
from feed.run import Run
from feed.segment_reader import DamagedFrames, SegmentReader
from feed.segments import FIRST_BASE, HEADER_BYTES, Base, Segment, decode_header
from feed.storage import Storage, StorageError


class SegmentFile(NamedTuple):
    """One segment, as a list of them shows it."""

    name: str
    first_sequence: int
    last_sequence: int  # one less than the first without any frames
    is_sealed: bool
    size: int


class JournalFiles:
    """What can be read of a journal, as it was when this was made."""

    def __init__(self, storage: Storage) -> None:
        """Raises StorageError; ValueError when a segment is of another shard than the state."""
        self.findings: list[Finding] = []  # what is wrong at first sight
        self.state = self._read_state(storage)  # the fields of state.json; empty without
        was_closed = self.state.get("closed_sequence") is not None
        found = survey(storage, self.state.get("shard"), was_closed=was_closed)
        self.findings += found.findings
        self._storage = storage
        self._reader = SegmentReader(storage)
        self._older, self._held = found.older, found.segments

    @property
    def segments(self) -> list[SegmentFile]:
        """All segments that can be read, ascending; those before a hole too."""
        return [
            SegmentFile(
                segment.name,
                segment.first_sequence,
                segment.last_sequence,
                segment.is_sealed,
                segment.size,
            )
            for segment in self._all
        ]

    @property
    def base(self) -> Base:
        """What is known of all that came before `first_sequence`."""
        return self._held[0].header.base if self._held else FIRST_BASE

    @property
    def first_sequence(self) -> int:
        """The first frame from which on none is missing."""
        return self.base.next_sequence

    @property
    def last_sequence(self) -> int:
        """The last frame; one less than the first without any."""
        return (self._held[-1].next_sequence if self._held else self.first_sequence) - 1

    @property
    def reigns(self) -> list[Reign]:
        """Those whose EPOCH frames are there, ascending."""
        return [reign for segment in self._all for reign in segment.reigns]

    @property
    def days(self) -> list[tuple[int, int]]:
        """The sequence and day of each NEW_DAY frame that is there, ascending."""
        return [day for segment in self._all for day in segment.days]

    def runs(self, first: int, last: int) -> Iterator[Run]:
        """Those of the frames `first` to `last` that are there, verified, in runs of a megabyte.

        What is missing is left out. Raises DamagedFrames at one that is not what was written.
        """
        for segment in self._all:
            if segment.first_sequence <= last and first < segment.next_sequence:
                yield from self._reader.runs(segment, first, last)

    def verify(self) -> Iterator[Finding]:
        """Read every byte; what is wrong, as it is found."""
        yield from self.findings
        for segment in self._all:
            header = decode_header(self._storage.read(segment.name, 0, HEADER_BYTES))
            if header != segment.header:
                text = "its header is not intact, or not the one that its index has"
                yield Finding(segment.name, segment.first_sequence, Damage.DAMAGED_HEADER, text)
            try:
                for _ in self._reader.runs(segment, segment.first_sequence, segment.last_sequence):
                    pass
            except DamagedFrames as damage:
                text = str(damage)
                yield Finding(segment.name, damage.sequence, Damage.DAMAGED_FRAME, text)
            except StorageError as error:
                text = str(error)
                yield Finding(segment.name, segment.first_sequence, Damage.DAMAGED_FRAME, text)

    @property
    def _all(self) -> list[Segment]:
        return self._older + self._held

    def _read_state(self, storage: Storage) -> dict[str, Any]:
        if STATE_NAME not in storage.names():
            text = "there is none: it is not known whose journal this is, or what was promised"
            self.findings.append(Finding(STATE_NAME, 0, Damage.LOST_STATE, text))
            return {}
        try:
            return state_fields(storage.read(STATE_NAME, 0, storage.size(STATE_NAME)))
        except ValueError as error:
            text = f"it can't be read: {error}"
            self.findings.append(Finding(STATE_NAME, 0, Damage.LOST_STATE, text))
            return {}
