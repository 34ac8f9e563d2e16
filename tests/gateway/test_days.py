"""What a new day does to sessions, streams and those who log in."""

import pytest

from feed.messages import TimeInForce
from feed.snapshot import SnapshotError
from gateway import ouch
from gateway.closing import ClosingReason, session_now
from gateway.ouch import AccountQuery
from gateway.ouch_codec import decode_outbound, encode
from gateway.session import Phase
from gateway.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    SequencedData,
    ServerPacket,
    UnsequencedData,
)
from tests.gateway.exchange import CLIENTS, SHARD, Exchange, enter, letters, messages, stream_of
from tests.gateway.situations import cancels_on_disconnect, limited, live_orders, refused
from tests.gateway.twins import EVERY_KERNEL

pytestmark = EVERY_KERNEL

SUNDAY, MONDAY, TUESDAY = 20261122, 20261123, 20261124
GTC = TimeInForce.GOOD_TILL_CANCEL


def over(next_session: int) -> list[ServerPacket]:
    """The last that a client hears of a day."""
    return [
        Debug(f"{ClosingReason.DAY_IS_OVER.text} ({session_now(str(next_session))})"),
        EndOfSession(),
    ]


def no_such_session(current: int) -> list[ServerPacket]:
    return [
        Debug(f"{ClosingReason.UNKNOWN_SESSION.text} ({session_now(str(current))})"),
        LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
    ]


def next_user_ref_num(packets: list[ServerPacket]) -> int:
    (answer,) = (packet for packet in packets if isinstance(packet, UnsequencedData))
    message = decode_outbound(answer.payload)
    assert isinstance(message, ouch.AccountQueryResponse)
    return message.next_user_ref_num


def test_what_expires_is_the_last_of_the_day_and_then_its_sessions_end() -> None:
    exchange = Exchange()
    alice, bob = exchange.open("ALICE"), exchange.open("BOB")
    alice.send(enter(1), enter(2, price=9_000, time_in_force=GTC))
    assert [letters(line.news) for line in (alice, bob)] == ["AA", ""]
    exchange.begin_day(SUNDAY)
    expired, *end = alice.news
    assert [(m.user_ref_num, chr(m.reason)) for m in messages([expired])] == [(1, "E")]  # type: ignore[union-attr]
    assert end == bob.news == over(SUNDAY)
    assert alice.session.closing is bob.session.closing is ClosingReason.DAY_IS_OVER
    summary = exchange.gateway.summary()
    assert (summary["day"], summary["sessions"]) == (SUNDAY, 0)
    assert summary["closed"] == {"day_is_over": 2}
    assert live_orders(exchange) == 1


def test_streams_begin_anew_and_user_ref_nums_go_on() -> None:
    exchange = Exchange()
    exchange.open("ALICE").send(enter(1), enter(7, time_in_force=GTC))
    exchange.begin_day(SUNDAY)
    line = exchange.open("ALICE")
    line.send(UnsequencedData(encode(AccountQuery())).encode())
    accepted, *answer = line.news
    assert accepted == LoginAccepted(str(SUNDAY), 1)
    assert next_user_ref_num(answer) == 8
    exchange.open("BOB").send(enter(1, "S"))
    line.send(enter(8))
    assert letters(line.news) == "EA"  # the first is of the order that was entered yesterday
    executed, accepted_now = stream_of(exchange.gateways[0], "ALICE")
    assert (executed.user_ref_num, accepted_now.user_ref_num) == (7, 8)  # type: ignore[union-attr]


def test_a_day_that_is_refused_changes_nothing() -> None:
    exchange = Exchange()
    exchange.begin_day(MONDAY)
    line = exchange.open()
    line.send(enter(1))
    for day in (SUNDAY, MONDAY, 20261131):
        exchange.begin_day(day)
    line.send(enter(2))
    assert letters(line.news) == "AA"
    assert line.session.phase is Phase.OPEN
    assert exchange.shard.home.days.day == MONDAY


def test_a_new_day_is_no_reason_to_cancel_the_orders_of_those_whose_session_it_ends() -> None:
    exchange = Exchange(settings=limited(sessions={"output_bytes": 4096}))
    cancels_on_disconnect(exchange)
    line = exchange.open()
    line.send(*(enter(n, time_in_force=GTC) for n in range(1, 100)))
    exchange.begin_day(SUNDAY)
    assert live_orders(exchange) == 99
    slow = exchange.open(session=str(SUNDAY))
    slow.takes = False
    slow.send(*(enter(n, time_in_force=GTC) for n in range(100, 200)))
    exchange.begin_day(MONDAY)
    assert slow.session.phase is Phase.ENDING
    slow.hang_up()
    assert live_orders(exchange) == 199
    exchange.open().hang_up()  # in the new day it is, as ever
    assert live_orders(exchange) == 0


def test_a_slow_client_is_given_all_of_the_day_and_what_it_sends_is_dropped() -> None:
    exchange = Exchange(settings=limited(sessions={"output_bytes": 4096}))
    line = exchange.open()
    line.takes = False
    line.send(*(enter(n) for n in range(1, 101)))
    exchange.begin_day(SUNDAY)
    line.send(enter(101))
    assert line.session.phase is Phase.ENDING
    assert "Z" not in letters(line.news)
    line.takes, line.buffered_bytes = True, 0
    exchange.wait(0.2)
    news = line.news
    assert news[-2:] == over(SUNDAY)
    assert len(stream_of(exchange.gateways[0], "ALICE")) == 0
    again = exchange.open(session="DEMO")
    whole = again.news
    assert letters(whole) == "A" * 100 + "C" * 100
    assert news[:-2] == whole[-len(news) : -2]
    assert exchange.market.clients[1].last_user_ref_num == 100


def test_however_much_expires_with_the_day_nobody_falls_behind_for_that() -> None:
    limits = {"output_bytes": 4096, "behind_bytes": 4096}
    exchange = Exchange(settings=limited(sessions=limits))
    line = exchange.open()
    for first in range(1, 601, 40):
        line.send(*(enter(n) for n in range(first, first + 40)))
    exchange.begin_day(SUNDAY)
    news = line.news
    assert letters(news) == "A" * 600 + "C" * 600
    assert news[-2:] == over(SUNDAY)


def test_a_client_that_takes_nothing_of_the_day_s_rest_is_not_waited_for() -> None:
    exchange = Exchange(settings=limited(sessions={"output_bytes": 4096}))
    line = exchange.open()
    line.takes = False
    line.send(*(enter(n) for n in range(1, 101)))
    exchange.begin_day(SUNDAY)
    exchange.wait(9)
    assert line.session.phase is Phase.ENDING
    exchange.wait(2)
    assert line.session.closing is ClosingReason.SLOW_CLIENT


def test_a_client_whose_commands_wait_for_room_is_not_kept_waiting_at_the_day_s_end() -> None:
    exchange = Exchange(settings=limited(uplink={"pending": 4}))
    line = exchange.open()
    exchange.gateways[0].reaches_primary = False
    line.send(*(enter(n) for n in range(1, 9)))
    assert line.session.is_held
    exchange.begin_day(SUNDAY)
    assert line.news[-2:] == over(SUNDAY)
    exchange.gateways[0].reaches_primary = True
    exchange.settle()
    sent = exchange.market.clients[1].last_user_ref_num
    assert 0 < sent < 8
    assert len(stream_of(exchange.gateways[0], "ALICE")) == sent  # in the new day: none is lost


@pytest.mark.parametrize(
    ("session", "sequence", "expected"),
    [
        ("", 1, [LoginAccepted(str(SUNDAY), 1)]),
        (str(SUNDAY), 0, refused(ClosingReason.CATCHING_UP)),  # not read as far when it was asked
        ("", 2, refused(ClosingReason.SEQUENCE_TOO_HIGH)),
        ("DEMO", 3, [LoginAccepted("DEMO", 3), "C", *over(SUNDAY)]),
        ("DEMO", 4, [LoginAccepted("DEMO", 4), *over(SUNDAY)]),
        ("DEMO", 5, refused(ClosingReason.SEQUENCE_TOO_HIGH)),
    ],
)
def test_a_log_in_that_comes_after_the_new_day_in_the_list(
    session: str, sequence: int, expected: list[ServerPacket | str]
) -> None:
    exchange = Exchange()
    cancels_on_disconnect(exchange)
    exchange.open().send(enter(1), enter(2, time_in_force=GTC))
    node = exchange.gateways[0]
    node.reads_feed = False
    exchange.begin_day(SUNDAY)
    late = exchange.open(sequence=sequence, session=session)
    node.reads_feed = True
    exchange.settle()
    # Where it was at fault, it has ended what the client had before, and that is gone, too.
    is_gone = "requested number" in str(expected)
    assert live_orders(exchange) == (0 if is_gone else 1)
    told = [letters([each]) if isinstance(each, SequencedData) else each for each in late.news]
    assert told == expected


def test_a_log_in_that_comes_just_before_the_new_day_ends_with_the_day() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.reads_feed = False
    line = exchange.open()
    exchange.begin_day(SUNDAY)
    node.reads_feed = True
    exchange.settle()
    assert line.news == [LoginAccepted("DEMO", 1), *over(SUNDAY)]


def test_whose_secret_is_looked_at_while_the_day_begins_is_let_in_to_the_new_one() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.verifies = False
    blank, named, older = exchange.line(), exchange.line(), exchange.line()
    blank.log_in()
    named.log_in("BOB", session="DEMO")
    exchange.begin_day(SUNDAY)
    exchange.begin_day(MONDAY)
    older.log_in("BOB", session="DEMO")
    node.verifies = True
    exchange.settle()
    assert blank.news == [LoginAccepted(str(MONDAY), 1)]
    assert named.news == older.news == no_such_session(MONDAY)


def test_the_day_before_can_be_read_and_nothing_of_that_stands_in_the_list() -> None:
    exchange = Exchange(gateways=2)
    exchange.open().send(enter(1), enter(2))
    exchange.begin_day(SUNDAY)
    today = exchange.open(gateway=1)
    before = exchange.primary.last_sequence
    reader = exchange.open(sequence=2, session="DEMO")
    reader.send(enter(3))
    assert letters(reader.news) == "ACC"
    assert reader.session.closing is ClosingReason.DAY_IS_OVER
    assert exchange.open(sequence=0, session="DEMO").news == [
        LoginAccepted("DEMO", 5),
        *over(SUNDAY),
    ]
    assert exchange.primary.last_sequence == before
    assert today.session.phase is Phase.OPEN


def test_of_the_days_before_that_nothing_is_kept() -> None:
    exchange = Exchange(settings=limited(sessions={"output_bytes": 4096}))
    slow = exchange.open()
    slow.takes = False
    slow.send(*(enter(n) for n in range(1, 101)))
    exchange.begin_day(SUNDAY)
    assert slow.session.phase is Phase.ENDING
    exchange.begin_day(MONDAY)
    assert slow.session.closing is ClosingReason.SLOW_CLIENT
    for name in ("DEMO", "OTHER", "20261121"):
        assert exchange.open(session=name).news == no_such_session(MONDAY), name
    assert exchange.open(session=str(TUESDAY)).news == refused(ClosingReason.CATCHING_UP)
    assert exchange.open(session=str(SUNDAY)).news == [
        LoginAccepted(str(SUNDAY), 1),
        *over(MONDAY),
    ]
    assert exchange.open(session=str(MONDAY)).news == [LoginAccepted(str(MONDAY), 1)]


def test_two_gateways_have_the_same_streams_day_by_day() -> None:
    exchange = Exchange(gateways=2)
    for number, day in enumerate((SUNDAY, MONDAY), 1):
        exchange.open("ALICE").send(enter(number))
        exchange.open("BOB", gateway=1).send(enter(number, "S", 40, time_in_force=GTC))
        exchange.begin_day(day)
    for name, client in CLIENTS.items():
        one, other = (
            [days.before, days.current]
            for days in (node.shard.home.days for node in exchange.gateways)
        )
        for streams, same in zip(one, other, strict=True):
            assert streams is not None
            assert same is not None
            data = streams.of(client.number).read(1, 1 << 30)
            assert data == same.of(client.number).read(1, 1 << 30), name


def test_a_gateway_that_starts_late_knows_the_day_and_every_client_s_numbers() -> None:
    exchange = Exchange()
    exchange.open("ALICE").send(enter(5, time_in_force=GTC))
    exchange.begin_day(SUNDAY)
    early = exchange.open("ALICE")
    early.send(enter(6, price=9_000))
    late = exchange.start_gateway(late=True)
    exchange.settle()
    assert stream_of(late, "ALICE") == stream_of(exchange.gateways[0], "ALICE")
    assert late.digest.hex() == exchange.gateways[0].digest.hex()
    line = exchange.open("ALICE", gateway=1)
    line.send(UnsequencedData(encode(AccountQuery())).encode(), enter(7))
    *_, answer, accepted = line.news
    assert next_user_ref_num([answer]) == 7
    assert letters([accepted]) == "A"
    assert late.shard.uplink.pending_count == 0  # it knows the epoch that this is in
    # Of what was before it started it has nothing to show.
    assert exchange.open(gateway=1, session="DEMO").news == no_such_session(SUNDAY)


def test_a_gateway_that_catches_up_lets_nobody_in() -> None:
    exchange = Exchange()
    exchange.shard.is_catching_up = True
    assert exchange.open().news == refused(ClosingReason.CATCHING_UP)
    exchange.shard.is_catching_up = False
    assert exchange.open().news == [LoginAccepted("DEMO", 1)]


def test_a_snapshot_of_another_place_than_a_day_s_beginning_is_refused() -> None:
    exchange = Exchange()
    node = exchange.start_gateway()
    with pytest.raises(SnapshotError, match="no day begins after 2"):
        node.gateway.restore(SHARD, exchange.primary.snapshot())
    exchange.begin_day(SUNDAY)
    exchange.begin_day(SUNDAY)  # refused, so nothing begins here
    with pytest.raises(SnapshotError, match="no day begins after 5"):
        node.gateway.restore(SHARD, exchange.primary.snapshot())
    exchange.open().send(enter(1))
    exchange.open("BOB", gateway=1)
    exchange.begin_day(MONDAY)
    line = exchange.open("BOB", gateway=1)
    assert line.session.phase is Phase.OPEN
    with pytest.raises(SnapshotError, match="clients are being told"):
        node.gateway.restore(SHARD, exchange.primary.snapshot())
