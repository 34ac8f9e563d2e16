"""Each rule of the ledger is broken once, and the ledger says so at that step."""

from collections.abc import Sequence

import pytest

from engine.market import Market
from engine.rejects import RejectReason
from feed.codec import decode_frame, encode_group
from feed.messages import (
    ALL_SYMBOLS,
    CancelOrder,
    CancelReason,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
    SelfTradePrevention,
    ShortSale,
    Side,
)
from gateway.events import Accepted, Event, Rejected, SessionBegan
from gateway.rejects import GatewayReject
from tests.simulation.test_expectation import ACME, order
from tools.simulation.ledger import UNREADABLE, Ledger
from tools.simulation.programs import Program

LOGIN = 77
BUY, SELL = Side.BUY, Side.SELL


class Day:
    """A machine, its list, and a ledger that hears of both; client 1 has a program, as has 2."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.market = Market()
        self.next_sequence = 1
        self.submit(DefineInstrument(ACME, 1, 1, ShortSale.ALLOWED))
        self.one = self.start(1, "C1")
        self.two = self.start(2, "C2")

    def start(self, client: int, name: str, first: int = 1) -> Program:
        program = self.ledger.begin(client, name, first)
        self.ledger.on_log_in_asked(program)
        login = LOGIN + self.next_sequence
        self.submit(LogIn(client, login, SelfTradePrevention.CANCEL_NEWEST))
        self.ledger.on_logged_in(program)
        return program

    def submit(self, command: Command) -> None:
        """The machine carries a command out, and that is committed."""
        self.write(command, *self.market.apply(self.next_sequence, 1, command))

    def write(self, *group: Message) -> None:
        """This is committed."""
        for data in encode_group(group, self.next_sequence, 1):
            self.ledger.on_committed(decode_frame(data))
        self.next_sequence += len(group)

    def send(self, program: Program, command: EnterOrder | CancelOrder | MassCancel) -> None:
        """A program sends a command, which gets into the list."""
        self.ledger.on_sent(program, command)
        self.submit(command)

    def stream(self, client: int = 1) -> list[Event]:
        return self.ledger.streams.streams[client]

    def tell(self, program: Program, events: Sequence[Event] | None = None) -> None:
        """A program is told of these, or of everything that it has not heard yet."""
        if events is None:
            events = self.stream(program.client)[program.next_sequence - 1 :]
        for event in events:
            self.ledger.on_event(program, event)

    def settle(self) -> None:
        self.ledger.check_settled({1: self.market})


@pytest.fixture
def day() -> Day:
    """Client 1 has bought 4 of 10; it has heard of nothing yet."""
    day = Day()
    day.send(day.one, order(1, 1, BUY, 10))
    day.send(day.two, order(2, 1, SELL, 4))
    return day


def refusal(number: int, reason: GatewayReject = GatewayReject.PRICE_ZERO) -> Rejected:
    return Rejected(0, 1, number, reason, reason.text, "")


def numbered(event: Event, sequence: int) -> Event:
    """The same event with another number."""
    assert not isinstance(event, SessionBegan)
    return event._replace(sequence=sequence)


def test_a_day_on_which_all_is_right(day: Day) -> None:
    day.send(day.one, CancelOrder(1, 1, 2))
    day.send(day.one, MassCancel(1, 2, ALL_SYMBOLS, CancelReason.USER))
    day.ledger.on_sent_to_be_refused(day.one, 3)
    day.ledger.on_sent_to_be_refused(day.one, UNREADABLE)
    day.tell(day.one)
    day.tell(day.one, [refusal(3), refusal(UNREADABLE)])
    day.tell(day.two)
    day.settle()
    assert [type(event).__name__ for event in day.stream()] == [
        *("Accepted", "Executed", "Canceled", "MassCanceled", "Canceled")
    ]
    assert day.ledger.commands == 4
    assert day.ledger.has_heard_all(day.one)


def test_a_program_that_starts_anew_hears_everything_again(day: Day) -> None:
    day.tell(day.one)
    day.ledger.end(day.one)
    again = day.start(1, "C1")
    assert not day.ledger.has_heard_all(again)
    day.tell(again)
    day.tell(day.start(1, "C1", first=2))


def test_what_is_told_before_it_is_committed_is_found(day: Day) -> None:
    day.tell(day.one)
    early = numbered(day.stream()[-1], 3)
    with pytest.raises(AssertionError, match="not committed"):
        day.tell(day.one, [early])


def test_what_is_told_when_half_of_its_group_is_committed_is_found() -> None:
    day = Day()
    day.ledger.on_sent(day.one, order(1, 1, BUY, 10))
    day.ledger.on_sent(day.one, CancelOrder(1, 1, 0))
    day.submit(order(1, 1, BUY, 10))
    command = CancelOrder(1, 1, 0)
    group = (command, *day.market.apply(day.next_sequence, 1, command))
    first, second = encode_group(group, day.next_sequence, 1)
    day.ledger.on_committed(decode_frame(first))
    day.tell(day.one)
    assert len(day.stream()) == 1
    with pytest.raises(AssertionError, match="ends within group 5"):
        day.settle()
    day.ledger.on_committed(decode_frame(second))
    assert len(day.stream()) == 2


def test_what_is_told_twice_is_found(day: Day) -> None:
    day.tell(day.one)
    with pytest.raises(AssertionError, match="C1 was told event 1 again"):
        day.tell(day.one, day.stream()[:1])


def test_a_hole_is_found(day: Day) -> None:
    with pytest.raises(AssertionError, match="C1 was told event 2, and never 1"):
        day.tell(day.one, day.stream()[1:])


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        (0, {"quantity": 9}),
        (0, {"order_number": 5}),
        (0, {"time_ns": 2}),
        (1, {"user_ref_num": 2}),
        (1, {"match_number": 1}),
    ],
)
def test_a_changed_event_is_found(day: Day, place: int, changes: dict[str, int]) -> None:
    day.tell(day.one, day.stream()[:place])
    changed = day.stream()[place]._replace(**changes)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=r"C1 was told .*, not "):
        day.tell(day.one, [changed])


def test_an_event_of_another_kind_with_the_same_fields_is_found(day: Day) -> None:
    class Forged(Accepted):
        pass

    with pytest.raises(AssertionError, match="C1 was told"):
        day.tell(day.one, [Forged(*day.stream()[0])])


def test_another_gateway_that_tells_otherwise_is_found(day: Day) -> None:
    day.tell(day.one)
    day.ledger.end(day.one)
    elsewhere = day.start(1, "C1")
    with pytest.raises(AssertionError, match=r"C1 was told .*, not "):
        day.tell(elsewhere, [numbered(day.stream()[1], 1)])


def test_an_order_that_stands_in_the_list_twice_is_found(day: Day) -> None:
    with pytest.raises(AssertionError, match="command 1 stands in the lists twice"):
        day.write(order(1, 1, BUY, 10))


def test_an_order_that_nobody_sent_is_found(day: Day) -> None:
    with pytest.raises(AssertionError, match="frame 7 was never sent"):
        day.write(order(1, 2, BUY, 10))
    with pytest.raises(AssertionError, match="client 3, whom nobody knows"):
        day.write(order(3, 1, BUY, 10))


def test_a_cancel_that_nobody_sent_is_found(day: Day) -> None:
    day.ledger.on_sent(day.one, CancelOrder(1, 1, 2))
    with pytest.raises(AssertionError, match="frame 7 was never sent"):
        day.submit(CancelOrder(1, 1, 1))


def test_a_mass_cancel_of_a_gateway_is_not_the_clients_own(day: Day) -> None:
    day.submit(MassCancel(1, 0, ALL_SYMBOLS, CancelReason.LINK_LOST))
    with pytest.raises(AssertionError, match="nobody asked for"):
        day.write(MassCancel(1, 0, ALL_SYMBOLS, CancelReason.USER))


def test_a_changed_order_is_found(day: Day) -> None:
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    with pytest.raises(AssertionError, match="and what was sent is"):
        day.write(order(1, 2, BUY, 11))


def test_orders_out_of_their_order_are_found(day: Day) -> None:
    for number in (2, 3):
        day.ledger.on_sent(day.one, order(1, number, BUY, 10))
    day.submit(order(1, 3, BUY, 10))
    with pytest.raises(AssertionError, match="command 2 stands at 8, after 3"):
        day.write(order(1, 2, BUY, 10))


def test_a_lost_order_is_found(day: Day) -> None:
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    day.tell(day.one)
    day.tell(day.two)
    with pytest.raises(AssertionError, match="C1's command 2 was lost"):
        day.settle()
    day.ledger.end(day.one)  # who has died may lose it
    day.settle()


def test_an_order_of_a_dead_program_may_still_arrive_once(day: Day) -> None:
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    day.ledger.end(day.one)
    day.submit(order(1, 2, BUY, 10))
    with pytest.raises(AssertionError, match="stands in the lists twice"):
        day.write(order(1, 2, BUY, 10))


def test_a_missing_refusal_is_found(day: Day) -> None:
    day.ledger.on_sent_to_be_refused(day.one, 2)
    day.tell(day.one)
    with pytest.raises(AssertionError, match="C1's command 2 was lost: no refusal came"):
        day.settle()


def test_what_a_gateway_has_to_refuse_and_does_not_is_found(day: Day) -> None:
    day.ledger.on_sent_to_be_refused(day.one, 2)
    with pytest.raises(AssertionError, match="never sent, or was refused"):
        day.write(order(1, 2, BUY, 10))


def test_what_was_refused_and_stands_in_the_list_is_found(day: Day) -> None:
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    day.tell(day.one, [refusal(2)])
    with pytest.raises(AssertionError, match="never sent, or was refused"):
        day.submit(order(1, 2, BUY, 10))


def test_what_another_program_sent_before_a_log_in_is_void(day: Day) -> None:
    rest = order(1, 2, BUY, 10)
    day.ledger.on_sent(day.one, rest)
    day.ledger.on_sent(day.one, CancelOrder(1, 1, 0))
    day.start(1, "C1-b")
    for command in (rest, CancelOrder(1, 1, 0)):
        with pytest.raises(AssertionError, match="was void since C1-b logged in"):
            day.submit(command)


def test_of_two_log_ins_it_is_not_known_which_was_the_last(day: Day) -> None:
    day.start(1, "C1-b")
    day.ledger.on_log_in_asked(day.one)
    for login in (1, 2):
        day.submit(LogIn(1, login, SelfTradePrevention.OFF))
    day.ledger.on_logged_in(day.one)
    day.send(day.one, order(1, 2, BUY, 10))


def test_what_a_dead_program_sent_is_void_after_a_log_in(day: Day) -> None:
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    day.ledger.end(day.one)
    day.start(1, "C1")
    with pytest.raises(AssertionError, match="never sent"):
        day.submit(order(1, 2, BUY, 10))


def test_who_is_let_in_without_a_log_in_in_the_list_is_found(day: Day) -> None:
    day.ledger.on_log_in_asked(day.one)
    with pytest.raises(AssertionError, match="C1 is let in without a log-in"):
        day.ledger.on_logged_in(day.one)


def test_an_order_that_went_missing_and_is_told_to_be_refused_is_found(day: Day) -> None:
    """The library guesses so, when something later is answered."""
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    with pytest.raises(AssertionError, match="is refused, which it was not"):
        day.tell(day.one, [refusal(2, GatewayReject.CONNECTION_LOST)])


def test_a_refusal_of_what_stands_in_the_list_is_found(day: Day) -> None:
    with pytest.raises(AssertionError, match="it stands in the list"):
        day.tell(day.one, [refusal(1, GatewayReject.CONNECTION_LOST)])


def test_a_refusal_that_comes_twice_is_found(day: Day) -> None:
    for number in (2, UNREADABLE):
        day.ledger.on_sent_to_be_refused(day.one, number)
        day.tell(day.one, [refusal(number)])
        with pytest.raises(AssertionError, match="what it did not send"):
            day.tell(day.one, [refusal(number)])


@pytest.mark.parametrize("number", [UNREADABLE, 2])
def test_a_refusal_of_what_was_not_sent_is_found(day: Day, number: int) -> None:
    with pytest.raises(AssertionError, match="what it did not send"):
        day.tell(day.one, [refusal(number)])


def test_a_refusal_by_the_machine_without_a_number_is_found(day: Day) -> None:
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    reason = RejectReason.HALTED
    with pytest.raises(AssertionError, match="without a number"):
        day.tell(day.one, [Rejected(0, 1, 2, reason, reason.text, "")])


def test_a_lost_cancel_is_found(day: Day) -> None:
    day.ledger.on_sent(day.one, CancelOrder(1, 1, 2))
    day.tell(day.one)
    day.tell(day.two)
    with pytest.raises(AssertionError, match="cancel of its order 1 to 2 was lost: 6 is open"):
        day.settle()


def test_a_refused_cancel_is_not_lost(day: Day) -> None:
    day.ledger.on_sent(day.one, CancelOrder(1, 1, 2))
    day.tell(day.one)
    day.tell(day.two)
    day.tell(day.one, [refusal(1, GatewayReject.RATE_EXCEEDED)])
    day.settle()


def test_an_event_that_never_comes_is_found(day: Day) -> None:
    day.tell(day.one, day.stream()[:1])
    with pytest.raises(AssertionError, match="C1 was never told event 2"):
        day.settle()


def test_lost_quantity_is_found(day: Day) -> None:
    day.tell(day.one)
    day.tell(day.two)
    day.settle()
    day.market.orders[4].leaves -= 1
    with pytest.raises(AssertionError, match=r"order 4 has .*\(10, 4, 0, 5\).*\(10, 4, 0, 6\)"):
        day.settle()


def test_an_order_that_the_market_has_lost_is_found(day: Day) -> None:
    day.tell(day.one)
    day.tell(day.two)
    del day.market.orders[4]
    with pytest.raises(AssertionError, match=r"order 4 has .* None in the market"):
        day.settle()


def test_a_number_that_was_used_before_the_program_began_is_found(day: Day) -> None:
    day.ledger.end(day.one)
    again = day.start(1, "C1")
    with pytest.raises(AssertionError, match="uses number 1, which stands at 4"):
        day.ledger.on_sent(again, order(1, 1, BUY, 10))


def test_a_program_whose_number_a_rival_uses_up_has_nothing_to_expect(day: Day) -> None:
    """It was superseded and did not hear of it, so that it takes the rival's order for its own."""
    day.tell(day.two)
    rival = day.start(1, "C1-b")
    day.ledger.on_sent(day.one, order(1, 2, BUY, 10))
    day.ledger.on_sent(day.one, CancelOrder(1, 1, 0))
    day.send(rival, order(1, 2, SELL, 3, 200))
    day.send(rival, order(1, 3, SELL, 3, 200))
    day.ledger.on_sent(day.one, order(1, 3, BUY, 10))
    day.tell(day.one)
    day.tell(day.one, [refusal(2, GatewayReject.CONNECTION_LOST)])
    day.tell(rival)
    day.settle()
    with pytest.raises(AssertionError, match="command 2 stands at 10, after 3"):
        day.write(order(1, 2, BUY, 10))
