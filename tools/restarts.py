"""How often a process that dies by itself is started again, sans-I/O."""

from collections import deque

_SECOND_NS = 1_000_000_000
# What died of an accident runs at the next try; what dies again and again has a reason that stays.
MOST_RESTARTS = 5
WITHIN_NS = 60 * _SECOND_NS
RESTART_AFTER_NS = _SECOND_NS  # what it held, as ports, is free by then; and no core is kept busy


class Restarts:
    """One process's deaths."""

    def __init__(self) -> None:
        self.count = 0  # in all
        self._recent_ns: deque[int] = deque(maxlen=MOST_RESTARTS)

    def after_death(self, now_ns: int) -> int | None:
        """In how many nanoseconds to start it again; None: it has died too often of late."""
        recent = self._recent_ns
        if len(recent) == MOST_RESTARTS and now_ns - recent[0] < WITHIN_NS:
            return None
        recent.append(now_ns)
        self.count += 1
        return RESTART_AFTER_NS
