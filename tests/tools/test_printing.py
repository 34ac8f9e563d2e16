"""Frames as lines and as JSON."""

import json

from engine.rejects import RejectReason
from feed.codec import Frame, decode_frame, encode_frame
from feed.messages import (
    Canceled,
    CancelOrder,
    CancelReason,
    DefineInstrument,
    LogIn,
    Message,
    Rejected,
    SelfTradePrevention,
    ShortSale,
    Side,
    Trade,
    symbol_field,
)
from tools.printing import frame_line, frame_object

TIME_NS = 1_700_000_000_000_000_123


def frame(message: Message, *, end: bool = True) -> Frame:
    return decode_frame(encode_frame(message, 42, TIME_NS, end=end))


TRADE = Trade(symbol_field("AAPL"), 1_902_500, 300, Side.BUY, 7, 1, 11, 8, 2, 22)


def test_object_has_header_and_fields_with_names_for_codes_and_integers_for_prices() -> None:
    assert frame_object(frame(TRADE)) == {
        "sequence": 42,
        "time_ns": TIME_NS,
        "type": "TRADE",
        "end": True,
        "symbol": "AAPL",
        "price": 1_902_500,
        "quantity": 300,
        "taker_side": "BUY",
        "maker_number": 7,
        "maker_client": 1,
        "maker_user_ref_num": 11,
        "taker_number": 8,
        "taker_client": 2,
        "taker_user_ref_num": 22,
    }


def test_object_of_any_message_is_json() -> None:
    login = LogIn(1, 2**63, SelfTradePrevention.CANCEL_BOTH)
    assert json.loads(json.dumps(frame_object(frame(login))))["login"] == 2**63


def test_reason_is_read_by_the_event_that_has_it() -> None:
    canceled = Canceled(1, 2, 3, 100, CancelReason.IMMEDIATE)
    rejected = Rejected(1, 2, RejectReason.HALTED)
    assert frame_object(frame(canceled))["reason"] == "IMMEDIATE"
    assert frame_object(frame(rejected))["reason"] == "HALTED"


def test_code_that_nobody_knows_stays_a_number() -> None:
    assert frame_object(frame(TRADE._replace(taker_side=1)))["taker_side"] == 1
    assert frame_object(frame(Rejected(1, 2, 9999)))["reason"] == 9999


def test_line_has_prices_as_people_write_them_and_leaves_out_what_is_not_there() -> None:
    line = frame_line(frame(CancelOrder(1, 5, 0), end=False))
    assert line.split() == ["42", line.split()[1], "CANCEL_ORDER", "client=1", "user_ref_num=5"]
    assert line.split()[1].endswith(":20.000000123")
    listing = DefineInstrument(symbol_field("AAPL"), 100, 1, ShortSale.FORBIDDEN)
    assert "symbol=AAPL tick_size=0.01 lot_size=1 short_sale=FORBIDDEN" in frame_line(
        frame(listing)
    )


def test_line_of_an_event_is_indented_under_its_command() -> None:
    command, event = frame_line(frame(CancelOrder(1, 5, 0), end=False)), frame_line(frame(TRADE))
    assert event.index("TRADE") == command.index("CANCEL_ORDER") + 2
    assert event.index("symbol=") == command.index("client=")
    assert event.endswith(
        "price=190.25 quantity=300 taker_side=BUY maker_number=7 maker_client=1 "
        "maker_user_ref_num=11 taker_number=8 taker_client=2 taker_user_ref_num=22"
    )
