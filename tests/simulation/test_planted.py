"""Bugs are planted as they are written down, and nothing is left of them afterwards."""

import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.commit import CommitRule, majority_of
from feed.vote import Return, Vote
from tools.simulation.bugs import CATALOGUE
from tools.simulation.planted import Owner, Patch, PlantedBug, PlantingError, planted

HERE = sys.modules[__name__]
LISTED_IN_THE_ISSUE = (
    "the fence not checked",
    "commit before the epoch's first frame",
    "an acknowledgement within a group",
    "the dedupe state not replicated",
    "a gap detector off by one",
    "takeover with a minority of answers",
    "a tail not dropped",
    "one who forgot votes",
    "an old log-in's order let through",
    "the shortest list adopted",
)
UNIT = 10


def priced(count: int, *, each: int = 2) -> int:
    return count * each * UNIT


@contextmanager
def counting(start: int) -> Iterator[int]:
    yield start + 1


class Shop:
    rate = 3

    def __init__(self) -> None:
        self.sold = 0

    def sell(self, count: int) -> int:
        self.sold += count
        return self.sold

    @property
    def stock(self) -> int:
        return 100 - self.sold

    @staticmethod
    def doubled(count: int) -> int:
        return 2 * count

    @classmethod
    def at_rate(cls, count: int) -> int:
        return cls.rate * count

    def broken(self) -> None:
        raise ValueError("sold out")


class Branch(Shop):
    def sell(self, count: int) -> int:
        """Sell.

        More text.
        """
        return super().sell(count) + 1


def a_bug(owner: Owner, function: str, old: str, new: str) -> PlantedBug:
    return PlantedBug("a bug", "", (Patch(owner, function, old, new),))


def test_a_method_is_patched_and_comes_back() -> None:
    shop, original = Shop(), Shop.sell
    with planted(a_bug(Shop, "sell", "+= count", "+= count + 1")):
        assert shop.sell(1) == 2
        assert Shop().sell(5) == 6
    assert Shop.sell is original
    assert shop.sell(1) == 3


def test_it_comes_back_when_what_was_run_has_failed() -> None:
    original = Shop.sell
    with (
        pytest.raises(ZeroDivisionError),
        planted(a_bug(Shop, "sell", "+= count", "+= count // 0")),
    ):
        Shop().sell(1)
    assert Shop.sell is original


@pytest.mark.parametrize(
    ("name", "old", "new", "ask", "expected"),
    [
        ("stock", "100", "99", lambda: Shop().stock, 99),
        ("doubled", "2 * count", "3 * count", lambda: Shop.doubled(4), 12),
        ("doubled", "2 * count", "3 * count", lambda: Branch().doubled(4), 12),
        ("at_rate", "cls.rate", "cls.rate * UNIT", lambda: Shop.at_rate(2), 60),
    ],
)
def test_properties_and_methods_of_all_kinds_stay_what_they_are(
    name: str, old: str, new: str, ask: Callable[[], int], expected: int
) -> None:
    original = vars(Shop)[name]
    before = ask()
    with planted(a_bug(Shop, name, old, new)):
        assert type(vars(Shop)[name]) is type(original)
        assert ask() == expected
    assert vars(Shop)[name] is original
    assert ask() == before != expected


def test_super_and_inherited_methods_still_work() -> None:
    with planted(a_bug(Branch, "sell", "(count) + 1", "(count) + 5")):
        assert Branch().sell(1) == 6
    with planted(a_bug(Shop, "sell", "+= count", "+= 2 * count")):
        assert Branch().sell(1) == 3


def test_functions_of_a_module_see_its_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    with planted(a_bug(HERE, "priced", "each * UNIT", "each + UNIT")):
        assert priced(2) == 14
        assert priced(2, each=1) == 12
        monkeypatch.setattr(HERE, "UNIT", 100)
        assert priced(2) == 104
    assert priced(2) == 400


def test_decorated_functions_are_decorated_again() -> None:
    with planted(a_bug(HERE, "counting", "start + 1", "start + 2")), counting(1) as count:
        assert count == 3
    with counting(1) as count:
        assert count == 2


def test_whoever_imported_a_function_is_patched_alone() -> None:
    with planted(a_bug(HERE, "majority_of", "// 2 + 1", "// 2")):
        assert majority_of("abc") == 1
        rule = CommitRule("abc", epoch_sequence=1)
        assert not rule.acknowledge("a", 1)  # has it from the module that defines it
    assert majority_of("abc") == 2


def test_several_patches_of_one_function_all_hold() -> None:
    patches = (
        Patch(Shop, "sell", "self.sold += count", "self.sold -= count"),
        Patch(Shop, "sell", "return self.sold", "return self.sold * 2"),
        Patch(Shop, "doubled", "2 *", "4 *"),
    )
    with planted(PlantedBug("three", "", patches)):
        assert Shop().sell(3) == -6
        assert Shop.doubled(1) == 4


def test_lines_can_be_added_and_taken_out() -> None:
    with planted(a_bug(Shop, "sell", "    self.sold += count\n", "")):
        assert Shop().sell(3) == 0
    doubling = "    self.sold += count\n    self.sold += count\n"
    with planted(a_bug(Shop, "sell", "    self.sold += count\n", doubling)):
        assert Shop().sell(3) == 6


def test_a_traceback_shows_the_planted_text() -> None:
    with planted(a_bug(Shop, "broken", '"sold out"', '"nothing left"')):
        with pytest.raises(ValueError, match="nothing left") as raised:
            Shop().broken()
        text = "".join(traceback.format_exception(raised.value))
    assert '"<a bug: Shop.broken>", line 2' in text
    assert 'raise ValueError("nothing left")' in text
    assert "<a bug: Shop.broken>" not in linecache.cache


@pytest.mark.parametrize(
    ("owner", "name", "old", "new", "why"),
    [
        (Shop, "sell", "+= counts", "", "0 times"),
        (Shop, "sell", "self", "this", "3 times"),
        (Shop, "sell", "+= count", "+= count", "stays as it is"),
        (Shop, "sell", "+= count", "+= ", "does not compile"),
        (Shop, "sell", "    self.sold += count\n", "  pass\n", "does not compile"),
        (Shop, "sells", "", "", "has no sells of its own"),
        (Branch, "doubled", "2", "3", "has no doubled of its own"),
        (Shop, "rate", "3", "4", "is no function"),
        (HERE, "UNIT", "10", "11", "is no function"),
        (int, "bit_length", "a", "b", "is no function"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(
    owner: Owner, name: str, old: str, new: str, why: str
) -> None:
    before = dict(vars(owner))
    with pytest.raises(PlantingError, match=why), planted(a_bug(owner, name, old, new)):
        pytest.fail("it was planted")
    assert dict(vars(owner)) == before


def test_nothing_is_changed_when_one_patch_of_several_does_not_fit() -> None:
    original = Shop.sell
    patches = (
        Patch(Shop, "sell", "+= count", "+= count + 1"),
        Patch(Shop, "doubled", "3 * count", "4 * count"),
    )
    with pytest.raises(PlantingError), planted(PlantedBug("half", "", patches)):
        pytest.fail("it was planted")
    assert Shop.sell is original


@pytest.mark.parametrize("bug", CATALOGUE, ids=lambda bug: bug.name)
def test_each_bug_of_the_catalogue_fits_the_code_and_leaves_nothing(bug: PlantedBug) -> None:
    places = {(patch.owner, patch.function) for patch in bug.patches}
    originals = {place: vars(place[0])[place[1]] for place in places}
    with planted(bug):
        for owner, function in places:
            assert vars(owner)[function] is not originals[owner, function]
    for owner, function in places:
        assert vars(owner)[function] is originals[owner, function]


def test_a_bug_of_the_catalogue_is_felt() -> None:
    (bug,) = (bug for bug in CATALOGUE if bug.name == "one who forgot votes")
    with planted(bug):
        vote = Return()
        vote.begin(has_forgotten=True)
        assert vote.vote is Vote.COUNTS
    vote = Return()
    vote.begin(has_forgotten=True)
    assert vote.vote is Vote.RETURNING


def test_the_catalogue_is_as_large_as_was_asked_for() -> None:
    names = [bug.name for bug in CATALOGUE]
    assert len(set(names)) == len(names) >= 25
    assert set(LISTED_IN_THE_ISSUE) <= set(names)
    for bug in CATALOGUE:
        assert bug.patches
        assert bug.what.endswith(".")
        assert "\n" not in bug.what
