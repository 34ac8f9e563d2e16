"""A program in a terminal of its own, as a user would have it before them."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from typing import Any

WITHIN_S = 60.0


class Terminal:
    """Runs `lockstep ARGUMENTS` in a pseudo-terminal; a context manager.

    It is the program's controlling terminal, so that the character of Ctrl-C is a SIGINT.
    """

    def __init__(self, arguments: Sequence[str], *, columns: int = 80, lines: int = 24) -> None:
        self.output = b""
        self._user, self._program = pty.openpty()
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._program, termios.TIOCSWINSZ, size)
        self.modes_before = self.modes()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.cli", *arguments],
            stdin=self._program,
            stdout=self._program,
            stderr=self._program,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._program)
        os.close(self._user)

    def modes(self) -> list[Any]:
        """The terminal's modes, as `stty` shows them."""
        return termios.tcgetattr(self._program)

    def press(self, keys: str) -> None:
        """Let the user press keys."""
        os.write(self._user, keys.encode())

    def until(self, text: str) -> None:
        """Read what the program shows until `text` has come."""
        deadline = time.monotonic() + WITHIN_S
        while text.encode() not in self.output:
            readable, _, _ = select.select([self._user], [], [], deadline - time.monotonic())
            assert readable, f"{text!r} did not come; the end: {self.output[-2000:]!r}"
            self.output += os.read(self._user, 65_536)

    def until_end(self) -> int:
        """Read until the program has ended; its exit status."""
        deadline = time.monotonic() + WITHIN_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on; the end: {self.output[-2000:]!r}"
            if select.select([self._user], [], [], 0.05)[0]:
                self.output += os.read(self._user, 65_536)
        while select.select([self._user], [], [], 0)[0]:
            self.output += os.read(self._user, 65_536)
        return self._process.returncode
