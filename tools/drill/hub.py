"""Runs a drill once more in the hub of a network of its own, and removes the network after it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from tools.drill.namespaces import Network, made

_VARIABLE = "LOCKSTEP_DRILL_HUB"  # the number of the run, for the process in the hub
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def network_here(replicas: Sequence[str], environment: Mapping[str, str]) -> Network | None:
    """The network whose hub this process is in; None when it is in none."""
    run = environment.get(_VARIABLE)
    return None if run is None else Network.plan(replicas, int(run))


def run_in_hub(replicas: Sequence[str], arguments: Sequence[str]) -> int:
    """Run `lockstep ARGUMENTS` in the hub of a new network; its exit status.

    The network is gone when this returns, also when it is told to stop meanwhile. Raises
    CommandError when the network can't be made.
    """
    network = Network.plan(replicas, os.getpid())
    with made(network):
        return _run(hub_command(network, arguments), {**os.environ, _VARIABLE: str(os.getpid())})


def hub_command(network: Network, arguments: Sequence[str]) -> list[str]:
    """The command line that runs `lockstep ARGUMENTS` in the hub of a network."""
    lockstep = [sys.executable, "-P", "-m", "tools.cli", *arguments]
    return ["ip", "netns", "exec", network.hub, *lockstep]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end, and pass on what this process is told meanwhile."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # In a session of its own, so that Ctrl-C in the terminal comes to it once, from here.
    process = subprocess.Popen(command, env=environment, start_new_session=True)

    def pass_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    try:
        for number in _SIGNALS:
            signal.signal(number, pass_on)
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
