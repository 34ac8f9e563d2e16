"""What a shard asks of its state machine; the list of frames knows no more of it than this.

Commands come in and groups of frames go out, both as bytes and many in one call: so a machine may
be compiled, and need make no object for each.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from feed.messages import Command
from feed.run import Run
from feed.schema import FrameType

# Of a snapshot in one run: a megabyte or so, which takes a few milliseconds to write.
SNAPSHOT_RUN_FRAMES = 16_384


class Divergence(NamedTuple):
    """The first frame at which a machine and the list differ, and how."""

    sequence: int
    reason: str


class Sequenced(NamedTuple):
    """What became of a batch of submissions."""

    run: Run  # the groups of those that were admitted
    not_admitted: int


class Followed(NamedTuple):
    """How far a machine went with the list."""

    frame_count: int  # of the whole groups that it has carried out and agrees with
    divergence: Divergence | None


class Machine(Protocol):
    """A pure function of its commands, with a state that can be checked and compared."""

    @property
    def kind(self) -> str:
        """Which implementation it is."""

    @property
    def frame_counts(self) -> Mapping[FrameType, int]:
        """How many frames of each type its groups have had; types that had none are left out."""

    def submit(self, submissions: bytes, sequence: int, time_ns: int) -> Sequenced:
        """Carry out those of these whole submissions that are admitted, in their order.

        They may be of any type of command. The first group begins with `sequence`; `time_ns` (since
        1970) stands in every frame.
        """

    def carry_out(self, command: Command, sequence: int, time_ns: int) -> Run:
        """Carry out a command that needs no admission; its group."""

    def follow(self, run: Run) -> Followed:
        """Carry out whole groups of the list, and compare their frames.

        Stops for good at the first group that differs: the state is of no use after that.
        """

    def complete(self, run: Run) -> Run | Divergence:
        """Carry out the group that these frames are the beginning of, and compare them; the whole
        group."""

    def check(self) -> None:
        """Raise AssertionError when an invariant does not hold."""

    def digest(self) -> bytes:
        """The SHA-256 of the whole state; equal digests mean equal behaviour for ever.

        It is that of the snapshot's frames, of each its type and its body.
        """

    def snapshot(self, first_sequence: int, time_ns: int) -> Iterator[Run]:
        """Its whole state: frames numbered from `first_sequence`, in runs of a bounded size.

        The machine is not to be used until all of them are drawn. Frames that were counted are no
        part of the state.
        """

    def restore(self, runs: Iterable[Run]) -> None:
        """Become, from empty, the machine whose snapshot this is.

        Raises ValueError, which says what frame is wrong and why, when no machine has such a state,
        and when this one is not empty; it stays as it was.
        """
