from hypothesis import given
from hypothesis import strategies as st

from tools.bench.pacing import OpenLoop, Pace

MS = 1_000_000
BEGIN_NS = 7_000_000_123


@given(st.integers(1, 1_000_000), st.lists(st.integers(0, 5_000_000), max_size=50))
def test_each_moment_is_given_out_once_when_it_has_come(rate: int, waits: list[int]) -> None:
    pace = Pace(rate, BEGIN_NS)
    now_ns = BEGIN_NS - 1
    given_out: list[int] = []
    for wait in waits:
        now_ns += wait
        given_out += pace.due(now_ns)
        assert pace.next_ns > now_ns or now_ns < BEGIN_NS
    assert given_out == list(range(len(given_out)))
    assert all(pace.moment_ns(number) <= now_ns for number in given_out)


def test_moments_are_as_far_apart_as_the_rate_says() -> None:
    pace = Pace(3, 0)
    assert [pace.moment_ns(number) for number in range(4)] == [
        0,
        333_333_333,
        666_666_666,
        1_000_000_000,
    ]


class ScriptedExchange:
    """Accepts each order a millisecond after it was sent, but stands still for a while."""

    def __init__(self, stands_still: range) -> None:
        self.now_ns = BEGIN_NS
        self._stands_still = stands_still  # in ms since the begin
        self._waiting: list[tuple[int, int]] = []  # when it was sent, and by which client

    def run(self, loop: OpenLoop) -> None:
        while not loop.is_over:
            for client in loop.due(self.now_ns):
                self._waiting.append((self.now_ns, client))
            if (self.now_ns - BEGIN_NS) // MS not in self._stands_still:
                for sent_ns, client in list(self._waiting):
                    if sent_ns < self.now_ns:
                        loop.on_accepted(client, 1, self.now_ns)
                        self._waiting.remove((sent_ns, client))
            self.now_ns += MS


def test_an_exchange_that_never_stands_still_takes_its_millisecond() -> None:
    loop = OpenLoop(1_000, clients=2, orders=500, skipped=0, begin_ns=BEGIN_NS)
    ScriptedExchange(range(0)).run(loop)
    assert loop.latencies.count == 500
    assert set(loop.latencies.percentiles()) == {MS}
    assert loop.lateness.longest_ns == 0


def test_all_orders_that_were_due_while_it_stood_still_have_waited() -> None:
    """100 ms of 1,000: a client that waited for its answer would have counted one order."""
    loop = OpenLoop(1_000, clients=2, orders=1_000, skipped=0, begin_ns=BEGIN_NS)
    ScriptedExchange(range(400, 500)).run(loop)
    assert loop.latencies.longest_ns == 101 * MS  # sent at 399 ms, accepted at 500
    assert loop.latencies.percentile(0.89) < 1.01 * MS
    assert 50 * MS <= loop.latencies.percentile(0.95) <= 52 * MS
    assert 90 * MS <= loop.latencies.percentile(0.99) <= 92 * MS


def test_an_order_that_is_sent_late_has_waited_since_it_was_due() -> None:
    loop = OpenLoop(1_000, clients=1, orders=10, skipped=0, begin_ns=BEGIN_NS)
    assert loop.due(BEGIN_NS) == [0]
    late_ns = BEGIN_NS + 9 * MS
    assert loop.due(late_ns) == [0] * 9  # the client was held up for 9 ms
    assert loop.next_ns is None
    loop.on_accepted(0, 10, late_ns)
    assert loop.is_over
    assert loop.latencies.longest_ns == 9 * MS
    assert 4 * MS <= loop.latencies.percentile(0.5) < 4.04 * MS  # of 0 to 9 ms
    assert loop.lateness.longest_ns == 8 * MS


def test_orders_go_to_the_clients_in_turn_and_are_told_apart() -> None:
    loop = OpenLoop(1_000, clients=3, orders=6, skipped=0, begin_ns=BEGIN_NS)
    assert loop.due(BEGIN_NS + 5 * MS) == [0, 1, 2, 0, 1, 2]
    loop.on_accepted(2, 2, BEGIN_NS + 5 * MS)  # orders 2 and 5
    assert loop.latencies.longest_ns == 3 * MS
    loop.on_accepted(0, 2, BEGIN_NS + 5 * MS)
    loop.on_accepted(1, 1, BEGIN_NS + 5 * MS)
    assert not loop.is_over
    loop.on_accepted(1, 1, BEGIN_NS + 5 * MS)
    assert loop.is_over


def test_a_warm_up_is_not_counted() -> None:
    loop = OpenLoop(1_000, clients=1, orders=200, skipped=100, begin_ns=BEGIN_NS)
    ScriptedExchange(range(50, 99)).run(loop)
    assert loop.latencies.count == 100
    assert loop.latencies.longest_ns == MS
    assert loop.lateness.count == 100
