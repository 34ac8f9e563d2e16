"""A journal: frames, vows and notes that are there again, and what counts as stored when."""

import pytest

from feed.journal import Base, Damage, Journal, JournalError, JournalPolicy, Vow
from feed.journal_files import JournalFiles
from feed.messages import MarketState, holder_field
from feed.reign import Reign
from feed.segments import FIRST_BASE
from feed.settings import SyncPolicy
from feed.storage import StorageError, SyncError
from tests.feed.journals import (
    FRAME_BYTES,
    SEGMENT_BYTES,
    bytes_of,
    day,
    epoch,
    expected,
    filled,
    new_disk,
    of,
    opened,
    run,
    sync,
)

DIGEST = bytes(range(32))


def test_a_new_journal_is_doubtful_until_somebody_vouches_for_it() -> None:
    disk = new_disk()
    journal = opened(disk, token="first")
    assert (journal.is_new, journal.is_doubtful, journal.findings) == (True, True, [])
    assert (journal.first_sequence, journal.next_sequence, journal.stored_sequence) == (1, 1, 0)
    assert (journal.base, journal.vow) == (FIRST_BASE, Vow(0, b""))
    assert journal.digest_block == (0, bytes(32))
    assert journal.deadline_ns is None
    journal = opened(disk, token="this one")
    assert (journal.is_new, journal.is_doubtful, journal.token) == (True, True, "first")
    journal.vouched()
    journal = opened(disk)
    assert (journal.is_new, journal.is_doubtful, journal.token) == (False, False, "first")


def test_what_was_written_is_there_again() -> None:
    disk = new_disk()
    journal = filled(opened(disk), 100)
    journal.note(95, (64, DIGEST))
    assert journal.promise(Vow(3, holder_field("e2")))
    journal.check()
    disk.power_cut()
    journal = opened(disk, boot="second")
    journal.check()
    assert (journal.findings, journal.is_doubtful, journal.is_new) == ([], False, False)
    assert (journal.first_sequence, journal.next_sequence, journal.stored_sequence) == (1, 101, 100)
    assert (journal.vow, journal.committed_sequence) == (Vow(3, holder_field("e2")), 95)
    assert journal.digest_block == (64, DIGEST)
    for first, last in [(1, 100), (0, 999), (7, 7), (50, 49), (33, 88), (101, 200), (1, 1)]:
        assert bytes_of(journal, first, last) == expected(max(1, first), min(last, 100))
    journal.append(run(101, 120))
    assert bytes_of(journal, 90, 120) == expected(90, 120)


def test_segments_are_cut_when_they_are_full_and_before_each_day() -> None:
    disk = new_disk()
    journal = opened(disk)
    journal.append(of(1, [epoch(1, "e1"), day(20261123), epoch(2, "e2"), day(20261124)]))
    journal.append(of(5, [epoch(4, "e3")]))
    reigns = [Reign(1, 1, "e1"), Reign(3, 2, "e2"), Reign(5, 4, "e3")]
    assert journal.reigns == reigns
    assert journal.days == [(2, 20261123), (4, 20261124)]
    sync(journal)
    journal.note(5, (0, bytes(32)))
    journal.append(run(6, 30))
    files = JournalFiles(disk)
    assert [one.first_sequence for one in files.segments] == [1, 2, 4, 6]
    assert (files.reigns, files.days) == (reigns, journal.days)
    journal.append(run(31, 31))
    journal.append(run(32, 32))
    sync(journal)
    segments = JournalFiles(disk).segments
    assert [one.is_sealed for one in segments] == [True, True, True, True, False]
    assert all(one.size <= SEGMENT_BYTES or one.first_sequence == 6 for one in segments)
    journal.prune(6)
    assert journal.base == Base(6, Reign(5, 4, "e3"), 0, bytes(32), 20261124)
    assert (journal.reigns, journal.days) == ([], [])
    journal = opened(disk)
    assert journal.base == Base(6, Reign(5, 4, "e3"), 0, bytes(32), 20261124)
    assert journal.vow == Vow(4, holder_field("e3"))  # as its frames tell
    assert journal.digest_block is None  # the frames after it are not held


def test_only_what_follows_on_can_be_appended() -> None:
    journal = filled(opened(new_disk()), 10)
    for wrong in (run(10, 12), run(12, 13)):
        with pytest.raises(ValueError, match=r"does not follow 10"):
            journal.append(wrong)
    with pytest.raises(ValueError, match="a snapshot's frames are no part of a list"):
        journal.append(of(11, [MarketState(20261123)]))
    assert journal.next_sequence == 11


def test_vows_are_kept_and_never_go_back() -> None:
    disk = new_disk()
    journal = opened(disk)
    assert journal.promise(Vow(3, b""))
    assert journal.promise(Vow(3, holder_field("e2")))
    with pytest.raises(ValueError, match="epoch 2 can't be promised after 3"):
        journal.promise(Vow(2, b""))
    disk.power_cut()
    assert opened(disk, boot="second").vow == Vow(3, holder_field("e2"))


# What counts as stored.


def test_under_group_only_what_was_synced_counts_as_stored() -> None:
    journal = opened(new_disk())
    journal.append(run(1, 5))
    assert [journal.stored_sequence, journal.deadline_ns] == [0, 0]
    call = journal.begin_sync(0)
    assert call is not None
    assert (journal.begin_sync(0), journal.deadline_ns) == (None, None)  # one at a time
    journal.append(run(6, 9))
    call()
    journal.append(run(10, 11))
    assert journal.stored_sequence == 0
    journal.end_sync(None, 7)
    assert [journal.stored_sequence, journal.deadline_ns] == [5, 7]
    assert sync(journal, 7)
    assert [journal.stored_sequence, journal.deadline_ns] == [11, None]
    assert not sync(journal, 8)


def test_under_interval_all_counts_as_stored_and_is_synced_now_and_then() -> None:
    journal = opened(new_disk(), SyncPolicy.INTERVAL)
    assert journal.deadline_ns is None
    journal.append(run(1, 5))
    assert [journal.stored_sequence, journal.deadline_ns] == [5, 10]
    assert not sync(journal, 9)
    assert sync(journal, 10)
    journal.append(run(6, 6))
    assert [journal.stored_sequence, journal.deadline_ns] == [6, 20]
    assert not sync(journal, 19)
    assert sync(journal, 20)
    assert journal.deadline_ns is None


def test_under_never_only_whole_segments_are_synced_and_the_names_of_others() -> None:
    disk = new_disk()
    journal = opened(disk, SyncPolicy.NEVER)
    journal.append(run(1, 2))
    assert journal.stored_sequence == 2
    assert sync(journal)  # so that a power cut can't leave a hole
    journal.append(run(3, 10))
    assert journal.deadline_ns is None
    assert not sync(journal)
    journal.append(run(11, 12))
    assert sync(journal)
    assert [one.is_sealed for one in JournalFiles(disk).segments] == [True, False]


def test_frames_that_were_cut_off_while_a_sync_was_under_way_are_not_stored_by_it() -> None:
    journal = filled(opened(new_disk()), 10)
    journal.append(run(11, 14))
    call = journal.begin_sync(0)
    assert call is not None
    journal.truncate(12)
    journal.append(run(12, 20))
    call()
    journal.end_sync(None, 0)
    assert journal.stored_sequence == 11
    assert sync(journal)
    assert journal.stored_sequence == 20


def test_a_segment_that_was_written_to_again_is_not_sealed_by_an_older_sync() -> None:
    disk = new_disk()
    journal = opened(disk)
    journal.append(run(1, 10))
    journal.append(run(11, 12))
    call = journal.begin_sync(0)
    assert call is not None
    call()
    journal.truncate(6)
    journal.append(run(6, 10))
    journal.append(run(11, 11))
    journal.end_sync(None, 0)
    assert not any(one.is_sealed for one in JournalFiles(disk).segments)
    journal.check()


def test_a_rebase_while_a_sync_is_under_way_leaves_that_nothing_to_say() -> None:
    journal = filled(opened(new_disk()), 10)
    journal.append(run(11, 30))
    call = journal.begin_sync(0)
    assert call is not None
    journal.rebase(Base(101, None, -1, bytes(32)))
    assert (journal.begin_sync(0), journal.stored_sequence) == (None, 100)
    call()  # of files that are not there any more
    journal.append(run(101, 105))
    journal.end_sync(None, 0)
    assert journal.stored_sequence == 100
    assert sync(journal)
    assert journal.stored_sequence == 105


# What does not work any more.


def test_after_a_sync_that_failed_nothing_is_ever_stored_again() -> None:
    disk = new_disk()
    journal = filled(opened(disk), 10)
    journal.append(run(11, 12))
    call = journal.begin_sync(0)
    assert call is not None
    disk.fails_to_sync = True
    with pytest.raises(SyncError) as caught:
        call()
    disk.fails_to_sync = False
    journal.end_sync(caught.value, 0)
    assert journal.failure == "00000000000000000011.frames: the disk reports an error"
    assert (journal.stored_sequence, journal.deadline_ns, journal.begin_sync(0)) == (10, None, None)
    journal.append(run(13, 13))
    assert not journal.promise(Vow(9, b""))
    journal.vouched()
    journal.close()
    assert (journal.stored_sequence, journal.next_sequence, journal.vow) == (10, 13, (0, b""))
    assert bytes_of(journal, 1, 12) == expected(1, 12)
    disk.crash()
    journal = opened(disk)
    assert (journal.next_sequence, journal.is_doubtful, journal.failure) == (11, True, None)


@pytest.mark.parametrize("policy", SyncPolicy)
def test_a_full_disk_stops_it_and_leaves_whole_frames(policy: SyncPolicy) -> None:
    disk = new_disk()
    journal = filled(opened(disk, policy), 22)
    name = "00000000000000000021.frames"
    before = disk.size(name)
    disk.capacity_bytes = disk.used_bytes + 3 * FRAME_BYTES + 7
    journal.append(run(23, 27))
    assert journal.failure == f"{name}: the disk is full"
    assert (journal.next_sequence, journal.stored_sequence) == (23, 22)
    assert disk.size(name) == before
    journal.truncate(15)  # what it gives out goes with the list, though the files can't
    assert (journal.next_sequence, journal.stored_sequence) == (15, 14)
    assert bytes_of(journal, 1, 99) == expected(1, 14)
    with pytest.raises(JournalError, match=r"state\.json: the disk is full"):
        opened(disk, policy)
    disk.capacity_bytes = None
    journal = opened(disk, policy)
    assert (journal.next_sequence, journal.is_doubtful, journal.findings) == (23, False, [])


def test_a_vow_that_could_not_be_stored_was_not_made() -> None:
    disk = new_disk()
    journal = opened(disk)
    journal.promise(Vow(1, b""))
    disk.is_read_only = True
    assert not journal.promise(Vow(2, b""))
    assert (journal.vow, journal.failure) == (
        Vow(1, b""),
        "state.json: the file system is read-only",
    )
    disk.is_read_only = False
    assert not journal.promise(Vow(3, b""))
    assert opened(disk).vow == Vow(1, b"")


def test_an_error_beside_all_others_is_not_taken_for_success() -> None:
    journal = opened(new_disk())
    journal.append(run(1, 2))
    assert journal.begin_sync(0) is not None
    journal.end_sync(StorageError("too few file descriptors"), 0)
    assert (journal.failure, journal.stored_sequence) == ("too few file descriptors", 0)


# Frames that go.


def test_a_tail_is_dropped_across_segments() -> None:
    disk = new_disk()
    journal = filled(opened(disk), 60)
    journal.note(20, (8, DIGEST))
    for next_sequence in (61, 60, 52, 41, 38, 21):
        journal.truncate(next_sequence)
        journal.check()
        assert (journal.next_sequence, journal.stored_sequence) == (
            next_sequence,
            next_sequence - 1,
        )
        again = opened(disk)
        assert bytes_of(again, 1, 99) == expected(1, next_sequence - 1)
        assert not again.findings
        journal = opened(disk)
    assert journal.digest_block == (0, bytes(32))
    filled(journal, 45)
    journal.truncate(1)
    assert (journal.first_sequence, journal.next_sequence) == (1, 1)
    filled(journal, 12)
    journal.prune(11)
    with pytest.raises(ValueError, match="frame 5 comes before"):
        journal.truncate(5)


def test_old_segments_are_removed_but_never_the_last() -> None:
    disk = new_disk()
    journal = filled(opened(disk), 35)
    firsts = [one.first_sequence for one in JournalFiles(disk).segments]
    assert firsts == [1, 11, 21, 31]
    journal.prune(20)
    assert journal.first_sequence == 11
    journal.prune(21)
    assert journal.first_sequence == 21
    assert bytes_of(journal, 1, 99) == expected(21, 35)
    journal.prune(99)
    assert (journal.first_sequence, journal.next_sequence) == (31, 36)
    assert disk.names() == ["00000000000000000031.frames", "state.json"]
    journal = opened(disk)
    assert (journal.first_sequence, journal.next_sequence, journal.findings) == (31, 36, [])


def test_a_list_begins_anew_at_a_base() -> None:
    disk = new_disk()
    journal = filled(opened(disk), 35)
    base = Base(101, Reign(90, 7, "e2"), 100, DIGEST, 20261123)
    journal.rebase(base)
    assert (journal.base, journal.next_sequence, journal.stored_sequence) == (base, 101, 100)
    assert journal.digest_block == (100, DIGEST)
    filled(journal, 110)
    disk.power_cut()
    journal = opened(disk, boot="second")
    assert (journal.base, journal.next_sequence, journal.findings) == (base, 111, [])
    assert journal.vow == Vow(7, holder_field("e2"))
    journal.rebase(Base(41, None, -1, bytes(32)))  # which is before it
    filled(journal, 60)
    journal = opened(disk)
    assert (journal.first_sequence, bytes_of(journal, 1, 200)) == (41, expected(41, 60))


def test_the_digest_goes_on_from_the_newest_block_whose_next_frames_are_held() -> None:
    disk = new_disk()
    journal = filled(opened(disk), 12)
    journal.note(12, (10, DIGEST))
    filled(journal, 24)
    journal.note(24, (20, DIGEST[::-1]))
    assert opened(disk).digest_block == (10, DIGEST)  # from a segment's header
    journal.promise(Vow(1, b""))
    assert opened(disk).digest_block == (20, DIGEST[::-1])
    journal.prune(21)
    assert opened(disk).digest_block == (20, DIGEST[::-1])


def test_power_cuts_under_lax_policies_make_it_doubtful_and_nothing_else_does() -> None:
    for policy in SyncPolicy:
        disk = new_disk()
        is_lax = policy is not SyncPolicy.GROUP
        filled(opened(disk, policy), 10)
        assert not opened(disk, policy).is_doubtful  # the process was killed
        assert not opened(disk, SyncPolicy.GROUP).is_doubtful
        assert not opened(disk, policy).is_doubtful
        journal = opened(disk, policy, boot="second")
        assert journal.is_doubtful is is_lax
        whats = [finding.what for finding in journal.findings]
        assert whats == ([Damage.POWER_CUT] if is_lax else [])
        assert opened(disk, policy, boot="second").is_doubtful is is_lax  # that does not pass
        journal = opened(disk, policy, boot="second")
        journal.vouched()
        journal.close()
        assert not opened(disk, policy, boot="third").is_doubtful  # it had been closed


def test_the_policy_that_counts_is_the_one_that_frames_were_stored_under() -> None:
    disk = new_disk()
    filled(opened(disk, SyncPolicy.NEVER), 10)
    assert opened(disk, SyncPolicy.GROUP, boot="second").is_doubtful
    disk = new_disk()
    filled(opened(disk, SyncPolicy.GROUP), 10)
    assert not opened(disk, SyncPolicy.NEVER, boot="second").is_doubtful


def test_progress_is_told_up_to_the_end() -> None:
    disk = new_disk()
    filled(opened(disk, segment_bytes=1 << 20), 200, size=200)
    told: list[tuple[int, int]] = []
    Journal.open(
        disk,
        exchange="test",
        shard=1,
        holder="e1",
        policy=JournalPolicy(),
        boot="first",
        now_ns=0,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (200 * FRAME_BYTES, 200 * FRAME_BYTES)
