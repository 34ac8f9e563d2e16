"""A simulated gateway does what a gateway's process does."""

import pytest

from feed.codec import HEARTBEAT, PacketHeader, encode_group, encode_packet
from feed.gap import GapFailure
from feed.messages import Rejected
from gateway import ouch
from gateway.client_connections import LINGER_SECONDS
from gateway.closing import ClosingReason
from gateway.ouch_codec import encode
from gateway.process import VERIFIER_THREADS
from gateway.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    UnsequencedData,
)
from tests.gateway.exchange import letters
from tests.simulation.gateway_stage import Client, Stage
from tools.simulation import gateways
from tools.simulation.gateways import cancels_on_disconnect, client_of
from tools.simulation.holders import RetransmitterNode
from tools.simulation.hosts import Host
from tools.simulation.shard import EXCHANGE, INSTRUMENTS, SHARD

SEEDS = range(10)
SYMBOL = INSTRUMENTS[0].symbol
ACCEPTED = LoginAccepted(EXCHANGE, 1)


@pytest.fixture(autouse=True)
def no_bad_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are looked at soon, and always."""
    monkeypatch.setattr(gateways, "SLOW_CHECK_SHARE", 0.0)
    monkeypatch.setattr(gateways, "FAILED_CHECK_SHARE", 0.0)


def enter(user_ref_num: int) -> bytes:
    message = ouch.EnterOrder(user_ref_num, ord("B"), 100, SYMBOL, 10_000, ord("0"))
    return UnsequencedData(encode(message)).encode()


def orders(first: int, last: int) -> list[bytes]:
    return [enter(number) for number in range(first, last + 1)]


def open_orders(stage: Stage) -> int:
    return len(stage.primary.reign.market.orders)


def told(client: Client) -> str:
    """The letters of the events that have come, when nothing but events has."""
    packets = client.take()
    assert len(letters(packets)) == len(packets)
    return letters(packets)


def test_a_client_is_told_what_is_committed_and_nothing_before() -> None:
    stage = Stage()
    client = stage.open()
    assert client.take() == [ACCEPTED]
    stage.primary.reign.commits = False
    client.send(*orders(1, 3))
    stage.run()
    assert (told(client), open_orders(stage)) == ("", 3)
    assert stage.node.gateway.shards[SHARD].uplink.pending_count == 3
    stage.primary.commit()
    stage.run(110)
    assert told(client) == "AAA"
    assert stage.node.gateway.shards[SHARD].uplink.pending_count == 0
    assert stage.witness.sequence == stage.primary.reign.last_sequence


def test_a_wrong_secret_is_refused_and_an_unknown_name_too() -> None:
    stage = Stage()
    for name, secret in (("C1", "c2"), ("C7", "c7")):
        client = stage.client(name)
        client.log_in(secret=secret)
        stage.run()
        assert client.take() == [
            Debug(ClosingReason.NOT_AUTHORISED.text),
            LoginRejected(LoginRejectReason.NOT_AUTHORISED),
        ]
        assert client.told == ["made", "eof", "lost"]
        assert stage.node.connections.count == 0


def test_a_client_has_a_while_to_take_its_last_bytes_and_what_it_still_sends_is_dropped() -> None:
    for seed in SEEDS:
        stage = Stage(seed)
        client = stage.client(keeps_open=True)
        client.log_in(secret="wrong")
        stage.run()
        client.send(*orders(1, 3))
        stage.run(LINGER_SECONDS * 1000 - 100)
        assert client.take()[0] == Debug(ClosingReason.NOT_AUTHORISED.text)
        assert client.told == ["made", "eof"]
        client.send(b"anything")
        stage.run(100)
        assert client.told in (["made", "eof", "reset"], ["made", "eof"])
        assert stage.node.connections.count == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", ["told", "killed", "paused", "by the feed"])
def test_orders_on_their_way_when_the_primary_is_replaced_take_effect_once(
    seed: int, way: str
) -> None:
    stage = Stage(seed)
    client = stage.open()
    stage.primary.reign.commits = False
    client.send(*orders(1, 20))
    stage.run(0.4)
    deposed = stage.primary
    if way == "killed":
        deposed.kill()
    elif way == "paused":
        deposed.pause()
    stage.take_over(tells=way != "by the feed")
    client.send(*orders(21, 40))
    stage.run(20)
    stage.registry.tell(stage.primary.record)
    stage.run(200)
    assert client.take()[0] == ACCEPTED
    stage.primary.commit()
    stage.run(200)
    assert open_orders(stage) == 40
    assert stage.node.gateway.shards[SHARD].uplink.pending_count == 0
    assert stage.node.gateway.shards[SHARD].uplink.is_connected
    again = stage.open()
    assert letters(again.take()) == "A" * 40
    if deposed.runs:
        assert [each.is_lost for each in deposed.connections] == [True] * len(deposed.connections)


def test_a_newer_record_ends_an_attempt_at_a_primary_that_is_gone() -> None:
    stage = Stage(uplink={"connect_timeout_ns": 3_600_000_000_000})
    gone = stage.primary
    gone.vanish()
    stage.node.kill()
    stage.node.start()
    stage.run(500)
    assert not stage.node.gateway.shards[SHARD].uplink.is_connected
    stage.take_over()
    assert stage.primary.connections == []
    stage.run(5)
    assert stage.node.gateway.shards[SHARD].uplink.is_connected
    assert len(stage.primary.connections) == 1


def test_a_newer_record_ends_a_connection_that_seems_well_at_once() -> None:
    stage = Stage()
    stage.registry.tell(stage.primary.record._replace(epoch=2))
    stage.run(2)
    assert [each.is_lost for each in stage.primary.connections] == [True, False]


def test_a_packet_without_frames_shows_that_a_primary_has_a_successor() -> None:
    stage = Stage()
    stage.run()
    (connection,) = stage.primary.connections
    at = stage.node.feeds[SHARD].subscriber.next_sequence
    packet = encode_packet(PacketHeader(HEARTBEAT, SHARD, 2, at, at - 1))
    stage.node.do(1, lambda: stage.node.hears(SHARD)(packet))
    stage.run(110)
    assert connection.is_lost
    assert len(stage.primary.connections) == 2, "it may be the successor, at the same address"


def test_a_primary_that_refuses_is_called_again_with_pauses_until_it_does_not() -> None:
    stage = Stage()
    port = stage.tcp._listeners["e2", "commands"]
    stage.tcp.close(stage.primary, "commands")
    stage.tcp.break_all(stage.node)
    steps = stage.network.world.steps
    stage.run(2000)
    assert not stage.node.gateway.shards[SHARD].uplink.is_connected
    assert stage.network.world.steps - steps < 1000, "there were no pauses"
    stage.tcp._listeners["e2", "commands"] = port
    stage.run(1100)
    assert stage.node.gateway.shards[SHARD].uplink.is_connected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("vanishes", [False, True])
def test_a_gateway_that_dies_comes_back_with_nothing_and_reads_all(
    seed: int, vanishes: bool
) -> None:
    stage = Stage(seed)
    client = stage.open()
    client.send(*orders(1, 10))
    stage.run(seed / 8)
    if vanishes:
        stage.node.vanish()
    else:
        stage.node.kill()
    stage.run(10)
    assert (client.told == ["made"]) == vanishes
    stage.node.start()
    stage.run(200)
    again = stage.open()
    again.send(*orders(1, 10))  # those that it has not got an answer to
    stage.run(110)
    assert again.take()[0] == ACCEPTED
    assert open_orders(stage) == 10
    assert letters(stage.open().take()) == "A" * 10


def test_a_gateway_may_die_at_anything_that_it_sends() -> None:
    for sends in range(30):
        stage = Stage()
        client = stage.open()
        stage.node.sends_to_live = sends
        client.send(*orders(1, 3))
        stage.run(1500)  # some heartbeats to its client
        if stage.node.is_alive:
            break
        stage.node.start()
        stage.run(200)
        again = stage.open()
        again.send(*orders(1, 3))
        stage.run(110)
        assert open_orders(stage) == 3
    assert 3 < sends < 29


def test_a_paused_gateway_does_nothing_and_goes_on_with_all_that_waits() -> None:
    stage = Stage()
    client, other = stage.open(), stage.client("C2")
    client.take()
    stage.node.pause()
    client.send(*orders(1, 3))
    other.log_in()
    stage.run(1000)
    assert (client.take(), other.take(), open_orders(stage)) == ([], [], 0)
    stage.node.unpause()
    stage.run()
    assert (told(client), other.take()) == ("AAA", [ACCEPTED])


def test_secrets_are_looked_at_two_at_a_time_and_not_when_nobody_waits_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateways, "SHORTEST_CHECK_NS", 500_000_000)
    monkeypatch.setattr(gateways, "LONGEST_CHECK_NS", 500_000_000)
    stage = Stage(sessions={"log_in_timeout_ns": 200_000_000})
    clients = [stage.client(f"C{i + 1}") for i in range(VERIFIER_THREADS + 1)]
    for client in clients:
        client.log_in()
    stage.run(400)
    for client in clients:
        assert client.take()[0] == Debug(ClosingReason.LOG_IN_UNANSWERED.text)
    monkeypatch.setattr(gateways, "SHORTEST_CHECK_NS", 1)
    monkeypatch.setattr(gateways, "LONGEST_CHECK_NS", 1)
    late = stage.client("C6")
    late.log_in()
    stage.run(50)
    assert late.take() == []
    stage.run(60)  # the first ones are done now, and the third one is never begun
    assert late.take() == [ACCEPTED]
    assert stage.node.gateway.summary()["log_ins"] == 1


def test_a_check_that_takes_too_long_or_fails_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateways, "SLOW_CHECK_SHARE", 1.0)
    monkeypatch.setattr(gateways, "SHORTEST_CHECK_NS", gateways.SLOWEST_CHECK_NS)
    stage = Stage(sessions={"log_in_timeout_ns": 300_000_000})
    slow = stage.open()
    stage.run(1500)
    assert slow.take()[0] == Debug(ClosingReason.LOG_IN_UNANSWERED.text)
    monkeypatch.setattr(gateways, "FAILED_CHECK_SHARE", 1.0)
    unlucky = stage.client()
    monkeypatch.setattr(gateways, "SHORTEST_CHECK_NS", 1)
    monkeypatch.setattr(gateways, "SLOW_CHECK_SHARE", 0.0)
    unlucky.log_in()
    stage.run(100)
    assert unlucky.take()[0] == Debug(ClosingReason.SECRET_NOT_CHECKED.text)


def test_a_client_that_takes_nothing_costs_bounded_memory_and_gets_all_when_it_does() -> None:
    stage = Stage(sessions={"output_bytes": 4096})
    client = stage.open()
    client.take()
    client.end.pause_reading()
    for first in range(1, 3001, 100):
        client.send(*orders(first, first + 99))
        stage.run(10)
    (end,) = (
        end
        for end in stage.tcp.connections_of(stage.node)
        if end.get_extra_info("peername")[0] == client.process.name
    )
    assert 0 < end.get_write_buffer_size() < 2 * 4096
    assert open_orders(stage) == 3000
    client.end.resume_reading()
    stage.run(500)
    assert told(client) == "A" * 3000


def test_that_a_reader_can_not_read_the_list_is_a_failure_unless_nobody_could_help_it() -> None:
    stage = Stage()
    broken = GapFailure(3, 4, "the list is broken: a group begins or ends in the wrong place")
    unfilled = GapFailure(3, 4, "no retransmitter answered")
    stage.run(11_000)
    with pytest.raises(AssertionError, match="the list is broken"):
        stage.node.give_up(broken, stage.shard)
    stage.shard.hosts["r1"] = Host("r1")
    stage.shard.holders["r1"] = stage.shard.holders["r2"] = helper = RetransmitterNode(
        stage.shard, "r1"
    )
    helper.core = helper.build()
    helper.is_alive = True
    with pytest.raises(AssertionError, match="was not helped"):
        stage.node.give_up(unfilled, stage.shard)
    helper.steady_since_ns = stage.shard.network.now_ns
    stage.node.give_up(unfilled, stage.shard)
    stage.node.kill()
    helper.is_alive = False  # it knows nothing to answer with
    stage.run(200)
    assert stage.node.life == 2


def test_a_gateway_that_can_not_read_the_list_says_so_to_its_clients_and_dies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    client = stage.open()
    client.take()
    at = stage.node.feeds[SHARD].subscriber.next_sequence
    frames = encode_group((Rejected(1, 1, 1),), at, 1)  # an event without its command
    header = PacketHeader(0, SHARD, 1, at, at)
    with monkeypatch.context() as patched:
        patched.setattr(stage.node, "give_up", lambda failure, shard: None)
        stage.node.do(1, lambda: stage.node.hears(SHARD)(encode_packet(header, frames)))
    assert stage.node.failures
    assert [failure.first_sequence for failure in stage.node.failures] == [at]
    stage.run(20)
    assert client.take() == [Debug(ClosingReason.FEED_LOST.text)]
    assert not stage.node.is_alive
    late = stage.client("C2")
    assert late.told == ["connection refused"]
    stage.node.start()
    stage.run(100)
    assert not stage.node.failures
    assert stage.open().take() == [ACCEPTED]


def test_a_gateway_that_stops_says_goodbye_and_leaves_no_orders_of_who_wants_them_canceled() -> (
    None
):
    stage = Stage()
    clients = [stage.open(f"C{number}") for number in (1, 3)]
    for client in clients:
        client.send(*orders(1, 2))
    stage.run(110)
    for client in clients:
        client.take()
    stage.node.stop()
    stage.run(500)
    for client in clients:
        assert client.take() == [Debug(ClosingReason.GATEWAY_STOPS.text), EndOfSession()]
        assert client.told == ["made", "eof", "lost"]
    assert not stage.node.is_alive
    assert open_orders(stage) == 2
    assert [order.client for order in stage.primary.reign.market.orders.values()] == [1, 1]


def test_a_gateway_that_stops_dies_in_time_though_nothing_is_committed_any_more() -> None:
    stage = Stage()
    client = stage.open("C3")
    client.send(*orders(1, 1))
    stage.primary.kill()
    stage.run(20)
    stage.node.stop()
    stage.run(900)
    assert stage.node.is_alive
    assert stage.client("C2").told == ["connection refused"]
    stage.run(110)
    assert not stage.node.is_alive


def test_all_gateways_agree_on_who_may_log_in_and_whose_orders_are_canceled() -> None:
    shard = Stage().shard
    clients = [client_of(shard, f"C{number}", f"c{number}") for number in range(8)]
    assert [client and client.number for client in clients] == [None, 1, 2, 3, 4, 5, 6, None]
    for client in clients:
        assert client is None or client.cancel_on_disconnect == (client.number in (3, 6))
        assert client is None or client.cancel_on_disconnect == cancels_on_disconnect(client.number)
    assert client_of(shard, "C1", "C1") is None
