"""Several shards behind one session: routing, log-ins, marks, and what one shard's trouble does."""

from collections.abc import Callable

import pytest

from feed.datagrams import Submission
from feed.messages import (
    ALL_SYMBOLS,
    CancelReason,
    LogIn,
    SelfTradePrevention,
    TimeInForce,
    TradingState,
    symbol_field,
)
from gateway import ouch
from gateway.closing import ClosingReason
from gateway.ouch_codec import decode_outbound, encode
from gateway.rejects import GatewayReject
from gateway.soup import Debug, LoginAccepted, UnsequencedData
from tests.gateway.exchange import CLIENTS, Line, letters, messages
from tests.gateway.groups import ALICE
from tests.gateway.sharded import ShardedExchange, ShardedNode, enter, stream
from tests.submissions import take_submissions
from zk.directory import Directory

# ALICE is at home in shard 1, BOB in shard 2; AAPL and IBM are in shard 1, the others in shard 2.


def cancel(user_ref_num: int) -> bytes:
    return UnsequencedData(encode(ouch.CancelOrder(user_ref_num, 0))).encode()


def replace(original: int, user_ref_num: int) -> bytes:
    message = ouch.ReplaceOrder(original, user_ref_num, 50, 10_100, TimeInForce.DAY)
    return UnsequencedData(encode(message)).encode()


def mass_cancel(user_ref_num: int, symbol: str = "") -> bytes:
    field = symbol_field(symbol) if symbol else ALL_SYMBOLS
    return UnsequencedData(encode(ouch.MassCancel(user_ref_num, symbol=field))).encode()


def query() -> bytes:
    return UnsequencedData(encode(ouch.AccountQuery())).encode()


def live(exchange: ShardedExchange) -> list[int]:
    """How many orders each shard has."""
    return [len(market.orders) for market in exchange.markets]


def answers(line: Line) -> list[ouch.Outbound]:
    """What the gateway itself has said."""
    return [
        decode_outbound(each.payload) for each in line.news if isinstance(each, UnsequencedData)
    ]


def same_streams(exchange: ShardedExchange) -> bool:
    return all(len({stream(node, name) for node in exchange.gateways}) == 1 for name in CLIENTS)


def test_homes_are_where_the_tests_say() -> None:
    exchange = ShardedExchange()
    assert [exchange.directory.home_of(client.number) for client in CLIENTS.values()] == [1, 2]


def test_a_client_trades_in_all_shards_and_has_one_stream_on_every_gateway() -> None:
    exchange = ShardedExchange(gateways=2)
    alice, bob = exchange.open("ALICE"), exchange.open("BOB", gateway=1)
    alice.send(enter(1, "AAPL"), enter(2, "MSFT"), enter(3, "IBM"), enter(4, "ORCL"))
    assert live(exchange) == [2, 2]
    bob.send(enter(1, "MSFT", "S"), enter(2, "AAPL", "S", 40))
    assert sorted(letters(alice.news)[1:]) == sorted("AAAAEE"[1:])
    assert sorted(letters(bob.news)) == sorted("AAEE")
    assert same_streams(exchange)
    late = exchange.start_gateway()
    exchange.settle()
    assert stream(late, "ALICE") == stream(exchange.gateways[0], "ALICE")


def test_a_client_resumes_on_another_gateway_in_the_middle() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    alice.send(*(enter(number, "AAPL" if number % 2 else "MSFT") for number in range(1, 9)))
    told = messages(alice.news)
    assert len(told) == 8
    again = exchange.open("ALICE", gateway=1, sequence=4)
    assert again.news[0] == LoginAccepted("DEMO", 4)
    assert exchange.open("ALICE", gateway=0, sequence=9).news == [LoginAccepted("DEMO", 9)]


def test_replaces_and_cancels_go_where_their_orders_are() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "MSFT"), replace(2, 3), replace(1, 4))
    assert sorted(letters(alice.news)) == sorted("AAUU")
    alice.send(cancel(3))
    assert (letters(alice.news), live(exchange)) == ("C", [1, 0])
    alice.send(cancel(4), cancel(77))
    told = messages(alice.news)
    assert [type(each) for each in told] == [ouch.Canceled, ouch.Rejected]


def test_an_order_is_canceled_before_the_list_has_shown_it() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    exchange.primaries[2].commits = False
    alice.send(enter(1, "MSFT"), cancel(1))
    exchange.commit(2)
    exchange.settle()
    assert (letters(alice.news), live(exchange)) == ("AC", [0, 0])


def test_a_mass_cancel_of_all_symbols_goes_everywhere_and_is_answered_once() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "MSFT"), enter(3, "ORCL"))
    assert letters(alice.news) == "AAA"
    alice.send(mass_cancel(4))
    assert (sorted(letters(alice.news)), live(exchange)) == (sorted("CCCX"), [0, 0])
    assert same_streams(exchange)
    alice.send(mass_cancel(5))  # there is nothing left to cancel
    assert letters(alice.news) == "X"


def hear_late_of_another_shard(exchange: ShardedExchange) -> Callable[[], None]:
    """The first gateway takes up shard 2; the other one does when what is returned is called."""
    late = exchange.gateways.pop()
    directory = exchange.directory.add_shard(2)
    exchange.directory = directory
    exchange.open_shard(2)
    exchange.set_directory(directory)
    exchange.gateways[0].connect(2)
    exchange.settle()
    exchange.gateways.append(late)
    exchange.settle()

    def hear() -> None:
        exchange.set_directory(directory)
        late.connect(2)
        exchange.settle()

    return hear


def test_a_gateway_that_hears_late_of_a_shard_gives_the_same_answers() -> None:
    """The marks of the new shard, and what comes after them, wait until it has the directory."""
    exchange = ShardedExchange(gateways=2, shards=1)
    alice = exchange.open("ALICE")
    hear = hear_late_of_another_shard(exchange)
    alice.send(enter(1, "AAPL"), mass_cancel(2))
    assert sorted(letters(alice.news)) == sorted("ACX")
    hear()
    assert same_streams(exchange)


def test_a_mass_cancel_through_a_gateway_that_does_not_know_of_a_shard_yet_is_completed() -> None:
    exchange = ShardedExchange(gateways=2, shards=1)
    alice = exchange.open("ALICE", gateway=1)
    hear = hear_late_of_another_shard(exchange)
    alice.send(enter(1, "AAPL"), mass_cancel(2))
    hear()
    assert sorted(letters(alice.news)) == sorted("ACX")
    assert same_streams(exchange)


def test_a_mass_cancel_on_its_way_when_a_shard_is_added_comes_there_before_later_commands() -> None:
    """It is not in the list of the home by then, nor by the time of the next order."""
    exchange = ShardedExchange(gateways=2, shards=1)
    alice = exchange.open("ALICE", gateway=1)
    hear = hear_late_of_another_shard(exchange)
    link = exchange.gateways[1].links[1]
    link.reaches_primary = False
    alice.send(enter(1, "AAPL"), mass_cancel(2))
    hear()
    exchange.set_directory(exchange.directory.add_symbol("MSFT", 2))
    exchange.wait(2)
    alice.send(enter(3, "MSFT"))
    link.reaches_primary = True
    exchange.settle()
    assert sorted(letters(alice.news)) == sorted("ACXJ")
    assert same_streams(exchange)


def test_an_order_that_waits_for_its_shard_comes_there_before_a_later_mass_cancel() -> None:
    """The home has answered that by the time that the shard is there."""
    exchange = ShardedExchange()
    link = exchange.gateways[0].links[2]
    link.reaches_primary = False
    alice = exchange.open("ALICE")
    exchange.wait(2)
    alice.send(enter(1, "MSFT"), mass_cancel(2))
    link.reaches_primary = True
    exchange.settle()
    assert letters(alice.news) == "AXC"


def test_what_comes_again_with_a_mass_cancel_goes_in_its_order() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    exchange.gateways[0].links[2].reaches_primary = False
    alice.send(enter(1, "MSFT"), mass_cancel(2))
    again = exchange.open("ALICE", gateway=1)
    again.send(enter(1, "MSFT"), mass_cancel(2))
    assert letters(again.news) == "AXC"
    assert live(exchange) == [0, 0]


def test_mass_cancels_that_are_answered_or_of_one_symbol_are_not_repeated_in_a_new_shard() -> None:
    exchange = ShardedExchange(gateways=2, shards=1)
    alice = exchange.open("ALICE", gateway=1)
    alice.send(mass_cancel(1), mass_cancel(2, "AAPL"))
    hear_late_of_another_shard(exchange)()
    alice.send(mass_cancel(3, "AAPL"))
    late = exchange.directory.add_shard(3)
    exchange.directory = late
    exchange.open_shard(3)
    exchange.set_directory(late)
    for gateway in exchange.gateways:
        gateway.connect(3)
    exchange.settle()
    used = [market.clients[ALICE].last_user_ref_num for market in exchange.markets]
    assert (letters(alice.news), used) == ("XXX", [3, 0, 0])


def test_a_mass_cancel_that_reached_one_shard_is_completed_by_the_client_sending_it_again() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "MSFT"))
    exchange.gateways[0].links[2].reaches_primary = False
    alice.send(mass_cancel(3))
    assert (letters(alice.news)[2:], live(exchange)) == ("C", [0, 1])
    again = exchange.open("ALICE", gateway=1, sequence=4)
    again.send(mass_cancel(3), enter(4))
    assert (sorted(letters(again.news)), live(exchange)) == (["A", "C", "X"], [1, 0])
    assert same_streams(exchange)


def test_what_comes_again_is_dropped_where_it_was_used() -> None:
    exchange = ShardedExchange(gateways=2)
    exchange.open("ALICE").send(enter(1, "AAPL"), enter(2, "MSFT"))
    again = exchange.open("ALICE", gateway=1, sequence=3)
    again.send(enter(1, "AAPL"), enter(2, "MSFT"), enter(3, "MSFT"))
    assert letters(again.news) == "A"
    assert live(exchange) == [1, 2]


def test_what_was_passed_over_in_its_shard_is_refused() -> None:
    exchange = ShardedExchange(gateways=2)
    exchange.open("ALICE").send(enter(2, "AAPL"), enter(3, "MSFT"))
    again = exchange.open("ALICE", gateway=1, sequence=3)
    again.send(enter(1, "AAPL"))
    (refusal,) = answers(again)
    assert isinstance(refusal, ouch.Rejected)
    assert (refusal.user_ref_num, refusal.reason) == (1, GatewayReject.NUMBER_PASSED)
    assert live(exchange) == [1, 1]


def test_numbers_may_come_out_of_order_to_different_shards_and_once_each() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    exchange.primaries[2].commits = False
    alice.send(enter(5, "MSFT"), enter(3, "AAPL"), enter(5, "MSFT"), enter(4, "MSFT"))
    (refusal,) = [each for each in answers(alice) if isinstance(each, ouch.Rejected)]
    assert (refusal.user_ref_num, refusal.reason) == (4, GatewayReject.NUMBER_PASSED)
    exchange.commit(2)
    exchange.settle()
    assert live(exchange) == [1, 1]


def test_a_mass_cancel_of_all_symbols_that_the_home_has_passed_over_is_refused() -> None:
    exchange = ShardedExchange(gateways=2)
    exchange.open("ALICE").send(enter(2, "AAPL"))
    again = exchange.open("ALICE", gateway=1, sequence=2)
    again.send(mass_cancel(1))
    (refusal,) = answers(again)
    assert isinstance(refusal, ouch.Rejected)
    assert refusal.reason == GatewayReject.NUMBER_PASSED
    assert live(exchange) == [1, 0]


def test_an_order_that_was_taken_before_its_symbol_moved_is_not_taken_again() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"))
    exchange.set_state("AAPL", TradingState.HALTED)
    exchange.settle()
    exchange.move("AAPL", 2)
    exchange.set_state("AAPL", TradingState.TRADING)
    exchange.settle()
    assert live(exchange) == [0, 1]
    again = exchange.open("ALICE", gateway=1, sequence=2)
    again.send(enter(1, "AAPL"))
    assert (letters(again.news), live(exchange)) == ("", [0, 1])
    again.send(cancel(1))
    assert (letters(again.news), live(exchange)) == ("C", [0, 0])


class Moving:
    """AAPL, on its way from shard 1 to shard 2: it has left the one, and not come to the other."""

    def __init__(self, exchange: ShardedExchange) -> None:
        exchange.set_state("AAPL", TradingState.HALTED)
        exchange.settle()
        self._exchange = exchange
        self._arrives = exchange.move_out("AAPL", 2)
        exchange.settle()

    def arrive(self) -> None:
        self._arrives()
        self._exchange.settle()


def test_a_cancel_that_crosses_with_a_move_follows_its_order() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "AAPL"), enter(3, "AAPL"))
    moving = Moving(exchange)
    alice.send(cancel(2))
    moving.arrive()
    assert letters(alice.news) == "AAAC"
    assert live(exchange) == [0, 2]


@pytest.mark.parametrize("symbol", ["", "AAPL"])
def test_a_mass_cancel_that_crosses_with_a_move_follows_the_orders(symbol: str) -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "AAPL"))
    moving = Moving(exchange)
    alice.send(mass_cancel(3, symbol))
    moving.arrive()
    assert sorted(letters(alice.news)) == sorted("AACCX")
    assert live(exchange) == [0, 0]


def test_a_mass_cancel_of_another_symbol_leaves_what_moves_alone() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"))
    moving = Moving(exchange)
    alice.send(mass_cancel(3, "IBM"))
    moving.arrive()
    assert live(exchange) == [0, 1]


def test_cancel_on_disconnect_follows_orders_that_are_moving() -> None:
    exchange = ShardedExchange()
    alice_settings = CLIENTS["ALICE"].model_copy(update={"cancel_on_disconnect": True})
    exchange.gateways[0].clients["ALICE"] = alice_settings
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "MSFT"))
    moving = Moving(exchange)
    alice.hang_up()
    exchange.settle()
    assert live(exchange) == [0, 0]
    moving.arrive()
    assert live(exchange) == [0, 0]


def test_who_has_logged_in_again_keeps_what_moves() -> None:
    exchange = ShardedExchange()
    alice_settings = CLIENTS["ALICE"].model_copy(update={"cancel_on_disconnect": True})
    exchange.gateways[0].clients["ALICE"] = alice_settings
    exchange.open("ALICE").hang_up()
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"))
    Moving(exchange).arrive()
    assert live(exchange) == [0, 1]


def test_a_client_is_told_its_next_number_over_all_shards() -> None:
    exchange = ShardedExchange(gateways=2)
    exchange.open("ALICE").send(enter(1, "AAPL"), enter(7, "MSFT"))
    again = exchange.open("ALICE", gateway=1, sequence=3)
    again.send(query())
    (answer,) = answers(again)
    assert isinstance(answer, ouch.AccountQueryResponse)
    assert answer.next_user_ref_num == 8


def test_a_shard_without_a_primary_keeps_nobody_from_the_others() -> None:
    exchange = ShardedExchange()
    node = exchange.gateways[0]
    node.lose_primary(2)
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"))
    assert letters(alice.news) == ""  # it is not logged in at shard 2, and may have orders there
    exchange.wait(1.1)
    assert letters(alice.news) == "A"
    alice.send(enter(2, "MSFT"), enter(3, "IBM"))
    assert letters(alice.news) == "A"
    node.connect(2)
    exchange.settle()
    assert (letters(alice.news), live(exchange)) == ("A", [2, 1])


def test_an_open_session_goes_on_while_another_shard_is_gone() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    exchange.gateways[0].lose_primary(2)
    alice.send(enter(1, "MSFT"), enter(2, "AAPL"), cancel(2))
    assert letters(alice.news) == "AC"
    exchange.gateways[0].connect(2)
    exchange.settle()
    assert letters(alice.news) == "A"


def test_clients_of_a_home_that_is_gone_wait() -> None:
    exchange = ShardedExchange()
    bob = exchange.open("BOB")
    exchange.gateways[0].lose_primary(2)
    bob.send(enter(1, "AAPL"))
    assert (letters(bob.news), live(exchange)) == ("", [1, 0])  # it is taken, and nobody may say so
    exchange.gateways[0].connect(2)
    exchange.settle()
    assert letters(bob.news) == "A"


def test_a_gateway_that_lags_in_one_list_holds_up_the_homes_that_name_more_of_it() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    lagging = exchange.gateways[1]
    lagging.links[2].reads_feed = False
    alice.send(enter(1, "MSFT"), enter(2, "AAPL"))
    assert sorted(letters(alice.news)) == ["A", "A"]
    assert len(stream(lagging, "ALICE")) < len(stream(exchange.gateways[0], "ALICE"))
    lagging.links[2].reads_feed = True
    exchange.settle()
    assert same_streams(exchange)


def test_the_newest_session_counts_in_every_shard_whatever_comes_in_late() -> None:
    exchange = ShardedExchange(gateways=2)
    old = exchange.gateways[0]
    old.links[2].reaches_primary = False
    first = exchange.open("ALICE", gateway=0)
    second = exchange.open("ALICE", gateway=1)
    assert Debug(ClosingReason.SUPERSEDED.text) in first.news
    old.links[2].reaches_primary = True  # only now does the first one's log-in get to shard 2
    exchange.settle()
    second.send(enter(1, "MSFT"))
    assert letters(second.news) == "A"


def test_a_session_ends_when_a_lost_log_in_of_its_own_takes_effect_in_another_shard() -> None:
    """What it would send there now is void; so it comes back, as it does where this is its home."""
    exchange = ShardedExchange()
    link = exchange.gateways[0].links[2]
    link.reaches_primary = False
    alice = exchange.open("ALICE")
    link.buffer += exchange.gateways[0].gateway.shards[2].uplink.take_output()
    submissions = take_submissions(bytearray(link.buffer))
    (late,) = [each for each in submissions if isinstance(each.command, LogIn)]
    exchange.gateways[0].lose_primary(2)
    link.reaches_primary = True
    exchange.gateways[0].connect(2)
    exchange.settle()
    alice.send(enter(1, "MSFT"))
    assert letters(alice.news) == "A"
    exchange.primaries[2].submit(late, 0)
    exchange.publish(exchange.primaries[2])
    exchange.settle()
    assert Debug(ClosingReason.LOG_IN_OVERTAKEN.text) in alice.news
    assert live(exchange) == [0, 1]


def test_cancel_on_disconnect_is_for_all_shards() -> None:
    exchange = ShardedExchange()
    node = exchange.gateways[0]
    alice_settings = CLIENTS["ALICE"].model_copy(update={"cancel_on_disconnect": True})
    node.clients["ALICE"] = alice_settings
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"), enter(2, "MSFT"))
    assert live(exchange) == [1, 1]
    alice.hang_up()
    assert live(exchange) == [0, 0]
    told = messages(exchange.open("ALICE").news)
    reasons = [each.reason for each in told if isinstance(each, ouch.Canceled)]
    assert reasons == [CancelReason.LINK_LOST] * 2


def test_a_new_shard_takes_orders_of_those_who_are_logged_in() -> None:
    exchange = ShardedExchange(gateways=2)
    alice = exchange.open("ALICE")
    alice.send(enter(1, "AAPL"))
    directory: Directory = exchange.directory.add_shard(3).add_symbol("NEW", 3)
    exchange.directory = directory
    exchange.open_shard(3)
    exchange.set_directory(directory)
    for node in exchange.gateways:
        node.connect(3)
    exchange.settle()
    alice.send(enter(2, "NEW"), enter(3, "MSFT"))
    assert sorted(letters(alice.news)) == ["A", "A", "A"]
    assert live(exchange) == [1, 1, 1]
    assert same_streams(exchange)


def test_marks_are_few_and_stop_when_nothing_happens() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    before = exchange.primaries[1].last_sequence
    alice.send(*(enter(number, "MSFT") for number in range(1, 101)))
    assert letters(alice.news) == "A" * 100
    exchange.wait(2)
    assert exchange.primaries[1].last_sequence - before <= 3


def test_a_gateway_without_a_directory_lets_nobody_in() -> None:
    exchange = ShardedExchange()
    directory, exchange.directory = exchange.directory, Directory((), (), {}, {})
    node = exchange.start_gateway()
    line = exchange.open("ALICE", gateway=1)
    assert line.news[0] == Debug(ClosingReason.CATCHING_UP.text)
    exchange.set_directory(directory)
    for number in directory.shards:
        node.connect(number)
    exchange.settle()
    assert exchange.open("ALICE", gateway=1).news == [LoginAccepted("DEMO", 1)]


def test_what_another_list_has_for_clients_who_are_away_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.shards.UNMARKED_LIMIT_BYTES", 500)
    exchange = ShardedExchange()
    alice, bob = exchange.open("ALICE"), exchange.open("BOB")
    alice.send(enter(1, "MSFT", quantity=1000))
    alice.hang_up()
    other = exchange.gateways[0].gateway.shards[1].home.others[2]
    sizes = []
    for number in range(1, 101):
        bob.send(enter(number, "MSFT", "S", 1))
        sizes.append(other.size_bytes)
    assert 400 < max(sizes) <= 500
    assert letters(exchange.open("ALICE").news) == "A" + "E" * 100


def late_log_in(node: ShardedNode, shard: int) -> None:
    """A log-in of ALICE comes to a shard from a session that is long over."""
    command = LogIn(ALICE, 99, SelfTradePrevention.OFF, 1)
    node.links[shard].primary.submit(Submission(99, command), 0)


def test_a_log_in_from_before_is_not_admitted_at_another_shard() -> None:
    exchange = ShardedExchange()
    alice = exchange.open("ALICE")
    late_log_in(exchange.gateways[0], 2)
    alice.send(enter(1, "MSFT"))
    assert letters(alice.news) == "A"
