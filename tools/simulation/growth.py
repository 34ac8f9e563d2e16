"""Nothing grows without bound: what a process holds when nothing is under way is little.

Walks over everything that a production object refers to, and looks at how much each container
holds. Left out is what is there to hold the whole list, or all that follows from it.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from engine.market import Market
from feed.book import Books
from feed.cache import FrameCache
from feed.journal import Journal
from feed.snapshot_folder import SnapshotFolder
from gateway.streams import Stream, Streams

# Far more than a process has to know of others at rest, and less than one round's frames.
MOST_ELEMENTS = 100
LIST_KEEPERS = (FrameCache, Journal, SnapshotFolder, Market, Books, Stream, Streams)
OUR_PACKAGES = ("engine", "feed", "gateway", "retransmitter", "zk")


def check_growth(name: str, root: object) -> None:
    """Raise AssertionError when something of this process has grown."""
    for path, size in containers(root):
        assert size <= MOST_ELEMENTS, f"{name} holds {size} elements in {path} while at rest"


def containers(root: object) -> Iterator[tuple[str, int]]:
    """Every container that an object refers to, by the path to it, and how much it holds."""
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [(type(root).__name__, root)]
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen or isinstance(value, LIST_KEEPERS):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            yield path, len(value)
            waiting += [(f"{path}[{key!r}]", each) for key, each in value.items()]
            waiting += [(f"{path} key", key) for key in value]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            yield path, len(value)
            waiting += [(f"{path}[]", each) for each in value]
        elif isinstance(value, bytearray):
            yield path, len(value)
        elif type(value).__module__.partition(".")[0] in OUR_PACKAGES:
            waiting += [(f"{path}.{key}", each) for key, each in _attributes(value)]


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for owner in type(value).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield name, getattr(value, name)
