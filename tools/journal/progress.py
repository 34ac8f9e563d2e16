"""How far a command is that reads for long: a line on stderr once a second."""

import sys
import time

_INTERVAL_NS = 1_000_000_000


class Progress:
    """Says at most once a second how much is done, how much there is, and how fast it goes."""

    def __init__(self, what: str, unit: str, total: int) -> None:
        self.count = 0
        self._what = what
        self._unit = unit
        self._total = total
        self._began_ns = self._said_ns = time.monotonic_ns()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return (time.monotonic_ns() - self._began_ns) / 1e9

    def add(self, count: int) -> None:
        """So much more is done."""
        self.count += count
        now_ns = time.monotonic_ns()
        if now_ns - self._said_ns >= _INTERVAL_NS:
            self._said_ns = now_ns
            rate = self.count / self.seconds
            say(
                f"{self._what}: {self.count:,} of {self._total:,} {self._unit}, "
                f"{rate:,.0f} a second"
            )


def say(line: str) -> None:
    """What is being done, for whoever waits; results go to stdout."""
    print(line, file=sys.stderr, flush=True)
