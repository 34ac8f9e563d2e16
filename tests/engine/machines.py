"""Machines of bytes, driven one command at a time like the naive model that judges them.

`MACHINES` holds every implementation of the market that there is here: the reference, and the
kernel where it was built.
"""

from collections.abc import Callable, Iterable
from typing import cast

import engine.markets
from engine.markets import MarketMachine, ReferenceMarket
from feed.book import BookEntry
from feed.codec import decode_frame
from feed.datagrams import Submission, encode_submission
from feed.messages import Command, Event
from feed.run import Run, run_of

Build = Callable[[], MarketMachine]

MACHINES: dict[str, Build] = {"reference": ReferenceMarket}
if engine.markets.KernelMarket is not None:
    MACHINES["kernel"] = engine.markets.KernelMarket


class ByBytes:
    """A machine as `tests.engine.driving.AnyMarket` is: a command in, its events out."""

    def __init__(self, build: Build) -> None:
        self.machine = build()
        self._build = build
        self._list: list[Run] = []

    def take(self, login: int, command: Command, sequence: int, time_ns: int) -> list[Event] | None:
        """The events that the command causes; None when it is not admitted."""
        submission = encode_submission(Submission(login, command))
        run, not_admitted = self.machine.submit(submission, sequence, time_ns)
        if not_admitted:
            assert (not_admitted, len(run), run.data) == (1, 0, b"")
            assert run.first_sequence == sequence
            return None
        return self._events(run, command, sequence, time_ns)

    def admits(self, login: int, command: Command) -> bool:
        """Whether the command would be admitted now: it is tried on another machine."""
        other = ByBytes(self._build)
        for run in self._list:
            assert other.machine.follow(run) == (len(run), None)
        next_sequence = self._list[-1].next_sequence if self._list else 1
        return other.take(login, command, next_sequence, 0) is not None

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        """The events that the command causes, without asking whether it is admitted."""
        run = self.machine.carry_out(command, sequence, time_ns)
        return self._events(run, command, sequence, time_ns)

    def book_entries(self) -> Iterable[BookEntry]:
        """The resting orders in canonical order."""
        return self.machine.book_entries()

    def check(self) -> None:
        """Raise AssertionError when an invariant does not hold."""
        self.machine.check()

    def digest(self) -> bytes:
        """A checksum of the whole state."""
        return self.machine.digest()

    def _events(self, run: Run, command: Command, sequence: int, time_ns: int) -> list[Event]:
        """The events of a group, whose frames must be right in every respect."""
        frames = []
        offset = 0
        while offset < len(run.data):
            frames.append(decode_frame(run.data, offset))  # which verifies it
            offset += len(frames[-1].data)
        assert [frame.sequence for frame in frames] == [*range(sequence, run.next_sequence)]
        assert {frame.time_ns for frame in frames} == {time_ns}
        assert [frame.is_command for frame in frames] == [True, *[False] * (len(frames) - 1)]
        assert [frame.is_end for frame in frames] == [*[False] * (len(frames) - 1), True]
        summary = run_of(sequence, run.data)
        assert (len(run), run.end_sequence, run.types) == (
            len(summary),
            summary.end_sequence,
            summary.types,
        )
        assert frames[0].message() == command
        self._list.append(run)
        return [cast(Event, frame.message()) for frame in frames[1:]]
