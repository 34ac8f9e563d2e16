"""The commands that run one process of an exchange: engine, retransmitter, gateway.

Each imports its own role when it is called, so that a process loads no other.
"""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import TypeVar

from feed.faults import Faults, FaultShares
from tools.configuration import Configuration
from tools.console import CommandError, Summary, UsageError, run_role
from tools.options import (
    ConfigurationOption,
    FaultsOption,
    JsonOption,
    NameOption,
    SupervisedOption,
)

Section = TypeVar("Section")


def run_engine(
    configuration: ConfigurationOption,
    as_json: JsonOption = False,
    supervised: SupervisedOption = False,
) -> None:
    """Run the engine: it takes commands from the gateways, matches, and multicasts the list.

    It lists the instruments of the configuration and runs until Ctrl-C or SIGTERM. Retransmitters
    should be there before it, gateways may come and go.

    Example:
    lockstep engine -c exchange.toml
    """
    from engine import process

    settings = Configuration.load(configuration)

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        return await process.run(settings.feed, settings.engine, settings.instruments, stop, ready)

    run_role(role, supervised=supervised, as_json=as_json)


def run_retransmitter(
    configuration: ConfigurationOption,
    name: NameOption,
    faults: FaultsOption = None,
    as_json: JsonOption = False,
    supervised: SupervisedOption = False,
) -> None:
    """Run a retransmitter: it keeps every frame of the feed and answers NAKs.

    Run two or more, on different machines if you can: receivers fall over from one to another.
    What a retransmitter itself has missed it asks of the others, and last of the engine.

    Example:
    lockstep retransmitter -c exchange.toml --name r1
    """
    from retransmitter import process

    settings = Configuration.load(configuration)
    section = _section(settings.retransmitters, name, "retransmitters")
    peers = (*settings.repair_addresses(without=name), settings.engine.repair)
    injected = parse_faults(faults)

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        return await process.run(
            name, settings.feed, section, tuple(dict.fromkeys(peers)), stop, ready, injected
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
    section = _section(settings.gateways, name, "gateways")
    injected = parse_faults(faults)

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        try:
            return await process.run(
                name,
                settings.exchange,
                settings.feed,
                section,
                settings.engine.commands,
                settings.repair_addresses(),
                stop,
                ready,
                injected,
            )
        except (ClientsError, process.FeedLostError) as error:
            raise CommandError(str(error)) from error

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


def _section(sections: Mapping[str, Section], name: str, key: str) -> Section:
    if name not in sections:
        known = ", ".join(sections) or "none"
        raise UsageError(f"--name {name}: no section [{key}.{name}] (there is: {known})")
    return sections[name]
