"""A child process of ours: its readiness, its log, its end and its summary.

It runs a supervised command of `lockstep`: "ready" is the first line on its stdout and a JSON
summary the last; it ends by itself when its stdin ends, so it can't outlive its parent. It is
started in a session of its own: Ctrl-C in the terminal reaches the parent alone, which stops its
children in the right order.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.console import READY_LINE, CommandError, Summary

# Without a sign of life. Imports take a second; on a busy machine a dozen of them do so at once.
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0  # to finish what is under way and say the summary
_LINE_LIMIT_BYTES = 1 << 20  # no summary comes near it
_LOG_LINES_SHOWN = 12
_LOG_END_BYTES = 1 << 16  # of a log, for who looks for its latest lines
_LOG_LINE = re.compile(r"\S+ \[(?P<level>\w+) *\] (?P<text>.*)")


class ChildError(CommandError):
    """A child process did not start, or ended by itself; the text ends with its last log lines."""


class Child:
    """One running child process."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log_path: Path, log_begin: int
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._log_begin = log_begin  # before it stands what earlier lives have left
        self._last_line = b""
        self._process = process
        self._ready = asyncio.Event()
        self._is_stopping = False
        self._is_paused = False
        self._is_killed = False
        self._ended = asyncio.create_task(self._read_until_the_end(), name=f"{name} ends")

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
    ) -> "Child":
        """Start `lockstep ARGUMENTS --supervised --json`; its log goes on in a file in `folder`.

        `prefix` is a command that becomes the one which follows it on its command line, with the
        same process number, as "ip netns exec NAME" does. `environment` is added to this process's
        own. The child keeps the descriptors in `inherit` open for as long as it lives.
        """
        log_path = folder / f"{name}.log"
        with log_path.open("ab") as log_file:
            log_begin = log_file.tell()
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
                env={**os.environ, **(environment or {})},
                pass_fds=inherit,
            )
        return cls(name, process, log_path, log_begin)

    @property
    def process_id(self) -> int:
        """The number that the operating system knows the process by."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the process has said that it is ready."""
        return self._ready.is_set()

    @property
    def status(self) -> int | None:
        """The process's exit status; None while it runs."""
        return self._process.returncode

    async def until_ready(self, patience_s: float | None = None) -> None:
        """Wait until the process says that it is ready, for as long as it shows signs of life.

        Reading a journal may take many minutes; a process that does so writes it to its log. Raises
        ChildError when it ends before, or has written nothing for so long.
        """
        patience_s = READY_WITHIN_S if patience_s is None else patience_s
        ready = asyncio.create_task(self._ready.wait())
        log_bytes = -1
        try:
            while log_bytes != (log_bytes := self.log_path.stat().st_size):
                done, _ = await asyncio.wait(
                    {ready, self._ended}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    break
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if self._ended.done():
            raise self._failure(f"ended with status {self._process.returncode} before it was ready")
        raise self._failure(f"was not ready, and wrote nothing to its log for {patience_s:.0f} s")

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

    def send_kill(self) -> None:
        """Kill the process (SIGKILL), without waiting for its end."""
        self._is_stopping = True
        # Once only: before it sends a signal, subprocess looks whether the process has ended, and
        # would take its status away from asyncio, which waits for it in a thread.
        if self._process.returncode is None and not self._is_killed:
            self._process.kill()
        self._is_killed = True

    async def kill(self) -> None:
        """Kill the process (SIGKILL), and wait for its end, which `watch` does not complain of."""
        self.send_kill()
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
        return "".join(deque(self._log_end().splitlines(keepends=True), _LOG_LINES_SHOWN))

    def latest_event(self, level: str | None = None) -> str | None:
        """What the process logged last, without its time; of one level, where it is given."""
        for line in reversed(self._log_end().splitlines()):
            match = _LOG_LINE.fullmatch(line)
            if match is not None and level in (None, match["level"]):
                return match["text"].strip()
        return None

    def _log_end(self) -> str:
        """The latest lines of this process's log."""
        with self.log_path.open("rb") as log_file:
            size = log_file.seek(0, os.SEEK_END)
            begin = log_file.seek(max(self._log_begin, size - _LOG_END_BYTES))
            data = log_file.read()
        if begin > self._log_begin:
            _, _, data = data.partition(b"\n")  # the line that is cut
        return data.decode(errors="backslashreplace")

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
