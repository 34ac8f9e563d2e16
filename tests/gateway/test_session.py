from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.datagrams import decode_submissions
from feed.messages import CancelOrder, EnterOrder
from gateway import ouch
from gateway.closing import ClosingReason
from gateway.limits import SECOND_NS, Rate
from gateway.ouch_codec import decode_outbound, encode
from gateway.rejects import GatewayReject
from gateway.session import UNREAD_LIMIT_BYTES, Phase, Session, SessionCounters
from gateway.settings import SessionLimits
from gateway.soup import (
    ClientHeartbeat,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
    SequencedData,
    ServerHeartbeat,
    ServerPacket,
    UnsequencedData,
    server_packets,
)
from gateway.streams import SEGMENT_BYTES, Stream
from gateway.translate import ClientCommand
from tests.gateway.groups import ALICE, SYMBOL, add
from tests.gateway.twins import EVERY_KERNEL
from tools.simulation.growth import containers

pytestmark = EVERY_KERNEL

LIMITS = SessionLimits(output_bytes=4096, behind_bytes=8192, orders_per_second=10, orders_burst=5)
WALL_CLOCK_NS = 1_700_000_000_000_000_000
ROOM = 1000
REQUEST = LoginRequest("alice", "alice-pass", "", 1)


class Line:
    """A session, with a client that takes what it is sent unless it is told not to."""

    def __init__(self, limits: SessionLimits = LIMITS) -> None:
        self.counters = SessionCounters()
        self.session = Session("10.0.0.1", limits, self.counters, lambda: WALL_CLOCK_NS, 0)
        self.stream = Stream(1 << 20)
        self.rate = Rate(1000, 1000)
        self.last_user_ref_num = 0
        self.buffered_bytes = 0
        self.takes = True
        self._reader = server_packets()

    def send(self, *packets: bytes, room: int = ROOM, now_ns: int = 0) -> list[ClientCommand]:
        self.session.receive(b"".join(packets), now_ns)
        return self.commands(room, now_ns)

    def commands(self, room: int, now_ns: int) -> list[ClientCommand]:
        """What there is to be submitted."""
        data, count = self.session.take_submissions(room, now_ns)
        submissions = decode_submissions(data)
        assert len(submissions) == count <= max(room, 0)
        assert all(login == self.session.login for login, _ in submissions)
        return [cast(ClientCommand, command) for _, command in submissions]

    def open(self, sequence: int = 1, now_ns: int = 0) -> list[ServerPacket]:
        self.send(LoginRequest("ALICE", "alice-pass", "DEMO", sequence).encode(), now_ns=now_ns)
        assert self.session.take_log_in_request() is not None
        self.session.accept(
            ALICE, "DEMO", self.stream, self.rate, lambda: self.last_user_ref_num, now_ns
        )
        return self.received(now_ns)

    def received(self, now_ns: int = 0) -> list[ServerPacket]:
        data = self.session.take_output(self.buffered_bytes, now_ns)
        if not self.takes:
            self.buffered_bytes += len(data)
        return list(self._reader.take(data))


def enter(user_ref_num: int, quantity: int = 100) -> bytes:
    message = ouch.EnterOrder(user_ref_num, ord("B"), quantity, SYMBOL, 10_000, ord("0"))
    return UnsequencedData(encode(message)).encode()


def cancel(user_ref_num: int) -> bytes:
    return UnsequencedData(encode(ouch.CancelOrder(user_ref_num, 0))).encode()


def numbers(commands: Sequence[ClientCommand]) -> list[int]:
    return [command.user_ref_num for command in commands]


def sequenced(packets: Sequence[ServerPacket]) -> list[bytes]:
    return [packet.payload for packet in packets if isinstance(packet, SequencedData)]


def refusals(packets: Sequence[ServerPacket]) -> list[tuple[int, int, int]]:
    found = []
    for packet in packets:
        assert isinstance(packet, UnsequencedData)
        message = decode_outbound(packet.payload)
        assert isinstance(message, ouch.Rejected)
        found.append((message.user_ref_num, message.reason, message.time_ns))
    return found


def test_a_log_in_request_is_handed_out_once_and_the_session_keeps_no_secret() -> None:
    line = Line()
    assert line.send(REQUEST.encode()) == []
    assert line.session.phase is Phase.CHECKING
    assert line.session.user == "ALICE"
    assert not line.session.is_reading
    assert line.session.take_log_in_request() == REQUEST
    assert line.session.take_log_in_request() is None


def test_an_accepted_log_in_is_answered_with_the_number_that_comes_next() -> None:
    line = Line()
    for payload in (b"one", b"two", b"three"):
        add(line.stream, payload)
    assert line.open(sequence=2) == [
        LoginAccepted("DEMO", 2),
        SequencedData(b"two"),
        SequencedData(b"three"),
    ]
    add(line.stream, b"four")
    assert line.received() == [SequencedData(b"four")]
    assert line.session.next_sequence == 5


def test_number_0_asks_for_what_comes_next() -> None:
    line = Line()
    add(line.stream, b"one")
    assert line.open(sequence=0) == [LoginAccepted("DEMO", 2)]


def test_a_number_beyond_the_next_is_refused_with_the_reason() -> None:
    line = Line()
    add(line.stream, b"one")
    assert line.open(sequence=3) == [
        Debug(ClosingReason.SEQUENCE_TOO_HIGH.text),
        LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
    ]
    assert line.session.closing is ClosingReason.SEQUENCE_TOO_HIGH


def test_a_number_that_is_no_longer_kept_is_refused_with_the_reason() -> None:
    line = Line()
    line.stream = Stream(SEGMENT_BYTES)
    for number in range(3000):
        add(line.stream, b"%060d" % number)
    assert line.open(sequence=1) == [
        Debug(ClosingReason.SEQUENCE_DROPPED.text),
        LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
    ]
    assert line.session.closing is ClosingReason.SEQUENCE_DROPPED


def test_commands_come_out_whole_however_their_bytes_were_split() -> None:
    data = b"".join((enter(1), ClientHeartbeat().encode(), cancel(1), enter(2)))
    whole = Line()
    whole.open()
    expected = whole.send(data)
    assert numbers(expected) == [1, 1, 2]
    assert [type(command) for command in expected] == [EnterOrder, CancelOrder, EnterOrder]
    split = Line()
    split.open()
    pieces = [split.send(data[i : i + 1]) for i in range(len(data))]
    assert [command for piece in pieces for command in piece] == expected
    assert (whole.counters.packets, whole.counters.commands) == (5, 3)


def test_a_session_whose_day_is_over_is_read_again_and_what_comes_is_dropped() -> None:
    line = Line()
    line.open()
    assert numbers(line.send(enter(1), enter(2), room=1)) == [1]
    assert not line.session.is_reading
    for _ in range(100):
        add(line.stream, b"x" * 100)
    line.session.end_day("NEXT", 0)
    assert line.session.is_reading
    held = dict(containers(line.session))
    assert line.send(enter(3), LogoutRequest().encode()) == []
    assert dict(containers(line.session)) == held
    assert len(sequenced(line.received())) < 100
    assert line.session.phase is Phase.ENDING


def test_what_is_sent_behind_the_log_in_waits_until_that_is_answered() -> None:
    line = Line()
    assert line.send(REQUEST.encode(), enter(1), enter(2)[:20]) == []
    assert line.send(enter(2)[20:], enter(3)) == []
    line.session.accept(ALICE, "DEMO", line.stream, line.rate, lambda: 0, 0)
    assert numbers(line.commands(ROOM, 0)) == [1, 2, 3]


def test_what_is_sent_behind_a_refused_log_in_is_never_looked_at() -> None:
    line = Line()
    line.send(REQUEST.encode(), enter(1))
    line.session.close(ClosingReason.NOT_AUTHORISED, 0)
    assert line.commands(ROOM, 0) == []
    assert line.received() == [
        Debug(ClosingReason.NOT_AUTHORISED.text),
        LoginRejected(LoginRejectReason.NOT_AUTHORISED),
    ]


def test_who_goes_on_sending_when_it_is_not_read_is_cut_off() -> None:
    line = Line()
    line.send(REQUEST.encode())
    line.send(bytes(UNREAD_LIMIT_BYTES))
    assert line.session.closing is None
    line.send(b"x")
    assert line.session.closing is ClosingReason.TOO_MUCH_UNREAD


def test_without_room_a_session_is_held_and_goes_on_where_it_was() -> None:
    line = Line()
    line.open()
    assert numbers(line.send(enter(1), enter(2), enter(3), room=2)) == [1, 2]
    assert (line.session.is_held, line.session.is_reading) == (True, False)
    assert line.commands(0, 0) == []
    assert numbers(line.send(enter(4), room=0)) == []
    assert numbers(line.commands(ROOM, 0)) == [3, 4]
    assert (line.session.is_held, line.session.is_reading) == (False, True)


def test_what_stands_between_orders_makes_no_more_room_for_them() -> None:
    line = Line()
    line.open()
    heartbeat, unreadable = ClientHeartbeat().encode(), UnsequencedData(b"?").encode()
    packets = (enter(1), heartbeat, enter(2), unreadable, enter(3), enter(4))
    assert numbers(line.send(*packets, room=3)) == [1, 2, 3]
    assert line.session.is_held
    assert numbers(line.commands(ROOM, 0)) == [4]
    assert line.counters.packets == 1 + len(packets)


def test_a_session_that_is_held_is_not_taken_for_dead() -> None:
    line = Line()
    line.open()
    line.send(enter(1), room=1)
    line.session.on_time(1000 * SECOND_NS)
    assert line.session.closing is None
    line.commands(ROOM, 1000 * SECOND_NS)
    line.session.on_time(1000 * SECOND_NS + LIMITS.dead_link_ns - 1)
    assert line.session.closing is None
    line.session.on_time(1000 * SECOND_NS + LIMITS.dead_link_ns)
    assert line.session.closing is ClosingReason.DEAD_LINK


def test_a_message_that_is_not_ouch_is_refused_and_the_next_one_is_taken() -> None:
    line = Line()
    line.open()
    assert numbers(line.send(UnsequencedData(b"?what").encode(), enter(1))) == [1]
    unknown = GatewayReject.UNKNOWN_MESSAGE_TYPE
    assert refusals(line.received()) == [(0, unknown, WALL_CLOCK_NS)]
    assert line.counters.refusals == {"unknown_message_type": 1}


def test_too_many_orders_are_refused_one_by_one_and_cancels_are_not() -> None:
    line = Line()
    line.rate = Rate(10, 2)
    line.open()
    taken = line.send(enter(1), enter(2), enter(3), cancel(1), enter(4))
    assert numbers(taken) == [1, 2, 1]
    exceeded = GatewayReject.RATE_EXCEEDED
    assert refusals(line.received()) == [
        (3, exceeded, WALL_CLOCK_NS),
        (4, exceeded, WALL_CLOCK_NS),
    ]
    assert numbers(line.send(enter(3), now_ns=SECOND_NS // 10)) == [3]  # the number is still free
    assert line.counters.refusals == {"rate_exceeded": 2}


def test_a_client_is_told_its_next_user_ref_num() -> None:
    line = Line()
    line.last_user_ref_num = 41
    line.open()
    line.send(UnsequencedData(encode(ouch.AccountQuery())).encode())
    (answer,) = line.received()
    assert isinstance(answer, UnsequencedData)
    assert decode_outbound(answer.payload) == ouch.AccountQueryResponse(WALL_CLOCK_NS, 42)


def test_a_flood_of_refused_messages_ends_the_session() -> None:
    line = Line()
    line.open()
    line.send(UnsequencedData(b"?").encode() * 1000)
    assert line.session.closing is ClosingReason.TOO_MANY_ANSWERS
    assert line.counters.refusals["unknown_message_type"] < 200
    assert line.received()[-1] == Debug(ClosingReason.TOO_MANY_ANSWERS.text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", ClosingReason.BAD_PACKET),
        (b"\x00\x00", None),
        (b"\x00\x00L", ClosingReason.BAD_PACKET),
        (b"\xff\xffU", ClosingReason.BAD_PACKET),
        (SequencedData(b"x").encode(), ClosingReason.BAD_PACKET),
        (enter(1), ClosingReason.UNEXPECTED_PACKET),
        (LogoutRequest().encode(), ClosingReason.LOGGED_OUT),
        (ClientHeartbeat().encode() + Debug("hello").encode(), None),
    ],
)
def test_a_stranger_s_bytes_before_any_log_in(data: bytes, reason: ClosingReason | None) -> None:
    line = Line()
    assert line.send(data) == []
    assert line.session.closing is reason


def test_a_second_log_in_request_ends_the_session_after_the_commands_before_it() -> None:
    line = Line()
    line.open()
    assert numbers(line.send(enter(1), REQUEST.encode(), enter(2))) == [1]
    assert line.session.closing is ClosingReason.UNEXPECTED_PACKET


def test_bytes_that_are_no_packet_end_the_session_after_the_commands_before_them() -> None:
    line = Line()
    line.open()
    assert numbers(line.send(enter(1), b"\x00\x01?", enter(2))) == [1]
    assert line.session.closing is ClosingReason.BAD_PACKET
    (last,) = line.received()
    assert isinstance(last, Debug)
    assert last.text.startswith(ClosingReason.BAD_PACKET.text + " (")


def test_a_client_that_logs_out_has_its_commands_taken_first() -> None:
    line = Line()
    line.open()
    assert numbers(line.send(enter(1), LogoutRequest().encode())) == [1]
    assert line.session.closing is ClosingReason.LOGGED_OUT


def test_a_heartbeat_goes_out_after_each_second_of_silence() -> None:
    line = Line()
    line.open()
    beats = []
    for tenth in range(1, 31):
        now_ns = tenth * SECOND_NS // 10
        line.session.receive(b"", now_ns)
        if tenth == 5:
            add(line.stream, b"news")
        line.session.on_time(now_ns)
        beats += [(tenth, packet) for packet in line.received(now_ns)]
    assert beats == [
        (5, SequencedData(b"news")),
        (15, ServerHeartbeat()),
        (25, ServerHeartbeat()),
    ]
    assert line.counters.heartbeats_sent == 2


def test_who_does_not_take_what_it_was_sent_gets_no_heartbeats_on_top() -> None:
    line = Line()
    line.takes = False
    line.open()
    for second in range(1, 9):
        line.session.on_time(second * SECOND_NS)
        assert line.received(second * SECOND_NS) == []


def test_a_client_that_is_silent_for_too_long_is_dead() -> None:
    line = Line()
    line.open()
    line.send(ClientHeartbeat().encode(), now_ns=SECOND_NS)
    line.session.on_time(SECOND_NS + LIMITS.dead_link_ns - 1)
    assert line.session.closing is None
    line.session.on_time(SECOND_NS + LIMITS.dead_link_ns)
    assert line.session.closing is ClosingReason.DEAD_LINK


def test_who_does_not_log_in_is_closed_however_much_it_sends() -> None:
    line = Line()
    timeout_ns = LIMITS.log_in_timeout_ns
    line.send(ClientHeartbeat().encode(), now_ns=timeout_ns - 1)
    line.session.on_time(timeout_ns - 1)
    assert line.session.closing is None
    line.session.on_time(timeout_ns)
    assert line.session.closing is ClosingReason.LOG_IN_TIMEOUT


def test_a_log_in_that_is_not_committed_in_time_is_refused() -> None:
    line = Line()
    line.send(REQUEST.encode(), now_ns=SECOND_NS)
    line.session.on_time(SECOND_NS + LIMITS.log_in_timeout_ns)
    assert line.received() == [
        Debug(ClosingReason.LOG_IN_UNANSWERED.text),
        LoginRejected(LoginRejectReason.NO_SUCH_SESSION),
    ]


def test_a_client_gets_no_more_than_it_takes_and_the_rest_when_it_does() -> None:
    line = Line()
    line.open()
    line.takes = False
    for number in range(100):
        add(line.stream, b"%060d" % number)
    first = sequenced(line.received())
    assert 4096 <= len(first) * 63 < 4096 + 63
    assert sequenced(line.received()) == []
    line.buffered_bytes = 0
    line.takes = True
    assert first + sequenced(line.received()) == [b"%060d" % number for number in range(100)]
    assert line.session.closing is None


def test_a_client_that_falls_too_far_behind_is_disconnected_with_the_reason_and_can_resume() -> (
    None
):
    line = Line()
    line.open()
    line.takes = False
    got: list[ServerPacket] = []
    number = 0
    while line.session.closing is None:
        add(line.stream, b"%060d" % number)
        number += 1
        got += line.received()
    assert line.session.closing is ClosingReason.SLOW_CLIENT
    assert got[-1] == Debug(ClosingReason.SLOW_CLIENT.text)
    taken = len(sequenced(got))
    assert 63 * (number - taken) > LIMITS.behind_bytes >= 63 * (number - taken - 1)
    again = Line()
    again.stream = line.stream
    assert sequenced(again.open(sequence=taken + 1))[0] == b"%060d" % taken


def test_a_client_that_resumes_from_far_behind_is_not_slow_while_it_takes_what_it_gets() -> None:
    line = Line()
    for number in range(5000):
        add(line.stream, b"%060d" % number)
    got = sequenced(line.open())
    while len(got) < 5000:
        line.session.on_time(0)
        got += sequenced(line.received())
    assert got == [b"%060d" % number for number in range(5000)]
    assert line.session.closing is None


def test_a_client_that_takes_nothing_at_all_is_disconnected() -> None:
    line = Line()
    add(line.stream, b"news")
    line.takes = False
    line.open()
    line.send(ClientHeartbeat().encode(), now_ns=LIMITS.stalled_ns - 1)
    assert line.received(LIMITS.stalled_ns - 1) == []
    assert line.session.closing is None
    line.send(ClientHeartbeat().encode(), now_ns=LIMITS.stalled_ns)
    assert line.received(LIMITS.stalled_ns) == [Debug(ClosingReason.SLOW_CLIENT.text)]
    assert line.session.closing is ClosingReason.SLOW_CLIENT


def test_a_client_that_takes_a_little_now_and_then_is_not_stalled() -> None:
    line = Line()
    line.takes = False
    add(line.stream, b"news" * 100)
    line.open()
    for second in range(1, 60):
        now_ns = second * SECOND_NS
        line.send(ClientHeartbeat().encode(), now_ns=now_ns)
        line.buffered_bytes -= 1
        line.received(now_ns)
        line.session.on_time(now_ns)
    assert line.session.closing is None


def test_answers_that_a_client_does_not_take_are_bounded_too() -> None:
    line = Line()
    line.open()
    line.takes = False
    while line.session.closing is None:
        line.send(UnsequencedData(b"?").encode())
        line.received()
    assert line.session.closing is ClosingReason.SLOW_CLIENT
    assert line.buffered_bytes <= 2 * LIMITS.output_bytes + 200


def test_a_client_whose_next_message_is_not_kept_any_more_is_told_so() -> None:
    line = Line()
    line.stream = Stream(SEGMENT_BYTES)
    add(line.stream, b"first")
    line.takes = False
    line.buffered_bytes = LIMITS.output_bytes
    line.open()
    for number in range(3000):
        add(line.stream, b"%060d" % number)
    line.buffered_bytes = 0
    (last,) = line.received()
    assert isinstance(last, Debug)
    assert last.text.endswith("(its next message is not kept)")
    assert line.session.closing is ClosingReason.SLOW_CLIENT


def test_a_gateway_that_stops_says_that_the_session_is_over() -> None:
    line = Line()
    line.open()
    line.session.close(ClosingReason.GATEWAY_STOPS, 0)
    assert line.received() == [Debug(ClosingReason.GATEWAY_STOPS.text), EndOfSession()]


def test_the_first_reason_stays() -> None:
    line = Line()
    line.open()
    line.session.close(ClosingReason.SUPERSEDED, 0)
    line.session.close(ClosingReason.DISCONNECTED, 0)
    line.send(enter(1))
    assert line.session.closing is ClosingReason.SUPERSEDED
    assert line.received() == [Debug(ClosingReason.SUPERSEDED.text)]


PACKETS = st.one_of(
    st.sampled_from([enter(1), enter(2), cancel(1), ClientHeartbeat().encode(), REQUEST.encode()]),
    st.binary(max_size=30),
    st.binary(max_size=60).map(lambda payload: UnsequencedData(payload).encode()),
)


@given(
    pieces=st.lists(PACKETS, max_size=30),
    is_open=st.booleans(),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=10),
    room=st.integers(1, 5),
)
def test_hostile_bytes_raise_nothing_and_make_the_same_commands_however_they_are_cut(
    pieces: list[bytes], is_open: bool, cuts: list[int], room: int
) -> None:
    data = b"".join(pieces)
    whole, cut = Line(), Line()
    if is_open:
        whole.open()
        cut.open()
    expected = whole.send(data)
    commands: list[ClientCommand] = []
    turn = 0
    while data:
        size = cuts[turn % len(cuts)]
        commands += cut.send(data[:size], room=room)
        while cut.session.is_held:
            commands += cut.commands(room, 0)
        data = data[size:]
        turn += 1
    assert commands == expected
    assert cut.session.closing is whole.session.closing
    assert cut.received() == whole.received()
    if not is_open:
        assert commands == []
