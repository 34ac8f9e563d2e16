"""An operator who moves halted symbols from shard to shard, and begins days; it never gives up.

It knows what is committed and nothing else, and says everything again that has had no effect yet:
to the primary of that time, or to one that only believes it is. What it says at once may end
anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from feed.codec import Frame
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Command,
    InstrumentState,
    MoveOut,
    NewDay,
    OrderState,
    SetTradingState,
    TradingState,
    symbol_field,
)
from feed.schema import FrameType
from tools.simulation.world import MILLISECOND_NS

if TYPE_CHECKING:
    from tools.simulation.cluster import Cluster

INTERVAL_NS = 5 * MILLISECOND_NS  # until it says again what has had no effect
FIRST_DAY = 20270101
LONGEST_PAUSES_NS = (MILLISECOND_NS, 50 * MILLISECOND_NS, 500 * MILLISECOND_NS)
INTERRUPTED_SHARE = 0.3  # of what it says at once
_TYPES = (FrameType.INSTRUMENT_STATE, FrameType.ADOPT_ORDER, FrameType.SET_TRADING_STATE)


@dataclass(slots=True)
class _Departure:
    """An instrument that has left a shard; its orders by the frames that tell of them."""

    instrument: InstrumentState
    orders: dict[int, OrderState] = field(default_factory=dict)
    is_adopted: set[int] = field(default_factory=set)
    has_ended: bool = False  # the other shard holds it, halted

    @property
    def is_whole(self) -> bool:
        """Whether all of its orders have come to the other shard."""
        return len(self.is_adopted) == len(self.orders)


@dataclass(slots=True)
class _Move:
    """What is to be done."""

    symbol: str
    source: int
    to: int
    departure: _Departure | None = None
    is_told: bool = False  # the directory says where it is now


class Operator:
    """One operator of all shards; it moves one symbol at a time."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        """The cluster is any of the exchange."""
        self.moves = 0  # that have ended
        self._cluster = cluster
        self._random = random
        self._move: _Move | None = None
        self._day = FIRST_DAY - 1
        self._may_begin_day = True
        self._days_to_begin: dict[int, int] = {}  # by shard
        self._leaving: dict[int, _Departure] = {}  # of the group that is being read, by shard
        for number, each in cluster.clusters.items():
            each.witness.listeners.append(partial(self._on_committed, number))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on the move, and no day is to begin anywhere."""
        return self._move is None and not self._days_to_begin

    def rest(self) -> None:
        """All is calm: another day may begin."""
        self._may_begin_day = True

    def begin_day(self) -> bool:
        """Begin the next day in one shard after the other, with pauses in between; False when one
        has begun since the last calm."""
        if not self._may_begin_day:
            return False
        self._may_begin_day = False
        self._day += 1
        shards = list(self._cluster.places.directory.shards)
        self._random.shuffle(shards)
        pause_ns = self._random.choice(LONGEST_PAUSES_NS)
        for shard in shards:
            self._days_to_begin[shard] = self._day
            pause = self._random.randint(0, pause_ns)
            self._cluster.network.after(pause, partial(self._go_on_with_day, shard))
        self._note("begins {} in shards {}", self._day, shards)
        return True

    def _go_on_with_day(self, shard: int) -> None:
        """Say it until it is so."""
        if shard in self._days_to_begin:
            self._say(shard, NewDay(self._days_to_begin[shard]))
            self._cluster.network.after(INTERVAL_NS, partial(self._go_on_with_day, shard))

    def move(self, symbol: str, to: int) -> bool:
        """Move a symbol to another shard; False while another move is under way."""
        directory = self._cluster.places.directory
        source = directory.shard_of(symbol)
        if self._move is not None or source == to:
            return False
        self._move = _Move(symbol, source, to)
        self._cluster.places.change(directory.begin_move(symbol, to))
        self._note("moves {} from shard {} to {}", symbol, source, to)
        self._go_on()
        return True

    def _go_on(self) -> None:
        """Say what comes next, until all of it has come about."""
        move = self._move
        if move is None:
            return
        symbol = symbol_field(move.symbol)
        departure = move.departure
        if departure is None:
            self._say(move.source, SetTradingState(symbol, TradingState.HALTED))
            self._say(move.source, MoveOut(symbol, move.to))
        elif not departure.has_ended:
            self._say(move.to, *_adoptions(departure))
            if departure.is_whole:
                self._say(move.to, SetTradingState(symbol, TradingState.HALTED))
        else:
            if not move.is_told:
                places = self._cluster.places
                places.change(places.directory.end_move(move.symbol))
                move.is_told = True
            self._say(move.to, SetTradingState(symbol, TradingState.TRADING))
        self._cluster.network.after(INTERVAL_NS, self._go_on)

    def _say(self, shard: int, *commands: Command) -> None:
        """Have a primary of the shard take these, as far as it comes to that."""
        leading = [
            node
            for node in self._cluster.clusters[shard].replicas.values()
            if node.runs and node.core.primary is not None
        ]
        if not leading:
            return
        node = self._random.choice(leading)
        count = len(commands)
        if count > 1 and self._random.random() < INTERRUPTED_SHARE:
            count = self._random.randrange(count)

        def take() -> None:
            primary = node.core.primary
            if primary is None or primary.is_full:
                return
            for command in commands[:count]:
                if isinstance(command, SetTradingState | NewDay):
                    primary.sequence(command, node.wall_clock_ns())
                else:
                    submission = encode_submission(Submission(0, command))
                    primary.submit(submission, node.wall_clock_ns())

        node.do(node.life, take)

    def _on_committed(self, shard: int, frame: Frame) -> None:
        if frame.type is FrameType.NEW_DAY:
            self._days_to_begin.pop(shard, None)
        move = self._move
        if move is None or not (shard in self._leaving or frame.type in _TYPES):
            return
        departure = self._leaving.get(shard)
        match frame.message():
            case InstrumentState() as state if shard == move.source:
                if state.symbol == symbol_field(move.symbol):
                    departure = self._leaving[shard] = _Departure(state)
            case OrderState() as order if departure is not None:
                departure.orders[frame.sequence] = order
            case AdoptOrder() as adopted if shard == move.to and move.departure is not None:
                move.departure.is_adopted.add(adopted.source_sequence)
            case SetTradingState(symbol, state) if shard == move.to:
                if symbol == symbol_field(move.symbol) and frame.is_end:
                    self._on_state(move, state)
        if frame.is_end and shard in self._leaving:
            move.departure = self._leaving.pop(shard)
            self._note("{} has left with {} orders", move.symbol, len(move.departure.orders))

    def _on_state(self, move: _Move, state: int) -> None:
        """The symbol has this state where it goes to."""
        departure = move.departure
        if departure is None:
            return
        if state == TradingState.HALTED and departure.is_whole:
            departure.has_ended = True
        elif state == TradingState.TRADING and move.is_told:
            self._note("{} trades in shard {}", move.symbol, move.to)
            self._move = None
            self.moves += 1

    def _note(self, text: str, *values: object) -> None:
        self._cluster.network.trace.note("operator", text, *values)


def _adoptions(departure: _Departure) -> list[Command]:
    """What the other shard has to be told, all of it."""
    state = departure.instrument
    symbol, moves = state.symbol, state.moves
    instrument = AdoptInstrument(
        symbol, state.tick_size, state.lot_size, state.short_sale, state.last_price, moves
    )
    orders = [
        AdoptOrder(
            symbol,
            moves,
            sequence,
            order.client,
            order.user_ref_num,
            order.side,
            order.order_type,
            order.time_in_force,
            order.post_only,
            order.capacity,
            order.quantity,
            order.leaves,
            order.executed,
            order.price,
            order.stop_price,
        )
        for sequence, order in departure.orders.items()
    ]
    return [instrument, *orders]
