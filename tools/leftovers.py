"""Removes what a passing exchange has left in a ZooKeeper ensemble that others run."""

import structlog
from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.exceptions import KazooException  # type: ignore[import-untyped]
from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]

from zk.settings import ZooKeeperSettings

log = structlog.get_logger()

_CONNECT_WITHIN_S = (
    5.0  # an ensemble that is well takes milliseconds; for one that is not, why wait
)


def remove_tree(settings: ZooKeeperSettings) -> None:
    """Delete the root node of an exchange and all below it; blocks for seconds at most.

    An ensemble that can't be reached keeps it: that is logged, and harms nobody.
    """
    client = KazooClient(hosts=settings.hosts)
    try:
        client.start(timeout=_CONNECT_WITHIN_S)
        client.delete(settings.root, recursive=True)
    except (KazooException, KazooTimeoutError) as error:
        log.warning("left in ZooKeeper", root=settings.root, why=repr(error))
    finally:
        client.stop()
        client.close()
