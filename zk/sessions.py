"""Clients' sessions and when they end: sans-I/O, with the time passed in.

As in Apache's server a session ends on a tick: at the first one that is later than its time-out
after it was last heard of.
"""

import hashlib
import hmac
from dataclasses import dataclass

from zk.jute import PASSWORD_BYTES


@dataclass(slots=True)
class Session:
    """One client's session, which outlives its connections."""

    session_id: int
    password: bytes
    timeout_ms: int
    ends_ms: int  # unless it is heard of before
    connection: int | None  # the one that it is served on; None between two


class Sessions:
    """All sessions that have not ended."""

    def __init__(self, tick_ms: int, first_id: int, secret: bytes) -> None:
        """Sessions are numbered from `first_id`; nobody guesses a password without `secret`."""
        self._tick_ms = tick_ms
        self._next_id = first_id
        self._secret = secret
        self._sessions: dict[int, Session] = {}
        self._ending: dict[int, dict[int, None]] = {}  # at each tick, in the order of arrival

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def next_end_ms(self) -> int | None:
        """The tick at which the next one ends if it is not heard of; None without sessions."""
        return min(self._ending, default=None)

    def open(self, timeout_ms: int, now_ms: int, connection: int) -> Session:
        """A new session."""
        session_id = self._next_id
        self._next_id += 1
        password = hmac.digest(self._secret, session_id.to_bytes(8), hashlib.sha256)
        ends_ms = self._ends_ms(timeout_ms, now_ms)
        session = Session(session_id, password[:PASSWORD_BYTES], timeout_ms, ends_ms, connection)
        self._sessions[session_id] = session
        self._ending.setdefault(ends_ms, {})[session_id] = None
        return session

    def find(self, session_id: int, password: bytes | None) -> Session | None:
        """The session of a client that knows its password; None when it has ended or he doesn't."""
        session = self._sessions.get(session_id)
        if session is None or not hmac.compare_digest(session.password, password or b""):
            return None
        return session

    def touch(self, session: Session, now_ms: int) -> None:
        """It was heard of."""
        ends_ms = self._ends_ms(session.timeout_ms, now_ms)
        if ends_ms != session.ends_ms:
            self._forget_end(session)
            session.ends_ms = ends_ms
            self._ending.setdefault(ends_ms, {})[session.session_id] = None

    def close(self, session: Session) -> None:
        """It has ended."""
        del self._sessions[session.session_id]
        self._forget_end(session)

    def ended(self, now_ms: int) -> list[Session]:
        """Those whose time is over; the caller closes them."""
        ticks = sorted(tick_ms for tick_ms in self._ending if tick_ms <= now_ms)
        return [self._sessions[each] for tick_ms in ticks for each in self._ending[tick_ms]]

    def check(self) -> None:
        """Raise AssertionError unless every session has its one end."""
        ends = {each: tick_ms for tick_ms, found in self._ending.items() for each in found}
        assert ends == {each: session.ends_ms for each, session in self._sessions.items()}
        assert sum(map(len, self._ending.values())) == len(ends), "a session ends twice"
        assert all(self._ending.values()), "a tick is kept at which nothing ends"
        assert all(tick_ms % self._tick_ms == 0 for tick_ms in self._ending)

    def _ends_ms(self, timeout_ms: int, now_ms: int) -> int:
        return ((now_ms + timeout_ms) // self._tick_ms + 1) * self._tick_ms

    def _forget_end(self, session: Session) -> None:
        found = self._ending[session.ends_ms]
        del found[session.session_id]
        if not found:
            del self._ending[session.ends_ms]
