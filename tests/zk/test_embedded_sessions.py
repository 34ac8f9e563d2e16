"""The embedded server's sessions, under a clock that the test moves."""

import pytest
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]

from tests.zk.raw_client import NO_PASSWORD, create
from tests.zk.talking import (
    START,
    TICK_MS,
    Talker,
    after,
    connect_packet,
    events_to,
    new_server,
)
from zk.server import MOST_SESSIONS, HangUpError, Moment, Server

EPHEMERAL = 1
DELETED = 2
CHILD = 4
NO_NODE = -101


@pytest.mark.parametrize(
    ("timeout_ms", "ends_after_ms"),
    [(100, 150), (101, 150), (149, 150), (150, 200), (1_000, 1_050), (1, 150), (99_999, 60_050)],
)
def test_a_session_ends_on_the_first_tick_after_its_timeout(
    timeout_ms: int, ends_after_ms: int
) -> None:
    server = new_server()
    owner = Talker(server, 1, timeout_ms=timeout_ms)
    owner.ask(create("/node", b"", EPHEMERAL))
    output = server.expire(after(ends_after_ms - 1))
    assert (output.packets, output.closed) == ([], [])
    output = server.expire(after(ends_after_ms))
    assert (output.packets, output.closed) == ([], [1])
    server.check()
    again = Talker(server, 2, after(ends_after_ms), session=owner.session)
    assert (again.timeout_ms, again.session) == (0, (0, NO_PASSWORD))
    assert again.output.closed == [2]
    other = Talker(server, 3, after(ends_after_ms))
    assert other.ask(judge.Exists("/node", None)).error == NO_NODE


@pytest.mark.parametrize("request_", [judge.PingInstance, judge.Exists("/missing", None)])
def test_every_request_keeps_the_session_alive(request_: object) -> None:
    server = new_server()
    client = Talker(server, 1, timeout_ms=500)
    for elapsed_ms in range(0, 5_000, 450):
        assert server.expire(after(elapsed_ms)).closed == []
        client.ask(request_, after(elapsed_ms))
    assert server.expire(after(4_950 + 499)).closed == []
    assert server.expire(after(4_950 + 550)).closed == [1]


def test_a_session_without_a_connection_ends_in_time() -> None:
    server = new_server()
    owner, watcher = Talker(server, 1), Talker(server, 2, timeout_ms=9_000)
    owner.ask(create("/a", b"", EPHEMERAL))
    owner.ask(create("/b", b"", EPHEMERAL))
    watcher.ask(judge.Exists("/a", True))
    watcher.ask(judge.Exists("/b", True))
    watcher.ask(judge.GetChildren("/", True))
    server.disconnected(1)
    output = server.expire(after(1_000 + TICK_MS))
    assert output.closed == []
    assert events_to(2, output) == [(DELETED, "/a"), (CHILD, "/"), (DELETED, "/b")]
    root = watcher.ask(judge.GetChildren2("/", None))
    assert root.value[0] == ["zookeeper"]
    assert root.value[1].pzxid == root.zxid  # both went in one change


def test_a_resumed_session_has_its_whole_timeout_again() -> None:
    server = new_server()
    first = Talker(server, 1)
    server.disconnected(1)
    second = Talker(server, 2, after(900), session=first.session, timeout_ms=2_000)
    assert second.timeout_ms == 2_000
    assert server.expire(after(900 + 1_999)).closed == []
    assert server.expire(after(900 + 2_050)).closed == [2]


def test_the_end_of_a_replaced_connection_does_not_touch_the_session() -> None:
    server = new_server()
    first = Talker(server, 1)
    second = Talker(server, 2, session=first.session)
    assert second.output.closed == [1]
    server.disconnected(1)
    server.check()
    assert second.ask(create("/node", b"", EPHEMERAL)).error == 0
    assert second.ask(judge.Exists("/node", None)).value.ephemeralOwner == first.session[0]


def test_a_wrong_password_does_not_cut_the_owner_off() -> None:
    server = new_server()
    owner = Talker(server, 1)
    thief = Talker(server, 2, session=(owner.session[0], NO_PASSWORD))
    assert thief.timeout_ms == 0
    assert thief.output.closed == [2]
    assert owner.ask(judge.Exists("/", None)).error == 0


def test_passwords_differ_between_sessions_and_servers() -> None:
    server = new_server()
    other_server = Server(TICK_MS, b"another secret", START)
    sessions = [Talker(server, 1), Talker(server, 2), Talker(other_server, 1)]
    assert len({each.session[1] for each in sessions}) == len(sessions)


def test_a_server_that_starts_anew_serves_clients_of_the_one_before() -> None:
    first = new_server()
    client = Talker(first, 1)
    zxid = client.ask(create("/node")).zxid
    second = Server(TICK_MS, b"another secret", after(1))
    again = Talker(second, 1, after(1), session=client.session, last_zxid=zxid)
    assert again.timeout_ms == 0  # its session is over, but it is not sent away
    new = Talker(second, 2, after(1), last_zxid=zxid)
    assert new.session[0] not in (0, client.session[0])
    assert new.ask(judge.Exists("/node", None)).error == NO_NODE


def test_a_client_that_has_seen_more_than_this_server_is_sent_away() -> None:
    server = new_server()
    zxid = Talker(server, 1).ask(judge.Exists("/", None)).zxid
    with pytest.raises(HangUpError):
        server.receive(2, connect_packet(last_zxid=zxid + 1), START)
    Talker(server, 3, last_zxid=zxid)


def test_sessions_have_a_bound() -> None:
    server = new_server()
    for connection in range(MOST_SESSIONS):
        server.receive(connection, connect_packet(timeout_ms=100), START)
        server.disconnected(connection)
    with pytest.raises(HangUpError):
        server.receive(MOST_SESSIONS, connect_packet(), START)
    server.expire(after(10_000))
    server.check()
    Talker(server, MOST_SESSIONS + 1, after(10_000))


def test_times_in_a_stat_are_those_of_the_wall() -> None:
    server = new_server()
    client = Talker(server, 1)
    later = Moment(START.monotonic_ms, START.wall_ms + 77)
    client.ask(create("/node"))
    stat = client.ask(judge.SetData("/node", b"", -1), later).value
    assert (stat.ctime, stat.mtime) == (START.wall_ms, later.wall_ms)
