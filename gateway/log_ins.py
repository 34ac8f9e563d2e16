"""Log-ins on their way through the list, and those that have to be asked for anew.

Sans-I/O. A log-in is a command that takes effect by its mere number, the `login`: what is sent
under the client's newest one is admitted, all else is void. So a number is sent once. One that was
lost with the connection to the primary may have taken effect, and the client may have logged in
elsewhere since; if it were sent once more, it would bring back to life what was under way under it.
A client that still waits is therefore asked for anew, under a new number, which makes the earlier
ones void. Nobody asks for a client that has gone.
"""

from random import Random
from typing import Generic, NamedTuple, Protocol, TypeVar

from feed.messages import LogIn
from gateway.clients import ClientSettings
from gateway.uplink import Uplink


class Asker(Protocol):
    """Who asks for a log-in: a session at its home, or its seat in another shard."""

    login: int  # what its newest one goes by
    earlier_logins: list[int]


AskerT = TypeVar("AskerT", bound=Asker)


class WaitingLogIn(NamedTuple, Generic[AskerT]):
    """Who waits for its log-in to come by on the feed."""

    asker: AskerT
    client: ClientSettings
    home_sequence: int


class LogIns(Generic[AskerT]):
    """The log-ins of one gateway that wait in a shard, each under its asker's newest number."""

    def __init__(self, uplink: Uplink, random: Random) -> None:
        """`random` draws the numbers; nobody must be able to guess them."""
        self._uplink = uplink
        self._random = random
        self._waiting: dict[int, WaitingLogIn[AskerT]] = {}
        self._lost: dict[int, None] = {}  # those of them that no connection carries any more

    def submit(
        self, asker: AskerT, client: ClientSettings, now_ns: int, home_sequence: int = 0
    ) -> None:
        """Asks for a log-in, under a new number."""
        login = self._random.getrandbits(64) or 1
        if asker.login:
            asker.earlier_logins.append(asker.login)
        asker.login = login
        self._waiting[login] = WaitingLogIn(asker, client, home_sequence)
        command = LogIn(client.number, login, client.self_trade_prevention, home_sequence)
        self._uplink.submit(login, command, now_ns)

    def on_uplink_lost(self, logins: list[int]) -> None:
        """The connection is gone that these were sent over, and not seen on the feed yet."""
        self._lost.update((login, None) for login in logins if login in self._waiting)

    def on_uplink_connected(self, now_ns: int) -> None:
        """There is a connection again: whoever still waits is asked for anew."""
        lost, self._lost = self._lost, {}
        for login in lost:
            asker, client, home_sequence = self._waiting.pop(login)
            self.submit(asker, client, now_ns, home_sequence)

    def take(self, login: int) -> WaitingLogIn[AskerT] | None:
        """The log-in of this number, which waits no longer; None when nobody waits for it."""
        self._lost.pop(login, None)
        return self._waiting.pop(login, None)

    def overtaken(self, client: int) -> list[AskerT]:
        """Those of a client who would be asked for anew, though it has logged in since."""
        waiting = [self._waiting[login] for login in self._lost]
        return [each.asker for each in waiting if each.client.number == client]

    def give_up(self, asker: AskerT) -> ClientSettings | None:
        """Somebody waits no longer; whose log-in it was, if that may take effect all the same."""
        is_lost = asker.login in self._lost
        log_in = self.take(asker.login)
        if log_in is None or (not is_lost and self._uplink.withdraw(asker.login)):
            return None
        return log_in.client

    def check(self) -> None:
        """Raises AssertionError when the log-ins and their askers do not agree."""
        assert self._lost.keys() <= self._waiting.keys()
        for login, log_in in self._waiting.items():
            assert log_in.asker.login == login
            assert login not in log_in.asker.earlier_logins
