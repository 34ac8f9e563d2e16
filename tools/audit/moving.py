"""The part of an auditor's own books that is about instruments which leave and arrive.

Sans-I/O. What can be said of one list is said here: an instrument leaves as it stands, with all of
its orders and in their priority; one that arrives was not here, and each order that comes with it
can stand where it comes to stand. Whether the same left there and arrived here is asked in
`tools.audit.between`.
"""

from collections.abc import Callable
from typing import TypeAlias

from feed.codec import Frame
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    InstrumentState,
    MoveOut,
    OrderState,
    TradingState,
    unpad,
)
from tools.audit.crossings import Arrival, Arrived, Crossings, Departure
from tools.audit.findings import Findings, Kind
from tools.audit.records import Instrument
from tools.audit.register import Register
from tools.audit.rules import Fault, arrive_faults, instrument_faults, leave_faults
from tools.audit.totals import Totals

Complain: TypeAlias = Callable[[Kind, Frame, Fault], None]


class Moving:
    """What leaves and what arrives."""

    def __init__(
        self,
        register: Register,
        totals: Totals,
        crossings: Crossings,
        findings: Findings,
        complain: Complain,
    ) -> None:
        self._register = register
        self._totals = totals
        self._crossings = crossings
        self._findings = findings
        self._complain = complain
        self._arrivals: dict[bytes, Arrival] = {}  # those that are under way

    def begin(self) -> None:
        """Go on with the arrivals that were under way in a snapshot."""
        for each in self._register.instruments.values():
            if each.state == TradingState.ARRIVING:
                terms = AdoptInstrument(
                    each.symbol,
                    each.tick_size,
                    each.lot_size,
                    each.short_sale,
                    each.last_price,
                    each.moves,
                )
                self._begin_arrival(Arrival(terms, 0, each.adopted_sequence))

    # An instrument that leaves.

    def leave(self, frame: Frame, command: MoveOut, instrument: Instrument) -> None:
        """An instrument is told to go."""
        if instrument.state != TradingState.HALTED:
            state = TradingState(instrument.state).name
            self._fault(frame, f"{unpad(command.symbol)} is {state}, and moves", "HALTED")
        self._crossings.departures.append(Departure(command.symbol, command.shard, frame.sequence))

    def leave_as(self, frame: Frame, event: InstrumentState, instrument: Instrument) -> None:
        """So it goes."""
        departure = self._crossings.departures[-1]
        departure.state = event
        for fault in instrument_faults(event, departure.symbol, instrument):
            self._complain(Kind.MOVE, frame, fault)
        instrument.moves = event.moves

    def order_leaves(self, frame: Frame, event: OrderState) -> None:
        """One of its orders goes along."""
        self._findings.checked["orders that left"] += 1
        departure = self._crossings.departures[-1]
        departure.orders[frame.sequence] = event
        order = self._register.orders.get(event.number)
        if order is None:
            why = self._register.ended.get(event.number, "no such order was entered")
            self._fault(frame, f"order {event.number:,} does not live, and leaves", why)
            return
        instrument = self._register.instruments[order.symbol]
        for fault in leave_faults(event, order, departure.symbol, instrument):
            self._complain(Kind.MOVE, frame, fault)
        self._totals.leave(order)
        self._register.end(order, f"it left with its instrument in frame {frame.sequence:,}")

    def finish_leaving(self, frame: Frame, instrument: Instrument) -> None:
        """It is gone, and nothing of it is left."""
        departure = self._crossings.departures[-1]
        if departure.state is None:
            self._fault(frame, f"{unpad(departure.symbol)} moves, and nothing says how it stands")
        for order in (each.first() for each in instrument.queues):
            if order is not None:
                self._fault(frame, f"{order} stays behind", "all orders leave")
        instrument.state = TradingState.MOVED

    # An instrument that arrives.

    def arrive(self, frame: Frame, command: AdoptInstrument) -> None:
        """An instrument is taken over, without its orders yet."""
        known = self._register.instruments.get(command.symbol)
        if known is not None:
            name = unpad(command.symbol)
            if known.state != TradingState.MOVED:
                state = TradingState(known.state).name
                self._fault(frame, f"{name} arrives, and is here already, {state}", "MOVED")
            if command.moves <= known.moves:
                text = f"{name} arrives after {command.moves} moves"
                self._fault(frame, text, f"more than the {known.moves} when it left")
        instrument = Instrument(*command[:4])
        instrument.last_price = command.last_price
        instrument.moves = command.moves
        instrument.state = TradingState.ARRIVING
        self._register.instruments[command.symbol] = instrument
        self._begin_arrival(Arrival(command, frame.sequence))

    def order_arrives(self, frame: Frame, command: AdoptOrder, *, is_refused: bool) -> None:
        """An order comes with its instrument."""
        self._findings.checked["orders that arrived"] += 1
        instrument = self._register.instruments.get(command.symbol)
        arrival = self._arrivals.get(command.symbol)
        if instrument is None or arrival is None or command.moves != instrument.moves:
            text = f"an order of {unpad(command.symbol)} arrives, and the instrument does not"
            self._fault(frame, text, "ADOPT_INSTRUMENT before it")
            return
        if command.source_sequence <= instrument.adopted_sequence:
            text = f"the order of frame {command.source_sequence:,} of another shard arrives"
            self._fault(frame, text, f"a frame after {instrument.adopted_sequence:,}")
        instrument.adopted_sequence = command.source_sequence
        arrived = Arrived(frame.sequence, command, is_refused)
        arrival.orders[command.source_sequence] = arrived
        if is_refused:
            return
        client = self._register.client(command.client)
        for fault in arrive_faults(command, instrument, client):
            self._complain(Kind.MOVE, frame, fault)
        state = OrderState(
            frame.sequence, command.client, command.user_ref_num, command.symbol, *command[5:]
        )
        self._totals.arrive(self._register.put_in(state, frame.sequence))

    def set_state(self, frame: Frame, instrument: Instrument, state: int) -> None:
        """An instrument gets a trading state: a halt ends its arrival, nothing else does."""
        is_arriving = instrument.state == TradingState.ARRIVING
        if instrument.state == TradingState.MOVED or (is_arriving and state != TradingState.HALTED):
            name = TradingState(instrument.state).name
            self._fault(frame, f"{unpad(instrument.symbol)} is {name}, and gets a trading state")
        instrument.state = state
        instrument.adopted_sequence = 0
        arrival = self._arrivals.pop(instrument.symbol, None)
        if arrival is not None:
            arrival.end_sequence = frame.sequence

    def _begin_arrival(self, arrival: Arrival) -> None:
        self._arrivals[arrival.terms.symbol] = arrival
        self._crossings.arrivals.append(arrival)

    def _fault(self, frame: Frame, text: str, expected: str = "") -> None:
        self._complain(Kind.MOVE, frame, Fault(text, expected))
