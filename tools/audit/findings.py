"""What an audit finds: every difference by its kind, with its place and both sides.

A difference is what must not be. A note is what an auditor should know, and is nothing wrong.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from feed.codec import Frame
from tools.prices import format_price
from tools.printing import frame_object

TOLD_OF_A_KIND = 20  # differences told in words; more of one kind are counted only
_PRICES = frozenset({"price", "stop_price", "tick_size"})
_IN_THE_HEADER = frozenset({"sequence", "time_ns", "type", "end"})


class Kind(StrEnum):
    """What is wrong, in a word or two."""

    DAMAGED = "damaged file"
    FOREIGN = "foreign journal"
    MISSING = "missing frames"
    HOLDERS = "holders differ"
    GROUP = "broken group"
    TIME = "time runs backwards"
    EPOCH = "epoch does not grow"
    DAY = "day does not grow"
    COMPUTED = "not what the machine computes"
    ADMISSION = "command that may not stand in the list"
    TWICE = "command done twice"
    TRADE = "trade that does not follow from its orders"
    ORDER = "order event that does not follow"
    MARK = "mark that does not fit"
    MOVE = "move that does not fit"
    HOME = "log-in that does not fit"
    SUM = "sum that does not come out"
    SNAPSHOT = "snapshot that is not the list's"
    DIGEST = "digest that does not match"
    UNPROVEN = "not proven"


class Difference(NamedTuple):
    """Something that must not be."""

    kind: Kind
    sequence: int  # of the frame that it is about; 0 for none
    text: str
    found: str = ""  # what was read
    expected: str = ""  # what it should have been, and who says so
    place: str = ""  # the files that it is in

    def lines(self) -> list[str]:
        """The difference for people, the sides and the place on lines of their own."""
        where = f"frame {self.sequence:,}: " if self.sequence else ""
        lines = [f"{self.kind.upper()}. {where}{self.text}"]
        sides = (("found", self.found), ("expected", self.expected), ("in", self.place))
        return lines + [f"    {name:9} {text}" for name, text in sides if text]


@dataclass(slots=True)
class Findings:
    """All that was found, and how much was checked to find no more."""

    counts: Counter[Kind] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)  # the first ones of each kind
    notes: list[str] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is different from what it should be."""
        return not self.counts

    def add(
        self, kind: Kind, sequence: int, text: str, *, found: str = "", expected: str = ""
    ) -> None:
        """Count a difference; it is told in words unless there are plenty of its kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= TOLD_OF_A_KIND:
            self.differences.append(Difference(kind, sequence, text, found, expected))

    def note(self, text: str) -> None:
        """Say what should be known."""
        if len(self.notes) < TOLD_OF_A_KIND:
            self.notes.append(text)


def describe(frame: Frame) -> str:
    """A frame in words that are the same everywhere: its type, and what is not 0 or blank in it."""
    words = [
        f"{name}={format_price(value) if name in _PRICES else value}"
        for name, value in frame_object(frame).items()
        if name not in _IN_THE_HEADER and value not in (0, "")
    ]
    return " ".join([frame.type.name, *words])
