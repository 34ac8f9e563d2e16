"""The ZooKeepers that every test of this folder runs against.

Each kind of server is started when the first test needs it and serves to the end of the run. Where
Java or Debian's package is missing, the tests fail and say so: ./tools/test installs them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.retry import KazooRetry  # type: ignore[import-untyped]

from tests.zk.raw_client import RawClient, create
from tests.zk.servers import ApacheInFolder, EmbeddedInThread, ZooKeeper, with_new_root

_CLIENT_TIMEOUT_S = 10.0  # no test waits for it, and no busy machine is so slow


@pytest.fixture(scope="session")
def embedded_hosts() -> Iterator[str]:
    """The embedded server."""
    server = EmbeddedInThread()
    yield server.hosts
    server.close()


@pytest.fixture(scope="session")
def apache_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One of Apache's servers."""
    server = ApacheInFolder(1, tmp_path_factory.mktemp("apache"))
    yield server.hosts
    server.close()


@pytest.fixture(scope="session")
def ensemble_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An ensemble of three of Apache's servers."""
    servers = ApacheInFolder(3, tmp_path_factory.mktemp("ensemble"))
    yield servers.hosts
    servers.close()


@pytest.fixture(params=["embedded", "apache", "ensemble"])
def zookeeper(request: pytest.FixtureRequest) -> ZooKeeper:
    """A ZooKeeper of each kind in turn, with a root of the test's own."""
    return with_new_root(request.param, request.getfixturevalue(f"{request.param}_hosts"))


@pytest.fixture
def root(zookeeper: ZooKeeper) -> str:
    """The test's root, which is there."""
    root = zookeeper.settings.root
    with RawClient(zookeeper.address) as client:
        client.ask(create(root.rpartition("/")[0]))
        assert client.ask(create(root)).error == 0
        client.close_session()
    return root


@pytest.fixture
def connect(zookeeper: ZooKeeper, root: str) -> Iterator[Callable[..., Any]]:
    """Makes started kazoo clients whose "/" is the test's root; they are closed at its end."""
    clients = []

    def start(**options: Any) -> Any:
        hosts = zookeeper.settings.hosts + root
        client = KazooClient(**{"hosts": hosts, "timeout": _CLIENT_TIMEOUT_S, **options})
        clients.append(client)
        client.start()
        # Two clients of one session take the connection from each other.
        KazooRetry(max_tries=100, delay=0.01, max_delay=0.1)(client.sync, "/")
        return client

    yield start
    for client in clients:
        client.stop()
        client.close()
