"""What a drill itself asks of ZooKeeper: who suspects whom, and to end somebody's session.

The drills' only file that knows kazoo. Suspicions come and go quickly, so that the watcher may miss
one: it is for the story. Their number it does not miss, for ZooKeeper counts every change of a
node's children.
"""

import contextlib
import logging
import threading
import time
from typing import NamedTuple

from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.exceptions import KazooException, NoNodeError  # type: ignore[import-untyped]
from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]

from tools.console import CommandError
from zk.nodes import ShardNodes, decode_suspicion
from zk.settings import ZooKeeperSettings

_CONNECT_WITHIN_S = 10.0
_ANSWER_WITHIN_S = 5.0
# A drill breaks connections on purpose, so kazoo's complaints about them are no news.
_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.disabled = True


class Suspicion(NamedTuple):
    """One holder's suspicion, when the watcher first saw it."""

    epoch: int
    holder: str
    seen_ns: int  # monotonic


class SuspicionWatcher:
    """Watches the suspicions of one shard, on kazoo's threads; a context manager."""

    def __init__(self, settings: ZooKeeperSettings, exchange: str, shard: int) -> None:
        self._path = ShardNodes.of(settings.root, exchange, shard).suspicions
        self._client = KazooClient(
            hosts=settings.hosts,
            timeout=settings.session_timeout_ms / 1000,
            logger=_SILENT,
        )
        self._lock = threading.Lock()
        self._present: set[str] = set()
        self._seen: list[Suspicion] = []

    def __enter__(self) -> "SuspicionWatcher":
        with contextlib.suppress(KazooTimeoutError):  # it goes on trying
            self._client.start(timeout=_CONNECT_WITHIN_S)
        self._client.add_listener(self._on_state)
        self._look()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(KazooException, KazooTimeoutError):
            self._client.stop()
            self._client.close()

    def since(self, moment_ns: int) -> list[Suspicion]:
        """What has been seen since a moment, in its order."""
        with self._lock:
            return [each for each in self._seen if each.seen_ns >= moment_ns]

    def count(self) -> int:
        """How many suspicions there have been since the node was made.

        Raises CommandError when ZooKeeper can't be asked.
        """
        try:
            _, stat = self._client.get_async(self._path).get(timeout=_ANSWER_WITHIN_S)
        except NoNodeError:
            return 0
        except (KazooException, KazooTimeoutError) as error:
            raise CommandError(f"ZooKeeper can't be asked for suspicions: {error!r}") from error
        # Each creation and each deletion counts as one change; what is there was only created.
        return int(stat.children_version + stat.children_count) // 2

    def _on_state(self, state: str) -> None:
        """Look again after a lost connection, with which the watch may be gone."""
        if state == "CONNECTED":  # on a thread of its own: kazoo's must not wait for kazoo
            self._client.handler.spawn(self._look)

    def _look(self, _: object = None) -> None:
        """Read what is there and watch for the next change."""
        now_ns = time.monotonic_ns()
        try:
            children = set(self._client.get_children(self._path, watch=self._look))
        except NoNodeError:
            with contextlib.suppress(KazooException, KazooTimeoutError):
                self._client.exists(self._path, watch=self._look)
            return
        except (KazooException, KazooTimeoutError):
            return  # the listener looks again once there is a connection
        with self._lock:
            for suspicion in map(decode_suspicion, sorted(children - self._present)):
                if suspicion is not None:
                    self._seen.append(Suspicion(*suspicion, now_ns))
            self._present = children


def end_session(hosts: str, session_id: int, password: bytes) -> int:
    """Close a session that another client has open; when that was done. Blocks.

    Raises CommandError when ZooKeeper can't be reached.
    """
    client = KazooClient(hosts=hosts, client_id=(session_id, password), logger=_SILENT)
    try:
        client.start(timeout=_CONNECT_WITHIN_S)
        at_ns = time.monotonic_ns()
        client.stop()
    except (KazooException, KazooTimeoutError) as error:
        raise CommandError(f"the session can't be ended: {error!r}") from error
    finally:
        client.close()
    return at_ns
