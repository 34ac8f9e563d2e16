"""A session's seat in each shard: its log-in there, and the commands that wait for that.

A client logs in at its home; that decides which of its sessions counts. Then the gateway logs it in
at every other shard, and names the place of the first log-in in each of these, so that the newest
session is the one that counts there, too, in whatever order they arrive.
"""

from collections import deque

from feed.datagrams import Submission, encode_submission
from feed.messages import ALL_SYMBOLS, CancelOrder
from gateway.clients import ClientSettings
from gateway.session import Session

# A session is not read before it has all its seats, so that its commands find what it did before;
# but no longer than this: a shard without a primary is not to keep it from the others.
SEATING_NS = 1_000_000_000


# Cancels of a session that are remembered: for moves, which are rare, and over in a moment.
REMEMBERED_CANCELS = 1000


class Cancels:
    """What a session has canceled, for orders that were just moving from shard to shard."""

    def __init__(self) -> None:
        self._cancels: dict[int, bytes] = {}  # submissions, by the order's user_ref_num
        self._mass_cancels: dict[bytes, int] = {}  # the last one of a symbol, or of all
        self.of_all: deque[int] = deque(maxlen=REMEMBERED_CANCELS)  # of all symbols, each

    def add(self, user_ref_num: int, submission: bytes) -> None:
        """A cancel of an order; of several, the last one counts."""
        self._cancels.pop(user_ref_num, None)
        self._cancels[user_ref_num] = submission
        if len(self._cancels) > REMEMBERED_CANCELS:
            del self._cancels[next(iter(self._cancels))]

    def add_mass_cancel(self, user_ref_num: int, symbol: bytes) -> None:
        """A mass cancel: of everything that was entered before it, in one symbol or in all."""
        self._mass_cancels[symbol] = user_ref_num
        if symbol == ALL_SYMBOLS:
            self.of_all.append(user_ref_num)
        if len(self._mass_cancels) > REMEMBERED_CANCELS:
            del self._mass_cancels[next(iter(self._mass_cancels))]

    def of(self, client: int, user_ref_num: int, symbol: bytes) -> bytes | None:
        """The cancel of an order, to be submitted again; None when the client wants it to live."""
        mass_cancels = (self._mass_cancels.get(each, 0) for each in (symbol, ALL_SYMBOLS))
        if user_ref_num < max(mass_cancels):
            return encode_submission(Submission(0, CancelOrder(client, user_ref_num, 0)))
        return self._cancels.get(user_ref_num)


class Seats:
    """All seats of one session."""

    def __init__(self, home: int, client: ClientSettings, home_sequence: int, now_ns: int) -> None:
        """`home_sequence` is the number of the session's log-in in the list of its home."""
        self.home = home
        self.client = client
        self.home_sequence = home_sequence
        self.by_shard: dict[int, Seat] = {}  # without the home
        self.cancels = Cancels()
        self.waiting: dict[int, list[bytes]] = {}  # submissions, by the shard that they go to
        self.last_number = 0  # the largest user_ref_num that the session has sent
        self._last_sent: dict[int, int] = {}  # and of those to each shard
        self.is_fresh = False  # it is past all that the client had sent before
        self._settles_at_ns = now_ns + SEATING_NS
        self._is_settled = False

    def last_sent(self, shard: int) -> int:
        """The largest user_ref_num that the session has sent to a shard; 0 for none."""
        return self._last_sent.get(shard, 0)

    def send(self, shard: int, number: int) -> None:
        """A command with this user_ref_num goes to a shard."""
        self._last_sent[shard] = number
        self.last_number = max(self.last_number, number)

    def are_settled(self, now_ns: int) -> bool:
        """Whether the session may send commands; from then on, whatever shards come later."""
        if not self._is_settled:
            is_late = now_ns >= self._settles_at_ns
            self._is_settled = is_late or all(seat.is_taken for seat in self.by_shard.values())
        return self._is_settled


class Seat:
    """One session in one shard, which is not its home."""

    __slots__ = ("earlier_logins", "is_taken", "login", "seats", "session", "shard")

    def __init__(self, shard: int, session: Session, seats: Seats) -> None:
        self.shard = shard
        self.session = session
        self.seats = seats  # this one, and those in other shards
        self.login = 0  # what its log-in goes by, once it is on its way
        self.earlier_logins: list[int] = []
        self.is_taken = False  # its log-in is committed
