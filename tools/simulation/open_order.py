"""An order that is open by the list, with what has become of its quantity."""

from dataclasses import dataclass

from feed.messages import OrderType, Side, TimeInForce

RESTING = (TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL)
AS_TRIGGERED = {OrderType.STOP: OrderType.MARKET, OrderType.STOP_LIMIT: OrderType.LIMIT}


@dataclass(slots=True)
class OpenOrder:
    """An order, with what has become of the quantity that was asked for."""

    number: int
    client: int
    user_ref_num: int
    symbol: bytes
    side: Side
    order_type: OrderType  # as it is now: a stop that was triggered is none any more
    time_in_force: int
    price: int
    stop_price: int
    capacity: int
    quantity: int
    executed: int = 0
    canceled: int = 0

    @property
    def open(self) -> int:
        """What may still trade."""
        return self.quantity - self.executed - self.canceled

    @property
    def may_rest(self) -> bool:
        """Whether it stays when it has found nobody to trade with."""
        if self.order_type in AS_TRIGGERED:
            return True
        return self.order_type == OrderType.LIMIT and self.time_in_force in RESTING

    def take(self, *, executed: int = 0, canceled: int = 0) -> None:
        """So much has been executed or canceled; never more than was open."""
        assert executed + canceled > 0, f"nothing was taken off order {self.number}"
        self.executed += executed
        self.canceled += canceled
        assert self.open >= 0, f"more was taken off order {self.number} than was open"
