"""What a replica lists: the instruments that the directory has put in its shard."""

import asyncio
from collections.abc import Iterable

import structlog

from engine.settings import InstrumentSettings
from tools.configuration import Configuration
from tools.console import CommandError
from zk.directory import Directory
from zk.directory_client import DirectoryClient

log = structlog.get_logger()


def listed_in(
    directory: Directory, shard: int, instruments: Iterable[InstrumentSettings]
) -> list[InstrumentSettings]:
    """Those of the configuration's instruments that are in a shard."""
    return [each for each in instruments if directory.symbols.get(each.symbol, ())[-1:] == (shard,)]


async def find_listings(
    configuration: Configuration, shard: int, stop: asyncio.Event
) -> list[InstrumentSettings] | None:
    """What a shard's replica has to list; None when `stop` was set before that was known.

    An exchange of one shard lists all there. Of several it is ZooKeeper that says where each
    instrument is, so that it is waited for; whoever is first puts the directory there. Raises
    CommandError when that can't be done.
    """
    if not configuration.shards:
        return list(configuration.instruments)
    reading = asyncio.ensure_future(_read_directory(configuration))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            return None
        directory = reading.result()
    finally:
        for task in (reading, stopping):
            task.cancel()
        await asyncio.gather(reading, stopping, return_exceptions=True)
    listings = listed_in(directory, shard, configuration.instruments)
    log.info("instruments placed", shard=shard, symbols=[each.symbol for each in listings])
    if shard not in directory.shards:
        log.warning("this shard is not in use: lockstep add-shard takes it into use", shard=shard)
    nowhere = [
        each.symbol for each in configuration.instruments if each.symbol not in directory.symbols
    ]
    if nowhere:
        log.warning("no shard lists these: lockstep add-symbol does", symbols=nowhere)
    return listings


async def _read_directory(configuration: Configuration) -> Directory:
    hosts = configuration.zookeeper.hosts
    log.info("waiting for the directory, which says what is listed here", zookeeper=hosts)
    try:
        client = DirectoryClient(
            configuration.zookeeper,
            configuration.exchange,
            first=configuration.first_directory(),
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    async with client:
        return await client.read()
