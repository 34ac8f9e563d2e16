"""The directory of an exchange, as operators' commands read and change it."""

import contextlib
from collections.abc import AsyncIterator

from tools.configuration import Configuration
from tools.console import CommandError
from zk.directory import Directory
from zk.directory_client import DirectoryClient, DirectoryError

# A ZooKeeper that is well answers within milliseconds; connecting may take a try or two.
WITHIN_S = 5.0


async def read_directory(configuration: Configuration) -> Directory:
    """Where everything is; of an exchange of one shard, everything is there.

    Raises CommandError when it can't be read.
    """
    if not configuration.shards:
        return Directory.alone(configuration.feed.shard)
    async with open_directory(configuration) as client:
        return await client.read(WITHIN_S)


@contextlib.asynccontextmanager
async def open_directory(configuration: Configuration) -> AsyncIterator[DirectoryClient]:
    """The directory of an exchange of several shards, to be changed.

    What it raises becomes a CommandError: it can't be had, or a change of it makes no sense.
    """
    try:
        async with DirectoryClient(configuration.zookeeper, configuration.exchange) as client:
            yield client
    except (DirectoryError, ValueError) as error:
        raise CommandError(str(error)) from error
