"""Orders at a fixed rate, and how long each took, counted from when it should have been sent.

Sans-I/O. A client that waits for answers before it sends more measures its own patience: while the
exchange stands still it sends nothing, so that one order waits where hundreds would have
("coordinated omission"). Here each order has its moment, whatever became of the earlier ones, and
one that could not be sent at that moment has been waiting since then.
"""

from tools.bench.histogram import Histogram

_SECOND_NS = 1_000_000_000


class Pace:
    """Moments at a fixed rate: number n, from 0, comes n / rate seconds after the begin."""

    def __init__(self, rate: int, begin_ns: int) -> None:
        self._rate = rate
        self._begin_ns = begin_ns
        self._next = 0

    @property
    def next_ns(self) -> int:
        """The first moment that has not been given out."""
        return self.moment_ns(self._next)

    def moment_ns(self, number: int) -> int:
        """When a moment is."""
        return self._begin_ns + number * _SECOND_NS // self._rate

    def due(self, now_ns: int) -> range:
        """The numbers of the moments that have come, each given out once."""
        if now_ns < self.next_ns:
            return range(0)
        first = self._next
        self._next = (now_ns - self._begin_ns + 1) * self._rate // _SECOND_NS
        while self.moment_ns(self._next) <= now_ns:  # what the division has cut off
            self._next += 1
        while self.moment_ns(self._next - 1) > now_ns:
            self._next -= 1
        return range(first, self._next)


class OpenLoop:
    """A fixed number of orders at a fixed rate, spread over clients in turn.

    Order n is of client n % clients; each client's orders are accepted in the order in which they
    were sent.
    """

    def __init__(self, rate: int, clients: int, orders: int, skipped: int, begin_ns: int) -> None:
        """The first `skipped` orders are sent, but their times are not counted."""
        self.latencies = Histogram()
        self.lateness = Histogram()  # how long after its moment each order was sent
        self._pace = Pace(rate, begin_ns)
        self._clients = clients
        self._orders = orders
        self._skipped = skipped
        self._sent = 0
        self._accepted = 0
        self._accepted_of = [0] * clients

    @property
    def is_over(self) -> bool:
        """Whether every order was sent and accepted."""
        return self._accepted == self._orders

    @property
    def next_ns(self) -> int | None:
        """When the next order is to be sent; None after the last one."""
        return self._pace.next_ns if self._sent < self._orders else None

    def due(self, now_ns: int) -> list[int]:
        """The clients that have to send an order now, in turn; one may have to send several."""
        if self._sent == self._orders:
            return []
        clients = []
        for number in self._pace.due(now_ns):
            if number == self._orders:
                break
            clients.append(number % self._clients)
            if number >= self._skipped:
                self.lateness.record(now_ns - self._pace.moment_ns(number))
            self._sent += 1
        return clients

    def on_accepted(self, client: int, count: int, now_ns: int) -> None:
        """The next so many orders of a client are accepted."""
        first = self._accepted_of[client]
        self._accepted_of[client] += count
        self._accepted += count
        for place in range(first, first + count):
            number = place * self._clients + client
            if number >= self._skipped:
                self.latencies.record(now_ns - self._pace.moment_ns(number))
