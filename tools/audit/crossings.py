"""What a list says of other shards: marks, log-ins, instruments that leave and that arrive.

It is kept while the list is audited, and held against the other lists in `tools.audit.between`. Its
memory is a bit for each frame, four bytes for each numbered command and sixteen for each mark; and
the orders that moved.
"""

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from feed.messages import AdoptInstrument, AdoptOrder, InstrumentState, OrderState


@dataclass(slots=True)
class Departure:
    """An instrument that went to another shard, with its orders."""

    symbol: bytes
    shard: int  # where it went
    sequence: int  # of its MOVE_OUT
    state: InstrumentState | None = None
    orders: dict[int, OrderState] = field(default_factory=dict)  # by the numbers of their frames

    @property
    def moves(self) -> int:
        """How often it has moved by then."""
        return 0 if self.state is None else self.state.moves


class Arrived(NamedTuple):
    """An order that came with its instrument."""

    sequence: int  # of its ADOPT_ORDER
    order: AdoptOrder
    is_refused: bool


@dataclass(slots=True)
class Arrival:
    """An instrument that came from another shard, with its orders."""

    terms: AdoptInstrument
    sequence: int  # of its ADOPT_INSTRUMENT; 0 where that was before what was read
    adopted_sequence: int = 0  # its orders up to there had come before what was read
    end_sequence: int = 0  # of the frame that ended it; 0 while it is under way
    orders: dict[int, Arrived] = field(default_factory=dict)  # by `source_sequence`


@dataclass(slots=True)
class Marks:
    """The marks of one shard: the frames of its list that they name, and where each stands."""

    named: "array[int]" = field(default_factory=lambda: array("Q"))
    places: "array[int]" = field(default_factory=lambda: array("Q"))


@dataclass(slots=True)
class Numbers:
    """The user_ref_nums that a client has used in a shard."""

    of_orders: "array[int]" = field(default_factory=lambda: array("I"))
    of_all_symbols: "array[int]" = field(default_factory=lambda: array("I"))  # these go everywhere


class LaterLogIn(NamedTuple):
    """A log-in in another shard than the client's home."""

    sequence: int
    client: int
    home_sequence: int


class GroupEnds:
    """Which frames of a list end a group; they are added as they stand in it."""

    def __init__(self) -> None:
        self.first = 0  # the first such frame
        self._bits = bytearray()

    def add(self, sequence: int) -> None:
        """A frame ends a group."""
        if not self._bits:
            self.first = sequence
        byte, bit = divmod(sequence - self.first, 8)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        self._bits[byte] |= 1 << bit

    def __contains__(self, sequence: int) -> bool:
        byte, bit = divmod(sequence - self.first, 8)
        return 0 <= byte < len(self._bits) and bool(self._bits[byte] & 1 << bit)


class Crossings:
    """All that a list says of other shards."""

    def __init__(self) -> None:
        self.began_after = 0  # the frame of the snapshot that it was read from; 0 for none
        self.is_whole = True  # whether it was followed to its end
        self.ends = GroupEnds()
        self.marks: defaultdict[int, Marks] = defaultdict(Marks)  # by shard
        self.departures: list[Departure] = []
        self.arrivals: list[Arrival] = []
        self.numbers: defaultdict[int, Numbers] = defaultdict(Numbers)  # by client
        self.home_log_ins: dict[int, int] = {}  # the clients, by frame
        self.later_log_ins: list[LaterLogIn] = []
        self.live: set[tuple[int, int]] = set()  # client and user_ref_num, at the end
