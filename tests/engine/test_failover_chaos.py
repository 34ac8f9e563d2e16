"""A whole shard under random faults, in virtual time: nothing committed changes, all comes back."""

import pytest

from tests.engine.chaos import Chaos, quietly

ROUNDS, LONG_ROUNDS = 3, 6
SEEDS_PER_LONG_TEST = 100


@pytest.mark.parametrize("seed", range(40))
def test_nothing_committed_changes_and_everybody_comes_back(seed: int) -> None:
    quietly(Chaos(seed, ROUNDS).run)


@pytest.mark.long
@pytest.mark.parametrize("first_seed", range(1000, 5000, SEEDS_PER_LONG_TEST))
def test_nothing_committed_changes_in_thousands_of_runs(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + SEEDS_PER_LONG_TEST):
        print("seed", seed)  # which a failure shows
        quietly(Chaos(seed, LONG_ROUNDS).run)
