"""ZooKeepers that tests run: the embedded server and Apache's, with a new root for each test."""

import asyncio
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path

from feed.settings import Address
from tools.apache import ApacheZooKeeper
from tools.ports import free_addresses
from zk.embedded import EmbeddedServer
from zk.settings import ZooKeeperSettings

_END_WITHIN_S = 10.0
_SESSION_TIMEOUT_MS = 2_000
_roots = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ZooKeeper:
    """A ZooKeeper that serves, and a root that no other test has."""

    kind: str  # "embedded", "apache" or "ensemble"
    settings: ZooKeeperSettings

    @property
    def address(self) -> Address:
        """The first of its servers, for clients that speak to one alone."""
        host, port = self.settings.hosts.split(",")[0].split(":")
        return Address(host, int(port))


def with_new_root(kind: str, hosts: str) -> ZooKeeper:
    """The ZooKeeper at `hosts`, for one test."""
    root = f"/tests/{next(_roots)}"
    settings = ZooKeeperSettings(hosts=hosts, session_timeout_ms=_SESSION_TIMEOUT_MS, root=root)
    return ZooKeeper(kind, settings)


class EmbeddedInThread:
    """An embedded server on an event loop of its own, for tests that have none; starts at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded", daemon=True)
        self._thread.start()
        self.address = free_addresses(1)[0]
        self._server = EmbeddedServer(self.address)
        self.start()

    @property
    def hosts(self) -> str:
        return f"{self.address.host}:{self.address.port}"

    def start(self) -> None:
        """Serve, with nothing of what was there before."""
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(_END_WITHIN_S)

    def stop(self) -> None:
        """Serve no more; `start` serves at the same address again."""
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(_END_WITHIN_S)

    def kept_bytes(self) -> int:
        """How much the server keeps of what clients send and do not read."""
        return sum(each.kept_bytes for each in self._server._connections.values())

    def close(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_WITHIN_S)
        self._loop.close()


class ApacheInFolder:
    """Apache's servers, for tests without an event loop; they start at once."""

    def __init__(self, servers: int, folder: Path) -> None:
        # On a busy machine, none of these is to take another for dead.
        self._servers = ApacheZooKeeper(servers, folder, silence_ms=10_000, sync=False)
        asyncio.run(self._servers.start())

    @property
    def hosts(self) -> str:
        return self._servers.hosts

    def close(self) -> None:
        asyncio.run(self._servers.stop())
