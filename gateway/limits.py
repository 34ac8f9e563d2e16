"""How much a client may ask of a gateway: a token bucket, and the brake on guessed secrets.

Sans-I/O and integers only: times are monotonic nanoseconds that the caller passes in.
"""

from collections import OrderedDict
from typing import NamedTuple

from feed.messages import CancelOrder, MassCancel
from gateway.clients import ClientSettings
from gateway.ouch import AccountQuery
from gateway.settings import LogInLimits, SessionLimits
from gateway.translate import ClientCommand

SECOND_NS = 1_000_000_000


class TokenBucket:
    """Lets `burst` go at once and `tokens` in each `period_ns` in the long run.

    It is the generic cell rate algorithm (ITU-T I.371): one integer, the time at which the bucket
    will be full again, says everything; nothing is rounded and nothing has to tick. The kernel
    that takes orders reads these integers, and moves that time.
    """

    __slots__ = ("full_at_ns", "interval_ns", "span_ns")

    def __init__(self, tokens: int, burst: int, period_ns: int = SECOND_NS) -> None:
        if tokens < 1 or burst < 1 or period_ns < tokens:
            raise ValueError(f"no token bucket of {tokens} in {period_ns} ns, {burst} at once")
        self.interval_ns = period_ns // tokens
        self.span_ns = self.interval_ns * burst
        self.full_at_ns = 0

    def take(self, now_ns: int) -> bool:
        """Takes one token; False when there is none, and nothing is taken then."""
        full_at_ns = max(self.full_at_ns, now_ns) + self.interval_ns
        if full_at_ns - now_ns > self.span_ns:
            return False
        self.full_at_ns = full_at_ns
        return True

    def has_token(self, now_ns: int) -> bool:
        """Whether `take` would succeed now."""
        return max(self.full_at_ns, now_ns) + self.interval_ns - now_ns <= self.span_ns

    def put_back(self) -> None:
        """Returns one token that was taken."""
        self.full_at_ns -= self.interval_ns

    def is_full(self, now_ns: int) -> bool:
        """Whether the bucket is as good as new."""
        return self.full_at_ns <= now_ns


class Rate:
    """How fast a client may send, whatever connection it uses.

    Cancels have a bucket of their own: having sent too many orders can't keep a client from
    canceling them.
    """

    def __init__(self, orders_per_second: int, burst: int) -> None:
        self.orders = TokenBucket(orders_per_second, burst)
        self.cancels = TokenBucket(orders_per_second, burst)

    def take(self, message: ClientCommand | AccountQuery, now_ns: int) -> bool:
        """Counts a message; False when it is one too many."""
        is_cancel = isinstance(message, CancelOrder | MassCancel)
        return (self.cancels if is_cancel else self.orders).take(now_ns)


class Rates:
    """Each client's rate, as far used up as its last session left it."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._rates: dict[int, tuple[ClientSettings, Rate]] = {}  # by client's number

    def of(self, client: ClientSettings) -> Rate:
        """The client's rate; a new one when its settings have changed."""
        known, rate = self._rates.get(client.number, (None, None))
        if rate is None or known != client:
            rate = Rate(
                client.orders_per_second or self._limits.orders_per_second,
                client.orders_burst or self._limits.orders_burst,
            )
            self._rates[client.number] = client, rate
        return rate


class Origin(NamedTuple):
    """A name that was tried, and the host it was tried from."""

    name: str
    host: str


class FailedLogIns:
    """Refuses log-ins, unseen, to names and hosts that have failed too often of late.

    An attempt counts against its name before its secret is looked at, so that many at once are no
    way around the limit; it is given back when it succeeds. A host that a client has logged in from
    is not held up by what others try under that client's name, so nobody can lock a client out of
    where it trades from.
    """

    def __init__(self, limits: LogInLimits) -> None:
        self._limits = limits
        self._names: OrderedDict[str, TokenBucket] = OrderedDict()
        self._hosts: OrderedDict[str, TokenBucket] = OrderedDict()
        self._proven: OrderedDict[Origin, None] = OrderedDict()

    def start(self, origin: Origin, now_ns: int) -> bool:
        """Counts an attempt; False when it is one too many: its secret is not to be looked at."""
        limits = self._limits
        host = self._hosts.get(origin.host)
        if host is not None and not host.has_token(now_ns):
            return False
        if origin in self._proven:
            return True
        return self._bucket(self._names, origin.name, limits.failures_per_name).take(now_ns)

    def succeeded(self, origin: Origin) -> None:
        """The attempt was a good one: it is given back, and its host is trusted with the name."""
        name = self._names.get(origin.name)
        if origin not in self._proven and name is not None:
            name.put_back()
        self._proven[origin] = None
        self._proven.move_to_end(origin)
        self._bound(self._proven)

    def failed(self, origin: Origin, now_ns: int) -> None:
        """The attempt was a bad one: it counts against its host, which loses the name's trust."""
        self._bucket(self._hosts, origin.host, self._limits.failures_per_host).take(now_ns)
        self._proven.pop(origin, None)

    def check(self) -> None:
        """Raises AssertionError when a table has outgrown its bound."""
        for table in (self._names, self._hosts, self._proven):
            assert len(table) <= self._limits.remembered

    def _bucket(self, table: OrderedDict[str, TokenBucket], key: str, failures: int) -> TokenBucket:
        bucket = table.get(key)
        if bucket is None:
            bucket = table[key] = TokenBucket(failures, failures, self._limits.window_ns)
        table.move_to_end(key)
        self._bound(table)
        return bucket

    def _bound(self, table: OrderedDict[str, TokenBucket] | OrderedDict[Origin, None]) -> None:
        while len(table) > self._limits.remembered:
            table.popitem(last=False)
