"""Every operation on the disk may be the last one: what each call leaves then."""

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from feed.journal import Base, Damage, Journal, Vow
from feed.storage import SyncError
from tests.feed.journals import bytes_of, expected, filled, opened, run
from tools.simulation.storage import CutShort, SimulatedStorage

LAST = 35  # in segments that begin with 1, 11, 21 and 31
MOST_OPERATIONS = 30
SEEDS = 24
BASE = Base(101, None, 100, bytes(range(32)))


def truncate(journal: Journal) -> None:
    journal.truncate(8)


def rebase(journal: Journal) -> None:
    journal.rebase(BASE)


def prune(journal: Journal) -> None:
    journal.prune(LAST)


def prune_behind_a_new_segment(journal: Journal) -> None:
    filled(journal, 40)
    journal.append(run(41, 41))
    journal.prune(41)


def promise(journal: Journal) -> None:
    journal.promise(Vow(9, b""))


def append(journal: Journal) -> None:
    for first in range(LAST + 1, 60, 5):
        journal.append(run(first, first + 4))


def close(journal: Journal) -> None:
    journal.append(run(LAST + 1, LAST + 1))
    journal.close()


# Of each call, what may be held after it was cut short, by the first and the last frame.
CALLS: list[tuple[Callable[[Journal], None], Callable[[int, int], bool]]] = [
    (truncate, lambda first, last: first == 1 and 7 <= last <= LAST),
    (rebase, lambda first, last: (first, last) in [(1, LAST), (101, 100)]),
    (prune, lambda first, last: first in (1, 31) and last == LAST),
    (prune_behind_a_new_segment, lambda first, last: first in (1, 31) and LAST <= last <= 41),
    (promise, lambda first, last: (first, last) == (1, LAST)),
    (append, lambda first, last: first == 1 and LAST <= last <= 60),
    (close, lambda first, last: first == 1 and LAST <= last <= LAST + 1),
]


def cut_short(disk: SimulatedStorage, left: int, act: Callable[[], object]) -> bool:
    """Whether an act came to its last operation before it was done."""
    disk.operations_left = left
    try:
        act()
    except CutShort:
        return True
    finally:
        disk.operations_left = None
    return False


@pytest.mark.parametrize(("call", "allows"), CALLS, ids=[call.__name__ for call, _ in CALLS])
def test_whatever_operation_is_the_last_a_list_without_holes_is_left(
    call: Callable[[Journal], None], allows: Callable[[int, int], bool]
) -> None:
    cuts = 0
    for seed in range(SEEDS):
        for left in range(MOST_OPERATIONS):
            disk = SimulatedStorage(Random(seed * 1000 + left))
            journal = filled(opened(disk), LAST)
            is_cut = cut_short(disk, left, partial(call, journal))
            cuts += is_cut
            if seed % 2:  # a new process is cut short too, and only then the power
                disk.crash()
                cut_short(disk, disk.random.randrange(12), partial(opened, disk))
            disk.power_cut()
            journal = opened(disk, boot="second")
            first, last = journal.first_sequence, journal.next_sequence - 1
            assert allows(first, last), (seed, left, first, last)
            assert bytes_of(journal, first, last) == expected(first, last)
            assert not journal.is_doubtful
            assert {finding.what for finding in journal.findings} <= {
                Damage.TORN_TAIL,
                Damage.DAMAGED_INDEX,
            }
            filled(journal, last + 12, size=12)
            disk.power_cut()
            journal = opened(disk, boot="third")
            assert bytes_of(journal, 1, 999) == expected(first, last + 12)
            if not is_cut:
                break
    assert cuts >= SEEDS


def test_what_no_process_could_have_on_the_disk_is_not_taken_for_stored_by_the_next() -> None:
    disk = SimulatedStorage(Random(1))
    journal = filled(opened(disk), 30)
    journal.append(run(31, 33))
    call = journal.begin_sync(0)
    assert call is not None
    disk.fails_to_sync = True
    with pytest.raises(SyncError, match="the disk reports an error"):
        call()
    disk.fails_to_sync = False
    disk.crash()  # before it could note anything
    assert disk.size("00000000000000000031.frames") > 0
    journal = opened(disk)
    assert (journal.next_sequence, journal.stored_sequence) == (31, 30)
    filled(journal, 40)
    disk.power_cut()
    assert bytes_of(opened(disk, boot="second"), 1, 99) == expected(1, 40)


def test_a_doubt_outlives_an_opening_that_was_cut_short() -> None:
    cuts = 0
    for left in range(MOST_OPERATIONS):
        disk = SimulatedStorage(Random(left))
        filled(opened(disk), LAST)
        name = "00000000000000000031.frames"
        disk.flip_bit(name, disk.size(name) * 8 - 1)
        is_cut = cut_short(disk, left, partial(opened, disk))
        cuts += is_cut
        if left % 2:
            disk.crash()
        else:
            disk.power_cut()
        journal = opened(disk, boot="second")
        assert journal.is_doubtful
        assert bytes_of(journal, 1, 99) == expected(1, LAST - 1)
        assert f"{name}.damaged" in disk.names()
        if not is_cut:
            break
    assert cuts > 3
