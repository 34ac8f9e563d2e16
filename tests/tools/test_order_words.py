import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rejects import RejectReason
from feed.messages import CancelReason, Capacity, OrderType, Side, TimeInForce
from gateway.events import (
    Accepted,
    Canceled,
    Event,
    Executed,
    MassCanceled,
    Rejected,
    Replaced,
    Triggered,
)
from gateway.ouch import Liquidity
from tools.order_words import (
    CancelAll,
    CancelOne,
    NewOrder,
    OwnOrders,
    Quit,
    ReplaceOne,
    Request,
    ShowHelp,
    ShowOrders,
    describe_event,
    parse_request,
)

DAY = TimeInForce.DAY


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("buy 100 AAPL 187.25", NewOrder(Side.BUY, 100, "AAPL", 1_872_500, 0, DAY, False)),
        ("SELL 5 BRK.b", NewOrder(Side.SELL, 5, "BRK.b", 0, 0, DAY, False)),
        (
            "short 5 X 1 stop 0.5 IOC",
            NewOrder(
                Side.SELL_SHORT, 5, "X", 10_000, 5_000, TimeInForce.IMMEDIATE_OR_CANCEL, False
            ),
        ),
        ("buy 5 X stop 2", NewOrder(Side.BUY, 5, "X", 0, 20_000, DAY, False)),
        ("buy 5 X 2 fok", NewOrder(Side.BUY, 5, "X", 20_000, 0, TimeInForce.FILL_OR_KILL, False)),
        ("buy 5 X 2 day post-only", NewOrder(Side.BUY, 5, "X", 20_000, 0, DAY, True)),
        ("cancel 17", CancelOne(17, 0)),
        ("cancel 17 50", CancelOne(17, 50)),
        ("cancel all", CancelAll(None)),
        ("Cancel ALL AAPL", CancelAll("AAPL")),
        ("replace 17 100 187.30", ReplaceOne(17, 100, 1_873_000, 0)),
        ("replace 17 100 stop 180", ReplaceOne(17, 100, 0, 1_800_000)),
        (" orders ", ShowOrders()),
        ("help", ShowHelp()),
        ("quit", Quit()),
        ("exit", Quit()),
    ],
)
def test_a_line_becomes_a_request(line: str, request_: Request) -> None:
    assert parse_request(line) == request_


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "type help"),
        ("bye", "'bye' is no request"),
        ("quit now", "'quit now' is no request"),
        ("buy", "write it like: buy"),
        ("buy 100", "write it like: buy"),
        ("buy x AAPL", "'x' is not a whole number"),
        ("buy 1.5 AAPL", "'1.5' is not a whole number"),
        ("buy \u00b2 AAPL", "not a whole number"),
        ("buy 1 AAPL 1e3", "'1e3' is not a price"),
        ("buy 1 AAPL 1 2", "'2' is too much"),
        ("buy 1 AAPL 1 stop", "a stop needs its price"),
        ("buy 1 AAPL post-only ioc", "'ioc' is too much"),
        ("cancel", "write it like: cancel"),
        ("cancel 1 2 3", "write it like: cancel"),
        ("cancel AAPL", "'AAPL' is not a whole number"),
        ("replace 1", "write it like: replace"),
        ("replace 1 2 3 ioc", "'ioc' is too much"),
    ],
)
def test_a_line_that_asks_for_nothing_known_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_request(line)


@given(st.text(max_size=60))
def test_any_line_is_a_request_or_refused(line: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_request(line), tuple)


def accepted(number: int, side: Side = Side.BUY, stop_price: int = 0) -> Accepted:
    return Accepted(
        number,
        0,
        number,
        900,
        "AAPL",
        side,
        OrderType.LIMIT,
        100,
        1_872_500,
        stop_price,
        DAY,
        False,
        Capacity.AGENCY,
        "",
    )


def replaced(original: int, number: int, quantity: int) -> Replaced:
    return Replaced(
        number,
        0,
        original,
        number,
        900,
        "AAPL",
        Side.BUY,
        OrderType.LIMIT,
        quantity,
        1_873_000,
        0,
        DAY,
        Capacity.AGENCY,
        "",
    )


def executed(number: int, quantity: int) -> Executed:
    return Executed(0, 0, number, quantity, 1_872_000, Liquidity.REMOVED, 901)


def rejected(number: int) -> Rejected:
    return Rejected(0, 0, number, RejectReason.HALTED, RejectReason.HALTED.text, "")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (accepted(7), "7 accepted: buy 100 AAPL at 187.25"),
        (
            accepted(7, Side.SELL_SHORT, 1_800_000),
            "7 accepted: short 100 AAPL at 187.25, stop 180.00",
        ),
        (replaced(7, 8, 60), "8 replaces 7: buy 60 AAPL at 187.30"),
        (executed(7, 40), "7 executed: 40 at 187.20"),
        (
            Canceled(0, 0, 7, 60, CancelReason.IMMEDIATE),
            "7 canceled: 60, nothing more to trade with at once",
        ),
        (
            rejected(7),
            "7 rejected: the instrument is halted; only cancels are taken until it resumes",
        ),
        (Triggered(0, 0, 7, 900, 0), "7 triggered: its stop price was reached"),
        (MassCanceled(0, 0, 7, ""), "7 cancels all orders"),
        (MassCanceled(0, 0, 7, "AAPL"), "7 cancels all orders in AAPL"),
    ],
)
def test_an_event_is_told_in_words(event: Event, text: str) -> None:
    assert describe_event(event) == text


@pytest.mark.parametrize("reason", list(CancelReason))
def test_every_reason_of_a_cancel_has_words(reason: CancelReason) -> None:
    assert describe_event(Canceled(0, 0, 7, 60, reason)).startswith("7 canceled: 60, ")


def test_live_orders_follow_the_events() -> None:
    orders = OwnOrders()
    for event in (
        accepted(1),
        accepted(2, Side.SELL, 1_800_000),
        accepted(3),
        executed(1, 40),
        executed(3, 100),
        rejected(4),
        Triggered(0, 0, 2, 900, 0),
        Canceled(0, 0, 2, 10, CancelReason.USER),
        executed(99, 5),  # of an order from before the first event
        Triggered(0, 0, 98, 900, 0),
    ):
        orders.apply(event)
    assert orders.lines() == [
        "     1  buy 60 AAPL at 187.25",
        "     2  sell 90 AAPL at 187.25",
    ]
    orders.apply(replaced(1, 5, 70))
    orders.apply(Canceled(0, 0, 2, 90, CancelReason.USER))
    assert orders.lines() == ["     5  buy 70 AAPL at 187.30"]
    assert len(orders) == 1
