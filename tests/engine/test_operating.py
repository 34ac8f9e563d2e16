"""What operators ask of a primary on its control port, and what it answers."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from engine.control import LINE_LIMIT_BYTES
from engine.operating import PAGE_INSTRUMENTS, Operating
from engine.replica import State
from feed.codec import decode_packet
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Canceled,
    CancelReason,
    DefineInstrument,
    Epoch,
    InstrumentState,
    Message,
    MoveOut,
    NewDay,
    OrderState,
    Rejected,
    SetTradingState,
    ShortSale,
    Side,
    TradingState,
    holder_field,
)
from tests.engine.shells import ANSWER, Shell, leading, replica
from tests.engine.trader import CLIENT, LOGIN, SYMBOL, order
from tests.engine.writing import LOG_IN
from tools.simulation.shard import SHARD

HALTED, TRADING = TradingState.HALTED, TradingState.TRADING
GOOG = b"GOOG    "
ARRIVAL: dict[str, Any] = {
    "request": "adopt-instrument",
    "symbol": "GOOG",
    "tick_size": 5,
    "lot_size": 1,
    "short_sale": ord("N"),
    "last_price": 100,
    "moves": 3,
}
TERMS = [ord("B"), ord("L"), ord("0"), ord("N"), ord("A"), 10, 4, 6, 95, 0]


class Port:
    """A primary's control port, and the list behind it."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.operating = Operating(shell.replica, shell.turn, lambda: 7_000)
        self.seen = shell.replica.sequence

    def ask(self, request: str, **fields: Any) -> dict[str, Any]:
        """The answer to a request, which fits a line, as the request does."""
        line = json.dumps({"request": request, **fields})
        answer = json.dumps(self.operating.handle(json.loads(line)))
        assert max(len(line), len(answer)) < LINE_LIMIT_BYTES
        told = json.loads(answer)
        assert isinstance(told, dict)
        return told

    def refuses(self, request: str, **fields: Any) -> str:
        """The error that a request gets; nothing of it is in the list."""
        error = self.ask(request, **fields)["error"]
        assert self.written() == []
        return str(error)

    def written(self) -> list[Message]:
        """What the list has got since the last time, as it went out."""
        packets = [decode_packet(packet) for packet in self.shell.packets]
        frames = {frame.sequence: frame for packet in packets for frame in packet.frames}
        new = [frames[sequence].message() for sequence in sorted(frames) if sequence > self.seen]
        assert self.seen + len(new) == self.shell.replica.sequence
        self.seen += len(new)
        return new


def primary(orders: int = 0) -> Port:
    """One that leads, with ACME listed and so many bids in its book."""
    shell = leading()
    shell.replica.submit(encode_submission(Submission(LOGIN, LOG_IN)))
    for number in range(1, orders + 1):
        shell.replica.submit(encode_submission(Submission(LOGIN, order(number))))
    shell.turn()
    return Port(shell)


def adoption(source_sequence: int, user_ref_num: int, **terms: int) -> list[int]:
    """An order of `adopt-orders`."""
    wanted = AdoptOrder(GOOG, 3, source_sequence, CLIENT, user_ref_num, *TERMS)
    return list(wanted._replace(**terms)[2:])  # type: ignore[arg-type]


def arriving() -> Port:
    port = primary()
    assert port.ask(**ARRIVAL)["taken"] == 1
    port.written()
    return port


# Halts and days


def test_a_halt_and_a_resume_stand_in_the_list() -> None:
    port = primary()
    halted = port.ask("halt", symbol="ACME")
    assert halted == {"symbol": "ACME", "state": "HALTED", "sequence": 4}
    resumed = port.ask("resume", symbol="ACME")
    assert resumed == {"symbol": "ACME", "state": "TRADING", "sequence": 5}
    assert port.written() == [SetTradingState(SYMBOL, HALTED), SetTradingState(SYMBOL, TRADING)]


def test_what_is_not_listed_is_not_halted() -> None:
    port = primary()
    assert port.refuses("halt", symbol="NOPE") == "NOPE is not listed here"
    assert "longer than 8" in port.refuses("resume", symbol="much too long")


def test_a_day_begins_and_tells_how_many_orders_expired() -> None:
    port = primary(orders=2)
    day = port.ask("new-day", day=20260105)
    assert day == {"day": 20260105, "sequence": 6, "expired": 2}
    begun, *expired = port.written()
    assert begun == NewDay(20260105)
    assert [(type(each), each[-1]) for each in expired] == [(Canceled, CancelReason.EXPIRED)] * 2
    for day_before in (20260105, 20260104, 20260230):
        assert "later than the one before" in port.refuses("new-day", day=day_before)


# Listings


def test_an_instrument_is_listed_once() -> None:
    port = primary()
    terms = {"tick_size": 5, "lot_size": 10, "short_sale": False}
    assert port.ask("define", symbol="GOOG", **terms) == {
        "symbol": "GOOG",
        "is_new": True,
        "sequence": 4,
    }
    assert port.written() == [DefineInstrument(GOOG, 5, 10, ShortSale.FORBIDDEN)]
    again = port.ask("define", symbol="GOOG", **terms)
    assert again == {"symbol": "GOOG", "is_new": False, "sequence": 4}
    assert port.written() == []
    other = port.ask("define", symbol="GOOG", **terms | {"short_sale": True})
    assert other == {"error": "GOOG: the symbol is already listed"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tick_size": None}, '"tick_size" must be an integer'),
        ({"lot_size": True}, '"lot_size" must be an integer'),
        ({"lot_size": 1.5}, '"lot_size" must be an integer'),
        ({"tick_size": 2**32}, "out of its range"),
        ({"lot_size": -1}, "out of its range"),
        ({"short_sale": 1}, "true or false"),
        ({"symbol": ""}, "1 to 8 characters"),
        ({"symbol": 7}, "known requests"),
    ],
)
def test_a_listing_without_sense_is_refused(change: dict[str, Any], complaint: str) -> None:
    terms = {"symbol": "GOOG", "tick_size": 5, "lot_size": 10, "short_sale": False}
    assert complaint in primary().refuses("define", **terms | change)


def test_instruments_are_told_with_what_is_live_in_them() -> None:
    port = primary(orders=3)
    port.ask("define", symbol="GOOG", tick_size=5, lot_size=10, short_sale=False)
    port.ask("halt", symbol="ACME")
    acme = {"symbol": "ACME", "state": "HALTED", "moves": 0, "orders": 3}
    goog = {"symbol": "GOOG", "state": "TRADING", "moves": 0, "orders": 0}
    assert port.ask("instruments") == {"instruments": [acme, goog], "has_more": False}
    some = port.ask("instruments", symbols=["GOOG", "NOPE"])
    assert some == {"instruments": [goog], "has_more": False}
    port.ask("move-out", symbol="ACME", shard=2)
    gone = {"symbol": "ACME", "state": "MOVED", "moves": 1, "orders": 0}
    assert port.ask("instruments", symbols=["ACME"])["instruments"] == [gone]


def test_more_instruments_than_a_line_holds_come_page_by_page() -> None:
    port = primary()
    names = [f"S{number:07}" for number in range(2 * PAGE_INSTRUMENTS + 3)]
    fields = [DefineInstrument(name.encode(), 1, 1, ShortSale.ALLOWED) for name in names]
    listings = [encode_submission(Submission(0, each)) for each in fields]
    port.shell.replica.submit(b"".join(listings))
    told: list[str] = []
    while True:
        after = {"after": told[-1]} if told else {}
        answer = port.ask("instruments", **after)
        told += [each["symbol"] for each in answer["instruments"]]
        if not answer["has_more"]:
            break
    assert told == ["ACME", *names]
    every = port.ask("instruments", symbols=names)
    assert (len(every["instruments"]), every["has_more"]) == (PAGE_INSTRUMENTS, True)


def test_a_page_of_the_longest_instruments_fits_a_line() -> None:
    longest = {"symbol": "\\xff" * 8, "state": "ARRIVING", "moves": 2**32 - 1, "orders": 4_000_000}
    answer = {"instruments": [longest] * PAGE_INSTRUMENTS, "has_more": False}
    assert len(json.dumps(answer)) < LINE_LIMIT_BYTES


# Moves out


def test_a_halted_instrument_moves_out_with_its_orders() -> None:
    port = primary(orders=2)
    port.ask("halt", symbol="ACME")
    went = port.ask("move-out", symbol="ACME", shard=2)
    assert went == {"symbol": "ACME", "sequence": 7, "moves": 1, "orders": 2}
    _, command, *told = port.written()
    assert command == MoveOut(SYMBOL, 2)
    assert [type(each) for each in told] == [InstrumentState, OrderState, OrderState]


def test_what_has_moved_out_is_said_to_have() -> None:
    port = primary()
    port.ask("halt", symbol="ACME")
    port.ask("move-out", symbol="ACME", shard=2)
    port.written()
    moved = {"error": "ACME has moved to another shard", "moved": True, "moves": 1}
    assert port.ask("move-out", symbol="ACME", shard=2) == moved
    assert port.ask("halt", symbol="ACME") == moved
    assert port.ask("resume", symbol="ACME") == moved
    terms = {"tick_size": 100, "lot_size": 1, "short_sale": True}
    assert port.ask("define", symbol="ACME", **terms) == moved
    assert port.written() == []


def test_what_trades_or_is_not_there_does_not_move_out() -> None:
    port = primary()
    assert "halt it first" in port.refuses("move-out", symbol="ACME", shard=2)
    assert "not listed" in port.refuses("move-out", symbol="NOPE", shard=2)
    port.ask(**ARRIVAL)
    port.written()
    assert "halt it first" in port.refuses("move-out", symbol="GOOG", shard=2)


@pytest.mark.parametrize("shard", [SHARD, 0, -1, 2**16])
def test_an_instrument_moves_to_another_shard_alone(shard: int) -> None:
    port = primary()
    port.ask("halt", symbol="ACME")
    port.written()
    assert f"to shard {shard}" in port.refuses("move-out", symbol="ACME", shard=shard)


def test_who_leads_next_lists_all_but_what_has_moved_out() -> None:
    port = primary()
    port.ask("halt", symbol="ACME")
    port.ask("move-out", symbol="ACME", shard=2)
    port.written()
    last = port.shell.replica.sequence
    for epoch in (2, 3):  # somebody else's, and its own again
        port.shell.grant(epoch)
    for name in ("r1", "r2"):
        port.shell.be_told(ANSWER, name, epoch=3, last=last)
    assert port.shell.replica.state is State.PRIMARY
    assert port.written() == [Epoch(3, holder_field("e1"))]
    assert port.ask("instruments")["instruments"][0]["state"] == "MOVED"


# Arrivals


def test_an_instrument_arrives_with_its_orders_and_a_halt_ends_it() -> None:
    port = primary()
    came = port.ask(**ARRIVAL)
    counts = {"taken": 1, "not_admitted": 0, "rejected": 0}
    assert came == {"symbol": "GOOG", **counts, "sequence": 4}
    orders = [adoption(70, 1), adoption(72, 2)]
    taken = port.ask("adopt-orders", symbol="GOOG", moves=3, orders=orders)
    assert taken == {"symbol": "GOOG", **counts, "taken": 2, "sequence": 6}
    assert "still arriving" in port.ask("resume", symbol="GOOG")["error"]
    assert port.ask("halt", symbol="GOOG")["sequence"] == 7
    assert port.ask("resume", symbol="GOOG")["sequence"] == 8
    assert port.written() == [
        AdoptInstrument(GOOG, 5, 1, ShortSale.FORBIDDEN, 100, 3),
        AdoptOrder(GOOG, 3, 70, CLIENT, 1, *TERMS),
        AdoptOrder(GOOG, 3, 72, CLIENT, 2, *TERMS),
        SetTradingState(GOOG, HALTED),
        SetTradingState(GOOG, TRADING),
    ]


def test_an_arrival_that_is_asked_for_again_goes_on_where_it_was() -> None:
    port = arriving()
    again = port.ask(**ARRIVAL)
    assert (again["taken"], again["not_admitted"], again["sequence"]) == (0, 1, 4)
    orders = [adoption(70, 1), adoption(72, 2)]
    port.ask("adopt-orders", symbol="GOOG", moves=3, orders=orders[:1])
    port.written()
    rest = port.ask("adopt-orders", symbol="GOOG", moves=3, orders=orders)
    assert (rest["taken"], rest["not_admitted"], rest["sequence"]) == (1, 1, 6)
    assert port.written() == [AdoptOrder(GOOG, 3, 72, CLIENT, 2, *TERMS)]


def test_orders_that_can_not_live_are_counted_and_the_others_taken() -> None:
    port = arriving()
    orders = [adoption(70, 1), adoption(71, 2, price=96), adoption(72, 3), adoption(73, 3)]
    told = port.ask("adopt-orders", symbol="GOOG", moves=3, orders=orders)
    assert (told["taken"], told["not_admitted"], told["rejected"]) == (2, 0, 2)
    assert [isinstance(each, Rejected) for each in port.written()].count(True) == 2


def test_an_instrument_that_can_not_arrive_is_refused() -> None:
    port = primary()
    assert "a limit price must be" in port.ask(**ARRIVAL | {"last_price": 99})["error"]
    assert isinstance(port.written()[-1], Rejected)
    assert "out of its range" in port.refuses(**ARRIVAL | {"short_sale": 256})
    assert "out of its range" in port.refuses(**ARRIVAL | {"moves": -1})
    assert '"moves" must be' in port.refuses(**ARRIVAL | {"moves": "3"})


@pytest.mark.parametrize(
    ("orders", "complaint"),
    [
        ([7], "an order is a list of source_sequence, client"),
        ([[1, 2]], "an order is a list"),
        ([adoption(70, 1)[:-1]], "an order is a list"),
        ([[*adoption(70, 1)[:-1], 0.5]], "terms are integers"),
        ([[*adoption(70, 1)[:-1], True]], "terms are integers"),
        ([[*adoption(70, 1)[:-1], -1]], "out of its range"),
        ([[*adoption(70, 1)[:-1], 2**64]], "out of its range"),
        ("70", "known requests"),
    ],
)
def test_orders_without_sense_are_refused_and_none_of_them_taken(
    orders: Any, complaint: str
) -> None:
    port = arriving()
    if isinstance(orders, list):
        orders = [adoption(69, 9), *orders]
    assert complaint in port.refuses("adopt-orders", symbol="GOOG", moves=3, orders=orders)


def test_no_orders_are_none() -> None:
    told = arriving().ask("adopt-orders", symbol="GOOG", moves=3, orders=[])
    assert (told["taken"], told["sequence"]) == (0, 4)


# Who answers


REQUESTS: Sequence[dict[str, Any]] = (
    {"request": "halt", "symbol": "ACME"},
    {"request": "resume", "symbol": "ACME"},
    {"request": "new-day", "day": 20260105},
    {"request": "define", "symbol": "A", "tick_size": 1, "lot_size": 1, "short_sale": True},
    {"request": "move-out", "symbol": "ACME", "shard": 2},
    ARRIVAL,
    {"request": "adopt-orders", "symbol": "GOOG", "moves": 3, "orders": [adoption(70, 1)]},
    {"request": "instruments"},
)


@pytest.mark.parametrize("request_line", REQUESTS, ids=lambda each: each["request"])
def test_only_a_primary_answers(request_line: dict[str, Any]) -> None:
    port = Port(replica())
    assert port.ask(**request_line) == {"error": "e1 is not the primary", "primary": None}


@pytest.mark.parametrize(
    "request_line",
    [
        {"request": "fly"},
        {"request": "halt"},
        {"request": "move-out", "symbol": "ACME", "shard": "2"},
        {"request": "new-day", "day": "20260105"},
    ],
)
def test_what_nobody_knows_is_answered_with_what_is_known(request_line: dict[str, Any]) -> None:
    assert primary().refuses(**request_line).startswith("known requests:")


def test_an_adopted_order_trades_once_the_arrival_is_over() -> None:
    port = arriving()
    port.ask("adopt-orders", symbol="GOOG", moves=3, orders=[adoption(70, 1)])
    port.ask("halt", symbol="GOOG")
    port.ask("resume", symbol="GOOG")
    port.written()
    sell = order(2, Side.SELL, 4)._replace(symbol=GOOG, price=95)
    port.shell.replica.submit(encode_submission(Submission(LOGIN, sell)))
    port.shell.turn()
    _, trade = port.written()
    assert trade[:3] == (GOOG, 95, 4)
