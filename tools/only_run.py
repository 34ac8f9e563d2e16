"""Sees to it that one `lockstep run` at a time has a configuration.

The lock is on the configuration file itself, so that nothing is left behind. The processes of the
run hold it, too: were the run killed, the next one would wait for their ends instead of meeting
them at their ports.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tools.configuration import ConfigurationError
from tools.console import UsageError

# Processes whose run was killed see it at once, and say goodbye to their clients within a second.
ORPHANS_END_WITHIN_S = 3.0
_LOOK_AGAIN_AFTER_S = 0.05


@contextlib.contextmanager
def only_run_of(configuration: Path) -> Iterator[int]:
    """Hold the lock; gives the descriptor for the processes to inherit.

    Raises UsageError when somebody else has it.
    """
    try:
        descriptor = os.open(configuration, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"{configuration}: {error.strerror}") from error
    try:
        _lock(descriptor, configuration)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, configuration: Path) -> None:
    deadline = time.monotonic() + ORPHANS_END_WITHIN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise UsageError(
                    f'another "lockstep run" has {configuration}, or processes of one that was '
                    "killed still run: stop it first (Ctrl-C or SIGTERM), or use a configuration "
                    "of its own"
                ) from error
        time.sleep(_LOOK_AGAIN_AFTER_S)
