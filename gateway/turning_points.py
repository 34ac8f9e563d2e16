"""Cuts what the feed delivers where a frame does more than tell clients something.

Log-ins, epochs, days and marks take effect in their places in the list, so everything before them
has to be told before, and everything after them after.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from feed.codec import Frame
from feed.messages import AdoptOrder, Epoch, LogIn, NewDay, ShardMark
from feed.run import Run, type_bit
from feed.schema import FrameType

_TURNING_POINTS = sum(
    map(
        type_bit,
        (
            FrameType.LOG_IN,
            FrameType.EPOCH,
            FrameType.NEW_DAY,
            FrameType.SHARD_MARK,
            FrameType.ADOPT_ORDER,
        ),
    )
)


class Part(NamedTuple):
    """Frames whose clients are to be told of them: whole groups."""

    groups: bytes
    last_sequence: int


class Admission(NamedTuple):
    """A client has logged in, or was refused."""

    command: LogIn
    is_rejected: bool
    sequence: int


class NewEpoch(NamedTuple):
    """The list goes on in a new epoch."""

    epoch: int


class DayBegan(NamedTuple):
    """A day has begun; what expired with the one before has been told."""

    day: int
    sequence: int  # the last one of its group


class Mark(NamedTuple):
    """Streams go on with what another shard's list has up to here."""

    shard: int
    sequence: int


class Adoption(NamedTuple):
    """An order has come from another shard."""

    client: int
    user_ref_num: int
    symbol: bytes


Step: TypeAlias = Part | Admission | NewEpoch | DayBegan | Mark | Adoption


def steps(run: Run) -> Iterator[Step]:
    """What to do, one after the other, about whole groups of the list.

    The frames of log-ins, epochs, marks and adoptions are in the parts that follow on them, a
    NEW_DAY with its whole group in the one before.
    """
    if not run.types & _TURNING_POINTS:
        if run:
            yield Part(run.data, run.last_sequence)
        return
    frames = run[:]
    begin = end = day = 0
    for index, frame in enumerate(frames):
        match frame.message() if type_bit(frame.type) & _TURNING_POINTS else None:
            case LogIn() as command:
                if begin < end:
                    yield Part(run.data[begin:end], frame.sequence - 1)
                    begin = end
                yield Admission(command, _is_rejected(frames, index), frame.sequence)
            case Epoch(epoch=epoch):
                if begin < end:
                    yield Part(run.data[begin:end], frame.sequence - 1)
                    begin = end
                yield NewEpoch(epoch)
            case ShardMark() as mark if not _is_rejected(frames, index):
                if begin < end:
                    yield Part(run.data[begin:end], frame.sequence - 1)
                    begin = end
                yield Mark(*mark)
            case AdoptOrder() as order if not _is_rejected(frames, index):
                yield Adoption(order.client, order.user_ref_num, order.symbol)
            case NewDay(day=new_day) if not _is_rejected(frames, index):
                day = new_day
        end += len(frame.data)
        if day and frame.is_end:
            yield Part(run.data[begin:end], frame.sequence)
            begin = end
            yield DayBegan(day, frame.sequence)
            day = 0
    if begin < end:
        yield Part(run.data[begin:], run.last_sequence)


def _is_rejected(frames: Sequence[Frame], index: int) -> bool:
    """Whether the command at this place was rejected."""
    return not frames[index].is_end and frames[index + 1].type is FrameType.REJECTED
