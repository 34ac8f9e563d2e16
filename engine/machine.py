"""What a shard asks of its state machine; the list of frames knows no more of it than this."""

from collections.abc import Sequence
from typing import Protocol

from feed.messages import Command, Event


class Machine(Protocol):
    """A pure function of its commands, with a state that can be checked and compared."""

    def admits(self, login: int, command: Command) -> bool:
        """Whether a command sent under this log-in gets a place in the list."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> Sequence[Event]:
        """Carry out the command with this sequence number; the events that it caused."""

    def check(self) -> None:
        """Raise AssertionError when an invariant does not hold."""

    def digest(self) -> bytes:
        """A checksum of the whole state; equal digests mean equal behaviour for ever."""
