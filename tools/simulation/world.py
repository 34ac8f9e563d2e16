"""Virtual time: what happens, in the order of its time, and nothing in between."""

import heapq
from collections.abc import Callable
from itertools import count

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000


class World:
    """A clock that jumps from one event to the next. Events of one time keep their order."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.steps = 0  # events that have happened
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, time_ns: int, act: Callable[[], None]) -> None:
        """Have something happen at this time; at once, if it has passed."""
        heapq.heappush(self._due, (max(time_ns, self.now_ns), next(self._order), act))

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Have something happen later."""
        self.at(self.now_ns + delay_ns, act)

    def run(self, is_done: Callable[[], bool], limit_ns: int) -> bool:
        """Let things happen until `is_done` or the time limit; whether it is done."""
        due = self._due
        while not is_done():
            if not due or due[0][0] > limit_ns:
                return False
            self.now_ns, _, act = heapq.heappop(due)
            self.steps += 1
            act()
        return True


class Timer:
    """Calls `ring` at a deadline, which it reads anew whenever it is set."""

    def __init__(
        self, world: World, deadline_ns: Callable[[], int | None], ring: Callable[[], None]
    ) -> None:
        self._world = world
        self._deadline_ns = deadline_ns
        self._ring = ring
        self._set_for_ns: int | None = None

    def set(self) -> None:
        """The deadline may have moved."""
        deadline_ns = self._deadline_ns()
        if deadline_ns is None or (
            self._set_for_ns is not None and self._set_for_ns <= deadline_ns
        ):
            return
        self._set_for_ns = deadline_ns
        self._world.at(deadline_ns, self._on_due)

    def _on_due(self) -> None:
        if self._set_for_ns is not None and self._set_for_ns <= self._world.now_ns:
            self._set_for_ns = None
            self._ring()
        self.set()
