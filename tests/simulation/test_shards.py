"""Exchanges with several shards, small and in fair weather: what the seeds do with faults."""

from random import Random

import pytest

from engine.market import Market
from feed.messages import MoveOut, ShardMark, TradingState
from tools.simulation.cluster import Cluster, NotInTimeError
from tools.simulation.operator import Operator
from tools.simulation.scene import Scene
from tools.simulation.shard import FURTHER_INSTRUMENTS, Shape
from tools.simulation.shard_faults import SHARD_FAULTS
from tools.simulation.shard_plan import draw_shards
from tools.simulation.world import MILLISECOND_NS
from zk.directory import Directory

HOMES = (1, 2)
SYMBOLS = {"ACME": (1,), "ZINC": (1,), "BOLT": (2,), "GEAR": (2,)}
FIRST = Shape(replicas=2, retransmitters=1, gateways=2, clients=2, subscribers=1)
SECOND = Shape(
    number=2,
    replicas=2,
    retransmitters=1,
    gateways=0,
    clients=0,
    subscribers=1,
    instruments=FURTHER_INSTRUMENTS[2],
)
WHOLE = Directory(HOMES, HOMES, SYMBOLS, {})
KINDS = {fault.kind: fault for fault in SHARD_FAULTS}


def exchange(seed: int = 1, directory: Directory = WHOLE) -> Cluster:
    """Two shards, whose clients have traded a little; all is calm."""
    cluster = Cluster(seed, FIRST, others=[SECOND], directory=directory)
    trade(cluster)
    return cluster


def trade(cluster: Cluster, orders: int = 12) -> None:
    """All clients trade, and then all is calm and agrees."""
    for client in cluster.clients.values():
        client.trade(orders, MILLISECOND_NS)
    cluster.settle(20_000)


def market(cluster: Cluster, shard: int) -> Market:
    """The market of the shard's primary."""
    each = cluster.clusters[shard]
    assert each.primary is not None
    found = each.reference_market(each.primary)
    assert found is not None
    return found


def test_names_tell_the_shards_apart() -> None:
    cluster = Cluster(1, FIRST, others=[SECOND], directory=WHOLE)
    assert list(cluster.processes) == [
        *("e1", "e2", "r1", "s1"),
        *("e21", "e22", "r21", "s21"),
        *("g1", "g2", "C1", "C2"),
    ]
    assert list(cluster.clusters[2].holders) == ["e21", "e22", "r21"]
    assert cluster.clusters[2].gateways is cluster.gateways


def test_clients_trade_in_all_shards_and_each_has_one_stream() -> None:
    cluster = exchange()
    ledger = cluster.ledger
    homes = {ledger.streams.home_of(number) for number in (1, 2)}
    assert homes == set(HOMES)
    for shard in HOMES:
        for home in HOMES:
            assert ledger.commands_in(shard, without_home=home) > 0
        frames = cluster.clusters[shard].shard.subscribers
        (subscriber,) = frames.values()
        marks = [
            group.command.message()
            for group in subscriber.groups
            if isinstance(group.command.message(), ShardMark)
        ]
        assert marks
    assert all(len(stream) > 6 for stream in ledger.streams.streams.values())


def test_a_symbol_moves_there_and_back_with_its_orders() -> None:
    cluster = exchange()
    operator = Operator(cluster, Random(1))
    cluster.is_settled = lambda: operator.is_idle
    for to in (2, 1):
        assert operator.move("ACME", to)
        assert not operator.move("ZINC", to), "one at a time"
        trade(cluster)
        assert cluster.places.directory.shard_of("ACME") == to
        assert cluster.places.directory.moving == {}
        states = {shard: market(cluster, shard).instruments[b"ACME    "].state for shard in HOMES}
        assert states == {to: TradingState.TRADING, 3 - to: TradingState.MOVED}
    assert operator.moves == 2
    assert cluster.ledger.transit.is_empty
    assert cluster.places.directory.symbols["ACME"] == (2, 1)


def test_a_move_goes_on_after_the_primaries_of_both_shards_have_died() -> None:
    cluster = exchange()
    operator = Operator(cluster, Random(1))
    cluster.is_settled = lambda: operator.is_idle
    assert operator.move("BOLT", 1)
    for each in cluster.clusters.values():
        assert each.primary is not None
        each.primary.kill()
    cluster.run(300)
    cluster.revive()
    trade(cluster)
    assert operator.moves == 1
    left = [
        group
        for node in cluster.clusters[2].subscribers.values()
        for group in node.groups
        if isinstance(group.command.message(), MoveOut)
    ]
    assert len([group for group in left if len(group.frames) > 1]) == 1


def test_a_day_begins_in_one_shard_after_the_other() -> None:
    cluster = exchange()
    operator = Operator(cluster, Random(2))
    cluster.is_settled = lambda: operator.is_idle
    before = {number: len(stream) for number, stream in cluster.ledger.streams.streams.items()}
    assert operator.begin_day()
    assert not operator.begin_day(), "one between two calms"
    trade(cluster)
    streams = cluster.ledger.streams
    for client in cluster.clients.values():
        assert client.session.session == streams.session_of(client.number) == "20270101"
        assert len(streams.stream(client.number, "SIM")) >= before[client.number]
    operator.rest()
    assert operator.begin_day()
    trade(cluster)
    assert {streams.session_of(number) for number in before} == {"20270102"}


def test_a_shard_that_comes_later_is_nobodys_home() -> None:
    begins = Directory((1,), (1,), {"ACME": (1,), "ZINC": (1,)}, {})
    cluster = exchange(directory=begins)
    assert all(list(node.feeds) == [1] for node in cluster.gateways.values())
    cluster.places.change(begins.add_shard(2).add_symbol("BOLT", 2).add_symbol("GEAR", 2))
    cluster.run(200)
    assert all(list(node.feeds) == [1, 2] for node in cluster.gateways.values())
    trade(cluster)
    assert cluster.ledger.commands_in(2, without_home=2) > 0
    assert {cluster.ledger.streams.home_of(number) for number in (1, 2)} == {1}


def test_a_gateway_that_can_not_reach_zookeeper_hears_of_changes_later() -> None:
    begins = Directory((1,), (1,), {"ACME": (1,), "ZINC": (1,)}, {})
    cluster = exchange(directory=begins)
    gateway = cluster.gateways["g1"]
    gateway.reaches_zookeeper = False
    cluster.places.change(begins.add_shard(2))
    cluster.run(500)
    assert list(gateway.feeds) == [1]
    assert list(cluster.gateways["g2"].feeds) == [1, 2]
    gateway.reaches_zookeeper = True
    cluster.run(500)
    assert list(gateway.feeds) == [1, 2]


def test_the_others_go_on_while_one_shard_is_cut_off() -> None:
    cluster = exchange()
    ledger = cluster.ledger
    for gateway in cluster.gateways:
        cluster.cut(gateway, list(cluster.clusters[2].holders))
    before = ledger.commands_in(1, without_home=2), ledger.commands_in(2, without_home=2)
    for client in cluster.clients.values():
        client.enter(["ACME", "ZINC"])
    cluster.run(500)
    assert ledger.commands_in(1, without_home=2) >= before[0] + 2
    assert ledger.commands_in(2, without_home=2) == before[1]
    assert not all(client.is_settled for client in cluster.clients.values())
    cluster.network.heal()
    trade(cluster)


def test_a_stream_that_no_mark_brings_on_is_not_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = exchange()
    monkeypatch.setattr("gateway.shard.GatewayShard.mark", lambda *_: None)
    for client in cluster.clients.values():
        client.trade(12, MILLISECOND_NS)
    with pytest.raises(NotInTimeError, match="every command has to be answered"):
        cluster.settle(1_000)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_strikes_and_is_got_over(kind: str) -> None:
    cluster = exchange()
    operator = Operator(cluster, Random(1))
    cluster.is_settled = lambda: operator.is_idle
    for each in cluster.clusters.values():
        scene = Scene(each, Random(3))
        scene.operator = operator
        operator.rest()
        mend = KINDS[kind].strike(scene)
        assert mend is not None
        cluster.run(60)
        mend()
        cluster.network.heal()
        cluster.revive()
        trade(cluster, 3)


def test_seeds_draw_one_two_and_three_shards() -> None:
    plans = [draw_shards(Random(f"shards/{seed}"), FIRST) for seed in range(600)]
    counts = [len(plan.shapes) + 1 for plan in plans]
    assert 330 < counts.count(1) < 410
    assert 160 < counts.count(2) < 240
    assert 15 < counts.count(3) < 55
    several = [plan for plan in plans if plan.directory is not None]
    assert {plan.later is None for plan in several} == {True, False}
    for plan in several:
        assert plan.directory is not None
        assert plan.later is None or plan.later.homes == plan.directory.homes
        assert plan.faults


def test_gateways_hear_of_the_directory_one_after_the_other() -> None:
    cluster = exchange()
    places = cluster.places
    assert places.is_known
    places.change(WHOLE.begin_move("ACME", 2))
    assert not places.is_known
    gateway = cluster.gateways["g2"]
    gateway.reaches_zookeeper = False
    cluster.run(200)
    assert not places.is_known
    gateway.reaches_zookeeper = True
    cluster.run_until(lambda: places.is_known, 200, "both have to hear")
