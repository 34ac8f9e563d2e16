"""Writes the tables of docs/client.md from gateway/ouch.py: `python -m tools.client_docs`.

Letters, offsets, sizes and codes come from the declarations, reject reasons from their enums. What
the fields mean stands here; the guide around the tables is written by hand.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

from engine.rejects import RejectReason
from feed.messages import CancelReason, Capacity, PostOnly, Side, TimeInForce
from gateway import ouch
from gateway.ouch import OuchMessage, Tag
from gateway.rejects import GatewayReject
from tools.wire_docs import comments

PAGE = Path(__file__).resolve().parent.parent / "docs" / "client.md"
BEGIN = "<!-- These tables are written by: python -m tools.client_docs -->"
END = "<!-- The end of these tables -->"

_NOTES: Mapping[str, str] = {
    "time_ns": "when the primary took the command; of an answer without a number, when it was sent",
    "user_ref_num": "the client's number of the command or order",
    "original_user_ref_num": "the number that the order went by until now",
    "next_user_ref_num": "one above the largest used; 0 when none is left",
    "side": "[Side](#side)",
    "quantity": "how many are asked for or traded",
    "symbol": "which instrument",
    "price": "in 1/10,000; 0x7FFFFFFF for an order without a limit",
    "time_in_force": "[TimeInForce](#timeinforce)",
    "display": "`Y`",
    "capacity": "[Capacity](#capacity)",
    "intermarket_sweep": "`N`",
    "cross_type": "`N`",
    "state": "`L`, live",
    "client_order_id": "text of the client's own; comes back in answers, and is not looked at",
    "firm": "blank",
    "order_number": "of the order, for life: its sequence number in the exchange's list",
    "match_number": "of the trade: its sequence number in the exchange's list",
    "liquidity": "`A` if the order was the maker, `R` if it was the taker",
    "appendage_length": "bytes of the appendage behind the message",
}
_OWN_NOTES: Mapping[type[OuchMessage], Mapping[str, str]] = {
    ouch.ReplaceOrder: {"quantity": "with what the order has already executed"},
    ouch.CancelOrder: {"quantity": "what should remain open; 0 cancels the order"},
    ouch.MassCancel: {"symbol": "which instrument; blank for all"},
    ouch.MassCancelResponse: {"symbol": "which instrument; blank for all"},
    ouch.Replaced: {"quantity": "open from now on"},
    ouch.Executed: {"price": "of the trade, in 1/10,000"},
    ouch.Canceled: {"quantity": "taken off", "reason": "[CancelReason](#cancelreason)"},
    ouch.Rejected: {"reason": "[reject reason](#reject-reasons)"},
    ouch.PriorityUpdate: {"price": "as in Accepted"},
}
_TAG_NOTES: Mapping[Tag, str] = {
    Tag.POST_ONLY: "`P`: refuse the order rather than let it trade on arrival; `N`: don't",
    Tag.STOP_PRICE: "the order waits until a trade reaches this price; in 1/10,000. Lockstep's own",
}


def tables() -> str:
    """What stands between the marks of docs/client.md."""
    sections = [
        "### From the client",
        *_message_sections(ouch.INBOUND),
        "### To the client",
        *_message_sections(ouch.OUTBOUND),
        "### Appendages",
        _appendage_table(),
        "### Codes",
        *(_code_section(codes) for codes in (Side, TimeInForce, Capacity, PostOnly, CancelReason)),
        "## Reject reasons",
        "From the machine, with a number in the stream:",
        _reason_table(RejectReason),
        "From the gateway, without a number:",
        _reason_table(GatewayReject),
    ]
    return "\n\n".join(sections)


def page(text: str) -> str:
    """The guide with its tables renewed; raises ValueError when it has no marks for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the guide has no marks for its tables: {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> None:
    """Renew the guide."""
    PAGE.write_text(page(PAGE.read_text()))


def _message_sections(declarations: Mapping[Any, Any]) -> Iterator[str]:
    for message_type, declaration in declarations.items():
        tags = ouch.TAGS.get(message_type, frozenset())
        names = ", ".join(f"`0x{tag:02X}`" for tag in sorted(tags))
        appendages = f" Appendages: {names}." if tags else ""
        size = f"{declaration.sizeof()} bytes" + (" and the appendage" if tags else "")
        meaning = str(inspect.getdoc(message_type)).partition(": ")[2]
        title = f"#### `{_letter(declaration)}` {message_type.__name__}"
        yield f"{title}\n\n{meaning[:1].upper()}{meaning[1:]} {size}.{appendages}"
        yield _field_table(message_type, declaration)


def _field_table(message_type: type[OuchMessage], declaration: Any) -> str:
    notes = {**_NOTES, **_OWN_NOTES.get(message_type, {}), "type": f"`{_letter(declaration)}`"}
    rows = []
    offset = 0
    for field in declaration.subcons:
        rows.append((field.name, offset, field.sizeof(), notes[field.name]))
        offset += field.sizeof()
    return _table(("field", "offset", "size", "meaning"), rows)


def _letter(declaration: Any) -> str:
    return chr(declaration.type.subcon.value)


def _appendage_table() -> str:
    rows = (
        (f"`0x{tag:02X}`", tag.name, 1 + value.sizeof(), value.sizeof(), _TAG_NOTES[tag])
        for tag, value in ouch.ELEMENT_VALUES.items()
    )
    return _table(("tag", "name", "length byte", "value bytes", "meaning"), rows)


def _code_section(codes: type[IntEnum]) -> str:
    notes = comments(codes)
    rows = ((f"`{chr(code)}`", code.name, notes.get(code.name, "")) for code in codes)
    return f"#### {codes.__name__}\n\n" + _table(("code", "name", "meaning"), rows)


def _reason_table(reasons: type[RejectReason] | type[GatewayReject]) -> str:
    rows = ((int(reason), reason.name, reason.text) for reason in reasons)
    return _table(("code", "name", "text"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


if __name__ == "__main__":
    main()
