"""The days that clients can read: the running one, and the one before. Each is one session.

The list goes on for ever, but clients know days: until the first NEW_DAY the session has the
exchange's name, and then that of the day, as in "20261122". Each client's stream begins anew with
each of them.
"""

from array import array
from enum import Enum, auto
from typing import NamedTuple

from feed.messages import (
    Canceled,
    CancelReason,
    ClientState,
    MarketState,
    MarkState,
    NewDay,
    OrderState,
)
from feed.run import Run
from feed.schema import FrameType
from feed.snapshot import SnapshotError, WholeSnapshot
from gateway.streams import Streams


class Standing(Enum):
    """What a session that somebody asks for is to a gateway."""

    CURRENT = auto()
    BEFORE = auto()  # that of the day before: no more comes of it, but it can be read
    LATER = auto()  # the gateway has not read as far
    UNKNOWN = auto()  # over and not kept, or there never was one


class DayState(NamedTuple):
    """What a snapshot says of a day that begins with it, as far as clients are told."""

    day: int
    last_user_ref_nums: dict[int, int]  # by client
    live_orders: "dict[int, array[int]]"  # the user_ref_nums of each client's, ascending
    marks: dict[int, int]  # by shard


class Days:
    """The streams of the running day and of the one before; no more than two days are kept."""

    def __init__(self, exchange: str, limit_bytes: int) -> None:
        """`limit_bytes` bounds each client's stream."""
        self.day = 0  # as YYYYMMDD; 0 before the first one
        self.name = exchange  # of the current session
        self.current = Streams(limit_bytes)
        self.before: Streams | None = None  # None where there was none, or it is not known here
        self.name_before = ""
        self._limit_bytes = limit_bytes

    def begin(self, day: int) -> None:
        """A new day: streams begin anew, and those of the one before the last are dropped."""
        self.before, self.name_before = self.current, self.name
        self._set(day)

    def restore(self, day: int) -> None:
        """Begin with a day, and nothing before it."""
        self.before, self.name_before = None, ""
        self._set(day)

    def standing(self, session: str) -> Standing:
        """What the session of this name is here; an empty name asks for the current one."""
        if session in ("", self.name):
            return Standing.CURRENT
        if self.before is not None and session == self.name_before:
            return Standing.BEFORE
        is_day = len(session) == len("YYYYMMDD") and session.isdecimal()
        return Standing.LATER if is_day and int(session) > self.day else Standing.UNKNOWN

    def check(self) -> None:
        """Raises AssertionError when a stream does not hold together."""
        self.current.check()
        if self.before is not None:
            self.before.check()
            assert self.name_before != self.name

    def _set(self, day: int) -> None:
        self.day = day
        self.name = str(day)
        self.current = Streams(self._limit_bytes)


def read_day(snapshot: WholeSnapshot, *, orders: bool) -> DayState:
    """What a gateway needs of the snapshot that a day began with; of its orders only if so wanted.

    Raises SnapshotError when it was taken at another place, so that clients' numbers would differ
    from those on other gateways.
    """
    if snapshot.tail:  # else a block of the digest ends there, and only its source knows
        _require_day_begins(snapshot.tail)
    day = 0
    last_user_ref_nums = {}
    live_orders: dict[int, array[int]] = {}
    marks = {}
    for run in snapshot.state():
        for frame in run:
            if frame.type is FrameType.ORDER_STATE and not orders:
                continue  # by far the most
            match frame.message():
                case MarketState(day=day):
                    pass
                case MarkState(shard, sequence):
                    marks[shard] = sequence
                case OrderState() as order:
                    live_orders.setdefault(order.client, array("I")).append(order.user_ref_num)
                case ClientState(client=client, last_user_ref_num=last) if last:
                    last_user_ref_nums[client] = last
    if not day:
        raise SnapshotError("it is of a time before the first day")
    in_order = {client: array("I", sorted(numbers)) for client, numbers in live_orders.items()}
    return DayState(day, last_user_ref_nums, in_order, marks)


def _require_day_begins(tail: Run) -> None:
    """Raise unless the list's last frame ends the group of a NEW_DAY that took effect."""
    match tail[-1].message():
        case NewDay() | Canceled(reason=CancelReason.EXPIRED):
            return
    raise SnapshotError(f"it is not of a day's beginning: no day begins after {tail.last_sequence}")
