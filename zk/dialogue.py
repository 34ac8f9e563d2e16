"""One process's talk with ZooKeeper: what is asked, what is not answered yet, what to read again.

Sans-I/O, and without a word about epochs. What is read is kept in slots: watched, and read again
when it may have changed. Every write is followed at once by reading what it touches; so its outcome
is known whether its answer arrives or not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from zk.nodes import NodeDataError
from zk.operations import (
    Answer,
    Change,
    Failure,
    Operation,
    Prepare,
    Read,
    ReadChildren,
    ReadNames,
    Refusal,
    Request,
    Write,
)

_MILLISECOND_NS = 1_000_000
# Before the same is tried again after somebody else was faster or the connection was lost, so that
# no two members ever race in a circle without a pause.
CONFLICT_PAUSE_NS = 50 * _MILLISECOND_NS
# Likewise when ZooKeeper refuses: somebody has to change something first.
REFUSAL_PAUSE_NS = 1000 * _MILLISECOND_NS


class Task(Enum):
    """What an operation is for. One of each is under way at a time, but for reads."""

    READ_EPOCH = "read the epoch"
    READ_PRIMARY = "read who is primary"
    READ_MEMBERS = "read who is alive"
    READ_SUSPICIONS = "read the suspicions"
    READ_HOLDERS = "read who was ever there"
    SYNCHRONIZE = "catch up with the ensemble"
    PREPARE = "create the persistent nodes"
    REGISTER = "say who was ever there"
    MEMBER = "say that this process is alive"
    SUSPICION = "say or take back a suspicion"
    REIGN = "take, keep or give up an epoch"
    READ_DIRECTORY = "read the directory"
    CHANGE_DIRECTORY = "change the directory"


@dataclass(slots=True)
class Slot:
    """One thing that is read and watched, and whether what was read is still true."""

    task: Task
    request: Read | ReadNames | ReadChildren
    on_answer: Callable[[Answer], None]  # may raise NodeDataError
    needs_node: bool = False  # what lasts: without it, the persistent nodes are to be created
    is_known: bool = False  # read on this connection
    is_stale: bool = True  # to be read
    reading: int = 0  # the number of the newest read that is not answered; 0: there is none

    @property
    def is_fresh(self) -> bool:
        """Whether nothing says that what was read has changed since."""
        return self.is_known and not self.is_stale and not self.reading


@dataclass(frozen=True, slots=True)
class _Pending:
    """An operation that is not answered."""

    task: Task
    on_done: Callable[[Answer], None]
    slot: Slot | None = None


@dataclass(slots=True, eq=False, repr=False)
class Dialogue:
    """The operations of one process, over one connection after the other."""

    slots: list[Slot] = field(default_factory=list)
    is_open: bool = False
    are_nodes_missing: bool = False
    _number: int = 0
    _issued: list[Operation] = field(default_factory=list)
    _pending: dict[int, _Pending] = field(default_factory=dict)
    _paused_until_ns: dict[Task, int] = field(default_factory=dict)
    _refusals: dict[Task, str] = field(default_factory=dict)

    def open(self) -> None:
        """There is a connection, and what was read on the one before may have changed since."""
        self.close()
        self.is_open = True

    def close(self) -> None:
        """There is no connection; what was asked and not answered may have been done or not."""
        self.is_open = self.are_nodes_missing = False
        self._pending.clear()
        self._issued.clear()
        self._paused_until_ns.clear()
        for slot in self.slots:
            slot.is_known, slot.is_stale, slot.reading = False, True, 0

    def prepare(self, nodes: tuple[tuple[str, bytes], ...], now_ns: int) -> None:
        """Ask for the persistent nodes, and then for everything anew."""
        if self.is_free(Task.PREPARE, now_ns):
            self.ask(Task.PREPARE, Prepare(nodes), self._on_prepared)

    def add_slot(self, slot: Slot) -> Slot:
        """Have this read and watched from now on."""
        self.slots.append(slot)
        return slot

    def is_under_way(self, task: Task) -> bool:
        """Whether an operation for this task is not answered yet."""
        return any(pending.task is task for pending in self._pending.values())

    def is_free(self, task: Task, now_ns: int) -> bool:
        """Whether an operation for this task may be asked for: none is under way, nor a pause."""
        return now_ns >= self._paused_until_ns.get(task, 0) and not self.is_under_way(task)

    def ask(self, task: Task, request: Request, on_done: Callable[[Answer], None]) -> int:
        """Ask for something; `on_done` hears of its success. Returns the operation's number."""
        return self._issue(request, _Pending(task, on_done))

    def write(
        self,
        task: Task,
        changes: Iterable[Change],
        touched: Iterable[Slot],
        on_done: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        """Ask for these changes, and for reading what they touch."""
        self.ask(task, Write(tuple(changes)), on_done)
        for slot in touched:
            slot.is_stale = True

    def read(self, now_ns: int) -> None:
        """Ask for all that has to be read."""
        for slot in self.slots:
            if slot.is_stale and now_ns >= self._paused_until_ns.get(slot.task, 0):
                slot.is_stale = False
                slot.reading = self._issue(slot.request, _Pending(slot.task, slot.on_answer, slot))

    def take_operations(self) -> list[Operation]:
        """What was asked for since the last call."""
        issued, self._issued = self._issued, []
        return issued

    def on_answer(self, number: int, answer: Answer, now_ns: int) -> None:
        """ZooKeeper's answer; one to an operation of an earlier connection says nothing."""
        pending = self._pending.pop(number, None)
        if pending is None:
            return
        slot = pending.slot
        if slot is not None and slot.reading == number:
            slot.reading = 0
        if slot is not None and answer is Failure.NO_NODE:
            self.are_nodes_missing |= slot.needs_node
            if not slot.needs_node:
                self._on_success(pending, answer, now_ns)
        elif isinstance(answer, Refusal):
            self._on_refusal(pending, answer.reason, now_ns)
        elif isinstance(answer, Failure):
            self._pause(pending, now_ns + CONFLICT_PAUSE_NS)
        else:
            self._on_success(pending, answer, now_ns)

    def on_watch(self, path: str) -> None:
        """Something that was read at this path has changed."""
        for slot in self.slots:
            if slot.request.path == path:
                slot.is_stale = True

    def deadlines_ns(self) -> Iterable[int]:
        """When the pauses are over, those that are and those to come."""
        return self._paused_until_ns.values()

    @property
    def trouble(self) -> str | None:
        """What ZooKeeper has refused and not granted since."""
        for task, reason in self._refusals.items():
            return f"can't {task.value}: {reason}"
        return None

    def check(self) -> None:
        """Raises AssertionError when the books are not in order."""
        assert self.is_open or not (self._pending or self._issued)
        for slot in self.slots:
            if slot.reading:
                assert self._pending[slot.reading].slot is slot
        tasks = [each.task for each in self._pending.values() if each.slot is None]
        assert len(tasks) == len(set(tasks)), "two operations for one task"

    def _on_prepared(self, answer: Answer) -> None:
        self.are_nodes_missing = False
        for slot in self.slots:
            slot.is_stale = True

    def _issue(self, request: Request, pending: _Pending) -> int:
        assert self.is_open, "nobody to ask"
        self._number += 1
        self._pending[self._number] = pending
        self._issued.append(Operation(self._number, request))
        return self._number

    def _on_success(self, pending: _Pending, answer: Answer, now_ns: int) -> None:
        if pending.slot is not None:
            pending.slot.is_known = True
        try:
            pending.on_done(answer)
        except NodeDataError as error:
            self._on_refusal(pending, str(error), now_ns)
        else:
            self._refusals.pop(pending.task, None)

    def _on_refusal(self, pending: _Pending, reason: str, now_ns: int) -> None:
        self._refusals[pending.task] = reason
        self._pause(pending, now_ns + REFUSAL_PAUSE_NS)

    def _pause(self, pending: _Pending, until_ns: int) -> None:
        self._paused_until_ns[pending.task] = until_ns
        if pending.slot is not None:
            pending.slot.is_known, pending.slot.is_stale = False, True
