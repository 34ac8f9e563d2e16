"""The gateway's logic, in virtual time, with a real machine behind it."""

import pytest

from feed.datagrams import encode_decision
from feed.messages import CancelReason
from gateway import ouch
from gateway.closing import ClosingReason
from gateway.rejects import GatewayReject
from gateway.soup import (
    ClientHeartbeat,
    Debug,
    EndOfSession,
    LoginAccepted,
    LogoutRequest,
    SequencedData,
    UnsequencedData,
)
from tests.gateway.exchange import (
    CLIENTS,
    SHARD,
    WALL_CLOCK_NS,
    Exchange,
    enter,
    letters,
    messages,
)
from tests.gateway.groups import ALICE, SYMBOL
from tests.gateway.situations import cancels_on_disconnect, limited, live_orders
from tests.gateway.twins import EVERY_KERNEL

pytestmark = EVERY_KERNEL


def test_an_order_is_answered_by_what_the_feed_committed() -> None:
    exchange = Exchange()
    alice = exchange.open()
    assert alice.news == [LoginAccepted("DEMO", 1)]
    alice.send(enter(1))
    (accepted,) = messages(alice.news)
    assert accepted == ouch.Accepted(
        WALL_CLOCK_NS, 1, ord("B"), 100, SYMBOL, 10_000, ord("0"), ord("Y"), 4, ord("A"),
        ord("N"), ord("N"), ord("L"), b" " * 14,
    )  # fmt: skip
    exchange.gateways[0].reads_feed = False
    alice.send(enter(2))
    assert alice.news == []
    exchange.gateways[0].reads_feed = True
    exchange.settle()
    assert letters(alice.news) == "A"


def test_two_clients_trade_and_each_gets_its_own_numbered_messages() -> None:
    exchange = Exchange(gateways=2)
    alice, bob = exchange.open("ALICE", 0), exchange.open("BOB", 1)
    alice.send(enter(1, "B"))
    bob.send(enter(1, "S", 150))
    assert letters(alice.news) == "AE"
    assert letters(bob.news) == "AE"


def test_clients_stay_connected_while_the_primary_is_away_and_nothing_is_lost_or_done_twice() -> (
    None
):
    exchange = Exchange()
    node = exchange.gateways[0]
    alice = exchange.open()
    exchange.decides = False
    alice.send(enter(1))  # sequenced, but the decision does not come back
    node.lose_primary()
    alice.send(enter(2), enter(3))
    alice.send(ClientHeartbeat().encode())
    exchange.decides = True
    node.connect()
    assert letters(alice.news) == "AAA"
    assert live_orders(exchange) == 3
    assert exchange.primary.not_admitted == 1
    assert exchange.shard.uplink.pending_count == 0


@pytest.mark.parametrize("way", ["hang up", "log out", "dead link", "bad packet", "stop"])
def test_orders_are_canceled_at_the_end_of_the_session_where_the_client_wants_it(way: str) -> None:
    exchange = Exchange(gateways=2)
    cancels_on_disconnect(exchange)
    alice, bob = exchange.open("ALICE"), exchange.open("BOB")
    alice.send(enter(1), enter(2))
    bob.send(enter(1))
    match way:
        case "hang up":
            alice.hang_up()
        case "log out":
            alice.log_out()
        case "dead link":
            for _ in range(20):
                exchange.wait(1)
                bob.send(ClientHeartbeat().encode())
        case "bad packet":
            alice.send(b"rubbish")
        case "stop":
            exchange.gateway.stop(ClosingReason.GATEWAY_STOPS, exchange.now_ns)
            exchange.settle()
    assert live_orders(exchange) == 1
    resumed = exchange.open("ALICE", gateway=1)
    told = messages(resumed.news)
    assert [type(message) for message in told] == [ouch.Accepted] * 2 + [ouch.Canceled] * 2
    for message in told[2:]:
        assert isinstance(message, ouch.Canceled)
        assert message.reason == CancelReason.LINK_LOST


def test_orders_stay_when_the_client_does_not_ask_for_cancels() -> None:
    exchange = Exchange()
    alice = exchange.open()
    alice.send(enter(1))
    alice.hang_up()
    assert live_orders(exchange) == 1


def test_orders_are_canceled_too_when_the_client_is_gone_before_its_log_in_is_committed() -> None:
    exchange = Exchange(gateways=2)
    cancels_on_disconnect(exchange)
    old = exchange.open(gateway=1)
    old.send(enter(1))
    exchange.gateways[0].reads_feed = False
    exchange.open(gateway=0).hang_up()
    assert old.session.closing is ClosingReason.SUPERSEDED
    exchange.gateways[0].reads_feed = True
    exchange.settle()
    assert live_orders(exchange) == 0
    exchange.gateway.check()


def test_clients_wait_when_the_primary_does_not_keep_up_and_go_on_when_it_does() -> None:
    limits = limited(uplink={"pending": 10, "pending_per_client": 6})
    exchange = Exchange(settings=limits)
    alice, bob = exchange.open("ALICE"), exchange.open("BOB")
    exchange.decides = False
    alice.send(*(enter(number) for number in range(1, 21)))
    assert exchange.shard.uplink.pending_count == 6  # her share
    assert not alice.session.is_reading
    bob.send(*(enter(number) for number in range(1, 21)))
    assert exchange.shard.uplink.pending_count == 10
    assert not bob.session.is_reading
    exchange.wait(30)  # they could not say anything, so their silence does not count
    exchange.decides = True
    exchange.gateways[0].lose_primary()
    exchange.gateways[0].connect()
    assert letters(alice.news) == letters(bob.news) == "A" * 20
    assert alice.session.is_reading
    assert bob.session.is_reading


def test_a_stranger_can_log_in_while_others_wait_for_the_primary() -> None:
    exchange = Exchange(settings=limited(uplink={"pending": 4, "pending_per_client": 4}))
    alice = exchange.open("ALICE")
    exchange.decides = False
    alice.send(*(enter(number) for number in range(1, 11)))
    bob = exchange.open("BOB")
    assert bob.news == [LoginAccepted("DEMO", 1)]


def test_a_rate_belongs_to_the_client_and_not_to_its_connection() -> None:
    exchange = Exchange(settings=limited(sessions={"orders_per_second": 1, "orders_burst": 3}))
    line = exchange.open()
    line.send(*(enter(number) for number in range(1, 5)))
    line.log_out()
    line = exchange.open(sequence=0)
    line.send(enter(4))
    answer = line.news[-1]
    assert isinstance(answer, UnsequencedData)
    rejected = ouch.Rejected(WALL_CLOCK_NS, 4, GatewayReject.RATE_EXCEEDED, b" " * 14)
    assert messages([SequencedData(answer.payload)]) == [rejected]
    exchange.wait(1)
    line.send(enter(4))
    assert letters(line.news) == "A"


def test_a_client_s_own_rate_goes_before_the_gateway_s() -> None:
    exchange = Exchange(settings=limited(sessions={"orders_per_second": 1, "orders_burst": 1}))
    node = exchange.gateways[0]
    fast = CLIENTS["ALICE"].model_copy(update={"orders_burst": 5})
    node.clients = {"ALICE": fast}
    line = exchange.open()
    line.send(*(enter(number) for number in range(1, 11)))
    assert letters(line.news) == "A" * 5


def test_connections_beyond_the_limit_are_told_so_and_closed() -> None:
    exchange = Exchange(
        settings=limited(connections={"connections": 3, "strangers": 2, "strangers_per_host": 2})
    )
    exchange.open("ALICE")
    exchange.open("BOB")
    exchange.line()
    over = exchange.line()
    assert over.news == [Debug(ClosingReason.TOO_MANY_CONNECTIONS.text)]
    assert over.session.closing is ClosingReason.TOO_MANY_CONNECTIONS


def test_strangers_can_not_take_the_places_of_clients() -> None:
    limits = {"connections": 10, "strangers": 3, "strangers_per_host": 2}
    exchange = Exchange(settings=limited(connections=limits))
    lines = [exchange.line(host=host) for host in ("A", "A", "A", "B", "B", "C")]
    over = ClosingReason.TOO_MANY_STRANGERS
    assert [line.session.closing for line in lines] == [None, None, over, None, over, over]
    lines[0].log_in()
    assert exchange.line(host="B").session.closing is None  # there is a place again
    exchange.wait(11)
    assert exchange.line(host="B").session.closing is None  # strangers do not stay
    assert exchange.gateway.summary()["closed"] == {"too_many_strangers": 3, "log_in_timeout": 3}


def test_heartbeats_keep_a_quiet_session_alive_and_a_half_open_one_ends() -> None:
    exchange = Exchange()
    quiet, gone = exchange.open("ALICE"), exchange.open("BOB")
    quiet.news, gone.news  # noqa: B018
    for _ in range(20):
        exchange.wait(1)
        quiet.send(ClientHeartbeat().encode())
    assert 15 <= len(quiet.packets) <= 20
    assert quiet.session.closing is None
    assert gone.session.closing is ClosingReason.DEAD_LINK
    assert gone.news == [Debug(ClosingReason.DEAD_LINK.text)]


def test_a_slow_client_does_not_hold_up_the_others_and_can_resume() -> None:
    limits = limited(sessions={"output_bytes": 4096, "behind_bytes": 8192})
    exchange = Exchange(settings=limits)
    slow, quick = exchange.open("ALICE"), exchange.open("BOB")
    slow.takes = False
    slow.send(*(enter(number) for number in range(1, 301)))
    quick.send(enter(1, "S", price=20_000))
    assert slow.session.closing is ClosingReason.SLOW_CLIENT
    *early, last = slow.news
    assert last == Debug(ClosingReason.SLOW_CLIENT.text)
    assert letters(quick.news) == "A"
    count = len(letters(early))
    again = exchange.open("ALICE", sequence=count + 1)
    assert len(letters(again.news)) == 300 - count


def test_a_gateway_that_stops_ends_every_session_and_takes_no_more() -> None:
    exchange = Exchange()
    client, stranger = exchange.open(), exchange.line()
    client.news  # noqa: B018
    exchange.gateway.stop(ClosingReason.GATEWAY_STOPS, exchange.now_ns)
    exchange.settle()
    farewell = [Debug(ClosingReason.GATEWAY_STOPS.text), EndOfSession()]
    assert client.news == stranger.news == farewell
    assert exchange.line().news == farewell
    assert exchange.gateway.summary()["closed"] == {"gateway_stops": 3}


def test_the_summary_counts_what_happened() -> None:
    exchange = Exchange()
    line = exchange.open()
    line.send(enter(1), UnsequencedData(b"?").encode(), ClientHeartbeat().encode())
    line.send(LogoutRequest().encode())
    exchange.line().send(b"rubbish")
    assert exchange.gateway.summary() == {
        "sequence": 4,
        "day": 0,
        "connections": 2,
        "log_ins": 1,
        "sessions": 0,
        "closed": {"logged_out": 1, "bad_packet": 1},
        "packets": 5,
        "commands": 1,
        "refusals": {"unknown_message_type": 1},
        "heartbeats_sent": 0,
        "stream_messages": 1,
        "uplink": {
            "connections": 1,
            "submissions": 2,
            "resent": 0,
            "decisions": 2,
            "pending": 0,
        },
    }


def test_the_world_of_these_tests_has_alice_as_client_one() -> None:
    assert CLIENTS["ALICE"].number == ALICE


def test_the_shell_hears_of_it_when_a_client_is_to_be_read_no_more_and_when_again() -> None:
    exchange = Exchange(settings=limited(uplink={"pending_per_client": 2}))
    gateway, primary = exchange.gateway, exchange.primary
    alice = exchange.open()
    exchange.decides = False
    gateway.on_data(alice.session, enter(1) + enter(2) + enter(3), exchange.now_ns)
    assert gateway.take_changed() == [alice.session]
    assert not alice.session.is_reading
    exchange.settle()
    assert (letters(alice.news), alice.session.is_reading) == ("AA", False)
    decision = encode_decision(primary.decision(3))  # a log-in and two orders
    gateway.on_uplink_data(SHARD, decision, exchange.now_ns)
    assert gateway.take_changed() == [alice.session]
    assert alice.session.is_reading
