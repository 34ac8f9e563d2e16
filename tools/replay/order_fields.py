"""The fields of a line of orders: what may stand in each, and what to say when it does not.

A field comes as text, and never empty. A validator's complaint follows the field's name and text,
as in "price 'abc': write it as 101.25".
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple, TypeAlias, TypeVar

from pydantic import BeforeValidator

from engine.checks import MAX_PRICE, MAX_QUANTITY
from feed.messages import OrderType, Side, TimeInForce, symbol_field
from gateway.clients import client_name
from tools.order_words import SIDES, TIMES_IN_FORCE
from tools.prices import format_price, parse_price

ORDER_TYPES = {
    "limit": OrderType.LIMIT,
    "market": OrderType.MARKET,
    "stop": OrderType.STOP,
    "stop-limit": OrderType.STOP_LIMIT,
}
YES_OR_NO = {"yes": True, "no": False, "true": True, "false": False}
_ID_CHARACTERS = 64
_WHOLE = re.compile(r"[0-9]{1,10}", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?", re.ASCII)
_CLOCK = re.compile(
    r"(?:([0-9]{4}-[0-9]{2}-[0-9]{2})[T ])?([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_NO_DATE = "1970-01-01"
_DECIMALS = 9  # of a second in nanoseconds
_NANOSECONDS = 10**9
_ONE_SECOND = timedelta(seconds=1)

Value = TypeVar("Value")


class TimeKind(StrEnum):
    """How a time is written; only times of one kind can be compared."""

    SECONDS = "seconds"
    TIME_OF_DAY = "a time of day"
    LOCAL = "a date and a time"
    ZONED = "a date and a time with its zone"


class Moment(NamedTuple):
    """A line's time, in nanoseconds from wherever its kind counts."""

    kind: TimeKind
    time_ns: int


def parse_moment(text: str) -> Moment:
    """The time written as "34200.5", "09:30:00.5" or "2012-06-21T09:30:00.5+02:00": exact."""
    seconds = _SECONDS.fullmatch(text)
    if seconds is not None:
        return Moment(TimeKind.SECONDS, _nanoseconds(int(seconds[1]), seconds[2]))
    clock = _CLOCK.fullmatch(text)
    if clock is None or (clock[4] and not clock[1]):
        raise ValueError("write it in seconds, as 34200.5, or as 2012-06-21T09:30:00.5")
    date, time, decimals, zone = clock.groups()
    moment = datetime.fromisoformat(f"{date or _NO_DATE}T{time}{zone or '+00:00'}")
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _ONE_SECOND
    kind = TimeKind.ZONED if zone else TimeKind.LOCAL if date else TimeKind.TIME_OF_DAY
    return Moment(kind, _nanoseconds(whole, decimals))


def _nanoseconds(seconds: int, decimals: str | None) -> int:
    return seconds * _NANOSECONDS + int((decimals or "").ljust(_DECIMALS, "0"))


def _parse_price(text: str) -> int:
    try:
        price = parse_price(text)
    except ValueError:
        raise ValueError("write it as 101.25, above 0 and with at most four decimals") from None
    if price > MAX_PRICE:
        raise ValueError(f"the highest price is {format_price(MAX_PRICE)}")
    return price


def _parse_quantity(text: str) -> int:
    return _parse_whole(text, 1)


def _parse_remaining(text: str) -> int:
    return _parse_whole(text, 0)


def _parse_whole(text: str, least: int) -> int:
    if _WHOLE.fullmatch(text) is None or not least <= int(text) <= MAX_QUANTITY:
        raise ValueError(f"write a whole number from {least} to {MAX_QUANTITY:,}, as 100")
    return int(text)


def _parse_symbol(text: str) -> str:
    try:
        symbol_field(text)
    except ValueError:
        raise ValueError("a symbol has 1 to 8 ASCII characters and no blank, as AAPL") from None
    return text


def parse_client(text: str) -> str:
    """A client's name, in capitals."""
    try:
        return client_name(text)
    except ValueError:
        raise ValueError("a client's name has 1 to 6 letters and digits") from None


def _parse_id(text: str) -> str:
    if not text.isprintable() or len(text) > _ID_CHARACTERS:
        raise ValueError(f"an id has at most {_ID_CHARACTERS} printable characters")
    return text


def _one_of(words: Mapping[str, Value]) -> Callable[[str], Value]:
    known = f"{', '.join(list(words)[:-1])} or {list(words)[-1]}"

    def parse(text: str) -> Value:
        value = words.get(text.lower().replace("_", "-"))
        if value is None:
            raise ValueError(f"write {known}")
        return value

    return parse


MomentField: TypeAlias = Annotated[Moment, BeforeValidator(parse_moment)]
PriceField: TypeAlias = Annotated[int, BeforeValidator(_parse_price)]
QuantityField: TypeAlias = Annotated[int, BeforeValidator(_parse_quantity)]
RemainingField: TypeAlias = Annotated[int, BeforeValidator(_parse_remaining)]
SymbolField: TypeAlias = Annotated[str, BeforeValidator(_parse_symbol)]
ClientField: TypeAlias = Annotated[str, BeforeValidator(parse_client)]
IdField: TypeAlias = Annotated[str, BeforeValidator(_parse_id)]
SideField: TypeAlias = Annotated[Side, BeforeValidator(_one_of(SIDES))]
TypeField: TypeAlias = Annotated[OrderType, BeforeValidator(_one_of(ORDER_TYPES))]
TimeInForceField: TypeAlias = Annotated[TimeInForce, BeforeValidator(_one_of(TIMES_IN_FORCE))]
YesOrNoField: TypeAlias = Annotated[bool, BeforeValidator(_one_of(YES_OR_NO))]
