"""Whole exchanges under every fault: a bounded number of seeds, and thousands behind a marker."""

import pytest

from tools.simulation.simulation import run_seed

SEEDS = range(60)
SEEDS_PER_TEST, SEEDS_PER_LONG_TEST = 5, 100


@pytest.mark.parametrize("first_seed", SEEDS[::SEEDS_PER_TEST])
def test_nothing_that_goes_wrong_breaks_a_rule(first_seed: int) -> None:
    check(range(first_seed, first_seed + SEEDS_PER_TEST))


@pytest.mark.long
@pytest.mark.parametrize("first_seed", range(1000, 6000, SEEDS_PER_LONG_TEST))
def test_nothing_that_goes_wrong_breaks_a_rule_in_thousands_of_runs(first_seed: int) -> None:
    check(range(first_seed, first_seed + SEEDS_PER_LONG_TEST))


def check(seeds: range) -> None:
    for seed in seeds:
        outcome = run_seed(seed)
        if outcome.failure is not None:
            pytest.fail("\n".join([f"seed {seed}: {outcome.failure}", *outcome.trace[-60:]]))
