"""A journal under a random history of calls, crashes and power cuts, and what it has to be then."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from feed.codec import decode_frame, encode_frame
from feed.journal import Base, Damage, Journal, JournalPolicy, Vow
from feed.messages import Epoch, NewDay, holder_field, unpad
from feed.reign import Reign
from feed.run import run_of_frames
from feed.settings import SyncPolicy
from feed.storage import StorageError
from tests.feed.lists import group_frames
from tools.simulation.storage import BROKEN, CutShort, SimulatedStorage

SEGMENT_BYTES = 900
INTERVAL_NS = 5
# What may be found without any damage to the files.
HARMLESS = {Damage.TORN_TAIL, Damage.POWER_CUT, Damage.DAMAGED_INDEX}


@dataclass
class Possible:
    """What may be found: these frames, without some at the beginning or at the end."""

    first: int
    latest_first: int  # it may have been pruned up to here
    frames: list[bytes]
    least_last: int  # but this much was written

    def allows(self, first: int, frames: list[bytes]) -> bool:
        if not self.first <= first <= self.latest_first:
            return False
        mine = self.frames[first - self.first :]
        return frames == mine[: len(frames)] and first + len(frames) - 1 >= self.least_last


class History:
    """Calls a journal at random, and knows what may be in it."""

    def __init__(self, random: Random, sync: SyncPolicy, *, faults: bool = False) -> None:
        """With faults, the disk fills up, becomes read-only, or fails to sync."""
        self.random = random
        self.sync = sync
        self.faults = faults
        self.storage = SimulatedStorage(random)
        self.log: list[str] = []
        self.boot = self.now_ns = self.version = 0
        self.first = 1
        self.frames: list[bytes] = []  # as the journal gives them out
        self.possible = [Possible(1, 1, [], 0)]
        self.acknowledged = 0
        self.vow = self.asked_vow = Vow(0, b"")  # what was promised, and what may have been
        self.is_doubtful, self.may_be_vouched = True, False
        self.told_committed = 0
        self.epoch = self.day = 0
        self.power_was_cut = self.sync_failed = False
        self.call: Callable[[], None] | None = None  # a sync that is under way
        self.call_error: StorageError | None = None
        self.was_called = False
        self.outcomes: set[str] = set()
        self.journal = self.open()

    @property
    def last(self) -> int:
        return self.first + len(self.frames) - 1

    def step(self) -> None:
        """One call, or one blow."""
        storage, random = self.storage, self.random
        if random.random() < 0.08:
            storage.operations_left = random.randint(0, 8)
        if self.faults and random.random() < 0.04:
            self.befall()
        actions = [self.append, self.work_on_sync, self.truncate, self.promise, self.note]
        actions += [self.prune, self.rebase, self.vouch, self.close, self.end]
        weights = [40, 40, 6, 3, 6, 2, 1, 2, 1, 2]
        action = random.choices(actions, weights)[0]
        self.now_ns += random.randint(0, INTERVAL_NS)
        self.log.append(action.__name__)
        stored = self.journal.stored_sequence
        had_failed = self.journal.failure is not None
        try:
            action()
        except CutShort:
            self.log.append("cut short")
            self.outcomes.add("cut short")
            # Then it had no time to note that there are frames which the disk did not take.
            self.reopen(is_noted=BROKEN not in (self.journal.failure or ""))
        else:
            if had_failed and self.journal.failure is not None:
                assert self.journal.stored_sequence <= stored
            elif self.journal.failure is not None:
                self.outcomes.add("failed")
        self.look()

    def look(self) -> None:
        """The journal is what it has to be."""
        journal, random = self.journal, self.random
        self.sync_failed |= BROKEN in (journal.failure or "")
        journal.check()
        assert (journal.first_sequence, journal.next_sequence) == (self.first, self.last + 1)
        first, last = (random.randint(self.first - 2, self.last + 2) for _ in range(2))
        read = b"".join(run.data for run in journal.runs(first, last))
        begin, end = max(0, first - self.first), max(0, last - self.first + 1)
        assert read == b"".join(self.frames[begin:end])
        allowed = HARMLESS
        if self.sync is not SyncPolicy.GROUP:
            allowed = HARMLESS | {Damage.MISSING_END}
        assert {finding.what for finding in journal.findings} <= allowed, journal.findings
        told = [decode_frame(frame) for frame in self.frames]
        reigns, days = [], []
        for frame in told:
            message = frame.message()
            if isinstance(message, Epoch):
                reigns.append(Reign(frame.sequence, message.epoch, unpad(message.primary)))
            elif isinstance(message, NewDay):
                days.append((frame.sequence, message.day))
        assert (journal.reigns, journal.days) == (reigns, days)
        self.acknowledged = journal.stored_sequence

    # Calls.

    def append(self) -> None:
        frames = self.new_frames(self.random.choice([1, 1, 2, 5, 12]))
        was_written = self.journal.failure is None
        if was_written:
            self.expect(self.frames + frames, self.last)
        self.journal.append(run_of_frames(self.last + 1, frames))
        if self.journal.failure is None:
            self.frames += frames
            self.expect(self.frames, self.last)

    def truncate(self) -> None:
        if not self.frames:
            return
        next_sequence = max(self.first, self.last + 1 - self.random.choice([0, 1, 3, 9, 30]))
        # What is committed never goes.
        next_sequence = max(next_sequence, min(self.told_committed, self.last) + 1)
        if self.journal.failure is None:
            self.expect(self.frames, next_sequence - 1)
        del self.frames[next_sequence - self.first :]
        self.acknowledged = min(self.acknowledged, self.last)
        self.journal.truncate(next_sequence)
        if self.journal.failure is None:
            self.expect(self.frames, self.last)

    def prune(self) -> None:
        limit = self.random.randint(self.first, self.last + 1)
        if self.journal.failure is None:
            self.possible[0].latest_first = limit
        self.journal.prune(limit)
        found = self.journal.first_sequence
        assert self.first <= found <= limit
        del self.frames[: found - self.first]
        self.first = found
        if self.journal.failure is None:
            self.expect(self.frames, self.last)

    def rebase(self) -> None:
        first = max(1, self.last + self.random.choice([-20, 0, 1, 1000]), self.told_committed + 1)
        reign = Reign(first, self.epoch, "e1") if self.epoch else None
        base = Base(first, reign, first - 1, bytes(32), self.day)
        if self.journal.failure is None:
            self.possible.append(Possible(first, first, [], first - 1))
        self.acknowledged = 0
        self.journal.rebase(base)
        assert self.journal.base == base
        self.first, self.frames = first, []
        if self.journal.failure is None:
            self.expect([], self.last)

    def promise(self) -> None:
        epoch = self.journal.vow.epoch + self.random.choice([0, 1])
        self.asked_vow = Vow(epoch, self.random.choice([b"", holder_field("e1")]))
        if self.journal.promise(self.asked_vow):
            assert self.journal.failure is None
            self.vow = self.asked_vow
        assert self.journal.vow == self.vow

    def note(self) -> None:
        self.told_committed = max(self.told_committed, self.random.randint(0, self.last))
        self.journal.note(self.told_committed, None)

    def vouch(self) -> None:
        self.may_be_vouched = True
        self.journal.vouched()
        self.is_doubtful = self.journal.is_doubtful
        if self.journal.failure is None:
            assert not self.is_doubtful
            self.may_be_vouched = False

    def work_on_sync(self) -> None:
        """Begin a sync, or carry out the one that was begun, or end that; or all at once."""
        for _ in range(self.random.choice([1, 3])):
            if self.call is None:
                self.was_called, self.call_error = False, None
                self.call = self.journal.begin_sync(self.now_ns)
            elif not self.was_called:
                self.was_called = True
                try:
                    self.call()
                except StorageError as error:
                    self.call_error = error
                    self.sync_failed = True
            else:
                self.call = None
                self.journal.end_sync(self.call_error, self.now_ns)
                assert self.call_error is None or self.journal.failure is not None

    def close(self) -> None:
        self.call = None
        self.journal.close()
        self.outcomes.add("closed")
        self.storage.operations_left = None
        self.reopen(may_lose=self.journal.failure is not None)

    def end(self) -> None:
        self.reopen()

    # Blows.

    def befall(self) -> None:
        storage = self.storage
        is_full = storage.capacity_bytes is not None
        if self.sync is not SyncPolicy.GROUP and (is_full or storage.is_read_only):
            return  # with two at once, nothing is left to note down what was lost
        match self.random.randrange(4):
            case 0:
                storage.capacity_bytes = storage.used_bytes + self.random.randint(0, 1500)
            case 1:
                storage.is_read_only = True
            case 2:
                storage.fails_to_sync = True
                self.faults = self.sync is SyncPolicy.GROUP
            case 3 if self.sync is SyncPolicy.GROUP:
                storage.fails_to_sync = storage.fails_to_replace = True

    def reopen(self, *, may_lose: bool = True, is_noted: bool = True) -> None:
        """The process ends, perhaps with the power; and another one opens the journal."""
        self.call = None
        self.power_was_cut = False
        was_told = BROKEN in (self.journal.failure or "")
        is_noted &= was_told or not self.sync_failed
        self.sync_failed |= was_told
        self.blow()
        storage = self.storage
        while True:
            storage.capacity_bytes = None
            storage.is_read_only = storage.fails_to_sync = storage.fails_to_replace = False
            if self.random.random() < 0.2:
                storage.operations_left = self.random.randint(0, 10)
            try:
                self.journal = self.open()
                break
            except CutShort:
                self.log.append("cut short when it was opened")
                may_lose = True  # it may not be known to have been closed any more
                self.blow()
        storage.operations_left = None
        self.compare(may_lose=may_lose, is_noted=is_noted)

    def blow(self) -> None:
        if self.random.random() < 0.5:
            self.log.append("crash")
            self.storage.crash()
        else:
            self.log.append("power cut")
            self.outcomes.add("power cut")
            self.power_was_cut = True
            self.boot += 1
            self.storage.power_cut()

    def open(self) -> Journal:
        return Journal.open(
            self.storage,
            exchange="test",
            shard=1,
            holder="e1",
            policy=JournalPolicy(self.sync, INTERVAL_NS, SEGMENT_BYTES),
            boot=str(self.boot),
            now_ns=self.now_ns,
        )

    def compare(self, *, may_lose: bool, is_noted: bool) -> None:
        """What was found is what may be found."""
        journal = self.journal
        first, last = journal.first_sequence, journal.next_sequence - 1
        frames = [frame for run in journal.runs(first, last) for frame in run.split()]
        assert len(frames) == last - first + 1
        is_lax = self.sync is not SyncPolicy.GROUP
        is_doubtful_now = is_lax and (self.power_was_cut or self.sync_failed) and may_lose
        for one in self.possible:
            if may_lose and (self.power_was_cut or self.sync_failed):
                one.least_last = min(one.least_last, self.acknowledged)
                if is_lax and (journal.is_doubtful or not is_noted):
                    one.least_last = 0
        assert any(one.allows(first, frames) for one in self.possible), (first, last)
        if last < self.last:
            self.outcomes.add("lost what was not acknowledged")
        if self.is_doubtful and not self.may_be_vouched:
            assert journal.is_doubtful
        elif not self.is_doubtful and not is_doubtful_now and not self.sync_failed:
            assert not journal.is_doubtful, journal.findings
        assert journal.stored_sequence == last
        assert journal.vow.epoch >= self.vow.epoch
        held = [reign.epoch for reign in journal.reigns]
        if journal.vow not in (self.vow, self.asked_vow):
            assert held or journal.base.reign is not None
            assert journal.vow.epoch > self.vow.epoch
        assert journal.committed_sequence <= self.told_committed
        self.first, self.frames = first, frames
        self.expect(frames, last)
        self.vow = self.asked_vow = journal.vow
        self.is_doubtful, self.may_be_vouched = journal.is_doubtful, False
        self.sync_failed = False
        self.epoch = max([self.epoch, *held])
        self.look()

    # What it is made of.

    def expect(self, frames: list[bytes], least_last: int) -> None:
        self.possible = [Possible(self.first, self.first, list(frames), least_last)]

    def new_frames(self, count: int) -> list[bytes]:
        """Frames such as there were never any before."""
        self.version += 1
        frames = []
        for sequence in range(self.last + 1, self.last + 1 + count):
            luck = self.random.random()
            if luck < 0.05:
                self.epoch += 1
                message = Epoch(self.epoch, holder_field("e2"))
                frames.append(encode_frame(message, sequence, self.version, end=True))
            elif luck < 0.1:
                self.day += 1
                frames.append(encode_frame(NewDay(self.day), sequence, self.version, end=True))
            else:
                frames += group_frames(sequence, client=self.version)
        return frames
