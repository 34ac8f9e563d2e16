"""The orders that a drill's clients send where ordinary flow would not do: groups of many packets.

A death between two packets of one group needs groups that span packets. So the clients rest small
orders at one price, and every now and then one order takes them all.
"""

from collections.abc import Sequence
from typing import Protocol

from engine.settings import InstrumentSettings
from feed.messages import OrderType, Side, TimeInForce
from tools.load.flow import Enter, LoadCommand

SWEPT_ORDERS = 24  # trades in one group: about eight packets of the smallest size
# Of a packet, for the drills that need groups of many packets: the smallest that is allowed.
SMALL_PAYLOAD_BYTES = 256
_PRICE_TICKS = 10_000
_LOTS = 1


class Flow(Protocol):
    """Whoever says what a client sends next."""

    def next_command(self) -> LoadCommand: ...


class SweepFlow:
    """One client's part: rests `SWEPT_ORDERS` bids, then sweeps as many of another client's.

    Clients stand in a ring: each has an instrument of its own to rest in, and sweeps that of the
    one before it, so that nobody trades with itself.
    """

    def __init__(self, place: int, clients: int, instruments: Sequence[InstrumentSettings]) -> None:
        if clients < 2 or len(instruments) < clients:
            raise ValueError("a ring needs two clients, and an instrument for each")
        self._own = instruments[place]
        self._swept = instruments[(place - 1) % clients]
        self._keys = 0

    def next_command(self) -> LoadCommand:
        """The next order: a bid that rests, or the one that takes what there is."""
        key = self._keys
        self._keys += 1
        if key % (SWEPT_ORDERS + 1) < SWEPT_ORDERS:
            return self._order(key, self._own, Side.BUY, _LOTS, TimeInForce.DAY)
        lots = _LOTS * SWEPT_ORDERS
        return self._order(key, self._swept, Side.SELL, lots, TimeInForce.IMMEDIATE_OR_CANCEL)

    @staticmethod
    def _order(
        key: int,
        instrument: InstrumentSettings,
        side: Side,
        lots: int,
        time_in_force: TimeInForce,
    ) -> Enter:
        return Enter(
            key,
            instrument.symbol,
            side,
            lots * instrument.lot_size,
            OrderType.LIMIT,
            _PRICE_TICKS * instrument.tick_size,
            None,
            time_in_force,
            post_only=False,
        )
