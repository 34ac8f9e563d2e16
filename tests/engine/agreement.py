"""Two machines that are given the same bytes must answer with the same bytes, and be the same."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from random import Random
from typing import NoReturn, TypeVar
from unittest.mock import patch

from engine.machine import Machine, Sequenced
from engine.markets import MarketMachine, ReferenceMarket
from feed.codec import WireError, decode_frame
from feed.datagrams import Submission, encode_submission
from feed.messages import Command
from feed.run import Run, joined, run_of
from tests.engine.batches import batches, profile
from tests.engine.machines import Build
from tests.engine.strategies import seeded_submissions

M = TypeVar("M", bound=MarketMachine)


class Agreement:
    """The reference and another machine, driven side by side."""

    def __init__(self, build: Build, first_sequence: int = 1) -> None:
        self.reference = ReferenceMarket()
        self.other = build()
        self.next_sequence = first_sequence
        self.list: list[Run] = []
        self._history: list[str] = []

    def submit(self, submissions: Sequence[Submission], time_ns: int) -> Run:
        """Hand both these submissions in one call; the groups that both made of them."""
        self._history += [str(submission) for submission in submissions]
        del self._history[:-500]
        data = b"".join(map(encode_submission, submissions))
        wanted = self.reference.submit(data, self.next_sequence, time_ns)
        found = self.other.submit(data, self.next_sequence, time_ns)
        if found.run.data != wanted.run.data:
            self._fail(wanted.run, found.run)
        assert found.not_admitted == wanted.not_admitted
        self._take(wanted.run, found.run)
        return wanted.run

    def carry_out(self, command: Command, time_ns: int) -> None:
        """Have both carry out a command that needs no admission."""
        self._history.append(f"carry out {command}")
        wanted = self.reference.carry_out(command, self.next_sequence, time_ns)
        found = self.other.carry_out(command, self.next_sequence, time_ns)
        if found.data != wanted.data:
            self._fail(wanted, found)
        self._take(wanted, found)

    def compare(self) -> None:
        """Compare the two states, all that they show of them."""
        self.other.check()
        assert self.other.live_orders == self.reference.live_orders
        assert dict(self.other.frame_counts) == dict(self.reference.frame_counts)
        assert self.other.digest() == self.reference.digest()
        entries = list(map(tuple, self.reference.book_entries()))
        assert list(map(tuple, self.other.book_entries())) == entries
        assert list(self.other.instruments()) == list(self.reference.instruments())
        for symbol in self.reference.rules.instruments:
            assert self.other.is_listed(symbol)

    def whole_list(self) -> Run:
        """The list that both wrote."""
        return joined(self.list)

    def _take(self, wanted: Run, found: Run) -> None:
        assert shape(found) == shape(wanted)
        if wanted:
            self.list.append(wanted)
        self.next_sequence = wanted.next_sequence

    def _fail(self, wanted: Run, found: Run) -> NoReturn:
        __tracebackhide__ = True
        ours, theirs = (run_of(run.first_sequence, run.data).split() for run in (wanted, found))
        pairs = zip(ours, theirs, strict=False)
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        lines = ["machines differ after these submissions:", *self._history]
        lines += [f"from sequence number {wanted.first_sequence + same} on, the reference says"]
        lines += [str(decode_frame(data).message()) for data in ours[same : same + 5]]
        lines += ["and the other machine"]
        lines += [str(decode_frame(data).message()) for data in theirs[same : same + 5]]
        raise AssertionError("\n".join(lines))


def shape(run: Run) -> tuple[int, int, int, int]:
    """What a run knows of its frames without looking."""
    return run.first_sequence, len(run), run.end_sequence, run.types


def assert_agreement(build: Build, seed: int, count: int, compare_each: int = 20) -> Agreement:
    """Drive both through a seed's batches, and compare their states after each so many of them."""
    random = Random(seed)
    market = profile(random)
    with patch("engine.market.MAX_LIVE_ORDERS", market.order_limit):
        pair = Agreement(build, market.first_sequence)
        follower, author = build(), ReferenceMarket()
        drawn = batches(random, market, count, pair.reference.rules)
        for number, batch in enumerate(drawn):
            run = pair.submit(batch.submissions, batch.time_ns)
            pair.other.check()
            assert follower.follow(run) == (len(run), None)
            assert author.follow(run) == (len(run), None)
            if number % compare_each == 0:
                pair.compare()
        pair.compare()
        assert follower.digest() == author.digest() == pair.reference.digest()
    return pair


def day(seed: int, count: int = 400) -> Run:
    """The list of a day with every kind of command, by the reference."""
    pair = Agreement(ReferenceMarket)
    submissions = seeded_submissions(seed, count)
    for at in range(0, len(submissions), 7):
        pair.submit(submissions[at : at + 7], time_ns=at)
    return pair.whole_list()


def follow(build: Callable[[], M], run: Run) -> M:
    """A machine that has carried out this list and agrees with all of it."""
    machine = build()
    assert machine.follow(run) == (len(run), None)
    return machine


def groups(run: Run) -> list[Run]:
    """Each group of some whole ones."""
    found = []
    first = run.first_sequence
    for frame in run:
        if frame.is_end:
            found.append(run.part(first, frame.sequence))
            first = frame.sequence + 1
    return found


def answer(machine: Machine, submissions: bytes, sequence: int) -> Sequenced | str:
    """What a machine makes of bytes that may be submissions: why not, where they are none."""
    try:
        return machine.submit(submissions, sequence, 0)
    except WireError as error:
        return str(error)
