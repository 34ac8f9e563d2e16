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


def configure(layout: Layout) -> tuple[Configuration, Address | None]:
    return layout.configuration(
        "TEST",
        [InstrumentSettings(symbol="AAPL")],
        ZooKeeperSettings(hosts="10.77.0.1:2181"),
        Path("clients.toml"),
    )


def test_all_is_on_the_loopback_without_hosts() -> None:
    layout = Layout(["e1", "e2"], ["r1"], ["g1"], transport=Transport.MULTICAST)
    configuration, receive = configure(layout)
    assert receive is None
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
        receive,
    )
    assert layout.on_host(configuration, "e1") is configuration


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


@pytest.mark.parametrize(("name", "host"), [("e1", HOSTS["e1"]), ("e2", HOSTS["subscriber"])])
def test_process_without_a_host_runs_where_the_subscriber_does(name: str, host: Host) -> None:
    assert Layout([], [], [], hosts=HOSTS).host(name) == host
    assert Layout([], [], []).host(name) == Host()
