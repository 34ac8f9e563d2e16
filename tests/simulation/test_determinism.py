"""The same seed does the same, step by step, whatever else is different about the process."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tools.simulation.planted import planted
from tools.simulation.simulation import run_seed
from tools.simulation.work import BUGS

SEEDS = (3, 6, 8, 14, 15, 19, 24)  # in some, a replica ends several connections at once
PROGRAM = """
import json
import sys
from tools.simulation.simulation import run_seed
for seed in sys.argv[1:]:
    outcome = run_seed(int(seed))
    print(json.dumps({name: getattr(outcome, name) for name in outcome.__slots__}))
"""


def outcomes(hash_seed: str) -> list[dict[str, Any]]:
    """What becomes of the seeds in a process that orders sets in another way."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, SEEDS)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_seed_does_the_same_in_another_process() -> None:
    first, second = outcomes("1"), outcomes("4321")
    assert len(first) == len(SEEDS)
    assert first == second
    assert len({outcome["digest"] for outcome in first}) == len(SEEDS)


def test_a_seed_does_the_same_again_in_one_process() -> None:
    assert run_seed(5) == run_seed(5)


def test_a_failure_is_the_same_again_with_its_trace() -> None:
    with planted(BUGS["a gap detector off by one"]):
        failed = next(each for each in map(run_seed, range(20)) if each.failure is not None)
        again = run_seed(failed.seed)
    assert failed == again
    assert failed.trace
    assert run_seed(failed.seed).failure is None


@pytest.mark.parametrize("lines", [1, 10])
def test_a_trace_has_as_many_lines_as_one_asks_for(lines: int) -> None:
    with planted(BUGS["a gap detector off by one"]):
        failed = next(each for each in map(run_seed, range(20)) if each.failure is not None)
        short = run_seed(failed.seed, trace_lines=lines)
    assert short.trace == failed.trace[-lines:]
