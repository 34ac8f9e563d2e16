"""The directory on disk, beside an embedded ZooKeeper, which forgets it when it ends."""

import os
from pathlib import Path

import structlog

from tools.configuration import Configuration
from tools.console import CommandError
from zk.directory import Directory, decode_directory, encode_directory
from zk.directory_client import DirectoryClient, DirectoryError
from zk.nodes import NodeDataError

log = structlog.get_logger()

FILE = "directory.json"
# A server that is ready answers within milliseconds; a busy machine may let it wait.
_RESTORED_WITHIN_S = 30.0


class KeptDirectory:
    """Writes each directory down, and puts the last one back into a ZooKeeper that has none.

    Of an exchange of one shard, or without journals, there is nothing to keep.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Raises CommandError when what is on disk can't be read."""
        journal = configuration.journal
        self._path: Path | None = None
        self._kept: Directory | None = None
        self._client: DirectoryClient | None = None
        if configuration.shards and journal is not None:
            self._path = journal.folder / FILE
            self._kept = _read(self._path)
            self._client = DirectoryClient(
                configuration.zookeeper,
                configuration.exchange,
                first=self._kept,
                on_change=self._save,
            )

    @property
    def is_needed(self) -> bool:
        """Whether there is one to put back before anybody else makes one."""
        return self._kept is not None

    async def start(self) -> None:
        """Begin; what is to be put back stands in ZooKeeper then. Raises CommandError."""
        if self._client is None:
            return
        self._client.start()
        if self._kept is not None:
            try:
                await self._client.read(_RESTORED_WITHIN_S)
            except DirectoryError as error:
                raise CommandError(str(error)) from error

    async def stop(self) -> None:
        """End; bounded, with ZooKeeper gone."""
        if self._client is not None:
            await self._client.stop()

    def _save(self, directory: Directory) -> None:
        """Replace the file, whole or not at all."""
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(encode_directory(directory, 0))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


def _read(path: Path) -> Directory | None:
    try:
        directory, _ = decode_directory(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, NodeDataError) as error:
        raise CommandError(
            f"{path} can't be read: {error}. It says where each symbol is: restore it, or remove "
            "it, if no symbol has ever moved and no shard was added"
        ) from error
    return directory
