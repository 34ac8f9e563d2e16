"""The market's whole state as records, in an order that depends on nothing but the state."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.book import Instrument
from engine.orders import Client, Order
from feed.codec import FRAME_TYPES, encode_body
from feed.messages import (
    ClientState,
    InstrumentState,
    MarketState,
    MarkState,
    OrderState,
    State,
)

if TYPE_CHECKING:
    from engine.market import Market


def records(market: "Market") -> Iterator[State]:
    """The market; marks by shard; each instrument by symbol, and the orders in its ladders;
    clients by number."""
    yield MarketState(market.day)
    for shard in sorted(market.marks):
        yield MarkState(shard, market.marks[shard])
    for symbol in sorted(market.instruments):
        instrument = market.instruments[symbol]
        yield instrument_state(instrument)
        for ladder in instrument.ladders:
            for order in ladder.orders():
                yield order_state(order)
    for number in sorted(market.clients):
        yield _client_state(number, market.clients[number])


def digest(market: "Market") -> bytes:
    """The SHA-256 of the records: of each, the letter of its type and its body."""
    state = hashlib.sha256()
    for record in records(market):
        state.update(bytes((FRAME_TYPES[type(record)],)))
        state.update(encode_body(record))
    return state.digest()


def instrument_state(instrument: Instrument) -> InstrumentState:
    """The record of an instrument."""
    return InstrumentState(
        instrument.symbol,
        instrument.tick_size,
        instrument.lot_size,
        instrument.short_sale,
        instrument.state,
        instrument.last_price,
        instrument.moves,
        instrument.adopted_sequence,
    )


def order_state(order: Order) -> OrderState:
    """The record of a live order."""
    return OrderState(
        order.number,
        order.client,
        order.user_ref_num,
        order.symbol,
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


def _client_state(number: int, client: Client) -> ClientState:
    return ClientState(
        number,
        client.login,
        client.last_user_ref_num,
        client.self_trade_prevention,
        client.home_sequence,
    )
