"""Who is let in at a gateway, when, and whose session ends for it."""

from random import Random

import pytest

from feed.run import empty_run
from gateway import ouch
from gateway.closing import ClosingReason
from gateway.gateway import Gateway
from gateway.settings import GatewaySettings
from gateway.soup import (
    Debug,
    LoginAccepted,
    LoginRejectReason,
)
from tests.gateway.exchange import (
    CLIENTS,
    SETTINGS,
    SHARD,
    WALL_CLOCK_NS,
    Exchange,
    enter,
    letters,
    messages,
)
from tests.gateway.situations import cancels_on_disconnect, limited, live_orders, refused
from tests.gateway.twins import EVERY_KERNEL
from zk.directory import Directory

pytestmark = EVERY_KERNEL

NOT_AUTHORISED, NO_SESSION = LoginRejectReason


def test_a_log_in_is_answered_only_when_it_is_committed_on_the_feed() -> None:
    exchange = Exchange()
    exchange.gateways[0].reads_feed = False
    line = exchange.open()
    assert line.news == []
    assert exchange.primary.last_sequence == 3
    exchange.gateways[0].reads_feed = True
    exchange.settle()
    assert line.news == [LoginAccepted("DEMO", 1)]


def test_what_is_sent_behind_a_log_in_takes_effect_after_it() -> None:
    exchange = Exchange()
    exchange.gateways[0].verifies = False
    line = exchange.open()
    line.send(enter(1), enter(2))
    assert exchange.primary.last_sequence == 2
    exchange.gateways[0].verifies = True
    exchange.settle()
    assert letters(line.news) == "AA"


@pytest.mark.parametrize(("name", "secret"), [("ALICE", "wrong-pass"), ("MALLET", "any-secret")])
def test_a_wrong_name_or_secret_is_refused_alike(name: str, secret: str) -> None:
    exchange = Exchange()
    line = exchange.line()
    line.log_in(name, secret)
    assert line.news == refused(ClosingReason.NOT_AUTHORISED)
    assert line.session.closing is ClosingReason.NOT_AUTHORISED
    assert exchange.primary.last_sequence == 2


def test_after_too_many_failures_even_the_right_secret_is_not_looked_at() -> None:
    exchange = Exchange()
    exchange.gateways[0].verifies = False
    for _ in range(10):
        exchange.line().log_in(secret="wrong-pass")
    assert len(exchange.gateway.take_verifications()) == 10
    line = exchange.open()
    assert exchange.gateway.take_verifications() == []
    assert line.news == refused(ClosingReason.TOO_MANY_FAILURES)


def test_a_host_that_has_guessed_too_often_is_refused_under_every_name() -> None:
    exchange = Exchange(settings=limited(log_ins={"failures_per_host": 3}))
    for name in ("A", "B", "C"):
        exchange.line(host="10.6.6.6").log_in(name, "guess")
    guesser = exchange.line(host="10.6.6.6")
    guesser.log_in("ALICE")
    assert guesser.news == refused(ClosingReason.TOO_MANY_FAILURES)
    assert exchange.open().news == [LoginAccepted("DEMO", 1)]


def test_secrets_that_wait_to_be_looked_at_are_bounded_though_their_senders_hang_up() -> None:
    limits = {"connections": 10, "strangers": 3, "strangers_per_host": 3}
    exchange = Exchange(settings=limited(connections=limits))
    exchange.gateways[0].verifies = False
    for i in range(5):
        line = exchange.line(host=f"10.6.6.{i}")
        line.log_in(f"N{i}", "guess")
        line.hang_up()
    closed = exchange.gateway.summary()["closed"]
    assert closed == {"disconnected": 3, "secret_not_checked": 2}
    exchange.gateways[0].verifies = True
    exchange.settle()
    assert exchange.open().news == [LoginAccepted("DEMO", 1)]


def test_a_name_that_does_not_fit_soupbintcp_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="longer than 10 characters"):
        Gateway("MUCH TOO LONG", SETTINGS, Random(1), lambda: WALL_CLOCK_NS, Directory.alone(SHARD))


def test_a_secret_that_can_not_be_looked_at_is_no_failure_of_the_client() -> None:
    exchange = Exchange()
    exchange.gateways[0].verifies = False
    line = exchange.open()
    ((session, _, _),) = exchange.gateway.take_verifications()
    exchange.gateway.on_unverifiable(session, 0)
    exchange.settle()
    assert line.news == refused(ClosingReason.SECRET_NOT_CHECKED)


def test_a_verification_does_not_show_its_secret() -> None:
    exchange = Exchange()
    exchange.gateways[0].verifies = False
    exchange.open()
    assert "alice-pass" not in repr(exchange.gateway.take_verifications())


def test_a_client_that_logs_in_elsewhere_ends_its_session_here() -> None:
    exchange = Exchange(gateways=2)
    cancels_on_disconnect(exchange)
    here = exchange.open(gateway=0)
    here.send(enter(1))
    assert letters(here.news) == "A"
    there = exchange.open(gateway=1, sequence=0)
    assert here.news == [Debug(ClosingReason.SUPERSEDED.text)]
    assert here.session.closing is ClosingReason.SUPERSEDED
    assert there.news == [LoginAccepted("DEMO", 2)]
    here.send(enter(2))
    there.send(enter(2, "S", price=20_000))
    assert letters(there.news) == "A"
    assert live_orders(exchange) == 2  # the client is there, so nothing is to be canceled
    assert exchange.primary.not_admitted == 0


def test_an_order_that_an_earlier_log_in_still_had_under_way_is_void() -> None:
    exchange = Exchange(gateways=2)
    old = exchange.open(gateway=0)
    exchange.gateways[0].lose_primary()
    old.send(enter(1))
    new = exchange.open(gateway=1)
    new.news  # noqa: B018
    new.send(enter(1, "S", price=20_000))
    exchange.gateways[0].connect()
    (accepted,) = messages(new.news)
    assert isinstance(accepted, ouch.Accepted)
    assert accepted.side == ord("S")
    assert live_orders(exchange) == 1


def test_a_client_resumes_from_any_number_on_a_gateway_that_started_later() -> None:
    exchange = Exchange()
    line = exchange.open()
    line.send(*(enter(number) for number in range(1, 31)))
    original = line.news[1:]
    line.log_out()
    exchange.start_gateway()
    for sequence in (1, 2, 17, 30):
        resumed = exchange.open(gateway=1, sequence=sequence)
        assert resumed.news == [LoginAccepted("DEMO", sequence), *original[sequence - 1 :]]
        resumed.log_out()
    assert exchange.open(gateway=1, sequence=31).news == [LoginAccepted("DEMO", 31)]
    assert exchange.open(gateway=1, sequence=0).news == [LoginAccepted("DEMO", 31)]
    beyond = exchange.open(gateway=1, sequence=32)
    assert beyond.news == refused(ClosingReason.SEQUENCE_TOO_HIGH)


def test_a_number_that_the_gateway_does_not_keep_any_more_is_refused_before_anybody_is_superseded() -> (  # noqa: E501
    None
):
    exchange = Exchange(settings=limited_stream())
    line = exchange.open()
    for number in range(1, 2001):
        line.send(enter(number))
    last = exchange.primary.last_sequence
    again = exchange.open(sequence=1)
    assert again.news == refused(ClosingReason.SEQUENCE_DROPPED)
    assert line.session.closing is None
    assert exchange.primary.last_sequence == last


def limited_stream() -> GatewaySettings:
    return SETTINGS.model_copy(update={"stream_limit_bytes": 1 << 16})


def test_a_gateway_that_is_still_catching_up_lets_nobody_in() -> None:
    exchange = Exchange()
    committed = exchange.shard.heard_sequence + 10_001
    exchange.gateway.on_feed(SHARD, empty_run(1), 1, committed, 0)
    line = exchange.open()
    assert line.news == refused(ClosingReason.CATCHING_UP)
    exchange.gateway.on_feed(SHARD, empty_run(1), 1, committed - 1, 0)
    assert exchange.open().news == [LoginAccepted("DEMO", 1)]


def test_a_log_in_that_the_primary_does_not_admit_is_refused() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.clients = {"ALICE": CLIENTS["ALICE"].model_copy(update={"number": 0})}
    line = exchange.open()
    assert line.news == refused(ClosingReason.LOG_IN_NOT_ADMITTED)


def test_a_log_in_that_the_machine_rejects_is_refused_and_ends_no_other_session() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    line = exchange.open()
    line.news  # noqa: B018
    unknown_mode = CLIENTS["ALICE"].model_copy(update={"self_trade_prevention": 0})
    node.clients = {"ALICE": unknown_mode}
    assert exchange.open().news == refused(ClosingReason.LOG_IN_NOT_ADMITTED)
    line.send(enter(1))
    assert letters(line.news) == "JA"  # the reject is in the client's stream, as any other


def test_a_log_in_waits_for_the_primary_and_is_let_in_when_it_comes_back() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.lose_primary()
    line = exchange.open()
    assert line.news == []
    exchange.wait(2)
    node.connect()
    assert line.news == [LoginAccepted("DEMO", 1)]


def test_a_log_in_that_nobody_waits_for_any_more_is_not_sent_late() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.lose_primary()
    line, gone = exchange.open("ALICE"), exchange.open("BOB")
    gone.hang_up()
    exchange.wait(11)
    assert line.news == refused(ClosingReason.LOG_IN_UNANSWERED)
    node.connect()
    assert exchange.primary.last_sequence == 2


def test_nobody_more_is_let_in_while_too_much_waits_for_a_primary_that_takes_nothing() -> None:
    exchange = Exchange(settings=limited(uplink={"pending": 4}))
    cancels_on_disconnect(exchange)
    node = exchange.gateways[0]
    node.reaches_primary = False
    outcomes = []
    for _ in range(20):
        line = exchange.open()
        outcomes.append(line.news)
        line.hang_up()
    most = node.shard.uplink.pending_count
    assert 8 <= most <= 9  # the last one that is let in leaves a log-in and a cancel
    assert outcomes[0] == []
    assert outcomes[-1] == refused(ClosingReason.TOO_MUCH_WAITING)
    node.reaches_primary = True
    exchange.settle()
    assert node.shard.uplink.pending_count == 0
    assert exchange.open().news == [LoginAccepted("DEMO", 1)]
