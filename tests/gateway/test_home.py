"""A home's streams: what its own list says, and the others' as far as its marks reach."""

from array import array
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from feed.messages import ALL_SYMBOLS
from gateway import ouch
from gateway.home import Day, Home, OwnMessages, ToldClients, Turned
from gateway.kernel import Told
from gateway.ouch_codec import encode
from gateway.soup import SequencedData, server_packets
from gateway.told_parts import ToldPart, with_answers_apart
from gateway.turning_points import Mark
from tests.gateway.groups import ALICE, BOB

HOME, OTHER, THIRD = 1, 2, 3
MONDAY, TUESDAY = 20261123, 20261124


def told(client: int, *messages: tuple[int, bytes]) -> Told:
    """What frames with these numbers tell a client."""
    packets = [SequencedData(payload).encode() for _, payload in messages]
    ends = array("I", [sum(map(len, packets[: i + 1])) for i in range(len(packets))])
    sequences = array("Q", [sequence for sequence, _ in messages])
    return Told(client, b"".join(packets), ends, sequences, array("I"))


def own(*all_told: Told) -> OwnMessages:
    return OwnMessages(list(map(ToldPart, all_told)))


def hears(home: Home, shard: int, sequence: int, *all_told: Told) -> None:
    """The home hears of another list up to this frame."""
    other = home.others[shard]
    if all_told:
        other.add(with_answers_apart(all_told))
    other.heard_sequence = sequence


def stream(home: Home, client: int = ALICE) -> list[bytes]:
    data = home.days.current.of(client).read(1, 1 << 20).data
    return [each.payload for each in server_packets().take(data) if isinstance(each, SequencedData)]


def proceed(home: Home) -> list[object]:
    happenings: list[object] = list(home.proceed())
    home.check()
    return happenings


def a_home(*others: int) -> Home:
    """One that has marks of the others, at 1."""
    home = Home(HOME, "DEMO", 1 << 20)
    for other in others:
        home.add_other(other, 0)
        hears(home, other, 1)
        home.hear(Mark(other, 1))
    proceed(home)
    return home


def answer(number: int) -> bytes:
    return encode(ouch.MassCancelResponse(1, number, ouch.NO_FIRM, ALL_SYMBOLS))


def test_another_list_comes_in_where_a_mark_says_so_and_as_far() -> None:
    home = a_home(OTHER)
    hears(home, OTHER, 9, told(ALICE, (5, b"o5"), (7, b"o7")), told(BOB, (6, b"o6")))
    home.hear(own(told(ALICE, (3, b"h3"))))
    assert proceed(home) == [ToldClients([ALICE])]
    assert stream(home) == [b"h3"]
    home.hear(Mark(OTHER, 6))
    home.hear(own(told(ALICE, (4, b"h4"))))
    proceed(home)
    assert stream(home) == [b"h3", b"o5", b"h4"]
    assert stream(home, BOB) == [b"o6"]
    assert home.wants_mark(OTHER)
    home.hear(Mark(OTHER, 9))
    proceed(home)
    assert stream(home) == [b"h3", b"o5", b"h4", b"o7"]
    assert not home.wants_mark(OTHER)


def test_who_lags_in_another_list_waits_at_its_mark() -> None:
    home = a_home(OTHER)
    hears(home, OTHER, 5, told(ALICE, (5, b"o5")))
    home.hear(Mark(OTHER, 6))
    home.hear(own(told(ALICE, (4, b"h4"))))
    assert proceed(home) == []
    assert home.is_waiting
    hears(home, OTHER, 6, told(ALICE, (6, b"o6")))
    proceed(home)
    assert stream(home) == [b"o5", b"o6", b"h4"]
    assert not home.is_waiting


@given(
    cuts=st.lists(st.integers(1, 40), max_size=10),
    marks=st.lists(st.integers(2, 40), max_size=10),
)
def test_streams_are_the_same_however_the_lists_arrive(cuts: list[int], marks: list[int]) -> None:
    """One gateway hears both lists frame by frame, another one in any pieces."""
    ascending = sorted(set(marks))
    frames = [(n, b"o%d" % n) for n in range(2, 41)]
    one, other = a_home(OTHER), a_home(OTHER)
    for frame in frames:
        hears(one, OTHER, frame[0], told(ALICE, frame))
    for mark in ascending:
        one.hear(Mark(OTHER, mark))
        one.hear(own(told(ALICE, (mark, b"h%d" % mark))))
        other.hear(Mark(OTHER, mark))
        other.hear(own(told(ALICE, (mark, b"h%d" % mark))))
    proceed(one)
    begin = 0
    for cut in (*sorted(set(cuts)), 40):
        piece = [frame for frame in frames[begin:] if frame[0] <= cut]
        begin += len(piece)
        if piece:
            hears(other, OTHER, piece[-1][0], told(ALICE, *piece))
        proceed(other)
    assert stream(one) == stream(other)
    last = max(ascending, default=1)
    assert [each for each in stream(one) if each[:1] == b"o"] == [
        data for n, data in frames if n <= last
    ]


def test_the_first_mark_brings_all_that_the_list_has_had() -> None:
    home = Home(HOME, "DEMO", 1 << 20)
    home.add_other(OTHER, 0)
    assert home.wants_mark(OTHER)
    hears(home, OTHER, 9, told(ALICE, (5, b"o5"), (9, b"o9")))
    home.hear(Mark(OTHER, 6))
    proceed(home)
    assert stream(home) == [b"o5"]


def test_a_day_begins_once_the_marks_reach_it_in_every_shard() -> None:
    home = a_home(OTHER, THIRD)
    home.hear(own(told(ALICE, (3, b"h3"))))
    home.hear(Day(MONDAY, 4, {}))
    for shard in (OTHER, THIRD):
        hears(home, shard, 8, told(ALICE, (8, b"expired")))
        home.others[shard].begin_day(Day(MONDAY, 8, {}))
    home.hear(Mark(OTHER, 8))
    assert Turned(MONDAY) not in proceed(home)
    assert home.wants_mark(THIRD)
    home.hear(own(told(ALICE, (5, b"h5"))))
    home.hear(Mark(THIRD, 8))
    home.hear(own(told(ALICE, (6, b"h6"))))
    assert Turned(MONDAY) in proceed(home)
    assert stream(home) == [b"h6"]
    assert home.days.before is not None
    before = home.days.before.of(ALICE).read(1, 1 << 20).data
    assert before.count(b"expired") == 2
    assert b"h5" in before


def test_a_day_begun_elsewhere_waits_for_the_home() -> None:
    home = a_home(OTHER)
    hears(home, OTHER, 8)
    home.others[OTHER].begin_day(Day(MONDAY, 8, {}))
    home.hear(Mark(OTHER, 8))
    assert Turned(MONDAY) not in proceed(home)
    home.hear(Day(MONDAY, 4, {}))
    assert proceed(home) == [Turned(MONDAY)]


def test_a_home_alone_begins_its_day_at_once() -> None:
    home = a_home()
    home.hear(Day(MONDAY, 4, {}))
    assert proceed(home) == [Turned(MONDAY)]
    assert home.days.name == str(MONDAY)


def test_who_starts_from_snapshots_counts_from_where_the_day_begins() -> None:
    """Between the home's snapshot and that place, clients are told of the day before."""
    home = Home(HOME, "DEMO", 1 << 20)
    home.add_other(OTHER, 0)
    home.restore(Day(MONDAY, 2, {}), {OTHER: 3})
    assert proceed(home) == []  # it waits for the other list
    home.others[OTHER].restore(Day(MONDAY, 8, {}))
    home.hear(own(told(ALICE, (5, b"h5"))))
    home.hear(Mark(OTHER, 6))
    proceed(home)
    assert not home.is_known
    hears(home, OTHER, 9, told(ALICE, (9, b"o9")))
    home.hear(Mark(OTHER, 8))
    home.hear(Mark(OTHER, 9))
    assert Turned(MONDAY) in proceed(home)
    assert home.is_known
    assert stream(home) == [b"o9"]


def test_a_day_that_began_before_what_is_known_of_another_list_is_not_known() -> None:
    """The other shard is in the day after already: the next one is known again."""
    home = Home(HOME, "DEMO", 1 << 20)
    home.add_other(OTHER, 0)
    home.restore(Day(MONDAY, 2, {}), {OTHER: 3})
    home.others[OTHER].restore(Day(TUESDAY, 20, {}))
    home.hear(Mark(OTHER, 20))
    proceed(home)
    assert not home.is_known
    home.hear(Day(TUESDAY, 30, {}))
    assert Turned(TUESDAY) in proceed(home)
    assert home.is_known


def test_a_mark_from_before_what_is_known_makes_the_running_day_unknown() -> None:
    home = a_home(OTHER)
    home.others[OTHER].restore(Day(MONDAY, 20, {}))
    home.hear(Mark(OTHER, 20))
    proceed(home)
    assert not home.is_known


def test_a_mass_cancel_of_all_symbols_is_answered_by_the_last_shard() -> None:
    home = a_home(OTHER, THIRD)
    hears(home, OTHER, 5, told(ALICE, (4, answer(7)), (5, b"canceled")))
    hears(home, THIRD, 5, told(ALICE, (5, answer(7))))
    home.hear(Mark(OTHER, 5))
    proceed(home)
    assert stream(home) == [b"canceled"]
    home.hear(OwnMessages(with_answers_apart([told(ALICE, (9, answer(7)), (10, b"h10"))])))
    proceed(home)
    assert stream(home) == [b"canceled", b"h10"]
    home.hear(Mark(THIRD, 5))
    proceed(home)
    assert stream(home) == [b"canceled", b"h10", answer(7)]


def begin_monday(home: Home, *used: dict[int, int]) -> None:
    """The day begins at 10 in the home and at 8 elsewhere; `used` by the home, and by the other."""
    at_home, elsewhere = used or ({}, {})
    home.hear(Day(MONDAY, 10, at_home))
    hears(home, OTHER, 8)
    home.others[OTHER].begin_day(Day(MONDAY, 8, elsewhere))
    home.hear(Mark(OTHER, 8))
    assert Turned(MONDAY) in proceed(home)


def test_a_mass_cancel_that_comes_to_one_shard_before_the_day_and_to_one_after_it() -> None:
    """Whoever was there before the day says the same as who starts with it."""
    whole = a_home(OTHER)
    whole.hear(OwnMessages(with_answers_apart([told(ALICE, (9, answer(7)))])))
    begin_monday(whole, {ALICE: 7}, {ALICE: 3})
    late = Home(HOME, "DEMO", 1 << 20)
    late.add_other(OTHER, 0)
    late.restore(Day(MONDAY, 10, {ALICE: 7}), {OTHER: 1})
    late.others[OTHER].restore(Day(MONDAY, 8, {ALICE: 3}))
    late.hear(Mark(OTHER, 8))
    for home in (whole, late):
        hears(home, OTHER, 9, told(ALICE, (9, answer(7))))
        home.hear(Mark(OTHER, 9))
        proceed(home)
        assert stream(home) == [answer(7)]
    assert whole.days.before is not None
    assert whole.days.before.of(ALICE).next_sequence == 1


def test_a_mass_cancel_that_a_shard_has_passed_over_is_answered_with_the_day() -> None:
    home = a_home(OTHER)
    home.hear(OwnMessages(with_answers_apart([told(ALICE, (9, answer(7)))])))
    begin_monday(home, {ALICE: 7}, {ALICE: 8})
    assert home.days.before is not None
    assert answer(7) in home.days.before.of(ALICE).read(1, 1 << 20).data


def test_what_waits_is_counted_in_bytes() -> None:
    home = a_home(OTHER)
    other = home.others[OTHER]
    messages: Iterable[Told] = (told(ALICE, (5, b"five"), (6, b"six")), told(BOB, (7, b"seven")))
    hears(home, OTHER, 9, *messages)
    whole = other.size_bytes
    home.hear(Mark(OTHER, 5))
    proceed(home)
    assert 0 < other.size_bytes < whole
    home.hear(Mark(OTHER, 9))
    proceed(home)
    assert other.size_bytes == 0
    assert not other.has_messages
