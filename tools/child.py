"""A child process of ours: its readiness, its log, its end and its summary.

It runs a supervised command of `lockstep`: "ready" is the first line on its stdout and a JSON
summary the last; it ends by itself when its stdin ends, so it can't outlive its parent. It is
started in a session of its own: Ctrl-C in the terminal reaches the parent alone, which stops its
children in the right order.
"""

import asyncio
import json
import signal
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tools.console import READY_LINE, CommandError, Summary

READY_WITHIN_S = 30.0  # imports take a second; on a busy machine a dozen of them do so at once
STOP_WITHIN_S = 10.0  # to finish what is under way and say the summary
_LINE_LIMIT_BYTES = 1 << 20  # no summary comes near it
_LOG_LINES_SHOWN = 12


class ChildError(CommandError):
    """A child process did not start, or ended by itself; the text ends with its last log lines."""


class Child:
    """One running child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._last_line = b""
        self._process = process
        self._ready = asyncio.Event()
        self._is_stopping = False
        self._is_paused = False
        self._ended = asyncio.create_task(self._read_until_the_end(), name=f"{name} ends")

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], folder: Path, prefix: Sequence[str] = ()
    ) -> "Child":
        """Start `lockstep ARGUMENTS --supervised --json`; its log goes on in a file in `folder`.

        `prefix` is a command that becomes the one which follows it on its command line, with the
        same process number, as "ip netns exec NAME" does.
        """
        log_path = folder / f"{name}.log"
        with log_path.open("ab") as log_file:
            process = await asyncio.create_subprocess_exec(
                *prefix,
                sys.executable,
                "-P",  # a folder named "feed" or "tools" where the user stands is not ours
                "-m",
                "tools.cli",
                "--log-format=text",  # for the eyes of whoever is shown its end
                *arguments,
                "--supervised",
                "--json",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                limit=_LINE_LIMIT_BYTES,
                start_new_session=True,
            )
        return cls(name, process, log_path)

    @property
    def process_id(self) -> int:
        """The number that the operating system knows the process by."""
        return self._process.pid

    async def until_ready(self) -> None:
        """Wait until the process says that it is ready.

        Raises ChildError when it ends before, or does not say so in time.
        """
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, self._ended},
                timeout=READY_WITHIN_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if self._ended.done():
            raise self._failure(f"ended with status {self._process.returncode} before it was ready")
        raise self._failure(f"was not ready within {READY_WITHIN_S:.0f} s")

    async def watch(self) -> None:
        """Wait for ever, until the process ends though nobody stopped it: then raise ChildError."""
        await asyncio.shield(self._ended)
        if not self._is_stopping:
            raise self._failure(f"ended by itself with status {self._process.returncode}")

    def pause(self) -> None:
        """Let the process do nothing at all (SIGSTOP) until `unpause`."""
        self._process.send_signal(signal.SIGSTOP)
        self._is_paused = True

    def unpause(self) -> None:
        """Let a paused process go on (SIGCONT), knowing nothing of the time that has passed."""
        self._process.send_signal(signal.SIGCONT)
        self._is_paused = False

    async def kill(self) -> None:
        """Kill the process (SIGKILL), and wait for its end, which `watch` does not complain of."""
        self._is_stopping = True
        if self._process.returncode is None:
            self._process.kill()
        await asyncio.shield(self._ended)

    async def stop(self) -> Summary:
        """Tell the process to stop, and wait for its end; its summary.

        A process that does not end in time is killed; one that is paused goes on first. Raises
        ChildError when it had to be, ended with another status than success, or left no summary.
        """
        self._is_stopping = True
        if self._is_paused and self._process.returncode is None:
            self.unpause()
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        await asyncio.wait({self._ended}, timeout=STOP_WITHIN_S)
        if not self._ended.done():
            self._process.kill()
            await self._ended
            raise self._failure(f"did not stop within {STOP_WITHIN_S:.0f} s and was killed")
        if self._process.returncode:
            raise self._failure(f"ended with status {self._process.returncode}")
        try:
            summary = json.loads(self._last_line)
        except ValueError:
            summary = None
        if not isinstance(summary, dict):
            raise self._failure(f"left no summary, but {self._last_line!r}")
        return summary

    def last_log_lines(self) -> str:
        """The end of the process's log, as it would be shown to a user."""
        with self.log_path.open(errors="backslashreplace") as lines:
            return "".join(deque(lines, _LOG_LINES_SHOWN))

    async def _read_until_the_end(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        while line := await self._process.stdout.readline():
            if line.strip() == READY_LINE.encode():
                self._ready.set()
            else:
                self._last_line = line
        await self._process.wait()
        self._process.stdin.close()

    def _failure(self, what: str) -> ChildError:
        log_lines = self.last_log_lines() or "(nothing)\n"
        return ChildError(f"the process {self.name} {what}. The end of its log:\n{log_lines}")
