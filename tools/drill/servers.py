"""The ZooKeeper that a drill runs against: the embedded server, Apache's, or somebody else's."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from feed.settings import parse_address
from tools.apache import ApacheZooKeeper
from tools.console import UsageError
from tools.fleet import ZOOKEEPER
from tools.processes import Exchange

EMBEDDED = "embedded"
APACHE = "apache"


class Servers(Protocol):
    """What a drill can do to its ZooKeeper."""

    hosts: str | None  # None: the exchange starts its own, the embedded one

    async def start(self) -> None:
        """Start what has to run before the exchange does."""

    async def close(self) -> None:
        """End what `start` started."""

    async def stop_all(self, exchange: Exchange) -> None:
        """Let no server run."""

    async def start_all(self, exchange: Exchange) -> None:
        """Let them run again."""


class EmbeddedServers:
    """The embedded server, which the exchange runs as a process of its own."""

    hosts: str | None = None

    async def start(self) -> None:
        """Nothing has to run before."""

    async def close(self) -> None:
        """Nothing was started."""

    async def stop_all(self, exchange: Exchange) -> None:
        """Kill it; with it goes all that it knew."""
        await exchange.kill(ZOOKEEPER)

    async def start_all(self, exchange: Exchange) -> None:
        """Start it, knowing nothing."""
        await exchange.restart(ZOOKEEPER)


class ApacheServers:
    """Apache ZooKeeper from Debian's package: one server, or an ensemble of three."""

    def __init__(self, servers: int, folder: Path, host: str) -> None:
        """Raises CommandError when it is not installed."""
        self.apache = ApacheZooKeeper(servers, folder, host=host)
        self.hosts: str | None = self.apache.hosts

    async def start(self) -> None:
        """Start all servers, and wait until they serve."""
        await self.apache.start()

    async def close(self) -> None:
        """End all servers."""
        await self.apache.stop()

    async def stop_all(self, exchange: Exchange) -> None:
        """Kill all servers; what they wrote stays."""
        await self.apache.stop()

    async def start_all(self, exchange: Exchange) -> None:
        """Start all servers with what they had written."""
        await self.apache.start()


class ExternalServers:
    """An ensemble that somebody else runs; a drill only uses it."""

    def __init__(self, hosts: str) -> None:
        self.hosts: str | None = hosts

    async def start(self) -> None:
        """It runs already."""

    async def close(self) -> None:
        """It goes on."""

    async def stop_all(self, exchange: Exchange) -> None:
        """Not for a drill to do; `choose_servers` has said so."""
        raise AssertionError("somebody else's servers are not for a drill to stop")

    async def start_all(self, exchange: Exchange) -> None:
        """Likewise."""
        raise AssertionError("somebody else's servers are not for a drill to start")


class Needs(Protocol):
    """What a drill asks of its ZooKeeper."""

    name: ClassVar[str]
    stops_zookeeper: ClassVar[bool]
    kills_a_leader: ClassVar[bool]
    cuts_hosts: ClassVar[bool]


def check_choice(choice: str, drill: Needs | type[Needs]) -> None:
    """Raise UsageError when a drill can't be done with this ZooKeeper."""
    stopped_by_us = choice in (EMBEDDED, APACHE)
    if drill.stops_zookeeper and not stopped_by_us:
        raise UsageError(
            f"{drill.name} stops ZooKeeper, and the servers at {choice} are not this drill's to "
            f'stop: use "--zookeeper {EMBEDDED}" or "--zookeeper {APACHE}"'
        )
    if drill.kills_a_leader and choice != APACHE:
        raise UsageError(
            f"{drill.name} needs an ensemble of its own, with a leader to kill: leave --zookeeper "
            f'off, or use "--zookeeper {APACHE}"'
        )
    if drill.cuts_hosts and choice != APACHE:
        raise UsageError(
            f"{drill.name} runs on hosts of its own, which reach no server outside of them, and "
            f"the embedded one is reached from its own host alone: leave --zookeeper off, or use "
            f'"--zookeeper {APACHE}"'
        )
    if not stopped_by_us:
        _check_hosts(choice.split(","))


def choose_servers(choice: str, drill: Needs, folder: Path, host: str) -> Servers:
    """The servers for a drill; `host` is the address that Apache's take clients at.

    Raises CommandError when they are not installed.
    """
    if choice == EMBEDDED:
        return EmbeddedServers()
    if choice == APACHE:
        return ApacheServers(3 if drill.kills_a_leader else 1, folder, host)
    return ExternalServers(choice)


def _check_hosts(hosts: Sequence[str]) -> None:
    for each in hosts:
        try:
            parse_address(each.strip())
        except ValueError as error:
            raise UsageError(f"--zookeeper: {error}; or use {EMBEDDED!r} or {APACHE!r}") from error
