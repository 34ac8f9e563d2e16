"""Whatever reaches a holder from primaries of several epochs: what it says of the list is true."""

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.schema import HolderKind
from feed.vote import Vote
from tests.feed.histories import History, histories
from tests.feed.holding import (
    INCARNATION,
    acknowledged,
    again,
    ask,
    group_ends,
    held,
    holder,
    new,
    vote,
    word,
)
from tests.feed.lists import MILLISECOND_NS, SECOND_NS


class Life:
    """A holder under test, and what may be said of it at each moment."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.holder = holder()
        self.now_ns = 0
        self.promised = 0
        self.applied: list[bytes] = []  # as a backup would have it, by what it is told
        self.returns = False  # without its memory
        self.target: int | None = None  # what it has to hold to get its vote back

    def arrive(self, epoch: int, first: int, last: int, committed: int, *, is_new: bool) -> None:
        frames = self.history.lists[epoch - 1]
        make = new if is_new else again
        data = make(frames, first, last, epoch=epoch, committed=committed)
        out = self.holder.on_datagram(data, self.now_ns)
        dropped = self.holder.list.take_dropped()
        if dropped is not None:
            del self.applied[dropped - 1 :]
        self.applied += [frame.data for frame in out]
        self.see(epoch)

    def start(self, epoch: int, was_here: bool) -> None:
        if vote(self.holder) is Vote.UNKNOWN:
            self.holder.on_start(epoch, was_here=was_here, now_ns=self.now_ns)
            self.see(epoch)

    def ask(self, epoch: int) -> None:
        answers = ask(self.holder, epoch, speaker=f"e{epoch}", now_ns=self.now_ns)
        assert [answer.epoch for answer in answers] == [max(self.promised, epoch)]
        self.see(epoch)

    def welcome(self, epoch: int, last: int, incarnation: int) -> None:
        counts = epoch >= self.promised and incarnation == INCARNATION
        waits = self.target is None or epoch > self.promised
        if counts and waits and vote(self.holder) is Vote.RETURNING:
            self.target, self.promised = last, epoch
        welcome = word(HolderKind.WELCOME, epoch=epoch, incarnation=incarnation, last_sequence=last)
        assert self.holder.on_word(welcome, self.now_ns) == []
        self.see(epoch)

    def see(self, epoch: int) -> None:
        """Hold the holder to the rules, after anything that happened."""
        of = self.holder
        of.check()
        if epoch > self.promised:
            self.promised, self.target = epoch, None
        assert of.epoch == self.promised
        assert held(of) == self.applied
        frames = self.history.lists[of.epoch - 1] if of.epoch else []
        if self.returns and vote(of) is Vote.COUNTS:
            assert self.target is not None
            assert held(of)[: self.target] == frames[: self.target]
            assert of.held_sequence >= max(self.target, self.history.opened[of.epoch - 1])
        self.returns = vote(of) is Vote.RETURNING
        last = acknowledged(of, self.now_ns)
        if last is not None:
            assert vote(of) is Vote.COUNTS
            assert last in group_ends(frames)
            assert last >= self.history.opened[of.epoch - 1]
            assert held(of)[:last] == frames[:last]


@given(history=histories(), data=st.data())
@settings(max_examples=250)
def test_whatever_arrives_it_acknowledges_only_what_it_holds_of_that_epochs_list(
    history: History, data: st.DataObject
) -> None:
    life = Life(history)
    epochs = st.integers(1, len(history.lists))
    kinds = st.sampled_from([*["new"] * 4, *["again"] * 4, "ask", "start", "welcome", "time"])
    if data.draw(st.booleans()):
        life.start(1, was_here=True)
    for _ in range(data.draw(st.integers(0, 30))):
        kind, epoch = data.draw(kinds), data.draw(epochs)
        frames, opened = history.lists[epoch - 1], history.opened[epoch - 1]
        ends = [0, *group_ends(frames[: history.committed[epoch - 1]])]
        if kind in ("new", "again"):
            first = data.draw(st.integers(opened if kind == "new" else 1, len(frames)))
            last = data.draw(st.integers(first - 1, len(frames)))
            committed = data.draw(st.sampled_from(ends))
            life.arrive(epoch, first, last, committed, is_new=kind == "new")
        elif kind == "ask":
            life.ask(epoch)
        elif kind == "start":
            life.start(data.draw(st.integers(0, len(history.lists))), data.draw(st.booleans()))
        elif kind == "welcome":
            incarnation = data.draw(st.sampled_from([INCARNATION, INCARNATION + 1]))
            ends = [end for end in group_ends(frames) if end >= opened]
            life.welcome(epoch, data.draw(st.sampled_from(ends)), incarnation)
        else:
            life.now_ns += data.draw(st.integers(0, 20)) * MILLISECOND_NS
            life.holder.on_time(life.now_ns)
            life.see(0)
    newest = history.lists[-1]
    for first in range(1, len(newest) + 1, 3):
        last = min(first + 2, len(newest))
        life.arrive(len(history.lists), first, last, history.committed[-1], is_new=False)
    assert held(life.holder) == newest
    assert life.holder.held_sequence == len(newest)
    repeat_ns = life.now_ns + SECOND_NS
    counts = vote(life.holder) is Vote.COUNTS
    assert acknowledged(life.holder, repeat_ns) == (len(newest) if counts else None)
