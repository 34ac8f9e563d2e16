"""The drills' command line: what can't be done with a ZooKeeper or without root is said at once."""

import os
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.console import CommandError, UsageError
from tools.drill import hub, namespaces
from tools.drill.command import drill_app, parse_times
from tools.drill.drill import Drill
from tools.drill.kinds import (
    DRILLS,
    CutPrimary,
    KillPrimary,
    KillZooKeeperLeader,
    StopZooKeeper,
)
from tools.drill.namespaces import Network
from tools.drill.run import failover, hosts
from tools.drill.servers import check_choice
from tools.layout import SUBSCRIBER, Host

NAMES = ("e1", "e2", "e3")
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make network namespaces")


def test_every_drill_has_a_name_of_its_own_and_a_line_of_help() -> None:
    assert len({kind.name for kind in DRILLS}) == len(DRILLS) == 12
    for kind in DRILLS:
        assert kind.__doc__
        assert "\n" not in kind.__doc__


@pytest.mark.parametrize(
    ("kind", "choice", "text"),
    [
        (StopZooKeeper, "10.0.0.1:2181", "not this drill's to stop"),
        (KillZooKeeperLeader, "embedded", "needs an ensemble of its own"),
        (KillZooKeeperLeader, "10.0.0.1:2181", "not this drill's to stop"),
        (CutPrimary, "embedded", "reached from its own host alone"),
        (CutPrimary, "10.0.0.1:2181", "reach no server outside"),
        (KillPrimary, "embeded", "is not an address"),
        (KillPrimary, "10.0.0.1:2181,10.0.0.2", "is not an address"),
    ],
)
def test_zookeeper_that_a_drill_cannot_be_done_with_is_refused(
    kind: type[Drill], choice: str, text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        check_choice(choice, kind)


@pytest.mark.parametrize("kind", DRILLS)
def test_every_drill_can_be_done_with_apaches_servers(kind: type[Drill]) -> None:
    check_choice("apache", kind)


def test_a_drill_that_knows_one_shard_only_refuses_more() -> None:
    result = CliRunner().invoke(drill_app, ["cut-primary", "--shards", "2"])
    assert isinstance(result.exception, UsageError)
    assert "leave --shards out" in str(result.exception)


def test_servers_of_others_will_do_where_none_is_stopped() -> None:
    check_choice("10.0.0.1:2181,10.0.0.2:2181", KillPrimary)


def test_heartbeats_come_twice_within_every_suspicion_time() -> None:
    for time_ms in (2, 3, 5, 9, 10, 30, 100):
        settings = failover(time_ms)
        assert settings.suspicion_time_ms == time_ms
        assert settings.heartbeat_interval_ms <= 5


def test_suspicion_times_are_read_from_an_option() -> None:
    assert parse_times("5,10,100") == (5, 10, 100)
    for text in ("", "5,", "1", "5;6", "2.5"):
        with pytest.raises(UsageError, match="--times-ms"):
            parse_times(text)


def test_networks_of_two_runs_share_no_name() -> None:
    first, second = Network.plan(NAMES, 1), Network.plan(NAMES, 2)
    names = [[each.hub, *(host.namespace for host in each.hosts)] for each in (first, second)]
    assert not set(names[0]) & set(names[1])


def test_everything_is_made_within_the_namespaces() -> None:
    network = Network.plan(NAMES, 7)
    own = {network.hub, *(host.namespace for host in network.hosts)}
    for command in network.making():
        if command[1] == "netns":
            assert command[2:3] == ["add"]
            assert command[3] in own
        else:
            assert command[:2] == ["ip", "-n"]
            assert command[2] in own
    assert [command[-1] for command in network.removing()] == [
        network.hub,
        *(host.namespace for host in network.hosts),
    ]


def test_a_host_is_cut_off_at_its_port_of_the_bridge() -> None:
    network = Network.plan(NAMES, 7)
    in_hub = ["ip", "-n", network.hub, "link", "set", "port-e2"]
    assert network.cutting("e2") == [*in_hub, "down"]
    assert network.healing("e2") == [*in_hub, "up"]


def test_replicas_have_hosts_of_their_own_and_all_else_is_in_the_hub() -> None:
    network = Network.plan(NAMES, 7)
    placed = hosts(network)
    assert placed[SUBSCRIBER] == Host((), "10.77.0.1")
    assert placed["e3"] == Host(("ip", "netns", "exec", "lockstep-7-e3"), "10.77.0.13")
    assert set(placed) == {SUBSCRIBER, *NAMES}


def test_the_process_in_the_hub_knows_its_network() -> None:
    assert hub.network_here(NAMES, {}) is None
    assert hub.network_here(NAMES, {"LOCKSTEP_DRILL_HUB": "7"}) == Network.plan(NAMES, 7)


def test_without_root_no_network_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="root"):
        namespaces.require_root()


@is_root
def test_a_network_is_made_cut_healed_and_removed() -> None:
    network = Network.plan(NAMES, os.getpid())
    e1 = network.host("e1")
    with namespaces.made(network):
        assert reaches(e1.namespace, network.hub_address)
        assert reaches(e1.namespace, network.host("e3").address)
        namespaces.run(network.cutting("e1"))
        assert not reaches(e1.namespace, network.hub_address)
        assert reaches(network.host("e2").namespace, network.host("e3").address)
        namespaces.run(network.healing("e1"))
        assert reaches(e1.namespace, network.hub_address)
    assert_gone(network)


@is_root
def test_a_network_that_fails_half_way_is_removed() -> None:
    network = Network.plan(("e1", "e1"), os.getpid())  # the second one can't be made
    with pytest.raises(CommandError, match="netns add"), namespaces.made(network):
        pass
    assert_gone(network)


@is_root
def test_the_status_of_what_ran_in_the_hub_is_passed_on() -> None:
    assert hub.run_in_hub(NAMES, ["no-such-command"]) == 2
    assert_gone(Network.plan(NAMES, os.getpid()))


def reaches(namespace: str, address: IPv4Address) -> bool:
    """Whether a TCP connection gets as far as a refusal: nobody listens there."""
    program = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], 9), timeout=0.5)\n"
        "except ConnectionRefusedError: print('refused')\n"
        "except OSError: pass\n"
    )
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", program, str(address)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout == "refused\n"


def assert_gone(network: Network) -> None:
    there = {path.name for path in Path("/run/netns").glob("*")}
    assert not there & {network.hub, *(host.namespace for host in network.hosts)}
