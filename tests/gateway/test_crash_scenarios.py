"""The crash scenarios that are the gateways' to survive, with real gateways, clients and machine.

They happen in virtual time, so that each is exactly what its name says.
"""

import pytest

from feed.messages import Side
from gateway import ouch
from tests.gateway.exchange import Exchange, stream_of
from tests.gateway.situations import cancels_on_disconnect, live_orders
from tests.gateway.traders import Trader


def assert_each_once(exchange: Exchange, trader: Trader) -> None:
    """Each order of the trader took effect once, and everybody was told the same."""
    exchange.market.check()
    assert trader.failure is None
    assert trader.accepted == trader.entered
    assert trader.session.unanswered.numbered_count == 0
    assert [event.sequence for event in trader.events] == list(range(1, len(trader.events) + 1))
    exchange.start_gateway()
    stream, *others = [stream_of(node, "ALICE") for node in exchange.gateways]
    assert others == [stream] * len(others)
    told = [message for message in stream if isinstance(message, ouch.Accepted)]
    assert [message.user_ref_num for message in told] == trader.entered
    assert len(stream) == len(trader.events)
    assert len({node.digest.hex() for node in exchange.gateways}) == 1


@pytest.mark.parametrize("arrival", ["never", "before the log-in", "after the log-in"])
def test_scenario_19_a_gateway_dies_with_orders_in_flight(arrival: str) -> None:
    exchange = Exchange(gateways=2)
    trader = Trader(exchange)
    trader.connect(0)
    trader.enter(3)  # answered
    gateway = exchange.gateways[0]
    gateway.reads_feed = False
    trader.enter(3)  # in the list, and the client does not know it
    gateway.reaches_primary = False
    trader.enter(3)  # on their way
    in_flight = gateway.die()
    trader.cut_off()
    trader.enter(3)  # while it is not connected at all
    assert trader.accepted == [1, 2, 3]
    if arrival == "before the log-in":
        exchange.arrive(in_flight)
        assert exchange.primary.not_admitted == 0
    trader.connect(0)  # the one that is left
    if arrival == "after the log-in":  # which makes it void
        trader.enter(1)
        exchange.arrive(in_flight)
        assert exchange.primary.not_admitted == 3
    trader.enter(3)
    trader.pump()
    assert_each_once(exchange, trader)
    assert live_orders(exchange) == len(trader.entered)


@pytest.mark.parametrize("lost_groups", range(7))
def test_scenario_20_an_order_resent_after_a_failover(lost_groups: int) -> None:
    exchange = Exchange(gateways=2)
    trader, other = Trader(exchange), Trader(exchange, "BOB")
    trader.connect(0)
    other.connect(1)
    trader.enter(2)
    exchange.primary.commits = False
    for _ in range(6):  # decided, and not committed: as many as the failover may lose
        trader.enter()
    exchange.take_over(lost_groups)
    exchange.follow()
    assert exchange.shard.uplink.resent == 6
    assert exchange.primary.not_admitted == 6 - lost_groups
    exchange.commit()
    trader.pump()
    exchange.primary.commits = True
    other.enter(8, Side.SELL)
    trader.pump()
    trader.enter(2)
    assert_each_once(exchange, trader)
    assert other.accepted == other.entered
    assert live_orders(exchange) == 2  # the others have all traded, once


def test_scenario_20_an_order_resent_twice_over_two_failovers_that_both_kept_it() -> None:
    exchange = Exchange()
    trader = Trader(exchange)
    trader.connect()
    exchange.primary.commits = False
    trader.enter(4)
    for _ in range(2):
        exchange.take_over()
        exchange.follow()
    assert trader.accepted == []
    exchange.commit()
    trader.pump()
    assert_each_once(exchange, trader)


def test_scenario_21_a_client_resumes_on_another_gateway() -> None:
    exchange = Exchange(gateways=3)
    cancels_on_disconnect(exchange, "BOB")
    trader = Trader(exchange)
    for round_number in range(9):
        trader.connect(round_number % 3)
        assert trader.is_open
        behind = exchange.gateways[round_number % 3]
        trader.enter(2)
        behind.reads_feed = False
        trader.enter(2)  # their answers wait for the client elsewhere
        trader.cut_off() if round_number % 2 else trader.leave()
        behind.reads_feed = True
        exchange.settle()
        if round_number % 3 == 2:
            exchange.take_over()
            exchange.follow()
    trader.connect(1)
    assert_each_once(exchange, trader)


def test_scenario_21_a_client_resumes_on_another_gateway_in_the_middle_of_a_failover() -> None:
    exchange = Exchange(gateways=2)
    trader = Trader(exchange)
    trader.connect(0)
    exchange.primary.commits = False
    trader.enter(4)
    exchange.take_over(lost_groups=2)
    trader.leave()
    trader.enter(1)
    trader.connect(1)  # its gateway still knows the deposed primary alone
    assert not trader.is_open
    exchange.follow()
    trader.pump()
    assert not trader.is_open
    exchange.commit()
    trader.pump()
    assert trader.is_open
    exchange.commit()
    trader.pump()
    assert_each_once(exchange, trader)
