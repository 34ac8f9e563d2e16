"""Files of orders made up at random: what each line means, and ways to write it down."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from feed.messages import OrderType, Side, TimeInForce
from tools.order_words import SIDES, TIMES_IN_FORCE
from tools.prices import PRICE_UNITS
from tools.replay.order_fields import ORDER_TYPES, Moment, TimeKind
from tools.replay.order_lines import FIELDS, Action, Cancel, Enter, MassCancel, Replace

CLIENTS = ("ALICE", "BOB")
SYMBOLS = ("AAPL", "MSFT")
Written = dict[str, str]


class Meant(NamedTuple):
    """A line: its action, and the same as text by field."""

    action: Action
    fields: Written


def _word(words: dict[str, Any], value: object) -> str:
    return next(word for word, each in words.items() if each == value)


def _price_text(price: int, draw: st.DrawFn) -> str:
    whole, part = divmod(price, PRICE_UNITS)
    decimals = f"{part:04}"
    return draw(
        st.sampled_from([f"{whole}.{decimals}", f"{whole}.{decimals}".rstrip("0").rstrip(".")])
    )


prices = st.integers(995_000, 1_005_000).map(lambda price: price // 1000 * 1000)
any_prices = st.one_of(prices, st.integers(1, 1_999_999_900))
quantities = st.one_of(st.integers(1, 100), st.just(999_999))


@st.composite
def enters(draw: st.DrawFn, order_id: str | None, client: str) -> Meant:
    type_ = draw(st.sampled_from(OrderType))
    price = draw(prices) if type_ in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
    stop = draw(prices) if type_ in (OrderType.STOP, OrderType.STOP_LIMIT) else None
    side, tif = draw(st.sampled_from(Side)), draw(st.sampled_from(TimeInForce))
    quantity, post_only = draw(quantities), draw(st.sampled_from([False, False, True]))
    symbol, says_type = draw(st.sampled_from(SYMBOLS)), draw(st.booleans())
    fields = {
        "action": "enter",
        "client": client,
        "symbol": symbol,
        "side": _word(SIDES, side),
        "quantity": str(quantity),
        "time_in_force": _word(TIMES_IN_FORCE, tif),
        "post_only": "yes" if post_only else "no",
    }
    if order_id is not None:
        fields["id"] = order_id
    if says_type:
        fields["type"] = _word(ORDER_TYPES, type_)
    for name, value in (("price", price), ("stop_price", stop)):
        if value is not None:
            fields[name] = _price_text(value, draw)
    action = Enter.model_construct(
        client=client,
        id=order_id,
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=price,
        stop_price=stop,
        type=type_ if says_type else None,
        time_in_force=tif,
        post_only=post_only,
    )
    return Meant(action, fields)


@st.composite
def namings(draw: st.DrawFn, order_id: str) -> Meant:
    """A replace or a cancel of an order."""
    if draw(st.booleans()):
        remaining = draw(st.one_of(st.just(0), st.integers(0, 60)))
        cancel = Cancel.model_construct(id=order_id, remaining=remaining)
        fields = {"action": "cancel", "id": order_id}
        return Meant(cancel, fields | ({"remaining": str(remaining)} if remaining else {}))
    quantity = draw(st.one_of(st.none(), st.integers(1, 150)))
    price = draw(prices) if quantity is None else draw(st.one_of(st.none(), prices))
    fields = {"action": "replace", "id": order_id}
    if quantity is not None:
        fields["quantity"] = str(quantity)
    if price is not None:
        fields["price"] = _price_text(price, draw)
    return Meant(Replace.model_construct(id=order_id, quantity=quantity, price=price), fields)


@st.composite
def mass_cancels(draw: st.DrawFn) -> Meant:
    client = draw(st.sampled_from(CLIENTS))
    symbol = draw(st.one_of(st.none(), st.sampled_from(SYMBOLS)))
    fields = {"action": "mass-cancel", "client": client} | ({"symbol": symbol} if symbol else {})
    return Meant(MassCancel.model_construct(client=client, symbol=symbol), fields)


@st.composite
def files(draw: st.DrawFn, *, least: int = 1, most: int = 30) -> list[Meant]:
    """The lines of a sound file."""
    ids: list[str] = []
    lines = []
    for number in range(draw(st.integers(least, most))):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            lines.append(draw(mass_cancels()))
        elif kind < 5 and ids:
            lines.append(draw(namings(draw(st.sampled_from(ids)))))
        else:
            prefix = draw(st.sampled_from(["order-", '"', "a,b ", "ü#"]))
            order_id = draw(st.sampled_from([None, f"{prefix}{number}"]))
            lines.append(draw(enters(order_id, draw(st.sampled_from(CLIENTS)))))
            if order_id is not None:
                ids.append(order_id)
    return lines


def with_times(lines: Sequence[Meant], random: Random) -> list[Meant]:
    """The same lines, at times in seconds."""
    time_ns = 0
    timed = []
    for action, fields in lines:
        time_ns += random.randrange(2_000_000_000)
        text = f"{time_ns // 10**9}.{time_ns % 10**9:09}"
        moment = Moment(TimeKind.SECONDS, time_ns)
        timed.append(Meant(action.model_copy(update={"time": moment}), {"time": text, **fields}))
    return timed


def csv_text(lines: Sequence[Meant], end: str = "\n") -> str:
    """The lines as CSV, with quotes where they are needed, comments and blank lines."""
    text = io.StringIO()
    columns = list(reversed(FIELDS))
    csv.writer(text, lineterminator=end).writerow(
        [name.replace("_", " ").capitalize() for name in columns]
    )
    writer = csv.DictWriter(text, columns, lineterminator=end)
    for line in lines:
        text.write(f"# a comment, with commas{end}{end}")
        writer.writerow(line.fields)
    return text.getvalue()


def json_text(lines: Sequence[Meant]) -> str:
    """The lines as JSON lines, with numbers and true and false where they can be."""
    plain = {"quantity", "price", "stop_price", "remaining", "time"}
    out = []
    for line in lines:
        pairs = []
        for name, value in line.fields.items():
            text = value if name in plain else json.dumps(value)
            if name == "post_only":
                text = "true" if value == "yes" else "false"
            pairs.append(f'"{name}": {text}')
        out.append("{" + ", ".join(pairs) + "}\n")
    return "\n".join(out)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
