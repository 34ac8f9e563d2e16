"""A held list on disk: the same as in memory, whatever it is opened anew and however little of it
fits into the cache."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.cache import MINIMUM_BYTES
from feed.digest import BLOCK_FRAMES
from feed.held_list import HeldList
from feed.journal import Base, Journal, JournalPolicy
from feed.reign import Reign
from feed.run import run_of_frames
from feed.settings import SyncPolicy
from feed.storage import DiskStorage
from tests.feed.histories import History, histories
from tests.feed.holding import FIRST, group_ends, reign
from tests.feed.lists import SHARD, list_digest

LONG = reign(1, "e1", 1, [1, 1, 3] * 2500)  # does not fit into the smallest cache


def opened(folder: Path, cache_bytes: int = MINIMUM_BYTES) -> HeldList:
    """The list of a process that has just begun."""
    journal = Journal.open(
        DiskStorage(folder),
        exchange="TEST",
        shard=SHARD,
        holder="r1",
        policy=JournalPolicy(SyncPolicy.NEVER, 1, 1 << 16),
        boot="here",
        now_ns=0,
    )
    return HeldList(cache_bytes, journal)


def killed(held: HeldList) -> None:
    """End the process that has it open."""
    assert held.journal is not None
    held.journal._storage.close()


@given(history=histories(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_it_is_the_list_that_it_would_be_in_memory(history: History, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        on_disk, in_memory = opened(Path(folder)), HeldList(1 << 20)
        for epoch, frames in enumerate(history.lists):
            sure = history.committed[epoch - 1] if epoch else 0
            first = min(sure, in_memory.last_sequence) + 1
            while first <= len(frames) and data.draw(st.booleans()):
                last = data.draw(st.integers(first, len(frames)))
                run = run_of_frames(first, frames[first - 1 : last])
                assert on_disk.store(run) == in_memory.store(run)
                assert on_disk.take_dropped() == in_memory.take_dropped()
                if data.draw(st.booleans()):
                    killed(on_disk)
                    on_disk = opened(Path(folder))
                on_disk.check()
                assert on_disk.frames(1, 99) == in_memory.frames(1, 99)
                assert on_disk.reign == in_memory.reign
                assert on_disk.stored_sequence == in_memory.end_sequence
                committed = min(last, history.committed[epoch])  # what is behind it may go
                on_disk.digest_to(committed)
                in_memory.digest_to(committed)
                end = in_memory.last_sequence
                assert on_disk.digest(end) == in_memory.digest(end)
                first = last + 1
        killed(on_disk)


def test_what_does_not_fit_into_memory_is_read_from_the_disk(tmp_path: Path) -> None:
    made = opened(tmp_path)
    for first in range(1, len(LONG) + 1, 100):
        made.store(run_of_frames(first, LONG[first - 1 : first + 99]))
        made.digest_to(made.last_sequence)
    assert made.cache.first_sequence > 1
    assert made.first_sequence == 1
    assert made.frames(1, len(LONG)) == LONG
    edge = made.cache.first_sequence
    assert made.frames(edge - 2, edge + 1) == LONG[edge - 3 : edge + 1]
    assert made.digest(len(LONG)) == list_digest(LONG)
    assert made.digest(50) == list_digest(LONG[:50])
    killed(made)


def test_a_tail_that_is_not_in_memory_any_more_is_replaced_all_the_same(tmp_path: Path) -> None:
    made = opened(tmp_path)
    for first in range(1, len(LONG) + 1, 100):
        made.store(run_of_frames(first, LONG[first - 1 : first + 99]))
    other = LONG[:1] + reign(2, "e2", 2, [1, 1])
    assert made.store(run_of_frames(1, other)) == run_of_frames(2, other[1:])
    assert (made.frames(1, 99), made.take_dropped()) == (other, 2)
    made.check()
    killed(made)
    after = opened(tmp_path)
    assert after.frames(1, 99) == other
    assert after.reign == Reign(2, 2, "e2")
    killed(after)


def test_a_list_that_begins_in_its_middle_goes_on_with_the_digest(tmp_path: Path) -> None:
    whole = HeldList(1 << 22)
    whole.store(run_of_frames(1, LONG))
    whole.digest_to(len(LONG))
    end = next(end for end in group_ends(LONG) if end > 3 * BLOCK_FRAMES)
    block = whole.block_before(end)
    assert block is not None
    made = opened(tmp_path)
    made.store(run_of_frames(1, FIRST))
    made.rebase(Base(block[0] + 1, whole.reign_at(end), *block))
    made.store(run_of_frames(block[0] + 1, LONG[block[0] :]))
    for _ in range(2):
        made.check()
        assert (made.first_sequence, made.last_sequence) == (block[0] + 1, len(LONG))
        assert made.reign == Reign(1, 1, "e1")
        assert made.reign_at(end) == made.reign
        assert made.digest(len(LONG)) == list_digest(LONG)
        assert made.digest(block[0] - 1) is None
        killed(made)
        made = opened(tmp_path)
    killed(made)
