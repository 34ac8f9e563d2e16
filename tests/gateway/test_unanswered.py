"""The commands that have no answer yet: what settles them, and what is sent again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rejects import RejectReason
from feed.messages import CancelReason, Side, TimeInForce
from gateway import ouch
from gateway.events import to_event
from gateway.ouch_codec import decode_inbound
from gateway.unanswered import STRAY_CANCELS, Unanswered
from tests.gateway.exchange_side import (
    AAPL,
    MSFT,
    accepted,
    canceled,
    executed,
    mass_canceled,
    rejected,
    replaced,
)


def order(user_ref_num: int, symbol: bytes = AAPL) -> ouch.EnterOrder:
    return ouch.EnterOrder(user_ref_num, Side.BUY, 100, symbol, 1_850_000, TimeInForce.DAY)


class Ledger:
    """An `Unanswered` in short words."""

    def __init__(self) -> None:
        self.unanswered = Unanswered()

    def enter(self, *user_ref_nums: int, symbol: bytes = AAPL) -> None:
        for user_ref_num in user_ref_nums:
            self.unanswered.add(order(user_ref_num, symbol))

    def replace(self, original: int, user_ref_num: int) -> None:
        terms = 100, 1_850_000, TimeInForce.DAY
        self.unanswered.add(ouch.ReplaceOrder(original, user_ref_num, *terms))

    def cancel(self, user_ref_num: int, remaining: int = 0) -> None:
        self.unanswered.add_cancel(ouch.CancelOrder(user_ref_num, remaining))

    def told(self, *messages: ouch.Outbound) -> None:
        for message in messages:
            self.unanswered.settle(to_event(message, 1))
            self.unanswered.check()

    def resume(self) -> list[int | tuple[int, int]]:
        """What is sent again: numbers of commands, and what should remain of orders."""
        return commands_in(self.unanswered.resend())

    def waiting(self) -> list[int | tuple[int, int]]:
        """What would be."""
        unanswered = self.unanswered
        return commands_in(unanswered.naming(unanswered.numbers))


def commands_in(payloads: list[bytes]) -> list[int | tuple[int, int]]:
    """The numbers of commands, and of each cancel what should remain of which order."""
    commands: list[int | tuple[int, int]] = []
    for message in map(decode_inbound, payloads):
        match message:
            case ouch.CancelOrder(user_ref_num, quantity):
                commands.append((user_ref_num, quantity))
            case ouch.EnterOrder() | ouch.ReplaceOrder() | ouch.MassCancel():
                commands.append(message.user_ref_num)
    return commands


def test_each_kind_of_answer_settles_its_command() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.replace(1, 2)
    ledger.enter(3)
    ledger.unanswered.add(ouch.MassCancel(4, symbol=AAPL))
    ledger.told(accepted(1))
    assert ledger.waiting() == [2, 3, 4]
    ledger.told(replaced(1, 2))
    assert ledger.waiting() == [3, 4]
    ledger.told(rejected(3, RejectReason.HALTED))
    assert ledger.waiting() == [4]
    ledger.told(mass_canceled(4))
    assert ledger.waiting() == []


def test_an_event_of_an_order_answers_no_later_command() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(accepted(1))
    ledger.enter(2)
    ledger.told(executed(1, 30), canceled(1, 70))
    assert ledger.waiting() == [2]


def test_what_was_not_sent_again_waits_though_later_commands_are_answered() -> None:
    ledger = Ledger()
    ledger.enter(1, 2)
    ledger.cancel(2)
    ledger.told(accepted(2))
    assert ledger.waiting() == [1, (2, 0)]


def test_an_answer_in_another_symbol_settles_no_cancel() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.enter(2, symbol=MSFT)
    ledger.told(accepted(1))
    ledger.replace(1, 3)
    ledger.cancel(2)
    ledger.cancel(3)
    ledger.enter(7, symbol=MSFT)
    ledger.told(accepted(7, symbol=MSFT))
    assert ledger.waiting() == [2, 3, (3, 0)]
    ledger.enter(8)
    ledger.told(accepted(8))
    assert ledger.waiting() == [2, 3]


def test_a_cancel_is_in_vain_if_its_order_is_open_when_a_later_command_is_answered() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.cancel(1, 40)
    ledger.told(accepted(1))
    assert ledger.unanswered.take_in_vain() == []
    ledger.enter(2)
    ledger.told(accepted(2))
    assert commands_in(ledger.unanswered.take_in_vain()) == [(1, 40)]
    assert ledger.unanswered.take_in_vain() == []
    assert ledger.waiting() == [(1, 40)]
    ledger.enter(3)
    ledger.told(executed(1, 60), accepted(3))
    assert ledger.unanswered.take_in_vain() == []
    assert ledger.waiting() == []


def test_what_befell_an_order_before_it_was_accepted_counts() -> None:
    """It has moved to another shard, and the stream came to that one first."""
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(executed(1, 60), accepted(1))
    ledger.cancel(1)
    ledger.told(canceled(1, 40))
    assert ledger.waiting() == []


def test_cancels_of_orders_that_nothing_is_known_of_are_settled_by_themselves() -> None:
    ledger = Ledger()
    ledger.replace(7, 8)
    ledger.cancel(8)
    ledger.cancel(6)
    ledger.resume()
    ledger.enter(10)
    ledger.replace(7, 11)
    ledger.told(accepted(10))
    assert ledger.waiting() == [8, (8, 0), (6, 0), 11]
    ledger.told(replaced(7, 11))
    assert ledger.waiting() == [8, (6, 0)]


def test_a_cancel_waits_until_no_more_is_open_than_should_remain() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(accepted(1, 100))
    ledger.cancel(1, 40)
    ledger.told(executed(1, 30))
    assert ledger.waiting() == [(1, 40)]
    ledger.told(canceled(1, 30))
    assert ledger.waiting() == []


def test_an_order_that_is_filled_needs_no_cancel() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(accepted(1, 100))
    ledger.cancel(1)
    ledger.told(executed(1, 60))
    assert ledger.waiting() == [(1, 0)]
    ledger.told(executed(1, 40))
    assert ledger.waiting() == []


def test_an_order_that_is_replaced_is_not_canceled_by_its_old_number() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(accepted(1, 100))
    ledger.replace(1, 2)
    ledger.cancel(1)
    ledger.told(replaced(1, 2, 80))
    assert ledger.waiting() == []
    ledger.cancel(2)
    ledger.told(executed(2, 80))
    assert ledger.waiting() == []


def test_two_cancels_of_an_order_are_sent_again_as_the_smaller() -> None:
    for first, second in ((50, 20), (20, 50)):
        ledger = Ledger()
        ledger.enter(1)
        ledger.told(accepted(1, 100))
        ledger.cancel(1, first)
        ledger.enter(2)
        ledger.cancel(1, second)
        assert ledger.waiting() == [2, (1, 20)]
        ledger.told(canceled(1, 100 - max(first, second)))
        assert ledger.waiting() == [2, (1, 20)]


def test_a_cancel_sent_right_behind_its_order_is_settled_by_it() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.cancel(1)
    ledger.told(accepted(1))
    assert ledger.waiting() == [(1, 0)]
    ledger.told(canceled(1, 100))
    assert ledger.waiting() == []


def test_a_rejected_order_needs_no_cancel() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.cancel(1)
    ledger.told(rejected(1, RejectReason.UNKNOWN_SYMBOL))
    assert ledger.waiting() == []


def test_a_rejected_cancel_is_settled() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.cancel(7)
    ledger.told(rejected(7, RejectReason.ORDER_NOT_LIVE))
    assert ledger.waiting() == [1]


def test_the_rejection_of_a_cancel_says_nothing_of_what_was_entered_before_a_later_one() -> None:
    ledger = Ledger()
    ledger.cancel(7)
    ledger.enter(8)
    ledger.cancel(7)
    ledger.told(rejected(7, RejectReason.ORDER_NOT_LIVE))
    assert ledger.waiting() == [8]
    ledger.told(accepted(8), rejected(7, RejectReason.ORDER_NOT_LIVE))
    assert ledger.waiting() == []


def test_a_cancel_of_an_order_of_another_day_waits_for_an_event_of_that() -> None:
    ledger = Ledger()
    for number, remaining in ((4, 0), (5, 10), (6, 0), (7, 10)):
        ledger.cancel(number, remaining)
    ledger.cancel(6, 10)
    assert ledger.unanswered.cancel_count == 0  # nobody need wait for them
    ledger.enter(8)
    ledger.told(accepted(8), executed(4, 10))
    assert ledger.waiting() == [(4, 0), (5, 10), (7, 10), (6, 0)]
    # Of 5, and of 6 which was canceled twice, more may be open than should be; of 4 nothing is.
    ledger.told(canceled(4, 10), canceled(5, 10), canceled(6, 10))
    assert ledger.waiting() == [(5, 10), (7, 10), (6, 0)]
    expired = canceled(5, 10)._replace(reason=CancelReason.EXPIRED)
    ledger.told(expired, rejected(7, RejectReason.ORDER_NOT_LIVE))
    assert ledger.waiting() == [(6, 0)]


def test_of_cancels_that_nothing_may_ever_answer_only_so_many_are_kept() -> None:
    ledger = Ledger()
    for number in range(1, STRAY_CANCELS + 3):
        ledger.cancel(number)
    waiting = ledger.waiting()
    assert (len(waiting), waiting[0]) == (STRAY_CANCELS, (3, 0))


def test_an_order_that_is_known_to_have_ended_needs_no_cancel() -> None:
    ledger = Ledger()
    ledger.enter(2, 3)
    ledger.told(accepted(2), executed(2, 100), rejected(3, RejectReason.HALTED))
    ledger.cancel(2)
    ledger.cancel(3)
    assert ledger.waiting() == []
    ledger.cancel(1)
    assert ledger.waiting() == [(1, 0)]


def test_where_events_were_missed_orders_may_live_that_seem_to_have_ended() -> None:
    ledger = Ledger()
    ledger.enter(1, 2, 3)
    ledger.told(accepted(1))
    ledger.unanswered.lose_sight()
    ledger.unanswered.forget(3)
    for number in (1, 2, 3):
        ledger.cancel(number)
    assert ledger.waiting() == [3, (1, 0), (2, 0), (3, 0)]
    assert ledger.unanswered.cancel_count == 1


def test_a_refused_order_needs_no_cancel() -> None:
    ledger = Ledger()
    ledger.enter(1, 2)
    ledger.cancel(1)
    assert ledger.unanswered.may_be_either(1)
    assert not ledger.unanswered.may_be_either(2)
    assert ledger.unanswered.refuse(1)
    assert ledger.waiting() == [2]
    assert not ledger.unanswered.refuse(1)


def test_a_refused_cancel_leaves_its_order_known() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(accepted(1))
    ledger.cancel(1)
    assert ledger.unanswered.refuse(1)
    assert ledger.waiting() == []
    ledger.cancel(1, 10)
    assert ledger.waiting() == [(1, 10)]


@settings(deadline=None)
@given(st.data())
def test_what_is_told_in_full_leaves_nothing_waiting(data: st.DataObject) -> None:
    """Random orders and cancels, sent again, with some refusals lost."""
    ledger = Ledger()
    entered = list(range(1, data.draw(st.integers(1, 8)) + 1))
    symbols = {number: data.draw(st.sampled_from((AAPL, MSFT))) for number in entered}
    for number in entered:
        ledger.enter(number, symbol=symbols[number])
        if data.draw(st.booleans()):
            ledger.cancel(data.draw(st.integers(1, number)))
    refused = data.draw(st.sets(st.sampled_from(entered)))
    ledger.resume()
    for number in sorted(set(entered) - refused):
        ledger.told(accepted(number, symbol=symbols[number]), executed(number, 100))
    for number in refused:
        assert ledger.unanswered.refuse(number)
    assert ledger.waiting() == []
