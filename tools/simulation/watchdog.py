"""An end to endless loops: a bound on the CPU time of a seed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SEED_LIMIT_S = 300.0  # of CPU time; hundreds of times what a seed takes, on a slow computer too


class OutOfTime(BaseException):
    """A seed has taken more CPU time than any should.

    Not an Exception: a replica whose machine raises one says that it has diverged, and goes on.
    """


@contextmanager
def watched(limit_s: float) -> Iterator[None]:
    """Raise OutOfTime in here after so much CPU time; only in a process's main thread."""

    def bite(_: int, __: FrameType | None) -> None:
        raise OutOfTime(f"not done after {limit_s:g} s of CPU time: an endless loop?")

    before = signal.signal(signal.SIGVTALRM, bite)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
