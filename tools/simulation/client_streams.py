"""Each client's numbered stream over all shards, as their lists say; not with the gateway's code.

A client has one home, drawn from its number. What its home's list tells it comes in that order, and
where a SHARD_MARK stands there, what another shard's list tells it up to that mark.

A mass cancel of all symbols is answered by all shards that the home has marks of, and the client is
told of the last answer. A shard that the client had come further in when a day began there does not
answer any more: then the last answer before that counts, at the end of the day before.

A day begins for the clients of a home where its list has the NEW_DAY, or else where its marks first
reach beyond that of every shard that it has marks of. The streams begin anew then.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from feed.messages import Rejected, ShardMark
from gateway.events import Event, MassCanceled

Numbers: TypeAlias = Mapping[int, int]  # user_ref_nums by client


class Told(NamedTuple):
    """What a list tells a client; it has no number in the client's stream yet."""

    client: int
    kind: type[Event]
    fields: tuple[Any, ...]


class _Day(NamedTuple):
    """A day that has begun in a shard."""

    day: int
    last_sequence: int  # of the group that it began with
    used: Numbers


class ClientStreams:
    """Reads the lists of all shards group by group; `streams` has each client's events."""

    def __init__(self, homes: Sequence[int], session: str = "") -> None:
        """`homes` are the shards that clients are at home in; `session` names the time before the
        first day."""
        self.streams: defaultdict[int, list[Event]] = defaultdict(list)
        self._homes = tuple(sorted(homes))
        self._home_of: dict[int, int] = {}
        self._ends: defaultdict[int, list[int]] = defaultdict(list)  # of groups, by shard
        self._marks: dict[tuple[int, int], int] = {}  # by home and other shard
        # The same, for what no mark has named yet: with the end of the group that tells it.
        self._waiting: defaultdict[tuple[int, int], deque[tuple[int, Told]]] = defaultdict(deque)
        self._unmarked: defaultdict[int, int] = defaultdict(int)  # how much that is, by client
        # The newest answers to mass cancels of all symbols, by client and user_ref_num, and who has
        # not answered yet: nobody, where one has been told.
        self._answers: dict[tuple[int, int], tuple[Told, set[int]]] = {}
        self._sessions = {home: session for home in self._homes}
        self._before: dict[tuple[str, int], list[Event]] = {}  # by session and client
        self._days: defaultdict[int, list[_Day]] = defaultdict(list)  # by shard
        self._used: dict[int, dict[int, Numbers]] = {}  # by home and shard, when the day began
        self._coming: dict[int, int] = {}  # days that have begun in a home, and not for its clients

    def home_of(self, client: int) -> int:
        """The shard that a client is at home in."""
        if client not in self._home_of:
            name = b"client %d" % client
            draws = {
                blake2b(name + shard.to_bytes(2, "big"), digest_size=16).digest(): shard
                for shard in self._homes
            }
            self._home_of[client] = draws[max(draws)]
        return self._home_of[client]

    def has_all(self, client: int) -> bool:
        """Whether all that is committed for a client has come into its stream."""
        return not self._unmarked[client] and self.home_of(client) not in self._coming

    def session_of(self, client: int) -> str:
        """The client's current session."""
        return self._sessions[self.home_of(client)]

    def stream(self, client: int, session: str) -> list[Event]:
        """A client's events of a session, whose numbers begin with 1."""
        if session == self.session_of(client):
            return self.streams[client]
        return self._before.get((session, client), [])

    def take(self, shard: int, last_sequence: int, told: Sequence[Told]) -> None:
        """The next group of a shard's list ends here, and tells this."""
        self._ends[shard].append(last_sequence)
        for each in told:
            home = self.home_of(each.client)
            if home == shard:
                self._tell(shard, each)
            else:
                self._waiting[home, shard].append((last_sequence, each))
                self._unmarked[each.client] += 1

    def mark(self, home: int, mark: ShardMark, caused: Sequence[object]) -> None:
        """A home's list says how far another shard's has come."""
        key = home, mark.shard
        before = self._marks.get(key, 0)
        if caused:
            assert isinstance(caused[0], Rejected), f"{mark} does {caused}"
            return
        assert mark.shard != home, f"shard {home} marks itself"
        assert mark.sequence > before, f"{mark} stands in shard {home} after one of {before}"
        ends = self._ends[mark.shard]
        at = bisect_left(ends, mark.sequence)
        assert at < len(ends), f"{mark} stands in shard {home}, and that is not committed yet"
        assert ends[at] == mark.sequence, f"{mark} stands in shard {home}, and ends no group"
        self._marks[key] = mark.sequence
        waiting = self._waiting[key]
        while waiting and waiting[0][0] <= mark.sequence:
            _, told = waiting.popleft()
            self._unmarked[told.client] -= 1
            self._tell(mark.shard, told)

        self._turn(home)

    def begin_day(self, shard: int, day: int, last_sequence: int, used: Numbers) -> None:
        """A day has begun in a shard, with a group that ends here; `used` are the last
        user_ref_nums there, by client."""
        self._days[shard].append(_Day(day, last_sequence, used))
        if shard in self._sessions:
            self._coming[shard] = day
            self._turn(shard)

    def _turn(self, home: int) -> None:
        """Begin the day for the clients of a home, if this is the place."""
        day = self._coming.get(home)
        marks = {shard: mark for (marked, shard), mark in self._marks.items() if marked == home}
        if day is None:
            return
        begun = {
            shard: next((each for each in self._days[shard] if each.day >= day), None)
            for shard in (home, *marks)
        }
        if any(
            each is None or (shard != home and each.last_sequence > marks[shard])
            for shard, each in begun.items()
        ):
            return
        del self._coming[home]
        self._used[home] = {shard: each.used for shard, each in begun.items() if each is not None}
        for key in [key for key in self._answers if self.home_of(key[0]) == home]:
            told, missing = self._answers.pop(key)
            later = self._without(key, missing)
            if later:
                self._answers[key] = told, later
            elif missing:
                self._append(told)
        for client in [client for client in self.streams if self.home_of(client) == home]:
            self._before[self._sessions[home], client] = self.streams.pop(client)
        self._sessions[home] = str(day)

    def _tell(self, shard: int, told: Told) -> None:
        if told.kind is MassCanceled and not self._is_last_answer(shard, told):
            return
        self._append(told)

    def _append(self, told: Told) -> None:
        client, kind, fields = told
        stream = self.streams[client]
        stream.append(kind._make((len(stream) + 1, *fields)))

    def _is_last_answer(self, shard: int, told: Told) -> bool:
        """Whether a mass cancel is done by this, everywhere where it has to be."""
        client, _, (_, user_ref_num, symbol) = told
        if symbol:
            return True
        home, key = self.home_of(client), (client, user_ref_num)
        if key in self._answers:
            _, missing = self._answers[key]
        else:
            others = {other for marked, other in self._marks if marked == home}
            missing = self._without(key, {home, *others})
        self._answers[key] = told, missing - {shard}
        return missing == {shard}

    def _without(self, key: tuple[int, int], shards: set[int]) -> set[int]:
        """Those of the shards where the client had not come so far when its day began."""
        client, user_ref_num = key
        used = self._used.get(self.home_of(client), {})
        return {each for each in shards if used.get(each, {}).get(client, 0) < user_ref_num}
