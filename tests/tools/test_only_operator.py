"""One operator at a time: the lock in ZooKeeper."""

import asyncio
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]

from tests.tools.replica_statuses import configuration_of
from tests.zk.servers import EmbeddedInThread
from tools import only_operator as only_operator_module
from tools.configuration import Configuration
from tools.console import CommandError
from tools.only_operator import only_operator
from zk.settings import ZooKeeperSettings

NODE = "/lockstep/TEST/operator"


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configuration]:
    """An exchange with a ZooKeeper, and others that are not waited for long."""
    monkeypatch.setattr(only_operator_module, "_LEEWAY_S", -0.8)
    server = EmbeddedInThread()
    settings = ZooKeeperSettings(hosts=server.hosts, session_timeout_ms=1000)
    yield configuration_of("e1", zookeeper=settings)
    server.close()


def test_second_one_is_told_who_is_at_it_and_may_come_after(configuration: Configuration) -> None:
    async def situation() -> None:
        async with only_operator(configuration, "move AAPL --to 2"):
            with pytest.raises(CommandError, match=r"at a time: move AAPL --to 2 \(process \d+ on"):
                async with only_operator(configuration, "new-day 20261123"):
                    pass
        async with only_operator(configuration, "new-day 20261123"):
            pass

    asyncio.run(situation())


def test_one_that_was_killed_is_waited_for(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(only_operator_module, "_LEEWAY_S", 10.0)
    killed = KazooClient(hosts=configuration.zookeeper.hosts, timeout=1.0)
    killed.start()
    killed.create(NODE, b"?", ephemeral=True, makepath=True)

    async def situation() -> None:
        asyncio.get_running_loop().call_later(0.1, killed.stop)
        async with only_operator(configuration, "move AAPL --to 2"):
            pass

    asyncio.run(situation())
    killed.close()


def test_lock_is_left_when_the_work_fails(configuration: Configuration) -> None:
    async def situation() -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                async with only_operator(configuration, "move AAPL --to 2"):
                    raise ValueError("no")

    asyncio.run(situation())


def test_exchange_without_a_zookeeper_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(only_operator_module, "_CONNECT_WITHIN_S", 0.1)
    configuration = configuration_of("e1", zookeeper=ZooKeeperSettings(hosts="127.0.0.1:9"))

    async def situation() -> None:
        async with only_operator(configuration, "move AAPL --to 2"):
            pass

    with pytest.raises(CommandError, match=r"ZooKeeper at 127\.0\.0\.1:9 can't be asked"):
        asyncio.run(situation())
