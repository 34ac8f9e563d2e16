"""What a gateway does when its primary is replaced, or lost and found again."""

from feed.codec import decode_frame
from feed.messages import LogIn
from feed.schema import FrameType
from gateway import ouch
from gateway.closing import ClosingReason
from gateway.soup import Debug, LoginAccepted
from tests.gateway.exchange import Exchange, enter, letters, messages
from tests.gateway.situations import cancels_on_disconnect, live_orders, refused
from tests.gateway.twins import EVERY_KERNEL

pytestmark = EVERY_KERNEL


def log_ins(exchange: Exchange) -> list[int]:
    """The numbers of the log-ins in the primary's list."""
    numbers = []
    for frame in map(decode_frame, exchange.primary.frames):
        if frame.type is FrameType.LOG_IN:
            command = frame.message()
            assert isinstance(command, LogIn)
            numbers.append(command.login)
    return numbers


def test_what_a_takeover_lost_is_sent_again_and_what_it_kept_is_not_done_twice() -> None:
    exchange = Exchange()
    alice = exchange.open()
    alice.news  # noqa: B018
    exchange.primary.commits = False
    alice.send(enter(1), enter(2))  # one group and one packet each
    alice.send(enter(3))
    assert alice.news == []
    exchange.take_over(lost_groups=2)
    exchange.follow()
    assert exchange.primary.not_admitted == 1  # order 1 had been kept
    exchange.commit()
    told = [message for message in messages(alice.news) if isinstance(message, ouch.Accepted)]
    assert [message.user_ref_num for message in told] == [1, 2, 3]
    assert live_orders(exchange) == 3
    assert exchange.shard.uplink.pending_count == 0


def test_a_deposed_primary_that_goes_on_deciding_has_no_effect() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    alice = exchange.open()
    alice.news  # noqa: B018
    node.reads_feed = False
    deposed = exchange.take_over()
    alice.send(enter(1))  # to the deposed one, which decides
    assert deposed.market.orders
    assert not exchange.market.orders
    node.reads_feed = True
    exchange.settle()
    assert not node.shard.uplink.is_connected  # the feed has shown that it has a successor
    assert alice.news == []
    node.connect()
    assert letters(alice.news) == "A"


def test_what_the_feed_brings_together_with_the_next_epoch_is_not_sent_again() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    alice = exchange.open()
    alice.news  # noqa: B018
    node.reads_feed = False
    alice.send(enter(1), enter(2))
    exchange.take_over()
    alice.send(enter(3))  # to the deposed one
    node.reads_feed = True
    exchange.settle()
    assert letters(alice.news) == "AA"
    node.connect()
    assert letters(alice.news) == "A"
    assert node.shard.uplink.resent == 1


def test_a_gateway_may_be_connected_to_a_primary_before_it_sees_its_epoch_on_the_feed() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    alice = exchange.open()
    alice.news  # noqa: B018
    node.reads_feed = False
    exchange.take_over()
    node.lose_primary()
    node.connect()
    alice.send(enter(1))
    assert node.shard.uplink.pending_count == 1
    node.reads_feed = True
    exchange.settle()
    assert node.shard.uplink.connections == 2
    assert node.shard.uplink.pending_count == 0
    assert letters(alice.news) == "A"


def test_a_log_in_that_a_takeover_lost_is_asked_for_anew() -> None:
    exchange = Exchange()
    exchange.primary.commits = False
    line = exchange.open()
    (lost,) = log_ins(exchange)
    exchange.take_over(lost_groups=1)
    exchange.follow()
    exchange.commit()
    assert line.news == [LoginAccepted("DEMO", 1)]
    (login,) = log_ins(exchange)
    assert login == line.session.login != lost
    line.send(enter(1))
    exchange.commit()
    assert letters(line.news) == "A"


def test_a_log_in_that_was_kept_all_the_same_opens_one_session_under_the_newer_number() -> None:
    exchange = Exchange(gateways=2)
    elsewhere = exchange.open(gateway=1)
    elsewhere.send(enter(1))
    elsewhere.news  # noqa: B018
    exchange.primary.commits = False
    line = exchange.open()
    exchange.take_over()
    exchange.gateways[0].reads_feed = False
    exchange.follow()
    exchange.commit()
    assert elsewhere.news == [Debug(ClosingReason.SUPERSEDED.text)]
    _, kept, login = log_ins(exchange)
    assert [kept, login] == [*line.session.earlier_logins, line.session.login]
    line.send(enter(2))
    exchange.gateways[0].reads_feed = True
    exchange.settle()
    accept, first = line.news
    assert accept == LoginAccepted("DEMO", 1)
    line.send(enter(3))
    exchange.commit()
    assert letters([first, *line.news]) == "AAA"
    assert exchange.gateway.summary()["log_ins"] == 1
    assert exchange.primary.not_admitted == 0


def test_a_log_in_that_shows_on_the_feed_after_all_is_not_asked_for_anew() -> None:
    exchange = Exchange()
    exchange.primary.commits = False
    line = exchange.open()
    exchange.gateways[0].lose_primary()
    assert line.news == []
    exchange.commit()
    assert line.news == [LoginAccepted("DEMO", 1)]
    exchange.gateways[0].connect()
    assert log_ins(exchange) == [line.session.login]
    line.send(enter(1))
    exchange.commit()
    assert letters(line.news) == "A"


def test_nobody_is_asked_for_who_has_gone_while_its_log_in_was_lost() -> None:
    exchange = Exchange()
    exchange.primary.commits = False
    exchange.open().hang_up()
    line = exchange.open("BOB")
    exchange.take_over(lost_groups=2)
    line.hang_up()
    exchange.follow()
    assert log_ins(exchange) == []
    assert exchange.shard.uplink.pending_count == 0


def test_a_client_that_has_gone_has_its_orders_canceled_whichever_of_its_log_ins_was_kept() -> None:
    for lost_groups in range(3):
        exchange = Exchange(gateways=2)
        cancels_on_disconnect(exchange)
        exchange.open(gateway=1).send(enter(1))
        exchange.primary.commits = False
        line = exchange.open()
        exchange.take_over()
        exchange.follow()  # its log-in is in the list twice now, under two numbers
        line.hang_up()
        exchange.take_over(lost_groups)
        exchange.follow()
        exchange.commit()
        assert len(log_ins(exchange)) == 3 - max(0, lost_groups - 1)
        assert live_orders(exchange) == 0, lost_groups


def test_a_client_that_has_logged_in_elsewhere_meanwhile_is_not_asked_for_anew() -> None:
    exchange = Exchange(gateways=2)
    exchange.primary.commits = False
    here = exchange.open(gateway=0)
    exchange.take_over(lost_groups=1)
    exchange.gateways[0].lose_primary()
    exchange.gateways[1].lose_primary()
    exchange.gateways[1].connect()
    there = exchange.open(gateway=1)
    exchange.commit()
    assert here.news == refused(ClosingReason.LOG_IN_OVERTAKEN)
    exchange.gateways[0].connect()
    there.send(enter(1))
    exchange.commit()
    assert letters(there.news) == "A"
    assert len(log_ins(exchange)) == 1


def test_an_earlier_log_in_of_the_same_session_that_comes_late_ends_it_and_it_can_resume() -> None:
    exchange = Exchange()
    cancels_on_disconnect(exchange)
    node = exchange.gateways[0]
    node.reaches_primary = False
    line = exchange.open()
    node.lose_primary()
    late = node.on_its_way()
    node.reaches_primary = True
    node.connect()
    line.send(enter(1))
    assert letters(line.news) == "A"
    exchange.arrive(late)  # the primary reads the lost connection last
    assert line.news == [Debug(ClosingReason.LOG_IN_OVERTAKEN.text)]
    assert live_orders(exchange) == 0
    line = exchange.open(sequence=2)
    line.send(enter(2))
    assert letters(line.news) == "CA"


def test_clients_wait_through_a_long_outage_and_get_heartbeats() -> None:
    exchange = Exchange()
    alice = exchange.open()
    alice.news  # noqa: B018
    exchange.gateways[0].lose_primary()
    alice.send(enter(1))
    for _ in range(120):
        exchange.wait(1)
        alice.send(b"\x00\x01R")
    assert len(alice.packets) > 100
    assert alice.news == []
    exchange.take_over()
    exchange.gateways[0].connect()
    assert letters(alice.news) == "A"
