"""What one process knows of the exchange's directory in ZooKeeper, and how it changes it.

Sans-I/O: events in, operations out, as in `zk.presence`. The directory is read and watched. Who has
one to begin with creates the node where there is none. It is replaced only if nobody else was
faster: its node must have the version that was read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import NamedTuple

from zk.dialogue import Dialogue, Slot, Task
from zk.directory import Directory, decode_directory, encode_directory
from zk.nodes import ExchangeNodes
from zk.operations import Answer, Failure, Node, Operation, Prepare, Read, SetData, Synchronize


class Outcome(Enum):
    """What has become of a replacement."""

    DONE = "the directory is the new one"
    NOT_DONE = "somebody else was faster, or ZooKeeper did not do it: look, and ask again"


class DirectoryKnown(NamedTuple):
    """What a process knows about the directory; the last known while ZooKeeper is away."""

    connected: bool
    directory: Directory | None  # None until one was read
    change: int  # how many changes made it
    trouble: str | None  # what ZooKeeper refuses, or what is wrong with the node


@dataclass(slots=True)
class _Replacement:
    """What the directory is to be instead of the one that was read."""

    directory: Directory
    change: int
    is_done: bool = False  # ZooKeeper has said so
    is_in_doubt: bool = False  # the connection was lost before it said anything


class DirectoryTalk:
    """One process in the talk about the directory of one exchange."""

    def __init__(self, nodes: ExchangeNodes, first: Directory | None) -> None:
        """`first` is created where there is no directory; without one it is waited for.

        Raises ValueError when it is larger than a node can be.
        """
        self._nodes = nodes
        self._dialogue = Dialogue()
        self._slot = self._dialogue.add_slot(
            Slot(Task.READ_DIRECTORY, Read(nodes.directory), self._on_read)
        )
        self._first = None if first is None else encode_directory(first, 0)
        self._is_missing = False  # as last read
        self._is_synchronized = False  # on this connection
        self._version = 0  # of the node as last read
        self._read: Directory | None = None  # what the node holds
        self._read_change = 0
        self._directory: Directory | None = None  # the newest of all that were read
        self._change = 0
        self._replacement: _Replacement | None = None
        self._told: DirectoryKnown | None = None

    # What happens to it.

    def on_connected(self) -> None:
        """There is a connection, and what was read before may have changed since."""
        self._doubt()
        self._is_synchronized = False
        self._dialogue.open()

    def on_disconnected(self) -> None:
        """The connection is lost."""
        self._doubt()
        self._dialogue.close()

    def on_answer(self, number: int, answer: Answer, now_ns: int) -> None:
        """The answer to an operation."""
        self._dialogue.on_answer(number, answer, now_ns)

    def on_watch(self, path: str) -> None:
        """What was read at this path has changed."""
        self._dialogue.on_watch(path)

    # What it is to do.

    def replaceable(self, now_ns: int) -> Directory | None:
        """The directory, when it may be replaced: it is the newest, and nothing is under way."""
        is_newest = self._read is not None and self._read_change == self._change
        is_free = self._dialogue.is_free(Task.CHANGE_DIRECTORY, now_ns)
        if not (is_newest and is_free and self._slot.is_fresh) or self._replacement is not None:
            return None
        return self._directory

    def replace(self, directory: Directory, now_ns: int) -> None:
        """Ask for this directory instead of the replaceable one; see `take_outcome`.

        Raises ValueError when it is larger than a node can be.
        """
        assert self.replaceable(now_ns) is not None, "there is nothing to replace"
        wanted = _Replacement(directory, self._change + 1)
        self._write(directory, wanted.change, partial(self._on_replaced, wanted))
        self._replacement = wanted

    def forget_replacement(self) -> None:
        """Nobody waits for the outcome any more; it may still be done."""
        self._replacement = None

    # What comes out.

    def take_operations(self, now_ns: int) -> list[Operation]:
        """What to ask ZooKeeper for now; to be called after everything that happens."""
        dialogue = self._dialogue
        if not dialogue.is_open:
            return []
        if not self._is_synchronized:
            # Else a server that lags behind its ensemble would show what was long ago.
            if dialogue.is_free(Task.SYNCHRONIZE, now_ns):
                request = Synchronize(self._nodes.exchange)
                dialogue.ask(Task.SYNCHRONIZE, request, self._on_synchronized)
            return dialogue.take_operations()
        self._create_missing(now_ns)
        self._restore_forgotten(now_ns)
        dialogue.read(now_ns)
        return dialogue.take_operations()

    def deadline_ns(self, now_ns: int) -> int | None:
        """When to call `take_operations` again, if nothing happens before."""
        if not self._dialogue.is_open:
            return None
        later = (each_ns for each_ns in self._dialogue.deadlines_ns() if each_ns > now_ns)
        return min(later, default=None)

    def take_outcome(self) -> Outcome | None:
        """What has become of the replacement, once that is known."""
        wanted = self._replacement
        if wanted is None or self._dialogue.is_under_way(Task.CHANGE_DIRECTORY):
            return None
        if not wanted.is_done and not self._slot.is_fresh:
            return None
        self._replacement = None
        is_there = (self._read, self._read_change) == (wanted.directory, wanted.change)
        is_done = wanted.is_done or (wanted.is_in_doubt and is_there)
        return Outcome.DONE if is_done else Outcome.NOT_DONE

    @property
    def known(self) -> DirectoryKnown:
        """What this process knows now."""
        dialogue = self._dialogue
        return DirectoryKnown(dialogue.is_open, self._directory, self._change, dialogue.trouble)

    def take_change(self) -> DirectoryKnown | None:
        """What this process knows, when that has changed since the last call."""
        known = self.known
        if known == self._told:
            return None
        self._told = known
        return known

    def check(self) -> None:
        """Raises AssertionError when what is known contradicts itself."""
        self._dialogue.check()
        assert self._read is None or self._directory is not None
        assert self._read_change <= self._change, "what was read is newer than what is known"
        if self._directory is not None:
            self._directory.check()

    def _create_missing(self, now_ns: int) -> None:
        data = self._first
        if self._directory is not None:  # it was there: ZooKeeper has forgotten
            data = encode_directory(self._directory, self._change)
        is_asked_for = self._slot.is_fresh and self._dialogue.is_free(Task.PREPARE, now_ns)
        if self._is_missing and is_asked_for and data is not None:
            request = Prepare(self._nodes.lasting(data))
            self._dialogue.ask(Task.PREPARE, request, self._on_prepared)

    def _restore_forgotten(self, now_ns: int) -> None:
        """Tell a ZooKeeper that has forgotten, and was told by somebody who knew less."""
        is_older = self._read is not None and self._read_change < self._change
        is_free = self._dialogue.is_free(Task.CHANGE_DIRECTORY, now_ns)
        if is_older and not self._is_missing and self._slot.is_fresh and is_free:
            assert self._directory is not None
            self._write(self._directory, self._change, lambda answer: None)

    def _write(self, directory: Directory, change: int, on_done: Callable[[Answer], None]) -> None:
        data = encode_directory(directory, change)
        self._dialogue.write(
            Task.CHANGE_DIRECTORY,
            (SetData(self._nodes.directory, data, self._version),),
            (self._slot,),
            on_done,
        )

    def _doubt(self) -> None:
        wanted = self._replacement
        if wanted is not None and self._dialogue.is_under_way(Task.CHANGE_DIRECTORY):
            wanted.is_in_doubt = True

    def _on_synchronized(self, answer: Answer) -> None:
        self._is_synchronized = True

    def _on_prepared(self, answer: Answer) -> None:
        self._slot.is_stale = True

    def _on_replaced(self, wanted: _Replacement, answer: Answer) -> None:
        wanted.is_done = True
        self._directory, self._change = wanted.directory, wanted.change

    def _on_read(self, answer: Answer) -> None:
        self._is_missing = answer is Failure.NO_NODE
        if self._is_missing:
            self._read, self._read_change = None, 0
            return
        assert isinstance(answer, Node)
        directory, change = decode_directory(answer.data)
        self._version, self._read, self._read_change = answer.version, directory, change
        if self._directory is None or change >= self._change:
            self._directory, self._change = directory, change
