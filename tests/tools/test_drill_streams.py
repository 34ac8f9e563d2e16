"""A client's stream as the lists of two shards give it, and what a drill's audit finds in it."""

from collections.abc import Sequence

import pytest

from engine.rejects import RejectReason
from feed.codec import Frame, decode_frame, encode_group
from feed.messages import (
    ALL_SYMBOLS,
    CancelReason,
    Command,
    MassCancel,
    NewDay,
    Rejected,
    ShardMark,
    Side,
)
from feed.subscriber import Group
from gateway.events import Accepted, Canceled, Event, Executed, MassCanceled, SessionBegan
from tests.tools.shard_lists import ACME, ALICE, BOB, BUY, OTHER, SELL, Shard
from tests.tools.test_audit_rules import enter
from tools.drill.audit import ClientCommand, ClientRecord, Findings, audit
from tools.drill.client_streams import BEFORE_DAYS, ClientStreams

EVERYTHING = MassCancel(ALICE, 9, ALL_SYMBOLS, CancelReason.USER)
FIRST_DAY, SECOND_DAY = 20261123, 20261124


def groups_of(frames: Sequence[bytes]) -> list[Group]:
    groups: list[Group] = []
    group: list[Frame] = []
    for data in frames:
        group.append(decode_frame(data))
        if group[-1].is_end:
            groups.append(Group(tuple(group)))
            group = []
    return groups


class Lists:
    """Two shards, with ACME in the first one and OTHER in the second one.

    ALICE is at home in the first one, BOB in the second one; both are let in everywhere.
    """

    def __init__(self) -> None:
        self.one, self.two = Shard(1, ACME), Shard(2, OTHER)
        self.two.log_in(ALICE, home_sequence=self.one.log_in(ALICE))
        self.one.log_in(BOB, home_sequence=self.two.log_in(BOB))
        self.mark()

    def mark(self) -> None:
        """Each list is told how far the other one is."""
        first, second = self.one.number, self.two.number
        self.one.must(ShardMark(2, second))
        self.two.must(ShardMark(1, first))

    def groups(self) -> dict[int, list[Group]]:
        return {1: groups_of(self.one.frames), 2: groups_of(self.two.frames)}

    def streams(self, client: int = ALICE) -> dict[str, list[Event]]:
        return dict(ClientStreams(self.groups(), home_of).of(client))

    def stream(self, client: int = ALICE) -> list[tuple[type[Event], int]]:
        """What each event is, and the order or command that it is about."""
        events = self.streams(client)[BEFORE_DAYS]
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
        return [(type(event), event.user_ref_num) for event in events]

    def judge(self, sent: Sequence[Command], received: Sequence[Event]) -> Findings:
        commands: list[ClientCommand] = [*sent]  # type: ignore[list-item]
        record = ClientRecord("ALICE", ALICE, commands, received)
        return audit(self.groups(), [record], home_of)


def home_of(client: int) -> int:
    return client


def test_what_happens_at_home_is_told_in_its_place_and_what_happens_elsewhere_at_the_mark() -> None:
    lists = Lists()
    lists.one.must(enter(ALICE, 1, BUY, 5, 100))
    lists.two.must(enter(ALICE, 2, BUY, 5, 50, symbol=OTHER))
    lists.one.must(enter(ALICE, 3, BUY, 5, 99))
    assert lists.stream() == [(Accepted, 1), (Accepted, 3)]
    lists.mark()
    lists.two.must(enter(BOB, 1, SELL, 2, 50, symbol=OTHER))
    lists.one.must(enter(ALICE, 4, BUY, 5, 98))
    assert lists.stream() == [(Accepted, 1), (Accepted, 3), (Accepted, 2), (Accepted, 4)]
    lists.mark()
    assert lists.stream()[4:] == [(Executed, 2)]
    assert lists.stream(BOB) == [(Accepted, 1), (Executed, 1)]


def test_only_what_the_mark_reaches_is_told() -> None:
    lists = Lists()
    lists.two.must(enter(ALICE, 1, BUY, 5, 50, symbol=OTHER))
    reached = lists.two.number
    lists.two.must(enter(ALICE, 2, BUY, 5, 49, symbol=OTHER))
    lists.one.must(ShardMark(2, reached))
    assert lists.stream() == [(Accepted, 1)]
    lists.mark()
    assert lists.stream() == [(Accepted, 1), (Accepted, 2)]


def test_before_the_first_mark_of_a_shard_nothing_is_told_of_it() -> None:
    one, two = Shard(1, ACME), Shard(2, OTHER)
    two.log_in(ALICE, home_sequence=one.log_in(ALICE))
    two.must(enter(ALICE, 1, Side.BUY, 5, 50, symbol=OTHER))
    one.must(ShardMark(2, two.number))
    two.must(enter(ALICE, 2, Side.BUY, 5, 50, symbol=OTHER))
    one.must(ShardMark(2, two.number))
    lists = {1: groups_of(one.frames), 2: groups_of(two.frames)}
    (event,) = ClientStreams(lists, home_of).of(ALICE)[BEFORE_DAYS]
    assert isinstance(event, Accepted)
    assert event.user_ref_num == 2


def test_a_mass_cancel_of_all_symbols_is_answered_by_the_last_shard() -> None:
    lists = Lists()
    lists.one.must(enter(ALICE, 1, BUY, 5, 100))
    lists.two.must(enter(ALICE, 2, BUY, 5, 50, symbol=OTHER))
    lists.one.must(EVERYTHING)
    lists.two.must(EVERYTHING)
    assert lists.stream() == [(Accepted, 1), (Canceled, 1)]
    lists.mark()
    assert lists.stream()[2:] == [(Accepted, 2), (MassCanceled, 9), (Canceled, 2)]


def test_one_symbol_is_answered_by_its_shard() -> None:
    lists = Lists()
    lists.one.must(MassCancel(ALICE, 9, ACME, CancelReason.USER))
    assert lists.stream() == [(MassCanceled, 9)]


def test_a_refused_mark_moves_nothing() -> None:
    lists = Lists()
    lists.two.must(enter(ALICE, 1, BUY, 5, 50, symbol=OTHER))
    groups = lists.groups()
    mark = (ShardMark(2, lists.two.number), Rejected(0, 0, RejectReason.INVALID_MARK))
    groups[1] += groups_of(encode_group(mark, lists.one.number + 1, 0))
    assert ClientStreams(groups, home_of).of(ALICE) == {BEFORE_DAYS: []}


def test_a_day_begins_once_the_marks_are_beyond_its_beginning_everywhere() -> None:
    lists = Lists()
    lists.one.must(enter(ALICE, 1, BUY, 5, 100))
    lists.two.must(enter(ALICE, 2, BUY, 5, 50, symbol=OTHER))
    lists.one.must(NewDay(FIRST_DAY))
    lists.one.must(enter(ALICE, 3, BUY, 5, 100))  # told in the day before, as OTHER's has not begun
    lists.two.must(NewDay(FIRST_DAY))
    lists.mark()
    lists.one.must(enter(ALICE, 4, BUY, 5, 99))
    streams = lists.streams()
    assert list(streams) == [BEFORE_DAYS, str(FIRST_DAY)]
    assert lists.stream() == [
        *((Accepted, 1), (Canceled, 1), (Accepted, 3)),
        *((Accepted, 2), (Canceled, 2)),
    ]
    (event,) = streams[str(FIRST_DAY)]
    assert isinstance(event, Accepted)
    assert (event.sequence, event.user_ref_num) == (1, 4)


def test_an_answer_that_waits_for_a_shard_is_told_before_the_day_ends() -> None:
    lists = Lists()
    lists.one.must(EVERYTHING)
    lists.one.must(NewDay(FIRST_DAY))
    lists.two.must(NewDay(FIRST_DAY))
    lists.mark()
    assert lists.stream() == [(MassCanceled, 9)]


# The audit.


def test_commands_in_two_shards_are_compared_with_one_stream() -> None:
    lists = Lists()
    sent = [enter(ALICE, 1, BUY, 5, 100), enter(ALICE, 2, BUY, 5, 50, symbol=OTHER)]
    lists.one.must(sent[0])
    lists.two.must(sent[1])
    lists.mark()
    received = lists.streams()[BEFORE_DAYS]
    assert len(received) == 2
    findings = lists.judge(sent, received)
    assert (findings.is_clean, findings.answered) == (True, 2)
    assert lists.judge(sent, received[:1]).lost == 1
    swapped = [received[1]._replace(sequence=1), received[0]._replace(sequence=2)]  # type: ignore[call-arg]
    assert lists.judge(sent, swapped).changed == 2


def test_a_command_in_two_shards_is_doubled() -> None:
    lists = Lists()
    sent = enter(ALICE, 1, BUY, 5, 100)
    lists.one.must(sent)
    lists.two.must(sent._replace(symbol=OTHER))
    findings = lists.judge([sent], lists.streams()[BEFORE_DAYS])
    assert findings.doubled == 1
    assert "stands in shard 1's list at" in findings.problems[0]


def test_a_mass_cancel_of_all_symbols_in_each_shard_is_not_doubled() -> None:
    lists = Lists()
    lists.one.must(EVERYTHING)
    lists.two.must(EVERYTHING)
    lists.mark()
    assert lists.judge([EVERYTHING], lists.streams()[BEFORE_DAYS]).is_clean


def over_two_days() -> tuple[Lists, list[Command], list[Event]]:
    """The lists, what ALICE sent, and what she received."""
    lists = Lists()
    sent = [enter(ALICE, 1, BUY, 5, 100), enter(ALICE, 2, BUY, 5, 100)]
    received: list[Event] = []
    for command, day in zip(sent, (FIRST_DAY, SECOND_DAY), strict=True):
        lists.one.must(command, NewDay(day))
        lists.two.must(NewDay(day))
        lists.mark()
    streams = lists.streams()
    received += streams[BEFORE_DAYS]
    received.append(SessionBegan(str(FIRST_DAY), "DEMO", may_have_missed=False))
    received += streams[str(FIRST_DAY)]
    return lists, [*sent], received


def test_numbers_begin_anew_with_each_day() -> None:
    lists, sent, received = over_two_days()
    assert [event.sequence for event in received] == [1, 2, 0, 1, 2]
    assert lists.judge(sent, received).is_clean


@pytest.mark.parametrize("missing", [0, 1, 3, 4])
def test_an_event_of_any_day_that_never_came_is_lost(missing: int) -> None:
    lists, sent, received = over_two_days()
    del received[missing]
    findings = lists.judge(sent, received)
    assert (findings.lost, findings.doubled, findings.changed) == (1, 0, 0)


def test_a_whole_day_that_never_came_is_lost() -> None:
    lists, sent, received = over_two_days()
    assert lists.judge(sent, received[:2]).lost == 2
    again = [*received, received[-1]]
    assert lists.judge(sent, again).doubled == 1
