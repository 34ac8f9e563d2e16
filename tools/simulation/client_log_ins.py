"""Who has logged in under a client's name: to tell whether a session was rightly ended by another.

A client has one session. So each log-in ends the one before it, wherever that came from: a rival,
or an earlier life of the same program, whose log-in was still on its way when it died.
"""

from dataclasses import dataclass

from tools.simulation.world import SECOND_NS

# How long a log-in that was never answered may still take effect: it may be on its way over a
# connection that stands still while the network is cut.
IN_DOUBT_NS = 30 * SECOND_NS


@dataclass(slots=True, eq=False)
class LogIn:
    """A log-in that a program has asked for."""

    program: str
    asked_ns: int
    answered_ns: int | None = None


class LogIns:
    """The log-ins under one client's name, by all of its programs."""

    def __init__(self) -> None:
        self._log_ins: list[LogIn] = []

    def ask(self, program: str, now_ns: int) -> LogIn:
        """A program asks for one."""
        self._log_ins = [each for each in self._log_ins if now_ns - each.asked_ns < IN_DOUBT_NS]
        log_in = LogIn(program, now_ns)
        self._log_ins.append(log_in)
        return log_in

    def may_supersede(self, mine: LogIn) -> bool:
        """Whether another program's log-in may have come to stand in the list after this one."""
        return any(
            each.answered_ns is None or each.answered_ns >= mine.asked_ns
            for each in self._log_ins
            if each.program != mine.program
        )
