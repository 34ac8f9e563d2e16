"""A holder with a journal: what it says it has stored, and what it knows when it comes back."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from feed.holder import Holder, HolderIdentity
from feed.journal import Journal, JournalPolicy, Vow
from feed.messages import Snapshot, holder_field
from feed.run import run_of_frames
from feed.schema import HolderKind
from feed.settings import SyncPolicy
from feed.snapshot import WholeSnapshot
from feed.storage import DiskStorage, StorageError
from feed.vote import Vote
from tests.feed.holding import (
    FIRST,
    INCARNATION,
    PAYLOAD_LIMIT_BYTES,
    SECOND,
    SUSPICION_TIME_NS,
    acknowledged,
    again,
    ask,
    held,
    new,
    take,
    vote,
    word,
)
from tests.feed.lists import SECOND_NS, SHARD, list_digest

HERE = "one boot of the machine"


class Disk:
    """The folder of one holder, and the processes that it has had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._storage: DiskStorage | None = None

    def journal(self, sync: SyncPolicy = SyncPolicy.GROUP, boot: str = HERE) -> Journal:
        """The journal as the next process opens it; the one before has been killed."""
        self.kill()
        self._storage = DiskStorage(self._folder)
        return Journal.open(
            self._storage,
            exchange="TEST",
            shard=SHARD,
            holder="r1",
            policy=JournalPolicy(sync, 10, 1 << 16),
            boot=boot,
            now_ns=0,
        )

    def holder(
        self,
        sync: SyncPolicy = SyncPolicy.GROUP,
        *,
        boot: str = HERE,
        epoch: int = 0,
        was_here: bool = False,
    ) -> Holder:
        """A holder that goes on with it; `epoch` and `was_here` are what ZooKeeper says."""
        made = Holder(
            HolderIdentity(SHARD, "r1", INCARNATION),
            peer_count=2,
            last_resort_count=1,
            random=Random(1),
            cache_bytes=1 << 20,
            payload_limit_bytes=PAYLOAD_LIMIT_BYTES,
            suspicion_time_ns=SUSPICION_TIME_NS,
            journal=self.journal(sync, boot),
        )
        made.check()
        made.on_start(epoch, was_here=was_here, now_ns=0)
        made.check()
        return made

    def kill(self) -> None:
        """The process ends where it is."""
        if self._storage is not None:
            self._storage.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "r1")
    yield made
    made.kill()


def journal_of(of: Holder) -> Journal:
    assert of.list.journal is not None
    return of.list.journal


def sync(of: Holder, error: StorageError | None = None) -> None:
    """Force to the disk what waits for that."""
    carry_out = journal_of(of).begin_sync(SECOND_NS)
    assert carry_out is not None
    if error is None:
        carry_out()
    journal_of(of).end_sync(error, SECOND_NS)


# Acknowledgements.


def test_nothing_is_acknowledged_before_it_is_on_the_disk(disk: Disk) -> None:
    made = disk.holder()
    take(made, new(FIRST, 1, 6, epoch=1))
    assert acknowledged(made, 0) is None
    sync(made)
    assert acknowledged(made, 0) == 6
    take(made, new(FIRST, 7, 8, epoch=1))
    assert acknowledged(made, SECOND_NS) == 6
    sync(made)
    assert acknowledged(made, SECOND_NS) == 8


def test_of_a_group_that_is_stored_in_part_nothing_is_acknowledged(disk: Disk) -> None:
    made = disk.holder()
    take(made, new(FIRST, 1, 5, epoch=1))  # the group of 4 to 6 is cut off
    sync(made)
    take(made, new(FIRST, 6, 6, epoch=1))
    assert acknowledged(made, 0) == 3
    sync(made)
    assert acknowledged(made, 0) == 6


def test_what_a_sync_did_not_begin_with_waits_for_the_next(disk: Disk) -> None:
    made = disk.holder()
    take(made, new(FIRST, 1, 3, epoch=1))
    carry_out = journal_of(made).begin_sync(0)
    take(made, new(FIRST, 4, 8, epoch=1))
    assert carry_out is not None
    carry_out()
    journal_of(made).end_sync(None, 0)
    assert acknowledged(made, 0) == 3


@pytest.mark.parametrize("policy", [SyncPolicy.INTERVAL, SyncPolicy.NEVER])
def test_under_a_lax_policy_what_is_written_is_acknowledged(disk: Disk, policy: SyncPolicy) -> None:
    made = disk.holder(policy)
    take(made, new(FIRST, 1, 8, epoch=1))
    assert acknowledged(made, 0) == 8


def test_who_can_not_store_says_nothing_more_but_serves_what_it_has(disk: Disk) -> None:
    made = disk.holder()
    take(made, new(FIRST, 1, 6, epoch=1, committed=6))
    sync(made)
    assert acknowledged(made, 0) == 6
    take(made, new(FIRST, 7, 8, epoch=1, committed=8))
    sync(made, StorageError("r1: no space left"))
    assert made.storage_failure is not None
    assert acknowledged(made, 10 * SECOND_NS) is None
    assert ask(made, 2) == []
    made.promise(1, 0)
    assert made.list.frames(1, 8) == FIRST


# Coming back.


def test_a_holder_that_was_killed_goes_on_where_it_was(disk: Disk) -> None:
    before = disk.holder()
    take(before, new(FIRST, 1, 8, epoch=1, committed=3))
    sync(before)
    after = disk.holder(epoch=1, was_here=True)
    assert (vote(after), after.epoch, after.last_epoch) == (Vote.COUNTS, 1, 1)
    assert (after.last_sequence, after.next_sequence, after.primary) == (8, 9, "e1")
    assert after.committed_sequence == 3
    assert held(after) == FIRST
    assert after.list.digest(8) == list_digest(FIRST)
    assert acknowledged(after, 0) == 8


def test_what_is_not_committed_is_compared_again_in_an_epoch_that_was_promised(
    disk: Disk,
) -> None:
    before = disk.holder()
    take(before, new(FIRST, 1, 8, epoch=1, committed=3))
    assert [answer.kind for answer in ask(before, 2)] == [HolderKind.ANSWER]
    after = disk.holder(epoch=2, was_here=True)
    assert (after.epoch, after.last_epoch, after.last_sequence) == (2, 1, 8)
    assert acknowledged(after, 0) is None
    take(after, again(SECOND, 1, 6, epoch=2), new(SECOND, 7, 11, epoch=2))
    assert held(after) == SECOND
    sync(after)
    assert acknowledged(after, 0) == 11
    assert disk.holder(epoch=2, was_here=True).list.frames(1, 11) == SECOND


def test_a_promise_outlives_the_process(disk: Disk) -> None:
    before = disk.holder()
    assert [answer.epoch for answer in ask(before, 5, speaker="e2")] == [5]
    after = disk.holder()  # ZooKeeper has forgotten everything
    assert after.epoch == 5
    assert ask(after, 5, speaker="e3") == []
    assert [answer.epoch for answer in ask(after, 5, speaker="e2")] == [5]
    assert ask(after, 4, speaker="e3")[0].epoch == 5  # refused: there is a later one


def test_who_stands_for_an_epoch_has_promised_it_to_itself(disk: Disk) -> None:
    before = disk.holder()
    before.promise(3, 0)
    assert before.stand()
    assert journal_of(before).vow == Vow(3, holder_field("r1"))
    assert ask(disk.holder(), 3, speaker="e2") == []


def test_no_answer_is_given_when_the_promise_can_not_be_stored(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = disk.holder()

    def full(*_: object) -> None:
        raise StorageError("state.json: no space left")

    monkeypatch.setattr(DiskStorage, "replace", full)
    assert ask(made, 2) == []
    assert not made.stand()
    assert made.storage_failure is not None


# Without a memory.


def test_a_new_disk_of_an_old_holder_has_no_vote(disk: Disk) -> None:
    made = disk.holder(epoch=3, was_here=True)
    assert vote(made) is Vote.RETURNING
    again_here = disk.holder(epoch=3, was_here=True)
    assert vote(again_here) is Vote.RETURNING  # though there is a journal now


def test_a_new_holder_has_a_vote_and_keeps_it(disk: Disk) -> None:
    assert vote(disk.holder(epoch=3)) is Vote.COUNTS
    assert vote(disk.holder(epoch=3, was_here=True)) is Vote.COUNTS


@pytest.mark.parametrize(
    ("policy", "remembers"),
    [(SyncPolicy.GROUP, True), (SyncPolicy.INTERVAL, False), (SyncPolicy.NEVER, False)],
)
def test_after_a_power_cut_only_what_was_forced_to_the_disk_counts(
    disk: Disk, policy: SyncPolicy, *, remembers: bool
) -> None:
    before = disk.holder(policy)
    take(before, new(FIRST, 1, 8, epoch=1))
    after = disk.holder(policy, boot="another")
    assert vote(after) is (Vote.COUNTS if remembers else Vote.RETURNING)


def catch_up(of: Holder) -> None:
    """Get all that the primary of epoch 1 has, and the vote with it."""
    incarnation = INCARNATION
    of.on_word(
        word(HolderKind.WELCOME, epoch=1, speaker="e1", incarnation=incarnation, last_sequence=8), 0
    )
    assert vote(of) is Vote.RETURNING
    take(of, again(FIRST, 1, 7, epoch=1, committed=7), new(FIRST, 8, 8, epoch=1))
    assert vote(of) is Vote.COUNTS


def test_who_has_caught_up_after_a_power_cut_is_not_in_doubt_any_more(disk: Disk) -> None:
    policy = SyncPolicy.NEVER
    take(disk.holder(policy), new(FIRST, 1, 6, epoch=1, committed=6))
    made = disk.holder(policy, boot="another", epoch=1, was_here=True)
    catch_up(made)
    assert acknowledged(made, 0) == 8
    assert vote(disk.holder(policy, boot="another", epoch=1, was_here=True)) is Vote.COUNTS


def test_what_gave_the_vote_back_has_to_be_stored_before_the_journal_counts_as_whole(
    disk: Disk,
) -> None:
    made = disk.holder(epoch=1, was_here=True)
    catch_up(made)
    assert acknowledged(made, 0) is None
    assert journal_of(made).is_doubtful
    sync(made)
    assert acknowledged(made, 0) == 8
    assert not journal_of(made).is_doubtful
    assert vote(disk.holder(epoch=1, was_here=True)) is Vote.COUNTS


def test_who_catches_up_by_a_snapshot_alone_has_its_vote_back(disk: Disk) -> None:
    made = disk.holder(epoch=1, was_here=True)
    incarnation = INCARNATION
    made.on_word(
        word(HolderKind.WELCOME, epoch=1, speaker="e1", incarnation=incarnation, last_sequence=8), 0
    )
    head = Snapshot(8, 1, 1, holder_field("e1"), 0, bytes(32))
    snapshot = SimpleNamespace(head=head, tail=run_of_frames(1, FIRST))
    assert vote(made) is Vote.RETURNING
    made.rebase(cast(WholeSnapshot, snapshot), 0)
    made.check()
    assert (vote(made), held(made), made.next_sequence) == (Vote.COUNTS, FIRST, 9)
    sync(made)
    assert acknowledged(made, 0) == 8
