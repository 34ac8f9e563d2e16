"""A function in a process of its own, so that what drives an exchange takes no turn from others.

The process is a fresh Python. It leaves Ctrl-C to its parent, is killed when its parent is done
with it, and ends by itself when its parent has died.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar

from tools.bench.figures import BenchmarkError

P = ParamSpec("P")
Word = TypeVar("Word")
Say = Callable[[Word], None]

_CONTEXT = multiprocessing.get_context("spawn")
_SIGNALS_OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)


class Apart(Generic[Word]):
    """Runs `function(say, ...)` in a process of its own; a context manager that kills it.

    What the function says, and what it returns in the end, is there to `hear`. The function has to
    stand at the top of its module, and all of that has to be picklable.
    """

    def __init__(
        self,
        function: Callable[Concatenate[Say[Word], P], Word],
        *arguments: P.args,
        **keywords: P.kwargs,
    ) -> None:
        self._connection, self._theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(self._theirs, function, arguments, keywords), daemon=True
        )

    @property
    def process_id(self) -> int:
        """The number that the operating system knows the process by."""
        assert self._process.pid is not None
        return self._process.pid

    def __enter__(self) -> "Apart[Word]":
        with self._theirs, _signals_held():
            self._process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()

    async def hear(self, within_s: float) -> Word:
        """The next word. Raises BenchmarkError when the function raised, or says nothing."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._connection.fileno(), readable.set)
        try:
            async with asyncio.timeout(within_s):
                await readable.wait()
        except TimeoutError:
            raise BenchmarkError(
                f"a process of the bench said nothing in {within_s:.0f} s"
            ) from None
        finally:
            loop.remove_reader(self._connection.fileno())
        try:
            word, failure = self._connection.recv()
        except (EOFError, OSError):
            raise BenchmarkError("a process of the bench ended without a word") from None
        if failure is not None:
            raise BenchmarkError(failure)
        heard: Word = word
        return heard


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """A process that is started in here never gets the signals that a terminal sends to all."""
    resource_tracker.ensure_running()  # else the first start does it, and lets them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS_OF_TERMINALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# What follows runs in the other process.


def _serve(
    connection: Connection, function: Callable[..., Any], arguments: Any, keywords: Any
) -> None:
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    gc.freeze()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            result = function(lambda word: connection.send((word, None)), *arguments, **keywords)
        except BenchmarkError as error:
            connection.send((None, str(error)))
        except Exception:
            connection.send((None, traceback.format_exc()))
        else:
            connection.send((result, None))


def _end_with_parent(connection: Connection) -> NoReturn:
    """The parent sends nothing: what there is to read is the end of the connection."""
    with contextlib.suppress(OSError):
        connection.poll(None)
    os._exit(1)
