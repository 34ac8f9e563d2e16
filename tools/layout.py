"""Which processes an exchange has, where they run and listen, and the file for each host."""

import itertools
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

    With several `shards`, numbered from 1, each has as many of the replicas and retransmitters,
    in their order: of six replicas, e1 to e3 run shard 1 and e4 to e6 shard 2. The gateways serve
    all shards. Instruments that don't say where they are are dealt out to the shards in turn.
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
    shards: int = 1

    def host(self, name: str) -> Host:
        """Where a process runs."""
        return self.hosts.get(name) or self.hosts.get(SUBSCRIBER, Host())

    def configuration(
        self,
        exchange: str,
        symbols: Sequence[InstrumentSettings],
        zookeeper: ZooKeeperSettings,
        clients: Path,
    ) -> tuple[Configuration, dict[int, Address]]:
        """The configuration as the subscriber's host has it, on ports that nobody has.

        The other says where a subscriber listens to each shard if the feed is unicast. Raises
        OSError when too few ports are free.
        """
        unicast = self.transport is Transport.UNICAST or (
            self.transport is Transport.AUTO and not self.hosts and not multicast_works()
        )
        desk = _Desk(self, unicast)
        sections = [desk.shard(shard) for shard in range(1, self.shards + 1)]
        listeners = [*self.gateways, SUBSCRIBER]
        receive = {name: desk.receive_everywhere(name, sections) for name in listeners}
        optional = {"failover": self.failover, "journal": self.journal}
        given: dict[str, Any] = {key: each for key, each in optional.items() if each is not None}
        if self.shards == 1:
            (alone,) = sections
            given |= alone.parts()
        else:
            given["shards"] = {each.number: each.parts() for each in sections}
        configuration = Configuration(
            exchange=exchange,
            zookeeper=zookeeper,
            **given,
            instruments=self._dealt(symbols),
            gateways={
                name: GatewaySettings(
                    listen=desk.address(name),
                    clients=clients,
                    **self._receive_options(receive[name]),
                    **self.gateway_options,
                )
                for name in self.gateways
            },
        )
        return configuration, receive[SUBSCRIBER]

    def on_host(self, configuration: Configuration, name: str) -> Configuration:
        """The same configuration as the host of a process has it: with its own interface."""
        interface = IPv4Address(self.host(name).address)

        def there(feed: FeedSettings) -> FeedSettings:
            if feed.transport == "unicast" or feed.interface == interface:
                return feed
            return feed.model_copy(update={"interface": interface})

        if not configuration.shards:
            return configuration.model_copy(update={"feed": there(configuration.feed)})
        shards = {
            number: section.model_copy(update={"feed": there(section.feed)})
            for number, section in configuration.shards.items()
        }
        return configuration.model_copy(update={"shards": shards})

    def holders_of(self, shard: int) -> tuple[Sequence[str], Sequence[str]]:
        """The replicas and the retransmitters of one shard."""
        return _share(self.replicas, shard, self.shards), _share(
            self.retransmitters, shard, self.shards
        )

    def _dealt(self, symbols: Sequence[InstrumentSettings]) -> tuple[InstrumentSettings, ...]:
        if self.shards == 1:
            return tuple(symbols)
        turns = itertools.cycle(range(1, self.shards + 1))
        return tuple(
            each if each.shard is not None else each.model_copy(update={"shard": next(turns)})
            for each in symbols
        )

    def _receive_options(self, receive: Mapping[int, Address]) -> dict[str, Any]:
        if not receive:
            return {}
        return {"receive": receive[1]} if self.shards == 1 else {"shard_receive": receive}


class _Desk:
    """Deals out addresses, and what is decided about each shard."""

    def __init__(self, layout: Layout, unicast: bool) -> None:
        self._layout = layout
        self._unicast = unicast
        holders = len(layout.replicas) + len(layout.retransmitters)
        # At most five ports for a holder: a replica has that many. Of the others, each has one for
        # each shard, and a gateway one for clients.
        count = 5 * holders + (layout.shards + 1) * (len(layout.gateways) + 1)
        self._ports = iter(free_addresses(count + layout.shards))

    def address(self, name: str) -> Address:
        """One more address where this process is."""
        return Address(self._layout.host(name).address, next(self._ports).port)

    def shard(self, number: int) -> "_Shard":
        """What a shard consists of."""
        layout = self._layout
        replicas, retransmitters = layout.holders_of(number)
        receive = {
            name: self.address(name) if self._unicast else None
            for name in (*replicas, *retransmitters)
        }
        feed: dict[str, Any] = {"transport": "unicast"}
        if not self._unicast:
            feed = {"group": free_group(), "port": next(self._ports).port}
            if layout.hosts:
                feed |= {"interface": IPv4Address(layout.host(SUBSCRIBER).address), "ttl": 1}
        return _Shard(
            number,
            feed | dict(layout.feed_options),
            list(filter(None, receive.values())),
            {
                name: ReplicaSettings(
                    repair=self.address(name),
                    replication=self.address(name),
                    receive=receive[name],
                    commands=self.address(name),
                    control=self.address(name),
                    machine=layout.machines.get(name),
                    drills=layout.drills,
                )
                for name in replicas
            },
            {
                name: RetransmitterSettings(
                    repair=self.address(name),
                    replication=self.address(name),
                    receive=receive[name],
                    drills=layout.drills,
                )
                for name in retransmitters
            },
        )

    def receive_everywhere(self, name: str, shards: Sequence["_Shard"]) -> dict[int, Address]:
        """Have a process among the receivers of every shard, by an address for each; by shard."""
        if not self._unicast:
            return {}
        receive = {each.number: self.address(name) for each in shards}
        for each in shards:
            each.receivers.append(receive[each.number])
        return receive


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard of which it is not known yet who else receives it."""

    number: int
    feed: Mapping[str, Any]
    receivers: list[Address]  # by unicast
    replicas: Mapping[str, ReplicaSettings]
    retransmitters: Mapping[str, RetransmitterSettings]

    def parts(self) -> dict[str, Any]:
        """Its part of the configuration."""
        receivers = {"receivers": tuple(self.receivers)} if self.receivers else {}
        return {
            "feed": FeedSettings(**self.feed, **receivers),
            "replicas": self.replicas,
            "retransmitters": self.retransmitters,
        }


def _share(names: Sequence[str], shard: int, shards: int) -> Sequence[str]:
    count, rest = divmod(len(names), shards)
    assert rest == 0, f"{len(names)} processes can't be shared out evenly to {shards} shards"
    return names[(shard - 1) * count : shard * count]
