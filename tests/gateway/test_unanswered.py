"""The commands that have no answer yet: what settles them, and what is sent again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rejects import RejectReason
from gateway import ouch
from gateway.events import to_event
from gateway.ouch_codec import decode_inbound
from gateway.unanswered import Unanswered
from tests.gateway.exchange_side import (
    accepted,
    canceled,
    executed,
    mass_canceled,
    rejected,
    replaced,
)


class Ledger:
    """An `Unanswered` in short words; commands are known by what would be sent again."""

    def __init__(self) -> None:
        self.unanswered = Unanswered()

    def enter(self, *user_ref_nums: int) -> None:
        for user_ref_num in user_ref_nums:
            self.unanswered.add(user_ref_num, str(user_ref_num).encode())

    def cancel(self, user_ref_num: int, remaining: int = 0) -> None:
        self.unanswered.add_cancel(ouch.CancelOrder(user_ref_num, remaining))

    def told(self, *messages: ouch.Outbound) -> list[int]:
        """The numbers that are found lost on the way."""
        return [
            lost for message in messages for lost in self.unanswered.settle(to_event(message, 1))
        ]

    def waiting(self, next_user_ref_num: int = 1) -> list[int | tuple[int, int]]:
        """What would be sent again: numbers of commands, and what should remain of orders."""
        waiting: list[int | tuple[int, int]] = []
        for payload in self.unanswered.to_resend(next_user_ref_num):
            if payload.isdigit():
                waiting.append(int(payload))
            else:
                cancel = decode_inbound(payload)
                assert isinstance(cancel, ouch.CancelOrder)
                waiting.append((cancel.user_ref_num, cancel.quantity))
        return waiting


def test_each_kind_of_answer_settles_its_command() -> None:
    ledger = Ledger()
    ledger.enter(1, 2, 3, 4)
    assert ledger.told(accepted(1)) == []
    assert ledger.waiting() == [2, 3, 4]
    assert ledger.told(replaced(1, 2)) == []
    assert ledger.waiting() == [3, 4]
    assert ledger.told(rejected(3, RejectReason.HALTED)) == []
    assert ledger.waiting() == [4]
    assert ledger.told(mass_canceled(4)) == []
    assert ledger.waiting() == []


def test_an_event_of_an_order_answers_no_later_command() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.told(accepted(1))
    ledger.enter(2)
    assert ledger.told(executed(1, 30), canceled(1, 70)) == []
    assert ledger.waiting() == [2]


def test_what_was_entered_before_an_answered_command_is_settled_with_it() -> None:
    ledger = Ledger()
    ledger.enter(1, 2)
    ledger.cancel(9, 10)
    ledger.enter(3, 4)
    assert ledger.told(accepted(3)) == [1, 2]
    assert ledger.waiting() == [4]


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
    ledger.enter(2)
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
    assert ledger.told(rejected(1, RejectReason.UNKNOWN_SYMBOL)) == []
    assert ledger.waiting() == []


def test_a_rejected_cancel_is_settled() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.cancel(7)
    assert ledger.told(rejected(7, RejectReason.ORDER_NOT_LIVE)) == []
    assert ledger.waiting() == [1]


def test_the_rejection_of_a_cancel_says_nothing_of_what_was_entered_before_a_later_one() -> None:
    ledger = Ledger()
    ledger.cancel(7)
    ledger.enter(8)
    ledger.cancel(7)
    assert ledger.told(rejected(7, RejectReason.ORDER_NOT_LIVE)) == []
    assert ledger.waiting() == [8]
    assert ledger.told(accepted(8), rejected(7, RejectReason.ORDER_NOT_LIVE)) == []
    assert ledger.waiting() == []


def test_a_cancel_of_an_order_of_another_day_waits_for_the_next_answer() -> None:
    ledger = Ledger()
    ledger.cancel(7)
    ledger.told(canceled(7, 10))
    assert ledger.waiting() == [(7, 0)]
    ledger.enter(8)
    ledger.told(accepted(8))
    assert ledger.waiting() == []


def test_a_refused_cancel_leaves_its_order() -> None:
    ledger = Ledger()
    ledger.enter(1)
    ledger.cancel(1)
    ledger.unanswered.refuse(1)
    assert ledger.waiting() == [1]
    ledger.unanswered.refuse(1)
    assert ledger.waiting() == []
    ledger.unanswered.refuse(1)
    assert ledger.waiting() == []


def test_commands_that_the_exchange_has_are_not_sent_again() -> None:
    ledger = Ledger()
    ledger.enter(1, 2)
    ledger.cancel(2)
    ledger.enter(3)
    assert ledger.waiting(next_user_ref_num=3) == [(2, 0), 3]
    assert ledger.told(accepted(1), accepted(2)) == []
    assert ledger.waiting() == [(2, 0), 3]


@settings(deadline=None)
@given(st.data())
def test_what_is_told_in_full_leaves_nothing_waiting(data: st.DataObject) -> None:
    """Random orders and cancels, answered in the order of the list, with some refusals lost."""
    ledger = Ledger()
    entered = list(range(1, data.draw(st.integers(1, 8)) + 1))
    for number in entered:
        ledger.enter(number)
        if data.draw(st.booleans()):
            ledger.cancel(data.draw(st.integers(1, number)))
    refused = data.draw(st.sets(st.sampled_from(entered))) - {entered[-1]}
    lost = []
    for number in entered:
        if number not in refused:
            lost += ledger.told(accepted(number), executed(number, 100))
    assert lost == sorted(refused)
    assert ledger.unanswered.numbered_count == 0
    leftover = [cancel for cancel in ledger.waiting() if isinstance(cancel, tuple)]
    assert len(leftover) == ledger.unanswered.cancel_count <= 1
    ledger.enter(99)
    ledger.told(accepted(99))
    assert ledger.waiting() == []
