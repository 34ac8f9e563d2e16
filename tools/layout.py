"""Which processes an exchange has, where they run and listen, and the file for each host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from engine.settings import InstrumentSettings, MachineKind, ReplicaSettings
from feed.settings import Address, FailoverSettings, FeedSettings, JournalSettings
from gateway.settings import GatewaySettings
from retransmitter.settings import RetransmitterSettings
from tools.configuration import Configuration
from tools.ports import HOST, free_addresses, free_group, multicast_works
from zk.settings import ZooKeeperSettings

# The name of whoever looks on from the process that starts the others, among the receivers of a
# unicast feed and among the hosts.
SUBSCRIBER = "subscriber"


class Transport(StrEnum):
    """How the feed gets to its receivers."""

    AUTO = "auto"  # multicast where that works, else unicast
    MULTICAST = "multicast"
    UNICAST = "unicast"


@dataclass(frozen=True, slots=True)
class Host:
    """Where a process runs, and which of its addresses it uses there."""

    prefix: tuple[str, ...] = ()  # runs a command there, as ("ip", "netns", "exec", "h1")
    address: str = HOST


@dataclass(frozen=True, slots=True)
class Layout:
    """The processes of an exchange, by name, and what is decided about each.

    With `hosts`, each process listens at the address of its own host, and a process without one
    is where the process named "subscriber" is; without `hosts`, all are on the loopback interface.
    """

    replicas: Sequence[str]
    retransmitters: Sequence[str]
    gateways: Sequence[str]
    transport: Transport = Transport.AUTO
    drills: bool = False
    machines: Mapping[str, MachineKind] = field(default_factory=dict)  # by replica
    failover: FailoverSettings | None = None
    journal: JournalSettings | None = None
    feed_options: Mapping[str, Any] = field(default_factory=dict)
    gateway_options: Mapping[str, Any] = field(default_factory=dict)
    hosts: Mapping[str, Host] = field(default_factory=dict)

    def host(self, name: str) -> Host:
        """Where a process runs."""
        return self.hosts.get(name) or self.hosts.get(SUBSCRIBER, Host())

    def configuration(
        self,
        exchange: str,
        symbols: Sequence[InstrumentSettings],
        zookeeper: ZooKeeperSettings,
        clients: Path,
    ) -> tuple[Configuration, Address | None]:
        """The configuration as the subscriber's host has it, on ports that nobody has.

        The other is where a subscriber listens if the feed is unicast. Raises OSError when too few
        ports are free.
        """
        unicast = self.transport is Transport.UNICAST or (
            self.transport is Transport.AUTO and not self.hosts and not multicast_works()
        )
        receivers = [*self.replicas, *self.retransmitters, *self.gateways, SUBSCRIBER]
        # At most five ports for a process: a replica has that many.
        ports = iter(free_addresses(1 + 5 * len(receivers)))

        def address(name: str) -> Address:
            return Address(self.host(name).address, next(ports).port)

        receive = {name: address(name) if unicast else None for name in receivers}
        feed: dict[str, Any] = {"group": free_group(), "port": next(ports).port}
        if unicast:
            feed = {"transport": "unicast", "receivers": tuple(filter(None, receive.values()))}
        elif self.hosts:
            feed |= {"interface": IPv4Address(self.host(SUBSCRIBER).address), "ttl": 1}
        optional = {"failover": self.failover, "journal": self.journal}
        given: dict[str, Any] = {key: each for key, each in optional.items() if each is not None}
        configuration = Configuration(
            exchange=exchange,
            zookeeper=zookeeper,
            **given,
            feed=FeedSettings(**feed, **self.feed_options),
            instruments=tuple(symbols),
            replicas={
                name: ReplicaSettings(
                    repair=address(name),
                    replication=address(name),
                    receive=receive[name],
                    commands=address(name),
                    control=address(name),
                    machine=self.machines.get(name),
                    drills=self.drills,
                )
                for name in self.replicas
            },
            retransmitters={
                name: RetransmitterSettings(
                    repair=address(name),
                    replication=address(name),
                    receive=receive[name],
                    drills=self.drills,
                )
                for name in self.retransmitters
            },
            gateways={
                name: GatewaySettings(
                    listen=address(name),
                    receive=receive[name],
                    clients=clients,
                    **self.gateway_options,
                )
                for name in self.gateways
            },
        )
        return configuration, receive[SUBSCRIBER]

    def on_host(self, configuration: Configuration, name: str) -> Configuration:
        """The same configuration as the host of a process has it: with its own interface."""
        if configuration.feed.transport == "unicast":
            return configuration
        interface = IPv4Address(self.host(name).address)
        feed = configuration.feed.model_copy(update={"interface": interface})
        return configuration.model_copy(update={"feed": feed})
