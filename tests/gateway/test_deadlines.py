"""Sessions are looked at in time, and only those whose time has come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.closing import ClosingReason
from gateway.deadlines import Deadlines
from gateway.gateway import GRAIN_NS, TICK_NS
from gateway.limits import SECOND_NS
from gateway.session import Session, SessionCounters
from gateway.settings import SessionLimits
from gateway.soup import ClientHeartbeat, Debug, ServerHeartbeat
from tests.gateway.exchange import Exchange, enter
from tests.gateway.situations import limited

GRAIN = 10


def session() -> Session:
    limits = SessionLimits(log_in_timeout_ns=1)
    return Session("10.0.0.1", limits, SessionCounters(), lambda: 0, 0)


def test_a_session_is_due_from_the_grain_of_its_time_on() -> None:
    deadlines, one, other = Deadlines(GRAIN), session(), session()
    deadlines.put(one, 25)
    deadlines.put(other, 31)
    assert deadlines.next_ns == 30
    assert deadlines.due(19) == []
    assert deadlines.due(20) == deadlines.due(29) == [one]
    assert deadlines.due(30) == [one, other]
    deadlines.put(one, 55)
    assert deadlines.due(50) == [other, one]
    deadlines.remove(other)
    deadlines.remove(other)
    assert deadlines.due(1000) == [one]
    deadlines.remove(one)
    assert deadlines.next_ns is None


@given(
    st.lists(
        st.tuples(st.sampled_from(("put", "remove", "look")), st.integers(0, 5), st.integers(0, 99))
    )
)
def test_each_session_stands_once_where_it_was_put_last(acts: list[tuple[str, int, int]]) -> None:
    deadlines = Deadlines(GRAIN)
    sessions = [session() for _ in range(6)]
    known: dict[Session, int] = {}
    for act, place, at_ns in acts:
        match act:
            case "put":
                deadlines.put(sessions[place], at_ns)
                known[sessions[place]] = at_ns
            case "remove":
                deadlines.remove(sessions[place])
                known.pop(sessions[place], None)
            case "look":
                due = {each for each, put_at in known.items() if put_at // GRAIN <= at_ns // GRAIN}
                assert set(deadlines.due(at_ns)) == due
        deadlines.check(dict.fromkeys(known), 99)


def test_an_idle_session_is_looked_at_once_for_each_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange = Exchange()
    alice = exchange.open()
    looked_at = []
    on_time = alice.session.on_time

    def noted(now_ns: int) -> None:
        looked_at.append(now_ns)
        on_time(now_ns)

    monkeypatch.setattr(alice.session, "on_time", noted)
    for _ in range(10):
        alice.send(ClientHeartbeat().encode())
        exchange.wait(1)
    heartbeats = [packet for packet in alice.packets if isinstance(packet, ServerHeartbeat)]
    assert 9 <= len(heartbeats) <= 10
    assert len(looked_at) <= len(heartbeats) + 2


def test_heartbeats_come_no_later_than_a_grain() -> None:
    exchange = Exchange()
    alice = exchange.open()
    exchange.wait(0.037)
    alice.send(ClientHeartbeat().encode())
    exchange.wait(1 + GRAIN_NS / SECOND_NS - 0.037)
    assert alice.packets[-1] == ServerHeartbeat()


def test_the_clock_is_looked_at_no_more_often_for_many_idle_clients() -> None:
    exchange = Exchange(settings=limited(sessions={"heartbeat_interval_ns": 50 * SECOND_NS}))
    for _ in range(20):
        exchange.line()
    exchange.gateway.on_time(5)
    assert exchange.gateway.deadline_ns == 5 + TICK_NS


def test_who_never_logs_in_and_who_falls_silent_are_still_found() -> None:
    exchange = Exchange()
    stranger, silent = exchange.line(), exchange.open("BOB")
    exchange.wait(10.02)
    assert stranger.news == [Debug("no log-in request came in time")]
    assert silent.session.closing is None
    exchange.wait(5)
    assert silent.session.closing is not None


def test_a_client_that_takes_nothing_is_looked_at_at_every_tick() -> None:
    exchange = Exchange(settings=limited(sessions={"stalled_ns": 3 * TICK_NS}))
    alice = exchange.open()
    alice.takes = False
    alice.send(enter(1))
    exchange.wait(0.29)
    assert alice.session.closing is None
    exchange.wait(0.12)
    assert alice.session.closing is ClosingReason.SLOW_CLIENT
