from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.messages import CancelReason
from gateway import ouch
from gateway.closing import ClosingReason
from gateway.gateway import Gateway
from gateway.rejects import GatewayReject
from gateway.settings import GatewaySettings
from gateway.soup import (
    ClientHeartbeat,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    LogoutRequest,
    SequencedData,
    ServerPacket,
    UnsequencedData,
)
from tests.gateway.exchange import (
    CLIENTS,
    SETTINGS,
    WALL_CLOCK_NS,
    Exchange,
    Line,
    enter,
    letters,
    messages,
)
from tests.gateway.groups import ALICE, SYMBOL

NOT_AUTHORISED, NO_SESSION = LoginRejectReason


def refused(reason: ClosingReason) -> list[ServerPacket]:
    assert reason.login_reject is not None
    return [Debug(reason.text), LoginRejected(reason.login_reject)]


def limited(**limits: dict[str, int]) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {"listen": "127.0.0.1:0", "clients": "clients.toml", **limits}
    )


def cancels_on_disconnect(exchange: Exchange, name: str = "ALICE") -> None:
    for node in exchange.gateways:
        client = CLIENTS[name].model_copy(update={"cancel_on_disconnect": True})
        node.clients = {**node.clients, name: client}


def live_orders(exchange: Exchange) -> int:
    exchange.market.check()
    return len(exchange.market.orders)


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
        Gateway("MUCH TOO LONG", SETTINGS, Random(1), lambda: WALL_CLOCK_NS)


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
    assert exchange.primary.repeats_dropped == 0


def test_an_order_that_an_earlier_log_in_still_had_under_way_is_void() -> None:
    exchange = Exchange(gateways=2)
    old = exchange.open(gateway=0)
    exchange.gateways[0].lose_engine()
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
    committed = exchange.gateway.delivered_sequence + 10_001
    exchange.gateway.on_feed([], 1, committed, 0)
    line = exchange.open()
    assert line.news == refused(ClosingReason.CATCHING_UP)
    exchange.gateway.on_feed([], 1, committed - 1, 0)
    assert exchange.open().news == [LoginAccepted("DEMO", 1)]


def test_a_log_in_that_the_engine_does_not_admit_is_refused() -> None:
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


def test_a_log_in_that_was_sent_when_the_engine_was_lost_is_refused_and_not_sent_again() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.reads_feed = False
    exchange.decides = False
    line = exchange.open()
    node.lose_engine()
    assert line.news == refused(ClosingReason.LOG_IN_LOST)
    last = exchange.primary.last_sequence
    node.connect()
    assert exchange.primary.last_sequence == last


def test_a_log_in_waits_for_the_engine_and_is_let_in_when_it_comes_back() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.lose_engine()
    line = exchange.open()
    assert line.news == []
    exchange.wait(2)
    node.connect()
    assert line.news == [LoginAccepted("DEMO", 1)]


def test_a_log_in_that_nobody_waits_for_any_more_is_not_sent_late() -> None:
    exchange = Exchange()
    node = exchange.gateways[0]
    node.lose_engine()
    line, gone = exchange.open("ALICE"), exchange.open("BOB")
    gone.hang_up()
    exchange.wait(11)
    assert line.news == refused(ClosingReason.LOG_IN_UNANSWERED)
    node.connect()
    assert exchange.primary.last_sequence == 2


def test_clients_stay_connected_while_the_engine_is_away_and_nothing_is_lost_or_done_twice() -> (
    None
):
    exchange = Exchange()
    node = exchange.gateways[0]
    alice = exchange.open()
    exchange.decides = False
    alice.send(enter(1))  # sequenced, but the decision does not come back
    node.lose_engine()
    alice.send(enter(2), enter(3))
    alice.send(ClientHeartbeat().encode())
    exchange.decides = True
    node.connect()
    assert letters(alice.news) == "AAA"
    assert live_orders(exchange) == 3
    assert exchange.primary.repeats_dropped == 1
    assert exchange.gateway.uplink.pending_count == 0


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


def test_clients_wait_when_the_engine_does_not_keep_up_and_go_on_when_it_does() -> None:
    limits = limited(uplink={"pending": 10, "pending_per_client": 6})
    exchange = Exchange(settings=limits)
    alice, bob = exchange.open("ALICE"), exchange.open("BOB")
    exchange.decides = False
    alice.send(*(enter(number) for number in range(1, 21)))
    assert exchange.gateway.uplink.pending_count == 6  # her share
    assert not alice.session.is_reading
    bob.send(*(enter(number) for number in range(1, 21)))
    assert exchange.gateway.uplink.pending_count == 10
    assert not bob.session.is_reading
    exchange.wait(30)  # they could not say anything, so their silence does not count
    exchange.decides = True
    exchange.gateways[0].lose_engine()
    exchange.gateways[0].connect()
    assert letters(alice.news) == letters(bob.news) == "A" * 20
    assert alice.session.is_reading
    assert bob.session.is_reading


def test_a_stranger_can_log_in_while_others_wait_for_the_engine() -> None:
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


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("connect", "log in", "bytes", "orders", "hang up", "log out", "wait", "mute"),
                *("take", "lose engine", "find engine", "stop feed", "start feed"),
            )
        ),
        st.integers(0, 7),
        st.binary(max_size=40),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_whatever_clients_and_networks_do_streams_are_whole_and_no_order_counts_twice(
    acts: list[tuple[str, int, bytes]],
) -> None:
    world = Chaos()
    for act, number, data in acts:
        world.act(act, number, data)
    world.settle()
    for name, received in world.received.items():
        assert received == dict(enumerate(world.stream(name), 1)), name


class Chaos:
    """Clients on two gateways that do as they please, and note what they got under each number."""

    def __init__(self) -> None:
        self.exchange = Exchange(gateways=2, settings=limited(uplink={"pending": 12}))
        cancels_on_disconnect(self.exchange, "BOB")
        self.lines: list[Line] = []
        self.received: dict[str, dict[int, bytes]] = {"ALICE": {}, "BOB": {}}
        self._counting: dict[Line, int] = {}

    def act(self, act: str, number: int, data: bytes) -> None:
        exchange, node = self.exchange, self.exchange.gateways[number % 2]
        line = self.lines[number % len(self.lines)] if self.lines else None
        match act:
            case "connect":
                self.lines.append(exchange.line(number % 2))
            case "log in" if line is not None:
                name = ("ALICE", "BOB")[number % 2]
                line.log_in(name, sequence=len(self.received[name]) + 1)
            case "bytes" if line is not None:
                line.send(data)
            case "orders" if line is not None:
                side = "BS"[number % 2]
                line.send(*(enter(byte % 40, side, 1 + byte) for byte in data))
            case "hang up" if line is not None:
                line.hang_up()
            case "log out" if line is not None:
                line.log_out()
            case "lose engine" if node.gateway.uplink.is_connected:
                node.lose_engine()
            case "find engine" if not node.gateway.uplink.is_connected:
                node.connect()
            case "stop feed" | "start feed":
                node.reads_feed = act == "start feed"
                exchange.settle()
            case "wait":
                exchange.wait(number)
            case "mute" | "take" if line is not None:
                line.takes = act == "take"
                line.buffered_bytes = 0
        self._note()

    def settle(self) -> None:
        """Everything works again, and each client reads its stream to the end."""
        for node in self.exchange.gateways:
            node.reads_feed = True
            if not node.gateway.uplink.is_connected:
                node.connect()
        self.exchange.settle()
        self._note()
        for name, received in self.received.items():
            self.lines.append(self.exchange.open(name, sequence=len(received) + 1))
            self._note()
        self.exchange.market.check()
        for node in self.exchange.gateways:
            assert node.gateway.delivered_sequence == self.exchange.primary.last_sequence

    def stream(self, name: str) -> list[bytes]:
        """A client's stream, as a gateway has it that has seen nothing of all this."""
        late = self.exchange.start_gateway()
        stream = late.gateway.streams.of(CLIENTS[name].number)
        line = self.exchange.open(name, gateway=len(self.exchange.gateways) - 1)
        payloads = [p.payload for p in line.news if isinstance(p, SequencedData)]
        assert len(payloads) == stream.next_sequence - 1
        entered = [
            message.user_ref_num
            for message in messages([SequencedData(payload) for payload in payloads])
            if isinstance(message, ouch.Accepted)
        ]
        assert entered == sorted(set(entered))
        return payloads

    def _note(self) -> None:
        """Files what has come under its number; what came twice must be the same."""
        for line in self.lines:
            for packet in line.news:
                if isinstance(packet, LoginAccepted):
                    self._counting[line] = packet.sequence
                elif isinstance(packet, SequencedData):
                    sequence = self._counting[line]
                    self._counting[line] += 1
                    received = self.received[line.session.user]
                    assert received.setdefault(sequence, packet.payload) == packet.payload


def test_the_world_of_these_tests_has_alice_as_client_one() -> None:
    assert CLIENTS["ALICE"].number == ALICE
