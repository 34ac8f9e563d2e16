"""The simulator bites: it finds the mistakes that are planted in the code."""

import pytest

from tools.simulation.bugs import CATALOGUE
from tools.simulation.planted import PlantedBug, planted
from tools.simulation.simulation import run_seed

MOST_SEEDS = 1000
# One of each part, that does its harm soon.
SOON = (
    "commit by half",
    "takeover with a minority of answers",
    "an acknowledgement within a group",
    "one who forgot votes",
    "a lost tail stays on the disk",
    "a snapshot gone on from too late",
    "a gap detector off by one",
    "half a group delivered",
    "the dedupe state not replicated",
    "a lost connection loses what was under way",
    "resumed one message too early",
    "nothing sent again",
    "streams in the order of arrival",
    "an order adopted twice",
)
FEW_SEEDS = 20


def caught_at(bug: PlantedBug, seeds: range) -> int | None:
    """The first seed that fails with the bug, and without it passes."""
    for seed in seeds:
        with planted(bug):
            # The kernel has none of the machine's bugs: it would find them all by itself.
            failure = run_seed(seed, with_kernel=False).failure
        if failure is not None and run_seed(seed).failure is None:
            return seed
    return None


@pytest.mark.parametrize("name", SOON)
def test_bug_is_caught_soon(name: str) -> None:
    (bug,) = (bug for bug in CATALOGUE if bug.name == name)
    assert caught_at(bug, range(FEW_SEEDS)) is not None


@pytest.mark.long
@pytest.mark.parametrize("bug", CATALOGUE, ids=[bug.name for bug in CATALOGUE])
def test_every_bug_is_caught(bug: PlantedBug) -> None:
    assert caught_at(bug, range(MOST_SEEDS)) is not None
