"""What has left one shard and has not come to another: instruments on the move, and their orders.

Every order that leaves arrives once, with the quantity that it left with.
"""

from dataclasses import dataclass, field, replace

from feed.messages import AdoptInstrument, AdoptOrder, InstrumentState, OrderState, unpad
from tools.simulation.open_order import OpenOrder


@dataclass(slots=True)
class _Departure:
    """One move of an instrument; its orders by the numbers of the frames that told of them."""

    instrument: InstrumentState
    orders: dict[int, OpenOrder] = field(default_factory=dict)
    has_arrived: bool = False
    last_source: int = 0  # of the orders that have arrived


class Transit:
    """All moves of instruments between the shards of an exchange."""

    def __init__(self) -> None:
        self._departures: dict[tuple[bytes, int], _Departure] = {}  # by symbol and move
        self._under_way = 0  # orders
        self.moved: set[bytes] = set()  # the symbols that have left a shard since it was cleared

    @property
    def is_empty(self) -> bool:
        """Whether no order is between two shards."""
        return not self._under_way

    @property
    def has_moves(self) -> bool:
        """Whether anything has ever left a shard."""
        return bool(self._departures)

    def leave(self, instrument: InstrumentState) -> None:
        """An instrument leaves its shard."""
        key = instrument.symbol, instrument.moves
        assert key not in self._departures, f"{instrument} leaves twice"
        self._departures[key] = _Departure(instrument)
        self.moved.add(instrument.symbol)

    def leave_with(
        self, instrument: InstrumentState, sequence: int, state: OrderState, order: OpenOrder
    ) -> None:
        """One of its orders leaves with it; this frame tells of it."""
        left = (
            state.client,
            state.user_ref_num,
            state.side,
            state.order_type,
            state.quantity,
            state.leaves,
            state.executed,
            state.price,
            state.stop_price,
        )
        assert left == _terms(order), (
            f"order {order.number} has {_terms(order)}, and left as {left}"
        )
        departure = self._departures[instrument.symbol, instrument.moves]
        departure.orders[sequence] = order
        self._under_way += 1

    def arrive(self, command: AdoptInstrument) -> None:
        """An instrument comes to a shard."""
        departure = self._departures.get((command.symbol, command.moves))
        assert departure is not None, f"{command} never left anywhere"
        assert not departure.has_arrived, f"{command} comes a second time"
        state = departure.instrument
        left = state.tick_size, state.lot_size, state.short_sale, state.last_price
        came = command.tick_size, command.lot_size, command.short_sale, command.last_price
        assert came == left, f"{unpad(command.symbol)} left with {left}, and came with {came}"
        departure.has_arrived = True

    def adopt(self, number: int, command: AdoptOrder) -> OpenOrder:
        """An order comes to a shard, where it has this number."""
        departure = self._departures.get((command.symbol, command.moves))
        assert departure is not None, f"frame {number} adopts an order that never left: {command}"
        order = departure.orders.pop(command.source_sequence, None)
        assert order is not None, f"frame {number} adopts an order again, or another one: {command}"
        assert command.source_sequence > departure.last_source, f"frame {number} comes too late"
        departure.last_source = command.source_sequence
        came = (
            command.client,
            command.user_ref_num,
            command.side,
            command.order_type,
            command.quantity,
            command.leaves,
            command.executed,
            command.price,
            command.stop_price,
        )
        assert came == _terms(order), (
            f"order {order.number} left as {_terms(order)}, came as {came}"
        )
        self._under_way -= 1
        return replace(order, number=number)


def _terms(order: OpenOrder) -> tuple[int, ...]:
    """What must be the same at both ends of a move."""
    return (
        order.client,
        order.user_ref_num,
        order.side,
        order.order_type,
        order.quantity,
        order.open,
        order.executed,
        order.price,
        order.stop_price,
    )
