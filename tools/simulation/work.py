"""What a worker of `lockstep simulate` does with a task."""

from tools.simulation.bugs import CATALOGUE
from tools.simulation.outcome import Outcome
from tools.simulation.planted import planted
from tools.simulation.simulation import run_seed
from tools.simulation.workers import Task

BUGS = {bug.name: bug for bug in CATALOGUE}


def simulate_task(task: Task, trace_lines: int) -> Outcome:
    """Run the seed, with the bug planted unless this is the control."""
    if task.bug is None or task.is_control:
        return run_seed(task.seed, trace_lines=trace_lines)
    with planted(BUGS[task.bug]):
        # The kernel has none of the machine's bugs: it would find them all by itself.
        return run_seed(task.seed, trace_lines=trace_lines, with_kernel=False)
