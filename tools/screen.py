"""The terminal while a live view has it: the other screen, single keys, and back as it was."""

import asyncio
import contextlib
import io
import os
import signal
import sys
import termios
import tty
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO, cast

from rich.console import Console
from rich.live import Live

from tools.console import UsageError
from tools.view import ASCII, UNICODE, Scene, page_count, render

REFRESHES_PER_SECOND = 5  # smooth to the eye; drawing costs some 30 ms, and trading goes on beside
_LINES_HELD = 200  # of the log; the newest tell why a view ended
_QUIT_KEYS = frozenset("qQ")
_NEXT_KEYS = frozenset("nN ")


class Screen:
    """A terminal in which scenes are drawn; a context manager that gives it back as it was."""

    def __init__(
        self,
        stop: asyncio.Event,
        otherwise: str,
        on_keys: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        """`stop` is set when the user asks to quit; `on_keys` says what other keys do.

        Raises UsageError where there is no terminal, and says `otherwise`: what to do then.
        """
        self._console = Console()
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            raise UsageError(f"there is no terminal to draw on; {otherwise}")
        self._glyphs = ASCII if self._console.options.ascii_only else UNICODE
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stop = stop
        self._on_keys = on_keys or {}
        self._page = 0
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "Screen":
        with contextlib.ExitStack() as resources:
            resources.enter_context(_held_log())
            if sys.stdin.isatty():
                resources.enter_context(_single_keys(self._on_key))
            resources.enter_context(self._live)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def show(self, scene: Callable[[int], Scene]) -> None:
        """Draw the scene for the page of symbols that the user is on."""
        width, height = self._console.size
        drawn = scene(self._page)
        self._page %= page_count(drawn, width, height)
        self._live.update(render(drawn, width, height, self._glyphs), refresh=True)

    def _on_key(self, key: str) -> None:
        if key in _QUIT_KEYS:
            self._stop.set()
        elif key in _NEXT_KEYS:
            self._page += 1
        elif key.lower() in self._on_keys:
            self._on_keys[key.lower()]()


class _LastLines(io.TextIOBase):
    """Keeps the last lines that were written to it."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_LINES_HELD)

    def write(self, text: str) -> int:
        self.lines.append(text)
        return len(text)


@contextlib.contextmanager
def _held_log() -> Iterator[None]:
    """Let nothing disturb the picture: what is logged meanwhile is shown when it is gone."""
    held = _LastLines()
    try:
        with contextlib.redirect_stderr(cast(TextIO, held)):
            yield
    finally:
        sys.stderr.write("".join(held.lines))


@contextlib.contextmanager
def _single_keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Hand on each key as it is pressed, without echo.

    Ctrl-Z is off: a suspended process could not look after its children.
    """
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        for key in os.read(descriptor, 64).decode(errors="replace"):
            on_key(key)

    before = termios.tcgetattr(descriptor)
    suspend = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        tty.setcbreak(descriptor)
        loop.add_reader(descriptor, on_readable)
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, suspend)
