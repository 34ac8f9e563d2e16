"""In which order the processes of an exchange are stopped."""

from pathlib import Path

from engine.settings import InstrumentSettings
from tools.configuration import Configuration
from tools.fleet import Fleet, stopping_order
from tools.layout import Layout
from zk.settings import ZooKeeperSettings


def configuration() -> Configuration:
    layout = Layout(["e1", "e2", "e3"], ["r1", "r2"], ["g1", "g2"])
    zookeeper = ZooKeeperSettings(hosts="127.0.0.1:2181")
    symbols = [InstrumentSettings(symbol="AAPL")]
    return layout.configuration("TEST", symbols, zookeeper, Path("clients.toml"))[0]


def test_users_go_before_gateways_before_holders_before_the_primary_before_zookeeper() -> None:
    names = ["zookeeper", "e1", "e2", "e3", "r1", "r2", "g1", "g2", "load", "viewer"]
    assert stopping_order(configuration(), names, ["e2"]) == [
        ["viewer"],
        ["load"],
        ["g1", "g2"],
        ["e1", "e3", "r1", "r2"],
        ["e2"],
        ["zookeeper"],
    ]


def test_the_primary_of_every_shard_goes_last(tmp_path: Path) -> None:
    layout = Layout(["e1", "e2", "e3", "e4"], ["r1", "r2"], ["g1"], shards=2)
    symbols = [InstrumentSettings(symbol="AAPL")]
    shards, _ = layout.configuration("TEST", symbols, ZooKeeperSettings(), Path("clients.toml"))
    fleet = Fleet(shards, tmp_path)
    fleet.add_zookeeper()
    fleet.add_roles(lambda name: tmp_path / f"{name}.toml")
    assert fleet.names == ["zookeeper", "e1", "e2", "e3", "e4", "r1", "r2", "g1"]
    assert stopping_order(shards, fleet.names, ["e4", "e2"]) == [
        ["g1"],
        ["e1", "e3", "r1", "r2"],
        ["e2", "e4"],
        ["zookeeper"],
    ]


def test_every_process_of_a_configuration_has_its_command(tmp_path: Path) -> None:
    fleet = Fleet(configuration(), tmp_path)
    fleet.add_zookeeper()
    fleet.add_roles(lambda name: tmp_path / f"{name}.toml", options=["--faults", "drop=1"])
    assert fleet.names == ["zookeeper", "e1", "e2", "e3", "r1", "r2", "g1", "g2"]
    assert fleet.children == {}
    steps = stopping_order(fleet.configuration, fleet.names, [])
    assert sorted(name for step in steps for name in step if name) == sorted(fleet.names)
