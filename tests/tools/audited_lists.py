"""Lists to audit: clean ones, drawn by a seed, and what somebody may do to them."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import count
from typing import Any

from engine.markets import ReferenceMarket
from feed.codec import END, Frame, decode_frame, encode_frame
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Command,
    Epoch,
    LogIn,
    Message,
    MoveOut,
    NewDay,
    SetTradingState,
    ShardMark,
    holder_field,
)
from feed.run import Run, joined, run_of_frames
from feed.schema import FrameType
from tests.engine.strategies import seeded_submissions
from tools.audit.findings import Difference, Findings
from tools.audit.list_audit import ListAudit

FIRST_TIME_NS = 1_700_000_000_000_000_000
_OF_SHARDS = (ShardMark, MoveOut, AdoptInstrument, AdoptOrder)


def history(seed: int, commands: int = 250, *, is_calm: bool = True) -> list[bytes]:
    """The frames of some random hours under two primaries.

    On a calm day nothing is halted, the day does not end, and there is no other shard, so that more
    is traded.
    """
    unwanted = (Epoch, SetTradingState, NewDay, *_OF_SHARDS) if is_calm else Epoch
    drawn = [
        Submission(login, _at_home(command) if is_calm else command)
        for login, command in seeded_submissions(seed, commands)
        if not isinstance(command, unwanted)
    ]
    author = Author()
    for at, submission in enumerate(drawn):
        if at in (0, len(drawn) // 2):
            epoch = 2 if at else 1
            author.submit(Submission(0, Epoch(epoch, holder_field(f"e{epoch}"))))
        author.submit(submission)
    return author.frames


def _at_home(command: Command) -> Command:
    return command._replace(home_sequence=0) if isinstance(command, LogIn) else command


@cache
def busy_history() -> list[bytes]:
    """The frames of some hours in which much is traded, by the first seed that draws them."""
    return next(
        frames
        for frames in map(history, count(1))
        if sum(decode_frame(data).type is FrameType.TRADE for data in frames) >= 40
    )


class Author:
    """Writes a list as a primary does."""

    def __init__(self) -> None:
        self.machine = ReferenceMarket()
        self.frames: list[bytes] = []

    def submit(self, submission: Submission) -> list[Message]:
        """The group of a submission; nothing where it is not admitted."""
        sequence = len(self.frames) + 1
        time_ns = FIRST_TIME_NS + sequence * 1000
        run, _ = self.machine.submit(encode_submission(submission), sequence, time_ns)
        self.frames += run.split()
        return [frame.message() for frame in run]

    def write(self, *commands: Command, login: int = 1) -> list[Message]:
        """The groups of these commands, all under one log-in."""
        return [each for command in commands for each in self.submit(Submission(login, command))]


def runs(frames: Sequence[bytes], first: int = 1, size: int = 40) -> list[Run]:
    """Frames in runs of this size."""
    return [run_of_frames(first + at, frames[at : at + size]) for at in range(0, len(frames), size)]


def audit_of(list_runs: Iterable[Run], **arguments: Any) -> ListAudit:
    """The audit of a list, from its first frame to its last."""
    audit = ListAudit(ReferenceMarket, Findings(), **arguments)
    for run in list_runs:
        audit.take(run)
    audit.close()
    return audit


def whole(frames: Sequence[bytes]) -> Run:
    """All of it as one run."""
    return joined(runs(frames))


def find(
    frames: Sequence[bytes], kind: type[Message], wanted: Callable[[Any], bool] = lambda _: True
) -> Frame:
    """The first frame of a kind that is as wanted."""
    for data in frames:
        frame = decode_frame(data)
        message = frame.message()
        if isinstance(message, kind) and wanted(message):
            return frame
    raise AssertionError(f"no such {kind.__name__}: draw another list")


def altered(frames: Sequence[bytes], frame: Frame, **fields: Any) -> list[bytes]:
    """The list with other values in some fields of a frame, and a right checksum."""
    message: Any = frame.message()
    return put(frames, frame, message._replace(**fields))


def put(frames: Sequence[bytes], frame: Frame, message: Message) -> list[bytes]:
    """The list with another message in the place of a frame."""
    is_end = bool(frame.flags & END)
    other = encode_frame(message, frame.sequence, frame.time_ns, end=is_end)
    return [other if decode_frame(data).sequence == frame.sequence else data for data in frames]


def moved(data: bytes, sequence: int, time_ns: int | None = None) -> bytes:
    """A frame under another number, and at another time."""
    frame = decode_frame(data)
    at = frame.time_ns if time_ns is None else time_ns
    return encode_frame(frame.message(), sequence, at, end=frame.is_end)


def renumbered(frames: Iterable[bytes], first: int = 1) -> list[bytes]:
    """The frames under consecutive numbers."""
    return [moved(data, first + at) for at, data in enumerate(frames)]


def told(audit: ListAudit) -> list[Difference]:
    """The differences that an audit tells."""
    return audit.findings.differences
