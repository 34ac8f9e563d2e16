"""What tests need to know of processes that they did not start themselves."""

import contextlib
import os
import select
import time
from pathlib import Path

END_WITHIN_MS = 20_000


def until_gone(process_id: int) -> None:
    """Wait until a process has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process_id)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(END_WITHIN_MS), f"process {process_id} still runs"
        finally:
            os.close(descriptor)


def until_state(process_id: int, letter: str) -> None:
    """Wait until the operating system says that a process is so: S asleep, T stopped, and so on."""
    deadline = time.monotonic() + END_WITHIN_MS / 1000
    status = Path(f"/proc/{process_id}/status")
    while f"State:\t{letter}" not in status.read_text():
        assert time.monotonic() < deadline, f"process {process_id} is not {letter}"
        time.sleep(0.01)


def processes_with(word: str) -> list[int]:
    """The processes that have `word` somewhere on their command line, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [each for each in found if each != os.getpid()]
