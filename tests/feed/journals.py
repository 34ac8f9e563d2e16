"""Journals to try: on a simulated disk or a real one, with frames that all differ."""

from collections.abc import Iterable
from random import Random

from feed.codec import encode_frame
from feed.journal import Journal, JournalPolicy
from feed.messages import Epoch, Message, NewDay, holder_field
from feed.run import Run, run_of_frames
from feed.settings import SyncPolicy
from feed.storage import Storage
from tests.feed.lists import frames_up_to
from tools.simulation.storage import SimulatedStorage

FRAMES = frames_up_to(200)
FRAME_BYTES = len(FRAMES[0])
# Some ten frames and a header.
SEGMENT_BYTES = 900


def new_disk() -> SimulatedStorage:
    """An empty one that never forgets by itself."""
    return SimulatedStorage(Random(1))


def opened(
    storage: Storage,
    sync: SyncPolicy = SyncPolicy.GROUP,
    *,
    boot: str = "first",
    segment_bytes: int = SEGMENT_BYTES,
    exchange: str = "test",
    shard: int = 1,
    holder: str = "e1",
    token: str = "",
) -> Journal:
    """The journal that is there, or a new one."""
    return Journal.open(
        storage,
        exchange=exchange,
        shard=shard,
        holder=holder,
        policy=JournalPolicy(sync, sync_interval_ns=10, segment_bytes=segment_bytes),
        boot=boot,
        now_ns=0,
        token=token,
    )


def run(first: int, last: int) -> Run:
    """Frames of the list that these tests have in common."""
    return run_of_frames(first, FRAMES[first - 1 : last])


def of(first: int, messages: Iterable[Message]) -> Run:
    """A group of its own for each message."""
    frames = [encode_frame(one, n, n, end=True) for n, one in enumerate(messages, first)]
    return run_of_frames(first, frames)


def epoch(number: int, primary: str) -> Message:
    """A reign begins."""
    return Epoch(number, holder_field(primary))


def day(number: int) -> Message:
    """A day begins."""
    return NewDay(number)


def sync(journal: Journal, now_ns: int = 0) -> bool:
    """Carry out the sync that is due; whether one was."""
    call = journal.begin_sync(now_ns)
    if call is not None:
        call()
        journal.end_sync(None, now_ns)
    return call is not None


def filled(journal: Journal, last: int, *, size: int = 5) -> Journal:
    """The same, vouched for, with frames up to `last` on the disk."""
    journal.vouched()
    for first in range(journal.next_sequence, last + 1, size):
        journal.append(run(first, min(last, first + size - 1)))
        sync(journal)
    assert (journal.failure, journal.stored_sequence) == (None, last)
    return journal


def bytes_of(journal: Journal, first: int, last: int) -> bytes:
    """What can be read of these frames."""
    return b"".join(one.data for one in journal.runs(first, last))


def expected(first: int, last: int) -> bytes:
    """What they are."""
    return b"".join(FRAMES[first - 1 : last])
