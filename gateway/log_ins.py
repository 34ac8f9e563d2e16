"""Log-ins on their way through the list, and those that have to be asked for anew.

Sans-I/O. A log-in is a command that takes effect by its mere number, the `login`: what is sent
under the client's newest one is admitted, all else is void. So a number is sent once. One that was
lost with the connection to the primary may have taken effect, and the client may have logged in
elsewhere since; if it were sent once more, it would bring back to life what was under way under it.
A client that still waits is therefore asked for anew, under a new number, which makes the earlier
ones void. Nobody asks for a client that has gone.
"""

from random import Random
from typing import NamedTuple

from feed.messages import LogIn
from gateway.clients import ClientSettings
from gateway.session import Session
from gateway.uplink import Uplink


class WaitingLogIn(NamedTuple):
    """A session that waits for its log-in to come by on the feed."""

    session: Session
    client: ClientSettings


class LogIns:
    """The log-ins of one gateway's waiting sessions, each under its session's newest number."""

    def __init__(self, uplink: Uplink, random: Random) -> None:
        """`random` draws the numbers; nobody must be able to guess them."""
        self._uplink = uplink
        self._random = random
        self._waiting: dict[int, WaitingLogIn] = {}
        self._lost: dict[int, None] = {}  # those of them that no connection carries any more

    def submit(self, session: Session, client: ClientSettings, now_ns: int) -> None:
        """Asks for a session's log-in, under a new number."""
        login = self._random.getrandbits(64) or 1
        if session.login:
            session.earlier_logins.append(session.login)
        session.login = login
        self._waiting[login] = WaitingLogIn(session, client)
        command = LogIn(client.number, login, client.self_trade_prevention)
        self._uplink.submit(login, command, now_ns)

    def on_uplink_lost(self, logins: list[int]) -> None:
        """The connection is gone that these were sent over, and not seen on the feed yet."""
        self._lost.update((login, None) for login in logins if login in self._waiting)

    def on_uplink_connected(self, now_ns: int) -> None:
        """There is a connection again: whoever still waits is asked for anew."""
        lost, self._lost = self._lost, {}
        for login in lost:
            session, client = self._waiting.pop(login)
            self.submit(session, client, now_ns)

    def take(self, login: int) -> WaitingLogIn | None:
        """The log-in of this number, which waits no longer; None when nobody waits for it."""
        self._lost.pop(login, None)
        return self._waiting.pop(login, None)

    def overtaken(self, client: int) -> list[Session]:
        """The sessions of a client that would be asked for anew, though it has logged in since."""
        waiting = [self._waiting[login] for login in self._lost]
        return [session for session, settings in waiting if settings.number == client]

    def give_up(self, session: Session) -> ClientSettings | None:
        """A session waits no longer; whose log-in it was, if that may take effect all the same."""
        is_lost = session.login in self._lost
        log_in = self.take(session.login)
        if log_in is None or (not is_lost and self._uplink.withdraw(session.login)):
            return None
        return log_in.client

    def check(self) -> None:
        """Raises AssertionError when the log-ins and their sessions do not agree."""
        assert self._lost.keys() <= self._waiting.keys()
        for login, (session, _) in self._waiting.items():
            assert session.login == login
            assert login not in session.earlier_logins
