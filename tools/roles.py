"""The commands that run one process of an exchange: replica, retransmitter, gateway, ZooKeeper.

Each imports its own role when it is called, so that a process loads no other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from engine.settings import MachineKind
from feed.faults import Faults, FaultShares
from feed.settings import parse_address
from tools.configuration import Configuration
from tools.console import CommandError, Summary, UsageError, run_role
from tools.listings import find_listings
from tools.options import (
    ConfigurationOption,
    FaultsOption,
    JsonOption,
    NameOption,
    SupervisedOption,
)

if TYPE_CHECKING:
    from gateway.shard_feed import ShardSources

MachineOption: TypeAlias = Annotated[
    MachineKind | None,
    typer.Option(
        help='The machine: "kernel" is compiled, "reference" plain Python; without it what the'
        " configuration says, else the kernel where there is one."
    ),
]
Section = TypeVar("Section")


def run_replica(
    configuration: ConfigurationOption,
    name: NameOption,
    machine: MachineOption = None,
    faults: FaultsOption = None,
    as_json: JsonOption = False,
    supervised: SupervisedOption = False,
) -> None:
    """Run a replica: it matches orders as the primary, or stands by to take over as a backup.

    ZooKeeper grants the place of the primary to one replica at a time. The others apply the
    primary's list to a market of their own, compare every byte, and acknowledge; when the primary
    dies, one of them takes over. Run three, on different machines if you can.

    With the compiled kernel in one replica and the reference in another, each checks the other at
    every frame.

    In an exchange of several shards it runs the one in whose section it is named, and lists what
    the directory in ZooKeeper has put there.

    Example:
    lockstep replica -c exchange.toml --name e1 --machine reference
    """
    from engine import process
    from engine.markets import MachineNotBuiltError, market_builder

    settings = Configuration.load(configuration)
    section = _section(settings, settings.all_replicas(), name, "replicas")
    shard = settings.of_shard(settings.shard_of(name))
    if machine is not None:
        section = section.model_copy(update={"machine": machine})
    try:
        market_builder(section.machine)
    except MachineNotBuiltError as error:
        raise CommandError(str(error)) from error
    injected = parse_faults(faults)

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        instruments = await find_listings(settings, shard.feed.shard, stop)
        if instruments is None:
            return {"role": "replica", "name": name, "shard": shard.feed.shard}
        with _files_explained():
            return await process.run(
                name,
                settings.exchange,
                shard.shard_settings(),
                settings.zookeeper,
                section,
                instruments,
                stop,
                ready,
                injected,
            )

    run_role(role, supervised=supervised, as_json=as_json)


def run_retransmitter(
    configuration: ConfigurationOption,
    name: NameOption,
    faults: FaultsOption = None,
    as_json: JsonOption = False,
    supervised: SupervisedOption = False,
) -> None:
    """Run a retransmitter: it keeps every frame of the feed, acknowledges, and answers NAKs.

    Run two or more, on different machines if you can: receivers fall over from one to another.
    What a retransmitter itself has missed it asks of the others, and last of the replicas.

    Example:
    lockstep retransmitter -c exchange.toml --name r1
    """
    from retransmitter import process

    settings = Configuration.load(configuration)
    section = _section(settings, settings.all_retransmitters(), name, "retransmitters")
    shard = settings.of_shard(settings.shard_of(name))
    injected = parse_faults(faults)

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        with _files_explained():
            return await process.run(
                name,
                settings.exchange,
                shard.shard_settings(),
                settings.zookeeper,
                section,
                stop,
                ready,
                injected,
            )

    run_role(role, supervised=supervised, as_json=as_json)


def run_gateway(
    configuration: ConfigurationOption,
    name: NameOption,
    faults: FaultsOption = None,
    as_json: JsonOption = False,
    supervised: SupervisedOption = False,
) -> None:
    """Run a gateway: clients log in there with SoupBinTCP and enter orders with OUCH 5.0.

    The clients it knows stand in the file that "lockstep client add" writes. A client may resume
    its stream on any gateway of the exchange, so run as many as you like.

    Example:
    lockstep gateway -c exchange.toml --name g1
    """
    from gateway import process
    from gateway.clients import ClientsError

    settings = Configuration.load(configuration)
    section = _section(settings, settings.gateways, name, "gateways")
    injected = parse_faults(faults)

    def reload() -> dict[int, "ShardSources"]:
        return _sources(Configuration.load(configuration), name)

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        try:
            return await process.run(
                name,
                settings.exchange,
                _sources(settings, name),
                settings.zookeeper,
                section,
                stop,
                ready,
                injected,
                reload if settings.shards else None,
                settings.first_directory() if settings.shards else None,
            )
        except (ClientsError, process.FeedLostError) as error:
            raise CommandError(str(error)) from error

    run_role(role, supervised=supervised, as_json=as_json)


def run_zookeeper(
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where to listen; on the loopback interface only."),
    ] = "127.0.0.1:2181",
    as_json: JsonOption = False,
    supervised: SupervisedOption = False,
) -> None:
    """Run a ZooKeeper server for trying things out: one server, on this machine, in memory.

    It speaks ZooKeeper's own protocol, so that the processes of the exchange need not know the
    difference. What it knows is gone when it ends, and nobody on another machine can reach it. For
    an exchange that matters run Apache ZooKeeper, an ensemble of three or five.

    Example:
    lockstep zookeeper --listen 127.0.0.1:2181
    """
    from zk.embedded import EmbeddedServer

    try:
        server = EmbeddedServer(parse_address(listen))
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from error

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        await server.start()
        try:
            ready()
            await stop.wait()
        finally:
            await server.stop()
        return {"role": "zookeeper", "listen": listen}

    run_role(role, supervised=supervised, as_json=as_json)


def parse_fault_shares(text: str | None) -> FaultShares | None:
    """The faults that an option names; None without one.

    Raises UsageError when it can't be read.
    """
    if text is None:
        return None
    try:
        return FaultShares.parse(text)
    except ValueError as error:
        raise UsageError(f"--faults: {error}") from error


def parse_faults(text: str | None) -> Faults | None:
    """The same, as what befalls one receiver."""
    shares = parse_fault_shares(text)
    return None if shares is None else shares.faults(Random())


@contextlib.contextmanager
def _files_explained() -> Iterator[None]:
    """Raises CommandError where a holder's files can't be used: the text says what to do."""
    from feed.journal import JournalError
    from feed.storage import StorageError

    try:
        yield
    except (JournalError, StorageError) as error:
        raise CommandError(str(error)) from error


def _sources(settings: Configuration, name: str) -> "dict[int, ShardSources]":
    """Where a gateway has the list of each shard from.

    Raises UsageError when there is no such gateway.
    """
    from gateway.shard_feed import ShardSources

    _section(settings, settings.gateways, name, "gateways")
    return {
        number: ShardSources(
            feed=shard.feed,
            retransmitters=shard.repair_addresses(),
            replicas=[each.repair for each in shard.replicas.values()],
            holders=[each.repair for each in shard.shard_settings().holders.values()],
            receive=shard.gateways[name].receive,
        )
        for number, shard in settings.by_shard().items()
    }


def _section(
    settings: Configuration, sections: Mapping[str, Section], name: str, key: str
) -> Section:
    if name not in sections:
        known = ", ".join(sections) or "none"
        prefix = "shards.N." if settings.shards and key != "gateways" else ""
        raise UsageError(f"--name {name}: no section [{prefix}{key}.{name}] (there is: {known})")
    return sections[name]
