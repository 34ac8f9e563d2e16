"""Was anything lost, changed or done twice? What the clients saw, held against the lists.

Sans-I/O. The lists are an independent subscriber's; a client's stream is computed from them anew
(`tools.drill.client_streams`), and all that the client received is compared with it, event by
event. The rules:

- Every command with a user_ref_num that a client sent stands once in the list of one shard, just as
  it was sent, and was answered; unless a gateway refused it and said so. A mass cancel of all
  symbols stands once in the list of each shard.
- A client received its whole stream: each event that the lists say, with its number, once. The
  numbers begin anew with each day's session.
- After a cancel, no more is open of the order than the cancel lets remain. A cancel has no number,
  and one that comes too late leaves no trace: so what can be held against it is its effect.

Of a shard that has stopped, nobody was promised an answer any more. Then what a client did receive
still has to be what the list says, without a hole; the rest may be missing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from feed.messages import (
    ALL_SYMBOLS,
    CancelOrder,
    Command,
    EnterOrder,
    MassCancel,
    ReplaceOrder,
)
from feed.subscriber import Group
from gateway.events import (
    Accepted,
    Canceled,
    Event,
    Executed,
    MassCanceled,
    Rejected,
    Replaced,
    SessionBegan,
)
from gateway.rejects import GatewayReject
from gateway.translate import spent_user_ref_num
from tools.drill.client_streams import BEFORE_DAYS, ClientStreams

_TOLD_PROBLEMS = 50  # more of them say nothing new

ClientCommand = EnterOrder | ReplaceOrder | CancelOrder | MassCancel


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """All that one client sent and received, each in its order."""

    name: str
    number: int
    sent: Sequence[ClientCommand]  # as they should stand in the list
    received: Sequence[Event]
    session: str = BEFORE_DAYS  # the one that it logged in to first


@dataclass(slots=True)
class Findings:
    """What an audit found: the counts, and the first problems in words."""

    answered: int = 0  # commands with a user_ref_num that the list decided and the client was told
    refused: int = 0  # by a gateway, which said so
    lost: int = 0  # commands without effect or answer, and events that never came
    doubled: int = 0  # commands that stand in the list again, and events that came again
    changed: int = 0  # commands and events that are not what they should be
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything holds."""
        return not (self.lost or self.doubled or self.changed)

    def add(self, other: "Findings") -> None:
        """Count what an audit of another exchange found, too."""
        self.answered += other.answered
        self.refused += other.refused
        self.lost += other.lost
        self.doubled += other.doubled
        self.changed += other.changed
        for problem in other.problems:
            self.note(problem)

    def note(self, problem: str) -> None:
        """Keep a problem's text, unless there are plenty already."""
        if len(self.problems) < _TOLD_PROBLEMS:
            self.problems.append(problem)


class _Placed(NamedTuple):
    """A command and where it stands."""

    shard: int
    sequence: int
    command: Command


_AllPlaced = Mapping[int, Mapping[int, list[_Placed]]]  # by client and user_ref_num


def _placed(lists: Mapping[int, Sequence[Group]], findings: Findings) -> _AllPlaced:
    """Where the numbered commands of all clients stand."""
    placed: defaultdict[int, defaultdict[int, list[_Placed]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for shard, groups in lists.items():
        next_sequence = 1
        for group in groups:
            if group.first_sequence != next_sequence:
                findings.lost += 1
                findings.note(
                    f"the subscriber's list goes on with {group.first_sequence}, "
                    f"not with {next_sequence}"
                )
            next_sequence = group.last_sequence + 1
            command = group.command.message()
            spent = spent_user_ref_num(command)
            if spent is not None:
                client, user_ref_num = spent
                place = _Placed(shard, group.first_sequence, command)  # type: ignore[arg-type]
                placed[client][user_ref_num].append(place)
    return placed


def audit(
    lists: Mapping[int, Sequence[Group]],
    records: Sequence[ClientRecord],
    home_of: Callable[[int], int],
    *,
    stopped: bool = False,
) -> Findings:
    """Hold everything that the clients did and saw against the lists, from their first groups on.

    The lists are those of all shards, by number; `home_of` says where each client is at home.
    `stopped` says that a shard has stopped for good, with clients waiting for answers.
    """
    findings = Findings()
    placed = _placed(lists, findings)
    streams = ClientStreams(lists, home_of)
    _find_doubled(placed, findings)
    for record in records:
        missing = _compare_streams(record, streams.of(record.number), findings, stopped=stopped)
        told_of_as_lost = _judge_commands(
            record, placed.get(record.number, {}), findings, stopped=stopped
        )
        for event in missing:
            if _answered_number(event) not in told_of_as_lost:
                findings.lost += 1
                findings.note(f"{record.name} never received {event}")
        if not stopped:
            _judge_cancels(record, findings)
    return findings


def _find_doubled(placed: _AllPlaced, findings: Findings) -> None:
    for client, commands in placed.items():
        for user_ref_num, places in commands.items():
            first, *others = places
            for again in others:
                if again.shard != first.shard and _is_for_all(first) and _is_for_all(again):
                    continue
                findings.doubled += 1
                where = "the list" if again.shard == first.shard else f"shard {first.shard}'s list"
                too = "" if again.shard == first.shard else f"in shard {again.shard}'s "
                findings.note(
                    f"client {client}'s command {user_ref_num} stands in {where} at "
                    f"{first.sequence} and again {too}at {again.sequence}"
                )


def _is_for_all(place: _Placed) -> bool:
    """Whether a command goes to every shard."""
    return isinstance(place.command, MassCancel) and place.command.symbol == ALL_SYMBOLS


def _compare_streams(
    record: ClientRecord,
    expected: Mapping[str, Sequence[Event]],
    findings: Findings,
    *,
    stopped: bool,
) -> list[Event]:
    """Judge what a client received of its stream; the events that it did not receive."""
    missing: list[Event] = []
    unread = dict(expected)
    sessions = list(_sessions(record))
    for session, events in sessions:
        last = len(unread.get(session, ()))
        if stopped and (session, events) == sessions[-1]:
            last = max((event.sequence for event in events), default=0)
        missing += [
            event
            for event in _compare_session(record.name, events, unread.pop(session, ()), findings)
            if event.sequence <= last
        ]
    if not stopped:
        missing += [event for events in unread.values() for event in events]
    return missing


def _sessions(record: ClientRecord) -> Iterator[tuple[str, list[Event]]]:
    """The numbered events that a client received, by session; a refusal stands outside."""
    session, events = record.session, list[Event]()
    for event in record.received:
        if isinstance(event, SessionBegan):
            yield session, events
            session, events = event.session, []
        elif event.sequence:
            events.append(event)
    yield session, events


def _compare_session(
    name: str, events: Iterable[Event], expected: Sequence[Event], findings: Findings
) -> list[Event]:
    """Judge what a client received in one session; what it did not receive."""
    received: set[int] = set()
    previous = 0
    for event in events:
        number = event.sequence
        if number in received:
            findings.doubled += 1
            findings.note(f"{name} received event {number} again: {event}")
            continue
        received.add(number)
        if number < previous:
            findings.changed += 1
            findings.note(f"{name} received event {number} after {previous}")
        previous = max(previous, number)
        if number > len(expected):
            findings.changed += 1
            findings.note(f"{name} received {event}, of which the list says nothing")
        elif event != expected[number - 1]:
            findings.changed += 1
            findings.note(f"{name} received {event}, but the list says {expected[number - 1]}")
    return [event for event in expected if event.sequence not in received]


def _judge_commands(
    record: ClientRecord,
    placed: Mapping[int, Sequence[_Placed]],
    findings: Findings,
    *,
    stopped: bool,
) -> set[int]:
    """Judge a client's commands with numbers; the numbers of those that count as lost."""
    answered = {_answered_number(event) for event in record.received if event.sequence}
    refused = {event.user_ref_num for event in record.received if _is_refusal(event)}
    lost: set[int] = set()
    sent: set[int] = set()
    for command in record.sent:
        if isinstance(command, CancelOrder):
            continue
        number = command.user_ref_num
        sent.add(number)
        if number not in placed and number in refused:
            findings.refused += 1
        elif stopped and number not in answered:
            continue
        elif number not in placed or number not in answered:
            lost.add(number)
            findings.lost += 1
            where = "is not in the list" if number not in placed else "was not answered"
            findings.note(f"{record.name}'s command {number} {where}: {command}")
        else:
            findings.answered += 1
            if placed[number][0].command != command:
                findings.changed += 1
                findings.note(f"{record.name} sent {command}; the list has {placed[number][0]}")
    for number in placed.keys() - sent:
        findings.changed += 1
        findings.note(f"{record.name} never sent {placed[number][0]}")
    return lost


def _judge_cancels(record: ClientRecord, findings: Findings) -> None:
    """Look whether more is open of an order at the end than the client's cancels let remain."""
    is_open, told = _open_quantities(record.received)
    remaining: dict[int, int] = {}
    for command in record.sent:
        if isinstance(command, CancelOrder):
            number, quantity = command.user_ref_num, command.quantity
            remaining[number] = min(quantity, remaining.get(number, quantity))
    for number, quantity in remaining.items():
        if is_open.get(number, 0) > quantity and number not in told:
            findings.lost += 1
            findings.note(
                f"{record.name}'s cancel of order {number} to {quantity} had no effect: "
                f"{is_open[number]} is open"
            )


def _open_quantities(received: Iterable[Event]) -> tuple[dict[int, int], set[int]]:
    """What is open of each order by a client's events; the numbers that a refusal names."""
    is_open: dict[int, int] = {}
    told: set[int] = set()
    for event in received:
        match event:
            case Accepted(user_ref_num=number, quantity=quantity):
                is_open[number] = quantity
            case Replaced(original_user_ref_num=original, user_ref_num=number, quantity=quantity):
                is_open[original] = 0
                is_open[number] = quantity
            case (
                Executed(user_ref_num=number, quantity=quantity)
                | Canceled(user_ref_num=number, quantity=quantity)
            ):
                is_open[number] = is_open.get(number, 0) - quantity
            case Rejected(user_ref_num=number):
                told.add(number)
    return is_open, told


def _answered_number(event: Event) -> int | None:
    """The user_ref_num of the command that an event answers; None when it answers none."""
    match event:
        case Accepted() | Replaced() | MassCanceled() | Rejected():
            return event.user_ref_num
    return None


def _is_refusal(event: Event) -> bool:
    """Whether a gateway said that it refused a command.

    That a refusal got lost with a connection is the client library's guess, and no word of a
    gateway: a command that went missing would look the same.
    """
    return (
        isinstance(event, Rejected)
        and not event.sequenced
        and event.reason != GatewayReject.CONNECTION_LOST
    )
