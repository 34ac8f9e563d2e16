"""How fast a counter grows: now, and over the last minute."""

from collections import deque

_SECOND_NS = 1_000_000_000
_WINDOW_NS = 2 * _SECOND_NS  # long enough to be read, short enough to be "now"
_HISTORY_SECONDS = 120  # as wide as a sparkline ever gets
_SAMPLES = 256  # more than a window holds at the screen's refresh rate


class RateMeter:
    """Takes a counter's readings and tells its rate. Times are monotonic nanoseconds."""

    def __init__(self, now_ns: int, total: int = 0) -> None:
        self.total = total
        self._samples: deque[tuple[int, int]] = deque([(now_ns, total)], maxlen=_SAMPLES)
        self._history: deque[int] = deque(maxlen=_HISTORY_SECONDS)
        self._second_ns = now_ns
        self._second_total = total

    def read(self, total: int, now_ns: int) -> None:
        """Take the counter's value at a time."""
        self.total = total
        self._samples.append((now_ns, total))
        while len(self._samples) > 2 and self._samples[1][0] <= now_ns - _WINDOW_NS:
            self._samples.popleft()
        seconds, _ = divmod(now_ns - self._second_ns, _SECOND_NS)
        if seconds:
            grown = (total - self._second_total) // seconds
            self._history.extend([grown] * min(seconds, _HISTORY_SECONDS))
            self._second_ns += seconds * _SECOND_NS
            self._second_total = total

    @property
    def per_second(self) -> float:
        """The rate over the last two seconds."""
        (first_ns, first), (last_ns, last) = self._samples[0], self._samples[-1]
        return (last - first) * _SECOND_NS / (last_ns - first_ns) if last_ns > first_ns else 0.0

    def history(self, seconds: int) -> list[int]:
        """The growth in each of the last seconds, oldest first; fewer when it is younger."""
        return list(self._history)[-seconds:] if seconds > 0 else []
