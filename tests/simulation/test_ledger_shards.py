"""The ledger of an exchange with two shards: each rule that there is beyond one shard is broken
once, and the ledger says so at that step."""

import pytest

from engine.market import Market
from feed.codec import decode_frame, encode_group
from feed.messages import (
    ALL_SYMBOLS,
    CancelReason,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
    SelfTradePrevention,
    ShardMark,
    ShortSale,
    Side,
)
from gateway.events import MassCanceled
from gateway.rejects import GatewayReject
from tests.simulation.test_expectation import ACME, order
from tests.simulation.test_ledger import refusal
from tools.simulation.ledger import Ledger
from tools.simulation.programs import Program

BUY, SELL = Side.BUY, Side.SELL
BOLT = b"BOLT    "
HOMES = (1, 2)
CLIENT = next(
    client for client in range(1, 50) if Ledger(HOMES, HOMES).streams.home_of(client) == 1
)


class Day:
    """Two machines, their lists, and a ledger that hears of both. A client that is at home in shard
    1 has a program, which is logged in at both; ACME is in the first shard, BOLT in the second."""

    def __init__(self) -> None:
        self.ledger = Ledger(HOMES, HOMES)
        self.markets = {shard: Market() for shard in HOMES}
        self.next_sequence = dict.fromkeys(HOMES, 1)
        self.logins = 0
        self.submit(1, DefineInstrument(ACME, 1, 1, ShortSale.ALLOWED))
        self.submit(2, DefineInstrument(BOLT, 1, 1, ShortSale.ALLOWED))
        self.mark(1, 2)
        self.program = self.start("C1")
        self.log_in_elsewhere()

    def start(self, name: str, first: int = 1) -> Program:
        """A program begins, and is logged in at home."""
        program = self.ledger.begin(CLIENT, name, first)
        self.ledger.on_log_in_asked(program)
        self.log_in(1, 0)
        self.home_sequence = self.next_sequence[1] - 1
        self.ledger.on_logged_in(program)
        return program

    def log_in_elsewhere(self) -> None:
        """And in the other shard."""
        self.log_in(2, self.home_sequence)

    def log_in(self, shard: int, home_sequence: int) -> None:
        self.logins += 1
        mode = SelfTradePrevention.CANCEL_NEWEST
        self.submit(shard, LogIn(CLIENT, self.logins, mode, home_sequence))

    def submit(self, shard: int, command: Command) -> None:
        """A machine carries a command out, and that is committed."""
        sequence = self.next_sequence[shard]
        self.write(shard, command, *self.markets[shard].apply(sequence, 1, command))

    def write(self, shard: int, *group: Message) -> None:
        """This is committed."""
        for data in encode_group(group, self.next_sequence[shard], 1):
            self.ledger.on_committed(decode_frame(data), shard)
        self.next_sequence[shard] += len(group)

    def mark(self, home: int, shard: int) -> None:
        """A home marks all of another list."""
        self.submit(home, ShardMark(shard, self.next_sequence[shard] - 1))

    def send(self, shard: int, command: EnterOrder | MassCancel) -> None:
        """The program sends a command, which gets into the list of this shard."""
        self.ledger.on_sent(self.program, command)
        self.submit(shard, command)

    def tell(self) -> None:
        """The program is told of everything that it has not heard yet."""
        for event in self.ledger.streams.streams[CLIENT][self.program.next_sequence - 1 :]:
            self.ledger.on_event(self.program, event)

    def settle(self) -> None:
        self.ledger.check_settled(self.markets)


def in_bolt(number: int, price: int = 100) -> EnterOrder:
    return order(CLIENT, number, BUY, 10, price)._replace(symbol=BOLT)


def in_acme(number: int) -> EnterOrder:
    return order(CLIENT, number, BUY, 10)


@pytest.fixture
def day() -> Day:
    return Day()


def test_a_day_in_two_shards_on_which_all_is_right(day: Day) -> None:
    day.send(1, in_acme(1))
    day.send(2, in_bolt(2))
    day.send(1, in_acme(3))
    assert not day.ledger.has_heard_all(day.program)
    day.mark(1, 2)
    day.tell()
    assert day.ledger.has_heard_all(day.program)
    day.settle()
    numbers = [event.user_ref_num for event in day.ledger.streams.streams[CLIENT]]
    assert numbers == [1, 3, 2]
    assert day.ledger.commands == 3
    assert day.ledger.commands_in(2, without_home=2) == 1
    assert day.ledger.commands_in(2, without_home=1) == 0


def test_what_no_mark_names_is_missed_in_the_end(day: Day) -> None:
    day.send(2, in_bolt(1))
    day.tell()
    with pytest.raises(AssertionError, match="never told event 1: no mark names it"):
        day.settle()


def test_an_order_that_stands_in_two_shards_is_found(day: Day) -> None:
    day.send(1, in_acme(1))
    with pytest.raises(AssertionError, match="command 1 stands in the lists twice"):
        day.write(2, in_acme(1))


def test_a_program_that_knows_nothing_of_a_shard_may_use_a_number_again(day: Day) -> None:
    day.ledger.on_sent(day.program, in_bolt(1))
    day.ledger.end(day.program)
    before, day.program = day.program, day.start("C1")
    assert before is not day.program
    day.send(1, in_acme(1))
    day.submit(2, in_bolt(1))  # the log-in of the new program is still on its way
    day.log_in_elsewhere()
    day.mark(1, 2)
    day.tell()
    day.settle()


def test_what_was_left_behind_is_void_from_the_log_in_on_in_each_shard(day: Day) -> None:
    day.ledger.on_sent(day.program, in_bolt(1))
    day.ledger.end(day.program)
    day.program = day.start("C1")
    day.log_in_elsewhere()
    with pytest.raises(AssertionError, match="was never sent, or was refused"):
        day.write(2, in_bolt(1))


def test_what_a_rival_sent_is_void_from_the_log_in_on_in_each_shard(day: Day) -> None:
    day.ledger.on_sent(day.program, in_bolt(1))
    rival = day.start("C1-b")
    assert rival is not day.program
    day.submit(2, in_bolt(1))
    day.ledger.on_sent(day.program, in_bolt(2))
    day.log_in_elsewhere()
    with pytest.raises(AssertionError, match="was void since C1-b logged in"):
        day.write(2, in_bolt(2))


def test_a_log_in_that_stands_for_none_at_home_is_found(day: Day) -> None:
    with pytest.raises(AssertionError, match="has none at home"):
        day.log_in(2, day.next_sequence[1])


def test_a_log_in_at_home_that_stands_for_another_one_is_found(day: Day) -> None:
    with pytest.raises(AssertionError, match="is at home in shard 1"):
        day.log_in(1, day.home_sequence)


def test_log_ins_out_of_the_order_of_the_home_are_found(day: Day) -> None:
    earlier = day.home_sequence
    day.start("C1-b")
    day.log_in_elsewhere()
    with pytest.raises(AssertionError, match="after one that stands for"):
        day.log_in(2, earlier)


def test_a_cancel_of_all_orders_stands_in_each_shard_once(day: Day) -> None:
    day.send(1, in_acme(1))
    day.send(2, in_bolt(2))
    sweep = MassCancel(CLIENT, 3, ALL_SYMBOLS, CancelReason.USER)
    day.send(1, sweep)
    day.submit(2, sweep)
    day.mark(1, 2)
    day.tell()
    day.settle()
    kinds = [type(event) for event in day.ledger.streams.streams[CLIENT]]
    assert kinds.count(MassCanceled) == 1
    with pytest.raises(AssertionError, match="command 3 stands in the lists twice"):
        day.write(2, sweep)


def test_a_cancel_of_all_orders_that_stands_at_home_may_come_to_other_shards_later(
    day: Day,
) -> None:
    sweep = MassCancel(CLIENT, 1, ALL_SYMBOLS, CancelReason.USER)
    day.send(1, sweep)
    day.ledger.end(day.program)
    day.program = day.start("C1")
    day.log_in_elsewhere()
    day.submit(2, sweep)
    day.mark(1, 2)
    day.tell()
    day.settle()


def test_a_cancel_of_all_orders_is_void_where_it_is_not_done_at_home(day: Day) -> None:
    sweep = MassCancel(CLIENT, 1, ALL_SYMBOLS, CancelReason.USER)
    day.ledger.on_sent(day.program, sweep)
    day.ledger.end(day.program)
    day.program = day.start("C1")
    day.log_in_elsewhere()
    with pytest.raises(AssertionError, match="was never sent, or was refused"):
        day.write(2, sweep)


def test_a_command_that_a_gateway_passes_over_is_found(day: Day) -> None:
    day.ledger.on_sent(day.program, in_bolt(1))
    day.send(2, in_bolt(2))
    with pytest.raises(AssertionError, match="is refused, which it was not"):
        day.ledger.on_event(day.program, refusal(1, GatewayReject.NUMBER_PASSED))


def test_a_list_that_ends_within_a_group_is_found(day: Day) -> None:
    data = encode_group((in_bolt(1), in_bolt(2)), day.next_sequence[2], 1)[0]
    day.ledger.on_committed(decode_frame(data), 2)
    with pytest.raises(AssertionError, match="shard 2's list ends within group"):
        day.settle()


def test_the_orders_of_each_market_are_compared(day: Day) -> None:
    day.send(2, in_bolt(1))
    day.mark(1, 2)
    day.tell()
    day.markets[2].orders.clear()
    with pytest.raises(AssertionError, match="by the list of shard 2"):
        day.settle()
