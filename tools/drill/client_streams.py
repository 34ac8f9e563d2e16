"""What the lists of all shards say that each client is told: its numbered events, day by day.

Sans-I/O, and computed anew from the lists alone, at the end, when all of them are known. A client's
stream is what the list of its home tells it, and at each mark in there what the marked shard's list
tells it since the mark before. Before the first mark of a shard nobody was let in there. A mass
cancel of all symbols goes to every shard, and the client is told of the last answer. The stream
begins anew with each day: where the home has begun it, and its marks are beyond that of all others.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from feed.messages import ALL_SYMBOLS, NewDay, Rejected, ShardMark
from feed.subscriber import Group
from gateway import ouch
from gateway.events import Event, to_event
from gateway.ouch_codec import decode_outbound
from gateway.translate import client_messages

BEFORE_DAYS = ""  # the session before the first day, whatever its name is


class _Message(NamedTuple):
    """What a client is told of a group."""

    sequence: int  # the group's last frame
    client: int
    told: ouch.Outbound

    @property
    def answered(self) -> int:
        """The number of the mass cancel of all symbols that it answers; 0 for none."""
        told = self.told
        if isinstance(told, ouch.MassCancelResponse) and told.symbol == ALL_SYMBOLS:
            return told.user_ref_num
        return 0


class _Day(NamedTuple):
    sequence: int  # the last frame of the group that begins it
    day: int


_Item: TypeAlias = _Message | _Day | ShardMark


class ClientStreams:
    """The streams of all clients; `home_of` says the shard that each is at home in."""

    def __init__(self, lists: Mapping[int, Iterable[Group]], home_of: Callable[[int], int]) -> None:
        self._items = {shard: list(_items(groups)) for shard, groups in lists.items()}
        self._messages = {
            shard: [each for each in items if isinstance(each, _Message)]
            for shard, items in self._items.items()
        }
        self._home_of = home_of
        # By client and session: a day, or what was before the first one.
        self._streams: defaultdict[int, dict[str, list[Event]]] = defaultdict(
            lambda: {BEFORE_DAYS: []}
        )
        for shard in self._items:
            self._tell_home(shard)

    def of(self, client: int) -> Mapping[str, list[Event]]:
        """A client's numbered events by session: a day as YYYYMMDD, or `BEFORE_DAYS`."""
        return self._streams[client]

    def _tell_home(self, home: int) -> None:
        """All that the clients of a home are told."""
        marks: dict[int, int] = {}
        answers: dict[tuple[int, int], tuple[ouch.Outbound, set[int]]] = {}
        session, coming = BEFORE_DAYS, 0

        def tell(shard: int, message: _Message) -> None:
            client, number = message.client, message.answered
            if self._home_of(client) != home:
                return
            if number:
                everywhere = {home, *marks}
                _, missing = answers.pop((client, number), (message.told, everywhere))
                missing.discard(shard)
                if missing:
                    answers[client, number] = message.told, missing
                    return
            self._add(client, session, message.told)

        for item in self._items[home]:
            match item:
                case _Message():
                    tell(home, item)
                    continue
                case _Day():
                    coming = item.day
                case ShardMark(shard, sequence):
                    before, marks[shard] = marks.get(shard), sequence
                    if before is not None:
                        for message in self._between(shard, before, sequence):
                            tell(shard, message)
            if coming and all(self._begins(each, coming) <= marks[each] for each in marks):
                for (client, _), (answer, _) in answers.items():
                    self._add(client, session, answer)
                answers.clear()
                session, coming = str(coming), 0

    def _add(self, client: int, session: str, told: ouch.Outbound) -> None:
        stream = self._streams[client].setdefault(session, [])
        stream.append(to_event(told, len(stream) + 1))

    def _between(self, shard: int, after: int, up_to: int) -> Sequence[_Message]:
        messages = self._messages.get(shard, [])
        begin, end = (bisect_right(messages, at, key=_sequence) for at in (after, up_to))
        return messages[begin:end]

    def _begins(self, shard: int, day: int) -> float:
        """The frame with which a shard is in this day, or a later one."""
        days = (each for each in self._items.get(shard, ()) if isinstance(each, _Day))
        return next((each.sequence for each in days if each.day >= day), float("inf"))


def _sequence(message: _Message) -> int:
    return message.sequence


def _items(groups: Iterable[Group]) -> Iterator[_Item]:
    for group in groups:
        last = group.frames[-1]
        for client, payload in client_messages(group.frames):
            yield _Message(last.sequence, client, decode_outbound(payload))
        if isinstance(last.message(), Rejected):
            continue
        command = group.command.message()
        if isinstance(command, ShardMark):
            yield command
        elif isinstance(command, NewDay):
            yield _Day(last.sequence, command.day)
