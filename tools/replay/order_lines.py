"""What a line of orders asks for: one model for each action, and every complaint about a line."""

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple, TypeAlias

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails

from feed.messages import OrderType, TimeInForce
from feed.settings import Settings
from tools.replay.order_fields import (
    ORDER_TYPES,
    ClientField,
    IdField,
    MomentField,
    PriceField,
    QuantityField,
    RemainingField,
    SideField,
    SymbolField,
    TimeInForceField,
    TypeField,
    YesOrNoField,
)

ACTION = "action"
_SHOWN_CHARACTERS = 40  # of a field's text in a complaint
_WITH_LIMIT = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_WITH_STOP = (OrderType.STOP, OrderType.STOP_LIMIT)


class LineError(ValueError):
    """A line that can't be carried out; `complaints` has all that is wrong with it."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = complaints


class _Line(Settings):
    """What every line may say."""

    time: MomentField | None = None
    client: ClientField | None = None


class Enter(_Line):
    """Enter an order; without a price, a market order."""

    word: ClassVar[str] = "enter"

    id: IdField | None = None
    symbol: SymbolField
    side: SideField
    quantity: QuantityField
    price: PriceField | None = None
    stop_price: PriceField | None = None
    type: TypeField | None = None
    time_in_force: TimeInForceField = TimeInForce.DAY
    post_only: YesOrNoField = False

    @model_validator(mode="after")
    def _type_agrees_with_the_prices(self) -> "Enter":
        if self.type is None:
            return self
        word = next(word for word, value in ORDER_TYPES.items() if value == self.type)
        for name, value, is_needed in (
            ("price", self.price, self.type in _WITH_LIMIT),
            ("stop_price", self.stop_price, self.type in _WITH_STOP),
        ):
            if is_needed and value is None:
                raise ValueError(f"{name} is missing: an order of type {word} has one")
            if value is not None and not is_needed:
                raise ValueError(f"{name}: an order of type {word} has none; leave it empty")
        return self


class Replace(_Line):
    """Give an order other terms; those that are left out stay as they are."""

    word: ClassVar[str] = "replace"

    id: IdField
    quantity: QuantityField | None = None
    price: PriceField | None = None
    stop_price: PriceField | None = None
    time_in_force: TimeInForceField | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> "Replace":
        terms = (self.quantity, self.price, self.stop_price, self.time_in_force)
        if all(term is None for term in terms):
            raise ValueError("nothing is replaced: give quantity, price or another term")
        return self


class Cancel(_Line):
    """Let no more than `remaining` stay open of an order."""

    word: ClassVar[str] = "cancel"

    id: IdField
    remaining: RemainingField = 0


class MassCancel(_Line):
    """Cancel every order of the client, in one symbol or in all."""

    word: ClassVar[str] = "mass-cancel"

    symbol: SymbolField | None = None


Action: TypeAlias = Enter | Replace | Cancel | MassCancel


class OrderLine(NamedTuple):
    """A line that does something, in its file."""

    ordinal: int  # among such lines, from 0
    line: int
    client: str
    action: Action
    order: int | None  # the ordinal of the line that entered the order which this one names


_ACTIONS: dict[str, type[Action]] = {
    Enter.word: Enter,
    Replace.word: Replace,
    Cancel.word: Cancel,
    MassCancel.word: MassCancel,
}
FIELDS = (
    *("time", ACTION, "client", "id", "symbol", "side", "quantity", "price", "stop_price"),
    *("type", "time_in_force", "post_only", "remaining"),
)
_REMEDIES = {
    "id": "it names the order, as the line did that entered it",
    "symbol": "name the instrument, as AAPL",
    "side": "write buy, sell or short",
    "quantity": "write a whole number, as 100",
}


def parse_action(fields: Mapping[str, str]) -> Action:
    """What the fields of a line ask for, by their names; none of them is empty.

    Raises LineError with everything that is wrong.
    """
    word = fields.get(ACTION)
    known = "enter, replace, cancel or mass-cancel"
    if word is None:
        raise LineError([f"{ACTION} is missing: write {known}"])
    model = _ACTIONS.get(word.lower().replace("_", "-"))
    if model is None:
        remedy = did_you_mean(word.lower(), _ACTIONS) or f"write {known}"
        raise LineError([f"{ACTION} {shown(word)}: {remedy}"])
    try:
        return model.model_validate({name: fields[name] for name in fields if name != ACTION})
    except ValidationError as error:
        raise LineError([_describe(details, model) for details in error.errors()]) from None


def field_name(text: str) -> str:
    """The name that a column's heading or a key stands for, however it is written."""
    return text.strip().lower().replace(" ", "_").replace("-", "_")


def complain_of_field(name: str) -> str:
    """What to say of a name that is no field's."""
    remedy = did_you_mean(field_name(name), FIELDS) or f"known are {', '.join(FIELDS)}"
    return f"{shown(name)} is not known; {remedy}"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A question after the nearest word, if one is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else None


def shown(text: str) -> str:
    """A text from the file as it stands in a complaint."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def _describe(details: ErrorDetails, model: type[Action]) -> str:
    """One of pydantic's errors as the field, what is wrong, and what to do."""
    name = str(details["loc"][0]) if details["loc"] else ""
    if details["type"] == "missing":
        return f"{name} is missing: {_REMEDIES[name]}"
    if details["type"] == "extra_forbidden":
        if name not in FIELDS:
            return complain_of_field(name)
        return f"{name}: a line with {model.word} has none; leave it empty"
    message = details["msg"].removeprefix("Value error, ")
    return f"{name} {shown(details['input'])}: {message}" if name else message
