"""A client's stream over several shards: the home's list, and what its marks name of the others."""

from collections.abc import Sequence

import pytest

from feed.messages import Rejected, ShardMark
from gateway.events import Event, MassCanceled, Triggered
from tools.simulation.client_streams import ClientStreams, Told
from zk.directory import Directory

HOMES = (1, 2)
AT_ONE = next(client for client in range(1, 50) if ClientStreams(HOMES).home_of(client) == 1)
AT_TWO = next(client for client in range(1, 50) if ClientStreams(HOMES).home_of(client) == 2)


class Lists:
    """The lists of two shards, and what they make of the stream of one client."""

    def __init__(self, client: int) -> None:
        self.streams = ClientStreams(HOMES, "SIM")
        self.client = client
        self.last = {1: 0, 2: 0}

    def tell(self, shard: int, number: int, frames: int = 1) -> None:
        """The next group tells the client of its order of this number."""
        told = Told(self.client, Triggered, (5, number, 77, 100))
        self._take(shard, [told], frames)

    def cancel_all(self, shard: int, number: int) -> None:
        """The next group answers a mass cancel of all symbols."""
        self._take(shard, [Told(self.client, MassCanceled, (5, number, ""))])

    def mark(self, home: int, shard: int, sequence: int) -> None:
        """A home's list marks another shard's."""
        self._take(home, [])
        self.streams.mark(home, ShardMark(shard, sequence), [])

    def begin_day(self, shard: int, day: int, last_number: int = 0) -> None:
        """A day begins in a shard, where the client's last number is this."""
        self._take(shard, [])
        self.streams.begin_day(shard, day, self.last[shard], {self.client: last_number})

    @property
    def numbers(self) -> list[tuple[int, int]]:
        """The numbers in the stream, with those of the orders."""
        stream: list[Event] = self.streams.streams[self.client]
        return [(event.sequence, event.user_ref_num) for event in stream]

    def _take(self, shard: int, told: Sequence[Told], frames: int = 1) -> None:
        self.last[shard] += frames
        self.streams.take(shard, self.last[shard], told)


@pytest.fixture
def lists() -> Lists:
    return Lists(AT_ONE)


def test_homes_are_drawn_as_the_directory_draws_them() -> None:
    for homes in ((1,), (1, 2), (1, 2, 3), (2, 70)):
        streams, directory = ClientStreams(homes), Directory(homes, homes, {}, {})
        clients = range(1, 300)
        assert [*map(streams.home_of, clients)] == [*map(directory.home_of, clients)]
        assert {*map(streams.home_of, clients)} == set(homes)


def test_what_another_shard_tells_comes_where_the_home_marks_it(lists: Lists) -> None:
    lists.tell(1, 1)
    lists.tell(2, 2)
    lists.tell(1, 3)
    assert lists.numbers == [(1, 1), (2, 3)]
    assert not lists.streams.has_all(AT_ONE)
    lists.tell(2, 4)
    lists.mark(1, 2, 1)
    lists.tell(1, 5)
    assert lists.numbers == [(1, 1), (2, 3), (3, 2), (4, 5)]
    lists.mark(1, 2, 2)
    assert lists.numbers == [(1, 1), (2, 3), (3, 2), (4, 5), (5, 4)]
    assert lists.streams.has_all(AT_ONE)


def test_the_marks_of_another_home_say_nothing_to_a_client() -> None:
    lists = Lists(AT_TWO)
    lists.tell(1, 1)
    lists.tell(2, 2)
    assert lists.numbers == [(1, 2)]
    lists.mark(1, 2, 1)
    assert lists.numbers == [(1, 2)]
    lists.mark(2, 1, 2)
    assert lists.numbers == [(1, 2), (2, 1)]


def test_a_mark_that_was_refused_changes_nothing(lists: Lists) -> None:
    lists.tell(2, 1)
    lists.streams.mark(1, ShardMark(2, 1), [Rejected(0, 0, 28)])
    assert lists.numbers == []


def test_a_mark_that_is_not_later_than_the_one_before_is_found(lists: Lists) -> None:
    lists.tell(2, 1)
    lists.tell(2, 2)
    lists.mark(1, 2, 2)
    for sequence in (1, 2):
        with pytest.raises(AssertionError, match="stands in shard 1 after one of 2"):
            lists.mark(1, 2, sequence)


def test_a_mark_of_what_is_not_committed_is_found(lists: Lists) -> None:
    lists.tell(2, 1)
    with pytest.raises(AssertionError, match="not committed yet"):
        lists.mark(1, 2, 2)


def test_a_mark_within_a_group_is_found(lists: Lists) -> None:
    lists.tell(2, 1, frames=3)
    with pytest.raises(AssertionError, match="ends no group"):
        lists.mark(1, 2, 2)


def test_a_shard_that_marks_itself_is_found(lists: Lists) -> None:
    lists.tell(1, 1)
    with pytest.raises(AssertionError, match="marks itself"):
        lists.mark(1, 1, 1)


def test_a_mass_cancel_of_all_symbols_has_one_answer_the_last_one(lists: Lists) -> None:
    lists.tell(2, 1)
    lists.mark(1, 2, 1)
    lists.cancel_all(1, 2)
    lists.tell(1, 3)
    assert lists.numbers == [(1, 1), (2, 3)]
    lists.cancel_all(2, 2)
    lists.mark(1, 2, 2)
    assert lists.numbers == [(1, 1), (2, 3), (3, 2)]


def test_a_shard_that_the_home_does_not_know_yet_answers_no_mass_cancel(lists: Lists) -> None:
    lists.cancel_all(1, 1)
    assert lists.numbers == [(1, 1)]
    lists.cancel_all(2, 1)
    lists.mark(1, 2, 1)
    assert lists.numbers == [(1, 1)]


def test_a_day_begins_where_the_home_begins_it_when_there_are_no_marks(lists: Lists) -> None:
    lists.tell(1, 1)
    lists.begin_day(1, 20270101)
    lists.tell(1, 2)
    assert lists.streams.session_of(AT_ONE) == "20270101"
    assert [each.user_ref_num for each in lists.streams.stream(AT_ONE, "SIM")] == [1]
    assert lists.numbers == [(1, 2)]
    assert lists.streams.stream(AT_ONE, "20261231") == []


def test_a_day_waits_until_the_marks_reach_beyond_its_beginning_elsewhere(lists: Lists) -> None:
    lists.tell(2, 1)
    lists.mark(1, 2, 1)
    lists.begin_day(1, 20270101)
    lists.tell(1, 2)
    lists.tell(2, 3)
    assert lists.streams.session_of(AT_ONE) == "SIM"
    lists.begin_day(2, 20270101)
    lists.tell(2, 4)
    assert not lists.streams.has_all(AT_ONE)
    lists.mark(1, 2, 2)
    assert lists.streams.session_of(AT_ONE) == "SIM"
    lists.mark(1, 2, 4)
    assert lists.streams.session_of(AT_ONE) == "20270101"
    before = lists.streams.stream(AT_ONE, "SIM")
    assert [each.user_ref_num for each in before] == [1, 2, 3, 4]
    assert lists.numbers == []
    assert lists.streams.has_all(AT_ONE)


def test_a_later_day_elsewhere_is_late_enough(lists: Lists) -> None:
    lists.tell(2, 1)
    lists.mark(1, 2, 1)
    lists.begin_day(2, 20270102)
    lists.begin_day(1, 20270101)
    assert lists.streams.session_of(AT_ONE) == "SIM"
    lists.mark(1, 2, 2)
    assert lists.streams.session_of(AT_ONE) == "20270101"


def test_a_day_of_another_home_says_nothing_to_a_client(lists: Lists) -> None:
    lists.begin_day(2, 20270101)
    assert lists.streams.session_of(AT_ONE) == "SIM"
    assert lists.streams.session_of(AT_TWO) == "20270101"


@pytest.mark.parametrize(
    ("last_number", "before", "after"),
    [(3, [1, 2], []), (1, [1], [2])],
    ids=["that can't be answered any more", "that is answered in the new day"],
)
def test_a_mass_cancel_at_the_turn_of_a_day(
    lists: Lists, last_number: int, before: list[int], after: list[int]
) -> None:
    lists.tell(2, 1)
    lists.mark(1, 2, 1)
    lists.cancel_all(1, 2)
    lists.begin_day(2, 20270101, last_number)
    lists.begin_day(1, 20270101, 2)
    lists.mark(1, 2, 2)
    assert [each.user_ref_num for each in lists.streams.stream(AT_ONE, "SIM")] == before
    lists.cancel_all(2, 2)
    lists.mark(1, 2, 3)
    if after:
        assert lists.numbers == [(1, 2)]
