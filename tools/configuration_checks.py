"""Whether the parts of a configuration fit together: each problem as key, what is wrong, remedy."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from engine.settings import InstrumentSettings
from feed.settings import Address, JournalSettings, SyncPolicy
from gateway.settings import GatewaySettings
from tools.sections import ShardSection
from zk.directory import MOST_SHARDS

_OF_ONE_SHARD = ("feed", "replicas", "retransmitters")


class Parts(NamedTuple):
    """What a configuration says, in one form for one shard and for several."""

    shards: Mapping[int, ShardSection]  # by number; the only one where there are no sections
    is_sectioned: bool  # whether they stand in sections [shards.N]
    keys: Set[str]  # that are given at the top level
    instruments: tuple[InstrumentSettings, ...]
    gateways: Mapping[str, GatewaySettings]
    journal: JournalSettings | None
    zookeeper_hosts: str

    def prefix(self, shard: int) -> str:
        """What stands before the keys of a shard."""
        return f"shards.{shard}." if self.is_sectioned else ""


def problems(parts: Parts) -> Iterator[str]:
    """All that does not fit."""
    if not parts.instruments:
        yield "instruments is empty: list at least one"
    yield from _form_problems(parts)
    yield from _named_twice("instruments", (each.symbol for each in parts.instruments))
    yield from _named_twice("process names", _process_names(parts))
    yield from _feeds_named_twice(parts)
    yield from _addresses_named_twice(parts)
    yield from _placement_problems(parts)
    yield from _receive_problems(parts)
    yield from _journal_problems(parts.journal)


def _process_names(parts: Parts) -> Iterator[str]:
    for section in parts.shards.values():
        yield from (*section.replicas, *section.retransmitters)
    yield from parts.gateways


def _form_problems(parts: Parts) -> Iterator[str]:
    if parts.is_sectioned:
        for key in _OF_ONE_SHARD:
            if key in parts.keys:
                yield (
                    f"{key} is for an exchange of one shard, and there are sections [shards.N]:"
                    f" move it to [shards.N.{key}]"
                )
        if len(parts.shards) > MOST_SHARDS:
            yield f"shards has {len(parts.shards)} sections: use {MOST_SHARDS} at most"
        for shard, section in parts.shards.items():
            if section.feed.shard != shard:
                told = section.feed.shard
                yield f"shards.{shard}.feed.shard is {told}, and this is shard {shard}: remove it"
    for shard, section in parts.shards.items():
        prefix = parts.prefix(shard)
        if not parts.is_sectioned and "replicas" not in parts.keys:
            yield "replicas is missing: add it"
        elif not section.replicas:
            yield f"{prefix}replicas is empty: add a section [{prefix}replicas.e1]"


def _placement_problems(parts: Parts) -> Iterator[str]:
    known = ", ".join(map(str, parts.shards))
    for position, instrument in enumerate(parts.instruments):
        shard = instrument.shard
        if shard is None or shard in parts.shards:
            continue
        key = f"instruments.{position}.shard"
        if parts.is_sectioned:
            yield f"{key} is {shard}, and there is no section [shards.{shard}] (there is: {known})"
        else:
            yield f"{key} is {shard}, and the only shard is {known}: remove it"


def _feeds_named_twice(parts: Parts) -> Iterator[str]:
    shards_of: dict[str, list[int]] = {}
    for shard, section in parts.shards.items():
        feed = section.feed
        if feed.transport == "multicast":
            shards_of.setdefault(f"{feed.group}:{feed.port}", []).append(shard)
    for address, shards in shards_of.items():
        if len(shards) > 1:
            yield (
                f"{address} is the feed of shards {' and '.join(map(str, shards))}:"
                f" give shards.{shards[-1]}.feed another group or port"
            )


def _addresses_named_twice(parts: Parts) -> Iterator[str]:
    udp = list(_named_twice("UDP addresses", map(str, _udp_addresses(parts))))
    yield from udp
    told = {problem.split()[0] for problem in udp}  # two repair ports collide in both worlds
    tcp = (each for each in map(str, _tcp_addresses(parts)) if each not in told)
    yield from _named_twice("TCP addresses", tcp)


def _tcp_addresses(parts: Parts) -> Iterator[Address | str]:
    yield from parts.zookeeper_hosts.split(",")
    for section in parts.shards.values():
        for replica in section.replicas.values():
            yield replica.commands
            yield replica.control
        for holder in section.holders.values():
            yield holder.repair  # long ranges and snapshots are had there by TCP
    yield from (settings.listen for settings in parts.gateways.values())


def _udp_addresses(parts: Parts) -> Iterator[Address]:
    for section in parts.shards.values():
        for holder in section.holders.values():
            yield holder.repair
            yield holder.replication
        yield from filter(None, (holder.receive for holder in section.holders.values()))
    for gateway in parts.gateways.values():
        if gateway.receive is not None:
            yield gateway.receive
        yield from gateway.shard_receive.values()


def _receive_problems(parts: Parts) -> Iterator[str]:
    for shard, section in parts.shards.items():
        prefix = parts.prefix(shard)
        receive: dict[str, Address | None] = {}
        for name, replica in section.replicas.items():
            receive[f"{prefix}replicas.{name}.receive"] = replica.receive
        for name, retransmitter in section.retransmitters.items():
            receive[f"{prefix}retransmitters.{name}.receive"] = retransmitter.receive
        for name, gateway in parts.gateways.items():
            if parts.is_sectioned:
                key = f"gateways.{name}.shard_receive.{shard}"
                receive[key] = gateway.shard_receive.get(shard)
            else:
                receive[f"gateways.{name}.receive"] = gateway.receive
        yield from _receive_problems_of(f"{prefix}feed", section, receive)
    known = ", ".join(map(str, parts.shards))
    for name, gateway in parts.gateways.items():
        key = f"gateways.{name}"
        if not parts.is_sectioned and gateway.shard_receive:
            yield (
                f"{key}.shard_receive is for an exchange with sections [shards.N]:"
                f" use {key}.receive"
            )
        if parts.is_sectioned and gateway.receive is not None:
            yield (
                f"{key}.receive is for an exchange of one shard:"
                f" use a section [{key}.shard_receive] with a line for each shard"
            )
        for shard in gateway.shard_receive:
            if parts.is_sectioned and shard not in parts.shards:
                yield (
                    f"{key}.shard_receive.{shard}: there is no section [shards.{shard}]"
                    f" (there is: {known})"
                )


def _receive_problems_of(
    feed_key: str, section: ShardSection, receive: Mapping[str, Address | None]
) -> Iterator[str]:
    unicast = section.feed.transport == "unicast"
    for key, address in receive.items():
        if unicast and address is None:
            yield f'{key} is missing: transport "unicast" needs it'
        elif unicast and address not in section.feed.receivers:
            yield f"{key} {address} gets no packets: add it to {feed_key}.receivers"
        elif not unicast and address is not None:
            yield f'{key} is only for {feed_key}.transport = "unicast": remove it'


def _journal_problems(journal: JournalSettings | None) -> Iterator[str]:
    if journal is None or journal.sync is SyncPolicy.INTERVAL:
        return
    if "sync_interval_ms" in journal.model_fields_set:
        yield 'journal.sync_interval_ms is only for sync = "interval": remove it'


def _named_twice(what: str, values: Iterable[str]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{value} stands {count} times among the {what}: change all but one"
