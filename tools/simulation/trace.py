"""What has happened, as lines that people read: the last of them are shown when a seed fails."""

from collections import deque
from typing import Any

from tools.simulation.world import MILLISECOND_NS, World

LINES = 400  # that are kept, unless somebody wants more of them


class Trace:
    """The last events of a run. Their text is put together only when somebody reads it."""

    def __init__(self, world: World, lines: int = LINES) -> None:
        self.speaker = ""  # the process that runs now
        self._world = world
        self._notes: deque[tuple[int, str, str, tuple[Any, ...]]] = deque(maxlen=lines)

    def note(self, who: str, text: str, *values: Any) -> None:
        """Something has happened to somebody; `values` go into the {} of `text`."""
        self._notes.append((self._world.now_ns, who, text, values))

    def lines(self) -> list[str]:
        """The last events, the newest one at the end: time in ms, who, and what."""
        return [
            f"{now_ns / MILLISECOND_NS:12.3f}  {who:<8} {text.format(*values)}"
            for now_ns, who, text, values in self._notes
        ]
