"""The streams of the clients that are at home in one shard, as its list orders them.

A client trades in all shards and has one stream. Its numbers are the same on every gateway because
one list decides them, that of the client's home: what the home's own list tells the client comes in
its place, and a SHARD_MARK there says that the stream goes on with what another list has for the
client, up to the frame that it names. A mark may name more of the other list than has been heard
here; then all that comes after it waits, for the clients of this home alone.

A day begins for the clients of a home at the first place of its list where the home has begun it,
and its marks reach as far as the beginning of that day in every shard that it has marks of: so what
expires there is told in the day that it was for, and who starts from the snapshots that the day
began with counts as the others do.

A mass cancel of all symbols goes to every shard. The client is told that it was done by the last
of their answers alone. One that comes to a shard before a day begins there, and to another one
after that, is known to those who start with that day by how far the client's numbers went.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from gateway.days import Days
from gateway.told_parts import ToldPart, part_of
from gateway.turning_points import Admission, Mark


class OwnMessages(NamedTuple):
    """What some groups of the home's list tell its own clients."""

    parts: list[ToldPart]


class Day(NamedTuple):
    """A day that has begun in a shard."""

    day: int
    sequence: int  # of the last frame before it, those of its first group among them
    last_user_ref_nums: Mapping[int, int]  # the largest that each client had used there, by client


class ToldClients(NamedTuple):
    """There is more in the streams of these clients."""

    clients: list[int]


class Turned(NamedTuple):
    """A day has begun for the clients."""

    day: int


Item: TypeAlias = OwnMessages | Admission | Mark | Day
Happening: TypeAlias = ToldClients | Admission | Mark | Turned


class _Piece(NamedTuple):
    """What one run of another list tells the clients of this home."""

    parts: list[ToldPart]
    last_sequence: int  # of its messages


class OtherList:
    """What another shard's list has for the clients of a home, and is not in their streams yet."""

    def __init__(self) -> None:
        self.heard_sequence = 0  # its frames up to here are known, or were before our time
        self.begin_sequence = 0  # what was up to here is not known here
        self.size_bytes = 0
        self._pieces: deque[_Piece] = deque()
        self._days: list[Day] = []
        self._first_day = 0  # the one that it was restored with

    @property
    def has_messages(self) -> bool:
        """Whether any message waits."""
        return bool(self._pieces)

    @property
    def last_day_sequence(self) -> int:
        """Where the last day has begun; 0 before the first one."""
        return self._days[-1].sequence if self._days else 0

    def restore(self, day: Day) -> None:
        """It goes on after the snapshot that this day began with."""
        self.heard_sequence = self.begin_sequence = day.sequence
        self._pieces.clear()
        self.size_bytes = 0
        self._days = [day]
        self._first_day = day.day

    def add(self, parts: list[ToldPart]) -> None:
        """The next messages for clients of the home, in the order of the list for each."""
        self._pieces.append(_Piece(parts, max(part.last_sequence for part in parts)))
        self.size_bytes += sum(part.size_bytes for part in parts)

    def begin_day(self, day: Day) -> None:
        """A day has begun there."""
        self._days.append(day)

    def day_from(self, day: int) -> Day | None:
        """This day there, or the first one after it; None when that is not known."""
        if self._first_day > day:
            return None
        return next((each for each in self._days if each.day >= day), None)

    def take(self, until: int) -> Iterator[ToldPart]:
        """The messages of frames up to this one, in their order."""
        while self._pieces and self._pieces[0].last_sequence <= until:
            parts, _ = self._pieces.popleft()
            self.size_bytes -= sum(part.size_bytes for part in parts)
            yield from parts
        if not self._pieces:
            return
        parts, last_sequence = self._pieces[0]
        later: list[ToldPart] = []
        for part in parts:
            told, mass_cancel = part
            count = bisect_right(told.sequences, until)
            if count:
                yield ToldPart(part_of(told, 0, count), mass_cancel)
            if count < len(told.sequences):
                later.append(ToldPart(part_of(told, count, len(told.sequences)), mass_cancel))
        self._pieces[0] = _Piece(later, last_sequence)
        self.size_bytes -= sum(part.size_bytes for part in parts)
        self.size_bytes += sum(part.size_bytes for part in later)


class Home:
    """The streams of one home's clients, and what is still to come into them."""

    def __init__(self, number: int, exchange: str, limit_bytes: int) -> None:
        """`exchange` names the session before the first day; `limit_bytes` bounds each stream."""
        self._number = number
        self.days = Days(exchange, limit_bytes)
        self.marks: dict[int, int] = {}  # by shard: how far its list has come into the streams
        self.others: dict[int, OtherList] = {}  # every other shard
        self._queue: deque[Item] = deque()
        self._is_whole = True  # the running day's streams, as far as they go
        self._coming_day: Day | None = None  # begun here, and not yet for the clients
        # The answers to mass cancels of all symbols, by client and user_ref_num: one of them, and
        # the shards that have not answered yet.
        self._answers: dict[int, dict[int, tuple[ToldPart, set[int]]]] = {}
        # By shard: the numbers of clients that were used when the running day began there.
        self._used_before: dict[int, Mapping[int, int]] = {}

    @property
    def is_known(self) -> bool:
        """Whether the running day is known here from its beginning on; else nobody is let in."""
        return self._is_whole and all(
            mark >= self.others[shard].begin_sequence for shard, mark in self.marks.items()
        )

    @property
    def is_waiting(self) -> bool:
        """Whether the list has come further than the streams."""
        return bool(self._queue)

    def wants_mark(self, shard: int) -> bool:
        """Whether another list has anything to come into the streams: messages, or a day.

        A first mark is wanted at once: who comes back should find what the list has had until then.
        """
        other, mark = self.others[shard], self.marks.get(shard)
        return mark is None or other.has_messages or mark < other.last_day_sequence

    def is_told(self, client: int, user_ref_num: int) -> bool:
        """Whether a mass cancel of all symbols has all of its answers."""
        answered = self._answers.get(client, {}).get(user_ref_num)
        return answered is not None and not answered[1]

    def add_other(self, shard: int, heard_sequence: int) -> None:
        """There is another shard, whose list has been heard so far."""
        other = self.others[shard] = OtherList()
        other.heard_sequence = other.begin_sequence = heard_sequence

    def restore(self, day: Day, marks: Mapping[int, int]) -> None:
        """Go on after the snapshot that a day began with, of which clients know nothing yet."""
        self._is_whole = False
        self._queue.clear()
        self.marks = {}
        self._coming_day = None
        self.days.restore(day.day)
        self._queue.extend(Mark(*mark) for mark in marks.items())
        self._queue.append(day)

    def hear(self, item: Item) -> None:
        """What the home's list has next."""
        self._queue.append(item)

    def proceed(self) -> Iterator[Happening]:
        """What follows from all that was heard, in its order, as far as it goes."""
        while self._queue and not self._has_to_wait(self._queue[0]):
            item = self._queue.popleft()
            match item:
                case OwnMessages(parts):
                    yield self._tell(self._number, parts)
                case Mark():
                    yield self._mark(item)
                    yield item
                    yield from self._turn()
                case Day():
                    self._coming_day = item
                    yield from self._turn()
                case Admission():
                    yield item

    def check(self) -> None:
        """Raises AssertionError when the parts do not agree with one another."""
        self.days.check()
        assert self.marks.keys() <= self.others.keys()
        for shard, mark in self.marks.items():
            assert mark <= self.others[shard].heard_sequence

    def _has_to_wait(self, item: Item) -> bool:
        if not isinstance(item, Mark):
            return False
        other = self.others.get(item.shard)
        return other is None or other.heard_sequence < item.sequence

    def _mark(self, mark: Mark) -> ToldClients:
        other = self.others[mark.shard]
        before = self.marks.get(mark.shard)
        self.marks[mark.shard] = mark.sequence
        parts = list(other.take(mark.sequence))
        if before is not None and before < other.begin_sequence:
            self._is_whole = False  # some of it was before our time
        return self._tell(mark.shard, parts)

    def _tell(self, shard: int, parts: list[ToldPart]) -> ToldClients:
        kept = (part for part in parts if not part.mass_cancel or self._is_last(shard, part))
        return ToldClients(self.days.current.extend(part.told for part in kept))

    def _is_last(self, shard: int, answer: ToldPart) -> bool:
        """Whether no other shard is still to answer the same mass cancel."""
        client, number = answer.told.client, answer.mass_cancel
        answers = self._answers.setdefault(client, {})
        known = answers.get(number)
        if known is None:
            missing = self._without(client, number, {self._number, *self.marks}, self._used_before)
        else:
            missing = known[1]
        is_last = missing == {shard}  # else it was told before, or is not yet to be
        answers[number] = answer, missing - {shard}
        return is_last

    def _without(
        self, client: int, number: int, shards: set[int], used: Mapping[int, Mapping[int, int]]
    ) -> set[int]:
        """Those of the shards where the client had not come to this number."""
        return {shard for shard in shards if used.get(shard, {}).get(client, 0) < number}

    def _turn(self) -> Iterator[Turned]:
        """Begins the day that is to come, if this is the place."""
        coming = self._coming_day
        if coming is None:
            return
        begun = {shard: self.others[shard].day_from(coming.day) for shard in self.marks}
        days = {shard: day for shard, day in begun.items() if day is not None}
        if days.keys() != begun.keys() or any(
            self.marks[shard] < day.sequence for shard, day in days.items()
        ):
            return
        self._coming_day = None
        days[self._number] = coming
        self._used_before = {shard: day.last_user_ref_nums for shard, day in days.items()}
        self._carry_answers_over()
        if self.is_known:
            self.days.begin(coming.day)
        else:
            self.days.restore(coming.day)
            self._is_whole = True
        yield Turned(coming.day)

    def _carry_answers_over(self) -> None:
        """Tells of mass cancels that all shards are past; others go over into the day."""
        all_answers, self._answers = self._answers, {}
        for client, answers in all_answers.items():
            for number, (answer, missing) in answers.items():
                later = self._without(client, number, missing, self._used_before)
                if later:
                    self._answers.setdefault(client, {})[number] = answer, later
                elif missing:
                    self.days.current.extend([answer.told])
