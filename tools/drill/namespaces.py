"""Hosts made of network namespaces: a hub, and one host for each replica, on a bridge.

         hub (everything else)                e1            e2            e3
    bridge 10.77.0.1 ─ port e1 ═══ veth ═══ 10.77.0.11
                     ─ port e2 ═══ veth ══════════════════ 10.77.0.12
                     ─ port e3 ═══ veth ════════════════════════════════ 10.77.0.13

The bridge stands in the hub, so nothing outside the namespaces is touched: no bridge, no address
and no route of this machine. A host is cut off by taking its port of the bridge down; its own
interface stays up, as with a broken switch. The names have the process's number in them, so that
two drills do not meet.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from tools.console import CommandError, UsageError

_NETWORK = "10.77.0"  # it exists within the namespaces alone
_PREFIX_BITS = 24
_FIRST_HOST = 11
_BRIDGE = "bridge"
_INTERFACE = "feed"  # in each host
_GROUPS = "224.0.0.0/4"

Command = list[str]


@dataclass(frozen=True, slots=True)
class Host:
    """One network namespace beside the hub, and its port on the bridge."""

    name: str
    namespace: str
    port: str  # in the hub
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Network:
    """The hub and its hosts, as names and addresses; nothing is made yet."""

    hub: str
    hub_address: IPv4Address
    hosts: tuple[Host, ...]

    @classmethod
    def plan(cls, names: Sequence[str], run: int) -> "Network":
        """A network with a host for each name; `run` is a number that no other drill has."""
        hosts = tuple(
            Host(
                name,
                f"lockstep-{run}-{name}",
                f"port-{name}",
                IPv4Address(f"{_NETWORK}.{_FIRST_HOST + place}"),
            )
            for place, name in enumerate(names)
        )
        return cls(f"lockstep-{run}-hub", IPv4Address(f"{_NETWORK}.1"), hosts)

    def host(self, name: str) -> Host:
        """The host of this name."""
        return next(host for host in self.hosts if host.name == name)

    def making(self) -> list[Command]:
        """The commands that make it, in their order."""
        commands = [["ip", "netns", "add", self.hub]]
        commands += self._in_hub(["link", "set", "lo", "up"])
        # A bridge that snoops forwards a group only to ports that a querier has heard of, and there
        # is no querier here.
        bridge = ["link", "add", _BRIDGE, "type", "bridge", "mcast_snooping", "0"]
        commands += self._in_hub(bridge)
        commands += self._in_hub(
            ["address", "add", f"{self.hub_address}/{_PREFIX_BITS}", "dev", _BRIDGE]
        )
        commands += self._in_hub(["link", "set", _BRIDGE, "up"])
        commands += self._in_hub(["route", "add", _GROUPS, "dev", _BRIDGE])
        for host in self.hosts:
            commands += self._making_host(host)
        return commands

    def removing(self) -> list[Command]:
        """The commands that remove it; each does its part whether or not the others can."""
        namespaces = [self.hub, *(host.namespace for host in self.hosts)]
        return [["ip", "netns", "delete", namespace] for namespace in namespaces]

    def cutting(self, name: str) -> Command:
        """The command that cuts a host off from everybody."""
        return self._in_hub(["link", "set", self.host(name).port, "down"])[0]

    def healing(self, name: str) -> Command:
        """The command that connects it again."""
        return self._in_hub(["link", "set", self.host(name).port, "up"])[0]

    def _in_hub(self, arguments: Command) -> list[Command]:
        return [["ip", "-n", self.hub, *arguments]]

    def _making_host(self, host: Host) -> list[Command]:
        peer = ["peer", "name", _INTERFACE, "netns", host.namespace]
        commands = [["ip", "netns", "add", host.namespace]]
        commands += self._in_hub(["link", "add", host.port, "type", "veth", *peer])
        commands += self._in_hub(["link", "set", host.port, "master", _BRIDGE, "up"])
        address = f"{host.address}/{_PREFIX_BITS}"
        for arguments in (
            ["link", "set", "lo", "up"],
            ["address", "add", address, "dev", _INTERFACE],
            ["link", "set", _INTERFACE, "up"],
            ["route", "add", _GROUPS, "dev", _INTERFACE],
        ):
            commands.append(["ip", "-n", host.namespace, *arguments])
        return commands


def require_root() -> None:
    """Raise UsageError where network namespaces can't be made, with what would help."""
    if shutil.which("ip") is None:
        raise UsageError("cut-primary needs the command ip; on Debian: apt-get install iproute2")
    if os.geteuid() != 0:
        raise UsageError("cut-primary makes network namespaces, which only root may: use sudo")


@contextlib.contextmanager
def made(network: Network) -> Iterator[None]:
    """Make a network; it is removed at the end, also when half of it could not be made.

    Raises CommandError when it can't be made.
    """
    try:
        for command in network.making():
            run(command)
        yield
    finally:
        for command in network.removing():
            subprocess.run(command, capture_output=True, check=False)


def run(command: Command) -> None:
    """Run one command; raises CommandError with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
