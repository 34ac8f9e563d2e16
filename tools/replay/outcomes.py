"""What became of each line: from what was sent, and from the clients' events. Sans-I/O.

A line that names an order is sent when everything that was sent for this order before is settled:
so what answers it can't be taken for an answer to anything else, and a replace is in force, or
rejected, before a cancel names the order.
"""

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

from feed.messages import ALL_SYMBOLS, CancelReason, TimeInForce, symbol_field
from gateway.events import (
    Accepted,
    Canceled,
    Event,
    Executed,
    MassCanceled,
    Rejected,
    Replaced,
)
from tools.replay.ledger import Entry, Ledger, Status
from tools.replay.order_lines import Cancel, Enter, MassCancel, OrderLine, Replace

_ENDINGS = {CancelReason.EXPIRED: Status.EXPIRED}


@dataclass(slots=True)
class _Sender:
    """One client's commands."""

    first_user_ref_num: int = 0
    ordinals: "array[int]" = field(
        default_factory=lambda: array("I")
    )  # by user_ref_num, from first
    cancels: dict[int, "_Cancel"] = field(default_factory=dict)  # unsettled, by the order's ordinal
    mass_cancel: int | None = None  # the ordinal of the one whose cancels are coming
    mark: int | None = None  # the user_ref_num of a mark that was not answered yet


@dataclass(frozen=True, slots=True)
class _Cancel:
    """A cancel that was sent."""

    ordinal: int
    remaining: int


class Terms(NamedTuple):
    """An order's terms; price and stop price are 0 where it has none."""

    quantity: int
    price: int
    stop_price: int
    time_in_force: TimeInForce


class Outcomes:
    """Writes the ledger as commands are sent and events come."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.unsettled = 0  # commands that wait for what becomes of them
        self._senders: dict[str, _Sender] = {}
        self._busy: set[int] = set()  # orders with an unsettled command, by the line that entered

    def is_busy(self, order: int) -> bool:
        """Whether something that was sent for this order is not settled yet."""
        return order in self._busy

    @property
    def unanswered_marks(self) -> int:
        """How many clients' last events have not come yet."""
        return sum(sender.mark is not None for sender in self._senders.values())

    def terms(self, order: int, wanted: Replace) -> tuple[int, Terms]:
        """What to replace an order with, and the user_ref_num by which it goes.

        What is not asked for stays as it is, also of an order that has ended.
        """
        standing = self.ledger.read(self.ledger.read(order).order)
        return standing.user_ref_num, Terms(
            wanted.quantity or standing.quantity - standing.canceled,
            wanted.price or standing.price,
            wanted.stop_price or 0,  # keeps it
            wanted.time_in_force or TimeInForce(standing.time_in_force),
        )

    # What is sent.

    def entered(self, line: OrderLine, user_ref_num: int, action: Enter) -> None:
        """An order was sent."""
        entry = Entry(
            Status.UNANSWERED,
            line=line.line,
            user_ref_num=user_ref_num,
            order=line.ordinal,
            quantity=action.quantity,
            price=action.price or 0,
            time_in_force=action.time_in_force,
            symbol=symbol_field(action.symbol),
        )
        self._sent(line, entry)

    def replaced(self, line: OrderLine, user_ref_num: int, order: int, terms: Terms) -> None:
        """Other terms were sent for an order."""
        entry = Entry(
            Status.UNANSWERED,
            line=line.line,
            user_ref_num=user_ref_num,
            order=order,
            quantity=terms.quantity,
            price=terms.price,
            time_in_force=terms.time_in_force,
            symbol=self.ledger.read(order).symbol,
        )
        self._sent(line, entry)

    def mass_canceled(self, line: OrderLine, user_ref_num: int, action: MassCancel) -> None:
        """A mass cancel was sent."""
        entry = Entry(
            Status.UNANSWERED,
            line=line.line,
            user_ref_num=user_ref_num,
            order=line.ordinal,
            symbol=symbol_field(action.symbol) if action.symbol else ALL_SYMBOLS,
        )
        self._sent(line, entry)

    def canceling(self, line: OrderLine, order: int, action: Cancel) -> int | None:
        """A cancel is about to be sent; the user_ref_num that it has to name.

        None when it is not to be sent: nothing is left to cancel, so nothing would answer.
        """
        current = self.ledger.read(order).order
        standing = self.ledger.read(current)
        is_needed = standing.open > action.remaining
        status = Status.UNANSWERED if is_needed else Status.WITHOUT_EFFECT
        self.ledger.write(
            line.ordinal, Entry(status, line=line.line, order=order, symbol=standing.symbol)
        )
        if not is_needed:
            return None
        self._senders[line.client].cancels[current] = _Cancel(line.ordinal, action.remaining)
        self._begin(order)
        return standing.user_ref_num

    def marked(self, client: str, user_ref_num: int) -> None:
        """A command was sent whose answer shows that all events before it have come."""
        self._sender(client).mark = user_ref_num

    # What comes back.

    def apply(self, client: str, event: Event) -> None:
        """Take a client's next event in; what is about no line is passed over."""
        sender = self._sender(client)
        number = event.user_ref_num
        if sender.mark == number and isinstance(event, MassCanceled | Rejected):
            sender.mark = None
            return
        if not isinstance(event, Canceled):
            sender.mass_cancel = None
        ordinal = _ordinal(sender, number)
        if ordinal is None:
            if isinstance(event, Canceled):
                self._count_mass_cancel(sender, event)
            return
        entry = self.ledger.read(ordinal)
        match event:
            case Accepted():
                opened = entry._replace(
                    status=Status.OPEN, order_number=event.order_number, open=event.quantity
                )
                self._settle(ordinal, opened)
            case Replaced():
                self._replace(sender, ordinal, entry, event)
            case Executed(quantity=quantity, price=price):
                executed = entry._replace(
                    executed=entry.executed + quantity, value=entry.value + quantity * price
                )
                self._reduce(sender, ordinal, executed, quantity, Status.EXECUTED)
            case Canceled():
                self._cancel(sender, ordinal, entry, event)
            case MassCanceled():
                self._settle(ordinal, entry._replace(status=Status.DONE))
                sender.mass_cancel = ordinal
            case Rejected():
                self._reject(sender, ordinal, entry, event)

    def _replace(self, sender: _Sender, ordinal: int, entry: Entry, event: Replaced) -> None:
        original = _ordinal(sender, event.original_user_ref_num)
        assert original is not None, "an order was replaced that no line entered"
        opened = entry._replace(
            status=Status.OPEN, order_number=event.order_number, open=event.quantity
        )
        self._settle(ordinal, opened)
        old = self.ledger.read(original)
        ended = old._replace(status=Status.REPLACED, open=0, replaced_by=entry.line)
        self.ledger.write(original, ended)
        root = self.ledger.read(entry.order)
        self.ledger.write(entry.order, root._replace(order=ordinal))

    def _cancel(self, sender: _Sender, ordinal: int, entry: Entry, event: Canceled) -> None:
        canceled = entry._replace(
            canceled=entry.canceled + event.quantity, reason=int(event.reason)
        )
        if not self._count_mass_cancel(sender, event, entry.symbol):
            cancel = sender.cancels.get(ordinal)
            if cancel is not None and event.reason is CancelReason.USER:
                self._settle_cancel(sender, ordinal, Status.DONE, canceled=event.quantity)
        ending = _ENDINGS.get(event.reason, Status.CANCELED)
        self._reduce(sender, ordinal, canceled, event.quantity, ending)

    def _count_mass_cancel(
        self, sender: _Sender, event: Canceled, symbol: bytes | None = None
    ) -> bool:
        """Count it to the mass cancel whose group this is, if it is one's.

        Whatever that cancels follows on it at once. An order in its symbol that is canceled later
        has come later, and its own event is in between.
        """
        if sender.mass_cancel is None or event.reason is not CancelReason.USER:
            return False
        entry = self.ledger.read(sender.mass_cancel)
        if symbol is not None and entry.symbol not in (ALL_SYMBOLS, symbol):
            return False
        self.ledger.write(
            sender.mass_cancel,
            entry._replace(canceled=entry.canceled + event.quantity, reason=entry.reason + 1),
        )
        return True

    def _reduce(
        self, sender: _Sender, ordinal: int, entry: Entry, quantity: int, ending: Status
    ) -> None:
        """Take a quantity off what is open, and settle a cancel that has nothing left to do."""
        left = entry.open - quantity
        status = entry.status if left else ending
        self.ledger.write(ordinal, entry._replace(open=left, status=status))
        cancel = sender.cancels.get(ordinal)
        if cancel is not None and left <= cancel.remaining:
            self._settle_cancel(sender, ordinal, Status.WITHOUT_EFFECT)

    def _reject(self, sender: _Sender, ordinal: int, entry: Entry, event: Rejected) -> None:
        if entry.status is Status.UNANSWERED:
            rejected = entry._replace(status=Status.REJECTED, reason=int(event.reason))
            self._settle(ordinal, rejected)
        elif ordinal in sender.cancels:
            self._settle_cancel(sender, ordinal, Status.REJECTED, reason=int(event.reason))

    def _settle(self, ordinal: int, entry: Entry) -> None:
        self.ledger.write(ordinal, entry)
        self._busy.discard(entry.order)
        self.unsettled -= 1

    def _settle_cancel(
        self, sender: _Sender, named: int, status: Status, *, canceled: int = 0, reason: int = 0
    ) -> None:
        ordinal = sender.cancels.pop(named).ordinal
        entry = self.ledger.read(ordinal)
        self._settle(ordinal, entry._replace(status=status, canceled=canceled, reason=reason))

    def _sent(self, line: OrderLine, entry: Entry) -> None:
        """Keep a command that brings a user_ref_num: one more than the last of its client."""
        sender = self._sender(line.client)
        if not sender.ordinals:
            sender.first_user_ref_num = entry.user_ref_num
        assert entry.user_ref_num == sender.first_user_ref_num + len(sender.ordinals)
        sender.ordinals.append(line.ordinal)
        self.ledger.write(line.ordinal, entry)
        self._begin(entry.order)

    def _begin(self, order: int) -> None:
        self._busy.add(order)
        self.unsettled += 1

    def _sender(self, client: str) -> _Sender:
        return self._senders.setdefault(client, _Sender())


def _ordinal(sender: _Sender, user_ref_num: int) -> int | None:
    """The line that a user_ref_num was given to."""
    index = user_ref_num - sender.first_user_ref_num
    return sender.ordinals[index] if 0 <= index < len(sender.ordinals) else None
