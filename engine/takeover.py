"""Rule 5, sans-I/O: ask the holders, wait for a majority of answers, adopt the longest list.

Whoever was granted an epoch asks until it leads: a datagram may be lost, a holder may come back,
and those who have answered see by it that somebody is at work. Raft (section 5.4.1 of its paper)
shows why the list with the highest (last epoch, last sequence) among a majority holds all that was
ever committed.
"""

from collections.abc import Collection
from enum import Enum, auto

from engine.commit import majority_of
from feed.codec import RETRANSMISSION, WireError
from feed.datagrams import HolderWord
from feed.holder import FETCH_FRAMES, Holder
from feed.messages import unpad
from feed.run import Run, read_packet
from feed.schema import HolderKind
from feed.vote import Vote

_MILLISECOND_NS = 1_000_000
ASK_REPEAT_NS = 5 * _MILLISECOND_NS
# A holder that sends nothing of what it said it has for so long is asked no more for it.
FETCH_PATIENCE_NS = 100 * _MILLISECOND_NS


class Stage(Enum):
    """How far a takeover has come."""

    ASKING = auto()
    FETCHING = auto()
    ADOPTED = auto()


class Takeover:
    """One replica's attempt to lead in the epoch that its holder has promised."""

    def __init__(self, holder: Holder, holders: Collection[str], now_ns: int) -> None:
        self.epoch = holder.epoch
        self.stage = Stage.ASKING
        self.forgetful: set[str] = set()  # who answered that it has no vote
        self.lacking: int | None = None  # is committed, and nobody who has answered holds it
        self.began_ns = now_ns
        self._holder = holder
        self._others = [name for name in holders if name != holder.identity.name]
        self._majority = majority_of(holders)
        self._answers: dict[str, HolderWord] = {}
        self._source = ""  # whose list is adopted
        self._next = 0  # the frame of it that is to come
        self._early: dict[int, Run] = {}  # what came of it before its turn, frame by frame
        self._asked_from = 0
        self._progress_ns = now_ns
        self._ask_at_ns = now_ns

    @property
    def answered(self) -> list[str]:
        """Who has answered with a vote, this replica too where it has one."""
        own = [self._holder.identity.name] if self._holder.vote is Vote.COUNTS else []
        return own + sorted(self._answers)

    @property
    def missing_answers(self) -> int:
        """How many more are needed."""
        return max(0, self._majority - len(self.answered))

    @property
    def deadline_ns(self) -> int:
        """When `on_time` wants to be called next."""
        return self._ask_at_ns

    def on_time(self, now_ns: int) -> list[tuple[str, bytes]]:
        """What to tell whom now: each holder that is asked, and the one that is fetched from."""
        if now_ns < self._ask_at_ns:
            return []
        self._ask_at_ns = now_ns + ASK_REPEAT_NS
        ask = self._holder.say(HolderKind.ASK)
        words = [(name, ask) for name in self._others]
        if self.stage is Stage.FETCHING:
            if now_ns - self._progress_ns >= FETCH_PATIENCE_NS:
                del self._answers[self._source]
                self.stage = Stage.ASKING
                self._choose(now_ns)
            if now_ns - self._progress_ns >= ASK_REPEAT_NS:
                words += self._fetch()
        elif self.stage is Stage.ASKING:
            self._choose(now_ns)  # this replica alone may be a majority
            words += self._fetch()
        return words

    def on_answer(self, word: HolderWord, now_ns: int) -> list[tuple[str, bytes]]:
        """A holder's answer; what to tell whom because of it."""
        name = unpad(word.holder)
        if word.epoch != self.epoch or name not in self._others:
            return []
        if word.kind is HolderKind.FORGOT:
            self.forgetful.add(name)
            return []
        self.forgetful.discard(name)
        if self.stage is not Stage.ASKING:
            return []
        self._answers[name] = word
        self._choose(now_ns)
        return self._fetch()

    def on_packet(self, data: bytes, name: str, now_ns: int) -> list[tuple[str, bytes]]:
        """A packet that came from a holder alone: frames of its list."""
        if self.stage is not Stage.FETCHING or name != self._source:
            return []
        try:
            header, run = read_packet(data)
        except WireError:
            return []
        if (
            header.shard != self._holder.identity.shard
            or header.epoch != self.epoch
            or not header.flags & RETRANSMISSION
        ):
            return []
        longest = self._answers[name].last_sequence
        limit = min(longest, self._asked_from + FETCH_FRAMES - 1)
        before = self._next
        run = run.part(self._next, limit)
        if run.first_sequence == self._next:
            self._store(run)
        else:
            self._early |= {each: run.part(each, each) for each in _sequences(run)}
        while (following := self._early.pop(self._next, None)) is not None:
            self._store(following)
        if self._next == before:
            return []
        self._progress_ns = now_ns
        if self._next > longest:
            self._finish()
            return []
        return self._fetch() if self._next >= self._asked_from + FETCH_FRAMES else []

    def _store(self, run: Run) -> None:
        self._holder.list.store(run)
        self._next = run.next_sequence

    def _choose(self, now_ns: int) -> None:
        """With a majority of answers, find the longest list among them."""
        if self.missing_answers:
            return
        best = max(
            self._answers.items(),
            key=lambda item: (item[1].last_epoch, item[1].last_sequence),
            default=None,
        )
        own = (self._holder.last_epoch, self._holder.last_sequence)
        longest = own if best is None else max(own, (best[1].last_epoch, best[1].last_sequence))
        committed = max(self._holder.committed_sequence, self._committed_elsewhere)
        # Never with holders that remember; whatever has made them forget, nothing is guessed.
        self.lacking = committed if longest[1] < committed else None
        if self.lacking is not None:
            return
        if best is None or own == longest:
            self._finish()
            return
        self._source = best[0]
        # What is held beyond may be of a list that has lost, even where it is committed by now.
        self._next = self._holder.verified_sequence + 1
        self._early.clear()
        self._progress_ns = now_ns
        self.stage = Stage.FETCHING

    def _fetch(self) -> list[tuple[str, bytes]]:
        if self.stage is not Stage.FETCHING:
            return []
        self._asked_from = self._next
        return [(self._source, self._holder.say(HolderKind.FETCH, self._next))]

    def _finish(self) -> None:
        self._holder.adopted(self._committed_elsewhere)
        self.stage = Stage.ADOPTED

    @property
    def _committed_elsewhere(self) -> int:
        """How much of the list is committed, as far as anybody who answered knows."""
        return max((word.committed_sequence for word in self._answers.values()), default=0)


def _sequences(run: Run) -> range:
    return range(run.first_sequence, run.next_sequence)
