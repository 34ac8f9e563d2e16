"""The commands of a client that have no answer yet, kept to be sent again after a resume.

A command that brings a user_ref_num (enter, replace, mass cancel) is answered by the event that
names it. What was entered before it is settled then too, because the list keeps the order: a cancel
that had nothing to do, which no event tells of, and a command whose refusal by the gateway was lost
with the connection.
"""

from collections import OrderedDict

from gateway.events import Accepted, Canceled, Event, Executed, MassCanceled, Rejected, Replaced
from gateway.ouch import CancelOrder
from gateway.ouch_codec import encode


class Unanswered:
    """Commands in the order in which they were entered, in OUCH's bytes.

    Repeated cancels of an order are kept as one: the last to be sent, for the least to remain.
    """

    def __init__(self) -> None:
        # By user_ref_num; a cancel's is negative. It is taken from at the front all the time.
        self._payloads: OrderedDict[int, bytes] = OrderedDict()
        self._remaining: dict[int, int] = {}  # of each cancel, by the order's user_ref_num
        self._open: dict[int, int] = {}  # open quantity of each live order that we know of

    @property
    def numbered_count(self) -> int:
        """How many commands that brought a user_ref_num of their own are unanswered."""
        return len(self._payloads) - len(self._remaining)

    @property
    def cancel_count(self) -> int:
        """How many orders have an unanswered cancel."""
        return len(self._remaining)

    def add(self, user_ref_num: int, payload: bytes) -> None:
        """Keeps a command with its own number, which is above all earlier ones."""
        self._payloads[user_ref_num] = payload

    def add_cancel(self, cancel: CancelOrder) -> None:
        """Keeps a cancel of an order."""
        number, remaining = cancel
        remaining = min(remaining, self._remaining.get(number, remaining))
        self._payloads.pop(-number, None)
        self._payloads[-number] = encode(CancelOrder(number, remaining))
        self._remaining[number] = remaining

    def settle(self, event: Event) -> list[int]:
        """Drops what a numbered event answers.

        Returns the user_ref_nums of commands that will never be answered: something entered after
        them has been, so that the gateway must have refused them.
        """
        match event:
            case Accepted(user_ref_num=number, quantity=quantity):
                lost = self._answer(number)
                self._set_open(number, quantity)
                return lost
            case Replaced(original_user_ref_num=original, user_ref_num=number, quantity=quantity):
                lost = self._answer(number)
                self._set_open(original, 0)
                self._set_open(number, quantity)
                return lost
            case (
                Executed(user_ref_num=number, quantity=quantity)
                | Canceled(user_ref_num=number, quantity=quantity)
            ):
                if number in self._open:
                    self._set_open(number, self._open[number] - quantity)
            case MassCanceled(user_ref_num=number):
                return self._answer(number)
            case Rejected(user_ref_num=number):
                # A cancel's may answer an earlier one than the one that is kept: then it says
                # nothing of what was entered in between.
                lost = self._answer(number)
                self._set_open(number, 0)
                return lost
        return []

    def refuse(self, user_ref_num: int) -> None:
        """Drops what the gateway itself refused.

        A cancel comes before the order of the same number: either both were refused, and two
        refusals come, or the order's fate will be told by a numbered event.
        """
        if user_ref_num in self._remaining:
            self._drop(-user_ref_num)
        else:
            self._payloads.pop(user_ref_num, None)

    def to_resend(self, next_user_ref_num: int) -> list[bytes]:
        """What the exchange does not have: cancels, and commands from `next_user_ref_num` on.

        The answers to the others are in the stream. A cancel may be sent twice without harm,
        since it says what should remain.
        """
        return [
            payload
            for key, payload in self._payloads.items()
            if key < 0 or key >= next_user_ref_num
        ]

    def forget(self, next_user_ref_num: int) -> None:
        """Drops the commands below this number, whose answers can't be had any more.

        They are in the list; what became of them nobody tells.
        """
        for number in [key for key in self._payloads if 0 < key < next_user_ref_num]:
            self._drop(number)

    def _answer(self, user_ref_num: int) -> list[int]:
        lost: list[int] = []
        if user_ref_num not in self._payloads:
            return lost
        while (earlier := next(iter(self._payloads))) != user_ref_num:
            self._drop(earlier)
            if earlier > 0:
                lost.append(earlier)
        self._drop(user_ref_num)
        return lost

    def _drop(self, key: int) -> None:
        del self._payloads[key]
        if key < 0:
            del self._remaining[-key]

    def _set_open(self, user_ref_num: int, quantity: int) -> None:
        if quantity > 0:
            self._open[user_ref_num] = quantity
        else:
            self._open.pop(user_ref_num, None)
        if quantity <= self._remaining.get(user_ref_num, -1):
            self._drop(-user_ref_num)
