"""The lists of several shards held against one another: each difference is planted, and found.

Each list here is clean by itself: a machine wrote it.
"""

from typing import Any

import pytest

from feed.messages import (
    ALL_SYMBOLS,
    AdoptInstrument,
    AdoptOrder,
    CancelReason,
    MassCancel,
    MoveOut,
    SetTradingState,
    ShardMark,
    ShortSale,
    symbol_field,
)
from tests.tools.audited_lists import audit_of, runs
from tests.tools.shard_lists import (
    ACME,
    ALICE,
    BOB,
    BUY,
    HALTED,
    LISTED,
    OTHER,
    SELL,
    Exchange,
    Shard,
    adoption,
    moved,
)
from tests.tools.test_audit_rules import enter
from tools.audit.findings import Findings, Kind

CAROL = 3


def told(found: list[Findings]) -> list[tuple[int, Kind, int, str]]:
    """In which shard's list, of which kind, where, and what."""
    return [
        (shard, each.kind, each.sequence, each.text)
        for shard, findings in enumerate(found, 1)
        for each in findings.differences
    ]


def only(found: list[Findings]) -> tuple[int, Kind, int, str]:
    (difference,) = told(found)
    return difference


def notes(found: list[Findings]) -> list[str]:
    return [note for findings in found for note in findings.notes]


def test_lists_that_fit_together_are_clean_and_all_is_compared() -> None:
    found = moved().findings()
    assert (told(found), notes(found)) == ([], [])
    one, two = (findings.checked for findings in found)
    assert (one["marks compared"], two["marks compared"]) == (3, 3)
    assert (one["log-ins compared"], two["log-ins compared"]) == (1, 1)
    assert (one["orders that left"], two["orders that left"]) == (4, 0)
    assert (two["orders that arrived"], two["arrivals compared"]) == (4, 4)
    assert two["numbers compared"] == 5


def test_what_left_and_what_arrived_is_in_the_sums() -> None:
    exchange = moved()
    one, two = (
        audit_of(runs(each.frames)).totals.symbols[ACME].flow
        for each in (exchange.one, exchange.two)
    )
    assert (one.arrived, one.entered, one.executed, one.canceled) == (0, 56, 10, 2)
    assert (one.left, one.open, one.missing) == (44, 0, 0)
    assert (two.arrived, two.entered, two.executed, two.canceled) == (44, 27, 52, 4)
    assert (two.left, two.open, two.missing) == (0, 15, 0)


# Marks.


def test_a_mark_beyond_the_end_of_a_list_is_found() -> None:
    exchange = Exchange()
    exchange.two.must(ShardMark(1, 1_000))
    expected = (2, Kind.MARK, exchange.two.number, "shard 1 is marked at 1,000")
    found = exchange.findings()
    assert only(found) == expected
    assert "nobody has more" in found[1].differences[0].expected
    assert told(exchange.findings(has_grown=True)) == []


def test_a_mark_within_a_group_is_found() -> None:
    exchange = Exchange()
    exchange.one.must(enter(BOB, 9, SELL, 1, 100))  # trades
    inside = exchange.one.number - 1
    exchange.two.must(ShardMark(1, inside))
    shard, kind, place, text = only(exchange.findings())
    assert (shard, kind, place) == (2, Kind.MARK, exchange.two.number)
    assert text == f"shard 1 is marked at {inside:,}"


def test_a_mark_of_the_shard_itself_is_found() -> None:
    exchange = Exchange()
    exchange.one.must(ShardMark(1, 2))
    shard, kind, place, _ = only(exchange.findings())
    assert (shard, kind, place) == (1, Kind.MARK, exchange.one.number)


def test_marks_of_a_shard_whose_journals_are_not_there_are_told() -> None:
    exchange = Exchange()
    exchange.one.must(ShardMark(3, 7), ShardMark(3, 8))
    found = exchange.findings()
    assert told(found) == []
    (note,) = notes(found)
    assert note == "shard 3's journals are not there: 2 marks of it could not be compared"


# Log-ins.


def test_a_log_in_that_follows_none_at_home_is_found() -> None:
    exchange = Exchange()
    place = exchange.two.log_in(ALICE, 2, home_sequence=exchange.one.number)
    shard, kind, at, text = only(exchange.findings())
    assert (shard, kind, at) == (2, Kind.HOME, place)
    assert text.startswith("client 1 logs in by frame ")


def test_a_client_at_home_in_two_shards_is_found() -> None:
    exchange = Exchange()
    exchange.one.log_in(CAROL)
    place = exchange.two.log_in(CAROL)
    text = "client 3 logs in as at home, which is shard 1"
    assert only(exchange.findings()) == (2, Kind.HOME, place, text)


def test_log_ins_of_a_client_whose_home_is_not_there_are_told() -> None:
    exchange = Exchange()
    exchange.one.log_in(CAROL, home_sequence=7)
    assert only(exchange.findings())[:2] == (1, Kind.HOME)
    exchange.one.must(ShardMark(3, 7))
    found = exchange.findings()
    assert told(found) == []
    assert "1 log-ins are of clients whose home's journals are not there" in notes(found)


# Moves.


@pytest.mark.parametrize(
    "terms", [{"leaves": 3}, {"user_ref_num": 77}, {"capacity": ord("P")}, {"quantity": 60}]
)
def test_an_order_that_arrives_with_other_terms_is_found(terms: dict[str, Any]) -> None:
    exchange = Exchange()
    orders = exchange.leave()
    at = next(at for at, order in orders if order.client == BOB and not order.stop_price)

    def change(order: AdoptOrder) -> AdoptOrder:
        return order._replace(**terms) if order.source_sequence == at else order

    exchange.arrive(orders, change)
    shard, kind, _, text = only(exchange.findings())
    assert (shard, kind) == (2, Kind.MOVE)
    assert text.endswith(f"arrives with other terms than it left with in frame {at:,} of shard 1")


def test_an_order_that_arrives_without_having_left_is_found() -> None:
    exchange = Exchange()
    orders = exchange.leave()
    last, order = orders[-1]
    exchange.arrive([*orders, (last + 1, order._replace(client=BOB, user_ref_num=9))])
    shard, kind, _, text = only(exchange.findings())
    assert (shard, kind) == (2, Kind.MOVE)
    assert text == "client 2's order 9 arrives, and did not leave with ACME"


def test_an_order_that_is_missing_when_the_arrival_ends_is_found() -> None:
    exchange = Exchange()
    orders = exchange.leave()
    exchange.arrive(orders[1:], is_ended=False)
    found = exchange.findings()
    assert told(found) == []
    assert notes(found) == ["ACME is arriving from shard 1: 1 of 4 orders are to come"]
    exchange.two.must(SetTradingState(ACME, HALTED))
    text = "ACME is here, without 1 of its orders"
    assert only(exchange.findings()) == (2, Kind.MOVE, exchange.two.number, text)


def test_an_order_that_was_refused_as_it_arrived_is_found() -> None:
    exchange = Exchange()
    stop = exchange.leave()[-1]
    assert stop[1].stop_price == 99
    exchange.arrive([stop], terms=LISTED._replace(last_price=98), is_ended=False)
    texts = [text for _, _, _, text in told(exchange.findings())]
    assert texts == [
        "ACME arrives as another instrument than it left shard 1",
        "client 2's order 2 was refused as it arrived, and lives nowhere",
    ]


def test_a_move_that_has_not_arrived_is_told() -> None:
    exchange = Exchange()
    exchange.leave()
    found = exchange.findings()
    assert told(found) == []
    (note,) = notes(found)
    assert note.startswith("ACME with 4 orders left in frame ")
    assert note.endswith(": it has not arrived in shard 2 yet")


@pytest.mark.parametrize(
    "terms", [LISTED._replace(short_sale=ShortSale.FORBIDDEN), LISTED._replace(last_price=104)]
)
def test_an_instrument_that_arrives_as_another_one_is_found(terms: AdoptInstrument) -> None:
    exchange = Exchange()
    exchange.arrive(exchange.leave(), terms=terms)
    texts = [text for _, _, _, text in told(exchange.findings())]
    assert texts == ["ACME arrives as another instrument than it left shard 1"]


def test_an_instrument_that_arrives_from_nowhere_is_found() -> None:
    exchange = Exchange()
    exchange.two.must(LISTED)
    text = "ACME arrives, and has not left any shard"
    assert only(exchange.findings()) == (2, Kind.MOVE, exchange.two.number, text)
    found = exchange.findings(has_grown=True)
    assert told(found) == []
    assert "the list that it came from is not there" in notes(found)[0]


def test_an_instrument_that_arrives_where_it_was_not_sent_is_found() -> None:
    exchange, third = Exchange(), Shard(3, symbol_field("THIRD"))
    orders = exchange.leave()
    third.must(LISTED, *(adoption(at, order) for at, order in orders))
    shard, kind, _, text = only(exchange.findings(third))
    assert (shard, kind, text) == (3, Kind.MOVE, "ACME arrives from shard 1")


def test_an_instrument_that_arrives_in_two_shards_is_found() -> None:
    exchange, third = moved(), Shard(3, symbol_field("THIRD"))
    third.must(LISTED)
    texts = [text for _, _, _, text in told(exchange.findings(third))]
    assert texts == ["ACME arrives here and in shard 2", "ACME arrives from shard 1"]


def test_an_instrument_that_leaves_two_shards_is_found() -> None:
    exchange, third = moved(), Shard(3, ACME)
    third.must(SetTradingState(ACME, HALTED), MoveOut(ACME, 2))
    shard, kind, _, text = only(exchange.findings(third))
    assert (shard, kind) == (3, Kind.MOVE)
    assert text == "ACME leaves here, and left shard 1, as move 1"


def test_an_instrument_may_come_back() -> None:
    exchange = moved()
    exchange.two.must(SetTradingState(ACME, HALTED))
    first = exchange.two.number + 2
    left = exchange.two.must(MoveOut(ACME, 1))[1:]
    orders = [(at, order) for at, order in enumerate(left, first) if order[0] != ACME]
    exchange.one.must(LISTED._replace(moves=2))
    for at, order in orders:
        arrives = adoption(at, order)  # type: ignore[arg-type]
        exchange.one.must(arrives._replace(moves=2))
    exchange.one.must(SetTradingState(ACME, HALTED))
    found = exchange.findings()
    assert (told(found), notes(found)) == ([], [])
    assert found[0].checked["arrivals compared"] == len(orders) == 2


# Clients.


def test_a_number_that_was_used_in_two_shards_is_found() -> None:
    exchange = Exchange()
    exchange.two.must(enter(ALICE, 3, BUY, 1, 20, symbol=OTHER), MassCancel(ALICE, 4, OTHER, 85))
    text = "client 1's command 3 stands here and in shard 1"
    assert only(exchange.findings()) == (2, Kind.TWICE, 0, text)


def test_a_mass_cancel_of_all_symbols_goes_to_every_shard() -> None:
    exchange = Exchange()
    everything = MassCancel(ALICE, 4, ALL_SYMBOLS, CancelReason.USER)
    exchange.one.must(everything)
    exchange.two.must(everything)
    assert told(exchange.findings()) == []


@pytest.mark.parametrize("first", [0, 1])
def test_an_order_by_the_number_of_such_a_mass_cancel_is_found(first: int) -> None:
    exchange = Exchange()
    shards = (exchange.one, exchange.two)
    shards[first].must(MassCancel(ALICE, 4, ALL_SYMBOLS, CancelReason.USER))
    symbol = (OTHER, ACME)[first]
    shards[1 - first].must(enter(ALICE, 4, BUY, 1, 20, symbol=symbol))
    text = "client 1's command 4 stands here and in shard 1"
    assert only(exchange.findings()) == (2, Kind.TWICE, 0, text)


def test_an_order_that_lives_in_two_shards_is_found() -> None:
    exchange = Exchange()
    live = exchange.leave()[0]
    again = Exchange()  # where it has not left
    again.arrive([live], is_ended=False)
    texts = [text for _, _, _, text in told(again.findings())]
    number = live[1].user_ref_num
    assert f"client 1's order {number} lives here and in shard 1" in texts
    assert all("lives" not in text for *_, text in told(again.findings(has_grown=True)))
