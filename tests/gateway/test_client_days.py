"""A client's side of a new day: it has all of the old one first, and then follows."""

import pytest

from gateway import ouch
from gateway.client_errors import LinkFault, LoginRejected, SessionEnded
from gateway.client_session import ClientSession, Phase
from gateway.closing import ClosingReason, next_session, session_now
from gateway.events import Event, Rejected, SessionBegan
from gateway.rejects import GatewayReject
from gateway.soup import Debug, EndOfSession, LoginRejectReason, LoginRequest
from tests.gateway.exchange_side import (
    accept,
    accepted,
    account,
    canceled,
    executed,
    messages_in,
    numbered,
    reject,
    rejected,
    unnumbered,
)
from tests.gateway.test_client_session import SECOND_NS, Desk, events, order

SUNDAY, MONDAY = "20261122", "20261123"


def over(following: str) -> bytes:
    text = f"{ClosingReason.DAY_IS_OVER.text} ({session_now(following)})"
    return Debug(text).encode() + EndOfSession().encode()


def unknown(current: str = SUNDAY) -> bytes:
    text = f"{ClosingReason.UNKNOWN_SESSION.text} ({session_now(current)})"
    return reject(LoginRejectReason.NO_SUCH_SESSION, text)


def request(session: str, sequence: int) -> LoginRequest:
    return LoginRequest("ALICE", "secret", session, sequence)


def dropped(desk: Desk, data: bytes) -> list[Event]:
    """What came before the connection had to be dropped."""
    heard: list[Event] = []
    with pytest.raises(LinkFault):
        heard.extend(desk.session.receive(data, desk.now_ns))
    desk.session.disconnected()
    return heard


def resent(desk: Desk, next_user_ref_num: int) -> list[int]:
    """The numbers of the commands that are sent again once the next number is known."""
    desk.output()
    assert desk.receive(account(next_user_ref_num)) == []
    return [packet.user_ref_num for packet in messages_in(desk.output())]  # type: ignore[union-attr]


def test_a_session_that_ends_with_its_day_is_followed_into_the_next() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1, 2)
    told = dropped(desk, numbered(accepted(1), canceled(1, 100)) + over(SUNDAY))
    assert told == events(accepted(1), canceled(1, 100))
    assert desk.connect() == request(SUNDAY, 1)
    assert desk.receive(accept(1, SUNDAY)) == [SessionBegan(SUNDAY, "DEMO", False)]
    assert desk.receive(numbered(accepted(3))) == events(accepted(3))
    assert resent(desk, 2) == [2]
    assert desk.session.phase is Phase.OPEN
    assert (desk.session.session, desk.session.next_sequence) == (SUNDAY, 2)


def test_what_is_left_of_the_day_is_had_by_its_name_first() -> None:
    desk = Desk()
    desk.open()
    assert desk.receive(numbered(accepted(1))) == events(accepted(1))
    desk.session.disconnected()
    desk.session.submit(order(2))
    assert desk.connect() == request("DEMO", 2)
    # The query of the next number is not answered in a session that is over.
    rest = accept(2) + numbered(canceled(1, 100)) + over(SUNDAY)
    assert dropped(desk, rest) == events(canceled(1, 100), first_sequence=2)
    assert desk.connect() == request(SUNDAY, 1)
    assert desk.receive(accept(1, SUNDAY)) == [SessionBegan(SUNDAY, "DEMO", False)]
    assert resent(desk, 2) == [2]


def test_a_session_that_no_gateway_keeps_any_more_is_given_up_with_what_was_not_had_of_it() -> None:
    desk = Desk()
    desk.session = ClientSession("ALICE", "secret", gateway_count=2)
    desk.open()
    desk.enter(1, 2, 3)
    desk.session.disconnected()
    assert desk.connect() == request("DEMO", 1)
    assert dropped(desk, unknown()) == []
    assert desk.connect() == request("DEMO", 1)  # another gateway may have it
    assert dropped(desk, unknown()) == []
    assert desk.connect() == request("", 1)
    assert desk.receive(accept(1, SUNDAY)) == [SessionBegan(SUNDAY, "DEMO", True)]
    assert resent(desk, 3) == [3]
    # A refusal leaves no log-in in doubt: the next one that ends this session is not its own.
    desk.now_ns = 15 * SECOND_NS
    with pytest.raises(SessionEnded, match="logged in again"):
        desk.receive(Debug(ClosingReason.SUPERSEDED.text).encode())
    # What became of the first two was told in what was missed: nothing is made up of them.
    assert desk.receive(numbered(accepted(3))) == events(accepted(3))
    assert desk.session.unanswered.numbered_count == 0
    # The next day nothing is missed.
    assert dropped(desk, over(MONDAY)) == []
    desk.connect()
    assert desk.receive(accept(1, MONDAY)) == [SessionBegan(MONDAY, SUNDAY, False)]


def test_a_refusal_that_was_lost_with_the_old_day_is_told_in_the_new_one() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1, 2)
    dropped(desk, numbered(accepted(2)) + over(SUNDAY))
    desk.connect()
    desk.receive(accept(1, SUNDAY))
    assert resent(desk, 3) == [1]
    (lost,) = desk.receive(unnumbered(rejected(1, GatewayReject.NUMBER_PASSED)))
    assert isinstance(lost, Rejected)
    assert (lost.user_ref_num, lost.reason) == (1, GatewayReject.CONNECTION_LOST)
    assert desk.session.unanswered.numbered_count == 0


def test_what_was_missed_leaves_nothing_known_of_the_orders() -> None:
    desk = Desk()
    desk.open()
    desk.enter(1)
    desk.receive(numbered(accepted(1), executed(1, 100)))
    desk.session.disconnected()
    desk.connect()
    dropped(desk, unknown())
    desk.connect()
    assert desk.receive(accept(1, SUNDAY)) == [SessionBegan(SUNDAY, "DEMO", True)]
    desk.session.submit_cancel(ouch.CancelOrder(1, 0))
    assert resent(desk, 2) == [1]


def test_refusals_count_in_a_row() -> None:
    desk = Desk()
    desk.session = ClientSession("ALICE", "secret", gateway_count=2)
    desk.open()
    desk.session.disconnected()
    desk.connect()
    dropped(desk, unknown())
    desk.open()
    desk.session.disconnected()
    desk.connect()
    dropped(desk, unknown())
    assert desk.connect() == request("DEMO", 1)


def test_the_day_after_the_one_that_was_left_may_be_over_too() -> None:
    desk = Desk()
    desk.open()
    dropped(desk, over(SUNDAY))
    assert desk.connect() == request(SUNDAY, 1)
    told = dropped(desk, accept(1, SUNDAY) + numbered(accepted(1)) + over(MONDAY))
    assert told == [SessionBegan(SUNDAY, "DEMO", False), *events(accepted(1))]
    assert desk.connect() == request(MONDAY, 1)
    assert dropped(desk, unknown()) == []
    assert desk.connect() == request("", 1)
    assert desk.receive(accept(1, "20261130")) == [SessionBegan("20261130", SUNDAY, True)]


def test_a_gateway_that_has_not_read_as_far_is_asked_again_later() -> None:
    desk = Desk()
    desk.open()
    dropped(desk, over(SUNDAY))
    desk.connect()
    text = ClosingReason.CATCHING_UP.text
    assert dropped(desk, reject(LoginRejectReason.NO_SUCH_SESSION, text)) == []
    assert desk.connect() == request(SUNDAY, 1)


def test_a_client_that_asked_for_one_session_ends_with_it() -> None:
    desk = Desk(session="DEMO")
    desk.open()
    with pytest.raises(SessionEnded, match="the session is now 20261122"):
        desk.receive(over(SUNDAY))
    desk = Desk(session="DEMO")
    desk.open()
    desk.session.disconnected()
    desk.connect()
    with pytest.raises(SessionEnded, match="not any more"):
        desk.receive(unknown())
    desk = Desk(session="DEMO")
    desk.connect()
    with pytest.raises(LoginRejected, match="not any more"):
        desk.receive(unknown())


def test_a_gateway_that_stops_ends_no_day() -> None:
    desk = Desk()
    desk.open()
    farewell = Debug(ClosingReason.GATEWAY_STOPS.text).encode() + EndOfSession().encode()
    dropped(desk, farewell)
    assert desk.connect() == request("DEMO", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ClosingReason.SLOW_CLIENT.text,
        f"{ClosingReason.GATEWAY_STOPS.text} ({session_now(SUNDAY)})",
    ],
)
def test_only_a_day_that_is_over_is_followed(text: str) -> None:
    assert next_session(text) is None
    assert next_session(f"{ClosingReason.DAY_IS_OVER.text} ({session_now('X 1')})") == "X 1"
    assert next_session(ClosingReason.DAY_IS_OVER.text) == ""  # whichever it is
