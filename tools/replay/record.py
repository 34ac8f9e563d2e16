"""What a replay makes of the feed: the best prices after each event, and who traded with whom.

Sans-I/O. It is told what is about to be sent, and then sees nothing but whole committed groups, as
any subscriber does. A command that has nothing left to do leaves no trace in the list; that it has
been passed over shows by the next one.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from feed.book import Books, Level
from feed.messages import CancelOrder, Command, EnterOrder, MassCancel, Rejected, Trade
from feed.subscriber import Group
from tools.replay.lobster import Action, Enter, EventType, LobsterEvent, Reduce, Step

_TOLD_LINES = 20  # of the executions that differed, so many are told one by one


class ReplayError(Exception):
    """The feed shows something else than what was sent."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A command that changes nothing and always gets its place: what was sent before has too."""


_Sent: TypeAlias = Action | Mark


@dataclass(slots=True)
class ReplayCounters:
    """What became of the events."""

    events: Counter[EventType] = field(default_factory=Counter)
    commands: int = 0  # that have their place in the list, without marks
    trades: int = 0
    rejected: int = 0
    entries_traded: int = 0  # new orders that traded at once: in the file they all rested
    without_effect: int = 0  # reductions that had nothing left to take
    known: int = 0  # executions of an order that entered in the file
    matched: int = 0  # of these, that traded with this very order, and in full
    unknown: int = 0
    differed_lines: list[int] = field(default_factory=list)  # the first of them

    @property
    def differed(self) -> int:
        """Executions that did not trade with the known order that the file names."""
        return self.known - self.matched

    def summary(self) -> dict[str, object]:
        """The counters as JSON has them."""
        return {
            "events": self.events.total(),
            "events_by_type": {kind.name.lower(): self.events[kind] for kind in EventType},
            "commands": self.commands,
            "trades": self.trades,
            "rejected": self.rejected,
            "entries_traded": self.entries_traded,
            "without_effect": self.without_effect,
            "executions": {
                "known": self.known,
                "matched": self.matched,
                "differed": self.differed,
                "differed_lines": self.differed_lines,
                "unknown": self.unknown,
            },
        }


@dataclass(slots=True)
class _Pending:
    """A step, and what of it has not been seen in the list yet."""

    sent: deque[_Sent]
    event: LobsterEvent | None  # None for the opening book and for marks
    named: int | None


class ReplayRecord:
    """Follows one client's commands through the list, and writes a line for each event.

    `write_line` gets "bid_price,bid_quantity,ask_price,ask_quantity" of the book right after the
    event took effect; a side without orders is left empty.
    """

    def __init__(self, client: int, symbol: bytes, write_line: Callable[[str], None]) -> None:
        self.books = Books()
        self.counters = ReplayCounters()
        self.marks = 0  # seen
        self._client = client
        self._symbol = symbol
        self._write_line = write_line
        self._pending: deque[_Pending] = deque()
        self._user_ref_nums: list[int] = []  # of the orders, by their reference

    def expect_opening(self, actions: list[Action]) -> None:
        """The orders of the opening book are about to be sent."""
        self._pending.append(_Pending(deque(actions), None, None))

    def expect(self, step: Step) -> None:
        """What this step asks for is about to be sent."""
        self._pending.append(_Pending(deque(step.actions), step.event, step.named))

    def expect_mark(self) -> None:
        """A mark is about to be sent."""
        self._pending.append(_Pending(deque([Mark()]), None, None))

    def apply(self, group: Group) -> None:
        """Take a group in; groups come in sequence, from the first one on.

        Raises ReplayError when it is the client's, but not what was sent.
        """
        command = group.frames[0].message()
        if getattr(command, "client", None) != self._client or not isinstance(
            command, EnterOrder | CancelOrder | MassCancel
        ):
            self.books.apply(group)
            return
        while not self._stands_for(self._next_sent(), command):
            self._pass_over()
        self.books.apply(group)
        sent = self._pending[0].sent.popleft()
        self._account(sent, self._pending[0], group)
        self._finish_events()

    def _next_sent(self) -> _Sent:
        self._finish_events()
        if not self._pending:
            raise ReplayError("the list holds a command that was not sent")
        return self._pending[0].sent[0]

    def _stands_for(self, sent: _Sent, command: Command) -> bool:
        match sent, command:
            case Enter(_, side, quantity, price, time_in_force), EnterOrder():
                if (side, quantity, price, time_in_force) != (
                    command.side,
                    command.quantity,
                    command.price,
                    command.time_in_force,
                ):
                    raise ReplayError(f"the list holds {command}, but {sent} was sent")
                return True
            case Reduce(reference, remaining), CancelOrder():
                user_ref_num = self._user_ref_nums[reference]
                return (user_ref_num, remaining) == (command.user_ref_num, command.quantity)
            case Mark(), MassCancel():
                return True
        return False

    def _pass_over(self) -> None:
        """The next command had nothing left to do; only reductions can have had."""
        sent = self._pending[0].sent.popleft()
        if not isinstance(sent, Reduce):
            raise ReplayError(f"{sent} was sent, and the list goes on without it")
        self.counters.without_effect += 1
        self._finish_events()

    def _account(self, sent: _Sent, pending: _Pending, group: Group) -> None:
        if isinstance(sent, Mark):
            self.marks += 1
            return
        self.counters.commands += 1
        messages = [frame.message() for frame in group.frames]
        trades = [message for message in messages if isinstance(message, Trade)]
        self.counters.trades += len(trades)
        self.counters.rejected += isinstance(messages[-1], Rejected)
        if isinstance(messages[0], EnterOrder):
            self._user_ref_nums.append(messages[0].user_ref_num)
        event = pending.event
        if event is not None and event.type == EventType.EXECUTE:
            self._judge(event, pending.named, trades)
        elif trades:
            self.counters.entries_traded += 1

    def _judge(self, event: LobsterEvent, named: int | None, trades: list[Trade]) -> None:
        """Whether an execution traded with the order that the file names."""
        if named is None:
            self.counters.unknown += 1
            return
        self.counters.known += 1
        traded = [(trade.maker_user_ref_num, trade.quantity) for trade in trades]
        if traded == [(self._user_ref_nums[named], event.quantity)]:
            self.counters.matched += 1
        elif len(self.counters.differed_lines) < _TOLD_LINES:
            self.counters.differed_lines.append(event.line)

    def _finish_events(self) -> None:
        """Write the lines of the events of which nothing is still to come."""
        while self._pending and not self._pending[0].sent:
            event = self._pending.popleft().event
            if event is not None:
                self.counters.events[event.type] += 1
                self._write_line(self._best())

    def _best(self) -> str:
        if self._symbol not in self.books:
            return ",,,"
        book = self.books[self._symbol]
        return f"{_level(book.best_bid)},{_level(book.best_ask)}"


def _level(level: Level | None) -> str:
    return "," if level is None else f"{level.price},{level.quantity}"
