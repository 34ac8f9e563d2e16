"""The configuration that a layout of processes comes to, on one machine and on several."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from engine.settings import InstrumentSettings
from feed.settings import Address, FailoverSettings, JournalSettings
from tools.configuration import Configuration
from tools.layout import Host, Layout, Transport
from zk.settings import ZooKeeperSettings

HOSTS = {
    "subscriber": Host(address="10.77.0.1"),
    "e1": Host(("ip", "netns", "exec", "h1"), "10.77.0.11"),
    "r1": Host(("ip", "netns", "exec", "h2"), "10.77.0.12"),
}


def configure(layout: Layout) -> tuple[Configuration, dict[int, Address]]:
    return layout.configuration(
        "TEST",
        [InstrumentSettings(symbol="AAPL")],
        ZooKeeperSettings(hosts="10.77.0.1:2181"),
        Path("clients.toml"),
    )


def test_all_is_on_the_loopback_without_hosts() -> None:
    layout = Layout(["e1", "e2"], ["r1"], ["g1"], transport=Transport.MULTICAST)
    configuration, receive = configure(layout)
    assert receive == {}
    assert configuration.journal is None
    assert configuration.feed.ttl == 0
    assert configuration.failover == FailoverSettings()
    addresses = [configuration.gateways["g1"].listen]
    for holder in configuration.shard_settings().holders.values():
        addresses += [holder.repair, holder.replication]
    assert {address.host for address in addresses} == {"127.0.0.1"}
    assert layout.on_host(configuration, "e1") == configuration


def test_by_unicast_every_replica_has_its_place_among_the_receivers() -> None:
    layout = Layout(["e1", "e2"], ["r1"], ["g1"], transport=Transport.UNICAST)
    configuration, receive = configure(layout)
    holders = configuration.shard_settings().holders
    assert configuration.feed.receivers == (
        *(each.receive for each in holders.values()),
        configuration.gateways["g1"].receive,
        receive[1],
    )
    assert layout.on_host(configuration, "e1") == configuration


def test_options_reach_the_sections_that_they_are_for() -> None:
    failover = FailoverSettings(suspicion_time_ms=50)
    layout = Layout(
        ["e1"],
        ["r1"],
        ["g1"],
        drills=True,
        failover=failover,
        journal=JournalSettings(folder=Path("journal")),
        feed_options={"payload_limit_bytes": 256},
        gateway_options={"stream_limit_bytes": 1 << 20},
    )
    configuration, _ = configure(layout)
    assert all(holder.drills for holder in configuration.shard_settings().holders.values())
    assert configuration.failover == failover
    assert configuration.journal == JournalSettings(folder=Path("journal"))
    assert configuration.feed.payload_limit_bytes == 256
    assert configuration.gateways["g1"].stream_limit_bytes == 1 << 20


def test_each_host_has_its_own_address_and_interface() -> None:
    layout = Layout(["e1", "e2"], ["r1"], ["g1"], hosts=HOSTS)
    configuration, _ = configure(layout)
    assert configuration.replicas["e1"].control.host == "10.77.0.11"
    assert configuration.retransmitters["r1"].replication.host == "10.77.0.12"
    assert configuration.gateways["g1"].listen.host == "10.77.0.1"
    assert (configuration.feed.ttl, configuration.feed.interface) == (1, IPv4Address("10.77.0.1"))


def test_the_interface_is_all_that_differs_between_the_hosts_files(tmp_path: Path) -> None:
    layout = Layout(["e1", "e2"], ["r1"], ["g1"], hosts=HOSTS)
    configuration, _ = configure(layout)
    path = tmp_path / "exchange.toml"
    layout.on_host(configuration, "e1").save(path)
    there = Configuration.load(path)
    assert there.feed.interface == IPv4Address("10.77.0.11")
    assert there.replicas == configuration.replicas
    assert there.feed.group == configuration.feed.group


def test_several_shards_share_the_holders_out_and_have_the_gateways_in_common() -> None:
    layout = Layout(
        ["e1", "e2", "e3", "e4"], ["r1", "r2"], ["g1"], transport=Transport.MULTICAST, shards=2
    )
    configuration, receive = configure(layout)
    assert receive == {}
    first, second = configuration.by_shard().values()
    assert (list(first.replicas), list(first.retransmitters)) == (["e1", "e2"], ["r1"])
    assert (list(second.replicas), list(second.retransmitters)) == (["e3", "e4"], ["r2"])
    assert list(first.gateways) == list(second.gateways) == ["g1"]
    assert (first.feed.shard, second.feed.shard) == (1, 2)
    assert first.feed.port != second.feed.port
    assert layout.on_host(configuration, "e1") == configuration


def test_by_unicast_every_shard_has_each_listener_among_its_receivers() -> None:
    layout = Layout(["e1", "e2"], ["r1", "r2"], ["g1", "g2"], transport=Transport.UNICAST, shards=2)
    configuration, receive = configure(layout)
    assert list(receive) == [1, 2]
    for shard, view in configuration.by_shard().items():
        assert view.feed.receivers == (
            *(each.receive for each in view.shard_settings().holders.values()),
            *(each.receive for each in view.gateways.values()),
            receive[shard],
        )


def test_instruments_are_dealt_out_to_the_shards_unless_they_say_where_they_are() -> None:
    layout = Layout(["e1", "e2"], [], [], shards=2)
    symbols = [InstrumentSettings(symbol=each) for each in ("AAPL", "MSFT", "NVDA")]
    symbols.insert(0, InstrumentSettings(symbol="AMZN", shard=2))
    configuration, _ = layout.configuration(
        "TEST", symbols, ZooKeeperSettings(), Path("clients.toml")
    )
    shards = {each.symbol: each.shard for each in configuration.instruments}
    assert shards == {"AMZN": 2, "AAPL": 1, "MSFT": 2, "NVDA": 1}


def test_each_host_has_its_own_interface_in_every_shard(tmp_path: Path) -> None:
    layout = Layout(["e1", "e2"], ["r1", "r2"], ["g1"], hosts=HOSTS, shards=2)
    configuration, _ = configure(layout)
    path = tmp_path / "exchange.toml"
    layout.on_host(configuration, "e1").save(path)
    for there, here in zip(
        Configuration.load(path).shards.values(), configuration.shards.values(), strict=True
    ):
        assert there.feed.interface == IPv4Address("10.77.0.11")
        assert here.feed.interface == IPv4Address("10.77.0.1")
        assert (there.feed.ttl, there.feed.group) == (1, here.feed.group)
        assert there.replicas == here.replicas


def test_shards_that_would_not_get_equally_many_holders_are_refused() -> None:
    with pytest.raises(AssertionError, match="3 processes can't be shared out evenly to 2"):
        configure(Layout(["e1", "e2", "e3"], [], [], shards=2))


@pytest.mark.parametrize(("name", "host"), [("e1", HOSTS["e1"]), ("e2", HOSTS["subscriber"])])
def test_process_without_a_host_runs_where_the_subscriber_does(name: str, host: Host) -> None:
    assert Layout([], [], [], hosts=HOSTS).host(name) == host
    assert Layout([], [], []).host(name) == Host()
