"""The client's side of its session, under a clock of its own: log-in, stream, resume, time."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rejects import RejectReason
from feed.messages import Side, TimeInForce
from gateway import ouch
from gateway.client_errors import (
    ClientError,
    LinkFault,
    LoginRejected,
    ProtocolError,
    SessionEnded,
    UserRefNumsSpent,
)
from gateway.client_policy import ClientPolicy
from gateway.client_session import ClientSession, Phase
from gateway.closing import ClosingReason
from gateway.events import UNNUMBERED, Event, Rejected, to_event
from gateway.ouch_codec import encode
from gateway.rejects import GatewayReject
from gateway.soup import (
    ClientHeartbeat,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
    SequencedData,
    ServerHeartbeat,
    UnsequencedData,
)
from tests.gateway.exchange_side import (
    AAPL,
    TIME_NS,
    accept,
    accepted,
    account,
    canceled,
    executed,
    messages_in,
    numbered,
    packets_in,
    reject,
    rejected,
    unnumbered,
)

SECOND_NS = 1_000_000_000
QUERY = UnsequencedData(encode(ouch.AccountQuery()))


def order(user_ref_num: int) -> ouch.EnterOrder:
    return ouch.EnterOrder(user_ref_num, Side.BUY, 100, AAPL, 1_850_000, TimeInForce.DAY)


def events(*stream: ouch.Outbound, first_sequence: int = 1) -> list[Event]:
    return [to_event(message, first_sequence + i) for i, message in enumerate(stream)]


class Desk:
    """A session on a desk: tells what it sends and what it gives out, at a time that is set."""

    def __init__(self, next_sequence: int = 1, session: str = "") -> None:
        self.session = ClientSession(
            "ALICE", "secret", session=session, next_sequence=next_sequence
        )
        self.now_ns = 0

    def receive(self, data: bytes) -> list[Event]:
        return list(self.session.receive(data, self.now_ns))

    def output(self) -> bytes:
        return self.session.take_output(self.now_ns)

    def connect(self) -> LoginRequest:
        """A new connection; returns the log-in request that it begins with."""
        self.session.connected(self.now_ns)
        (request,) = packets_in(self.output())
        assert isinstance(request, LoginRequest)
        return request

    def open(self, sequence: int = 1, next_user_ref_num: int = 1) -> list[ouch.Inbound]:
        """A new connection, all the way; returns what was sent again."""
        self.connect()
        assert self.receive(accept(sequence)) == []
        assert packets_in(self.output()) == [QUERY]
        assert self.receive(account(next_user_ref_num)) == []
        assert self.session.phase is Phase.OPEN
        return messages_in(self.output())

    def enter(self, *user_ref_nums: int) -> list[ouch.Inbound]:
        """Enters orders; returns what is sent at once."""
        for user_ref_num in user_ref_nums:
            self.session.submit(order(user_ref_num))
        return messages_in(self.output())


def test_a_log_in_asks_for_the_next_number_before_anything_is_sent() -> None:
    desk = Desk()
    phases = [desk.session.phase]
    assert desk.connect() == LoginRequest("ALICE", "secret", "", 1)
    phases.append(desk.session.phase)
    assert desk.receive(accept()) == []
    assert packets_in(desk.output()) == [QUERY]
    phases.append(desk.session.phase)
    desk.receive(account(42))
    phases.append(desk.session.phase)
    assert phases == [Phase.OFFLINE, Phase.LOGGING_IN, Phase.QUERYING, Phase.OPEN]
    assert desk.session.next_user_ref_num() == 42
    assert desk.enter(42, 43) == [order(42), order(43)]


def test_events_carry_their_numbers_and_count_on() -> None:
    desk = Desk()
    desk.open()
    stream = (accepted(1), executed(1, 40), canceled(1, 60))
    assert desk.receive(numbered(*stream)) == events(*stream)
    assert desk.session.next_sequence == 4


def test_a_client_that_asks_for_what_comes_next_learns_where_that_is() -> None:
    desk = Desk(next_sequence=0)
    assert desk.connect().sequence == 0
    desk.receive(accept(501))
    assert desk.session.next_sequence == 501
    assert desk.receive(numbered(accepted(9))) == events(accepted(9), first_sequence=501)


def test_a_resume_asks_for_the_number_after_the_last_event_in_the_same_session() -> None:
    desk = Desk()
    desk.open()
    desk.receive(numbered(accepted(1), executed(1, 10)))
    desk.session.disconnected()
    assert desk.connect() == LoginRequest("ALICE", "secret", "DEMO", 3)


def test_a_message_cut_off_with_its_connection_is_asked_for_again() -> None:
    desk = Desk()
    desk.open()
    stream = numbered(accepted(1), executed(1, 10))
    assert desk.receive(stream[:-5]) == events(accepted(1))
    desk.session.disconnected()
    assert desk.connect().sequence == 2
    desk.receive(accept(2))
    assert desk.receive(numbered(executed(1, 10))) == events(executed(1, 10), first_sequence=2)


def test_what_is_delivered_again_after_a_resume_is_given_out_once() -> None:
    desk = Desk()
    desk.open()
    stream = (accepted(1), executed(1, 10), executed(1, 20), canceled(1, 70))
    assert desk.receive(numbered(*stream[:2])) == events(*stream[:2])
    desk.session.disconnected()
    desk.open(sequence=1, next_user_ref_num=2)
    assert desk.receive(numbered(*stream)) == events(*stream[2:], first_sequence=3)


@settings(deadline=None)
@given(st.data())
def test_the_stream_is_given_out_once_and_whole_however_connections_break(
    data: st.DataObject,
) -> None:
    stream = tuple(accepted(number) for number in range(1, 20))
    desk = Desk()
    got: list[Event] = []
    while len(got) < len(stream):
        desk.session.disconnected()
        asked = desk.connect().sequence
        first = data.draw(st.integers(1, asked), "first number sent")
        sent = accept(first) + numbered(*stream[first - 1 :])
        cut = data.draw(st.integers(0, len(sent)), "cut")
        got += desk.receive(sent[: cut or len(sent)])
    assert got == events(*stream)


def test_commands_without_an_answer_are_sent_again_in_their_order() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1, 2, 3)
    desk.session.submit_cancel(ouch.CancelOrder(2, 50))
    desk.receive(numbered(accepted(1)))
    desk.session.disconnected()
    assert desk.enter(4) == []  # waits for the next connection
    again = desk.open(sequence=2, next_user_ref_num=2)
    assert again == [order(2), order(3), ouch.CancelOrder(2, 50), order(4)]


def test_commands_are_sent_again_whether_or_not_a_list_has_them() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1, 2, 3)
    desk.session.disconnected()
    assert desk.open(next_user_ref_num=3) == [order(1), order(2), order(3)]
    stream = (accepted(1), accepted(2), accepted(3))
    assert desk.receive(numbered(*stream)) == events(*stream)
    desk.session.disconnected()
    assert desk.open(sequence=4, next_user_ref_num=4) == []


def test_numbers_go_on_after_the_largest_that_anybody_knows_of() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1, 2)
    desk.session.disconnected()
    desk.open(next_user_ref_num=2)  # 2 is not in a list yet
    assert desk.session.next_user_ref_num() == 3
    desk.session.disconnected()
    desk.open(next_user_ref_num=10)
    assert desk.session.next_user_ref_num() == 10


def test_nothing_is_sent_again_before_the_exchange_has_said_what_it_has() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    desk.session.disconnected()
    desk.connect()
    desk.receive(accept())
    desk.session.submit(order(2))
    assert packets_in(desk.output()) == [QUERY]
    desk.receive(account(1))
    assert messages_in(desk.output()) == [order(1), order(2)]


def test_a_refusal_by_the_gateway_has_no_number_and_is_not_sent_again() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    (event,) = desk.receive(unnumbered(rejected(1, GatewayReject.RATE_EXCEEDED)))
    rate = GatewayReject.RATE_EXCEEDED
    assert event == Rejected(UNNUMBERED, TIME_NS, 1, rate, rate.text, "")
    assert isinstance(event, Rejected)
    assert not event.sequenced
    assert desk.session.next_sequence == 1
    desk.session.disconnected()
    assert desk.open() == []


def test_a_refusal_by_the_machine_has_a_number() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    (event,) = desk.receive(numbered(rejected(1, RejectReason.HALTED)))
    assert event == Rejected(1, TIME_NS, 1, RejectReason.HALTED, RejectReason.HALTED.text, "")
    assert isinstance(event, Rejected)
    assert event.sequenced


PASSED = unnumbered(rejected(1, GatewayReject.NUMBER_PASSED))
TOO_FAST = unnumbered(rejected(1, GatewayReject.RATE_EXCEEDED))
LOST = GatewayReject.CONNECTION_LOST
TOLD_AS_LOST = Rejected(UNNUMBERED, TIME_NS, 1, LOST, LOST.text, "")


def resumed() -> Desk:
    """A desk that has sent two orders again, and has the answer to the second one."""
    desk = Desk()
    desk.open()
    desk.enter(1, 2)
    desk.session.disconnected()
    assert desk.open(next_user_ref_num=3) == [order(1), order(2)]
    assert desk.receive(numbered(accepted(2))) == events(accepted(2))
    return desk


def test_a_refusal_that_was_lost_with_its_connection_is_told_when_it_is_sure() -> None:
    desk = resumed()
    assert desk.session.unanswered.numbered_count == 1
    assert desk.receive(PASSED) == [TOLD_AS_LOST]
    assert desk.session.unanswered.numbered_count == 0
    assert desk.receive(PASSED) == []


def test_a_number_that_was_passed_the_first_time_is_refused_as_such() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    passed = GatewayReject.NUMBER_PASSED
    told = Rejected(UNNUMBERED, TIME_NS, 1, passed, passed.text, "")
    assert desk.receive(PASSED) == [told]
    desk.session.disconnected()
    assert desk.open() == []


def test_what_is_sent_again_too_fast_is_sent_once_more_and_not_told() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1, 2)
    desk.session.disconnected()
    desk.open(next_user_ref_num=1)
    too_fast = TOO_FAST + unnumbered(rejected(2, GatewayReject.RATE_EXCEEDED))
    desk.now_ns = SECOND_NS // 2
    assert desk.receive(too_fast) == []
    assert desk.receive(numbered(accepted(1))) == events(accepted(1))
    assert desk.receive(TOO_FAST) == []  # whatever becomes of it has been told
    assert desk.session.deadline_ns == SECOND_NS  # for a heartbeat
    desk.now_ns = SECOND_NS
    desk.session.on_time(desk.now_ns)
    assert packets_in(desk.output()) == [ClientHeartbeat()]
    desk.now_ns = SECOND_NS * 3 // 2
    assert desk.session.deadline_ns == desk.now_ns
    desk.session.on_time(desk.now_ns)
    assert messages_in(desk.output()) == [order(2)]
    desk.session.on_time(desk.now_ns + SECOND_NS - 1)
    assert desk.output() == b""


def test_what_is_put_off_is_sent_with_all_else_on_the_next_connection() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    desk.session.disconnected()
    desk.open()
    desk.receive(TOO_FAST)
    desk.session.disconnected()
    assert desk.open() == [order(1)]
    desk.session.on_time(2 * SECOND_NS)
    assert packets_in(desk.output()) == [ClientHeartbeat()]


def test_of_an_order_and_its_cancel_that_one_is_refused_is_found_out() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    cancel = ouch.CancelOrder(1, 0)
    desk.session.submit_cancel(cancel)
    desk.output()
    assert desk.receive(TOO_FAST) == []
    desk.now_ns = SECOND_NS
    desk.session.on_time(desk.now_ns)
    heartbeat, *again = packets_in(desk.output())
    assert heartbeat == ClientHeartbeat()
    assert again == [UnsequencedData(encode(message)) for message in (order(1), cancel)]
    assert desk.receive(numbered(accepted(1), canceled(1, 100)))[1:] == events(
        canceled(1, 100), first_sequence=2
    )
    assert desk.session.unanswered.numbers == set()


def test_an_order_that_is_refused_for_its_form_leaves_no_cancel() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    desk.session.submit_cancel(ouch.CancelOrder(1, 0))
    (event,) = desk.receive(unnumbered(rejected(1, GatewayReject.TWO_SYMBOLS)))
    assert isinstance(event, Rejected)
    assert event.reason is GatewayReject.TWO_SYMBOLS
    desk.session.disconnected()
    assert desk.open() == []


def test_user_ref_nums_come_to_an_end() -> None:
    desk = Desk()
    desk.open(next_user_ref_num=0)
    with pytest.raises(UserRefNumsSpent):
        desk.session.next_user_ref_num()


def test_a_heartbeat_is_sent_after_a_second_of_saying_nothing() -> None:
    desk = Desk()
    desk.open()
    assert desk.session.deadline_ns == SECOND_NS
    desk.now_ns = SECOND_NS // 2
    desk.enter(1)
    assert desk.session.deadline_ns == SECOND_NS * 3 // 2
    desk.now_ns = SECOND_NS * 3 // 2 - 1
    desk.session.on_time(desk.now_ns)
    assert desk.output() == b""
    desk.now_ns += 1
    desk.session.on_time(desk.now_ns)
    assert packets_in(desk.output()) == [ClientHeartbeat()]
    assert desk.session.deadline_ns == SECOND_NS * 5 // 2


def test_a_link_is_dead_after_fifteen_seconds_of_silence() -> None:
    desk = Desk()
    desk.open()
    for second in range(1, 15):
        desk.now_ns = second * SECOND_NS
        desk.session.on_time(desk.now_ns)
        assert packets_in(desk.output()) == [ClientHeartbeat()]
    assert desk.session.deadline_ns == 15 * SECOND_NS
    with pytest.raises(LinkFault, match="nothing was heard"):
        desk.session.on_time(15 * SECOND_NS)


def test_heartbeats_from_the_gateway_keep_a_link_alive() -> None:
    desk = Desk()
    desk.open()
    for second in range(1, 60):
        desk.now_ns = second * SECOND_NS
        assert desk.receive(ServerHeartbeat().encode()) == []
        desk.session.on_time(desk.now_ns)
        assert packets_in(desk.output()) == [ClientHeartbeat()]


def test_silence_says_nothing_while_the_connection_is_not_read() -> None:
    desk = Desk()
    desk.open()
    desk.session.on_time(100 * SECOND_NS, is_reading=False)
    desk.session.on_time(115 * SECOND_NS - 1)
    with pytest.raises(LinkFault):
        desk.session.on_time(115 * SECOND_NS)


@pytest.mark.parametrize("answers", [b"", accept()])
def test_a_log_in_that_is_not_answered_is_given_up(answers: bytes) -> None:
    desk = Desk()
    desk.connect()
    desk.receive(answers)
    for second in range(1, 15):
        desk.now_ns = second * SECOND_NS
        desk.receive(ServerHeartbeat().encode())
        desk.session.on_time(desk.now_ns)
    with pytest.raises(LinkFault, match="log-in"):
        desk.session.on_time(15 * SECOND_NS)


def test_a_long_replay_before_the_answer_is_not_taken_for_silence() -> None:
    desk = Desk()
    desk.connect()
    desk.receive(accept())
    for second in range(1, 100):
        desk.now_ns = second * SECOND_NS
        desk.receive(numbered(accepted(second)))
        desk.session.on_time(desk.now_ns)
    desk.receive(account(100))
    assert desk.session.phase is Phase.OPEN


def test_nothing_but_the_log_in_is_sent_until_it_is_answered() -> None:
    desk = Desk()
    desk.connect()
    desk.now_ns = 5 * SECOND_NS
    desk.session.on_time(desk.now_ns)
    assert desk.output() == b""


def test_an_offline_session_has_no_deadline() -> None:
    desk = Desk()
    assert desk.session.deadline_ns is None
    desk.open()
    desk.session.disconnected()
    assert desk.session.deadline_ns is None
    desk.session.on_time(100 * SECOND_NS)
    assert desk.output() == b""


def test_a_wrong_secret_is_said_to_the_user() -> None:
    desk = Desk()
    desk.connect()
    text = ClosingReason.NOT_AUTHORISED.text
    with pytest.raises(LoginRejected, match="no such client, or not its secret") as refused:
        desk.receive(reject(LoginRejectReason.NOT_AUTHORISED, text))
    assert refused.value.reason is LoginRejectReason.NOT_AUTHORISED


@pytest.mark.parametrize(
    "text",
    [
        "",
        ClosingReason.UNKNOWN_SESSION.text,
        ClosingReason.SEQUENCE_TOO_HIGH.text,
        ClosingReason.SEQUENCE_DROPPED.text,
    ],
)
def test_a_log_in_that_asks_for_what_there_is_not_is_refused_for_good(text: str) -> None:
    desk = Desk()
    desk.connect()
    with pytest.raises(LoginRejected) as refused:
        desk.receive(reject(LoginRejectReason.NO_SUCH_SESSION, text))
    assert refused.value.reason is LoginRejectReason.NO_SUCH_SESSION
    assert (text or refused.value.reason.text) in str(refused.value)


@pytest.mark.parametrize(
    "reason",
    [
        ClosingReason.CATCHING_UP,
        ClosingReason.LOG_IN_UNANSWERED,
        ClosingReason.LOG_IN_OVERTAKEN,
        ClosingReason.LOG_IN_NOT_ADMITTED,
        ClosingReason.SECRET_NOT_CHECKED,
    ],
)
def test_a_log_in_that_can_succeed_later_is_worth_another_connection(
    reason: ClosingReason,
) -> None:
    desk = Desk()
    desk.connect()
    assert reason.login_reject is not None
    with pytest.raises(LinkFault, match="try again"):
        desk.receive(reject(reason.login_reject, reason.text))


def test_another_log_in_of_the_client_ends_this_one_for_good() -> None:
    desk = Desk()
    desk.open()
    with pytest.raises(SessionEnded, match="logged in again"):
        desk.receive(Debug(ClosingReason.SUPERSEDED.text).encode())


def test_an_earlier_log_in_of_its_own_that_comes_late_is_no_reason_to_stop() -> None:
    desk = Desk()
    desk.connect()
    desk.session.disconnected()  # whether it came into the list nobody knows
    desk.open()
    superseded = Debug(ClosingReason.SUPERSEDED.text).encode()
    with pytest.raises(LinkFault):
        desk.receive(superseded)
    desk.session.disconnected()
    desk.now_ns = 15 * SECOND_NS - 1
    desk.open()
    with pytest.raises(LinkFault):
        desk.receive(superseded)  # its gateway has asked for it twice
    desk.session.disconnected()
    desk.open()
    desk.now_ns = 15 * SECOND_NS
    with pytest.raises(SessionEnded):
        desk.receive(superseded)


def test_an_earlier_log_in_may_come_any_time_later_but_only_once() -> None:
    desk = Desk()
    desk.connect()
    desk.session.disconnected()
    desk.now_ns = 1000 * SECOND_NS  # its gateway was stopped for so long
    desk.open()
    superseded = Debug(ClosingReason.SUPERSEDED.text).encode()
    with pytest.raises(LinkFault):
        desk.receive(superseded)
    desk.session.disconnected()
    desk.open()
    with pytest.raises(SessionEnded):
        desk.receive(superseded)


def test_another_session_than_before_can_not_be_resumed() -> None:
    desk = Desk()
    desk.open()
    desk.session.disconnected()
    desk.connect()
    with pytest.raises(SessionEnded, match="'NEXT'"):
        desk.receive(accept(1, session="NEXT"))


def test_the_end_of_a_gateway_is_a_reason_to_try_another_one() -> None:
    desk = Desk()
    desk.open()
    farewell = Debug(ClosingReason.GATEWAY_STOPS.text).encode() + EndOfSession().encode()
    with pytest.raises(LinkFault, match="the gateway stops"):
        desk.receive(numbered(accepted(1)) + farewell)
    desk.session.disconnected()
    assert desk.connect().sequence == 2


def test_events_before_a_fault_are_given_out() -> None:
    desk = Desk()
    desk.open()
    received = desk.session.receive(numbered(accepted(1)) + b"\x00\x01?", 0)
    assert next(received) == events(accepted(1))[0]
    with pytest.raises(LinkFault, match="not SoupBinTCP"):
        next(received)


@pytest.mark.parametrize(
    "data",
    [
        SequencedData(b"?").encode(),
        SequencedData(encode(executed(1, 1))[:-1]).encode(),
        numbered(executed(1, 1)._replace(liquidity=0)),
        numbered(accepted(1)._replace(side=0)),
        numbered(ouch.AccountQueryResponse(TIME_NS, 1)),
        unnumbered(accepted(1)),
        UnsequencedData(b"").encode(),
    ],
)
def test_a_stream_that_can_not_be_understood_stops_the_client(data: bytes) -> None:
    desk = Desk()
    desk.open()
    with pytest.raises(ProtocolError):
        desk.receive(data)


@pytest.mark.parametrize(
    "data",
    [
        numbered(accepted(1)),
        unnumbered(rejected(1, 1)),
        LoginAccepted("DEMO", 0).encode(),
        LoginAccepted("DEMO", 2).encode(),
        accept() + accept(),
        accept() + account(1) + account(1),
        accept() + reject(LoginRejectReason.NOT_AUTHORISED),
        accept() + unnumbered(rejected(0, GatewayReject.RATE_EXCEEDED)),
        EndOfSession().encode(),
    ],
)
def test_a_gateway_that_breaks_the_order_of_things_is_left(data: bytes) -> None:
    desk = Desk()
    desk.connect()
    with pytest.raises(LinkFault):
        desk.receive(data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", accept(), accept() + account(1)]))
def test_no_bytes_of_a_gateway_raise_anything_else(data: bytes, before: bytes) -> None:
    for payload in (data, UnsequencedData(data).encode(), SequencedData(data).encode()):
        desk = Desk()
        desk.connect()
        desk.receive(before)
        with contextlib.suppress(LinkFault, ClientError):
            desk.receive(payload)


def test_a_goodbye_is_a_logout_request() -> None:
    desk = Desk()
    desk.open()
    desk.session.log_out()
    assert packets_in(desk.output()) == [LogoutRequest()]


@pytest.mark.parametrize(
    ("user", "secret", "session", "next_sequence"),
    [
        ("ALICE-AND-BOB", "secret", "", 1),
        ("ALICE", "a longer secret", "", 1),
        ("ALICE", "secret", "EXCHANGE-NAME", 1),
        ("ALICE", "secret", "", -1),
    ],
)
def test_what_fits_no_log_in_request_is_refused_at_once(
    user: str, secret: str, session: str, next_sequence: int
) -> None:
    with pytest.raises(ValueError, match=r"longer than|sequence number"):
        ClientSession(user, secret, session=session, next_sequence=next_sequence)


def test_a_policy_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="unread_limit"):
        ClientPolicy(unread_limit=0)
