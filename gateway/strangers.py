"""Connections that have not logged in: anybody can open them, so they have bounds of their own."""

from collections import Counter

from gateway.session import Session
from gateway.settings import ConnectionLimits


class Strangers:
    """The sessions of a gateway that are not open yet, in all and by host."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        # A dict rather than a set: its order is the same in every run.
        self._sessions: dict[Session, None] = {}
        self._count_of: Counter[str] = Counter()

    def add(self, session: Session) -> bool:
        """Takes another one in; False when it is one too many."""
        self._sessions[session] = None
        self._count_of[session.host] += 1
        return (
            len(self._sessions) <= self._limits.strangers
            and self._count_of[session.host] <= self._limits.strangers_per_host
        )

    def remove(self, session: Session) -> None:
        """It is open, or gone; one that is not here any more may be taken away, too."""
        if session in self._sessions:
            del self._sessions[session]
            self._count_of[session.host] -= 1
            if not self._count_of[session.host]:
                del self._count_of[session.host]

    def __contains__(self, session: Session) -> bool:
        return session in self._sessions

    def check(self) -> None:
        """Raises AssertionError when there are too many, or they are not counted right."""
        assert len(self._sessions) <= self._limits.strangers
        assert self._count_of == Counter(session.host for session in self._sessions)
