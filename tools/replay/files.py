"""A LOBSTER message file and its opening book on the disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tools.console import UsageError
from tools.replay.lobster import (
    LobsterError,
    OpeningLevel,
    OrderFlow,
    Step,
    book_before,
    parse_messages,
    parse_opening,
)


class LobsterFiles:
    """Both files; each method reads anew what it needs, so that their size does not matter.

    Raises UsageError, which names file and line, for what can't be replayed.
    """

    def __init__(self, messages: Path, opening: Path) -> None:
        self.messages = messages
        self.opening = opening

    def check(self) -> int:
        """Read all there is, so that what is wrong shows before anything is started.

        Returns the number of events.
        """
        flow = OrderFlow()
        flow.open(self.levels())
        return sum(1 for _ in self.steps(flow))

    def levels(self) -> tuple[OpeningLevel, ...]:
        """The book before the first event."""
        with _complaints_about(self.messages) as lines:
            first = next(parse_messages(lines), None)
        if first is None:
            raise UsageError(f"{self.messages}: holds no event")
        with _complaints_about(self.opening) as lines:
            return book_before(parse_opening(lines), first)

    def steps(self, flow: OrderFlow) -> Iterator[Step]:
        """What the events ask for, one by one."""
        with _complaints_about(self.messages) as lines:
            yield from map(flow.step, parse_messages(lines))


@contextlib.contextmanager
def _complaints_about(path: Path) -> Iterator[TextIO]:
    """Open a file, and put its name before what is wrong with it."""
    try:
        with path.open(encoding="ascii") as lines:
            yield lines
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give an existing file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text: {error}") from error
    except LobsterError as error:
        raise UsageError(f"{path}, {error}") from error
