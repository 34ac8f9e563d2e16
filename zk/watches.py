"""Who wants to know when a node changes: each watch tells once."""

from collections.abc import Iterable

_WATCH_BYTES = 200  # about what a watch takes besides its path


class Watches:
    """The watches of one kind, by path and by watcher."""

    def __init__(self) -> None:
        self._watchers: dict[str, dict[int, None]] = {}
        self._paths: dict[int, dict[str, None]] = {}
        self._bytes: dict[int, int] = {}

    def add(self, path: str, watcher: int) -> None:
        """Have the next change at `path` told to `watcher`, if it isn't already."""
        paths = self._paths.setdefault(watcher, {})
        if path not in paths:
            paths[path] = None
            self._watchers.setdefault(path, {})[watcher] = None
            self._bytes[watcher] = self.size_bytes(watcher) + _size(path)

    def size_bytes(self, watcher: int) -> int:
        """About how much memory a watcher's watches take."""
        return self._bytes.get(watcher, 0)

    def take(self, path: str) -> Iterable[int]:
        """Those who watch `path`, which they do no longer then."""
        watchers = self._watchers.pop(path, {})
        for watcher in watchers:
            del self._paths[watcher][path]
            self._bytes[watcher] -= _size(path)
        return watchers

    def drop(self, watcher: int) -> None:
        """Forget a watcher."""
        for path in self._paths.pop(watcher, {}):
            watchers = self._watchers[path]
            del watchers[watcher]
            if not watchers:
                del self._watchers[path]
        self._bytes.pop(watcher, None)

    def check(self) -> None:
        """Raise AssertionError unless both sides say the same."""
        by_path = {(path, each) for path, found in self._watchers.items() for each in found}
        by_watcher = {(path, each) for each, found in self._paths.items() for path in found}
        assert by_path == by_watcher, "the watches by path are not those by watcher"
        assert all(self._watchers.values()), "a path is kept that nobody watches"
        for watcher, paths in self._paths.items():
            assert self._bytes[watcher] == sum(map(_size, paths)), "the sizes do not add up"


def _size(path: str) -> int:
    return _WATCH_BYTES + len(path)
