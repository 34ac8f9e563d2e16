"""A whole feed on a bad network, in virtual time: everything arrives, once, in order, and soon."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.codec import HEARTBEAT, decode_packet
from feed.faults import FaultShares
from feed.gap import GapFailure
from feed.repair import RepairLimits
from tests.feed.cluster import Cluster
from tests.feed.lists import (
    MILLISECOND_NS,
    SECOND_NS,
    delivered,
    list_of,
    random_sizes,
)

BAD = FaultShares.parse("drop=5,duplicate=5,reorder=10,corrupt=1")
CLEAN = FaultShares()


@given(
    seed=st.integers(0, 2**32 - 1),
    commit_lag_ns=st.sampled_from([0, 700_000]),
    interval_ns=st.sampled_from([20_000, 150_000, 3 * MILLISECOND_NS]),
)
@settings(max_examples=25, deadline=None)
def test_every_group_arrives_once_in_order_and_soon_on_a_bad_network(
    seed: int, commit_lag_ns: int, interval_ns: int
) -> None:
    groups = list_of(random_sizes(Random(seed), 120))
    cluster = Cluster(seed, BAD, commit_lag_ns=commit_lag_ns)
    last_ns = cluster.publish(groups, interval_ns=interval_ns)
    assert cluster.run(len(groups)), cluster.subscribers[0].receiver.failure
    assert delivered(cluster.subscribers[0].groups) == groups
    frames = [frame for group in groups for frame in group]
    for holder in cluster.holders:
        assert holder.cache.frames(1, len(frames)) == frames
    assert cluster.world.now_ns - last_ns < SECOND_NS
    for node in cluster.listening:
        counters = node.receiver.counters
        assert counters.gaps_detected == counters.gaps_filled
        assert counters.frames == len(frames)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_where_a_third_of_all_datagrams_is(seed: int) -> None:
    groups = list_of(random_sizes(Random(seed), 80))
    cluster = Cluster(seed, FaultShares(drop=0.3, duplicate=0.2, reorder=0.2, corrupt=0.05))
    last_ns = cluster.publish(groups, interval_ns=100_000)
    assert cluster.run(len(groups))
    assert delivered(cluster.subscribers[0].groups) == groups
    assert cluster.world.now_ns - last_ns < 5 * SECOND_NS


def test_same_seed_brings_the_same_recovery() -> None:
    groups = list_of(random_sizes(Random(1), 100))
    times = []
    for seed in (1, 1, 2):
        cluster = Cluster(seed, BAD)
        cluster.publish(groups, interval_ns=100_000)
        assert cluster.run(len(groups))
        times.append(cluster.world.now_ns)
    assert times[0] == times[1] != times[2]


def test_last_packet_that_everybody_lost_shows_by_the_heartbeats() -> None:
    groups = list_of([1, 1, 3])
    cluster = Cluster(1, CLEAN)
    cluster.publish(groups[:2], interval_ns=100_000)
    assert cluster.run(2)
    listening, cluster.listening = cluster.listening, []
    lost_ns = cluster.publish(groups[2:], interval_ns=0)
    cluster.world.run(lambda: len(cluster.primary.cache) == 5, SECOND_NS)
    cluster.listening = listening
    cluster.sent.clear()
    assert cluster.run(3)
    assert delivered(cluster.subscribers[0].groups) == groups
    headers = [decode_packet(data).header for data in cluster.sent]
    assert {(header.flags, header.first_sequence) for header in headers} == {(HEARTBEAT, 6)}
    assert cluster.world.now_ns - lost_ns < 20 * MILLISECOND_NS


@pytest.mark.parametrize("dead", [0, 1])
def test_dead_retransmitter_delays_repair_by_little(dead: int) -> None:
    groups = list_of(random_sizes(Random(3), 150))
    cluster = Cluster(3, BAD)
    cluster.holders[dead].is_alive = False
    last_ns = cluster.publish(groups, interval_ns=100_000)
    assert cluster.run(len(groups))
    assert delivered(cluster.subscribers[0].groups) == groups
    assert cluster.world.now_ns - last_ns < SECOND_NS


def test_frames_that_nobody_has_stop_everybody_loudly() -> None:
    groups = list_of([1] * 20)
    cluster = Cluster(4, CLEAN)
    listening, cluster.listening = cluster.listening, []
    cluster.publish(groups[:5], interval_ns=0)
    cluster.world.run(lambda: len(cluster.primary.cache) == 5, SECOND_NS)
    cluster.listening = listening
    cluster.primary.is_alive = False
    cluster.publish(groups[5:], interval_ns=100_000)
    assert not cluster.run(len(groups), limit_ns=30 * SECOND_NS)
    assert [node.receiver.failure for node in cluster.subscribers] == [
        GapFailure(1, 5, "retransmitter 1 does not hold it, retransmitter 2 does not hold it")
    ]
    assert {node.receiver.failure for node in cluster.retransmitters} == {
        GapFailure(1, 5, "retransmitter 1 does not hold it, retransmitter 2 did not answer")
    }
    assert cluster.subscribers[0].groups == []


def test_silence_of_all_retransmitters_is_a_failure() -> None:
    groups = list_of([1] * 200)
    cluster = Cluster(5, BAD)
    for holder in cluster.holders:
        holder.is_alive = False
    cluster.publish(groups, interval_ns=100_000)
    assert not cluster.run(len(groups), limit_ns=12 * SECOND_NS)
    [subscriber] = cluster.subscribers
    failure = subscriber.receiver.failure
    assert failure is not None
    assert failure.reason == "no retransmitter answered"
    assert failure.first_sequence >= subscriber.subscriber.next_sequence
    assert delivered(subscriber.groups) == groups[: subscriber.subscriber.next_sequence - 1]


def test_long_list_is_recovered_soon_by_who_joins_late_on_a_bad_network() -> None:
    count = 30_000
    groups = list_of([1] * count)
    cluster = Cluster(6, BAD)
    cluster.hold(groups)
    cluster.subscribers[0].is_checked = False
    assert cluster.run(count, limit_ns=SECOND_NS)
    assert delivered(cluster.subscribers[0].groups) == groups
    counters = cluster.subscribers[0].receiver.counters
    assert counters.naks_sent < 4 * count / 512
    assert counters.frames_recovered == count


def test_nak_storm_is_served_within_the_rate_and_in_the_end_wholly() -> None:
    limits = RepairLimits(
        bytes_per_second=2_000_000,
        burst_bytes=50_000,
        requester_bytes_per_second=500_000,
        requester_burst_bytes=20_000,
    )
    count = 1500
    groups = list_of([1] * count)
    cluster = Cluster(7, BAD, limits=limits, subscriber_count=8)
    cluster.hold(groups)
    for node in cluster.subscribers:
        node.is_checked = False
    assert cluster.run(count)
    for node in cluster.subscribers:
        assert delivered(node.groups) == groups
    seconds = cluster.world.now_ns / SECOND_NS
    for holder in cluster.holders:
        counters = holder.responder.counters
        assert counters.bytes_retransmitted <= 50_000 + 2_000_000 * seconds
        assert counters.naks_limited > 0
    assert seconds < 3
