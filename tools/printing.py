"""Frames as lines for people, and as JSON objects for programs."""

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from engine.rejects import RejectReason
from feed import messages
from feed.codec import Frame
from feed.messages import unpad
from tools.prices import format_price

_CODES: dict[str, type[IntEnum]] = {
    "side": messages.Side,
    "taker_side": messages.Side,
    "order_type": messages.OrderType,
    "time_in_force": messages.TimeInForce,
    "post_only": messages.PostOnly,
    "capacity": messages.Capacity,
    "self_trade_prevention": messages.SelfTradePrevention,
    "state": messages.TradingState,
    "short_sale": messages.ShortSale,
}
_PRICES = frozenset({"price", "stop_price", "tick_size"})
_NANOSECONDS_PER_SECOND = 1_000_000_000
_TYPE_WIDTH = 17  # of the longest type's name


def frame_object(frame: Frame) -> dict[str, Any]:
    """A frame as a JSON object: its header and its fields by their names.

    Prices stay integers in 1/10,000, codes become their names; a code that nobody knows stays an
    integer.
    """
    return {
        "sequence": frame.sequence,
        "time_ns": frame.time_ns,
        "type": frame.type.name,
        "end": frame.is_end,
        **_fields(frame),
    }


def frame_line(frame: Frame) -> str:
    """A frame as one line; events are indented under the command that caused them.

    What is 0 or blank is left out: it says that an order has no such thing.
    """
    words = [
        f"{name}={format_price(value) if name in _PRICES else value}"
        for name, value in _fields(frame).items()
        if value not in (0, "")
    ]
    name = frame.type.name if frame.is_command else f"  {frame.type.name}"
    return f"{frame.sequence:>9} {_clock(frame.time_ns)} {name:{_TYPE_WIDTH}} {' '.join(words)}"


def _fields(frame: Frame) -> dict[str, Any]:
    message = frame.message()
    reasons = RejectReason if isinstance(message, messages.Rejected) else messages.CancelReason
    codes = {**_CODES, "reason": reasons}
    return {name: _plain(value, codes.get(name)) for name, value in message._asdict().items()}


def _plain(value: int | bytes, codes: type[IntEnum] | None) -> int | str:
    if isinstance(value, bytes):
        return unpad(value)
    if codes is not None and value in codes.__members__.values():
        return codes(value).name
    return value


def _clock(time_ns: int) -> str:
    """The time of day of a moment, in this machine's time zone, to the nanosecond."""
    seconds, nanoseconds = divmod(time_ns, _NANOSECONDS_PER_SECOND)
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return f"{moment:%H:%M:%S}.{nanoseconds:09}"
