"""The commands of a client that have no answer yet, kept to be sent again after a resume.

A command that brings a user_ref_num (enter, replace, mass cancel) is answered by the event that
names it, or by a gateway's refusal. All that have no answer are sent again after a resume: what is
in a list already is dropped there, its answer is in the stream, and what can't come into one any
more is refused.

A cancel that had nothing to do is told of by no event. It is settled with what was entered after it
in the same symbol, since a symbol has one list, which keeps the order. Another symbol's answers say
nothing: that may be in another shard. But where the order is known to have more open, the cancel
was in vain: it crossed with the order, or with its symbol's move to another shard. Then it is sent
again.
"""

from collections import OrderedDict
from collections.abc import Container
from typing import NamedTuple, TypeAlias

from feed.messages import CancelReason, unpad
from gateway import ouch
from gateway.events import Accepted, Canceled, Event, Executed, MassCanceled, Rejected, Replaced
from gateway.ouch_codec import encode

# Cancels that nothing but an event of their order can settle. They are sent again at each resume,
# and may never be answered: beyond so many the oldest goes, as it was sent long ago.
STRAY_CANCELS = 1000

NumberedCommand: TypeAlias = ouch.EnterOrder | ouch.ReplaceOrder | ouch.MassCancel
# What keeps its order: a symbol, all symbols (""), or an order whose symbol is not known.
_Chain: TypeAlias = str | int


class _Kept(NamedTuple):
    payload: bytes
    chain: _Chain
    place: int  # in the order in which commands were entered


class _Order(NamedTuple):
    symbol: str
    open_quantity: int


class _Cancel(NamedTuple):
    remaining: int
    was_another: bool  # there was another one of the order, to another quantity


class Unanswered:
    """Commands in the order in which they were entered, in OUCH's bytes.

    Repeated cancels of an order are kept as one: the last to be sent, for the least to remain.
    """

    def __init__(self) -> None:
        # By user_ref_num; a cancel's is negative. It is taken from at the front all the time.
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._cancels: dict[int, _Cancel] = {}  # by the order's user_ref_num
        self._cancels_in: dict[_Chain, dict[int, None]] = {}  # those of each chain, as entered
        self._strays: dict[int, None] = {}  # cancels of orders that nothing is known of
        self._orders: dict[int, _Order] = {}  # that live, as far as they are known
        self._in_vain: list[bytes] = []  # cancels to be sent again
        # What is known to be gone of orders before they are known to be accepted: the stream may
        # come to what befalls an order in another shard before it has all of where it came from.
        self._early: dict[int, int] = {}
        self._places = 0
        self._known_from: int | None = None  # all orders from this number on are known

    @property
    def numbered_count(self) -> int:
        """How many commands that brought a user_ref_num of their own are unanswered."""
        return len(self._kept) - len(self._cancels)

    @property
    def cancel_count(self) -> int:
        """How many orders have an unanswered cancel; without those that nothing is known of."""
        return len(self._cancels) - len(self._strays)

    @property
    def numbers(self) -> set[int]:
        """The user_ref_nums that unanswered commands name."""
        return set(map(abs, self._kept))

    def add(self, command: NumberedCommand) -> None:
        """Keeps a command with its own number, which is above all earlier ones."""
        match command:
            case ouch.EnterOrder(symbol=field) | ouch.MassCancel(symbol=field):
                chain: _Chain = unpad(field)
            case ouch.ReplaceOrder(original_user_ref_num=original):
                chain = self._chain_of(original)
        number = command.user_ref_num
        if self._known_from is None:
            self._known_from = number
        self._kept[number] = self._next(encode(command), chain)

    def add_cancel(self, cancel: ouch.CancelOrder) -> None:
        """Keeps a cancel of an order, unless that has ended."""
        number, remaining = cancel
        chain = self._chain_of(number)
        is_stray = isinstance(chain, int) and chain == number
        if is_stray and self._known_from is not None and number >= self._known_from:
            return
        before = self._cancels.get(number)
        was_another = False
        if before is not None:
            was_another = before.was_another or before.remaining != remaining
            remaining = min(remaining, before.remaining)
            self._drop(-number)
        self._kept[-number] = self._next(encode(ouch.CancelOrder(number, remaining)), chain)
        self._cancels[number] = _Cancel(remaining, was_another)
        self._cancels_in.setdefault(chain, {})[number] = None
        if is_stray:
            self._strays[number] = None
            if len(self._strays) > STRAY_CANCELS:
                self._drop(-next(iter(self._strays)))

    def settle(self, event: Event) -> None:
        """Drops what a numbered event answers."""
        match event:
            case Accepted(user_ref_num=number, symbol=symbol, quantity=quantity):
                self._answer(number)
                self._set_open(number, symbol, quantity)
            case Replaced(user_ref_num=number, symbol=symbol, quantity=quantity):
                self._answer(number)
                self._end(event.original_user_ref_num)
                self._set_open(number, symbol, quantity)
            case (
                Executed(user_ref_num=number, quantity=quantity)
                | Canceled(user_ref_num=number, quantity=quantity)
            ):
                order = self._orders.get(number)
                if order is not None:
                    self._set_open(number, order.symbol, order.open_quantity - quantity)
                elif number in self._kept:
                    self._early[number] = self._early.get(number, 0) + quantity
                elif isinstance(event, Canceled) and self._is_its_end(event):
                    self._end(number)
            case MassCanceled(user_ref_num=number):
                self._answer(number)
            case Rejected(user_ref_num=number):
                # A cancel's may answer an earlier one than the one that is kept: then it says
                # nothing of what was entered in between.
                self._answer(number)
                self._end(number)

    def take_in_vain(self) -> list[bytes]:
        """The cancels that turned out to be in vain, to be sent again; once."""
        taken, self._in_vain = self._in_vain, []
        return taken

    def may_be_either(self, user_ref_num: int) -> bool:
        """Whether both a command of this number and a cancel of its order wait for an answer."""
        return user_ref_num in self._kept and user_ref_num in self._cancels

    def refuse(self, user_ref_num: int) -> bool:
        """Drops what the gateway itself refused; returns whether there was such a thing.

        Without its order a cancel has nothing to do.
        """
        was_kept = user_ref_num in self._kept or user_ref_num in self._cancels
        if user_ref_num in self._kept:
            self._drop(user_ref_num)
        if user_ref_num in self._cancels:
            self._drop(-user_ref_num)
        return was_kept

    def resend(self) -> list[bytes]:
        """All that has no answer, in its order, to be sent again on a new connection.

        What a list has is dropped there. A cancel may be sent twice without harm, since it says
        what should remain.
        """
        self._in_vain.clear()  # they are among these
        return [kept.payload for kept in self._kept.values()]

    def naming(self, user_ref_nums: Container[int]) -> list[bytes]:
        """What of it names one of these, in its order."""
        return [kept.payload for key, kept in self._kept.items() if abs(key) in user_ref_nums]

    def lose_sight(self) -> None:
        """Events were missed: what became of the orders is not known any more."""
        self._orders.clear()
        self._known_from = None

    def forget(self, next_user_ref_num: int) -> None:
        """Drops the commands below this number, whose answers can't be had any more.

        Where they are in a list, nobody tells what became of them.
        """
        for number in [key for key in self._kept if 0 < key < next_user_ref_num]:
            self._drop(number)
        self._known_from = next_user_ref_num

    def check(self) -> None:
        """Raises AssertionError when what is known of cancels does not agree."""
        cancels = {-key for key in self._kept if key < 0}
        assert cancels == self._cancels.keys()
        in_chains = [(chain, number) for chain, of in self._cancels_in.items() for number in of]
        assert sorted(number for _, number in in_chains) == sorted(cancels)
        assert all(self._kept[-number].chain == chain for chain, number in in_chains)
        assert self._strays.keys() <= cancels
        assert len(self._strays) <= STRAY_CANCELS
        places = [kept.place for kept in self._kept.values()]
        assert places == sorted(set(places))
        assert all(order.open_quantity > 0 for order in self._orders.values())

    def _next(self, payload: bytes, chain: _Chain) -> _Kept:
        self._places += 1
        return _Kept(payload, chain, self._places)

    def _chain_of(self, user_ref_num: int) -> _Chain:
        """The chain of commands that name an order."""
        order = self._orders.get(user_ref_num)
        if order is not None:
            return order.symbol
        entered = self._kept.get(user_ref_num)
        return user_ref_num if entered is None else entered.chain

    def _is_its_end(self, event: Canceled) -> bool:
        """Whether this is the end of an order whose open quantity is not known."""
        if event.reason != CancelReason.USER:
            return True
        cancel = self._cancels.get(event.user_ref_num)
        return cancel is not None and cancel.remaining == 0 and not cancel.was_another

    def _answer(self, user_ref_num: int) -> None:
        """Drops a command that is answered, and the cancels that are settled with it."""
        answered = self._kept.pop(user_ref_num, None)
        if answered is None:
            return
        for number in list(self._cancels_in.get(answered.chain, ())):
            if self._kept[-number].place > answered.place:
                break
            order, remaining = self._orders.get(number), self._cancels[number].remaining
            if order is None or order.open_quantity <= remaining:
                self._drop(-number)
            else:
                cancel = ouch.CancelOrder(number, remaining)
                self.add_cancel(cancel)
                self._in_vain.append(encode(cancel))

    def _drop(self, key: int) -> None:
        kept = self._kept.pop(key)
        if key < 0:
            del self._cancels[-key]
            self._strays.pop(-key, None)
            in_chain = self._cancels_in[kept.chain]
            del in_chain[-key]
            if not in_chain:
                del self._cancels_in[kept.chain]

    def _set_open(self, user_ref_num: int, symbol: str, quantity: int) -> None:
        quantity -= self._early.pop(user_ref_num, 0)
        if quantity <= 0:
            self._end(user_ref_num)
            return
        self._orders[user_ref_num] = _Order(symbol, quantity)
        cancel = self._cancels.get(user_ref_num)
        if cancel is not None and quantity <= cancel.remaining:
            self._drop(-user_ref_num)

    def _end(self, user_ref_num: int) -> None:
        """An order is over, or never was."""
        self._early.pop(user_ref_num, None)
        self._orders.pop(user_ref_num, None)
        if user_ref_num in self._cancels:
            self._drop(-user_ref_num)
