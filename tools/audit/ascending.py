"""The part of an auditor's own books that is about what only grows: numbers, log-ins and marks.

Sans-I/O. It notes all of them, to be compared with other shards' lists in `tools.audit.between`.
"""

from collections.abc import Callable
from typing import TypeAlias

from feed.codec import Frame
from feed.messages import ALL_SYMBOLS, EnterOrder, LogIn, MassCancel, ReplaceOrder, ShardMark
from tools.audit.crossings import Crossings, LaterLogIn
from tools.audit.findings import Findings, Kind
from tools.audit.register import Register
from tools.audit.rules import Fault

Complain: TypeAlias = Callable[[Kind, Frame, Fault], None]


class Ascending:
    """What only grows."""

    def __init__(
        self, register: Register, crossings: Crossings, findings: Findings, complain: Complain
    ) -> None:
        self._register = register
        self._crossings = crossings
        self._findings = findings
        self._complain = complain

    def number(self, frame: Frame, command: EnterOrder | ReplaceOrder | MassCancel) -> None:
        """Each user_ref_num stands once, and they only grow: so no command is done twice."""
        client = self._register.client(command.client)
        numbers = self._crossings.numbers[command.client]
        is_for_all = isinstance(command, MassCancel) and command.symbol == ALL_SYMBOLS
        used = numbers.of_all_symbols if is_for_all else numbers.of_orders
        used.append(command.user_ref_num)
        self._findings.checked["numbered commands"] += 1
        if command.user_ref_num > client.last_user_ref_num:
            client.last_user_ref_num = command.user_ref_num
            return
        fault = Fault(
            f"client {command.client} has used user_ref_num {command.user_ref_num} before",
            f"above {client.last_user_ref_num}",
        )
        self._complain(Kind.TWICE, frame, fault)

    def log_in(self, frame: Frame, command: LogIn) -> None:
        """A client comes back; elsewhere than at home, by ever later log-ins there."""
        number, home_sequence = command.client, command.home_sequence
        client = self._register.client(number)
        client.self_trade_prevention = command.self_trade_prevention
        if home_sequence < client.home_sequence:
            text = f"client {number} logs in by frame {home_sequence:,} of its home's list"
            self._complain(Kind.HOME, frame, Fault(text, f"{client.home_sequence:,} or later"))
        client.home_sequence = home_sequence
        if home_sequence:
            later = LaterLogIn(frame.sequence, number, home_sequence)
            self._crossings.later_log_ins.append(later)
        else:
            self._crossings.home_log_ins[frame.sequence] = number

    def mark(self, frame: Frame, command: ShardMark) -> None:
        """It is told how far another shard's list has come."""
        self._findings.checked["marks"] += 1
        last = self._register.marks.get(command.shard, 0)
        if command.sequence <= last:
            text = f"shard {command.shard} is marked at {command.sequence:,}"
            self._complain(Kind.MARK, frame, Fault(text, f"a frame after {last:,}"))
        self._register.marks[command.shard] = command.sequence
        marks = self._crossings.marks[command.shard]
        marks.named.append(command.sequence)
        marks.places.append(frame.sequence)
